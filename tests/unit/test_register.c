/*
 * `wg-meshd --register` as a process, against a fake coordinator: the documents in and out, exit
 * codes and sentences, and that the private key goes nowhere.
 */
#include "fake_coordinator.h"
#include "lib/proc.h"
#include "lib/secret.h"
#include "register.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct fixture {
	struct loop *loop;
	struct fake *fake;
	struct key private_key;
	json_t *in, *out;
	int exit_code;
	char errors[4096];
} f;

static int set_up(void **unused)
{
	char key[KEY_BASE64];

	(void)unused;
	f = (struct fixture){0};
	secret_init();
	f.loop = loop_new();
	f.fake = fake_new(f.loop);
	key_generate_private(&f.private_key);
	key_format(key, &f.private_key);
	f.in = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[s], s:b, s:[]}", "url", f.fake->origin, "pin",
			 f.fake->pin, "join_key", "JoinKey123", "private_key", key, "name", "laptop",
			 "advertised_routes", "192.168.1.0/24", "exit_node", 1, "tags");
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	json_decref(f.in);
	json_decref(f.out);
	fake_free(f.fake);
	loop_free(f.loop);
	return 0;
}

static void ended(void *arg, const struct proc_result *result)
{
	char error[JS_ERROR];

	(void)arg;
	f.exit_code = result->error ? -1 : result->exit_code;
	json_decref(f.out);
	f.out = js_load(result->output->data, result->output->len, error);
	snprintf(f.errors, sizeof(f.errors), "%s", buf_text(result->errors));
	loop_stop(f.loop);
}

static void run_text(const char *text)
{
	const char *const argv[] = {"/proc/self/exe", "--register", NULL};
	struct proc_command command = {.argv = argv, .input = text, .input_len = strlen(text), .timeout_ms = 60000};

	assert_non_null(proc_start(f.loop, &command, ended, NULL));
	loop_run(f.loop);
	if (!json_is_object(f.out))
		fail_msg("no document; stderr: %s", f.errors);
}

static void run(void)
{
	char *text = js_dump(f.in);

	run_text(text);
	free(text);
}

static const char *text(const char *key)
{
	const char *value = json_string_value(json_object_get(f.out, key));

	return value ? value : "";
}

static void expect(int exit_code, int status, const char *code, const char *words)
{
	if (f.exit_code != exit_code || json_integer_value(json_object_get(f.out, "status")) != status ||
	    strcmp(text("code"), code) || !strstr(text("detail"), words))
		fail_msg("exit %d, %s", f.exit_code, js_dump(f.out));
	for (const char *c = text("detail"); *c; c++)
		assert_true((unsigned char)*c >= 0x20);
}

static void registers(void **unused)
{
	char key[KEY_BASE64], error[JS_ERROR];
	json_t *body, *network;

	(void)unused;
	run();
	expect(0, 201, "", "");
	assert_string_equal(text("agent_id"), "a-1");
	assert_string_equal(text("token"), "token-1");
	assert_int_equal(json_integer_value(json_object_get(f.out, "expires_in")), 86400);
	key_format(key, &f.fake->public_key);
	assert_string_equal(text("server_key"), key);
	network = json_array_get(json_object_get(f.out, "networks"), 0);
	assert_string_equal(json_string_value(json_object_get(network, "cidr")), "10.86.0.0/16");
	assert_int_equal(json_array_size(json_object_get(f.out, "relays")), 1);
	assert_int_equal(json_array_size(json_object_get(f.out, "pins")), 1);
	assert_int_equal(f.fake->bad_proofs, 0);
	/* the body */
	body = js_load(f.fake->body, strlen(f.fake->body), error);
	assert_string_equal(json_string_value(json_object_get(body, "coordinator")), f.fake->origin);
	assert_string_equal(json_string_value(json_object_get(body, "join_key")), "JoinKey123");
	assert_int_equal(json_array_size(json_object_get(body, "advertised_routes")), 3);
	key_format(key, &f.private_key);
	assert_null(strstr(f.fake->body, key));
	assert_null(strstr(f.errors, key));
	json_decref(body);
}

static void registers_when_an_answer_is_lost(void **unused)
{
	(void)unused;
	f.fake->lose_answers = 1;
	f.fake->challenges_serve_once = true;
	run();
	expect(0, 201, "", "");
	assert_int_equal(f.fake->registered, 2);
	assert_int_equal(f.fake->challenges, 2);
}

static void preview_registers_nothing(void **unused)
{
	(void)unused;
	f.fake->register_answer =
		"{\"network_id\":\"n\",\"networks\":[{\"id\":\"n\",\"name\":\"default\",\"cidr\":\"10.86.0.0/16\"}]}";
	json_object_set_new(f.in, "preview", json_true());
	run();
	expect(0, 201, "", "");
	assert_non_null(strstr(f.fake->body, "\"preview\":true"));
	assert_null(json_object_get(f.out, "token"));
	assert_int_equal(json_array_size(json_object_get(f.out, "networks")), 1);
}

