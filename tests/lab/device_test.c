/*
 * device_test - the agent's hands, tried on a real WireGuard interface (kernel or user space) by
 * tests/lab/device.sh and the kernel lab:
 *
 *   device_test device IFACE           get, set, update-only, remove, settings; link and undo
 *   device_test many IFACE COUNT       COUNT peers set, split over messages, and undone in time
 *   device_test make IFACE LEDGER      peers, addresses, routes and a mark, each in the ledger first
 *   device_test undo IFACE LEDGER      takes back what the ledger holds
 *   device_test watch SECONDS          prints "changed" when addresses, routes or links have
 *   device_test stun IFACE SERVER:PORT [FROM]   asks SERVER from WireGuard's port; prints what it saw
 *   device_test answer PORT SECONDS    a STUN server on PORT, both families
 *   device_test echo IFACE SECONDS     answers STUN requests that reach WireGuard's port
 *
 * Prints "ok NAME" or "not ok NAME: why"; exit 1 if any was not.
 */
#include "ledger.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/sock.h"
#include "lib/str.h"
#include "lib/stun.h"
#include "link.h"
#include "rawport.h"
#include "undo.h"
#include "wg.h"
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <unistd.h>

static int failures;

static bool check(bool good, const char *name, const char *why)
{
	if (good)
		printf("ok %s\n", name);
	else
		printf("not ok %s: %s\n", name, why);
	failures += !good;
	fflush(stdout);
	return good;
}

static bool done(int error, const char *name)
{
	return check(error == 0, name, strerror(-error));
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "device_test: %s: %s\n", what, strerror(-error));
	return 1;
}

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix = {0};

	if (!prefix_parse(&prefix, text))
		fprintf(stderr, "device_test: %s is no prefix\n", text);
	return prefix;
}

static struct key numbered_key(uint32_t number)
{
	struct key private_key = {{1}}, public_key;

	memcpy(private_key.bytes + 8, &number, sizeof(number));
	key_public(&public_key, &private_key);
	return public_key;
}

/* ---- device --------------------------------------------------------------------------------- */

struct expect { /* what a peer must look like after a change */
	const char *name, *endpoint;
	size_t allowed_ip_count;
	uint16_t keepalive_s;
};

static void expect_peer(struct wg *wg, const struct key *key, const struct expect *expect)
{
	struct wg_device device;
	struct wg_peer *peer;
	char endpoint[ENDPOINT_TEXT] = "none";
	char why[200] = "no such peer";
	int error = wg_get(wg, &device);

	if (error) {
		done(error, expect->name);
		return;
	}
	peer = wg_device_find(&device, key);
	if (peer && peer->endpoint.addr.family)
		endpoint_format(endpoint, &peer->endpoint);
	if (peer)
		snprintf(why, sizeof(why), "endpoint %s, %zu allowed IPs, keepalive %u", endpoint,
			 peer->allowed_ip_count, peer->keepalive_s);
	check(peer && strcmp(endpoint, expect->endpoint) == 0 &&
		      peer->allowed_ip_count == expect->allowed_ip_count &&
		      peer->keepalive_s == expect->keepalive_s && !peer->has_preshared_key &&
		      peer->last_handshake_wall_ms == 0,
	      expect->name, why);
	wg_device_fini(&device);
}

static bool has_peer(struct wg *wg, const struct key *key)
{
	struct wg_device device;
	bool has = false;

	if (wg_get(wg, &device) == 0) {
		has = wg_device_find(&device, key) != NULL;
		wg_device_fini(&device);
	}
	return has;
}

