/*
 * Two agents' paths in one process, on a fake clock, behind simulated routers: packets are moved
 * one by one. What must become direct does; what cannot does not, and stays within the budget.
 */
#include "peers.h"

#include "lib/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LOOK_GAP_MS 3000 /* as the agent has it */

enum nat_kind { OPEN, FULL, PORT_RESTRICTED, SYMMETRIC };

struct mapping {
	struct endpoint inside, remote; /* remote: of a symmetric one */
	uint16_t port;
	struct endpoint spoken_to[64];
	unsigned spoken;
};

struct nat {
	enum nat_kind kind;
	struct addr outside;
	struct mapping maps[64];
	unsigned count;
	uint16_t next_port, shift; /* shift: between the port inside and the one outside */
};

struct node {
	struct key private_key, public_key;
	struct peers *peers;
	struct peer *other;
	struct node *far;
	struct nat *nat; /* NULL: none */
	struct endpoint local;
	struct proto_endpoints offer;
	struct endpoint wg;
	bool initiated;
	unsigned signals, lost, stuck;
	uint64_t rx, looked_ms;
	struct loop_timer wg_timer, stun, told;
};

struct packet { /* on its way; from NULL data: a signal */
	struct loop_timer timer;
	struct list node;
	struct node *to;
	struct endpoint from;
	size_t len;
	bool is_signal, answer;
	uint8_t data[PROBE_MAX_LEN];
};

static struct loop *loop;
static struct nat nat_a, nat_b, nat_c;
static struct node alice, bob;
static struct list flying;
static struct endpoint detour; /* leads WireGuard's packets to the other one, and nothing else */
static bool cut, mute_signals, idle, discovers;
static struct {
	struct endpoint to;
	uint64_t at_ms;
} log_sent[4096];
static unsigned sent_count;

static void arrive(void *arg)
{
	struct packet *p = arg;
	struct signal_message message = {.answer = p->answer, .at = p->to->far->offer};

	list_del(&p->node);
	if (p->is_signal)
		peers_signalled(p->to->other, &message);
	else
		peers_input(p->to->peers, &p->from, &p->to->local.addr, p->data, p->len);
	free(p);
}

static void fly(struct node *to, const struct endpoint *from, const void *data, size_t len,
		uint64_t ms, bool answer)
{
	struct packet *p = calloc(1, sizeof(*p));

	p->to = to;
	p->is_signal = !data;
	p->answer = answer;
	if (from)
		p->from = *from;
	if (data)
		memcpy(p->data, data, len);
	p->len = len;
	list_add_tail(&flying, &p->node);
	timer_init(&p->timer, loop, arrive, p);
	timer_start(&p->timer, ms);
}

static struct mapping *outward(struct nat *nat, const struct endpoint *inside,
			       const struct endpoint *remote)
{
	struct mapping *m = NULL;

	for (unsigned i = 0; i < nat->count && !m; i++) {
		if (endpoint_equal(&nat->maps[i].inside, inside) &&
		    (nat->kind != SYMMETRIC || endpoint_equal(&nat->maps[i].remote, remote)))
			m = &nat->maps[i];
	}
	if (!m) {
		m = &nat->maps[nat->count++];
		m->inside = *inside;
		m->remote = *remote;
		m->port = nat->kind == SYMMETRIC ? ++nat->next_port
						  : (uint16_t)(inside->port + nat->shift);
	}
	for (unsigned i = 0; i < MIN(m->spoken, 64u); i++) {
		if (endpoint_equal(&m->spoken_to[i], remote))
			return m;
	}
	m->spoken_to[m->spoken++ % 64] = *remote;
	return m;
}

static bool inward(const struct nat *nat, const struct endpoint *to, const struct endpoint *from)
{
	for (unsigned i = 0; i < nat->count; i++) {
		const struct mapping *m = &nat->maps[i];

		if (m->port != to->port)
			continue;
		if (nat->kind == FULL)
			return true;
		for (unsigned j = 0; j < MIN(m->spoken, 64u); j++) {
			if (endpoint_equal(&m->spoken_to[j], from))
				return true;
		}
	}
	return false;
}

/* The way of a packet through both routers: how long it takes and whence it seems to come; 0: it
 * does not arrive. */
