/*
 * The map: what changed, snapshots, deltas, an agent in two networks, a key that changes hands.
 */
#include "netmap.h"

#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct seen {
	struct key key;
	unsigned what;
};

static struct seen seen[64];
static unsigned seen_count, network_calls, relay_calls, refused_calls;

static void changed(void *arg, const struct key *key, unsigned what)
{
	(void)arg;
	seen[seen_count++] = (struct seen){*key, what};
}

static struct seen rekeys[8]; /* from, and the first byte of to */
static unsigned rekey_count;

static void rekeyed(void *arg, const struct key *from, const struct key *to)
{
	(void)arg;
	assert_int_equal(seen_count, 0); /* before all else */
	rekeys[rekey_count++] = (struct seen){*from, to->bytes[0]};
}

static void networks(void *arg, json_t *list)
{
	(void)arg;
	(void)list;
	network_calls++;
}

static void relays(void *arg, json_t *list)
{
	(void)arg;
	(void)list;
	relay_calls++;
}

static void refused(void *arg, const char *name, const char *why)
{
	(void)arg;
	(void)name;
	assert_non_null(why);
	refused_calls++;
}

static const struct netmap_ops ops = {rekeyed, changed, networks, relays, refused};

static json_t *peer(const char *id, const char *network, unsigned key, const char *address)
{
	struct key k = {{(uint8_t)key, 1}};

	return json_pack("{s:s, s:o, s:s, s:s, s:[s], s:[], s:n, s:[], s:[], s:s, s:b, s:n}",
			 "agent_id", id, "public_key", js_from_key(&k), "name", id, "network",
			 network, "addresses", address, "routes", "endpoint", "endpoints",
			 "local_endpoints", "nat_type", "unknown", "online", 1, "last_seen");
}

static json_t *put(json_t *p)
{
	return json_pack("{s:s, s:o}", "op", "put", "peer", p);
}

static struct netmap *netmap;

static void snapshot(json_t *peers)
{
	json_t *frame = json_pack("{s:s, s:s, s:i, s:[], s:[], s:o}", "type", "snapshot", "epoch",
				  "e1", "revision", 5, "networks", "relays", "peers", peers);

	seen_count = 0;
	netmap_snapshot(netmap, frame);
	json_decref(frame);
}

static void delta(json_t *changes)
{
	json_t *frame =
		json_pack("{s:s, s:i, s:o}", "type", "delta", "revision", 6, "changes", changes);

	seen_count = 0;
	netmap_delta(netmap, frame);
	json_decref(frame);
}

static unsigned what_of(unsigned key)
{
	for (unsigned i = 0; i < seen_count; i++) {
		if (seen[i].key.bytes[0] == key)
			return seen[i].what;
	}
	return 0;
}

static int setup(void **state)
{
	(void)state;
	network_calls = relay_calls = refused_calls = rekey_count = 0;
	netmap = netmap_new(&ops, NULL);
	snapshot(json_pack("[o, o]", peer("a", "default", 1, "10.0.0.1"),
			   peer("b", "default", 2, "10.0.0.2")));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	netmap_free(netmap);
	return 0;
}

static void test_snapshot(void **state)
{
	(void)state;
	assert_int_equal(seen_count, 2);
	assert_int_equal(what_of(1), NETMAP_ADDED);
	assert_int_equal(network_calls, 1);
	assert_int_equal(relay_calls, 1);
	assert_string_equal(netmap_epoch(netmap), "e1");
	assert_int_equal(netmap_revision(netmap), 5);
	assert_int_equal(netmap_count(netmap), 2);
	/* The same again: nothing. Then one less and one new. */
	snapshot(json_pack("[o, o]", peer("a", "default", 1, "10.0.0.1"),
			   peer("b", "default", 2, "10.0.0.2")));
	assert_int_equal(seen_count, 0);
	snapshot(json_pack("[o, o]", peer("c", "default", 3, "10.0.0.3"),
			   peer("b", "default", 2, "10.0.0.9")));
	assert_int_equal(seen_count, 3);
	assert_int_equal(seen[0].what, NETMAP_REMOVED); /* removals first */
	assert_int_equal(what_of(1), NETMAP_REMOVED);
	assert_int_equal(what_of(2), NETMAP_ADDRESSES);
	assert_int_equal(what_of(3), NETMAP_ADDED);
}

