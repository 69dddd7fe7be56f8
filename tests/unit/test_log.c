#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/log.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int saved_stderr, file;

static void catch_begin(void)
{
	saved_stderr = dup(2);
	file = memfd_create("log", 0);
	dup2(file, 2);
}

static void catch_end(char *out, size_t size)
{
	ssize_t len;

	dup2(saved_stderr, 2);
	close(saved_stderr);
	len = pread(file, out, size - 1, 0);
	out[MAX(len, 0)] = 0;
	close(file);
}

static void lines(void **state)
{
	char out[8192];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	catch_begin();
	log_open("wg-meshd", "wg0", LOG_INFO);
	log_info("peer-up", "peer=%s path=direct", "alice");
	log_debug("probe", "n=%d", 1);
	log_set_level(LOG_DEBUG);
	log_debug("probe", "n=%d", 2);
	log_set_level(LOG_ERROR);
	log_warn("degraded", "reason=\"no relay\"");
	log_error("stopped", "reason=\"%s\"", "x");
	log_open("wg-mesh-relay", NULL, LOG_INFO);
	log_info("started", "port=%u", 3478);
	catch_end(out, sizeof(out));
	assert_string_equal(out, "wg-meshd[wg0]: info peer-up peer=alice path=direct\n"
				 "wg-meshd[wg0]: debug probe n=2\n"
				 "wg-meshd[wg0]: error stopped reason=\"x\"\n"
				 "wg-mesh-relay: info started port=3478\n");
}

static void a_value_cannot_forge_a_line(void **state)
{
	char out[8192];

	(void)state;
	catch_begin();
	log_open("p", NULL, LOG_INFO);
	log_info("e", "name=%s",
		 "a\nb\r\t\x1b[31m\x7f\xc2\x9b"
		 "c\xc3\xa4");
	catch_end(out, sizeof(out));
	assert_string_equal(out, "p: info e name=a?b???[31m???c\xc3\xa4\n");
}

static void a_value_cannot_forge_a_field(void **state)
{
	char out[8192];

	(void)state;
	catch_begin();
	log_open("p", NULL, LOG_INFO);
	log_info("e", "n=%u text=\"%s\" x=%zu", 1u, "unknown key \"a\\b\", did you mean \"c\"? y=2", (size_t)3);
	log_info("e", "name=%s code=%s d=%d", "x ok=1 \"", "plain", -4);
	log_info("e", "text=\"%.*s\" left=%llu %lu", 3, "abc\" z=1", 7ull, 8ul);
	catch_end(out, sizeof(out));
	assert_string_equal(out, "p: info e n=1 text=\"unknown key \\\"a\\\\b\\\", did you mean \\\"c\\\"? y=2\" x=3\n"
				 "p: info e name=\"x ok=1 \\\"\" code=plain d=-4\n"
				 "p: info e text=\"abc\" left=7 8\n");
}

static void long_lines_are_cut(void **state)
{
	char value[5000], out[8192];

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	catch_begin();
	log_open(value, NULL, LOG_INFO);
	log_info("e", "name=%s", value);
	log_open("p", NULL, LOG_INFO);
	log_info("e", "name=%s", value);
	catch_end(out, sizeof(out));
	assert_int_equal(out[strlen(out) - 1], '\n');
	assert_ptr_equal(strchr(strchr(out, '\n') + 1, '\n'), out + strlen(out) - 1);
	assert_non_null(strstr(out, "\np: info e name=xxx"));
}

static void journal(void **state)
{
	char out[8192], stream[64];
	struct stat st;

	(void)state;
	catch_begin();
	fstat(2, &st);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("p", NULL, LOG_DEBUG);
	log_error("a", "n=%d", 1);
	log_warn("b", "n=%d", 2);
	log_info("c", "n=%d", 3);
	log_debug("d", "n=%d", 4);
	setenv("JOURNAL_STREAM", "1:1", 1); /* inherited, but stderr is a file */
	log_open("p", NULL, LOG_DEBUG);
	log_info("e", "n=%d", 5);
	unsetenv("JOURNAL_STREAM");
	catch_end(out, sizeof(out));
	assert_string_equal(out, "<3>p: error a n=1\n<4>p: warn b n=2\n<6>p: info c n=3\n"
				 "<7>p: debug d n=4\np: info e n=5\n");
}

static size_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

/* Several processes write at once into one file, as the agent and its supervisor do. */
static void a_long_file_begins_anew(void **state)
{
	char path[64], old[80], value[1001];
	pid_t child;

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	snprintf(path, sizeof(path), "/tmp/test_log.%d", getpid());
	snprintf(old, sizeof(old), "%s.1", path);
	saved_stderr = dup(2);
	file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	assert_true(file >= 0);
	dup2(file, 2);
	log_open("p", NULL, LOG_INFO);
	log_keep_short(path, old);
	for (int i = 0; i < 900; i++)
		log_info("e", "n=%d value=%s", i, value);
	assert_int_equal(size_of(old), 0);
	for (int process = 0; process < 3; process++) {
		child = fork();
		for (int i = 0; !child && i < 1500; i++)
			log_info("e", "n=%d value=%s", i, value);
		if (!child)
			_exit(0);
	}
	while (wait(NULL) > 0)
		;
	log_keep_short(NULL, NULL);
	dup2(saved_stderr, 2);
	close(saved_stderr);
	close(file);
	assert_in_range(size_of(path), 1, 2 * LOG_FILE_MAX);
	assert_in_range(size_of(old), LOG_FILE_MAX, 2 * LOG_FILE_MAX);
	unlink(path);
	unlink(old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(a_value_cannot_forge_a_line),
		cmocka_unit_test(a_value_cannot_forge_a_field),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(journal),
		cmocka_unit_test(a_long_file_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
