/*
 * The interface and the ledger. The tricky things: WireGuard with neither session nor endpoint must
 * not be given a keepalive, because its handshake would go nowhere and the next one is not sent
 * within five seconds; so keepalive comes with the endpoint. And a route that is there already, but
 * not in the ledger, belongs to somebody else.
 */
#include "tunnel.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/map.h"
#include "lib/str.h"
#include <errno.h>
#include <string.h>

#define GLANCE_MS  20 /* how old a look at the device may be to begin a handshake by it */

struct tunnel {
	char interface[16];
	struct wg *wg;
	struct link *link;
	struct ledger *ledger;
	struct wg_device *device;
	struct key private_key;
	uint32_t ifindex;
	struct wg_device *glance; /* a dump of our own: who reads `device` may be in the middle of it */
	uint64_t glance_ms;
	struct map *preshared; /* peer's key to its preshared key, as tunnel_set_psk said */
};

static void free_device(struct wg_device *device)
{
	if (device)
		wg_device_fini(device);
	free(device);
}

static void forget(struct key *preshared)
{
	if (preshared)
		key_wipe(preshared);
	free(preshared);
}

int tunnel_open(struct tunnel **out, const char *interface, const char *ledger_path)
{
	struct tunnel *tunnel = xcalloc(1, sizeof(*tunnel));
	bool up;
	int error;

	str_copy(tunnel->interface, sizeof(tunnel->interface), interface);
	tunnel->preshared = map_new(KEY_LEN);
	error = link_open(&tunnel->link);
	if (!error)
		error = link_find(tunnel->link, interface, &tunnel->ifindex, &up);
	if (!error)
		error = wg_open(&tunnel->wg, interface);
	if (!error)
		error = tunnel_poll(tunnel);
	if (!error)
		error = ledger_open(&tunnel->ledger, ledger_path, tunnel->ifindex);
	if (error) {
		tunnel_close(tunnel);
		return error;
	}
	*out = tunnel;
	return 0;
}

void tunnel_close(struct tunnel *tunnel)
{
	struct key *preshared;

	if (!tunnel)
		return;
	for (size_t pos = 0; (preshared = map_next(tunnel->preshared, &pos, NULL));)
		forget(preshared);
	map_free(tunnel->preshared);
	free_device(tunnel->device);
	free_device(tunnel->glance);
	key_wipe(&tunnel->private_key);
	if (tunnel->wg)
		wg_close(tunnel->wg);
	if (tunnel->ledger)
		ledger_close(tunnel->ledger);
	if (tunnel->link)
		link_close(tunnel->link);
	free(tunnel);
}

int tunnel_poll(struct tunnel *tunnel)
{
	struct wg_device *device = xcalloc(1, sizeof(*device));
	uint32_t ifindex;
	bool up;
	int error = link_find(tunnel->link, tunnel->interface, &ifindex, &up);

	if (!error && ifindex != tunnel->ifindex)
		error = -ENODEV;
	if (!error)
		error = wg_get(tunnel->wg, device);
	if (error) {
		free(device);
		return error;
	}
	tunnel->private_key = device->private_key;
	key_wipe(&device->private_key);
	free_device(tunnel->device);
	tunnel->device = device;
	return 0;
}

const struct key *tunnel_private_key(const struct tunnel *tunnel)
{
	return &tunnel->private_key;
}

const struct wg_device *tunnel_device(const struct tunnel *tunnel)
{
	return tunnel->device;
}

struct link *tunnel_link(struct tunnel *tunnel)
{
	return tunnel->link;
}

uint32_t tunnel_ifindex(const struct tunnel *tunnel)
{
	return tunnel->ifindex;
}

/* ---- peers ---- */

static struct ledger_entry peer_entry(const struct key *key)
{
	return (struct ledger_entry){.kind = LEDGER_PEER, .key = *key};
}

bool tunnel_owns_peer(const struct tunnel *tunnel, const struct key *key)
{
	struct ledger_entry entry = peer_entry(key);

	return ledger_has(tunnel->ledger, &entry);
}

static const struct ledger_entry *next_of(const struct tunnel *tunnel, enum ledger_kind kind,
					  size_t *pos)
{
	const struct ledger_entry *entry;

	while ((entry = ledger_next(tunnel->ledger, pos))) {
		if (entry->kind == kind)
			return entry;
	}
	return NULL;
}

const struct key *tunnel_next_peer(const struct tunnel *tunnel, size_t *pos)
{
	const struct ledger_entry *entry = next_of(tunnel, LEDGER_PEER, pos);

	return entry ? &entry->key : NULL;
}

/* The flag to set it, where it is ours to set. */
static unsigned psk_of(const struct tunnel *tunnel, struct wg_peer *peer)
{
	peer->preshared = map_get(tunnel->preshared, peer->public_key.bytes);
	return peer->preshared ? WG_PEER_SET_PSK : 0;
}

