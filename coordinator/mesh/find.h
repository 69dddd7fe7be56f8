/*
 * find.h - an agent, or a device, as people name it: an exact name, mesh address, agent id or public key, else, as far as
 * `how` says, a unique beginning of one: who joins chooses its name, and may try keys until one begins as it
 * likes, so neither's beginning may let it in. Only memberships in networks that the asker sees are looked at, named in a refusal, or
 * make a word ambiguous.
 */
#ifndef COORDINATOR_FIND_H
#define COORDINATOR_FIND_H

#include "registry.h"

struct who;

enum find_how {
	FIND_ANY,     /* to look at: any beginning will do */
	FIND_CERTAIN, /* to change: all of it, or the beginning of an id, which we gave */
	FIND_EXACT,   /* all of it */
};
/* Of an id or a key, which are random, at least so many characters: a short word for a name would now and
 * then be one for a key too. */
#define FIND_LETTERS 4

/* The membership meant, in `only` or (NULL) the first of the agent's that `who` (NULL: all) sees. NULL:
 * refused, with what it could be, or the nearest name. */
struct member *find_agent(const struct coordinator *co, const struct network *only, const struct who *who,
			  const char *text, enum find_how how, struct refusal *why);
/* A party of the policy: an agent, or a device (device.h). Both NULL: nobody. */
struct found {
	struct member *member;
	struct device *device;
};
/* The same as find_agent with FIND_ANY, but it may be a device, as people name it in the same ways. */
bool find_party(const struct coordinator *co, const struct network *only, const struct who *who,
		const char *text, struct found *out, struct refusal *why);
/* Refuses where `who` (NULL: all) sees the agent in other networks than the member's too, naming them. */
bool find_only(const struct member *member, const struct who *who, struct refusal *why);
/* "there is no agent or device TEXT", with the nearest name there is; a remedy (remedy.h) only where `who`
 * asks, not in what is told of a policy (NULL). Always false. */
bool find_none(const struct coordinator *co, const struct network *only, const struct who *who,
	       const char *text, struct refusal *why);

#endif
