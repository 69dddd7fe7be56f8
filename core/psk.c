/*
 * Agreeing on preshared keys. Why it always comes together again: a key is kept before it is offered
 * or acknowledged, and the old one is forgotten only when the other end has said done, which it says
 * after a handshake had the new one and that is kept. So as long as both are there, the two ends have
 * a key in common; and while no handshake succeeds, the one changes between its keys quickly and the
 * other slowly, so that every pair is tried. Where one end has lost everything, the other asks
 * whether it holds the key (done), and the answer leads to a new offer, or to none.
 *
 * The tricky thing: what a handshake had cannot be read. One that was seen between two looks at the
 * device had the key that was set before the first of them.
 */
#include "psk.h"

#include "lib/secret.h"
#include <string.h>

#define SWITCH_MS  2000   /* after the acknowledgement */
#define SETTLE_MS  1500   /* a handshake that was under way when the key was set has ended */
#define FRESH_MS   100000 /* a session so young shakes hands in 20 s at the earliest */
#define OLD_MS     155000 /* WireGuard should have shaken hands at 120 s, and has tried since */
#define LOST_MS    185000 /* no session lives longer */
#define ALONE_MS   10000  /* within reach without a session: something is wrong */
#define QUICK_MS   8000   /* to and fro, at the one end and the other: two handshakes' tries, and */
#define SLOW_MS    20000  /* long enough for the quick one to have tried both */
#define RESEND_MS  2000   /* doubling */
#define RESEND_MAX 600000
#define BEGIN_MS   10000 /* between two offers that the other end has caused */
#define REFUSED_MS 3600000
#define ASK_MS     6000 /* the other end may well begin by itself */
#define ASKS       3    /* where it was refused before, by us too */

static const char *const step_names[PSK_STEPS] = {"offer", "ack", "done", "none", "ask"};

const char *psk_step_name(enum psk_step step)
{
	return step_names[step];
}

bool psk_step_parse(enum psk_step *out, const char *name)
{
	for (int i = 0; i < PSK_STEPS; i++) {
		if (strcmp(name, step_names[i]) == 0) {
			*out = (enum psk_step)i;
			return true;
		}
	}
	return false;
}

const struct key *psk_device(const struct psk *psk)
{
	return psk->using_next ? &psk->next.key : &psk->now.key;
}

bool psk_is_users(const struct psk *psk, bool has_psk)
{
	return has_psk && key_is_zero(psk_device(psk)) && key_is_zero(&psk->now.key) &&
	       key_is_zero(&psk->next.key);
}

void psk_wipe(struct psk *psk)
{
	secret_wipe(psk, sizeof(*psk));
}

static bool has_key(const struct psk *psk)
{
	return !key_is_zero(&psk->now.key);
}

static uint64_t session_age(const struct psk *psk, uint64_t now)
{
	return psk->session_ms ? now - psk->session_ms : UINT64_MAX;
}

/* An eighth more or less, so that a whole mesh does not do it at once. */
static uint64_t jittered(uint64_t ms)
{
	return ms - ms / 8 + random_below((uint32_t)(MIN(ms / 4, UINT32_MAX - 1) + 1));
}

void psk_begin(struct psk *psk, const struct psk_event *now)
{
	uint64_t age = now->wall_ms > psk->now.epoch ? now->wall_ms - psk->now.epoch : 0;

	if (psk->state == PSK_STAGED)
		psk->state = PSK_SWITCHED;
	psk->using_next = psk->state >= PSK_SWITCHED;
	psk->set_ms = psk->send_ms = now->now_ms;
	psk->rotate_ms = now->now_ms + (age < psk->every_ms ? psk->every_ms - age : 0);
}

/* ---- changes --------------------------------------------------------------------------------- */

static unsigned say(struct psk_message *out, enum psk_step step, uint64_t epoch, bool answer)
{
	*out = (struct psk_message){.step = step, .epoch = epoch, .answer = answer};
	return PSK_SEND;
}

