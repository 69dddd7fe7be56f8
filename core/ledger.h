/*
 * ledger.h - RUNDIR/IFACE.owned: what this agent made on this host, one line each, written before
 * it is made (append-only, so a crash leaves at most one line too many). `wg-mesh down` and a
 * restarted agent work from it, with no agent alive. SPEC 1, rules 3 and 4.
 *
 *   wg-mesh-ledger 1 netns=4026531840 ifindex=7
 *   + peer PUBLICKEY
 *   + address 10.86.0.3/16
 *   + route 10.86.0.4/32 table=254
 *   - peer PUBLICKEY
 *
 *   + rule priority=52
 *   + mark 0x00000000
 *   + table 52
 *
 * A last line without its newline is taken as written: removing what is not there is harmless.
 * (Numbers that would not be harmless when cut short have a fixed width.)
 *
 * A ledger of another network namespace is not ours to empty: while that namespace is there nothing
 * is begun, and where it is not seen (gone, or known to others only) its ledger is moved aside to
 * IFACE.owned.other, from where it comes back in its own namespace.
 */
#ifndef CORE_LEDGER_H
#define CORE_LEDGER_H

#include "lib/key.h"
#include "lib/prefix.h"

struct ledger;

enum ledger_kind { LEDGER_PEER, LEDGER_ADDRESS, LEDGER_ROUTE, LEDGER_RULE, LEDGER_MARK, LEDGER_TABLE };

struct ledger_entry {
	enum ledger_kind kind;
	struct key key;       /* PEER */
	struct prefix prefix; /* ADDRESS, ROUTE */
	uint32_t number;      /* ROUTE: table; RULE: priority; MARK: the fwmark that was there; TABLE:
			       * a table that is ours; its routes have entries of their own */
};

/* Opens or makes it (the directory has to be there). What an earlier agent left is there to be
 * adopted; a ledger of another interface index (the interface was made anew) starts empty. 0 or
 * -errno; -EXDEV: one of another network namespace that is there has the name. */
int ledger_open(struct ledger **out, const char *path, uint32_t ifindex);
/* For reading only, as it is. -ENOENT: there is none; -EBADMSG: it is damaged. */
int ledger_read(struct ledger **out, const char *path);
void ledger_close(struct ledger *ledger);
/* After this the file of that name is ours or not there: one of a namespace that is not seen is moved
 * aside, one of ours that was comes back. 0; -EXDEV as above; or another -errno. */
int ledger_claim(const char *path);

/* The network namespace we are in, as a ledger names it; 0: unknown. */
uint64_t ledger_own_netns(void);
uint64_t ledger_netns(const struct ledger *ledger);
uint32_t ledger_ifindex(const struct ledger *ledger);

/* Before making, and after removing. Adding what is there is nothing. 0 or -errno: then do not make
 * the thing. */
int ledger_add(struct ledger *ledger, const struct ledger_entry *entry);
int ledger_del(struct ledger *ledger, const struct ledger_entry *entry);
bool ledger_has(const struct ledger *ledger, const struct ledger_entry *entry);
/* Walks: start with *pos = 0; NULL at the end. Deleting the entry just returned is fine. */
const struct ledger_entry *ledger_next(const struct ledger *ledger, size_t *pos);

#endif
