/*
 * discovery-static - endpoints given by hand, for a port forwarded on a router. Names are looked up
 * again every five minutes, for addresses that change.
 */
#include "lib/util.h"
#include <wg-mesh/plugin.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIVEN_MAX       8
#define AGAIN_MS  300000
#define FAILED_MS 30000

struct given {
	struct fixed *fixed;
	union wgm_addr addrs[2]; /* one of each family */
	bool asked;
};

struct fixed {
	struct wgm_host *host;
	struct wgm_timer *again;
	struct given given[GIVEN_MAX];
	unsigned count;
};

static void publish(struct fixed *fixed)
{
	struct wgm_candidate found[2 * GIVEN_MAX];
	size_t count = 0;

	for (unsigned i = 0; i < fixed->count; i++)
		for (unsigned a = 0; a < 2; a++)
			if (fixed->given[i].addrs[a].sa.sa_family)
				found[count++] = (struct wgm_candidate){
					.type = WGM_STATIC,
					.priority = GIVEN_MAX - i,
					.addr = fixed->given[i].addrs[a],
				};
	fixed->host->found(fixed->host, found, count);
}

static int fixed_refresh(void *self);

static void on_again(void *self)
{
	struct fixed *fixed = self;

	fixed->again = NULL;
	fixed_refresh(fixed);
}

static void again_in(struct fixed *fixed, uint64_t ms)
{
	fixed->host->cancel(fixed->host, fixed->again);
	fixed->again = fixed->host->after(fixed->host, ms, on_again, fixed);
}

static void on_resolved(void *arg, const union wgm_addr *addrs, size_t count)
{
	struct given *given = arg;
	struct fixed *fixed = given->fixed;

	given->asked = false;
	if (!count) { /* the addresses known so far stay */
		again_in(fixed, FAILED_MS);
		return;
	}
	memset(given->addrs, 0, sizeof(given->addrs));
	for (size_t i = count; i-- > 0;)
		given->addrs[addrs[i].sa.sa_family == AF_INET6] = addrs[i];
	publish(fixed);
}

static int fixed_refresh(void *self)
{
	struct fixed *fixed = self;
	struct wgm_host *host = fixed->host;

	again_in(fixed, AGAIN_MS);
	for (unsigned i = 0; i < fixed->count; i++) {
		const char *text = host->option_string(host, "endpoints", i), *colon = strrchr(text, ':');
		size_t len = (size_t)(colon - text);
		char name[256];

		if (fixed->given[i].asked)
			continue;
		if (*text == '[') { /* [2001:db8::1]:51820 */
			text++;
			len -= 2;
		}
		snprintf(name, sizeof(name), "%.*s", (int)len, text);
		fixed->given[i].asked =
			host->resolve(host, name, (uint16_t)strtoul(colon + 1, NULL, 10), on_resolved,
				      &fixed->given[i]) == 0;
	}
	return 0;
}

static int fixed_open(struct wgm_host *host, void **self)
{
	unsigned count = host->option_count(host, "endpoints");
	struct fixed *fixed;

	if (count > GIVEN_MAX)
		return host->fail(host, E2BIG, "discovery-static takes %d endpoints at most", GIVEN_MAX);
	fixed = xcalloc(1, sizeof(*fixed));
	fixed->host = host;
	fixed->count = count;
	for (unsigned i = 0; i < count; i++)
		fixed->given[i].fixed = fixed;
	*self = fixed;
	return 0;
}

static const struct wgm_option fixed_options[] = {
	{"endpoints", WGM_ENDPOINT, WGM_REQUIRED | WGM_LIST, NULL, 0, 0,
	 "HOST:PORT under which this host can be reached"},
	{NULL, 0, 0, NULL, 0, 0, NULL},
};

static const struct wgm_discovery_ops fixed_ops = {
	.size = sizeof(fixed_ops),
	.refresh = fixed_refresh,
};

WGM_PLUGIN(WGM_DISCOVERY, "static", WG_MESH_VERSION, "endpoints given by hand", 0, fixed_options, fixed_open,
	   NULL, free, &fixed_ops);
