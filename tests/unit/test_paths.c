/* Where an interface's files are, moved by options or not. */
#include "paths.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void test_defaults(void **state)
{
	struct paths p;

	(void)state;
	assert_int_equal(paths_init(&p, "wg0", NULL, NULL, NULL, NULL), 0);
	assert_string_equal(p.config, WG_MESH_SYSCONFDIR "/wg0.yaml");
	assert_string_equal(p.hooks_dir, WG_MESH_SYSCONFDIR "/hooks.d");
	assert_string_equal(p.state, WG_MESH_STATEDIR "/agent/wg0.json");
	assert_string_equal(p.psk, WG_MESH_STATEDIR "/agent/wg0.psk");
	assert_string_equal(p.rekey, WG_MESH_STATEDIR "/agent/wg0.rekey");
	assert_string_equal(p.socket, WG_MESH_RUNDIR "/wg0.sock");
	assert_string_equal(p.ledger, WG_MESH_RUNDIR "/wg0.owned");
	assert_string_equal(p.hooks, WG_MESH_RUNDIR "/wg0.hooks");
	assert_string_equal(p.pid, WG_MESH_RUNDIR "/wg0.pid");
	assert_string_equal(p.log, WG_MESH_RUNDIR "/wg0.log");
	assert_string_equal(p.log_old, WG_MESH_RUNDIR "/wg0.log.1");
	assert_string_equal(p.hung, WG_MESH_RUNDIR "/wg0.hung");
	assert_string_equal(p.plugin_dir, WG_MESH_PLUGINDIR);
}

static void test_config(void **state)
{
	static const struct {
		const char *option, *file, *dir;
	} table[] = {
		{"/a/b.yaml", "/a/b.yaml", "/a"},     {"/a/", "/a/wg0.yaml", "/a"},
		{"/a///", "/a/wg0.yaml", "/a"},       {"b.yaml", "b.yaml", "."},
		{"./b.yaml", "./b.yaml", "."},        {"/b.yaml", "/b.yaml", "/"},
		{"a/b/c.yaml", "a/b/c.yaml", "a/b"},
	};
	char hooks[PATHS_MAX];
	struct paths p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_int_equal(paths_init(&p, "wg0", table[i].option, NULL, NULL, NULL), 0);
		assert_string_equal(p.config, table[i].file);
		assert_string_equal(p.config_dir, table[i].dir);
		snprintf(hooks, sizeof(hooks), "%s/hooks.d", table[i].dir);
		assert_string_equal(p.hooks_dir, hooks);
	}
}

static void test_moved(void **state)
{
	struct paths p;

	(void)state;
	assert_int_equal(paths_init(&p, "wg0", NULL, "/s/", "/r", "/p//"), 0);
	assert_string_equal(p.state, "/s/wg0.json");
	assert_string_equal(p.socket, "/r/wg0.sock");
	assert_string_equal(p.plugin_dir, "/p");
}

static void test_refused(void **state)
{
	char longest[PATHS_MAX + 1];
	struct paths p;

	(void)state;
	memset(longest, 'a', PATHS_MAX);
	longest[PATHS_MAX] = 0;
	assert_int_equal(paths_init(&p, "../wg0", NULL, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(paths_init(&p, "", NULL, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(paths_init(&p, "sixteen-letters-", NULL, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(paths_init(&p, "wg0", longest, NULL, NULL, NULL), -ENAMETOOLONG);
	assert_int_equal(paths_init(&p, "wg0", NULL, longest, NULL, NULL), -ENAMETOOLONG);
	assert_int_equal(paths_init(&p, "wg0", NULL, NULL, longest + 8, NULL), -ENAMETOOLONG);
	assert_int_equal(paths_init(&p, "wg0", "", NULL, NULL, NULL), -ENAMETOOLONG);
	assert_int_equal(paths_init(&p, "wg0", NULL, NULL, "", NULL), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
