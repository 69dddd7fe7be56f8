/*
 * main.c - wg-mesh: finds the command and its interface, and runs it. Nothing is loaded, opened or
 * started here, since `up` and `down` stand in wg-quick's way for as long as we take.
 */
#include "command.h"
#include "interfaces.h"
#include "lib/log.h"
#include "lib/str.h"

#include <signal.h>
#include <stdarg.h>

int complain(enum exit_code code, const char *format, ...)
{
	va_list args;

	fputs("wg-mesh: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

static int print_help(void)
{
	puts("wg-mesh: one full mesh from ordinary wg-quick interfaces\n\n"
	     "usage: wg-mesh COMMAND [arguments]\n");
	for (const struct command *c = commands; c->name; c++)
		printf("  %-8s %-40s %s\n", c->name, c->synopsis, c->help);
	puts("\noptions of every command:");
	options_help(stdout, global_options);
	puts("\n`wg-mesh COMMAND --help` tells about one. Exit codes: 0 done, 1 failed, 2 wrong "
	     "usage,\n"
	     "3 not running, 4 not reachable, 77 cannot run here.");
	return EXIT_DONE;
}

static int print_command_help(const struct command *command)
{
	printf("usage: wg-mesh %s %s\n\n%s\n", command->name, command->synopsis, command->help);
	if (command->more)
		printf("\n%s\n", command->more);
	if (command->options) {
		puts("\noptions:");
		options_help(stdout, command->options);
	}
	puts("\noptions of every command:");
	options_help(stdout, global_options);
	return EXIT_DONE;
}

static int unknown_command(const char *name)
{
	const char *names[32] = {NULL}, *near;
	size_t count = 0;

	for (const struct command *c = commands; c->name && count < ARRAY_SIZE(names) - 1; c++)
		names[count++] = c->name;
	near = str_nearest(name, names);
	if (near)
		return complain(EXIT_USAGE, "there is no command %.60s: did you mean %s?", name,
				near);
	return complain(EXIT_USAGE, "there is no command %.60s: `wg-mesh --help` lists them", name);
}

/* Which interface a command is for; its name is taken out of the arguments. */
static int choose_interface(struct cli *cli, const struct command *command)
{
	struct words *args = &cli->args;
	bool given = args->count > command->max_args ||
		     (command->interface == INTERFACE_REQUIRED && args->count > 0);

	if (command->interface == INTERFACE_NONE)
		return EXIT_DONE;
	if (!given && command->interface == INTERFACE_REQUIRED)
		return complain(EXIT_USAGE, "which interface? usage: wg-mesh %s %s", command->name,
				command->synopsis);
	if (!given)
		return interfaces_only_one(cli, command->interface == INTERFACE_IF_ANY);
	cli->interface = args->items[0];
	args->count--;
	memmove(args->items, args->items + 1, args->count * sizeof(args->items[0]));
	return EXIT_DONE;
}

int cli_set_interface(struct cli *cli)
{
	if (!interface_name_valid(cli->interface))
		return complain(EXIT_USAGE,
				"%.40s is no interface name: at most 15 of a-z A-Z 0-9 _ = + . -",
				cli->interface);
	if (paths_init(&cli->paths, cli->interface, cli->config, cli->state, cli->run_dir,
		       cli->plugin_dir) < 0)
		return complain(EXIT_USAGE, "a path given by an option is too long");
	return EXIT_DONE;
}

static int run_command(struct cli *cli, const struct command *command)
{
	int code = choose_interface(cli, command);

	if (code)
		return code;
	if (cli->args.count < command->min_args || cli->args.count > command->max_args)
		return complain(EXIT_USAGE, "usage: wg-mesh %s %s", command->name,
				command->synopsis);
	code = cli->interface ? cli_set_interface(cli) : EXIT_DONE;
	return code ? code : command->run(cli);
}

static int run(int argc, char **argv)
{
	const struct command *command = NULL;
	char error[OPTION_ERROR];
	struct cli cli = {.argv = argv};
	int at = 1;

	if (argc > 1 && strcmp(argv[1], "complete-words") == 0)
		return run_complete(&cli);
	for (; at < argc && argv[at][0] == '-'; at++)
		if (!options_take(&cli, NULL, argc, argv, &at, error))
			return complain(EXIT_USAGE, "%s", error);
	if (at < argc && strcmp(argv[at], "help") != 0) {
		command = command_find(argv[at]);
		if (!command)
			return unknown_command(argv[at]);
	}
	log_open("wg-mesh", NULL, LOG_WARN);
	if (command && !options_parse(&cli, command->options, argc - at - 1, argv + at + 1, error))
		return complain(EXIT_USAGE, "%s", error);
	if (cli.version)
		return puts("wg-mesh " WG_MESH_VERSION) < 0;
	if (!command)
		return cli.help || at < argc ? print_help() : (print_help(), EXIT_USAGE);
	return cli.help ? print_command_help(command) : run_command(&cli, command);
}

int main(int argc, char **argv)
{
	standard_open();
	signal(SIGPIPE, SIG_IGN);
	return output_end("wg-mesh", run(argc, argv));
}
