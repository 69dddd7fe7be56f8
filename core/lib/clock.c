/*
 * Time in milliseconds. The fake clock is one for the whole process: tests move it, programs never.
 */
#include "clock.h"

#include <time.h>

static bool faked;
static uint64_t fake_ms, fake_wall_ms;

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

uint64_t clock_wall_ms(void)
{
	return faked ? fake_wall_ms : read_clock(CLOCK_REALTIME);
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
