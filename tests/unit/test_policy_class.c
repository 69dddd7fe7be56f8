/*
 * A property: for random policies, networks and packets, what policy_decide says of a packet is what a
 * plain walk through the rules says, and what
 * the rules compiled for the receiver say, after a journey as JSON; and whoever may send anything to
 * anyone is seen. Beside it: what the rules look like, ids that stay, and how the work grows.
 */
#include "coordinator/policy/policy_class.h"
#include "lib/clock.h"
#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MEMBERS 9
#define AGENTS  7 /* of them; the others are devices */

static uint64_t seed;

static unsigned below(unsigned limit) /* xorshift: the same on every machine */
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % limit;
}

#define PICK(words) (words)[below(ARRAY_SIZE(words))]

static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
static const char *const tags[] = {"t1", "t2", "t3"};
static const char *const prefixes[] = {
	"10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/29", "10.1.0.2", "10.1.0.64/26", "192.168.0.0/16",
	"192.168.1.0/24", "192.168.1.40", "192.168.2.0/23", "172.16.0.0/12", "0.0.0.0/0", "8.8.8.8",
	"fd00::/8", "fd00:1::/64", "fd00:1::2", "fd00:1::/125", "fd77::/48", "fd77::40", "::/0",
	"2001:db8::/32",
};
static const char *const routes[] = {
	"192.168.1.0/24", "192.168.0.0/16", "192.168.1.40/32", "10.0.0.0/8", "0.0.0.0/0", "::/0",
	"fd77::/48", "172.16.5.0/24", "10.1.0.0/24", "2001:db8:7::/48",
};
static const char *const addresses[] = { /* behind somebody */
	"192.168.1.40", "192.168.1.41", "192.168.2.1", "192.168.77.1", "10.9.9.9", "8.8.8.8", "8.8.4.4",
	"172.16.5.5", "172.31.0.1", "fd77::40", "fd77::41", "2001:db8:7::1", "2001:db8:8::1", "fd99::1",
};
static const char *const ports[] = {
	"any", "any", "tcp/22", "tcp/80", "tcp", "udp", "udp/53", "icmp", "tcp/20-30", "tcp/8000-8100",
};

static void random_selector(struct buf *out, bool grouped, bool self)
{
	switch (below(grouped ? 9 : 7)) {
	case 0:
	case 1:
		buf_addf(out, "%s", PICK(names));
		break;
	case 2:
	case 3:
		buf_addf(out, "\"tag:%s\"", PICK(tags));
		break;
	case 4:
	case 5:
		buf_addf(out, "\"%s\"", PICK(prefixes));
		break;
	case 6:
		buf_addf(out, "%s", below(2) ? "\"network:mesh\"" : "\"network:other\"");
		break;
	case 7:
		buf_addf(out, "\"group:g%u\"", below(3));
		break;
	default:
		buf_addf(out, "%s", self && below(3) == 0 ? "self" : "any");
	}
}

static void random_list(struct buf *out, bool grouped, bool self)
{
	unsigned count = 1 + below(3);

	buf_puts(out, "[");
	for (unsigned i = 0; i < count; i++) {
		buf_puts(out, i ? ", " : "");
		random_selector(out, grouped, self);
	}
	buf_puts(out, "]");
}

static void random_policy(struct buf *out)
{
	unsigned rules = below(9);

	buf_addf(out, "version: 1\ndefault: %s\ngroups:\n", below(4) ? "deny" : "allow");
	for (unsigned i = 0; i < 3; i++) {
		buf_addf(out, "  g%u: ", i);
		random_list(out, false, false);
		buf_puts(out, "\n");
	}
	buf_puts(out, rules ? "acl:\n" : "");
	for (unsigned i = 0; i < rules; i++) {
		buf_puts(out, "- {from: ");
		random_list(out, true, false);
		buf_puts(out, ", to: ");
		random_list(out, true, true);
		buf_addf(out, ", %s: [%s, %s]", below(3) ? "allow" : "deny", PICK(ports), PICK(ports));
		if (below(3) == 0)
			buf_addf(out, ", priority: %u", 99 + below(3));
		buf_puts(out, "}\n");
	}
}

struct world {
	struct policy *policy;
	struct policy_index *index;
	struct classes *classes;
	struct prefix ranges[2];
	struct {
		struct policy_who who;
		struct prefix routes[3];
		struct class *class;
		struct proto_rule *rules;
		unsigned rule_count;
	} members[MEMBERS];
};

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_true(prefix_parse(&prefix, text));
	return prefix_mask(&prefix);
}

