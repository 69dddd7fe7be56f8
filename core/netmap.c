/*
 * The map of the network. A frame is applied whole, collecting which keys it touched, and only then
 * are the changes told: so that an address which moves from one peer to another within a frame is
 * taken away before it is given. The work is in proportion to the frame.
 */
#include "netmap.h"

#include "lib/map.h"
#include "lib/str.h"
#include <string.h>

#define ID_TEXT (PROTO_NAME_MAX + PROTO_ID_MAX)

struct touched {
	struct key key;
	unsigned what;
};

struct rekeyed {
	struct key from, to;
};

struct netmap {
	struct netmap_ops ops;
	void *arg;
	struct map *by_id, *by_key; /* "network/id" to member; key to its first member */
	struct map *touched_keys;   /* during a frame: key to place in touched, 1-based */
	struct touched *touched;
	size_t touched_count, touched_cap;
	struct rekeyed *rekeyed; /* during a frame */
	size_t rekeyed_count;
	char epoch[PROTO_ID_MAX];
	int64_t revision;
	unsigned generation;
};

struct netmap *netmap_new(const struct netmap_ops *ops, void *arg)
{
	struct netmap *netmap = xcalloc(1, sizeof(*netmap));

	netmap->ops = *ops;
	netmap->arg = arg;
	netmap->by_id = map_new(0);
	netmap->by_key = map_new(KEY_LEN);
	return netmap;
}

void netmap_free(struct netmap *netmap)
{
	struct netmap_member *member;

	if (!netmap)
		return;
	for (size_t pos = 0; (member = map_next(netmap->by_id, &pos, NULL));)
		free(member);
	map_free(netmap->by_id);
	map_free(netmap->by_key);
	free(netmap->touched);
	free(netmap->rekeyed);
	free(netmap);
}

static bool same_addresses(const struct proto_peer *a, const struct proto_peer *b)
{
	if (a->address_count != b->address_count)
		return false;
	for (unsigned i = 0; i < a->address_count; i++) {
		if (!addr_equal(&a->addresses[i], &b->addresses[i]))
			return false;
	}
	return true;
}

static bool same_routes(const struct proto_peer *a, const struct proto_peer *b)
{
	if (a->route_count != b->route_count)
		return false;
	for (unsigned i = 0; i < a->route_count; i++) {
		if (!prefix_equal(&a->routes[i], &b->routes[i]))
			return false;
	}
	return true;
}

static bool same_list(const struct endpoint *a, unsigned a_count, const struct endpoint *b,
		      unsigned b_count)
{
	if (a_count != b_count)
		return false;
	for (unsigned i = 0; i < a_count; i++) {
		if (!endpoint_equal(&a[i], &b[i]))
			return false;
	}
	return true;
}

static bool same_endpoints(const struct proto_endpoints *a, const struct proto_endpoints *b)
{
	return endpoint_equal(&a->endpoint, &b->endpoint) && a->nat_type == b->nat_type &&
	       same_list(a->endpoints, a->count, b->endpoints, b->count) &&
	       same_list(a->local_endpoints, a->local_count, b->local_endpoints, b->local_count);
}

unsigned netmap_diff(const struct proto_peer *before, const struct proto_peer *after)
{
	if (!before)
		return after ? NETMAP_ADDED : 0;
	if (!after)
		return NETMAP_REMOVED;
	return (same_addresses(before, after) ? 0 : NETMAP_ADDRESSES) |
	       (same_routes(before, after) ? 0 : NETMAP_ROUTES) |
	       (same_endpoints(&before->at, &after->at) ? 0 : NETMAP_ENDPOINTS) |
	       (before->online == after->online ? 0 : NETMAP_ONLINE) |
	       (strcmp(before->name, after->name) == 0 ? 0 : NETMAP_NAME);
}

/* ---- the two indexes ---- */

static void id_text(char out[static ID_TEXT], const char *network, const char *agent_id)
{
	snprintf(out, ID_TEXT, "%s/%s", network, agent_id);
}

struct netmap_member *netmap_by_id(const struct netmap *netmap, const char *network,
				   const char *agent_id)
{
	char id[ID_TEXT];

	id_text(id, network, agent_id);
	return map_get(netmap->by_id, id);
}

struct netmap_member *netmap_by_key(const struct netmap *netmap, const struct key *key)
{
	return map_get(netmap->by_key, key->bytes);
}

static void touch(struct netmap *netmap, const struct key *key, unsigned what)
{
	size_t place = (size_t)(uintptr_t)map_get(netmap->touched_keys, key->bytes);

	if (!what)
		return;
	if (place) {
		netmap->touched[place - 1].what |= what;
		return;
	}
	if (netmap->touched_count == netmap->touched_cap) {
		netmap->touched_cap = MAX(16, netmap->touched_cap * 2);
		netmap->touched =
			xrealloc(netmap->touched, netmap->touched_cap * sizeof(*netmap->touched));
	}
	netmap->touched[netmap->touched_count++] = (struct touched){.key = *key, .what = what};
	map_put(netmap->touched_keys, key->bytes, (void *)(uintptr_t)netmap->touched_count);
}