static uint64_t way(struct node *node, const struct endpoint *to, struct endpoint *from)
{
	struct node *far = node->far;

	*from = node->local;
	if (cut)
		return 0;
	if (endpoint_equal(to, &far->local) && node->nat == far->nat)
		return 1;
	if (addr_is_private(&to->addr))
		return 0;
	if (node->nat) {
		from->port = outward(node->nat, &node->local, to)->port;
		from->addr = node->nat->outside;
	}
	if (!far->nat)
		return endpoint_equal(to, &far->local) ? 12 : 0;
	return addr_equal(&to->addr, &far->nat->outside) && inward(far->nat, to, from) ? 12 : 0;
}

static int send_packet(void *arg, const struct addr *own, const struct endpoint *to,
		       const void *data, size_t len)
{
	struct node *node = arg;
	struct endpoint from;
	uint64_t ms;

	(void)own;
	log_sent[sent_count % 4096].to = *to;
	log_sent[sent_count++ % 4096].at_ms = clock_ms();
	ms = way(node, to, &from);
	if (ms)
		fly(node->far, &from, data, len, ms, false);
	return 0;
}

static bool session(void)
{
	return alice.wg.addr.family && bob.wg.addr.family && (alice.initiated || bob.initiated);
}

/* A packet of WireGuard's, which moves the other end's endpoint to where it came from. */
static void tunnel_packet(struct node *node)
{
	struct endpoint from;

	if (session() && !cut && detour.port && endpoint_equal(&node->wg, &detour)) {
		node->far->rx += 1500;
		return;
	}
	if (!session() || !way(node, &node->wg, &from))
		return;
	node->far->rx += 1500;
	node->far->wg = from;
}

static void set_endpoint(void *arg, struct peer *peer, const struct endpoint *to)
{
	(void)peer;
	((struct node *)arg)->wg = *to;
}

/* A handshake needs an endpoint at this end only: the other learns it from there. */
static void initiate(void *arg, struct peer *peer)
{
	struct node *node = arg;
	struct endpoint from;

	(void)peer;
	node->initiated = true;
	if (node->wg.addr.family && !node->far->wg.addr.family && way(node, &node->wg, &from))
		node->far->wg = from;
	tunnel_packet(node);
}

static void send_signal(void *arg, struct peer *peer, bool answer)
{
	struct node *node = arg;

	(void)peer;
	node->signals++;
	if (!mute_signals)
		fly(node->far, NULL, NULL, 0, 30, answer);
}

static void path_changed(void *arg, struct peer *peer, enum path_kind old, const char *reason)
{
	(void)old;
	(void)reason;
	((struct node *)arg)->lost += peer->path == PATH_NONE;
}

/* The coordinator has passed a node's endpoints on. */
static void told(void *arg)
{
	struct node *node = arg;

	peers_offer(node->far->other, &node->offer);
}

/* A STUN server has answered: where the node is seen, if it is behind a router. */
static void stun_answered(void *arg)
{
	struct node *node = arg;
	struct endpoint server, seen = node->local;

	node->looked_ms = clock_ms();
	if (!node->nat)
		return;
	endpoint_parse(&server, "203.0.113.1:3478");
	seen.port = outward(node->nat, &node->local, &server)->port;
	seen.addr = node->nat->outside;
	if (endpoint_equal(&seen, &node->offer.endpoint))
		return;
	node->offer.endpoint = node->offer.endpoints[0] = seen;
	timer_start(&node->told, 60);
	peers_endpoints_changed(node->peers);
}

static void stuck(void *arg, struct peer *peer)
{
	struct node *node = arg;

	(void)peer;
	node->stuck++;
	if (discovers && !timer_active(&node->stun))
		timer_start(&node->stun, 200 + (clock_ms() < node->looked_ms + LOOK_GAP_MS
							? node->looked_ms + LOOK_GAP_MS - clock_ms()
							: 0));
}

static bool allowed(void *arg, const struct endpoint *at)
{
	(void)arg;
	return !addr_is_loopback(&at->addr);
}

static void take_note(void *arg, struct peer *peer, const char *what, const struct endpoint *at,
		      const char *reason)
{
	char text[ENDPOINT_TEXT] = "";

	(void)peer;
	if (!getenv("SIM_VERBOSE"))
		return;
	if (at && at->addr.family)
		endpoint_format(text, at);
	printf("%6llu %s %-18s %s %s\n", (unsigned long long)clock_ms() % 1000000,
	       arg == &alice ? "alice" : "  bob", what, text, reason);
}

