/*
 * options.c - reads options by table. They may stand anywhere, "--name value" or "--name=value",
 * and
 * "--" ends them. A wrong one is answered with the nearest there is.
 *
 * The tricky thing: lists with commas are cut in place, in argv itself, so nothing is allocated and
 * nothing has to be freed.
 */
#include "command.h"
#include "lib/str.h"

#include <stdarg.h>

#define NAMES_MAX      40
#define NAME_MAX_BYTES 40

static bool fail(char error[static OPTION_ERROR], const char *format, ...) PRINTF_LIKE(2, 3);
static bool fail(char error[static OPTION_ERROR], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, OPTION_ERROR, format, args);
	va_end(args);
	return false;
}

static const struct option *find_in(const struct option *table, const char *name, size_t len,
				    char letter)
{
	for (; table && table->name; table++) {
		if (letter && table->letter == letter)
			return table;
		if (!letter && strlen(table->name) == len && strncmp(table->name, name, len) == 0)
			return table;
	}
	return NULL;
}

static bool unknown(const struct option *own, const char *word, char error[static OPTION_ERROR])
{
	const struct option *const tables[] = {own, global_options};
	const char *names[NAMES_MAX + 1], *near;
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct option *o = tables[i]; o && o->name && count < NAMES_MAX; o++)
			names[count++] = o->name;
	names[count] = NULL;
	near = word[1] == '-' ? str_nearest(word + 2, names) : NULL;
	if (near)
		return fail(error, "there is no option %.60s: did you mean --%s?", word, near);
	return fail(error, "there is no option %.60s here: see --help", word);
}

static bool add_words(struct words *words, char *text)
{
	for (char *comma; text; text = comma ? comma + 1 : NULL) {
		comma = strchr(text, ',');
		if (comma)
			*comma = '\0';
		if (!*text)
			continue;
		if (words->count == WORDS_MAX)
			return false;
		words->items[words->count++] = text;
	}
	return true;
}

/* typed: the option as it was, so that an answer names that. */
static bool set(struct cli *cli, const struct option *option, const char *typed, char *value,
		char error[static OPTION_ERROR])
{
	char *at = (char *)cli + option->offset;
	uint64_t number;

	switch (option->type) {
	case OPTION_FLAG:
		*(bool *)(void *)at = true;
		return true;
	case OPTION_TEXT:
		*(const char **)(void *)at = value;
		return true;
	case OPTION_NUMBER:
		if (!parse_u64(value, &number) || number < option->min || number > option->max)
			return fail(error, "%s takes a number from %llu to %llu, not %.40s",
				    typed, (unsigned long long)option->min,
				    (unsigned long long)option->max, value);
		*(uint64_t *)(void *)at = number;
		if (option->has_offset)
			*((bool *)cli + option->has_offset) = true;
		return true;
	case OPTION_LIST:
		if (!add_words((struct words *)(void *)at, value))
			return fail(error, "%s takes at most %d values", typed, WORDS_MAX);
		return true;
	}
	return false;
}

bool options_take(struct cli *cli, const struct option *own, int argc, char **argv, int *i,
		  char error[static OPTION_ERROR])
{
	char *word = argv[*i], *name = word + 1, *equals = NULL, *value;
	const struct option *option;
	char letter = 0, typed[NAME_MAX_BYTES];
	size_t len = 0;

	if (word[1] == '-') {
		name = word + 2;
		equals = strchr(name, '=');
		len = equals ? (size_t)(equals - name) : strlen(name);
	} else if (!word[2]) {
		letter = word[1];
	} else {
		return unknown(own, word, error);
	}
	option = find_in(own, name, len, letter);
	if (!option)
		option = find_in(global_options, name, len, letter);
	if (!option)
		return unknown(own, word, error);
	snprintf(typed, sizeof(typed), "%s%.*s", letter ? "-" : "--", letter ? 1 : (int)len, name);
	if (option->type == OPTION_FLAG && equals)
		return fail(error, "--%s takes no value", option->name);
	value = equals ? equals + 1 : NULL;
	if (option->type != OPTION_FLAG && !value) {
		if (*i + 1 >= argc)
			return fail(error, "%s needs a value: %s", typed, option->value);
		value = argv[++*i];
	}
	return set(cli, option, typed, value, error);
}

bool options_parse(struct cli *cli, const struct option *own, int argc, char **argv,
		   char error[static OPTION_ERROR])
{
	bool ended = false;

	error[0] = '\0';
	for (int i = 0; i < argc; i++) {
		if (!ended && strcmp(argv[i], "--") == 0) {
			ended = true;
		} else if (!ended && argv[i][0] == '-' && argv[i][1]) {
			if (!options_take(cli, own, argc, argv, &i, error))
				return false;
		} else if (cli->args.count == WORDS_MAX) {
			return fail(error, "too many arguments");
		} else {
			cli->args.items[cli->args.count++] = argv[i];
		}
	}
	return true;
}

void options_help(FILE *out, const struct option *options)
{
	char left[64];

	for (; options && options->name; options++) {
		if (options->letter)
			snprintf(left, sizeof(left), "-%c, --%s%s%s", options->letter,
				 options->name, options->value ? " " : "",
				 options->value ? options->value : "");
		else
			snprintf(left, sizeof(left), "    --%s%s%s", options->name,
				 options->value ? " " : "", options->value ? options->value : "");
		fprintf(out, "  %-30s %s\n", left, options->help);
	}
}
