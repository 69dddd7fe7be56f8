/*
 * policy_parse.c - YAML to a policy: the schema first, then every word in its place. The first thing
 * that is wrong ends it, with file:line:column and, where there is one, the word that was meant.
 */
#include "policy_private.h"
#include "lib/schema.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RULES 2000
#define MAX_TESTS 1000 /* all are run at once, whenever the policy is looked at */

static const char *const verdict_words[] = {"deny", "allow", NULL};

static const struct schema_field rule_fields[] = {
	{.name = "name", .type = SCHEMA_STRING},
	{.name = "from", .type = SCHEMA_STRING, .flags = SCHEMA_LIST | SCHEMA_REQUIRED},
	{.name = "to", .type = SCHEMA_STRING, .flags = SCHEMA_LIST | SCHEMA_REQUIRED},
	{.name = "allow", .type = SCHEMA_STRING, .flags = SCHEMA_LIST},
	{.name = "deny", .type = SCHEMA_STRING, .flags = SCHEMA_LIST},
	{.name = "priority", .type = SCHEMA_INT, .min = 0, .max = 65535},
	{0},
};
static const struct schema_field route_fields[] = {
	{.name = "auto_approve", .type = SCHEMA_OBJECT, .flags = SCHEMA_OPEN | SCHEMA_NULLABLE},
	{0},
};
static const struct schema_field test_fields[] = {
	{.name = "from", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED},
	{.name = "to", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED},
	{.name = "port", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED},
	{.name = "expect", .type = SCHEMA_WORD, .flags = SCHEMA_REQUIRED, .words = verdict_words},
	{.name = "network", .type = SCHEMA_STRING},
	{0},
};
static const struct schema_field policy_fields[] = {
	{.name = "version", .type = SCHEMA_INT, .flags = SCHEMA_REQUIRED, .min = 1, .max = 1},
	{.name = "default", .type = SCHEMA_WORD, .words = verdict_words},
	{.name = "groups", .type = SCHEMA_OBJECT, .flags = SCHEMA_OPEN | SCHEMA_NULLABLE},
	{.name = "hosts", .type = SCHEMA_OBJECT, .flags = SCHEMA_OPEN | SCHEMA_NULLABLE},
	{.name = "tags", .type = SCHEMA_OBJECT, .flags = SCHEMA_OPEN | SCHEMA_NULLABLE},
	{.name = "acl", .type = SCHEMA_OBJECT, .flags = SCHEMA_LIST | SCHEMA_NULLABLE, .fields = rule_fields},
	{.name = "routes", .type = SCHEMA_OBJECT, .flags = SCHEMA_NULLABLE, .fields = route_fields},
	{.name = "tests", .type = SCHEMA_OBJECT, .flags = SCHEMA_LIST | SCHEMA_NULLABLE,
	 .fields = test_fields},
	{0},
};

/* ---- sections -------------------------------------------------------------------------- */

/* The keys of a section as names; what they stand for comes later, for groups may be in any order. */
static bool take_names(struct parse *p, const char *section, const char *what,
		       struct policy_named **out, unsigned *count, struct map *names)
{
	json_t *object = json_object_get(yaml_root(p->yaml), section), *value;
	const char *key;

	*out = xcalloc(json_object_size(object), sizeof(**out));
	json_object_foreach(object, key, value) {
		struct spot spot = {object, key, 0};

		if (*count == MAX_NAMED)
			return policy_fail(p, &spot, true, "more than %d %ss", MAX_NAMED, what);
		if (!name_valid(key))
			return policy_fail(p, &spot, true, "the %s \"%.60s\": a name is 1 to 63 characters of a-z, "
				    "0-9 and '-'", what, key);
		if (policy_reserved(key))
			return policy_fail(p, &spot, true, "%s is a reserved word: choose another name", key);
		yaml_where_key(p->yaml, object, key, &(*out)[*count].at.line, &(*out)[*count].at.column);
		str_copy((*out)[*count].word, POLICY_WORD, key);
		if (names)
			map_put(names, key, &(*out)[*count]);
		(*count)++;
	}
	return true;
}

static bool take_hosts(struct parse *p)
{
	const json_t *object = json_object_get(yaml_root(p->yaml), "hosts");

	for (unsigned i = 0; i < p->policy->host_count; i++) {
		struct policy_named *host = &p->policy->hosts[i];
		const json_t *value = json_object_get(object, host->word);
		struct spot spot = {object, host->word, 0};

		if (!json_is_string(value) || !prefix_parse(&host->prefix, json_string_value(value)))
			return policy_fail(p, &spot, false, "%s: must be an address or CIDR such as 192.168.1.40",
				    host->word);
		if (!policy_whole_prefix(p, &spot, false, &host->prefix))
			return false;
	}
	return true;
}

static bool take_groups(struct parse *p)
{
	for (unsigned i = 0; i < p->policy->group_count; i++) {
		struct spot spot = {p->groups, p->policy->groups[i].word, 0};

		if (!policy_take_group(p, &spot, p->policy->groups[i].word))
			return false;
	}
	return true;
}

