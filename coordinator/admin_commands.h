/*
 * admin_commands.h - what an administrator can ask of a running coordinator.
 */
#ifndef COORDINATOR_ADMIN_COMMANDS_H
#define COORDINATOR_ADMIN_COMMANDS_H

#include "registry.h"

/* The result, new; NULL: refused. `command` is "network create" and so on. */
json_t *admin_command(struct coordinator *co, const char *command, struct js *arguments,
		      const char *actor, struct refusal *why);

/* ---- shared between admin_*.c ---- */
typedef json_t *admin_fn(struct coordinator *co, struct js *js, const char *actor, struct refusal *why);
admin_fn admin_agent_list, admin_agent_show, admin_agent_rename, admin_agent_remove, admin_agent_expire,
	admin_agent_tag, admin_route_list, admin_route_approve, admin_route_revoke;

/* The network that an argument names; NULL: refused. */
struct network *admin_network(struct coordinator *co, struct js *js, const char *key, struct refusal *why);
/* {"message": text}, printf. */
json_t *admin_message(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
