/*
 * probe.h - path probes between two agents: STUN binding requests and answers with
 * MESSAGE-INTEGRITY-SHA256 (RFC 8489) under the key of the pair (seal.h), as ICE does (RFC 8445).
 * Sans-IO: bytes in, bytes and verdicts out. Nothing is answered without integrity; an answer
 * counts once, from the address that was asked, within five seconds.
 */
#ifndef CORE_PROBE_H
#define CORE_PROBE_H

#include "lib/addr.h"
#include "lib/list.h"
#include "lib/ratelimit.h"
#include "lib/seal.h"

#define PROBE_MAX_LEN    128
#define PROBE_TIMEOUT_US 5000000

struct probes; /* whom we know and what we have asked */

struct probe_partner { /* embedded in its owner */
	struct key key;
	uint8_t our_id[PROBE_ID_LEN], their_id[PROBE_ID_LEN];
	struct list pending; /* asked and not answered yet */
	struct bucket answers;
};

enum probe_verdict {
	PROBE_FOREIGN,  /* no probe: somebody else's STUN */
	PROBE_REFUSED,  /* a probe, but not one to believe: dropped in silence */
	PROBE_ASKED,    /* a verified request: send `reply` back to where it came from */
	PROBE_ANSWERED, /* a verified answer */
};

struct probe_result {
	struct probe_partner *partner;
	struct endpoint at;     /* ASKED: where it came from; ANSWERED: where we had asked */
	struct endpoint mapped; /* ANSWERED: how they see us */
	uint64_t rtt_us;        /* ANSWERED */
	uint8_t reply[PROBE_MAX_LEN];
	size_t reply_len;
};

struct probes *probes_new(void);
void probes_free(struct probes *probes);
/* 0; -EINVAL: a key with which there is no secret; -EEXIST. Borrows the partner until removed. */
int probes_add(struct probes *probes, struct probe_partner *partner, const struct key *our_private,
	       const struct key *their_public, uint64_t now_us);
void probes_remove(struct probes *probes, struct probe_partner *partner); /* wipes its key */

/* A new request for `to`; the number of bytes written. */
size_t probes_ask(struct probes *probes, struct probe_partner *partner, const struct endpoint *to,
		  uint64_t now_us, uint8_t out[static PROBE_MAX_LEN]);
enum probe_verdict probes_input(struct probes *probes, const struct endpoint *from,
				const uint8_t *data, size_t len, uint64_t now_us,
				struct probe_result *out);

#endif
