/*
 * policy_resolve.c - the words of people as parties in the mesh: for tests, explain, warnings.
 */
#include "policy_range.h"
#include "coordinator/mesh/device.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WARNINGS 20
#define MAX_HINTS    20 /* tests that are told the nearest name */

/* Of whose it is. */
static void party_of(const struct found *whose, const struct addr *addr, struct party *out)
{
	const struct member *member = whose->member;
	const struct device *device = whose->device;

	*out = member ? (struct party){member->name, member->network->name, member->tags, *addr}
		      : (struct party){device->name, device->network->name, NULL, *addr};
}

void policy_resolve_found(const struct found *found, struct resolved *out)
{
	const struct addr *addr = found->member ? &found->member->address : &found->device->address;
	const struct addr *addr6 = found->member ? &found->member->address6 : &found->device->address6;

	*out = (struct resolved){.whose = *found};
	party_of(found, addr, &out->party);
	if (addr6->family)
		party_of(found, addr6, &out->other);
}

struct word { /* what it is in any network */
	const char *text;
	struct addr addr; /* family 0: it is an agent's or device's name or id */
	struct prefix range; /* addr.family 0: it is none */
	const struct agent *agent; /* whose id it is */
	struct device *device;
};

static struct word word_of(const struct coordinator *co, const struct policy *policy, const char *text)
{
	const struct policy_named *host = policy ? policy_host(policy, text) : NULL;
	struct word word = {.text = text};
	struct prefix prefix;

	if (host) {
		prefix = host->prefix;
	} else if (!prefix_parse(&prefix, text)) {
		word.agent = map_get(co->mesh.agents, text);
		word.device = map_get(co->mesh.devices, text);
		return word;
	}
	prefix = prefix_mask(&prefix);
	word.addr = prefix.addr;
	if (prefix.bits < 8 * addr_len(&prefix.addr))
		word.range = prefix;
	return word;
}

/* False: nobody's in this network. */
static bool whose(const struct word *word, const struct network *network, struct found *out)
{
	bool is_address = word->addr.family;

	*out = (struct found){0};
	if (word->range.addr.family)
		return false;
	out->member = is_address ? map_get(network->addresses, &word->addr) : map_get(network->names, word->text);
	if (!out->member && word->agent)
		out->member = mesh_member(word->agent, network);
	if (out->member)
		return true;
	out->device = is_address ? device_at(network, &word->addr) : device_named(network, word->text);
	if (!out->device && word->device && word->device->network == network)
		out->device = word->device;
	return out->device;
}

/* In this network, which may be NULL. Nothing is said of one where it is not: several are tried. */
static bool take(const struct word *word, const struct network *network, struct resolved *out)
{
	struct found found = {0};
	bool any = network && whose(word, network, &found);

	if (any)
		policy_resolve_found(&found, out);
	if (word->addr.family) {
		*out = (struct resolved){.whose = found, .party.addr = word->addr, .range = word->range};
		if (any)
			party_of(&found, &word->addr, &out->party);
	}
	return any || word->addr.family;
}

/* `hint`: with the nearest name, for which many are looked at. */
static bool nobody(const struct coordinator *co, const char *word, bool hint, struct refusal *why)
{
	return hint ? find_none(co, NULL, NULL, word, why)
		    : refuse(why, 404, "unknown_agent", "there is no agent or device %.100s", word);
}

static bool resolve(const struct coordinator *co, const struct word *word, const char *network, bool hint,
		    struct resolved *out, struct refusal *why)
{
	const struct network *each, *first = NULL;
	struct found found;

	if (network && *network)
		first = map_get(co->mesh.networks_by_name, network);
	else
		list_each(each, &co->mesh.networks, node) {
			if (!whose(word, each, &found))
				continue;
			if (first && !word->addr.family)
				return refuse(why, 400, "ambiguous", "%s is in several networks (%s, %s): say "
					      "which (network)", word->text, first->name, each->name);
			first = first ? first : each;
		}
	return take(word, first, out) || nobody(co, word->text, hint, why);
}

