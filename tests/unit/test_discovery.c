/*
 * test_discovery.c - merging what several discovery plugins found, and the NAT's type from its
 * behaviour. The instances are made by hand: no plugin is loaded.
 */
#include "../../core/discovery.c"
#include "lib/clock.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int changes;

/* The host's part that discovery.c calls. */
void plugin_host_listen(struct plugin_host *host, uint32_t kind, const struct plugin_listener *listener)
{
	host->listeners[kind] = *listener;
}

static void on_change(void *arg)
{
	(void)arg;
	changes++;
}

static struct plugin_instance *add_instance(struct plugin_host *host, uint32_t kind)
{
	struct plugin_instance *instance = xcalloc(1, sizeof(*instance));

	instance->host = host;
	instance->kind = kind;
	list_add_tail(&host->instances, &instance->node);
	return instance;
}

static void find_at(struct plugin_instance *instance, uint32_t type, uint32_t priority, const char *text)
{
	struct wgm_candidate *c = &instance->found[instance->found_count++];
	struct sockaddr_storage storage;
	struct endpoint endpoint;

	assert_true(endpoint_parse(&endpoint, text));
	endpoint_to_sockaddr(&endpoint, &storage);
	c->type = type;
	c->priority = priority;
	memcpy(&c->addr, &storage, sizeof(c->addr));
}

static const char *text_of(const struct endpoint *list, unsigned count)
{
	static char all[600];
	char one[ENDPOINT_TEXT];

	all[0] = '\0';
	for (unsigned i = 0; i < count; i++) {
		endpoint_format(one, &list[i]);
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? " " : "", one);
	}
	return all;
}

static void news(struct plugin_host *host)
{
	host->listeners[WGM_DISCOVERY].news(host->listeners[WGM_DISCOVERY].arg, NULL);
	loop_run_fake(host->services.loop, 1);
}

static void test_merge(void **state)
{
	struct plugin_host host = {0};
	struct plugin_instance *a, *b, *other;
	struct discovery *discovery;
	struct proto_endpoints at;

	(void)state;
	clock_set_fake(1000, 1000);
	host.services.loop = loop_new();
	list_init(&host.instances);
	discovery = discovery_new(&host, on_change, NULL);
	a = add_instance(&host, WGM_DISCOVERY);
	b = add_instance(&host, WGM_DISCOVERY);
	other = add_instance(&host, WGM_NATMAP);
	find_at(a, WGM_HOST, 0, "192.168.1.2:51820");
	find_at(a, WGM_STATIC, 5, "203.0.113.5:51820");
	find_at(a, WGM_SERVER_REFLEXIVE, 1, "203.0.113.6:7");
	find_at(b, WGM_SERVER_REFLEXIVE, 100, "203.0.113.7:8");
	find_at(b, WGM_SERVER_REFLEXIVE, 100, "203.0.113.5:51820"); /* the static one's twin */
	find_at(b, WGM_HOST, 9, "10.0.0.2:51820");
	find_at(b, WGM_HOST, 9, "192.168.1.2:51820");
	find_at(b, WGM_SERVER_REFLEXIVE, 50, "[2001:db8::5]:51820");
	find_at(other, WGM_PORT_MAPPED, 50, "198.51.100.1:1"); /* of another kind: not ours to merge */
	news(&host);
	news(&host);
	assert_int_equal(changes, 1); /* the second told nothing new */
	discovery_result(discovery, &at);
	assert_string_equal(text_of(at.endpoints, at.count),
			    "203.0.113.7:8 203.0.113.5:51820 [2001:db8::5]:51820 203.0.113.6:7");
	assert_string_equal(text_of(at.local_endpoints, at.local_count), "10.0.0.2:51820 192.168.1.2:51820");
	assert_string_equal(text_of(&at.endpoint, 1), "203.0.113.7:8");
	assert_false(at.upnp_mapped);
	find_at(a, WGM_PORT_MAPPED, 0, "203.0.113.9:9");
	news(&host);
	discovery_result(discovery, &at);
	assert_int_equal(changes, 2);
	assert_string_equal(text_of(&at.endpoint, 1), "203.0.113.9:9");
	assert_true(at.upnp_mapped);
	a->found_count = b->found_count = 0;
	for (unsigned i = 0; i < PLUGIN_FOUND_MAX; i++) {
		char text[40];

		snprintf(text, sizeof(text), "203.0.113.5:%u", 1000 + i);
		find_at(a, WGM_STATIC, 0, text);
		snprintf(text, sizeof(text), "203.0.113.5:%u", 2000 + i);
		find_at(b, WGM_STATIC, 0, text);
	}
	news(&host);
	discovery_result(discovery, &at);
	assert_int_equal(at.count, PROTO_MAX_ENDPOINTS);
	assert_false(at.endpoint.addr.family == 0);
	discovery_free(discovery);
	free(a);
	free(b);
	free(other);
	loop_free(host.services.loop);
	clock_set_fake(0, 0);
}

#define EI WGM_NAT_ENDPOINT_INDEPENDENT
#define AD WGM_NAT_ADDRESS_DEPENDENT
#define AP WGM_NAT_ADDRESS_AND_PORT_DEPENDENT
#define NO WGM_NAT_NONE

static void test_nat_types(void **state)
{
	static const struct {
		struct wgm_nat nat;
		const char *type;
	} cases[] = {
		{{0, 0, false}, "unknown"},
		{{0, AP, false}, "unknown"},
		{{NO, 0, false}, "none"},
		{{NO, EI, false}, "none"},
		{{NO, AP, false}, "port_restricted_cone"}, /* a firewall acts like one */
		{{EI, 0, false}, "unknown"},		   /* a single server shows no filtering */
		{{EI, EI, false}, "full_cone"},
		{{EI, AD, false}, "restricted_cone"},
		{{EI, AP, false}, "port_restricted_cone"},
		{{AD, 0, false}, "symmetric"},
		{{AD, AD, false}, "symmetric"},
		{{AP, 0, false}, "symmetric"},
		{{AP, EI, false}, "symmetric"},
		{{AP, AP, false}, "symmetric"},
		{{0, 0, true}, "udp_blocked"},
		{{77, 0, false}, "unknown"}, /* a plugin may say anything */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(nat_type_name(nat_type_of(&cases[i].nat)), cases[i].type);
}

static void test_opinions(void **state)
{
	static const struct {
		struct wgm_nat a, b, both;
	} cases[] = {
		{{EI, AD, false}, {0, 0, false}, {EI, AD, false}},
		{{EI, AD, false}, {EI, AP, false}, {EI, AP, false}},
		{{EI, EI, false}, {0, 0, true}, {EI, EI, false}}, /* one got through */
		{{0, 0, true}, {0, 0, false}, {0, 0, true}},
		{{NO, EI, false}, {AP, 0, false}, {AP, EI, false}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plugin_host host = {0};
		struct discovery discovery = {.host = &host};
		struct plugin_instance *a, *b;
		struct wgm_nat nat;

		list_init(&host.instances);
		a = add_instance(&host, WGM_DISCOVERY);
		b = add_instance(&host, WGM_DISCOVERY);
		a->nat = cases[i].a;
		b->nat = cases[i].b;
		merge_nat(&discovery, &nat);
		assert_int_equal(nat.mapping, cases[i].both.mapping);
		assert_int_equal(nat.filtering, cases[i].both.filtering);
		assert_int_equal(nat.udp_blocked, cases[i].both.udp_blocked);
		discovery.nat = nat;
		if (!nat.mapping)
			assert_null(discovery_mapping(&discovery));
		free(a);
		free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_nat_types),
		cmocka_unit_test(test_opinions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
