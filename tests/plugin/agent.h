/*
 * agent.h - as much of an agent as plugins need: a loop, a plugin host, discovery, and services that
 * answer from constants. Include it last.
 */
#ifndef TESTS_PLUGIN_AGENT_H
#define TESTS_PLUGIN_AGENT_H

#include "discovery.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "plugin.h"
#include "plugin_instance.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct agent {
	struct loop *loop;
	struct plugin_host *host;
	struct discovery *discovery;
	struct config config;
	struct config_plugin entries[8];
	int changes, sent;
};

static uint16_t agent_port(void *arg)
{
	(void)arg;
	return 51820;
}

static int agent_send(void *arg, const struct endpoint *to, const void *data, size_t len)
{
	struct agent *agent = arg;

	(void)to;
	(void)data;
	(void)len;
	agent->sent++;
	return 0;
}

static const char *agent_stun_server(void *arg, unsigned index)
{
	(void)arg;
	return index ? NULL : "192.0.2.9:3478";
}

static size_t agent_addresses(void *arg, struct addr *addrs, size_t max)
{
	(void)arg;
	assert_true(max >= 2);
	addr_parse(&addrs[0], "192.168.7.2");
	addr_parse(&addrs[1], "2001:db8::2");
	return 2;
}

static void on_change(void *arg)
{
	struct agent *agent = arg;

	agent->changes++;
}

static void agent_open(struct agent *agent, const char *plugin_dir, const char *hung)
{
	struct plugin_services services = {
		.arg = agent,
		.interface = "wgtest",
		.port = agent_port,
		.port_send = agent_send,
		.stun_server = agent_stun_server,
		.local_addresses = agent_addresses,
		.hung_path = hung,
	};

	memset(agent, 0, sizeof(*agent));
	agent->loop = services.loop = loop_new();
	agent->host = plugin_host_new(&services, plugin_dir);
	agent->discovery = discovery_new(agent->host, on_change, agent);
	agent->config.discovery = agent->entries;
}

/* yaml is the value of discovery: */
static void agent_configure(struct agent *agent, const char *yaml)
{
	struct yaml *old = agent->config.yaml;
	char error[YAML_ERROR], *text = xasprintf("discovery: %s\n", yaml);
	json_t *list, *entry;
	size_t i;

	agent->config.yaml = yaml_load_text("wgtest.yaml", text, strlen(text), error);
	free(text);
	assert_non_null(agent->config.yaml);
	for (i = 0; i < agent->config.discovery_count; i++)
		free(agent->entries[i].name);
	list = json_object_get(yaml_root(agent->config.yaml), "discovery");
	json_array_foreach(list, i, entry) {
		struct config_plugin *to = &agent->entries[i];

		*to = (struct config_plugin){0};
		if (json_is_object(entry)) {
			to->name = xstrdup(json_object_iter_key(json_object_iter(entry)));
			to->options = json_object_iter_value(json_object_iter(entry));
		} else {
			to->name = xstrdup(json_string_value(entry));
		}
	}
	agent->config.discovery_count = json_array_size(list);
	plugin_host_configure(agent->host, &agent->config);
	yaml_free(old);
}

static void on_stop(void *arg)
{
	loop_stop(arg);
}

static void agent_run(struct agent *agent, uint64_t ms)
{
	struct loop_timer timer;

	timer_init(&timer, agent->loop, on_stop, agent->loop);
	timer_start(&timer, ms);
	loop_run(agent->loop);
	timer_stop(&timer);
}

static void agent_close(struct agent *agent)
{
	discovery_free(agent->discovery);
	plugin_host_free(agent->host);
	for (size_t i = 0; i < agent->config.discovery_count; i++)
		free(agent->entries[i].name);
	yaml_free(agent->config.yaml);
	loop_free(agent->loop);
}

static json_t *listed(const struct agent *agent, const char *name, const char *member)
{
	static json_t *all;
	json_t *entry;
	size_t i;

	json_decref(all);
	all = plugin_host_json(agent->host);
	json_array_foreach(json_object_get(all, "plugins"), i, entry)
		if (!strcmp(json_string_value(json_object_get(entry, "name")), name))
			return json_object_get(entry, member);
	return NULL;
}

static const char *reason(const struct agent *agent, const char *name)
{
	const char *text = json_string_value(listed(agent, name, "error"));

	return text ? text : "";
}

static const char *instance_state(const struct agent *agent, const char *name)
{
	const char *text = json_string_value(json_object_get(
		json_array_get(listed(agent, name, "instances"), 0), "state"));

	return text ? text : "";
}

static bool has_endpoint(const struct endpoint *list, unsigned count, const char *text)
{
	char got[ENDPOINT_TEXT];

	for (unsigned i = 0; i < count; i++) {
		endpoint_format(got, &list[i]);
		if (!strcmp(got, text))
			return true;
	}
	return false;
}

#endif
