/*
 * natcheck.c - rounds of STUN requests and what they say of a NAT. A round:
 *
 *   binding requests to every server at once; the first answer is news at once;
 *   filtering: answers asked from the server's other address, and from its other port;
 *   mapping: the other address asked; if it sees another endpoint, the other ports too;
 *   then a keepalive to one server now and then, which also notices a change.
 *
 * Filtering comes first because asking the other address opens the NAT to it; for the same reason
 * it is not tested again until the endpoint has changed or those openings have gone. The tricky thing
 * is a Linux router that accepts packets to itself: an unasked packet from outside takes the port for
 * that one remote address, and what we send there later leaves from another port. So one odd
 * observation does not make a NAT symmetric: two remote addresses that see the same endpoint make it
 * endpoint-independent.
 */
#include "natcheck.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define RTO_MS        500 /* RFC 8489 6.2.1, doubled up to 2 s */
#define SENDS_BINDING 5
#define SENDS_FILTER  3 /* it is silence that tells: do not wait long for it */
#define FRESH_MS      2000
#define OPENING_MS    300000
#define RETRY_MIN_MS  5000
#define RETRY_MAX_MS  60000

/* ---- judgement ------------------------------------------------------------------------- */

static bool is_own(const struct natcheck *nc, const struct endpoint *mapped)
{
	for (unsigned i = 0; i < nc->our_count; i++)
		if (addr_equal(&nc->ours[i], &mapped->addr))
			return mapped->port == nc->our_port;
	return false;
}

/* What the observations of a round say of the mapping (RFC 5780 4.3). */
static uint32_t judge_mapping(const struct natcheck *nc)
{
	const struct natcheck_seen *seen = nc->seen;
	bool differ = false, by_address = false;

	for (unsigned i = 0; i < nc->seen_count; i++) {
		if (is_own(nc, &seen[i].mapped))
			return NATCHECK_NONE;
		for (unsigned j = 0; j < i; j++) {
			bool same_by = addr_equal(&seen[i].by.addr, &seen[j].by.addr);

			if (!endpoint_equal(&seen[i].mapped, &seen[j].mapped))
				differ = true;
			else if (same_by)
				by_address = true;
			else
				return NATCHECK_ENDPOINT_INDEPENDENT;
		}
	}
	if (!differ)
		return NATCHECK_UNKNOWN; /* one remote address cannot show it */
	return by_address ? NATCHECK_ADDRESS_DEPENDENT : NATCHECK_ADDRESS_AND_PORT_DEPENDENT;
}

/* RFC 5780 4.4. Silence says something only when the other address is known to work. */
static uint32_t judge_filtering(const struct natcheck *nc)
{
	if (nc->filter_void)
		return NATCHECK_UNKNOWN;
	if (nc->filter_both)
		return NATCHECK_ENDPOINT_INDEPENDENT;
	if (!nc->other_alive)
		return NATCHECK_UNKNOWN;
	return nc->filter_port ? NATCHECK_ADDRESS_DEPENDENT : NATCHECK_ADDRESS_AND_PORT_DEPENDENT;
}

/* The endpoint that most have seen; of equals the one that is known, then the first. */
static const struct endpoint *best_seen(const struct natcheck *nc)
{
	const struct endpoint *best = NULL;
	unsigned best_votes = 0;

	for (unsigned i = 0; i < nc->seen_count; i++) {
		const struct endpoint *mapped = &nc->seen[i].mapped;
		unsigned votes = endpoint_equal(mapped, &nc->known);

		for (unsigned j = 0; j < nc->seen_count; j++)
			votes += 2 * endpoint_equal(mapped, &nc->seen[j].mapped);
		if (votes > best_votes) {
			best_votes = votes;
			best = mapped;
		}
	}
	return best;
}

/* ---- requests ----------------------------------------------------------------------------- */

static bool is_filter(enum natcheck_test test)
{
	return test == NATCHECK_FILTER_BOTH || test == NATCHECK_FILTER_PORT;
}

static unsigned sends_of(const struct natcheck_request *r)
{
	return is_filter(r->test) ? SENDS_FILTER : SENDS_BINDING;
}

