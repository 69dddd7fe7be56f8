/*
 * policy_words.c - the words of a policy: selectors, groups, and complaints about them.
 *
 * Groups may hold groups. They are taken apart once, on first use, and a group that is met again while it
 * is being taken apart is a circle.
 */
#include "policy_private.h"
#include "lib/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- complaints --------------------------------------------------------------------- */

bool policy_fail(struct parse *p, const struct spot *spot, bool at_key, const char *format, ...)
{
	unsigned line = 1, column = 1;
	va_list args;
	int len;

	if (at_key && spot->key)
		yaml_where_key(p->yaml, spot->parent, spot->key, &line, &column);
	else
		yaml_where_value(p->yaml, spot->parent, spot->key, spot->index, &line, &column);
	len = snprintf(p->error, POLICY_ERROR, "%s:%u:%u: ", p->policy->name, line, column);
	va_start(args, format);
	if (len > 0 && len < POLICY_ERROR)
		vsnprintf(p->error + len, POLICY_ERROR - (size_t)len, format, args);
	va_end(args);
	str_mend(p->error);
	return false;
}

static bool fail_near(struct parse *p, const struct spot *spot, const char *prefix, const char *word,
		      const struct policy_named *all, unsigned count, const char *what)
{
	const char **names = xcalloc(count + 1, sizeof(*names)), *near;

	for (unsigned i = 0; i < count; i++)
		names[i] = all[i].word;
	near = str_nearest(word, names);
	free(names);
	if (near)
		return policy_fail(p, spot, false, "there is no %s %.60s, did you mean \"%s%s\"?", what, word,
			    prefix, near);
	return policy_fail(p, spot, false, "there is no %s %.60s: write it under %ss first", what, word, what);
}

/* ---- selectors ------------------------------------------------------------------------ */

bool policy_count_words(struct parse *p, const struct spot *spot, unsigned more)
{
	p->words += more;
	return p->words <= MAX_WORDS ||
	       policy_fail(p, spot, false, "more than %d words in all lists, groups taken apart: give the agents of a "
			   "large group a tag, and write that in place of it", MAX_WORDS);
}

struct selecting { /* a list that is being read */
	unsigned flags;
	struct selectors *out;
	struct map *seen; /* what it has: "KIND WORD" */
};

static bool add_selector(struct parse *p, const struct spot *spot, struct selecting *list,
			 const struct selector *selector)
{
	struct selectors *out = list->out;
	char key[POLICY_WORD + 4];

	snprintf(key, sizeof(key), "%d %s", selector->kind, selector->word);
	if (map_put(list->seen, key, p))
		return true;
	if (out->count == MAX_LIST)
		return policy_fail(p, spot, false, "more than %d words in one list, groups taken apart: give these "
			    "agents a tag, and write that", MAX_LIST);
	if ((out->count & (out->count - 1)) == 0)
		out->items = xrealloc(out->items, MAX(out->count * 2, 1) * sizeof(*out->items));
	out->items[out->count++] = *selector;
	return true;
}

const struct policy_named *policy_take_group(struct parse *p, const struct spot *spot, const char *word)
{
	struct policy_named *group = map_get(p->group_names, word);
	size_t i = group ? (size_t)(group - p->policy->groups) : 0;

	if (!group) {
		fail_near(p, spot, "group:", word, p->policy->groups, p->policy->group_count, "group");
		return NULL;
	}
	if (p->state[i] == OPEN) {
		policy_fail(p, spot, false, "the group %s holds itself", word);
		return NULL;
	}
	if (p->state[i] == FRESH) {
		p->state[i] = OPEN;
		if (!policy_take_list(p, p->groups, group->word, 0, &group->who))
			return NULL;
		p->state[i] = DONE;
	}
	return group;
}

static bool add_group(struct parse *p, const struct spot *spot, const char *word, struct selecting *list)
{
	const struct policy_named *group = policy_take_group(p, spot, word);

	if (!group || !policy_count_words(p, spot, group->who.count))
		return false;
	for (unsigned i = 0; i < group->who.count; i++)
		if (!add_selector(p, spot, list, &group->who.items[i]))
			return false;
	return true;
}

static bool bad_word(struct parse *p, const struct spot *spot, const char *word)
{
	static const char *const kinds[] = {"tag", "group", "network", NULL};
	size_t len = strcspn(word, ":");
	const char *near;
	char kind[16];

	if (word[len] == ':') {
		snprintf(kind, sizeof(kind), "%.*s", (int)len, word);
		near = str_nearest(kind, kinds);
		if (near)
			return policy_fail(p, spot, false, "\"%.60s\" is not known, did you mean \"%s%.60s\"?",
				    word, near, word + len);
	}
	return policy_fail(p, spot, false, "\"%.60s\" is none of: an agent's or device's name, tag:NAME, group:NAME, "
		    "network:NAME, a CIDR, a name under hosts, any, self", word);
}

