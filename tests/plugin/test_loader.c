/*
 * test_loader.c - the loader with real objects, which run.sh has built against the installed header
 * alone: good ones, and one for each reason to refuse. WGM_TEST_PLUGINS is their directory,
 * WGM_TEST_BUNDLED the one of the bundled plugins.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "lib/file.h"

static const char *dir, *bundled;

static void test_bundled(void **state)
{
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	agent_open(&agent, bundled, NULL);
	agent_configure(&agent,
			"[local, stun, {static: {endpoints: [\"203.0.113.5:51820\", \"[2001:db8::7]:9\"]}}]");
	agent_run(&agent, 100);
	discovery_result(agent.discovery, &at);
	assert_true(agent.changes > 0);
	assert_int_equal(at.local_count, 2);
	assert_true(has_endpoint(at.local_endpoints, 2, "192.168.7.2:51820"));
	assert_true(has_endpoint(at.local_endpoints, 2, "[2001:db8::2]:51820"));
	assert_int_equal(at.count, 2);
	assert_true(has_endpoint(&at.endpoint, 1, "203.0.113.5:51820"));
	assert_true(agent.sent > 0); /* a STUN request to the coordinator's server */
	assert_true(json_is_true(listed(&agent, "stun", "loaded")));
	/* A reload without them closes them, and what they found goes. */
	agent_configure(&agent, "[local]");
	agent_run(&agent, 20);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 0);
	assert_int_equal(at.local_count, 2);
	assert_false(json_is_true(listed(&agent, "stun", "loaded")));
	agent_close(&agent);
}

static void test_outside(void **state)
{
	struct proto_endpoints at;
	struct agent agent;
	char *dump;

	(void)state;
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[{outside: {addresses: 192.0.2.77, password: hunter2}}, "
				"{cxx: {addresses: [192.0.2.78, 192.0.2.79]}}]");
	agent_run(&agent, 150);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 3);
	assert_true(has_endpoint(at.endpoints, 1, "192.0.2.78:51820")); /* mapped goes first */
	assert_true(has_endpoint(at.endpoints, 3, "192.0.2.77:4711"));
	assert_int_equal(at.nat_type, NAT_RESTRICTED_CONE); /* told after post() from its thread */
	assert_string_equal(discovery_filtering(agent.discovery), "address-dependent");
	assert_string_equal(json_string_value(listed(&agent, "outside", "version")), "1.2");
	dump = js_dump(listed(&agent, "outside", "instances"));
	assert_non_null(strstr(dump, "192.0.2.77"));
	assert_null(strstr(dump, "hunter2"));
	free(dump);
	/* New options: closed and opened anew; its own forgotten timer never fires into the old one. */
	agent_configure(&agent, "[{outside: {addresses: 192.0.2.99, port: 99}}]");
	agent_run(&agent, 150);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 1);
	assert_true(has_endpoint(at.endpoints, 1, "192.0.2.99:99"));
	agent_configure(&agent, "[]");
	agent_run(&agent, 100);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 0);
	assert_int_equal(at.nat_type, NAT_UNKNOWN);
	agent_close(&agent);
}

static const struct refusal {
	const char *name, *sentence, *remedy;
} refusals[] = {
	{"missing", "there is no", "install that plugin"},
	{"major", "built for plugin ABI 2, this is 1", "build it against"},
	{"minor", "needs plugin ABI 1.9, this is 1.0", "install a newer wg-meshd"},
	{"nonote", "has no wg-mesh note", "WGM_PLUGIN"},
	{"short", "not a whole shared object", "install it again"},
	{"cut", "not a whole shared object", "install it again"},
	{"text", "not a whole shared object", "install it again"},
	{"writable", "others may write to it", "chmod go-w"},
	{"foreign", "belongs to another user", "chown root"},
	{"fifo", "not a regular file", ""},
	{"renamed", "calls itself \"outside\"", "rename it to discovery-outside.so"},
	{"nosymbol", "exports no wgm_plugin", "WGM_PLUGIN"},
	{"kind", "is a plugin of kind natmap", "rename it to natmap-NAME.so"},
	{"noexec", "is not executable", "chmod 755"},
	{"undefined", "undefined symbol", ""},
};

