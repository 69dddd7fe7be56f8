/*
 * netmap.h - what the coordinator says of the other agents: memberships by (network, agent id) and
 * by public key, the position in its stream, and what changed. An agent that is with us in several
 * networks is several members with one key.
 */
#ifndef CORE_NETMAP_H
#define CORE_NETMAP_H

#include "lib/proto.h"

#define NETMAP_MAX 20000 /* memberships; more are refused */

struct netmap;

struct netmap_member {
	struct proto_peer peer;
	bool was_managed;           /* of a saved map: its WireGuard peer was made by us */
	struct netmap_member *next; /* the same key in another network; NULL: none */
	unsigned generation;        /* private */
};

enum netmap_change {
	NETMAP_ADDED = 1,
	NETMAP_REMOVED = 2, /* of its last membership */
	NETMAP_ADDRESSES = 4,
	NETMAP_ROUTES = 8,
	NETMAP_ENDPOINTS = 16,
	NETMAP_ONLINE = 32,
	NETMAP_NAME = 64,
};
/* Pure: what is different. NULL: was or is not there. */
unsigned netmap_diff(const struct proto_peer *before, const struct proto_peer *after);

struct netmap_ops {
	/* Before all else of a frame: an agent goes on under a new key in every network it is in. What
	 * else there is to tell of the two keys follows: the old one removed, the new one added. */
	void (*rekeyed)(void *arg, const struct key *old_key, const struct key *new_key);
	/* Once for each key that a frame has changed, removals first. */
	void (*changed)(void *arg, const struct key *key, unsigned what);
	void (*networks)(void *arg, json_t *networks); /* borrowed arrays */
	void (*relays)(void *arg, json_t *relays);
	void (*refused)(void *arg, const char *name, const char *why); /* what cannot be read */
};

struct netmap *netmap_new(const struct netmap_ops *ops, void *arg);
void netmap_free(struct netmap *netmap);

/* A snapshot or a saved map: replaces all. What cannot be read is left out. */
void netmap_snapshot(struct netmap *netmap, json_t *frame);
void netmap_delta(struct netmap *netmap, json_t *frame);

/* The first of those with this key: an agent, where one is among them, before devices. */
struct netmap_member *netmap_by_key(const struct netmap *netmap, const struct key *key);
struct netmap_member *netmap_by_id(const struct netmap *netmap, const char *network,
				   const char *agent_id);
/* Does the map give this address to a key other than this one? Looks at all of it. */
bool netmap_has_address(const struct netmap *netmap, const struct addr *addr, const struct key *but);
size_t netmap_count(const struct netmap *netmap);
const char *netmap_epoch(const struct netmap *netmap); /* "": none */
int64_t netmap_revision(const struct netmap *netmap);

typedef bool netmap_managed_fn(void *arg, const struct key *key);
/* New, in the form of the state file; each peer says whether its WireGuard peer is ours. */
json_t *netmap_json(const struct netmap *netmap, netmap_managed_fn *managed, void *arg);

#endif