static void refusals(void **unused)
{
	static const struct {
		int status;
		const char *code, *words;
	} table[] = {
		{403, "join_key_used", "detail  [31m of join_key_used"},
		{422, "name_reserved", "--name"},
		{409, "name_taken", "of name_taken"},
		{403, "tag_not_allowed", "--tag"},
		{401, "wrong_coordinator", "--public-url"},
		{409, "network_full", "administrator"},
		{429, "busy", "of busy"},
		{500, "internal", "of internal"},
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		f.fake->register_status = table[i].status;
		f.fake->register_code = table[i].code;
		run();
		expect(1, table[i].status, table[i].code, table[i].words);
	}
}

static void nobody_there(void **unused)
{
	(void)unused;
	json_object_set_new(f.in, "url", json_string("https://127.0.0.1:1"));
	run();
	expect(4, 0, "unreachable", "127.0.0.1:1");
	json_object_set_new(f.in, "url", json_string("https://no-such-host.invalid:8443"));
	run();
	expect(4, 0, "unreachable", "no-such-host.invalid");
}

static void another_pin(void **unused)
{
	char pin[44];

	(void)unused;
	snprintf(pin, sizeof(pin), "%s", f.fake->pin);
	pin[0] = pin[0] == 'A' ? 'B' : 'A';
	json_object_set_new(f.in, "pin", json_string(pin));
	run();
	expect(1, 0, "pin_mismatch", "showed another key than the link names");
	assert_non_null(strstr(text("detail"), f.fake->origin));
	assert_int_equal(f.fake->challenges, 0);
	json_object_set_new(f.in, "pin", json_null()); /* a self-made certificate without a pin */
	run();
	expect(1, 0, "untrusted", "cannot be trusted");
}

static void server_with_a_peers_key(void **unused)
{
	char key[KEY_BASE64];

	(void)unused;
	key_format(key, &f.fake->public_key);
	json_object_set_new(f.in, "peers", json_pack("[s]", key));
	run();
	expect(1, 0, "server_key_is_peer", "key of a peer");
	assert_int_equal(f.fake->proofs, 0);
	json_object_del(f.in, "peers");
	key_public(&f.fake->shown_key, &f.private_key); /* ours */
	run();
	expect(1, 0, "server_key_is_peer", "key of a peer");
	memset(&f.fake->shown_key, 0, sizeof(f.fake->shown_key)); /* a weak one */
	run();
	expect(1, 0, "bad_answer", "server_key");
}

static void evil_answers(void **unused)
{
#define GOOD_NET "{\"id\":\"n\",\"name\":\"default\",\"cidr\":\"10.86.0.0/16\",\"addresses\":[\"10.86.0.3/16\"]}"
	static const char *const answers[] = {
		"{}",
		"[]",
		"no JSON",
		"{\"agent_id\":\"../..\",\"token\":\"t\",\"expires_in\":1,\"networks\":[" GOOD_NET "]}",
		"{\"agent_id\":\"a\",\"token\":\"t\\nX: y\",\"expires_in\":1,\"networks\":[" GOOD_NET "]}",
		"{\"agent_id\":\"a\",\"token\":\"t\",\"expires_in\":-1,\"networks\":[" GOOD_NET "]}",
		"{\"agent_id\":\"a\",\"token\":\"t\",\"expires_in\":1,\"networks\":[]}",
		"{\"agent_id\":\"a\",\"token\":\"t\",\"expires_in\":1,\"networks\":[{\"name\":\"$(id)\"}]}",
		"{\"agent_id\":\"a\",\"token\":\"t\",\"expires_in\":1,\"networks\":[" GOOD_NET "],"
		"\"server_key\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}",
		"{\"agent_id\":\"a\",\"token\":\"t\",\"expires_in\":1,\"networks\":[" GOOD_NET "],\"pins\":[7]}",
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		f.fake->register_answer = answers[i];
		run();
		expect(1, 0, "bad_answer", "");
	}
}

static void wrong_input(void **unused)
{
	static const char *const wrong[] = {
		"", "{", "[]", "{}", "{\"url\":\"http://x\"}",
		"{\"url\":\"https://127.0.0.1:1/x\",\"private_key\":\"AAAA\"}",
	};
	static const struct {
		const char *key, *value, *words;
	} member[] = {
		{"name", "\"A b\"", "name"},
		{"name", "null", "name"},
		{"private_key", "\"short\"", "private_key"},
		{"pin", "\"short\"", "pin"},
		{"advertised_routes", "[\"x\"]", "advertised_routes"},
		{"tags", "[\"$(id)\"]", "tags"},
		{"peers", "[7]", "peers"},
		{"deregister", "true", "agent_id"},
	};
	char error[JS_ERROR];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		run_text(wrong[i]);
		expect(2, 0, "bad_input", "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(member); i++) {
		json_t *was = json_deep_copy(f.in), *value;

		value = js_load(member[i].value, strlen(member[i].value), error);
		json_object_set_new(f.in, member[i].key, value ? value : json_loads(member[i].value, JSON_DECODE_ANY, NULL));
		run();
		expect(2, 0, "bad_input", member[i].words);
		json_decref(f.in);
		f.in = was;
	}
	assert_int_equal(f.fake->registered, 0);
}