static void test_delta(void **state)
{
	(void)state;
	delta(json_pack("[{s:s, s:s, s:s, s:b}, o]", "op", "patch", "agent_id", "a", "network",
			"default", "online", 0, put(peer("d", "default", 4, "10.0.0.4"))));
	assert_int_equal(seen_count, 2);
	assert_int_equal(what_of(1), NETMAP_ONLINE);
	assert_int_equal(what_of(4), NETMAP_ADDED);
	assert_int_equal(netmap_revision(netmap), 6);
	delta(json_pack("[{s:s, s:s, s:s}]", "op", "remove", "agent_id", "a", "network",
			"default"));
	assert_int_equal(what_of(1), NETMAP_REMOVED);
	assert_null(netmap_by_id(netmap, "default", "a"));
	/* Gone and back in one frame is a change, not a removal. */
	delta(json_pack("[{s:s, s:s, s:s}, o]", "op", "remove", "agent_id", "b", "network",
			"default", put(peer("b", "default", 2, "10.0.0.7"))));
	assert_int_equal(seen_count, 1);
	assert_false(what_of(2) & NETMAP_REMOVED);
}

static void test_two_networks(void **state)
{
	struct key key = {{2, 1}};
	struct netmap_member *first;

	(void)state;
	delta(json_pack("[o]", put(peer("b", "lab", 2, "10.9.0.2"))));
	assert_int_equal(seen_count, 1);
	assert_int_equal(what_of(2), NETMAP_ADDRESSES | NETMAP_ROUTES);
	assert_int_equal(netmap_count(netmap), 2);
	first = netmap_by_key(netmap, &key);
	assert_non_null(first->next);
	assert_null(first->next->next);
	delta(json_pack("[{s:s, s:s, s:s}]", "op", "remove", "agent_id", "b", "network",
			"default"));
	assert_false(what_of(2) & NETMAP_REMOVED);
	first = netmap_by_key(netmap, &key);
	assert_string_equal(first->peer.network, "lab");
	assert_null(first->next);
	delta(json_pack("[{s:s, s:s, s:s}]", "op", "remove", "agent_id", "b", "network", "lab"));
	assert_int_equal(what_of(2), NETMAP_REMOVED);
}

static json_t *device(const char *id, const char *network, unsigned key, const char *address)
{
	json_t *p = peer(id, network, key, address);

	json_object_set_new(p, "device", json_true());
	return p;
}

/* A device of one network that has the key of an agent of another. */
static void test_device_with_agents_key(void **state)
{
	struct key agents = {{2, 1}}, devices = {{7, 1}};

	(void)state;
	delta(json_pack("[o]", put(device("d1", "lab", 2, "10.9.0.2"))));
	assert_int_equal(what_of(2), NETMAP_ADDRESSES | NETMAP_ROUTES);
	assert_false(netmap_by_key(netmap, &agents)->peer.device);
	assert_true(netmap_by_key(netmap, &agents)->next->peer.device);
	delta(json_pack("[o, o]", put(device("d2", "lab", 7, "10.9.0.3")), put(device("d3", "old", 7, "10.8.0.3"))));
	assert_int_equal(what_of(7) & NETMAP_ADDED, NETMAP_ADDED);
	delta(json_pack("[o]", put(peer("e", "default", 7, "10.0.0.7"))));
	assert_int_equal(what_of(7), NETMAP_ADDRESSES | NETMAP_ROUTES | NETMAP_ENDPOINTS | NETMAP_ONLINE);
	assert_string_equal(netmap_by_key(netmap, &devices)->peer.agent_id, "e");
	delta(json_pack("[{s:s, s:s, s:s}]", "op", "remove", "agent_id", "e", "network", "default"));
	assert_false(what_of(7) & NETMAP_REMOVED);
	assert_true(netmap_by_key(netmap, &devices)->peer.device);
}

static void test_new_key(void **state)
{
	(void)state;
	delta(json_pack("[o]", put(peer("a", "default", 7, "10.0.0.1"))));
	assert_int_equal(seen_count, 2);
	assert_int_equal(seen[0].what, NETMAP_REMOVED);
	assert_int_equal(what_of(1), NETMAP_REMOVED);
	assert_int_equal(what_of(7), NETMAP_ADDED);
}

