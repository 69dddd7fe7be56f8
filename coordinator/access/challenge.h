/*
 * challenge.h - 32 bytes that an agent must answer for, once and within a minute (SPEC 3). Nothing is
 * kept when one is given out: giver, end and MAC are inside. Only those that were used are remembered, in
 * a bounded table, until they would have ended anyway, by who gave them: another coordinator knows that a
 * challenge is one of this mesh, and asks its giver whether it serves (cluster.h).
 *
 * Nobody fills the table alone: what one has must be less than what is left for all.
 */
#ifndef COORDINATOR_CHALLENGE_H
#define COORDINATOR_CHALLENGE_H

#include "lib/seal.h"

#define CHALLENGE_LIFE_MS 60000
#define CHALLENGE_MAX_USED 131072
#define CHALLENGE_MAX_STRANGERS (CHALLENGE_MAX_USED / 4 * 3) /* of these: the others are for known agents */

enum challenge_verdict { /* the numbers pass between coordinators */
	CHALLENGE_GOOD,
	CHALLENGE_FOREIGN, /* not made in this mesh, or for another key */
	CHALLENGE_ENDED,
	CHALLENGE_USED,
	CHALLENGE_BUSY,      /* too many were used within a minute: no more can be remembered for this taker */
	CHALLENGE_ELSEWHERE, /* another gave it, perhaps this one before its last start */
	CHALLENGE_SILENT,    /* and does not say whether it serves */
	CHALLENGE_VERDICTS,
};

/* On whose account a used one is remembered: a network's, within it a join key's, within that an agent's. So
 * whoever holds a join key, and all agents that came by it, and whoever makes join keys for a network, use up
 * room of their own: each may take one more as long as what the three have is less than what is free. */
#define CHALLENGE_TAKERS 3
struct challenge_taker {
	const char *ids[CHALLENGE_TAKERS]; /* borrowed for the call; NULL: none */
	bool known;                        /* an agent of ours: a part of the table is for them alone */
};

struct challenges;

/* `instance` names this process to others of the mesh (store_instance); "": there are none. */
struct challenges *challenges_new(const struct key *server_key, const char *instance);
void challenges_free(struct challenges *challenges);
void challenge_make(struct challenges *challenges, uint8_t out[static CHALLENGE_LEN],
		    const struct key *public_key, uint64_t now_ms);
/* The same, and it may be asked again: so that only who has proved something takes a place in the
 * table of used ones. Never CHALLENGE_BUSY. */
enum challenge_verdict challenge_check(struct challenges *challenges,
				       const uint8_t challenge[static CHALLENGE_LEN],
				       const struct key *public_key, uint64_t now_ms);
/* CHALLENGE_GOOD only once for each. */
enum challenge_verdict challenge_use(struct challenges *challenges,
				     const uint8_t challenge[static CHALLENGE_LEN],
				     const struct key *public_key, const struct challenge_taker *taker,
				     uint64_t now_ms);

/* Who gave it, to be compared with what an instance is called in challenges. */
uint32_t challenge_giver(const uint8_t challenge[static CHALLENGE_LEN]);
uint32_t challenge_giver_of(const char *instance);

#endif
