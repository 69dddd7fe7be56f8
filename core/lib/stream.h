/*
 * stream.h - a byte stream of a server on the loop, plain or TLS, with a bounded output queue.
 * Output is gathered and written once at the end of the wake.
 */
#ifndef CORE_LIB_STREAM_H
#define CORE_LIB_STREAM_H

#include "buf.h"
#include "loop.h"
#include "sock.h"
#include "tls.h"

struct stream;

struct stream_ops {
	/* Bytes came in; returns how many it took (the rest is offered again with what follows).
	 * May call stream_close. */
	size_t (*data)(void *arg, const uint8_t *data, size_t len);
	void (*drained)(void *arg); /* the output queue has become empty; may be NULL */
	/* The stream has ended (peer, error, time-out, or stream_close after its last byte) and is
	 * gone after this call. reason is a short sentence. */
	void (*closed)(void *arg, const char *reason);
};

/* Takes fd. tls NULL: plain. handshake and idle limits in ms (0: none). */
struct stream *stream_new(struct loop *loop, int fd, struct tls_server *tls, const struct stream_ops *ops,
			  void *arg, uint64_t idle_ms);
/* 0; -ENOBUFS: the queue (max bytes, default 1 MiB) is full and the stream is being closed. */
int stream_write(struct stream *stream, const void *data, size_t len);
void stream_set_limit(struct stream *stream, size_t max_queued);
void stream_set_idle(struct stream *stream, uint64_t idle_ms);
size_t stream_queued(const struct stream *stream);
void stream_close(struct stream *stream);  /* after what is queued has been sent (at most 5 s) */
void stream_abort(struct stream *stream);  /* now; closed() is called from the loop */
const struct endpoint *stream_remote(const struct stream *stream);
const struct endpoint *stream_local(const struct stream *stream);

#endif
