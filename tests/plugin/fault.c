/* A plugin that does to the agent what its option says: when it is refreshed, or (built with
 * HANGS_EARLY) before anything of it was called. */
#include <wg-mesh/plugin.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef NAME
#define NAME "fault"
#endif

static void hang(void)
{
	for (;;)
		usleep(1000);
}

#ifdef HANGS_EARLY
__attribute__((constructor)) static void early(void)
{
	hang();
}
#endif

static volatile int depth;

static int recurse(const volatile char *below)
{
	volatile char room[4096];

	room[0] = below[0];
	depth++;
	return depth < 0 ? depth : recurse(room) + room[0];
}

static int fault_open(struct wgm_host *host, void **self)
{
	*self = host;
	return 0;
}

static void fault_close(void *self)
{
	(void)self;
}

static int fault_refresh(void *self)
{
	struct wgm_host *host = self;
	const char *how = host->option_string(host, "how", 0);
	volatile int *volatile nowhere = NULL;
	char here = 0;

	if (!strcmp(how, "hang"))
		hang();
	if (!strcmp(how, "crash"))
		*nowhere = 1;
	if (!strcmp(how, "recurse"))
		recurse(&here);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "exit"))
		exit(0);
	return 0;
}

static const struct wgm_option options[] = {
	{"how", WGM_STRING, 0, "hang", 0, 0, "hang, crash, recurse, abort, exit or nothing"},
	{NULL, 0, 0, NULL, 0, 0, NULL},
};

static const struct wgm_discovery_ops ops = {.size = sizeof(ops), .refresh = fault_refresh};

WGM_PLUGIN(WGM_DISCOVERY, NAME, "1", "breaks the agent", 0, options, fault_open, NULL, fault_close, &ops);