static void test_peer(struct wg *wg)
{
	struct wg_allowed_ip ips[] = {{prefix_of("10.86.0.4/32")}, {prefix_of("fd86::4/128")},
				      {prefix_of("192.168.7.0/24")}};
	struct wg_peer peer = {.public_key = numbered_key(1), .allowed_ips = ips,
			       .allowed_ip_count = 2, .keepalive_s = 25};

	done(wg_set_peer(wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_SET_KEEPALIVE), "update-only-set");
	check(!has_peer(wg, &peer.public_key), "update-only-never-creates", "it made the peer");
	endpoint_parse(&peer.endpoint, "192.0.2.1:51820");
	done(wg_set_peer(wg, &peer, WG_PEER_REPLACE_ALLOWED_IPS | WG_PEER_SET_ENDPOINT), "create");
	expect_peer(wg, &peer.public_key, &(struct expect){"created", "192.0.2.1:51820", 2, 0});

	endpoint_parse(&peer.endpoint, "[2001:db8::1]:1");
	peer.allowed_ip_count = 0;
	done(wg_set_peer(wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_SET_ENDPOINT | WG_PEER_SET_KEEPALIVE),
	     "move");
	expect_peer(wg, &peer.public_key, &(struct expect){"moved", "[2001:db8::1]:1", 2, 25});

	peer.allowed_ips = ips + 2;
	peer.allowed_ip_count = 1;
	done(wg_set_peer(wg, &peer, WG_PEER_UPDATE_ONLY), "allow-more");
	expect_peer(wg, &peer.public_key, &(struct expect){"allows-more", "[2001:db8::1]:1", 3, 25});
	done(wg_set_peer(wg, &peer, WG_PEER_UPDATE_ONLY | WG_PEER_REPLACE_ALLOWED_IPS), "replace");
	expect_peer(wg, &peer.public_key, &(struct expect){"replaced", "[2001:db8::1]:1", 1, 25});

	done(wg_set_peer(wg, &peer, WG_PEER_REMOVE), "remove");
	check(!has_peer(wg, &peer.public_key), "removed", "it is still there");
	done(wg_set_peer(wg, &peer, WG_PEER_REMOVE), "remove-again");
}

static bool has_preshared_key(struct wg *wg, const struct key *key)
{
	struct wg_device device;
	struct wg_peer *peer;
	bool has = false;

	if (wg_get(wg, &device) == 0) {
		peer = wg_device_find(&device, key);
		has = peer && peer->has_preshared_key && !peer->preshared;
		wg_device_fini(&device);
	}
	return has;
}

static void test_preshared_key(struct wg *wg)
{
	const unsigned flags = WG_PEER_UPDATE_ONLY | WG_PEER_SET_PSK;
	const struct key preshared = numbered_key(77), none = {{0}};
	struct wg_peer peer = {.public_key = numbered_key(1), .preshared = &preshared};
	struct wg_change anew[] = {{&peer, WG_PEER_REMOVE}, {&peer, WG_PEER_SET_PSK}};

	done(wg_set_peer(wg, &peer, flags), "psk-update-only");
	check(!has_peer(wg, &peer.public_key), "psk-never-creates", "it made the peer");
	done(wg_set_peer(wg, &peer, 0), "psk-peer");
	done(wg_set_peer(wg, &peer, flags), "psk-set");
	check(has_preshared_key(wg, &peer.public_key), "psk-is-set", "it has none");
	done(wg_set_peer(wg, &peer, WG_PEER_UPDATE_ONLY), "psk-left-alone");
	check(has_preshared_key(wg, &peer.public_key), "psk-stays", "it is gone");
	done(wg_set_peers(wg, anew, 2), "psk-anew");
	check(has_preshared_key(wg, &peer.public_key), "psk-of-one-made-anew", "it has none");
	peer.preshared = &none;
	done(wg_set_peer(wg, &peer, flags), "psk-clear");
	check(!has_preshared_key(wg, &peer.public_key), "psk-is-cleared", "it is still there");
	done(wg_set_peer(wg, &peer, WG_PEER_REMOVE), "psk-remove");
}

static void test_settings(struct wg *wg, const char *interface)
{
	struct wg_device before, after;
	struct key private_key, public_key;

	key_generate_private(&private_key);
	key_public(&public_key, &private_key);
	if (!done(wg_get(wg, &before), "get"))
		return;
	done(wg_set_listen_port(wg, 40123), "set-port");
	done(wg_set_fwmark(wg, 0x77), "set-mark");
	done(wg_set_private_key(wg, &private_key), "set-key");
	if (done(wg_get(wg, &after), "get-settings")) {
		check(after.listen_port == 40123 && after.fwmark == 0x77 &&
			      key_equal(&after.private_key, &private_key) &&
			      key_equal(&after.public_key, &public_key) &&
			      after.ifindex == if_nametoindex(interface),
		      "settings", "what was set is not what is there");
		wg_device_fini(&after);
	}
	wg_set_listen_port(wg, before.listen_port);
	wg_set_fwmark(wg, before.fwmark);
	wg_set_private_key(wg, &before.private_key);
	wg_device_fini(&before);
}

