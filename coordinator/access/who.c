/*
 * who.c - roles and scopes judged. A token never has more than its user has at that moment, so what
 * is taken from a user is taken from all of its tokens and sessions too.
 */
#include "who.h"
#include "coordinator/mesh/registry.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

static const char *const role_names[] = {"none", "viewer", "operator", "admin"};

const char *role_name(enum role role)
{
	return role_names[role];
}

enum role role_parse(const char *name)
{
	for (enum role role = ROLE_VIEWER; name && role <= ROLE_ADMIN; role++)
		if (!strcmp(name, role_names[role]))
			return role;
	return ROLE_NONE;
}

void who_root(struct who *who, unsigned uid)
{
	memset(who, 0, sizeof(*who));
	who->root = true;
	snprintf(who->actor, sizeof(who->actor), "admin uid %u", uid);
}

void who_copy(struct who *out, const struct who *who)
{
	*out = *who;
	json_incref(out->roles);
	json_incref(out->limits);
	json_incref(out->scopes);
}

void who_fini(struct who *who)
{
	json_decref(who->roles);
	json_decref(who->limits);
	json_decref(who->scopes);
	memset(who, 0, sizeof(*who));
}

static enum role granted(const json_t *roles, const char *network)
{
	enum role all = role_parse(json_string_value(json_object_get(roles, EVERYWHERE)));
	enum role here = network ? role_parse(json_string_value(json_object_get(roles, network))) : ROLE_NONE;

	return MAX(all, here);
}

bool who_raised(const json_t *before, const json_t *now)
{
	const char *network;
	json_t *role;

	json_object_foreach((json_t *)(uintptr_t)now, network, role)
		if (granted(now, network) > granted(before, network))
			return true;
	return false;
}

void who_cut(json_t *out, const json_t *roles, enum role most)
{
	const char *network;
	json_t *role;

	json_object_foreach((json_t *)(uintptr_t)roles, network, role)
		json_object_set_new(out, network,
				    json_string(role_name(MIN(most, role_parse(json_string_value(role))))));
}

static enum role role_in(const struct who *who, const char *network)
{
	enum role role = ROLE_ADMIN;

	if (who->root)
		return ROLE_ADMIN;
	if (!who->roles && !who->limits)
		return ROLE_NONE;
	if (who->roles)
		role = granted(who->roles, network);
	if (who->limits)
		role = MIN(role, granted(who->limits, network));
	return role;
}

json_t *who_reach(const json_t *roles, const json_t *limits)
{
	const struct who who = {.roles = (json_t *)(uintptr_t)roles, .limits = (json_t *)(uintptr_t)limits};
	enum role everywhere = role_in(&who, NULL);
	json_t *const all[] = {who.roles, who.limits}, *value, *out = json_object();
	const char *network;

	if (everywhere)
		json_object_set_new(out, EVERYWHERE, json_string(role_name(everywhere)));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		json_object_foreach(all[i], network, value)
			if (strcmp(network, EVERYWHERE) && role_in(&who, network) > everywhere)
				json_object_set_new(out, network, json_string(role_name(role_in(&who, network))));
	return out;
}

enum role who_role(const struct who *who, const struct network *network)
{
	return role_in(who, network ? network->id : NULL);
}

enum role who_highest(const struct who *who)
{
	json_t *all[] = {who->roles, who->limits}, *value;
	enum role highest = role_in(who, NULL);
	const char *network;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		json_object_foreach(all[i], network, value)
			highest = MAX(highest, role_in(who, strcmp(network, EVERYWHERE) ? network : NULL));
	return highest;
}

bool who_sees(const struct who *who, const struct network *network)
{
	return who_role(who, network) >= ROLE_VIEWER && (!network || who_shown(who, network->made_in));
}

bool who_sees_id(const struct who *who, const char *network_id)
{
	return role_in(who, network_id) >= ROLE_VIEWER;
}

bool who_shown(const struct who *who, uint64_t made_in)
{
	return !who->until || made_in < who->until;
}

