/*
 * Addresses and endpoints. Unused bytes are always 0, so that equal values are equal in memory and
 * a struct addr can be the key of a map.
 */
#include "addr.h"

#include "str.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_start[12] = {[10] = 0xff, [11] = 0xff};

static struct addr addr_from(uint8_t family, const void *bytes)
{
	struct addr addr = {.family = family};

	if (family == AF_INET6 && memcmp(bytes, mapped_start, sizeof(mapped_start)) == 0)
		return addr_from(AF_INET, (const uint8_t *)bytes + sizeof(mapped_start));
	memcpy(addr.bytes, bytes, addr_len(&addr));
	return addr;
}

unsigned addr_len(const struct addr *addr)
{
	return addr->family == AF_INET ? 4 : addr->family == AF_INET6 ? 16 : 0;
}

struct addr addr_source(const struct addr *addr)
{
	struct addr source = {.family = addr->family};

	memcpy(source.bytes, addr->bytes, addr->family == AF_INET6 ? 8 : addr_len(addr));
	return source;
}

bool addr_parse(struct addr *out, const char *text)
{
	uint8_t bytes[16];
	uint8_t family = strchr(text, ':') ? AF_INET6 : AF_INET;

	if (inet_pton(family, text, bytes) != 1)
		return false;
	*out = addr_from(family, bytes);
	return true;
}

void addr_format(char out[static ADDR_TEXT], const struct addr *addr)
{
	if (!inet_ntop(addr->family, addr->bytes, out, ADDR_TEXT))
		out[0] = 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, addr_len(a)) == 0;
}

/* ---- kinds ---- */

struct range {
	uint8_t family, bits;
	uint8_t bytes[16];
};

static bool in_range(const struct range *range, const struct addr *addr)
{
	unsigned whole = range->bits / 8, rest = range->bits % 8;

	if (addr->family != range->family || memcmp(addr->bytes, range->bytes, whole) != 0)
		return false;
	return !rest || (addr->bytes[whole] ^ range->bytes[whole]) >> (8 - rest) == 0;
}

static bool in_ranges(const struct range *ranges, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++) {
		if (in_range(&ranges[i], addr))
			return true;
	}
	return false;
}

bool addr_is_loopback(const struct addr *addr)
{
	static const struct range ranges[] = {
		{AF_INET, 8, {127}},
		{AF_INET6, 128, {[15] = 1}},
	};

	return in_ranges(ranges, ARRAY_SIZE(ranges), addr);
}

bool addr_is_link_local(const struct addr *addr)
{
	static const struct range ranges[] = {
		{AF_INET, 16, {169, 254}},
		{AF_INET6, 10, {0xfe, 0x80}},
	};

	return in_ranges(ranges, ARRAY_SIZE(ranges), addr);
}

bool addr_is_multicast(const struct addr *addr)
{
	static const struct range ranges[] = {
		{AF_INET, 4, {224}},
		{AF_INET, 32, {255, 255, 255, 255}},
		{AF_INET6, 8, {0xff}},
	};

	return in_ranges(ranges, ARRAY_SIZE(ranges), addr);
}

bool addr_is_unspecified(const struct addr *addr)
{
	static const struct range ranges[] = {{AF_INET, 32, {0}}, {AF_INET6, 128, {0}}};

	return in_ranges(ranges, ARRAY_SIZE(ranges), addr);
}

bool addr_is_private(const struct addr *addr)
{
	static const struct range ranges[] = {
		{AF_INET, 8, {10}},       {AF_INET, 12, {172, 16}}, {AF_INET, 16, {192, 168}},
		{AF_INET, 10, {100, 64}}, {AF_INET6, 7, {0xfc}},
	};

	return in_ranges(ranges, ARRAY_SIZE(ranges), addr);
}

/* ---- endpoints ---- */

/* "ADDR" or "ADDR%SCOPE" between the brackets. */
static bool parse_bracketed(struct endpoint *out, char *inside)
{
	char *percent = strchr(inside, '%');
	uint64_t scope = 0;

	if (percent) {
		*percent = 0;
		if (!parse_u64(percent + 1, &scope) || !scope || scope > UINT32_MAX)
			return false;
	}
	if (!strchr(inside, ':') || !addr_parse(&out->addr, inside))
		return false;
	out->scope_id = (uint32_t)scope;
	return !scope || addr_is_link_local(&out->addr);
}

bool endpoint_parse(struct endpoint *out, const char *text)
{
	char copy[ENDPOINT_TEXT];
	struct endpoint endpoint = {0};
	char *colon, *host = copy;
	size_t len;
	bool good;

	if (!str_copy(copy, sizeof(copy), text))
		return false;
	colon = strrchr(copy, ':');
	if (!colon || !parse_u16(colon + 1, &endpoint.port) || !endpoint.port)
		return false;
	*colon = 0;
	len = strlen(copy);
	if (copy[0] == '[' && copy[len - 1] == ']') {
		copy[len - 1] = 0;
		good = parse_bracketed(&endpoint, ++host);
	} else {
		good = !strchr(host, ':') && addr_parse(&endpoint.addr, host);
	}
	if (good)
		*out = endpoint;
	return good;
}

void endpoint_format(char out[static ENDPOINT_TEXT], const struct endpoint *endpoint)
{
	char addr[ADDR_TEXT], scope[16] = "";

	addr_format(addr, &endpoint->addr);
	if (endpoint->scope_id)
		snprintf(scope, sizeof(scope), "%%%u", endpoint->scope_id);
	if (!addr[0])
		out[0] = 0;
	else if (endpoint->addr.family == AF_INET6)
		snprintf(out, ENDPOINT_TEXT, "[%s%s]:%u", addr, scope, endpoint->port);
	else
		snprintf(out, ENDPOINT_TEXT, "%s:%u", addr, endpoint->port);
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && a->scope_id == b->scope_id && addr_equal(&a->addr, &b->addr);
}

bool endpoint_from_sockaddr(struct endpoint *out, const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		*out = (struct endpoint){
			.addr = addr_from(AF_INET, &in.sin_addr),
			.port = ntohs(in.sin_port),
		};
		return true;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(&in6, sa, sizeof(in6));
	*out = (struct endpoint){
		.addr = addr_from(AF_INET6, &in6.sin6_addr),
		.port = ntohs(in6.sin6_port),
	};
	if (addr_is_link_local(&out->addr) && out->addr.family == AF_INET6)
		out->scope_id = in6.sin6_scope_id;
	return true;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *endpoint, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (endpoint->addr.family == AF_INET) {
		in->sin_family = AF_INET;
		in->sin_port = htons(endpoint->port);
		memcpy(&in->sin_addr, endpoint->addr.bytes, 4);
		return sizeof(*in);
	}
	if (endpoint->addr.family != AF_INET6)
		return 0;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(endpoint->port);
	in6->sin6_scope_id = endpoint->scope_id;
	memcpy(&in6->sin6_addr, endpoint->addr.bytes, 16);
	return sizeof(*in6);
}
