/*
 * cli_policy.c - a policy's file read and sent, and what comes back told to people.
 *
 * `apply --confirm` is for whoever may lock themselves out by it. The confirmation goes over a connection
 * of its own, and only after somebody could still press a key: where the terminal itself hangs on the mesh
 * and is cut off, nobody does, and the coordinator takes the policy back.
 */
#include "cli_policy.h"
#include "cli.h"
#include "cli_print.h"
#include "coordinator/policy/policy.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/str.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE    (1024 * 1024)
#define MAX_CONFIRM 3600

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int complain(const char *sentence)
{
	fprintf(stderr, "wg-mesh-coordinator: %s\n", sentence);
	return EXIT_FAILED;
}

/* ---- what is sent -------------------------------------------------------------------------- */

static bool read_policy(const char *path, struct buf *out)
{
	int result = file_read_any(path, MAX_FILE, out);

	if (result == -EFBIG)
		fprintf(stderr, "wg-mesh-coordinator: %s is larger than a policy may be (1 MiB)\n", path);
	else if (result < 0)
		fprintf(stderr, "wg-mesh-coordinator: the policy %s cannot be read: %s\n", path,
			strerror(-result));
	return !result;
}

static bool take_file(json_t *options, const char *file)
{
	bool standard = !strcmp(file, "-"), fine;
	struct buf text;
	json_t *value;

	buf_init(&text, MAX_FILE + 1);
	fine = read_policy(standard ? "/dev/stdin" : file, &text);
	value = fine ? json_stringn(buf_text(&text), text.len) : NULL;
	if (fine && (!value || memchr(buf_text(&text), '\0', text.len))) {
		fprintf(stderr, "wg-mesh-coordinator: %s is no text (UTF-8)\n", file);
		fine = false;
	}
	buf_free(&text);
	if (!fine) {
		json_decref(value);
		return false;
	}
	json_object_set_new(options, "text", value);
	if (standard)
		json_object_set_new(options, "file", json_string("standard input"));
	return true;
}

bool cli_policy_prepare(json_t *options)
{
	const char *file = json_string_value(json_object_get(options, "file"));
	const char *confirm = json_string_value(json_object_get(options, "confirm"));
	uint64_t ms;

	if (confirm) {
		if (!parse_duration(confirm, &ms) || ms < 1000 || ms > MAX_CONFIRM * 1000ull) {
			fprintf(stderr, "wg-mesh-coordinator: --confirm %s is not a number of seconds from 1 to "
				"%d\n", confirm, MAX_CONFIRM);
			return false;
		}
		json_object_set_new(options, "confirm", json_integer((json_int_t)(ms / 1000)));
	}
	return !file || take_file(options, file);
}

/* ---- checks --------------------------------------------------------------------------------- */

static void print_test(const json_t *test)
{
	const char *result = text_of(test, "result"), *detail = text_of(test, "detail");

	printf("%-8s ", result);
	if (strcmp(result, "failed")) /* its detail names file and line */
		printf("line %lld: ", (long long)json_integer_value(json_object_get(test, "line")));
	if (*detail)
		puts(detail);
	else
		printf("%s to %s %s is %s\n", text_of(test, "from"), text_of(test, "to"), text_of(test, "port"),
		       strcmp(text_of(test, "expect"), "allow") ? "denied" : "allowed");
}

static unsigned count_tests(const json_t *tests, const char *result)
{
	const json_t *test;
	unsigned count = 0;
	size_t i;

	json_array_foreach(tests, i, test)
		count += !strcmp(text_of(test, "result"), result);
	return count;
}

static void print_warnings(const json_t *result)
{
	const json_t *warning;
	size_t i;

	json_array_foreach(json_object_get(result, "warnings"), i, warning)
		printf("warning: %s\n", json_string_value(warning));
}

