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
	/* Bytes came in; returns how many it took. The rest is offered again with what follows, or
	 * after stream_resume; from 64 KiB of it on nothing more is read. May call everything below. */
	size_t (*data)(void *arg, const uint8_t *data, size_t len);
	void (*drained)(void *arg); /* the output queue has become empty; may be NULL */
	/* The stream has ended (peer, error, time-out, or stream_close after its last byte) and is
	 * gone after this call. reason is a short sentence. */
	void (*closed)(void *arg, const char *reason);
};

/* Takes fd. tls NULL: plain; else the handshake has 10 s. idle_ms without a byte in or out ends the
 * stream (0: never). Nothing is called before the loop runs. */
struct stream *stream_new(struct loop *loop, int fd, struct tls_server *tls, const struct stream_ops *ops,
			  void *arg, uint64_t idle_ms);
/* 0; -ENOBUFS: the queue (max bytes, default 1 MiB) is full and the stream is being ended; -EPIPE:
 * it is closing already. */
int stream_write(struct stream *stream, const void *data, size_t len);
void stream_set_limit(struct stream *stream, size_t max_queued);
void stream_set_idle(struct stream *stream, uint64_t idle_ms);
void stream_resume(struct stream *stream); /* offers what data() left, from the loop */
size_t stream_queued(const struct stream *stream);
/* After what is queued has been sent and the other end has heard it (at most 5 s). */
void stream_close(struct stream *stream);
void stream_abort(struct stream *stream); /* now; closed() is called from the loop */
const struct endpoint *stream_remote(const struct stream *stream);
const struct endpoint *stream_local(const struct stream *stream);

#endif
