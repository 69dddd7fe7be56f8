/*
 * policy_state.h - the policy in force: where it comes from, who is in which class of it, how it is
 * changed for another. One that waits to be confirmed holds at once but is not stored, so a crash takes
 * it back too.
 */
#ifndef COORDINATOR_POLICY_STATE_H
#define COORDINATOR_POLICY_STATE_H

#include "coordinator/access/find.h"

struct policy_state;

struct policy_state *policy_state_new(struct coordinator *co);
void policy_state_free(struct policy_state *state);
/* The stored one, or the file's where that has changed since it was last read; puts every member into
 * its class. 0, or 2 and a sentence in error: a wrong file and nothing to go on with. */
int policy_state_start(struct policy_state *state, char *error, size_t size);
void policy_reload(struct coordinator *co); /* reads the file again */

/* The newest of the table policies, as another coordinator has written it. */
void policy_row(struct coordinator *co, const struct store_value *row);

/* The row of the table meta that says what a coordinator has taken from its file; others are passed over. */
void policy_taken_row(struct coordinator *co, const struct store_value *row);

/* One that waits to be confirmed waits at all coordinators, by a row of the table meta: true: it is that
 * row. And where there is none any more, it was not confirmed. */
bool policy_waiting_row(struct coordinator *co, const struct store_value *row);
void policy_none_waits(struct coordinator *co);

const struct policy *policy_in_force(const struct coordinator *co);
const struct policy_index *policy_index_in_force(const struct coordinator *co);
json_t *policy_state_json(const struct coordinator *co);

/* The class that the member, or device, belongs to now; *made: it is the first of it. */
struct class *policy_place(struct coordinator *co, const struct member *member, bool *made);
struct class *policy_place_device(struct coordinator *co, const struct device *device, bool *made);
void policy_place_all(struct coordinator *co); /* of a mesh that has just been read */
struct policy_who policy_device(const struct device *device); /* what a policy can know of it: no tags, no routes */
/* Approves and takes back what nobody but the policy speaks of; true: something is otherwise now. */
bool policy_judge_routes(const struct policy *policy, struct member *member);
/* May an agent be called this? `by_key`: its join key was made for the name. */
bool policy_name_ok(const struct coordinator *co, const char *name, bool by_key, struct refusal *why);

/* Takes the policy. Its tests come first. confirm_ms: it must be confirmed within that time, else what
 * was before is back; 0: it is for good. False: refused, and nothing has changed. */
bool policy_apply(struct coordinator *co, struct policy *policy, const char *actor, uint64_t confirm_ms,
		  struct refusal *why);
bool policy_confirm(struct coordinator *co, const char *actor, struct refusal *why);
bool policy_roll_back(struct coordinator *co, const char *actor, struct refusal *why);
/* The one that waits; 0: none does. Numbers are not used again. */
uint64_t policy_waiting(const struct coordinator *co);

/* ---- policy_resolve.c: words to what is in the mesh --------------------------------------------- */

struct resolved {
	struct party party;
	struct found whose; /* nobody: an address that is no agent's or device's own */
	struct party other; /* their IPv6 side; addr.family 0: none */
	struct prefix range; /* addr.family 0: it is none; party has its first address */
};
/* A name under hosts (not where policy is NULL), an agent's or device's name or id, an address or a CIDR;
 * network "" or NULL: any. */
bool policy_resolve(const struct coordinator *co, const struct policy *policy, const char *word,
		    const char *network, struct resolved *out, struct refusal *why);
void policy_resolve_found(const struct found *found, struct resolved *out);
struct judged { /* of one family, or of a part of a range */
	struct verdict verdict;
	struct party from, to; /* of the two that were judged, with the address that counts */
};
/* What it decides between the two, for each family that both have an address of, IPv4 first; returns how
 * many. Of ranges: for an address, and where there is one for another that is judged otherwise, or by another
 * rule. Where they cannot meet in any it is 1, a denial whose rule says why. 0: a range has more parts that rules
 * tell apart than are looked at, or *patience (of all questions that are asked in one go, POLICY_PATIENCE before the
 * first) has ended. */
#define POLICY_PATIENCE 20000 /* pairs of parts, of some microseconds each */
#define POLICY_TOO_WIDE "a range has too many parts that rules tell apart: name a smaller one"
unsigned policy_judge(const struct coordinator *co, const struct policy_index *index, const struct resolved *from,
		      const struct resolved *to, uint32_t point, unsigned *patience, struct judged out[static 2]);
/* [{"line","from","to","port","expect","result":"ok"|"failed"|"skipped","detail"}], new; counts what
 * failed. */
json_t *policy_run_tests(const struct coordinator *co, const struct policy *policy, unsigned *failed);
/* Words that fit nobody here, and names that are two things: sentences, with FILE:LINE:COLUMN where they
 * are of a place in it; new. */
json_t *policy_warnings(const struct coordinator *co, const struct policy *policy);
/* What would be otherwise under `next`, new: [{"network","from","to","before","after"}] of groups of agents, in
 * words, and [{"network","agent","route","before","after"}] of routes, true where it is approved; not *complete:
 * there may be more. */
json_t *policy_compare(const struct coordinator *co, const struct policy *next, bool *complete);

#endif
