/*
 * coord.h - the agent's side of the coordinator: tokens, the sync stream, reconnecting with
 * back-off (1 s doubling to 60 s) and jitter. Speaks through callbacks; knows nothing of peers'
 * paths. Losing it tears nothing down. Where there are several coordinators, the next is asked at once.
 */
#ifndef CORE_COORD_H
#define CORE_COORD_H

#include "fetch.h"
#include "state.h"

struct coord;

struct coord_ops { /* JSON is borrowed for the call */
	void (*connected)(void *arg, bool connected, const char *why);
	void (*snapshot)(void *arg, json_t *frame); /* type snapshot, or resume (then nothing changed) */
	void (*delta)(void *arg, json_t *frame);
	void (*signal)(void *arg, const char *from, const char *network, const uint8_t *box, size_t len);
	void (*state_changed)(void *arg); /* token, pins or id changed in the state: save it */
	/* The coordinator does not know us, or has revoked us. */
	void (*rejected)(void *arg, const char *code, const char *why);
};

/* state and private_key are borrowed for its life; it writes token and pins into the state. None of
 * the callbacks may free it. connected(true) comes right before the first snapshot or resume. After
 * rejected() it goes on asking now and then, in case we are let in again; nothing is torn down. */
struct coord *coord_new(struct loop *loop, struct fetch *fetch, struct state *state,
			const struct key *private_key, const struct coord_ops *ops, void *arg);
void coord_free(struct coord *coord);
void coord_start(struct coord *coord);
void coord_retry_now(struct coord *coord); /* the network has changed: do not wait out the back-off */
void coord_reconnect(struct coord *coord); /* address or pins in the state are others now */
bool coord_connected(const struct coord *coord);
const char *coord_refusal(const struct coord *coord); /* the code of rejected(), until we are in again; or NULL */
struct addr coord_remote(const struct coord *coord); /* family 0: not connected */
const char *coord_origin(const struct coord *coord); /* of the coordinator that is used, or tried */
uint64_t coord_since_wall_ms(const struct coord *coord);
void coord_set_fwmark(struct coord *coord, uint32_t fwmark);

/* Each is dropped where not connected; endpoints are sent again on connecting. */
void coord_send_endpoints(struct coord *coord, const struct proto_endpoints *at);
int coord_send_signal(struct coord *coord, const char *to, const char *network, const uint8_t *box, size_t len);
void coord_send_heartbeat(struct coord *coord, json_t *peer_status); /* takes */
/* What of the map has been taken in: for the next hello, and acknowledged now. Say so before
 * coord_start where a saved map was loaded, and after each snapshot, resume and delta that was
 * taken. NULL: nothing; then the stream is begun anew and a snapshot comes. */
void coord_set_position(struct coord *coord, const char *epoch, int64_t revision);

#endif
