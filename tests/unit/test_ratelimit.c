#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "lib/ratelimit.h"

static void burst_then_rate(void **state)
{
	struct bucket bucket;

	(void)state;
	bucket_init(&bucket, 2, 3, 1000);
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&bucket, 1000));
	assert_false(bucket_take(&bucket, 1000));
	assert_int_equal(bucket_wait_ms(&bucket, 1000), 500);
	assert_false(bucket_take(&bucket, 1499));
	assert_true(bucket_take(&bucket, 1500));
	assert_false(bucket_take(&bucket, 1500));
	assert_int_equal(bucket_wait_ms(&bucket, 100000), 0);
	for (int i = 0; i < 3; i++)
		assert_true(bucket_take(&bucket, 100000)); /* never more than the burst */
	assert_false(bucket_take(&bucket, 100000));
}

static void waiting_is_enough(void **state)
{
	static const double rates[] = {0.1, 1.0 / 3, 0.7, 1, 3, 7, 999, 5000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		struct bucket bucket;
		uint64_t now = 123456789;

		bucket_init(&bucket, rates[i], 1, now);
		for (int n = 0; n < 100; n++) {
			uint64_t wait = bucket_wait_ms(&bucket, now);

			if (wait > 1)
				assert_false(bucket_take(&bucket, now + wait - 2));
			now += wait;
			if (!bucket_take(&bucket, now)) /* rounding: a moment more */
				assert_true(bucket_take(&bucket, ++now));
		}
	}
}

static void time_that_goes_back(void **state)
{
	struct bucket bucket;

	(void)state;
	bucket_init(&bucket, 1, 1, 5000);
	assert_true(bucket_take(&bucket, 5000));
	assert_false(bucket_take(&bucket, 1000));
	assert_false(bucket_take(&bucket, 5999));
	assert_true(bucket_take(&bucket, 6000));
}

static void several_at_once(void **state)
{
	struct bucket bucket;

	(void)state;
	bucket_init(&bucket, 10, 8, 0);
	assert_true(bucket_take_many(&bucket, 5, 0));
	assert_false(bucket_take_many(&bucket, 4, 0)); /* all or none */
	assert_true(bucket_take_many(&bucket, 3, 0));
	assert_false(bucket_take_many(&bucket, 100, 700));
	assert_true(bucket_take_many(&bucket, 100, 800)); /* as many as there can be */
	assert_false(bucket_take(&bucket, 800));
}

static void rate_of_nothing(void **state)
{
	struct bucket bucket;

	(void)state;
	bucket_init(&bucket, 0, 1, 0);
	assert_true(bucket_take(&bucket, 0));
	assert_false(bucket_take(&bucket, UINT64_MAX));
	assert_true(bucket_wait_ms(&bucket, 0) == UINT64_MAX);
}

static void fake_clock(void **state)
{
	uint64_t real = clock_ms();

	(void)state;
	assert_false(clock_is_fake());
	clock_set_fake(1000, 5000);
	assert_true(clock_is_fake());
	assert_int_equal(clock_ms(), 1000);
	assert_int_equal(clock_wall_ms(), 5000);
	clock_advance_fake(250);
	assert_int_equal(clock_ms(), 1250);
	assert_int_equal(clock_wall_ms(), 5250);
	clock_set_fake(0, 0);
	assert_true(clock_ms() >= real);
	assert_true(clock_wall_ms() > 1600000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(burst_then_rate),     cmocka_unit_test(waiting_is_enough),
		cmocka_unit_test(time_that_goes_back), cmocka_unit_test(rate_of_nothing),
		cmocka_unit_test(fake_clock),	       cmocka_unit_test(several_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
