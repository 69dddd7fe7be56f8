/* The words of the events, both ways, and the document of one. */
#include "event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static void words_both_ways(void **state)
{
	enum event_type type;

	(void)state;
	for (int i = 0; i < EVENT_COUNT; i++) {
		char yaml_word[40];

		snprintf(yaml_word, sizeof(yaml_word), "%s", event_name((enum event_type)i));
		assert_true(event_parse(&type, yaml_word));
		assert_int_equal(type, i);
		for (char *c = yaml_word; *c; c++)
			if (*c == '-')
				*c = '_';
		assert_true(event_parse(&type, yaml_word));
		assert_int_equal(type, i);
	}
	assert_true(event_parse(&type, "post_up"));
	assert_int_equal(type, EVENT_AGENT_UP);
	assert_true(event_parse(&type, "pre_down"));
	assert_int_equal(type, EVENT_AGENT_DOWN);
}

static void wrong_words(void **state)
{
	static const char *const wrong[] = {"", "agent", "agent-up ", "agent-upp", "Agent-up", "agent.up", "../agent-up"};
	enum event_type type;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(event_parse(&type, wrong[i]));
}

static void document(void **state)
{
	struct event event = {.type = EVENT_PATH_CHANGED, .interface = "wg0", .peer_name = "nas",
			      .path = "direct", .old_path = "", .latency_ms = 12.5};
	json_t *json = event_json(&event, 1000);

	(void)state;
	assert_non_null(json);
	assert_int_equal(json_integer_value(json_object_get(json, "schema")), 1);
	assert_string_equal(json_string_value(json_object_get(json, "time")), "1970-01-01T00:00:01Z");
	assert_string_equal(json_string_value(json_object_get(json, "event")), "path-changed");
	assert_string_equal(json_string_value(json_object_get(json, "peer_name")), "nas");
	assert_true(json_is_null(json_object_get(json, "old_path")));
	assert_true(json_is_null(json_object_get(json, "peer")));
	assert_true(json_real_value(json_object_get(json, "latency_ms")) == 12.5);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_both_ways),
		cmocka_unit_test(wrong_words),
		cmocka_unit_test(document),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
