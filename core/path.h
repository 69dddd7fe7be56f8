/*
 * path.h - judgement, pure: does the tunnel to a peer work, which candidate should its endpoint
 * be, and may the endpoint be touched at all. Times are clock_ms(); 0 means never.
 */
#ifndef CORE_PATH_H
#define CORE_PATH_H

#include "lib/util.h"

enum path_kind { PATH_NONE, PATH_DIRECT, PATH_RELAY };
const char *path_name(enum path_kind path); /* "none", "direct", "relay" */

struct path_candidate {           /* what probing one address of a peer has shown */
	bool local;               /* an address of the peer's own network */
	uint64_t answered_ms;     /* last verified answer */
	uint64_t silent_since_ms; /* when the first of the probes that went unanswered since was
				     sent */
	unsigned unanswered;      /* of them in a row */
	double rtt_ms;            /* smoothed; < 0: unknown */
};

struct path_view {
	uint64_t now_ms;
	bool controller; /* of two ends one chooses between working paths; WireGuard's roaming takes
			    the other along */
	const struct path_candidate *candidates;
	unsigned count;
	bool has_endpoint;     /* WireGuard has an endpoint for this peer */
	int current;           /* the candidate which that is; -1: none of them */
	bool ours;             /* we have set it, or a probe has verified it */
	uint64_t handshake_ms; /* last handshake */
	uint64_t rx_ms;        /* when received bytes were last seen to advance */
	uint64_t changed_ms;   /* when the endpoint was last set by us */
};

struct path_decision {
	enum path_kind path;
	int use;            /* candidate to make the endpoint; -1: leave it */
	const char *reason; /* a sentence */
};

#define PATH_TRUST_MS     65000  /* a proof is good for two keepalives and a bit */
#define PATH_HANDSHAKE_MS 180000 /* REJECT_AFTER_TIME: no session lives longer */
#define PATH_FRESH_MS     10000  /* an answer so young is reason enough to move */
#define PATH_LOST_PROBES  3
#define PATH_SETTLE_MS    2000  /* after a change: nothing is changed for the better */
#define PATH_UPGRADE_MS   15000 /* after a change: nothing for the latency's sake alone */

struct path_decision path_decide(const struct path_view *view);
/* Proven and not disproven: a young answer at the endpoint, or a session whose bytes advance. */
bool path_working(const struct path_view *view);
/* Of a device without an agent: a session is all there is to go by. */
struct path_decision path_of_device(const struct path_view *view);
/* Endpoint etiquette: a working endpoint that is not ours is never touched, nor any too soon after
 * a change. NULL: it may be changed; else the reason why not. */
const char *path_untouchable(const struct path_view *view);

#endif