static void print_checked(const json_t *result, bool every_test)
{
	const json_t *tests = json_object_get(result, "tests"), *test;
	size_t i;

	json_array_foreach(tests, i, test)
		if (every_test || !strcmp(text_of(test, "result"), "failed"))
			print_test(test);
	if (!every_test)
		print_warnings(result);
	printf("%s is well-formed: %lld rules, %zu tests: %u ok, %u failed, %u skipped\n",
	       text_of(result, "file"), (long long)json_integer_value(json_object_get(result, "rules")),
	       json_array_size(tests), count_tests(tests, "ok"), count_tests(tests, "failed"),
	       count_tests(tests, "skipped"));
}

void print_policy_check(const json_t *result)
{
	print_checked(result, false);
}

void print_policy_tests(const json_t *result)
{
	print_checked(result, true);
}

int cli_policy_offline(const json_t *options, bool as_json)
{
	const char *text = text_of(options, "text");
	char error[POLICY_ERROR];
	struct policy *policy = policy_parse(text_of(options, "file"), text, strlen(text), error);
	json_t *result;

	if (!policy) {
		complain(error);
		return EXIT_USAGE;
	}
	result = json_pack("{sssisis[]s[]}", "file", policy->name, "rules", (int)policy->rule_count, "failed", 0,
			   "tests", "warnings");
	if (as_json)
		print_json(result);
	else
		printf("%s is well-formed: %u rules; its %u tests need a running coordinator\n", policy->name,
		       policy->rule_count, policy->test_count);
	json_decref(result);
	policy_free(policy);
	return EXIT_DONE;
}

/* ---- what is in force ------------------------------------------------------------------------- */

/* The text alone on standard output, so that it can be kept, edited and applied. */
void print_policy(const json_t *result)
{
	const char *text = text_of(result, "text");
	const json_t *seconds = json_object_get(result, "confirm_seconds");

	fflush(stdout);
	if (json_integer_value(json_object_get(result, "version")))
		fprintf(stderr, "# policy %lld, applied at %s by %s\n",
			(long long)json_integer_value(json_object_get(result, "version")),
			text_of(result, "applied_at"), text_of(result, "applied_by"));
	else
		fputs("# no policy was applied yet: all agents of a network may talk to each other\n", stderr);
	if (json_is_integer(seconds))
		fprintf(stderr, "# it is taken back in %lld s unless it is confirmed: policy confirm\n",
			(long long)json_integer_value(seconds));
	fputs(text, stdout);
	if (*text && text[strlen(text) - 1] != '\n')
		putchar('\n');
}

static void print_change(const json_t *change)
{
	if (json_object_get(change, "route"))
		printf("%s: route %s of %s: %s\n", text_of(change, "network"), text_of(change, "route"),
		       text_of(change, "agent"),
		       json_is_true(json_object_get(change, "after")) ? "approved" : "no longer approved");
	else
		printf("%s: %s to %s: %s (was: %s)\n", text_of(change, "network"), text_of(change, "from"),
		       text_of(change, "to"), text_of(change, "after"), text_of(change, "before"));
}

void print_policy_diff(const json_t *result)
{
	const json_t *changes = json_object_get(result, "changes"), *change;
	size_t i;

	json_array_foreach(changes, i, change)
		print_change(change);
	if (json_is_false(json_object_get(result, "complete")))
		puts("this is not all: too much would change, or there is too much to compare, to say it at once");
	else if (!json_array_size(changes))
		puts("no agent of now would notice");
}

void print_policy_applied(const json_t *result)
{
	long long version = (long long)json_integer_value(json_object_get(result, "version"));

	print_warnings(result);
	if (json_is_true(json_object_get(result, "waiting")))
		printf("policy %lld holds, for %lld s unless it is confirmed\n", version,
		       (long long)json_integer_value(json_object_get(result, "confirm_seconds")));
	else
		printf("policy %lld holds\n", version);
	if (*text_of(result, "policy_file"))
		printf("the policy file %s is there too, and takes over when it is changed\n",
		       text_of(result, "policy_file"));
}

/* ---- explain ------------------------------------------------------------------------------------ */

