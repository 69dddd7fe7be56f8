/*
 * turn.h - one `up` or `down` of an interface at a time, and how long it may take: wg-quick waits
 * (SPEC 1, rule 4). A turn that cannot be had is done without; no wait of a run goes past its end.
 */
#ifndef CORE_CLI_TURN_H
#define CORE_CLI_TURN_H

#include "command.h"

struct turn {
	int fd; /* -1: without */
	uint64_t end; /* by the monotonic clock, ms */
};

/* down: that one was asked for is written down first, so that an agent that was started before and
 * waits for another's end gives up (core/main.c). */
void turn_take(struct turn *turn, const struct cli *cli, bool down);
/* Whether `up` was called in these last milliseconds, and no `down` after it: what it has started may
 * have no pid file yet. The file's access time tells. */
bool turn_up_since(const struct cli *cli, unsigned ms);
void turn_end(struct turn *turn);
bool turn_over(const struct turn *turn);
/* What a wait may have: what it wants, or what is left, but never nothing. */
int turn_left(const struct turn *turn, int wanted_ms);

#endif
