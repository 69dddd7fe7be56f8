/*
 * The policy file: every selector and clause decides as SPEC 4 says; every wrong file is refused with
 * the place, word by word; sets of ports.
 */
#include "coordinator/policy/policy_class.h"
#include "lib/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct policy *load(const char *text)
{
	char error[POLICY_ERROR] = "";
	struct policy *policy = policy_parse("p.yaml", text, strlen(text), error);

	if (!policy)
		fail_msg("%s\n%s", error, text);
	return policy;
}

/* "NAME@NETWORK#TAG,TAG=ADDRESS", each part but the address may be missing. */
static json_t *party(struct party *out, char *text, size_t size, const char *spec)
{
	char *at, *hash, *equals, *tag;
	json_t *tags = json_array();

	*out = (struct party){0};
	snprintf(text, size, "%s", spec);
	equals = strchr(text, '=');
	if (equals) {
		*equals++ = '\0';
		if (!addr_parse(&out->addr, equals))
			fail_msg("%s", spec);
	}
	hash = strchr(text, '#');
	if (hash)
		for (*hash++ = '\0'; (tag = strsep(&hash, ","));)
			json_array_append_new(tags, json_string(tag));
	at = strchr(text, '@');
	if (at)
		*at++ = '\0';
	out->network = at ? at : *text ? "default" : NULL;
	out->name = *text ? text : NULL;
	out->tags = tags;
	return tags;
}

static void decide(const struct policy *policy, const char *from, const char *to, const char *port,
		   struct verdict *out)
{
	char a[200], b[200];
	struct party source, target;
	json_t *tags = party(&source, a, sizeof(a), from), *more = party(&target, b, sizeof(b), to);
	struct policy_index *index = policy_index_new(policy);
	uint32_t point = POINT_OTHER;

	if (strcmp(port, "other") && !ports_parse_point(port, &point))
		fail_msg("%s", port);
	policy_decide(index, &source, &target, point, out);
	policy_index_free(index);
	json_decref(tags);
	json_decref(more);
}

#define HEAD "version: 1\n"

