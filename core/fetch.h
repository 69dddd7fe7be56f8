/*
 * fetch.h - libcurl's multi interface on our loop: requests, and byte streams over TLS
 * (CURLOPT_CONNECT_ONLY) for WebSocket. Pins, fwmark and time limits in one place.
 */
#ifndef CORE_FETCH_H
#define CORE_FETCH_H

#include "lib/addr.h"
#include "lib/buf.h"
#include "lib/loop.h"

struct fetch;        /* owns the multi handle */
struct fetch_call;
struct fetch_stream;

struct fetch_trust {
	const char *const *pins; /* SPKI SHA-256, 43 characters of base64url; NULL-terminated; NULL: the
				    usual authorities and host name are checked instead */
	uint32_t fwmark;         /* SO_MARK; 0: none */
};

struct fetch_request { /* borrowed for the call */
	const char *method, *url;
	const char *const *headers; /* "Name: value", NULL-terminated; NULL: none */
	const void *body;
	size_t body_len;
	uint64_t timeout_ms; /* 0: 15 s */
	size_t max_answer;   /* 0: 4 MiB */
};

struct fetch_answer {
	int error;         /* 0; -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH, -EKEYREJECTED (pin or certificate)... */
	const char *why;   /* a sentence for error != 0 */
	int status;        /* HTTP */
	struct buf *body;  /* borrowed */
};
typedef void fetch_fn(void *arg, const struct fetch_answer *answer);

int fetch_new(struct fetch **out, struct loop *loop);
void fetch_free(struct fetch *fetch);
struct fetch_call *fetch_start(struct fetch *fetch, const struct fetch_trust *trust,
			       const struct fetch_request *request, fetch_fn *fn, void *arg);
void fetch_cancel(struct fetch_call *call); /* fn is not called */

struct fetch_stream_ops {
	void (*opened)(void *arg);
	void (*data)(void *arg, const uint8_t *data, size_t len);
	void (*closed)(void *arg, int error, const char *why); /* the stream is gone after this call */
};
/* https://HOST:PORT - only the connection; the caller speaks. */
struct fetch_stream *fetch_dial(struct fetch *fetch, const struct fetch_trust *trust, const char *url,
				const struct fetch_stream_ops *ops, void *arg);
int fetch_stream_write(struct fetch_stream *stream, const void *data, size_t len); /* queued, 1 MiB */
/* False: this host no longer has the address that the stream was opened from. */
bool fetch_stream_rooted(const struct fetch_stream *stream);
/* The other end's address; its family is 0 where there is none yet. */
struct addr fetch_stream_remote(const struct fetch_stream *stream);
void fetch_stream_close(struct fetch_stream *stream); /* closed() is not called */

#endif