static bool has_route(struct link *link, const struct prefix *to, uint32_t table)
{
	struct link_route *routes;
	size_t count;
	bool has = false;

	if (link_routes(link, table, &routes, &count))
		return false;
	for (size_t i = 0; i < count; i++)
		has |= prefix_equal(&routes[i].to, to) && routes[i].protocol == LINK_PROTOCOL;
	free(routes);
	return has;
}

static bool has_address(struct link *link, const struct prefix *address)
{
	struct link_address *addresses;
	size_t count;
	bool has = false;

	if (link_addresses(link, &addresses, &count))
		return false;
	for (size_t i = 0; i < count; i++)
		has |= addr_equal(&addresses[i].address.addr, &address->addr) &&
		       addresses[i].address.bits == address->bits;
	free(addresses);
	return has;
}

static void test_link_family(struct link *link, uint32_t ifindex, struct prefix address,
			     struct prefix route)
{
	done(link_add_address(link, ifindex, &address), "add-address");
	check(has_address(link, &address), "address-there", "not in the list");
	check(link_add_address(link, ifindex, &address) == -EEXIST, "add-address-again", "no EEXIST");
	done(link_add_route(link, ifindex, &route, 254, NULL), "add-route");
	check(has_route(link, &route, 254), "route-there", "not in the list");
	check(link_add_route(link, ifindex, &route, 254, NULL) == -EEXIST, "add-route-again", "no EEXIST");
	done(link_add_route(link, ifindex, &route, 7777, &address.addr), "add-route-table");
	check(has_route(link, &route, 7777), "route-in-table", "not in the list");
	done(link_del_route(link, ifindex, &route, 7777), "del-route-table");
	done(link_del_route(link, ifindex, &route, 254), "del-route");
	check(!has_route(link, &route, 0), "route-gone", "still in the list");
	check(link_del_route(link, ifindex, &route, 254) == -ESRCH, "del-route-again", "no ESRCH");
	done(link_del_address(link, ifindex, &address), "del-address");
	check(link_del_address(link, ifindex, &address) == -ENOENT, "del-address-again", "no ENOENT");
}

static void test_link(const char *interface)
{
	struct link *link;
	uint32_t ifindex = 0;
	bool up = false;

	if (!done(link_open(&link), "link-open"))
		return;
	check(link_find(link, "no-such", NULL, NULL) == -ENODEV, "link-unknown", "no ENODEV");
	done(link_find(link, interface, &ifindex, &up), "link-find");
	done(link_set_up(link, ifindex), "link-up");
	link_find(link, interface, &ifindex, &up);
	check(up && ifindex == if_nametoindex(interface), "link-is-up", "it is not");
	test_link_family(link, ifindex, prefix_of("10.99.0.3/16"), prefix_of("198.18.5.0/24"));
	test_link_family(link, ifindex, prefix_of("fd99::3/64"), prefix_of("2001:db8:5::/48"));
	link_close(link);
}

static int cmd_device(char **argv)
{
	struct wg *wg;
	int error = wg_open(&wg, argv[0]);

	if (error)
		return fail(argv[0], error);
	printf("# %s\n", wg_is_userspace(wg) ? "user space" : "kernel");
	check(wg_open(&(struct wg *){NULL}, "lo") == -ENODEV, "not-wireguard", "lo could be opened");
	test_settings(wg, argv[0]);
	test_peer(wg);
	test_preshared_key(wg);
	wg_close(wg);
	test_link(argv[0]);
	return failures > 0;
}

/* ---- many ----------------------------------------------------------------------------------- */

static size_t count_peers(struct wg *wg, size_t *allowed_ips)
{
	struct wg_device device;
	const struct wg_peer *peer;
	size_t count = 0;

	*allowed_ips = 0;
	if (wg_get(wg, &device))
		return 0;
	list_each(peer, &device.peers, node)
		count++, *allowed_ips += peer->allowed_ip_count;
	wg_device_fini(&device);
	return count;
}

/* 10.0.0.0/8 and fd86::/104, the number in the last three bytes. */
static struct prefix numbered_prefix(bool six, size_t number)
{
	struct prefix prefix = prefix_of(six ? "fd86::/128" : "10.0.0.0/32");
	uint8_t *last = prefix.addr.bytes + addr_len(&prefix.addr) - 3;

	last[0] = (uint8_t)(number >> 16);
	last[1] = (uint8_t)(number >> 8);
	last[2] = (uint8_t)number;
	return prefix;
}

