/*
 * The candidates of one peer. They live in one small array that is searched by eye: 16 at most, as
 * SPEC 3 has it. The budget is a sliding window, not a bucket: five in any minute, never six, but
 * for news, which gives a new one and has such a window itself: a peer cannot make us flood.
 */
#include "peer.h"

#include <string.h>

#define RTT_KEEP      0.7 /* of the old value, when a new one comes in */
#define TIMEOUT_MS    1000
#define TIMEOUT_MIN   250
#define PUBLIC_PLACES 6 /* not taken by a host with very many local addresses */

const char *candidate_kind_name(enum candidate_kind kind)
{
	static const char *const names[] = {"local", "public", "peer-reflexive", "observed"};

	return names[kind];
}

struct candidate *peer_candidate(struct peer *peer, const struct endpoint *at)
{
	for (unsigned i = 0; i < peer->count; i++) {
		if (endpoint_equal(&peer->candidates[i].at, at))
			return &peer->candidates[i];
	}
	return NULL;
}

static void candidate_init(struct candidate *c, const struct endpoint *at)
{
	*c = (struct candidate){.at = *at};
	c->seen.rtt_ms = -1;
}

struct offer { /* the list in the making */
	struct candidate next[PEER_CANDIDATES];
	unsigned count;
	bool is_new;
};

static bool in_offer(const struct offer *offer, const struct endpoint *at)
{
	for (unsigned i = 0; i < offer->count; i++) {
		if (endpoint_equal(&offer->next[i].at, at))
			return true;
	}
	return false;
}

static void offer_one(struct peer *peer, struct offer *offer, const struct endpoint *at,
		      enum candidate_kind kind)
{
	const struct candidate *known = peer_candidate(peer, at);
	struct candidate *c;

	if (!at->addr.family || offer->count == PEER_OFFERED || in_offer(offer, at))
		return;
	c = &offer->next[offer->count++];
	if (known)
		*c = *known;
	else
		candidate_init(c, at);
	offer->is_new |= !known;
	c->kind = kind;
	c->seen.local = kind == CANDIDATE_LOCAL;
	c->offered = true;
}

bool peer_offer(struct peer *peer, const struct proto_endpoints *at, candidate_allowed_fn *allowed,
		void *arg)
{
	struct offer offer = {.count = 0};
	unsigned locals = PEER_OFFERED - MIN(at->count + 1, PUBLIC_PLACES);

	for (unsigned i = 0; i < at->local_count && offer.count < locals; i++) {
		if (allowed(arg, &at->local_endpoints[i]))
			offer_one(peer, &offer, &at->local_endpoints[i], CANDIDATE_LOCAL);
	}
	if (at->endpoint.addr.family && allowed(arg, &at->endpoint))
		offer_one(peer, &offer, &at->endpoint, CANDIDATE_PUBLIC);
	for (unsigned i = 0; i < at->count; i++) {
		if (allowed(arg, &at->endpoints[i]))
			offer_one(peer, &offer, &at->endpoints[i], CANDIDATE_PUBLIC);
	}
	for (unsigned i = 0; i < peer->count && offer.count < PEER_CANDIDATES; i++) {
		struct candidate *c = &peer->candidates[i];
		bool in_use = endpoint_equal(&c->at, &peer->endpoint);

		if (in_offer(&offer, &c->at) || (c->kind < CANDIDATE_REFLEXIVE && !in_use))
			continue;
		c->offered = false;
		if (c->kind < CANDIDATE_REFLEXIVE)
			c->kind = CANDIDATE_OBSERVED;
		offer.next[offer.count++] = *c;
	}
	memcpy(peer->candidates, offer.next, sizeof(peer->candidates));
	peer->count = offer.count;
	return offer.is_new;
}

/* A place for one that was learnt: a free one, else that of the one longest without an answer. */
static struct candidate *place(struct peer *peer)
{
	struct candidate *worst = NULL;

	if (peer->count < PEER_CANDIDATES)
		return &peer->candidates[peer->count++];
	for (unsigned i = 0; i < peer->count; i++) {
		struct candidate *c = &peer->candidates[i];

		if (c->offered || endpoint_equal(&c->at, &peer->endpoint))
			continue;
		if (!worst || c->seen.answered_ms < worst->seen.answered_ms)
			worst = c;
	}
	return worst;
}

struct candidate *peer_learn(struct peer *peer, const struct endpoint *at, enum candidate_kind kind)
{
	struct candidate *c = peer_candidate(peer, at);