int tunnel_set_psk(struct tunnel *tunnel, const struct key *key, const struct key *preshared)
{
	struct wg_peer peer = {.public_key = *key};
	struct key *copy;

	if (!preshared) {
		forget(map_del(tunnel->preshared, key->bytes));
		return 0;
	}
	copy = xmalloc(sizeof(*copy));
	*copy = *preshared;
	forget(map_put(tunnel->preshared, key->bytes, copy));
	if (!tunnel_owns_peer(tunnel, key))
		return 0;
	return wg_set_peer(tunnel->wg, &peer, WG_PEER_UPDATE_ONLY | psk_of(tunnel, &peer));
}

int tunnel_put_peer(struct tunnel *tunnel, const struct key *key, const struct prefix *allowed,
		    size_t count)
{
	struct wg_peer peer = {.public_key = *key, .allowed_ip_count = count};
	struct ledger_entry entry = peer_entry(key);
	int error = ledger_add(tunnel->ledger, &entry);

	if (error)
		return error;
	peer.allowed_ips = xcalloc(count + 1, sizeof(*peer.allowed_ips));
	for (size_t i = 0; i < count; i++)
		peer.allowed_ips[i].prefix = allowed[i];
	error = wg_set_peer(tunnel->wg, &peer,
			    WG_PEER_REPLACE_ALLOWED_IPS | psk_of(tunnel, &peer));
	free(peer.allowed_ips);
	return error;
}

int tunnel_adopt_peer(struct tunnel *tunnel, const struct key *key)
{
	struct ledger_entry entry = peer_entry(key);

	return ledger_add(tunnel->ledger, &entry);
}

int tunnel_remove_peer(struct tunnel *tunnel, const struct key *key)
{
	struct wg_peer peer = {.public_key = *key};
	struct ledger_entry entry = peer_entry(key);
	int error;

	if (!ledger_has(tunnel->ledger, &entry))
		return 0;
	error = wg_set_peer(tunnel->wg, &peer, WG_PEER_REMOVE);
	if (error && error != -ENOENT)
		return error;
	return ledger_del(tunnel->ledger, &entry);
}

int tunnel_set_endpoint(struct tunnel *tunnel, const struct key *key, const struct endpoint *to)
{
	struct wg_peer peer = {.public_key = *key, .endpoint = *to};

	return wg_set_peer(tunnel->wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_SET_ENDPOINT);
}

int tunnel_keepalive(struct tunnel *tunnel, const struct key *key, bool shake)
{
	struct wg_peer peer = {.public_key = *key, .keepalive_s = 0};
	int error = 0;

	if (shake) /* turning it on is what makes WireGuard send */
		error = wg_set_peer(tunnel->wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_SET_KEEPALIVE);
	if (error)
		return error;
	peer.keepalive_s = TUNNEL_KEEPALIVE_S;
	return wg_set_peer(tunnel->wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_SET_KEEPALIVE);
}

/* The peer as it is now, or NULL where that is not to be had. */
static const struct wg_peer *glance_at(struct tunnel *tunnel, const struct key *key)
{
	uint64_t now = clock_ms();

	if (!tunnel->glance || now - tunnel->glance_ms > GLANCE_MS) {
		free_device(tunnel->glance);
		tunnel->glance = xcalloc(1, sizeof(*tunnel->glance));
		if (wg_get(tunnel->wg, tunnel->glance)) {
			free(tunnel->glance);
			tunnel->glance = NULL;
			return NULL;
		}
		tunnel->glance_ms = now;
	}
	return wg_device_find(tunnel->glance, key);
}

static bool heard(const struct wg_peer *peer)
{
	return peer->last_handshake_wall_ms || peer->rx_bytes;
}

int tunnel_meet(struct tunnel *tunnel, const struct key *key, const struct endpoint *to)
{
	const struct wg_peer *known = wg_device_find(tunnel->device, key), *now;
	unsigned flags =
		WG_PEER_REPLACE_ALLOWED_IPS | WG_PEER_SET_ENDPOINT | WG_PEER_SET_KEEPALIVE;
	struct wg_peer anew;
	struct wg_change changes[2];

	if ((known && heard(known)) || !tunnel_owns_peer(tunnel, key))
		return tunnel_set_endpoint(tunnel, key, to);
	now = glance_at(tunnel, key);
	if (!now || heard(now))
		return tunnel_set_endpoint(tunnel, key, to);
	anew = *now;
	flags |= psk_of(tunnel, &anew);
	if (now->has_preshared_key && !anew.preshared) /* it is the user's, and lost if made anew */
		return tunnel_set_endpoint(tunnel, key, to);
	anew.endpoint = *to;
	anew.keepalive_s = TUNNEL_KEEPALIVE_S;
	changes[0] = (struct wg_change){&anew, WG_PEER_REMOVE};
	changes[1] = (struct wg_change){&anew, flags};
	return wg_set_peers(tunnel->wg, changes, 2);
}

/* Both in one message, so that there is no moment in which nobody has its addresses. The keepalive
 * makes WireGuard shake hands at once. */