/* Each has one address of both families; the first 1,000, so that it does not fit a message. */
static void make_peers(struct wg_peer *peers, struct wg_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t ips = i ? 2 : 2000;
		struct wg_allowed_ip *allowed = xcalloc(ips, sizeof(*allowed));

		for (size_t j = 0; j < ips; j++)
			allowed[j].prefix = numbered_prefix(j & 1, i ? i : 100000 + j / 2);
		peers[i] = (struct wg_peer){.public_key = numbered_key((uint32_t)i + 100),
					    .allowed_ips = allowed,
					    .allowed_ip_count = ips,
					    .keepalive_s = 25};
		changes[i] = (struct wg_change){&peers[i],
						WG_PEER_REPLACE_ALLOWED_IPS | WG_PEER_SET_KEEPALIVE};
	}
}

static double since_ms(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) * 1000 +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

static void undo_many(const char *interface, const struct wg_peer *peers, size_t count)
{
	const char *path = "/tmp/device_test.owned";
	struct ledger *ledger;
	struct timespec start;

	unlink(path);
	if (!done(ledger_open(&ledger, path, if_nametoindex(interface)), "ledger"))
		return;
	for (size_t i = 0; i < count; i++)
		ledger_add(ledger, &(struct ledger_entry){.key = peers[i].public_key});
	ledger_close(ledger);
	clock_gettime(CLOCK_MONOTONIC, &start);
	done(undo_interface(interface, path), "undo");
	printf("# undo of %zu peers: %.1f ms\n", count, since_ms(&start));
	check(access(path, F_OK) < 0, "ledger-gone", "the file is still there");
}

static int cmd_many(char **argv)
{
	uint64_t wanted = 0;
	struct wg *wg;
	int error = wg_open(&wg, argv[0]);
	size_t count, ips, before;
	struct wg_change *changes;
	struct wg_peer *peers;
	struct timespec start;

	if (error || !parse_u64(argv[1], &wanted) || !wanted || wanted > 60000)
		return fail(argv[0], error ? error : -EINVAL);
	count = (size_t)wanted;
	before = count_peers(wg, &ips);
	peers = xcalloc(count, sizeof(*peers));
	changes = xcalloc(count, sizeof(*changes));
	make_peers(peers, changes, count);
	clock_gettime(CLOCK_MONOTONIC, &start);
	done(wg_set_peers(wg, changes, count), "set-many");
	printf("# set %zu peers: %.1f ms\n", count, since_ms(&start));
	clock_gettime(CLOCK_MONOTONIC, &start);
	check(count_peers(wg, &ips) == before + count && ips >= 2000 + 2 * (count - 1), "many-there",
	      "peers or allowed IPs are missing");
	printf("# get %zu peers, %zu allowed IPs: %.1f ms\n", count, ips, since_ms(&start));
	undo_many(argv[0], peers, count);
	check(count_peers(wg, &ips) == before, "others-stay", "undo took the wrong peers");
	for (size_t i = 0; i < count; i++)
		free(peers[i].allowed_ips);
	free(peers);
	free(changes);
	wg_close(wg);
	return failures > 0;
}

/* ---- undo ----------------------------------------------------------------------------------- */

static void own(struct ledger *ledger, const struct ledger_entry *entry)
{
	if (ledger_add(ledger, entry))
		check(false, "ledger-add", "it could not be written");
}

static void make_peer(struct wg *wg, struct ledger *ledger, uint32_t number)
{
	struct wg_allowed_ip ip = {numbered_prefix(number & 1, number)};
	struct wg_peer peer = {.public_key = numbered_key(number), .allowed_ips = &ip,
			       .allowed_ip_count = 1};

	own(ledger, &(struct ledger_entry){.kind = LEDGER_PEER, .key = peer.public_key});
	done(wg_set_peer(wg, &peer, 0), "make-peer");
}

static void make_link(struct link *link, struct ledger *ledger, uint32_t ifindex)
{
	static const char *const addresses[] = {"10.99.0.3/16", "fd99::3/64"};
	static const char *const routes[] = {"198.18.5.0/24", "2001:db8:5::/48"};
	static const uint32_t tables[] = {254, 7777};

	for (size_t i = 0; i < 2; i++) {
		struct prefix address = prefix_of(addresses[i]), route = prefix_of(routes[i]);

		own(ledger, &(struct ledger_entry){.kind = LEDGER_ADDRESS, .prefix = address});
		done(link_add_address(link, ifindex, &address), "make-address");
		for (size_t j = 0; j < 2; j++) {
			own(ledger, &(struct ledger_entry){.kind = LEDGER_ROUTE, .prefix = route,
							   .number = tables[j]});
			done(link_add_route(link, ifindex, &route, tables[j], NULL), "make-route");
		}
	}
}

