/* The coordinator's table of routes, what it says of itself, its ring of changes, its command line. */
#include "coordinator/args.h"
#include "coordinator/config.h"
#include "coordinator/admin/admin_commands.h"
#include "coordinator/api/dispatch.h"
#include "coordinator/api/fields.h"
#include "coordinator/api/remedy.h"
#include "coordinator/mesh/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *path, *id; /* id NULL: does not fit */
	} rows[] = {
		{"/agents/{id}/peers", "/api/v1/agents/abc/peers", "abc"},
		{"/agents/{id}", "/api/v1/agents/abc", "abc"},
		{"/agents/register", "/api/v1/agents/register", ""},
		{"//healthz", "/healthz", ""},
		{"/agents/{id}/peers", "/api/v1/agents//peers", NULL},
		{"/agents/{id}/peers", "/api/v1/agents/abc/peers/", NULL},
		{"/agents/{id}/peers", "/api/v1/agents/abc/peer", NULL},
		{"/agents/{id}/peers", "/api/v1/agents/a/b/peers", NULL},
		{"/agents/{id}/peers", "/agents/abc/peers", NULL},
		{"/agents/{id}",
		 "/api/v1/agents/0123456789012345678901234567890123456789012345678901234567890123", NULL},
		{"//healthz", "/api/v1/healthz", NULL},
		{"//healthz", "//healthz", NULL},
		{"/openapi.json", "/api/v1", NULL},
		{"/openapi.json", "", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char id[PROTO_NAME_MAX] = "";
		bool fits = pattern_match(rows[i].pattern, rows[i].path, id);

		if (fits != !!rows[i].id || (fits && strcmp(id, rows[i].id)))
			fail_msg("%s on %s", rows[i].pattern, rows[i].path);
	}
}

static void PRINTF_LIKE(3, 4) says(const char *command, const char *request, const char *format, ...)
{
	char sentence[REMEDY_TEXT], said[REMEDY_TEXT];
	va_list args;

	va_start(args, format);
	remedy_format(sentence, sizeof(sentence), format, args);
	va_end(args);
	remedy_command(said, sentence);
	assert_string_equal(said, command);
	remedy_request(said, sentence);
	assert_string_equal(said, request);
}

