/*
 * Talking with the coordinator and, through it, with the other agents: the map as it comes in, our
 * endpoints and candidates as they go out, and how the paths are.
 */
#include "agent_parts.h"

#include "lib/clock.h"
#include "lib/log.h"
#include <string.h>

#define BEAT_MS 30000

/* ---- candidates ---- */

void agent_send_message(struct agent *agent, const struct key *to,
			const struct signal_message *message)
{
	struct netmap_member *member = netmap_by_key(agent->netmap, to);
	struct signal_address address;
	uint8_t *box;
	size_t len;

	if (!member || !agent->coord || !coord_connected(agent->coord))
		return;
	address = (struct signal_address){member->peer.network, agent->state->agent_id,
					  member->peer.agent_id};
	box = signal_seal(&len, &address, agent->boot, ++agent->signal_counter, message, to,
			  &agent->private_key);
	if (!box)
		return;
	coord_send_signal(agent->coord, address.to, address.network, box, len);
	free(box);
}

void agent_send_signal(struct agent *agent, struct peer *path, bool answer)
{
	struct signal_message message = {.answer = answer, .at = agent->at};

	agent_send_message(agent, &path->public_key, &message);
}

static void heard_signal(void *arg, const char *from, const char *network, const uint8_t *box,
			 size_t len)
{
	struct agent *agent = arg;
	struct netmap_member *member = netmap_by_id(agent->netmap, network, from);
	struct agent_peer *peer = member ? agent_find(agent, &member->peer.public_key) : NULL;
	struct signal_address expected = {network, from, agent->state->agent_id};
	struct signal_message message;
	const char *why;

	if (!peer || !peer->path)
		return;
	if (!signal_open(&message, &peer->path->window, &expected, box, len, &peer->key,
			 &agent->private_key, &why)) {
		record_add(agent->record, &peer->key, "signal-refused", NULL, "%s", why);
		log_debug("signal-refused", "peer=%s reason=\"%s\"", member->peer.name, why);
		return;
	}
	if (message.type == SIGNAL_PSK)
		agent_psk_heard(agent, peer, &message.psk);
	else
		peers_signalled(peer->path, &message);
	key_wipe(&message.psk.key);
}

static bool same_at(const struct proto_endpoints *a, const struct proto_endpoints *b)
{
	struct proto_peer before = {.at = *a}, after = {.at = *b};

	return !(netmap_diff(&before, &after) & NETMAP_ENDPOINTS);
}

void agent_discovery_changed(void *arg)
{
	struct agent *agent = arg;
	struct proto_endpoints before = agent->at;
	char text[ENDPOINT_TEXT] = "", old_text[ENDPOINT_TEXT] = "";
	struct event event = {.endpoint = text, .old_endpoint = old_text, .latency_ms = -1};

	if (agent->ending || !agent->discovery)
		return;
	memset(&agent->at, 0, sizeof(agent->at));
	discovery_result(agent->discovery, &agent->at);
	if (same_at(&before, &agent->at))
		return;
	coord_send_endpoints(agent->coord, &agent->at);
	peers_endpoints_changed(agent->peers);
	if (agent->at.endpoint.addr.family)
		endpoint_format(text, &agent->at.endpoint);
	if (before.endpoint.addr.family)
		endpoint_format(old_text, &before.endpoint);
	if (before.nat_type != agent->at.nat_type) {
		event.type = EVENT_NAT_CHANGED;
		event.reason = nat_type_name(agent->at.nat_type);
		agent_emit(agent, &event);
	}
	if (!endpoint_equal(&before.endpoint, &agent->at.endpoint)) {
		event.type = EVENT_ENDPOINT_CHANGED;
		event.reason = NULL;
		agent_emit(agent, &event);
	}
}

/* ---- the coordinator ---- */

static void connected(void *arg, bool is_connected, const char *why)
{
	struct agent *agent = arg;
	struct event event = {
		.type = is_connected ? EVENT_COORDINATOR_BACK : EVENT_COORDINATOR_LOST,
		.reason = why,
		.latency_ms = -1,
	};

	if (is_connected)
		log_info("coordinator-connected", "url=%s", coord_origin(agent->coord));
	if (is_connected) {
		coord_send_endpoints(agent->coord, &agent->at);
		agent->facts_dirty = true; /* a name may lead elsewhere now */
		agent_map_recheck(agent, false);
	}
	if (agent->was_connected != is_connected && (agent->was_connected || agent->told_lost))
		agent_emit(agent, &event);
	agent->told_lost |= !is_connected && agent->was_connected;
	agent->was_connected = is_connected;
	if (is_connected)
		agent_beat(agent);
}

static void position(struct agent *agent)
{
	coord_set_position(agent->coord,
			   *netmap_epoch(agent->netmap) ? netmap_epoch(agent->netmap) : NULL,
			   netmap_revision(agent->netmap));
	agent_save_soon(agent);
}

static void snapshot(void *arg, json_t *frame)
{
	struct agent *agent = arg;
	const char *type = json_string_value(json_object_get(frame, "type"));

	if (type && strcmp(type, "snapshot") == 0)
		netmap_snapshot(agent->netmap, frame);
	agent_map_synced(agent);
	position(agent);
}

static void delta(void *arg, json_t *frame)
{
	struct agent *agent = arg;

	netmap_delta(agent->netmap, frame);
	position(agent);
}

static void state_changed(void *arg)
{
	agent_save_soon(arg);
}

static void rejected(void *arg, const char *code, const char *why)
{
	struct agent *agent = arg;
	struct event event = {.type = EVENT_DEGRADED, .reason = why, .latency_ms = -1};

	log_error("rejected", "code=%s reason=\"%s\"", code, why);
	agent_emit(agent, &event);
}

const struct coord_ops agent_coord_ops = {
	.connected = connected,
	.snapshot = snapshot,
	.delta = delta,
	.signal = heard_signal,
	.state_changed = state_changed,
	.rejected = rejected,
};

/* How the paths are: those that have changed since the last time. */
void agent_beat(void *arg)
{
	struct agent *agent = arg;
	json_t *status;
	struct agent_peer *peer;
	struct netmap_member *member;

	timer_start(&agent->beat, BEAT_MS);
	if (!coord_connected(agent->coord))
		return;
	status = json_object();
	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));) {
		member = netmap_by_key(agent->netmap, &peer->key);
		if (!peer->heartbeat || !peer->path || !member)
			continue;
		peer->heartbeat = false;
		json_object_set_new(status, member->peer.agent_id,
				    json_pack("{s:b, s:o, s:s}", "connected",
					      peer->path->path != PATH_NONE, "latency_ms",
					      js_from_ms(peer_latency(peer->path)), "path",
					      path_name(peer->path->path)));
	}
	coord_send_heartbeat(agent->coord, status);
}