/* What a crash leaves: written down, never made; and the route is one that the user has. */
static void own_too_much(struct ledger *ledger)
{
	own(ledger, &(struct ledger_entry){.kind = LEDGER_PEER, .key = numbered_key(99)});
	own(ledger, &(struct ledger_entry){.kind = LEDGER_ADDRESS,
					   .prefix = prefix_of("10.99.0.4/16")});
	own(ledger, &(struct ledger_entry){.kind = LEDGER_ROUTE, .number = 254,
					   .prefix = prefix_of("198.18.6.0/24")});
	own(ledger, &(struct ledger_entry){.kind = LEDGER_TABLE, .number = 7777});
	own(ledger, &(struct ledger_entry){.kind = LEDGER_RULE, .number = 52});
}

static int cmd_make(char **argv)
{
	uint32_t ifindex = if_nametoindex(argv[0]);
	struct wg_device device;
	struct ledger *ledger;
	struct link *link;
	struct wg *wg;
	int error = wg_open(&wg, argv[0]);

	if (!error)
		error = wg_get(wg, &device);
	if (!error)
		error = ledger_open(&ledger, argv[1], ifindex);
	if (!error)
		error = link_open(&link);
	if (error)
		return fail(argv[0], error);
	for (uint32_t i = 1; i <= 3; i++)
		make_peer(wg, ledger, i);
	make_link(link, ledger, ifindex);
	own_too_much(ledger);
	own(ledger, &(struct ledger_entry){.kind = LEDGER_MARK, .number = device.fwmark});
	done(wg_set_fwmark(wg, 0x99), "make-mark");
	wg_device_fini(&device);
	link_close(link);
	ledger_close(ledger);
	wg_close(wg);
	return failures > 0;
}

static int cmd_undo(char **argv)
{
	int error = undo_interface(argv[0], argv[1]);

	return error ? fail("undo", error) : 0;
}

/* ---- watch ---------------------------------------------------------------------------------- */

static void on_end(void *arg)
{
	loop_stop(arg);
}

static void on_change(void *arg)
{
	(void)arg;
	printf("changed\n");
	fflush(stdout);
}

static int cmd_watch(char **argv)
{
	struct loop *loop = loop_new();
	struct loop_timer end;
	struct link *link;
	uint64_t ms = 0;
	int error = link_open(&link);

	if (!error)
		error = link_watch(link, loop, on_change, NULL);
	if (error || !parse_duration(argv[0], &ms))
		return fail("watch", error);
	printf("watching\n");
	fflush(stdout);
	timer_init(&end, loop, on_end, loop);
	timer_start(&end, ms);
	loop_run(loop);
	link_close(link);
	loop_free(loop);
	return 0;
}

/* ---- stun ----------------------------------------------------------------------------------- */

struct asking {
	struct loop *loop;
	struct rawport *raw;
	struct loop_timer end;
	uint8_t txid[STUN_TXID_LEN];
	bool answered;
};

static void on_answer(void *arg, const struct rawport_packet *packet)
{
	struct asking *asking = arg;
	struct stun_message message;
	char mapped[ENDPOINT_TEXT], from[ENDPOINT_TEXT], to[ADDR_TEXT];

	if (stun_parse(&message, packet->data, packet->len) || message.type != STUN_SUCCESS ||
	    memcmp(message.txid, asking->txid, STUN_TXID_LEN) != 0)
		return;
	endpoint_format(mapped, &message.mapped);
	endpoint_format(from, &packet->from);
	addr_format(to, &packet->to);
	printf("mapped %s from %s to %s\n", mapped, from, to);
	asking->answered = true;
	loop_stop(asking->loop);
}

static int open_port(struct asking *asking, const char *interface, rawport_fn *fn)
{
	struct wg_device device;
	struct wg *wg;
	int error = wg_open(&wg, interface);

	if (error)
		return error;
	error = wg_get(wg, &device);
	wg_close(wg);
	if (error)
		return error;
	asking->loop = loop_new();
	error = rawport_open(&asking->raw, asking->loop, device.listen_port, device.fwmark, fn,
			     asking);
	wg_device_fini(&device);
	return error;
}

