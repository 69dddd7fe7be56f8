/*
 * test_plugin_exec.c - script plugins: each test writes one and opens it as the agent would.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../plugin/agent.h"
#include "lib/file.h"

static char dir[64];

static void write_script(const char *name, const char *body)
{
	static const char head[] = "#!/bin/sh\nsay() { for line; do echo \"$line\"; done; }\n";
	char *path = xasprintf("%s/discovery-%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, head, sizeof(head) - 1), sizeof(head) - 1);
	assert_int_equal(write(fd, body, strlen(body)), (ssize_t)strlen(body));
	close(fd);
	free(path);
}

/* Until the instance is what `state` says, or 10 s have gone. */
static void wait_for(struct agent *agent, const char *name, const char *wanted)
{
	for (int i = 0; i < 1000; i++) {
		if (!strcmp(instance_state(agent, name), wanted))
			return;
		agent_run(agent, 10);
	}
	fail_msg("%s never became %s: %s", name, wanted, reason(agent, name));
}

static void wait_for_endpoints(struct agent *agent, unsigned count)
{
	struct proto_endpoints at;

	for (int i = 0; i < 1000; i++) {
		discovery_result(agent->discovery, &at);
		if (at.count == count)
			return;
		agent_run(agent, 10);
	}
	fail_msg("%u endpoints, not %u", at.count, count);
}

static const char *instance_error(struct agent *agent, const char *name)
{
	const char *text = json_string_value(json_object_get(
		json_array_get(listed(agent, name, "instances"), 0), "error"));

	return text ? text : "";
}

#define DESCRIBE "case $1 in describe) say 'abi 1' 'kind discovery' "

