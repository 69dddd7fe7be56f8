/*
 * From the map to the interface: what a peer may have is what the coordinator says of it, less what
 * the guard refuses (rule 6), less what another peer has already; the rest goes to WireGuard and
 * into routes. Work is per changed peer. The tricky thing is claims: each prefix belongs to the
 * first peer that claimed it, and who came second is looked at again when it is let go.
 */
#include "agent_parts.h"

#include "lib/log.h"
#include "lib/str.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct claim_key { /* no padding: it is a map's key */
	uint8_t family, bits, bytes[16];
};

static struct claim_key claim_of(const struct prefix *prefix)
{
	struct prefix masked = prefix_mask(prefix);
	struct claim_key key = {.family = masked.addr.family, .bits = masked.bits};

	memcpy(key.bytes, masked.addr.bytes, sizeof(key.bytes));
	return key;
}

static void list_put(struct prefix_list *list, const struct prefix *prefix)
{
	if (list->count == list->cap) {
		list->cap = MAX(4, list->cap * 2);
		list->at = xrealloc(list->at, list->cap * sizeof(*list->at));
	}
	list->at[list->count++] = *prefix;
}

static bool list_has(const struct prefix_list *list, const struct prefix *prefix)
{
	for (size_t i = 0; i < list->count; i++) {
		if (prefix_equal(&list->at[i], prefix))
			return true;
	}
	return false;
}

static bool list_same(const struct prefix_list *a, const struct prefix_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!prefix_equal(&a->at[i], &b->at[i]))
			return false;
	}
	return true;
}

struct agent_peer *agent_find(struct agent *agent, const struct key *key)
{
	return map_get(agent->by_key, key->bytes);
}

const struct guard_facts *agent_facts(struct agent *agent)
{
	if (agent->facts_dirty) {
		agent->facts_dirty = false;
		facts_collect(&agent->facts, agent->tunnel, agent->state);
	}
	return &agent->facts.guard;
}

/* ---- what one peer may have ---- */

struct sifting {
	struct agent *agent;
	struct agent_peer *peer;
	const struct proto_peer *member;
	struct prefix_list allowed, refused;
};

static void refuse(struct sifting *s, const struct prefix *prefix, const char *reason)
{
	if (list_has(&s->refused, prefix))
		return;
	list_put(&s->refused, prefix);
	if (!list_has(&s->peer->refused, prefix))
		agent_refused(s->agent, s->peer, s->member->name, reason);
}

static void claim(struct sifting *s, const struct prefix *prefix)
{
	struct claim_key key = claim_of(prefix);
	struct agent_peer *owner = map_get(s->agent->claims, &key);
	char text[PREFIX_TEXT], reason[GUARD_REASON];

	if (list_has(&s->allowed, prefix))
		return;
	if (owner && owner != s->peer) {
		prefix_format(text, prefix);
		snprintf(reason, sizeof(reason), "%s of %s belongs to %s already", text,
			 s->member->name, owner->name);
		s->peer->contended = true;
		refuse(s, prefix, reason);
		return;
	}
	map_put(s->agent->claims, &key, s->peer);
	list_put(&s->allowed, prefix);
}

static bool route_wanted(const struct config *config, const struct prefix *route)
{
	static const char *const private_ranges[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
						     "fc00::/7"};
	struct prefix range;

	switch (config->accept_mode) {
	case ACCEPT_NONE:
		return false;
	case ACCEPT_PRIVATE:
		for (unsigned i = 0; i < ARRAY_SIZE(private_ranges); i++) {
			prefix_parse(&range, private_ranges[i]);
			if (prefix_covers(&range, route))
				return true;
		}
		return false;
	case ACCEPT_LIST:
		for (size_t i = 0; i < config->accept_count; i++) {
			if (prefix_equal(&config->accept[i], route))
				return true;
		}
		return false;
	}
	return false;
}

static void sift_addresses(struct sifting *s)
{
	char reason[GUARD_REASON];

	for (unsigned i = 0; i < s->member->address_count; i++) {
		struct prefix host = prefix_host(&s->member->addresses[i]);

		if (guard_address(agent_facts(s->agent), &host.addr, reason))
			claim(s, &host);
		else
			refuse(s, &host, reason);
	}
}

