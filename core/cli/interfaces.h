/*
 * interfaces.h - the interfaces of this host that are in a mesh: those with a configuration or a
 * control socket.
 */
#ifndef CORE_CLI_INTERFACES_H
#define CORE_CLI_INTERFACES_H

#include "command.h"

#define INTERFACES_MAX 64

struct interfaces {
	char names[INTERFACES_MAX][16];
	size_t count;
};

void interfaces_list(const struct cli *cli, struct interfaces *out); /* sorted, each once */

/* Sets cli->interface to the only one there is. Else complains and returns the exit code: 2 where
 * there are several (and names them), 3 where there is none and
 * that is not fine. */
int interfaces_only_one(struct cli *cli, bool none_is_fine);

/* The file /etc/wg-mesh/NAME.yaml is a server's. */
bool interfaces_reserved(const char *name);

#endif