static unsigned say_offer(const struct psk *psk, struct psk_message *out)
{
	say(out, PSK_OFFER, psk->next.epoch, false);
	out->base = psk->now.epoch;
	out->key = psk->next.key;
	return PSK_SEND;
}

static void send_at(struct psk *psk, uint64_t ms)
{
	psk->tries = 0;
	psk->send_ms = ms;
}

static unsigned use(struct psk *psk, bool next, uint64_t now)
{
	psk->using_next = next;
	psk->set_ms = now;
	return PSK_SET;
}

/* `next` is now, for good. */
static unsigned finish(struct psk *psk, uint64_t now)
{
	unsigned set = psk->using_next ? 0 : PSK_SET;

	psk->now = psk->next;
	key_wipe(&psk->next.key);
	psk->next.epoch = 0;
	psk->state = PSK_IDLE;
	psk->using_next = psk->refused = false;
	psk->rotate_ms = now + jittered(psk->every_ms);
	if (set)
		psk->set_ms = now;
	send_at(psk, now + RESEND_MS);
	return PSK_STORE | set;
}

/* `next` is nothing. */
static unsigned drop(struct psk *psk, uint64_t now)
{
	unsigned set = psk->using_next ? use(psk, false, now) : 0;

	key_wipe(&psk->next.key);
	psk->next.epoch = 0;
	psk->state = PSK_IDLE;
	return PSK_STORE | set;
}

static unsigned stage(struct psk *psk, uint64_t epoch, const struct key *key, bool ours,
		      enum psk_state state)
{
	psk->next.epoch = psk->highest = epoch;
	psk->next.key = *key;
	psk->ours = ours;
	psk->state = state;
	return PSK_STORE;
}

/* What a handshake had the other end holds, and perhaps nothing else any more: that is kept. */
static unsigned begin(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	struct key key = {{0}};
	unsigned set = psk->state == PSK_CONFIRMED ? finish(psk, event->now_ms)
						   : drop(psk, event->now_ms);

	if (psk->wanted)
		random_bytes(&key, sizeof(key));
	stage(psk, MAX(psk->highest + 1, event->wall_ms), &key, true, PSK_OFFERED);
	key_wipe(&key);
	psk->begun_ms = event->now_ms;
	psk->tries = 1;
	psk->send_ms = event->now_ms + RESEND_MS;
	return PSK_STORE | PSK_BEGUN | set | say_offer(psk, out);
}

static bool may_make(const struct psk *psk)
{
	return psk->wanted ? psk->maker : has_key(psk);
}

/* Because the other end lacks one; not as often as it likes. */
static unsigned begin_for(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	psk->highest = MAX(psk->highest, event->heard->epoch);
	if (psk->begun_ms && event->now_ms - psk->begun_ms < BEGIN_MS &&
	    (psk->state != PSK_OFFERED || psk->next.epoch >= psk->highest))
		return 0;
	return begin(psk, event, out);
}

/* ---- what the other end says ------------------------------------------------------------------- */

/* It would go back to `base`, which one of our two should be: that is kept. */
static unsigned make_room(struct psk *psk, uint64_t base, uint64_t now)
{
	if (!psk->next.epoch)
		return 0;
	return base == psk->next.epoch ? finish(psk, now) : drop(psk, now);
}

static unsigned hear_offer(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	const struct psk_message *m = event->heard;
	uint64_t now = event->now_ms;
	unsigned actions;

	if (m->epoch == psk->next.epoch && !psk->ours) { /* our answer was lost */
		actions = psk->state == PSK_HELD ? PSK_STORE : 0;
		if (psk->state == PSK_HELD) {
			psk->state = PSK_STAGED;
			psk->switch_ms = now + SWITCH_MS;
		}
		return actions | say(out, PSK_ACK, m->epoch, false);
	}
	if (m->epoch == psk->now.epoch)
		return say(out, PSK_DONE, m->epoch, true);
	if (m->epoch <= psk->highest)
		return say(out, PSK_ASK, psk->highest, false);
	if (!psk->wanted && !key_is_zero(&m->key)) {
		if (!has_key(psk))
			return say(out, PSK_NONE, m->epoch, true);
		return psk->state == PSK_OFFERED ? say_offer(psk, out) : 0; /* ours goes first */
	}
	if (psk->taken_ms && now - psk->taken_ms < BEGIN_MS)
		return 0; /* each is written down; it comes again */
	psk->taken_ms = now;
	actions = make_room(psk, m->base, now);
	actions |= stage(psk, m->epoch, &m->key, false, PSK_STAGED);
	psk->refused = key_is_zero(&m->key);
	psk->begun_ms = now;
	psk->switch_ms = now + SWITCH_MS;
	return actions | say(out, PSK_ACK, m->epoch, false);
}