bool policy_resolve(const struct coordinator *co, const struct policy *policy, const char *word,
		    const char *network, struct resolved *out, struct refusal *why)
{
	struct word meant = word_of(co, policy, word);

	return resolve(co, &meant, network, true, out, why);
}

unsigned policy_judge(const struct coordinator *co, const struct policy_index *index, const struct resolved *from,
		      const struct resolved *to, uint32_t point, unsigned *patience, struct judged out[static 2])
{
	const struct party *sources[] = {&from->party, &from->other};
	const struct party *targets[] = {&to->party, &to->other};
	const char *never = "one has an IPv4 address only and the other an IPv6 address only";
	unsigned count = 0;

	if (from->party.name && to->party.name && strcmp(from->party.network, to->party.network))
		never = "agents of two networks never meet";
	else if (from->range.addr.family || to->range.addr.family) {
		if (!policy_judge_range(co, index, from, to, point, patience, out, &count))
			return 0;
	} else
		for (size_t i = 0; i < 2; i++)
			for (size_t k = 0; k < 2; k++) {
				if (!sources[i]->addr.family || sources[i]->addr.family != targets[k]->addr.family)
					continue;
				out[count].from = *sources[i];
				out[count].to = *targets[k];
				policy_decide(index, sources[i], targets[k], point, &out[count++].verdict);
			}
	if (!count)
		out[count++] = (struct judged){{.rule = never}, *sources[0], *targets[0]};
	return count;
}

/* ---- tests -------------------------------------------------------------------------------------- */

static bool same_network(const struct coordinator *co, const struct policy *policy,
			 const struct policy_test *test, bool hint, struct resolved *from, struct resolved *to,
			 struct refusal *why)
{
	struct word source = word_of(co, policy, test->from), target = word_of(co, policy, test->to);
	const struct network *network;

	if (!*test->network)
		list_each(network, &co->mesh.networks, node) /* the first that has both */
			if (take(&source, network, from) && take(&target, network, to))
				return true;
	return resolve(co, &source, test->network, hint, from, why) &&
	       resolve(co, &target, test->network, hint, to, why);
}

/* Why a test failed, new: by one of its addresses, where it has several. */
static char *failure(const struct policy *policy, const struct policy_test *test, const char *port,
		     const struct judged *judged)
{
	const struct verdict *verdict = &judged->verdict;
	char from[ADDR_TEXT], to[ADDR_TEXT], by[40], *text, *reason;

	addr_format(from, &judged->from.addr);
	addr_format(to, &judged->to.addr);
	snprintf(by, sizeof(by), policy->default_line ? "line %u" : "none is written", policy->default_line);
	if (verdict->line)
		reason = xasprintf("by the rule \"%s\" (line %u)", verdict->rule, verdict->line);
	else if (!strcmp(verdict->rule, "default"))
		reason = xasprintf("by the default (%s), since no rule speaks of it", by);
	else
		reason = xasprintf("because %s", verdict->rule);
	text = xasprintf("%s:%u: %s to %s %s is %s %s: from %s to %s", policy->name, test->line, test->from, test->to,
			 port, verdict->allow ? "allowed" : "denied", reason, from, to);
	free(reason);
	return text;
}

static json_t *run_test(const struct coordinator *co, const struct policy_index *index,
			const struct policy_test *test, bool hint, unsigned *patience)
{
	const struct policy *policy = index->policy;
	const char *result = "skipped", *expected = test->allow ? "allow" : "deny";
	struct refusal why = {.detail = "there is no network yet"};
	char port[POINT_TEXT], *detail = NULL;
	struct resolved from, to;
	struct judged judged[2];
	unsigned count, i;
	json_t *json;

	ports_format_point(port, test->point);
	if (same_network(co, policy, test, hint, &from, &to, &why)) {
		count = policy_judge(co, index, &from, &to, test->point, patience, judged);
		for (i = 0; i < count && judged[i].verdict.allow == test->allow; i++)
			;
		result = count && i == count ? "ok" : "failed";
		if (i < count)
			detail = failure(policy, test, port, &judged[i]);
		else if (!count)
			detail = xasprintf("%s:%u: %s to %s %s: " POLICY_TOO_WIDE, policy->name, test->line, test->from, test->to,
					   port);
	} else {
		detail = xstrdup(why.detail);
	}
	json = json_pack("{sissssssssssso}", "line", (int)test->line, "from", test->from, "to", test->to,
			 "port", port, "expect", expected, "result", result, "detail",
			 js_from_text(detail));
	free(detail);
	return json;
}

