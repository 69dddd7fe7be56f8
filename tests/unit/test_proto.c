/* The coordinator protocol: structs to JSON and back, and what a reader refuses. */
#include "lib/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define KEY "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
#define PIN "0123456789012345678901234567890123456789ABC"

static json_t *load(const char *text)
{
	char error[JS_ERROR] = "";
	json_t *json = js_load(text, strlen(text), error);

	if (!json)
		fail_msg("%s: %s", text, error);
	return json;
}

static const char peer_text[] =
	"{\"agent_id\":\"a1\",\"public_key\":\"" KEY "\",\"name\":\"nas\",\"network\":\"default\","
	"\"addresses\":[\"10.86.0.4\",\"fd00::4\"],\"routes\":[\"192.168.1.0/24\"],"
	"\"endpoint\":\"198.51.100.9:51820\",\"endpoints\":[\"198.51.100.9:51820\"],"
	"\"local_endpoints\":[\"192.168.1.2:51820\",\"[fe80::1]:51820\"],"
	"\"nat_type\":\"udp_blocked\",\"online\":true,\"last_seen\":\"2026-11-23T13:18:09Z\","
	"\"connection_hint\":\"relay\"}";

static void test_peer_round_trip(void **state)
{
	json_t *json = load(peer_text), *again;
	struct proto_peer peer;
	struct js js;

	(void)state;
	js_read(&js, json);
	assert_true(proto_read_peer(&js, &peer));
	assert_string_equal(peer.name, "nas");
	assert_int_equal(peer.address_count, 2);
	assert_int_equal(peer.at.local_count, 2);
	assert_int_equal(peer.at.nat_type, NAT_UDP_BLOCKED);
	assert_true(peer.online);
	assert_int_equal(peer.last_seen, 1795439889000ull);
	again = proto_write_peer(&peer);
	assert_true(json_equal(json, again));
	json_decref(again);
	json_decref(json);
}

static void test_peer_patch(void **state)
{
	json_t *json = load(peer_text), *patch;
	struct proto_peer peer;
	struct js js;

	(void)state;
	js_read(&js, json);
	assert_true(proto_read_peer(&js, &peer));
	patch = load("{\"op\":\"patch\",\"agent_id\":\"a1\",\"network\":\"default\","
		     "\"endpoint\":null,\"online\":false,\"routes\":[]}");
	js_read(&js, patch);
	assert_true(proto_patch_peer(&js, &peer));
	assert_int_equal(peer.at.endpoint.addr.family, 0);
	assert_false(peer.online);
	assert_int_equal(peer.route_count, 0);
	assert_string_equal(peer.name, "nas");
	assert_int_equal(peer.at.count, 1);
	assert_int_equal(peer.last_seen, 1795439889000ull);
	json_decref(patch);
	json_decref(json);
}

static void test_peer_device(void **state)
{
	json_t *json = load("{\"agent_id\":\"d1\",\"public_key\":\"" KEY "\",\"name\":\"phone\","
			    "\"network\":\"default\",\"addresses\":[\"10.86.0.9\"],\"device\":true}");
	json_t *again;
	struct proto_peer peer;
	struct js js;

	(void)state;
	js_read(&js, json);
	assert_true(proto_read_peer(&js, &peer));
	assert_true(peer.device);
	again = proto_write_peer(&peer);
	assert_true(json_is_true(json_object_get(again, "device")));
	json_object_set_new(json, "device", json_string("yes"));
	js_read(&js, json);
	assert_false(proto_read_peer(&js, &peer));
	json_decref(again);
	json_decref(json);
}

