/*
 * policy_index.c - what a policy mentions, so that members can be told apart by nothing else, and which
 * rules fit each of these. CIDRs are nested or apart, never half overlapping: each is an atom, less the
 * atoms inside it.
 */
#include "policy_class.h"

#include <stdlib.h>
#include <string.h>

/* Rows of bits, a bit for each rule: of those that fit as `from`, then of those that fit as `to`. */
static uint64_t *new_rows(const struct policy_index *index)
{
	return xcalloc(2 * index->words, sizeof(uint64_t));
}

static void add_rows(const struct policy_index *index, uint64_t *rows, const uint64_t *more)
{
	for (unsigned w = 0; more && w < 2 * index->words; w++)
		rows[w] |= more[w];
}

static void add_atom(struct policy_index *index, const struct prefix *prefix)
{
	if ((index->atom_count & (index->atom_count - 1)) == 0)
		index->atoms = xrealloc(index->atoms,
					MAX(index->atom_count * 2, 1) * sizeof(*index->atoms));
	index->atoms[index->atom_count++] = (struct atom){.prefix = prefix_mask(prefix), .parent = -1};
}

static void mention(struct policy_index *index, const struct selectors *selectors)
{
	for (unsigned i = 0; i < selectors->count; i++)
		if (selectors->items[i].kind == SELECT_PREFIX)
			add_atom(index, &selectors->items[i].prefix);
}

static int compare(const void *a, const void *b)
{
	const struct prefix *x = &((const struct atom *)a)->prefix, *y = &((const struct atom *)b)->prefix;
	int order = (x->addr.family > y->addr.family) - (x->addr.family < y->addr.family);

	if (!order)
		order = memcmp(x->addr.bytes, y->addr.bytes, sizeof(x->addr.bytes));
	return order ? order : x->bits - y->bits;
}

static void arrange(struct policy_index *index)
{
	unsigned kept = 0;

	qsort(index->atoms, index->atom_count, sizeof(*index->atoms), compare);
	for (unsigned i = 0; i < index->atom_count; i++)
		if (!kept || compare(&index->atoms[kept - 1], &index->atoms[i]))
			index->atoms[kept++] = index->atoms[i];
	index->atom_count = kept;
	for (unsigned i = 1; i < kept; i++) {
		int parent = (int)i - 1;

		while (parent >= 0 &&
		       !prefix_covers(&index->atoms[parent].prefix, &index->atoms[i].prefix))
			parent = index->atoms[parent].parent;
		index->atoms[i].parent = parent;
	}
}

