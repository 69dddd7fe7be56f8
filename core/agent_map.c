/*
 * What the map says, and what follows from it for the whole interface: peers that come, change and
 * go, our addresses, relays. Work is per changed peer; what one peer may have is agent_accept.c's, our
 * own networks are agent_networks.c's.
 */
#include "agent_parts.h"

#include "lib/log.h"
#include "lib/str.h"
#include <linux/rtnetlink.h>
#include <string.h>

struct agent_peer *agent_find(struct agent *agent, const struct key *key)
{
	return map_get(agent->by_key, key->bytes);
}

const struct guard_facts *agent_facts(struct agent *agent)
{
	if (agent->facts_dirty) {
		struct addr now = coord_remote(agent->coord);

		agent->facts_dirty = false;
		if (now.family) /* kept while it is away: a route to it would keep it so */
			agent->coordinator = now;
		facts_collect(&agent->facts, agent->tunnel, agent->state, &agent->coordinator);
	}
	return &agent->facts.guard;
}

/* The key of a server or our own is no peer's. */
static bool key_refused(struct agent *agent, const struct key *key)
{
	json_t *relay;
	struct key relay_key;
	size_t i;

	if (key_is_zero(key) || key_equal(key, &agent->state->server_key))
		return true;
	json_array_foreach(agent->state->relays, i, relay)
	{
		const char *text = json_string_value(json_object_get(relay, "key"));

		if (text && key_parse(&relay_key, text) && key_equal(&relay_key, key))
			return true;
	}
	return false;
}

static void check_endpoints(struct agent *agent, struct agent_peer *peer,
			    const struct proto_peer *member)
{
	const struct proto_endpoints *at = &member->at;
	char reason[GUARD_REASON];

	if (at->endpoint.addr.family && !guard_endpoint(agent_facts(agent), &at->endpoint, reason))
		agent_refused(agent, peer, member->name, reason);
	for (unsigned i = 0; i < at->count; i++) {
		if (!endpoint_equal(&at->endpoints[i], &at->endpoint) &&
		    !guard_endpoint(agent_facts(agent), &at->endpoints[i], reason))
			agent_refused(agent, peer, member->name, reason);
	}
}

/* ---- what the map says ---- */

static void changed(void *arg, const struct key *key, unsigned what)
{
	struct agent *agent = arg;
	struct agent_peer *peer = agent_find(agent, key);
	struct netmap_member *member = netmap_by_key(agent->netmap, key);

	agent_save_soon(agent);
	if (!member || key_equal(key, &agent->public_key)) {
		if (peer)
			agent_peer_drop(agent, peer);
		return;
	}
	if (key_refused(agent, key)) {
		agent_refused(agent, NULL, member->peer.name, "a peer has the key of a server");
		return;
	}
	if (!peer) {
		peer = xcalloc(1, sizeof(*peer));
		peer->key = *key;
		map_put(agent->by_key, key->bytes, peer);
		what |= NETMAP_ADDED;
	}
	str_copy(peer->name, sizeof(peer->name), member->peer.name);
	if (member->peer.address_count)
		addr_format(peer->address, &member->peer.addresses[0]);
	if (what & (NETMAP_ADDED | NETMAP_ADDRESSES | NETMAP_ROUTES))
		agent_peer_apply(agent, peer);
	if (what & (NETMAP_ADDED | NETMAP_ENDPOINTS))
		check_endpoints(agent, peer, &member->peer);
	if (peer->path)
		peer->path->device = member->peer.device;
	if (peer->path && what & (NETMAP_ADDED | NETMAP_ENDPOINTS))
		peers_offer(peer->path, &member->peer.at);
	if (peer->path && what & (NETMAP_ADDED | NETMAP_ONLINE))
		peers_online(peer->path, member->peer.online);
	task_defer(agent->loop, &agent->recheck);
}

/* Only the key is another: the tunnel goes on where it was, with the same rights, as soon as hands are
 * shaken. What cannot be carried over so is removed and added, as `changed` says next. */
