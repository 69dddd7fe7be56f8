/* What an agent may still write. In a child, since nobody gets out again. */
#include "sandbox.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { CANNOT = 77 };

/* Not below /tmp and /var/tmp, which are allowed: a checkout may well be there. */
static char base[160];

static bool make_base(void)
{
	static const char *const places[] = {"/var/lib", "build"};
	char *real;
	bool fits;

	mkdir("build", 0755);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		real = realpath(places[i], NULL);
		if (!real)
			continue;
		fits = snprintf(base, sizeof(base), "%s/test_sandbox.XXXXXX", real) < (int)sizeof(base) &&
		       strncmp(real, "/tmp/", 5) && strncmp(real, "/var/tmp/", 9);
		free(real);
		if (fits && mkdtemp(base))
			return true;
	}
	return false;
}

static bool can_make(const char *directory)
{
	char path[PATHS_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/made", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd >= 0)
		close(fd);
	unlink(path);
	return fd >= 0;
}

static int inside(const struct paths *paths, const char *outside)
{
	char path[PATHS_MAX + 8];
	int fd, error;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	error = sandbox_enter(paths);
	if (error == -ENOSYS || error == -EOPNOTSUPP)
		return CANNOT;
	if (error)
		return 2;
	if (!can_make(paths->run_dir) || !can_make("/tmp"))
		return 3;
	snprintf(path, sizeof(path), "%s/state", base);
	if (!can_make(path))
		return 4;
	if (can_make(outside) || can_make("/etc") || rename(outside, "/tmp/test_sandbox") == 0)
		return 5;
	snprintf(path, sizeof(path), "%s/file", outside);
	fd = open(path, O_WRONLY);
	if (fd >= 0 || open(path, O_RDONLY) < 0)
		return 6;
	fd = open("/dev/null", O_WRONLY);
	return fd < 0 ? 7 : 0;
}

static void test_sandbox(void **state)
{
	struct paths paths = {0};
	char outside[PATHS_MAX], file[PATHS_MAX + 8];
	int status;
	pid_t pid;

	(void)state;
	if (!make_base()) {
		print_message("skipped: no directory outside of /tmp may be written to\n");
		skip();
	}
	snprintf(paths.run_dir, sizeof(paths.run_dir), "%s/run", base);
	snprintf(paths.state, sizeof(paths.state), "%s/state/wg0.json", base);
	snprintf(outside, sizeof(outside), "%s/state", base);
	mkdir(outside, 0700);
	mkdir(paths.run_dir, 0700);
	snprintf(outside, sizeof(outside), "%s/outside", base);
	mkdir(outside, 0700);
	snprintf(file, sizeof(file), "%s/file", outside);
	close(open(file, O_WRONLY | O_CREAT, 0600));
	pid = fork();
	if (pid == 0)
		_exit(inside(&paths, outside));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(file);
	rmdir(outside);
	rmdir(paths.run_dir);
	snprintf(outside, sizeof(outside), "%s/state", base);
	rmdir(outside);
	rmdir(base);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CANNOT) {
		print_message("skipped: this kernel has no Landlock\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sandbox)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
