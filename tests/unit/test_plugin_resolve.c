/*
 * test_plugin_resolve.c - names looked up in threads, of /etc/hosts only: nothing leaves the host.
 */
#include "lib/str.h"
#include "plugin_resolve.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int answers;
static size_t last_count;
static char last[ENDPOINT_TEXT];

static void on_answer(void *arg, const struct endpoint *found, size_t count)
{
	answers++;
	last_count = count;
	if (count)
		endpoint_format(last, &found[0]);
	if (arg)
		loop_stop(arg);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

/* Until on_answer stops it, or 10 s; a thread's answer alone does not keep a loop running. */
static void run(struct loop *loop)
{
	struct loop_timer timer;

	timer_init(&timer, loop, stop, loop);
	timer_start(&timer, 10000);
	loop_run(loop);
	timer_stop(&timer);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *name, *found;
	} cases[] = {
		{"192.0.2.7", "192.0.2.7:99"},
		{"2001:db8::7", "[2001:db8::7]:99"},
	};
	struct loop *loop = loop_new();
	struct resolver *resolver = resolver_new(loop);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		answers = 0;
		assert_non_null(resolver_start(resolver, cases[i].name, 99, on_answer, loop));
		assert_int_equal(answers, 0); /* never before resolver_start has returned */
		run(loop);
		assert_int_equal(answers, 1);
		assert_string_equal(last, cases[i].found);
	}
	resolver_free(resolver);
	loop_free(loop);
}

static void test_a_name(void **state)
{
	struct loop *loop = loop_new();
	struct resolver *resolver = resolver_new(loop);

	(void)state;
	answers = 0;
	assert_non_null(resolver_start(resolver, "localhost", 7, on_answer, loop));
	run(loop);
	assert_int_equal(answers, 1);
	assert_true(last_count >= 1);
	assert_true(!strcmp(last, "127.0.0.1:7") || !strcmp(last, "[::1]:7"));
	resolver_free(resolver);
	loop_free(loop);
}

static void test_bounds(void **state)
{
	struct loop *loop = loop_new();
	struct resolver *resolver = resolver_new(loop);
	struct loop_timer timer;
	char name[300];
	int started = 0;

	(void)state;
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_null(resolver_start(resolver, name, 1, on_answer, NULL));
	answers = 0;
	while (started < 1000 && resolver_start(resolver, "localhost", 1, on_answer, NULL))
		started++;
	assert_int_equal(started, 64);
	timer_init(&timer, loop, stop, loop);
	for (int i = 0; i < 500 && answers < started; i++) {
		timer_start(&timer, 10);
		loop_run(loop);
	}
	assert_int_equal(answers, started); /* every one, though only a few run at a time */
	timer_stop(&timer);
	resolver_free(resolver);
	loop_free(loop);
}

static void test_cancelled_and_freed(void **state)
{
	struct loop *loop = loop_new();
	struct resolver *resolver = resolver_new(loop);
	struct loop_timer timer;
	struct lookup *lookup;

	(void)state;
	answers = 0;
	lookup = resolver_start(resolver, "localhost", 1, on_answer, NULL);
	resolver_cancel(lookup);
	for (int i = 0; i < 10; i++)
		assert_non_null(resolver_start(resolver, "localhost", 1, on_answer, NULL));
	resolver_free(resolver); /* with threads still running */
	timer_init(&timer, loop, stop, loop);
	timer_start(&timer, 200);
	loop_run(loop);
	assert_int_equal(answers, 0);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_a_name),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_cancelled_and_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
