/*
 * policy_class.c - finding a member's class, and which classes see each other. A new class is compared
 * with all others of its network once; after that seeing is one bit.
 */
#include "policy_class.h"
#include "lib/buf.h"

#include <stdlib.h>
#include <string.h>

/* ---- what passes between two points ------------------------------------------------------------ */

unsigned points_accept(const struct policy_index *index, const struct point *from, const struct point *to,
		   struct ports *out)
{
	const struct policy *policy = index->policy;
	struct ports open = {0}, hit;
	unsigned steps = index->words;

	*out = (struct ports){0};
	ports_add(&open, 0, POINT_LAST);
	for (unsigned w = 0; w < index->words && open.count; w++) {
		uint64_t both = from->from[w] & to->to[w];

		for (; both && open.count; both &= both - 1) {
			const struct policy_rule *rule =
				&policy->rules[w * 64 + (unsigned)__builtin_ctzll(both)];

			steps += 16 + open.count + out->count + rule->ports.count;
			ports_intersect(&hit, &open, &rule->ports);
			if (rule->allow)
				ports_union(out, &hit);
			ports_subtract(&open, &hit);
			ports_free(&hit);
		}
	}
	if (policy->default_allow)
		ports_union(out, &open);
	ports_free(&open);
	return steps;
}

/* Is anything accepted? Mostly the first rule that fits knows, without arithmetic. */
static bool points_meet(const struct policy_index *index, const struct point *from,
			const struct point *to)
{
	const struct policy *policy = index->policy;
	struct ports accepted;
	bool any;

	for (unsigned w = 0; w < index->words; w++) {
		uint64_t both = from->from[w] & to->to[w];

		if (!both)
			continue;
		if (policy->rules[w * 64 + (unsigned)__builtin_ctzll(both)].allow)
			return true;
		points_accept(index, from, to, &accepted);
		any = accepted.count;
		ports_free(&accepted);
		return any;
	}
	return policy->default_allow;
}

static bool classes_meet(const struct policy_index *index, const struct class *a, const struct class *b)
{
	for (unsigned i = 0; i < a->kind_count; i++)
		for (unsigned j = 0; j < b->kind_count; j++) {
			const struct point *x = a->kinds[i], *y = b->kinds[j];

			if (x->family == y->family &&
			    (points_meet(index, x, y) || points_meet(index, y, x)))
				return true;
		}
	return false;
}

bool class_sees(const struct class *a, const struct class *b)
{
	return b->slot / 64 < a->sees_words && (a->sees[b->slot / 64] >> (b->slot % 64) & 1);
}

unsigned class_accepts(const struct classes *classes, const struct class *from, const struct class *to,
		   struct ports *out)
{
	struct ports more;
	unsigned steps = 16;

	*out = (struct ports){0};
	for (unsigned i = 0; i < from->own_count; i++)
		for (unsigned j = 0; j < to->own_count; j++) {
			const struct point *x = &from->points[i], *y = &to->points[j];

			if (x->family != y->family)
				continue;
			steps += points_accept(classes->index, x, y, &more);
			ports_union(out, &more);
			ports_free(&more);
		}
	return steps;
}

/* ---- a class and its key ------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void key_tags(struct buf *key, const struct policy_index *index, const json_t *tags)
{
	const char **known = xcalloc(json_array_size(tags), sizeof(*known));
	const json_t *item;
	size_t i, count = 0;

	json_array_foreach(tags, i, item)
		if (json_is_string(item) && map_get(index->tags, json_string_value(item)))
			known[count++] = json_string_value(item);
	if (count)
		qsort(known, count, sizeof(*known), by_text);
	for (i = 0; i < count; i++)
		if (!i || strcmp(known[i], known[i - 1]))
			buf_addf(key, "#%s", known[i]);
	free(known);
}

static void key_prefix(struct buf *key, char mark, const struct prefix *prefix)
{
	char text[PREFIX_TEXT];

	prefix_format(text, prefix);
	buf_addf(key, "%c%s", mark, text);
}

bool atom_in_network(const struct classes *classes, int atom)
{
	const struct prefix *prefix = &classes->index->atoms[atom].prefix;

	return prefix_covers(&classes->ranges[0], prefix) || prefix_covers(&classes->ranges[1], prefix);
}

struct reached { /* atoms, in order, each once */
	unsigned *atoms, count;
};