static void sift_routes(struct sifting *s)
{
	char reason[GUARD_REASON];

	for (unsigned i = 0; i < s->member->route_count; i++) {
		struct prefix route = prefix_mask(&s->member->routes[i]);

		if (!guard_route(agent_facts(s->agent), &route, false, reason))
			refuse(s, &route, reason);
		else if (route_wanted(s->agent->config, &route))
			claim(s, &route);
	}
}

/* The key of a server or our own is no peer's. */
static bool key_refused(struct agent *agent, const struct key *key)
{
	json_t *relay;
	struct key relay_key;
	size_t i;

	if (key_is_zero(key) || key_equal(key, &agent->state->server_key))
		return true;
	json_array_foreach (agent->state->relays, i, relay) {
		const char *text = json_string_value(json_object_get(relay, "key"));

		if (text && key_parse(&relay_key, text) && key_equal(&relay_key, key))
			return true;
	}
	return false;
}

static void release(struct agent *agent, struct agent_peer *peer, const struct prefix_list *kept)
{
	for (size_t i = 0; i < peer->allowed.count; i++) {
		struct claim_key key = claim_of(&peer->allowed.at[i]);

		if (kept && list_has(kept, &peer->allowed.at[i]))
			continue;
		if (map_get(agent->claims, &key) == peer)
			map_del(agent->claims, &key);
		agent->claims_released = true;
	}
}

/* ---- routes ---- */

static void route_event(struct agent *agent, struct agent_peer *peer, enum event_type type,
			const struct prefix *route)
{
	char text[PREFIX_TEXT];

	prefix_format(text, route);
	agent_emit_peer(agent, type, peer, text);
}

static void change_routes(struct agent *agent, struct agent_peer *peer, const struct prefix_list *next,
			  size_t next_from)
{
	const struct prefix_list *now = &peer->allowed;
	int error;

	if (!agent->table)
		return;
	for (size_t i = peer->route_from; i < now->count; i++) {
		if (list_has(next, &now->at[i]))
			continue;
		tunnel_remove_route(agent->tunnel, &now->at[i], agent->table);
		route_event(agent, peer, EVENT_ROUTE_REMOVED, &now->at[i]);
	}
	for (size_t i = next_from; i < next->count; i++) {
		if (list_has(now, &next->at[i]))
			continue;
		error = tunnel_put_route(agent->tunnel, &next->at[i], agent->table);
		if (error && error != -EEXIST)
			log_warn("route-not-set", "reason=\"%s\"", strerror(-error));
		else
			route_event(agent, peer, EVENT_ROUTE_ADDED, &next->at[i]);
	}
}

/* ---- one peer ---- */

static void unplug(struct agent *agent, struct agent_peer *peer)
{
	struct prefix_list none = {0};

	change_routes(agent, peer, &none, 0);
	release(agent, peer, NULL);
	if (peer->up)
		agent_emit_peer(agent, EVENT_PEER_DOWN, peer, "the peer has left");
	peer->up = false;
	if (peer->managed)
		tunnel_remove_peer(agent->tunnel, &peer->key);
	if (peer->path)
		peers_remove(agent->peers, peer->path);
	peer->path = NULL;
	peer->allowed.count = peer->route_from = 0;
}

static void plug(struct agent *agent, struct agent_peer *peer)
{
	struct netmap_member *member = netmap_by_key(agent->netmap, &peer->key);

	if (peer->path)
		return;
	peer->path = peers_add(agent->peers, &peer->key, peer);
	peer->path->passive = !peer->managed;
	peers_offer(peer->path, &member->peer.at);
	peers_online(peer->path, member->peer.online);
	agent_poll_in(agent, 0);
}

/* A peer that is on the interface and not in the ledger is the user's, unless `wg-quick save` wrote
 * ours into the file: then the map we saved or the last ledger says so, and it looks exactly as we
 * make it, which nobody does by hand. */