static void test_refusals(void **state)
{
	char *marker = xasprintf("%s/ran", dir);
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];
		char *yaml = xasprintf("[%s, {cxx: {addresses: 192.0.2.78}}]", r->name);

		agent_open(&agent, dir, NULL);
		agent_configure(&agent, yaml);
		agent_run(&agent, 20);
		print_message("%s: %s\n", r->name, reason(&agent, r->name));
		assert_non_null(strstr(reason(&agent, r->name), r->sentence));
		assert_non_null(strstr(reason(&agent, r->name), r->remedy));
		assert_non_null(strstr(reason(&agent, r->name), r->name)); /* the file */
		assert_false(json_is_true(listed(&agent, r->name, "loaded")));
		discovery_result(agent.discovery, &at); /* the agent goes on with the others */
		assert_int_equal(at.count, 1);
		free(yaml);
		agent_close(&agent);
	}
	assert_int_equal(access(marker, F_OK), -1); /* nothing of them ran */
	free(marker);
}

/* Whatever stands in the file, the note's reader returns; under the sanitizers it reads no byte too
 * many. */
static void test_damaged_objects(void **state)
{
	char *path = xasprintf("%s/discovery-outside.so", dir), *damaged = xasprintf("%s/damaged", dir);
	struct buf whole = {.limit = 4u << 20};
	static const uint8_t values[] = {0, 1, 4, 0x7f, 0x80, 0xff};
	struct plugin_note note;
	int fd, found = 0;

	(void)state;
	assert_int_equal(file_read(path, whole.limit, &whole), 0);
	fd = open(damaged, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(fd, whole.data, whole.len, 0), (ssize_t)whole.len);
	assert_int_equal(plugin_note_read(fd, &note), 0);
	assert_int_equal(note.kind, WGM_DISCOVERY);
	for (size_t at = 0; at < 1024; at++) /* headers and notes */
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			assert_int_equal(pwrite(fd, &values[v], 1, (off_t)at), 1);
			found += plugin_note_read(fd, &note) == 0;
			assert_int_equal(pwrite(fd, &whole.data[at], 1, (off_t)at), 1);
		}
	assert_true(found > 0);
	for (size_t len = 0; len < whole.len; len += len < 1024 ? 1 : 512) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, whole.data, len, 0), (ssize_t)len);
		found = plugin_note_read(fd, &note);
		assert_true(found == 0 || found == -ENOEXEC || found == -ENODATA);
	}
	close(fd);
	unlink(damaged);
	buf_free(&whole);
	free(path);
	free(damaged);
}

static void test_names_are_no_paths(void **state)
{
	static const char *const names[] = {"../cxx", "cxx.so", "a/b", "CXX", "", "..", "-cxx",
					    "a-name-that-is-longer-than-any"};
	struct agent agent;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *yaml = xasprintf("[\"%s\"]", names[i]);

		agent_open(&agent, dir, NULL);
		agent_configure(&agent, yaml);
		agent_run(&agent, 10);
		assert_string_equal(instance_state(&agent, names[i]), "failed");
		assert_non_null(strstr(reason(&agent, names[i]), "cannot be a plugin's name"));
		assert_true(json_is_null(listed(&agent, names[i], "file")));
		free(yaml);
		agent_close(&agent);
	}
}

/* What the configuration names is listed, also when it is not there or is named once too often. */
static void test_listed(void **state)
{
	json_t *instances;
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[missing, {cxx: {addresses: 192.0.2.78}}, {cxx: {addresses: 192.0.2.79}}]");
	agent_run(&agent, 20);
	assert_true(json_is_null(listed(&agent, "missing", "file")));
	assert_true(json_is_null(listed(&agent, "missing", "form")));
	assert_string_equal(instance_state(&agent, "missing"), "failed");
	instances = listed(&agent, "cxx", "instances");
	assert_int_equal(json_array_size(instances), 2);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(instances, 1), "state")), "refused");
	assert_string_equal(instance_state(&agent, "cxx"), "running");
	assert_non_null(strstr(reason(&agent, "cxx"), "is named twice and can be opened once"));
	/* Only the second is left: it takes the first one's place. */
	agent_configure(&agent, "[{cxx: {addresses: 192.0.2.79}}]");
	agent_run(&agent, 20);
	assert_int_equal(json_array_size(listed(&agent, "cxx", "instances")), 1);
	assert_string_equal(instance_state(&agent, "cxx"), "running");
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 1);
	assert_true(has_endpoint(at.endpoints, 1, "192.0.2.79:51820"));
	agent_close(&agent);
}

