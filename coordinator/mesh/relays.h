/*
 * relays.h - relays that an administrator added, beside the embedded one. Agents are told of all. What adds and
 * removes them is in registry.h.
 */
#ifndef COORDINATOR_RELAYS_H
#define COORDINATOR_RELAYS_H

#include "lib/list.h"
#include "lib/proto.h"

struct coordinator;
struct store_value;

struct relay {
	struct list node; /* coordinator's */
	char id[PROTO_ID_MAX];
	struct proto_relay as; /* as agents are told */
	uint64_t created_at;
	uint64_t made_in; /* as a network's */
};

/* Texts of `list` that are STUN servers, copied; more than there is room for are left out. */
void relays_take_stun(struct proto_relay *as, const json_t *list);
int relays_load(struct coordinator *co);
void relays_row(void *co, const struct store_value *row); /* adds it */
void relays_free(struct coordinator *co);
void relays_append(const struct coordinator *co, json_t *array); /* RELAYs of the protocol */

#endif
