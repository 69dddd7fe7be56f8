/*
 * http.h - HTTP/1.1 (RFC 9112) for servers, and enough of the answer's side for an Upgrade.
 * Sans-IO and strict: what is doubtful is refused, never repaired (both Content-Length and
 * Transfer-Encoding, obs-fold, bare LF, a second Host, a space before a colon: 400).
 */
#ifndef CORE_LIB_HTTP_H
#define CORE_LIB_HTTP_H

#include "buf.h"

#define HTTP_MAX_HEADERS 100
#define HTTP_MAX_HEAD    (16 * 1024)
#define HTTP_MAX_BODY    (1024 * 1024)

struct http_header {
	const char *name, *value; /* borrowed from the parser; NUL-terminated, blanks trimmed */
};

struct http_limits {
	size_t head, headers, body; /* 0: the defaults above */
};

enum http_state { HTTP_NEED_MORE, HTTP_COMPLETE, HTTP_BAD }; /* HTTP_BAD: see status and reason */

struct http_message {
	struct http_limits limits;
	struct buf head, body;
	char *method, *target, *path, *query; /* of a request; query may be NULL; path is decoded */
	const char *host;                     /* of a request: HOST[:PORT] that it is meant for; may be NULL */
	int status;                           /* of a response, or the 4xx/5xx that HTTP_BAD deserves */
	const char *reason;                   /* one sentence for HTTP_BAD */
	struct http_header headers[HTTP_MAX_HEADERS];
	size_t header_count;
	bool keep_alive, expect_continue, is_response;
	bool http10;              /* HTTP/1.0, in which there is no Upgrade (RFC 9110 7.8) */
	int state;               /* private, like the three below */
	uint64_t body_left;      /* of the body or the chunk */
	size_t line_len;         /* of a chunk's size line or of all trailers so far */
	bool chunked;
};

void http_init(struct http_message *m, const struct http_limits *limits, bool is_response);
void http_reset(struct http_message *m); /* for the next message on the connection */
void http_free(struct http_message *m);

/* A response with neither length nor chunks is complete with its head (after an Upgrade the stream
 * follows). An absolute target is taken, and Host not asked then (RFC 9112 3.2.2).
 * Takes bytes, in any slices; *used says how many (the rest belongs to the next message, or to the
 * upgraded protocol). A request that has its head but not its body yet is HTTP_NEED_MORE with
 * http_has_head() true. */
enum http_state http_feed(struct http_message *m, const void *data, size_t len, size_t *used);
bool http_has_head(const struct http_message *m);
const char *http_header(const struct http_message *m, const char *name); /* NULL: absent */
bool http_header_has(const struct http_message *m, const char *name, const char *token); /* in a list */

/* Appends status line, Date, Content-Length, and `headers` ("Name: value\r\n"... or NULL). */
void http_write_response(struct buf *out, int status, const char *headers, const char *content_type,
			 const void *body, size_t len, bool keep_alive, bool head_only);
const char *http_status_text(int status);

/* WebSocket handshake, RFC 6455 4.2.2: Sec-WebSocket-Accept for a key; out holds 29. */
void ws_accept_key(char out[static 29], const char *key); /* of at most 80 characters */

#endif
