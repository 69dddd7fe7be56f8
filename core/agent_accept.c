/*
 * What one peer may have: what the coordinator says of it, less what the guard refuses (rule 6),
 * less what another peer has already; the rest goes to WireGuard and into routes. The tricky thing
 * is claims: each prefix belongs to the first peer that claimed it, and who came second is looked
 * at again when it is let go.
 */
#include "agent_parts.h"

#include "lib/log.h"
#include <errno.h>
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

bool agent_claimed(const struct agent *agent, const struct prefix *prefix)
{
	struct claim_key key = claim_of(prefix);

	return map_get(agent->claims, &key) != NULL;
}

static bool has_peer(const struct proto_network *network, const struct prefix_list *allowed,
		     size_t route_from)
{
	for (size_t i = 0; i < route_from; i++) {
		for (unsigned j = 0; j < network->address_count; j++) {
			struct prefix range = prefix_mask(&network->addresses[j]);

			if (prefix_contains(&range, &allowed->at[i].addr))
				return true;
		}
	}
	return false;
}

/* Our address of this family in the network that we share with who has these addresses. */
static const struct addr *source_to(const struct agent *agent, const struct prefix_list *allowed,
				    size_t route_from, uint8_t family)
{
	for (size_t i = 0; i < agent->state->network_count; i++) {
		const struct proto_network *network = &agent->state->networks[i];

		if (!has_peer(network, allowed, route_from))
			continue;
		for (unsigned j = 0; j < network->address_count; j++) {
			if (network->addresses[j].addr.family == family)
				return &network->addresses[j].addr;
		}
	}
	return NULL;
}

const struct addr *agent_route_source(const struct agent *agent, const struct prefix *route)
{
	struct claim_key key = claim_of(route);
	const struct agent_peer *peer = map_get(agent->claims, &key);

	return peer ? source_to(agent, &peer->allowed, peer->route_from, route->addr.family) : NULL;
}

/* Longest first: most of what is claimed is single addresses. */
bool agent_in_tunnel(struct agent *agent, const struct addr *addr)
{
	const struct guard_facts *facts = agent_facts(agent);
	struct prefix prefix = prefix_host(addr);

	for (; prefix.bits; prefix.bits--) {
		if (agent_claimed(agent, &prefix))
			return true;
	}
	for (size_t i = 0; i < facts->foreign_count; i++) {
		if (facts->foreign[i].bits && prefix_contains(&facts->foreign[i], addr))
			return true;
	}
	return false;
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
	static const char *const private_ranges[] = {"10.0.0.0/8", "172.16.0.0/12",
						     "192.168.0.0/16", "fc00::/7"};
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

		if (s->member->device)
			refuse(s, &route, "a device without an agent has an address and no routes");
		else if (!guard_route(agent_facts(s->agent), &route, false, reason))
			refuse(s, &route, reason);
		else if (route_wanted(s->agent->config, &route))
			claim(s, &route);
	}
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

/* One that an earlier agent has made is put again, for a link that was down, and is no news. */
static void add_route(struct agent *agent, struct agent_peer *peer, const struct prefix *route,
		      const struct addr *source)
{
	bool was_there = tunnel_owns_route(agent->tunnel, route, agent->table);
	int error = tunnel_put_route(agent->tunnel, route, agent->table, source);

	if (error && error != -EEXIST)
		log_warn("route-not-set", "peer=%s reason=\"%s\"", peer->name, strerror(-error));
	else if (!was_there)
		route_event(agent, peer, EVENT_ROUTE_ADDED, route);
}

static void change_routes(struct agent *agent, struct agent_peer *peer,
			  const struct prefix_list *next, size_t next_from)
{
	const struct prefix_list *now = &peer->allowed;

	if (!agent->table)
		return;
	for (size_t i = peer->route_from; i < now->count; i++) {
		if (list_has(next, &now->at[i]))
			continue;
		tunnel_remove_route(agent->tunnel, &now->at[i], agent->table);
		route_event(agent, peer, EVENT_ROUTE_REMOVED, &now->at[i]);
	}
	for (size_t i = next_from; i < next->count; i++) {
		if (!list_has(now, &next->at[i]))
			add_route(agent, peer, &next->at[i],
				  source_to(agent, next, next_from, next->at[i].addr.family));
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
	peer->path->device = member->peer.device;
	peers_offer(peer->path, &member->peer.at);
	peers_online(peer->path, member->peer.online);
	agent_poll_in(agent, 0);
}

/* A peer that is on the interface and not in the ledger is the user's, unless `wg-quick save` wrote
 * ours into the file: then the map we saved or the last ledger says so, and it looks exactly as we
 * make it, which nobody does by hand. */
static bool saved_by_wg_quick(struct agent *agent, const struct wg_peer *wg,
			      const struct prefix_list *told, size_t addresses)
{
	struct netmap_member *member = netmap_by_key(agent->netmap, &wg->public_key);
	bool kept = member->peer.device ? !wg->keepalive_s : wg->keepalive_s == TUNNEL_KEEPALIVE_S;
	bool connected = kept && wg->endpoint.addr.family;

	if (!member->was_managed && !map_get(agent->before, wg->public_key.bytes))
		return false;
	if (!connected && (wg->keepalive_s || wg->endpoint.addr.family))
		return false;
	for (size_t i = 0; i < wg->allowed_ip_count; i++) {
		if (!list_has(told, &wg->allowed_ips[i].prefix))
			return false;
	}
	return wg->allowed_ip_count >= addresses;
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

/* All that the coordinator says it has, addresses first; their number. */
static size_t list_told(struct agent *agent, const struct agent_peer *peer,
			struct prefix_list *told)
{
	struct netmap_member *first = netmap_by_key(agent->netmap, &peer->key), *m;
	size_t addresses;

	for (m = first; m; m = m->next) {
		for (unsigned i = 0; i < m->peer.address_count; i++) {
			struct prefix host = prefix_host(&m->peer.addresses[i]);

			list_put(told, &host);
		}
	}
	addresses = told->count;
	for (m = first; m; m = m->next) {
		for (unsigned i = 0; i < m->peer.route_count; i++)
			list_put(told, &m->peer.routes[i]);
	}
	return addresses;
}

static bool handwritten(struct agent *agent, struct agent_peer *peer)
{
	const struct wg_peer *wg = map_get(agent->foreign, peer->key.bytes);
	struct prefix_list told = {0};
	size_t addresses;
	bool ours;

	if (!wg || tunnel_owns_peer(agent->tunnel, &peer->key))
		return false;
	addresses = list_told(agent, peer, &told);
	ours = saved_by_wg_quick(agent, wg, &told, addresses);
	free(told.at);
	if (!ours)
		return true;
	tunnel_adopt_peer(agent->tunnel, &peer->key);
	agent->facts_dirty = true;
	return false;
}

static void apply_passive(struct agent *agent, struct agent_peer *peer)
{
	if (peer->managed) {
		unplug(agent, peer);
		peer->managed = false;
	}
	plug(agent, peer);
}

void agent_peer_apply(struct agent *agent, struct agent_peer *peer)
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

void agent_peer_drop(struct agent *agent, struct agent_peer *peer)
{
	unplug(agent, peer);
	map_del(agent->by_key, peer->key.bytes);
	free(peer->allowed.at);
	free(peer->refused.at);
	free(peer);
}
