/*
 * mesh.h - who is there: networks, agents, memberships, routes and join keys, in memory. Only data
 * and look-ups; what changes it, and tells disk and agents about it, is registry.h.
 */
#ifndef COORDINATOR_MESH_H
#define COORDINATOR_MESH_H

#include "ipam.h"
#include "coordinator/policy/policy_class.h"
#include "where.h"
#include "lib/list.h"
#include "lib/map.h"
#include "lib/proto.h"
#include "lib/ratelimit.h"

#define HASH_LEN 32 /* SHA-256 of a join key */
#define MAX_TAGS 32
#define INSTANCE_ID_MAX 17

struct session; /* sync.h: an agent's stream */
struct device;  /* device.h */
struct peers_wait; /* api_agent.c: an answer of GET peers that waits for the disk */
struct store;

struct network {
	struct list node; /* mesh.networks */
	char id[PROTO_ID_MAX], name[PROTO_NAME_MAX];
	struct prefix cidr, cidr6; /* cidr6 may have family 0 */
	struct ipam *ipam, *ipam6;
	struct list members;
	struct map *names, *addresses; /* to members */
	struct map *devices, *device_keys, *device_addresses; /* by name, by public key, by address */
	unsigned member_count;
	struct classes *classes; /* of the policy in force; policy_state.h */
	uint64_t created_at; /* times are wall ms */
	uint64_t made_in; /* batch of the store that has it; 0: it was there, or came from another coordinator */
	bool approve;        /* who joins waits for an operator */
	struct list dirty, dirty_classes; /* sync's, while changes wait to be sent */
	uint64_t told_ms;                 /* sync's: when members were told, */
	unsigned receivers;               /* and how many at once */
};

enum route_by { ROUTE_BY_NOBODY, ROUTE_BY_ADMIN, ROUTE_BY_POLICY }; /* who said yes or no */

struct route {
	struct prefix prefix;
	bool approved;
	enum route_by by;
};

/* Both as the one number that the database has. */
int64_t route_word(const struct route *route);
void route_set_word(struct route *route, int64_t word);

struct member {
	struct list in_agent, in_network, in_class;
	struct agent *agent;
	struct network *network;
	struct class *class; /* NULL: shown to nobody */
	char name[PROTO_NAME_MAX], key_id[PROTO_ID_MAX];
	struct addr address, address6; /* family 0: none */
	bool pending; /* waits to be approved: sees nobody and is seen by nobody */
	bool expired; /* the same, until it joins again by a key of this network */
	bool ephemeral; /* goes when it was away for a while */
	uint64_t expires_at; /* wall ms; 0: never */
	uint64_t expired_at; /* wall ms, where it has; not on disk: no earlier than the start */
	unsigned direct_peers, relayed_peers; /* of this network, from its last heartbeat */
	json_t *tags;
	struct route *routes;
	unsigned route_count;
	uint64_t joined_at;
	uint64_t made_in; /* as a network's */
	uint64_t shown, changed; /* sync's: revisions since when it is shown, and of its last change */
	char *text; /* its PEER as others are told; NULL: to be written anew */
};

struct agent {
	char id[PROTO_ID_MAX];
	struct key public_key;
	struct list members;
	struct list devices; /* whose gateway it is */
	bool online;
	json_t *capabilities; /* may be NULL */
	uint64_t created_at, last_seen;
	uint64_t tokens_from; /* wall, a full second: tokens issued before it were revoked */
	struct where *at;         /* where.h */
	struct session *session;  /* NULL: no stream */
	struct peers_wait *peers_wait; /* NULL: none */
	uint64_t reset_revision;  /* sync's: whoever left off before this needs a snapshot */
	struct bucket requests;
	struct replaced {         /* sync's: a stream of it by another, so often since then; and not said before */
		uint64_t since_ms, quiet_ms;
		unsigned count;
	} replaced;
	struct list unsaved;      /* registry's: endpoints or online state not on disk yet */
	struct list unsaid;       /* cluster's: to be told to other coordinators */
	struct list leaving;      /* sync's: without a stream, still shown online until offline_at */
	uint64_t offline_at;      /* monotonic ms */
	char home[INSTANCE_ID_MAX]; /* the coordinator that has its stream, or had it last; "": the only one */
	uint64_t home_since;        /* wall ms; the later home is right */
};

