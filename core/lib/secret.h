/*
 * secret.h - random bytes, comparing and wiping: the three things that must not be done by hand.
 * Prepares libsodium where needed, so that nobody else has to.
 */
#ifndef CORE_LIB_SECRET_H
#define CORE_LIB_SECRET_H

#include "util.h"

void secret_init(void); /* libsodium is ready afterwards; cheap to call again, from any thread */
void random_bytes(void *out, size_t len);
uint32_t random_below(uint32_t limit);                       /* even, 0 to limit - 1; 0 for 0 */
bool secret_equal(const void *a, const void *b, size_t len); /* constant time */
void secret_wipe(void *data, size_t len);

#endif
