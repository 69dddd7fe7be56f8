/*
 * guard.h - what an agent refuses from its coordinator (SPEC 1, rule 6). Pure: facts in, verdict
 * out. The coordinator is not root here.
 */
#ifndef CORE_GUARD_H
#define CORE_GUARD_H

#include "lib/key.h"
#include "lib/prefix.h"

struct guard_facts { /* borrowed arrays */
	const struct prefix *networks; /* ranges recorded at join, both families */
	size_t network_count;
	const struct prefix *host; /* addresses (as their on-link prefix) and routes outside wg-mesh */
	size_t host_count;
	const struct addr *protected_addrs; /* gateways, resolvers, coordinator, relays */
	size_t protected_count;
	const struct prefix *foreign; /* allowed IPs of peers that are not ours on this interface */
	size_t foreign_count;
	const struct prefix *ours; /* this host's own mesh addresses */
	size_t our_count;
};

#define GUARD_REASON 200

/* A peer's own address: must be inside a recorded network, not ours, not a foreign peer's. */
bool guard_address(const struct guard_facts *facts, const struct addr *address, char reason[static GUARD_REASON]);
/* This host's own address in a network of this range, where it is another than before. */
bool guard_own_address(const struct guard_facts *facts, const struct addr *address,
		       const struct prefix *range, char reason[static GUARD_REASON]);
/* A route offered through a peer. exit_allowed: the user chose that peer as exit node. */
bool guard_route(const struct guard_facts *facts, const struct prefix *route, bool exit_allowed,
		 char reason[static GUARD_REASON]);
/* A candidate endpoint: unicast, not loopback, not in the tunnel's own range. */
bool guard_endpoint(const struct guard_facts *facts, const struct endpoint *endpoint,
		    char reason[static GUARD_REASON]);
/* The network itself, at join and when it is announced anew: RFC 1918, ULA or RFC 6598 space is
 * not required, but /8 (IPv6 /16) or longer, and no overlap with the host. */
bool guard_network(const struct guard_facts *facts, const struct prefix *network,
		   char reason[static GUARD_REASON]);

#endif
