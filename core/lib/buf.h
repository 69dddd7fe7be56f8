/*
 * buf.h - growable bytes with a hard limit. data[len] is always a NUL that is not counted, so a
 * buffer of text can be used as a string. An all-zero struct with a limit set is a valid empty one.
 */
#ifndef CORE_LIB_BUF_H
#define CORE_LIB_BUF_H

#include "util.h"

struct buf {
	uint8_t *data; /* NULL until the first byte */
	size_t len, cap;
	size_t limit; /* bytes it may hold; 0: 16 MiB */
};

void buf_init(struct buf *buf, size_t limit);
void buf_free(struct buf *buf); /* usable again afterwards */
void buf_wipe(struct buf *buf); /* zeroes what it held, then frees */

/* Append. 0, or -ENOBUFS when the limit would be passed: then nothing was added. */
int buf_add(struct buf *buf, const void *data, size_t len);
int buf_puts(struct buf *buf, const char *text);
int buf_addf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* Room for `len` more bytes, or NULL at the limit; the caller adds to buf->len what it wrote
 * (the closing NUL is back after the next call here; buf_text sees to it). */
uint8_t *buf_reserve(struct buf *buf, size_t len);
void buf_consume(struct buf *buf, size_t len); /* drop from the front */
char *buf_text(struct buf *buf);               /* borrowed; "" when empty */

#endif