static const struct peers_ops ops = {send_packet,  set_endpoint, initiate, send_signal,
				     path_changed, stuck,        allowed,  take_note};

/* WireGuard sends a packet a second, or with `idle` none but those it is asked for. */
static void wireguard(void *arg)
{
	struct node *node = arg;
	struct peer_report report = {.keepalive_on = true};

	if (!idle)
		tunnel_packet(node);
	report.endpoint = node->wg;
	report.handshake_wall_ms = session() ? 1000 : 0;
	report.rx_bytes = node->rx;
	report.tx_bytes = idle ? 0 : clock_ms();
	peers_observe(node->other, &report);
	timer_start(&node->wg_timer, 1000);
}

static void place(struct node *node, struct node *far, struct nat *nat, const char *local,
		  const char *public)
{
	memset(node, 0, sizeof(*node));
	node->far = far;
	node->nat = nat;
	endpoint_parse(&node->local, local);
	node->offer.local_endpoints[node->offer.local_count++] = node->local;
	if (public) {
		endpoint_parse(&node->offer.endpoint, public);
		node->offer.endpoints[node->offer.count++] = node->offer.endpoint;
	}
	key_generate_private(&node->private_key);
	key_public(&node->public_key, &node->private_key);
}

static void begin(struct node *node)
{
	node->peers = peers_new(loop, &node->private_key, &ops, node);
	node->other = peers_add(node->peers, &node->far->public_key, node);
	timer_init(&node->wg_timer, loop, wireguard, node);
	timer_start(&node->wg_timer, 1000);
	timer_init(&node->stun, loop, stun_answered, node);
	timer_init(&node->told, loop, told, node);
}

/* Alice has been there for a while; bob comes, and the coordinator tells them of each other. */
static void meet(enum nat_kind a, enum nat_kind b)
{
	memset(&nat_a, 0, sizeof(nat_a));
	memset(&nat_b, 0, sizeof(nat_b));
	nat_a.kind = a;
	nat_b.kind = b;
	nat_a.next_port = nat_b.next_port = 20000;
	addr_parse(&nat_a.outside, "203.0.113.10");
	addr_parse(&nat_b.outside, "203.0.113.20");
	cut = mute_signals = idle = discovers = false;
	memset(&detour, 0, sizeof(detour));
	sent_count = 0;
	list_init(&flying);
	clock_set_fake(5000000, 1000);
	loop = loop_new();
	place(&alice, &bob, a == OPEN ? NULL : &nat_a,
	      a == OPEN ? "203.0.113.10:51820" : "192.168.1.2:51820", "203.0.113.10:51820");
	place(&bob, &alice, b == OPEN ? NULL : &nat_b,
	      b == OPEN ? "203.0.113.20:41641" : "192.168.7.2:41641", "203.0.113.20:41641");
}

static void introduce(void)
{
	begin(&alice);
	begin(&bob);
	peers_offer(bob.other, &alice.offer);
	peers_online(bob.other, true);
	loop_run_fake(loop, 40);
	peers_offer(alice.other, &bob.offer);
	peers_online(alice.other, true);
}

static void part(void)
{
	timer_stop(&alice.wg_timer);
	timer_stop(&bob.wg_timer);
	timer_stop(&alice.stun);
	timer_stop(&alice.told);
	timer_stop(&bob.stun);
	timer_stop(&bob.told);
	peers_free(alice.peers);
	peers_free(bob.peers);
	while (!list_empty(&flying)) {
		struct packet *p = container_of(flying.next, struct packet, node);

		timer_stop(&p->timer);
		list_del(&p->node);
		free(p);
	}
	loop_free(loop);
	clock_set_fake(0, 0);
}

static bool both_direct(void)
{
	return alice.other->path == PATH_DIRECT && bob.other->path == PATH_DIRECT;
}

/* No endpoint got more than five probes in any minute. Answers are in the log too, so this is for
 * peers that never hear each other. */
static void assert_within_budget(void)
{
	for (unsigned i = 0; i < sent_count && i < 4096; i++) {
		unsigned same = 0;

		for (unsigned j = i; j < sent_count && j < 4096; j++)
			same += endpoint_equal(&log_sent[i].to, &log_sent[j].to) &&
				log_sent[j].at_ms < log_sent[i].at_ms + 60000;
		assert_in_range(same, 1, 5);
	}
}

