/*
 * cli_follow.h - `audit --follow`, which goes on after its first answer.
 */
#ifndef COORDINATOR_CLI_FOLLOW_H
#define COORDINATOR_CLI_FOLLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* The lines of `result`, and then each that comes, until the coordinator ends: said; the exit code. */
int cli_follow(const char *run_dir, const json_t *result, FILE *stream, bool as_json);

#endif