static void test_peer_refused(void **state)
{
	static const struct {
		const char *key, *value;
	} rows[] = {
		{"agent_id", "\"\""}, {"agent_id", "\"../x\""}, {"agent_id", "7"},
		{"agent_id", "null"}, {"name", "\"a b\""}, {"name", "\"$(reboot)\""},
		{"name", "\"Nas\""}, {"name", "\"-a\""},
		{"name", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
		{"network", "[]"}, {"public_key", "\"AAAA\""}, {"public_key", "null"},
		{"addresses", "[\"10.86.0.4/32\"]"}, {"addresses", "[7]"}, {"addresses", "\"10.0.0.1\""},
		{"addresses", "[\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\",\"10.0.0.4\",\"10.0.0.5\"]"},
		{"routes", "[\"192.168.1.0/33\"]"}, {"routes", "{}"}, {"endpoint", "\"1.2.3.4\""},
		{"endpoint", "\"1.2.3.4:0\""}, {"endpoints", "[\"host:1\"]"},
		{"local_endpoints", "[null]"}, {"online", "\"yes\""}, {"last_seen", "\"yesterday\""},
		{"last_seen", "\"2026-11-23T13:18:09+01:00\""}, {"nat_type", "3"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *json = load(peer_text), *value;
		struct proto_peer peer;
		struct js js;

		value = json_loads(rows[i].value, JSON_DECODE_ANY, NULL);
		assert_non_null(value);
		json_object_set_new(json, rows[i].key, value);
		js_read(&js, json);
		if (proto_read_peer(&js, &peer))
			fail_msg("%s: %s was taken", rows[i].key, rows[i].value);
		assert_true(strlen(js.error) > 0);
		json_decref(json);
	}
}

static void test_endpoints(void **state)
{
	json_t *json = load("{\"endpoint\":\"[2001:db8::1]:1\",\"local_endpoint\":\"10.0.0.1:2\","
			    "\"nat_type\":\"martian\",\"upnp_mapped\":true}");
	struct proto_endpoints at;
	struct js js;

	(void)state;
	js_read(&js, json);
	assert_true(proto_read_endpoints(&js, &at));
	assert_int_equal(at.endpoint.addr.family, AF_INET6);
	assert_int_equal(at.count, 0);
	assert_int_equal(at.local_count, 1);
	assert_int_equal(at.nat_type, NAT_UNKNOWN);
	assert_true(at.upnp_mapped);
	json_decref(json);
}

static void test_network_round_trip(void **state)
{
	json_t *json = load("{\"id\":\"n1\",\"name\":\"default\",\"cidr\":\"10.86.0.0/16\","
			    "\"cidr6\":null,\"addresses\":[\"10.86.0.3/16\"]}");
	json_t *again, *swapped = load("{\"id\":\"n1\",\"name\":\"default\",\"cidr\":\"fd00::/64\"}");
	struct proto_network network;
	struct js js;

	(void)state;
	js_read(&js, json);
	assert_true(proto_read_network(&js, &network));
	assert_int_equal(network.cidr6.addr.family, 0);
	assert_false(network.pending);
	again = proto_write_network(&network);
	assert_true(json_equal(json, again));
	json_object_set_new(json, "approved", json_false());
	js_read(&js, json);
	assert_true(proto_read_network(&js, &network) && network.pending);
	json_decref(again);
	again = proto_write_network(&network);
	assert_true(json_equal(json, again));
	js_read(&js, swapped);
	assert_false(proto_read_network(&js, &network));
	json_decref(swapped);
	json_decref(again);
	json_decref(json);
}

static void test_relay_round_trip(void **state)
{
	json_t *json = load("{\"region\":\"embedded\",\"url\":null,\"key\":null,"
			    "\"stun\":[\"mesh.example.net:3478\",\"[2001:db8::1]:3478\"]}");
	static const char *const bad[] = {
		"{\"region\":\"a\",\"stun\":[\"host\"]}", "{\"region\":\"a\",\"stun\":[\"h:0\"]}",
		"{\"region\":\"a\",\"stun\":[\"h$(x):1\"]}", "{\"region\":\"A B\"}",
		"{\"region\":\"a\",\"url\":\"file:///etc/passwd\"}",
		"{\"region\":\"a\",\"stun\":[\"a:1\",\"a:1\",\"a:1\",\"a:1\",\"a:1\"]}",
	};
	struct proto_relay relay;
	struct js js;
	json_t *again;

	(void)state;
	js_read(&js, json);
	assert_true(proto_read_relay(&js, &relay));
	again = proto_write_relay(&relay);
	assert_true(json_equal(json, again));
	proto_relay_fini(&relay);
	json_decref(again);
	json_decref(json);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json = load(bad[i]);
		js_read(&js, json);
		if (proto_read_relay(&js, &relay))
			fail_msg("taken: %s", bad[i]);
		json_decref(json);
	}
}

static void test_nat_names(void **state)
{
	(void)state;
	for (int type = NAT_UNKNOWN; type <= NAT_UDP_BLOCKED; type++)
		assert_int_equal(nat_type_parse(nat_type_name((enum nat_type)type)), type);
	assert_int_equal(nat_type_parse("carrier"), NAT_UNKNOWN);
	assert_int_equal(nat_type_parse(NULL), NAT_UNKNOWN);
	assert_string_equal(nat_type_name((enum nat_type)99), "unknown");
}

static void test_join_links(void **state)
{
	static const struct {
		const char *text, *origin, *key, *pin; /* origin NULL: refused */
	} rows[] = {
		{"https://mesh.example.net:8443/join#abc_-9." PIN, "https://mesh.example.net:8443",
		 "abc_-9", PIN},
		{"https://[2001:db8::1]:8443/join#k", "https://[2001:db8::1]:8443", "k", ""},
		{"https://mesh.example.net/join#k", "https://mesh.example.net", "k", ""},
		{"http://mesh.example.net/join#k", NULL, NULL, NULL},
		{"https://mesh.example.net/join", NULL, NULL, NULL},
		{"https://mesh.example.net/join#", NULL, NULL, NULL},
		{"https://mesh.example.net/join#k.short", NULL, NULL, NULL},
		{"https://mesh.example.net/join#k." PIN "x", NULL, NULL, NULL},
		{"https://mesh.example.net/join#k\n", NULL, NULL, NULL},
		{"https://mesh.example.net/join/#k", NULL, NULL, NULL},
		{"https:///join#k", NULL, NULL, NULL},
		{"https://a b/join#k", NULL, NULL, NULL},
		{"https://u@host/join#k", NULL, NULL, NULL},
		{"https://host:70000/join#k", NULL, NULL, NULL},
		{"https://host:/join#k", NULL, NULL, NULL},
		{"https://[10.0.0.1]/join#k", NULL, NULL, NULL},
		{"", NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char error[JS_ERROR] = "";
		struct join_link link;

		if (join_link_parse(&link, rows[i].text, error) != !!rows[i].origin)
			fail_msg("%s: %s", rows[i].text, error);
		if (!rows[i].origin) {
			assert_true(strlen(error) > 0);
			continue;
		}
		assert_string_equal(link.origin, rows[i].origin);
		assert_string_equal(link.key, rows[i].key);
		assert_string_equal(link.pin, rows[i].pin);
		join_link_wipe(&link);
		assert_string_equal(link.key, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peer_round_trip), cmocka_unit_test(test_peer_patch),
		cmocka_unit_test(test_peer_device),
		cmocka_unit_test(test_peer_refused),	cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_network_round_trip), cmocka_unit_test(test_relay_round_trip),
		cmocka_unit_test(test_nat_names),	cmocka_unit_test(test_join_links),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