static int transmit(const struct natcheck *nc, const struct natcheck_request *r)
{
	uint8_t message[64];
	struct stun_writer w;

	stun_begin(&w, message, sizeof(message), STUN_REQUEST, r->txid);
	if (r->test == NATCHECK_FILTER_BOTH)
		stun_put_u32(&w, STUN_CHANGE_REQUEST, STUN_CHANGE_IP | STUN_CHANGE_PORT);
	else if (r->test == NATCHECK_FILTER_PORT)
		stun_put_u32(&w, STUN_CHANGE_REQUEST, STUN_CHANGE_PORT);
	return nc->ops->send(nc->arg, &r->to, message, stun_finish(&w));
}

/* Sends and waits 0.5, 1, 2, 2, 2 s; what cannot be sent fails at the next run, like silence. */
static void request_go(struct natcheck *nc, struct natcheck_request *r, uint64_t now)
{
	r->due_ms = now + ((uint64_t)RTO_MS << (r->sent < 2 ? r->sent : 2));
	if (transmit(nc, r)) {
		r->sent = sends_of(r);
		r->due_ms = now;
		return;
	}
	r->sent++;
	nc->sent = true;
}

static void request_end(struct natcheck *nc, struct natcheck_request *r)
{
	nc->pending--;
	nc->pending_tests -= r->test >= NATCHECK_FILTER_BOTH;
	r->running = false;
}

static void ask(struct natcheck *nc, enum natcheck_test test, const struct endpoint *to, uint64_t now)
{
	struct natcheck_request *r = nc->requests;

	while (r < nc->requests + NATCHECK_REQUESTS && r->running)
		r++;
	if (r == nc->requests + NATCHECK_REQUESTS)
		return;
	*r = (struct natcheck_request){.running = true, .test = test, .to = *to};
	randombytes_buf(r->txid, sizeof(r->txid));
	nc->pending++;
	nc->pending_tests += test >= NATCHECK_FILTER_BOTH;
	request_go(nc, r, now);
}

/* ---- a round --------------------------------------------------------------------------------- */

/* Between 100 and 125 percent, so that many hosts do not knock at once. */
static uint64_t jittered(uint64_t ms)
{
	return ms + randombytes_uniform((uint32_t)(ms / 4) + 1);
}

static void round_failed(struct natcheck *nc, uint64_t now)
{
	uint64_t wait_ms = (uint64_t)RETRY_MIN_MS << (nc->failures < 4 ? nc->failures : 4);

	if (!nc->sent) /* no route: whoever brings one has us look again */
		wait_ms = RETRY_MAX_MS;
	nc->again_ms = now + jittered(wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS);
	if (!nc->sent)
		return;
	nc->failures++;
	if (!nc->ever) { /* what is known is of the network we were in before */
		nc->known = (struct endpoint){0};
		nc->seen_count = 0;
		nc->mapping = nc->filtering = NATCHECK_UNKNOWN;
	}
	nc->ops->news(nc->arg);
}

/* With what is known now; a round without tests keeps what an earlier one has shown. */
static void conclude(struct natcheck *nc)
{
	const struct endpoint *best = best_seen(nc);
	uint32_t mapping = judge_mapping(nc);

	if (!best)
		return;
	if (nc->stage == NATCHECK_TESTED) {
		nc->mapping = mapping;
		nc->filtering = judge_filtering(nc);
		nc->tested = *best;
	} else if (!endpoint_equal(&nc->tested, best)) {
		nc->tested = (struct endpoint){0};
		nc->mapping = mapping;
		nc->filtering = NATCHECK_UNKNOWN;
	} else if (mapping == NATCHECK_NONE || !nc->mapping) {
		nc->mapping = mapping;
	}
	nc->known = *best;
	nc->ops->news(nc->arg);
}

/* The tests of RFC 5780, each stage when the one before has been answered or met silence. */
static void next_stage(struct natcheck *nc, uint64_t now)
{
	const struct endpoint other_address = {.addr = nc->other.addr, .port = nc->server.port};
	const struct endpoint other_port = {.addr = nc->server.addr, .port = nc->other.port};

	switch (nc->stage) {
	case NATCHECK_FILTERING:
		nc->stage = NATCHECK_MAPPING;
		nc->opened_ms = now;
		ask(nc, NATCHECK_OTHER_ADDRESS, &other_address, now);
		return;
	case NATCHECK_MAPPING:
		if (nc->other_alive && judge_mapping(nc) >= NATCHECK_ADDRESS_DEPENDENT) {
			nc->stage = NATCHECK_PORTS;
			ask(nc, NATCHECK_OTHER_BOTH, &nc->other, now);
			ask(nc, NATCHECK_OTHER_PORT, &other_port, now);
			return;
		}
		break;
	case NATCHECK_PORTS:
		break;
	case NATCHECK_UNTESTED:
	case NATCHECK_TESTED:
		return;
	}
	nc->stage = NATCHECK_TESTED;
	conclude(nc);
}

