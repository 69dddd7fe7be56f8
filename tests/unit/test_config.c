/* IFACE.yaml: what is taken, and a table of wrong files with the place and the word each must name. */
#include "config.h"
#include "event.h"
#include "lib/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define C   "coordinator: {url: https://a.example}\n"

static char path[64], error[YAML_ERROR];

static int make_name(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_config.%d.yaml", getpid());
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static struct config *load(const char *text)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
	return config_load(path, error);
}

static struct config *must_load(const char *text)
{
	struct config *config = load(text);

	if (!config)
		fail_msg("refused: %s", error);
	return config;
}

static void defaults(void **state)
{
	struct config *config = must_load(C);

	(void)state;
	assert_string_equal(config->coordinator_url, "https://a.example");
	assert_null(config->coordinator_pin);
	assert_null(config->name);
	assert_int_equal(config->listen_port, 0);
	assert_int_equal(config->discovery_count, 2);
	assert_string_equal(config->discovery[0].name, "local");
	assert_string_equal(config->discovery[1].name, "stun");
	assert_int_equal(config->natmap_count, 3);
	assert_int_equal(config->relay_count, 1);
	assert_string_equal(config->firewall, "nftables");
	assert_string_equal(config->dns, "none");
	assert_false(config->psk_auto);
	assert_true(config->psk_every_ms == 86400000);
	assert_null(config->exit_node);
	assert_int_equal(config->accept_mode, ACCEPT_NONE);
	assert_null(config->hooks);
	config_free(config);
}

static void everything(void **state)
{
	struct config *config = must_load(
		"coordinator: {url: 'https://[2001:db8::1]:8443/', pin: " PIN "}\n"
		"name: laptop\n"
		"listen_port: 51820\n"
		"discovery: [local, stun, {static: {endpoints: [\"vpn.example.net:51820\"]}}]\n"
		"natmap: []\n"
		"relay: derp\n"
		"firewall: none\n"
		"routes: {advertise: [192.168.1.0/24, fd12::/48], accept: [10.1.0.0/16]}\n"
		"exit_node: nas\n"
		"dns: hosts\n"
		"psk: auto\n"
		"psk_rotate: 90m\n"
		"hooks: {agent_up: [\"logger mesh %i up\", \"true\"], agent_down: [], post_up: \"echo 1\"}\n");
	json_t *one;

	(void)state;
	assert_string_equal(config->coordinator_url, "https://[2001:db8::1]:8443");
	assert_string_equal(config->coordinator_pin, PIN);
	assert_string_equal(config->name, "laptop");
	assert_int_equal(config->listen_port, 51820);
	assert_int_equal(config->discovery_count, 3);
	assert_null(config->discovery[1].options);
	assert_string_equal(config->discovery[2].name, "static");
	assert_int_equal(json_array_size(json_object_get(config->discovery[2].options, "endpoints")), 1);
	assert_int_equal(config->natmap_count, 0);
	assert_int_equal(config->relay_count, 1);
	assert_string_equal(config->firewall, "none");
	assert_int_equal(config->advertise_count, 2);
	assert_int_equal(config->accept_mode, ACCEPT_LIST);
	assert_int_equal(config->accept_count, 1);
	assert_int_equal(config->accept[0].bits, 16);
	assert_string_equal(config->exit_node, "nas");
	assert_string_equal(config->dns, "hosts");
	assert_true(config->psk_auto);
	assert_true(config->psk_every_ms == 5400000);
	assert_int_equal(json_array_size(json_object_get(config->hooks, "agent_up")), 2);
	one = json_object_get(config->hooks, "post_up");
	assert_int_equal(json_array_size(one), 1); /* a single command is a list of one */
	assert_string_equal(json_string_value(json_array_get(one, 0)), "echo 1");
	config_free(config);
}

static void accept_words(void **state)
{
	struct config *config = must_load(C "routes: {accept: true}\n");

	(void)state;
	assert_int_equal(config->accept_mode, ACCEPT_PRIVATE);
	config_free(config);
	config = must_load(C "routes: {accept: false}\nname: null\nexit_node: null\nhooks: null\n");
	assert_int_equal(config->accept_mode, ACCEPT_NONE);
	assert_null(config->name);
	config_free(config);
}

