/*
 * cli_help.h - --help of all, of a group of commands and of one, and what is said where a command is none.
 */
#ifndef COORDINATOR_CLI_HELP_H
#define COORDINATOR_CLI_HELP_H

#include "cli.h"

/* On standard output, of what the words name: `command` (NULL: none was found), `serve`, or all commands that begin
 * with the first word; else of everything. */
void cli_help(const struct command *command, const char *const *words, size_t count, const struct arg *common,
	      const struct arg *serve);
/* Says so, and what there is. */
void cli_no_such(const char *const *words, size_t count, const char *near);

#endif
