/*
 * complete.c - `wg-mesh complete-words WORD...`: what could stand in place of the last word. The
 * completions of bash, zsh and fish (etc/completions/) ask this, so that they never differ from the
 * table of commands. A line each: the word, a tab, what it is. It never complains.
 */
#include "agent.h"
#include "interfaces.h"
#include "lib/str.h"

#define PEERS_MS 300

static void offer(const char *partial, const char *dashes, const char *word, const char *help)
{
	char whole[128];

	snprintf(whole, sizeof(whole), "%s%s", dashes, word);
	if (str_has_prefix(whole, partial))
		printf("%s\t%s\n", whole, help);
}

static void offer_options(const char *partial, const struct option *table)
{
	for (; table && table->name; table++)
		offer(partial, "--", table->name, table->help);
}

static void offer_commands(const char *partial)
{
	for (const struct command *c = commands; c->name; c++)
		offer(partial, "", c->name, c->help);
}

static void offer_interfaces(const struct cli *cli, const char *partial)
{
	struct interfaces *found = xcalloc(1, sizeof(*found));

	interfaces_list(cli, found);
	for (size_t i = 0; i < found->count; i++)
		offer(partial, "", found->names[i], "interface");
	free(found);
}

static void offer_peers(struct cli *cli, const char *partial)
{
	struct interfaces *found = xcalloc(1, sizeof(*found));
	struct agent agent;
	json_t *status = NULL, *peer;
	size_t i;

	interfaces_list(cli, found);
	if (!cli->interface && found->count == 1)
		cli->interface = found->names[0];
	if (cli->interface && cli_set_interface(cli) == EXIT_DONE &&
	    agent_connect(&agent, cli->paths.socket) == 0) {
		if (agent_send(&agent, "{\"command\":\"status\"}") == 0)
			agent_next(&agent, PEERS_MS, &status);
		agent_close(&agent);
	}
	json_array_foreach(json_object_get(status, "peers"), i, peer)
	{
		const char *name = json_string_value(json_object_get(peer, "name"));

		if (name && name_valid(name))
			offer(partial, "", name, "peer");
	}
	json_decref(status);
	cli->interface = NULL;
	free(found);
}

static const struct option *option_of(const struct command *command, const char *word)
{
	const struct option *const tables[] = {command->options, global_options};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct option *o = tables[i]; o && o->name; o++)
			if (o->value &&
			    ((str_has_prefix(word, "--") && strcmp(word + 2, o->name) == 0) ||
			     (o->letter && word[0] == '-' && word[1] == o->letter && !word[2])))
				return o;
	return NULL;
}

/* Words between the command and the last one that are neither options nor their values. */
static size_t arguments_before(struct cli *cli, const struct command *command, int count,
			       char **words)
{
	size_t found = 0;

	for (int i = 1; i < count - 1; i++) {
		if (words[i][0] != '-') {
			if (found++ == 0 && command->interface != INTERFACE_NONE)
				cli->interface = words[i];
		} else if (option_of(command, words[i])) {
			i++;
		}
	}
	return found;
}

static void offer_arguments(struct cli *cli, const struct command *command, int count, char **words)
{
	size_t before = arguments_before(cli, command, count, words);
	const char *partial = words[count - 1];

	if (before == 0 && command->interface != INTERFACE_NONE)
		offer_interfaces(cli, partial);
	if (command->argument_kind && before <= 1) {
		if (before == 0)
			cli->interface = NULL;
		offer_peers(cli, partial);
	}
}

int run_complete(struct cli *cli)
{
	char **words = cli->argv + 2;
	const struct command *command;
	const struct option *before;
	int count = 0;

	while (words[count])
		count++;
	if (count == 0)
		return EXIT_DONE;
	if (count == 1) {
		offer_commands(words[0]);
		if (words[0][0] == '-')
			offer_options(words[0], global_options);
		return EXIT_DONE;
	}
	command = command_find(words[0]);
	if (!command)
		return EXIT_DONE;
	before = option_of(command, words[count - 2]);
	if (before && strcmp(before->value, "IFACE") == 0) {
		offer_interfaces(cli, words[count - 1]);
	} else if (!before && words[count - 1][0] == '-') {
		offer_options(words[count - 1], command->options);
		offer_options(words[count - 1], global_options);
	} else if (!before) {
		offer_arguments(cli, command, count, words);
	}
	return EXIT_DONE;
}
