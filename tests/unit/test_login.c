/* Wrong passwords: who waits, and who does not because of others. */
#include "coordinator/access/login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define PLACES 20000
#define HOUR   (3600 * 1000ull)

static void try(struct logins *logins, const char *user, const char *from, unsigned times)
{
	while (times--)
		logins_tried(logins, user, from, 1000);
}

static void test_by_source_and_by_user(void **state)
{
	struct logins *logins = logins_new();

	(void)state;
	try(logins, "ann", "192.0.2.1", 5);
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.1", 1000), 0);
	try(logins, "ann", "192.0.2.1", 1);
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.1", 1000), 2000);
	assert_int_equal(logins_wait(logins, "bob", "192.0.2.1", 1000), 2000);
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.2", 1000), 0);
	try(logins, "ann", "192.0.2.2", 5);
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.3", 1000), 2000);
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.3", 3000), 0);
	logins_right(logins, "ann", "192.0.2.1");
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.1", 1000), 0);
	try(logins, NULL, "192.0.2.2", 1); /* another coordinator says: of nobody's name */
	assert_int_equal(logins_wait(logins, "cid", "192.0.2.2", 1000), 2000);
	try(logins, "dan", "192.0.2.4", 30);
	assert_in_range(logins_wait(logins, "ann", "192.0.2.4", 1000), 15 * 60 * 1000, 15 * 60 * 1000);
	assert_in_range(logins_wait(logins, "dan", "192.0.2.5", 1000), 30 * 1000, 30 * 1000);
	logins_tried(logins, "ann", "192.0.2.4", 1000 + HOUR); /* all is forgotten by then */
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.4", 1000 + HOUR), 0);
	logins_free(logins);
}

/* A host has all of its /64, and no more. */
static void test_one_64(void **state)
{
	struct logins *logins = logins_new();
	char from[50];

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		snprintf(from, sizeof(from), "2001:db8:1:2:%x::%x", i, 7 * i);
		logins_tried(logins, "ann", from, 1000);
	}
	assert_int_equal(logins_wait(logins, "bob", "2001:db8:1:2:ffff::1", 1000), 2000);
	assert_int_equal(logins_wait(logins, "bob", "2001:db8:1:3::1", 1000), 0);
	assert_int_equal(logins_wait(logins, "bob", "192.0.2.1", 1000), 0);
	logins_free(logins);
}

/* Strangers of any number of sources and names shut nobody out; who tries still keeps its wait. */
static void test_full(void **state)
{
	struct logins *logins = logins_new();
	char user[20], from[50];

	(void)state;
	try(logins, NULL, "192.0.2.1", 6);
	for (unsigned i = 0; i < PLACES - 10; i++) {
		snprintf(from, sizeof(from), "2001:db8:%x:%x::1", i >> 8, i & 0xff);
		logins_tried(logins, NULL, from, 1000);
	}
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.1", 1000), 2000);
	try(logins, NULL, "192.0.2.1", 1); /* now it is the newest */
	for (unsigned i = 0; i < PLACES / 2 - 10; i++) {
		snprintf(user, sizeof(user), "nobody%u", i);
		snprintf(from, sizeof(from), "2001:db9:%x:%x::1", i >> 8, i & 0xff);
		assert_int_equal(logins_wait(logins, user, from, 1000), 0);
		logins_tried(logins, user, from, 1000);
	}
	assert_int_equal(logins_wait(logins, "ann", "192.0.2.1", 1000), 4000);
	assert_int_equal(logins_wait(logins, "ann", "2001:db8::1", 1000), 0);
	try(logins, "ann", "198.51.100.1", 6); /* a newcomer is counted too */
	assert_int_equal(logins_wait(logins, "bob", "198.51.100.1", 1000), 2000);
	logins_free(logins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_source_and_by_user),
		cmocka_unit_test(test_one_64),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
