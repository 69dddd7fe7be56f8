/*
 * signals.h - sealed messages between agents (SPEC 3): crypto_box from agent to agent; inside, a
 * JSON header that says what it is, in which network, from whom, to whom, the sender's boot id and
 * a counter, all of them checked. Coordinator and relays only pass them on. (Not signal.h: that is
 * the C library's.)
 *
 *   {"type":"candidates","network":"default","from":ID,"to":ID,"boot":"16 hex digits","counter":7,
 *    "answer":false,"endpoints":[..],"local_endpoints":[..],"nat_type":".."}
 *   {"type":"psk", ..,"answer":false,"step":"offer","epoch":N,"base":N,"key":BASE64|null}   (psk.h)
 *
 * Who does not know a type refuses it, and nothing else happens.
 */
#ifndef CORE_SIGNALS_H
#define CORE_SIGNALS_H

#include "psk.h"
#include "lib/proto.h"

#define SIGNAL_DEAD_BOOTS 8

struct signal_window {                    /* one a sender; all-zero: nothing heard yet */
	uint64_t boot, highest, seen;     /* seen: bit n is counter highest - n */
	uint64_t dead[SIGNAL_DEAD_BOOTS]; /* earlier boots: nothing of theirs is taken any more */
	unsigned dead_count;
	bool started;
};

struct signal_address { /* borrowed text */
	const char *network, *from, *to;
};

enum signal_type { SIGNAL_CANDIDATES, SIGNAL_PSK, SIGNAL_TYPES };

struct signal_message {
	enum signal_type type;
	bool answer;               /* it answers ours: do not answer it */
	struct proto_endpoints at; /* candidates */
	struct psk_message psk;    /* psk; to be wiped */
};

/* False: seen before, too old, or of a boot that has ended. */
bool signal_window_take(struct signal_window *window, uint64_t boot, uint64_t counter);

/* New sealed bytes, or NULL where they would be more than PROTO_MAX_SIGNAL. */
uint8_t *signal_seal(size_t *len, const struct signal_address *address, uint64_t boot,
		     uint64_t counter, const struct signal_message *message,
		     const struct key *to_public, const struct key *our_private);
/* Checks all; *why (static) says what was wrong. The window moves only for what was good. */
bool signal_open(struct signal_message *out, struct signal_window *window,
		 const struct signal_address *expected, const uint8_t *box, size_t len,
		 const struct key *from_public, const struct key *our_private, const char **why);

#endif
