/*
 * command.h - what a command of wg-mesh is: one line of the table in commands.c, from which help,
 * dispatch and completion come. Every command returns the exit code of SPEC 2.
 */
#ifndef CORE_CLI_COMMAND_H
#define CORE_CLI_COMMAND_H

#include "lib/util.h"
#include "paths.h"
#include <stdio.h>

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_RUNNING = 3,
	EXIT_NOT_REACHABLE = 4,
	EXIT_CANNOT_RUN = 77,
};

#define WORDS_MAX 64

struct words { /* borrowed from argv */
	const char *items[WORDS_MAX];
	size_t count;
};

struct cli { /* one run of the program: its options, then what they lead to */
	/* everywhere */
	const char *config, *state, *run_dir, *plugin_dir;
	bool help, version, verbose;
	/* the commands' */
	bool json, healthy, until_direct, exit_node, no_up, edit_conf;
	uint64_t wait_s, count, listen_port;
	bool has_wait;
	const char *join_interface, *name, *link_file, *conf;
	struct words advertise, tags;

	struct words args;     /* what is not an option, after the command's name */
	const char *interface; /* as given or found; NULL where the command has none */
	struct paths paths;    /* of that interface */
	char **argv;           /* the process's own, so that a secret in it can be overwritten */
};

enum option_type {
	OPTION_FLAG,   /* bool */
	OPTION_TEXT,   /* const char * */
	OPTION_NUMBER, /* uint64_t, from min to max; has_offset (if not 0) is a bool set beside it
			*/
	OPTION_LIST,   /* struct words; may be repeated, a value may hold several with commas */
};

struct option {           /* a table of them ends with an empty name */
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum option_type type;
	size_t offset;     /* in struct cli */
	const char *value; /* what the help calls it; NULL: a flag */
	const char *help;
	uint64_t min, max;
	size_t has_offset;
};

enum interface_use {
	INTERFACE_NONE,
	INTERFACE_REQUIRED, /* the first argument */
	INTERFACE_OPTIONAL, /* the first, or the only one this host has */
	INTERFACE_IF_ANY,   /* the same, but none at all is fine */
};

struct command {
	const char *name;
	int (*run)(struct cli *cli);
	const char *synopsis; /* arguments and options, as in the help */
	const char *help;     /* one line */
	const char *more;     /* for COMMAND --help; NULL: nothing to add */
	enum interface_use interface;
	unsigned min_args, max_args;  /* without the interface */
	const struct option *options; /* NULL: none of its own */
	const char *argument_kind;    /* "peer": what completion offers for them; NULL: nothing */
};

extern const struct command commands[]; /* ends with an empty name */
extern const struct option global_options[];
const struct command *command_find(const char *name);

/* Takes options out of argv and puts the rest into cli->args. `own` may be NULL. false: error. */
#define OPTION_ERROR 300
bool options_parse(struct cli *cli, const struct option *own, int argc, char **argv,
		   char error[static OPTION_ERROR]);
/* One option at argv[*i]; moves *i on to a value that stands by itself. */
bool options_take(struct cli *cli, const struct option *own, int argc, char **argv, int *i,
		  char error[static OPTION_ERROR]);
void options_help(FILE *out, const struct option *options);

/* "wg-mesh: sentence" on stderr; returns `code`, so that a command can end with it. */
int complain(enum exit_code code, const char *format, ...) PRINTF_LIKE(2, 3);

/* Checks cli->interface and sets cli->paths: 0, or 2 after a sentence. */
int cli_set_interface(struct cli *cli);

int run_join(struct cli *cli);
int run_up(struct cli *cli);
int run_down(struct cli *cli);
int run_status(struct cli *cli);
int run_ping(struct cli *cli);
int run_explain(struct cli *cli);
int run_plugins(struct cli *cli);
int run_reload(struct cli *cli);
int run_events(struct cli *cli);
int run_doctor(struct cli *cli);
int run_rekey(struct cli *cli);
int run_leave(struct cli *cli);
int run_complete(struct cli *cli); /* not in the table: what the shells' completions ask */

#endif
