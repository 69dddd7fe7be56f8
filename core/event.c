/*
 * event.c - the words of the events and their JSON. One table has both: the enum's order and the
 * words a user writes into the YAML file or finds as a directory in hooks.d.
 *
 * The document of an event always has every field; what does not apply is null, so that a script
 * can follow `wg-mesh events --json` without asking which fields are there.
 */
#include "event.h"
#include "lib/json.h"

#include <string.h>

static const char *const names[EVENT_COUNT] = {
	[EVENT_AGENT_UP] = "agent-up",
	[EVENT_AGENT_DOWN] = "agent-down",
	[EVENT_PEER_UP] = "peer-up",
	[EVENT_PEER_DOWN] = "peer-down",
	[EVENT_PATH_CHANGED] = "path-changed",
	[EVENT_ENDPOINT_CHANGED] = "endpoint-changed",
	[EVENT_NAT_CHANGED] = "nat-changed",
	[EVENT_RELAY_CHANGED] = "relay-changed",
	[EVENT_ROUTE_ADDED] = "route-added",
	[EVENT_ROUTE_REMOVED] = "route-removed",
	[EVENT_POLICY_CHANGED] = "policy-changed",
	[EVENT_COORDINATOR_LOST] = "coordinator-lost",
	[EVENT_COORDINATOR_BACK] = "coordinator-back",
	[EVENT_DEGRADED] = "degraded",
	[EVENT_REFUSED] = "refused",
};

static const struct { /* as wg-quick calls its own hooks */
	const char *name;
	enum event_type type;
} other_names[] = {
	{"post-up", EVENT_AGENT_UP},
	{"pre-down", EVENT_AGENT_DOWN},
};

const char *event_name(enum event_type type)
{
	return (unsigned)type < EVENT_COUNT ? names[type] : "unknown";
}

/* Equal where '_' counts as '-'. */
static bool same_word(const char *word, const char *name)
{
	for (; *word && *name; word++, name++)
		if (*word != *name && !(*word == '_' && *name == '-'))
			return false;
	return *word == *name;
}

bool event_parse(enum event_type *out, const char *name)
{
	for (unsigned i = 0; i < EVENT_COUNT; i++) {
		if (same_word(name, names[i])) {
			*out = (enum event_type)i;
			return true;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(other_names); i++) {
		if (same_word(name, other_names[i].name)) {
			*out = other_names[i].type;
			return true;
		}
	}
	return false;
}

static json_t *text(const char *value)
{
	return js_from_text(value && *value ? value : NULL);
}

json_t *event_json(const struct event *event, uint64_t wall_ms)
{
	return json_pack("{s:i, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			 "schema", 1, "time", js_from_time(wall_ms), "event", event_name(event->type),
			 "interface", text(event->interface), "network", text(event->network),
			 "name", text(event->name), "peer", text(event->peer),
			 "peer_name", text(event->peer_name), "peer_address", text(event->peer_address),
			 "path", text(event->path), "old_path", text(event->old_path),
			 "endpoint", text(event->endpoint), "old_endpoint", text(event->old_endpoint),
			 "reason", text(event->reason), "latency_ms", js_from_ms(event->latency_ms));
}
