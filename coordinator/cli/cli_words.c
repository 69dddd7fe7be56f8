/*
 * cli_words.c - from words to the row of the table that is meant, and to its arguments.
 */
#include "cli.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

const struct command *cli_find(const char *const *words, size_t count, size_t *used, const char **near)
{
	const char *names[CLI_MAX_COMMANDS];
	const struct command *command;
	char two[80];
	size_t n = 0;

	snprintf(two, sizeof(two), "%s %s", words[0], count > 1 ? words[1] : "");
	for (command = commands; command->name; command++) {
		*used = strchr(command->name, ' ') ? 2 : 1;
		if (!strcmp(command->name, *used == 2 ? two : words[0]))
			return command;
		names[n++] = command->name;
	}
	names[n] = NULL;
	*near = str_nearest(two, names);
	return NULL;
}

/* Words to their keys. */
bool cli_take_words(const struct command *command, json_t *options, const char *const *words,
		       size_t count)
{
	size_t i, max = ARRAY_SIZE(command->words);

	for (i = 0; i < max && command->words[i]; i++) {
		if (i == count) {
			fprintf(stderr, "wg-mesh-coordinator: %s lacks its %s; see %s --help\n", command->name,
				command->words[i], command->name);
			return false;
		}
		json_object_set_new(options, command->words[i], json_string(words[i]));
	}
	if (i < count && command->rest) {
		json_t *list = json_object_get(options, command->rest);

		if (!list)
			json_object_set_new(options, command->rest, list = json_array());
		for (; i < count; i++)
			json_array_append_new(list, json_string(words[i]));
	}
	if (i < count)
		fprintf(stderr, "wg-mesh-coordinator: %s: %s is one word too many\n", command->name, words[i]);
	return i >= count;
}
