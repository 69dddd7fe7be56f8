/*
 * cli.h - the administrator's side of the command: words to a request on the socket, its result to
 * text or JSON.
 */
#ifndef COORDINATOR_CLI_H
#define COORDINATOR_CLI_H

#include "coordinator/args.h"
#include "coordinator/config.h"

#include <stdio.h>

#define CLI_MAX_WORDS    40
#define CLI_MAX_COMMANDS 80

struct command {
	const char *name;        /* "network create"; NULL ends the table */
	const char *words[3];    /* what follows, by key; */
	const char *rest;        /* and where all that is left over goes, as a list */
	const struct arg *args;  /* may be NULL */
	void (*print)(const json_t *result);
	const char *help;
	/* Done here, not asked of the running coordinator; fills the result, an object, and returns the exit
	 * code. NULL: asked. */
	int (*local)(const struct config *config, const json_t *options, json_t *result);
};

extern const struct command commands[];

const struct command *cli_find(const char *const *words, size_t count, size_t *used, const char **near);
/* Words to their keys in options; false: said what is wrong. */
bool cli_take_words(const struct command *command, json_t *options, const char *const *words, size_t count);
/* One question to the running coordinator, over a connection of its own: its answer, new, which may be NULL;
 * *stream is left open where it is not NULL. False: it could not be asked, or has not answered within half a
 * minute, which was said; *code is the exit code. */
bool cli_ask(const char *run_dir, const char *command, json_t *arguments, json_t **answer, FILE **stream,
	     int *code);
/* The exit code of an answer; of a refusal it says the reason. */
int cli_judge(const json_t *answer);
/* Does it here (command->local) and prints; returns the exit code. Of `options`, as of cli_run. */
int cli_run_local(const struct command *command, const struct config *config, json_t *options,
		  const char *const *words, size_t count);
/* Asks and prints; returns the exit code. `options` are what args_parse made, `words` what is left. */
int cli_run(const struct command *command, const char *run_dir, json_t *options,
	    const char *const *words, size_t count);

#endif
