/*
 * proto_origin.c - where a coordinator is: URLs that are an origin and no more.
 */
#include "proto.h"
#include "str.h"

#include <string.h>

/* "HOST" or "HOST:PORT"; a HOST with colons is in brackets. */
static bool port_valid(const char *host, size_t len)
{
	const char *bracket = *host == '[' ? memchr(host, ']', len) : NULL;
	const char *colon = memchr(bracket ? bracket : host, ':', len - (size_t)(bracket ? bracket - host : 0));
	char text[8];
	uint16_t port;

	if (bracket && bracket + 1 < host + len && bracket[1] != ':')
		return false;
	if (!colon)
		return true;
	len -= (size_t)(colon + 1 - host);
	if (len >= sizeof(text))
		return false;
	memcpy(text, colon + 1, len);
	text[len] = '\0';
	return parse_u16(text, &port) && port;
}

char *proto_origin(const char *url)
{
	const char *host = url + strlen("https://");
	char *origin;
	size_t len;

	if (!str_has_prefix(url, "https://") || strlen(url) > 280)
		return NULL;
	len = strcspn(host, "/?#@ \t\\\"'<>");
	if (len == 0 || host[0] == ':' || (host[len] && strcmp(host + len, "/") != 0) ||
	    !port_valid(host, len))
		return NULL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)host[i] <= 0x20 || (unsigned char)host[i] >= 0x7f)
			return NULL;
	origin = xstrdup(url);
	origin[strlen("https://") + len] = '\0';
	return origin;
}
