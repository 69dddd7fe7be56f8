/*
 * events_private.h - the inside of events.h, for events.c (who listens) and events_gate.c (what waits for the
 * disk).
 */
#ifndef COORDINATOR_EVENTS_PRIVATE_H
#define COORDINATOR_EVENTS_PRIVATE_H

#include "events.h"

struct events {
	struct coordinator *co;
	struct list listeners;
	size_t count;
	events_follow_fn *follow; /* NULL: nobody follows the audit */
	void *follow_arg;
	struct list held;  /* events_gate.c: what waits, and */
	size_t held_bytes; /* what it takes */
};

/* To all that may see the network (its id, it may be gone; "": for those with a role for everything). Takes frame. */
void events_tell(struct events *events, const char *network_id, char *frame);
/* Whoever listens or follows is ended: they missed something. */
void events_lost(struct events *events);
void events_gate_clear(struct events *events); /* nothing waits any more */

#endif
