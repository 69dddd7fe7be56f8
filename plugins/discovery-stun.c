/*
 * discovery-stun - the public endpoint of WireGuard's own port, by STUN (RFC 8489), and what the NAT
 * before it does, by RFC 5780. Each address family goes through rounds of its own:
 *
 *   binding requests to every server at once; the first answer is published at once;
 *   filtering: answers asked from the server's other address, and from its other port;
 *   mapping: the other address asked; if it sees another endpoint, its other ports too;
 *   then a keepalive to one server every 20 to 25 s, which also notices a change.
 *
 * Filtering comes first because asking the other address opens the NAT to it; for the same reason
 * it is not tested again until the endpoint has changed or those openings have gone. The tricky thing
 * is a Linux router that accepts packets to itself: an unasked packet from outside takes the port for
 * that one remote address, and what we send there later leaves from another port ("poisoned"). So one
 * odd observation does not make a NAT symmetric: two remote addresses that see the same endpoint
 * make it endpoint-independent.
 */
#include "lib/addr.h"
#include "lib/str.h"
#include "lib/stun.h"
#include <wg-mesh/plugin.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SERVERS_MAX   4 /* of each family */
#define REQUESTS_MAX  16
#define SEEN_MAX      8
#define OURS_MAX      8
#define RTO_MS        500 /* RFC 8489 6.2.1, doubled each time */
#define SENDS_BINDING 5
#define SENDS_FILTER  3 /* it is silence that tells: do not wait long for it */
#define FRESH_MS      2000
#define OPENING_MS    300000
#define RETRY_MIN_MS  5000
#define RETRY_MAX_MS  60000

enum test { BINDING, KEEPALIVE, FILTER_BOTH, FILTER_PORT, OTHER_ADDRESS, OTHER_BOTH, OTHER_PORT };

struct seen { /* which endpoint of ours somebody saw */
	struct endpoint by, mapped;
};

enum stage { UNTESTED, FILTERING, MAPPING, PORTS, TESTED };

struct family {
	struct stun *stun;
	struct endpoint servers[SERVERS_MAX];
	unsigned server_count;
	struct wgm_timer *again; /* keepalive, or the next round */
	unsigned failures;       /* rounds without an answer */
	bool ever;               /* answered since our addresses have changed */

	/* this round */
	uint64_t began_ms;
	unsigned pending, pending_tests; /* requests under way; of them those of RFC 5780 */
	bool sent, answered;
	struct seen seen[SEEN_MAX];
	unsigned seen_count;
	enum stage stage;
	bool filter_both, filter_port, filter_void, other_alive;
	struct endpoint server, other; /* who answered first, or whose other address is tested */

	/* the result */
	struct endpoint known;  /* published as the best; family 0: nothing */
	struct endpoint tested; /* whose behaviour this is */
	uint64_t opened_ms;     /* when the other address was last asked */
	uint32_t mapping, filtering;
};

struct request {
	struct family *family; /* NULL: free */
	enum test test;
	struct endpoint to;
	uint8_t txid[STUN_TXID_LEN];
	unsigned sent;
	struct wgm_timer *timer;
};

struct stun {
	struct wgm_host *host;
	struct family families[2]; /* IPv4, IPv6 */
	struct request requests[REQUESTS_MAX];
	unsigned resolving;
	struct wgm_timer *resolve_again;
	struct addr ours[OURS_MAX]; /* when the last round began */
	unsigned ours_count;
	uint16_t port;
};

static struct wgm_timer *after(struct stun *stun, uint64_t ms, wgm_timer_fn *fn, void *arg)
{
	return stun->host->after(stun->host, ms, fn, arg);
}

static bool sendable(const struct endpoint *to, union wgm_addr *out)
{
	struct sockaddr_storage storage;

	memset(out, 0, sizeof(*out));
	if (!endpoint_to_sockaddr(to, &storage))
		return false;
	memcpy(out, &storage, sizeof(*out));
	return true;
}

/* ---- judgement ------------------------------------------------------------------------- */