static void rekeyed(void *arg, const struct key *old_key, const struct key *new_key)
{
	struct agent *agent = arg;
	struct agent_peer *peer = agent_find(agent, old_key);
	struct peer *path;

	if (!peer || !peer->managed || !peer->path || agent_find(agent, new_key) ||
	    key_refused(agent, new_key) || key_equal(new_key, &agent->public_key) ||
	    wg_device_find(tunnel_device(agent->tunnel), new_key) ||
	    tunnel_rekey_peer(agent->tunnel, old_key, new_key))
		return;
	log_info("peer-rekeyed", "peer=%s", peer->name);
	record_add(agent->record, new_key, "rekeyed", NULL, "it goes on under this key");
	path = peers_add(agent->peers, new_key, peer);
	path->device = peer->path->device;
	peers_remove(agent->peers, peer->path);
	peer->path = path;
	psk_entry_remove(agent->psks, old_key);
	agent->psk_dirty = true;
	map_del(agent->by_key, old_key->bytes);
	peer->key = *new_key;
	map_put(agent->by_key, new_key->bytes, peer);
	agent_poll_in(agent, 0);
}

/* A relay with the key of a peer could pass for it (SPEC 3). */
static bool has_peers_key(struct agent *agent, const json_t *list)
{
	json_t *relay;
	struct key key;
	size_t i;

	json_array_foreach(list, i, relay)
	{
		const char *text = json_string_value(json_object_get(relay, "key"));

		if (text && key_parse(&key, text) &&
		    (agent_find(agent, &key) || key_equal(&key, &agent->public_key)))
			return true;
	}
	return false;
}

static bool all_readable(const json_t *list)
{
	struct proto_relay relay;
	json_t *item;
	struct js js;
	size_t i;

	if (json_array_size(list) > PROTO_MAX_RELAYS)
		return false;
	json_array_foreach(list, i, item)
	{
		js_read(&js, item);
		if (!proto_read_relay(&js, &relay))
			return false;
		proto_relay_fini(&relay);
	}
	return true;
}

static void relays(void *arg, json_t *list)
{
	struct agent *agent = arg;

	if (json_equal(list, agent->state->relays))
		return;
	if (!all_readable(list)) {
		agent_refused(agent, NULL, NULL, "the coordinator sent a relay that cannot be read");
		return;
	}
	if (has_peers_key(agent, list)) {
		agent_refused(agent, NULL, NULL, "a relay has the key of a peer");
		return;
	}
	json_decref(agent->state->relays);
	agent->state->relays = json_deep_copy(list);
	agent->facts_dirty = true;
	if (agent->plugins)
		plugin_host_servers_changed(agent->plugins);
	agent_save_soon(agent);
}

static void refused(void *arg, const char *name, const char *why)
{
	agent_refused(arg, NULL, name, why);
}

const struct netmap_ops agent_netmap_ops = {
	.rekeyed = rekeyed,
	.changed = changed,
	.networks = agent_networks,
	.relays = relays,
	.refused = refused,
};

/* ---- the whole ---- */

static void put_ranges(struct agent *agent)
{
	for (size_t i = 0; i < agent->state->network_count; i++) {
		const struct proto_network *n = &agent->state->networks[i];

		for (unsigned j = 0; j < n->address_count; j++) {
			struct prefix range = prefix_mask(&n->addresses[j]);

			tunnel_put_route(agent->tunnel, &range, agent->table, &n->addresses[j].addr);
		}
	}
}

/* With Table = off or a table of its own nothing may come into the main table, and a network's
 * length on an address would put a route there: then each address is alone, and the range goes
 * where it should. */
