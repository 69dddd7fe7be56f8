#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct seen {
	int calls, error, exit_code;
	struct buf output, errors;
};

static void on_done(void *arg, const struct proc_result *result)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->error = result->error;
	seen->exit_code = result->exit_code;
	buf_add(&seen->output, result->output->data, result->output->len);
	buf_add(&seen->errors, result->errors->data, result->errors->len);
}

static void seen_free(struct seen *seen)
{
	buf_free(&seen->output);
	buf_free(&seen->errors);
	*seen = (struct seen){0};
}

static void run(struct seen *seen, const struct proc_command *command)
{
	struct loop *loop = loop_new();

	assert_non_null(proc_start(loop, command, on_done, seen));
	loop_run(loop);
	loop_free(loop);
	assert_int_equal(seen->calls, 1);
}

static void run_shell(struct seen *seen, const char *script, struct proc_command command)
{
	const char *const argv[] = {"/bin/sh", "-c", script, "sh", NULL};

	command.argv = argv;
	run(seen, &command);
}

static void exit_codes(void **state)
{
	static const struct {
		const char *script;
		int exit_code;
	} cases[] = {
		{"exit 0", 0}, {"exit 77", 77}, {"kill -TERM $$", 143}, {"kill -KILL $$", 137}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen = {0};

		run_shell(&seen, cases[i].script, (struct proc_command){0});
		assert_int_equal(seen.error, 0);
		assert_int_equal(seen.exit_code, cases[i].exit_code);
		seen_free(&seen);
	}
}

static void both_outputs(void **state)
{
	struct seen seen = {0};

	(void)state;
	run_shell(&seen, "echo out; echo err >&2; exit 3", (struct proc_command){0});
	assert_string_equal(buf_text(&seen.output), "out\n");
	assert_string_equal(buf_text(&seen.errors), "err\n");
	assert_int_equal(seen.exit_code, 3);
	seen_free(&seen);
}

static void what_never_ran(void **state)
{
	static const struct {
		const char *path;
		int error;
	} cases[] = {{"/nonexistent/program", -ENOENT}, {"/etc/passwd", -EACCES}, {"/", -EACCES}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *const argv[] = {cases[i].path, NULL};
		struct seen seen = {0};

		run(&seen, &(struct proc_command){.argv = argv});
		assert_int_equal(seen.error, cases[i].error);
		seen_free(&seen);
	}
}

static void large_input(void **state)
{
	size_t len = 1000000;
	char *input = xmalloc(len);
	struct seen seen = {0};

	(void)state;
	memset(input, 'i', len);
	run_shell(&seen, "cat",
		  (struct proc_command){.input = input, .input_len = len, .output_limit = 2000000});
	assert_int_equal(seen.output.len, len);
	assert_memory_equal(seen.output.data, input, len);
	seen_free(&seen);
	/* one that does not want it */
	run_shell(&seen, "exec <&-; echo enough",
		  (struct proc_command){.input = input, .input_len = len});
	assert_string_equal(buf_text(&seen.output), "enough\n");
	assert_int_equal(seen.exit_code, 0);
	seen_free(&seen);
	run_shell(&seen, "cat", (struct proc_command){0}); /* /dev/null */
	assert_int_equal(seen.output.len, 0);
	seen_free(&seen);
	free(input);
}

static void output_is_bounded(void **state)
{
	struct seen seen = {0};

	(void)state;
	run_shell(&seen, "yes | head -c 500000; yes | head -c 500000 >&2; echo x >&2; exit 5",
		  (struct proc_command){.output_limit = 1000});
	assert_int_equal(seen.output.len, 1000);
	assert_int_equal(seen.errors.len, 1000);
	assert_int_equal(seen.exit_code, 5);
	seen_free(&seen);
	run_shell(&seen, "yes | head -c 500000", (struct proc_command){0});
	assert_int_equal(seen.output.len, 65536);
	seen_free(&seen);
}

/* True once nobody is in the process group. Waits: the children of a killed shell go in their own
 * time. */
static bool group_is_gone(pid_t group)
{
	for (int i = 0; i < 2000; i++) {
		if (kill(-group, 0) < 0 && errno == ESRCH)
			return true;
		usleep(5000);
	}
	return false;
}

static pid_t group_of(const struct proc *proc)
{
	return ((const struct loop_child *)proc)->pid; /* its first member */
}

static void the_limit_kills_the_group(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000", NULL};
	struct proc_command command = {.argv = argv, .timeout_ms = 300};
	struct loop *loop = loop_new();
	struct seen seen = {0};
	struct proc *proc = proc_start(loop, &command, on_done, &seen);
	pid_t group;

	(void)state;
	assert_non_null(proc);
	group = group_of(proc);
	assert_int_equal(kill(-group, 0), 0);
	loop_run(loop);
	loop_free(loop);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.error, -ETIMEDOUT);
	assert_int_equal(seen.exit_code, 128 + SIGKILL);
	assert_true(group_is_gone(group));
	seen_free(&seen);
}

