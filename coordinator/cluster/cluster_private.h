/*
 * cluster_private.h - the inside of cluster.h: cluster.c (who is there, what is said on the bus),
 * cluster_pass.c (what passes from one to another), bulletin.c (which rows to read), apply.c (what they change here).
 */
#ifndef COORDINATOR_CLUSTER_PRIVATE_H
#define COORDINATOR_CLUSTER_PRIVATE_H

#include "bus.h"
#include "cluster.h"
#include "coordinator/coordinator.h"

struct instance {
	char id[INSTANCE_ID_MAX];
	uint64_t heard_ms;
	json_t *urls, *pins, *relays; /* NULL: none */
};

struct cluster {
	struct coordinator *co;
	struct bus *bus;
	char self[INSTANCE_ID_MAX];
	struct map *instances; /* others that live */
	struct map *early, *earlier; /* what was said of agents that are not known yet: JSON by id */
	struct list unsaid;    /* agents */
	struct list questions; /* that others have not answered yet */
	struct loop_task saying;
	struct loop_timer beat;
	uint64_t number;       /* of what was said: no two texts are equal */
	uint64_t beats, beat_ms;
	int64_t ahead_ms;      /* the host's clock, of the database's, as was said last */
	uint64_t up_ms;        /* since when the bus is there; 0: it is not */

	int64_t last;          /* bulletin that was taken; */
	bool asked, again;     /* those after it are being read; and once more afterwards */
	unsigned rows;         /* of this reading */
	bool heals;            /* for what was refused */
	size_t healing;        /* readings for what was refused */
	uint64_t refusals;     /* writes that were, until now */
};

/* ---- cluster.c ---- */
void cluster_send(struct cluster *cluster, const char *to, const char *what, json_t *value); /* to NULL: all */
void cluster_known(struct cluster *cluster, struct agent *agent); /* it is new here */

/* ---- cluster_clock.c ---- */
void cluster_look_at_clock(struct cluster *cluster); /* says it where the host's is not the database's */

/* ---- cluster_pass.c ---- */
void cluster_take_passed(struct cluster *cluster, const char *from, json_t *text);

/* ---- bulletin.c ---- */
void bulletin_start(struct cluster *cluster);
void bulletin_wake(struct cluster *cluster, bool heal); /* there may be new ones */
/* After a break; long_away: so long that what was said in it may be kept no more. */
void bulletin_catch_up(struct cluster *cluster, bool long_away);

/* ---- apply.c: one thing as the rows have it, begun zeroed but for the first four; rows of it, then the end ---- */
struct applied { /* a membership */
	struct member *member;
	bool changed, fresh, ended; /* ended: it was shown, and is no more */
	struct route *routes;
	unsigned route_count;
};

struct reading {
	struct cluster *cluster;
	enum store_about about;
	char id[PROTO_NAME_MAX];
	bool heal;
	bool judged, stale; /* newer things were written here meanwhile: to be read again */
	bool found, fresh, changed, was_expired;
	unsigned attempts;
	struct agent *agent;
	struct applied members[PROTO_MAX_NETWORKS];
	unsigned member_count;
};
typedef void apply_fn(struct coordinator *co, struct reading *reading, const struct store_value *row);
apply_fn apply_network, apply_key, apply_device, apply_user, apply_token, apply_relay, apply_policy, apply_meta,
	apply_agent, apply_member, apply_route;
typedef bool apply_end_fn(struct coordinator *co, struct reading *reading); /* false: read it again */
apply_end_fn apply_network_end, apply_key_end, apply_device_end, apply_user_end, apply_token_end,
	apply_relays_end, apply_meta_end, apply_agent_end;

#endif
