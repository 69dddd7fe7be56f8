/*
 * cli_print.h - results of commands on standard output, for people; print_json for programs.
 */
#ifndef COORDINATOR_CLI_PRINT_H
#define COORDINATOR_CLI_PRINT_H

#include <jansson.h>

struct column {
	const char *title, *key; /* title NULL ends */
};
void print_table(const json_t *rows, const struct column *columns);

void print_json(json_t *result); /* with "schema": 1 */
void print_message(const json_t *result);
void print_moved(const json_t *result); /* rows of each table, and the message */
void print_link(const json_t *result); /* the link alone */
void print_networks(const json_t *result);
void print_keys(const json_t *result);
void print_agents(const json_t *result);
void print_agent(const json_t *result);
void print_users(const json_t *result);
void print_tokens(const json_t *result);
void print_relays(const json_t *result);
void print_secret(const json_t *result); /* the API token alone */
void print_routes(const json_t *result);
void print_audit(const json_t *result);
void print_audit_line(const json_t *line);

#endif