/* An agent comes before devices that have its key: such a one is of another network, and who made it there
 * must not decide how this one is reached. */
static unsigned link_key(struct netmap *netmap, struct netmap_member *member)
{
	struct netmap_member *first = netmap_by_key(netmap, &member->peer.public_key);

	if (first && member->peer.device && !first->peer.device) {
		member->next = first->next;
		first->next = member;
		return NETMAP_ADDRESSES | NETMAP_ROUTES;
	}
	member->next = map_put(netmap->by_key, member->peer.public_key.bytes, member);
	if (!first)
		return NETMAP_ADDED;
	return NETMAP_ADDRESSES | NETMAP_ROUTES |
	       (first->peer.device && !member->peer.device ? NETMAP_ENDPOINTS | NETMAP_ONLINE : 0u);
}

static void unlink_key(struct netmap *netmap, struct netmap_member *member)
{
	const struct key *key = &member->peer.public_key;
	struct netmap_member *first = map_get(netmap->by_key, key->bytes), *m;

	if (first == member && !member->next) {
		map_del(netmap->by_key, key->bytes);
		return;
	}
	if (first == member) {
		map_put(netmap->by_key, key->bytes, member->next);
		return;
	}
	for (m = first; m && m->next != member; m = m->next)
		;
	if (m)
		m->next = member->next;
}

static void remove_member(struct netmap *netmap, struct netmap_member *member)
{
	char id[ID_TEXT];

	unlink_key(netmap, member);
	touch(netmap, &member->peer.public_key,
	      netmap_by_key(netmap, &member->peer.public_key) ? NETMAP_ADDRESSES | NETMAP_ROUTES
							      : NETMAP_REMOVED);
	id_text(id, member->peer.network, member->peer.agent_id);
	map_del(netmap->by_id, id);
	free(member);
}

static void note_rekeyed(struct netmap *netmap, const struct key *from, const struct key *to)
{
	size_t count = netmap->rekeyed_count;

	if (count && key_equal(&netmap->rekeyed[count - 1].from, from))
		return; /* the same agent in another network */
	if (!(count & (count - 1))) /* none or a power of two: full */
		netmap->rekeyed =
			xrealloc(netmap->rekeyed, MAX(count * 2, 1) * sizeof(*netmap->rekeyed));
	netmap->rekeyed[count] = (struct rekeyed){*from, *to};
	netmap->rekeyed_count++;
}

static struct netmap_member *put_member(struct netmap *netmap, const struct proto_peer *peer)
{
	struct netmap_member *member = netmap_by_id(netmap, peer->network, peer->agent_id);
	char id[ID_TEXT];

	if (member && key_equal(&member->peer.public_key, &peer->public_key)) {
		touch(netmap, &peer->public_key, netmap_diff(&member->peer, peer));
		member->peer = *peer;
		return member;
	}
	if (member) {
		note_rekeyed(netmap, &member->peer.public_key, &peer->public_key);
		remove_member(netmap, member);
	}
	member = xcalloc(1, sizeof(*member));
	member->peer = *peer;
	id_text(id, peer->network, peer->agent_id);
	map_put(netmap->by_id, id, member);
	touch(netmap, &peer->public_key, link_key(netmap, member));
	return member;
}

/* ---- frames ---- */

static void begin(struct netmap *netmap)
{
	netmap->touched_count = netmap->rekeyed_count = 0;
	netmap->touched_keys = map_new(KEY_LEN);
}

static void end(struct netmap *netmap)
{
	map_free(netmap->touched_keys);
	netmap->touched_keys = NULL;
	for (size_t i = 0; i < netmap->rekeyed_count; i++) {
		const struct rekeyed *r = &netmap->rekeyed[i];

		if (!netmap_by_key(netmap, &r->from) && netmap_by_key(netmap, &r->to))
			netmap->ops.rekeyed(netmap->arg, &r->from, &r->to);
	}
	for (size_t i = 0; i < netmap->touched_count; i++) {
		const struct touched *t = &netmap->touched[i];

		if (!netmap_by_key(netmap, &t->key))
			netmap->ops.changed(netmap->arg, &t->key, NETMAP_REMOVED);
	}
	for (size_t i = 0; i < netmap->touched_count; i++) {
		const struct touched *t = &netmap->touched[i];

		if (netmap_by_key(netmap, &t->key))
			netmap->ops.changed(netmap->arg, &t->key,
					    t->what & ~(unsigned)NETMAP_REMOVED);
	}
}

static void refuse(struct netmap *netmap, json_t *json, const char *error)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	char why[JS_ERROR + 80];

	snprintf(why, sizeof(why), "the coordinator sent a peer that cannot be read: %s", error);
	netmap->ops.refused(netmap->arg, name && name_valid(name) ? name : NULL, why);
}

static struct netmap_member *read_peer(struct netmap *netmap, json_t *json)
{
	static struct proto_peer peer; /* large */
	struct js js;

