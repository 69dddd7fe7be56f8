/*
 * registry.h - every change of the mesh: judged, made in memory, written to the store and told to
 * the agents it concerns. API and administration both go through here, so a rule is written once.
 */
#ifndef COORDINATOR_REGISTRY_H
#define COORDINATOR_REGISTRY_H

#include "coordinator/coordinator.h"

#define SECRET_TEXT 24 /* a join key's 22 characters, NUL */

struct refusal { /* why not: what an API answers with */
	int status;       /* 0: not yet; somebody is asked, and the handler is called again */
	const char *code; /* stable */
	char detail[400]; /* a sentence */
};
/* Always false, for `return refuse(...)`. */
bool refuse(struct refusal *why, int status, const char *code, const char *format, ...) PRINTF_LIKE(4, 5);

/* One line of the audit, also to those who follow it. detail may be NULL. */
void registry_audit(struct coordinator *co, const char *actor, const char *action, const char *subject,
		    const char *detail);

/* The same, of one network: also shown to those who may see only it. network NULL: of none. */
void registry_audit_in(struct coordinator *co, const struct network *network, const char *actor,
		       const char *action, const char *subject, const char *detail);
json_t *registry_audit_json(uint64_t at, const char *actor, const char *action, const char *subject,
			    const char *detail, const char *network);

/* ---- networks and keys (registry_admin.c) ---- */

struct network *registry_network_create(struct coordinator *co, const char *name,
					const struct prefix *cidr, const struct prefix *cidr6,
					const char *actor, struct refusal *why);
bool registry_network_remove(struct coordinator *co, struct network *network, const char *actor,
			     struct refusal *why);

/* Whether agents that join from now on wait for registry_approve. */
void registry_network_approve(struct coordinator *co, struct network *network, bool approve,
			      const char *actor);

struct key_wish {
	struct network *network;
	bool reusable, ephemeral;
	uint64_t expires_at; /* wall ms; 0: never */
	const char *name;    /* NULL: any */
	const json_t *tags;  /* NULL: none; copied */
	const struct who *maker; /* whose tags they are to give; NULL: there are none */
};
/* The key's text goes to `secret` and nowhere else. NULL: refused. */
struct join_key *registry_key_create(struct coordinator *co, const struct key_wish *wish,
				     const char *actor, char secret[static SECRET_TEXT],
				     struct refusal *why);
void registry_key_revoke(struct coordinator *co, struct join_key *key, const char *actor);

/* ---- agents ---- */

struct registration {
	struct key public_key;
	const char *name, *join_key;
	struct proto_endpoints at;
	json_t *capabilities, *tags; /* borrowed; may be NULL */
	struct prefix routes[PROTO_MAX_ROUTES];
	unsigned route_count;
	bool preview; /* judge only */
};
/* Its join key, where that is one that lets it in; NULL: refused. */
const struct join_key *registry_admits(struct coordinator *co, const struct registration *reg, struct refusal *why);
/* The membership, made (*again false) or found; with preview NULL and *network. NULL and no network:
 * refused. */
struct member *registry_register(struct coordinator *co, const struct registration *reg,
				 const char *actor, bool *again, struct network **network,
				 struct refusal *why);

void registry_endpoints(struct coordinator *co, struct agent *agent, const struct proto_endpoints *at);
/* The same, as another coordinator has said it. */
void registry_heard(struct coordinator *co, struct agent *agent, const struct proto_endpoints *at,
		    bool online, uint64_t last_seen);
void registry_online(struct coordinator *co, struct agent *agent, bool online);
void registry_seen(struct coordinator *co, struct agent *agent);
void registry_save_seen(struct coordinator *co, unsigned max); /* some of the lazy ones, now */

/* Out of one network, or with NULL out of all: its token and stream end at once. The agent itself is
 * gone with its last network. */
void registry_remove(struct coordinator *co, struct agent *agent, struct network *network,
		     const char *actor);
bool registry_rename(struct coordinator *co, struct member *member, const char *name, const char *actor,
		     struct refusal *why);
void registry_tag(struct coordinator *co, struct member *member, const json_t *tags, const char *actor);
/* It has to join this network again, by a key of it; its other networks it keeps. Where none is left, its
 * token and stream end at once. */
void registry_expire(struct coordinator *co, struct member *member, const char *actor);
void registry_expire_at(struct coordinator *co, struct member *member, uint64_t wall_ms, /* 0: never */
			const char *actor);
/* Who is ephemeral and was away for too long goes; who was told to expires. */
void registry_end_due(struct coordinator *co, uint64_t wall_ms);
/* Lets it in that waits for that, or that has expired here. */
void registry_approve(struct coordinator *co, struct member *member, const char *actor);
/* Would any agent of the network take this route of a peer (SPEC 1, rule 6)? Else the reason. */
bool registry_route_ok(const struct network *network, const struct prefix *prefix, struct refusal *why);
/* A route that the member advertises. */
bool registry_route(struct coordinator *co, struct member *member, const struct prefix *prefix,
		    bool approved, const char *actor, struct refusal *why);
bool registry_rekey(struct coordinator *co, struct agent *agent, const struct key *public_key,
		    struct refusal *why);

/* ---- devices (registry_device.c) ---- */

/* NULL: refused. */
struct device *registry_device_add(struct coordinator *co, struct member *via, const char *name,
				   const struct key *public_key, const char *actor, struct refusal *why);
void registry_device_remove(struct coordinator *co, struct device *device, const char *actor);
/* Those of a gateway that goes, out of one network or with NULL out of all. */
void registry_devices_drop(struct coordinator *co, struct agent *via, const struct network *network,
			   const char *actor);

/* ---- shared between registry*.c ---- */
/* An address that nobody gets for some days. */
void registry_retire(struct coordinator *co, const struct network *network, struct ipam *ipam,
		     const struct addr *addr);
bool registry_name_ok(const char *name, struct refusal *why);
bool registry_tags_ok(const json_t *tags, struct refusal *why);
json_t *registry_tags_once(const json_t *tags); /* a copy, each once; new */
void registry_return(struct coordinator *co, struct member *member); /* that may have expired there */
void registry_write_agent(struct coordinator *co, const struct agent *agent); /* that is new */
void registry_write_member(struct coordinator *co, const struct member *member); /* that is new */
/* What the policy says of routes that are there. */
void registry_write_judged(struct coordinator *co, const struct member *member);
void registry_new_id(char out[static PROTO_ID_MAX]);

#endif
