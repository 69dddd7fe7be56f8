/*
 * Which path. Everything here is a function of struct path_view, so that a table of cases is the
 * test. The tricky thing is flapping: WireGuard moves an endpoint to wherever the last good packet
 * came from, so two ends with different tastes would pull each other to and fro for ever. Hence one
 * end alone (the controller) improves a path that works; the other acts only when it has none.
 */
#include "path.h"

#define LAN_EXTRA_MS 1.0 /* a local address may be this much slower and is still preferred */
#define GAIN_FACTOR  0.8
#define GAIN_MIN_MS  2.0

const char *path_name(enum path_kind path)
{
	static const char *const names[] = {"none", "direct", "relay"};

	return names[path];
}

static bool within(uint64_t then_ms, uint64_t now_ms, uint64_t limit_ms)
{
	return then_ms && now_ms - then_ms <= limit_ms;
}

/* Enough probes unanswered, and no byte received since the first of them was sent. */
static bool lost(const struct path_view *view)
{
	const struct path_candidate *at =
		view->current < 0 ? NULL : &view->candidates[view->current];

	return at && at->unanswered >= PATH_LOST_PROBES && view->rx_ms < at->silent_since_ms;
}

bool path_working(const struct path_view *view)
{
	const struct path_candidate *at =
		view->current < 0 ? NULL : &view->candidates[view->current];

	if (!view->has_endpoint || lost(view))
		return false;
	if (at && within(at->answered_ms, view->now_ms, PATH_TRUST_MS))
		return true;
	return within(view->handshake_ms, view->now_ms, PATH_HANDSHAKE_MS) &&
	       within(view->rx_ms, view->now_ms, PATH_TRUST_MS);
}

struct path_decision path_of_device(const struct path_view *view)
{
	if (view->has_endpoint && within(view->handshake_ms, view->now_ms, PATH_HANDSHAKE_MS))
		return (struct path_decision){PATH_DIRECT, -1, "the device has shaken hands"};
	return (struct path_decision){PATH_NONE, -1, "the device has not shaken hands for a while"};
}

const char *path_untouchable(const struct path_view *view)
{
	if (!path_working(view))
		return NULL;
	if (!view->ours)
		return "the endpoint was set by someone else and works";
	if (view->changed_ms && view->now_ms - view->changed_ms < PATH_SETTLE_MS)
		return "the endpoint was changed a moment ago";
	return NULL;
}

static bool usable(const struct path_candidate *c, uint64_t now_ms)
{
	return c->rtt_ms >= 0 && c->unanswered == 0 &&
	       within(c->answered_ms, now_ms, PATH_FRESH_MS);
}

/* `a` instead of nothing, or of a `b` that is no better: local first, then the quicker. */
static bool preferred(const struct path_candidate *a, const struct path_candidate *b)
{
	if (a->local != b->local) {
		const struct path_candidate *local = a->local ? a : b, *other = a->local ? b : a;

		return (local->rtt_ms <= other->rtt_ms + LAN_EXTRA_MS) == a->local;
	}
	return a->rtt_ms < b->rtt_ms;
}

static int best_candidate(const struct path_view *view)
{
	int best = -1;

	for (unsigned i = 0; i < view->count; i++) {
		if (!usable(&view->candidates[i], view->now_ms))
			continue;
		if (best < 0 || preferred(&view->candidates[i], &view->candidates[best]))
			best = (int)i;
	}
	return best;
}

/* Why a working path should be left for `best`; NULL: it should not. */
static const char *gain(const struct path_view *view, int best)
{
	const struct path_candidate *to = &view->candidates[best], *from;

	if (view->current < 0)
		return NULL;
	from = &view->candidates[view->current];
	if (from->rtt_ms < 0)
		return NULL;
	if (to->local && !from->local && preferred(to, from))
		return "both hosts are on one network";
	if (from->local && !to->local && preferred(from, to))
		return NULL;
	if (view->changed_ms && view->now_ms - view->changed_ms < PATH_UPGRADE_MS)
		return NULL;
	if (to->rtt_ms < from->rtt_ms * GAIN_FACTOR && to->rtt_ms < from->rtt_ms - GAIN_MIN_MS)
		return "lower latency";
	return NULL;
}

struct path_decision path_decide(const struct path_view *view)
{
	struct path_decision keep = {.path = PATH_DIRECT, .use = -1};
	int best = best_candidate(view);

	if (!path_working(view)) {
		if (best >= 0)
			return (struct path_decision){PATH_DIRECT, best, "a probe was answered"};
		return (struct path_decision){PATH_NONE, -1,
					      lost(view) ? "probes and packets stay unanswered"
							 : "nothing has been heard from there"};
	}
	keep.reason = path_untouchable(view);
	if (keep.reason)
		return keep;
	keep.reason = "it works";
	if (!view->controller || best < 0 || best == view->current)
		return keep;
	if (gain(view, best))
		return (struct path_decision){PATH_DIRECT, best, gain(view, best)};
	return keep;
}
