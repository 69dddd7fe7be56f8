/*
 * policy_range.c - a range of addresses judged by its parts: one address of each that rules may tell apart.
 *
 * The atoms of a policy's index that are inside the range cut it into parts of addresses that the same CIDRs are
 * around. The agents and devices that have addresses in it are parts of their own where a rule may go by their name
 * or tags; of all others one stands for those of its network in the same part.
 */
#include "policy_range.h"
#include "coordinator/mesh/device.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 2000 /* of one range, and pairs of parts that are judged for one question */

struct parts {
	const struct policy_index *index;
	struct prefix range;
	struct addr *edges; /* the first address of each part, in order */
	unsigned edge_count;
	struct party *items;
	unsigned count, looked_at; /* agents and devices */
	bool too_many;
};

/* ---- addresses ------------------------------------------------------------------------------- */

/* False: it was the last there is. */
static bool next_after(const struct prefix *prefix, struct addr *out)
{
	struct prefix masked = prefix_mask(prefix);
	int bit = masked.bits - 1;

	*out = masked.addr;
	for (; bit >= 0 && out->bytes[bit / 8] & (0x80 >> bit % 8); bit--)
		out->bytes[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	if (bit >= 0)
		out->bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return bit >= 0;
}

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct addr *)a)->bytes, ((const struct addr *)b)->bytes, sizeof(((struct addr *)0)->bytes));
}

static void cut(struct parts *parts)
{
	const struct policy_index *index = parts->index;
	unsigned at = policy_index_inside(index, &parts->range), end = at, kept = 0, count = 0;
	struct addr *edges;

	while (end - at <= MAX_PARTS && end < index->atom_count && prefix_covers(&parts->range, &index->atoms[end].prefix))
		end++;
	parts->too_many = end - at > MAX_PARTS;
	if (parts->too_many)
		end = at;
	edges = parts->edges = xcalloc(2 * (end - at) + 1, sizeof(*edges));
	edges[count++] = parts->range.addr;
	for (; at < end; at++) {
		edges[count++] = index->atoms[at].prefix.addr;
		if (next_after(&index->atoms[at].prefix, &edges[count]) && prefix_contains(&parts->range, &edges[count]))
			count++;
	}
	qsort(edges, count, sizeof(*edges), compare);
	for (unsigned i = 0; i < count; i++)
		if (!kept || compare(&edges[kept - 1], &edges[i]))
			edges[kept++] = edges[i];
	parts->edge_count = kept;
}

