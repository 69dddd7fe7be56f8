/*
 * admin_commands.h - what can be administered, once for all who ask: the unix socket (admin.c) and
 * REST (api_admin.c). A command takes arguments as JSON and gives a result or a refusal.
 *
 * The table says which resource a command is of (for the scopes of tokens), whether it writes, and the
 * role it takes. In which network that role is needed only the command knows: it asks by admin_network,
 * admin_member or who_may, and shows nothing of networks that who_sees does not have.
 */
#ifndef COORDINATOR_ADMIN_COMMANDS_H
#define COORDINATOR_ADMIN_COMMANDS_H

#include "coordinator/mesh/find.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/access/who.h"

struct admin_call;
typedef json_t *admin_fn(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why);

struct admin_row {
	const char *name; /* "network create" */
	admin_fn *fn;
	const char *resource; /* "networks" */
	enum role role;
	bool write;
	bool password; /* "password" in the arguments becomes "password_hash" before fn is called */
	void (*later)(struct admin_call *call, struct js *js); /* instead of fn: ends with admin_finish */
};
const struct admin_row *admin_row(const char *command); /* NULL: none */

/* One call, embedded in who asks; all-zero: none. `done` comes at once, or later where a password must
 * be hashed, or where what a command has read is not on the disk yet; result (new) or why. */
struct admin_call {
	struct coordinator *co;
	const struct admin_row *row;
	json_t *arguments;
	struct who who;
	struct password_job *job;
	struct held_read *held; /* admin_read.c */
	void **reading; /* of who answers later: set to NULL when the call is cancelled */
	void (*done)(void *arg, json_t *result, const struct refusal *why);
	void *arg;
};
void admin_run(struct admin_call *call, struct coordinator *co, const char *command, json_t *arguments,
	       const struct who *who, void (*done)(void *arg, json_t *result, const struct refusal *why),
	       void *arg);
void admin_call_cancel(struct admin_call *call);
void admin_finish(struct admin_call *call, json_t *result, const struct refusal *why);

/* ---- admin_read.c ---- */
/* Runs a command that only reads, and ends the call when all that it has seen is on the disk. */
void admin_read(struct admin_call *call);
void admin_read_cancel(struct admin_call *call); /* one that waits; else nothing */

/* ---- shared between admin_*.c ---- */
admin_fn admin_network_create, admin_network_list, admin_network_show, admin_network_set,
	admin_network_remove;
admin_fn admin_key_create, admin_key_list, admin_key_show, admin_key_revoke;
admin_fn admin_agent_list, admin_agent_show, admin_agent_rename, admin_agent_set, admin_agent_remove,
	admin_agent_expire, admin_agent_tag, admin_agent_approve;
admin_fn admin_route_list, admin_route_set, admin_route_approve, admin_route_revoke;
admin_fn admin_peer_add, admin_peer_list, admin_peer_remove;
admin_fn admin_user_add, admin_user_list, admin_user_show, admin_user_set, admin_user_link,
	admin_user_remove;
admin_fn admin_token_create, admin_token_list, admin_token_revoke;
admin_fn admin_relay_add, admin_relay_list, admin_relay_remove;
void admin_audit(struct admin_call *call, struct js *js);
admin_fn admin_policy_check, admin_policy_show, admin_policy_diff, admin_policy_apply, admin_policy_confirm,
	admin_policy_rollback, admin_policy_explain;

/* The network that an argument names and that this one may work on; NULL: refused. One it may not see
 * is unknown to it. */
struct network *admin_network(struct coordinator *co, struct js *js, const char *key,
			      const struct who *who, struct refusal *why);
/* The one that "network" names, NULL in *only where none was given. False: refused. */
bool admin_network_given(struct coordinator *co, struct js *js, struct network **only, const struct who *who,
			 struct refusal *why);
/* The membership that "agent" (and "network") name, to be changed: an agent that is in several networks which
 * this one sees is refused where no network is named. NULL: refused. */
struct member *admin_member(struct coordinator *co, struct js *js, enum find_how how, const struct who *who,
			    struct refusal *why);
json_t *admin_agent_json(const struct member *member);
/* {name: list}, takes the list: objects in the order of what they have under `key` (times too are texts), and where
 * that is the same under `id`. */
json_t *admin_sorted(const char *name, json_t *list, const char *key, const char *id);
/* {"message": text}, printf. */
json_t *admin_message(const char *format, ...) PRINTF_LIKE(1, 2);
/* "expires": "1h" ... or never (0); false: refused. */
bool admin_lifetime(struct js *js, uint64_t *ms, struct refusal *why);

#endif
