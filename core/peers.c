/*
 * Connecting. Each peer has one timer, set to whatever of its plans is due first; waking, it judges
 * the probes whose time is over, sends those that are due and decides. A round is a quick burst to
 * every candidate and then patience; what comes in (a signal, a verified request) is answered with a
 * probe at once, because it tells that the other side's NAT is open now.
 *
 * The tricky thing is the budget of five unanswered probes a minute: a round plans four of them, so
 * that one is left for the moment when something comes in.
 */
#include "peers.h"

#include "lib/clock.h"
#include "lib/map.h"
#include <string.h>
#include <time.h>

#define ROUND_MS      5000
#define REACTION_MS   20   /* between two probes that something from outside has caused */
#define BUSY_MS       10000
#define CHECK_BUSY_MS 3000
#define CHECK_IDLE_MS 25000
#define CHECK_AGAIN_MS 200
#define MEASURE_BUSY_MS 60000
#define MEASURE_IDLE_MS 300000
#define INITIATE_MS   400  /* the other end should have shaken hands by then */
#define SIGNAL_GAP_MS 3000
#define PING_MS       5000
#define QUICK_ROUNDS  3    /* after so many failures new endpoints wait for the next planned round */
#define GRID_MS       50   /* plans further away than a second are rounded up to this: fewer wakes */

static const uint64_t burst_ms[] = {0, 100, 300, 1500}; /* of one candidate, from a round's start */
static const uint64_t pause_ms[] = {3000, 35000, 60000}; /* after that many failed rounds */

struct peers_ping {
	struct list node; /* in peer.waiting */
	peers_ping_fn *fn;
	void *arg;
	uint64_t deadline_ms;
};

struct peers {
	struct loop *loop;
	const struct key *private_key;
	struct key public_key;
	struct peers_ops ops;
	void *arg;
	struct probes *probes;
	struct map *by_key;
};