static void random_member(struct world *world, unsigned i, bool with6)
{
	struct policy_who *who = &world->members[i].who;
	json_t *given = i < AGENTS ? json_array() : NULL;
	char text[40];
	bool made;

	for (unsigned n = given ? below(3) : 0; n > 0; n--)
		json_array_append_new(given, json_string(PICK(tags)));
	who->name = names[i];
	who->tags = given;
	snprintf(text, sizeof(text), "10.1.0.%u", i + 1 + 64 * below(2));
	assert_true(addr_parse(&who->addresses[0], text));
	snprintf(text, sizeof(text), "fd00:1::%u", i + 1);
	if (with6)
		assert_true(addr_parse(&who->addresses[1], text));
	if (given && below(2))
		for (who->route_count = 0; who->route_count < 1 + below(3) && who->route_count < 3;)
			world->members[i].routes[who->route_count++] = prefix_of(PICK(routes));
	who->routes = world->members[i].routes;
	world->members[i].class = classes_find(world->classes, who, &made);
}

/* Rules go out as JSON and come back. */
static void compile(struct world *world, unsigned i)
{
	json_t *list = class_rules_json(world->classes, world->members[i].class), *item;
	struct js js;
	size_t k;

	world->members[i].rules = xcalloc(json_array_size(list) + 1, sizeof(struct proto_rule));
	json_array_foreach(list, k, item) {
		js_read(&js, item);
		if (!proto_read_rule(&js, &world->members[i].rules[world->members[i].rule_count++]))
			fail_msg("%s", js.error);
	}
	json_decref(list);
}

static void make_world(struct world *world)
{
	struct buf text = {0};
	char error[POLICY_ERROR];
	bool with6 = below(4);

	*world = (struct world){0};
	random_policy(&text);
	world->policy = policy_parse("p", buf_text(&text), text.len, error);
	if (!world->policy)
		fail_msg("%s\n%s", error, buf_text(&text));
	buf_free(&text);
	world->ranges[0] = prefix_of("10.1.0.0/16");
	if (with6)
		world->ranges[1] = prefix_of("fd00:1::/64");
	world->index = policy_index_new(world->policy);
	world->classes = classes_new(world->index, "mesh", &world->ranges[0], &world->ranges[1], NULL);
	for (unsigned i = 0; i < MEMBERS; i++)
		random_member(world, i, with6);
	for (unsigned i = 0; i < MEMBERS; i++)
		compile(world, i);
}

static void free_world(struct world *world)
{
	for (unsigned i = 0; i < MEMBERS; i++) {
		json_decref((json_t *)world->members[i].who.tags);
		for (unsigned k = 0; k < world->members[i].rule_count; k++)
			proto_rule_fini(&world->members[i].rules[k]);
		free(world->members[i].rules);
	}
	classes_free(world->classes);
	policy_index_free(world->index);
	policy_free(world->policy);
}

static bool in_range(const struct world *world, const struct addr *addr)
{
	return prefix_contains(&world->ranges[0], addr) || prefix_contains(&world->ranges[1], addr);
}

static bool covered(const struct prefix *all, unsigned count, const struct addr *addr)
{
	for (unsigned i = 0; i < count; i++)
		if (prefix_contains(&all[i], addr))
			return true;
	return false;
}

/* An end of a packet at this member: its own address, or one that it routes to. False: there is none. */
static bool random_end(const struct world *world, unsigned i, struct party *out, bool *own)
{
	const struct policy_who *who = &world->members[i].who;

	*out = (struct party){0};
	*own = below(2);
	if (*own) {
		out->addr = who->addresses[below(2)];
		out->name = who->name;
		out->network = "mesh";
		out->tags = who->tags;
		return out->addr.family;
	}
	assert_true(addr_parse(&out->addr, PICK(addresses)));
	return covered(who->routes, who->route_count, &out->addr) && !in_range(world, &out->addr);
}

static bool ports_fit(const struct proto_rule *rule, uint32_t point)
{
	enum proto_protocol protocol = point < POINT_UDP      ? PROTO_TCP
				       : point < POINT_ICMP   ? PROTO_UDP
				       : point == POINT_ICMP  ? PROTO_ICMP
							      : PROTO_OTHER;

	if (rule->protocol == PROTO_ANY)
		return true;
	if (rule->protocol != protocol)
		return false;
	for (unsigned i = 0; i < rule->port_count; i++)
		if ((point & 0xffff) >= rule->ports[i].low && (point & 0xffff) <= rule->ports[i].high)
			return true;
	return !rule->port_count;
}