static bool add_owner(struct parse *p, const struct spot *spot, const char *word, void *arg)
{
	struct policy_named *tag = arg;

	if (str_has_prefix(word, "group:")) {
		if (!policy_take_group(p, spot, word + 6))
			return false;
	} else if (!*word || strlen(word) >= POLICY_WORD ||
		   strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789.-_@") != strlen(word)) {
		return policy_fail(p, spot, false, "\"%.60s\" is no user, role or group: a name is 1 to 63 "
			    "characters of a-z, 0-9, '-', and in users' also '.', '_' and '@'", word);
	}
	tag->owners = xrealloc(tag->owners, (tag->owner_count + 2) * sizeof(*tag->owners));
	tag->owners[tag->owner_count++] = xstrdup(word);
	tag->owners[tag->owner_count] = NULL;
	return true;
}

static bool take_tags(struct parse *p)
{
	const json_t *object = json_object_get(yaml_root(p->yaml), "tags");

	for (unsigned i = 0; i < p->policy->tag_count; i++)
		if (!policy_each_word(p, object, p->policy->tags[i].word, add_owner, &p->policy->tags[i]))
			return false;
	return true;
}

static bool add_ports(struct parse *p, const struct spot *spot, const char *word, void *arg)
{
	struct port_range range;
	char why[120];

	if (!ports_parse_range(word, &range, why, sizeof(why)))
		return policy_fail(p, spot, false, "\"%.40s\" %s", word, why);
	if (p->ports++ == MAX_PORTS)
		return policy_fail(p, spot, false, "more than %d ports in all rules: write ranges", MAX_PORTS);
	ports_append(arg, range.low, range.high);
	return true;
}

/* Item `i` of a section that may be a list or, with one in it, just that. */
static json_t *item_of(const json_t *section, size_t i)
{
	return json_is_array(section) ? json_array_get(section, i) : (json_t *)section;
}

static size_t items_of(const json_t *section)
{
	return json_is_array(section) ? json_array_size(section) : json_is_object(section);
}

static struct policy_spot where(struct parse *p, const char *section, size_t i)
{
	const json_t *root = yaml_root(p->yaml), *list = json_object_get(root, section);
	struct policy_spot at = {0};

	if (json_is_array(list))
		yaml_where_value(p->yaml, list, NULL, i, &at.line, &at.column);
	else
		yaml_where_value(p->yaml, root, section, 0, &at.line, &at.column);
	return at;
}

static bool take_rule(struct parse *p, const json_t *object, size_t i)
{
	struct policy_rule *rule = &p->policy->rules[p->policy->rule_count++];
	const json_t *allow = json_object_get(object, "allow"), *deny = json_object_get(object, "deny");
	const json_t *priority = json_object_get(object, "priority");
	const char *name = json_string_value(json_object_get(object, "name"));
	struct spot spot = {object, "deny", 0};

	rule->name = name ? xstrdup(name) : xasprintf("rule %zu", i + 1);
	rule->order = (unsigned)i;
	rule->line = where(p, "acl", i).line;
	rule->priority = priority ? (unsigned)json_integer_value(priority) : POLICY_PRIORITY;
	rule->allow = allow != NULL;
	if (name && str_has_control(name))
		return policy_fail(p, &(struct spot){object, "name", 0}, false, "name: has a control character, such as a line's "
			    "end: it is shown on terminals");
	if (allow && deny)
		return policy_fail(p, &spot, true, "a rule has allow or deny, not both: make two of it");
	if (!allow && !deny)
		return policy_fail(p, &(struct spot){object, "from", 0}, true,
			    "the rule \"%.60s\" has neither allow nor deny", rule->name);
	if (!policy_take_list(p, object, "from", WITH_ANY, &rule->from) ||
	    !policy_take_list(p, object, "to", WITH_ANY | WITH_SELF, &rule->to) ||
	    !policy_each_word(p, object, allow ? "allow" : "deny", add_ports, &rule->ports))
		return false;
	ports_arrange(&rule->ports);
	return true;
}