static bool saved_by_wg_quick(struct agent *agent, const struct wg_peer *wg, const struct prefix_list *wanted,
			      size_t addresses)
{
	struct netmap_member *member = netmap_by_key(agent->netmap, &wg->public_key);
	bool connected = wg->keepalive_s == TUNNEL_KEEPALIVE_S && wg->endpoint.addr.family;

	if (!member->was_managed && !map_get(agent->before, wg->public_key.bytes))
		return false;
	if (!connected && (wg->keepalive_s || wg->endpoint.addr.family))
		return false;
	for (size_t i = 0; i < wg->allowed_ip_count; i++) {
		if (!list_has(wanted, &wg->allowed_ips[i].prefix))
			return false;
	}
	return wg->allowed_ip_count >= addresses;
}

static bool is_managed(struct agent *agent, struct agent_peer *peer, const struct prefix_list *wanted,
		       size_t addresses)
{
	const struct wg_peer *wg = map_get(agent->foreign, peer->key.bytes);

	if (!wg || tunnel_owns_peer(agent->tunnel, &peer->key))
		return true;
	if (!saved_by_wg_quick(agent, wg, wanted, addresses))
		return false;
	tunnel_adopt_peer(agent->tunnel, &peer->key);
	agent->facts_dirty = true;
	return true;
}

static void sift(struct sifting *s, size_t *route_from)
{
	struct netmap_member *first = netmap_by_key(s->agent->netmap, &s->peer->key), *m;

	s->peer->contended = false;
	for (m = first; m; m = m->next) {
		s->member = &m->peer;
		sift_addresses(s);
	}
	*route_from = s->allowed.count;
	for (m = first; m && *route_from; m = m->next) {
		s->member = &m->peer;
		sift_routes(s);
	}
}

static bool handwritten(struct agent *agent, struct agent_peer *peer)
{
	struct netmap_member *first = netmap_by_key(agent->netmap, &peer->key), *m;
	struct prefix_list wanted = {0};
	size_t addresses;
	bool managed;

	for (m = first; m; m = m->next) {
		for (unsigned i = 0; i < m->peer.address_count; i++) {
			struct prefix host = prefix_host(&m->peer.addresses[i]);

			list_put(&wanted, &host);
		}
	}
	addresses = wanted.count;
	for (m = first; m; m = m->next) {
		for (unsigned i = 0; i < m->peer.route_count; i++)
			list_put(&wanted, &m->peer.routes[i]);
	}
	managed = is_managed(agent, peer, &wanted, addresses);
	free(wanted.at);
	return !managed;
}

static void apply_passive(struct agent *agent, struct agent_peer *peer)
{
	if (peer->managed) {
		unplug(agent, peer);
		peer->managed = false;
	}
	plug(agent, peer);
}

static void apply(struct agent *agent, struct agent_peer *peer)
{
	struct sifting s = {.agent = agent, .peer = peer};
	size_t route_from;

	if (handwritten(agent, peer)) {
		apply_passive(agent, peer);
		return;
	}
	if (!peer->managed && peer->path)
		unplug(agent, peer);
	peer->managed = true;
	sift(&s, &route_from);
	if (!s.allowed.count) {
		unplug(agent, peer);
	} else if (!peer->path || !list_same(&s.allowed, &peer->allowed)) {
		struct prefix_list old = peer->allowed;

		change_routes(agent, peer, &s.allowed, route_from);
		release(agent, peer, &s.allowed);
		peer->allowed = s.allowed;
		s.allowed = old;
		agent_tunnel_put(agent, peer);
		plug(agent, peer);
	}
	peer->route_from = peer->allowed.count ? route_from : 0;
	free(s.allowed.at);
	free(peer->refused.at);
	peer->refused = s.refused;
}

static void drop(struct agent *agent, struct agent_peer *peer)
{
	unplug(agent, peer);
	map_del(agent->by_key, peer->key.bytes);
	free(peer->allowed.at);
	free(peer->refused.at);
	free(peer);
}

static void check_endpoints(struct agent *agent, struct agent_peer *peer, const struct proto_peer *member)
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
			drop(agent, peer);
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
		apply(agent, peer);
	if (what & (NETMAP_ADDED | NETMAP_ENDPOINTS))
		check_endpoints(agent, peer, &member->peer);
	if (peer->path && what & (NETMAP_ADDED | NETMAP_ENDPOINTS))
		peers_offer(peer->path, &member->peer.at);
	if (peer->path && what & (NETMAP_ADDED | NETMAP_ONLINE))
		peers_online(peer->path, member->peer.online);
	task_defer(agent->loop, &agent->recheck);
}

