/*
 * seal.h - everything the WireGuard key pair is used for besides WireGuard, told apart by labels
 * so that nothing made for one use is valid in another:
 *
 *   proof   crypto_auth (HMAC-SHA-512-256) under crypto_box_beforenm(server_key, agent's private
 *           key) over PROOF_LABEL, the 32 challenge bytes and SHA-256(body as sent). SPEC 3.
 *   box     crypto_box (X25519, XSalsa20-Poly1305) from agent to agent; nonce first. The typed
 *           header is inside (signal.h of the agent).
 *   probe   key for STUN MESSAGE-INTEGRITY-SHA256 between two agents: BLAKE2b keyed by
 *           crypto_box_beforenm over "wg-mesh probe 1\0", the smaller and the larger public key.
 */
#ifndef CORE_LIB_SEAL_H
#define CORE_LIB_SEAL_H

#include "key.h"

#define PROOF_LABEL   "wg-mesh register 1" /* its NUL is part of it */
#define PROOF_LEN     32
#define CHALLENGE_LEN 32
#define SEAL_OVERHEAD 40 /* 24 nonce + 16 tag */
#define PROBE_ID_LEN  16

/* 0, or -EINVAL where the other key is a weak point (all-zero shared secret). */
int proof_make(uint8_t out[static PROOF_LEN], const struct key *their_public,
	       const struct key *our_private, const uint8_t challenge[static CHALLENGE_LEN],
	       const void *body, size_t len);
bool proof_check(const uint8_t proof[static PROOF_LEN], const struct key *their_public,
		 const struct key *our_private, const uint8_t challenge[static CHALLENGE_LEN],
		 const void *body, size_t len); /* constant time */

/* out holds len + SEAL_OVERHEAD bytes. 0 or -EINVAL. */
int seal_box(uint8_t *out, const void *data, size_t len, const struct key *to_public,
	     const struct key *from_private);
/* out holds len - SEAL_OVERHEAD bytes. 0, or -EBADMSG: not from that key, or altered. */
int seal_open(uint8_t *out, const uint8_t *box, size_t len, const struct key *from_public,
	      const struct key *to_private);

/* The same key at both ends. 0 or -EINVAL. */
int probe_key(struct key *out, const struct key *our_private, const struct key *their_public);
/* What a probe from `sender` to its partner carries as USERNAME: BLAKE2b of the sender's public
 * key under the probe key. Says nothing to strangers, and the receiver finds the peer by it. */
void probe_id(uint8_t out[static PROBE_ID_LEN], const struct key *probe_key,
	      const struct key *sender_public);

void sha256(uint8_t out[static 32], const void *data, size_t len);

#endif
