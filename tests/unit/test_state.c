/* The agent's state: what is saved comes back, and what is damaged is refused with a sentence. */
#include "state.h"
#include "lib/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static char directory[64], path[128];

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test_state.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/agent/wg0.json", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	return rmdir(directory);
}

static struct state *full_state(void)
{
	struct state *state = state_new();

	state->coordinator_url = xstrdup("https://mesh.example:8443");
	snprintf(state->agent_id, sizeof(state->agent_id), "a-1");
	snprintf(state->name, sizeof(state->name), "laptop");
	state->token = xstrdup("a.b.c");
	state->token_renew_wall_ms = 1234567890123;
	memset(state->server_key.bytes, 7, KEY_LEN);
	state->pins = xcalloc(2, sizeof(*state->pins));
	state->pins[state->pin_count++] = xstrdup(PIN);
	state->networks = xcalloc(1, sizeof(*state->networks));
	snprintf(state->networks[0].id, PROTO_ID_MAX, "n-1");
	snprintf(state->networks[0].name, PROTO_NAME_MAX, "default");
	assert_true(prefix_parse(&state->networks[0].cidr, "10.86.0.0/16"));
	assert_true(prefix_parse(&state->networks[0].addresses[0], "10.86.0.3/16"));
	state->networks[0].address_count = 1;
	state->network_count = 1;
	state->map = json_pack("{s:s, s:i, s:[]}", "epoch", "e", "revision", 5, "peers");
	state->choices = json_pack("{s:{s:s}}", "paths", "nas", "relay");
	state->made_config = true;
	state->config_sha256 = xstrdup("00ff");
	state->yaml_sha256 = xstrdup("11ee");
	state->config_path = xstrdup("/etc/wireguard/wg0.conf");
	return state;
}

static void round_trip(void **unused)
{
	struct state *before = full_state(), *after;
	char error[JS_ERROR];
	struct stat st;

	(void)unused;
	assert_int_equal(state_save(before, path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(state_load(&after, path, error), 0);
	assert_string_equal(after->coordinator_url, before->coordinator_url);
	assert_string_equal(after->agent_id, "a-1");
	assert_string_equal(after->name, "laptop");
	assert_string_equal(after->token, "a.b.c");
	assert_true(after->token_renew_wall_ms == 1234567890123);
	assert_true(key_equal(&after->server_key, &before->server_key));
	assert_int_equal(after->pin_count, 1);
	assert_string_equal(after->pins[0], PIN);
	assert_int_equal(after->network_count, 1);
	assert_true(prefix_equal(&after->networks[0].cidr, &before->networks[0].cidr));
	assert_true(addr_equal(&after->networks[0].addresses[0].addr, &before->networks[0].addresses[0].addr));
	assert_true(json_equal(after->map, before->map));
	assert_true(json_equal(after->choices, before->choices));
	assert_null(after->relays);
	assert_true(after->made_config);
	assert_false(after->edited_config);
	assert_string_equal(after->config_sha256, "00ff");
	assert_string_equal(after->yaml_sha256, "11ee");
	state_free(before);
	state_free(after);
}

static void empty_round_trip(void **unused)
{
	struct state *before = state_new(), *after;
	char error[JS_ERROR];

	(void)unused;
	assert_int_equal(state_save(before, path), 0);
	assert_int_equal(state_load(&after, path, error), 0);
	assert_null(after->token);
	assert_null(after->map);
	assert_true(key_is_zero(&after->server_key));
	state_free(before);
	state_free(after);
}

static void follows_the_configuration(void **unused)
{
	static const char other[] = "BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
	struct state *state = full_state();

	(void)unused;
	assert_false(state_follow(state, "https://mesh.example:8443", PIN));
	assert_false(state_follow(state, "https://mesh.example:8443", NULL));
	assert_int_equal(state->pin_count, 1);
	assert_true(state_follow(state, "https://other.example", NULL));
	assert_string_equal(state->coordinator_url, "https://other.example");
	assert_string_equal(state->pins[0], PIN);
	assert_true(state_follow(state, "https://other.example", other));
	assert_int_equal(state->pin_count, 1);
	assert_string_equal(state->pins[0], other);
	state_free(state);
}

static void not_there(void **unused)
{
	struct state *state;
	char error[JS_ERROR];

	(void)unused;
	assert_int_equal(state_load(&state, "/nonexistent/wg0.json", error), -ENOENT);
}

static void damaged(void **unused)
{
	static const char *const wrong[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"schema\":2}",
		"{\"schema\":1,\"agent_id\":7}",
		"{\"schema\":1,\"agent_id\":\"../../etc\"}",
		"{\"schema\":1,\"agent_id\":\"a b\"}",
		"{\"schema\":1,\"agent_id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
		"{\"schema\":1,\"name\":\"$(id)\"}",
		"{\"schema\":1,\"server_key\":\"short\"}",
		"{\"schema\":1,\"pins\":[\"short\"]}",
		"{\"schema\":1,\"pins\":[7]}",
		"{\"schema\":1,\"pins\":\"" PIN "\"}",
		"{\"schema\":1,\"networks\":[7]}",
		"{\"schema\":1,\"networks\":[{\"name\":\"x\"}]}",
		"{\"schema\":1,\"map\":[]}",
		"{\"schema\":1,\"made_config\":1}",
		"{\"schema\":1,\"token_renew_wall_ms\":-1}",
		"{\"schema\":1,\"schema\":1}",
	};
	struct state *state;
	char error[JS_ERROR];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(file_write_atomic(path, wrong[i], strlen(wrong[i]), 0600), 0);
		if (state_load(&state, path, error) != -EBADMSG)
			fail_msg("was taken: %s", wrong[i]);
		assert_true(strlen(error) > 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(empty_round_trip),
		cmocka_unit_test(follows_the_configuration),
		cmocka_unit_test(not_there),
		cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
