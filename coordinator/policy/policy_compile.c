/*
 * policy_compile.c - what an agent's firewall accepts, as a list without order: denials and priorities
 * are worked into it. Equal to policy_decide for every packet that can come out of the agent's tunnel
 * (a property test holds the one against the other).
 *
 * Peers are named by class. What lies behind peers, and behind this agent, is said in prefixes, which
 * never mean addresses of the network's own range; so that range makes no holes in them.
 */
#include "policy_class.h"

#include <stdlib.h>
#include <string.h>

struct cell { /* sources that may send `ports` to the targets */
	uint8_t family; /* 0: both */
	bool own;       /* target is an address of its own; else target atoms */
	struct ports ports;
	uint64_t *classes, *sources, *targets; /* bits of slots, atoms, atoms */
};

struct compiling {
	const struct classes *classes;
	unsigned class_words, atom_words;
	struct cell *cells;
	unsigned count;
};

static void set_bit(uint64_t *bits, unsigned at)
{
	bits[at / 64] |= 1ull << (at % 64);
}

static bool has_bit(const uint64_t *bits, unsigned at)
{
	return bits[at / 64] >> (at % 64) & 1;
}

/* ---- gathering ----------------------------------------------------------------------------------- */

static struct cell *push(struct compiling *c, struct cell **list, unsigned *count)
{
	struct cell *cell;

	if ((*count & (*count - 1)) == 0)
		*list = xrealloc(*list, MAX(*count * 2, 1) * sizeof(**list));
	cell = &(*list)[(*count)++];
	*cell = (struct cell){0};
	cell->classes = xcalloc(c->class_words, sizeof(*cell->classes));
	cell->sources = xcalloc(c->atom_words, sizeof(*cell->sources));
	cell->targets = xcalloc(c->atom_words, sizeof(*cell->targets));
	return cell;
}

static void free_cell(struct cell *cell)
{
	ports_free(&cell->ports);
	free(cell->classes);
	free(cell->sources);
	free(cell->targets);
}

/* The cell of these ports among those of one target; takes ports. */
static struct cell *cell_of(struct compiling *c, struct cell **list, unsigned *count, struct ports *ports)
{
	struct cell *cell;

	for (unsigned i = 0; i < *count; i++)
		if (ports_equal(&(*list)[i].ports, ports)) {
			ports_free(ports);
			return &(*list)[i];
		}
	cell = push(c, list, count);
	cell->ports = *ports;
	return cell;
}

static bool same_sources(const struct compiling *c, const struct cell *a, const struct cell *b)
{
	return ports_equal(&a->ports, &b->ports) &&
	       !memcmp(a->classes, b->classes, c->class_words * sizeof(*a->classes)) &&
	       !memcmp(a->sources, b->sources, c->atom_words * sizeof(*a->sources));
}

static bool no_sources(const struct compiling *c, const struct cell *cell)
{
	for (unsigned i = 0; i < c->atom_words; i++)
		if (cell->sources[i])
			return false;
	return true;
}

/* Takes the cell: one with the same sources grows by its target, or it is added. */
static void merge(struct compiling *c, struct cell *cell)
{
	for (unsigned i = 0; i < c->count; i++) {
		struct cell *other = &c->cells[i];

		if (other->own != cell->own || !same_sources(c, other, cell))
			continue;
		if (cell->own && other->family != cell->family && no_sources(c, cell)) {
			other->family = 0;
		} else if (!cell->own && other->family == cell->family) {
			for (unsigned w = 0; w < c->atom_words; w++)
				other->targets[w] |= cell->targets[w];
		} else {
			continue;
		}
		free_cell(cell);
		return;
	}
	if ((c->count & (c->count - 1)) == 0)
		c->cells = xrealloc(c->cells, MAX(c->count * 2, 1) * sizeof(*c->cells));
	c->cells[c->count++] = *cell;
}

static void merge_all(struct compiling *c, struct cell *list, unsigned count, const struct point *target)
{
	for (unsigned i = 0; i < count; i++) {
		list[i].family = target->family;
		list[i].own = target->atom < 0;
		if (target->atom >= 0)
			set_bit(list[i].targets, (unsigned)target->atom);
		merge(c, &list[i]);
	}
	free(list);
}

