/*
 * What the user asks through the control socket: a table of commands. A ping is answered later; all
 * others at once.
 */
#include "agent_parts.h"

#include "status.h"
#include "undo.h"
#include "lib/clock.h"
#include "lib/daemon.h"
#include "lib/log.h"
#include <string.h>
#include <unistd.h>

static struct agent_peer *find_peer(struct agent *agent, struct control_client *client,
				    json_t *request)
{
	return agent_find_named(agent, client,
				json_string_value(json_object_get(request, "peer")));
}

/* ---- status ---- */

static struct prefix *allowed_of(const struct wg_peer *wg)
{
	struct prefix *allowed = xcalloc(wg->allowed_ip_count + 1, sizeof(*allowed));

	for (size_t i = 0; i < wg->allowed_ip_count; i++)
		allowed[i] = wg->allowed_ips[i].prefix;
	return allowed;
}

/* All that it has in the networks it shares with us. */
static void add_memberships(struct status_peer *one, struct addr *addresses,
			    const struct netmap_member *m)
{
	for (; m && one->network_count < PROTO_MAX_NETWORKS; m = m->next) {
		one->networks[one->network_count++] = m->peer.network;
		memcpy(&addresses[one->address_count], m->peer.addresses,
		       m->peer.address_count * sizeof(*addresses));
		one->address_count += m->peer.address_count;
	}
	one->addresses = addresses;
}

static void add_member(struct agent *agent, json_t *document, struct agent_peer *peer)
{
	struct netmap_member *first = netmap_by_key(agent->netmap, &peer->key);
	struct addr addresses[PROTO_MAX_NETWORKS * PROTO_MAX_ADDRESSES];
	const struct wg_peer *wg = peer->managed ? NULL : map_get(agent->foreign, peer->key.bytes);
	struct prefix *theirs = wg ? allowed_of(wg) : NULL;
	struct status_peer one = {
		.name = first->peer.name,
		.agent_id = first->peer.agent_id,
		.public_key = peer->key,
		.allowed = peer->allowed.at,
		.allowed_count = peer->allowed.count,
		.online = first->peer.online,
		.managed = peer->managed,
		.no_tunnel = !peer->path && !wg,
		.latency_ms = -1,
		.nat_type = first->peer.at.nat_type == NAT_UNKNOWN
				    ? NULL
				    : nat_type_name(first->peer.at.nat_type),
	};

	add_memberships(&one, addresses, first);
	if (wg) {
		one.allowed = theirs;
		one.allowed_count = wg->allowed_ip_count;
	}
	if (peer->path && peer->path->device) /* nobody else knows */
		one.online = peer->path->path == PATH_DIRECT;
	if (peer->path) {
		one.path = peer->path->path;
		one.endpoint = peer->path->endpoint;
		one.latency_ms = peer_latency(peer->path);
		one.last_handshake_wall_ms = peer->path->handshake_wall_ms;
		one.rx_bytes = peer->path->rx_bytes;
		one.tx_bytes = peer->path->tx_bytes;
	}
	status_add_peer(document, &one);
	free(theirs);
}

static void add_own(json_t *document, const struct wg_peer *wg)
{
	struct prefix *allowed = allowed_of(wg);
	uint64_t now = clock_wall_ms();
	struct status_peer one = {
		.public_key = wg->public_key,
		.allowed = allowed,
		.allowed_count = wg->allowed_ip_count,
		.endpoint = wg->endpoint,
		.latency_ms = -1,
		.last_handshake_wall_ms = wg->last_handshake_wall_ms,
		.rx_bytes = wg->rx_bytes,
		.tx_bytes = wg->tx_bytes,
	};

	if (wg->last_handshake_wall_ms && now - wg->last_handshake_wall_ms < PATH_HANDSHAKE_MS)
		one.path = PATH_DIRECT;
	status_add_peer(document, &one);
	free(allowed);
}

static void do_status(struct agent *agent, struct control_client *client, json_t *request)
{
	struct status status = {
		.interface = agent->interface,
		.name = agent_name(agent),
		.agent_id = agent->state->agent_id,
		.public_key = agent->public_key,
		.networks = agent->state->networks,
		.network_count = agent->state->network_count,
		.coordinator_url = coord_origin(agent->coord),
		.coordinator_connected = coord_connected(agent->coord),
		.coordinator_since_wall_ms = coord_since_wall_ms(agent->coord),
		.coordinator_refusal = coord_refusal(agent->coord),
		.at = &agent->at,
		.mapping = discovery_mapping(agent->discovery),
		.filtering = discovery_filtering(agent->discovery),
	};
	json_t *document = status_json(&status);
	struct agent_peer *peer;
	struct wg_peer *wg;

	(void)request;
	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));)
		add_member(agent, document, peer);
	for (size_t pos = 0; (wg = map_next(agent->foreign, &pos, NULL));) {
		if (!agent_find(agent, &wg->public_key))
			add_own(document, wg);
	}
	control_reply(client, document);
}

/* ---- ping ---- */

struct ping {
	struct agent *agent;
	struct control_client *client;
	struct peers_ping *waiting;
	char address[ADDR_TEXT]; /* the one that was asked for, or the first */
};

