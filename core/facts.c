/*
 * Gathering what the guard needs. It is done anew when the host's links, the foreign peers or our
 * networks have changed, never per peer.
 */
#include "facts.h"

#include "lib/file.h"
#include "lib/str.h"
#include <string.h>

#define MAX_RESOLVERS 16
#define HASH_START    UINT64_C(0xcbf29ce484222325)

struct prefixes { /* a growing array */
	struct prefix *at;
	size_t count, cap;
};

static void add_prefix(struct prefixes *list, const struct prefix *prefix)
{
	if (list->count == list->cap) {
		list->cap = MAX(16, list->cap * 2);
		list->at = xrealloc(list->at, list->cap * sizeof(*list->at));
	}
	list->at[list->count++] = *prefix;
}

struct addrs {
	struct addr *at;
	size_t count, cap;
};

static void add_addr(struct addrs *list, const struct addr *addr)
{
	if (!addr->family)
		return;
	if (list->count == list->cap) {
		list->cap = MAX(16, list->cap * 2);
		list->at = xrealloc(list->at, list->cap * sizeof(*list->at));
	}
	list->at[list->count++] = *addr;
}

void facts_fini(struct facts *facts)
{
	free(facts->networks);
	free(facts->host);
	free(facts->foreign);
	free(facts->ours);
	free(facts->protected_addrs);
	memset(facts, 0, sizeof(*facts));
}

static bool is_our_address(const struct prefixes *ours, const struct addr *addr)
{
	for (size_t i = 0; i < ours->count; i++) {
		if (addr_equal(&ours->at[i].addr, addr))
			return true;
	}
	return false;
}

/* An address of the mesh on our interface is ours, also where `wg-quick save` has written it into
 * the user's file. */
static void host_addresses(struct prefixes *host, const struct prefixes *ours,
			   struct tunnel *tunnel)
{
	struct link_address *all = NULL;
	size_t count = 0;

	if (link_addresses(tunnel_link(tunnel), &all, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (all[i].ifindex == tunnel_ifindex(tunnel) &&
		    (tunnel_owns_address(tunnel, &all[i].address) ||
		     is_our_address(ours, &all[i].address.addr) ||
		     addr_is_link_local(&all[i].address.addr)))
			continue;
		add_prefix(host, &all[i].address);
	}
	free(all);
}

static void host_routes(struct prefixes *host, struct addrs *protected_addrs, struct tunnel *tunnel)
{
	struct link_route *all = NULL;
	size_t count = 0;

	if (link_routes(tunnel_link(tunnel), 0, &all, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		add_addr(protected_addrs, &all[i].gateway);
		if (all[i].ifindex != tunnel_ifindex(tunnel) && all[i].to.bits)
			add_prefix(host, &all[i].to);
	}
	free(all);
}

static void resolvers(struct addrs *list, const char *path)
{
	struct buf text;
	char *line, *next, *rest;
	struct addr addr;
	size_t found = 0;

	buf_init(&text, 64 * 1024);
	if (file_read(path, 64 * 1024, &text) == 0) {
		for (line = buf_text(&text); line && found < MAX_RESOLVERS; line = next) {
			next = strchr(line, '\n');
			if (next)
				*next++ = '\0';
			if (!str_has_prefix(line, "nameserver"))
				continue;
			line += strlen("nameserver");
			line += strspn(line, " \t");
			rest = line + strcspn(line, " \t%#;\r");
			*rest = '\0';
			if (addr_parse(&addr, line) && ++found)
				add_addr(list, &addr);
		}
	}
	buf_free(&text);
}

/* The host of "https://HOST:PORT/...", "HOST:PORT": only where it is a number. */
static void add_host_of(struct addrs *list, const char *url)
{
	const char *start = url ? strstr(url, "://") : NULL, *end;
	char host[INET6_ADDRSTRLEN + 1];
	struct addr addr;
	size_t len;

	start = start ? start + 3 : url;
	if (!start)
		return;
	if (*start == '[')
		end = strchr(++start, ']');
	else
		end = start + strcspn(start, ":/");
	len = end ? (size_t)(end - start) : sizeof(host);
	if (len >= sizeof(host))
		return;
	memcpy(host, start, len);
	host[len] = '\0';
	if (addr_parse(&addr, host))
		add_addr(list, &addr);
}

static void servers(struct addrs *list, const struct state *state)
{
	json_t *relay, *stun;
	size_t i, j;

	add_host_of(list, state->coordinator_url);
	for (i = 0; i < state->other_count; i++)
		add_host_of(list, state->others[i]);
	json_array_foreach(state->relays, i, relay)
	{
		add_host_of(list, json_string_value(json_object_get(relay, "url")));
		json_array_foreach(json_object_get(relay, "stun"), j, stun)
			add_host_of(list, json_string_value(stun));
	}
}

static void ranges(struct prefixes *networks, struct prefixes *ours, const struct state *state)
{
	for (size_t i = 0; i < state->network_count; i++) {
		const struct proto_network *n = &state->networks[i];

		if (n->cidr.addr.family)
			add_prefix(networks, &n->cidr);
		if (n->cidr6.addr.family)
			add_prefix(networks, &n->cidr6);
		for (unsigned j = 0; j < n->address_count; j++)
			add_prefix(ours, &n->addresses[j]);
	}
}

/* FNV-1a: nothing here is chosen by an enemy who would gain by a collision but an interface's own
 * administrator. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t prefix_hash(uint64_t hash, const struct prefix *prefix)
{
	hash = hash_bytes(hash, &prefix->addr.family, 1);
	hash = hash_bytes(hash, prefix->addr.bytes, sizeof(prefix->addr.bytes));
	return hash_bytes(hash, &prefix->bits, 1);
}

/* The order in which the kernel lists them does not count. */
static uint64_t host_hash(const struct prefixes *host, const struct addrs *protected_addrs)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < host->count; i++)
		sum += prefix_hash(HASH_START, &host->at[i]);
	for (size_t i = 0; i < protected_addrs->count; i++)
		sum += hash_bytes(HASH_START + 2, protected_addrs->at[i].bytes, 16);
	return sum;
}

