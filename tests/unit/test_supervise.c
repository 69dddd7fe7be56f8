/* The supervisor's waits: what ends one, and what does not. */
#include "supervise.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

int agent_run(const struct agent_options *options)
{
	(void)options;
	return 1;
}

static sigset_t blocked(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	for (unsigned i = 0; i < 4; i++)
		sigaddset(&signals, (int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP}[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	return signals;
}

/* The agent died before it was first waited for: its SIGCHLD is still pending. */
static void test_a_pending_sigchld_shortens_no_wait(void **state)
{
	sigset_t signals = blocked();
	uint64_t began = clock_ms();

	(void)state;
	raise(SIGCHLD);
	assert_false(wait_out(200, &signals));
	assert_true(clock_ms() - began >= 200);
}

static void test_a_signal_to_end_ends_it(void **state)
{
	sigset_t signals = blocked();

	(void)state;
	raise(SIGCHLD);
	raise(SIGTERM);
	assert_true(wait_out(UINT64_C(3600000), &signals));
	raise(SIGHUP); /* not to end, but to begin again at once */
	assert_false(wait_out(UINT64_C(3600000), &signals));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_pending_sigchld_shortens_no_wait),
		cmocka_unit_test(test_a_signal_to_end_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
