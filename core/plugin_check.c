/*
 * plugin_check.c - a host of plugins that are loaded and never opened: their options against their own
 * tables, as the agent would do it.
 */
#include "plugin_check.h"
#include "lib/log.h"
#include "plugin_instance.h"

#define LOOK_MS 10

struct checking {
	struct plugin_host *host;
	struct loop *loop;
	struct loop_timer look;
};

static void never_opened(void *arg, struct plugin_instance *instance)
{
	(void)arg;
	(void)instance;
}

/* Scripts take their time. */
static void look(void *arg)
{
	struct checking *checking = arg;
	const struct plugin_instance *instance;

	list_each(instance, &checking->host->instances, node)
		if (instance->state == PLUGIN_STARTING) {
			timer_start(&checking->look, LOOK_MS);
			return;
		}
	loop_stop(checking->loop);
}

static bool tell(const struct plugin_host *host)
{
	const struct plugin_instance *instance;
	bool good = true;

	list_each(instance, &host->instances, node) {
		if (instance->state == PLUGIN_CHECKED)
			continue;
		good = good && instance->state != PLUGIN_REFUSED;
		fprintf(stderr, "%s%s\n", instance->error,
			instance->state == PLUGIN_REFUSED ? "" : "; without it the agent goes on");
	}
	return good;
}

bool plugin_check(const struct config *config, const char *interface, const char *plugin_dir)
{
	const struct plugin_listener listener = {.opened = never_opened};
	struct checking checking = {.loop = loop_new()};
	const struct plugin_services services = {
		.loop = checking.loop,
		.interface = interface,
		.only_check = true,
	};
	bool good;

	log_set_level(LOG_ERROR); /* each is told of below */
	checking.host = plugin_host_new(&services, plugin_dir);
	plugin_host_listen(checking.host, WGM_DISCOVERY, &listener);
	plugin_host_configure(checking.host, config);
	timer_init(&checking.look, checking.loop, look, &checking);
	timer_start(&checking.look, 0);
	loop_run(checking.loop);
	timer_stop(&checking.look);
	good = tell(checking.host);
	plugin_host_free(checking.host);
	loop_free(checking.loop);
	return good;
}
