/*
 * ipam.c - a map from host number to lease. `next` walks upwards and begins again at the end, so that a
 * freed number is the last to come round. In a prefix that is nearly full a walk may pass every host; that it
 * is full is remembered, so that whoever is refused then costs no walk.
 */
#include "ipam.h"
#include "lib/map.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

struct lease {
	uint64_t until; /* 0: in use; else it rests until then */
};

struct ipam {
	struct prefix cidr;
	struct map *leases;
	uint32_t last, next; /* highest host number; where to look first */
	uint64_t full_until; /* before then (wall ms) none is free; 0: not known */
};

static uint32_t load32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store32(uint8_t *at, uint32_t number)
{
	for (int i = 3; i >= 0; i--, number >>= 8)
		at[i] = (uint8_t)number;
}

struct ipam *ipam_new(const struct prefix *cidr)
{
	struct ipam *ipam = xcalloc(1, sizeof(*ipam));
	unsigned width = addr_len(&cidr->addr) * 8, free_bits = width - cidr->bits;

	ipam->cidr = prefix_mask(cidr);
	ipam->leases = map_new(sizeof(uint32_t));
	ipam->last = free_bits >= 32 ? UINT32_MAX - 1 : (uint32_t)((1ull << free_bits) - 2);
	ipam->next = 1;
	return ipam;
}

void ipam_free(struct ipam *ipam)
{
	size_t pos = 0;
	struct lease *lease;

	if (!ipam)
		return;
	while ((lease = map_next(ipam->leases, &pos, NULL)))
		free(lease);
	map_free(ipam->leases);
	free(ipam);
}

static struct addr host_addr(const struct ipam *ipam, uint32_t host)
{
	struct addr addr = ipam->cidr.addr;
	uint8_t *tail = addr.bytes + addr_len(&addr) - 4;

	store32(tail, load32(tail) | host);
	return addr;
}

uint32_t ipam_host(const struct ipam *ipam, const struct addr *addr)
{
	uint32_t host;
	struct addr back;

	if (addr->family != ipam->cidr.addr.family || !prefix_contains(&ipam->cidr, addr))
		return 0;
	host = load32(addr->bytes + addr_len(addr) - 4) -
	       load32(ipam->cidr.addr.bytes + addr_len(addr) - 4);
	back = host_addr(ipam, host);
	return host && host <= ipam->last && addr_equal(&back, addr) ? host : 0;
}

static bool is_free(const struct lease *lease, uint64_t wall_ms)
{
	return !lease || (lease->until && lease->until <= wall_ms);
}

/* 0: there is none. */
static uint32_t next_free(struct ipam *ipam, uint64_t wall_ms)
{
	uint64_t earliest = UINT64_MAX;
	uint32_t at = ipam->next;

	if (wall_ms < ipam->full_until)
		return 0;
	for (uint32_t tries = ipam->last; tries; tries--) {
		const struct lease *lease = map_get(ipam->leases, &at);
		uint32_t after = at >= ipam->last ? 1 : at + 1;

		if (is_free(lease, wall_ms)) {
			ipam->next = after;
			return at;
		}
		if (lease->until)
			earliest = MIN(earliest, lease->until);
		at = after;
	}
	ipam->full_until = earliest;
	return 0;
}

static void set_lease(struct ipam *ipam, uint32_t host, uint64_t until)
{
	struct lease *lease = map_get(ipam->leases, &host);

	if (!lease) {
		lease = xcalloc(1, sizeof(*lease));
		map_put(ipam->leases, &host, lease);
	}
	lease->until = until;
}

int ipam_take(struct ipam *ipam, uint32_t wanted, uint64_t wall_ms, struct addr *out, uint32_t *host)
{
	uint32_t at = wanted;

	if (!at || at > ipam->last || !is_free(map_get(ipam->leases, &at), wall_ms))
		at = next_free(ipam, wall_ms);
	if (!at)
		return -ENOSPC;
	set_lease(ipam, at, 0);
	*out = host_addr(ipam, at);
	*host = at;
	return 0;
}

int ipam_claim(struct ipam *ipam, const struct addr *addr)
{
	uint32_t host = ipam_host(ipam, addr);
	const struct lease *lease;

	if (!host)
		return -ERANGE;
	lease = map_get(ipam->leases, &host);
	if (lease && !lease->until)
		return -EADDRINUSE;
	set_lease(ipam, host, 0);
	return 0;
}

