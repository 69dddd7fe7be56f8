/*
 * args.h - a command line into JSON, by tables of options.
 */
#ifndef COORDINATOR_ARGS_H
#define COORDINATOR_ARGS_H

#include "lib/util.h"

#include <jansson.h>

#define ARGS_ERROR 240

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_RUNNING, EXIT_NOT_REACHABLE };

enum arg_kind { ARG_FLAG, ARG_VALUE, ARG_LIST };

struct arg { /* "--name" */
	const char *name, *key; /* name NULL ends a table */
	enum arg_kind kind;
	const char *value, *help; /* how the value is called in --help */
};

/* Options of either table go to `out` by their key; everything else to words, which borrows. False:
 * a sentence in error. */
bool args_parse(json_t *out, const struct arg *const tables[2], int argc, char **argv,
		const char **words, size_t max_words, size_t *count, char error[static ARGS_ERROR]);
/* The words before the first option that is in neither table: what command it is. */
size_t args_words(const struct arg *const tables[2], int argc, char **argv, const char **words,
		  size_t max_words);
void args_help(const struct arg *table); /* lines of options on stdout */

#endif