static void test_pairs(void **state)
{
	static const struct {
		enum nat_kind a, b;
	} pairs[] = {
		{OPEN, OPEN},      {OPEN, PORT_RESTRICTED}, {PORT_RESTRICTED, OPEN},
		{FULL, FULL},      {FULL, PORT_RESTRICTED}, {PORT_RESTRICTED, PORT_RESTRICTED},
		{FULL, SYMMETRIC}, {SYMMETRIC, FULL},       {SYMMETRIC, OPEN},
		{OPEN, SYMMETRIC},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		meet(pairs[i].a, pairs[i].b);
		introduce();
		loop_run_fake(loop, 1000);
		if (!both_direct())
			fail_msg("pair %u is not direct after a second", i);
		assert_true(alice.initiated || bob.initiated);
		loop_run_fake(loop, 120000);
		assert_true(both_direct());
		assert_int_equal(alice.lost + bob.lost, 0);
		part();
	}
}

static void test_no_way(void **state)
{
	static const enum nat_kind pairs[][2] = {
		{SYMMETRIC, SYMMETRIC}, {SYMMETRIC, PORT_RESTRICTED}, {PORT_RESTRICTED, SYMMETRIC}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
		meet(pairs[i][0], pairs[i][1]);
		introduce();
		loop_run_fake(loop, 600000);
		assert_int_equal(alice.other->path, PATH_NONE);
		assert_int_equal(bob.other->path, PATH_NONE);
		assert_true(alice.stuck > 2); /* discovery was asked to look again */
		assert_true(alice.signals < 60);
		assert_within_budget();
		part();
	}
}

static void test_one_lan(void **state)
{
	(void)state;
	meet(PORT_RESTRICTED, PORT_RESTRICTED);
	bob.nat = alice.nat;
	endpoint_parse(&bob.local, "192.168.1.3:41641");
	bob.offer.local_endpoints[0] = bob.local;
	introduce();
	loop_run_fake(loop, 300);
	assert_true(both_direct());
	assert_true(endpoint_equal(&alice.wg, &bob.local));
	assert_true(endpoint_equal(&bob.wg, &alice.local));
	part();
}

/* Bob is a telephone without an agent: nothing but WireGuard is sent there, whatever comes about. */
static void test_device(void **state)
{
	(void)state;
	meet(OPEN, PORT_RESTRICTED);
	begin(&alice);
	alice.other->device = true;
	peers_offer(alice.other, &bob.offer);
	peers_online(alice.other, true);
	loop_run_fake(loop, 1000);
	assert_int_equal(alice.other->path, PATH_NONE);
	for (unsigned i = 0; i < 60; i++) {
		struct peer_report report = {
			.endpoint = bob.offer.endpoint,
			.handshake_wall_ms = i < 20 ? 1000 + i : 1019,
			.rx_bytes = 100 * i,
			.tx_bytes = 900 * i,
		};

		peers_observe(alice.other, &report);
		assert_int_equal(alice.other->path, PATH_DIRECT);
		peers_network_changed(alice.peers);
		peers_endpoints_changed(alice.peers);
		peers_connect(alice.other);
		timer_stop(&alice.wg_timer);
		loop_run_fake(loop, 2000);
	}
	for (unsigned i = 0; i < PATH_HANDSHAKE_MS / 1000; i++) {
		struct peer_report report = {.endpoint = bob.offer.endpoint, .handshake_wall_ms = 1019};

		peers_observe(alice.other, &report);
		loop_run_fake(loop, 1000);
	}
	assert_int_equal(alice.other->path, PATH_NONE);
	assert_int_equal(sent_count, 0);
	assert_int_equal(alice.signals + alice.stuck, 0);
	peers_free(alice.peers);
	loop_free(loop);
}

/* Handshakes that cross undo each other: one end begins, and the other has no endpoint until then. */
static void test_one_begins(void **state)
{
	(void)state;
	meet(PORT_RESTRICTED, PORT_RESTRICTED);
	introduce();
	loop_run_fake(loop, 300);
	assert_true(both_direct());
	assert_true(alice.initiated != bob.initiated);
	part();
}