static void add_reached(struct reached *reached, unsigned atom)
{
	if ((reached->count & (reached->count - 1)) == 0)
		reached->atoms = xrealloc(reached->atoms, MAX(reached->count * 2, 1) * sizeof(*reached->atoms));
	reached->atoms[reached->count++] = atom;
}

static int by_number(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return (x > y) - (x < y);
}

/* Which atoms the routes reach into; a route into the mesh's own range reaches nothing. */
static void reach(const struct classes *classes, const struct policy_who *who, struct reached *reached)
{
	const struct policy_index *index = classes->index;
	unsigned kept = 0;

	for (unsigned r = 0; r < who->route_count; r++) {
		const struct prefix *route = &who->routes[r];

		if (prefix_covers(&classes->ranges[0], route) || prefix_covers(&classes->ranges[1], route))
			continue;
		add_reached(reached, (unsigned)policy_index_atom(index, route));
		for (unsigned i = policy_index_inside(index, route);
		     i < index->atom_count && prefix_covers(route, &index->atoms[i].prefix); i++)
			if (!atom_in_network(classes, (int)i))
				add_reached(reached, i);
	}
	if (reached->count)
		qsort(reached->atoms, reached->count, sizeof(*reached->atoms), by_number);
	for (unsigned i = 0; i < reached->count; i++)
		if (!kept || reached->atoms[kept - 1] != reached->atoms[i])
			reached->atoms[kept++] = reached->atoms[i];
	reached->count = kept;
}

static void write_key(struct buf *key, const struct classes *classes, const struct policy_who *who,
		      const struct reached *reached)
{
	const struct policy_index *index = classes->index;

	if (map_get(index->names, who->name))
		buf_puts(key, who->name);
	key_tags(key, index, who->tags);
	for (unsigned i = 0; i < ARRAY_SIZE(who->addresses); i++)
		if (who->addresses[i].family) {
			struct prefix host = prefix_host(&who->addresses[i]);

			key_prefix(key, '@', &index->atoms[policy_index_atom(index, &host)].prefix);
		}
	for (unsigned i = 0; i < reached->count; i++)
		key_prefix(key, '>', &index->atoms[reached->atoms[i]].prefix);
}

static struct class *make_class(const struct classes *classes, const struct policy_who *who,
				const struct reached *reached, const char *key)
{
	const struct policy_index *index = classes->index;
	struct class *class = xcalloc(1, sizeof(*class));

	class->key = xstrdup(key);
	class->own = xcalloc(4 * index->words, sizeof(*class->own));
	class->points = xcalloc(2 + reached->count, sizeof(*class->points));
	list_init(&class->members);
	list_init(&class->dirty);
	for (unsigned i = 0; i < ARRAY_SIZE(who->addresses); i++) {
		uint64_t *from = class->own + 2 * i * index->words, *to = from + index->words;
		struct party party = {.name = who->name, .network = classes->network, .tags = who->tags,
				      .addr = who->addresses[i]};

		if (!party.addr.family)
			continue;
		policy_index_rows(index, &party, from);
		class->points[class->point_count++] = (struct point){
			.family = who->addresses[i].family, .atom = -1, .from = from, .to = to};
	}
	class->own_count = class->point_count;
	for (unsigned i = 0; i < reached->count; i++) {
		const struct atom *atom = &index->atoms[reached->atoms[i]];

		class->points[class->point_count++] = (struct point){
			.family = atom->prefix.addr.family, .atom = (int)reached->atoms[i],
			.from = atom->from, .to = atom->to};
	}
	return class;
}

