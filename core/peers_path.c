/*
 * Connecting. Each peer has one timer, set to whatever of its plans is due first; waking, it judges
 * the probes whose time is over, sends those that are due and decides. A round is a quick burst to
 * every candidate and then patience; what comes in (a signal, a verified request) is answered with
 * a probe at once, because it tells that the other side's NAT is open now.
 *
 * Where one end has moved, its own path may well look good to it while the other end sends into the
 * void. So whoever moves, or hears that the other has no path, shows itself: one packet of
 * WireGuard's own makes the other end's endpoint follow.
 *
 * The tricky thing is the budget of five unanswered probes a minute: a round plans four of them, so
 * that one is left for the moment when something comes in. Who has just been elsewhere, or hears a
 * verified probe, must not be kept back by what was spent before: that is news (peer.h).
 */
#include "peers_parts.h"

#include "lib/clock.h"
#include <string.h>
#include <time.h>

#define REACTION_MS     20 /* between two probes that something from outside has caused */
#define BUSY_MS         10000
#define CHECK_IDLE_MS   25000
#define CHECK_AGAIN_MS  200
#define MEASURE_BUSY_MS 60000
#define MEASURE_IDLE_MS 300000
#define INITIATE_MS     400 /* the other end should have shaken hands by then */
#define GRID_MS         50 /* plans further away than a second are rounded up to this: fewer wakes */

static const uint64_t burst_ms[PROBE_BURST] = {0, 100, 300, 1500}; /* of one candidate, from a round's start */
static const uint64_t pause_ms[] = {3000, 35000, 60000}; /* after that many failed rounds */

uint64_t peers_now_us(void)
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

void peers_schedule(struct peer *peer)
{
	uint64_t now = clock_ms(), due = UINT64_MAX;

	sooner(&due, peer->round_end_ms);
	sooner(&due, peer->next_round_ms);
	sooner(&due, peer->check_ms);
	sooner(&due, peer->measure_ms);
	sooner(&due, peer->initiate_ms);
	sooner(&due, peer->show_ms);
	for (unsigned i = 0; i < peer->count; i++) {
		const struct candidate *c = &peer->candidates[i];

		sooner(&due, c->due_ms);
		if (c->asked_ms)
			sooner(&due, c->asked_ms + candidate_timeout_ms(c));
	}
	if (!list_empty(&peer->waiting))
		sooner(&due,
		       container_of(peer->waiting.next, struct peers_ping, node)->deadline_ms);
	if (due == UINT64_MAX) {
		timer_stop(&peer->timer);
		return;
	}
	if (due > now + 1000)
		due = (due + GRID_MS - 1) / GRID_MS * GRID_MS;
	timer_start(&peer->timer, due > now ? due - now : 0);
}

struct candidate *peers_current(struct peer *peer)
{
	return peer->endpoint.addr.family ? peer_candidate(peer, &peer->endpoint) : NULL;
}

static bool busy(const struct peer *peer, uint64_t now)
{
	return peer->busy_ms && now - peer->busy_ms < BUSY_MS;
}

void peers_note(struct peer *peer, const char *what, const struct endpoint *at, const char *reason)
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

	if (peer->device || !peer->has_secret || !candidate_may_send(c, now))
		return false;
	len = probes_ask(peers->probes, &peer->partner, &c->at, peers_now_us(), packet);
	candidate_sent(c, now);
	error = peers->ops.send(peers->arg, NULL, &c->at, packet, len);
	peers_note(peer, error ? "probe-failed" : "probe-sent", &c->at,
		   error ? strerror(-error) : "");
	return true;
}

/* Something from outside says that this is a good moment. */
void peers_react(struct peer *peer, struct candidate *c)
{
	uint64_t now = clock_ms();

	if (c->seen.answered_ms && now - c->seen.answered_ms < PATH_FRESH_MS && !c->seen.unanswered)
		return;
	if (!c->last_sent_ms || now - c->last_sent_ms >= REACTION_MS)
		ask(peer, c);
}

void peers_news(struct peer *peer, struct candidate *c)
{
	uint64_t now = clock_ms();

	if (peer->path == PATH_DIRECT && c != peers_current(peer))
		return;
	candidate_news(c, now);
	if (peer->path != PATH_DIRECT && !c->due_ms)
		peers_plan_burst(c, now);
}

void peers_plan_burst(struct candidate *c, uint64_t start)
{
	c->step = 0;
	c->due_ms = start + burst_ms[0];
}

static void next_step(struct candidate *c, uint64_t now)
{
	c->step++;
	c->due_ms = c->step < ARRAY_SIZE(burst_ms) ? now + burst_ms[c->step] - burst_ms[c->step - 1]
						   : 0;
}

void peers_send_signal(struct peer *peer, bool answer)
{
	peer->signal_sent_ms = clock_ms();
	peers_note(peer, answer ? "signal-answered" : "signal-sent", NULL, "our candidates");
	peer->peers->ops.signal(peer->peers->arg, peer, answer);
}