int tunnel_rekey_peer(struct tunnel *tunnel, const struct key *from, const struct key *to)
{
	struct ledger_entry old_entry = peer_entry(from), new_entry = peer_entry(to);
	const struct wg_peer *now = tunnel_owns_peer(tunnel, from) ? glance_at(tunnel, from) : NULL;
	unsigned flags = WG_PEER_REPLACE_ALLOWED_IPS | WG_PEER_SET_KEEPALIVE;
	struct wg_change changes[2];
	struct wg_peer anew;
	int error;

	if (!now)
		return -ENOENT;
	error = ledger_add(tunnel->ledger, &new_entry);
	if (error)
		return error;
	anew = *now;
	anew.public_key = *to;
	if (anew.endpoint.addr.family)
		flags |= WG_PEER_SET_ENDPOINT;
	changes[0] = (struct wg_change){now, WG_PEER_REMOVE};
	changes[1] = (struct wg_change){&anew, flags};
	error = wg_set_peers(tunnel->wg, changes, 2);
	free_device(tunnel->glance);
	tunnel->glance = NULL;
	if (error)
		return error;
	tunnel_set_psk(tunnel, from, NULL);
	return ledger_del(tunnel->ledger, &old_entry);
}

/* ---- addresses and routes ---- */

static struct ledger_entry address_entry(const struct prefix *address)
{
	return (struct ledger_entry){.kind = LEDGER_ADDRESS, .prefix = *address};
}

bool tunnel_owns_address(const struct tunnel *tunnel, const struct prefix *address)
{
	struct ledger_entry entry = address_entry(address);

	return ledger_has(tunnel->ledger, &entry);
}

static bool same_address(const struct prefix *a, const struct prefix *b)
{
	return a->bits == b->bits && addr_equal(&a->addr, &b->addr);
}

/* One that is there already is our own of the mesh: `wg-quick save` has written it into the file.
 */
static int add_address(struct tunnel *tunnel, const struct prefix *address, bool *added)
{
	struct ledger_entry entry = address_entry(address);
	int error = ledger_add(tunnel->ledger, &entry);

	if (error)
		return error;
	error = link_add_address(tunnel->link, tunnel->ifindex, address);
	*added |= !error;
	return error == -EEXIST ? 0 : error;
}

static int drop_unwanted(struct tunnel *tunnel, const struct prefix *wanted, size_t count)
{
	const struct ledger_entry *entry;
	int first = 0, error;

	for (size_t pos = 0; (entry = next_of(tunnel, LEDGER_ADDRESS, &pos));) {
		bool keep = false;

		for (size_t i = 0; i < count && !keep; i++)
			keep = same_address(&entry->prefix, &wanted[i]);
		if (keep)
			continue;
		error = link_del_address(tunnel->link, tunnel->ifindex, &entry->prefix);
		if (!error || error == -EADDRNOTAVAIL || error == -ENOENT || error == -ESRCH)
			error = ledger_del(tunnel->ledger, entry);
		first = first ? first : error;
	}
	return first;
}

int tunnel_set_addresses(struct tunnel *tunnel, const struct prefix *wanted, size_t count,
			 bool *added)
{
	int first = drop_unwanted(tunnel, wanted, count), error;

	*added = false;
	for (size_t i = 0; i < count; i++) {
		error = add_address(tunnel, &wanted[i], added);
		first = first ? first : error;
	}
	return first;
}

bool tunnel_owns_route(const struct tunnel *tunnel, const struct prefix *to, uint32_t table)
{
	struct ledger_entry entry = {.kind = LEDGER_ROUTE, .prefix = *to, .number = table};

	return ledger_has(tunnel->ledger, &entry);
}

static int add_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table,
		     const struct addr *source)
{
	int error = link_add_route(tunnel->link, tunnel->ifindex, to, table, source);

	if (error == -EINVAL && source) /* the address could not be set */
		error = link_add_route(tunnel->link, tunnel->ifindex, to, table, NULL);
	return error;
}

int tunnel_renew_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table,
		       const struct addr *source)
{
	link_del_route(tunnel->link, tunnel->ifindex, to, table);
	return add_route(tunnel, to, table, source);
}

int tunnel_put_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table,
		     const struct addr *source)
{
	struct ledger_entry entry = {.kind = LEDGER_ROUTE, .prefix = *to, .number = table};
	bool was_ours = ledger_has(tunnel->ledger, &entry);
	int error = ledger_add(tunnel->ledger, &entry);

	if (error)
		return error;
	error = add_route(tunnel, to, table, source);
	if (error && !was_ours)
		ledger_del(tunnel->ledger, &entry);
	return error == -EEXIST && was_ours ? 0 : error;
}

int tunnel_remove_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table)
{
	struct ledger_entry entry = {.kind = LEDGER_ROUTE, .prefix = *to, .number = table};
	int error;

	if (!ledger_has(tunnel->ledger, &entry))
		return 0;
	error = link_del_route(tunnel->link, tunnel->ifindex, to, table);
	if (error && error != -ENOENT && error != -ESRCH)
		return error;
	return ledger_del(tunnel->ledger, &entry);
}

const struct ledger_entry *tunnel_next_route(const struct tunnel *tunnel, size_t *pos)
{
	return next_of(tunnel, LEDGER_ROUTE, pos);
}
