/*
 * pin.c - only a key's public half is kept.
 */
#include "pin.h"
#include "lib/seal.h"
#include "lib/str.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

int pin_of_key(const char *path, char pin[static 44], char *error, size_t size)
{
	FILE *file = fopen(path, "re");
	EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
	uint8_t *der = NULL, hash[32];
	int len = key ? i2d_PUBKEY(key, &der) : -1;
	char *text;

	if (file)
		fclose(file);
	EVP_PKEY_free(key);
	if (len <= 0) {
		snprintf(error, size, "tls: next_key: %s is not a private key in PEM that can be read", path);
		return -EINVAL;
	}
	sha256(hash, der, (size_t)len);
	OPENSSL_free(der);
	text = base64url_encode(hash, sizeof(hash));
	str_copy(pin, 44, text);
	free(text);
	return 0;
}