static void test_decide(void **state)
{
	static const struct {
		const char *policy, *from, *to, *port;
		bool allow;
		const char *rule;
		unsigned line;
	} rows[] = {
		/* default */
		{HEAD, "a", "b", "tcp/1", false, "default", 0},
		{HEAD "default: deny", "a", "b", "tcp/1", false, "default", 0},
		{HEAD "default: allow", "a", "b", "tcp/1", true, "default", 0},
		{HEAD "acl:", "a", "b", "tcp/1", false, "default", 0},
		/* names */
		{HEAD "acl: [{name: x, from: a, to: b, allow: any}]", "a", "b", "tcp/1", true, "x", 2},
		{HEAD "acl: [{from: a, to: b, allow: any}]", "b", "a", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: any}]", "aa", "b", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: any}]", "a", "=10.0.0.2", "tcp/1", false, "default", 0},
		/* tags */
		{HEAD "acl: [{from: tag:web, to: tag:db, allow: any}]", "a#x,web", "b#db", "icmp", true, "rule 1", 2},
		{HEAD "acl: [{from: tag:web, to: tag:db, allow: any}]", "web", "b#db", "icmp", false, "default", 0},
		{HEAD "acl: [{from: tag:web, to: tag:db, allow: any}]", "a#web", "b#db2", "icmp", false, "default", 0},
		/* groups, nested and in any order */
		{HEAD "acl: [{from: group:all, to: any, allow: any}]\n"
		 "groups: {all: [group:some, c], some: [a, tag:t]}", "x#t", "b", "tcp/1", true, "rule 1", 2},
		{HEAD "groups: {all: [group:some, c], some: [a, tag:t]}\n"
		 "acl: [{from: group:some, to: any, allow: any}]", "c", "b", "tcp/1", false, "default", 0},
		{HEAD "groups: {all: [group:some, c], some: [a, tag:t]}\n"
		 "acl: [{from: group:all, to: any, allow: any}]", "c", "b", "tcp/1", true, "rule 1", 3},
		/* networks */
		{HEAD "acl: [{from: network:lab, to: any, allow: any}]", "a@lab", "b@lab", "tcp/1", true, "rule 1", 2},
		{HEAD "acl: [{from: network:lab, to: any, allow: any}]", "a@home", "b@home", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: network:lab, to: any, allow: any}]", "=10.0.0.1", "b@lab", "tcp/1", false, "default", 0},
		/* CIDRs: an agent's own address and those behind it */
		{HEAD "acl: [{from: 10.0.0.0/8, to: any, allow: any}]", "a=10.1.2.3", "b", "tcp/1", true, "rule 1", 2},
		{HEAD "acl: [{from: 10.0.0.0/8, to: any, allow: any}]", "=10.1.2.3", "b", "tcp/1", true, "rule 1", 2},
		{HEAD "acl: [{from: 10.0.0.0/8, to: any, allow: any}]", "=11.1.2.3", "b", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: 10.0.0.0/8, to: any, allow: any}]", "a=fd00::1", "b", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: [\"fd00::/8\"], to: any, allow: any}]", "a=fd00::1", "b", "tcp/1", true, "rule 1", 2},
		{HEAD "acl: [{from: 10.1.2.3, to: any, allow: any}]", "a=10.1.2.3", "b", "tcp/1", true, "rule 1", 2},
		{HEAD "acl: [{from: 10.1.2.3, to: any, allow: any}]", "a", "b", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: 0.0.0.0/0, to: any, allow: any}]", "=8.8.8.8", "b", "tcp/1", true, "rule 1", 2},
		/* hosts win over agents of that name */
		{HEAD "hosts: {nas: 192.168.1.4}\nacl: [{from: any, to: nas, allow: any}]", "a", "=192.168.1.4", "tcp/1", true, "rule 1", 3},
		{HEAD "hosts: {nas: 192.168.1.4}\nacl: [{from: any, to: nas, allow: any}]", "a", "nas=10.0.0.1", "tcp/1", false, "default", 0},
		{HEAD "hosts: {lan: 192.168.1.0/24}\nacl: [{from: any, to: lan, allow: any}]", "a", "=192.168.1.9", "tcp/1", true, "rule 1", 3},
		/* any, self */
		{HEAD "acl: [{from: any, to: any, allow: any}]", "=1.2.3.4", "=8.8.8.8", "other", true, "rule 1", 2},
		{HEAD "acl: [{from: any, to: self, allow: any}]", "a", "b", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: any, to: self, allow: any}]", "a", "a", "tcp/1", true, "rule 1", 2},
		{HEAD "acl: [{from: any, to: self, allow: any}]", "a@x", "a@y", "tcp/1", false, "default", 0},
		{HEAD "acl: [{from: any, to: self, allow: any}]", "=10.0.0.1", "=10.0.0.1", "tcp/1", false, "default", 0},
		/* ports */
		{HEAD "acl: [{from: a, to: b, allow: [tcp/5432, icmp]}]", "a", "b", "tcp/5432", true, "rule 1", 2},
		{HEAD "acl: [{from: a, to: b, allow: [tcp/5432, icmp]}]", "a", "b", "udp/5432", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: [tcp/5432, icmp]}]", "a", "b", "tcp/5433", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: [tcp/5432, icmp]}]", "a", "b", "icmp", true, "rule 1", 2},
		{HEAD "acl: [{from: a, to: b, allow: tcp/8000-8100}]", "a", "b", "tcp/8000", true, "rule 1", 2},
		{HEAD "acl: [{from: a, to: b, allow: tcp/8000-8100}]", "a", "b", "tcp/8100", true, "rule 1", 2},
		{HEAD "acl: [{from: a, to: b, allow: tcp/8000-8100}]", "a", "b", "tcp/8101", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: [udp, tcp/9-99, tcp/22]}]", "a", "b", "tcp/22", true, "rule 1", 2},
		{HEAD "acl: [{from: a, to: b, allow: udp}]", "a", "b", "udp/65535", true, "rule 1", 2},
		{HEAD "acl: [{from: a, to: b, allow: udp}]", "a", "b", "tcp/65535", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: [tcp, udp, icmp]}]", "a", "b", "other", false, "default", 0},
		{HEAD "acl: [{from: a, to: b, allow: any}]", "a", "b", "other", true, "rule 1", 2},
		/* the first that fits decides: file order, then priority */
		{HEAD "acl:\n- {name: no, from: a, to: b, deny: tcp/22}\n- {name: yes, from: a, to: b, allow: any}",
		 "a", "b", "tcp/22", false, "no", 3},
		{HEAD "acl:\n- {name: no, from: a, to: b, deny: tcp/22}\n- {name: yes, from: a, to: b, allow: any}",
		 "a", "b", "tcp/23", true, "yes", 4},
		{HEAD "acl:\n- {name: yes, from: a, to: b, allow: any}\n- {name: no, from: a, to: b, deny: tcp/22}",
		 "a", "b", "tcp/22", true, "yes", 3},
		{HEAD "acl:\n- {name: yes, from: a, to: b, allow: any}\n"
		 "- {name: no, from: a, to: b, deny: tcp/22, priority: 10}", "a", "b", "tcp/22", false, "no", 4},
		{HEAD "acl:\n- {name: late, from: a, to: b, allow: any, priority: 101}\n"
		 "- {name: plain, from: a, to: b, deny: any}", "a", "b", "tcp/22", false, "plain", 4},
		{HEAD "acl:\n- {name: one, from: a, to: b, allow: any, priority: 7}\n"
		 "- {name: two, from: a, to: b, deny: any, priority: 7}", "a", "b", "tcp/22", true, "one", 3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct policy *policy = load(rows[i].policy);
		struct verdict verdict;

		decide(policy, rows[i].from, rows[i].to, rows[i].port, &verdict);
		if (verdict.allow != rows[i].allow || strcmp(verdict.rule, rows[i].rule) ||
		    verdict.line != rows[i].line)
			fail_msg("%s\n%s to %s %s: %s by \"%s\" line %u", rows[i].policy, rows[i].from,
				 rows[i].to, rows[i].port, verdict.allow ? "allow" : "deny",
				 verdict.rule, verdict.line);
		policy_free(policy);
	}
}

