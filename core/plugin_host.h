/*
 * plugin_host.h - what the agent lends to its plugins (struct wgm_host), and the loader's list.
 * The agent fills struct plugin_services once; plugin.c, plugin_exec.c and plugin_host.c do the rest.
 */
#ifndef CORE_PLUGIN_HOST_H
#define CORE_PLUGIN_HOST_H

#include "config.h"
#include "lib/loop.h"
#include <wg-mesh/plugin.h>

struct plugin_host; /* all instances */

struct plugin_services { /* borrowed for the host's life; each gets arg */
	void *arg;
	struct loop *loop;
	const char *interface;
	uint16_t (*port)(void *arg);
	int (*port_send)(void *arg, const struct endpoint *to, const void *data, size_t len);
	const char *(*stun_server)(void *arg, unsigned index);
	size_t (*local_addresses)(void *arg, struct addr *addrs, size_t max);
	bool (*gateway)(void *arg, struct addr *gateway, struct addr *ours);
	/* RUNDIR/IFACE.hung: who hung or crashed the agent (plugin_watchdog.h); NULL: they may. */
	const char *hung_path;
	bool only_check; /* load plugins and judge their options, open none */
};

struct plugin_host *plugin_host_new(const struct plugin_services *services, const char *plugin_dir);
void plugin_host_free(struct plugin_host *host); /* closes every instance */
/* Opens what the configuration names (again after a reload: only what changed is touched). A plugin
 * that fails is logged, listed with its reason, tried again later (1 s to 5 min), and the agent goes
 * on without it. config is borrowed until the next call or plugin_host_free. */
void plugin_host_configure(struct plugin_host *host, const struct config *config);
/* A STUN answer from the shared port that is not a probe's: offered to whoever sent the request (told
 * by its transaction, for with RFC 5780 the answer may come from elsewhere). */
void plugin_host_packet(struct plugin_host *host, const struct endpoint *from, const void *data, size_t len);
void plugin_host_servers_changed(struct plugin_host *host);
/* New: the whole document of `wg-mesh plugins --json`: {"schema":1,"plugins":[..]} (control.h). */
json_t *plugin_host_json(const struct plugin_host *host);

#endif
