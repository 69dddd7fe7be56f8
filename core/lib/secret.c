/*
 * Randomness and secrets, through libsodium. sodium_init() takes its own lock and does nothing the
 * second time, so no flag of ours is needed.
 */
#include "secret.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

void secret_init(void)
{
	if (sodium_init() < 0) {
		fputs("libsodium cannot be prepared: is /dev/urandom there?\n", stderr);
		abort();
	}
}

void random_bytes(void *out, size_t len)
{
	secret_init();
	randombytes_buf(out, len);
}

uint32_t random_below(uint32_t limit)
{
	secret_init();
	return randombytes_uniform(limit);
}

bool secret_equal(const void *a, const void *b, size_t len)
{
	return sodium_memcmp(a, b, len) == 0;
}

void secret_wipe(void *data, size_t len)
{
	if (data && len)
		sodium_memzero(data, len);
}
