/*
 * policy_diff.c - what would be otherwise under another policy, said of groups of agents that are alike
 * under both: between their own addresses, and of their routes. The loop waits meanwhile, so it ends when
 * there are enough lines, or it has taken long; then it says that it is not all.
 */
#include "policy_state.h"
#include "coordinator/mesh/device.h"
#include "lib/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINES 500
#define MAX_NAMED 3 /* agents and devices of a group that are named */
#define MAX_STEPS 20000000 /* some 100 ms */

struct alike { /* the same rules fit their own addresses */
	const struct class *before, *now;
	const char *some[MAX_NAMED];
	unsigned count;
};

struct comparing {
	const struct network *network;
	struct classes *now;
	struct map *by_key;
	struct alike **all;
	unsigned count;
	json_t *out;
	size_t key_len;
	unsigned steps;
	bool cut; /* there may be more */
};

static void add_line(struct comparing *c, json_t *line)
{
	if (json_array_size(c->out) < MAX_LINES) {
		json_array_append_new(c->out, line);
		return;
	}
	json_decref(line);
	c->cut = true;
}

/* What tells it from others, new: which addresses it has, and the rules that fit these, before and now. */
static uint64_t *key_of(const struct comparing *c, const struct class *before, const struct class *now)
{
	size_t rows = 4 * c->network->classes->index->words;
	uint64_t *key = xcalloc(c->key_len, 1);

	for (unsigned i = 0; i < now->point_count; i++)
		if (now->points[i].atom < 0)
			key[0] |= 1ull << now->points[i].family;
	memcpy(key + 1, before->own, rows * sizeof(*key));
	memcpy(key + 1 + rows, now->own, c->key_len - (1 + rows) * sizeof(*key));
	return key;
}

static void add(struct comparing *c, const struct class *before, const struct class *now,
		const char *name)
{
	uint64_t *key = key_of(c, before, now);
	struct alike *alike = map_get(c->by_key, key);

	if (!alike) {
		alike = xcalloc(1, sizeof(*alike));
		alike->before = before;
		alike->now = now;
		map_put(c->by_key, key, alike);
		if ((c->count & (c->count - 1)) == 0)
			c->all = xrealloc(c->all, MAX(c->count * 2, 1) * sizeof(*c->all));
		c->all[c->count++] = alike;
	}
	if (alike->count < MAX_NAMED)
		alike->some[alike->count] = name;
	alike->count++;
	free(key);
}

/* The member as the other policy would have it; its routes are put back. */
static void gather(struct comparing *c, const struct policy *next)
{
	const struct device *device;
	struct member *member;
	size_t pos = 0;
	bool made;

	list_each(member, &c->network->members, in_network) {
		struct route *kept = xcalloc(member->route_count, sizeof(*kept));
		struct prefix routes[PROTO_MAX_ROUTES];
		struct policy_who who = {.name = member->name, .tags = member->tags, .routes = routes};

		if (member->route_count)
			memcpy(kept, member->routes, member->route_count * sizeof(*kept));
		policy_judge_routes(next, member);
		who.addresses[0] = member->address;
		who.addresses[1] = member->address6;
		for (unsigned i = 0; i < member->route_count; i++) {
			struct route *route = &member->routes[i];

			if (route->approved)
				routes[who.route_count++] = route->prefix;
			if (route->approved != kept[i].approved)
				add_line(c, json_pack("{sssssosbsb}", "network", c->network->name, "agent", member->name,
						      "route", js_from_prefix(&route->prefix), "before",
						      kept[i].approved, "after", route->approved));
			*route = kept[i];
		}
		free(kept);
		if (member->class)
			add(c, member->class, classes_find(c->now, &who, &made), member->name);
	}
	while ((device = map_next(c->network->devices, &pos, NULL))) {
		struct policy_who who = policy_device(device);

		add(c, device->class, classes_find(c->now, &who, &made), device->name);
	}
}

static char *describe(const struct alike *alike)
{
	struct buf out = {0};

	for (unsigned i = 0; i < MIN(alike->count, (unsigned)MAX_NAMED); i++)
		buf_addf(&out, "%s%s", i ? ", " : "", alike->some[i]);
	if (alike->count > MAX_NAMED)
		buf_addf(&out, " and %u more", alike->count - MAX_NAMED);
	return buf_text(&out);
}

static void compare(struct comparing *c, const struct alike *from, const struct alike *to)
{
	char was[PORTS_TEXT], is[PORTS_TEXT], *source, *target;
	struct ports before, after;

	if (from == to && from->count == 1)
		return;
	c->steps += class_accepts(c->network->classes, from->before, to->before, &before);
	c->steps += class_accepts(c->now, from->now, to->now, &after);
	if (!ports_equal(&before, &after)) {
		ports_format(was, &before);
		ports_format(is, &after);
		source = describe(from);
		target = describe(to);
		add_line(c, json_pack("{ssssssssss}", "network", c->network->name, "from", source, "to", target,
				      "before", was, "after", is));
		free(source);
		free(target);
	}
	ports_free(&before);
	ports_free(&after);
}

static void compare_all(struct comparing *c, const struct policy_index *index, const struct policy *next)
{
	c->key_len = (1 + 4 * (c->network->classes->index->words + index->words)) * sizeof(uint64_t);
	c->by_key = map_new(c->key_len);
	c->now = classes_new(index, c->network->name, &c->network->cidr, &c->network->cidr6, NULL);
	c->now->blind = true;
	gather(c, next);
	for (unsigned i = 0; i < c->count; i++)
		for (unsigned k = 0; k < c->count && !c->cut; k++) {
			compare(c, c->all[i], c->all[k]);
			c->cut |= c->steps > MAX_STEPS;
		}
	for (unsigned i = 0; i < c->count; i++)
		free(c->all[i]);
	free(c->all);
	c->all = NULL;
	c->count = 0;
	map_free(c->by_key);
	classes_free(c->now);
}

json_t *policy_compare(const struct coordinator *co, const struct policy *next, bool *complete)
{
	struct policy_index *index = policy_index_new(next);
	struct comparing c = {.out = json_array()};

	list_each(c.network, &co->mesh.networks, node)
		if (c.network->classes && !c.cut)
			compare_all(&c, index, next);
	policy_index_free(index);
	*complete = !c.cut;
	return c.out;
}
