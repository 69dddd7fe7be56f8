/*
 * heal.h - when the database is an older copy than agents remember: restored from a backup, or put
 * back by hand. It is known by its generation, which counts starts and also stands in a file of the
 * state directory.
 *
 * Then there is a new token secret (and, as at every start, a new epoch), and for a time an agent
 * that is not known may come back: by proof of its key, and by its last token, which says where it
 * was a member, was signed with the secret of before and is younger than the copy. So nobody comes in
 * who was not let in, and nobody who had been removed when the copy was made.
 */
#ifndef COORDINATOR_HEAL_H
#define COORDINATOR_HEAL_H

#include "coordinator/mesh/registry.h"

/* After the mesh was loaded. 0 or -errno of the database. */
int heal_check(struct coordinator *co);
/* Is its last token one by which it may come back? */
bool heal_admits(struct coordinator *co, const char *id, const struct key *public_key, const char *old_token,
		 struct refusal *why);
/* The agent, made again with what it had where that is free. NULL: refused. */
struct agent *heal_readmit(struct coordinator *co, const char *id, const struct key *public_key,
			   const char *old_token, struct refusal *why);
/* Of the table meta, as another coordinator has written it. */
void heal_row(struct coordinator *co, const struct store_value *row);
/* For a token: where its agent is a member. New. */
json_t *heal_memberships(const struct agent *agent);

#endif
