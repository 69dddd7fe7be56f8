/* Every clause of SPEC 1 rule 6: one host, and what an evil coordinator may try with it. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define MAX_FACTS 16

static struct prefix networks[MAX_FACTS], host[MAX_FACTS], foreign[MAX_FACTS], ours[MAX_FACTS];
static struct addr protected_addrs[MAX_FACTS];
static struct guard_facts facts;

static size_t prefixes(struct prefix *out, const char *const *texts)
{
	size_t count = 0;

	for (; texts[count]; count++)
		assert_true(prefix_parse(&out[count], texts[count]));
	return count;
}

static int setup(void **state)
{
	static const char *const network_texts[] = {"10.86.0.0/16", "fd86::/64", NULL};
	static const char *const our_texts[] = {"10.86.0.3/16", "fd86::3/64", NULL};
	static const char *const host_texts[] = {
		"0.0.0.0/0",    "0.0.0.0/1",  "128.0.0.0/1",      "::/0", "2000::/3", "192.168.1.7/24",
		"10.20.0.0/16", "10.86.9.0/24", "2001:db8:1::7/64", NULL};
	static const char *const foreign_texts[] = {"10.86.7.7/32", "172.20.0.0/16", "fd86::77/128",
						    NULL};
	static const char *const protected_texts[] = {"192.168.50.1", "9.9.9.9", "203.0.113.80",
						      "2620:fe::fe", "10.86.0.53", NULL};
	size_t count = 0;

	(void)state;
	for (; protected_texts[count]; count++)
		assert_true(addr_parse(&protected_addrs[count], protected_texts[count]));
	facts = (struct guard_facts){
		.networks = networks,
		.network_count = prefixes(networks, network_texts),
		.host = host,
		.host_count = prefixes(host, host_texts),
		.protected_addrs = protected_addrs,
		.protected_count = count,
		.foreign = foreign,
		.foreign_count = prefixes(foreign, foreign_texts),
		.ours = ours,
		.our_count = prefixes(ours, our_texts),
	};
	return 0;
}

/* why: a piece of the reason; NULL: it is let through. */
struct judged {
	const char *text, *why;
	bool exit_allowed;
};

static void expect(bool allowed, const struct judged *judged, const char *reason)
{
	if (allowed == !judged->why && (allowed || strstr(reason, judged->why)))
		return;
	fail_msg("%s (exit %d): %s, expected %s", judged->text, judged->exit_allowed,
		 allowed ? "allowed" : reason, judged->why ? judged->why : "allowed");
}

