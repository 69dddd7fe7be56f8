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

void key_wipe(struct key *key)
{
	secret_wipe(key, sizeof(*key));
}
