/*
 * cli_complete.h - `wg-mesh-coordinator complete-words WORD...`: what could stand in place of the last
 * word, for etc/completions/. A line each: the word, a tab, what it is.
 */
#ifndef COORDINATOR_CLI_COMPLETE_H
#define COORDINATOR_CLI_COMPLETE_H

#include "coordinator/args.h"

/* Nothing is printed where a file is to be named. */
void cli_complete(char **words, int count, const struct arg *common, const struct arg *serve);

#endif