bool who_may(const struct who *who, const struct network *network, struct refusal *why)
{
	if (who_role(who, network) >= MAX(who->need, ROLE_VIEWER))
		return true;
	return refuse(why, 403, "role_too_low", "this takes the role %s %s%s", role_name(who->need),
		      network ? "in the network " : "for everything", network ? network->name : "");
}

bool who_scope(const struct who *who, const char *resource, bool write)
{
	const json_t *scope;
	size_t i, len = strlen(resource);

	if (!who->scopes)
		return true;
	json_array_foreach(who->scopes, i, scope) {
		const char *text = json_string_value(scope);

		if (!strncmp(text, resource, len) && text[len] == ':')
			text += len + 1;
		if (!strcmp(text, "write") || (!write && !strcmp(text, "read")))
			return true;
	}
	return false;
}

bool who_may_make_tokens(const struct who *who, struct refusal *why)
{
	const json_t *scope;
	size_t i;

	if (who->root || who->session || who_highest(who) >= ROLE_ADMIN)
		return true;
	json_array_foreach(who->scopes, i, scope)
		if (!strcmp(json_string_value(scope), "tokens:write"))
			return true;
	return refuse(why, 403, "scope_missing", "a token makes others only where its scopes have tokens:write by "
		      "name: log in, or use one that was made with that scope");
}

uint64_t who_until(const struct who *who, uint64_t ends_at)
{
	return who->ends_at && (!ends_at || who->ends_at < ends_at) ? who->ends_at : ends_at;
}

static bool in_group(const struct policy *policy, const char *group, const char *user)
{
	const struct selectors *who = NULL;

	for (unsigned i = 0; i < policy->group_count && !who; i++)
		if (!strcmp(policy->groups[i].word, group))
			who = &policy->groups[i].who;
	for (unsigned i = 0; who && i < who->count; i++)
		if (who->items[i].kind == SELECT_NAME && !strcmp(who->items[i].word, user))
			return true;
	return false;
}

bool who_owner(const struct policy *policy, const char *user)
{
	for (unsigned i = 0; i < policy->tag_count; i++)
		for (char **word = policy->tags[i].owners; *word; word++) {
			bool group = str_has_prefix(*word, "group:");

			if ((!group && !strcmp(*word, user)) ||
			    in_group(policy, *word + (group ? strlen("group:") : 0), user))
				return true;
		}
	return false;
}

static bool owns(const struct who *who, const struct policy *policy, const struct network *network,
		 const char *tag)
{
	const struct policy_named *owned = policy_tag(policy, tag);

	if (!owned || who_role(who, NULL) == ROLE_ADMIN)
		return true;
	for (char **word = owned->owners; *word; word++) {
		bool group = str_has_prefix(*word, "group:");
		enum role role = group ? ROLE_NONE : role_parse(*word);

		if (role != ROLE_NONE && who_role(who, network) >= role)
			return true;
		if (*who->user && ((!group && !strcmp(*word, who->user)) ||
				   in_group(policy, *word + (group ? strlen("group:") : 0), who->user)))
			return true;
	}
	return false;
}

static bool has(const json_t *tags, const json_t *tag)
{
	const json_t *each;
	size_t i;

	json_array_foreach(tags, i, each)
		if (json_equal(each, tag))
			return true;
	return false;
}

const char *who_lacks_tag(const struct who *who, const struct policy *policy, const struct network *network,
			  const json_t *tags)
{
	const json_t *tag;
	size_t i;

	json_array_foreach(tags, i, tag)
		if (!owns(who, policy, network, json_string_value(tag)))
			return json_string_value(tag);
	return NULL;
}

bool who_may_tag(const struct who *who, const struct policy *policy, const struct network *network,
		 const json_t *before, const json_t *tags, struct refusal *why)
{
	const json_t *lists[] = {before, tags}, *tag;
	size_t i;

	if (!who_may(who, network, why))
		return false;
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
		json_array_foreach(lists[k], i, tag) {
			const char *text = json_string_value(tag);

			if (!text || has(lists[!k], tag) || owns(who, policy, network, text))
				continue;
			return refuse(why, 403, "tag_not_allowed", "the policy names who gives the tag %.63s, "
				      "and you are not among them: ask one who is, or an administrator", text);
		}
	return true;
}
