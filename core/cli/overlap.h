/*
 * overlap.h - may this host take part in a network: does its range cover something the host has?
 * Facts are gathered once, the judgement is pure.
 */
#ifndef CORE_CLI_OVERLAP_H
#define CORE_CLI_OVERLAP_H

#include "lib/json.h"
#include "ledger.h"
#include "state.h"
#include "wg.h"

struct overlap_fact { /* something of this host's, outside wg-mesh */
	struct prefix prefix;
	char what[128]; /* "address on eth0", "route through eth0", "AllowedIPs in wg0.conf" */
	bool takes_all; /* a peer's allowed IPs, so wide that they may cover a network; `what` is
			   that peer */
};

struct overlap_facts {
	struct overlap_fact *items;
	size_t count;
	/* what is the mesh's own, though no ledger lists it: wg-quick has saved it into its file */
	struct prefix *own; /* addresses */
	struct key *members;
	size_t own_count, member_count;
};

/* Before the others: our addresses and the members in a state are no facts, neither on `interface` nor
 * in its file. */
void overlap_spare(struct overlap_facts *facts, const struct state *state);

void overlap_add(struct overlap_facts *facts, const struct prefix *prefix, const char *what);
/* Addresses and routes of this host, without those a ledger of ours (may be NULL) lists for
 * `interface`. 0 or -errno. */
int overlap_gather(struct overlap_facts *facts, const char *interface, const struct ledger *ledger);
/* Wide allowed IPs of the peers on an interface that is up, without those of the ledger (may be
 * NULL). */
void overlap_gather_device(struct overlap_facts *facts, const struct wg_device *device,
			   const struct ledger *ledger);
/* Address and AllowedIPs of a wg-quick file, whose interface may be down. */
void overlap_gather_conf(struct overlap_facts *facts, const char *text, size_t len,
			 const char *path);
void overlap_fini(struct overlap_facts *facts);

/* `networks` is a list of objects with name, cidr, cidr6 and, once registered, addresses. False and
 * a sentence that names the pair: it may not be joined. */
#define OVERLAP_WHY 450
bool overlap_networks_ok(const struct overlap_facts *facts, const json_t *networks,
			 char why[static OVERLAP_WHY]);

#endif