/* What a firewall makes of the rules: proto.h says how. `class` 0: the source is behind a peer. */
static bool accepts(const struct proto_rule *rules, unsigned count, uint32_t class,
		    const struct addr *from, bool to_own, const struct addr *to, uint32_t point)
{
	for (unsigned i = 0; i < count; i++) {
		const struct proto_rule *rule = &rules[i];
		bool source = covered(rule->sources, rule->source_count, from), target = rule->own;

		if (class) {
			source = false;
			for (unsigned k = 0; k < rule->class_count; k++)
				source |= rule->classes[k] == class;
		}
		if (!to_own)
			target = covered(rule->targets, rule->target_count, to);
		if (source && target && (!rule->family || rule->family == to->family) &&
		    ports_fit(rule, point))
			return true;
	}
	return false;
}

static const uint32_t points[] = {
	POINT_TCP + 22, POINT_TCP + 80, POINT_TCP + 25, POINT_TCP + 8050, POINT_TCP + 31, POINT_TCP,
	POINT_UDP + 53, POINT_UDP + 65535, POINT_ICMP, POINT_OTHER,
};

static bool has_self(const struct selectors *selectors)
{
	for (unsigned i = 0; i < selectors->count; i++)
		if (selectors->items[i].kind == SELECT_SELF)
			return true;
	return false;
}

/* The line of the first rule that fits, as SPEC 4 says it; 0: none does. */
static unsigned walk(const struct policy *policy, const struct party *from, const struct party *to, uint32_t point)
{
	bool same = from->name && to->name && !strcmp(from->name, to->name);

	for (unsigned i = 0; i < policy->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (ports_has(&rule->ports, point) && selectors_fit(&rule->from, from) &&
		    (selectors_fit(&rule->to, to) || (same && has_self(&rule->to))))
			return rule->line;
	}
	return 0;
}

static unsigned packets(const struct world *world, unsigned tries)
{
	unsigned judged = 0;

	while (tries--) {
		unsigned a = below(MEMBERS), b = below(MEMBERS);
		bool from_own, to_own, accepted;
		struct party from, to;
		uint32_t point = PICK(points);
		struct verdict verdict;

		if (!random_end(world, a, &from, &from_own) || !random_end(world, b, &to, &to_own))
			continue;
		policy_decide(world->index, &from, &to, point, &verdict);
		if (verdict.line != walk(world->policy, &from, &to, point))
			fail_msg("%s\n%s to %s: %s, line %u, and not %u", world->policy->text, names[a], names[b],
				 verdict.rule, verdict.line, walk(world->policy, &from, &to, point));
		if (a == b || from.addr.family != to.addr.family)
			continue;
		accepted = accepts(world->members[b].rules, world->members[b].rule_count,
				   from_own ? world->members[a].class->id : 0, &from.addr, to_own,
				   &to.addr, point);
		if (accepted != verdict.allow) {
			char x[ADDR_TEXT], y[ADDR_TEXT], p[POINT_TEXT];

			addr_format(x, &from.addr);
			addr_format(y, &to.addr);
			ports_format_point(p, point);
			fail_msg("%s\n%s (%s) to %s (%s) %s: decided %d by %s, compiled %d",
				 world->policy->text, names[a], x, names[b], y, p, verdict.allow,
				 verdict.rule, accepted);
		}
		if (verdict.allow && (!class_sees(world->members[a].class, world->members[b].class) ||
				      !class_sees(world->members[b].class, world->members[a].class)))
			fail_msg("%s\n%s does not see %s", world->policy->text, names[a], names[b]);
		judged++;
	}
	return judged;
}

static bool has_class(const struct world *world, unsigned at, unsigned other)
{
	for (unsigned i = 0; i < world->members[at].rule_count; i++) {
		const struct proto_rule *rule = &world->members[at].rules[i];

		if (rule->source_count && world->members[other].who.route_count)
			return true;
		for (unsigned k = 0; k < rule->class_count; k++)
			if (rule->classes[k] == world->members[other].class->id)
				return true;
	}
	return false;
}

/* Nobody is seen for nothing. */
static void reasons(const struct world *world)
{
	for (unsigned a = 0; a < MEMBERS; a++)
		for (unsigned b = 0; b < MEMBERS; b++)
			if (class_sees(world->members[a].class, world->members[b].class) &&
			    !has_class(world, a, b) && !has_class(world, b, a))
				fail_msg("%s\n%s sees %s, and neither accepts anything of the other",
					 world->policy->text, names[a], names[b]);
}