/* An exit has a point for every atom, and most of them are alike. */
static void find_kinds(const struct policy_index *index, struct class *class)
{
	size_t row = index->words * sizeof(*class->own);
	uint8_t *key = xcalloc(1, 1 + 2 * row);
	struct map *known = map_new(1 + 2 * row);

	class->kinds = xcalloc(class->point_count, sizeof(*class->kinds));
	for (unsigned i = 0; i < class->point_count; i++) {
		struct point *point = &class->points[i];

		key[0] = point->family;
		memcpy(key + 1, point->from, row);
		memcpy(key + 1 + row, point->to, row);
		if (!map_put(known, key, point))
			class->kinds[class->kind_count++] = point;
	}
	map_free(known);
	free(key);
}

static void set_seen(struct class *class, struct class *other)
{
	unsigned words = other->slot / 64 + 1;

	if (words > class->sees_words) {
		class->sees = xrealloc(class->sees, 2 * words * sizeof(*class->sees));
		memset(class->sees + class->sees_words, 0,
		       (2 * words - class->sees_words) * sizeof(*class->sees));
		class->sees_words = 2 * words;
	}
	class->sees[other->slot / 64] |= 1ull << (other->slot % 64);
	if ((class->seen_count & (class->seen_count - 1)) == 0)
		class->seen = xrealloc(class->seen, MAX(class->seen_count * 2, 1) * sizeof(*class->seen));
	class->seen[class->seen_count++] = other;
}

static void add_class(struct classes *classes, struct class *class)
{
	class->slot = classes->count;
	if ((classes->count & (classes->count - 1)) == 0)
		classes->all = xrealloc(classes->all, MAX(classes->count * 2, 1) * sizeof(*classes->all));
	classes->all[classes->count++] = class;
	map_put(classes->by_key, class->key, class);
	if (!classes->blind)
		find_kinds(classes->index, class);
	for (unsigned i = 0; !classes->blind && i < classes->count; i++) {
		struct class *other = classes->all[i];

		if (!classes_meet(classes->index, class, other))
			continue;
		set_seen(class, other);
		if (other != class)
			set_seen(other, class);
	}
}

struct class *classes_find(struct classes *classes, const struct policy_who *who, bool *made)
{
	struct reached reached = {0};
	struct class *class, *before;
	struct buf key = {0};

	reach(classes, who, &reached);
	write_key(&key, classes, who, &reached);
	class = map_get(classes->by_key, buf_text(&key));
	*made = !class;
	if (!class) {
		class = make_class(classes, who, &reached, buf_text(&key));
		before = classes->before ? map_get(classes->before->by_key, class->key) : NULL;
		class->id = before ? before->id : classes->next_id++;
		add_class(classes, class);
	}
	buf_free(&key);
	free(reached.atoms);
	return class;
}

/* ---- the table ------------------------------------------------------------------------------------- */

struct classes *classes_new(const struct policy_index *index, const char *network,
			    const struct prefix *cidr, const struct prefix *cidr6,
			    const struct classes *before)
{
	struct classes *classes = xcalloc(1, sizeof(*classes));

	classes->index = index;
	classes->before = before;
	memcpy(classes->network, network, strnlen(network, sizeof(classes->network) - 1));
	if (cidr)
		classes->ranges[0] = *cidr;
	if (cidr6)
		classes->ranges[1] = *cidr6;
	classes->by_key = map_new(0);
	classes->next_id = before ? before->next_id : 1;
	return classes;
}

void classes_free(struct classes *classes)
{
	if (!classes)
		return;
	for (unsigned i = 0; i < classes->count; i++) {
		struct class *class = classes->all[i];

		list_del(&class->dirty);
		free(class->key);
		free(class->points);
		free(class->kinds);
		free(class->own);
		free(class->sees);
		free(class->seen);
		free(class->rules);
		free(class);
	}
	free(classes->all);
	map_free(classes->by_key);
	free(classes);
}
