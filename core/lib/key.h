/*
 * key.h - Curve25519 keys as WireGuard has them: 32 bytes, 44 characters of base64.
 */
#ifndef CORE_LIB_KEY_H
#define CORE_LIB_KEY_H

#include "util.h"

#define KEY_LEN    32
#define KEY_BASE64 45 /* with NUL */
#define KEY_SHORT  9

struct key {
	uint8_t bytes[KEY_LEN];
};

void key_generate_private(struct key *private_key); /* random, clamped */
void key_public(struct key *public_key, const struct key *private_key);
bool key_parse(struct key *out, const char *base64); /* exactly 44 characters */
void key_format(char out[static KEY_BASE64], const struct key *key);
void key_format_short(char out[static KEY_SHORT], const struct key *key); /* first 8, for logs */
bool key_equal(const struct key *a, const struct key *b);                 /* constant time */
bool key_is_zero(const struct key *key);
/* The one way to write a public key that can be somebody's: X25519 ignores bit 255 and reduces what is
 * over 2^255 - 19, so other bytes may mean the same key and pass for another; and a point of low order
 * has the same secret with everyone (RFC 7748, 6 and 7). For every key that comes from outside. */
bool key_is_canonical(const struct key *key);
void key_wipe(struct key *key);

#endif
