/*
 * status.h - the document of `wg-mesh status --json` (SPEC 2.1) from plain values. Unknown is null,
 * never left out.
 */
#ifndef CORE_STATUS_H
#define CORE_STATUS_H

#include "path.h"
#include "lib/proto.h"

struct status { /* all borrowed; NULL text: null */
	const char *interface, *name, *agent_id;
	struct key public_key;
	const struct proto_network *networks;
	size_t network_count;
	const char *coordinator_url;
	bool coordinator_connected;
	uint64_t coordinator_since_wall_ms;
	const char *coordinator_refusal; /* the code, where it lets us in no more */
	const struct proto_endpoints *at;
	const char *mapping, *filtering;
};

struct status_peer {
	const char *name, *agent_id; /* NULL: a peer of the user's own */
	struct key public_key;
	const struct addr *addresses;
	unsigned address_count;
	const struct prefix *allowed;
	size_t allowed_count;
	bool online, managed, no_tunnel; /* no_tunnel: nothing can have been counted */
	enum path_kind path;
	struct endpoint endpoint;
	double latency_ms;
	uint64_t last_handshake_wall_ms, rx_bytes, tx_bytes;
	const char *nat_type;
	const char *networks[PROTO_MAX_NETWORKS];
	unsigned network_count;
};

json_t *status_json(const struct status *status); /* new; "peers" is empty */
void status_add_peer(json_t *document, const struct status_peer *peer);

#endif
