#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/prefix.h"

static struct prefix prefix(const char *text)
{
	struct prefix out;

	if (!prefix_parse(&out, text))
		fail_msg("%s is a prefix", text);
	return out;
}

static void texts(void **state)
{
	static const struct {
		const char *text, *shown, *masked;
	} cases[] = {
		{"10.1.2.3/8", "10.1.2.3/8", "10.0.0.0/8"},
		{"10.1.2.3/13", "10.1.2.3/13", "10.0.0.0/13"},
		{"10.255.2.3/13", "10.255.2.3/13", "10.248.0.0/13"},
		{"10.1.2.3/32", "10.1.2.3/32", "10.1.2.3/32"},
		{"10.1.2.3/31", "10.1.2.3/31", "10.1.2.2/31"},
		{"10.1.2.3/0", "10.1.2.3/0", "0.0.0.0/0"},
		{"10.1.2.3", "10.1.2.3/32", "10.1.2.3/32"},
		{"::/0", "::/0", "::/0"},
		{"fd00:1:2:3:4:5:6:7/48", "fd00:1:2:3:4:5:6:7/48", "fd00:1:2::/48"},
		{"fd00::1", "fd00::1/128", "fd00::1/128"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"},
		{"::ffff:10.0.0.1", "10.0.0.1/32", "10.0.0.1/32"},
	};
	static const char *const bad[] = {
		"",         "/8",           "10.0.0.0/",           "10.0.0.0/33",
		"::/129",   "10.0.0.0/-1",  "10.0.0.0/8 ",         "10.0.0.0/8/8",
		"10.0.0/8", "10.0.0.0/256", "::ffff:10.0.0.0/104", "home.example/8",
		"10.0.0.0/08", "10.0.0.0/00", "fd00::/064", "010.0.0.0/8"};
	char shown[PREFIX_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix one = prefix(cases[i].text), masked = prefix_mask(&one);

		prefix_format(shown, &one);
		assert_string_equal(shown, cases[i].shown);
		prefix_format(shown, &masked);
		assert_string_equal(shown, cases[i].masked);
		assert_true(prefix_equal(&one, &masked));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct prefix kept = prefix("10.0.0.0/8");

		assert_false(prefix_parse(&kept, bad[i]));
		assert_int_equal(kept.bits, 8);
	}
}

static void relations(void **state)
{
	static const struct {
		const char *a, *b;
		bool covers, covered, overlaps, equal;
	} cases[] = {
		{"10.0.0.0/8", "10.1.2.0/24", true, false, true, false},
		{"10.0.0.0/8", "10.0.0.0/24", true, false, true, false},
		{"10.0.0.0/8", "10.0.0.0/8", true, true, true, true},
		{"10.1.0.0/8", "10.2.0.0/8", true, true, true, true}, /* host bits do not count */
		{"10.0.0.0/8", "11.0.0.0/8", false, false, false, false},
		{"10.0.0.0/9", "10.128.0.0/9", false, false, false, false},
		{"0.0.0.0/0", "192.0.2.1/32", true, false, true, false},
		{"0.0.0.0/0", "::/0", false, false, false, false},
		{"0.0.0.0/0", "::1/128", false, false, false, false},
		{"0.0.0.0/0", "0.0.0.0/0", true, true, true, true},
		{"::/0", "fd00::/8", true, false, true, false},
		{"fd00::/63", "fd00:0:0:1::/64", true, false, true, false},
		{"fd00::/63", "fd00:0:0:2::/64", false, false, false, false},
		{"10.0.0.1/32", "10.0.0.1/32", true, true, true, true},
		{"10.0.0.0/31", "10.0.0.1/32", true, false, true, false},
		{"10.0.0.0/31", "10.0.0.2/32", false, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct prefix a = prefix(cases[i].a), b = prefix(cases[i].b);

		assert_int_equal(prefix_covers(&a, &b), cases[i].covers);
		assert_int_equal(prefix_covers(&b, &a), cases[i].covered);
		assert_int_equal(prefix_overlaps(&a, &b), cases[i].overlaps);
		assert_int_equal(prefix_overlaps(&b, &a), cases[i].overlaps);
		assert_int_equal(prefix_equal(&a, &b), cases[i].equal);
	}
}

/* Every length, bit by bit: the first and last address are inside, their neighbours are not. */
static void every_length(void **state)
{
	(void)state;
	for (unsigned bits = 1; bits <= 32; bits++) {
		struct prefix one = prefix("170.170.170.170");
		uint32_t mask = UINT32_MAX << (32 - bits), first = 0xaaaaaaaa & mask;
		uint32_t probes[] = {first, first | ~mask, first - 1, (first | ~mask) + 1};

		one.bits = (uint8_t)bits;
		for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
			struct addr addr = {AF_INET,
					    {(uint8_t)(probes[i] >> 24), (uint8_t)(probes[i] >> 16),
					     (uint8_t)(probes[i] >> 8), (uint8_t)probes[i]}};

			assert_int_equal(prefix_contains(&one, &addr), i < 2);
		}
	}
}

static void hosts_and_nothing(void **state)
{
	struct prefix all = prefix("0.0.0.0/0"), none = {0}, host;
	struct addr addr, nowhere = {0};

	(void)state;
	addr_parse(&addr, "fd00::1");
	host = prefix_host(&addr);
	assert_int_equal(host.bits, 128);
	assert_true(prefix_contains(&host, &addr));
	assert_false(prefix_contains(&all, &addr));
	assert_false(prefix_contains(&all, &nowhere));
	assert_false(prefix_contains(&none, &nowhere));
	assert_false(prefix_overlaps(&none, &all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(relations),
		cmocka_unit_test(every_length),
		cmocka_unit_test(hosts_and_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