static void test_retry(void **state)
{
	char *need = xasprintf("%s/needed", dir);
	char *yaml = xasprintf("[{outside: {addresses: 192.0.2.77, need: \"%s\"}}]", need);
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	clock_set_fake(1000000, 1000000);
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, yaml);
	loop_run_fake(agent.loop, 400000);
	assert_non_null(strstr(reason(&agent, "outside"), "needed is not there"));
	close(open(need, O_CREAT | O_WRONLY, 0600));
	loop_run_fake(agent.loop, 300000); /* the longest pause between two tries */
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 1);
	assert_string_equal(reason(&agent, "outside"), "");
	agent_close(&agent);
	clock_set_fake(0, 0);
	unlink(need);
	free(need);
	free(yaml);
}

static void test_options(void **state)
{
	static const struct {
		const char *yaml, *sentence;
	} cases[] = {
		{"[outside]", "wgtest.yaml: discovery-outside needs the option addresses"},
		{"[{outside: {adresses: 192.0.2.1}}]",
		 "wgtest.yaml:1:24: discovery-outside has no option \"adresses\"; did you mean \"addresses\"?"},
		{"[{outside: {addresses: 192.0.2.1, port: many}}]",
		 "wgtest.yaml:1:52: discovery-outside: port must be a whole number from 1 to 65535"},
		{"[{outside: {addresses: 192.0.2.1, port: 70000}}]", "from 1 to 65535"},
		{"[{outside: {addresses: 192.0.2.1, port: [1]}}]", "port takes one value, not a list"},
		{"[{outside: {addresses: 192.0.2.1, pause: 2h}}]", "a duration such as"},
		{"[{outside: {addresses: 192.0.2.1, fast: 1}}]", "fast must be true or false"},
		{"[{outside: {addresses: [192.0.2.1, true]}}]", "addresses must be text"},
		{"[{outside: [1]}]", "its options must be written"},
	};
	struct agent agent;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		agent_open(&agent, dir, NULL);
		agent_configure(&agent, cases[i].yaml);
		agent_run(&agent, 10);
		print_message("%s\n", reason(&agent, "outside"));
		assert_non_null(strstr(reason(&agent, "outside"), cases[i].sentence));
		agent_close(&agent);
	}
}

static const struct fault {
	const char *name, *how; /* how NULL: before it can be told */
	int signo;              /* 0: it exits with 1 */
	const char *state, *words;
} faults[] = {
	{"fault", "hang", 0, "hung", "hung the agent for 5 s"},
	{"early", NULL, 0, "hung", "hung the agent for 5 s"},
	{"fault", "crash", SIGSEGV, "crashed", "crashed the agent (SIGSEGV)"},
	{"fault", "recurse", SIGSEGV, "crashed", "crashed the agent (SIGSEGV)"},
	{"fault", "abort", SIGABRT, "crashed", "crashed the agent (SIGABRT)"},
	{"fault", "exit", 0, "crashed", "made the agent exit"},
};

