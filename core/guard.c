/*
 * What the agent refuses from its coordinator, SPEC 1 rule 6. Pure: no file, no socket, no clock.
 * The tricky thing is the default route: this host has one, and everything overlaps it, so what
 * stands in for it (VPNs use two halves, some routers 2000::/3) says nothing about who owns an
 * address; while the same thing offered by a peer is exactly what must be refused, unless the user
 * chose that peer as exit node.
 */
#include "guard.h"

#include <stdarg.h>

static bool refuse(char reason[static GUARD_REASON], const char *format, ...) PRINTF_LIKE(2, 3);
static bool refuse(char reason[static GUARD_REASON], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason, GUARD_REASON, format, args);
	va_end(args);
	return false;
}

static bool is_family(uint8_t family)
{
	return family == AF_INET || family == AF_INET6;
}

static bool is_well_formed(const struct prefix *prefix)
{
	return is_family(prefix->addr.family) && prefix->bits <= addr_len(&prefix->addr) * 8;
}

/* The whole of a family, its halves, or the global IPv6 unicast space. */
static bool stands_for_default(const struct prefix *prefix)
{
	return prefix->bits <= (prefix->addr.family == AF_INET ? 1 : 3);
}

static bool is_too_short(const struct prefix *prefix)
{
	return prefix->bits < (prefix->addr.family == AF_INET ? 8 : 16);
}

/* ---- each clause of the rule ---------------------------------------------------------------- */

static bool clear_of_reserved(const struct prefix *prefix, const char *text, char *reason)
{
	const char *what = prefix_reserved(prefix);

	return !what || refuse(reason, "%s overlaps %s", text, what);
}

static bool clear_of_host(const struct guard_facts *facts, const struct prefix *prefix,
			  const char *text, char *reason)
{
	char other[PREFIX_TEXT];

	for (size_t i = 0; i < facts->host_count; i++) {
		if (stands_for_default(&facts->host[i]) || !prefix_overlaps(prefix, &facts->host[i]))
			continue;
		prefix_format(other, &facts->host[i]);
		return refuse(reason, "%s overlaps %s, which this host has outside wg-mesh", text,
			      other);
	}
	return true;
}

static bool clear_of_protected(const struct guard_facts *facts, const struct prefix *prefix,
			       const char *text, char *reason)
{
	char other[ADDR_TEXT];

	for (size_t i = 0; i < facts->protected_count; i++) {
		if (!prefix_contains(prefix, &facts->protected_addrs[i]))
			continue;
		addr_format(other, &facts->protected_addrs[i]);
		return refuse(reason, "%s has %s in it, a gateway, resolver, coordinator or relay of "
				      "this host", text, other);
	}
	return true;
}

/* WireGuard would move an allowed IP away from the other peer without a word. */
static bool clear_of_foreign(const struct guard_facts *facts, const struct prefix *prefix,
			     const char *text, char *reason)
{
	char other[PREFIX_TEXT];

	for (size_t i = 0; i < facts->foreign_count; i++) {
		if (!prefix_covers(&facts->foreign[i], prefix))
			continue;
		prefix_format(other, &facts->foreign[i]);
		return refuse(reason, "%s is among the allowed IPs (%s) of a peer that was set by hand",
			      text, other);
	}
	return true;
}

static bool clear_of_networks(const struct guard_facts *facts, const struct prefix *prefix,
			      const char *text, char *reason)
{
	char other[PREFIX_TEXT];

	for (size_t i = 0; i < facts->network_count; i++) {
		if (!prefix_overlaps(prefix, &facts->networks[i]))
			continue;
		prefix_format(other, &facts->networks[i]);
		return refuse(reason, "%s overlaps the mesh's own range %s", text, other);
	}
	return true;
}

static bool in_networks(const struct guard_facts *facts, const struct addr *addr)
{
	for (size_t i = 0; i < facts->network_count; i++)
		if (prefix_contains(&facts->networks[i], addr))
			return true;
	return false;
}

static bool is_ours(const struct guard_facts *facts, const struct addr *addr)
{
	for (size_t i = 0; i < facts->our_count; i++)
		if (addr_equal(&facts->ours[i].addr, addr))
			return true;
	return false;
}

/* ---- the calls ------------------------------------------------------------------------------ */

