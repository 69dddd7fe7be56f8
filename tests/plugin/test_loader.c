/*
 * test_loader.c - the loader with real objects: run.sh builds them against the installed header
 * alone and names their directory in WGM_TEST_PLUGINS, the bundled ones in WGM_TEST_BUNDLED.
 */
#include "discovery.h"
#include "lib/clock.h"
#include "lib/str.h"
#include "plugin.h"
#include "plugin_instance.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *dir, *bundled;

/* ---- an agent of its own ------------------------------------------------------------ */

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

/* ---- the tests ------------------------------------------------------------------------ */

static void test_bundled(void **state)
{
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	agent_open(&agent, bundled, NULL);
	agent_configure(&agent, "[local, stun, {static: {endpoints: [\"203.0.113.5:51820\", \"[2001:db8::7]:9\"]}}]");
	agent_run(&agent, 100);
	discovery_result(agent.discovery, &at);
	assert_true(agent.changes > 0);
	assert_int_equal(at.local_count, 2);
	assert_true(has_endpoint(at.local_endpoints, 2, "192.168.7.2:51820"));
	assert_true(has_endpoint(at.local_endpoints, 2, "[2001:db8::2]:51820"));
	assert_int_equal(at.count, 2);
	assert_true(has_endpoint(&at.endpoint, 1, "203.0.113.5:51820"));
	assert_true(agent.sent > 0); /* a STUN request to the coordinator's server */
	assert_true(json_is_true(listed(&agent, "stun", "loaded")));
	/* A reload without them closes them, and what they found goes. */
	agent_configure(&agent, "[local]");
	agent_run(&agent, 20);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 0);
	assert_int_equal(at.local_count, 2);
	agent_close(&agent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bundled),
	};

	dir = getenv("WGM_TEST_PLUGINS");
	bundled = getenv("WGM_TEST_BUNDLED");
	if (!dir || !bundled)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