/* Every event but those without a hook is a key of hooks. */
static void hook_words(void **state)
{
	char text[200], word[40];

	(void)state;
	for (int i = 0; i < EVENT_REFUSED; i++) {
		struct config *config;

		snprintf(word, sizeof(word), "%s", event_name((enum event_type)i));
		for (char *c = word; *c; c++)
			*c = *c == '-' ? '_' : *c;
		snprintf(text, sizeof(text), C "hooks: {%s: [\"true\"]}\n", word);
		config = must_load(text);
		assert_int_equal(json_object_size(config->hooks), 1);
		config_free(config);
	}
}

static const struct {
	const char *text, *at, *words;
} wrong[] = {
	{"", "", "coordinator"},
	{"name: laptop\n", "", "coordinator"},
	{"coordinator: {}\n", ":1:", "url"},
	{"coordinator: https://a.example\n", ":1:14:", "coordinator"},
	{C "listen_prot: 1\n", ":2:1:", "listen_port"},
	{C "rotes: {}\n", ":2:1:", "routes"},
	{C "Name: x\n", ":2:1:", "name"},
	{"coordinator: {url: https://a.example, pni: x}\n", ":1:39:", "pin"},
	{C "routes: {advertize: []}\n", ":2:10:", "advertise"},
	{C "hooks:\n  agent_up: []\n  peer_upp: []\n", ":4:3:", "peer_up"},
	{C "hooks: {refused: []}\n", ":2:9:", "refused"},
	{C "hooks: {agent-up: []}\n", ":2:9:", "agent_up"},
	{C "hooks: {agent_up: [1]}\n", ":2:20:", "text"},
	{C "hooks: {agent_up: {a: b}}\n", ":2:19:", ""},
	{C "hooks: [a]\n", ":2:8:", ""},
	{"coordinator: {url: http://a.example}\n", ":1:20:", "https://HOST:PORT"},
	{"coordinator: {url: https://a.example/join}\n", ":1:20:", "https://HOST:PORT"},
	{"coordinator: {url: \"https://a.example/join#k.p\"}\n", ":1:20:", "https://HOST:PORT"},
	{"coordinator: {url: \"https://user@a.example\"}\n", ":1:20:", "https://HOST:PORT"},
	{"coordinator: {url: \"https://\"}\n", ":1:20:", "https://HOST:PORT"},
	{"coordinator: {url: \"https://:8443\"}\n", ":1:20:", "https://HOST:PORT"},
	{"coordinator: {url: 7}\n", ":1:20:", "text"},
	{"coordinator: {url: https://a.example, pin: abc}\n", ":1:44:", "43"},
	{C "name: Laptop\n", ":2:7:", "a-z"},
	{C "name: \"a$(id)\"\n", ":2:7:", "a-z"},
	{C "name: 7\n", ":2:7:", "text"},
	{C "listen_port: 65536\n", ":2:14:", "65535"},
	{C "listen_port: -1\n", ":2:14:", "65535"},
	{C "listen_port: \"1\"\n", ":2:14:", ""},
	{C "listen_port: 1.5\n", ":2:14:", ""},
	{C "psk: on\n", ":2:6:", "auto"},
	{C "psk: true\n", ":2:6:", "auto"},
	{C "psk_rotate: 59s\n", ":2:13:", "from 1m"},
	{C "psk_rotate: 31d\n", ":2:13:", "to 30d"},
	{C "psk_rotate: often\n", ":2:13:", ""},
	{C "psk_rotation: 1h\n", ":2:1:", "psk_rotate"},
	{C "dns: bind\n", ":2:6:", "dnsmasq"},
	{C "dns: resolve\n", ":2:6:", "resolved"},
	{C "exit_node: \"\"\n", ":2:12:", "null"},
	{C "firewall: ../x\n", ":2:11:", "nftables"},
	{C "firewall: nftable\n", ":2:11:", "did you mean \"nftables\""},
	{"coordinator: {url: \"https://a.example:99999\"}\n", ":1:20:", "PORT 1 to 65535"},
	{"coordinator: {url: \"https://a.example:0\"}\n", ":1:20:", "PORT 1 to 65535"},
	{"coordinator: {url: \"https://a.example:\"}\n", ":1:20:", "PORT 1 to 65535"},
	{"coordinator: {url: \"https://a.example:8443x\"}\n", ":1:20:", "PORT 1 to 65535"},
	{"coordinator: {url: \"https://[2001:db8::1]:70000\"}\n", ":1:20:", "PORT 1 to 65535"},
	{"coordinator: {url: \"https://[2001:db8::1]x\"}\n", ":1:20:", "PORT 1 to 65535"},
	{"coordinator: {url: \"https://2001:db8::1\"}\n", ":1:20:", "PORT 1 to 65535"},
	{C "firewall: [none]\n", ":2:11:", ""},
	{C "discovery: [7]\n", ":2:13:", "plugin"},
	{C "discovery: [../../x]\n", ":2:13:", "plugin"},
	{C "discovery: [{a: {}, b: {}}]\n", ":2:13:", "plugin"},
	{C "discovery: [{static: 7}]\n", ":2:22:", "static"},
	{C "relay: [\"\"]\n", ":2:9:", "plugin"},
	{C "discovery: [a-name-of-thirty-characters-xxx]\n", ":2:13:", "1 to 29"},
	{C "discovery: [-a]\n", ":2:13:", "inner '-'"},
	{C "discovery: [local, stun, local]\n", ":2:26:", "local is named twice"},
	{C "discovery: [{a: {b: 1}}, {a: {b: 2}}, {a: {b: 1}}]\n", ":2:39:", "a is named twice"},
	{C "routes: {advertise: [192.168.1.5/24]}\n", ":2:22:", "192.168.1.0/24"},
	{C "routes: {advertise: [192.168.1.0/33]}\n", ":2:22:", ""},
	{C "routes: {advertise: [x]}\n", ":2:22:", "advertise: must be a prefix like"},
	{C "routes: {accept: maybe}\n", ":2:18:", "accept must be true, false or a list of networks"},
	{C "routes: {accept: 7}\n", ":2:18:", "true, false or a list"},
	{C "routes: {accept: [10.0.0.0/8, 7]}\n", ":2:31:", "192.168.1.0/24"},
	{C "name: a\nname: b\n", ":3:1:", "name"},
	{C "name: [\n", ":3:1:", ""},
	{"- a\n", ":1:", ""},
};

