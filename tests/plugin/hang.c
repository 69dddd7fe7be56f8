/* A plugin that never comes back from its first callback. */
#include <wg-mesh/plugin.h>

#include <unistd.h>

static int hang_open(struct wgm_host *host, void **self)
{
	*self = host;
	return 0;
}

static void hang_close(void *self)
{
	(void)self;
}

static int hang_refresh(void *self)
{
	for (;;)
		usleep(1000);
	return self != NULL;
}

static const struct wgm_discovery_ops ops = {.size = sizeof(ops), .refresh = hang_refresh};

WGM_PLUGIN(WGM_DISCOVERY, "hang", "1", "hangs", 0, NULL, hang_open, NULL, hang_close, &ops);
