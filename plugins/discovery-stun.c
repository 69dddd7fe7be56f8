/*
 * discovery-stun - the public endpoint of WireGuard's own port, by STUN, and what the NAT before it
 * does. The checking itself is natcheck's, one for each address family; here are its servers (of the
 * configuration, else those the coordinator names), its clock, and what it has found as news.
 */
#include "lib/natcheck.h"
#include "lib/str.h"
#include <wg-mesh/plugin.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESOLVE_AGAIN_MS 5000
#define DEFAULT_PORT     3478

struct stun {
	struct wgm_host *host;
	struct natcheck families[2]; /* IPv4, IPv6 */
	struct wgm_timer *timer, *resolve_again;
	unsigned resolving;
};

static uint64_t now_ms(const struct stun *stun)
{
	return stun->host->now_ms(stun->host);
}

static bool to_wgm(const struct endpoint *endpoint, union wgm_addr *out)
{
	struct sockaddr_storage storage;

	memset(out, 0, sizeof(*out));
	if (!endpoint_to_sockaddr(endpoint, &storage))
		return false;
	memcpy(out, &storage, sizeof(*out));
	return true;
}

/* ---- time ------------------------------------------------------------------------------ */

static void rearm(struct stun *stun);

static void on_timer(void *arg)
{
	struct stun *stun = arg;

	stun->timer = NULL;
	for (unsigned i = 0; i < 2; i++)
		natcheck_run(&stun->families[i], now_ms(stun));
	rearm(stun);
}

/* After everything that may have changed what is due. */
static void rearm(struct stun *stun)
{
	uint64_t now = now_ms(stun), due = UINT64_MAX;

	for (unsigned i = 0; i < 2; i++)
		due = MIN(due, natcheck_due(&stun->families[i]));
	stun->host->cancel(stun->host, stun->timer);
	stun->timer = due == UINT64_MAX ? NULL :
					  stun->host->after(stun->host, due > now ? due - now : 0, on_timer, stun);
}

/* ---- news ------------------------------------------------------------------------------ */

#define FOUND_MAX (2 * (NATCHECK_SEEN + 1))

static void add_candidate(struct wgm_candidate *found, size_t *count, const struct endpoint *endpoint,
			  uint32_t priority)
{
	union wgm_addr addr;

	if (!to_wgm(endpoint, &addr))
		return;
	for (size_t i = 0; i < *count; i++)
		if (!memcmp(&found[i].addr, &addr, sizeof(addr)))
			return;
	found[(*count)++] = (struct wgm_candidate){WGM_SERVER_REFLEXIVE, priority, addr};
}

static void publish(struct stun *stun)
{
	struct wgm_candidate found[FOUND_MAX];
	size_t count = 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct natcheck *nc = &stun->families[i];

		if (!nc->known.addr.family)
			continue;
		add_candidate(found, &count, &nc->known, 100);
		/* What one server alone has seen is worth a try only where no endpoint is for all. */
		for (unsigned s = 0; s < nc->seen_count && nc->mapping != NATCHECK_ENDPOINT_INDEPENDENT; s++)
			add_candidate(found, &count, &nc->seen[s].mapped, 10);
	}
	stun->host->found(stun->host, found, count);
}

/* The family that carries most tunnels speaks for both. The words are the ABI's own. */
static void publish_nat(struct stun *stun)
{
	const struct natcheck *v4 = &stun->families[0], *v6 = &stun->families[1];
	const struct natcheck *nc = v4->ever || !v6->ever ? v4 : v6;
	const struct wgm_nat nat = {
		.mapping = nc->mapping,
		.filtering = nc->filtering,
		.udp_blocked = !v4->ever && !v6->ever && (v4->failures || v6->failures),
	};

	_Static_assert((int)NATCHECK_NONE == (int)WGM_NAT_NONE &&
			       (int)NATCHECK_ADDRESS_AND_PORT_DEPENDENT ==
				       (int)WGM_NAT_ADDRESS_AND_PORT_DEPENDENT,
		       "behaviours are numbered as in the ABI");
	stun->host->nat(stun->host, &nat);
}