static struct proto_network *recorded(struct agent *agent, const char *name)
{
	for (size_t i = 0; i < agent->state->network_count; i++) {
		if (strcmp(agent->state->networks[i].name, name) == 0)
			return &agent->state->networks[i];
	}
	return NULL;
}

static bool same_range(const struct prefix *a, const struct prefix *b)
{
	if (!a->addr.family || !b->addr.family)
		return a->addr.family == b->addr.family;
	return prefix_equal(a, b);
}

static const char *network_wrong(struct agent *agent, const struct proto_network *told)
{
	const struct proto_network *ours = recorded(agent, told->name);

	if (!ours)
		return "the coordinator named a network that this host has not joined";
	if (!same_range(&ours->cidr, &told->cidr) || !same_range(&ours->cidr6, &told->cidr6))
		return "the coordinator gave a network another range than it had at join";
	for (unsigned i = 0; i < told->address_count; i++) {
		const struct addr *addr = &told->addresses[i].addr;
		const struct prefix *range = addr->family == AF_INET ? &ours->cidr : &ours->cidr6;

		if (!range->addr.family || !prefix_contains(range, addr))
			return "the coordinator gave this host an address outside the network";
	}
	return NULL;
}

static void take_network(struct agent *agent, json_t *item)
{
	struct proto_network told;
	const char *wrong;
	struct js js;

	memset(&told, 0, sizeof(told));
	js_read(&js, item);
	wrong = proto_read_network(&js, &told) ? network_wrong(agent, &told)
					       : "the coordinator sent a network that cannot be read";
	if (wrong) {
		agent_refused(agent, NULL, NULL, wrong);
		return;
	}
	for (unsigned i = 0; i < told.address_count; i++)
		told.addresses[i].bits = told.addresses[i].addr.family == AF_INET ? told.cidr.bits
										  : told.cidr6.bits;
	*recorded(agent, told.name) = told;
}

static void networks(void *arg, json_t *list)
{
	struct agent *agent = arg;
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		take_network(agent, item);
	agent->facts_dirty = true;
	agent_map_addresses(agent);
	agent_save_soon(agent);
}

static void relays(void *arg, json_t *list)
{
	struct agent *agent = arg;

	if (json_array_size(list) > PROTO_MAX_RELAYS || json_equal(list, agent->state->relays))
		return;
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
	.changed = changed,
	.networks = networks,
	.relays = relays,
	.refused = refused,
};

/* ---- the whole ---- */

/* With Table = off or a table of its own nothing may come into the main table, and a network's
 * length on an address would put a route there: then each address is alone, and the range goes
 * where it should. */
void agent_map_addresses(struct agent *agent)
{
	struct prefix wanted[PROTO_MAX_NETWORKS * 2];
	size_t count = 0;
	int error;

	for (size_t i = 0; i < agent->state->network_count; i++) {
		const struct proto_network *n = &agent->state->networks[i];

		for (unsigned j = 0; j < n->address_count && count < ARRAY_SIZE(wanted); j++) {
			wanted[count] = n->addresses[j];
			if (agent->table != RT_TABLE_MAIN)
				wanted[count] = prefix_host(&n->addresses[j].addr);
			count++;
			if (agent->table && agent->table != RT_TABLE_MAIN) {
				struct prefix range = prefix_mask(&n->addresses[j]);

				tunnel_put_route(agent->tunnel, &range, agent->table);
			}
		}
	}
	error = tunnel_set_addresses(agent->tunnel, wanted, count);
	if (error)
		log_warn("address", "reason=\"an address of the mesh could not be set: %s\"",
			 strerror(-error));
}

void agent_map_routes(struct agent *agent)
{
	const struct ledger_entry *entry;

	for (size_t pos = 0; (entry = tunnel_next_route(agent->tunnel, &pos));)
		tunnel_put_route(agent->tunnel, &entry->prefix, entry->number);
}

void agent_map_recheck(struct agent *agent)
{
	struct agent_peer *peer;

	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));)
		apply(agent, peer);
	agent->claims_released = false;
}

static bool route_known(struct agent *agent, const struct prefix *route)
{
	struct claim_key key = claim_of(route);

	if (map_get(agent->claims, &key))
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
}
