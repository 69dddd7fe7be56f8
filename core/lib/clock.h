/*
 * clock.h - monotonic and wall time in milliseconds; tests set both.
 */
#ifndef CORE_LIB_CLOCK_H
#define CORE_LIB_CLOCK_H

#include "util.h"

uint64_t clock_ms(void);      /* CLOCK_BOOTTIME: goes on while suspended, never jumps */
uint64_t clock_wall_ms(void); /* since 1970; for people and certificates only */

/* clock_wall_ms() follows another clock than the host's, which said `wall_ms` at some moment since `asked_ms` (of
 * clock_ms()): it goes on from there, whatever is done to the host's. Said again and again it follows what is done
 * to the other. From any thread; wall_ms 0: the host's again. */
void clock_follow(uint64_t wall_ms, uint64_t asked_ms);
int64_t clock_host_ahead(void); /* of clock_wall_ms(), ms; 0: it is the host's */

/* From now on both stand still; 0, 0: real again. */
void clock_set_fake(uint64_t ms, uint64_t wall_ms);
void clock_advance_fake(uint64_t ms);
bool clock_is_fake(void);

#endif