	if (c)
		return c;
	c = place(peer);
	if (!c)
		return NULL;
	candidate_init(c, at);
	c->kind = kind;
	c->seen.local = addr_is_private(&at->addr) || addr_is_link_local(&at->addr);
	return c;
}

bool candidate_may_send(const struct candidate *c, uint64_t now_ms)
{
	uint64_t oldest = c->sent_ms[c->sent_next];

	return !oldest || now_ms - oldest >= PROBE_WINDOW_MS;
}

static bool has_burst(const struct candidate *c, uint64_t now_ms)
{
	unsigned spent = 0;

	for (unsigned i = 0; i < PROBE_BUDGET; i++)
		spent += c->sent_ms[i] && now_ms - c->sent_ms[i] < PROBE_WINDOW_MS;
	return PROBE_BUDGET - spent >= PROBE_BURST;
}

void candidate_news(struct candidate *c, uint64_t now_ms)
{
	uint64_t oldest = c->news_ms[c->news_next];

	if (has_burst(c, now_ms) || (oldest && now_ms - oldest < PROBE_WINDOW_MS))
		return;
	c->news_ms[c->news_next] = now_ms;
	c->news_next = (c->news_next + 1) % PROBE_NEWS;
	memset(c->sent_ms, 0, sizeof(c->sent_ms));
}

void candidate_forgive(struct candidate *c)
{
	memset(c->sent_ms, 0, sizeof(c->sent_ms));
	memset(c->news_ms, 0, sizeof(c->news_ms));
}

void candidate_sent(struct candidate *c, uint64_t now_ms)
{
	c->sent_ms[c->sent_next] = now_ms;
	c->sent_next = (c->sent_next + 1) % PROBE_BUDGET;
	c->last_sent_ms = now_ms;
	c->sent++;
	if (!c->asked_ms)
		c->asked_ms = now_ms;
}

void candidate_answered(struct candidate *c, uint64_t now_ms, double rtt_ms)
{
	candidate_forgive(c);
	c->asked_ms = 0;
	c->heard++;
	c->seen.unanswered = 0;
	c->seen.silent_since_ms = 0;
	c->seen.answered_ms = now_ms;
	c->seen.rtt_ms =
		c->seen.rtt_ms < 0 ? rtt_ms : RTT_KEEP * c->seen.rtt_ms + (1 - RTT_KEEP) * rtt_ms;
}

uint64_t candidate_timeout_ms(const struct candidate *c)
{
	double ms = c->seen.rtt_ms < 0 ? TIMEOUT_MS : 4 * c->seen.rtt_ms + 100;

	return (uint64_t)MIN(MAX(ms, TIMEOUT_MIN), TIMEOUT_MS);
}

bool candidate_expire(struct candidate *c, uint64_t now_ms)
{
	if (!c->asked_ms || now_ms - c->asked_ms < candidate_timeout_ms(c))
		return false;
	if (!c->seen.silent_since_ms)
		c->seen.silent_since_ms = c->asked_ms;
	c->seen.unanswered++;
	c->asked_ms = 0;
	return true;
}

void peer_view(const struct peer *peer, uint64_t now_ms, struct path_view *view,
	       struct path_candidate seen[static PEER_CANDIDATES])
{
	*view = (struct path_view){
		.now_ms = now_ms,
		.controller = peer->controller,
		.candidates = seen,
		.count = peer->count,
		.has_endpoint = peer->endpoint.addr.family != 0,
		.current = -1,
		.ours = endpoint_equal(&peer->endpoint, &peer->set_endpoint),
		.handshake_ms = peer->handshake_ms,
		.rx_ms = peer->rx_ms,
		.changed_ms = peer->changed_ms,
	};
	for (unsigned i = 0; i < peer->count; i++) {
		seen[i] = peer->candidates[i].seen;
		if (view->has_endpoint && endpoint_equal(&peer->candidates[i].at, &peer->endpoint))
			view->current = (int)i;
	}
	if (view->current >= 0 && seen[view->current].answered_ms)
		view->ours = true;
}

double peer_latency(const struct peer *peer)
{
	for (unsigned i = 0; i < peer->count && peer->path == PATH_DIRECT; i++) {
		if (endpoint_equal(&peer->candidates[i].at, &peer->endpoint))
			return peer->candidates[i].seen.rtt_ms;
	}
	return -1;
}
