/*
 * policy_commands.c - what can be asked of the policy, over the unix socket and the API alike.
 */
#include "admin_commands.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/mesh/device.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_TEXT       (1024 * 1024)
#define MAX_CONFIRM_S  3600

static struct policy *parse(struct js *js, struct refusal *why)
{
	const char *text = js_need_string(js, "text", MAX_TEXT);
	const char *name = js_string(js, "file", "policy.yaml");
	char error[POLICY_ERROR];
	struct policy *policy;

	if (!js_ok(js)) {
		refuse(why, 422, "invalid", "%s", js->error);
		return NULL;
	}
	policy = policy_parse(name, text, strlen(text), error);
	if (!policy)
		refuse(why, 422, "policy_invalid", "%s", error);
	return policy;
}

/* Whether it is right, what it would be about, and how its tests go. */
json_t *admin_policy_check(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	struct policy *policy = who_may(who, NULL, why) ? parse(js, why) : NULL;
	unsigned failed;
	json_t *tests, *result;

	if (!policy)
		return NULL;
	tests = policy_run_tests(co, policy, &failed);
	result = json_pack("{sssisisoso}", "file", policy->name, "rules", (int)policy->rule_count, "failed",
			   (int)failed, "tests", tests, "warnings", policy_warnings(co, policy));
	policy_free(policy);
	return result;
}

json_t *admin_policy_show(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	(void)js;
	return who_may(who, NULL, why) ? policy_state_json(co) : NULL;
}

json_t *admin_policy_diff(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	struct policy *policy = who_may(who, NULL, why) ? parse(js, why) : NULL;
	json_t *changes;
	bool complete;

	if (!policy)
		return NULL;
	changes = policy_compare(co, policy, &complete);
	policy_free(policy);
	return json_pack("{sosb}", "changes", changes, "complete", complete);
}

json_t *admin_policy_apply(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	int64_t seconds = js_int(js, "confirm", 1, MAX_CONFIRM_S, 0);
	struct policy *policy = who_may(who, NULL, why) ? parse(js, why) : NULL;
	json_t *warnings, *result;

	if (!policy)
		return NULL;
	warnings = policy_warnings(co, policy);
	if (!policy_apply(co, policy, who->actor, (uint64_t)seconds * 1000, why)) {
		json_decref(warnings);
		return NULL;
	}
	result = policy_state_json(co);
	json_object_del(result, "text");
	json_object_set_new(result, "warnings", warnings);
	if (!access(co->config.policy, F_OK))
		json_object_set_new(result, "policy_file", json_string(co->config.policy));
	return result;
}

/* The one that waits, which must be the "version" meant, where one is named; 0: refused. */
static uint64_t waiting(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	int64_t meant = js_int(js, "version", 1, INT64_MAX, 0);
	uint64_t number = policy_waiting(co);

	if (!who_may(who, NULL, why))
		return 0;
	if (!js_ok(js))
		refuse(why, 422, "invalid", "%s", js->error);
	else if (!number)
		refuse(why, 409, "nothing_waits", "no policy waits to be confirmed: what {policy show} says is "
		       "in force");
	else if (meant && (uint64_t)meant != number)
		refuse(why, 409, "nothing_waits", "policy %lld does not wait any more, policy %llu does: see "
		       "{policy show}", (long long)meant, (unsigned long long)number);
	else
		return number;
	return 0;
}

json_t *admin_policy_confirm(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	uint64_t number = waiting(co, js, who, why);
	json_t *result;

	if (!number || !policy_confirm(co, who->actor, why))
		return NULL;
	result = admin_message("policy %llu is confirmed", (unsigned long long)number);
	json_object_set_new(result, "version", json_integer((json_int_t)number));
	return result;
}

json_t *admin_policy_rollback(struct coordinator *co, struct js *js, const struct who *who,
			      struct refusal *why)
{
	uint64_t number = waiting(co, js, who, why);
	json_t *result, *now;

	if (!number || !policy_roll_back(co, who->actor, why))
		return NULL;
	now = policy_state_json(co);
	result = admin_message("policy %llu is taken back: what was before is in force",
			       (unsigned long long)number);
	json_object_set(result, "version", json_object_get(now, "version"));
	json_decref(now);
	return result;
}

static json_t *party_json(const struct resolved *resolved)
{
	const struct party *party = &resolved->party;
	bool range = resolved->range.addr.family;

	return json_pack("{sosososO?}", "agent", js_from_string(party->name), "network",
			 js_from_string(party->network), "address",
			 range ? js_from_prefix(&resolved->range) : js_from_addr(&party->addr), "tags",
			 party->tags);
}

static bool reads_policy(const struct who *who)
{
	return who_role(who, NULL) >= ROLE_VIEWER;
}

