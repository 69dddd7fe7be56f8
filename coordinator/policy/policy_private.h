/*
 * policy_private.h - shared between policy_parse.c and policy_words.c: a file that is being parsed.
 */
#ifndef COORDINATOR_POLICY_PRIVATE_H
#define COORDINATOR_POLICY_PRIVATE_H

#include "policy.h"
#include "lib/map.h"

#define MAX_NAMED 2000  /* groups, hosts, tags, approvals of routes: each */
#define MAX_LIST  4096  /* words of one list, groups taken apart */
#define MAX_WORDS 50000 /* of all lists together: what a policy costs grows with them */
#define MAX_PORTS 10000 /* of all rules: what it costs to compare two agents does */

struct parse {
	struct policy *policy;
	struct yaml *yaml;
	const json_t *groups;
	enum { FRESH, OPEN, DONE } state[MAX_NAMED]; /* of groups */
	struct map *group_names, *host_names;         /* to struct policy_named */
	unsigned words, ports;                        /* taken so far, doubles too */
	char *error;                                  /* POLICY_ERROR bytes */
};

struct spot { /* of a value: what holds it */
	const json_t *parent;
	const char *key; /* NULL: item of a list */
	size_t index;
};

/* Always false: file:line:column and a sentence, of the value, or of its key. */
bool policy_fail(struct parse *p, const struct spot *spot, bool at_key, const char *format, ...)
	PRINTF_LIKE(4, 5);

enum { WITH_ANY = 1, WITH_SELF = 2 };

/* Counts words of a list, MAX_WORDS at most. */
bool policy_count_words(struct parse *p, const struct spot *spot, unsigned more);
/* A list of words, or one word in its place, each counted; false ends it. */
typedef bool item_fn(struct parse *p, const struct spot *spot, const char *word, void *arg);
bool policy_each_word(struct parse *p, const json_t *parent, const char *key, item_fn *fn, void *arg);
/* The same as selectors, groups taken apart. */
bool policy_take_list(struct parse *p, const json_t *parent, const char *key, unsigned flags,
		      struct selectors *out);
/* Refuses one whose address has bits beyond its length: a /8 where a /32 was meant would open everything. */
bool policy_whole_prefix(struct parse *p, const struct spot *spot, bool key, const struct prefix *prefix);
/* The group, taken apart; NULL: it failed. */
const struct policy_named *policy_take_group(struct parse *p, const struct spot *spot, const char *word);

#endif