struct join_key {
	char id[PROTO_ID_MAX];
	uint8_t hash[HASH_LEN];
	struct network *network;
	bool reusable, ephemeral;
	char name[PROTO_NAME_MAX]; /* "": any */
	json_t *tags;
	uint64_t created_at, expires_at, used_at, revoked_at; /* 0: not */
	uint64_t made_in; /* as a network's */
	char used_by[PROTO_ID_MAX];
	json_t *maker; /* users.h: who may give its tags; NULL: made before that was written down */
};

struct mesh {
	struct list networks;
	struct map *networks_by_name, *networks_by_id;
	struct map *agents, *agents_by_key;
	struct map *keys, *keys_by_hash;
	struct map *devices;
};

void mesh_init(struct mesh *mesh);
void mesh_fini(struct mesh *mesh);
int mesh_load(struct mesh *mesh, struct store *store, uint64_t wall_ms); /* 0 or -EIO */

struct network *mesh_network_add(struct mesh *mesh, const char *id, const char *name,
				 const struct prefix *cidr, const struct prefix *cidr6);
void mesh_network_del(struct mesh *mesh, struct network *network); /* without members; its keys go too */
struct agent *mesh_agent_add(struct mesh *mesh, const char *id, const struct key *public_key);
void mesh_agent_del(struct mesh *mesh, struct agent *agent);       /* without members or session */
void mesh_agent_rekey(struct mesh *mesh, struct agent *agent, const struct key *public_key);
struct member *mesh_member_add(struct agent *agent, struct network *network, const char *name);
void mesh_member_del(struct member *member);
void mesh_member_classify(struct member *member, struct class *class); /* NULL: out of its class */
void mesh_member_rename(struct member *member, const char *name);
void mesh_member_addressed(struct member *member); /* to be called when its addresses were set */
struct join_key *mesh_key_add(struct mesh *mesh, const char *id, const uint8_t hash[static HASH_LEN],
			      struct network *network);

/* Only where it is this one that is there: while another coordinator's changes come in one by one, two may
 * for a moment have the same name. */
void mesh_unmap(struct map *map, const void *key, const void *value);
void mesh_key_del(struct mesh *mesh, struct join_key *key);

struct member *mesh_member(const struct agent *agent, const struct network *network); /* or NULL */
struct network *mesh_network(const struct mesh *mesh, const char *name_or_id);        /* or NULL */
bool mesh_agent_in(const struct agent *agent, const struct network *network);
bool mesh_expired(const struct agent *agent); /* in all its networks: it is nobody until it joins again */

/* May it be shown to anybody at all? */
bool mesh_shown(const struct member *member);
/* Who is shown to whom: members of classes that see each other. */
bool mesh_sees(const struct member *viewer, const struct member *other);

/* ---- mesh_load.c: what rows of the store say, but for ids, names, addresses and routes ---- */
struct store_value;
bool mesh_row_public_key(const struct store_value *value, struct key *out);
void mesh_row_network(const struct store_value *row, struct network *network);
bool mesh_row_ranges(const struct store_value *row, struct prefix *cidr, struct prefix *cidr6);
void mesh_row_agent(const struct store_value *row, struct agent *agent); /* not its key, nor where it is */
void mesh_row_seen(const struct store_value *row, struct agent *agent);  /* where it is */
void mesh_row_member(const struct store_value *row, struct member *member);
void mesh_row_key(const struct store_value *row, struct join_key *key);
/* An address that was given back and rests, unless it is in use. */
void mesh_retired(struct mesh *mesh, const char *network_id, const char *address, uint64_t until,
		  uint64_t wall_ms);

json_t *mesh_peer_json(const struct member *member);
const char *mesh_peer_text(struct member *member); /* the same, kept until mesh_changed */
void mesh_changed(struct agent *agent);
json_t *mesh_network_json(const struct member *member); /* with the member's own addresses */
json_t *mesh_networks_json(const struct agent *agent);
json_t *mesh_addresses_json(const struct member *member, bool with_length);

#endif