static void deregister(const char *token)
{
	json_object_set_new(f.in, "deregister", json_true());
	json_object_set_new(f.in, "agent_id", json_string("a-1"));
	json_object_set_new(f.in, "token", token ? json_string(token) : json_null());
	run();
}

static void leaves_with_its_token(void **unused)
{
	(void)unused;
	snprintf(f.fake->token, sizeof(f.fake->token), "token-0");
	deregister("token-0");
	expect(0, 204, "", "");
	assert_int_equal(f.fake->removed, 1);
	assert_int_equal(f.fake->challenges, 0);
}

static void leaves_by_proof(void **unused)
{
	(void)unused;
	deregister("ended");
	expect(0, 204, "", "");
	assert_int_equal(f.fake->removed, 1);
	deregister(NULL);
	expect(0, 204, "", "");
	assert_int_equal(f.fake->removed, 2);
}

static void leaves_where_it_is_unknown(void **unused)
{
	(void)unused;
	f.fake->refuse_proof = "unknown_agent";
	deregister(NULL);
	expect(0, 204, "", "");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

/* ---- a new key ---- */

static struct key new_key, new_public;

static void ask_rekey(bool again)
{
	char key[KEY_BASE64];

	if (key_is_zero(&new_key)) {
		key_generate_private(&new_key);
		key_public(&new_public, &new_key);
	}
	if (key_is_zero(&f.fake->agent_key))
		key_public(&f.fake->agent_key, &f.private_key);
	key_format(key, &new_key);
	json_object_set_new(f.in, "rekey", json_true());
	json_object_set_new(f.in, "again", json_boolean(again));
	json_object_set_new(f.in, "agent_id", json_string("a-1"));
	json_object_set_new(f.in, "new_private_key", json_string(key));
	run();
	assert_null(strstr(f.fake->body, key));
	assert_null(strstr(f.errors, key));
}

static void changes_the_key(void **unused)
{
	(void)unused;
	ask_rekey(false);
	expect(0, 200, "", "");
	assert_int_equal(f.fake->rekeyed, 1);
	assert_true(key_equal(&f.fake->agent_key, &new_public));
}

/* The answer is lost, and what is sent once more is refused, as the old key is not the agent's any
 * more: the new one is asked for a token. */
static void changes_the_key_when_an_answer_is_lost(void **unused)
{
	(void)unused;
	f.fake->lose_answers = 1;
	ask_rekey(false);
	expect(0, 200, "", "");
	assert_int_equal(f.fake->rekeyed, 1);
	assert_string_equal(text("token"), "token-1");
}

/* Killed on the way, and run again: whether it came to pass the last time or not. */
static void changes_the_key_again(void **unused)
{
	(void)unused;
	ask_rekey(true);
	expect(0, 200, "", "");
	assert_int_equal(f.fake->rekeyed, 1);
	ask_rekey(true);
	expect(0, 200, "", "");
	assert_int_equal(f.fake->rekeyed, 1);
	assert_true(*text("token"));
}

static void does_not_change_the_key(void **unused)
{
	struct key before;

	(void)unused;
	f.fake->rekey_code = "key_taken";
	ask_rekey(false);
	expect(1, 409, "key_taken", "");
	key_generate_private(&f.fake->agent_key); /* somebody else's */
	before = f.fake->agent_key;
	f.fake->rekey_code = NULL;
	ask_rekey(false);
	expect(1, 401, "proof_wrong", "");
	ask_rekey(true);
	expect(1, 401, "proof_wrong", "");
	assert_true(key_equal(&f.fake->agent_key, &before));
	f.fake->deaf = true;
	fake_free(f.fake);
	f.fake = fake_new(f.loop); /* nobody is at the old address */
	ask_rekey(false);
	expect(4, 0, "unreachable", "");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(registers),
		TEST(registers_when_an_answer_is_lost),
		TEST(preview_registers_nothing),
		TEST(refusals),
		TEST(nobody_there),
		TEST(another_pin),
		TEST(server_with_a_peers_key),
		TEST(evil_answers),
		TEST(wrong_input),
		TEST(leaves_with_its_token),
		TEST(leaves_by_proof),
		TEST(leaves_where_it_is_unknown),
		TEST(changes_the_key),
		TEST(changes_the_key_when_an_answer_is_lost),
		TEST(changes_the_key_again),
		TEST(does_not_change_the_key),
	};

	if (argc > 1 && !strcmp(argv[1], "--register"))
		return register_main();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