	memset(&peer, 0, sizeof(peer));
	js_read(&js, json);
	if (!proto_read_peer(&js, &peer)) {
		refuse(netmap, json, js.error);
		return NULL;
	}
	if (map_count(netmap->by_id) >= NETMAP_MAX &&
	    !netmap_by_id(netmap, peer.network, peer.agent_id)) {
		refuse(netmap, json, "there are too many");
		return NULL;
	}
	return put_member(netmap, &peer);
}

void netmap_snapshot(struct netmap *netmap, json_t *frame)
{
	struct netmap_member *member;
	json_t *item;
	size_t i;

	begin(netmap);
	netmap->generation++;
	if (json_is_array(json_object_get(frame, "relays")))
		netmap->ops.relays(netmap->arg, json_object_get(frame, "relays"));
	json_array_foreach(json_object_get(frame, "peers"), i, item)
	{
		member = read_peer(netmap, item);
		if (!member)
			continue;
		member->generation = netmap->generation;
		member->was_managed |= json_is_true(json_object_get(item, "managed"));
	}
	for (size_t pos = 0; (member = map_next(netmap->by_id, &pos, NULL));) {
		if (member->generation != netmap->generation)
			remove_member(netmap, member);
	}
	/* What is ours is judged beside what others have now. */
	if (json_is_array(json_object_get(frame, "networks")))
		netmap->ops.networks(netmap->arg, json_object_get(frame, "networks"));
	item = json_object_get(frame, "epoch");
	str_copy(netmap->epoch, sizeof(netmap->epoch),
		 json_is_string(item) ? json_string_value(item) : "");
	netmap->revision = json_integer_value(json_object_get(frame, "revision"));
	end(netmap);
}

static void patch(struct netmap *netmap, struct netmap_member *member, json_t *change)
{
	static struct proto_peer peer; /* large */
	struct js js;

	peer = member->peer;
	js_read(&js, change);
	if (!proto_patch_peer(&js, &peer)) {
		refuse(netmap, change, js.error);
		return;
	}
	memcpy(peer.agent_id, member->peer.agent_id, sizeof(peer.agent_id));
	memcpy(peer.network, member->peer.network, sizeof(peer.network));
	put_member(netmap, &peer);
}

static void one_change(struct netmap *netmap, json_t *change)
{
	struct netmap_member *member;
	const char *op, *id, *network;
	struct js js;

	js_read(&js, change);
	op = js_string(&js, "op", "");
	if (strcmp(op, "put") == 0) {
		read_peer(netmap, json_object_get(change, "peer"));
		return;
	}
	if (strcmp(op, "networks") == 0 || strcmp(op, "relays") == 0) {
		json_t *list = json_object_get(change, op);

		if (json_is_array(list))
			(op[0] == 'n' ? netmap->ops.networks : netmap->ops.relays)(netmap->arg,
										   list);
		return;
	}
	id = js_string(&js, "agent_id", "");
	network = js_string(&js, "network", "");
	member = js_ok(&js) ? netmap_by_id(netmap, network, id) : NULL;
	if (!member)
		return;
	if (strcmp(op, "remove") == 0)
		remove_member(netmap, member);
	else if (strcmp(op, "patch") == 0)
		patch(netmap, member, change);
}

void netmap_delta(struct netmap *netmap, json_t *frame)
{
	json_t *change;
	size_t i;

	begin(netmap);
	json_array_foreach(json_object_get(frame, "changes"), i, change) one_change(netmap, change);
	netmap->revision = json_integer_value(json_object_get(frame, "revision"));
	end(netmap);
}

bool netmap_has_address(const struct netmap *netmap, const struct addr *addr, const struct key *but)
{
	struct netmap_member *member;

	for (size_t pos = 0; (member = map_next(netmap->by_id, &pos, NULL));) {
		if (key_equal(&member->peer.public_key, but))
			continue;
		for (unsigned i = 0; i < member->peer.address_count; i++) {
			if (addr_equal(&member->peer.addresses[i], addr))
				return true;
		}
	}
	return false;
}

size_t netmap_count(const struct netmap *netmap)
{
	return map_count(netmap->by_key);
}

const char *netmap_epoch(const struct netmap *netmap)
{
	return netmap->epoch;
}

int64_t netmap_revision(const struct netmap *netmap)
{
	return netmap->revision;
}

json_t *netmap_json(const struct netmap *netmap, netmap_managed_fn *managed, void *arg)
{
	json_t *peers = json_array(), *one;
	struct netmap_member *member;

	for (size_t pos = 0; (member = map_next(netmap->by_id, &pos, NULL));) {
		one = proto_write_peer(&member->peer);
		json_object_set_new(one, "managed",
				    json_boolean(managed(arg, &member->peer.public_key)));
		json_array_append_new(peers, one);
	}
	return json_pack("{s:s, s:I, s:o}", "epoch", netmap->epoch, "revision",
			 (json_int_t)netmap->revision, "peers", peers);
}
