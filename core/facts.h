/*
 * facts.h - what rule 6 is measured against (guard.h), gathered from this host: addresses and
 * routes outside wg-mesh, gateways, resolvers, the coordinator and relays, and the allowed IPs of
 * peers that are not ours.
 */
#ifndef CORE_FACTS_H
#define CORE_FACTS_H

#include "guard.h"
#include "state.h"
#include "tunnel.h"

struct facts {
	struct guard_facts guard; /* points into the arrays below */
	struct prefix *networks, *host, *foreign, *ours;
	struct addr *protected_addrs;
	uint64_t host_hash;    /* of the host's addresses, routes and gateways */
	uint64_t foreign_hash; /* of the foreign peers and what they are allowed */
};

void facts_collect(struct facts *facts, struct tunnel *tunnel, const struct state *state,
		   const struct addr *coordinator); /* where it was reached; family 0: unknown */
void facts_fini(struct facts *facts);
uint64_t facts_foreign_hash(const struct tunnel *tunnel); /* of the last dump */

#endif