static bool is_own(const struct stun *stun, const struct endpoint *mapped)
{
	for (unsigned i = 0; i < stun->ours_count; i++)
		if (addr_equal(&stun->ours[i], &mapped->addr))
			return mapped->port == stun->port;
	return false;
}

/* What the observations of a round say of the mapping (RFC 5780 4.3). */
static uint32_t judge_mapping(const struct stun *stun, const struct seen *seen, unsigned count)
{
	bool differ = false, by_address = false;

	for (unsigned i = 0; i < count; i++) {
		if (is_own(stun, &seen[i].mapped))
			return WGM_NAT_NONE;
		for (unsigned j = 0; j < i; j++) {
			bool same_by = addr_equal(&seen[i].by.addr, &seen[j].by.addr);

			if (!endpoint_equal(&seen[i].mapped, &seen[j].mapped))
				differ = true;
			else if (same_by)
				by_address = true;
			else
				return WGM_NAT_ENDPOINT_INDEPENDENT;
		}
	}
	if (!differ)
		return 0; /* one remote address cannot show it */
	return by_address ? WGM_NAT_ADDRESS_DEPENDENT : WGM_NAT_ADDRESS_AND_PORT_DEPENDENT;
}

/* RFC 5780 4.4. Silence says something only when the other address is known to work. */
static uint32_t judge_filtering(const struct family *f)
{
	if (f->filter_void)
		return 0;
	if (f->filter_both)
		return WGM_NAT_ENDPOINT_INDEPENDENT;
	if (!f->other_alive)
		return 0;
	return f->filter_port ? WGM_NAT_ADDRESS_DEPENDENT : WGM_NAT_ADDRESS_AND_PORT_DEPENDENT;
}

/* The endpoint that most have seen; of equals the one that is known, then the first. */
static const struct endpoint *best_seen(const struct family *f)
{
	const struct endpoint *best = NULL;
	unsigned best_votes = 0;

	for (unsigned i = 0; i < f->seen_count; i++) {
		const struct endpoint *mapped = &f->seen[i].mapped;
		unsigned votes = endpoint_equal(mapped, &f->known);

		for (unsigned j = 0; j < f->seen_count; j++)
			votes += 2 * endpoint_equal(mapped, &f->seen[j].mapped);
		if (votes > best_votes) {
			best_votes = votes;
			best = mapped;
		}
	}
	return best;
}

/* ---- news ------------------------------------------------------------------------------ */

static void add_candidate(struct wgm_candidate *found, size_t *count, const struct endpoint *endpoint,
			  uint32_t priority)
{
	union wgm_addr addr;

	if (*count == 2 * SEEN_MAX || !sendable(endpoint, &addr))
		return;
	for (size_t i = 0; i < *count; i++)
		if (!memcmp(&found[i].addr, &addr, sizeof(addr)))
			return;
	found[(*count)++] = (struct wgm_candidate){WGM_SERVER_REFLEXIVE, priority, addr};
}

static void publish(struct stun *stun)
{
	struct wgm_candidate found[2 * SEEN_MAX];
	size_t count = 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct family *f = &stun->families[i];

		if (!f->known.addr.family)
			continue;
		add_candidate(found, &count, &f->known, 100);
		/* What one server alone has seen is worth a try only where no endpoint is for all. */
		for (unsigned s = 0; s < f->seen_count && f->mapping != WGM_NAT_ENDPOINT_INDEPENDENT; s++)
			add_candidate(found, &count, &f->seen[s].mapped, 10);
	}
	stun->host->found(stun->host, found, count);
}

