/*
 * ratelimit.h - token bucket. Time is passed in.
 */
#ifndef CORE_LIB_RATELIMIT_H
#define CORE_LIB_RATELIMIT_H

#include "util.h"

struct bucket {
	double tokens, per_ms, burst;
	uint64_t last_ms;
};

void bucket_init(struct bucket *bucket, double per_second, double burst, uint64_t now_ms);
bool bucket_take(struct bucket *bucket, uint64_t now_ms);              /* false: none left */
/* So many at once, or none; more than the burst count as the burst. */
bool bucket_take_many(struct bucket *bucket, double count, uint64_t now_ms);
uint64_t bucket_wait_ms(const struct bucket *bucket, uint64_t now_ms); /* until the next token */

#endif