/* The wait status of an agent that opens this plugin. */
static int run_with(const char *yaml, const char *record)
{
	struct agent agent;
	int status = 0;
	pid_t child = fork();

	if (!child) {
		agent_open(&agent, dir, record);
		agent_configure(&agent, yaml);
		agent_run(&agent, 100);
		_exit(9);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* The agent is ended by the plugin, and comes back without it. */
static void test_faults(void **state)
{
	char *record = xasprintf("%s/test.hung", dir);
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		const struct fault *f = &faults[i];
		char *yaml = f->how ? xasprintf("[{cxx: {addresses: 192.0.2.78}}, {%s: {how: %s}}]",
						f->name, f->how) :
				      xasprintf("[{cxx: {addresses: 192.0.2.78}}, %s]", f->name);
		int status = run_with(yaml, record);

		assert_int_equal(f->signo, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
		assert_int_equal(f->signo ? 0 : 1, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
		agent_open(&agent, dir, record);
		agent_configure(&agent, yaml);
		agent_run(&agent, 20);
		print_message("%s\n", reason(&agent, f->name));
		assert_non_null(strstr(reason(&agent, f->name), f->words));
		assert_non_null(strstr(reason(&agent, f->name), "is left out: install a mended one"));
		assert_string_equal(instance_state(&agent, f->name), f->state);
		discovery_result(agent.discovery, &at);
		assert_int_equal(at.count, 1);
		agent_close(&agent);
		unlink(record);
		free(yaml);
	}
	free(record);
}

/* A plugin that was installed since then gets its chance, whoever was written down later. */
static void test_mended(void **state)
{
	char *record = xasprintf("%s/test.hung", dir), *file = xasprintf("%s/discovery-fault.so", dir);
	char words[PLUGIN_FAULT], *lines;

	(void)state;
	lines = xasprintf("discovery-fault 1000 hung\ndiscovery-faul 9999999999 x\n"
			  "discovery-other 9999999999 hung\n");
	assert_int_equal(file_write_atomic(record, lines, strlen(lines), 0600), 0);
	free(lines);
	assert_false(plugin_watchdog_guilty(record, "discovery-fault", file, words));
	assert_true(plugin_watchdog_guilty(record, "discovery-other", file, words));
	lines = xasprintf("discovery-fault 1000 hung\ndiscovery-fault 9999999999 crashed again");
	assert_int_equal(file_write_atomic(record, lines, strlen(lines), 0600), 0);
	free(lines);
	assert_true(plugin_watchdog_guilty(record, "discovery-fault", file, words));
	assert_string_equal(words, "crashed again");
	unlink(record);
	free(record);
	free(file);
}

static void test_example_script(void **state)
{
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[{example: {endpoint: \"203.0.113.9:4500\"}}]");
	agent_run(&agent, 1000);
	discovery_result(agent.discovery, &at);
	print_message("%s\n", reason(&agent, "example"));
	assert_int_equal(at.count, 1);
	assert_true(has_endpoint(at.endpoints, 1, "203.0.113.9:4500"));
	assert_string_equal(json_string_value(listed(&agent, "example", "form")), "script");
	agent_close(&agent);
}

static const char *first_error(const struct agent *agent, const char *name)
{
	const char *text = json_string_value(
		json_object_get(json_array_get(listed(agent, name, "instances"), 0), "error"));

	return text ? text : "";
}

static void test_authors_guide(void **state)
{
	char *path, *yaml = xasprintf("[{file: {path: %s/endpoint}}, {guide: {path: %s/endpoint}}]", dir, dir);
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, yaml);
	agent_run(&agent, 1000);
	discovery_result(agent.discovery, &at);
	assert_string_equal(reason(&agent, "file"), "");
	assert_string_equal(reason(&agent, "guide"), "");
	assert_int_equal(at.count, 1); /* both say the same */
	assert_true(has_endpoint(at.endpoints, 1, "203.0.113.20:20"));
	agent_configure(&agent, "[{guide: {path: /nonexistent}}]");
	agent_run(&agent, 500);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.count, 0);
	free(yaml);
	/* What it complains of is shown until it finds something. */
	path = xasprintf("%s/endpoint.later", dir);
	yaml = xasprintf("[{file: {path: %s, every: 1s}}]", path);
	agent_configure(&agent, yaml);
	agent_run(&agent, 20);
	assert_non_null(strstr(first_error(&agent, "file"), "endpoint.later cannot be read"));
	assert_int_equal(file_write_atomic(path, "203.0.113.21:21", 15, 0600), 0);
	for (int i = 0; i < 100 && *first_error(&agent, "file"); i++)
		agent_run(&agent, 100);
	assert_string_equal(first_error(&agent, "file"), "");
	discovery_result(agent.discovery, &at);
	assert_true(has_endpoint(at.endpoints, at.count, "203.0.113.21:21"));
	unlink(path);
	free(path);
	free(yaml);
	agent_close(&agent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bundled),	    cmocka_unit_test(test_outside),
		cmocka_unit_test(test_refusals),    cmocka_unit_test(test_damaged_objects),
		cmocka_unit_test(test_names_are_no_paths),
		cmocka_unit_test(test_listed),
		cmocka_unit_test(test_retry),	    cmocka_unit_test(test_options),
		cmocka_unit_test(test_faults),    cmocka_unit_test(test_mended),
		 cmocka_unit_test(test_example_script),
		cmocka_unit_test(test_authors_guide),
	};

	dir = getenv("WGM_TEST_PLUGINS");
	bundled = getenv("WGM_TEST_BUNDLED");
	if (!dir || !bundled)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