static void test_wrong_files(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"", "p.yaml:1:1: the key \"version\" is missing"},
		{"version: 2", "p.yaml:1:10: version: must be a whole number from 1 to 1"},
		{"version: [1", "p.yaml:2:1: not valid YAML: "},
		{HEAD "defualt: deny", "p.yaml:2:1: unknown key \"defualt\", did you mean \"default\"?"},
		{HEAD "acl: [{name: \"a\\e[31mb\", from: a, to: b, allow: any}]", "p.yaml:2:14: name: has a control character"},
		{HEAD "acl:\n- name: |\n    a\n  from: a\n  to: b\n  allow: any\n", "p.yaml:3:9: name: has a control character"},
		{HEAD "default: denny", "p.yaml:2:10: default: \"denny\" is not known, did you mean \"deny\"?"},
		{HEAD "acl: [{from: a, too: b, allow: any}]",
		 "p.yaml:2:17: unknown key \"too\", did you mean \"to\"?"},
		{HEAD "acl: [{from: a, allow: any}]", "p.yaml:2:7: the key \"to\" is missing"},
		{HEAD "acl: [{from: a, to: b}]", "p.yaml:2:8: the rule \"rule 1\" has neither allow nor deny"},
		{HEAD "acl: [{from: a, to: b, allow: any, deny: any}]",
		 "p.yaml:2:36: a rule has allow or deny, not both: make two of it"},
		{HEAD "acl: [{from: [], to: b, allow: any}]", "p.yaml:2:14: from: the list is empty"},
		{HEAD "acl: [{from: [7], to: b, allow: any}]", "p.yaml:2:15: from: must be text, put it in quotes"},
		{HEAD "acl: [{from: Laptop, to: b, allow: any}]", "p.yaml:2:14: \"Laptop\" is none of: "},
		{HEAD "acl: [{from: tags:web, to: b, allow: any}]",
		 "p.yaml:2:14: \"tags:web\" is not known, did you mean \"tag:web\"?"},
		{HEAD "acl: [{from: \"tag:We b\", to: b, allow: any}]", "p.yaml:2:14: \"tag:We b\": a name is"},
		{HEAD "acl: [{from: self, to: b, allow: any}]", "p.yaml:2:14: self can stand under to: only"},
		{HEAD "acl: [{from: exit, to: b, allow: any}]", "p.yaml:2:14: exit is a reserved word"},
		{HEAD "acl: [{from: 10.0.0.0/33, to: b, allow: any}]", "p.yaml:2:14: \"10.0.0.0/33\" is none of: "},
		{HEAD "groups: {admins: [a]}\nacl:\n- from: [b, group:admin]\n  to: any\n  allow: any",
		 "p.yaml:4:13: there is no group admin, did you mean \"group:admins\"?"},
		{HEAD "acl: [{from: group:x, to: b, allow: any}]",
		 "p.yaml:2:14: there is no group x: write it under groups first"},
		{HEAD "groups: {admins: [a]}\nacl: [{from: admins, to: b, allow: any}]",
		 "p.yaml:3:14: admins is a group, did you mean \"group:admins\"?"},
		{HEAD "groups: {a: [group:b], b: [group:c], c: [group:a]}", "p.yaml:2:42: the group a holds itself"},
		{HEAD "groups: {a: [any]}", "p.yaml:2:14: any cannot be in a group: write it in the rule"},
		{HEAD "groups: {any: [a]}", "p.yaml:2:10: any is a reserved word: choose another name"},
		{HEAD "groups: {A: [a]}", "p.yaml:2:10: the group \"A\": a name is"},
		{HEAD "groups: {a: 7}", "p.yaml:2:13: a: must be a list of words"},
		{HEAD "hosts: {nas: 192.168.1}", "p.yaml:2:14: nas: must be an address or CIDR"},
		{HEAD "hosts: {nas: [1.2.3.4]}", "p.yaml:2:14: nas: must be an address or CIDR"},
		{HEAD "tags: {web: [group:ops]}", "p.yaml:2:14: there is no group ops: write it under groups first"},
		{HEAD "acl: [{from: a, to: b, allow: [tpc/22]}]",
		 "p.yaml:2:32: \"tpc/22\" is not known, did you mean \"tcp/22\"?"},
		{HEAD "acl: [{from: a, to: b, allow: [tcp/99999]}]", "p.yaml:2:32: \"tcp/99999\" is not PROTOCOL/PORT"},
		{HEAD "acl: [{from: a, to: b, allow: [tcp/9-8]}]", "p.yaml:2:32: \"tcp/9-8\" is not PROTOCOL/PORT"},
		{HEAD "acl: [{from: a, to: b, allow: [icmp/8]}]", "p.yaml:2:32: \"icmp/8\" has no ports, write \"icmp\""},
		{HEAD "acl: [{from: a, to: b, allow: [any], priority: high}]",
		 "p.yaml:2:48: priority: must be a whole number from 0 to 65535"},
		{HEAD "routes: {auto_aprove: {}}", "p.yaml:2:10: unknown key \"auto_aprove\", did you mean \"auto_approve\"?"},
		{HEAD "routes: {auto_approve: {exits: [a]}}", "p.yaml:2:25: \"exits\" is neither a CIDR nor exit, did you mean \"exit\"?"},
		{HEAD "routes: {auto_approve: {exi: [a]}}", "p.yaml:2:25: \"exi\" is neither a CIDR nor exit, did you mean \"exit\"?"},
		{HEAD "routes: {auto_approve: {lan: [a]}}", "p.yaml:2:25: \"lan\" is neither a CIDR nor exit"},
		{HEAD "acl: [{from: a, to: b, allow: [tcp/0]}]", "p.yaml:2:32: \"tcp/0\" is not PROTOCOL/PORT or PROTOCOL/LOW-HIGH "
		 "with ports from 1 to 65535"},
		{HEAD "tests: [{from: a, to: b, port: udp/0, expect: allow}]", "p.yaml:2:32: \"udp/0\" is not one port"},
		{HEAD "acl: [{from: 10.0.0.1/8, to: any, allow: [any]}]",
		 "p.yaml:2:14: 10.0.0.1/8 has bits beyond its length: did you mean 10.0.0.0/8 or 10.0.0.1/32?"},
		{HEAD "hosts: {printer: 'fd00::1/64'}",
		 "p.yaml:2:18: fd00::1/64 has bits beyond its length: did you mean fd00::/64 or fd00::1/128?"},
		{HEAD "routes: {auto_approve: {192.168.1.1/16: [a]}}",
		 "p.yaml:2:25: 192.168.1.1/16 has bits beyond its length: did you mean 192.168.0.0/16 or 192.168.1.1/32?"},
		{HEAD "routes: {auto_approve: {0.0.0.0/0: [a]}}",
		 "p.yaml:2:25: \"0.0.0.0/0\" is every address, did you mean \"exit\"?"},
		{HEAD "tests: [{from: a, to: b, port: tcp, expect: allow}]", "p.yaml:2:32: \"tcp\" is not one port"},
		{HEAD "tests: [{from: a, to: tag:b, port: icmp, expect: allow}]",
		 "p.yaml:2:23: \"tag:b\" must be an agent's or device's name"},
		{HEAD "tests: [{from: a, to: b, port: icmp, expect: alow}]",
		 "p.yaml:2:46: expect: \"alow\" is not known, did you mean \"allow\"?"},
		{HEAD "acl: &x []", "p.yaml:2:6: anchors and aliases are not taken"},
		{HEAD "version: 1", "p.yaml:2:1: the key version is there twice"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char error[POLICY_ERROR] = "";
		struct policy *policy = policy_parse("p.yaml", rows[i].text, strlen(rows[i].text), error);

		if (policy)
			fail_msg("taken: %s", rows[i].text);
		if (strncmp(error, rows[i].error, strlen(rows[i].error)))
			fail_msg("%s\nsays   %s\nwanted %s", rows[i].text, error, rows[i].error);
	}
}