/* The last in order that is not behind it: itself, or what is around it, or apart from it; -1: none. */
static int last_before(const struct policy_index *index, const struct prefix *prefix)
{
	struct atom wanted = {.prefix = prefix_mask(prefix)};
	unsigned low = 0, high = index->atom_count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (compare(&index->atoms[middle], &wanted) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return (int)low - 1;
}

static uint64_t *word_rows(const struct policy_index *index, struct map *words, const char *word)
{
	uint64_t *rows = map_get(words, word);

	if (!rows) {
		rows = new_rows(index);
		map_put(words, word, rows);
	}
	return rows;
}

static uint64_t *rows_of(struct policy_index *index, const struct selector *selector)
{
	switch (selector->kind) {
	case SELECT_ANY:
		return index->any;
	case SELECT_SELF:
		return index->self;
	case SELECT_NAME:
		return word_rows(index, index->names, selector->word);
	case SELECT_TAG:
		return word_rows(index, index->tags, selector->word);
	case SELECT_NETWORK:
		return word_rows(index, index->networks, selector->word);
	case SELECT_PREFIX:
		break;
	}
	return index->atoms[last_before(index, &selector->prefix)].from;
}

static void mark(struct policy_index *index, const struct selectors *selectors, unsigned rule, bool to)
{
	for (unsigned i = 0; i < selectors->count; i++)
		rows_of(index, &selectors->items[i])[(to ? index->words : 0) + rule / 64] |= 1ull << (rule % 64);
}

/* Each selector marks its own row; what fits an atom fits those inside it. */
static void mark_rules(struct policy_index *index)
{
	for (unsigned i = 0; i < index->atom_count; i++) {
		index->atoms[i].from = new_rows(index);
		index->atoms[i].to = index->atoms[i].from + index->words;
	}
	for (unsigned i = 0; i < index->policy->rule_count; i++) {
		mark(index, &index->policy->rules[i].from, i, false);
		mark(index, &index->policy->rules[i].to, i, true);
	}
	for (unsigned i = 0; i < index->atom_count; i++) {
		int parent = index->atoms[i].parent;

		add_rows(index, index->atoms[i].from, parent < 0 ? index->any : index->atoms[parent].from);
	}
}

struct policy_index *policy_index_new(const struct policy *policy)
{
	struct policy_index *index = xcalloc(1, sizeof(*index));
	struct prefix whole = {.bits = 0};

	index->policy = policy;
	index->words = policy->rule_count / 64 + 1;
	index->names = map_new(0);
	index->tags = map_new(0);
	index->networks = map_new(0);
	index->any = new_rows(index);
	index->self = new_rows(index);
	whole.addr.family = AF_INET;
	add_atom(index, &whole);
	whole.addr.family = AF_INET6;
	add_atom(index, &whole);
	for (unsigned i = 0; i < policy->rule_count; i++) {
		mention(index, &policy->rules[i].from);
		mention(index, &policy->rules[i].to);
	}
	arrange(index);
	mark_rules(index);
	return index;
}

static void free_words(struct map *words)
{
	uint64_t *rows;
	size_t pos = 0;

	while ((rows = map_next(words, &pos, NULL)))
		free(rows);
	map_free(words);
}

void policy_index_free(struct policy_index *index)
{
	if (!index)
		return;
	for (unsigned i = 0; i < index->atom_count; i++)
		free(index->atoms[i].from);
	free(index->atoms);
	free_words(index->names);
	free_words(index->tags);
	free_words(index->networks);
	free(index->any);
	free(index->self);
	free(index);
}

int policy_index_atom(const struct policy_index *index, const struct prefix *inner)
{
	int at = last_before(index, inner);

	while (at >= 0 && !prefix_covers(&index->atoms[at].prefix, inner))
		at = index->atoms[at].parent;
	return at;
}

unsigned policy_index_inside(const struct policy_index *index, const struct prefix *outer)
{
	return (unsigned)(last_before(index, outer) + 1);
}

/* ---- deciding ------------------------------------------------------------------------------ */

void policy_index_rows(const struct policy_index *index, const struct party *party, uint64_t *rows)
{
	struct prefix host = party->addr.family ? prefix_host(&party->addr) : (struct prefix){0};
	const json_t *tag;
	size_t i;

	add_rows(index, rows, host.addr.family ? index->atoms[policy_index_atom(index, &host)].from : index->any);
	if (!party->name)
		return;
	add_rows(index, rows, map_get(index->names, party->name));
	if (party->network)
		add_rows(index, rows, map_get(index->networks, party->network));
	json_array_foreach(party->tags, i, tag)
		if (json_is_string(tag))
			add_rows(index, rows, map_get(index->tags, json_string_value(tag)));
}

static bool same_agent(const struct party *a, const struct party *b)
{
	return a->name && b->name && !strcmp(a->name, b->name) && a->network && b->network &&
	       !strcmp(a->network, b->network);
}

void policy_decide(const struct policy_index *index, const struct party *from, const struct party *to,
		   uint32_t point, struct verdict *out)
{
	uint64_t *source = new_rows(index), *target = new_rows(index);

	policy_index_rows(index, from, source);
	policy_index_rows(index, to, target);
	if (same_agent(from, to))
		add_rows(index, target, index->self);
	*out = (struct verdict){.allow = index->policy->default_allow, .rule = "default"};
	for (unsigned i = 0; i < index->policy->rule_count; i++) {
		const struct policy_rule *rule = &index->policy->rules[i];

		if (!(source[i / 64] & target[index->words + i / 64] & 1ull << (i % 64)) ||
		    !ports_has(&rule->ports, point))
			continue;
		*out = (struct verdict){.allow = rule->allow, .rule = rule->name, .line = rule->line};
		break;
	}
	free(source);
	free(target);
}
