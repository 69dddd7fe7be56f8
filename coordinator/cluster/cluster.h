/*
 * cluster.h - the other coordinators on the same PostgreSQL. Any agent may be at any of them, and each
 * works from its own memory, which must follow the others:
 *
 * - What was committed: each transaction leaves a bulletin that names what it changed; the others read
 *   those rows again (bulletin.c) and put them into their memory, as if they had changed it (apply.c).
 *   The same way a write that was refused is set right: memory gets what is there.
 * - Where an agent is and whether it is online: said on the bus, not written.
 * - Signals: passed over the bus to where the agent's stream is.
 * - Challenges that another gave, and attempts to log in, which all count: over the bus (cluster_pass.c).
 *
 * A coordinator says each two seconds that it is there; after six without a word its agents are taken for
 * gone. While our own bus is away nobody is judged.
 *
 * cluster NULL, as with SQLite: there can be no others. Every function takes that.
 */
#ifndef COORDINATOR_CLUSTER_H
#define COORDINATOR_CLUSTER_H

#include "coordinator/access/challenge.h"
#include "coordinator/mesh/mesh.h"

#define CLUSTER_KEEP_MS (3600 * 1000ull) /* so long what was committed can be read again */

struct cluster;
struct coordinator;

/* Right after the store was opened: what is loaded after that is at least as new as what we follow. NULL:
 * with this store there are no others. */
struct cluster *cluster_new(struct coordinator *co);
void cluster_free(struct cluster *cluster); /* says good-bye */

void cluster_arrived(struct cluster *cluster, struct agent *agent); /* its stream is here now */
void cluster_say(struct cluster *cluster, struct agent *agent);     /* where it is, or whether, has changed */
/* Its stream is at another coordinator, which lives. */
bool cluster_has(const struct cluster *cluster, const struct agent *agent);
/* To an agent elsewhere. False: it is nowhere. */
bool cluster_signal(struct cluster *cluster, const struct agent *to, const char *from, const char *network,
		    const char *box);

/* Lets a challenge serve that another has given: only that one knows whether it still does. `fn` is called
 * later, with CHALLENGE_SILENT where no answer comes. NULL: that one is not there. */
struct cluster_question;
typedef void cluster_verdict_fn(void *arg, enum challenge_verdict verdict);
struct cluster_question *cluster_spend(struct cluster *cluster, const uint8_t challenge[static CHALLENGE_LEN],
				       const struct key *public_key, const struct challenge_taker *taker,
				       cluster_verdict_fn *fn, void *arg);
void cluster_question_cancel(struct cluster_question *question);

/* Somebody tries to log in here, or did it right: then all count it, or forgive. `user` NULL: there is none of
 * that name, or the secret is no password. */
void cluster_login(struct cluster *cluster, const char *user, const char *address, bool right);

bool cluster_leads(const struct cluster *cluster);   /* one of all does what must be done once */
bool cluster_healing(const struct cluster *cluster); /* what was refused is being read: wait again */
uint64_t cluster_refusals(const struct cluster *cluster); /* how often something was, until now */
unsigned cluster_others(const struct cluster *cluster);
/* Adds their URLs, pins, or relays that are not there yet. */
void cluster_add_urls(const struct cluster *cluster, json_t *array);
void cluster_add_relays(const struct cluster *cluster, json_t *array);
void cluster_add_pins(const struct cluster *cluster, json_t *array);

#endif
