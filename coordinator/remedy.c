/*
 * remedy.c - see remedy.h. Which request is which command the table of routes says.
 */
#include "remedy.h"
#include "coordinator/admin/admin_commands.h"
#include "coordinator/api/dispatch.h"
#include "lib/buf.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 120
/* The braces of a remedy in a refusal: bytes that no UTF-8 has, so that nobody's text can be one. */
#define OPENS  '\xfe'
#define CLOSES '\xff'

/* The row that begins `words`, and in *rest what follows; NULL: no command. */
static const struct admin_row *command_of(char *words, const char **rest)
{
	const struct admin_row *row;
	char *end = strchr(words, ' ');

	end = end ? strchr(end + 1, ' ') : NULL;
	if (end)
		*end = '\0';
	row = admin_row(words);
	if (end)
		*end = ' ';
	*rest = end ? end + 1 : "";
	return row;
}

/* Two commands may do the same, and one of them is a request. */
static const struct endpoint_row *request_of(const struct admin_row *row)
{
	for (const struct endpoint_row *each = endpoints; each->method; each++)
		if (each->command && admin_row(each->command)->fn == row->fn)
			return each;
	return NULL;
}

static void add_request(struct buf *out, const struct endpoint_row *request, const char *id)
{
	const char *hole = *id ? strstr(request->path, "{id}") : NULL;

	if (hole)
		buf_addf(out, "%s %.*s%s%s", request->method, (int)(hole - request->path), request->path, id,
			 hole + strlen("{id}"));
	else
		buf_addf(out, "%s %s", request->method, request->path);
}

/* False: these braces are no command's. */
static bool add_remedy(struct buf *out, const char *text, size_t len, bool as_request)
{
	char words[MAX_WORDS];
	const struct endpoint_row *request;
	const struct admin_row *row;
	const char *rest;

	if (len >= sizeof(words))
		return false;
	memcpy(words, text, len);
	words[len] = '\0';
	row = command_of(words, &rest);
	if (!row)
		return false;
	request = as_request ? request_of(row) : NULL;
	if (request)
		add_request(out, request, rest);
	else
		buf_addf(out, "%s", words);
	return true;
}

void remedy_format(char *out, size_t size, const char *format, va_list args)
{
	char *marked = xstrdup(format);

	for (char *c = marked; *c; c++)
		*c = *c == '{' ? OPENS : *c == '}' ? CLOSES : *c;
#pragma GCC diagnostic push /* the compiler has checked it where it is written */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	vsnprintf(out, size, marked, args);
#pragma GCC diagnostic pop
	free(marked);
}

static void say(char *out, const char *sentence, bool as_request)
{
	struct buf text;

	buf_init(&text, 0);
	while (*sentence) {
		const char *end = *sentence == OPENS ? strchr(sentence, CLOSES) : NULL;
		char plain = *sentence == OPENS ? '{' : *sentence == CLOSES ? '}' : *sentence;

		if (end && add_remedy(&text, sentence + 1, (size_t)(end - sentence - 1), as_request)) {
			sentence = end + 1;
		} else {
			buf_add(&text, &plain, 1);
			sentence++;
		}
	}
	str_copy(out, REMEDY_TEXT, buf_text(&text));
	buf_free(&text);
	str_mend(out);
}

void remedy_command(char out[static REMEDY_TEXT], const char *sentence)
{
	say(out, sentence, false);
}

void remedy_request(char out[static REMEDY_TEXT], const char *sentence)
{
	say(out, sentence, true);
}