json_t *policy_run_tests(const struct coordinator *co, const struct policy *policy, unsigned *failed)
{
	struct policy_index *index = policy_index_new(policy);
	json_t *list = json_array(), *one;
	unsigned skipped = 0, patience = POLICY_PATIENCE;
	const char *result;

	*failed = 0;
	for (unsigned i = 0; i < policy->test_count; i++) {
		one = run_test(co, index, &policy->tests[i], skipped < MAX_HINTS, &patience);
		result = json_string_value(json_object_get(one, "result"));
		*failed += !strcmp(result, "failed");
		skipped += !strcmp(result, "skipped");
		json_array_append_new(list, one);
	}
	policy_index_free(index);
	return list;
}

/* ---- warnings -------------------------------------------------------------------------------------- */

struct known { /* words in the mesh, for each kind of selector */
	const char *file;
	struct map *names, *tags, *networks, *told;
	json_t *out;
};

static void gather(const struct coordinator *co, const struct policy *policy, struct known *known)
{
	const struct network *network;
	const struct member *member;
	const struct join_key *key;
	const struct device *device;
	const json_t *tag;
	size_t i, pos = 0;

	while ((device = map_next(co->mesh.devices, &pos, NULL)))
		map_put(known->names, device->name, (void *)device);
	pos = 0;
	list_each(network, &co->mesh.networks, node) {
		map_put(known->networks, network->name, (void *)network);
		list_each(member, &network->members, in_network) {
			map_put(known->names, member->name, (void *)member);
			json_array_foreach(member->tags, i, tag)
				map_put(known->tags, json_string_value(tag), (void *)member);
		}
	}
	while ((key = map_next(co->mesh.keys, &pos, NULL))) {
		if (*key->name)
			map_put(known->names, key->name, (void *)key);
		json_array_foreach(key->tags, i, tag)
			map_put(known->tags, json_string_value(tag), (void *)key);
	}
	for (i = 0; i < policy->tag_count; i++)
		map_put(known->tags, policy->tags[i].word, &policy->tags[i]);
}

static void warn(struct known *known, const struct policy_spot *at, const char *what, const char *word,
		 const struct map *all, const char *const *words)
{
	struct nearest nearest;
	const void *key;
	size_t pos = 0;

	if (map_get(all, word) || json_array_size(known->out) >= MAX_WARNINGS ||
	    map_put(known->told, word, known))
		return;
	nearest_init(&nearest, word);
	while (words && *words && nearest_offer(&nearest, *words))
		words++;
	while (map_next(all, &pos, &key) && nearest_offer(&nearest, key))
		;
	json_array_append_new(known->out, json_sprintf("%s:%u:%u: %s %s%s%s%s", known->file, at->line, at->column, what,
						       word, nearest.found ? ", did you mean " : "",
						       nearest.found ? nearest.found : "", nearest.found ? "?" : ""));
}

/* `words`: those that are no names and may stand there. */
static void look_through(struct known *known, const struct selectors *selectors, const char *const *words)
{
	for (unsigned i = 0; i < selectors->count; i++) {
		const struct selector *selector = &selectors->items[i];

		if (selector->kind == SELECT_NAME)
			warn(known, &selector->at, "no agent or device is called", selector->word, known->names, words);
		else if (selector->kind == SELECT_TAG)
			warn(known, &selector->at, "no agent and no join key has the tag", selector->word,
			     known->tags, NULL);
		else if (selector->kind == SELECT_NETWORK)
			warn(known, &selector->at, "there is no network", selector->word, known->networks, NULL);
	}
}

