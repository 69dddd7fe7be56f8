/*
 * discovery-local - this host's own addresses with WireGuard's port, for peers on the same network
 * and for hosts that need no NAT traversal at all.
 */
#include <wg-mesh/plugin.h>

#include <arpa/inet.h>
#include <errno.h>

#define FOUND_MAX 16

static int local_open(struct wgm_host *host, void **self)
{
	*self = host;
	return 0;
}

static void local_close(void *self)
{
	(void)self;
}

static int local_refresh(void *self)
{
	struct wgm_host *host = self;
	struct wgm_candidate found[FOUND_MAX];
	union wgm_addr addrs[FOUND_MAX];
	uint16_t port = host->port(host);
	size_t count = host->local_addresses(host, addrs, FOUND_MAX);

	if (count > FOUND_MAX)
		count = FOUND_MAX;
	for (size_t i = 0; i < count; i++) {
		found[i] = (struct wgm_candidate){.type = WGM_HOST, .addr = addrs[i]};
		if (addrs[i].sa.sa_family == AF_INET6)
			found[i].addr.in6.sin6_port = htons(port);
		else
			found[i].addr.in4.sin_port = htons(port);
	}
	host->found(host, found, port ? count : 0);
	return port ? 0 : -EAGAIN;
}

static const struct wgm_discovery_ops local_ops = {
	.size = sizeof(local_ops),
	.refresh = local_refresh,
};

WGM_PLUGIN(WGM_DISCOVERY, "local", WG_MESH_VERSION, "this host's own addresses", 0, NULL, local_open, NULL,
	   local_close, &local_ops);
