/*
 * overlap.c - what join refuses before it registers (SPEC 2.1): a network that lies over an address
 * or route of this host. The agent refuses the same again each time it is told (rule 6).
 *
 * The tricky thing is what does not count: default routes and their halves lead elsewhere only as
 * long as nothing better is there, and what our own ledger lists is ours. But allowed IPs of a peer
 * count however wide they are: rule 6 refuses each peer whose address is among them.
 */
#include "overlap.h"
#include "conf.h"
#include "link.h"

#include <stdarg.h>
#include <strings.h>

#define LOCAL_TABLE 255
#define MIN_BITS_4  8 /* SPEC 1, rule 6 */
#define MIN_BITS_6  16

static unsigned min_bits(const struct prefix *prefix)
{
	return prefix->addr.family == AF_INET ? MIN_BITS_4 : MIN_BITS_6;
}

void overlap_add(struct overlap_facts *facts, const struct prefix *prefix, const char *what)
{
	struct overlap_fact *fact;

	if (addr_is_loopback(&prefix->addr) || addr_is_link_local(&prefix->addr) ||
	    addr_is_multicast(&prefix->addr))
		return;
	facts->items = xrealloc(facts->items, (facts->count + 1) * sizeof(*facts->items));
	fact = &facts->items[facts->count++];
	*fact = (struct overlap_fact){.prefix = *prefix};
	snprintf(fact->what, sizeof(fact->what), "%s", what);
}

void overlap_spare(struct overlap_facts *facts, const struct state *state)
{
	const json_t *members = json_object_get(state->map, "peers");
	json_t *member;
	size_t i;

	facts->own = xcalloc(2 * state->network_count + 1, sizeof(*facts->own));
	for (i = 0; i < state->network_count; i++)
		for (unsigned j = 0; j < state->networks[i].address_count; j++)
			facts->own[facts->own_count++] = state->networks[i].addresses[j];
	facts->members = xcalloc(json_array_size(members) + 1, sizeof(*facts->members));
	json_array_foreach(members, i, member)
	{
		const char *key = json_string_value(json_object_get(member, "public_key"));

		if (key && key_parse(&facts->members[facts->member_count], key))
			facts->member_count++;
	}
}

static bool is_own(const struct overlap_facts *facts, const struct prefix *address)
{
	for (size_t i = 0; i < facts->own_count; i++)
		if (addr_equal(&facts->own[i].addr, &address->addr))
			return true;
	return false;
}

/* The kernel's, of an address of ours. */
static bool is_own_route(const struct overlap_facts *facts, const struct prefix *to)
{
	for (size_t i = 0; i < facts->own_count; i++)
		if (prefix_equal(&facts->own[i], to))
			return true;
	return false;
}

static bool is_member(const struct overlap_facts *facts, const struct key *key)
{
	for (size_t i = 0; i < facts->member_count; i++)
		if (key_equal(&facts->members[i], key))
			return true;
	return false;
}

static bool in_ledger(const struct ledger *ledger, enum ledger_kind kind,
		      const struct prefix *prefix)
{
	const struct ledger_entry *entry;
	size_t pos = 0;

	while (ledger && (entry = ledger_next(ledger, &pos)))
		if (entry->kind == kind && prefix_equal(&entry->prefix, prefix))
			return true;
	return false;
}

static int gather_addresses(struct overlap_facts *facts, struct link *link, const char *interface,
			    const struct ledger *ledger)
{
	struct link_address *addresses;
	size_t count;
	char what[48];
	int error = link_addresses(link, &addresses, &count);

	for (size_t i = 0; !error && i < count; i++) {
		bool here = strcmp(addresses[i].interface, interface) == 0;

		if (here && (in_ledger(ledger, LEDGER_ADDRESS, &addresses[i].address) ||
			     is_own(facts, &addresses[i].address)))
			continue;
		snprintf(what, sizeof(what), "address on %s", addresses[i].interface);
		overlap_add(facts, &addresses[i].address, what);
	}
	if (!error)
		free(addresses);
	return error;
}

