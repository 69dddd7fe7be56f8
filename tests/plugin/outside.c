/*
 * An out-of-tree plugin in C: knows nothing but the installed header. It finds what its options say,
 * ticks for ever (and forgets to stop that in close), and uses a thread to come back with post().
 */
#include <wg-mesh/plugin.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef NAME
#define NAME "outside"
#endif

struct outside {
	struct wgm_host *host;
	pthread_t thread;
	unsigned ticks, posted;
};

/* What proves in the tests of refusals that nothing of this object ran. */
#ifdef MARKER
__attribute__((constructor)) static void mark(void)
{
	FILE *file = fopen(MARKER, "w");

	if (file)
		fclose(file);
}
#endif

static void tell(struct outside *o)
{
	struct wgm_candidate found = {.type = WGM_STATIC, .priority = o->ticks};
	struct wgm_nat nat = {.mapping = WGM_NAT_ENDPOINT_INDEPENDENT, .filtering = WGM_NAT_ADDRESS_DEPENDENT};

	found.addr.in4.sin_family = AF_INET;
	found.addr.in4.sin_port = htons((uint16_t)o->host->option_int(o->host, "port", 0));
	inet_pton(AF_INET, o->host->option_string(o->host, "addresses", 0), &found.addr.in4.sin_addr);
	o->host->found(o->host, &found, 1);
	if (o->posted)
		o->host->nat(o->host, &nat);
}

static void tick(void *self)
{
	struct outside *o = self;

	o->ticks++;
	tell(o);
	o->host->after(o->host, 10, tick, o);
}

static void back(void *self)
{
	struct outside *o = self;

	o->posted++;
	tell(o);
}

static void *work(void *self)
{
	struct outside *o = self;

	o->host->post(o->host, back, o);
	return NULL;
}

static int outside_open(struct wgm_host *host, void **self)
{
	struct outside *o;
	const char *need = host->option_string(host, "need", 0);

	if (!WGM_HAS(host, relay_input))
		return host->fail(host, 38, "the agent is too old");
	if (need) {
		FILE *file = fopen(need, "r");

		if (!file)
			return host->fail(host, 2, "%s is not there", need);
		fclose(file);
	}
	o = calloc(1, sizeof(*o));
	o->host = host;
	*self = o;
	host->after(host, 10, tick, o);
	return pthread_create(&o->thread, NULL, work, o);
}

static void outside_close(void *self)
{
	struct outside *o = self;

	pthread_join(o->thread, NULL);
	memset(o, 0xff, sizeof(*o));
	free(o);
}

static int outside_refresh(void *self)
{
	tell(self);
	return 0;
}

static const struct wgm_option options[] = {
	{"addresses", WGM_STRING, WGM_REQUIRED | WGM_LIST, NULL, 0, 0, "what it finds"},
	{"port", WGM_INT, 0, "4711", 1, 65535, NULL},
	{"need", WGM_STRING, 0, NULL, 0, 0, "a file without which it does not open"},
	{"password", WGM_STRING, WGM_SECRET, NULL, 0, 0, NULL},
	{"pause", WGM_DURATION, 0, "5s", 1000, 60000, NULL},
	{"fast", WGM_BOOL, 0, "false", 0, 0, NULL},
	{NULL, 0, 0, NULL, 0, 0, NULL},
};

static const struct wgm_discovery_ops ops = {.size = sizeof(ops), .refresh = outside_refresh};

WGM_PLUGIN(WGM_DISCOVERY, NAME, "1.2", "an example from outside", 0, options, outside_open, NULL,
	   outside_close, &ops);
