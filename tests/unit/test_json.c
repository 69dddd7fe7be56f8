/* JSON readers: what each takes, the sentence for what it does not, and that the first error stays. */
#include "lib/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static json_t *load(const char *text)
{
	char error[JS_ERROR];
	json_t *json = js_load(text, strlen(text), error);

	if (!json)
		fail_msg("%s: %s", text, error);
	return json;
}

static void test_refused_texts(void **state)
{
	static const char *const cases[] = {
		"", "{", "1", "\"text\"", "{\"a\":1,\"a\":2}", "{} {}", "{}x", "{\"a\":\"\\u0000\"}",
		"{\"a\":\"\xFF\"}", "{'a':1}", "{\"a\":NaN}", "[1e999]",
	};
	char error[JS_ERROR];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		error[0] = 0;
		if (js_load(cases[i], strlen(cases[i]), error))
			fail_msg("taken: %s", cases[i]);
		assert_int_not_equal(strlen(error), 0);
	}
	assert_null(js_load("{\"token\":hunter2}", 17, error)); /* never quotes what it read */
	assert_null(strstr(error, "hunter2"));
}

/* What is no JSON, and what is JSON that nothing here takes, are two. */
static void test_other(void **state)
{
	static const struct {
		const char *text;
		bool other;
	} rows[] = {
		{"null", true}, {"5", true}, {"\"x\"", true}, {"\"\\u0000\"", true}, {"{\"a\":\"\\u0000\"}", true},
		{"", false}, {"nul", false}, {"5 5", false}, {"\"\\u000\"", false}, {"{\"a\":1,\"a\":2}", false},
	};
	char deep[130];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (js_other(rows[i].text, strlen(rows[i].text)) != rows[i].other)
			fail_msg("%s", rows[i].text);
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	assert_false(js_other(deep, sizeof(deep)));
}

static void test_depth(void **state)
{
	char text[160], error[JS_ERROR];
	json_t *json;

	(void)state;
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	json = js_load(text + 1, 128, error); /* 64 */
	assert_non_null(json);
	json_decref(json);
	assert_null(js_load(text, 130, error));
	assert_string_equal(error, "the JSON is nested too deeply");
	json = load("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"}");
	json_decref(json);
}

#define ALL                                                                                        \
	"{\"s\":\"text\",\"i\":7,\"b\":true,\"n\":null,\"a\":[1,2],\"o\":{},"                      \
	"\"k\":\"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\",\"e\":\"192.0.2.1:7\"}"

static void test_getters(void **state)
{
	json_t *json = load(ALL);
	struct endpoint endpoint;
	struct key key;
	struct js js;

	(void)state;
	js_read(&js, json);
	assert_string_equal(js_string(&js, "s", NULL), "text");
	assert_string_equal(js_string(&js, "x", "else"), "else");
	assert_string_equal(js_string(&js, "n", "else"), "else");
	assert_string_equal(js_need_string(&js, "s", 4), "text");
	assert_int_equal(js_int(&js, "i", 7, 7, 0), 7);
	assert_int_equal(js_int(&js, "x", 0, 9, -1), -1);
	assert_true(js_bool(&js, "b", false));
	assert_true(js_bool(&js, "x", true));
	assert_int_equal(json_array_size(js_array(&js, "a", 2)), 2);
	assert_null(js_array(&js, "x", 2));
	assert_non_null(js_object(&js, "o"));
	assert_null(js_object(&js, "n"));
	assert_true(js_need_key(&js, "k", &key));
	assert_true(js_endpoint(&js, "e", &endpoint));
	assert_false(js_endpoint(&js, "x", &endpoint));
	assert_true(js_ok(&js));
	json_decref(json);
}

enum getter { STRING, NEED, INT, BOOL, ARRAY, OBJECT, KEY, ENDPOINT };

static void get(struct js *js, enum getter getter, const char *key)
{
	struct endpoint endpoint;
	struct key value;

	switch (getter) {
	case STRING:
		js_string(js, key, NULL);
		break;
	case NEED:
		assert_string_equal(js_need_string(js, key, 3), "");
		break;
	case INT:
		js_int(js, key, 0, 6, 0);
		break;
	case BOOL:
		js_bool(js, key, false);
		break;
	case ARRAY:
		js_array(js, key, 1);
		break;
	case OBJECT:
		js_object(js, key);
		break;
	case KEY:
		assert_false(js_need_key(js, key, &value));
		break;
	case ENDPOINT:
		assert_false(js_endpoint(js, key, &endpoint));
		break;
	}
}

static void test_errors(void **state)
{
	static const struct {
		enum getter getter;
		const char *key, *error;
	} cases[] = {
		{STRING, "i", "i: must be a string"},
		{NEED, "x", "x: is missing, must be a string"},
		{NEED, "n", "n: is missing, must be a string"},
		{NEED, "i", "i: must be a string"},
		{NEED, "s", "s: must be at most 3 characters"},
		{INT, "i", "i: must be a whole number from 0 to 6"},
		{INT, "s", "s: must be a whole number from 0 to 6"},
		{BOOL, "i", "i: must be true or false"},
		{ARRAY, "a", "a: must have at most 1 entries"},
		{ARRAY, "o", "o: must be a list"},
		{OBJECT, "a", "a: must be an object"},
		{KEY, "s", "s: must be a WireGuard public key, 44 characters of base64"},
		{KEY, "x", "x: is missing, must be a string"},
		{ENDPOINT, "s",
		 "s: must be an endpoint like 192.0.2.1:51820 or [2001:db8::1]:51820"},
		{ENDPOINT, "i", "i: must be a string"},
	};
	json_t *json = load(ALL);
	struct js js;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		js_read(&js, json);
		get(&js, cases[i].getter, cases[i].key);
		assert_false(js_ok(&js));
		assert_string_equal(js.error, cases[i].error);
		js_fail(&js, "later", "is forgotten");
		assert_string_equal(js.error, cases[i].error);
	}
	json_decref(json);
}

static void test_not_an_object(void **state)
{
	json_t *list = load("[1]");
	struct js js;

	(void)state;
	js_read(&js, list);
	assert_false(js_ok(&js));
	assert_null(js_string(&js, "a", NULL));
	json_decref(list);
	js_read(&js, NULL);
	assert_false(js_ok(&js));
}

static void test_building(void **state)
{
	struct endpoint endpoint = {0};
	struct prefix prefix;
	struct key key = {{0}};
	json_t *json;
	char *text;

	(void)state;
	prefix_parse(&prefix, "10.0.0.0/8");
	json = json_pack("[o,o,o,o,o,o,o,o,o,o,o,o]", js_from_key(&key), js_from_endpoint(&endpoint),
			 js_from_prefix(&prefix), js_from_addr(&prefix.addr), js_from_time(0),
			 js_from_time(784111777000), js_from_string(NULL), js_from_ms(-1), js_from_ms(12.34),
			 js_from_text("a\xff"), js_from_text(NULL), js_from_string("a\xff"));
	text = js_dump(json);
	assert_string_equal(text, "[null,null,\"10.0.0.0/8\",\"10.0.0.0\",null,"
				  "\"1994-11-06T08:49:37Z\",null,null,12.3,\"a?\",null,null]");
	free(text);
	json_decref(json);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_texts), cmocka_unit_test(test_other), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_getters),       cmocka_unit_test(test_errors),
		cmocka_unit_test(test_not_an_object), cmocka_unit_test(test_building),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
