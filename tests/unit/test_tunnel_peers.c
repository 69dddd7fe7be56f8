/*
 * What the tunnel does to WireGuard's peers, on a device that is a list: who is made anew keeps its
 * preshared key, one that goes on under another key keeps all else, and what is not in the ledger is
 * left alone.
 */
#include "lib/clock.h"
#include "tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define PEERS 4

static struct device_peer {
	struct wg_peer peer;
	struct wg_allowed_ip ips[2];
	struct key preshared;
	bool there;
} device[PEERS];
static unsigned messages;
static int answer;
static struct tunnel *tunnel;
static char directory[] = "/tmp/wg-mesh-tunnel-XXXXXX", ledger_path[64];

static struct key numbered(unsigned number)
{
	struct key key = {{(uint8_t)number, 1}};

	return key;
}

static struct device_peer *find(const struct key *key)
{
	for (unsigned i = 0; i < PEERS; i++) {
		if (device[i].there && key_equal(&device[i].peer.public_key, key))
			return &device[i];
	}
	return NULL;
}

static struct device_peer *the(unsigned number)
{
	struct key key = numbered(number);

	return find(&key);
}

/* ---- wg.h and link.h ---- */

int wg_open(struct wg **out, const char *interface)
{
	(void)interface;
	*out = (struct wg *)device;
	return 0;
}

void wg_close(struct wg *wg)
{
	(void)wg;
}

int wg_get(struct wg *wg, struct wg_device *out)
{
	(void)wg;
	memset(out, 0, sizeof(*out));
	list_init(&out->peers);
	for (unsigned i = 0; i < PEERS; i++) {
		struct wg_peer *peer;

		if (!device[i].there)
			continue;
		peer = xmalloc(sizeof(*peer));
		*peer = device[i].peer;
		peer->has_preshared_key = !key_is_zero(&device[i].preshared);
		list_add_tail(&out->peers, &peer->node);
	}
	return 0;
}

void wg_device_fini(struct wg_device *d)
{
	struct wg_peer *peer, *next;

	list_each_safe (peer, next, &d->peers, node)
		free(peer);
	list_init(&d->peers);
}

struct wg_peer *wg_device_find(const struct wg_device *d, const struct key *key)
{
	struct wg_peer *peer;

	list_each (peer, &d->peers, node) {
		if (key_equal(&peer->public_key, key))
			return peer;
	}
	return NULL;
}

static void set_one(const struct wg_peer *peer, unsigned flags)
{
	struct device_peer *at = find(&peer->public_key);

	if (flags & WG_PEER_REMOVE) {
		if (at)
			memset(at, 0, sizeof(*at));
		return;
	}
	if (!at && flags & WG_PEER_UPDATE_ONLY)
		return;
	for (unsigned i = 0; !at; i++)
		at = device[i].there ? NULL : &device[i];
	at->there = true;
	at->peer.public_key = peer->public_key;
	at->peer.allowed_ips = at->ips;
	if (flags & WG_PEER_REPLACE_ALLOWED_IPS) {
		at->peer.allowed_ip_count = peer->allowed_ip_count;
		memmove(at->ips, peer->allowed_ips, peer->allowed_ip_count * sizeof(*at->ips));
	}
	if (flags & WG_PEER_SET_ENDPOINT)
		at->peer.endpoint = peer->endpoint;
	if (flags & WG_PEER_SET_KEEPALIVE)
		at->peer.keepalive_s = peer->keepalive_s;
	if (flags & WG_PEER_SET_PSK)
		at->preshared = *peer->preshared;
}

int wg_set_peers(struct wg *wg, const struct wg_change *changes, size_t count)
{
	struct wg_allowed_ip kept[PEERS][2];

	(void)wg;
	messages++;
	for (size_t i = 0; i < count && !answer; i++) { /* what is borrowed from the device goes with it */
		struct wg_peer peer = *changes[i].peer;

		if (peer.allowed_ip_count)
			memcpy(kept[i], peer.allowed_ips, sizeof(kept[i]));
	}
	for (size_t i = 0; i < count && !answer; i++) {
		struct wg_peer peer = *changes[i].peer;

		peer.allowed_ips = kept[i];
		set_one(&peer, changes[i].flags);
	}
	return answer;
}

int wg_set_peer(struct wg *wg, const struct wg_peer *peer, unsigned flags)
{
	return wg_set_peers(wg, &(struct wg_change){peer, flags}, 1);
}

int link_open(struct link **out)
{
	*out = (struct link *)device;
	return 0;
}

void link_close(struct link *link)
{
	(void)link;
}

int link_find(struct link *link, const char *interface, uint32_t *ifindex, bool *up)
{
	(void)link, (void)interface;
	*ifindex = 7;
	*up = true;
	return 0;
}

static int nothing(void)
{
	return -EOPNOTSUPP;
}

int link_add_address(struct link *link, uint32_t ifindex, const struct prefix *address)
{
	(void)link, (void)ifindex, (void)address;
	return nothing();
}

int link_del_address(struct link *link, uint32_t ifindex, const struct prefix *address)
{
	(void)link, (void)ifindex, (void)address;
	return nothing();
}

int link_add_route(struct link *link, uint32_t ifindex, const struct prefix *to, uint32_t table,
		   const struct addr *source)
{
	(void)link, (void)ifindex, (void)to, (void)table, (void)source;
	return nothing();
}

