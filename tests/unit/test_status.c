/*
 * The status document has every key of SPEC 2.1, known or not; and the record is a ring.
 */
#include "record.h"
#include "status.h"

#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const keys[] = {"schema",      "interface", "network",    "networks",
				   "name",        "agent_id",  "public_key", "addresses",
				   "coordinator", "relay",     "nat",        "peers"};
static const char *const peer_keys[] = {
	"name",     "agent_id", "public_key", "addresses", "allowed_ips", "online",
	"path",     "endpoint", "relay",      "pinned",    "latency_ms",  "last_handshake",
	"rx_bytes", "tx_bytes", "nat_type",   "networks",  "managed"};

static json_t *at(json_t *json, const char *a, const char *b)
{
	return json_object_get(json_object_get(json, a), b);
}

static void test_nothing_known(void **state)
{
	struct proto_endpoints nowhere = {0};
	struct status status = {.interface = "wg0", .at = &nowhere};
	struct status_peer peer = {.latency_ms = -1};
	json_t *document = status_json(&status), *one;

	(void)state;
	status_add_peer(document, &peer);
	assert_int_equal(json_object_size(document), ARRAY_SIZE(keys));
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(document, keys[i]));
	one = json_array_get(json_object_get(document, "peers"), 0);
	assert_int_equal(json_object_size(one), ARRAY_SIZE(peer_keys));
	for (unsigned i = 0; i < ARRAY_SIZE(peer_keys); i++)
		assert_non_null(json_object_get(one, peer_keys[i]));
	assert_true(json_is_null(json_object_get(document, "network")));
	assert_true(json_is_null(at(document, "coordinator", "since")));
	assert_true(json_is_null(at(document, "coordinator", "refused")));
	assert_true(json_is_null(at(document, "nat", "filtering")));
	assert_true(json_is_null(at(document, "relay", "home")));
	assert_string_equal(json_string_value(at(document, "nat", "type")), "unknown");
	assert_string_equal(json_string_value(json_object_get(one, "path")), "none");
	assert_true(json_is_null(json_object_get(one, "latency_ms")));
	assert_true(json_is_null(json_object_get(one, "online"))); /* a peer of the user's own */
	json_decref(document);
}

static void test_known(void **state)
{
	struct proto_network network = {.name = "default", .address_count = 1};
	struct proto_endpoints here = {.nat_type = NAT_SYMMETRIC, .count = 1};
	struct status status = {.interface = "wg0",
				.name = "laptop",
				.agent_id = "id",
				.networks = &network,
				.network_count = 1,
				.coordinator_connected = true,
				.at = &here,
				.mapping = "endpoint-independent"};
	struct status_peer peer = {.name = "nas",
				   .agent_id = "x",
				   .managed = true,
				   .online = true,
				   .path = PATH_DIRECT,
				   .latency_ms = 12.3,
				   .networks = {"default"},
				   .network_count = 1};
	json_t *document, *one;

	(void)state;
	prefix_parse(&network.addresses[0], "10.86.0.3/16");
	endpoint_parse(&here.endpoints[0], "203.0.113.5:51820");
	endpoint_parse(&peer.endpoint, "[2001:db8::9]:51820");
	document = status_json(&status);
	status_add_peer(document, &peer);
	one = json_array_get(json_object_get(document, "peers"), 0);
	assert_string_equal(json_string_value(json_object_get(document, "network")), "default");
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(document, "addresses"), 0)),
		"10.86.0.3/16");
	assert_string_equal(json_string_value(json_array_get(at(document, "nat", "endpoints"), 0)),
			    "203.0.113.5:51820");
	assert_string_equal(json_string_value(json_object_get(one, "path")), "direct");
	assert_string_equal(json_string_value(json_object_get(one, "endpoint")),
			    "[2001:db8::9]:51820");
	assert_true(json_is_true(json_object_get(one, "online")));
	assert_true(json_real_value(json_object_get(one, "latency_ms")) == 12.3);
	assert_true(json_is_integer(json_object_get(one, "rx_bytes")));
	peer.no_tunnel = true; /* wholly refused: there is nothing to count */
	status_add_peer(document, &peer);
	one = json_array_get(json_object_get(document, "peers"), 1);
	assert_true(json_is_null(json_object_get(one, "rx_bytes")));
	assert_true(json_is_null(json_object_get(one, "tx_bytes")));
	json_decref(document);
}

static size_t records(const struct record *record, const struct key *key)
{
	json_t *list = record_json(record, key);
	size_t count = json_array_size(list);

	json_decref(list);
	return count;
}

static void test_record(void **state)
{
	struct record *record = record_new(8);
	struct key a = {{1}}, b = {{2}};
	struct endpoint endpoint;
	json_t *list, *last;

	(void)state;
	assert_int_equal(records(record, NULL), 0);
	endpoint_parse(&endpoint, "192.0.2.1:9");
	for (int i = 0; i < 5; i++)
		record_add(record, &a, "probe-sent", &endpoint, "the same");
	assert_int_equal(records(record, &a), 1); /* counted, not repeated */
	for (int i = 0; i < 20; i++)
		record_add(record, i & 1 ? &a : &b, "probe-sent", &endpoint, "number %d", i);
	assert_int_equal(records(record, NULL), 8);
	assert_int_equal(records(record, &a), 4);
	list = record_json(record, NULL);
	last = json_array_get(list, 7);
	assert_string_equal(json_string_value(json_object_get(last, "reason")), "number 19");
	assert_string_equal(json_string_value(json_object_get(last, "endpoint")), "192.0.2.1:9");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "reason")),
			    "number 12");
	json_decref(list);
	record_add(record, &a, "refused", NULL, "%s",
		   "\xc3\xa9 a word as long as a coordinator likes that is cut within a character, here it is, at the:: \xc3\xa9");
	assert_int_equal(records(record, &a), 5);
	record_free(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_known),
					   cmocka_unit_test(test_known),
					   cmocka_unit_test(test_record)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