/* The part that an address of the range is in. */
static unsigned part_of(const struct parts *parts, const struct addr *addr)
{
	unsigned low = 0, high = parts->edge_count;

	while (high - low > 1) {
		unsigned middle = (low + high) / 2;

		if (compare(&parts->edges[middle], addr) <= 0)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* ---- parties ------------------------------------------------------------------------------------ */

static void add(struct parts *parts, const struct party *party)
{
	if ((parts->count & (parts->count - 1)) == 0)
		parts->items = xrealloc(parts->items, MAX(parts->count * 2, 1) * sizeof(*parts->items));
	parts->items[parts->count++] = *party;
}

static bool mentioned(const struct policy_index *index, const struct party *party)
{
	const json_t *tag;
	size_t i;

	if (map_get(index->names, party->name))
		return true;
	json_array_foreach(party->tags, i, tag)
		if (map_get(index->tags, json_string_value(tag)))
			return true;
	return false;
}

/* `other` is at the other end of the packet: a rule may say `self`. `seen`: parts that have one of those whom no rule
 * names. */
static void add_named(struct parts *parts, const struct party *party, const struct party *other, bool *seen)
{
	bool alone = mentioned(parts->index, party) || (other->name && !strcmp(party->name, other->name));
	unsigned part = part_of(parts, &party->addr);

	if (alone || !seen[part])
		add(parts, party);
	seen[part] |= !alone;
}

static const struct addr *within(const struct prefix *range, const struct addr *addr, const struct addr *addr6)
{
	return prefix_contains(range, addr) ? addr : prefix_contains(range, addr6) ? addr6 : NULL;
}

static void add_network(struct parts *parts, const struct network *network, const struct party *other)
{
	bool *seen = xcalloc(parts->edge_count, sizeof(*seen));
	const struct member *member;
	const struct device *device;
	const struct addr *addr;
	size_t pos = 0;

	list_each(member, &network->members, in_network) {
		parts->looked_at++;
		addr = within(&parts->range, &member->address, &member->address6);
		if (addr)
			add_named(parts, &(struct party){member->name, network->name, member->tags, *addr}, other, seen);
	}
	while ((device = map_next(network->devices, &pos, NULL))) {
		parts->looked_at++;
		addr = within(&parts->range, &device->address, &device->address6);
		if (addr)
			add_named(parts, &(struct party){device->name, network->name, NULL, *addr}, other, seen);
	}
	free(seen);
}

static bool is_in(const struct network *network, const struct addr *addr)
{
	return map_get(network->addresses, addr) || device_at(network, addr);
}

static bool is_somebodys(const struct coordinator *co, const struct network *only, const struct addr *addr)
{
	const struct network *network;

	if (only)
		return is_in(only, addr);
	list_each(network, &co->mesh.networks, node)
		if (is_in(network, addr))
			return true;
	return false;
}

/* An address of each part that is nobody's, where there is one. */
static void add_addresses(struct parts *parts, const struct coordinator *co, const struct network *only)
{
	for (unsigned i = 0; i < parts->edge_count; i++) {
		struct party party = {.addr = parts->edges[i]};
		bool inside = true;

		while (inside && is_somebodys(co, only, &party.addr)) {
			const struct prefix host = prefix_host(&party.addr);

			inside = next_after(&host, &party.addr) && prefix_contains(&parts->range, &party.addr) &&
				 part_of(parts, &party.addr) == i;
		}
		if (inside)
			add(parts, &party);
	}
}

static void take_apart(struct parts *parts, const struct coordinator *co, const struct resolved *side,
		       const struct party *other)
{
	const struct network *only = other->name ? mesh_network(&co->mesh, other->network) : NULL, *network;

	if (!side->range.addr.family) {
		add(parts, &side->party);
		if (side->other.addr.family)
			add(parts, &side->other);
		return;
	}
	parts->range = side->range;
	cut(parts);
	if (parts->too_many)
		return;
	add_addresses(parts, co, only);
	list_each(network, &co->mesh.networks, node)
		if ((!only || network == only) && (prefix_overlaps(&network->cidr, &parts->range) ||
						   prefix_overlaps(&network->cidr6, &parts->range)))
			add_network(parts, network, other);
}

/* ---- judging ------------------------------------------------------------------------------------ */

static bool same_rule(const struct verdict *a, const struct verdict *b)
{
	return a->allow == b->allow && a->line == b->line && !strcmp(a->rule, b->rule);
}

/* The first, and one that is judged otherwise, or by another rule where none is. */
static unsigned judge(const struct parts *from, const struct parts *to, uint32_t point, struct judged out[static 2])
{
	unsigned count = 0;

	for (unsigned i = 0; i < from->count; i++)
		for (unsigned k = 0; k < to->count; k++) {
			struct judged judged = {.from = from->items[i], .to = to->items[k]};

			if (judged.from.addr.family != judged.to.addr.family)
				continue;
			if (judged.from.name && judged.to.name && strcmp(judged.from.network, judged.to.network))
				continue; /* agents of two networks never meet */
			policy_decide(from->index, &judged.from, &judged.to, point, &judged.verdict);
			if (count && same_rule(&judged.verdict, &out[0].verdict))
				continue;
			if (count < 2)
				out[count++] = judged;
			if (judged.verdict.allow == out[0].verdict.allow)
				continue;
			out[1] = judged;
			return 2;
		}
	return count;
}

/* What a question costs, in pairs that are judged: some microseconds each. */
static unsigned cost_of(const struct parts *parts)
{
	return 1 + parts->edge_count / 8 + parts->looked_at / 32;
}

bool policy_judge_range(const struct coordinator *co, const struct policy_index *index, const struct resolved *from,
			const struct resolved *to, uint32_t point, unsigned *patience, struct judged out[static 2],
			unsigned *count)
{
	struct parts sources = {.index = index}, targets = {.index = index};
	uint64_t pairs;
	bool fits;

	if (!*patience)
		return false;
	take_apart(&sources, co, from, &to->party);
	take_apart(&targets, co, to, &from->party);
	pairs = (uint64_t)sources.count * targets.count;
	fits = !sources.too_many && !targets.too_many && pairs <= MAX_PARTS;
	if (fits)
		*count = judge(&sources, &targets, point, out);
	pairs = (fits ? pairs : 0) + cost_of(&sources) + cost_of(&targets);
	*patience -= (unsigned)MIN(pairs, *patience);
	free(sources.edges);
	free(sources.items);
	free(targets.edges);
	free(targets.items);
	return fits;
}