/* After each answer and each silence. */
static void step(struct natcheck *nc, uint64_t now)
{
	if (!nc->pending_tests)
		next_stage(nc, now);
	if (nc->pending)
		return;
	if (!nc->answered) {
		round_failed(nc, now);
		return;
	}
	if (nc->stage == NATCHECK_UNTESTED)
		conclude(nc);
	nc->again_ms = now + jittered(nc->keepalive_ms);
}

static void end_all(struct natcheck *nc)
{
	for (unsigned i = 0; i < NATCHECK_REQUESTS; i++)
		nc->requests[i].running = false;
	nc->pending = nc->pending_tests = 0;
	nc->again_ms = 0;
}

void natcheck_start(struct natcheck *nc, uint64_t now)
{
	end_all(nc);
	nc->began_ms = now;
	nc->sent = nc->answered = false;
	nc->filter_both = nc->filter_port = nc->filter_void = nc->other_alive = false;
	nc->seen_count = 0;
	nc->stage = NATCHECK_UNTESTED;
	for (unsigned i = 0; i < nc->server_count; i++)
		ask(nc, NATCHECK_BINDING, &nc->servers[i], now);
}

/* ---- time ---------------------------------------------------------------------------------- */

static void on_silence(struct natcheck *nc, struct natcheck_request *r, uint64_t now)
{
	if (r->sent < sends_of(r)) {
		request_go(nc, r, now);
		return;
	}
	request_end(nc, r);
	if (r->test == NATCHECK_KEEPALIVE)
		natcheck_start(nc, now);
	else
		step(nc, now);
}

uint64_t natcheck_due(const struct natcheck *nc)
{
	uint64_t due = nc->again_ms ? nc->again_ms : UINT64_MAX;

	for (unsigned i = 0; i < NATCHECK_REQUESTS; i++)
		if (nc->requests[i].running && nc->requests[i].due_ms < due)
			due = nc->requests[i].due_ms;
	return due;
}