static void test_routes(void **state)
{
	static const struct judged table[] = {
		{"192.168.7.0/24", NULL, false},
		{"198.51.100.9/32", NULL, false},
		{"2001:db8:7::/48", NULL, false},
		{"192.168.7.0/24", NULL, true},
		/* the default route and what is shorter than /8 or /16 */
		{"0.0.0.0/0", "shorter", false},
		{"::/0", "shorter", false},
		{"0.0.0.0/1", "shorter", false},
		{"128.0.0.0/1", "shorter", false},
		{"8000::/1", "shorter", false},
		{"2000::/3", "shorter", false},
		{"64.0.0.0/7", "shorter", false},
		{"2400::/15", "shorter", false},
		{"64.0.0.0/8", NULL, false},
		{"2400::/16", NULL, false},
		{"0.0.0.0/0", NULL, true},
		{"::/0", NULL, true},
		{"0.0.0.0/1", NULL, true},
		{"2000::/3", NULL, true},
		{"64.0.0.0/7", NULL, true},
		/* even a chosen exit node gets no address that is known to be somebody's */
		{"192.168.1.0/24", "192.168.1.7/24", true},
		{"192.0.0.0/7", "192.168.1.7/24", true},
		{"10.86.0.4/32", "mesh's own range", true},
		{"8.0.0.0/7", "9.9.9.9", true},
		/* addresses and routes of the host, from both sides */
		{"192.168.1.0/24", "192.168.1.7/24", false},
		{"192.168.1.9/32", "192.168.1.7/24", false},
		{"192.168.0.0/16", "192.168.1.7/24", false},
		{"10.20.30.0/24", "10.20.0.0/16", false},
		{"2001:db8:1::/64", "2001:db8:1::7/64", false},
		{"2001:db8::/32", "2001:db8:1::7/64", false},
		/* gateway, resolver, coordinator or relay */
		{"192.168.50.0/24", "192.168.50.1", false},
		{"9.9.9.9/32", "9.9.9.9", false},
		{"9.0.0.0/8", "9.9.9.9", false},
		{"203.0.113.0/24", "203.0.113.80", false},
		{"2620:fe::/48", "2620:fe::fe", false},
		/* loopback, link-local, multicast */
		{"127.0.0.0/8", "loopback", false},
		{"127.0.0.1/32", "loopback", false},
		{"::1/128", "loopback", false},
		{"169.254.169.254/32", "link-local", false},
		{"169.254.0.0/16", "link-local", false},
		{"fe80::/64", "link-local", false},
		{"224.0.0.0/8", "multicast", false},
		{"239.1.2.3/32", "multicast", false},
		{"ff02::/16", "multicast", false},
		{"255.255.255.255/32", "reserved", false},
		{"0.0.0.0/8", "this network", false},
		{"0.0.0.0/32", "this network", false},
		/* another peer's address, ours, the network */
		{"10.86.0.4/32", "mesh's own range", false},
		{"10.86.0.3/32", "mesh's own range", false},
		{"10.0.0.0/8", "mesh's own range", false},
		{"fd86::4/128", "mesh's own range", false},
		/* what a hand-written peer has, equal or covered; covering is no theft */
		{"172.20.0.0/16", "set by hand", false},
		{"172.20.1.0/24", "set by hand", false},
		{"172.16.0.0/12", NULL, false},
		/* host bits are not an address of their own */
		{"192.168.7.9/24", NULL, false},
		{"9.9.9.1/24", "9.9.9.9", false},
	};
	char reason[GUARD_REASON] = "";
	struct prefix route;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_true(prefix_parse(&route, table[i].text));
		expect(guard_route(&facts, &route, table[i].exit_allowed, reason), &table[i], reason);
	}
}

static void test_exit_beside_a_full_tunnel(void **state)
{
	char reason[GUARD_REASON];
	struct prefix all;

	(void)state;
	assert_true(prefix_parse(&all, "0.0.0.0/0"));
	facts.foreign = &all;
	facts.foreign_count = 1;
	expect(guard_route(&facts, &all, true, reason),
	       &(struct judged){"0.0.0.0/0", "set by hand", true}, reason);
}

static void test_addresses(void **state)
{
	static const struct judged table[] = {
		{.text = "10.86.0.4"},
		{.text = "10.86.255.254"},
		{.text = "fd86::4"},
		{.text = "10.87.0.4", .why = "outside the range"},
		{.text = "192.168.1.9", .why = "outside the range"},
		{.text = "fd87::4", .why = "outside the range"},
		{.text = "::1", .why = "outside the range"},
		{.text = "10.86.0.3", .why = "own address"},
		{.text = "fd86::3", .why = "own address"},
		{.text = "10.86.7.7", .why = "set by hand"},
		{.text = "fd86::77", .why = "set by hand"},
		{.text = "10.86.9.1", .why = "10.86.9.0/24"},
		{.text = "10.86.0.53", .why = "resolver"},
	};
	char reason[GUARD_REASON] = "";
	struct addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_true(addr_parse(&addr, table[i].text));
		expect(guard_address(&facts, &addr, reason), &table[i], reason);
	}
	addr = (struct addr){0};
	assert_false(guard_address(&facts, &addr, reason));
}