bool agent_map_addresses(struct agent *agent)
{
	struct prefix wanted[PROTO_MAX_NETWORKS * 2];
	size_t count = 0;
	bool added;
	int error;

	for (size_t i = 0; i < agent->state->network_count; i++) {
		const struct proto_network *n = &agent->state->networks[i];

		for (unsigned j = 0; j < n->address_count && count < ARRAY_SIZE(wanted); j++) {
			wanted[count] = n->addresses[j];
			if (agent->table != RT_TABLE_MAIN)
				wanted[count] = prefix_host(&n->addresses[j].addr);
			count++;
		}
	}
	error = tunnel_set_addresses(agent->tunnel, wanted, count, &added);
	if (error)
		log_warn("address", "reason=\"an address of the mesh could not be set: %s\"",
			 strerror(-error));
	if (agent->table && agent->table != RT_TABLE_MAIN)
		put_ranges(agent);
	return added;
}

void agent_map_routes(struct agent *agent)
{
	const struct ledger_entry *entry;

	for (size_t pos = 0; (entry = tunnel_next_route(agent->tunnel, &pos));)
		tunnel_put_route(agent->tunnel, &entry->prefix, entry->number,
				 agent_route_source(agent, &entry->prefix));
}

/* Of a peer's route, or of a network's own range in a table of its own. */
static const struct addr *source_of(struct agent *agent, const struct prefix *route)
{
	for (size_t i = 0; i < agent->state->network_count; i++) {
		const struct proto_network *n = &agent->state->networks[i];

		for (unsigned j = 0; j < n->address_count; j++) {
			struct prefix range = prefix_mask(&n->addresses[j]);

			if (prefix_equal(&range, route))
				return &n->addresses[j].addr;
		}
	}
	return agent_route_source(agent, route);
}

/* An IPv6 route outlives the address that it names as its source, and has none from then on. */
void agent_map_sources(struct agent *agent)
{
	struct link_route *routes;
	size_t count;

	if (!agent->table || link_routes(tunnel_link(agent->tunnel), agent->table, &routes, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		const struct link_route *r = &routes[i];
		const struct addr *source;

		if (r->ifindex != tunnel_ifindex(agent->tunnel) || r->protocol != LINK_PROTOCOL ||
		    !tunnel_owns_route(agent->tunnel, &r->to, r->table))
			continue;
		source = source_of(agent, &r->to);
		if (source && !addr_equal(source, &r->source))
			tunnel_renew_route(agent->tunnel, &r->to, r->table, source);
	}
	free(routes);
}

void agent_map_recheck(struct agent *agent, bool only_contended)
{
	struct agent_peer *peer;

	agent->claims_released = false;
	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));) {
		if (!only_contended || peer->contended)
			agent_peer_apply(agent, peer);
	}
}

static bool route_known(struct agent *agent, const struct prefix *route)
{
	if (agent_claimed(agent, route))
		return true;
	for (size_t i = 0; i < agent->state->network_count; i++) {
		const struct proto_network *n = &agent->state->networks[i];

		if (prefix_equal(&n->cidr, route) || prefix_equal(&n->cidr6, route))
			return true;
	}
	return false;
}

/* What an earlier agent left and the coordinator knows nothing of any more. */
void agent_map_synced(struct agent *agent)
{
	const struct ledger_entry *entry;
	const struct key *key;

	if (agent->synced)
		return;
	agent->synced = true;
	for (size_t pos = 0; (key = tunnel_next_peer(agent->tunnel, &pos));) {
		struct agent_peer *peer = agent_find(agent, key);

		if (!peer || !peer->path)
			tunnel_remove_peer(agent->tunnel, key);
	}
	for (size_t pos = 0; (entry = tunnel_next_route(agent->tunnel, &pos));) {
		if (!route_known(agent, &entry->prefix))
			tunnel_remove_route(agent->tunnel, &entry->prefix, entry->number);
	}
	agent_map_sources(agent); /* that agent may have given them none */
}

void agent_map_free(struct agent *agent)
{
	struct agent_peer *peer;

	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));) {
		free(peer->allowed.at);
		free(peer->refused.at);
		free(peer);
	}
	map_free(agent->by_key);
	map_free(agent->claims);
	free(agent->left);
}