static void from_classes(struct compiling *c, const struct class *class, const struct point *target)
{
	struct cell *list = NULL;
	unsigned count = 0;
	struct ports ports;

	for (unsigned s = 0; s < class->seen_count; s++) {
		const struct class *source = class->seen[s];

		for (unsigned i = 0; i < source->point_count; i++) {
			if (source->points[i].atom >= 0 || source->points[i].family != target->family)
				continue;
			points_accept(c->classes->index, &source->points[i], target, &ports);
			if (ports.count)
				set_bit(cell_of(c, &list, &count, &ports)->classes, source->slot);
		}
	}
	merge_all(c, list, count, target);
}

static void from_atoms(struct compiling *c, const struct point *target)
{
	const struct policy_index *index = c->classes->index;
	struct cell *list = NULL;
	unsigned count = 0;
	struct ports ports;

	for (unsigned i = 0; i < index->atom_count; i++) {
		const struct atom *atom = &index->atoms[i];
		struct point source = {.family = atom->prefix.addr.family, .atom = (int)i,
				       .from = atom->from, .to = atom->to};

		if (source.family != target->family || atom_in_network(c->classes, (int)i))
			continue;
		points_accept(index, &source, target, &ports);
		if (ports.count)
			set_bit(cell_of(c, &list, &count, &ports)->sources, i);
	}
	merge_all(c, list, count, target);
}

/* ---- atoms as prefixes ---------------------------------------------------------------------------- */

struct region {
	struct prefix *prefixes;
	unsigned count;
};

static void push_prefix(struct region *region, const struct prefix *prefix)
{
	if ((region->count & (region->count - 1)) == 0)
		region->prefixes = xrealloc(region->prefixes,
					    MAX(region->count * 2, 1) * sizeof(*region->prefixes));
	region->prefixes[region->count++] = *prefix;
}

/* The prefix without the holes, which are all in it, apart and in order: halves, until a half is whole or a hole. */
static void cut(struct region *out, const struct prefix *prefix, const struct prefix *holes,
		unsigned count)
{
	struct prefix half = {.addr = prefix->addr, .bits = (uint8_t)(prefix->bits + 1)};
	unsigned first = 0;

	if (!count) {
		push_prefix(out, prefix);
		return;
	}
	if (prefix_covers(&holes[0], prefix))
		return;
	while (first < count && prefix_covers(&half, &holes[first]))
		first++;
	cut(out, &half, holes, first);
	half.addr.bytes[prefix->bits / 8] |= (uint8_t)(0x80 >> (prefix->bits % 8));
	cut(out, &half, holes + first, count - first);
}

static void region_of(const struct compiling *c, const uint64_t *set, struct region *out)
{
	const struct policy_index *index = c->classes->index;
	uint64_t *bits = xmemdup(set, c->atom_words * sizeof(*bits));
	int *root = xcalloc(index->atom_count, sizeof(*root));
	struct region holes = {0};

	*out = (struct region){0};
	for (unsigned i = 0; i < index->atom_count; i++) {
		int parent = index->atoms[i].parent;
		bool joined = parent >= 0 && has_bit(bits, (unsigned)parent);

		if (joined && atom_in_network(c->classes, (int)i)) /* no matter: no hole for it */
			set_bit(bits, i);
		root[i] = joined ? root[parent] : (int)i; /* of a hole: what it is cut out of */
	}
	for (unsigned i = 0; i < index->atom_count; i++) {
		if (!has_bit(bits, i) || root[i] != (int)i)
			continue;
		holes.count = 0;
		for (unsigned k = i + 1; k < index->atom_count &&
		     prefix_covers(&index->atoms[i].prefix, &index->atoms[k].prefix); k++)
			if (!has_bit(bits, k) && root[k] == (int)i)
				push_prefix(&holes, &index->atoms[k].prefix);
		cut(out, &index->atoms[i].prefix, holes.prefixes, holes.count);
	}
	free(holes.prefixes);
	free(bits);
	free(root);
}