/* Without signals the map alone must do, and the other way round. */
static void test_without_signals(void **state)
{
	(void)state;
	meet(PORT_RESTRICTED, PORT_RESTRICTED);
	mute_signals = true;
	introduce();
	loop_run_fake(loop, 2000);
	assert_true(both_direct());
	part();
}

/* Alice's host is carried to another house. */
static void move_alice(void)
{
	memset(&nat_c, 0, sizeof(nat_c));
	nat_c.kind = PORT_RESTRICTED;
	addr_parse(&nat_c.outside, "203.0.113.40");
	alice.nat = &nat_c;
	endpoint_parse(&alice.local, "192.168.3.7:51820");
	alice.offer.local_endpoints[0] = alice.local;
	endpoint_parse(&alice.offer.endpoint, "203.0.113.40:51820");
	alice.offer.endpoints[0] = alice.offer.endpoint;
}

/* Nobody sends a packet, and yet both ends find each other again. */
static void test_moved(void **state)
{
	struct endpoint outside;

	(void)state;
	for (unsigned i = 0; i < 8; i++) { /* keys decide who is the controller */
		meet(PORT_RESTRICTED, PORT_RESTRICTED);
		introduce();
		loop_run_fake(loop, 40000);
		assert_true(both_direct());
		idle = true;
		loop_run_fake(loop, 36000); /* checks are rare by now */
		move_alice();
		peers_network_changed(alice.peers);
		loop_run_fake(loop, 200); /* STUN */
		peers_endpoints_changed(alice.peers);
		loop_run_fake(loop, 60); /* the coordinator */
		peers_offer(bob.other, &alice.offer);
		loop_run_fake(loop, 1000);
		assert_true(both_direct());
		endpoint_parse(&outside, "203.0.113.40:51820");
		assert_true(endpoint_equal(&bob.wg, &outside));
		part();
	}
}

/* A router has changed its mapping and her host knows nothing of it: bob finds his packets
 * unanswered, and it is his signal that she acts upon. */
static void test_moved_unnoticed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		meet(PORT_RESTRICTED, PORT_RESTRICTED);
		introduce();
		loop_run_fake(loop, 40000);
		assert_true(both_direct());
		move_alice();
		loop_run_fake(loop, 12000);
		assert_true(both_direct());
		part();
	}
}

/* Within a minute alice's router forgets its mappings four times, now and then she takes another
 * port, and then she moves. Nothing of it may be held against the way that works at last. */
static void test_restless(void **state)
{
	static const unsigned gaps_ms[] = {14000, 7000, 3000, 1000};

	(void)state;
	for (unsigned i = 0; i < 8 * ARRAY_SIZE(gaps_ms); i++) {
		unsigned gap_ms = gaps_ms[i / 8];

		meet(PORT_RESTRICTED, PORT_RESTRICTED);
		discovers = true;
		introduce();
		loop_run_fake(loop, 40000);
		assert_true(both_direct());
		for (unsigned change = 1; change <= 4; change++) {
			memset(nat_a.maps, 0, sizeof(nat_a.maps));
			nat_a.count = 0;
			nat_a.shift += 100;
			if (change & i & 1) { /* wg set listen-port: she knows */
				alice.local.port += 7;
				alice.offer.local_endpoints[0] = alice.local;
				peers_network_changed(alice.peers);
				timer_start(&alice.stun, 200);
			}
			loop_run_fake(loop, gap_ms);
		}
		move_alice();
		peers_network_changed(alice.peers);
		timer_start(&alice.stun, 200);
		loop_run_fake(loop, 10000);
		if (!both_direct())
			fail_msg("after a change each %u ms (%u) there is no path", gap_ms, i);
		part();
	}
}

static void test_lost_and_back(void **state)
{
	(void)state;
	meet(PORT_RESTRICTED, PORT_RESTRICTED);
	introduce();
	loop_run_fake(loop, 20000);
	assert_true(both_direct());
	cut = true;
	loop_run_fake(loop, 6000);
	assert_int_equal(alice.other->path, PATH_NONE);
	assert_int_equal(bob.other->path, PATH_NONE);
	assert_int_equal(alice.lost, 1);
	cut = false;
	loop_run_fake(loop, 90000);
	assert_true(both_direct());
	part();
}