void natcheck_run(struct natcheck *nc, uint64_t now)
{
	for (unsigned i = 0; i < NATCHECK_REQUESTS; i++)
		if (nc->requests[i].running && nc->requests[i].due_ms <= now)
			on_silence(nc, &nc->requests[i], now);
	if (!nc->again_ms || nc->again_ms > now)
		return;
	nc->again_ms = 0;
	if (nc->failures || !nc->server.port)
		natcheck_start(nc, now);
	else
		ask(nc, NATCHECK_KEEPALIVE, &nc->server, now);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void remember(struct natcheck *nc, const struct endpoint *by, const struct endpoint *mapped)
{
	if (nc->seen_count < NATCHECK_SEEN)
		nc->seen[nc->seen_count++] = (struct natcheck_seen){*by, *mapped};
}

static bool wants_tests(const struct natcheck *nc, const struct stun_message *m,
			const struct endpoint *server, uint64_t now)
{
	if (nc->stage != NATCHECK_UNTESTED || m->other_address.addr.family != server->addr.family ||
	    !m->other_address.port || addr_equal(&m->other_address.addr, &server->addr))
		return false;
	return !endpoint_equal(&nc->tested, &m->mapped) || now - nc->opened_ms > OPENING_MS;
}

static void on_binding(struct natcheck *nc, const struct endpoint *from, const struct stun_message *m,
		       uint64_t now)
{
	const struct endpoint *best;

	remember(nc, from, &m->mapped);
	if (!nc->answered)
		nc->server = *from;
	nc->answered = nc->ever = true;
	nc->failures = 0;
	best = best_seen(nc);
	if (!endpoint_equal(best, &nc->known)) { /* at once: everybody waits for it */
		nc->known = *best;
		nc->tested = (struct endpoint){0};
		nc->mapping = nc->filtering = NATCHECK_UNKNOWN;
		nc->ops->news(nc->arg);
	}
	if (!wants_tests(nc, m, from, now))
		return;
	nc->stage = NATCHECK_FILTERING;
	nc->server = *from;
	nc->other = m->other_address;
	ask(nc, NATCHECK_FILTER_BOTH, from, now);
	ask(nc, NATCHECK_FILTER_PORT, from, now);
}

/* A server that answers a CHANGE-REQUEST from where it was asked, or not with success, cannot show
 * what is filtered. */
static void on_filter(struct natcheck *nc, const struct natcheck_request *r, const struct endpoint *from,
		      const struct stun_message *m)
{
	bool same_addr = addr_equal(&from->addr, &r->to.addr);

	if (m->type != STUN_SUCCESS || same_addr != (r->test == NATCHECK_FILTER_PORT) ||
	    from->port == r->to.port)
		nc->filter_void = true;
	else if (r->test == NATCHECK_FILTER_BOTH)
		nc->filter_both = true;
	else
		nc->filter_port = true;
}

static void on_answer(struct natcheck *nc, struct natcheck_request *r, const struct endpoint *from,
		      const struct stun_message *m, uint64_t now)
{
	if (!is_filter(r->test) && (!endpoint_equal(from, &r->to) || m->type != STUN_SUCCESS ||
				    m->mapped.addr.family != r->to.addr.family || !m->mapped.port))
		return; /* goes on waiting for a right one */
	request_end(nc, r);
	switch (r->test) {
	case NATCHECK_KEEPALIVE:
		if (!endpoint_equal(&m->mapped, &nc->known)) {
			natcheck_start(nc, now);
			return;
		}
		break;
	case NATCHECK_BINDING:
		on_binding(nc, from, m, now);
		break;
	case NATCHECK_FILTER_BOTH:
	case NATCHECK_FILTER_PORT:
		on_filter(nc, r, from, m);
		break;
	case NATCHECK_OTHER_ADDRESS:
	case NATCHECK_OTHER_BOTH:
	case NATCHECK_OTHER_PORT:
		nc->other_alive = true;
		remember(nc, from, &m->mapped);
		break;
	}
	step(nc, now);
}

bool natcheck_answer(struct natcheck *nc, const struct endpoint *from, const void *data, size_t len,
		     uint64_t now)
{
	struct stun_message m;

	if (stun_parse(&m, data, len) || (m.type != STUN_SUCCESS && m.type != STUN_ERROR))
		return false;
	for (unsigned i = 0; i < NATCHECK_REQUESTS; i++) {
		struct natcheck_request *r = &nc->requests[i];

		if (!r->running || memcmp(r->txid, m.txid, STUN_TXID_LEN) != 0)
			continue;
		on_answer(nc, r, from, &m, now);
		return true;
	}
	return false;
}

/* ---- the owner's side --------------------------------------------------------------------------- */

void natcheck_init(struct natcheck *nc, const struct natcheck_ops *ops, void *arg, uint64_t keepalive_ms)
{
	*nc = (struct natcheck){.ops = ops, .arg = arg, .keepalive_ms = keepalive_ms};
}

void natcheck_add_server(struct natcheck *nc, const struct endpoint *server, uint64_t now)
{
	for (unsigned i = 0; i < nc->server_count; i++)
		if (endpoint_equal(&nc->servers[i], server))
			return;
	if (nc->server_count == NATCHECK_SERVERS) { /* the newest counts */
		memmove(nc->servers, nc->servers + 1, sizeof(nc->servers) - sizeof(nc->servers[0]));
		nc->server_count--;
	}
	nc->servers[nc->server_count++] = *server;
	if (nc->pending && nc->stage == NATCHECK_UNTESTED && !nc->answered)
		ask(nc, NATCHECK_BINDING, server, now);
	else if (!nc->pending)
		natcheck_start(nc, now);
}

void natcheck_clear_servers(struct natcheck *nc)
{
	end_all(nc);
	nc->server_count = 0;
	nc->server = (struct endpoint){0};
}

bool natcheck_moved(struct natcheck *nc, const struct addr *ours, unsigned count, uint16_t port)
{
	bool changed;

	count = count < NATCHECK_OURS ? count : NATCHECK_OURS;
	changed = count != nc->our_count || port != nc->our_port;
	for (unsigned i = 0; i < count && !changed; i++)
		changed = !addr_equal(&ours[i], &nc->ours[i]);
	if (!changed)
		return false;
	memcpy(nc->ours, ours, count * sizeof(*ours));
	nc->our_count = count;
	nc->our_port = port;
	nc->ever = false;
	nc->failures = 0;
	nc->tested = (struct endpoint){0};
	return true;
}

void natcheck_look(struct natcheck *nc, uint64_t now)
{
	bool busy = nc->pending && (nc->pending_tests || !nc->answered || now - nc->began_ms < FRESH_MS);

	if (!busy)
		natcheck_start(nc, now);
}
