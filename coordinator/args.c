/*
 * args.c - "--name value", "--name=value" and flags, in any order with words; "--" ends options.
 */
#include "args.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define MAX_OPTIONS 64

static const struct arg *find(const struct arg *const tables[2], const char *name, size_t len)
{
	for (int t = 0; t < 2; t++)
		for (const struct arg *arg = tables[t]; arg && arg->name; arg++)
			if (strlen(arg->name) == len && !strncmp(arg->name, name, len))
				return arg;
	return NULL;
}

static bool unknown(const struct arg *const tables[2], const char *text, char error[static ARGS_ERROR])
{
	const char *names[MAX_OPTIONS + 1], *near;
	char word[64];
	size_t count = 0;

	for (int t = 0; t < 2; t++)
		for (const struct arg *arg = tables[t]; arg && arg->name && count < MAX_OPTIONS; arg++)
			names[count++] = arg->name;
	names[count] = NULL;
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(text + 2, "="), text + 2);
	near = str_nearest(word, names);
	if (near)
		snprintf(error, ARGS_ERROR, "unknown option --%s: did you mean --%s?", word, near);
	else
		snprintf(error, ARGS_ERROR, "unknown option --%s: see --help", word);
	return false;
}

static void store(json_t *out, const struct arg *arg, const char *value)
{
	json_t *list = json_object_get(out, arg->key);

	if (arg->kind == ARG_FLAG) {
		json_object_set_new(out, arg->key, json_true());
	} else if (arg->kind == ARG_VALUE) {
		json_object_set_new(out, arg->key, json_string(value));
	} else {
		if (!list)
			json_object_set_new(out, arg->key, list = json_array());
		json_array_append_new(list, json_string(value));
	}
}

static bool is_text(const char *text)
{
	json_t *json = json_string(text);
	bool fine = json != NULL;

	json_decref(json);
	return fine;
}

bool args_parse(json_t *out, const struct arg *const tables[2], int argc, char **argv,
		const char **words, size_t max_words, size_t *count, char error[static ARGS_ERROR])
{
	bool only_words = false;

	*count = 0;
	for (int i = 0; i < argc; i++) {
		const char *text = argv[i], *value;
		const struct arg *arg;

		if (!is_text(text)) {
			snprintf(error, ARGS_ERROR, "word %d of the command is not UTF-8", i + 1);
			return false;
		}
		if (only_words || strncmp(text, "--", 2)) {
			if (*count == max_words) {
				snprintf(error, ARGS_ERROR, "%s: too many words; see --help", text);
				return false;
			}
			words[(*count)++] = text;
			continue;
		}
		if (!text[2]) {
			only_words = true;
			continue;
		}
		arg = find(tables, text + 2, strcspn(text + 2, "="));
		if (!arg)
			return unknown(tables, text, error);
		value = strchr(text, '=');
		if (value)
			value++;
		else if (arg->kind != ARG_FLAG && i + 1 < argc)
			value = argv[++i];
		if (value && !is_text(value)) {
			snprintf(error, ARGS_ERROR, "--%s: its value is not UTF-8", arg->name);
			return false;
		}
		if ((arg->kind == ARG_FLAG) == (value != NULL)) {
			snprintf(error, ARGS_ERROR, arg->kind == ARG_FLAG ? "--%s takes no value"
									  : "--%s needs a value",
				 arg->name);
			return false;
		}
		store(out, arg, value);
	}
	return true;
}

size_t args_words(const struct arg *const tables[2], int argc, char **argv, const char **words,
		  size_t max_words)
{
	size_t count = 0;

	for (int i = 0; i < argc && count < max_words; i++) {
		const struct arg *arg;

		if (strncmp(argv[i], "--", 2)) {
			words[count++] = argv[i];
			continue;
		}
		arg = find(tables, argv[i] + 2, strcspn(argv[i] + 2, "="));
		if (!arg)
			break;
		if (arg->kind != ARG_FLAG && !strchr(argv[i], '='))
			i++;
	}
	return count;
}

void args_help(const struct arg *table)
{
	for (; table && table->name; table++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", table->name, table->value ? " " : "",
			 table->value ? table->value : "");
		printf("  %-26s %s\n", left, table->help);
	}
}
