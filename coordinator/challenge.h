/*
 * challenge.h - 32 bytes that an agent must answer for, once and within a minute (SPEC 3). Nothing is
 * kept when one is given out: end and MAC are inside. Only those that were used are remembered, in a
 * bounded table, until they would have ended anyway.
 */
#ifndef COORDINATOR_CHALLENGE_H
#define COORDINATOR_CHALLENGE_H

#include "lib/seal.h"

#define CHALLENGE_LIFE_MS 60000
#define CHALLENGE_MAX_USED 65536

enum challenge_verdict {
	CHALLENGE_GOOD,
	CHALLENGE_FOREIGN, /* not made here, for another key, or before the last start */
	CHALLENGE_ENDED,
	CHALLENGE_USED,
	CHALLENGE_BUSY, /* too many were used within a minute: none can be remembered */
};

struct challenges;

struct challenges *challenges_new(void);
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
				     const struct key *public_key, uint64_t now_ms);

#endif