static int gather_routes(struct overlap_facts *facts, struct link *link, const char *interface,
			 const struct ledger *ledger)
{
	struct link_route *routes;
	size_t count;
	char what[48];
	int error = link_routes(link, 0, &routes, &count);

	for (size_t i = 0; !error && i < count; i++) {
		const struct link_route *route = &routes[i];
		bool here = strcmp(route->interface, interface) == 0;

		if (route->table == LOCAL_TABLE || route->to.bits < min_bits(&route->to))
			continue;
		/* The kernel makes a route for each address; ours are those of our addresses too.
		 */
		if (here && (in_ledger(ledger, LEDGER_ROUTE, &route->to) ||
			     in_ledger(ledger, LEDGER_ADDRESS, &route->to) ||
			     is_own_route(facts, &route->to)))
			continue;
		snprintf(what, sizeof(what), "route through %s",
			 *route->interface ? route->interface : "nowhere");
		overlap_add(facts, &route->to, what);
	}
	if (!error)
		free(routes);
	return error;
}

int overlap_gather(struct overlap_facts *facts, const char *interface, const struct ledger *ledger)
{
	struct link *link;
	int error = link_open(&link);

	if (error)
		return error;
	error = gather_addresses(facts, link, interface, ledger);
	if (!error)
		error = gather_routes(facts, link, interface, ledger);
	link_close(link);
	return error;
}

static void add_wide(struct overlap_facts *facts, const struct prefix *prefix, const char *peer)
{
	size_t before = facts->count;

	overlap_add(facts, prefix, peer);
	if (facts->count > before)
		facts->items[before].takes_all = true;
}

void overlap_gather_device(struct overlap_facts *facts, const struct wg_device *device,
			   const struct ledger *ledger)
{
	struct wg_peer *peer;
	char key[KEY_BASE64], what[128];

	list_each(peer, &device->peers, node) {
		struct ledger_entry entry = {.kind = LEDGER_PEER, .key = peer->public_key};

		if ((ledger && ledger_has(ledger, &entry)) ||
		    is_member(facts, &peer->public_key))
			continue;
		key_format(key, &peer->public_key);
		snprintf(what, sizeof(what), "peer %s on %s", key, device->name);
		for (size_t i = 0; i < peer->allowed_ip_count; i++) {
			const struct prefix *prefix = &peer->allowed_ips[i].prefix;

			if (prefix->bits < min_bits(prefix))
				add_wide(facts, prefix, what);
		}
	}
}

/* peer NULL: they are not a peer's. */
static void add_listed(struct overlap_facts *facts, const struct conf_line *line, const char *what,
		       const char *peer)
{
	struct prefix prefix;
	size_t at = 0;

	while (conf_next_prefix(line, &at, &prefix)) {
		if (!peer && is_own(facts, &prefix))
			continue;
		if (prefix.bits >= min_bits(&prefix))
			overlap_add(facts, &prefix, what);
		else if (peer)
			add_wide(facts, &prefix, peer);
	}
}

/* NULL: the line is in no peer's section. */
static const struct conf_peer *peer_of(const struct conf_peer *peers, size_t count, unsigned line)
{
	for (size_t i = 0; i < count; i++)
		if (line >= peers[i].first_line && line <= peers[i].last_line)
			return &peers[i];
	return NULL;
}

static void name_peer(char *out, size_t size, const struct conf_peer *peer, const char *file)
{
	char key[KEY_BASE64];

	key_format(key, &peer->public_key);
	snprintf(out, size, "peer %s (lines %u to %u of %.32s)", key, peer->first_line,
		 peer->last_line, file);
}

void overlap_gather_conf(struct overlap_facts *facts, const char *text, size_t len,
			 const char *path)
{
	struct conf_walk walk = {.text = text, .len = len};
	const char *file = strrchr(path, '/');
	const struct conf_peer *peer;
	struct conf_peer *peers;
	size_t count = conf_peers(text, len, &peers);
	struct conf_line line;
	char what[48], name[128] = "a peer";

	file = file ? file + 1 : path;
	while (conf_next(&walk, &line)) {
		bool address =
			line.section == CONF_INTERFACE && strcasecmp(line.key, "Address") == 0;

		if (!address &&
		    (line.section != CONF_PEER || strcasecmp(line.key, "AllowedIPs") != 0))
			continue;
		peer = peer_of(peers, count, line.number);
		if (peer && is_member(facts, &peer->public_key))
			continue;
		snprintf(what, sizeof(what), "%s in %s", address ? "Address" : "AllowedIPs", file);
		if (peer)
			name_peer(name, sizeof(name), peer, file);
		add_listed(facts, &line, what, address ? NULL : name);
	}
	free(peers);
}

