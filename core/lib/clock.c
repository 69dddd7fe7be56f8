/*
 * Time in milliseconds. The fake clock is one for the whole process: tests move it, programs never.
 */
#include "clock.h"

#include <stdatomic.h>
#include <time.h>

#define FOLLOW_MS 500 /* so far off it may be before it is set: a slow answer moves no clock */

static bool faked;
static uint64_t fake_ms, fake_wall_ms;
static atomic_int_fast64_t followed_ms; /* the clock that is followed, less clock_ms(); 0: none */

static uint64_t read_clock(clockid_t which)
{
	struct timespec now;

	clock_gettime(which, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_ms(void)
{
	return faked ? fake_ms : read_clock(CLOCK_BOOTTIME);
}

static uint64_t host_wall_ms(void)
{
	return faked ? fake_wall_ms : read_clock(CLOCK_REALTIME);
}

uint64_t clock_wall_ms(void)
{
	int64_t followed = atomic_load(&followed_ms);

	return followed ? clock_ms() + (uint64_t)followed : host_wall_ms();
}

void clock_follow(uint64_t wall_ms, uint64_t asked_ms)
{
	int64_t followed = atomic_load(&followed_ms);
	int64_t latest = (int64_t)(wall_ms - asked_ms), earliest = (int64_t)(wall_ms - clock_ms());

	if (!wall_ms)
		atomic_store(&followed_ms, 0);
	else if (!followed || followed > latest + FOLLOW_MS || followed < earliest - FOLLOW_MS)
		atomic_store(&followed_ms, earliest + (latest - earliest) / 2);
	else if (followed > latest + 2 || followed < earliest - 2) /* the answer is in whole ms */
		atomic_store(&followed_ms, MIN(MAX(followed, earliest), latest));
}

int64_t clock_host_ahead(void)
{
	return atomic_load(&followed_ms) ? (int64_t)(host_wall_ms() - clock_wall_ms()) : 0;
}

void clock_set_fake(uint64_t ms, uint64_t wall_ms)
{
	faked = ms || wall_ms;
	fake_ms = ms;
	fake_wall_ms = wall_ms;
}

void clock_advance_fake(uint64_t ms)
{
	fake_ms += ms;
	fake_wall_ms += ms;
}

bool clock_is_fake(void)
{
	return faked;
}