/* HEAD, `before`, so many times a number between `left` and `right`, `after`: it is taken, or refused at a place. */
static void check_bound(const char *before, const char *left, const char *right, unsigned count, const char *after,
			const char *wanted)
{
	char error[POLICY_ERROR] = "";
	struct buf text = {0};
	struct policy *policy;

	buf_addf(&text, HEAD "%s", before);
	for (unsigned i = 1; i <= count; i++)
		buf_addf(&text, "%s%u%s", left, i, right);
	buf_puts(&text, after);
	policy = policy_parse("p.yaml", buf_text(&text), text.len, error);
	if (!policy == !wanted || (wanted && strcmp(error, wanted)))
		fail_msg("%u of %s\nsays   %s\nwanted %s", count, left, error, wanted ? wanted : "none");
	policy_free(policy);
	buf_free(&text);
}

/* What a policy may have at most. */
static void test_bounds(void **state)
{
	static const char rule[] = "- {from: 'group:g', to: any, allow: any} #", more[] =
		": more than 50000 words in all lists, groups taken apart: give the agents of a large group a tag, and "
		"write that in place of it";
	struct buf group = {0};
	char wanted[300];

	(void)state;
	buf_puts(&group, "groups: {g: [a");
	for (unsigned i = 1; i < 500; i++) /* a rule with it has 503 */
		buf_addf(&group, ", a%u", i);
	buf_puts(&group, "]}\nacl:\n");
	check_bound(buf_text(&group), rule, "\n", 98, "", NULL);
	snprintf(wanted, sizeof(wanted), "p.yaml:102:10%s", more);
	check_bound(buf_text(&group), rule, "\n", 99, "", wanted);
	buf_free(&group);
	check_bound("acl: [{to: b, allow: any, from: [\n", "a", ",\n", 4095, "b]}]", NULL);
	check_bound("acl: [{to: b, allow: any, from: [\n", "a", ",\n", 4096, "b]}]",
		    "p.yaml:4099:1: from: more than 4096 words in one list");
	check_bound("groups: {g: [b, c]}\nacl: [{to: b, allow: any, from: [\n", "a", ",\n", 4095, "'group:g']}]",
		    "p.yaml:4099:1: more than 4096 words in one list, groups taken apart: give these agents a tag, and "
		    "write that");
	check_bound("acl: [{to: b, from: b, allow: [\n", "tcp/", ",\n", 4096, "icmp]}]",
		    "p.yaml:4099:1: allow: more than 4096 words in one list");
	check_bound("acl:\n", "- {to: b, from: b, allow: [tcp,udp,icmp,tcp,udp]} #", "\n", 2000, "", NULL);
	check_bound("acl:\n", "- {to: b, from: b, allow: [tcp,udp,icmp,tcp,udp,icmp]} #", "\n", 1667, "",
		    "p.yaml:1669:45: more than 10000 ports in all rules: write ranges");
	check_bound("tags: {t: [\n", "u", ",\n", 4096, "b]}", "p.yaml:4099:1: t: more than 4096 words in one list");
	check_bound("routes: {auto_approve: {\n", "'fd00:", "::/32': a,\n", 2000, "}}", NULL);
	check_bound("routes: {auto_approve: {\n", "'fd00:", "::/32': a,\n", 2001, "}}",
		    "p.yaml:2003:1: more than 2000 approvals of routes: write wider CIDRs");
}