static void test_property(void **state)
{
	unsigned judged = 0;

	(void)state;
	seed = 0x9e3779b97f4a7c15;
	for (unsigned round = 0; round < 3000; round++) {
		struct world world;

		make_world(&world);
		judged += packets(&world, 80);
		reasons(&world);
		free_world(&world);
	}
	if (judged < 10000)
		fail_msg("only %u packets", judged);
}

/* ---- single ones ---------------------------------------------------------------------------- */

struct fixed {
	struct policy *policy;
	struct policy_index *index;
	struct classes *classes;
	struct prefix ranges[2];
};

static void fix(struct fixed *fixed, const char *text, const struct classes *before)
{
	char error[POLICY_ERROR];

	fixed->policy = policy_parse("p", text, strlen(text), error);
	if (!fixed->policy)
		fail_msg("%s", error);
	fixed->index = policy_index_new(fixed->policy);
	fixed->ranges[0] = prefix_of("10.1.0.0/16");
	fixed->ranges[1] = (struct prefix){0};
	fixed->classes = classes_new(fixed->index, "mesh", &fixed->ranges[0], NULL, before);
}

static void unfix(struct fixed *fixed)
{
	classes_free(fixed->classes);
	policy_index_free(fixed->index);
	policy_free(fixed->policy);
}

static struct class *member(struct fixed *fixed, const char *name, const char *tag, const char *route,
			    unsigned number)
{
	struct prefix prefix = {0};
	struct policy_who who = {.name = name, .routes = &prefix, .route_count = route != NULL};
	json_t *list = json_array();
	char text[20];
	struct class *class;
	bool made;

	if (tag)
		json_array_append_new(list, json_string(tag));
	who.tags = list;
	if (route)
		prefix = prefix_of(route);
	snprintf(text, sizeof(text), "10.1.%u.%u", number / 256, number % 256);
	assert_true(addr_parse(&who.addresses[0], text));
	class = classes_find(fixed->classes, &who, &made);
	json_decref(list);
	return class;
}

