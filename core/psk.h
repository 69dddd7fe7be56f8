/*
 * psk.h - how two agents agree on the preshared key of the tunnel between them, and on another one
 * later, without a packet lost: judgement only. What comes in is an event, what is to be done comes
 * out; psk_store.h keeps it, agent_psk.c carries it.
 *
 *   the one with the smaller public key ("maker")        the other
 *       makes a key, keeps it, offer(E)  ------------->  keeps it
 *       switches two seconds later       <-------------  ack(E), switches two seconds later
 *       the next handshake has it: done(E)  <--------->  the next handshake has it: done(E)
 *       hears done: forgets the old one                  hears done: forgets the old one
 *
 * WireGuard takes a preshared key for its next handshake and lets the session be, so nothing stops
 * meanwhile. Until the other end has said that it holds the new key for good, each end keeps both,
 * and goes to and fro between them when handshakes fail: whatever was lost on the way, they meet.
 * E is an epoch, the wall clock of the maker and always higher than all before, so that nothing old
 * is taken again after a restart. To have no key any more is agreed on in the same way: an offer
 * with a key that is all zero, which either end may make. Times are clock_ms(); 0: never.
 */
#ifndef CORE_PSK_H
#define CORE_PSK_H

#include "lib/key.h"

#define PSK_EPOCH_MAX (INT64_C(1) << 53)

enum psk_step {
	PSK_OFFER, /* take this key of this epoch */
	PSK_ACK,   /* I have kept it */
	PSK_DONE,  /* I hold this epoch, for good. Also a question: do you? */
	PSK_NONE,  /* I do not hold it and want none */
	PSK_ASK,   /* I do not hold it: make another, above this epoch */
	PSK_STEPS
};
const char *psk_step_name(enum psk_step step);
bool psk_step_parse(enum psk_step *out, const char *name);

struct psk_message {
	enum psk_step step;
	bool answer; /* to be left unanswered */
	uint64_t epoch, base; /* base: of an offer, what its sender would go back to */
	struct key key;       /* of an offer */
};

enum psk_state { /* of next */
	PSK_IDLE,      /* there is none */
	PSK_OFFERED,   /* ours, until it is acknowledged */
	PSK_HELD,      /* the other's; it has to offer it again */
	PSK_STAGED,    /* both have it: in a moment */
	PSK_SWITCHED,  /* for the next handshake */
	PSK_CONFIRMED, /* a handshake had it */
};

struct psk_key {
	uint64_t epoch; /* 0: never agreed on any */
	struct key key; /* all zero: none */
};

struct psk { /* durable is what is said to be kept; the rest begins at zero */
	struct psk_key now, next; /* kept */
	uint64_t highest;         /* kept: no epoch up to here is new */
	enum psk_state state;     /* kept */
	bool ours;                /* kept: next is our own offer */
	bool maker, wanted;       /* ours to make; psk: auto */
	uint64_t every_ms;        /* how long a key serves */

	bool using_next, looked, refused, reachable, was_wanted;
	uint64_t handshake_wall_ms, session_ms, looked_ms; /* as last seen */
	uint64_t set_ms, switch_ms, rotate_ms, begun_ms, send_ms, reachable_ms, path_ms,
		taken_ms;
	unsigned tries, asks;
};

struct psk_event {
	uint64_t now_ms, wall_ms;
	const struct psk_message *heard; /* NULL: only a look at the device, every few seconds */
	/* Of a look: */
	bool reachable; /* it would hear what we send */
	bool may_begin; /* not too many at once */
	bool has_psk;   /* the device has one for it */
	bool has_path;  /* packets reach it */
	uint64_t handshake_wall_ms; /* as WireGuard says it; 0: never */
};

enum psk_action {
	PSK_STORE = 1, /* keep it for good, before the others are done */
	PSK_SET = 2,   /* psk_device() is to be on the device */
	PSK_SEND = 4,  /* the message */
	PSK_BEGUN = 8, /* a key more is being agreed on */
};

/* Once, from zero or from what was kept. */
void psk_begin(struct psk *psk, const struct psk_event *now);
unsigned psk_take(struct psk *psk, const struct psk_event *event, struct psk_message *out);
const struct key *psk_device(const struct psk *psk); /* all zero: none, or nothing agreed */
bool psk_is_users(const struct psk *psk, bool has_psk); /* not ours: it is left alone */
void psk_wipe(struct psk *psk);

#endif
