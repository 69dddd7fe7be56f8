/*
 * YAML to trees and back to places in the file; and the schema's complaints, word by word, because
 * they are what the user sees.
 */
#include "lib/buf.h"
#include "lib/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void test_values(void **state)
{
	static const struct {
		const char *yaml, *json;
	} cases[] = {
		{"", "{}"},
		{"# only a comment\n", "{}"},
		{"---\n", "{}"},
		{"a: 1", "{\"a\":1}"},
		{"a: -1\nb: +7\nc: 0o17\nd: 0xfF\ne: 010", "{\"a\":-1,\"b\":7,\"c\":15,\"d\":255,\"e\":10}"},
		{"a: true\nb: False\nc: yes\nd: off", "{\"a\":true,\"b\":false,\"c\":\"yes\",\"d\":\"off\"}"},
		{"a: null\nb: ~\nc:\nd: ''", "{\"a\":null,\"b\":null,\"c\":null,\"d\":\"\"}"},
		{"a: 1.5\nb: 10s\nc: '1'\nd: \"true\"", "{\"a\":\"1.5\",\"b\":\"10s\",\"c\":\"1\",\"d\":\"true\"}"},
		{"a: 0x\nb: +\nc: 0o9\nd: 1_000", "{\"a\":\"0x\",\"b\":\"+\",\"c\":\"0o9\",\"d\":\"1_000\"}"},
		{"a: [x, {b: c}, 2]\n", "{\"a\":[\"x\",{\"b\":\"c\"},2]}"},
		{"a: |\n  two\n  lines\n", "{\"a\":\"two\\nlines\\n\"}"},
		{"- 1\n- 2\n", "[1,2]"},
		{"%YAML 1.2\n---\na: b\n...\n", "{\"a\":\"b\"}"},
	};
	char error[YAML_ERROR];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct yaml *yaml = yaml_load_text("f", cases[i].yaml, strlen(cases[i].yaml), error);
		char *json;

		if (!yaml)
			fail_msg("%s: %s", cases[i].yaml, error);
		json = json_dumps(yaml_root(yaml), JSON_COMPACT);
		assert_string_equal(json, cases[i].json);
		free(json);
		yaml_free(yaml);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *yaml, *error;
	} cases[] = {
		{"a: 1\na: 2\n", "f:2:1: the key a is there twice"},
		{"a: &x 1\nb: *x\n", "f:1:4: anchors and aliases are not taken"},
		{"b:\n  - *x\n", "f:2:5: anchors and aliases are not taken"},
		{"a: !!str 1\n", "f:1:4: tags are not taken"},
		{"&k a: 1\n", "f:1:1: anchors and tags are not taken"},
		{"[a, b]: 1\n", "f:1:1: a key must be a plain word"},
		{"a: 1\n---\nb: 2\n", "f:2:1: only one document is taken"},
		{"a: \"x\\0y\"\n", "f:1:4: text with a NUL in it is not taken"},
		{"a: 99999999999999999999\n", "f:1:4: the number 99999999999999999999 is too large"},
		{"a: [1,\n", "f:2:1: not valid YAML"},
		{"a:\n\tb: 1\n", "f:2:1: not valid YAML"},
		{"a: \xFF\n", "f:1:1: not UTF-8"},
	};
	char error[YAML_ERROR];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct yaml *yaml = yaml_load_text("f", cases[i].yaml, strlen(cases[i].yaml), error);

		if (yaml)
			fail_msg("%s was taken", cases[i].yaml);
		if (strncmp(error, cases[i].error, strlen(cases[i].error)))
			fail_msg("%s: got %s", cases[i].yaml, error);
	}
}

static void test_depth(void **state)
{
	char text[80], error[YAML_ERROR];
	struct yaml *yaml;

	(void)state;
	memset(text, '[', 40);
	memset(text + 40, ']', 40);
	yaml = yaml_load_text("f", text + 8, 64, error); /* 32 */
	assert_non_null(yaml);
	yaml_free(yaml);
	assert_null(yaml_load_text("f", text + 7, 66, error));
	assert_string_equal(error, "f:1:33: nested more than 32 levels deep");
}