static unsigned hear_ack(struct psk *psk, const struct psk_event *event)
{
	if (psk->state != PSK_OFFERED || event->heard->epoch != psk->next.epoch)
		return 0;
	psk->state = PSK_STAGED;
	psk->switch_ms = event->now_ms + SWITCH_MS;
	return PSK_STORE;
}

static unsigned hear_done(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	const struct psk_message *m = event->heard;
	bool was_none = psk->refused;
	unsigned actions = 0;

	if (m->epoch == psk->next.epoch) {
		actions = finish(psk, event->now_ms);
		psk->refused = was_none && !has_key(psk);
	} else if (m->epoch != psk->now.epoch) {
		if (m->answer)
			return 0;
		if (!psk->wanted && !has_key(psk))
			return say(out, PSK_NONE, m->epoch, true);
		return may_make(psk) ? begin_for(psk, event, out)
				     : say(out, PSK_ASK, MAX(m->epoch, psk->highest), false);
	}
	return m->answer ? actions : actions | say(out, PSK_DONE, m->epoch, true);
}

static unsigned hear_none(struct psk *psk, const struct psk_event *event)
{
	uint64_t epoch = event->heard->epoch, now = event->now_ms;

	if (epoch == psk->next.epoch && psk->state == PSK_OFFERED) {
		psk->refused = true;
		psk->begun_ms = now;
		return drop(psk, now);
	}
	if (epoch == psk->now.epoch && has_key(psk)) { /* it has lost it, and is off */
		unsigned actions = drop(psk, now);

		key_wipe(&psk->now.key);
		psk->refused = true;
		psk->begun_ms = now;
		return actions | use(psk, false, now);
	}
	return 0;
}

static unsigned hear(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	if (!event->heard->epoch || event->heard->epoch > PSK_EPOCH_MAX ||
	    psk->highest >= PSK_EPOCH_MAX)
		return 0;
	switch (event->heard->step) {
	case PSK_OFFER:
		return hear_offer(psk, event, out);
	case PSK_ACK:
		return hear_ack(psk, event);
	case PSK_DONE:
		return hear_done(psk, event, out);
	case PSK_NONE:
		return hear_none(psk, event);
	case PSK_ASK:
		return may_make(psk) ? begin_for(psk, event, out) : 0;
	case PSK_STEPS:
		break;
	}
	return 0;
}

/* ---- looks at the device ----------------------------------------------------------------------- */

/* True: there was a handshake since the last look, with the key that was set by then. */
static bool shaken(struct psk *psk, const struct psk_event *event)
{
	uint64_t now = event->now_ms, at = event->handshake_wall_ms;
	bool anew = at && psk->looked && at != psk->handshake_wall_ms;
	bool settled = psk->looked_ms >= psk->set_ms + SETTLE_MS;

	if (!at)
		psk->session_ms = 0;
	else if (anew)
		psk->session_ms = now;
	else if (!psk->looked)
		psk->session_ms = now - MIN(event->wall_ms > at ? event->wall_ms - at : 0, now - 1);
	psk->looked = true;
	psk->looked_ms = now;
	psk->handshake_wall_ms = at;
	return anew && settled;
}