static void print_party(const json_t *party)
{
	const char *agent = text_of(party, "agent"), *address = text_of(party, "address");

	if (*agent)
		printf("%s (%s, network %s)", agent, address, text_of(party, "network"));
	else
		printf("%s", address);
}

static void print_rule(const json_t *judged)
{
	const json_t *line = json_object_get(judged, "line");
	const char *rule = text_of(judged, "rule");

	if (json_is_integer(line))
		printf("by the rule \"%s\", line %lld\n", rule, (long long)json_integer_value(line));
	else if (!strcmp(rule, "default"))
		puts("by the default: no rule speaks of it");
	else
		printf("because %s\n", rule);
}

static bool same_rule(const json_t *families)
{
	const json_t *a = json_array_get(families, 0), *b = json_array_get(families, 1);

	return !b || (json_equal(json_object_get(a, "verdict"), json_object_get(b, "verdict")) &&
		      json_equal(json_object_get(a, "rule"), json_object_get(b, "rule")) &&
		      json_equal(json_object_get(a, "line"), json_object_get(b, "line")));
}

static const char *judged_word(const json_t *judged)
{
	const char *verdict = text_of(judged, "verdict");

	return !strcmp(verdict, "allow") ? "allowed" : !strcmp(verdict, "deny") ? "denied"
									       : "it depends on the address";
}

void print_verdict(const json_t *result)
{
	const json_t *peers = json_object_get(result, "peers"), *families = json_object_get(result, "families");
	const json_t *judged;
	size_t i;

	print_party(json_object_get(result, "from"));
	fputs(" to ", stdout);
	print_party(json_object_get(result, "to"));
	printf(", %s: %s\n", text_of(result, "port"), judged_word(result));
	if (same_rule(families))
		print_rule(result);
	else
		json_array_foreach(families, i, judged) {
			printf("%s to %s: %s ", text_of(judged, "from"), text_of(judged, "to"),
			       judged_word(judged));
			print_rule(judged);
		}
	if (json_is_boolean(peers))
		printf("the two are %stold of each other\n", json_is_true(peers) ? "" : "not ");
}

/* ---- apply --confirm ---------------------------------------------------------------------------- */

/* 1: Enter; 0: the time is over; -1: the end of input, or Ctrl-D. */
static int await_enter(uint64_t until_ms)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	char c;

	for (;;) {
		uint64_t now = clock_ms();
		ssize_t got;

		if (now >= until_ms)
			return 0;
		if (poll(&in, 1, (int)(until_ms - now)) <= 0)
			continue;
		got = read(STDIN_FILENO, &c, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -1;
		if (c == '\n')
			return 1;
	}
}

static int finish(const char *run_dir, const char *command, const json_t *applied)
{
	json_t *arguments = json_pack("{sO}", "version", json_object_get(applied, "version")), *answer;
	int code;

	if (cli_ask(run_dir, command, arguments, &answer, NULL, &code)) {
		code = cli_judge(answer);
		if (!code)
			print_message(json_object_get(answer, "result"));
		json_decref(answer);
	}
	json_decref(arguments);
	return code;
}

int cli_policy_keep(const char *run_dir, const json_t *applied)
{
	int64_t seconds = json_integer_value(json_object_get(applied, "confirm_seconds"));

	if (!json_is_true(json_object_get(applied, "waiting")))
		return EXIT_DONE;
	if (!isatty(STDIN_FILENO)) {
		fputs("wg-mesh-coordinator: keep it with: wg-mesh-coordinator policy confirm\n", stderr);
		return EXIT_DONE;
	}
	fputs("Enter keeps it, Ctrl-D takes it back: ", stderr);
	switch (await_enter(clock_ms() + (uint64_t)seconds * 1000)) {
	case 1:
		return finish(run_dir, "policy confirm", applied);
	case 0:
		fputc('\n', stderr);
		return complain("nobody confirmed it: what was before is back");
	default:
		fputc('\n', stderr);
		finish(run_dir, "policy rollback", applied);
		return EXIT_FAILED;
	}
}
