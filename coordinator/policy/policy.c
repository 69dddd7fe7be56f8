/*
 * policy.c - selectors, names and approvals of a parsed policy. Which rule decides: policy_index.c.
 */
#include "policy.h"

#include <stdlib.h>
#include <string.h>

static bool has_tag(const json_t *tags, const char *tag)
{
	const json_t *item;
	size_t i;

	json_array_foreach(tags, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), tag))
			return true;
	return false;
}

/* `self` fits nobody here: it needs both ends. */
static bool selector_fits(const struct selector *selector, const struct party *party)
{
	switch (selector->kind) {
	case SELECT_ANY:
		return true;
	case SELECT_SELF:
		return false;
	case SELECT_NAME:
		return party->name && !strcmp(party->name, selector->word);
	case SELECT_TAG:
		return party->name && has_tag(party->tags, selector->word);
	case SELECT_NETWORK:
		return party->name && party->network && !strcmp(party->network, selector->word);
	case SELECT_PREFIX:
		return party->addr.family && prefix_contains(&selector->prefix, &party->addr);
	}
	return false;
}

bool selectors_fit(const struct selectors *selectors, const struct party *party)
{
	for (unsigned i = 0; i < selectors->count; i++)
		if (selector_fits(&selectors->items[i], party))
			return true;
	return false;
}

bool policy_approves(const struct policy *policy, const struct party *who, const struct prefix *route)
{
	for (unsigned i = 0; i < policy->approval_count; i++) {
		const struct policy_approval *approval = &policy->approvals[i];
		bool fits = approval->exit ? route->bits == 0
					   : route->bits > 0 && prefix_covers(&approval->prefix, route);

		if (fits && selectors_fit(&approval->who, who))
			return true;
	}
	return false;
}

static bool selects_name(const struct selectors *selectors, const char *name)
{
	for (unsigned i = 0; i < selectors->count; i++)
		if (selectors->items[i].kind == SELECT_NAME && !strcmp(selectors->items[i].word, name))
			return true;
	return false;
}

bool policy_names(const struct policy *policy, const char *name)
{
	for (unsigned i = 0; i < policy->rule_count; i++)
		if (selects_name(&policy->rules[i].from, name) || selects_name(&policy->rules[i].to, name))
			return true;
	for (unsigned i = 0; i < policy->group_count; i++)
		if (selects_name(&policy->groups[i].who, name))
			return true;
	for (unsigned i = 0; i < policy->approval_count; i++)
		if (selects_name(&policy->approvals[i].who, name))
			return true;
	return false;
}

bool policy_reserved(const char *name)
{
	static const char *const reserved[] = {"any", "self", "network", "group", "tag", "exit", "default"};

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (!strcmp(name, reserved[i]))
			return true;
	return false;
}

static const struct policy_named *find(const struct policy_named *all, unsigned count, const char *word)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(all[i].word, word))
			return &all[i];
	return NULL;
}

const struct policy_named *policy_host(const struct policy *policy, const char *word)
{
	return find(policy->hosts, policy->host_count, word);
}

const struct policy_named *policy_tag(const struct policy *policy, const char *tag)
{
	return find(policy->tags, policy->tag_count, tag);
}

static void free_named(struct policy_named *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(all[i].who.items);
		for (char **owner = all[i].owners; owner && *owner; owner++)
			free(*owner);
		free(all[i].owners);
	}
	free(all);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (unsigned i = 0; i < policy->rule_count; i++) {
		free(policy->rules[i].name);
		free(policy->rules[i].from.items);
		free(policy->rules[i].to.items);
		ports_free(&policy->rules[i].ports);
	}
	free(policy->rules);
	free_named(policy->hosts, policy->host_count);
	free_named(policy->groups, policy->group_count);
	free_named(policy->tags, policy->tag_count);
	for (unsigned i = 0; i < policy->approval_count; i++)
		free(policy->approvals[i].who.items);
	free(policy->approvals);
	free(policy->tests);
	free(policy->name);
	free(policy->text);
	free(policy);
}

struct policy *policy_allow_all(void)
{
	struct policy *policy = xcalloc(1, sizeof(*policy));

	policy->default_allow = true;
	policy->name = xstrdup("no policy");
	policy->text = xstrdup("");
	return policy;
}