/* ---- rules ------------------------------------------------------------------------------------------ */

static const struct {
	enum proto_protocol protocol;
	uint32_t low, high;
	bool ports;
} parts[] = {
	{PROTO_TCP, POINT_TCP, POINT_UDP - 1, true},
	{PROTO_UDP, POINT_UDP, POINT_ICMP - 1, true},
	{PROTO_ICMP, POINT_ICMP, POINT_ICMP, false},
	{PROTO_OTHER, POINT_OTHER, POINT_OTHER, false},
};

/* The cell's rule but for protocol and ports. */
static struct proto_rule *add_rule(const struct compiling *c, const struct cell *cell,
				   struct proto_rule **out, unsigned *count)
{
	struct region sources, targets;
	struct proto_rule *rule;

	if ((*count & (*count - 1)) == 0)
		*out = xrealloc(*out, MAX(*count * 2, 1) * sizeof(**out));
	rule = &(*out)[(*count)++];
	region_of(c, cell->sources, &sources);
	region_of(c, cell->targets, &targets);
	*rule = (struct proto_rule){
		.family = cell->family, .own = cell->own,
		.sources = sources.prefixes, .source_count = sources.count,
		.targets = targets.prefixes, .target_count = targets.count,
	};
	rule->classes = xcalloc(c->classes->count, sizeof(*rule->classes));
	for (unsigned i = 0; i < c->classes->count; i++)
		if (has_bit(cell->classes, i))
			rule->classes[rule->class_count++] = c->classes->all[i]->id;
	return rule;
}

static void add_part(const struct compiling *c, const struct cell *cell, size_t part,
		     struct proto_rule **out, unsigned *count)
{
	uint32_t low = parts[part].low, high = parts[part].high;
	struct port_range range = {low, high};
	struct ports whole = {&range, 1}, hit;
	struct proto_rule *rule;

	ports_intersect(&hit, &cell->ports, &whole);
	if (hit.count) {
		rule = add_rule(c, cell, out, count);
		rule->protocol = parts[part].protocol;
		if (parts[part].ports && !ports_equal(&hit, &whole)) {
			rule->ports = xcalloc(hit.count, sizeof(*rule->ports));
			rule->port_count = hit.count;
			for (unsigned i = 0; i < hit.count; i++)
				rule->ports[i] = (struct proto_ports){
					(uint16_t)(hit.ranges[i].low - low),
					(uint16_t)(hit.ranges[i].high - low)};
		}
	}
	ports_free(&hit);
}

unsigned class_compile(const struct classes *classes, const struct class *class, struct proto_rule **out)
{
	struct compiling c = {.classes = classes, .class_words = classes->count / 64 + 1,
			      .atom_words = classes->index->atom_count / 64 + 1};
	unsigned count = 0;

	*out = NULL;
	for (unsigned i = 0; i < class->point_count; i++) {
		from_classes(&c, class, &class->points[i]);
		from_atoms(&c, &class->points[i]);
	}
	for (unsigned i = 0; i < c.count; i++) {
		const struct ports *ports = &c.cells[i].ports;

		if (ports->ranges[0].low == 0 && ports->ranges[0].high == POINT_LAST)
			add_rule(&c, &c.cells[i], out, &count)->protocol = PROTO_ANY;
		else
			for (size_t part = 0; part < ARRAY_SIZE(parts); part++)
				add_part(&c, &c.cells[i], part, out, &count);
		free_cell(&c.cells[i]);
	}
	free(c.cells);
	return count;
}

json_t *class_rules_json(const struct classes *classes, const struct class *class)
{
	json_t *list = json_array();
	struct proto_rule *rules;
	unsigned count = class_compile(classes, class, &rules);

	for (unsigned i = 0; i < count; i++) {
		json_array_append_new(list, proto_write_rule(&rules[i]));
		proto_rule_fini(&rules[i]);
	}
	free(rules);
	return list;
}

const char *class_rules(const struct classes *classes, struct class *class)
{
	json_t *json;

	if (!class->rules) {
		json = class_rules_json(classes, class);
		class->rules = js_dump(json);
		json_decref(json);
	}
	return class->rules;
}
