/*
 * Token bucket, refilled when it is looked at. Time that goes back is taken as standing still.
 */
#include "ratelimit.h"

void bucket_init(struct bucket *bucket, double per_second, double burst, uint64_t now_ms)
{
	*bucket = (struct bucket){
		.tokens = burst,
		.per_ms = per_second / 1000,
		.burst = burst,
		.last_ms = now_ms,
	};
}

static double tokens_at(const struct bucket *bucket, uint64_t now_ms)
{
	double tokens = bucket->tokens;

	if (now_ms > bucket->last_ms)
		tokens += (double)(now_ms - bucket->last_ms) * bucket->per_ms;
	return MIN(tokens, bucket->burst);
}

bool bucket_take_many(struct bucket *bucket, double count, uint64_t now_ms)
{
	count = MIN(count, bucket->burst);
	bucket->tokens = tokens_at(bucket, now_ms);
	bucket->last_ms = MAX(bucket->last_ms, now_ms);
	if (bucket->tokens < count)
		return false;
	bucket->tokens -= count;
	return true;
}

bool bucket_take(struct bucket *bucket, uint64_t now_ms)
{
	return bucket->burst >= 1 && bucket_take_many(bucket, 1, now_ms);
}

uint64_t bucket_wait_ms(const struct bucket *bucket, uint64_t now_ms)
{
	double missing = 1 - tokens_at(bucket, now_ms), wait;

	if (missing <= 0)
		return 0;
	if (bucket->per_ms <= 0)
		return UINT64_MAX;
	wait = missing / bucket->per_ms;
	return (uint64_t)wait + ((double)(uint64_t)wait < wait);
}
