/*
 * Curve25519 keys. Text goes through libsodium's base64, which looks nothing up by secret bytes.
 */
#include "key.h"

#include "secret.h"
#include <sodium.h>
#include <string.h>

void key_generate_private(struct key *private_key)
{
	random_bytes(private_key->bytes, KEY_LEN);
	private_key->bytes[0] &= 248;
	private_key->bytes[31] = (private_key->bytes[31] & 127) | 64;
}

void key_public(struct key *public_key, const struct key *private_key)
{
	struct key out;

	secret_init();
	crypto_scalarmult_base(out.bytes, private_key->bytes);
	*public_key = out;
}

bool key_parse(struct key *out, const char *base64)
{
	struct key key;
	size_t len;
	bool good;

	good = strlen(base64) == KEY_BASE64 - 1 &&
	       sodium_base642bin(key.bytes, KEY_LEN, base64, KEY_BASE64 - 1, NULL, &len, NULL,
				 sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       len == KEY_LEN;
	if (good)
		*out = key;
	key_wipe(&key);
	return good;
}

void key_format(char out[static KEY_BASE64], const struct key *key)
{
	sodium_bin2base64(out, KEY_BASE64, key->bytes, KEY_LEN, sodium_base64_VARIANT_ORIGINAL);
}

void key_format_short(char out[static KEY_SHORT], const struct key *key)
{
	char text[KEY_BASE64];

	key_format(text, key);
	memcpy(out, text, KEY_SHORT - 1);
	out[KEY_SHORT - 1] = 0;
	secret_wipe(text, sizeof(text));
}

bool key_equal(const struct key *a, const struct key *b)
{
	return secret_equal(a->bytes, b->bytes, KEY_LEN);
}

bool key_is_zero(const struct key *key)
{
	return sodium_is_zero(key->bytes, KEY_LEN);
}

/* Below 2^255 - 19, as little endian. */
static bool is_reduced(const struct key *key)
{
	if (key->bytes[31] != 0x7f)
		return key->bytes[31] < 0x7f;
	for (unsigned i = 1; i < 31; i++) {
		if (key->bytes[i] != 0xff)
			return true;
	}
	return key->bytes[0] < 0xed;
}

bool key_is_canonical(const struct key *key)
{
	static const struct key low_order[] = { /* of 1, 2, 4 and 8, where they are reduced */
		{{0}},
		{{1}},
		{{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
		  0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00}},
		{{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
		  0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57}},
		{{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(low_order); i++) {
		if (key_equal(key, &low_order[i]))
			return false;
	}
	return is_reduced(key);
}

void key_wipe(struct key *key)
{
	secret_wipe(key, sizeof(*key));
}