static void test_own_address(void **state)
{
	static const struct judged table[] = {
		{.text = "10.86.0.4"},
		{.text = "10.86.1.0"}, /* ends in zeros, and is a host all the same */
		{.text = "10.86.0.255"},
		{.text = "10.86.255.254"},
		{.text = "fd86::4"},
		{.text = "fd86::ffff:ffff:ffff:ffff"},
		{.text = "10.87.0.4", .why = "outside the network"},
		{.text = "fd87::4", .why = "outside the network"},
		{.text = "10.86.0.0", .why = "no host's address"},
		{.text = "10.86.255.255", .why = "no host's address"},
		{.text = "fd86::", .why = "no host's address"},
		{.text = "10.86.7.7", .why = "set by hand"},
		{.text = "10.86.9.1", .why = "10.86.9.0/24"},
		{.text = "10.86.0.53", .why = "resolver"},
	};
	char reason[GUARD_REASON] = "";
	struct prefix pair;
	struct addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_true(addr_parse(&addr, table[i].text));
		expect(guard_own_address(&facts, &addr, &networks[addr.family == AF_INET6], reason),
		       &table[i], reason);
	}
	assert_true(prefix_parse(&pair, "10.86.0.8/31"));
	assert_true(guard_own_address(&facts, &pair.addr, &pair, reason));
}

static void test_endpoints(void **state)
{
	static const struct judged table[] = {
		{.text = "198.51.100.9:51820"},
		{.text = "192.168.1.9:51820"}, /* a neighbour on the LAN */
		{.text = "[2001:db8:1::9]:1"},
		{.text = "[fe80::1]:51820"},
		{.text = "169.254.7.7:51820"},
		{.text = "127.0.0.1:51820", .why = "loopback"},
		{.text = "127.9.9.9:53", .why = "loopback"},
		{.text = "[::1]:51820", .why = "loopback"},
		{.text = "0.0.0.0:51820", .why = "this network"},
		{.text = "[::]:51820", .why = "loopback"},
		{.text = "224.0.0.251:5353", .why = "multicast"},
		{.text = "[ff02::fb]:5353", .why = "multicast"},
		{.text = "255.255.255.255:9", .why = "reserved"},
		{.text = "10.86.0.4:51820", .why = "mesh's own range"},
		{.text = "[fd86::4]:51820", .why = "mesh's own range"},
		{.text = "[::ffff:127.0.0.1]:51820", .why = "loopback"},
	};
	char reason[GUARD_REASON] = "";
	struct endpoint endpoint;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_true(endpoint_parse(&endpoint, table[i].text));
		expect(guard_endpoint(&facts, &endpoint, reason), &table[i], reason);
	}
	endpoint.port = 0;
	assert_false(guard_endpoint(&facts, &endpoint, reason));
	endpoint = (struct endpoint){.port = 1};
	assert_false(guard_endpoint(&facts, &endpoint, reason));
}

static void test_networks(void **state)
{
	static const struct judged table[] = {
		{.text = "10.99.0.0/16"},
		{.text = "100.64.0.0/10"},
		{.text = "11.0.0.0/8"},
		{.text = "fd99::/64"},
		{.text = "0.0.0.0/0", .why = "larger than"},
		{.text = "64.0.0.0/7", .why = "larger than"},
		{.text = "fc00::/7", .why = "larger than"},
		{.text = "10.20.0.0/16", .why = "10.20.0.0/16"},
		{.text = "10.0.0.0/8", .why = "10.20.0.0/16"},
		{.text = "192.168.1.0/25", .why = "192.168.1.7/24"},
		{.text = "192.168.50.0/24", .why = "192.168.50.1"},
		{.text = "172.20.5.0/24", .why = "set by hand"},
		{.text = "169.254.0.0/16", .why = "link-local"},
		{.text = "127.1.0.0/16", .why = "loopback"},
		{.text = "fe80::/64", .why = "link-local"},
	};
	char reason[GUARD_REASON] = "";
	struct prefix network;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_true(prefix_parse(&network, table[i].text));
		expect(guard_network(&facts, &network, reason), &table[i], reason);
	}
	network = (struct prefix){.addr = {.family = AF_INET}, .bits = 33};
	assert_false(guard_network(&facts, &network, reason));
	assert_false(guard_route(&facts, &network, false, reason));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_routes, setup),
		cmocka_unit_test_setup(test_exit_beside_a_full_tunnel, setup),
		cmocka_unit_test_setup(test_addresses, setup),
		cmocka_unit_test_setup(test_own_address, setup),
		cmocka_unit_test_setup(test_endpoints, setup),
		cmocka_unit_test_setup(test_networks, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
