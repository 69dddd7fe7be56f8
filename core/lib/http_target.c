/*
 * http_target.c - the target of a request: where its path begins, what it says once decoded.
 */
#include "http_target.h"

#include <string.h>
#include <strings.h>

int http_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* Decodes %XX in place. A hidden slash or NUL would be read differently by others: refused. */
static bool decode_path(char *path)
{
	char *out = path;

	for (; *path; path++) {
		int high, low;

		if (*path != '%') {
			*out++ = *path;
			continue;
		}
		high = http_hex_value(path[1]);
		low = high < 0 ? -1 : http_hex_value(path[2]);
		if (low < 0 || high * 16 + low < ' ' || high * 16 + low == '/')
			return false;
		*out++ = (char)(high * 16 + low);
		path += 2;
	}
	*out = 0;
	return true;
}

static bool has_dot_segment(const char *path)
{
	for (const char *at = path; (at = strstr(at, "/.")); at++) {
		const char *rest = at + 2 + (at[2] == '.');

		if (!*rest || *rest == '/')
			return true;
	}
	return false;
}

/* http://HOST/path, as a proxy is asked (RFC 9112 3.2.2): leaves the path, and the host in *host. */
static char *skip_origin(char *target, char **host)
{
	size_t scheme = !strncasecmp(target, "http://", 7) ? 7 : !strncasecmp(target, "https://", 8) ? 8 : 0;
	size_t len;

	if (!scheme)
		return target;
	len = strcspn(target + scheme, "/?");
	memmove(target, target + scheme, len);
	target[len] = 0;
	*host = target;
	target += scheme + len;
	if (*target != '/')
		*--target = '/'; /* into the gap the scheme has left */
	return target;
}

const char *http_target_parse(struct http_message *m, char *copy, char **host)
{
	char *path = skip_origin(copy, host);

	for (const char *c = m->target; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '#')
			return "the request's target has a character that does not belong there";
	m->query = strchr(path, '?');
	if (m->query)
		*m->query++ = 0;
	m->path = path;
	if (!strcmp(m->target, "*") && !strcmp(m->method, "OPTIONS"))
		return NULL;
	if (path[0] != '/')
		return "the request's target must begin with a slash";
	if (!decode_path(path) || has_dot_segment(path))
		return "the request's path is not plain: a wrong %, or a . or .. in it";
	return NULL;
}