static void test_good(void **state)
{
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	write_script("good",
		     DESCRIBE "'version 2.5' 'summary  finds   things' 'option where endpoint list required' "
			      "'option word string default=hello' 'option secret_word string secret';;\n"
			      "refresh) for e in $WGM_OPTION_WHERE; do echo \"candidate mapped $e 7\"; done\n"
			      "echo candidate host 192.168.9.9:1\n"
			      "echo nat endpoint-independent address-and-port-dependent\n"
			      "[ \"$WGM_ABI.$WGM_KIND.$WGM_INTERFACE.$WGM_PORT.$WGM_OPTION_WORD\" = "
			      "1.discovery.wgtest.51820.hello ] && echo candidate reflexive 203.0.113.3:3\n"
			      ":;; esac\n");
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[{good: {where: [\"203.0.113.1:1\", \"[2001:db8::1]:2\"], secret_word: hush}}]");
	wait_for_endpoints(&agent, 3);
	discovery_result(agent.discovery, &at);
	assert_true(has_endpoint(at.endpoints, 1, "203.0.113.1:1"));
	assert_true(has_endpoint(at.endpoints, 3, "[2001:db8::1]:2"));
	assert_true(has_endpoint(at.endpoints, 3, "203.0.113.3:3")); /* its environment was as promised */
	assert_true(has_endpoint(at.local_endpoints, at.local_count, "192.168.9.9:1"));
	assert_true(at.upnp_mapped);
	assert_int_equal(at.nat_type, NAT_PORT_RESTRICTED_CONE);
	assert_string_equal(json_string_value(listed(&agent, "good", "version")), "2.5");
	assert_string_equal(json_string_value(listed(&agent, "good", "summary")), "finds things");
	agent_configure(&agent, "[{good: {where: \"203.0.113.8:8\"}}]");
	wait_for_endpoints(&agent, 2);
	agent_configure(&agent, "[]");
	wait_for_endpoints(&agent, 0);
	agent_close(&agent);
}

static void test_nothing_is_evaluated(void **state)
{
	char *marker = xasprintf("%s/evaluated", dir);
	char *yaml = xasprintf("[{quote: {word: \"$(touch %s); `touch %s` ' \\\" * \\\\\"}}]", marker, marker);
	struct agent agent;

	(void)state;
	write_script("quote", DESCRIBE "'option word string';; refresh) echo candidate static 203.0.113.1:1\n"
				       "echo \"$WGM_OPTION_WORD\" >&2;; esac\n");
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, yaml);
	wait_for_endpoints(&agent, 1);
	assert_int_equal(access(marker, F_OK), -1);
	agent_close(&agent);
	free(marker);
	free(yaml);
}

static void test_bad_descriptions(void **state)
{
	static const struct {
		const char *body, *sentence;
	} cases[] = {
		{"echo abi 2\n", "speaks plugin ABI 2, this is 1"},
		{"echo abi 1; echo kind natmap\n", "it says it is of kind natmap"},
		{"echo abi 1\n", "are missing"},
		{":\n", "are missing"},
		{"echo what is this\n", "the word \"what\" is unknown"},
		{"exit 4\n", "exit code 4"},
		{"echo abi 1; echo option x\n", "an option is written"},
		{"echo abi 1; echo option x thing\n", "unknown type thing"},
		{"echo abi 1; echo option x int much\n", "is not required, list, secret"},
		{"echo abi 1; echo kind discovery; echo option X-Y int\n", "whose name is not of"},
		{"echo abi 1; echo kind discovery; echo option x int default=y\n", "a default that"},
		{"echo every never\n", "takes a duration"},
	};
	struct agent agent;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		write_script("bad", cases[i].body);
		agent_open(&agent, dir, NULL);
		agent_configure(&agent, "[bad]");
		wait_for(&agent, "bad", "failed");
		if (!strstr(reason(&agent, "bad"), cases[i].sentence))
			fail_msg("\"%s\" is not in \"%s\"", cases[i].sentence, reason(&agent, "bad"));
		assert_non_null(strstr(reason(&agent, "bad"), "discovery-bad"));
		agent_close(&agent);
	}
}

static void test_bad_answers(void **state)
{
	static const struct {
		const char *body, *sentence;
	} cases[] = {
		{"echo candidate static example.net:1", "a candidate is written"},
		{"echo candidate somehow 203.0.113.1:1", "a candidate is written"},
		{"echo candidate static 203.0.113.1:0", "a candidate is written"},
		{"echo candidate static 203.0.113.1:1 x", "a candidate is written"},
		{"echo nat full cone", "NAT is written"},
		{"echo nat", "NAT is written"},
		{"echo hello", "the word \"hello\" is unknown"},
		{"exit 1", "failed with exit code 1"},
		{"exit 78", "calls its configuration bad"},
		{"kill -9 $$", "failed with exit code 137"},
	};
	struct agent agent;
	char *body;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		body = xasprintf(DESCRIBE ";; refresh) %s;; esac\n", cases[i].body);
		write_script("answer", body);
		free(body);
		agent_open(&agent, dir, NULL);
		agent_configure(&agent, "[answer]");
		for (int n = 0; n < 1000 && !*instance_error(&agent, "answer"); n++)
			agent_run(&agent, 10);
		if (!strstr(instance_error(&agent, "answer"), cases[i].sentence))
			fail_msg("\"%s\" is not in \"%s\"", cases[i].sentence, instance_error(&agent, "answer"));
		agent_close(&agent);
	}
}

/* 0 replaces what was found and said of the NAT, 3 withdraws both, 75 leaves them. */
static void test_exit_codes(void **state)
{
	char *code = xasprintf("%s/code", dir), *body;
	static const struct {
		const char *code;
		unsigned endpoints;
		enum nat_type nat;
	} steps[] = {
		{"0", 1, NAT_FULL_CONE}, {"75", 1, NAT_FULL_CONE}, {"3", 0, NAT_UNKNOWN},
		{"75", 0, NAT_UNKNOWN},	 {"0", 1, NAT_FULL_CONE},
	};
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	body = xasprintf(DESCRIBE ";; refresh) echo candidate static 203.0.113.1:1; "
				  "echo nat endpoint-independent endpoint-independent; echo >>%s.runs; "
				  "exit $(cat %s);; esac\n", code, code);
	write_script("codes", body);
	agent_open(&agent, dir, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct stat before = {0}, now = {0};
		char *runs = xasprintf("%s.runs", code);
		FILE *file = fopen(code, "we");

		fputs(steps[i].code, file);
		fclose(file);
		stat(runs, &before);
		if (i)
			discovery_refresh(agent.discovery);
		else
			agent_configure(&agent, "[codes]");
		for (int n = 0; n < 1000 && now.st_size <= before.st_size; n++) {
			agent_run(&agent, 10);
			stat(runs, &now);
		}
		agent_run(&agent, 100); /* its exit */
		discovery_result(agent.discovery, &at);
		assert_int_equal(at.count, steps[i].endpoints);
		assert_int_equal(at.nat_type, steps[i].nat);
		free(runs);
	}
	agent_close(&agent);
	free(code);
	free(body);
}

