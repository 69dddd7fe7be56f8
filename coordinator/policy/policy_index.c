/*
 * policy_index.c - what a policy mentions, so that members can be told apart by nothing else. CIDRs
 * are nested or apart, never half overlapping: each is an atom, less the atoms inside it.
 */
#include "policy_class.h"

#include <stdlib.h>
#include <string.h>

static char mentioned;

static void add_atom(struct policy_index *index, const struct prefix *prefix)
{
	if ((index->atom_count & (index->atom_count - 1)) == 0)
		index->atoms = xrealloc(index->atoms,
					MAX(index->atom_count * 2, 1) * sizeof(*index->atoms));
	index->atoms[index->atom_count++] = (struct atom){.prefix = prefix_mask(prefix), .parent = -1};
}

static void mention(struct policy_index *index, const struct selectors *selectors)
{
	for (unsigned i = 0; i < selectors->count; i++) {
		const struct selector *selector = &selectors->items[i];

		if (selector->kind == SELECT_NAME)
			map_put(index->names, selector->word, &mentioned);
		else if (selector->kind == SELECT_TAG)
			map_put(index->tags, selector->word, &mentioned);
		else if (selector->kind == SELECT_PREFIX)
			add_atom(index, &selector->prefix);
	}
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

static bool fits_atom(const struct selectors *selectors, const struct prefix *prefix)
{
	for (unsigned i = 0; i < selectors->count; i++)
		if (selectors->items[i].kind == SELECT_ANY ||
		    (selectors->items[i].kind == SELECT_PREFIX &&
		     prefix_covers(&selectors->items[i].prefix, prefix)))
			return true;
	return false;
}

static void mark_rules(struct policy_index *index)
{
	for (unsigned a = 0; a < index->atom_count; a++) {
		struct atom *atom = &index->atoms[a];

		atom->from = xcalloc(index->words, sizeof(*atom->from));
		atom->to = xcalloc(index->words, sizeof(*atom->to));
		for (unsigned i = 0; i < index->policy->rule_count; i++) {
			uint64_t bit = 1ull << (i % 64);

			if (fits_atom(&index->policy->rules[i].from, &atom->prefix))
				atom->from[i / 64] |= bit;
			if (fits_atom(&index->policy->rules[i].to, &atom->prefix))
				atom->to[i / 64] |= bit;
		}
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

void policy_index_free(struct policy_index *index)
{
	if (!index)
		return;
	for (unsigned i = 0; i < index->atom_count; i++) {
		free(index->atoms[i].from);
		free(index->atoms[i].to);
	}
	free(index->atoms);
	map_free(index->names);
	map_free(index->tags);
	free(index);
}

/* The last in order that is around it is the narrowest. */
int policy_index_atom(const struct policy_index *index, const struct prefix *inner)
{
	int at = (int)index->atom_count;

	while (--at >= 0 && !prefix_covers(&index->atoms[at].prefix, inner))
		;
	return at;
}
