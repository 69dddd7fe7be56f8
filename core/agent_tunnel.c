/*
 * What WireGuard does. It notifies nobody, so the device is dumped each second while there is
 * traffic, each four seconds otherwise, and when the user asks, in one pass over its peers: what is
 * ours and missing (`wg syncconf`) is put back, what a peer's counters and endpoint say goes to the
 * paths, and what has changed among the user's own peers makes the guard look again.
 */
#include "agent_parts.h"

#include "lib/clock.h"
#include "lib/log.h"
#include <errno.h>
#include <string.h>

#define POLL_BUSY_MS 1000
#define POLL_IDLE_MS 4000
#define QUIET_BYTES  1000 /* of all peers between two dumps: keepalives and handshakes */
#define SOON_MS      100

void agent_poll_in(struct agent *agent, uint64_t ms)
{
	if (!timer_active(&agent->poll) || agent->poll.due_ms > clock_ms() + ms)
		timer_start(&agent->poll, ms);
}

int agent_tunnel_put(struct agent *agent, struct agent_peer *peer)
{
	int error =
		tunnel_put_peer(agent->tunnel, &peer->key, peer->allowed.at, peer->allowed.count);

	if (error)
		log_warn("peer-not-set", "peer=%s reason=\"%s\"", peer->name, strerror(-error));
	return error;
}

/* Somebody has removed it: it comes back as it was. */
static void put_back(struct agent *agent, struct agent_peer *peer)
{
	log_info("peer-put-back", "peer=%s reason=\"it was removed from the interface\"",
		 peer->name);
	if (agent_tunnel_put(agent, peer) || !peer->path || !peer->path->endpoint.addr.family)
		return;
	tunnel_set_endpoint(agent->tunnel, &peer->key, &peer->path->endpoint);
	if (!peer->path->device)
		tunnel_keepalive(agent->tunnel, &peer->key, true);
}

static bool same_allowed(const struct agent_peer *peer, const struct wg_peer *wg)
{
	if (peer->allowed.count != wg->allowed_ip_count)
		return false;
	for (size_t i = 0; i < peer->allowed.count; i++) {
		bool found = false;

		for (size_t j = 0; j < wg->allowed_ip_count && !found; j++)
			found = prefix_equal(&peer->allowed.at[i], &wg->allowed_ips[j].prefix);
		if (!found)
			return false;
	}
	return true;
}

static void observe(struct agent *agent, struct agent_peer *peer, const struct wg_peer *wg)
{
	struct peer_report report = {
		.endpoint = wg->endpoint,
		.handshake_wall_ms = wg->last_handshake_wall_ms,
		.rx_bytes = wg->rx_bytes,
		.tx_bytes = wg->tx_bytes,
		.keepalive_on = wg->keepalive_s > 0,
	};

	peer->seen = agent->dump;
	if (peer->managed && !same_allowed(peer, wg))
		agent_tunnel_put(agent, peer);
	if (peer->managed && !wg->keepalive_s && wg->last_handshake_wall_ms &&
	    !(peer->path && peer->path->device))
		tunnel_keepalive(agent->tunnel, &peer->key, false);
	if (peer->path)
		peers_observe(peer->path, &report);
	agent_psk_look(agent, peer, wg);
}

static void follow_device(struct agent *agent, const struct wg_device *device)
{
	if (device->listen_port == agent->port && device->fwmark == agent->fwmark)
		return;
	log_info("port", "port=%u fwmark=%u", device->listen_port, device->fwmark);
	agent->port = device->listen_port;
	agent->fwmark = device->fwmark;
	if (agent->raw)
		rawport_set(agent->raw, agent->port, agent->fwmark);
	if (agent->coord)
		coord_set_fwmark(agent->coord, agent->fwmark);
	agent_look_again(agent, true);
	peers_network_changed(agent->peers); /* no router knows the new port */
}

static uint64_t take_dump(struct agent *agent)
{
	const struct wg_device *device = tunnel_device(agent->tunnel);
	struct agent_peer *peer;
	struct wg_peer *wg;
	uint64_t bytes = 0;

	follow_device(agent, device);
	agent->dump++;
	map_free(agent->foreign);
	agent->foreign = map_new(KEY_LEN);
	list_each (wg, &device->peers, node) {
		bytes += wg->rx_bytes + wg->tx_bytes;
		if (!tunnel_owns_peer(agent->tunnel, &wg->public_key))
			map_put(agent->foreign, wg->public_key.bytes, wg);
		peer = agent_find(agent, &wg->public_key);
		if (peer)
			observe(agent, peer, wg);
	}
	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));) {
		if (peer->managed && peer->allowed.count && peer->seen != agent->dump)
			put_back(agent, peer);
	}
	if (facts_foreign_hash(agent->tunnel) != agent->facts.foreign_hash) {
		agent->facts_dirty = true;
		agent_map_recheck(agent, false);
	}
	return bytes;
}