static void test_rules(void **state)
{
	static const struct {
		const char *policy, *rules; /* of b, which has tag db; a is 1, web is 2, b is 3, r is 4 */
	} rows[] = {
		{"version: 1", "[]"},
		{"version: 1\ndefault: allow",
		 "[{\"classes\":[1],\"sources\":[],\"own\":true,\"targets\":[],\"protocol\":\"any\","
		 "\"ports\":[],\"family\":4},{\"classes\":[],\"sources\":[\"0.0.0.0/0\"],\"own\":true,"
		 "\"targets\":[],\"protocol\":\"any\",\"ports\":[],\"family\":4}]"},
		{"version: 1\nacl: [{from: tag:web, to: tag:db, allow: [tcp/5432, tcp/80-90, icmp]}]",
		 "[{\"classes\":[2],\"sources\":[],\"own\":true,\"targets\":[],\"protocol\":\"tcp\","
		 "\"ports\":[\"80-90\",\"5432\"],\"family\":4},{\"classes\":[2],\"sources\":[],"
		 "\"own\":true,\"targets\":[],\"protocol\":\"icmp\",\"ports\":[],\"family\":4}]"},
		{"version: 1\nacl:\n- {from: tag:web, to: tag:db, deny: tcp/22}\n"
		 "- {from: [tag:web, 192.168.1.0/24], to: tag:db, allow: tcp}\n"
		 "- {from: 192.168.1.128/25, to: any, deny: any, priority: 1}",
		 "[{\"classes\":[2],\"sources\":[],\"own\":true,\"targets\":[],\"protocol\":\"tcp\","
		 "\"ports\":[\"0-21\",\"23-65535\"],\"family\":4},{\"classes\":[],\"sources\":"
		 "[\"192.168.1.0/25\"],\"own\":true,\"targets\":[],\"protocol\":\"tcp\",\"ports\":[],"
		 "\"family\":4}]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixed fixed;
		struct class *class;
		json_t *json;
		char *text;

		fix(&fixed, rows[i].policy, NULL);
		member(&fixed, "a", NULL, NULL, 1);
		member(&fixed, "w", "web", NULL, 2);
		class = member(&fixed, "b", "db", NULL, 3);
		json = class_rules_json(fixed.classes, class);
		text = js_dump(json);
		if (strcmp(text, rows[i].rules))
			fail_msg("%s\n%s\n%s", rows[i].policy, text, rows[i].rules);
		free(text);
		json_decref(json);
		unfix(&fixed);
	}
}

/* Who may reach only what is behind a router sees the router; an address within the mesh is no route. */
static void test_behind(void **state)
{
	struct fixed fixed;
	struct class *a, *r, *x, *e;

	(void)state;
	fix(&fixed, "version: 1\nacl:\n- {from: a, to: 192.168.1.40, allow: tcp/631}\n"
		    "- {from: a, to: 10.1.9.9, allow: any}", NULL);
	a = member(&fixed, "a", NULL, NULL, 1);
	r = member(&fixed, "r", NULL, "192.168.0.0/16", 2);
	x = member(&fixed, "x", NULL, "172.16.0.0/12", 3);
	e = member(&fixed, "e", NULL, "10.0.0.0/8", 4);
	assert_true(class_sees(a, r) && class_sees(r, a));
	assert_false(class_sees(a, x) || class_sees(x, a));
	assert_false(class_sees(a, e) || class_sees(e, a));
	unfix(&fixed);
}

static void test_ids_stay(void **state)
{
	struct fixed before, after;
	struct class *a, *w;

	(void)state;
	fix(&before, "version: 1\nacl: [{from: tag:web, to: any, allow: any}]", NULL);
	a = member(&before, "a", NULL, NULL, 1);
	w = member(&before, "w", "web", NULL, 2);
	assert_ptr_equal(member(&before, "w2", "web", NULL, 3), w);
	assert_int_not_equal(a->id, w->id);
	fix(&after, "version: 1\nacl: [{from: [tag:web, b], to: any, deny: any}]", before.classes);
	assert_int_equal(member(&after, "w", "web", NULL, 2)->id, w->id);
	assert_int_equal(member(&after, "a", NULL, NULL, 1)->id, a->id);
	assert_int_equal(member(&after, "b", NULL, NULL, 3)->id, 3);
	after.classes->before = NULL;
	unfix(&before);
	unfix(&after);
}

/* As many classes as the policy can tell apart, whatever the number of agents. */
static void test_growth(void **state)
{
	static const char *const given[] = {"web", "db", "ops", "guest", "other"};
	struct fixed fixed;

	(void)state;
	fix(&fixed, "version: 1\nacl:\n- {from: tag:ops, to: any, allow: any}\n"
		    "- {from: tag:web, to: tag:db, allow: tcp/5432}\n"
		    "- {from: tag:guest, to: 10.1.0.0/24, deny: any}", NULL);
	for (unsigned i = 1; i < 10000; i++) {
		char name[20];

		snprintf(name, sizeof(name), "agent-%u", i);
		member(&fixed, name, given[i % ARRAY_SIZE(given)], NULL, i);
	}
	assert_int_equal(fixed.classes->count, 2 * ARRAY_SIZE(given));
	unfix(&fixed);
}

/* An exit reaches every CIDR of the policy: two of them are compared by kinds, not by all with all. */
static void test_exits(void **state)
{
	struct class *one, *other;
	struct ports accepted;
	struct buf text = {0};
	struct fixed fixed;

	(void)state;
	buf_puts(&text, "version: 1\ndefault: deny\nacl:\n- {from: tag:a, to: [10.1.0.9");
	for (unsigned i = 0; i < 3000; i++)
		buf_addf(&text, ", 192.168.%u.%u", i / 100, 2 * (i % 100));
	buf_puts(&text, "], allow: tcp/1}\n");
	fix(&fixed, buf_text(&text), NULL);
	one = member(&fixed, "one", "a", "0.0.0.0/0", 1);
	other = member(&fixed, "other", "b", "0.0.0.0/0", 2);
	assert_true(one->point_count > 3000 && other->point_count > 3000);
	assert_in_range(one->kind_count, 2, 4);
	assert_in_range(other->kind_count, 2, 4);
	assert_int_equal(one->own_count, 1);
	assert_true(class_sees(one, other)); /* it may reach what is behind */
	assert_false(class_sees(other, member(&fixed, "third", "b", NULL, 3)));
	class_accepts(fixed.classes, one, other, &accepted);
	assert_int_equal(accepted.count, 0);
	ports_free(&accepted);
	unfix(&fixed);
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_property),  cmocka_unit_test(test_rules),
		cmocka_unit_test(test_behind),	  cmocka_unit_test(test_ids_stay),
		cmocka_unit_test(test_growth),	  cmocka_unit_test(test_exits),
	};

	return cmocka_run_group_tests_name("policy classes", tests, NULL, NULL);
}
