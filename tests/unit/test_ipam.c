/* Addresses of networks: given out once, resting after their return, both families. */
#include "coordinator/mesh/ipam.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

static struct prefix prefix(const char *text)
{
	struct prefix out;

	assert_true(prefix_parse(&out, text));
	return out;
}

static struct addr addr(const char *text)
{
	struct addr out;

	assert_true(addr_parse(&out, text));
	return out;
}

static void assert_takes(struct ipam *ipam, uint32_t wanted, uint64_t now, const char *expected)
{
	char text[ADDR_TEXT];
	struct addr out;
	uint32_t host;

	assert_int_equal(ipam_take(ipam, wanted, now, &out, &host), 0);
	addr_format(text, &out);
	assert_string_equal(text, expected);
	assert_int_equal(ipam_host(ipam, &out), host);
}

static void test_takes_each_once(void **state)
{
	struct prefix cidr = prefix("10.9.9.0/29");
	struct ipam *ipam = ipam_new(&cidr);
	static const char *const all[] = {"10.9.9.1", "10.9.9.2", "10.9.9.3", "10.9.9.4", "10.9.9.5",
					  "10.9.9.6"};
	struct addr out;
	uint32_t host;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_takes(ipam, 0, 1, all[i]);
	assert_int_equal(ipam_take(ipam, 0, 1, &out, &host), -ENOSPC);
	assert_int_equal(ipam_take(ipam, 3, 1, &out, &host), -ENOSPC);
	ipam_free(ipam);
}

static void test_rests(void **state)
{
	struct prefix cidr = prefix("10.9.9.0/30");
	struct ipam *ipam = ipam_new(&cidr);
	struct addr first = addr("10.9.9.1"), out;
	uint32_t host;

	(void)state;
	assert_takes(ipam, 0, 1000, "10.9.9.1");
	assert_takes(ipam, 0, 1000, "10.9.9.2");
	ipam_release(ipam, &first, 1000 + IPAM_REST_MS);
	assert_int_equal(ipam_take(ipam, 0, 999 + IPAM_REST_MS, &out, &host), -ENOSPC);
	assert_int_equal(ipam_take(ipam, 1, 999 + IPAM_REST_MS, &out, &host), -ENOSPC);
	assert_takes(ipam, 0, 1000 + IPAM_REST_MS, "10.9.9.1");
	ipam_free(ipam);
}

/* What is free first is found first, also where it was given back after another was refused. */
static void test_full(void **state)
{
	struct prefix cidr = prefix("10.9.9.0/29");
	struct ipam *ipam = ipam_new(&cidr);
	struct addr two = addr("10.9.9.2"), four = addr("10.9.9.4"), six = addr("10.9.9.6"), out;
	uint32_t host;

	(void)state;
	while (!ipam_take(ipam, 0, 100, &out, &host))
		assert_true(host <= 6);
	ipam_release(ipam, &four, 500);
	assert_int_equal(ipam_take(ipam, 0, 100, &out, &host), -ENOSPC);
	ipam_release(ipam, &two, 300);
	assert_int_equal(ipam_take(ipam, 0, 299, &out, &host), -ENOSPC);
	assert_takes(ipam, 0, 300, "10.9.9.2");
	assert_int_equal(ipam_take(ipam, 0, 499, &out, &host), -ENOSPC);
	assert_int_equal(ipam_claim(ipam, &four), 0);
	assert_int_equal(ipam_take(ipam, 0, 500, &out, &host), -ENOSPC);
	ipam_release(ipam, &six, 1); /* at once */
	assert_takes(ipam, 0, 500, "10.9.9.6");
	assert_int_equal(ipam_take(ipam, 6, UINT64_MAX - 1, &out, &host), -ENOSPC);
	ipam_free(ipam);
}

static void test_same_host_number_in_both(void **state)
{
	struct prefix cidr6 = prefix("fd12:3456::/64");
	struct ipam *ipam = ipam_new(&cidr6);
	struct addr taken = addr("fd12:3456::7"), foreign = addr("fd12:3457::7"), wide;

	(void)state;
	assert_takes(ipam, 5, 1, "fd12:3456::5");
	assert_int_equal(ipam_claim(ipam, &taken), 0);
	assert_int_equal(ipam_claim(ipam, &taken), -EADDRINUSE);
	assert_int_equal(ipam_claim(ipam, &foreign), -ERANGE);
	assert_takes(ipam, 7, 1, "fd12:3456::1");
	assert_takes(ipam, 0x10002, 1, "fd12:3456::1:2");
	wide = addr("fd12:3456::1:0:0:1"); /* beyond what we number */
	assert_int_equal(ipam_host(ipam, &wide), 0);
	ipam_free(ipam);
}

static void test_hosts_only(void **state)
{
	struct prefix cidr = prefix("172.20.8.0/21");
	struct ipam *ipam = ipam_new(&cidr);
	static const struct {
		const char *text;
		uint32_t host;
	} rows[] = {
		{"172.20.8.0", 0}, {"172.20.8.1", 1}, {"172.20.9.0", 256}, {"172.20.15.254", 2046},
		{"172.20.15.255", 0}, {"172.20.16.1", 0}, {"172.20.7.255", 0}, {"fd00::1", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct addr at = addr(rows[i].text);

		assert_int_equal(ipam_host(ipam, &at), rows[i].host);
	}
	ipam_free(ipam);
}

static void test_ranges_judged(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{"10.0.0.0/8", true}, {"10.1.2.0/24", true}, {"192.168.4.0/30", true},
		{"100.64.0.0/10", true}, {"fd00::/64", true}, {"2001:db8::/32", true},
		{"10.0.0.1/24", false}, {"0.0.0.0/0", false}, {"10.0.0.0/7", false},
		{"10.0.0.0/31", false}, {"10.0.0.1/32", false}, {"127.0.0.0/8", false},
		{"169.254.0.0/16", false}, {"224.0.0.0/8", false}, {"fe80::/64", false},
		{"fc00::/7", false}, {"fd00::1/128", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct prefix cidr = prefix(rows[i].text);

		if (!ipam_cidr_problem(&cidr) != rows[i].good)
			fail_msg("%s", rows[i].text);
	}
}

static void test_default_network_avoids_routes(void **state)
{
	struct prefix local[] = {prefix("10.0.0.0/8"), prefix("172.16.0.0/13"), prefix("192.168.1.0/24")};
	struct prefix everything[] = {prefix("10.0.0.0/8"), prefix("172.16.0.0/12"), prefix("192.168.0.0/16")};
	struct prefix got;

	(void)state;
	for (uint32_t seed = 0; seed < 600; seed++) {
		assert_true(ipam_choose(&got, NULL, 0, seed));
		assert_true(addr_is_private(&got.addr));
		assert_int_equal(got.bits, 16);
		assert_null(ipam_cidr_problem(&got));
		assert_true(ipam_choose(&got, local, ARRAY_SIZE(local), seed));
		for (size_t i = 0; i < ARRAY_SIZE(local); i++)
			assert_false(prefix_overlaps(&got, &local[i]));
		assert_true(addr_is_private(&got.addr));
		assert_false(ipam_choose(&got, everything, ARRAY_SIZE(everything), seed));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_each_once),
		cmocka_unit_test(test_rests),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_same_host_number_in_both),
		cmocka_unit_test(test_hosts_only),
		cmocka_unit_test(test_ranges_judged),
		cmocka_unit_test(test_default_network_avoids_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