/* tag:NAME and network:NAME. */
static bool take_kind(struct parse *p, const struct spot *spot, const char *word, const char *name,
		      enum selector_kind kind, struct selector *out)
{
	out->kind = kind;
	if (!name_valid(name))
		return policy_fail(p, spot, false, "\"%.80s\": a name is 1 to 63 characters of a-z, 0-9 and '-'",
			    word);
	return str_copy(out->word, sizeof(out->word), name);
}

static bool take_special(struct parse *p, const struct spot *spot, const char *word, unsigned flags,
			 struct selector *out)
{
	bool self = !strcmp(word, "self");

	out->kind = self ? SELECT_SELF : SELECT_ANY;
	if (self && !(flags & WITH_SELF))
		return policy_fail(p, spot, false, "self can stand under to: only: it is the agent that the "
			    "packet comes from");
	if (!self && !(flags & WITH_ANY))
		return policy_fail(p, spot, false, "any cannot be in a group: write it in the rule");
	return true;
}

bool policy_whole_prefix(struct parse *p, const struct spot *spot, bool key, const struct prefix *prefix)
{
	struct prefix masked = prefix_mask(prefix), host = *prefix;
	char wide[PREFIX_TEXT], narrow[PREFIX_TEXT], given[PREFIX_TEXT];

	if (addr_equal(&prefix->addr, &masked.addr))
		return true;
	host.bits = prefix->addr.family == AF_INET ? 32 : 128;
	prefix_format(given, prefix);
	prefix_format(wide, &masked);
	prefix_format(narrow, &host);
	return policy_fail(p, spot, key, "%s has bits beyond its length: did you mean %s or %s?", given, wide, narrow);
}

static bool take_name(struct parse *p, const struct spot *spot, const char *word, struct selector *out)
{
	const struct policy_named *host = map_get(p->host_names, word);

	out->kind = SELECT_PREFIX;
	if (host) {
		out->prefix = host->prefix;
	} else if (prefix_parse(&out->prefix, word)) {
		if (!policy_whole_prefix(p, spot, false, &out->prefix))
			return false;
	} else {
		out->kind = SELECT_NAME;
		if (!name_valid(word))
			return bad_word(p, spot, word);
	}
	if (policy_reserved(word))
		return policy_fail(p, spot, false, "%s is a reserved word, no agent has this name", word);
	if (out->kind == SELECT_NAME && map_get(p->group_names, word))
		return policy_fail(p, spot, false, "%s is a group, did you mean \"group:%s\"?", word, word);
	if (out->kind == SELECT_PREFIX)
		prefix_format(out->word, &out->prefix);
	else
		str_copy(out->word, sizeof(out->word), word);
	return true;
}

static bool take_word(struct parse *p, const struct spot *spot, const char *word, void *arg)
{
	struct selecting *list = arg;
	struct selector selector = {0};
	bool ok;

	yaml_where_value(p->yaml, spot->parent, spot->key, spot->index, &selector.at.line, &selector.at.column);
	if (str_has_prefix(word, "group:"))
		return add_group(p, spot, word + 6, list);
	if (!strcmp(word, "any") || !strcmp(word, "self"))
		ok = take_special(p, spot, word, list->flags, &selector);
	else if (str_has_prefix(word, "tag:"))
		ok = take_kind(p, spot, word, word + 4, SELECT_TAG, &selector);
	else if (str_has_prefix(word, "network:"))
		ok = take_kind(p, spot, word, word + 8, SELECT_NETWORK, &selector);
	else
		ok = take_name(p, spot, word, &selector);
	return ok && add_selector(p, spot, list, &selector);
}

/* A list of words, or one word in its place. */
bool policy_each_word(struct parse *p, const json_t *parent, const char *key, item_fn *fn, void *arg)
{
	const json_t *value = json_object_get(parent, key), *item;
	struct spot spot = {parent, key, 0};
	size_t i;

	if (json_is_string(value))
		return policy_count_words(p, &spot, 1) && fn(p, &spot, json_string_value(value), arg);
	if (!json_is_array(value))
		return policy_fail(p, &spot, false, "%s: must be a list of words", key);
	if (!json_array_size(value))
		return policy_fail(p, &spot, false, "%s: the list is empty", key);
	json_array_foreach(value, i, item) {
		struct spot at = {value, NULL, i};

		if (i == MAX_LIST)
			return policy_fail(p, &at, false, "%s: more than %d words in one list", key, MAX_LIST);
		if (!json_is_string(item))
			return policy_fail(p, &at, false, "%s: must be text%s", key,
				    json_is_integer(item) || json_is_boolean(item) ? ", put it in quotes"
										   : "");
		if (!policy_count_words(p, &at, 1) || !fn(p, &at, json_string_value(item), arg))
			return false;
	}
	return true;
}

bool policy_take_list(struct parse *p, const json_t *parent, const char *key, unsigned flags,
		      struct selectors *out)
{
	struct selecting list = {flags, out, map_new(0)};
	bool ok = policy_each_word(p, parent, key, take_word, &list);

	map_free(list.seen);
	return ok;
}