/* Owners of tags that are neither user, role nor group. */
static void look_at_owners(const struct coordinator *co, const struct policy *policy, struct known *known)
{
	struct map *all = map_new(0);
	const void *name;
	size_t pos = 0;

	while (map_next(co->users.by_name, &pos, &name))
		map_put(all, name, known);
	for (unsigned i = 0; i < policy->group_count; i++)
		map_put(all, policy->groups[i].word, known);
	for (enum role role = ROLE_VIEWER; role <= ROLE_ADMIN; role++)
		map_put(all, role_name(role), known);
	for (unsigned i = 0; i < policy->tag_count; i++)
		for (char **word = policy->tags[i].owners; *word; word++)
			if (!str_has_prefix(*word, "group:"))
				warn(known, &policy->tags[i].at, "no user, role or group is called", *word, all, NULL);
	map_free(all);
}

/* What a key gave before, and what a key whose maker is not known goes on to give. */
static void look_at_key(const struct coordinator *co, const struct policy *policy, const struct join_key *key,
			json_t *out)
{
	const char *lost = maker_lacks_tag(co, key->maker, policy, key->network, key->tags);
	const json_t *tag;
	size_t i;

	if (lost)
		json_array_append_new(out, json_sprintf("the join key %s admits nobody with the tag %s: who made it "
							"may not give that: key revoke %s", key->id, lost, key->id));
	json_array_foreach(key->tags, i, tag)
		if (!key->maker && policy_tag(policy, json_string_value(tag)) &&
		    !policy_tag(policy_in_force(co), json_string_value(tag)))
			json_array_append_new(out, json_sprintf(
				"the join key %s still gives the tag %s, whoever made it: key revoke %s",
				key->id, json_string_value(tag), key->id));
}

static void look_at_keys(const struct coordinator *co, const struct policy *policy, struct known *known)
{
	const struct join_key *key;
	size_t pos = 0;

	while ((key = map_next(co->mesh.keys, &pos, NULL)))
		if (!key->revoked_at && (!key->used_at || key->reusable) &&
		    (!key->expires_at || key->expires_at > clock_wall_ms()) &&
		    json_array_size(known->out) < MAX_WARNINGS)
			look_at_key(co, policy, key, known->out);
}

/* A test that names nobody is no reason to refuse a policy, and shows nothing. */
static void look_at_tests(const struct coordinator *co, const struct policy *policy, struct known *known)
{
	struct resolved from, to;

	for (unsigned i = 0; i < policy->test_count; i++) {
		const struct policy_test *test = &policy->tests[i];
		struct refusal why = {.detail = "there is no network yet"};

		if (json_array_size(known->out) < MAX_WARNINGS &&
		    !same_network(co, policy, test, true, &from, &to, &why)) {
			char *text = xasprintf("%s:%u:%u: this test was skipped: %s", policy->name, test->line,
					       test->column, why.detail);

			json_array_append_new(known->out, js_from_text(text));
			free(text);
		}
	}
}

static void look_at_hosts(const struct policy *policy, struct known *known)
{
	for (unsigned i = 0; i < policy->host_count; i++) {
		const struct policy_named *host = &policy->hosts[i];

		if (map_get(known->names, host->word))
			json_array_append_new(known->out, json_sprintf(
				"%s:%u:%u: %s is a name under hosts and an agent's or device's: rules mean the one under hosts",
				policy->name, host->at.line, host->at.column, host->word));
	}
}

json_t *policy_warnings(const struct coordinator *co, const struct policy *policy)
{
	static const char *const from[] = {"any", NULL}, *const to[] = {"any", "self", NULL};
	struct known known = {.file = policy->name, .names = map_new(0), .tags = map_new(0), .networks = map_new(0),
			      .told = map_new(0), .out = json_array()};

	gather(co, policy, &known);
	for (unsigned i = 0; i < policy->rule_count; i++) {
		look_through(&known, &policy->rules[i].from, from);
		look_through(&known, &policy->rules[i].to, to);
	}
	for (unsigned i = 0; i < policy->approval_count; i++)
		look_through(&known, &policy->approvals[i].who, from);
	look_at_owners(co, policy, &known);
	look_at_keys(co, policy, &known);
	look_at_tests(co, policy, &known);
	look_at_hosts(policy, &known);
	map_free(known.names);
	map_free(known.tags);
	map_free(known.networks);
	map_free(known.told);
	return known.out;
}
