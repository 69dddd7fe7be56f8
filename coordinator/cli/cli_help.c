/*
 * cli_help.c - from the table of commands, like cli_complete.c.
 */
#include "cli_help.h"

#include <stdio.h>
#include <string.h>

#define ROW "  %-38s %s\n"

/* "policy explain FROM TO PORT" */
static void usage_of(const struct command *command, char *out, size_t size)
{
	size_t len = (size_t)snprintf(out, size, "%s", command->name);

	for (size_t i = 0; i < ARRAY_SIZE(command->words) && command->words[i]; i++) {
		const char *word = command->words[i];

		len += (size_t)snprintf(out + len, size - MIN(len, size), " ");
		for (; *word && len + 1 < size; word++)
			out[len++] = (char)(*word >= 'a' && *word <= 'z' ? *word - 32 : *word);
		out[MIN(len, size - 1)] = '\0';
	}
}

static bool in_group(const struct command *command, const char *group)
{
	size_t len = strlen(group);

	return !strncmp(command->name, group, len) && command->name[len] == ' ';
}

/* Those of the group, or (NULL) all. */
static void rows(const char *group)
{
	char left[64];

	for (const struct command *c = commands; c->name; c++) {
		if (group && !in_group(c, group))
			continue;
		usage_of(c, left, sizeof(left));
		printf(ROW, left, c->help);
	}
}

static void help_all(const struct arg *common, const struct arg *serve)
{
	printf("usage: wg-mesh-coordinator serve [OPTION]...\n"
	       "       wg-mesh-coordinator COMMAND [OPTION]...\n\ncommands:\n");
	printf(ROW, "serve", "run the coordinator");
	rows(NULL);
	printf("\noptions:\n");
	args_help(common);
	printf("\noptions of serve:\n");
	args_help(serve);
}

static void help_serve(const struct arg *common, const struct arg *serve)
{
	printf("usage: wg-mesh-coordinator serve [OPTION]...\nrun the coordinator\n\n");
	args_help(serve);
	args_help(common);
}

static void help_command(const struct command *command, const struct arg *common)
{
	char words[64];

	usage_of(command, words, sizeof(words));
	printf("usage: wg-mesh-coordinator %s%s [OPTION]...\n%s\n\n", words, command->rest ? " [TAG]..." : "",
	       command->help);
	args_help(command->args);
	args_help(common);
}

static bool is_group(const char *word)
{
	for (const struct command *c = commands; c->name; c++)
		if (in_group(c, word))
			return true;
	return false;
}

void cli_help(const struct command *command, const char *const *words, size_t count, const struct arg *common,
	      const struct arg *serve)
{
	if (command) {
		help_command(command, common);
	} else if (count && !strcmp(words[0], "serve")) {
		help_serve(common, serve);
	} else if (count && is_group(words[0])) {
		printf("usage: wg-mesh-coordinator %s COMMAND [OPTION]...\n\ncommands (each has --help):\n", words[0]);
		rows(words[0]);
	} else {
		help_all(common, serve);
	}
}

void cli_no_such(const char *const *words, size_t count, const char *near)
{
	bool group = is_group(words[0]), any = false;

	fputs("wg-mesh-coordinator: ", stderr);
	if (group && count == 1)
		fprintf(stderr, "%s is several commands; ", words[0]);
	else
		fprintf(stderr, "no such command: %s%s%s; ", words[0], count > 1 ? " " : "", count > 1 ? words[1] : "");
	if (near && !(group && count == 1)) {
		fprintf(stderr, "did you mean %s?\n", near);
		return;
	}
	for (const struct command *c = commands; c->name; c++) {
		if (!in_group(c, words[0]))
			continue;
		fprintf(stderr, "%s%s", any ? ", " : "there is ", c->name);
		any = true;
	}
	fputs(any ? "\n" : "see --help\n", stderr);
}
