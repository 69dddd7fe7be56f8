/*
 * Growable bytes. `cap` counts the closing NUL's place, so len < cap holds whenever data is there.
 * Growing copies by hand and wipes the old place: realloc would leave secrets behind.
 */
#include "buf.h"

#include "secret.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT ((size_t)16 * 1024 * 1024)
#define FIRST_CAP     64

void buf_init(struct buf *buf, size_t limit)
{
	*buf = (struct buf){.limit = limit};
}

void buf_free(struct buf *buf)
{
	free(buf->data);
	buf_init(buf, buf->limit);
}

void buf_wipe(struct buf *buf)
{
	secret_wipe(buf->data, buf->cap);
	buf_free(buf);
}

static void buf_grow(struct buf *buf, size_t need)
{
	size_t cap = MAX(buf->cap, FIRST_CAP);
	uint8_t *data;

	while (cap < need)
		cap *= 2;
	data = xmalloc(cap);
	if (buf->data) {
		memcpy(data, buf->data, buf->len);
		secret_wipe(buf->data, buf->len);
		free(buf->data);
	}
	buf->data = data;
	buf->cap = cap;
}

uint8_t *buf_reserve(struct buf *buf, size_t len)
{
	size_t limit = buf->limit ? buf->limit : DEFAULT_LIMIT;

	if (buf->len > limit || len > limit - buf->len)
		return NULL;
	if (!buf->data || buf->cap - buf->len <= len)
		buf_grow(buf, buf->len + len + 1);
	buf->data[buf->len] = 0;
	return buf->data + buf->len;
}

int buf_add(struct buf *buf, const void *data, size_t len)
{
	uint8_t *at = buf_reserve(buf, len);

	if (!at)
		return -ENOBUFS;
	if (len)
		memcpy(at, data, len);
	buf->len += len;
	buf->data[buf->len] = 0;
	return 0;
}

int buf_puts(struct buf *buf, const char *text)
{
	return buf_add(buf, text, strlen(text));
}

int buf_addf(struct buf *buf, const char *format, ...)
{
	va_list args;
	uint8_t *at;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return -EINVAL;
	at = buf_reserve(buf, (size_t)len);
	if (!at)
		return -ENOBUFS;
	va_start(args, format);
	vsnprintf((char *)at, (size_t)len + 1, format, args);
	va_end(args);
	buf->len += (size_t)len;
	return 0;
}

void buf_consume(struct buf *buf, size_t len)
{
	len = MIN(len, buf->len);
	if (!len)
		return;
	buf->len -= len;
	memmove(buf->data, buf->data + len, buf->len);
	buf->data[buf->len] = 0;
}

char *buf_text(struct buf *buf)
{
	static char empty[1];

	if (!buf->data)
		return empty;
	buf->data[buf->len] = 0;
	return (char *)buf->data;
}