static void test_remedies(void **state)
{
	static const char strange[] = "{} {agent} {agent frobnicate} {agent list";
	char said[REMEDY_TEXT], longest[1000];

	(void)state;
	says("no agent x: see agent list", "no agent x: see GET /agents", "no agent x: see {agent list}");
	says("(agent list, agent remove)", "(GET /agents, DELETE /agents/{id})", "({agent list}, {agent remove})");
	says("agent approve nas.", "POST /agents/nas/approve.", "{agent approve %s}.", "nas");
	says("key create --name nas", "POST /join-keys", "{key create --name nas}");
	says("policy test", "POST /policy/check", "{policy test}"); /* which does the same */
	says("user passwd", "PATCH /users/{id}", "{user passwd}");
	says("audit", "GET /audit", "{audit}");
	says(strange, strange, "{} {agent} {agent frobnicate} {agent list");
	says("{agent remove nas}: policy show", "{agent remove nas}: GET /policy", "%s: {policy show}",
	     "{agent remove nas}");
	says("no aa?, ", "no aa?, ", "no %.3s, %s", "aa\xc3\xa9", "\xf0\x9f\x92");
	memset(longest, '{', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	longest[sizeof(longest) - 2] = '}';
	remedy_request(said, longest);
	assert_int_equal(strlen(said), REMEDY_TEXT - 1);
}

/* Every row is in the document, every schema that is referred to exists, every frame is JSON. */
static void test_openapi(void **state)
{
	json_t *document = openapi_document(), *paths = json_object_get(document, "paths");
	char *text = js_dump(document);
	size_t rows = 0, operations = 0;
	const char *path;
	json_t *item;

	(void)state;
	for (const struct endpoint_row *row = endpoints; row->method; row++) {
		assert_non_null(row->handler);
		assert_non_null(row->summary);
		rows++;
	}
	json_object_foreach(paths, path, item)
		operations += json_object_size(item);
	assert_int_equal(operations, rows);
	assert_int_equal(json_array_size(json_object_get(document, "x-frames")), 12);
	assert_int_equal(json_array_size(json_object_get(document, "x-events")), 4);
	for (const char *at = text; (at = strstr(at, "#/components/schemas/")); at++) {
		char name[40];

		sscanf(at, "#/components/schemas/%39[A-Za-z]", name);
		assert_non_null(json_object_get(
			json_object_get(json_object_get(document, "components"), "schemas"), name));
	}
	free(text);
	json_decref(document);
}

/* Whoever asks again is not answered by making it again. */
static void test_openapi_once(void **state)
{
	struct coordinator co = {.openapi = NULL};
	const char *text = openapi_text(&co);
	json_t *document = openapi_document(), *said = json_loads(text, 0, NULL);

	(void)state;
	assert_true(json_equal(said, document));
	assert_ptr_equal(openapi_text(&co), text);
	free(co.openapi);
	json_decref(document);
	json_decref(said);
}

/* Each type that a request can have, given what it is and what it is not; the first that is wrong is named. */
static void test_fields(void **state)
{
	static const struct {
		const char *fields, *body, *wrong; /* wrong NULL: it fits */
	} rows[] = {
		{"a:string b:bool?", "{\"a\":\"x\",\"b\":true,\"other\":5}", NULL},
		{"a:string b:bool?", "{\"a\":null,\"b\":null}", NULL},
		{"a:string b:bool?", "{}", NULL},
		{"a:string b:bool?", "{\"b\":\"true\"}", "b: must be true or false"},
		{"a:string b:bool?", "{\"b\":0,\"a\":[]}", "a: must be a string"},
		{"ab:string a:integer", "{\"a\":5}", NULL},
		{"ab:string a:integer", "{\"a\":\"x\"}", "a: must be a whole number"},
		{"a:integer?", "{\"a\":1.0}", "a: must be a whole number"},
		{"a:strings", "{\"a\":[]}", NULL},
		{"a:strings", "{\"a\":[\"x\",null]}", "a: must be a list of strings"},
		{"a:endpoints", "{\"a\":\"1.2.3.4:5\"}", "a: must be a list of strings"},
		{"a:peer_status?", "{\"a\":[]}", "a: must be an object"},
		{"a:capabilities?", "{\"a\":[]}", NULL},
		{"a:capabilities?", "{\"a\":\"x\"}", "a: must be a list or an object"},
		{"a:endpoint", "{\"a\":false}", "a: must be a string"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *body = json_loads(rows[i].body, 0, NULL);
		struct refusal why = {0};

		assert_non_null(body);
		if (fields_fit(rows[i].fields, body, &why) != !rows[i].wrong)
			fail_msg("%s on %s", rows[i].fields, rows[i].body);
		assert_string_equal(why.detail, rows[i].wrong ? rows[i].wrong : "");
		json_decref(body);
	}
	assert_true(fields_optional("a:string? b:bool?"));
	assert_false(fields_optional("a:string? b:bool"));
	for (const struct endpoint_row *row = endpoints; row->method; row++) { /* none has a type of answers alone */
		const char *body = row->body;
		struct field field;

		while (body && field_next(&body, &field)) {
			json_t *object = json_pack("{sf}", field.name, 1.5);
			struct refusal why = {0};

			assert_false(fields_fit(row->body, object, &why));
			assert_int_equal(why.status, 422);
			json_decref(object);
		}
	}
}

static void test_ring(void **state)
{
	struct ring *ring = ring_new(4, 1000);
	json_t *small = json_string("x"), *large;
	char filler[901];

	(void)state;
	assert_null(ring_get(ring, 0));
	assert_null(ring_get(ring, 1));
	for (int i = 0; i < 6; i++)
		ring_add(ring, "agent", small)->previous = (uint64_t)i;
	assert_int_equal(ring_revision(ring), 6);
	assert_null(ring_get(ring, 2));
	assert_non_null(ring_get(ring, 3));
	assert_null(ring_get(ring, 7));
	assert_string_equal(ring_get(ring, 3)->text, "\"x\"");
	assert_int_equal(ring_get(ring, 3)->previous, 2);
	ring_forget(ring, 2); /* gone already: the place is another's */
	assert_non_null(ring_get(ring, 6)->text);
	ring_forget(ring, 6);
	assert_null(ring_get(ring, 6)->text);
	memset(filler, 'z', 900);
	filler[900] = '\0';
	large = json_string(filler);
	ring_add(ring, "", large);
	ring_add(ring, "", large); /* bytes bound it too */
	assert_null(ring_get(ring, 7));
	assert_non_null(ring_get(ring, 8));
	ring_forget(ring, 8); /* frees room */
	ring_add(ring, "", large);
	assert_non_null(ring_get(ring, 8));
	ring_add(ring, "", NULL);
	assert_null(ring_get(ring, 10)->text);
	assert_non_null(ring_get(ring, 9)->text);
	json_decref(small);
	json_decref(large);
	ring_free(ring);
}

static void test_origins(void **state)
{
	static const struct {
		const char *text, *origin, *host; /* origin NULL: refused */
	} rows[] = {
		{"https://Mesh.Example.net:8443/", "https://mesh.example.net:8443", "mesh.example.net"},
		{"https://mesh.example.net:443", "https://mesh.example.net", "mesh.example.net"},
		{"HTTPS://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443", "[2001:db8::1]"},
		{"http://mesh.example.net", NULL, NULL},
		{"https://", NULL, NULL},
		{"https://a/b", NULL, NULL},
		{"https://a b", NULL, NULL},
		{"mesh.example.net", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char origin[300], host[300];

		if (origin_normalise(origin, sizeof(origin), rows[i].text) != !!rows[i].origin)
			fail_msg("%s", rows[i].text);
		if (!rows[i].origin)
			continue;
		assert_string_equal(origin, rows[i].origin);
		origin_host(host, sizeof(host), origin);
		assert_string_equal(host, rows[i].host);
	}
}

static void test_arguments(void **state)
{
	static const struct arg common[] = {{"json", "json", ARG_FLAG, NULL, ""},
					    {"run-dir", "run_dir", ARG_VALUE, "DIR", ""}, {0}};
	static const struct arg own[] = {{"tag", "tag", ARG_LIST, "TAG", ""}, {0}};
	const struct arg *const tables[2] = {common, own};
	static const struct {
		const char *argv[6], *options; /* options NULL: refused */
		size_t words;
	} rows[] = {
		{{"key", "create"}, "{}", 2},
		{{"--run-dir", "d", "key"}, "{\"run_dir\":\"d\"}", 1},
		{{"--run-dir=d=e", "--json"}, "{\"run_dir\":\"d=e\",\"json\":true}", 0},
		{{"--tag", "a", "--tag=b"}, "{\"tag\":[\"a\",\"b\"]}", 0},
		{{"--", "--json"}, "{}", 1},
		{{"--json=1"}, NULL, 0},
		{{"--tag"}, NULL, 0},
		{{"--jason"}, NULL, 0},
		{{"a", "b", "c", "d"}, NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *out = json_object(), *wanted;
		char error[ARGS_ERROR] = "", *argv[6];
		const char *words[3];
		size_t count;
		int argc = 0;

		for (; argc < 6 && rows[i].argv[argc]; argc++)
			argv[argc] = (char *)(uintptr_t)rows[i].argv[argc];
		if (args_parse(out, tables, argc, argv, words, 3, &count, error) != !!rows[i].options)
			fail_msg("row %zu: %s", i, error);
		if (rows[i].options) {
			wanted = json_loads(rows[i].options, 0, NULL);
			assert_true(json_equal(out, wanted));
			assert_int_equal(count, rows[i].words);
			json_decref(wanted);
		} else {
			assert_true(*error);
		}
		json_decref(out);
	}
}

static void on_refused(void *arg, json_t *result, const struct refusal *why)
{
	assert_null(result);
	*(int *)arg = why->status;
}

/* One who may not ask has said a password all the same. */
static void test_refused_password(void **state)
{
	json_t *arguments = json_loads("{\"name\":\"ann\",\"password\":\"correct horse\"}", 0, NULL);
	const char *password = json_string_value(json_object_get(arguments, "password"));
	static const char wiped[sizeof("correct horse")];
	struct coordinator co = {0};
	struct who nobody = {0};
	struct admin_call call;
	int status = 0;

	(void)state;
	admin_run(&call, &co, "user add", arguments, &nobody, on_refused, &status);
	assert_int_equal(status, 403);
	assert_memory_equal(password, wiped, sizeof(wiped));
	json_decref(arguments);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns), cmocka_unit_test(test_openapi), cmocka_unit_test(test_openapi_once),
		cmocka_unit_test(test_ring),	 cmocka_unit_test(test_origins),
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_fields),
		cmocka_unit_test(test_remedies), cmocka_unit_test(test_refused_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