static int by_priority(const void *a, const void *b)
{
	const struct policy_rule *x = a, *y = b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static bool take_rules(struct parse *p)
{
	const json_t *section = json_object_get(yaml_root(p->yaml), "acl");
	size_t count = items_of(section);

	if (count > MAX_RULES)
		return policy_fail(p, &(struct spot){section, NULL, MAX_RULES}, false, "more than %d rules",
			    MAX_RULES);
	p->policy->rules = xcalloc(count, sizeof(*p->policy->rules));
	for (size_t i = 0; i < count; i++)
		if (!take_rule(p, item_of(section, i), i))
			return false;
	if (count)
		qsort(p->policy->rules, count, sizeof(*p->policy->rules), by_priority);
	return true;
}

static bool take_approvals(struct parse *p)
{
	json_t *object = json_object_get(json_object_get(yaml_root(p->yaml), "routes"), "auto_approve");
	json_t *value;
	const char *key;

	p->policy->approvals = xcalloc(MIN(json_object_size(object), (size_t)MAX_NAMED), sizeof(*p->policy->approvals));
	json_object_foreach(object, key, value) {
		struct policy_approval *approval = &p->policy->approvals[p->policy->approval_count];
		struct spot spot = {object, key, 0};

		if (p->policy->approval_count == MAX_NAMED)
			return policy_fail(p, &spot, true, "more than %d approvals of routes: write wider CIDRs", MAX_NAMED);
		p->policy->approval_count++;
		approval->exit = !strcmp(key, "exit");
		if (!approval->exit && !prefix_parse(&approval->prefix, key))
			return policy_fail(p, &spot, true, "\"%.60s\" is neither a CIDR nor exit%s", key,
					   str_nearest(key, (const char *const[]){"exit", NULL})
						   ? ", did you mean \"exit\"?" : "");
		if (!approval->exit && approval->prefix.bits == 0)
			return policy_fail(p, &spot, true, "\"%.60s\" is every address, did you mean \"exit\"?",
				    key);
		if (!approval->exit && !policy_whole_prefix(p, &spot, true, &approval->prefix))
			return false;
		if (!policy_take_list(p, object, key, WITH_ANY, &approval->who))
			return false;
	}
	return true;
}

static bool take_test(struct parse *p, const json_t *object, size_t i)
{
	struct policy_test *test = &p->policy->tests[p->policy->test_count++];
	const char *port = json_string_value(json_object_get(object, "port"));
	struct {
		const char *key;
		char *out;
	} words[] = {{"from", test->from}, {"to", test->to}, {"network", test->network}};
	struct policy_spot at = where(p, "tests", i);

	test->line = at.line;
	test->column = at.column;
	test->allow = !strcmp(json_string_value(json_object_get(object, "expect")), "allow");
	for (size_t k = 0; k < ARRAY_SIZE(words); k++) {
		const char *word = json_string_value(json_object_get(object, words[k].key));
		struct spot spot = {object, words[k].key, 0};
		struct addr addr;

		if (!word)
			continue;
		if ((!name_valid(word) && !addr_parse(&addr, word)) ||
		    !str_copy(words[k].out, POLICY_WORD, word))
			return policy_fail(p, &spot, false, "\"%.60s\" must be an agent's or device's name, a name under hosts "
				    "or an address", word);
	}
	if (!ports_parse_point(port, &test->point))
		return policy_fail(p, &(struct spot){object, "port", 0}, false,
			    "\"%.40s\" is not one port: write tcp/443, udp/53 or icmp", port);
	return true;
}

static bool take_tests(struct parse *p)
{
	const json_t *section = json_object_get(yaml_root(p->yaml), "tests");
	size_t count = items_of(section);

	if (count > MAX_TESTS)
		return policy_fail(p, &(struct spot){section, NULL, MAX_TESTS}, false, "more than %d tests: leave some out",
				   MAX_TESTS);
	p->policy->tests = xcalloc(count, sizeof(*p->policy->tests));
	for (size_t i = 0; i < count; i++)
		if (!take_test(p, item_of(section, i), i))
			return false;
	return true;
}

static bool take_all(struct parse *p)
{
	struct policy *policy = p->policy;
	unsigned column;
	const char *word;

	if (!schema_check(p->yaml, policy_fields, p->error))
		return false;
	word = json_string_value(json_object_get(yaml_root(p->yaml), "default"));
	policy->default_allow = word && !strcmp(word, "allow");
	if (word)
		yaml_where_key(p->yaml, yaml_root(p->yaml), "default", &policy->default_line, &column);
	p->groups = json_object_get(yaml_root(p->yaml), "groups");
	return take_names(p, "groups", "group", &policy->groups, &policy->group_count, p->group_names) &&
	       take_names(p, "hosts", "host", &policy->hosts, &policy->host_count, p->host_names) &&
	       take_names(p, "tags", "tag", &policy->tags, &policy->tag_count, NULL) && take_hosts(p) &&
	       take_groups(p) && take_tags(p) && take_rules(p) && take_approvals(p) && take_tests(p);
}

struct policy *policy_parse(const char *name, const char *text, size_t len,
			    char error[static POLICY_ERROR])
{
	struct parse *p = xcalloc(1, sizeof(*p));
	struct policy *policy = NULL;

	p->error = error;
	p->group_names = map_new(0);
	p->host_names = map_new(0);
	p->yaml = yaml_load_text(name, text, len, error);
	if (p->yaml) {
		policy = p->policy = xcalloc(1, sizeof(*policy));
		policy->name = xstrdup(name);
		policy->text = xcalloc(1, len + 1);
		memcpy(policy->text, text, len);
		policy->text_len = len;
		if (!take_all(p)) {
			policy_free(policy);
			policy = NULL;
		}
	}
	yaml_free(p->yaml);
	map_free(p->group_names);
	map_free(p->host_names);
	free(p);
	return policy;
}
