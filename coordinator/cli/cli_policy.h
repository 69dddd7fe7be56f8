/*
 * cli_policy.h - `policy` on the administrator's side: the file is read here and sent as text.
 */
#ifndef COORDINATOR_CLI_POLICY_H
#define COORDINATOR_CLI_POLICY_H

#include <jansson.h>
#include <stdbool.h>

/* "file" to "text", "confirm" to seconds; false: told why. */
bool cli_policy_prepare(json_t *options);
/* `policy check --offline`: the exit code. */
int cli_policy_offline(const json_t *options, bool as_json);
/* After `apply --confirm`, on a terminal: asks, and confirms over a new connection. The exit code: 1 where
 * it was taken back. */
int cli_policy_keep(const char *run_dir, const json_t *applied);

void print_policy(const json_t *result);
void print_policy_check(const json_t *result);
void print_policy_tests(const json_t *result);
void print_policy_diff(const json_t *result);
void print_policy_applied(const json_t *result);
void print_verdict(const json_t *result);

#endif