static void wrong_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct config *config = load(wrong[i].text);
		char place[100];

		if (config)
			fail_msg("was taken: %s", wrong[i].text);
		snprintf(place, sizeof(place), "%s%s", path, wrong[i].at);
		if (strncmp(error, place, strlen(place)) || !strstr(error, wrong[i].words))
			fail_msg("\"%s\"\n  gave \"%s\"\n  want %s ... %s", wrong[i].text, error, place,
				 wrong[i].words);
	}
}

static void untrusted_file(void **state)
{
	struct config *config = must_load(C);

	(void)state;
	config_free(config);
	chmod(path, 0666);
	assert_null(config_load(path, error));
	assert_non_null(strstr(error, path));
	chmod(path, 0620);
	assert_null(config_load(path, error));
	chmod(path, 0644);
	config = config_load(path, error);
	assert_non_null(config);
	config_free(config);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 65534, 65534), 0);
		assert_null(config_load(path, error));
	}
}

/* What we hand out as an example is right. */
static void sample_file(void **state)
{
	struct buf text = {0};
	struct config *config;

	(void)state;
	assert_int_equal(file_read("etc/samples/agent.yaml", 100000, &text), 0);
	config = must_load(buf_text(&text));
	assert_int_equal(json_array_size(json_object_get(config->hooks, "peer_up")), 1);
	config_free(config);
	buf_free(&text);
}

static void no_file(void **state)
{
	(void)state;
	assert_null(config_load("/nonexistent/wg0.yaml", error));
	assert_non_null(strstr(error, "wg-mesh join"));
	assert_null(config_load("/tmp", error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(everything),
		cmocka_unit_test(accept_words),
		cmocka_unit_test(hook_words),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(untrusted_file),
		cmocka_unit_test(sample_file),
		cmocka_unit_test(no_file),
	};

	return cmocka_run_group_tests(tests, make_name, remove_file);
}
