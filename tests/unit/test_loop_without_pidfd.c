#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A kernel without pidfd_open, as valgrind shows one: children are looked for by a timer. */
#include <sys/syscall.h>
#undef SYS_pidfd_open
#define SYS_pidfd_open -1
#include "../../core/lib/loop.c"

#include "lib/proc.h"

static void on_status(void *arg, int status)
{
	*(int *)arg = status;
}

static pid_t spawn(int code)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(code);
	assert_true(pid > 0);
	return pid;
}

static void children(void **state)
{
	struct loop *loop = loop_new();
	struct loop_child one, two;
	int status = 0;
	pid_t left = spawn(4);

	(void)state;
	assert_int_equal(child_start(&one, loop, spawn(7), on_status, &status), 0);
	assert_int_equal(one.io.ev.fd, -1);
	assert_int_equal(child_start(&two, loop, left, on_status, NULL), 0);
	child_stop(&two);
	loop_run(loop);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_int_equal(waitpid(left, &status, 0), left);
	assert_int_equal(child_start(&one, loop, left, on_status, NULL), -ESRCH);
	loop_free(loop);
}

static void on_done(void *arg, const struct proc_result *result)
{
	*(struct proc_result *)arg = *result;
}

static void programs(void **state)
{
	const char *const argv[] = {"/bin/sleep", "1000", NULL};
	struct proc_command command = {.argv = argv, .timeout_ms = 50};
	struct proc_result result = {0};
	struct loop *loop = loop_new();

	(void)state;
	assert_non_null(proc_start(loop, &command, on_done, &result));
	loop_run(loop);
	assert_int_equal(result.error, -ETIMEDOUT);
	result.error = 1;
	proc_kill(proc_start(loop, &command, on_done, &result));
	loop_run(loop);
	assert_int_equal(result.error, 1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(children),
		cmocka_unit_test(programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