/* Who has a role in some networks only is answered as if there were no others, and no word of the policy,
 * which speaks of all, is told. */
static bool resolve_address(const struct coordinator *co, const struct who *who, const char *word,
			    const char *network, struct resolved *out, struct refusal *why)
{
	const struct network *each;
	struct resolved one;
	bool found = false;

	list_each(each, &co->mesh.networks, node) {
		if (!who_sees(who, each) || (network && strcmp(network, each->name)) ||
		    !policy_resolve(co, NULL, word, each->name, &one, why))
			continue;
		if (found && one.party.name && out->party.name)
			return refuse(why, 400, "ambiguous", "%s is in several networks (%s, %s): say which "
				      "(network)", word, out->party.network,
				      each->name);
		if (!found || one.party.name)
			*out = one;
		found = true;
	}
	return found || find_none(co, NULL, who, word, why);
}

static bool resolve(const struct coordinator *co, const struct who *who, const char *word,
		    const char *network, struct resolved *out, struct refusal *why)
{
	const struct network *only = network ? mesh_network(&co->mesh, network) : NULL;
	struct found found;
	struct prefix prefix;
	bool reads = reads_policy(who), is_address = prefix_parse(&prefix, word);

	if (reads && (is_address || policy_host(policy_in_force(co), word)))
		return policy_resolve(co, policy_in_force(co), word, network, out, why);
	if (is_address)
		return resolve_address(co, who, word, network, out, why);
	if (!find_party(co, only, who, word, &found, why) ||
	    (found.member && !only && !find_only(found.member, who, why)))
		return false;
	policy_resolve_found(&found, out);
	return true;
}

/* Of one family or part of a range, or of all where they agree. */
static json_t *judged_json(const struct judged *judged, bool whole)
{
	const struct verdict *verdict = &judged->verdict;

	return json_pack("{sososssoso}", "from", js_from_addr(&judged->from.addr), "to",
			 js_from_addr(&judged->to.addr), "verdict", verdict->allow ? "allow" : "deny", "rule",
			 js_from_string(whole ? verdict->rule : NULL), "line",
			 whole && verdict->line ? json_integer(verdict->line) : json_null());
}

/* Are the two told of each other? null: they are one, or there is one only. */
static json_t *told_json(const struct found *a, const struct found *b)
{
	const struct device *device = a->device ? a->device : b->device;
	const struct member *gateway = a->member ? a->member : b->member;

	if ((!a->member && !a->device) || (!b->member && !b->device) ||
	    (a->member == b->member && a->device == b->device))
		return json_null();
	if (!device)
		return json_boolean(mesh_sees(a->member, b->member));
	return json_boolean(gateway && gateway->agent == device->via && gateway->network == device->network &&
			    device_told(device));
}

static json_t *explained(const struct resolved *source, const struct resolved *target, const char *port,
			 const struct judged *judged, unsigned count, bool whole)
{
	const struct verdict *verdict = &judged[0].verdict;
	bool agree = count < 2 || verdict->allow == judged[1].verdict.allow;
	json_t *each = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(each, judged_json(&judged[i], whole));
	whole = whole && agree;
	return json_pack("{sososssssosososo}", "from", party_json(source), "to", party_json(target), "port", port,
			 "verdict", !agree ? "differs" : verdict->allow ? "allow" : "deny", "rule",
			 js_from_string(whole ? verdict->rule : NULL), "line",
			 whole && verdict->line ? json_integer(verdict->line) : json_null(), "peers",
			 told_json(&source->whose, &target->whose), "families", each);
}

json_t *admin_policy_explain(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	const char *from = js_need_string(js, "from", POLICY_WORD - 1);
	const char *to = js_need_string(js, "to", POLICY_WORD - 1);
	const char *port = js_need_string(js, "port", POLICY_WORD - 1);
	const char *network = js_string(js, "network", NULL);
	struct resolved source, target;
	unsigned count, patience = POLICY_PATIENCE;
	struct judged judged[2];
	uint32_t point;

	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (network && !admin_network(co, js, "network", who, why))
		return NULL;
	if (!ports_parse_point(port, &point)) {
		refuse(why, 400, "invalid", "%s is not one port: write tcp/443, udp/53 or icmp", port);
		return NULL;
	}
	if (!resolve(co, who, from, network, &source, why) || !resolve(co, who, to, network, &target, why) ||
	    (!source.party.name && !target.party.name && !who_may(who, NULL, why)))
		return NULL;
	count = policy_judge(co, policy_index_in_force(co), &source, &target, point, &patience, judged);
	if (!count) {
		refuse(why, 422, "invalid", POLICY_TOO_WIDE);
		return NULL;
	}
	return explained(&source, &target, port, judged, count, reads_policy(who));
}
