#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/daemon.h"
#include "lib/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs fn in a child, whose process it may change for good; its exit code. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void notify_to(const char *path, socklen_t len)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char got[64] = "";

	memcpy(sa.sun_path, path, strlen(path));
	if (path[0] == '@')
		sa.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	setenv("NOTIFY_SOCKET", path, 1);
	daemon_notify("READY=1\nSTATUS=up");
	unsetenv("NOTIFY_SOCKET");
	daemon_notify("READY=1");
	assert_int_equal(recv(fd, got, sizeof(got), 0), 17);
	assert_string_equal(got, "READY=1\nSTATUS=up");
	assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
	close(fd);
}

static void notify(void **state)
{
	char path[64];
	size_t base = offsetof(struct sockaddr_un, sun_path);

	(void)state;
	snprintf(path, sizeof(path), "/tmp/wg-mesh-test-notify-%d", (int)getpid());
	notify_to(path, (socklen_t)sizeof(struct sockaddr_un));
	unlink(path);
	path[0] = '@';
	notify_to(path, (socklen_t)(base + strlen(path)));
	setenv("NOTIFY_SOCKET", "relative", 1);
	daemon_notify("READY=1"); /* ignored */
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	daemon_notify("READY=1");
	unsetenv("NOTIFY_SOCKET");
}

static unsigned long long status_number(const char *name, int base)
{
	struct buf status = {0};
	unsigned long long value = ~0ull;
	char *at;

	if (file_read("/proc/self/status", 65536, &status) == 0 &&
	    (at = strstr(buf_text(&status), name)))
		value = strtoull(at + strlen(name), NULL, base);
	buf_free(&status);
	return value;
}

/* What is permitted may be made inheritable: then there is something to take away. */
static void inherit_all(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];

	if (syscall(SYS_capget, &head, sets) < 0)
		_exit(10);
	for (int i = 0; i < 2; i++)
		sets[i].inheritable = sets[i].permitted;
	if (syscall(SYS_capset, &head, sets) < 0)
		_exit(11);
}

static int drop_most(void)
{
	unsigned long long keep = 1ull << CAP_NET_ADMIN | 1ull << CAP_NET_RAW;
	unsigned long long had = status_number("\nCapPrm:", 16),
			   bound = status_number("\nCapBnd:", 16);
	bool may = had >> CAP_SETPCAP & 1;

	inherit_all();
	if (daemon_drop_capabilities(keep) != 0)
		return 1;
	if (status_number("\nCapPrm:", 16) != (had & keep) ||
	    status_number("\nCapInh:", 16) & ~keep)
		return 2;
	if (status_number("\nCapEff:", 16) & ~keep || status_number("\nCapAmb:", 16) & ~keep)
		return 3;
	if (may && status_number("\nCapBnd:", 16) != (bound & keep))
		return 4;
	if (status_number("\nNoNewPrivs:", 10) != 1)
		return 5;
	if (daemon_drop_capabilities(0) != 0 || status_number("\nCapPrm:", 16) != 0)
		return 6;
	return daemon_drop_capabilities(0) == 0 ? 0 : 7; /* again, with none left */
}

static void capabilities(void **state)
{
	(void)state;
	assert_int_equal(in_child(drop_most), 0);
}

static int close_from_ten(void)
{
	int low = dup2(0, 9), high = dup2(0, 10), higher = dup2(0, 500);

	daemon_close_fds(10);
	return low == 9 && high == 10 && higher == 500 && fcntl(9, F_GETFD) >= 0 &&
			       fcntl(10, F_GETFD) < 0 && fcntl(500, F_GETFD) < 0
		       ? 0
		       : 1;
}

static void closing(void **state)
{
	(void)state;
	assert_int_equal(in_child(close_from_ten), 0);
}

static void fork_with_log(void **state)
{
	char log[64];
	struct buf out = {0};
	struct stat st;
	int status, leak = dup2(0, 77);
	pid_t pid;

	(void)state;
	snprintf(log, sizeof(log), "/tmp/wg-mesh-test-daemon-%d", (int)getpid());
	umask(0);
	pid = daemon_fork(log);
	if (pid == 0) {
		char byte;
		bool good = getsid(0) == getpid() && fcntl(77, F_GETFD) < 0 &&
			    read(0, &byte, 1) == 0 && write(1, "out\n", 4) == 4 &&
			    write(2, "err\n", 4) == 4;

		_exit(good ? 42 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(leak, 77);
	close(leak);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	assert_int_equal(file_read(log, 100, &out), 0);
	assert_string_equal(buf_text(&out), "out\nerr\n");
	assert_int_equal(stat(log, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	buf_free(&out);
	unlink(log);
}

static void fork_fails_in_the_parent(void **state)
{
	(void)state;
	assert_int_equal(daemon_fork("/nonexistent/log"), -ENOENT);
}

static int with_none_open(void)
{
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	standard_open();
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return 1;
	if (!output_closed() || write(STDOUT_FILENO, "x", 1) >= 0 || write(STDERR_FILENO, "x", 1) != 1)
		return 2;
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) > 2 ? 0 : 3;
}

static int with_output_open(void)
{
	close(STDIN_FILENO);
	standard_open();
	return !output_closed() && socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) > 2 ? 0 : 1;
}

/* What is opened next must not get the number of a standard descriptor. */
static void standard_descriptors(void **state)
{
	(void)state;
	assert_int_equal(in_child(with_none_open), 0);
	assert_int_equal(in_child(with_output_open), 0);
}

/* What another process comes to that wants to hold `path`. */
static int held_by_another(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(daemon_hold(path) == -EAGAIN && daemon_holder(path) == getppid() ? 1 : 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void one_holds(void **state)
{
	char path[64], text[32];
	struct buf out = {0};

	(void)state;
	snprintf(path, sizeof(path), "/tmp/wg-mesh-test-hold-%d", (int)getpid());
	assert_int_equal(daemon_holder(path), 0);
	assert_int_equal(daemon_hold(path), 0);
	assert_int_equal(held_by_another(path), 1);
	assert_int_equal(file_read(path, 100, &out), 0);
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	assert_string_equal(buf_text(&out), text);
	buf_free(&out);
	unlink(path); /* a lock on a file without a name keeps nobody out */
	assert_int_equal(held_by_another(path), 0);
	assert_int_equal(daemon_holder(path), 0);
	unlink(path);
	assert_int_equal(daemon_hold("/nonexistent/pid"), -ENOENT);
}

static void namespaces(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	assert_int_equal(netns_id(), st.st_ino);
	if (access("/run/systemd/system", F_OK) != 0)
		assert_false(daemon_under_systemd());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notify),     cmocka_unit_test(capabilities),
		cmocka_unit_test(closing),    cmocka_unit_test(fork_with_log),
		cmocka_unit_test(namespaces), cmocka_unit_test(fork_fails_in_the_parent),
		cmocka_unit_test(one_holds),  cmocka_unit_test(standard_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