static void on_resolve_again(void *arg);

static void on_news(void *arg)
{
	struct stun *stun = arg;
	bool silent = stun->families[0].failures || stun->families[1].failures;

	publish(stun);
	publish_nat(stun);
	if (silent && !stun->resolve_again && !stun->resolving) /* a server may have moved */
		stun->resolve_again = stun->host->after(stun->host, RESOLVE_AGAIN_MS, on_resolve_again, stun);
}

static int on_send(void *arg, const struct endpoint *to, const void *data, size_t len)
{
	struct stun *stun = arg;
	union wgm_addr addr;

	return to_wgm(to, &addr) ? stun->host->port_send(stun->host, &addr, data, len) : -EINVAL;
}

static const struct natcheck_ops check_ops = {.send = on_send, .news = on_news};

/* ---- servers ------------------------------------------------------------------------------------ */

static void add_server(struct stun *stun, const struct endpoint *at)
{
	natcheck_add_server(&stun->families[at->addr.family == AF_INET6], at, now_ms(stun));
}

/* One address of each family of a name. */
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
		stun->resolve_again = stun->host->after(stun->host, RESOLVE_AGAIN_MS, on_resolve_again, stun);
	rearm(stun);
}

/* "HOST:PORT", "[ADDR]:PORT" or "HOST" */
static void resolve_one(struct stun *stun, const char *text)
{
	struct wgm_host *host = stun->host;
	const char *colon = strrchr(text, ':');
	uint16_t port = DEFAULT_PORT;
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
	for (unsigned i = 0; !own && i < NATCHECK_SERVERS && (text = host->stun_server(host, i)); i++)
		resolve_one(stun, text);
}

static void on_resolve_again(void *arg)
{
	struct stun *stun = arg;

	stun->resolve_again = NULL;
	resolve_all(stun);
	rearm(stun);
}

/* ---- as a plugin --------------------------------------------------------------------------------- */

static int stun_refresh(void *self)
{
	struct stun *stun = self;
	struct wgm_host *host = stun->host;
	union wgm_addr addrs[NATCHECK_OURS];
	struct addr ours[NATCHECK_OURS];
	size_t count = MIN(host->local_addresses(host, addrs, NATCHECK_OURS), NATCHECK_OURS);
	uint16_t port = host->port(host);
	struct endpoint at;
	bool servers = false;

	if (!port)
		return -EAGAIN;
	memset(ours, 0, sizeof(ours));
	for (size_t i = 0; i < count; i++)
		if (endpoint_from_sockaddr(&at, &addrs[i].sa))
			ours[i] = at.addr;
	for (unsigned i = 0; i < 2; i++) {
		struct natcheck *nc = &stun->families[i];

		servers = servers || nc->server_count;
		if (natcheck_moved(nc, ours, (unsigned)count, port))
			natcheck_start(nc, now_ms(stun));
		else
			natcheck_look(nc, now_ms(stun));
	}
	if (!servers && !stun->resolving)
		resolve_all(stun);
	rearm(stun);
	return 0;
}

static void stun_packet(void *self, const union wgm_addr *from, const void *data, size_t len)
{
	struct stun *stun = self;
	struct endpoint at;

	if (!endpoint_from_sockaddr(&at, &from->sa))
		return;
	for (unsigned i = 0; i < 2; i++)
		if (natcheck_answer(&stun->families[i], &at, data, len, now_ms(stun)))
			break;
	rearm(stun);
}

static void stun_servers_changed(void *self)
{
	struct stun *stun = self;

	for (unsigned i = 0; i < 2; i++)
		natcheck_clear_servers(&stun->families[i]);
	resolve_all(stun);
	rearm(stun);
}

static int stun_open(struct wgm_host *host, void **self)
{
	struct stun *stun = xcalloc(1, sizeof(*stun));

	stun->host = host;
	for (unsigned i = 0; i < 2; i++)
		natcheck_init(&stun->families[i], &check_ops, stun,
			      (uint64_t)host->option_int(host, "keepalive", 0));
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