/* Each is found by what holds it, however many there are. */
static void test_many(void **state)
{
	enum { ITEMS = 99998 }; /* the list and the document are values too */
	struct buf text = {0};
	char error[YAML_ERROR];
	unsigned line, column;
	struct yaml *yaml;
	json_t *list;

	(void)state;
	buf_puts(&text, "a: [0");
	for (unsigned i = 1; i < ITEMS; i++)
		buf_puts(&text, ",0");
	buf_puts(&text, "]");
	yaml = yaml_load_text("f", buf_text(&text), text.len, error);
	if (!yaml)
		fail_msg("%s", error);
	list = json_object_get(yaml_root(yaml), "a");
	assert_int_equal(json_array_size(list), ITEMS);
	for (unsigned i = 0; i < ITEMS; i++) {
		assert_true(yaml_where_value(yaml, list, NULL, i, &line, &column));
		assert_int_equal(column, 5 + 2 * i);
	}
	yaml_free(yaml);
	buf_puts(&text, "\nb: 0");
	assert_null(yaml_load_text("f", buf_text(&text), text.len, error));
	assert_string_equal(error, "f:1:1: more than 100000 values: leave some out");
	buf_free(&text);
}

static void test_no_file(void **state)
{
	char error[YAML_ERROR];

	(void)state;
	assert_null(yaml_load_file("/nonexistent/x.yaml", error));
	assert_string_equal(error, "the configuration /nonexistent/x.yaml cannot be read: No such file or directory; "
				   "name another with --config");
}

static void test_where(void **state)
{
	static const char text[] = "a: 1\nb:\n  c: true\n  d: [x, true]\n";
	char error[YAML_ERROR];
	struct yaml *yaml = yaml_load_text("f", text, strlen(text), error);
	json_t *b = json_object_get(yaml_root(yaml), "b"), *d = json_object_get(b, "d");
	unsigned line, column;

	(void)state;
	assert_true(yaml_where(yaml, b, &line, &column));
	assert_int_equal(line, 3);
	assert_int_equal(column, 3);
	assert_true(yaml_where_key(yaml, b, "d", &line, &column));
	assert_int_equal(line, 4);
	assert_int_equal(column, 3);
	assert_true(yaml_where(yaml, json_array_get(d, 0), &line, &column));
	assert_int_equal(column, 7);
	assert_false(yaml_where(yaml, json_true(), &line, &column)); /* there twice */
	assert_true(yaml_where_value(yaml, d, NULL, 1, &line, &column));
	assert_int_equal(line, 4);
	assert_int_equal(column, 10);
	assert_false(yaml_where_key(yaml, b, "x", &line, &column));
	yaml_free(yaml);
}

/* ---- schema --------------------------------------------------------------------- */

static const char *const colours[] = {"red", "green", "blue", NULL};

static const struct schema_field inner[] = {
	{.name = "url", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED},
	{.name = "pin", .type = SCHEMA_STRING},
	{.name = NULL},
};

static const struct schema_field fields[] = {
	{.name = "coordinator", .type = SCHEMA_OBJECT, .fields = inner},
	{.name = "name", .type = SCHEMA_STRING},
	{.name = "listen_port", .type = SCHEMA_INT, .max = 65535},
	{.name = "any_int", .type = SCHEMA_INT},
	{.name = "accept", .type = SCHEMA_BOOL},
	{.name = "every", .type = SCHEMA_DURATION},
	{.name = "stun", .type = SCHEMA_ENDPOINT, .flags = SCHEMA_LIST},
	{.name = "routes", .type = SCHEMA_PREFIX, .flags = SCHEMA_LIST},
	{.name = "colour", .type = SCHEMA_WORD, .words = colours, .flags = SCHEMA_LIST},
	{.name = "exit_node", .type = SCHEMA_STRING, .flags = SCHEMA_NULLABLE},
	{.name = "plugins", .type = SCHEMA_OBJECT, .flags = SCHEMA_OPEN},
	{.name = "free", .type = SCHEMA_ANY},
	{.name = "rules", .type = SCHEMA_OBJECT, .flags = SCHEMA_LIST, .fields = inner},
	{.name = NULL},
};

