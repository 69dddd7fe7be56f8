#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/wg-mesh-test-file.XXXXXX";

static int enter(void **state)
{
	(void)state;
	return !mkdtemp(directory) || chdir(directory) < 0;
}

static int leave(void **state)
{
	(void)state;
	unlink("file");
	return chdir("/") < 0 || rmdir(directory) < 0;
}

static int entries(void)
{
	DIR *dir = opendir(".");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void written_and_read(void **state)
{
	struct buf out = {0};
	char path[128];
	struct stat st;

	(void)state;
	umask(077);
	assert_int_equal(file_write_atomic("file", "first", 5, 0644), 0);
	assert_int_equal(stat("file", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644); /* the umask has no say */
	snprintf(path, sizeof(path), "%s/file", directory);
	assert_int_equal(file_write_atomic(path, "second\0x", 8, 0600), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(entries(), 1);
	buf_puts(&out, ">");
	assert_int_equal(file_read(path, 8, &out), 0);
	assert_int_equal(out.len, 9);
	assert_memory_equal(out.data, ">second\0x", 10);
	assert_int_equal(file_write_atomic(path, NULL, 0, 0600), 0);
	assert_int_equal(file_read(path, 0, &out), 0);
	assert_int_equal(out.len, 9);
	buf_free(&out);
}

static void large_files(void **state)
{
	struct buf big = {0}, out;

	(void)state;
	for (unsigned i = 0; i < 30000; i++)
		buf_addf(&big, "%u\n", i);
	assert_int_equal(file_write_atomic("file", big.data, big.len, 0600), 0);
	buf_init(&out, big.len);
	assert_int_equal(file_read("file", big.len, &out), 0);
	assert_int_equal(out.len, big.len);
	assert_memory_equal(out.data, big.data, big.len);
	buf_free(&out);
	assert_int_equal(file_read("file", big.len - 1, &out), -EFBIG);
	assert_int_equal(out.len, 0);
	buf_init(&out, big.len - 1);
	assert_int_equal(file_read("file", SIZE_MAX, &out), -EFBIG);
	assert_string_equal(buf_text(&out), "");
	buf_free(&out);
	buf_free(&big);
}

static void failures_leave_nothing(void **state)
{
	struct buf out = {0};

	(void)state;
	assert_int_equal(file_read("nothing", 10, &out), -ENOENT);
	assert_int_equal(file_read(".", 10, &out), -EISDIR);
	assert_int_equal(file_write_atomic("nothing/file", "x", 1, 0600), -ENOENT);
	assert_int_equal(mkdir("taken", 0700), 0);
	assert_int_equal(file_write_atomic("file", "kept", 4, 0600), 0);
	assert_int_equal(file_write_atomic("taken", "x", 1, 0600), -EISDIR);
	assert_int_equal(entries(), 2);
	assert_int_equal(rmdir("taken"), 0);
	assert_null(out.data);
}

/* What would wait for a writer is not opened but where that was asked for. */
static void pipes(void **state)
{
	struct buf out = {0};
	char path[32];
	int ends[2];

	(void)state;
	alarm(20); /* one that waits has failed */
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(file_read("fifo", 10, &out), FILE_NOT_REGULAR);
	assert_int_equal(unlink("fifo"), 0);
	assert_int_equal(file_read("/dev/null", 10, &out), FILE_NOT_REGULAR);
	assert_int_equal(pipe(ends), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	assert_int_equal(file_read(path, 10, &out), FILE_NOT_REGULAR);
	assert_string_equal(file_why(FILE_NOT_REGULAR), "it is not a regular file");
	assert_string_equal(file_why(-ENOENT), strerror(ENOENT));
	assert_int_equal(write(ends[1], "text", 4), 4);
	close(ends[1]);
	assert_int_equal(file_read_any(path, 10, &out), 0);
	assert_string_equal(buf_text(&out), "text");
	close(ends[0]);
	assert_int_equal(file_read_any("nothing", 10, &out), -ENOENT);
	buf_free(&out);
	alarm(0);
}

static void directories(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(file_make_dirs("a/b//c/", 0700), 0);
	assert_int_equal(stat("a/b/c", &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(file_make_dirs("a/b/c", 0700), 0);
	assert_int_equal(file_make_dirs("/", 0700), 0);
	assert_int_equal(file_write_atomic("file", "x", 1, 0600), 0);
	assert_int_equal(file_make_dirs("file", 0700), -ENOTDIR);
	assert_int_equal(file_make_dirs("file/x", 0700), -ENOTDIR);
	assert_int_equal(file_make_dirs("", 0700), -ENOENT);
	assert_int_equal(rmdir("a/b/c") | rmdir("a/b") | rmdir("a"), 0);
}

static int check(const char *path, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error = file_check_trusted(fd, why);

	close(fd);
	return error;
}

static void trust(void **state)
{
	static const struct {
		mode_t mode;
		bool good;
	} cases[] = {{0600, true},  {0755, true},  {0644, true},
		     {0620, false}, {0602, false}, {0666, false}};
	const char *why;

	(void)state;
	assert_int_equal(file_write_atomic("file", "x", 1, 0600), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(chmod("file", cases[i].mode), 0);
		assert_int_equal(check("file", &why), cases[i].good ? 0 : -EPERM);
		assert_int_equal(why == NULL, cases[i].good);
	}
	chmod("file", 0600);
	assert_int_equal(check("/dev/null", &why), -EPERM);
	assert_non_null(strstr(why, "regular"));
	assert_int_equal(check(".", &why), -EPERM);
	assert_int_equal(file_check_trusted(-1, &why), -EPERM);
	assert_non_null(why);
	if (geteuid() != 0) {
		print_message("skipped: only root can give a file away\n");
		skip();
	}
	assert_int_equal(chown("file", 12345, 0), 0);
	assert_int_equal(check("file", &why), -EPERM);
	assert_non_null(strstr(why, "another user"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_and_read),
		cmocka_unit_test(large_files),
		cmocka_unit_test(failures_leave_nothing), cmocka_unit_test(pipes),
		cmocka_unit_test(directories),
		cmocka_unit_test(trust),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
