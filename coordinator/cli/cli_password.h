/*
 * cli_password.h - a password for a command: asked for twice on a terminal, else the first line of
 * standard input. Never an argument: those are seen by every process of the host.
 */
#ifndef COORDINATOR_CLI_PASSWORD_H
#define COORDINATOR_CLI_PASSWORD_H

#include <jansson.h>
#include <stdbool.h>

bool cli_password(json_t *options); /* sets "password"; false: told why */

#endif