void overlap_fini(struct overlap_facts *facts)
{
	free(facts->items);
	free(facts->own);
	free(facts->members);
	*facts = (struct overlap_facts){0};
}

static bool fail(char why[static OVERLAP_WHY], const char *format, ...) PRINTF_LIKE(2, 3);
static bool fail(char why[static OVERLAP_WHY], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, OVERLAP_WHY, format, args);
	va_end(args);
	return false;
}

static bool range_ok(const struct overlap_facts *facts, const char *name,
		     const struct prefix *range, char why[static OVERLAP_WHY])
{
	char ours[PREFIX_TEXT], theirs[PREFIX_TEXT];
	struct prefix masked = prefix_mask(range), loopback = {.bits = 8};

	prefix_format(theirs, &masked);
	if (range->bits < min_bits(range))
		return fail(why,
			    "the range %s of network %s is too large: at least /%u is asked for",
			    theirs, name, min_bits(range));
	prefix_parse(&loopback, "127.0.0.0/8");
	if (prefix_overlaps(&loopback, range) || addr_is_loopback(&range->addr) ||
	    addr_is_link_local(&range->addr) || addr_is_multicast(&range->addr))
		return fail(why, "the range %s of network %s is no range for hosts", theirs, name);
	for (size_t i = 0; i < facts->count; i++) {
		struct prefix fact = prefix_mask(&facts->items[i].prefix);

		if (!prefix_overlaps(&fact, range))
			continue;
		prefix_format(ours, &fact);
		if (facts->items[i].takes_all)
			return fail(why,
				    "%s is among the allowed IPs of %s and covers network %s (%s), "
				    "so that every member would be refused: take another interface "
				    "for the mesh (--interface), or narrow that peer's AllowedIPs",
				    ours, facts->items[i].what, name, theirs);
		return fail(why,
			    "network %s (%s) overlaps %s (%s) of this host: ask for a network with "
			    "another "
			    "range, or give up that one here",
			    name, theirs, ours, facts->items[i].what);
	}
	return true;
}

static bool addresses_inside(const json_t *network, const struct prefix *ranges, size_t count,
			     char why[static OVERLAP_WHY])
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(network, "addresses"), i, item)
	{
		struct prefix address;
		bool inside = false;

		if (!json_is_string(item) || !prefix_parse(&address, json_string_value(item)))
			return fail(why, "the coordinator gave an address that is none");
		for (size_t j = 0; j < count; j++)
			inside = inside || prefix_contains(&ranges[j], &address.addr);
		if (!inside)
			return fail(why,
				    "the coordinator gave the address %.60s, which is outside its "
				    "network",
				    json_string_value(item));
	}
	return true;
}

static bool network_ok(const struct overlap_facts *facts, json_t *network,
		       char why[static OVERLAP_WHY])
{
	static const char *const keys[] = {"cidr", "cidr6"};
	const char *name = json_string_value(json_object_get(network, "name"));
	struct prefix ranges[2];
	size_t count = 0;

	if (!name || strlen(name) > 63)
		return fail(why, "the coordinator described a network without a name");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *text = json_string_value(json_object_get(network, keys[i]));

		if (!text)
			continue;
		if (!prefix_parse(&ranges[count], text))
			return fail(why,
				    "the coordinator described network %s with the range %.60s",
				    name, text);
		if (!range_ok(facts, name, &ranges[count], why))
			return false;
		count++;
	}
	return addresses_inside(network, ranges, count, why);
}

bool overlap_networks_ok(const struct overlap_facts *facts, const json_t *networks,
			 char why[static OVERLAP_WHY])
{
	json_t *network;
	size_t i;

	if (json_array_size(networks) == 0)
		return fail(why, "the coordinator named no network");
	json_array_foreach(networks, i, network) if (!network_ok(facts, network, why)) return false;
	return true;
}