static int cmd_stun(char **argv)
{
	struct asking asking = {0};
	struct endpoint server;
	struct addr from, used;
	struct stun_writer w;
	uint8_t request[STUN_MAX_LEN];
	char text[ADDR_TEXT];
	int error = open_port(&asking, argv[0], on_answer);

	if (error || !endpoint_parse(&server, argv[1]))
		return fail(argv[0], error ? error : -EINVAL);
	random_bytes(asking.txid, sizeof(asking.txid));
	stun_begin(&w, request, sizeof(request), STUN_REQUEST, asking.txid);
	stun_put_bytes(&w, STUN_SOFTWARE, "odd", 3);
	error = rawport_send(asking.raw, argv[2] && addr_parse(&from, argv[2]) ? &from : NULL, &server,
			     request, stun_finish(&w), &used);
	if (error)
		return fail("send", error);
	addr_format(text, &used);
	printf("sent from %s port %u\n", text, rawport_port(asking.raw));
	timer_init(&asking.end, asking.loop, on_end, asking.loop);
	timer_start(&asking.end, 2000);
	loop_run(asking.loop);
	timer_stop(&asking.end);
	rawport_close(asking.raw);
	loop_free(asking.loop);
	return asking.answered ? 0 : 1;
}

static size_t make_answer(uint8_t *out, size_t size, const uint8_t *data, size_t len,
			  const struct endpoint *from)
{
	struct stun_message message;
	struct stun_writer w;

	if (stun_parse(&message, data, len) || message.type != STUN_REQUEST)
		return 0;
	stun_begin(&w, out, size, STUN_SUCCESS, message.txid);
	stun_put_mapped(&w, from);
	return stun_finish(&w);
}

static void on_request(void *arg, const struct rawport_packet *packet)
{
	struct asking *asking = arg;
	uint8_t answer[STUN_MAX_LEN];
	size_t len = make_answer(answer, sizeof(answer), packet->data, packet->len, &packet->from);

	if (len)
		rawport_send(asking->raw, &packet->to, &packet->from, answer, len, NULL);
}

static int cmd_echo(char **argv)
{
	struct asking asking = {0};
	uint64_t ms = 0;
	int error = open_port(&asking, argv[0], on_request);

	if (error || !parse_duration(argv[1], &ms))
		return fail(argv[0], error ? error : -EINVAL);
	timer_init(&asking.end, asking.loop, on_end, asking.loop);
	timer_start(&asking.end, ms);
	loop_run(asking.loop);
	rawport_close(asking.raw);
	loop_free(asking.loop);
	return 0;
}

static int cmd_answer(char **argv)
{
	struct endpoint at = {0}, from;
	uint8_t data[STUN_MAX_LEN], answer[STUN_MAX_LEN];
	struct sockaddr_storage sa;
	uint64_t ms = 0, end;
	int fd;

	if (!parse_u16(argv[0], &at.port) || !parse_duration(argv[1], &ms))
		return fail("usage", -EINVAL);
	fd = sock_udp(&at);
	if (fd < 0)
		return fail("socket", fd);
	for (end = clock_ms() + ms; clock_ms() < end;) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		socklen_t sa_len = sizeof(sa);
		ssize_t len = poll(&poll_fd, 1, 100) > 0 ?
				      recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&sa, &sa_len) :
				      -1;
		size_t answer_len = len > 0 && endpoint_from_sockaddr(&from, (struct sockaddr *)&sa) ?
					    make_answer(answer, sizeof(answer), data, (size_t)len, &from) :
					    0;

		if (answer_len)
			sendto(fd, answer, answer_len, 0, (struct sockaddr *)&sa, sa_len);
	}
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **argv);
	} commands[] = {
		{"device", 1, cmd_device}, {"many", 2, cmd_many},     {"stun", 2, cmd_stun},
		{"echo", 2, cmd_echo},     {"answer", 2, cmd_answer}, {"make", 2, cmd_make},
		{"undo", 2, cmd_undo},     {"watch", 1, cmd_watch},
	};

	secret_init();
	for (size_t i = 0; i < ARRAY_SIZE(commands) && argc > 1; i++)
		if (strcmp(argv[1], commands[i].name) == 0 && argc >= 2 + commands[i].args)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: device_test device|many|make|undo|watch|stun|answer|echo ...\n");
	return 2;
}
