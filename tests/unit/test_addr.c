#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/addr.h"
#include <arpa/inet.h>
#include <string.h>

static void texts(void **state)
{
	static const struct {
		const char *text, *shown; /* shown NULL: refused */
		unsigned len;
	} cases[] = {
		{"192.0.2.1", "192.0.2.1", 4},
		{"0.0.0.0", "0.0.0.0", 4},
		{"2001:DB8:0::1", "2001:db8::1", 16},
		{"::", "::", 16},
		{"::ffff:192.0.2.1", "192.0.2.1", 4},
		{"::ffff:c000:201", "192.0.2.1", 4},
		{"::192.0.2.1", "::192.0.2.1", 16},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 16},
		{"", NULL, 0},
		{"192.0.2", NULL, 0},
		{"192.0.2.256", NULL, 0},
		{"192.0.2.1 ", NULL, 0},
		{" 192.0.2.1", NULL, 0},
		{"0300.0.2.1", NULL, 0},
		{"192.0.2.1:80", NULL, 0},
		{"[::1]", NULL, 0},
		{"fe80::1%eth0", NULL, 0},
		{"1:2:3:4:5:6:7:8:9", NULL, 0},
		{"localhost", NULL, 0},
	};
	char shown[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr addr = {.family = 99};

		assert_int_equal(addr_parse(&addr, cases[i].text), cases[i].shown != NULL);
		if (!cases[i].shown) {
			assert_int_equal(addr.family, 99);
			continue;
		}
		addr_format(shown, &addr);
		assert_string_equal(shown, cases[i].shown);
		assert_int_equal(addr_len(&addr), cases[i].len);
	}
	addr_format(shown, &(struct addr){0});
	assert_string_equal(shown, "");
}

enum { LOOPBACK = 1, LINK_LOCAL = 2, MULTICAST = 4, UNSPECIFIED = 8, PRIVATE = 16 };

static unsigned kinds(const struct addr *addr)
{
	return (addr_is_loopback(addr) ? LOOPBACK : 0) |
	       (addr_is_link_local(addr) ? LINK_LOCAL : 0) |
	       (addr_is_multicast(addr) ? MULTICAST : 0) |
	       (addr_is_unspecified(addr) ? UNSPECIFIED : 0) |
	       (addr_is_private(addr) ? PRIVATE : 0);
}

static void kinds_of_addresses(void **state)
{
	static const struct {
		const char *text;
		unsigned kinds;
	} cases[] = {
		{"0.0.0.0", UNSPECIFIED},
		{"0.0.0.1", 0},
		{"9.255.255.255", 0},
		{"10.0.0.0", PRIVATE},
		{"10.255.255.255", PRIVATE},
		{"11.0.0.0", 0},
		{"100.63.255.255", 0},
		{"100.64.0.0", PRIVATE},
		{"100.127.255.255", PRIVATE},
		{"100.128.0.0", 0},
		{"126.255.255.255", 0},
		{"127.0.0.1", LOOPBACK},
		{"127.255.255.255", LOOPBACK},
		{"128.0.0.0", 0},
		{"169.253.255.255", 0},
		{"169.254.0.0", LINK_LOCAL},
		{"169.254.255.255", LINK_LOCAL},
		{"169.255.0.0", 0},
		{"172.15.255.255", 0},
		{"172.16.0.0", PRIVATE},
		{"172.31.255.255", PRIVATE},
		{"172.32.0.0", 0},
		{"192.168.0.1", PRIVATE},
		{"192.169.0.0", 0},
		{"223.255.255.255", 0},
		{"224.0.0.0", MULTICAST},
		{"239.255.255.255", MULTICAST},
		{"240.0.0.0", 0},
		{"255.255.255.254", 0},
		{"255.255.255.255", MULTICAST},
		{"::ffff:10.0.0.1", PRIVATE},
		{"::", UNSPECIFIED},
		{"::1", LOOPBACK},
		{"::2", 0},
		{"2001:db8::1", 0},
		{"fbff::1", 0},
		{"fc00::1", PRIVATE},
		{"fdff::1", PRIVATE},
		{"fe00::1", 0},
		{"fe7f::1", 0},
		{"fe80::1", LINK_LOCAL},
		{"febf::1", LINK_LOCAL},
		{"fec0::1", 0},
		{"ff02::1", MULTICAST},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr addr;

		assert_true(addr_parse(&addr, cases[i].text));
		assert_int_equal(kinds(&addr), cases[i].kinds);
	}
	assert_int_equal(kinds(&(struct addr){0}), 0);
}