static unsigned judge_handshake(struct psk *psk, uint64_t now, struct psk_message *out)
{
	if (psk->state < PSK_SWITCHED)
		return 0;
	if (psk->using_next && psk->state == PSK_SWITCHED) {
		psk->state = PSK_CONFIRMED;
		psk->tries = 1;
		psk->send_ms = now + RESEND_MS;
		return PSK_STORE | say(out, PSK_DONE, psk->next.epoch, false);
	}
	if (psk->using_next)
		return 0;
	psk->state = psk->ours ? PSK_OFFERED : PSK_HELD; /* the other end has not switched */
	send_at(psk, now);
	return PSK_STORE;
}

static unsigned switch_over(struct psk *psk, uint64_t now)
{
	uint64_t patience = psk->maker ? QUICK_MS : SLOW_MS;

	if (psk->state == PSK_STAGED && now >= psk->switch_ms) {
		psk->state = PSK_SWITCHED;
		return use(psk, true, now);
	}
	if (psk->state >= PSK_SWITCHED && session_age(psk, now) > OLD_MS &&
	    psk->path_ms && now - MAX(psk->set_ms, psk->path_ms) >= patience)
		return use(psk, !psk->using_next, now);
	return 0;
}

static bool due(const struct psk *psk, uint64_t now)
{
	if (!may_make(psk))
		return false;
	if (psk->refused && now - psk->begun_ms < REFUSED_MS)
		return false;
	return !psk->wanted || !has_key(psk) || now >= psk->rotate_ms;
}

/* Within reach, and no session for longer than it takes to shake hands. */
static bool alone(const struct psk *psk, uint64_t now)
{
	return session_age(psk, now) > LOST_MS && now - psk->reachable_ms >= ALONE_MS;
}

/* The other end may have a key and we none; or it was refused when we were off, and waits. */
static bool may_ask(const struct psk *psk, uint64_t now)
{
	return psk->wanted && !psk->refused && !has_key(psk) &&
	       (alone(psk, now) || (!psk->maker && psk->asks < ASKS));
}

static unsigned speak(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	uint64_t now = event->now_ms;
	bool to_begin = psk->state == PSK_IDLE || psk->state == PSK_HELD;

	if (!psk->reachable)
		return 0;
	if (to_begin && due(psk, now) && event->may_begin &&
	    (session_age(psk, now) < FRESH_MS || alone(psk, now)))
		return begin(psk, event, out);
	if (now < psk->send_ms)
		return 0;
	psk->send_ms = now + MIN((uint64_t)RESEND_MS << MIN(psk->tries, 10u), RESEND_MAX);
	psk->tries++;
	if (psk->state == PSK_OFFERED)
		return say_offer(psk, out);
	if (psk->state == PSK_CONFIRMED)
		return say(out, PSK_DONE, psk->next.epoch, false);
	if (to_begin && alone(psk, now) && has_key(psk)) /* do you hold it? */
		return say(out, PSK_DONE, psk->now.epoch, false);
	if (to_begin && may_ask(psk, now)) {
		psk->asks++;
		return say(out, PSK_ASK, MAX(psk->highest, 1u), false);
	}
	psk->tries = 0;
	return 0;
}

static unsigned look(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	uint64_t now = event->now_ms;
	unsigned actions = 0;

	if ((event->reachable && !psk->reachable) || (psk->wanted && !psk->was_wanted)) {
		psk->reachable_ms = now;
		psk->refused = false;
		psk->asks = 0;
		send_at(psk, now + (psk->state == PSK_IDLE ? ASK_MS : RESEND_MS));
	}
	psk->reachable = event->reachable;
	psk->was_wanted = psk->wanted;
	psk->path_ms = !event->has_path ? 0 : psk->path_ms ? psk->path_ms : now;
	if (shaken(psk, event))
		actions = judge_handshake(psk, now, out);
	actions |= switch_over(psk, now);
	if (event->has_psk == key_is_zero(psk_device(psk)) && (has_key(psk) || psk->next.epoch))
		actions |= PSK_SET; /* somebody has taken it away, or put one there */
	return actions & PSK_SEND ? actions : actions | speak(psk, event, out);
}

unsigned psk_take(struct psk *psk, const struct psk_event *event, struct psk_message *out)
{
	return event->heard ? hear(psk, event, out) : look(psk, event, out);
}