static off_t size_of(const char *path)
{
	struct stat st = {0};

	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* 78: what it told goes, and it is not run again before a reload, whoever asks and however often. */
static void test_bad_configuration(void **state)
{
	char *code = xasprintf("%s/code", dir), *runs = xasprintf("%s/runs", dir), *body;
	struct proto_endpoints at;
	struct agent agent;

	(void)state;
	body = xasprintf(DESCRIBE "'every 1s';; refresh) echo >>%s; echo candidate static 203.0.113.1:1; "
				  "echo nat blocked; sleep 0.2; exit $(cat %s);; esac\n",
			 runs, code);
	write_script("config", body);
	assert_int_equal(file_write_atomic(code, "0", 1, 0600), 0);
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[config]");
	wait_for_endpoints(&agent, 1);
	assert_int_equal(file_write_atomic(code, "78", 2, 0600), 0);
	discovery_refresh(agent.discovery);
	discovery_refresh(agent.discovery); /* asked while it runs */
	wait_for(&agent, "config", "refused");
	wait_for_endpoints(&agent, 0);
	discovery_result(agent.discovery, &at);
	assert_int_equal(at.nat_type, NAT_UNKNOWN);
	assert_int_equal(size_of(runs), 2);
	for (int i = 0; i < 15; i++) {
		discovery_refresh(agent.discovery);
		agent_run(&agent, 100);
	}
	assert_int_equal(size_of(runs), 2);
	assert_string_equal(instance_state(&agent, "config"), "refused");
	assert_non_null(strstr(instance_error(&agent, "config"), "calls its configuration bad"));
	assert_int_equal(file_write_atomic(code, "0", 1, 0600), 0);
	agent_configure(&agent, "[config]");
	wait_for_endpoints(&agent, 1);
	assert_string_equal(instance_error(&agent, "config"), "");
	agent_close(&agent);
	unlink(code);
	unlink(runs);
	free(code);
	free(runs);
	free(body);
}

/* However often it is asked, it runs once at a time, and once more for all that came meanwhile. */
static void test_one_at_a_time(void **state)
{
	char *runs = xasprintf("%s/runs", dir), *body;
	struct stat st = {0};
	struct agent agent;

	(void)state;
	body = xasprintf(DESCRIBE ";; refresh) mkdir %s.lock || exit 1; sleep 0.3; rmdir %s.lock; echo >>%s;; esac\n",
			 runs, runs, runs);
	write_script("once", body);
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[once]");
	wait_for(&agent, "once", "running");
	for (int i = 0; i < 20; i++)
		discovery_refresh(agent.discovery);
	for (int n = 0; n < 500 && st.st_size < 2; n++) {
		agent_run(&agent, 10);
		stat(runs, &st);
	}
	agent_run(&agent, 500);
	stat(runs, &st);
	assert_int_equal(st.st_size, 2);
	assert_string_equal(instance_error(&agent, "once"), "");
	agent_close(&agent);
	free(runs);
	free(body);
}

/* Judged again each time: a script that others may write does not run any more. */
static void test_trust_is_asked_each_time(void **state)
{
	char *path = xasprintf("%s/discovery-trust", dir);
	struct agent agent;

	(void)state;
	write_script("trust", DESCRIBE ";; refresh) echo candidate static 203.0.113.1:1;; esac\n");
	agent_open(&agent, dir, NULL);
	agent_configure(&agent, "[trust]");
	wait_for_endpoints(&agent, 1);
	chmod(path, 0777);
	discovery_refresh(agent.discovery);
	assert_non_null(strstr(instance_error(&agent, "trust"), "others may write to it"));
	agent_close(&agent);
	free(path);
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/wgm-exec-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"discovery-good", "discovery-quote", "discovery-bad", "discovery-answer",
					    "discovery-codes", "discovery-config", "discovery-once", "discovery-trust", "code",
					    "code.runs", "runs"};
	char *path;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		path = xasprintf("%s/%s", dir, names[i]);
		unlink(path);
		free(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_nothing_is_evaluated),
		cmocka_unit_test(test_bad_descriptions),
		cmocka_unit_test(test_bad_answers),
		cmocka_unit_test(test_exit_codes),
		cmocka_unit_test(test_bad_configuration),
		cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_trust_is_asked_each_time),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
