/*
 * ring.h - the last changes of the mesh, in order, each with its revision: 1, 2, 3 ... Bounded in
 * number and bytes; the oldest go first.
 */
#ifndef COORDINATOR_RING_H
#define COORDINATOR_RING_H

#include "lib/proto.h"

struct change {
	char network[PROTO_ID_MAX];  /* id; "": concerns everyone */
	char agent_id[PROTO_ID_MAX]; /* who it is about, and is not told; "": nobody */
	char *text;                  /* CHANGE of the protocol */
	size_t len;
};

struct ring;

struct ring *ring_new(size_t max_changes, size_t max_bytes);
void ring_free(struct ring *ring);
void ring_add(struct ring *ring, const char *network, const char *agent_id, const json_t *change);
uint64_t ring_revision(const struct ring *ring); /* of the newest change; 0: none yet */
/* Are all changes after `revision` still here? */
bool ring_reaches(const struct ring *ring, uint64_t revision);
const struct change *ring_get(const struct ring *ring, uint64_t revision); /* one that is here */

#endif
