/*
 * The set of peers, and what comes in for them: offers and signals, what WireGuard reports, probes
 * and answers, pings. Each piece of news changes the peer's plans and sets its timer anew.
 */
#include "peers_parts.h"

#include "lib/clock.h"
#include "lib/map.h"
#include <string.h>

#define SIGNAL_GAP_MS 3000
#define PING_MS       5000
#define SHOW_MS       500

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
			peers_plan_burst(c, now);
	}
}

/* For all of a peer: it, or we, are somewhere else now. */
static void all_news(struct peer *peer)
{
	for (unsigned i = 0; i < peer->count; i++)
		peers_news(peer, &peer->candidates[i]);
}

static bool current_is_offered(struct peer *peer)
{
	const struct candidate *c = peers_current(peer);

	return c && c->offered;
}

void peers_offer(struct peer *peer, const struct proto_endpoints *at)
{
	bool was_there = current_is_offered(peer), moved;

	if (!peer_offer(peer, at, allowed, peer->peers) || !peer->online)
		return;
	moved = was_there && !current_is_offered(peer);
	if (peer->path == PATH_DIRECT && !peer->controller && !moved)
		return;
	if (peer->path == PATH_DIRECT && moved)
		peer->check_ms = clock_ms();
	if (peer->path != PATH_DIRECT && !peer->round_end_ms && peer->rounds < QUICK_ROUNDS)
		peers_start_round(peer);
	probe_new(peer);
	peers_schedule(peer);
}

void peers_signalled(struct peer *peer, const struct signal_message *message)
{
	uint64_t now = clock_ms();

	peers_note(peer, "signal-heard", NULL,
		   message->answer ? "an answer to ours" : "its candidates");
	peer->online = true;
	if (peer_offer(peer, &message->at, allowed, peer->peers))
		all_news(peer);
	if (peer->path != PATH_DIRECT) {
		if (!peer->round_end_ms)
			peer->round_end_ms = now + ROUND_MS;
		peer->next_round_ms = 0;
		for (unsigned i = 0; i < peer->count; i++)
			peers_react(peer, &peer->candidates[i]);
		probe_new(peer);
	} else if (!message->answer) { /* who has a path sends none: it sends into the void */
		for (unsigned i = 0; i < peer->count; i++)
			peers_react(peer, &peer->candidates[i]);
		probe_new(peer);
		peer->check_ms = peer->show_ms = now;
	}
	if (!message->answer &&
	    (!peer->signal_sent_ms || now - peer->signal_sent_ms > SIGNAL_GAP_MS))
		peers_send_signal(peer, true);
	peers_schedule(peer);
}

