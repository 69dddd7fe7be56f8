/*
 * session.h - one agent's stream, between sync.c (what is to be said) and the WebSocket.
 */
#ifndef COORDINATOR_SESSION_H
#define COORDINATOR_SESSION_H

#include "sync.h"
#include "coordinator/mesh/ring.h"
#include "lib/loop.h"
#include "lib/ws.h"

struct session {
	struct list node;  /* sync's */
	struct list dirty; /* sync's, while it has something to be sent */
	char *held;        /* CHANGEs for it alone, to be sent first; NULL: none */
	uint64_t held_at;  /* their revision: what was said before it is in them */
	bool anew;         /* a snapshot instead, from that revision on */
	struct sync_wait wait; /* for the disk, of a snapshot */
	bool served;           /* it has had one, or needed none */
	struct coordinator *co;
	struct agent *agent; /* NULL: cut off */
	struct stream *stream;
	struct ws *ws;
	struct loop_timer tick;
	struct bucket messages, bytes;
	struct pace *paces;    /* of signals to whom it signals most; NULL: none yet */
	bool greeted;          /* hello has come */
	bool behind;           /* has not read what it was sent: more when it has */
	uint64_t sent, acked;  /* revisions */
	uint64_t early;        /* up to here it has heard of what need not wait for the disk */
	struct ws_watch watch;
	uint64_t token_ends_ms;
	unsigned bad_frames;
};

void session_open(struct request *rq, struct agent *agent, struct list *sessions);
void session_send(struct session *session, json_t *frame); /* takes frame */
void session_send_text(struct session *session, const char *text, size_t len);
void session_bye(struct session *session, const char *reason, uint64_t retry_ms);

void session_forget(struct session *session);  /* what is held for it */
bool session_waits(const struct session *session); /* for a snapshot: nothing else comes before that */

/* sync.c: what a frame asks for. */
void sync_hello(struct session *session, const char *epoch, uint64_t revision);
bool sync_signal(struct session *session, struct js *js, const char **code);
bool session_may_signal(struct session *session, const struct agent *to); /* not too many to one */
void sync_ended(struct session *session); /* its agent has no stream now */

#endif
