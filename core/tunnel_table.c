/*
 * tunnel_table.c - the one line of the user's wg-quick file that is about routes.
 */
#include "tunnel.h"
#include "lib/file.h"
#include "lib/str.h"

#include <ctype.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <strings.h>

#define CONFIG_MAX (1024 * 1024)

static char *trimmed(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text;
}

static uint32_t table_number(const char *value)
{
	uint64_t number;

	if (strcasecmp(value, "off") == 0)
		return 0;
	if (parse_u64(value, &number) && number && number <= UINT32_MAX)
		return (uint32_t)number;
	return RT_TABLE_MAIN;
}

uint32_t tunnel_table(const char *config_path)
{
	uint32_t table = RT_TABLE_MAIN;
	bool interface = false;
	struct buf text;
	char *line, *next, *value;

	buf_init(&text, CONFIG_MAX);
	if (file_read(config_path, CONFIG_MAX, &text)) {
		buf_free(&text);
		return table;
	}
	for (line = buf_text(&text); line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		line[strcspn(line, "#")] = '\0';
		line = trimmed(line);
		if (*line == '[')
			interface = strcasecmp(line, "[interface]") == 0;
		value = strchr(line, '=');
		if (!interface || !value)
			continue;
		*value++ = '\0';
		if (strcasecmp(trimmed(line), "table") == 0)
			table = table_number(trimmed(value));
	}
	buf_wipe(&text); /* the private key was in it */
	return table;
}
