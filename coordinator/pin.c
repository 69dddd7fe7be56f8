/*
 * pin.c - only a key's public half is kept.
 */
#include "pin.h"
#include "lib/seal.h"
#include "lib/str.h"
#include "lib/tls.h"

#include <errno.h>
#include <openssl/x509.h>
#include <stdio.h>

int pin_of_key(const char *path, char pin[static 44], char *error, size_t size)
{
	char why[400] = "";
	EVP_PKEY *key = tls_read_key(path, why, sizeof(why));
	uint8_t *der = NULL, hash[32];
	int len = key ? i2d_PUBKEY(key, &der) : -1;
	char *text;

	EVP_PKEY_free(key);
	if (len <= 0) {
		snprintf(error, size, "tls: next_key: %s", *why ? why : "its public half cannot be had");
		return -EINVAL;
	}
	sha256(hash, der, (size_t)len);
	OPENSSL_free(der);
	text = base64url_encode(hash, sizeof(hash));
	str_copy(pin, 44, text);
	free(text);
	return 0;
}
