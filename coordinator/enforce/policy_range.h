/*
 * policy_range.h - what a policy says of ranges of addresses; for policy_resolve.c.
 */
#ifndef COORDINATOR_POLICY_RANGE_H
#define COORDINATOR_POLICY_RANGE_H

#include "policy_state.h"
#include "coordinator/policy/policy_class.h"

/* As policy_judge, where one of the two is a range: *count gets 1, 2 or, where there is no family that both have
 * an address of, 0. False: it has more parts than are looked at, or *patience, which goes down, has ended. */
bool policy_judge_range(const struct coordinator *co, const struct policy_index *index, const struct resolved *from,
			const struct resolved *to, uint32_t point, unsigned *patience, struct judged out[static 2],
			unsigned *count);

#endif