int link_del_route(struct link *link, uint32_t ifindex, const struct prefix *to, uint32_t table)
{
	(void)link, (void)ifindex, (void)to, (void)table;
	return nothing();
}

/* ---- cases ---- */

static int setup(void **state)
{
	struct prefix allowed[2];
	struct key key = numbered(1);

	(void)state;
	memset(device, 0, sizeof(device));
	answer = 0;
	clock_set_fake(1000000, 1790000000000);
	snprintf(ledger_path, sizeof(ledger_path), "%s/wg0.owned", directory);
	assert_int_equal(tunnel_open(&tunnel, "wg0", ledger_path), 0);
	assert_true(prefix_parse(&allowed[0], "10.86.0.4/32"));
	assert_true(prefix_parse(&allowed[1], "192.168.7.0/24"));
	assert_int_equal(tunnel_put_peer(tunnel, &key, allowed, 2), 0);
	assert_true(endpoint_parse(&the(1)->peer.endpoint, "203.0.113.5:51820"));
	the(1)->peer.keepalive_s = TUNNEL_KEEPALIVE_S;
	device[1].there = true; /* the user's */
	device[1].peer.public_key = numbered(2);
	device[1].preshared = numbered(77);
	messages = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tunnel_close(tunnel);
	unlink(ledger_path);
	clock_set_fake(0, 0);
	return 0;
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

static void test_preshared(void **state)
{
	struct key ours = numbered(1), users = numbered(2), absent = numbered(3);
	struct key preshared = numbered(50), none = {{0}};
	struct endpoint to;

	(void)state;
	assert_int_equal(tunnel_set_psk(tunnel, &ours, &preshared), 0);
	assert_int_equal(tunnel_set_psk(tunnel, &users, &preshared), 0);
	assert_int_equal(tunnel_set_psk(tunnel, &absent, &preshared), 0);
	assert_true(key_equal(&the(1)->preshared, &preshared));
	assert_int_equal(the(2)->preshared.bytes[0], 77);
	assert_null(the(3));

	/* Removed by somebody, and put back. */
	memset(the(1), 0, sizeof(struct device_peer));
	assert_int_equal(tunnel_put_peer(tunnel, &ours, NULL, 0), 0);
	assert_true(key_equal(&the(1)->preshared, &preshared));
	/* Made anew to shake hands. */
	clock_advance_fake(1000);
	tunnel_poll(tunnel);
	assert_true(endpoint_parse(&to, "198.51.100.9:1"));
	assert_int_equal(tunnel_meet(tunnel, &ours, &to), 0);
	assert_true(key_equal(&the(1)->preshared, &preshared));
	assert_true(endpoint_equal(&the(1)->peer.endpoint, &to));
	/* One that comes later is made with its own. */
	assert_int_equal(tunnel_put_peer(tunnel, &absent, NULL, 0), 0);
	assert_true(key_equal(&the(3)->preshared, &preshared));

	assert_int_equal(tunnel_set_psk(tunnel, &ours, &none), 0);
	assert_true(key_is_zero(&the(1)->preshared));
	/* Let go: what the user puts there is the user's, also where the peer would be made anew. */
	assert_int_equal(tunnel_set_psk(tunnel, &ours, NULL), 0);
	the(1)->preshared = numbered(78);
	clock_advance_fake(1000);
	tunnel_poll(tunnel);
	assert_int_equal(tunnel_meet(tunnel, &ours, &to), 0);
	assert_int_equal(tunnel_put_peer(tunnel, &ours, NULL, 0), 0);
	assert_int_equal(the(1)->preshared.bytes[0], 78);
}

static void test_another_key(void **state)
{
	struct key from = numbered(1), to = numbered(9), users = numbered(2), preshared = numbered(50);
	struct device_peer *peer;
	char text[ENDPOINT_TEXT];

	(void)state;
	tunnel_set_psk(tunnel, &from, &preshared);
	messages = 0;
	assert_int_equal(tunnel_rekey_peer(tunnel, &from, &to), 0);
	assert_int_equal(messages, 1);
	assert_null(the(1));
	peer = the(9);
	assert_non_null(peer);
	assert_int_equal(peer->peer.allowed_ip_count, 2);
	endpoint_format(text, &peer->peer.endpoint);
	assert_string_equal(text, "203.0.113.5:51820");
	assert_int_equal(peer->peer.keepalive_s, TUNNEL_KEEPALIVE_S);
	assert_true(key_is_zero(&peer->preshared));
	assert_true(tunnel_owns_peer(tunnel, &to) && !tunnel_owns_peer(tunnel, &from));

	assert_int_equal(tunnel_rekey_peer(tunnel, &from, &to), -ENOENT);
	assert_int_equal(tunnel_rekey_peer(tunnel, &users, &from), -ENOENT);
	assert_true(the(2) && the(9) && !the(1));
	/* Where WireGuard refuses, the ledger has both: nothing can be left behind. */
	answer = -EPERM;
	assert_int_equal(tunnel_rekey_peer(tunnel, &to, &from), -EPERM);
	assert_true(tunnel_owns_peer(tunnel, &to) && tunnel_owns_peer(tunnel, &from));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_preshared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_key, setup, teardown),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
