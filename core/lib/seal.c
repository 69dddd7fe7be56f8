/*
 * What the WireGuard key pair signs and seals. Each use has its own label or its own construction
 * (see the header); every intermediate secret is wiped before returning.
 */
#include "seal.h"

#include "secret.h"
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define PROBE_LABEL "wg-mesh probe 1" /* its NUL is part of it */

static int shared_key(uint8_t out[static crypto_box_BEFORENMBYTES], const struct key *their_public,
		      const struct key *our_private)
{
	secret_init();
	return crypto_box_beforenm(out, their_public->bytes, our_private->bytes) ? -EINVAL : 0;
}

int proof_make(uint8_t out[static PROOF_LEN], const struct key *their_public,
	       const struct key *our_private, const uint8_t challenge[static CHALLENGE_LEN],
	       const void *body, size_t len)
{
	uint8_t text[sizeof(PROOF_LABEL) + CHALLENGE_LEN + 32] = PROOF_LABEL;
	uint8_t shared[crypto_box_BEFORENMBYTES];

	if (shared_key(shared, their_public, our_private))
		return -EINVAL;
	memcpy(text + sizeof(PROOF_LABEL), challenge, CHALLENGE_LEN);
	sha256(text + sizeof(PROOF_LABEL) + CHALLENGE_LEN, body, len);
	crypto_auth(out, text, sizeof(text), shared);
	secret_wipe(shared, sizeof(shared));
	return 0;
}

bool proof_check(const uint8_t proof[static PROOF_LEN], const struct key *their_public,
		 const struct key *our_private, const uint8_t challenge[static CHALLENGE_LEN],
		 const void *body, size_t len)
{
	uint8_t expected[PROOF_LEN];
	bool good;

	if (proof_make(expected, their_public, our_private, challenge, body, len))
		return false;
	good = secret_equal(expected, proof, PROOF_LEN);
	secret_wipe(expected, sizeof(expected));
	return good;
}

int seal_box(uint8_t *out, const void *data, size_t len, const struct key *to_public,
	     const struct key *from_private)
{
	random_bytes(out, crypto_box_NONCEBYTES);
	return crypto_box_easy(out + crypto_box_NONCEBYTES, data, len, out, to_public->bytes,
			       from_private->bytes)
		       ? -EINVAL
		       : 0;
}

int seal_open(uint8_t *out, const uint8_t *box, size_t len, const struct key *from_public,
	      const struct key *to_private)
{
	secret_init();
	if (len < SEAL_OVERHEAD)
		return -EBADMSG;
	return crypto_box_open_easy(out, box + crypto_box_NONCEBYTES, len - crypto_box_NONCEBYTES,
				    box, from_public->bytes, to_private->bytes)
		       ? -EBADMSG
		       : 0;
}

int probe_key(struct key *out, const struct key *our_private, const struct key *their_public)
{
	uint8_t text[sizeof(PROBE_LABEL) + 2 * KEY_LEN] = PROBE_LABEL;
	uint8_t shared[crypto_box_BEFORENMBYTES];
	struct key ours;
	bool ours_first;

	if (shared_key(shared, their_public, our_private))
		return -EINVAL;
	key_public(&ours, our_private);
	ours_first = memcmp(ours.bytes, their_public->bytes, KEY_LEN) < 0;
	memcpy(text + sizeof(PROBE_LABEL), (ours_first ? &ours : their_public)->bytes, KEY_LEN);
	memcpy(text + sizeof(PROBE_LABEL) + KEY_LEN, (ours_first ? their_public : &ours)->bytes,
	       KEY_LEN);
	crypto_generichash(out->bytes, KEY_LEN, text, sizeof(text), shared, sizeof(shared));
	secret_wipe(shared, sizeof(shared));
	return 0;
}

void probe_id(uint8_t out[static PROBE_ID_LEN], const struct key *probe_key,
	      const struct key *sender_public)
{
	secret_init();
	crypto_generichash(out, PROBE_ID_LEN, sender_public->bytes, KEY_LEN, probe_key->bytes,
			   KEY_LEN);
}

void sha256(uint8_t out[static 32], const void *data, size_t len)
{
	secret_init();
	crypto_hash_sha256(out, data, len);
}