/* What somebody else has set and what works is left alone, though a LAN candidate answers. */
static void test_users_endpoint(void **state)
{
	struct endpoint users;

	(void)state;
	meet(OPEN, OPEN);
	endpoint_parse(&users, "198.51.100.77:9");
	alice.wg = bob.wg = detour = users;
	alice.initiated = true;
	begin(&alice);
	begin(&bob);
	loop_run_fake(loop, 3000);
	assert_true(both_direct()); /* a session that receives */
	peers_offer(bob.other, &alice.offer);
	peers_online(bob.other, true);
	peers_offer(alice.other, &bob.offer);
	peers_online(alice.other, true);
	loop_run_fake(loop, 30000);
	assert_true(endpoint_equal(&alice.wg, &users));
	assert_true(endpoint_equal(&bob.wg, &users));
	part();
}

static void test_seventeen_candidates(void **state)
{
	struct proto_endpoints many = {0};
	char text[ENDPOINT_TEXT];
	unsigned probed = 0;

	(void)state;
	meet(OPEN, OPEN);
	for (unsigned i = 0; i < PROTO_MAX_ENDPOINTS; i++) {
		snprintf(text, sizeof(text), "198.51.100.%u:9", i + 1);
		endpoint_parse(&many.endpoints[many.count++], text);
		snprintf(text, sizeof(text), "192.168.9.%u:9", i + 1);
		endpoint_parse(&many.local_endpoints[many.local_count++], text);
	}
	endpoint_parse(&many.endpoint, "127.0.0.1:9"); /* not allowed */
	mute_signals = true;
	begin(&alice);
	begin(&bob);
	peers_offer(alice.other, &many);
	peers_online(alice.other, true);
	loop_run_fake(loop, 300000);
	for (unsigned i = 0; i < sent_count; i++) {
		bool first = true;

		for (unsigned j = 0; j < i; j++)
			first &= !endpoint_equal(&log_sent[i].to, &log_sent[j].to);
		probed += first;
		assert_false(addr_is_loopback(&log_sent[i].to.addr));
	}
	assert_in_range(probed, 1, 16);
	assert_within_budget();
	part();
}

struct pong {
	unsigned count;
	double rtt_ms;
};

static void ponged(void *arg, struct peer *peer, double rtt_ms)
{
	struct pong *pong = arg;

	(void)peer;
	pong->count++;
	pong->rtt_ms = rtt_ms;
}

static void test_ping(void **state)
{
	struct pong direct = {0}, none = {0}, early = {0};

	(void)state;
	meet(PORT_RESTRICTED, PORT_RESTRICTED);
	introduce();
	peers_ping(alice.other, ponged, &early); /* before there is a path */
	loop_run_fake(loop, 1000);
	assert_int_equal(early.count, 1);
	assert_true(early.rtt_ms > 0);
	peers_ping(alice.other, ponged, &direct);
	loop_run_fake(loop, 100);
	assert_int_equal(direct.count, 1);
	assert_true(direct.rtt_ms == 24);
	cut = true;
	loop_run_fake(loop, 6000);
	peers_ping(alice.other, ponged, &none);
	peers_ping_cancel(peers_ping(alice.other, ponged, &direct));
	loop_run_fake(loop, 5100);
	assert_int_equal(none.count, 1);
	assert_true(none.rtt_ms < 0);
	assert_int_equal(direct.count, 1);
	part();
}

/* News without an end, and never an answer: that is what a peer could send. */
static void test_news_is_bounded(void **state)
{
	struct candidate c = {0};
	unsigned sent = 0;

	(void)state;
	for (uint64_t now = 1000; now < 1000 + 10 * PROBE_WINDOW_MS; now += 10) {
		candidate_news(&c, now);
		if (!candidate_may_send(&c, now))
			continue;
		candidate_sent(&c, now);
		sent++;
	}
	assert_in_range(sent, 10 * PROBE_BUDGET + 1, 10 * (1 + PROBE_NEWS) * PROBE_BUDGET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_no_way),
		cmocka_unit_test(test_one_lan),
		cmocka_unit_test(test_one_begins),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_without_signals),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_moved_unnoticed),
		cmocka_unit_test(test_restless),
		cmocka_unit_test(test_lost_and_back),
		cmocka_unit_test(test_users_endpoint),
		cmocka_unit_test(test_seventeen_candidates),
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_news_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