static void test_sections(void **state)
{
	struct policy *policy = load(HEAD
		"groups: {admins: [laptop]}\nhosts: {printer: 192.168.1.40}\n"
		"tags: {server: [admin, group:admins, alice]}\n"
		"routes: {auto_approve: {192.168.0.0/16: [tag:router], exit: [tag:exit, gate]}}\n"
		"tests:\n- {from: web-1, to: 10.0.0.1, port: tcp/5432, expect: allow}\n"
		"- {from: a, to: printer, network: lab, port: icmp, expect: deny}\n");
	static const struct {
		const char *who, *route;
		bool approved;
	} rows[] = {
		{"r#router", "192.168.4.0/24", true}, {"r#router", "192.168.0.0/16", true},
		{"r#router", "192.0.0.0/8", false},   {"r#router", "0.0.0.0/0", false},
		{"r#exit", "0.0.0.0/0", true},        {"gate", "::/0", true},
		{"gate", "192.168.4.0/24", false},    {"r", "192.168.4.0/24", false},
		{"r#exit", "128.0.0.0/1", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[100];
		struct party who;
		struct prefix route;
		json_t *tags = party(&who, text, sizeof(text), rows[i].who);

		assert_true(prefix_parse(&route, rows[i].route));
		if (policy_approves(policy, &who, &route) != rows[i].approved)
			fail_msg("%s %s", rows[i].who, rows[i].route);
		json_decref(tags);
	}
	assert_true(policy_names(policy, "laptop"));
	assert_true(policy_names(policy, "gate"));
	assert_false(policy_names(policy, "web-1"));
	assert_non_null(policy_host(policy, "printer"));
	assert_string_equal(policy_tag(policy, "server")->owners[1], "group:admins");
	assert_null(policy_tag(policy, "web"));
	assert_int_equal(policy->test_count, 2);
	assert_int_equal(policy->tests[0].line, 7);
	assert_string_equal(policy->tests[1].network, "lab");
	assert_int_equal(policy->tests[1].point, POINT_ICMP);
	policy_free(policy);
}

static void test_sample(void **state)
{
	char error[POLICY_ERROR];
	struct buf text = {0};
	struct policy *policy;
	struct verdict verdict;

	(void)state;
	if (file_read("etc/samples/policy.yaml", 1 << 20, &text))
		fail_msg("run me from the root of the repository");
	policy = policy_parse("policy.yaml", buf_text(&text), text.len, error);
	if (!policy)
		fail_msg("%s", error);
	decide(policy, "g#guest", "=192.168.1.40", "tcp/631", &verdict);
	assert_false(verdict.allow);
	assert_string_equal(verdict.rule, "no printers from guests");
	decide(policy, "p", "=192.168.1.40", "tcp/631", &verdict);
	assert_true(verdict.allow);
	policy_free(policy);
	buf_free(&text);
}

/* Against a plain array of bits. */
static void test_ports(void **state)
{
	enum { SPAN = 40 };

	(void)state;
	srandom(7);
	for (int round = 0; round < 2000; round++) {
		struct ports sets[2] = {{0}}, both, merged, less;
		bool bits[2][SPAN] = {{false}};

		for (int s = 0; s < 2; s++)
			for (long n = random() % 6; n > 0; n--) {
				uint32_t low = (uint32_t)random() % SPAN;
				uint32_t more = (uint32_t)random() % 8, high = MIN(low + more, SPAN - 1u);

				ports_add(&sets[s], low, high);
				memset(bits[s] + low, true, high - low + 1);
			}
		ports_intersect(&both, &sets[0], &sets[1]);
		merged = less = (struct ports){0};
		ports_union(&merged, &sets[0]);
		ports_union(&merged, &sets[1]);
		ports_union(&less, &sets[0]);
		ports_subtract(&less, &sets[1]);
		for (uint32_t i = 0; i < SPAN; i++) {
			assert_int_equal(ports_has(&sets[0], i), bits[0][i]);
			assert_int_equal(ports_has(&both, i), bits[0][i] && bits[1][i]);
			assert_int_equal(ports_has(&merged, i), bits[0][i] || bits[1][i]);
			assert_int_equal(ports_has(&less, i), bits[0][i] && !bits[1][i]);
		}
		ports_union(&less, &both); /* what was taken away, given back */
		assert_true(ports_equal(&less, &sets[0]));
		ports_free(&sets[0]);
		ports_free(&sets[1]);
		ports_free(&both);
		ports_free(&merged);
		ports_free(&less);
	}
}

static void test_port_words(void **state)
{
	static const struct {
		const char *words, *text;
	} rows[] = {
		{"any", "any"},
		{"tcp", "tcp"},
		{"tcp/22 tcp/80", "tcp/22, tcp/80"},
		{"tcp/22 tcp/23-25", "tcp/22-25"},
		{"udp/53 icmp tcp/65535 udp/1", "tcp/65535, udp/1, udp/53, icmp"},
		{"tcp/0-1023", "tcp/0-1023"},
		{"tcp udp icmp", "tcp, udp, icmp"},
		{"", "nothing"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char copy[100], *rest = copy, *word, why[100], text[PORTS_TEXT];
		struct ports ports = {0};

		snprintf(copy, sizeof(copy), "%s", rows[i].words);
		while ((word = strsep(&rest, " "))) {
			struct port_range range;

			if (!*word)
				continue;
			assert_true(ports_parse_range(word, &range, why, sizeof(why)));
			ports_add(&ports, range.low, range.high);
		}
		ports_format(text, &ports);
		assert_string_equal(text, rows[i].text);
		ports_free(&ports);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide),	    cmocka_unit_test(test_wrong_files),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_sections),    cmocka_unit_test(test_sample),
		cmocka_unit_test(test_ports),	    cmocka_unit_test(test_port_words),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
