/*
 * who.h - who administers, and what that one may: a role for everything or for single networks, cut
 * down by the scopes of an API token. root on the unix socket may everything.
 *
 * Roles are JSON objects as the database has them: {"*": "admin"} or {NETWORK_ID: "viewer", ...}.
 */
#ifndef COORDINATOR_WHO_H
#define COORDINATOR_WHO_H

#include "coordinator/mesh/mesh.h"

#define WHO_ACTOR 200
#define EVERYWHERE "*"

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

struct refusal;
struct who {
	char actor[WHO_ACTOR];     /* for the audit: "user ann from 192.0.2.1" */
	char user[PROTO_NAME_MAX]; /* "": nobody's token, or root */
	char access[PROTO_ID_MAX]; /* id of the API token or session; "" for root */
	bool root, session;
	json_t *roles;  /* the user's, NULL: no user */
	json_t *limits; /* the token's own, of the same shape; NULL: as its user */
	json_t *scopes; /* ["agents:read", ...]; NULL: all */
	uint64_t ends_at; /* of the API token, wall ms; 0: never, or none */
	enum role need; /* by the command that is running: what it takes in the network it works on */
	/* 0, or: what was made in this batch of the store, or in a later one, is not to be shown. */
	uint64_t until;
};

const char *role_name(enum role role);
enum role role_parse(const char *name); /* ROLE_NONE: no such word */

void who_root(struct who *who, unsigned uid);
void who_copy(struct who *out, const struct who *who); /* then who_fini */
void who_fini(struct who *who);

/* Is there a network, or everything, for which `now` has a higher role than `before`? NULL: had none. */
bool who_raised(const json_t *before, const json_t *now);

/* Adds `roles` to `out`, none of them higher than `most`. */
void who_cut(json_t *out, const json_t *roles, enum role most);

/* What somebody of these roles may who is held to these limits; each may be NULL; new. */
json_t *who_reach(const json_t *roles, const json_t *limits);

enum role who_role(const struct who *who, const struct network *network); /* NULL: for everything */
enum role who_highest(const struct who *who); /* in any network */
bool who_sees(const struct who *who, const struct network *network);
bool who_sees_id(const struct who *who, const char *network_id); /* of one that may be gone */
/* Is what was made in this batch (0: long ago) to be shown? Of a network who_sees has looked. */
bool who_shown(const struct who *who, uint64_t made_in);
/* May the running command work on this network (NULL: on what belongs to none)? */
bool who_may(const struct who *who, const struct network *network, struct refusal *why);
/* Do the token's scopes have "RESOURCE:read" or "RESOURCE:write"? write includes read. */
bool who_scope(const struct who *who, const char *resource, bool write);
/* May this one make API tokens? One that leaks must not go on in another after it was revoked: below admin a
 * token makes others only where it was given the scope for it by name, "write" is not enough. */
bool who_may_make_tokens(const struct who *who, struct refusal *why);
/* The tokens and join keys that this one makes live no longer than its token: the earlier of the two ends; 0:
 * never. */
uint64_t who_until(const struct who *who, uint64_t ends_at);
/* May this one make `tags` of the tags that were there `before` (NULL: none)? A tag that the policy has
 * under `tags:` is given, and taken away, by its owners alone: users by name, whoever has a role named
 * there in this network, users whose names are in a group named there; root and who is admin for
 * everything always. Other tags are any operator's. */
bool who_may_tag(const struct who *who, const struct policy *policy, const struct network *network,
		 const json_t *before, const json_t *tags, struct refusal *why);
/* The first of the tags that the policy has given to owners of whom this one is none; NULL: there is none. */
const char *who_lacks_tag(const struct who *who, const struct policy *policy, const struct network *network,
			  const json_t *tags);
/* Is a user of this name, who may not be there yet, an owner of tags? */
bool who_owner(const struct policy *policy, const char *user);

#endif
