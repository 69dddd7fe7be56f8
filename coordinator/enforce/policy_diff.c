/*
 * policy_diff.c - what would be otherwise under another policy, said of groups of agents that are alike
 * under both: between their own addresses, and of their routes.
 */
#include "policy_state.h"
#include "lib/buf.h"

#include <stdio.h>
#include <string.h>

#define MAX_LINES 500
#define MAX_NAMED 3 /* agents of a group that are named */

struct alike {
	const struct class *before, *now;
	const struct member *some[MAX_NAMED];
	unsigned count;
};

struct comparing {
	const struct network *network;
	struct classes *now;
	struct map *by_key;
	struct alike **all;
	unsigned count;
	json_t *out;
};

static void add(struct comparing *c, const struct class *before, const struct class *now,
		const struct member *member)
{
	const uint32_t key[2] = {before->slot, now->slot};
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
		alike->some[alike->count] = member;
	alike->count++;
}

/* The member as the other policy would have it; its routes are put back. */
static void gather(struct comparing *c, const struct policy *next)
{
	struct member *member;
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
				json_array_append_new(c->out, json_pack(
					"{sssssosbsb}", "network", c->network->name, "agent", member->name,
					"route", js_from_prefix(&route->prefix), "before", kept[i].approved,
					"after", route->approved));
			*route = kept[i];
		}
		free(kept);
		if (member->class)
			add(c, member->class, classes_find(c->now, &who, &made), member);
	}
}

static char *describe(const struct alike *alike)
{
	struct buf out = {0};

	for (unsigned i = 0; i < MIN(alike->count, (unsigned)MAX_NAMED); i++)
		buf_addf(&out, "%s%s", i ? ", " : "", alike->some[i]->name);
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
	class_accepts(c->network->classes, from->before, to->before, &before);
	class_accepts(c->now, from->now, to->now, &after);
	if (!ports_equal(&before, &after) && json_array_size(c->out) < MAX_LINES) {
		ports_format(was, &before);
		ports_format(is, &after);
		source = describe(from);
		target = describe(to);
		json_array_append_new(c->out, json_pack("{ssssssssss}", "network", c->network->name, "from",
							source, "to", target, "before", was, "after", is));
		free(source);
		free(target);
	}
	ports_free(&before);
	ports_free(&after);
}

json_t *policy_compare(const struct coordinator *co, const struct policy *next)
{
	struct policy_index *index = policy_index_new(next);
	json_t *out = json_array();
	const struct network *network;

	list_each(network, &co->mesh.networks, node) {
		struct comparing c = {.network = network, .out = out};

		if (!network->classes)
			continue;
		c.by_key = map_new(2 * sizeof(uint32_t));
		c.now = classes_new(index, network->name, &network->cidr, &network->cidr6, NULL);
		gather(&c, next);
		for (unsigned i = 0; i < c.count; i++)
			for (unsigned k = 0; k < c.count; k++)
				compare(&c, c.all[i], c.all[k]);
		for (unsigned i = 0; i < c.count; i++)
			free(c.all[i]);
		free(c.all);
		map_free(c.by_key);
		classes_free(c.now);
	}
	policy_index_free(index);
	return out;
}
