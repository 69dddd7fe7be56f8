/*
 * coord_sync.h - one WebSocket connection to a coordinator, from dialling to its end: JSON objects
 * in and out. What the frames mean, and when to connect again, is coord.c's.
 */
#ifndef CORE_COORD_SYNC_H
#define CORE_COORD_SYNC_H

#include "fetch.h"
#include "lib/json.h"

#define SYNC_CODE 48
#define SYNC_WHY  300

struct coord_sync;

struct coord_sync_end {
	int status;           /* HTTP, where the upgrade was answered by something else than 101 */
	char code[SYNC_CODE]; /* of that answer; "malformed": what came in was no frame of ours; or "" */
	char why[SYNC_WHY];   /* a sentence, safe to log */
};

struct coord_sync_ops {
	void (*opened)(void *arg);
	/* false: not what was agreed; the connection ends with code "malformed" and `why`, a literal. */
	bool (*frame)(void *arg, json_t *frame, const char **why);
	void (*closed)(void *arg, const struct coord_sync_end *end); /* gone after this call */
};

struct coord_sync_target { /* borrowed for the call */
	const char *origin, *agent_id, *token;
	struct fetch_trust trust;
};

struct coord_sync *coord_sync_open(struct loop *loop, struct fetch *fetch, const struct coord_sync_target *target,
				   const struct coord_sync_ops *ops, void *arg);
int coord_sync_send(struct coord_sync *sync, json_t *frame); /* takes; -ENOTCONN before opened() */
/* The network changed. False: the connection went with its address; else silence for 5 s ends it. */
bool coord_sync_check(struct coord_sync *sync);
struct addr coord_sync_remote(const struct coord_sync *sync); /* family 0: not connected */
void coord_sync_end(struct coord_sync *sync, const char *why); /* soon; closed() is called */
void coord_sync_free(struct coord_sync *sync);  /* now; closed() is not called. NULL is fine */

#endif
