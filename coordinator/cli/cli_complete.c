/*
 * cli_complete.c - completion from the table of commands, so that it never differs from it. Nothing is
 * asked of a coordinator.
 */
#include "cli_complete.h"
#include "cli.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

static void offer(const char *partial, const char *dashes, const char *word, const char *help)
{
	char whole[80];

	snprintf(whole, sizeof(whole), "%s%s", dashes, word);
	if (str_has_prefix(whole, partial))
		printf("%s\t%s\n", whole, help);
}

static void offer_options(const char *partial, const struct arg *table)
{
	for (; table && table->name; table++)
		offer(partial, "--", table->name, table->help);
}

/* "policy" once for all its commands. */
static void offer_first(const char *partial)
{
	char word[40], last[40] = "";

	offer(partial, "", "serve", "run the coordinator");
	for (const struct command *c = commands; c->name; c++) {
		const char *space = strchr(c->name, ' ');

		snprintf(word, sizeof(word), "%.*s", (int)strcspn(c->name, " "), c->name);
		if (strcmp(word, last))
			offer(partial, "", word, space ? "..." : c->help);
		str_copy(last, sizeof(last), word);
	}
}

static void offer_second(const char *first, const char *partial)
{
	size_t len = strlen(first);

	for (const struct command *c = commands; c->name; c++)
		if (!strncmp(c->name, first, len) && c->name[len] == ' ')
			offer(partial, "", c->name + len + 1, c->help);
}

static const struct command *command_of(char **words, int count)
{
	char two[80];

	for (const struct command *c = commands; c->name; c++) {
		snprintf(two, sizeof(two), "%s %s", words[0], count > 2 ? words[1] : "");
		if (!strcmp(c->name, strchr(c->name, ' ') ? two : words[0]))
			return c;
	}
	return NULL;
}

void cli_complete(char **words, int count, const struct arg *common, const struct arg *serve)
{
	const char *partial = count ? words[count - 1] : "";
	const struct command *command = count > 1 ? command_of(words, count) : NULL;

	if (str_has_prefix(partial, "-")) {
		offer_options(partial, command ? command->args
					       : count > 1 && !strcmp(words[0], "serve") ? serve : NULL);
		offer_options(partial, common);
	} else if (count == 1) {
		offer_first(partial);
	} else if (count == 2) {
		offer_second(words[0], partial);
	}
}
