#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/buf.h"
#include <errno.h>
#include <string.h>

static void empty_is_text(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_string_equal(buf_text(&buf), "");
	buf_consume(&buf, 5);
	assert_int_equal(buf.len, 0);
	assert_null(buf.data);
	buf_free(&buf);
	buf_wipe(&buf);
}

static void appends_and_terminates(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_int_equal(buf_puts(&buf, "abc"), 0);
	assert_int_equal(buf_addf(&buf, "-%d-%s", 42, "x"), 0);
	assert_int_equal(buf_add(&buf, "\0y", 2), 0);
	assert_int_equal(buf_add(&buf, NULL, 0), 0);
	assert_int_equal(buf.len, 10);
	assert_memory_equal(buf.data, "abc-42-x\0y", 11);
	buf_free(&buf);
	assert_null(buf.data);
	assert_int_equal(buf_puts(&buf, "again"), 0);
	assert_string_equal(buf_text(&buf), "again");
	buf_free(&buf);
}

static void grows_over_many_sizes(void **state)
{
	struct buf buf = {0};

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		assert_int_equal(buf_add(&buf, (uint8_t[]){(uint8_t)i}, 1), 0);
		assert_true(buf.cap > buf.len);
		assert_int_equal(buf.data[buf.len], 0);
	}
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(buf.data[i], (uint8_t)i);
	buf_free(&buf);
}

static void limit_is_exact(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 10);
	assert_int_equal(buf_puts(&buf, "12345678"), 0);
	assert_int_equal(buf_puts(&buf, "abc"), -ENOBUFS);
	assert_int_equal(buf_addf(&buf, "%s", "abc"), -ENOBUFS);
	assert_null(buf_reserve(&buf, 3));
	assert_null(buf_reserve(&buf, SIZE_MAX));
	assert_string_equal(buf_text(&buf), "12345678");
	assert_int_equal(buf_addf(&buf, "%d", 90), 0);
	assert_string_equal(buf_text(&buf), "1234567890");
	assert_int_equal(buf_puts(&buf, ""), 0);
	assert_int_equal(buf_puts(&buf, "x"), -ENOBUFS);
	buf_free(&buf);
	assert_int_equal(buf.limit, 10);
}

static void default_limit(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_null(buf_reserve(&buf, (size_t)16 * 1024 * 1024 + 1));
	assert_null(buf.data);
}

static void reserve_then_consume(void **state)
{
	struct buf buf = {0};
	uint8_t *at;

	(void)state;
	buf_puts(&buf, "head ");
	at = buf_reserve(&buf, 100);
	assert_non_null(at);
	memset(at, 'x', 100);
	buf.len += 100;
	assert_int_equal(strlen(buf_text(&buf)), 105);
	buf_consume(&buf, 5);
	assert_int_equal(buf.len, 100);
	assert_int_equal(buf.data[0], 'x');
	buf_consume(&buf, 99);
	assert_string_equal(buf_text(&buf), "x");
	buf_consume(&buf, 1000);
	assert_string_equal(buf_text(&buf), "");
	buf_free(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_is_text),         cmocka_unit_test(appends_and_terminates),
		cmocka_unit_test(grows_over_many_sizes), cmocka_unit_test(limit_is_exact),
		cmocka_unit_test(default_limit),         cmocka_unit_test(reserve_then_consume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