static void vanished(struct agent *agent)
{
	log_info("interface-gone", "reason=\"the interface was removed\"");
	agent_take_down(agent);
}

void agent_poll(void *arg)
{
	struct agent *agent = arg;
	int error = tunnel_poll(agent->tunnel);
	uint64_t bytes, moved;

	if (agent->ending)
		return;
	if (error == -ENODEV) {
		vanished(agent);
		return;
	}
	if (error) {
		log_warn("device", "reason=\"WireGuard's state cannot be read: %s\"",
			 strerror(-error));
		timer_start(&agent->poll, POLL_IDLE_MS);
		return;
	}
	bytes = take_dump(agent);
	moved = bytes - agent->total_bytes;
	agent->total_bytes = bytes;
	if (!agent->ending)
		agent_poll_in(agent, moved > QUIET_BYTES ? POLL_BUSY_MS : POLL_IDLE_MS);
}

/* ---- what the paths ask for ---- */

static int send_packet(void *arg, const struct addr *from, const struct endpoint *to,
		       const void *data, size_t len)
{
	struct agent *agent = arg;

	if (agent_in_tunnel(agent, &to->addr))
		return -ENETUNREACH;
	return agent->raw ? rawport_send(agent->raw, from, to, data, len, NULL) : -EAGAIN;
}

static void set_endpoint(void *arg, struct peer *path, const struct endpoint *to)
{
	struct agent *agent = arg;
	struct agent_peer *peer = path->owner;
	int error = tunnel_meet(agent->tunnel, &path->public_key, to);

	if (error)
		log_warn("endpoint-not-set", "peer=%s reason=\"%s\"", peer->name, strerror(-error));
	agent_poll_in(agent, SOON_MS);
}

static void initiate(void *arg, struct peer *path)
{
	struct agent *agent = arg;

	tunnel_keepalive(agent->tunnel, &path->public_key, true);
	agent_poll_in(agent, SOON_MS);
}

static void send_signal(void *arg, struct peer *path, bool answer)
{
	agent_send_signal(arg, path, answer);
}

static void path_changed(void *arg, struct peer *path, enum path_kind old, const char *reason)
{
	struct agent *agent = arg;
	struct agent_peer *peer = path->owner;
	bool quiet = agent->adopting && !agent->synced && path->path == PATH_DIRECT;

	peer->heartbeat = true;
	if (quiet) { /* the tunnel was up before this agent was */
		peer->up = true;
		return;
	}
	if (old == PATH_NONE && !peer->up) {
		peer->up = true;
		agent_emit_peer(agent, EVENT_PEER_UP, peer, reason);
	}
	agent_emit_peer(agent, EVENT_PATH_CHANGED, peer, reason);
	if (path->path == PATH_NONE && peer->up) {
		peer->up = false;
		agent_emit_peer(agent, EVENT_PEER_DOWN, peer, reason);
	}
}

static void stuck(void *arg, struct peer *path)
{
	(void)path;
	agent_look_again(arg, false);
}

static bool allowed(void *arg, const struct endpoint *at)
{
	struct agent *agent = arg;
	char reason[GUARD_REASON];

	return guard_endpoint(agent_facts(agent), at, reason);
}

static void take_note(void *arg, struct peer *path, const char *what, const struct endpoint *at,
		      const char *reason)
{
	struct agent *agent = arg;
	char text[ENDPOINT_TEXT] = "";

	record_add(agent->record, &path->public_key, what, at, "%s", reason);
	if (!log_enabled(LOG_DEBUG))
		return;
	if (at && at->addr.family)
		endpoint_format(text, at);
	log_debug(what, "peer=%s at=%s reason=\"%s\"", ((struct agent_peer *)path->owner)->name,
		  text, reason);
}

const struct peers_ops agent_peers_ops = {
	.send = send_packet,
	.set_endpoint = set_endpoint,
	.initiate = initiate,
	.signal = send_signal,
	.path_changed = path_changed,
	.stuck = stuck,
	.allowed = allowed,
	.note = take_note,
};

void agent_packet(void *arg, const struct rawport_packet *packet)
{
	struct agent *agent = arg;

	if (peers_input(agent->peers, &packet->from, &packet->to, packet->data, packet->len))
		return;
	if (agent->plugins)
		plugin_host_packet(agent->plugins, &packet->from, packet->data, packet->len);
}
