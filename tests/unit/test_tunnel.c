/*
 * `Table =` of the user's wg-quick file.
 */
#include "tunnel.h"

#include "lib/file.h"
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *text;
	uint32_t table;
} rows[] = {
	{"", RT_TABLE_MAIN},
	{"[Interface]\nPrivateKey = x\n", RT_TABLE_MAIN},
	{"[Interface]\nTable = auto\n", RT_TABLE_MAIN},
	{"[Interface]\nTable = off\n", 0},
	{"[interface]\n\ttable=OFF # no routes\n", 0},
	{"[Interface]\r\nTable = 77\r\n", 77},
	{"[Interface]\n# Table = off\n", RT_TABLE_MAIN},
	{"[Peer]\nTable = off\n", RT_TABLE_MAIN},
	{"[Interface]\nTable = 99999999999\n", RT_TABLE_MAIN},
	{"[Interface]\nTable = 4294967295", 4294967295u},
	{"Table", RT_TABLE_MAIN},
};

static void test_table(void **state)
{
	char path[] = "/tmp/wg-mesh-tunnel-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(file_write_atomic(path, rows[i].text, strlen(rows[i].text), 0600),
				 0);
		if (tunnel_table(path) != rows[i].table)
			fail_msg("%s: table %u", rows[i].text, tunnel_table(path));
	}
	unlink(path);
	assert_int_equal(tunnel_table(path), RT_TABLE_MAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
