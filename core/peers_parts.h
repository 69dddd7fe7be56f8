/*
 * peers_parts.h - the set of peers from inside, for peers.c (what comes in) and peers_path.c (what
 * is planned, sent and decided) only.
 */
#ifndef CORE_PEERS_PARTS_H
#define CORE_PEERS_PARTS_H

#include "peers.h"

#define CHECK_BUSY_MS 3000
#define ROUND_MS      5000
#define QUICK_ROUNDS  3 /* after so many failures new endpoints wait for the next planned round */

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

uint64_t peers_now_us(void);
void peers_note(struct peer *peer, const char *what, const struct endpoint *at, const char *reason);
struct candidate *peers_current(struct peer *peer); /* that WireGuard uses; NULL: none */

void peers_react(struct peer *peer, struct candidate *c); /* something from outside: probe it now */
void peers_news(struct peer *peer, struct candidate *c);  /* and it may have a burst again */
void peers_plan_burst(struct candidate *c, uint64_t start);
void peers_send_signal(struct peer *peer, bool answer);
void peers_start_round(struct peer *peer);
void peers_decide(struct peer *peer);
void peers_schedule(struct peer *peer); /* sets the timer to what is due first */
void peers_wake(void *arg);             /* the timer */
void peers_finish_pings(struct peer *peer, double rtt_ms, bool all); /* else those that are due */

#endif
