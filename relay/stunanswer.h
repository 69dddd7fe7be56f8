/*
 * stunanswer.h - what a STUN server says to a message: a pure function of the message and of where
 * it came from and to (RFC 8489 6.3.1, RFC 5780 6).
 */
#ifndef RELAY_STUNANSWER_H
#define RELAY_STUNANSWER_H

#include "lib/stun.h"

/* Two addresses of one family and two ports, all four combinations of which are ours. */
struct stun_pair {
	struct addr address[2];
	uint16_t port[2];
};

struct stun_answer {
	struct endpoint source; /* must leave from here */
	struct endpoint to;
	uint8_t data[256];
	size_t len;
};

bool stun_pair_has(const struct stun_pair *pair, const struct endpoint *endpoint);

/* false: silence is the answer. `local` is where the message was sent to; pair (NULL: none) has it. */
bool stun_answer(struct stun_answer *out, const struct stun_pair *pair, const struct endpoint *local,
		 const struct endpoint *from, const void *data, size_t len);

#endif
