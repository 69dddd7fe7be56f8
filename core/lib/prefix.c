/*
 * IP prefixes. Host bits stay as they were written; every comparison looks at the masked value.
 */
#include "prefix.h"

#include "str.h"
#include <stdio.h>
#include <string.h>

static uint8_t max_bits(const struct addr *addr)
{
	return (uint8_t)(addr_len(addr) * 8);
}

bool prefix_parse(struct prefix *out, const char *text)
{
	char copy[PREFIX_TEXT];
	struct prefix prefix;
	uint16_t bits;
	char *slash;

	if (!str_copy(copy, sizeof(copy), text))
		return false;
	slash = strchr(copy, '/');
	if (slash)
		*slash = 0;
	if (!addr_parse(&prefix.addr, copy))
		return false;
	bits = max_bits(&prefix.addr);
	/* A mapped IPv4 address counts its bits as IPv6: refused, /96 could mean either. */
	if (slash && ((slash[1] == '0' && slash[2]) || !parse_u16(slash + 1, &bits) || bits > max_bits(&prefix.addr) ||
		      (prefix.addr.family == AF_INET && strchr(copy, ':'))))
		return false;
	prefix.bits = (uint8_t)bits;
	*out = prefix;
	return true;
}

void prefix_format(char out[static PREFIX_TEXT], const struct prefix *prefix)
{
	char addr[ADDR_TEXT];

	addr_format(addr, &prefix->addr);
	snprintf(out, PREFIX_TEXT, "%s/%u", addr, prefix->bits);
}

struct prefix prefix_host(const struct addr *addr)
{
	return (struct prefix){.addr = *addr, .bits = max_bits(addr)};
}

struct prefix prefix_mask(const struct prefix *prefix)
{
	struct prefix masked = *prefix;

	for (unsigned i = 0; i < sizeof(masked.addr.bytes); i++) {
		if (prefix->bits < (i + 1) * 8)
			masked.addr.bytes[i] &=
				prefix->bits > i * 8 ? (uint8_t)(0xff00 >> (prefix->bits - i * 8))
						     : 0;
	}
	return masked;
}

bool prefix_equal(const struct prefix *a, const struct prefix *b)
{
	struct prefix masked_a = prefix_mask(a), masked_b = prefix_mask(b);

	return a->bits == b->bits && addr_equal(&masked_a.addr, &masked_b.addr);
}

bool prefix_contains(const struct prefix *outer, const struct addr *addr)
{
	struct prefix host = prefix_host(addr);

	return prefix_covers(outer, &host);
}

bool prefix_covers(const struct prefix *outer, const struct prefix *inner)
{
	struct prefix cut = {.addr = inner->addr, .bits = outer->bits};

	return outer->addr.family && outer->addr.family == inner->addr.family &&
	       outer->bits <= inner->bits && prefix_equal(outer, &cut);
}

bool prefix_overlaps(const struct prefix *a, const struct prefix *b)
{
	return prefix_covers(a, b) || prefix_covers(b, a);
}

const char *prefix_reserved(const struct prefix *prefix)
{
	static const struct {
		struct prefix prefix;
		const char *what;
	} reserved[] = {
		{{{AF_INET, {0}}, 8}, "this network (0.0.0.0/8)"},
		{{{AF_INET, {127}}, 8}, "loopback"},
		{{{AF_INET, {169, 254}}, 16}, "link-local addresses"},
		{{{AF_INET, {224}}, 4}, "multicast"},
		{{{AF_INET, {240}}, 4}, "reserved addresses (240.0.0.0/4)"},
		{{{AF_INET6, {0}}, 127}, "loopback"}, /* ::1 and :: */
		{{{AF_INET6, {0xfe, 0x80}}, 10}, "link-local addresses"},
		{{{AF_INET6, {0xff}}, 8}, "multicast"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (prefix_overlaps(prefix, &reserved[i].prefix))
			return reserved[i].what;
	return NULL;
}