static void test_nonsense(void **state)
{
	static const char *const frames[] = {
		"{}",
		"{\"changes\":7}",
		"{\"revision\":\"x\",\"changes\":[1,[],null,{}]}",
		"{\"changes\":[{\"op\":\"put\",\"peer\":7},{\"op\":\"put\"},{\"op\":4}]}",
		"{\"changes\":[{\"op\":\"patch\",\"agent_id\":\"a\",\"network\":\"default\","
		"\"online\":\"x\"}]}",
		"{\"changes\":[{\"op\":\"remove\",\"agent_id\":\"zz\",\"network\":\"default\"}]}",
		"{\"changes\":[{\"op\":\"networks\",\"networks\":3},{\"op\":\"relays\"}]}",
	};
	char error[JS_ERROR];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
		json_t *frame = js_load(frames[i], strlen(frames[i]), error);

		assert_non_null(frame);
		seen_count = 0;
		netmap_delta(netmap, frame);
		assert_int_equal(seen_count, 0);
		json_decref(frame);
	}
	assert_int_equal(netmap_count(netmap), 2);
	assert_true(refused_calls >= 3);
}

static bool second_is_managed(void *arg, const struct key *key)
{
	(void)arg;
	return key->bytes[0] == 2;
}

static void test_saved(void **state)
{
	json_t *saved = netmap_json(netmap, second_is_managed, NULL);
	struct key one = {{1, 1}}, two = {{2, 1}};

	(void)state;
	netmap_free(netmap);
	netmap = netmap_new(&ops, NULL);
	network_calls = 0;
	seen_count = 0;
	netmap_snapshot(netmap, saved);
	assert_int_equal(seen_count, 2);
	assert_int_equal(network_calls, 0); /* a saved map has no networks of its own */
	assert_false(netmap_by_key(netmap, &one)->was_managed);
	assert_true(netmap_by_key(netmap, &two)->was_managed);
	assert_string_equal(netmap_epoch(netmap), "e1");
	json_decref(saved);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void expect_rekeyed(unsigned from, unsigned to)
{
	assert_int_equal(rekey_count, 1);
	assert_int_equal(rekeys[0].key.bytes[0], from);
	assert_int_equal(rekeys[0].what, to);
	assert_int_equal(what_of(from), NETMAP_REMOVED);
	assert_true(what_of(to) & NETMAP_ADDED);
	rekey_count = 0;
}

/* An agent under a new key: by a delta, by a snapshot, in two networks; and what is none of it. */
static void test_rekeyed(void **state)
{
	(void)state;
	delta(json_pack("[o]", put(peer("a", "default", 7, "10.0.0.1"))));
	expect_rekeyed(1, 7);
	snapshot(json_pack("[o, o]", peer("a", "default", 8, "10.0.0.1"),
			   peer("b", "default", 2, "10.0.0.2")));
	expect_rekeyed(7, 8);
	delta(json_pack("[o]", put(peer("a", "other", 8, "10.1.0.1"))));
	delta(json_pack("[o, o]", put(peer("a", "default", 9, "10.0.0.1")),
			put(peer("a", "other", 9, "10.1.0.1"))));
	expect_rekeyed(8, 9);
	/* In one of its networks only: the old key stays, so nothing is carried over. */
	delta(json_pack("[o]", put(peer("a", "other", 10, "10.1.0.1"))));
	assert_int_equal(rekey_count, 0);
	/* Removed and put anew under another id: another agent. */
	delta(json_pack("[{s:s, s:s, s:s}, o]", "op", "remove", "agent_id", "b", "network", "default",
			put(peer("c", "default", 2, "10.0.0.2"))));
	assert_int_equal(rekey_count, 0);
	/* Twice in one frame: the first is not there any more at its end. */
	delta(json_pack("[o, o]", put(peer("c", "default", 20, "10.0.0.2")),
			put(peer("c", "default", 21, "10.0.0.2"))));
	assert_int_equal(rekey_count, 1);
	assert_int_equal(rekeys[0].key.bytes[0], 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(test_snapshot),     CASE(test_delta),
					   CASE(test_two_networks), CASE(test_device_with_agents_key), CASE(test_new_key),
					   CASE(test_nonsense),     CASE(test_saved),
					   CASE(test_rekeyed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
