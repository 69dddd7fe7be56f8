/*
 * peer.h - one peer as the agent sees it: its candidates with what probing them has shown, and what
 * WireGuard reports of it. Data and rules only; peers.h sends and decides.
 */
#ifndef CORE_PEER_H
#define CORE_PEER_H

#include "path.h"
#include "probe.h"
#include "signals.h"
#include "lib/loop.h"

#define PEER_CANDIDATES 16 /* probed at most; the last two places are kept for what is learnt */
#define PEER_OFFERED    14
#define PROBE_BUDGET    5 /* to one candidate within a minute without an answer */
#define PROBE_BURST     4 /* of them in a burst */
#define PROBE_WINDOW_MS 60000
#define PROBE_NEWS      3 /* so often within a minute may news of it give a candidate a new budget */

enum candidate_kind {
	CANDIDATE_LOCAL,     /* offered: an address of the peer's own networks */
	CANDIDATE_PUBLIC,    /* offered: what the world sees of it */
	CANDIDATE_REFLEXIVE, /* a verified request came from there */
	CANDIDATE_OBSERVED,  /* WireGuard has it as endpoint */
};
const char *candidate_kind_name(enum candidate_kind kind);

struct candidate {
	struct endpoint at;
	enum candidate_kind kind;
	struct path_candidate seen;
	uint64_t sent_ms[PROBE_BUDGET]; /* when the last unanswered ones were sent; 0: none */
	uint64_t news_ms[PROBE_NEWS]; /* when it was given a new budget since the last answer */
	unsigned sent_next, news_next;
	unsigned sent, heard; /* in all */
	uint64_t asked_ms;    /* a probe that is neither answered nor given up; 0: none */
	uint64_t last_sent_ms;
	uint64_t due_ms; /* next probe of the round; 0: none */
	unsigned step;
	bool offered;
};

struct peer {
	struct key public_key;
	struct probe_partner partner;
	struct candidate candidates[PEER_CANDIDATES];
	unsigned count;
	bool online, controller;
	bool held; /* the endpoint is chosen, but WireGuard is told only if the other end stays silent */
	bool has_secret; /* false: its key is no good for probes */
	bool device;     /* plain WireGuard without an agent: nothing is asked of it */
	bool passive;    /* its endpoint is the user's: answer, open our NAT, and leave it */

	enum path_kind path;
	struct endpoint endpoint, set_endpoint; /* WireGuard's; the last we have set */
	uint64_t handshake_ms, handshake_wall_ms, rx_ms, busy_ms, changed_ms;
	uint64_t rx_bytes, tx_bytes;
	bool observed, keepalive_on;

	unsigned rounds; /* failed in a row */
	uint64_t round_end_ms, next_round_ms, check_ms, measure_ms, initiate_ms,
		show_ms; /* 0: not planned */
	uint64_t signal_sent_ms;
	struct signal_window window;

	struct loop_timer timer;
	struct list waiting; /* pings */
	struct peers *peers;
	void *owner; /* the agent's own data of this peer */
};

typedef bool candidate_allowed_fn(void *arg, const struct endpoint *at);

/* Replaces what was offered; what is proven, in use or learnt stays. True: there is a new one. */
bool peer_offer(struct peer *peer, const struct proto_endpoints *at, candidate_allowed_fn *allowed,
		void *arg);
struct candidate *peer_candidate(struct peer *peer, const struct endpoint *at); /* NULL: unknown */
/* Adds a reflexive or observed one, in place of the least useful of its kind if need be. */
struct candidate *peer_learn(struct peer *peer, const struct endpoint *at,
			     enum candidate_kind kind);

bool candidate_may_send(const struct candidate *c, uint64_t now_ms);
void candidate_sent(struct candidate *c, uint64_t now_ms);
/* Something new has been heard of it: it may have a whole burst again, unless there was news too
 * often already. */
void candidate_news(struct candidate *c, uint64_t now_ms);
void candidate_forgive(struct candidate *c); /* nothing was ever sent there from where we are now */
void candidate_answered(struct candidate *c, uint64_t now_ms, double rtt_ms);
/* Gives up on a probe whose time is over. True: it did. */
bool candidate_expire(struct candidate *c, uint64_t now_ms);
uint64_t candidate_timeout_ms(const struct candidate *c);

void peer_view(const struct peer *peer, uint64_t now_ms, struct path_view *view,
	       struct path_candidate seen[static PEER_CANDIDATES]);
double peer_latency(const struct peer *peer); /* ms of the path in use; < 0: unknown */

#endif
