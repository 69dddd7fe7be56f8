/*
 * ring.h - the last changes of the mesh, in order, each with its revision: 1, 2, 3 ... Bounded in
 * number and bytes; the oldest go first.
 */
#ifndef COORDINATOR_RING_H
#define COORDINATOR_RING_H

#include "lib/proto.h"

struct class;

struct change {
	char agent_id[PROTO_ID_MAX]; /* who it is about, and is not told; "": nobody */
	char *text;                  /* CHANGE of the protocol; NULL: nothing is told */
	size_t len;
	/* its owner's: */
	const struct class *not_seeing; /* not for those who see this class; NULL: none */
	uint64_t previous; /* revision of the change before it for the same receivers; 0: none */
	bool durable;      /* waits for the disk */
	unsigned fields;   /* what it tells: a later one that tells all of it replaces it */
};

struct ring;

struct ring *ring_new(size_t max_changes, size_t max_bytes);
void ring_free(struct ring *ring);
/* json NULL: only the number. Borrowed, and the last of the ring until the next. */
struct change *ring_add(struct ring *ring, const char *agent_id, const json_t *json);
void ring_forget(struct ring *ring, uint64_t revision); /* its text, if it is still there */
uint64_t ring_revision(const struct ring *ring); /* of the newest change; 0: none yet */
/* One that is here; NULL: gone, or not yet. */
const struct change *ring_get(const struct ring *ring, uint64_t revision);

#endif