static void equality(void **state)
{
	struct addr v4, v6, other, none = {0};

	(void)state;
	addr_parse(&v4, "1.2.3.4");
	addr_parse(&v6, "102:304::");
	addr_parse(&other, "1.2.3.5");
	assert_true(addr_equal(&v4, &v4));
	assert_false(addr_equal(&v4, &other));
	assert_false(addr_equal(&v4, &v6)); /* the same first bytes */
	assert_false(addr_equal(&v4, &none));
	assert_true(addr_equal(&none, &none));
}

static void endpoints(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{"192.0.2.1:51820", "192.0.2.1:51820"},
		{"192.0.2.1:1", "192.0.2.1:1"},
		{"192.0.2.1:65535", "192.0.2.1:65535"},
		{"[2001:db8::1]:51820", "[2001:db8::1]:51820"},
		{"[::ffff:192.0.2.1]:51820", "192.0.2.1:51820"},
		{"[fe80::1%3]:51820", "[fe80::1%3]:51820"},
		{"[fe80::1]:51820", "[fe80::1]:51820"},
		{"[febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535",
		 "[febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535"},
		{"", NULL},
		{":", NULL},
		{":51820", NULL},
		{"[]:51820", NULL},
		{"[", NULL},
		{"]:1", NULL},
		{"192.0.2.1", NULL},
		{"192.0.2.1:", NULL},
		{"192.0.2.1:0", NULL},
		{"192.0.2.1:65536", NULL},
		{"192.0.2.1:-1", NULL},
		{"192.0.2.1: 1", NULL},
		{"192.0.2.1:1 ", NULL},
		{"[192.0.2.1]:1", NULL},
		{"2001:db8::1:51820", NULL},
		{"[2001:db8::1]", NULL},
		{"[2001:db8::1]51820", NULL},
		{"[2001:db8::1%3]:51820", NULL}, /* only a link-local one has a scope */
		{"[fe80::1%0]:1", NULL},
		{"[fe80::1%]:1", NULL},
		{"[fe80::1%eth0]:1", NULL},
		{"[fe80::1%4294967296]:1", NULL},
		{"home.example:51820", NULL},
		{"11111111111111111111111111111111111111111111111111111111111111111111111111:1",
		 NULL},
	};
	char shown[ENDPOINT_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct endpoint endpoint = {.port = 7}, back;
		struct sockaddr_storage sa;

		assert_int_equal(endpoint_parse(&endpoint, cases[i].text), cases[i].shown != NULL);
		if (!cases[i].shown) {
			assert_int_equal(endpoint.port, 7);
			continue;
		}
		endpoint_format(shown, &endpoint);
		assert_string_equal(shown, cases[i].shown);
		assert_int_not_equal(endpoint_to_sockaddr(&endpoint, &sa), 0);
		assert_true(endpoint_from_sockaddr(&back, (struct sockaddr *)&sa));
		assert_true(endpoint_equal(&endpoint, &back));
	}
}

static void sockaddrs(void **state)
{
	struct sockaddr_storage sa;
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	struct endpoint endpoint = {0}, other;

	(void)state;
	assert_int_equal(endpoint_to_sockaddr(&endpoint, &sa), 0);
	assert_false(endpoint_from_sockaddr(&endpoint, &(struct sockaddr){.sa_family = AF_UNIX}));
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.sin6_addr);
	assert_true(endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&mapped));
	assert_true(endpoint_parse(&other, "192.0.2.1:80"));
	assert_true(endpoint_equal(&endpoint, &other));
	assert_int_equal(endpoint_to_sockaddr(&endpoint, &sa), sizeof(struct sockaddr_in));
	other.port = 81;
	assert_false(endpoint_equal(&endpoint, &other));
	endpoint_parse(&endpoint, "[fe80::1%3]:1");
	endpoint_parse(&other, "[fe80::1%4]:1");
	assert_false(endpoint_equal(&endpoint, &other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),     cmocka_unit_test(kinds_of_addresses),
		cmocka_unit_test(equality),  cmocka_unit_test(endpoints),
		cmocka_unit_test(sockaddrs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