void ipam_release(struct ipam *ipam, const struct addr *addr, uint64_t until_wall_ms)
{
	uint32_t host = ipam_host(ipam, addr);

	if (!host)
		return;
	set_lease(ipam, host, until_wall_ms);
	ipam->full_until = MIN(ipam->full_until, until_wall_ms);
}

const char *ipam_cidr_problem(const struct prefix *cidr)
{
	struct prefix masked = prefix_mask(cidr);
	bool v4 = cidr->addr.family == AF_INET;

	if (!addr_equal(&masked.addr, &cidr->addr))
		return "has bits set behind its length";
	if (addr_is_loopback(&cidr->addr) || addr_is_link_local(&cidr->addr) ||
	    addr_is_multicast(&cidr->addr) || addr_is_unspecified(&cidr->addr))
		return "is not an address range for hosts";
	if (cidr->bits < (v4 ? 8 : 16))
		return v4 ? "is wider than a /8, which agents refuse" : "is wider than a /16, which agents refuse";
	if (cidr->bits > (v4 ? 30 : 126))
		return "has no room for two hosts";
	return NULL;
}

static struct prefix private16(unsigned index)
{
	struct prefix out = {.addr = {.family = AF_INET}, .bits = 16};

	out.addr.bytes[0] = index < 256 ? 10 : index < 272 ? 172 : 192;
	out.addr.bytes[1] = (uint8_t)(index < 256 ? index : index < 272 ? 16 + index - 256 : 168);
	return out;
}

bool ipam_choose(struct prefix *cidr, const struct prefix *local, size_t count, uint32_t seed)
{
	/* 10.64 to 10.191 first: homes, clouds and container engines live at the edges. */
	for (unsigned round = 0; round < 2; round++) {
		unsigned span = round ? 273 : 128, base = round ? 0 : 64;

		for (unsigned i = 0; i < span; i++) {
			struct prefix candidate = private16(base + (seed + i) % span);
			size_t j = 0;

			while (j < count && !prefix_overlaps(&candidate, &local[j]))
				j++;
			if (j == count) {
				*cidr = candidate;
				return true;
			}
		}
	}
	return false;
}

void ipam_choose_ula(struct prefix *cidr6, const uint8_t random[static 7])
{
	*cidr6 = (struct prefix){.addr = {.family = AF_INET6, .bytes = {0xfd}}, .bits = 64};
	memcpy(cidr6->addr.bytes + 1, random, 7);
}

static uint8_t mask_bits(uint32_t mask)
{
	uint8_t bits = 0;

	for (; mask; mask &= mask - 1)
		bits++;
	return bits;
}

/* Lines of /proc/net/route: name, destination, gateway, flags, .., mask, all in host-order hex. */
static size_t kernel_routes(struct prefix *out, size_t max)
{
	FILE *file = fopen("/proc/net/route", "re");
	char line[256];
	size_t count = 0;

	if (!file)
		return 0;
	while (count < max && fgets(line, sizeof(line), file)) {
		unsigned destination, mask;

		if (sscanf(line, "%*s %x %*x %*x %*d %*d %*d %x", &destination, &mask) != 2 || !mask)
			continue;
		out[count] = (struct prefix){.addr = {.family = AF_INET}, .bits = mask_bits(mask)};
		memcpy(out[count].addr.bytes, &destination, 4);
		count++;
	}
	fclose(file);
	return count;
}

size_t ipam_local_prefixes(struct prefix *out, size_t max)
{
	size_t count = kernel_routes(out, max);
	struct ifaddrs *all, *at;

	if (getifaddrs(&all) < 0)
		return count;
	for (at = all; at && count < max; at = at->ifa_next) {
		struct endpoint address, mask;

		if (!at->ifa_addr || !at->ifa_netmask || at->ifa_addr->sa_family != AF_INET ||
		    !endpoint_from_sockaddr(&address, at->ifa_addr) ||
		    !endpoint_from_sockaddr(&mask, at->ifa_netmask))
			continue;
		out[count++] = (struct prefix){.addr = address.addr,
					       .bits = mask_bits(load32(mask.addr.bytes))};
	}
	freeifaddrs(all);
	return count;
}
