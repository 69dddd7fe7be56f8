/*
 * policy_state_private.h - the inside of policy_state.h, for policy_state.c, policy_follow.c and policy_taken.c.
 */
#ifndef COORDINATOR_POLICY_STATE_PRIVATE_H
#define COORDINATOR_POLICY_STATE_PRIVATE_H

#include "policy_state.h"

struct version {
	struct policy *policy;
	struct policy_index *index;
	uint64_t number, applied_at; /* number 0: nobody gave one */
	char by[100];
};

struct policy_state {
	struct coordinator *co;
	struct version now, kept; /* kept.policy NULL: nothing waits */
	uint64_t last_number, confirm_by; /* monotonic ms */
	struct loop_timer confirm;
	struct policy_file *file; /* NULL: none */
	/* policy_taken.c: hashes, as hex, of what was last taken by any coordinator and from the file here; "":
	 * nothing was. */
	char taken[65], taken_here[65];
};

void policy_taken_load(struct policy_state *state); /* what STATE has of it */
void policy_version_fini(struct version *version);
void policy_restore_kept(struct policy_state *state);
/* To other coordinators; wall ms. Refused where another waits already. */
void policy_write_waiting(struct policy_state *state, uint64_t until);
void policy_write_verdict(struct policy_state *state); /* refused where another coordinator has given one */
void policy_write_none_waits(struct policy_state *state);

#endif