static uint64_t now_us(void)
{
	struct timespec ts;

	if (clock_is_fake())
		return clock_ms() * 1000;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- plans ---- */

static void sooner(uint64_t *due, uint64_t plan)
{
	if (plan && plan < *due)
		*due = plan;
}

static void schedule(struct peer *peer)
{
	uint64_t now = clock_ms(), due = UINT64_MAX;

	sooner(&due, peer->round_end_ms);
	sooner(&due, peer->next_round_ms);
	sooner(&due, peer->check_ms);
	sooner(&due, peer->measure_ms);
	sooner(&due, peer->initiate_ms);
	for (unsigned i = 0; i < peer->count; i++) {
		const struct candidate *c = &peer->candidates[i];

		sooner(&due, c->due_ms);
		if (c->asked_ms)
			sooner(&due, c->asked_ms + candidate_timeout_ms(c));
	}
	if (!list_empty(&peer->waiting))
		sooner(&due, container_of(peer->waiting.next, struct peers_ping, node)->deadline_ms);
	if (due == UINT64_MAX) {
		timer_stop(&peer->timer);
		return;
	}
	if (due > now + 1000)
		due = (due + GRID_MS - 1) / GRID_MS * GRID_MS;
	timer_start(&peer->timer, due > now ? due - now : 0);
}

static struct candidate *current(struct peer *peer)
{
	return peer->endpoint.addr.family ? peer_candidate(peer, &peer->endpoint) : NULL;
}

static bool busy(const struct peer *peer, uint64_t now)
{
	return peer->busy_ms && now - peer->busy_ms < BUSY_MS;
}

static void note(struct peer *peer, const char *what, const struct endpoint *at, const char *reason)
{
	peer->peers->ops.note(peer->peers->arg, peer, what, at, reason);
}

/* ---- probes ---- */

static bool ask(struct peer *peer, struct candidate *c)
{
	struct peers *peers = peer->peers;
	uint64_t now = clock_ms();
	uint8_t packet[PROBE_MAX_LEN];
	size_t len;
	int error;

	if (!peer->has_secret || !candidate_may_send(c, now))
		return false;
	len = probes_ask(peers->probes, &peer->partner, &c->at, now_us(), packet);
	candidate_sent(c, now);
	error = peers->ops.send(peers->arg, NULL, &c->at, packet, len);
	note(peer, error ? "probe-failed" : "probe-sent", &c->at, error ? strerror(-error) : "");
	return true;
}

/* Something from outside says that this is a good moment. */
static void react(struct peer *peer, struct candidate *c)
{
	uint64_t now = clock_ms();

	if (c->seen.answered_ms && now - c->seen.answered_ms < PATH_FRESH_MS && !c->seen.unanswered)
		return;
	if (!c->last_sent_ms || now - c->last_sent_ms >= REACTION_MS)
		ask(peer, c);
}

static void plan_burst(struct candidate *c, uint64_t start)
{
	c->step = 0;
	c->due_ms = start + burst_ms[0];
}

static void next_step(struct candidate *c, uint64_t now)
{
	c->step++;
	c->due_ms = c->step < ARRAY_SIZE(burst_ms)
			    ? now + burst_ms[c->step] - burst_ms[c->step - 1]
			    : 0;
}

static void send_signal(struct peer *peer, bool answer)
{
	peer->signal_sent_ms = clock_ms();
	note(peer, answer ? "signal-answered" : "signal-sent", NULL, "our candidates");
	peer->peers->ops.signal(peer->peers->arg, peer, answer);
}

static void start_round(struct peer *peer)
{
	uint64_t now = clock_ms(), start = now;

	/* Where a router was opened from the wrong side first, the other order helps: after failures
	 * the two ends take turns at going first. */
	if (peer->rounds > 1 && (peer->rounds & 1) == peer->controller)
		start += 300;
	peer->next_round_ms = 0;
	peer->round_end_ms = now + ROUND_MS;
	for (unsigned i = 0; i < peer->count; i++)
		plan_burst(&peer->candidates[i], start);
	send_signal(peer, false);
}

static void end_round(struct peer *peer)
{
	unsigned pause = MIN(peer->rounds, ARRAY_SIZE(pause_ms) - 1);

	peer->round_end_ms = 0;
	peer->rounds++;
	peer->next_round_ms = clock_ms() + pause_ms[pause];
	note(peer, "round-failed", NULL, "no candidate has answered");
	peer->peers->ops.stuck(peer->peers->arg, peer);
}

void peers_connect(struct peer *peer)
{
	if (peer->path == PATH_DIRECT || peer->round_end_ms)
		return;
	start_round(peer);
	schedule(peer);
}

/* ---- decisions ---- */

static void finish_pings(struct peer *peer, double rtt_ms, bool all)
{
	uint64_t now = clock_ms();

	while (!list_empty(&peer->waiting)) {
		struct peers_ping *ping = container_of(peer->waiting.next, struct peers_ping, node);

		if (!all && ping->deadline_ms > now)
			break;
		list_del(&ping->node);
		ping->fn(ping->arg, peer, rtt_ms);
		free(ping);
	}
}

static void take(struct peer *peer, const struct candidate *c, const char *reason)
{
	uint64_t now = clock_ms();

	peer->set_endpoint = peer->endpoint = c->at;
	peer->changed_ms = now;
	note(peer, "endpoint-set", &c->at, reason);
	peer->peers->ops.set_endpoint(peer->peers->arg, peer, &c->at);
	if (peer->controller)
		peer->peers->ops.initiate(peer->peers->arg, peer);
	else
		peer->initiate_ms = now + INITIATE_MS;
}

static void stop_round(struct peer *peer)
{
	peer->rounds = 0;
	peer->round_end_ms = peer->next_round_ms = 0;
	for (unsigned i = 0; i < peer->count && !peer->controller; i++)
		peer->candidates[i].due_ms = 0;
}

static void entered(struct peer *peer, enum path_kind old, const char *reason)
{
	uint64_t now = clock_ms();

	note(peer, peer->path == PATH_DIRECT ? "path-direct" : "path-lost", &peer->endpoint, reason);
	if (peer->path == PATH_DIRECT) {
		stop_round(peer);
		peer->check_ms = now + CHECK_BUSY_MS;
		peer->measure_ms = now + MEASURE_BUSY_MS;
	} else {
		peer->check_ms = peer->measure_ms = 0;
		peer->rounds = 0;
		if (peer->online)
			start_round(peer);
		peer->peers->ops.stuck(peer->peers->arg, peer);
	}
	peer->peers->ops.path_changed(peer->peers->arg, peer, old, reason);
}

static void decide(struct peer *peer)
{
	struct path_candidate seen[PEER_CANDIDATES];
	struct path_decision decision;
	struct path_view view;
	enum path_kind old = peer->path;

	peer_view(peer, clock_ms(), &view, seen);
	decision = path_decide(&view);
	if (peer->passive)
		decision.path = path_working(&view) ? PATH_DIRECT : PATH_NONE;
	else if (decision.use >= 0)
		take(peer, &peer->candidates[decision.use], decision.reason);
	peer->path = decision.path;
	if (old != peer->path)
		entered(peer, old, decision.reason);
}

/* ---- the timer ---- */

static void judge(struct peer *peer, uint64_t now)
{
	for (unsigned i = 0; i < peer->count; i++) {
		struct candidate *c = &peer->candidates[i];

		if (!candidate_expire(c, now))
			continue;
		note(peer, "probe-unanswered", &c->at, candidate_kind_name(c->kind));
		if (peer->path == PATH_DIRECT && endpoint_equal(&c->at, &peer->endpoint))
			peer->check_ms = now + CHECK_AGAIN_MS;
	}
}

static void send_due(struct peer *peer, uint64_t now)
{
	for (unsigned i = 0; i < peer->count; i++) {
		struct candidate *c = &peer->candidates[i];

		if (!c->due_ms || c->due_ms > now)
			continue;
		next_step(c, now);
		if (c->asked_ms || !c->seen.answered_ms || now - c->seen.answered_ms > PATH_FRESH_MS)
			ask(peer, c);
	}
}

/* The path in use, and from time to time the others: the quickest may have become another. */
static void keep_measuring(struct peer *peer, uint64_t now)
{
	struct candidate *c = current(peer);

	if (peer->check_ms && peer->check_ms <= now) {
		peer->check_ms = now + (busy(peer, now) ? CHECK_BUSY_MS : CHECK_IDLE_MS);
		if (c)
			ask(peer, c);
	}
	if (!peer->measure_ms || peer->measure_ms > now)
		return;
	peer->measure_ms = now + (busy(peer, now) ? MEASURE_BUSY_MS : MEASURE_IDLE_MS);
	for (unsigned i = 0; i < peer->count && peer->controller; i++) {
		if (&peer->candidates[i] != c)
			ask(peer, &peer->candidates[i]);
	}
}

static void run_rounds(struct peer *peer, uint64_t now)
{
	if (peer->round_end_ms && peer->round_end_ms <= now)
		end_round(peer);
	if (peer->next_round_ms && peer->next_round_ms <= now) {
		peer->next_round_ms = 0;
		if (peer->online && peer->path != PATH_DIRECT)
			start_round(peer);
	}
}

static void wake(void *arg)
{
	struct peer *peer = arg;
	uint64_t now = clock_ms();

	judge(peer, now);
	run_rounds(peer, now);
	send_due(peer, now);
	keep_measuring(peer, now);
	if (peer->initiate_ms && peer->initiate_ms <= now) {
		peer->initiate_ms = 0;
		if (peer->handshake_ms < peer->changed_ms)
			peer->peers->ops.initiate(peer->peers->arg, peer);
	}
	decide(peer);
	finish_pings(peer, -1, false);
	schedule(peer);
}

/* ---- news ---- */

static bool allowed(void *arg, const struct endpoint *at)
{
	struct peers *peers = arg;

	return peers->ops.allowed(peers->arg, at);
}

/* Candidates that nobody has probed yet are probed at once, also amid a round. */
static void probe_new(struct peer *peer)
{
	uint64_t now = clock_ms();

	for (unsigned i = 0; i < peer->count; i++) {
		struct candidate *c = &peer->candidates[i];

		if (!c->sent && !c->due_ms)
			plan_burst(c, now);
	}
}

void peers_offer(struct peer *peer, const struct proto_endpoints *at)
{
	if (!peer_offer(peer, at, allowed, peer->peers) || !peer->online)
		return;
	if (peer->path == PATH_DIRECT && !peer->controller)
		return;
	if (peer->path != PATH_DIRECT && !peer->round_end_ms && peer->rounds < QUICK_ROUNDS)
		start_round(peer);
	probe_new(peer);
	schedule(peer);
}

void peers_signalled(struct peer *peer, const struct signal_message *message)
{
	uint64_t now = clock_ms();

	note(peer, "signal-heard", NULL, message->answer ? "an answer to ours" : "its candidates");
	peer->online = true;
	peer_offer(peer, &message->at, allowed, peer->peers);
	if (peer->path != PATH_DIRECT) {
		if (!peer->round_end_ms)
			peer->round_end_ms = now + ROUND_MS;
		peer->next_round_ms = 0;
		for (unsigned i = 0; i < peer->count; i++)
			react(peer, &peer->candidates[i]);
		probe_new(peer);
	}
	if (!message->answer && (!peer->signal_sent_ms || now - peer->signal_sent_ms > SIGNAL_GAP_MS))
		send_signal(peer, true);
	schedule(peer);
}

void peers_online(struct peer *peer, bool online)
{
	if (peer->online == online)
		return;
	peer->online = online;
	note(peer, online ? "online" : "offline", NULL, "says the coordinator");
	if (online && peer->path != PATH_DIRECT) {
		peer->rounds = 0;
		peer->round_end_ms = 0;
		start_round(peer);
	} else if (online) {
		peer->check_ms = clock_ms(); /* it may have come back with another mapping */
	}
	schedule(peer);
}

static void adopt(struct peer *peer, const struct peer_report *report, uint64_t now)
{
	uint64_t wall = clock_wall_ms(), age = wall - report->handshake_wall_ms;

	if (!report->handshake_wall_ms || report->handshake_wall_ms > wall ||
	    age > PATH_HANDSHAKE_MS || age >= now)
		return;
	peer->handshake_ms = now - age;
	peer->rx_ms = now;
	peer->check_ms = now + 1;
}

static void observe_traffic(struct peer *peer, const struct peer_report *report, uint64_t now)
{
	struct candidate *c = current(peer);
	uint64_t sent = report->tx_bytes - peer->tx_bytes, got = report->rx_bytes - peer->rx_bytes;

	if (report->handshake_wall_ms > peer->handshake_wall_ms)
		peer->handshake_ms = now;
	if (got) {
		peer->rx_ms = now;
		if (c)
			c->seen.unanswered = 0, c->seen.silent_since_ms = 0; /* life enough */
	}
	if (got > 200 || sent > 200)
		peer->busy_ms = now;
	/* We send and nothing comes back: perhaps one-way traffic, perhaps a dead path. Ask. */
	if (sent > 100 && !got && c && !c->asked_ms && peer->path == PATH_DIRECT)
		peer->check_ms = MIN(peer->check_ms, now);
	else if (peer->busy_ms == now && peer->check_ms > now + CHECK_BUSY_MS)
		peer->check_ms = now + CHECK_BUSY_MS;
}

void peers_observe(struct peer *peer, const struct peer_report *report)
{
	uint64_t now = clock_ms();
	struct candidate *c;

	if (!endpoint_equal(&peer->endpoint, &report->endpoint)) {
		peer->endpoint = report->endpoint;
		note(peer, "endpoint-moved", &report->endpoint, "WireGuard reports another endpoint");
		c = report->endpoint.addr.family
			    ? peer_learn(peer, &report->endpoint, CANDIDATE_OBSERVED)
			    : NULL;
		if (c)
			react(peer, c);
	}
	if (!peer->observed)
		adopt(peer, report, now);
	else
		observe_traffic(peer, report, now);
	peer->observed = true;
	peer->handshake_wall_ms = report->handshake_wall_ms;
	peer->rx_bytes = report->rx_bytes;
	peer->tx_bytes = report->tx_bytes;
	peer->keepalive_on = report->keepalive_on;
	decide(peer);
	schedule(peer);
}

/* Spread over half a second, so that a thousand peers are not asked in one breath. */
void peers_network_changed(struct peers *peers)
{
	uint64_t now = clock_ms(), n = 0;
	struct peer *peer;

	for (size_t pos = 0; (peer = map_next(peers->by_key, &pos, NULL)); n++) {
		peer->rounds = 0;
		if (peer->path == PATH_DIRECT)
			peer->check_ms = now + 1 + n % 500;
		else if (peer->online && !peer->round_end_ms)
			peer->next_round_ms = now + 1 + n % 500;
		schedule(peer);
	}
}

/* Two routers that poison each other's mappings make endpoints change with each try: hence the
 * limit, without which they would be tried for ever without a pause. */
void peers_endpoints_changed(struct peers *peers)
{
	struct peer *peer;

	for (size_t pos = 0; (peer = map_next(peers->by_key, &pos, NULL));) {
		if (!peer->online || peer->path == PATH_DIRECT || peer->rounds >= QUICK_ROUNDS)
			continue;
		if (peer->round_end_ms)
			send_signal(peer, false);
		else
			start_round(peer);
		schedule(peer);
	}
}

/* ---- what comes in ---- */

static void was_asked(struct peers *peers, const struct probe_result *result, const struct addr *to)
{
	struct peer *peer = container_of(result->partner, struct peer, partner);
	struct candidate *c = peer_candidate(peer, &result->at);

	peers->ops.send(peers->arg, to, &result->at, result->reply, result->reply_len);
	if (!c && allowed(peers, &result->at)) {
		note(peer, "candidate-learnt", &result->at, "a verified probe came from there");
		c = peer_learn(peer, &result->at, CANDIDATE_REFLEXIVE);
	}
	if (!c)
		return;
	react(peer, c);
	schedule(peer);
}

static void was_answered(const struct probe_result *result)
{
	struct peer *peer = container_of(result->partner, struct peer, partner);
	struct candidate *c = peer_candidate(peer, &result->at);
	double rtt_ms = (double)result->rtt_us / 1000;
	char text[48];

	if (!c)
		return;
	snprintf(text, sizeof(text), "in %.1f ms", rtt_ms);
	note(peer, "probe-answered", &result->at, text);
	candidate_answered(c, clock_ms(), rtt_ms);
	c->due_ms = 0;
	decide(peer);
	if (peer->path == PATH_DIRECT && endpoint_equal(&c->at, &peer->endpoint))
		finish_pings(peer, rtt_ms, true);
	schedule(peer);
}

bool peers_input(struct peers *peers, const struct endpoint *from, const struct addr *to,
		 const uint8_t *data, size_t len)
{
	struct probe_result result;

	switch (probes_input(peers->probes, from, data, len, now_us(), &result)) {
	case PROBE_FOREIGN:
		return false;
	case PROBE_REFUSED:
		return true;
	case PROBE_ASKED:
		was_asked(peers, &result, to);
		return true;
	case PROBE_ANSWERED:
		was_answered(&result);
		return true;
	}
	return true;
}

/* ---- pings ---- */

struct peers_ping *peers_ping(struct peer *peer, peers_ping_fn *fn, void *arg)
{
	struct peers_ping *ping = xcalloc(1, sizeof(*ping));

	ping->fn = fn;
	ping->arg = arg;
	ping->deadline_ms = clock_ms() + PING_MS;
	list_add_tail(&peer->waiting, &ping->node);
	if (peer->path == PATH_DIRECT)
		peer->check_ms = clock_ms();
	else if (!peer->round_end_ms)
		start_round(peer);
	schedule(peer);
	return ping;
}

void peers_ping_cancel(struct peers_ping *ping)
{
	list_del(&ping->node);
	free(ping);
}

/* ---- the set ---- */

struct peers *peers_new(struct loop *loop, const struct key *private_key, const struct peers_ops *ops,
			void *arg)
{
	struct peers *peers = xcalloc(1, sizeof(*peers));

	peers->loop = loop;
	peers->private_key = private_key;
	key_public(&peers->public_key, private_key);
	peers->ops = *ops;
	peers->arg = arg;
	peers->probes = probes_new();
	peers->by_key = map_new(KEY_LEN);
	return peers;
}

struct peer *peers_find(const struct peers *peers, const struct key *public_key)
{
	return map_get(peers->by_key, public_key->bytes);
}

struct peer *peers_add(struct peers *peers, const struct key *public_key, void *owner)
{
	struct peer *peer = peers_find(peers, public_key);

	if (peer)
		return peer;
	peer = xcalloc(1, sizeof(*peer));
	peer->public_key = *public_key;
	peer->peers = peers;
	peer->owner = owner;
	peer->controller = memcmp(peers->public_key.bytes, public_key->bytes, KEY_LEN) > 0;
	peer->has_secret = probes_add(peers->probes, &peer->partner, peers->private_key, public_key,
				      now_us()) == 0;
	list_init(&peer->waiting);
	timer_init(&peer->timer, peers->loop, wake, peer);
	map_put(peers->by_key, public_key->bytes, peer);
	return peer;
}

void peers_remove(struct peers *peers, struct peer *peer)
{
	finish_pings(peer, -1, true);
	timer_stop(&peer->timer);
	probes_remove(peers->probes, &peer->partner);
	map_del(peers->by_key, peer->public_key.bytes);
	free(peer);
}

void peers_free(struct peers *peers)
{
	struct peer *peer;

	if (!peers)
		return;
	for (size_t pos = 0; (peer = map_next(peers->by_key, &pos, NULL));)
		peers_remove(peers, peer);
	map_free(peers->by_key);
	probes_free(peers->probes);
	free(peers);
}