uint64_t facts_foreign_hash(const struct tunnel *tunnel)
{
	const struct wg_peer *peer;
	uint64_t sum = 0, hash;

	list_each (peer, &tunnel_device(tunnel)->peers, node) {
		if (tunnel_owns_peer(tunnel, &peer->public_key))
			continue;
		hash = hash_bytes(HASH_START, peer->public_key.bytes, KEY_LEN);
		for (size_t i = 0; i < peer->allowed_ip_count; i++)
			hash = prefix_hash(hash, &peer->allowed_ips[i].prefix);
		sum += hash;
	}
	return sum;
}

static void foreign(struct prefixes *list, const struct tunnel *tunnel)
{
	const struct wg_peer *peer;

	list_each (peer, &tunnel_device(tunnel)->peers, node) {
		if (tunnel_owns_peer(tunnel, &peer->public_key))
			continue;
		for (size_t i = 0; i < peer->allowed_ip_count; i++)
			add_prefix(list, &peer->allowed_ips[i].prefix);
	}
}

void facts_collect(struct facts *facts, struct tunnel *tunnel, const struct state *state,
		   const struct addr *coordinator)
{
	struct prefixes networks = {0}, host = {0}, others = {0}, ours = {0};
	struct addrs protected_addrs = {0};

	facts_fini(facts);
	ranges(&networks, &ours, state);
	host_addresses(&host, &ours, tunnel);
	host_routes(&host, &protected_addrs, tunnel);
	resolvers(&protected_addrs, "/etc/resolv.conf");
	resolvers(&protected_addrs, "/run/systemd/resolve/resolv.conf");
	servers(&protected_addrs, state);
	add_addr(&protected_addrs, coordinator);
	foreign(&others, tunnel);
	facts->networks = networks.at;
	facts->host = host.at;
	facts->foreign = others.at;
	facts->ours = ours.at;
	facts->protected_addrs = protected_addrs.at;
	facts->host_hash = host_hash(&host, &protected_addrs);
	facts->foreign_hash = facts_foreign_hash(tunnel);
	facts->guard = (struct guard_facts){
		.networks = networks.at,
		.network_count = networks.count,
		.host = host.at,
		.host_count = host.count,
		.protected_addrs = protected_addrs.at,
		.protected_count = protected_addrs.count,
		.foreign = others.at,
		.foreign_count = others.count,
		.ours = ours.at,
		.our_count = ours.count,
	};
}
