/*
 * event.h - what happened, as data: the fields a hook gets in its environment, a line of
 * `wg-mesh events`, an entry of the bounded record that `explain` prints from.
 */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include "lib/util.h"
#include <jansson.h>

enum event_type { /* SPEC 6; the words are these with '-' */
	EVENT_AGENT_UP,
	EVENT_AGENT_DOWN,
	EVENT_PEER_UP,
	EVENT_PEER_DOWN,
	EVENT_PATH_CHANGED,
	EVENT_ENDPOINT_CHANGED,
	EVENT_NAT_CHANGED,
	EVENT_RELAY_CHANGED,
	EVENT_ROUTE_ADDED,
	EVENT_ROUTE_REMOVED,
	EVENT_POLICY_CHANGED,
	EVENT_COORDINATOR_LOST,
	EVENT_COORDINATOR_BACK,
	EVENT_DEGRADED,
	EVENT_REFUSED, /* something of the coordinator's, by rule 6: an event, no hook */
	EVENT_COUNT,
};

struct event { /* all text borrowed; NULL or "": does not apply */
	enum event_type type;
	const char *interface, *network, *name; /* ours */
	const char *peer, *peer_name, *peer_address; /* public key, name, first mesh address */
	const char *path, *old_path, *endpoint, *old_endpoint;
	const char *reason; /* one sentence; for people, not in a hook's environment */
	double latency_ms;  /* < 0: unknown */
};

const char *event_name(enum event_type type);         /* "agent-up" */
bool event_parse(enum event_type *out, const char *name); /* '-' or '_' ; post_up, pre_down too */
json_t *event_json(const struct event *event, uint64_t wall_ms); /* new: {"time","event",...} */

#endif
