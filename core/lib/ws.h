/*
 * ws.h - WebSocket frames (RFC 6455) over wslay, both roles, sans-IO: text messages whole, pings
 * answered, limits kept. What is to be sent collects in ws_output.
 */
#ifndef CORE_LIB_WS_H
#define CORE_LIB_WS_H

#include "buf.h"

struct ws;
typedef void ws_message_fn(void *arg, const char *text, size_t len); /* one text message */

/* max: bytes of one message, larger closes with 1009. */
struct ws *ws_new(bool is_server, size_t max, ws_message_fn *fn, void *arg);
void ws_free(struct ws *ws);
/* 0; -EPROTO: the connection must be closed (a close frame may be in the output). May be called
 * from its own callback's message function only by ws_send and ws_close. */
int ws_feed(struct ws *ws, const void *data, size_t len);
/* Sending: 0; -EPIPE: closing or closed; -ENOBUFS: more than 16 MiB of output were left standing. */
int ws_send(struct ws *ws, const char *text, size_t len); /* queues one text message */
int ws_ping(struct ws *ws);
int ws_close(struct ws *ws, uint16_t code, const char *reason); /* queues a close frame */
struct buf *ws_output(struct ws *ws); /* borrowed: send from it, buf_consume what was taken */
bool ws_closed(const struct ws *ws);  /* both close frames have passed, or an error */
uint64_t ws_last_pong(const struct ws *ws); /* number of pongs seen */

/* For who pings at intervals: sends the next one. False: the last two were not answered, nothing is
 * sent. One pong or many in an interval are the same, so nobody can save them up. */
struct ws_watch { /* all zero to begin with */
	uint64_t pongs;
	unsigned unanswered;
};
bool ws_watch_ping(struct ws_watch *watch, struct ws *ws);

#endif