void peers_start_round(struct peer *peer)
{
	uint64_t now = clock_ms(), start = now;

	if (peer->device)
		return;
	/* Where a router was opened from the wrong side first, the other order helps: after
	 * failures the two ends take turns at going first. */
	if (peer->rounds > 1 && (peer->rounds & 1) == peer->controller)
		start += 300;
	peer->next_round_ms = 0;
	peer->round_end_ms = now + ROUND_MS;
	for (unsigned i = 0; i < peer->count; i++)
		peers_plan_burst(&peer->candidates[i], start);
	peers_send_signal(peer, false);
}

static void end_round(struct peer *peer)
{
	unsigned pause = MIN(peer->rounds, ARRAY_SIZE(pause_ms) - 1);

	peer->round_end_ms = 0;
	peer->rounds++;
	peer->next_round_ms = clock_ms() + pause_ms[pause];
	peers_note(peer, "round-failed", NULL, "no candidate has answered");
	peer->peers->ops.stuck(peer->peers->arg, peer);
}

void peers_connect(struct peer *peer)
{
	if (peer->path == PATH_DIRECT || peer->round_end_ms)
		return;
	peers_start_round(peer);
	peers_schedule(peer);
}

/* ---- decisions ---- */

void peers_finish_pings(struct peer *peer, double rtt_ms, bool all)
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

/* Two handshakes that cross undo each other, and WireGuard begins the next five seconds later. So
 * only the controller begins the first; the other end learns the endpoint from it, and with none its
 * own traffic cannot begin another. After INITIATE_MS of silence it goes ahead all the same. */
static bool hold(const struct peer *peer)
{
	return !peer->controller && !peer->handshake_wall_ms &&
	       (peer->held || !peer->endpoint.addr.family);
}

static void take(struct peer *peer, const struct candidate *c, const char *reason)
{
	uint64_t now = clock_ms();
	bool first = !peer->held;

	peer->held = hold(peer);
	peer->set_endpoint = peer->endpoint = c->at;
	peer->changed_ms = now;
	peers_note(peer, peer->held ? "endpoint-chosen" : "endpoint-set", &c->at, reason);
	if (peer->held) {
		if (first)
			peer->initiate_ms = now + INITIATE_MS;
		return;
	}
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

	peers_note(peer, peer->path == PATH_DIRECT ? "path-direct" : "path-lost", &peer->endpoint,
		   reason);
	if (peer->path == PATH_DIRECT) {
		stop_round(peer);
		peer->check_ms = now + CHECK_BUSY_MS;
		peer->measure_ms = now + MEASURE_BUSY_MS;
	} else {
		peer->check_ms = peer->measure_ms = 0;
		peer->rounds = 0;
		if (peer->online)
			peers_start_round(peer);
		if (!peer->device)
			peer->peers->ops.stuck(peer->peers->arg, peer);
	}
	peer->peers->ops.path_changed(peer->peers->arg, peer, old, reason);
}

void peers_decide(struct peer *peer)
{
	struct path_candidate seen[PEER_CANDIDATES];
	struct path_decision decision;
	struct path_view view;
	enum path_kind old = peer->path;

	peer_view(peer, clock_ms(), &view, seen);
	decision = path_decide(&view);
	if (peer->device)
		decision = path_of_device(&view);
	else if (peer->passive)
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
		peers_note(peer, "probe-unanswered", &c->at, candidate_kind_name(c->kind));
		if (peer->path != PATH_DIRECT || !endpoint_equal(&c->at, &peer->endpoint))
			continue;
		peer->check_ms = now + CHECK_AGAIN_MS;
		if (c->seen.silent_since_ms <= peer->rx_ms) /* bytes came after that probe went */
			c->seen.unanswered = 0, c->seen.silent_since_ms = 0;
	}
}

static void send_due(struct peer *peer, uint64_t now)
{
	for (unsigned i = 0; i < peer->count; i++) {
		struct candidate *c = &peer->candidates[i];

		if (!c->due_ms || c->due_ms > now)
			continue;
		next_step(c, now);
		if (c->asked_ms || !c->seen.answered_ms ||
		    now - c->seen.answered_ms > PATH_FRESH_MS)
			ask(peer, c);
	}
}

/* The path in use, and from time to time the others: the quickest may have become another. */
static void keep_measuring(struct peer *peer, uint64_t now)
{
	struct candidate *c = peers_current(peer);

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
			peers_start_round(peer);
	}
}

void peers_wake(void *arg)
{
	struct peer *peer = arg;
	uint64_t now = clock_ms();

	judge(peer, now);
	run_rounds(peer, now);
	send_due(peer, now);
	keep_measuring(peer, now);
	if (peer->initiate_ms && peer->initiate_ms <= now) {
		peer->initiate_ms = 0;
		if (peer->held) {
			peer->held = false;
			peer->peers->ops.set_endpoint(peer->peers->arg, peer, &peer->endpoint);
		}
		if (peer->handshake_ms < peer->changed_ms)
			peer->peers->ops.initiate(peer->peers->arg, peer);
	}
	if (peer->show_ms && peer->show_ms <= now) {
		peer->show_ms = 0;
		if (peer->path == PATH_DIRECT && !peer->passive)
			peer->peers->ops.initiate(peer->peers->arg, peer);
	}
	peers_decide(peer);
	peers_finish_pings(peer, -1, false);
	peers_schedule(peer);
}