/* The family that carries most tunnels speaks for both. */
static void publish_nat(struct stun *stun)
{
	const struct family *v4 = &stun->families[0], *v6 = &stun->families[1];
	const struct family *f = v4->ever || !v6->ever ? v4 : v6;
	const struct wgm_nat nat = {
		.mapping = f->mapping,
		.filtering = f->filtering,
		.udp_blocked = !v4->ever && !v6->ever && (v4->failures || v6->failures),
	};

	stun->host->nat(stun->host, &nat);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void step(struct family *f);
static void round_start(void *arg);

static void request_end(struct request *r)
{
	struct family *f = r->family;

	f->stun->host->cancel(f->stun->host, r->timer);
	f->pending--;
	f->pending_tests -= r->test >= FILTER_BOTH;
	*r = (struct request){0};
}

static void on_timeout(void *arg);

static int transmit(const struct request *r)
{
	struct wgm_host *host = r->family->stun->host;
	uint8_t message[64];
	struct stun_writer w;
	union wgm_addr to;

	stun_begin(&w, message, sizeof(message), STUN_REQUEST, r->txid);
	if (r->test == FILTER_BOTH)
		stun_put_u32(&w, STUN_CHANGE_REQUEST, STUN_CHANGE_IP | STUN_CHANGE_PORT);
	else if (r->test == FILTER_PORT)
		stun_put_u32(&w, STUN_CHANGE_REQUEST, STUN_CHANGE_PORT);
	if (!sendable(&r->to, &to))
		return -EINVAL;
	return host->port_send(host, &to, message, stun_finish(&w));
}

/* Sends and waits; what cannot be sent fails from the loop, like silence. */
static void request_go(struct request *r)
{
	unsigned sends = r->test == FILTER_BOTH || r->test == FILTER_PORT ? SENDS_FILTER : SENDS_BINDING;
	uint64_t wait_ms = RTO_MS << (r->sent < 2 ? r->sent : 2); /* 0.5, 1, 2, 2, 2 s */

	if (transmit(r)) {
		r->sent = sends;
		wait_ms = 0;
	} else {
		r->sent++;
		r->family->sent = true;
	}
	r->timer = after(r->family->stun, wait_ms, on_timeout, r);
}

static void on_timeout(void *arg)
{
	struct request *r = arg;
	struct family *f = r->family;
	unsigned sends = r->test == FILTER_BOTH || r->test == FILTER_PORT ? SENDS_FILTER : SENDS_BINDING;

	r->timer = NULL;
	if (r->sent < sends) {
		request_go(r);
		return;
	}
	if (r->test == KEEPALIVE) {
		request_end(r);
		round_start(f);
		return;
	}
	request_end(r);
	step(f);
}

static void ask(struct family *f, enum test test, const struct endpoint *to)
{
	struct request *r = f->stun->requests;

	while (r < f->stun->requests + REQUESTS_MAX && r->family)
		r++;
	if (r == f->stun->requests + REQUESTS_MAX ||
	    getrandom(r->txid, sizeof(r->txid), 0) != (ssize_t)sizeof(r->txid))
		return;
	r->family = f;
	r->test = test;
	r->to = *to;
	f->pending++;
	f->pending_tests += test >= FILTER_BOTH;
	request_go(r);
}

/* ---- a round --------------------------------------------------------------------------------- */

static void on_again(void *arg)
{
	struct family *f = arg;

	f->again = NULL;
	if (f->failures || !f->server.port)
		round_start(f);
	else
		ask(f, KEEPALIVE, &f->server);
}

static void again_in(struct family *f, uint64_t ms)
{
	f->stun->host->cancel(f->stun->host, f->again);
	f->again = after(f->stun, ms, on_again, f);
}

/* Between 100 and 125 percent, so that many hosts do not knock at once. */
static uint64_t jittered(uint64_t ms)
{
	uint16_t random = 0;

	if (getrandom(&random, sizeof(random), 0) < 0)
		return ms;
	return ms + ms * random / 4 / 65536;
}

static void on_resolve_again(void *arg);

/* Nobody answered: the server may have moved, or UDP does not pass. */
static void round_failed(struct family *f)
{
	struct stun *stun = f->stun;
	uint64_t wait_ms = (uint64_t)RETRY_MIN_MS << (f->failures < 4 ? f->failures : 4);

	if (f->sent) {
		f->failures++;
		if (!f->ever && f->known.addr.family) { /* of the network we were in before */
			f->known = (struct endpoint){0};
			f->mapping = f->filtering = 0;
			publish(stun);
		}
		publish_nat(stun);
	}
	again_in(f, jittered(wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS));
	if (f->failures && !stun->resolve_again && !stun->resolving)
		stun->resolve_again = after(stun, wait_ms / 2, on_resolve_again, stun);
}

/* With what is known now; a round without tests keeps what an earlier one has shown. */
static void conclude(struct family *f)
{
	const struct endpoint *best = best_seen(f);
	uint32_t mapping = judge_mapping(f->stun, f->seen, f->seen_count);

	if (!best)
		return;
	if (f->stage == TESTED) {
		f->mapping = mapping;
		f->filtering = judge_filtering(f);
		f->tested = *best;
	} else if (!endpoint_equal(&f->tested, best)) {
		f->tested = (struct endpoint){0};
		f->mapping = mapping;
		f->filtering = 0;
	} else if (mapping == WGM_NAT_NONE || !f->mapping) {
		f->mapping = mapping;
	}
	f->known = *best;
	publish(f->stun);
	publish_nat(f->stun);
}

/* After each answer and each silence: what is next. */
static void step(struct family *f)
{
	const struct endpoint other_address = {.addr = f->other.addr, .port = f->server.port};
	const struct endpoint other_port = {.addr = f->server.addr, .port = f->other.port};
	struct wgm_host *host = f->stun->host;
	bool ended = f->stage == TESTED;

	if (f->stage == FILTERING && !f->pending_tests) {
		f->stage = MAPPING;
		f->opened_ms = host->now_ms(host);
		ask(f, OTHER_ADDRESS, &other_address);
	} else if (f->stage == MAPPING && !f->pending_tests) {
		uint32_t mapping = judge_mapping(f->stun, f->seen, f->seen_count);

		f->stage = TESTED;
		if (f->other_alive && mapping >= WGM_NAT_ADDRESS_DEPENDENT) {
			f->stage = PORTS;
			ask(f, OTHER_BOTH, &f->other);
			ask(f, OTHER_PORT, &other_port);
		}
	} else if (f->stage == PORTS && !f->pending_tests) {
		f->stage = TESTED;
	}
	if (f->stage == TESTED && !ended)
		conclude(f);
	if (f->pending)
		return;
	if (!f->answered) {
		round_failed(f);
		return;
	}
	if (f->stage == UNTESTED)
		conclude(f);
	f->failures = 0;
	again_in(f, jittered((uint64_t)host->option_int(host, "keepalive", 0)));
}

static void round_start(void *arg)
{
	struct family *f = arg;
	struct stun *stun = f->stun;
	struct wgm_host *host = stun->host;

	host->cancel(host, f->again);
	f->again = NULL;
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		if (stun->requests[i].family == f)
			request_end(&stun->requests[i]);
	f->began_ms = host->now_ms(host);
	f->sent = f->answered = false;
	f->filter_both = f->filter_port = f->filter_void = f->other_alive = false;
	f->seen_count = 0;
	f->stage = UNTESTED;
	for (unsigned i = 0; i < f->server_count; i++)
		ask(f, BINDING, &f->servers[i]);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void remember(struct family *f, const struct endpoint *by, const struct endpoint *mapped)
{
	if (f->seen_count < SEEN_MAX)
		f->seen[f->seen_count++] = (struct seen){*by, *mapped};
}

static bool wants_tests(const struct family *f, const struct stun_message *m, const struct endpoint *server)
{
	struct wgm_host *host = f->stun->host;

	if (f->stage != UNTESTED || m->other_address.addr.family != server->addr.family ||
	    !m->other_address.port || addr_equal(&m->other_address.addr, &server->addr))
		return false;
	return !endpoint_equal(&f->tested, &m->mapped) ||
	       host->now_ms(host) - f->opened_ms > OPENING_MS;
}

static void on_binding(struct family *f, const struct endpoint *from, const struct stun_message *m)
{
	const struct endpoint *best;
	bool first = !f->answered;

	remember(f, from, &m->mapped);
	f->answered = f->ever = true;
	if (first)
		f->server = *from;
	best = best_seen(f);
	if (!endpoint_equal(best, &f->known)) { /* at once: everybody waits for it */
		f->known = *best;
		f->tested = (struct endpoint){0};
		f->mapping = f->filtering = 0;
		publish(f->stun);
	}
	if (!wants_tests(f, m, from))
		return;
	f->stage = FILTERING;
	f->server = *from;
	f->other = m->other_address;
	ask(f, FILTER_BOTH, from);
	ask(f, FILTER_PORT, from);
}

/* A server that answers a CHANGE-REQUEST from where it was asked, or not with success, cannot show
 * what is filtered. */
static void on_filter(struct family *f, const struct request *r, const struct endpoint *from,
		      const struct stun_message *m)
{
	bool same_addr = addr_equal(&from->addr, &r->to.addr);

	if (m->type != STUN_SUCCESS || same_addr != (r->test == FILTER_PORT) || from->port == r->to.port)
		f->filter_void = true;
	else if (r->test == FILTER_BOTH)
		f->filter_both = true;
	else
		f->filter_port = true;
}

static void on_answer(struct request *r, const struct endpoint *from, const struct stun_message *m)
{
	struct family *f = r->family;
	struct request request = *r;
	bool filter = r->test == FILTER_BOTH || r->test == FILTER_PORT;

	if (!filter && (!endpoint_equal(from, &r->to) || m->type != STUN_SUCCESS ||
			m->mapped.addr.family != r->to.addr.family || !m->mapped.port))
		return; /* goes on waiting for a right one */
	request_end(r);
	if (request.test == KEEPALIVE) {
		if (!endpoint_equal(&m->mapped, &f->known)) {
			round_start(f);
			return;
		}
		f->answered = true;
	} else if (request.test == BINDING) {
		on_binding(f, from, m);
	} else if (filter) {
		on_filter(f, &request, from, m);
	} else {
		f->other_alive = true;
		remember(f, from, &m->mapped);
	}
	step(f);
}

static void stun_packet(void *self, const union wgm_addr *from, const void *data, size_t len)
{
	struct stun *stun = self;
	struct stun_message m;
	struct endpoint at;

	if (stun_parse(&m, data, len) || (m.type != STUN_SUCCESS && m.type != STUN_ERROR) ||
	    !endpoint_from_sockaddr(&at, &from->sa))
		return;
	for (unsigned i = 0; i < REQUESTS_MAX; i++)
		if (stun->requests[i].family && !memcmp(stun->requests[i].txid, m.txid, STUN_TXID_LEN)) {
			on_answer(&stun->requests[i], &at, &m);
			return;
		}
}

/* ---- servers ------------------------------------------------------------------------------------ */

static void add_server(struct stun *stun, const struct endpoint *at)
{
	struct family *f = &stun->families[at->addr.family == AF_INET6];

	for (unsigned i = 0; i < f->server_count; i++)
		if (endpoint_equal(&f->servers[i], at))
			return;
	if (f->server_count == SERVERS_MAX) { /* the newest name counts */
		memmove(f->servers, f->servers + 1, sizeof(f->servers) - sizeof(f->servers[0]));
		f->server_count--;
	}
	f->servers[f->server_count++] = *at;
	if (f->pending && f->stage == UNTESTED && !f->answered)
		ask(f, BINDING, at); /* joins the round that is under way */
	else if (!f->pending)
		round_start(f);
}

/* One address of each family of a name; the host forgets who asked, so nothing is kept of it. */
static void on_resolved(void *arg, const union wgm_addr *addrs, size_t count)
{
	struct stun *stun = arg;
	struct endpoint at;
	unsigned done = 0;

	stun->resolving--;
	for (size_t i = 0; i < count; i++) {
		unsigned bit = addrs[i].sa.sa_family == AF_INET6 ? 2 : 1;

		if (!endpoint_from_sockaddr(&at, &addrs[i].sa) || (done & bit))
			continue;
		done |= bit;
		add_server(stun, &at);
	}
	if (!count && !stun->resolve_again)
		stun->resolve_again = after(stun, RETRY_MIN_MS, on_resolve_again, stun);
}

/* "HOST:PORT", "[ADDR]:PORT" or "HOST" */
static void resolve_one(struct stun *stun, const char *text)
{
	struct wgm_host *host = stun->host;
	const char *colon = strrchr(text, ':');
	uint16_t port = 3478;
	struct endpoint at;
	char name[256];

	if (endpoint_parse(&at, text)) {
		add_server(stun, &at);
		return;
	}
	snprintf(name, sizeof(name), "%.*s", colon ? (int)(colon - text) : 255, text);
	if (colon && !parse_u16(colon + 1, &port))
		return;
	if (host->resolve(host, name, port, on_resolved, stun) == 0)
		stun->resolving++;
}

static void resolve_all(struct stun *stun)
{
	struct wgm_host *host = stun->host;
	unsigned own = host->option_count(host, "servers");
	const char *text;

	for (unsigned i = 0; i < own; i++)
		resolve_one(stun, host->option_string(host, "servers", i));
	for (unsigned i = 0; !own && i < SERVERS_MAX && (text = host->stun_server(host, i)); i++)
		resolve_one(stun, text);
}

static void on_resolve_again(void *arg)
{
	struct stun *stun = arg;

	stun->resolve_again = NULL;
	resolve_all(stun);
}

/* ---- as a plugin --------------------------------------------------------------------------------- */

/* Have our addresses or the port changed since last time? Then what we know is of another network. */
static bool look_around(struct stun *stun)
{
	struct wgm_host *host = stun->host;
	union wgm_addr addrs[OURS_MAX];
	struct addr ours[OURS_MAX];
	size_t count = host->local_addresses(host, addrs, OURS_MAX);
	uint16_t port = host->port(host);
	unsigned known = 0;
	bool changed;

	memset(ours, 0, sizeof(ours));
	for (size_t i = 0; i < count && i < OURS_MAX; i++) {
		struct endpoint at;

		if (endpoint_from_sockaddr(&at, &addrs[i].sa))
			ours[known++] = at.addr;
	}
	changed = port != stun->port || known != stun->ours_count || memcmp(ours, stun->ours, sizeof(ours)) != 0;
	memcpy(stun->ours, ours, sizeof(ours));
	stun->ours_count = known;
	stun->port = port;
	return changed;
}

static int stun_refresh(void *self)
{
	struct stun *stun = self;
	uint64_t now = stun->host->now_ms(stun->host);
	bool changed = look_around(stun), servers = false;

	if (!stun->port)
		return -EAGAIN;
	for (unsigned i = 0; i < 2; i++) {
		struct family *f = &stun->families[i];
		bool busy = f->pending && (f->pending_tests || !f->answered || now - f->began_ms < FRESH_MS);

		servers = servers || f->server_count;
		if (changed) {
			f->ever = false;
			f->failures = 0;
			f->tested = (struct endpoint){0};
		}
		if (changed || !busy)
			round_start(f);
	}
	if (!servers && !stun->resolving)
		resolve_all(stun);
	return 0;
}

static void stun_servers_changed(void *self)
{
	struct stun *stun = self;

	for (unsigned i = 0; i < 2; i++) {
		stun->families[i].server_count = 0;
		stun->families[i].server = (struct endpoint){0};
		round_start(&stun->families[i]); /* of nobody: ends what is under way */
	}
	resolve_all(stun);
}

static int stun_open(struct wgm_host *host, void **self)
{
	struct stun *stun = xcalloc(1, sizeof(*stun));

	stun->host = host;
	for (unsigned i = 0; i < 2; i++)
		stun->families[i].stun = stun;
	*self = stun;
	return 0;
}

static const struct wgm_option stun_options[] = {
	{"servers", WGM_ENDPOINT, WGM_LIST, NULL, 0, 0,
	 "STUN servers to ask instead of those the coordinator names"},
	{"keepalive", WGM_DURATION, 0, "20s", 5000, 120000, "how often the NAT is reminded of us"},
	{NULL, 0, 0, NULL, 0, 0, NULL},
};

static const struct wgm_discovery_ops stun_ops = {
	.size = sizeof(stun_ops),
	.refresh = stun_refresh,
	.packet = stun_packet,
	.servers_changed = stun_servers_changed,
};

WGM_PLUGIN(WGM_DISCOVERY, "stun", WG_MESH_VERSION, "the public endpoint and the NAT's behaviour, by STUN", 0,
	   stun_options, stun_open, NULL, free, &stun_ops);