void peers_online(struct peer *peer, bool online)
{
	if (peer->online == online)
		return;
	peer->online = online;
	peers_note(peer, online ? "online" : "offline", NULL, "says the coordinator");
	if (online && peer->path != PATH_DIRECT) {
		peer->rounds = 0;
		peer->round_end_ms = 0;
		peers_start_round(peer);
	} else if (online) {
		peer->check_ms = clock_ms(); /* it may have come back with another mapping */
	}
	peers_schedule(peer);
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
	struct candidate *c = peers_current(peer);
	uint64_t sent = report->tx_bytes - peer->tx_bytes, got = report->rx_bytes - peer->rx_bytes;

	if (report->handshake_wall_ms > peer->handshake_wall_ms)
		peer->handshake_ms = now;
	if (got) {
		peer->rx_ms = now;
		if (c) { /* life enough */
			c->seen.unanswered = 0, c->seen.silent_since_ms = 0;
			candidate_news(c, now);
		}
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

	if (report->endpoint.addr.family || peer->handshake_wall_ms)
		peer->held = false;
	if (!peer->held && !endpoint_equal(&peer->endpoint, &report->endpoint)) {
		peer->endpoint = report->endpoint;
		peers_note(peer, "endpoint-moved", &report->endpoint,
			   "WireGuard reports another endpoint");
		c = report->endpoint.addr.family
			    ? peer_learn(peer, &report->endpoint, CANDIDATE_OBSERVED)
			    : NULL;
		if (c) {
			peers_news(peer, c);
			peers_react(peer, c);
		}
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
	peers_decide(peer);
	peers_schedule(peer);
}

/* Spread over half a second, so that a thousand peers are not asked in one breath. */
void peers_network_changed(struct peers *peers)
{
	uint64_t now = clock_ms(), n = 0;
	struct peer *peer;

	for (size_t pos = 0; (peer = map_next(peers->by_key, &pos, NULL)); n++) {
		peer->rounds = 0;
		for (unsigned i = 0; i < peer->count; i++)
			candidate_forgive(&peer->candidates[i]);
		if (peer->path == PATH_DIRECT)
			peer->check_ms = peer->show_ms = now + 1 + n % 500;
		else if (peer->online && !peer->round_end_ms)
			peer->next_round_ms = now + 1 + n % 500;
		peers_schedule(peer);
	}
}

/* Two routers that poison each other's mappings make endpoints change with each try: hence the
 * limit, without which they would be tried for ever without a pause. */
void peers_endpoints_changed(struct peers *peers)
{
	uint64_t now = clock_ms(), n = 0;
	struct peer *peer;

	for (size_t pos = 0; (peer = map_next(peers->by_key, &pos, NULL)); n++) {
		if (peer->path == PATH_DIRECT) {
			/* The second when the coordinator has told them: their routers are open. */
			peer->show_ms = now + SHOW_MS + n % 500;
			peer->check_ms = now + 1 + n % 500;
			peers_schedule(peer);
			continue;
		}
		if (!peer->online || peer->rounds >= QUICK_ROUNDS)
			continue;
		all_news(peer);
		if (peer->round_end_ms)
			peers_send_signal(peer, false);
		else
			peers_start_round(peer);
		peers_schedule(peer);
	}
}

/* ---- what comes in ---- */

static void was_asked(struct peers *peers, const struct probe_result *result, const struct addr *to)
{
	struct peer *peer = container_of(result->partner, struct peer, partner);
	struct candidate *c = peer_candidate(peer, &result->at);

	peers->ops.send(peers->arg, to, &result->at, result->reply, result->reply_len);
	if (!c && allowed(peers, &result->at)) {
		peers_note(peer, "candidate-learnt", &result->at,
			   "a verified probe came from there");
		c = peer_learn(peer, &result->at, CANDIDATE_REFLEXIVE);
	}
	if (!c)
		return;
	peers_news(peer, c);
	peers_react(peer, c);
	peers_schedule(peer);
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
	peers_note(peer, "probe-answered", &result->at, text);
	candidate_answered(c, clock_ms(), rtt_ms);
	c->due_ms = 0;
	peers_decide(peer);
	if (peer->path == PATH_DIRECT && endpoint_equal(&c->at, &peer->endpoint))
		peers_finish_pings(peer, rtt_ms, true);
	peers_schedule(peer);
}

bool peers_input(struct peers *peers, const struct endpoint *from, const struct addr *to,
		 const uint8_t *data, size_t len)
{
	struct probe_result result;

	switch (probes_input(peers->probes, from, data, len, peers_now_us(), &result)) {
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
		peers_start_round(peer);
	peers_schedule(peer);
	return ping;
}

void peers_ping_cancel(struct peers_ping *ping)
{
	list_del(&ping->node);
	free(ping);
}

/* ---- the set ---- */

struct peers *peers_new(struct loop *loop, const struct key *private_key,
			const struct peers_ops *ops, void *arg)
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
				      peers_now_us()) == 0;
	list_init(&peer->waiting);
	timer_init(&peer->timer, peers->loop, peers_wake, peer);
	map_put(peers->by_key, public_key->bytes, peer);
	return peer;
}

void peers_remove(struct peers *peers, struct peer *peer)
{
	peers_finish_pings(peer, -1, true);
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