static void ping_done(void *arg, struct peer *path, double rtt_ms)
{
	struct ping *ping = arg;
	struct netmap_member *member = netmap_by_key(ping->agent->netmap, &path->public_key);
	char endpoint[ENDPOINT_TEXT];
	const char *name = member ? member->peer.name : "?";

	if (rtt_ms < 0) {
		control_error(ping->client, 1, "%s does not answer%s", name,
			      path->path == PATH_DIRECT ? "" : ": there is no path to it yet");
	} else {
		endpoint_format(endpoint, &path->endpoint);
		control_reply(ping->client,
			      json_pack("{s:b, s:s, s:s, s:s, s:s, s:n, s:f}", "ok", 1, "name",
					name, "address", ping->address, "path", path_name(path->path),
					"endpoint", endpoint, "region", "latency_ms", rtt_ms));
	}
	free(ping);
}

static void ping_dropped(void *arg)
{
	struct ping *ping = arg;

	peers_ping_cancel(ping->waiting);
	free(ping);
}

static void do_ping(struct agent *agent, struct control_client *client, json_t *request)
{
	struct agent_peer *peer = find_peer(agent, client, request);
	struct ping *ping;

	if (!peer)
		return;
	if (!peer->path) {
		control_error(client, 1,
			      "%s is not configured: nothing that it was offered as was accepted",
			      peer->name);
		return;
	}
	if (peer->path->device) {
		control_error(client, 1,
			      "%s is a device without an agent and answers no probes: ping %s",
			      peer->name, peer->address);
		return;
	}
	ping = xcalloc(1, sizeof(*ping));
	ping->agent = agent;
	ping->client = client;
	agent_find_address(agent, peer, json_string_value(json_object_get(request, "peer")),
			   ping->address);
	control_on_close(client, ping_dropped, ping);
	ping->waiting = peers_ping(peer->path, ping_done, ping);
}

/* ---- the rest ---- */

static void do_hello(struct agent *agent, struct control_client *client, json_t *request)
{
	(void)request;
	control_reply(client, json_pack("{s:b, s:s, s:i, s:s, s:I, s:b}", "ok", 1, "version",
					WG_MESH_VERSION, "pid", (int)getpid(), "interface",
					agent->interface, "netns", (json_int_t)netns_id(), "hooks",
					hook_alive(agent->hooks)));
}

static json_t *candidates_json(const struct peer *path)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < path->count; i++) {
		const struct candidate *c = &path->candidates[i];

		json_array_append_new(list, json_pack("{s:o, s:s, s:i, s:i, s:o}", "endpoint",
						      js_from_endpoint(&c->at), "kind",
						      candidate_kind_name(c->kind), "sent",
						      (int)c->sent, "heard", (int)c->heard,
						      "latency_ms", js_from_ms(c->seen.rtt_ms)));
	}
	return list;
}

static void do_explain(struct agent *agent, struct control_client *client, json_t *request)
{
	struct agent_peer *peer = find_peer(agent, client, request);
	enum path_kind path;

	if (!peer)
		return;
	path = peer->path ? peer->path->path : PATH_NONE;
	control_reply(client, json_pack("{s:i, s:s, s:s, s:o, s:o}", "schema", 1, "peer",
					peer->name, "path", path_name(path), "candidates",
					peer->path ? candidates_json(peer->path) : json_array(),
					"records", record_json(agent->record, &peer->key)));
}

static void do_plugins(struct agent *agent, struct control_client *client, json_t *request)
{
	(void)request;
	control_reply(client, plugin_host_json(agent->plugins));
}

static void do_events(struct agent *agent, struct control_client *client, json_t *request)
{
	(void)request;
	agent_follow(agent, client);
}

static void do_reload(struct agent *agent, struct control_client *client, json_t *request)
{
	char error[YAML_ERROR];

	(void)request;
	if (agent_reload(agent, error))
		control_error(client, 2, "%s", error);
	else
		control_reply(client, json_pack("{s:b}", "ok", 1));
}

static void do_down(struct agent *agent, struct control_client *client, json_t *request)
{
	int error;

	(void)request;
	error = agent_take_down(agent);
	if (error)
		control_error(client, 1, "not all could be removed from %s: %s", agent->interface,
			      strerror(-error));
	else
		control_reply(client, json_pack("{s:b, s:b}", "ok", 1, "hooks",
						hook_told(agent->hooks)));
}

static void do_stop(struct agent *agent, struct control_client *client, json_t *request)
{
	(void)request;
	control_reply(client, json_pack("{s:b}", "ok", 1));
	agent_end(agent, 0);
}

static const struct command {
	const char *name;
	void (*run)(struct agent *agent, struct control_client *client, json_t *request);
	bool looks; /* at the interface first: what it tells is as fresh as what `wg show` tells */
} commands[] = {
	{"hello", do_hello, false},     {"status", do_status, true},
	{"ping", do_ping, false},       {"explain", do_explain, true},
	{"plugins", do_plugins, false}, {"events", do_events, false},
	{"reload", do_reload, false},   {"down", do_down, false},
	{"stop", do_stop, false},
};

static void run_command(struct agent *agent, const struct command *command,
			struct control_client *client, json_t *request)
{
	if (command->looks && !agent->ending)
		agent_poll(agent);
	if (command->looks && agent->ending)
		control_error(client, 3, "%s is going down", agent->interface);
	else
		command->run(agent, client, request);
}

void agent_control(void *arg, struct control_client *client, json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "command"));

	for (unsigned i = 0; name && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0) {
			run_command(arg, &commands[i], client, request);
			return;
		}
	}
	control_error(client, 2, "the agent knows no command %.40s",
		      name ? name : "without a name");
}
