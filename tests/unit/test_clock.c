/* The wall clock, where it follows another than the host's. */
#include "lib/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define BOOT 1000000ull       /* monotonic, */
#define WALL 1700000000000ull /* and wall time of the host when a case begins */
#define HOUR 3600000ull

static int begin(void **state)
{
	(void)state;
	clock_set_fake(BOOT, WALL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	clock_follow(0, 0);
	clock_set_fake(0, 0);
	return 0;
}

static void goes_on_from_what_the_other_said(void **state)
{
	(void)state;
	assert_int_equal(clock_host_ahead(), 0);
	clock_follow(WALL - 2 * HOUR, BOOT);
	assert_int_equal(clock_wall_ms(), WALL - 2 * HOUR);
	assert_int_equal(clock_host_ahead(), 2 * HOUR);
	clock_advance_fake(5000);
	assert_int_equal(clock_wall_ms(), WALL - 2 * HOUR + 5000);
	clock_follow(0, 0);
	assert_int_equal(clock_wall_ms(), WALL + 5000);
	assert_int_equal(clock_host_ahead(), 0);
}

static void a_host_whose_clock_is_set_changes_nothing(void **state)
{
	(void)state;
	clock_follow(WALL, BOOT);
	clock_set_fake(BOOT + 1, WALL + 9 * HOUR);
	assert_int_equal(clock_wall_ms(), WALL + 1);
	assert_int_equal(clock_host_ahead(), 9 * HOUR - 1);
	clock_set_fake(BOOT + 2, WALL - 9 * HOUR);
	assert_int_equal(clock_wall_ms(), WALL + 2);
	assert_true(clock_host_ahead() < 0);
}

static void an_answer_that_took_long_moves_nothing(void **state)
{
	(void)state;
	clock_follow(WALL, BOOT);
	clock_advance_fake(8000);
	clock_follow(WALL, BOOT); /* said at once, heard late; */
	assert_int_equal(clock_wall_ms(), WALL + 8000);
	clock_follow(WALL + 8000, BOOT); /* or said late */
	assert_int_equal(clock_wall_ms(), WALL + 8000);
}

static void a_quick_answer_mends_what_a_slow_one_left_open(void **state)
{
	(void)state;
	clock_advance_fake(600);
	clock_follow(WALL + 600, BOOT); /* said late: half of it is taken for the way */
	assert_int_equal(clock_wall_ms(), WALL + 900);
	clock_advance_fake(1000);
	clock_follow(WALL + 1600, BOOT + 1600);
	assert_int_equal(clock_wall_ms(), WALL + 1600);
}

static void the_other_may_be_set(void **state)
{
	(void)state;
	clock_follow(WALL, BOOT);
	clock_advance_fake(2000);
	clock_follow(WALL + HOUR, BOOT + 2000);
	assert_int_equal(clock_wall_ms(), WALL + HOUR);
	clock_follow(WALL - HOUR, BOOT + 2000);
	assert_int_equal(clock_wall_ms(), WALL - HOUR);
	clock_advance_fake(100);
	clock_follow(WALL - 2 * HOUR, BOOT + 2000); /* in the middle of the answer */
	assert_int_equal(clock_wall_ms(), WALL - 2 * HOUR + 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(goes_on_from_what_the_other_said, begin, end),
		cmocka_unit_test_setup_teardown(a_host_whose_clock_is_set_changes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(an_answer_that_took_long_moves_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_quick_answer_mends_what_a_slow_one_left_open, begin, end),
		cmocka_unit_test_setup_teardown(the_other_may_be_set, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
