/*
 * door.h - for server.c: sockets that are accepted and not yet a connection. A socket waits, at the
 * price of its descriptor, until it says something; then in its source's queue until it may begin
 * its TLS handshake. Silence costs others nothing, and no source can take the places of all.
 */
#ifndef COORDINATOR_DOOR_H
#define COORDINATOR_DOOR_H

#include "lib/addr.h"
#include "lib/list.h"
#include "lib/loop.h"
#include "lib/ratelimit.h"

struct coordinator;

/* An address (IPv6: its /64) and what it has of us. */
struct source {
	struct addr key; /* addr_source */
	unsigned connections; /* waiting ones too */
	size_t held;
	struct bucket requests;
	/* door.c's, oldest first: who has said nothing, who may begin, and conns in their handshake. */
	struct list silent, ready, settling;
	struct list turn; /* in door's, with some that are ready */
	struct list busy; /* in door's, with some in their handshake */
	unsigned settling_count;
};

struct door {
	struct coordinator *co;
	struct list silent; /* of all sources, oldest first */
	struct list turns;  /* sources that may begin one, in this order */
	struct list busy;   /* sources with some in their handshake */
	struct loop_timer pause;
	unsigned settling, ready, busy_count;
	void (*gone)(void *arg, struct source *source); /* one left before it was a connection */
	void *arg;
};

void door_init(struct door *door, struct coordinator *co,
	       void (*gone)(void *arg, struct source *source), void *arg);
void door_source_init(struct source *source);
void door_enter(struct door *door, struct source *source, int fd); /* takes the descriptor */
/* Makes room: the oldest that has said nothing leaves, of this source (NULL: of all). False: none. */
bool door_make_room(struct door *door, struct source *source);
void door_left(struct door *door, struct source *source); /* a handshake is over, either way */
/* Those that wait leave; those in a handshake end in the loop's next turn. */
void door_empty(struct door *door, struct source *source);
void door_close(struct door *door); /* stops its clock, at the end */

#endif