/* A daemon that a hook leaves behind holds the pipes open; the hook is done all the same. */
static void background_children_are_not_waited_for(void **state)
{
	struct seen seen = {0};
	pid_t left;

	(void)state;
	run_shell(&seen, "sleep 1000 & echo $!", (struct proc_command){.timeout_ms = 60000});
	assert_int_equal(seen.error, 0);
	assert_int_equal(seen.exit_code, 0);
	left = (pid_t)strtol(buf_text(&seen.output), NULL, 10);
	assert_true(left > 1);
	assert_int_equal(kill(left, SIGKILL), 0);
	seen_free(&seen);
}

static void killed_ones_stay_silent(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "sleep 1000 & sleep 1000", NULL};
	struct loop *loop = loop_new();
	struct seen seen = {0};
	struct proc *proc = proc_start(loop, &(struct proc_command){.argv = argv}, on_done, &seen);
	pid_t group;

	(void)state;
	assert_non_null(proc);
	group = group_of(proc);
	proc_kill(proc);
	loop_run(loop);
	loop_free(loop);
	assert_int_equal(seen.calls, 0);
	assert_true(group_is_gone(group));
}

static struct proc *own;

static void kill_itself(void *arg, const struct proc_result *result)
{
	on_done(arg, result);
	proc_kill(own);
}

static void killed_by_its_own_function(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "exit 9", NULL};
	struct loop *loop = loop_new();
	struct seen seen = {0};

	(void)state;
	own = proc_start(loop, &(struct proc_command){.argv = argv}, kill_itself, &seen);
	assert_non_null(own);
	loop_run(loop);
	loop_free(loop);
	assert_int_equal(seen.exit_code, 9);
	seen_free(&seen);
}

static void a_clean_room(void **state)
{
	static const char *const env[] = {"ONLY=this", NULL};
	struct seen seen = {0};
	int leak = fcntl(0, F_DUPFD, 50); /* without close-on-exec */

	(void)state;
	assert_true(leak >= 50);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	run_shell(&seen,
		  "ls /proc/$$/fd; grep SigBlk /proc/self/status; "
		  "ign=$(sed -n 's/SigIgn:.//p' /proc/self/status); "
		  "echo $((0x$ign & ~0x180000000)); " /* glibc keeps 32 and 33 */
		  "read -r pid name state parent group rest < /proc/self/stat; "
		  "[ $group = $$ ] && echo leader",
		  (struct proc_command){0});
	signal(SIGINT, SIG_DFL);
	close(leak);
	assert_string_equal(buf_text(&seen.output),
			    "0\n1\n2\nSigBlk:\t0000000000000000\n0\nleader\n");
	seen_free(&seen);
	run_shell(&seen, "echo $ONLY $HOME", (struct proc_command){.env = env});
	assert_string_equal(buf_text(&seen.output), "this\n");
	seen_free(&seen);
}

/* The file that was examined is what runs, whatever its path names by then; scripts too. */
static void an_open_file(void **state)
{
	char path[] = "/tmp/wg-mesh-test-proc.XXXXXX";
	const char *const argv[] = {"shown-name", "argument", NULL};
	static const char script[] = "#!/bin/sh\necho \"script $1\"\n";
	struct seen seen = {0};
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, script, strlen(script)), strlen(script));
	fchmod(fd, 0700);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	run(&seen, &(struct proc_command){.argv = argv, .run_fd = fd});
	assert_int_equal(seen.error, 0);
	assert_string_equal(buf_text(&seen.output), "script argument\n");
	close(fd);
	seen_free(&seen);
}

static void many_at_once(void **state)
{
	const char *const argv[] = {"/bin/sh", "-c", "echo one", NULL};
	struct loop *loop = loop_new();
	struct seen seen = {0};

	(void)state;
	for (int i = 0; i < 30; i++)
		assert_non_null(
			proc_start(loop, &(struct proc_command){.argv = argv}, on_done, &seen));
	loop_run(loop);
	loop_free(loop);
	assert_int_equal(seen.calls, 30);
	assert_int_equal(seen.output.len, 30 * 4);
	seen_free(&seen);
}

static void nothing_could_be_started(void **state)
{
	struct loop *loop = loop_new();
	const char *const argv[] = {"/bin/true", NULL};
	struct seen seen = {0};
	int fds[4096], count = 0;

	(void)state;
	while (count < 4096 && (fds[count] = open("/dev/null", O_RDONLY)) >= 0)
		count++;
	if (count < 4096) { /* descriptors are scarce enough to run out here */
		errno = 0;
		assert_null(proc_start(loop, &(struct proc_command){.argv = argv}, on_done, &seen));
		assert_int_equal(errno, EMFILE);
	}
	while (count)
		close(fds[--count]);
	loop_run(loop);
	assert_int_equal(seen.calls, 0);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(both_outputs),
		cmocka_unit_test(what_never_ran),
		cmocka_unit_test(large_input),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(the_limit_kills_the_group),
		cmocka_unit_test(background_children_are_not_waited_for),
		cmocka_unit_test(killed_ones_stay_silent),
		cmocka_unit_test(killed_by_its_own_function),
		cmocka_unit_test(a_clean_room),
		cmocka_unit_test(an_open_file),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(nothing_could_be_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