static void test_schema(void **state)
{
	static const struct {
		const char *yaml, *error; /* NULL: fine */
	} cases[] = {
		{"", NULL},
		{"coordinator: {url: x, pin: y}\nname: n\nlisten_port: 0\nany_int: -5\naccept: false\n", NULL},
		{"every: 10s", NULL},
		{"every: 10", NULL},
		{"stun: 192.0.2.1:3478", NULL},
		{"stun: [192.0.2.1:3478, \"[2001:db8::1]:3478\"]", NULL},
		{"routes: [10.0.0.0/8]\ncolour: red", NULL},
		{"exit_node: null", NULL},
		{"plugins: {whatever: [1, {x: y}]}", NULL},
		{"free: [1]", NULL},
		{"free:", NULL},
		{"rules: [{url: x}, {url: y}]", NULL},
		{"rules: {url: x}", NULL},

		{"a: 1", "f:1:1: unknown key \"a\", known here: coordinator, name, listen_port, any_int, "
			 "accept, every, stun, routes, colour, exit_node, plugins, free or rules"},
		{"\nlisten_prot: 1", "f:2:1: unknown key \"listen_prot\", did you mean \"listen_port\"?"},
		{"coordinator: {url: x, pim: y}", "f:1:23: unknown key \"pim\", did you mean \"pin\"?"},
		{"coordinator: {pin: y}", "f:1:14: the key \"url\" is missing"},
		{"coordinator: x", "f:1:14: coordinator: must be keys and values"},
		{"name: 12", "f:1:7: name: must be text, put it in quotes"},
		{"name: [a]", "f:1:7: name: must be one value, not a list"},
		{"name:", "f:1:1: name: has no value, give it one or remove the line"},
		{"listen_port: 65536", "f:1:14: listen_port: must be a whole number from 0 to 65535"},
		{"listen_port: x", "f:1:14: listen_port: must be a whole number from 0 to 65535"},
		{"any_int: x", "f:1:10: any_int: must be a whole number"},
		{"accept: yes", "f:1:9: accept: must be true or false"},
		{"every: soon", "f:1:8: every: must be a duration like 10s, 15m, 1h or 7d"},
		{"stun: [192.0.2.1:3478, x]",
		 "f:1:24: stun: must be an endpoint like \"192.0.2.1:51820\""},
		{"routes: 10.0.0.0/33", "f:1:9: routes: must be a prefix like 192.168.1.0/24"},
		{"colour: [red, gren]", "f:1:15: colour: \"gren\" is not known, did you mean \"green\"?"},
		{"colour: 7", "f:1:9: colour: must be red, green or blue"},
		{"plugins: 1", "f:1:10: plugins: must be keys and values"},
		{"plugins: [a]", "f:1:10: plugins: must be keys and values, not a list"},
		{"coordinator: []", "f:1:14: coordinator: must be keys and values, not a list"},
		{"rules: 3", "f:1:8: rules: must be a list, each item of it keys and values"},
		{"rules: [{url: x}, 3]", "f:1:19: rules: each item must be keys and values"},
		{"rules: [[]]", "f:1:9: rules: each item must be keys and values"},
		{"- a", "f:1:1: the file must consist of keys and values"},
	};
	char error[YAML_ERROR];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct yaml *yaml = yaml_load_text("f", cases[i].yaml, strlen(cases[i].yaml), error);
		bool ok;

		if (!yaml)
			fail_msg("%s: %s", cases[i].yaml, error);
		ok = schema_check(yaml, fields, error);
		if (ok && cases[i].error)
			fail_msg("%s was taken", cases[i].yaml);
		if (!ok)
			assert_string_equal(error, cases[i].error ? cases[i].error : "no error");
		yaml_free(yaml);
	}
}

static void test_schema_fail(void **state)
{
	char error[YAML_ERROR];
	struct yaml *yaml = yaml_load_text("f", "a:\n  b: x", 9, error);
	json_t *b = json_object_get(json_object_get(yaml_root(yaml), "a"), "b");

	(void)state;
	assert_false(schema_fail(yaml, b, error, "%s is %d", "b", 7));
	assert_string_equal(error, "f:2:6: b is 7");
	assert_false(schema_fail(yaml, NULL, error, "nowhere"));
	assert_string_equal(error, "f: nowhere");
	yaml_free(yaml);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_depth),  cmocka_unit_test(test_many),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_where),  cmocka_unit_test(test_schema),
		cmocka_unit_test(test_schema_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
