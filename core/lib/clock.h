/*
 * clock.h - monotonic and wall time in milliseconds; tests set both.
 */
#ifndef CORE_LIB_CLOCK_H
#define CORE_LIB_CLOCK_H

#include "util.h"

uint64_t clock_ms(void);      /* CLOCK_BOOTTIME: goes on while suspended, never jumps */
uint64_t clock_wall_ms(void); /* since 1970; for people and certificates only */
/* From now on both stand still; 0, 0: real again. */
void clock_set_fake(uint64_t ms, uint64_t wall_ms);
void clock_advance_fake(uint64_t ms);
bool clock_is_fake(void);

#endif