bool guard_address(const struct guard_facts *facts, const struct addr *address,
		   char reason[static GUARD_REASON])
{
	struct prefix host;
	char text[ADDR_TEXT];

	if (!is_family(address->family))
		return refuse(reason, "the peer has no address");
	host = prefix_host(address);
	addr_format(text, address);
	if (!in_networks(facts, address))
		return refuse(reason, "%s is outside the range of the network that was joined", text);
	if (is_ours(facts, address))
		return refuse(reason, "%s is this host's own address", text);
	return clear_of_reserved(&host, text, reason) && clear_of_host(facts, &host, text, reason) &&
	       clear_of_protected(facts, &host, text, reason) &&
	       clear_of_foreign(facts, &host, text, reason);
}

/* What is left of it after the range: all zeros name the network, all ones (IPv4) all of its hosts. */
static bool is_host_of(const struct prefix *range, const struct addr *addr)
{
	unsigned bits = addr_len(addr) * 8u, ones = 0;

	for (unsigned i = range->bits; i < bits; i++)
		ones += addr->bytes[i / 8] >> (7 - i % 8) & 1;
	if (bits - range->bits < 2) /* RFC 3021, or a single one */
		return true;
	return ones && (addr->family == AF_INET6 || ones < bits - range->bits);
}

bool guard_own_address(const struct guard_facts *facts, const struct addr *address,
		       const struct prefix *range, char reason[static GUARD_REASON])
{
	struct prefix host = prefix_host(address);
	char text[ADDR_TEXT];

	addr_format(text, address);
	if (!prefix_contains(range, address))
		return refuse(reason, "the coordinator gave this host an address outside the network: %s",
			      text);
	if (!is_host_of(range, address))
		return refuse(reason, "the coordinator gave this host %s, which is no host's address", text);
	return clear_of_reserved(&host, text, reason) && clear_of_host(facts, &host, text, reason) &&
	       clear_of_protected(facts, &host, text, reason) &&
	       clear_of_foreign(facts, &host, text, reason);
}

/* All that a chosen exit node may have beyond others is a route too short to be anybody's. */
bool guard_route(const struct guard_facts *facts, const struct prefix *route, bool exit_allowed,
		 char reason[static GUARD_REASON])
{
	struct prefix masked;
	char text[PREFIX_TEXT];

	if (!is_well_formed(route))
		return refuse(reason, "the route has no address");
	masked = prefix_mask(route);
	prefix_format(text, &masked);
	if (is_too_short(&masked) && !exit_allowed)
		return refuse(reason, "%s is shorter than %s, which only a chosen exit node may offer",
			      text, masked.addr.family == AF_INET ? "/8" : "/16");
	if (stands_for_default(&masked))
		return clear_of_foreign(facts, &masked, text, reason);
	return clear_of_reserved(&masked, text, reason) &&
	       clear_of_networks(facts, &masked, text, reason) &&
	       clear_of_host(facts, &masked, text, reason) &&
	       clear_of_protected(facts, &masked, text, reason) &&
	       clear_of_foreign(facts, &masked, text, reason);
}

bool guard_endpoint(const struct guard_facts *facts, const struct endpoint *endpoint,
		    char reason[static GUARD_REASON])
{
	const struct addr *addr = &endpoint->addr;
	struct prefix host;
	char text[ENDPOINT_TEXT];

	if (!is_family(addr->family) || !endpoint->port)
		return refuse(reason, "the endpoint has no address or port");
	host = prefix_host(addr);
	endpoint_format(text, endpoint);
	if (addr_is_link_local(addr)) /* two hosts on one cable may well have nothing else */
		return true;
	return clear_of_reserved(&host, text, reason) &&
	       clear_of_networks(facts, &host, text, reason);
}

bool guard_network(const struct guard_facts *facts, const struct prefix *network,
		   char reason[static GUARD_REASON])
{
	struct prefix masked;
	char text[PREFIX_TEXT];

	if (!is_well_formed(network))
		return refuse(reason, "the network has no address");
	masked = prefix_mask(network);
	prefix_format(text, &masked);
	if (is_too_short(&masked))
		return refuse(reason, "the network %s is larger than %s", text,
			      masked.addr.family == AF_INET ? "/8" : "/16");
	return clear_of_reserved(&masked, text, reason) &&
	       clear_of_host(facts, &masked, text, reason) &&
	       clear_of_protected(facts, &masked, text, reason) &&
	       clear_of_foreign(facts, &masked, text, reason);
}
