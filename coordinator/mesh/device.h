/*
 * device.h - agentless peers: telephones and routers with the stock WireGuard app. A device hangs on
 * one agent, its gateway, and is told to that one alone, so it is no member of its network: it only
 * shares names, addresses and the classes of the policy with them. Data and look-ups; what changes it is
 * registry.h.
 */
#ifndef COORDINATOR_DEVICE_H
#define COORDINATOR_DEVICE_H

#include "mesh.h"

struct device {
	struct list in_agent; /* via->devices */
	char id[PROTO_ID_MAX], name[PROTO_NAME_MAX];
	struct network *network;
	struct agent *via; /* a member of that network */
	struct key public_key;
	struct addr address, address6; /* family 0: none */
	struct class *class; /* NULL until the policy in force has been read */
	uint64_t created_at;
	uint64_t made_in; /* as a network's */
};

struct device *device_add(struct mesh *mesh, const char *id, const char *name, struct network *network,
			  struct agent *via, const struct key *public_key);
void device_addressed(struct device *device); /* to be called when its addresses were set */
void device_del(struct mesh *mesh, struct device *device);
struct device *device_named(const struct network *network, const char *name);         /* or NULL */
struct device *device_by_key(const struct network *network, const struct key *public_key); /* or NULL */
struct device *device_at(const struct network *network, const struct addr *addr);          /* or NULL */
bool device_told(const struct device *device); /* to its gateway: is that one shown in this network? */

/* Adds PEERs of the protocol, of those it is told of. */
void device_peers(const struct agent *via, json_t *array);
json_t *device_addresses_json(const struct device *device);

#endif
