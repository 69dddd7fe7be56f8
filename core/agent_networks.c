/*
 * Our own networks as the coordinator tells them: their addresses may become others, and one that we
 * were taken out of goes. No network comes but by a join: what is recorded there is what the rest is
 * measured by (rule 6). The tricky thing is a coordinator that has not heard of a join at another one
 * yet, and leaves that network out for a moment: what went is kept aside, and goes on once it is named
 * again.
 */
#include "agent_parts.h"

#include "lib/log.h"
#include <string.h>

static struct proto_network *recorded(struct agent *agent, const char *name)
{
	for (size_t i = 0; i < agent->state->network_count; i++) {
		if (strcmp(agent->state->networks[i].name, name) == 0)
			return &agent->state->networks[i];
	}
	return NULL;
}

static bool same_range(const struct prefix *a, const struct prefix *b)
{
	if (!a->addr.family || !b->addr.family)
		return a->addr.family == b->addr.family;
	return prefix_equal(a, b);
}

static bool has_address(const struct proto_network *network, const struct addr *addr)
{
	for (unsigned i = 0; i < network->address_count; i++) {
		if (addr_equal(&network->addresses[i].addr, addr))
			return true;
	}
	return false;
}

static unsigned count_family(const struct proto_network *network, uint8_t family)
{
	unsigned count = 0;

	for (unsigned i = 0; i < network->address_count; i++)
		count += network->addresses[i].addr.family == family;
	return count;
}

static bool same_addresses(const struct proto_network *a, const struct proto_network *b)
{
	for (unsigned i = 0; i < a->address_count; i++) {
		if (!has_address(b, &a->addresses[i].addr))
			return false;
	}
	return a->address_count == b->address_count;
}

/* Our own addresses: one of each family that we have, each ours alone. NULL: nothing is wrong. */
static const char *addresses_wrong(struct agent *agent, const struct proto_network *ours,
				   const struct proto_network *told, char reason[static GUARD_REASON])
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		unsigned count = count_family(told, families[i]);

		if (count > 1)
			return "the coordinator gave this host two addresses in one network";
		if (!count && count_family(ours, families[i]))
			return "the coordinator took an address from this host and gave it none";
	}
	for (unsigned i = 0; i < told->address_count; i++) {
		const struct addr *addr = &told->addresses[i].addr;

		if (has_address(ours, addr))
			continue;
		if (!guard_own_address(agent_facts(agent), addr,
				       addr->family == AF_INET ? &ours->cidr : &ours->cidr6, reason))
			return reason;
		if (netmap_has_address(agent->netmap, addr, &agent->public_key))
			return "the coordinator gave this host the address of a peer";
	}
	return NULL;
}

static const char *network_wrong(struct agent *agent, const struct proto_network *told,
				 char reason[static GUARD_REASON])
{
	const struct proto_network *ours = recorded(agent, told->name);

	if (!ours)
		return "the coordinator named a network that this host has not joined";
	if (!same_range(&ours->cidr, &told->cidr) || !same_range(&ours->cidr6, &told->cidr6))
		return "the coordinator gave a network another range than it had at join";
	return addresses_wrong(agent, ours, told, reason);
}

/* True: our addresses in it are others now. */
static bool take_network(struct agent *agent, json_t *item)
{
	char reason[GUARD_REASON];
	struct proto_network told, *ours;
	const char *wrong;
	struct js js;
	bool other;

	memset(&told, 0, sizeof(told));
	js_read(&js, item);
	wrong = proto_read_network(&js, &told)
			? network_wrong(agent, &told, reason)
			: "the coordinator sent a network that cannot be read";
	if (wrong) {
		agent_refused(agent, NULL, NULL, wrong);
		return false;
	}
	for (unsigned i = 0; i < told.address_count; i++)
		told.addresses[i].bits =
			told.addresses[i].addr.family == AF_INET ? told.cidr.bits : told.cidr6.bits;
	ours = recorded(agent, told.name);
	other = !same_addresses(ours, &told);
	*ours = told;
	return other;
}

/* ---- a network that we are in no more ---- */

static bool names(const json_t *list, const char *name)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *one = json_string_value(json_object_get(item, "name"));

		if (one && strcmp(one, name) == 0)
			return true;
	}
	return false;
}

/* A list with none of ours, or with an item that cannot be read, takes nothing away: a host without
 * any address could not even say what has happened to it. */
static bool may_leave_out(struct agent *agent, const json_t *list)
{
	const json_t *item;
	bool any = false;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (!name)
			return false;
		any |= recorded(agent, name) != NULL;
	}
	return any;
}

static void tell_left(struct agent *agent, const char *name)
{
	char reason[PROTO_NAME_MAX + 80];
	struct event event = {
		.type = EVENT_DEGRADED, .network = name, .reason = reason, .latency_ms = -1};

	snprintf(reason, sizeof(reason), "this host was removed from the network %s", name);
	agent_emit(agent, &event);
}

static void remove_ranges(struct agent *agent, const struct proto_network *network)
{
	for (unsigned i = 0; i < network->address_count; i++) {
		struct prefix range = prefix_mask(&network->addresses[i]);

		tunnel_remove_route(agent->tunnel, &range, agent->table);
	}
}

/* Out of the list at this place, to those aside. */
static void set_aside(struct agent *agent, size_t place)
{
	struct state *state = agent->state;
	struct proto_network gone = state->networks[place];

	agent->left = xrealloc(agent->left, (agent->left_count + 1) * sizeof(*agent->left));
	agent->left[agent->left_count++] = gone;
	state->network_count--;
	memmove(&state->networks[place], &state->networks[place + 1],
		(state->network_count - place) * sizeof(gone));
	remove_ranges(agent, &gone);
	tell_left(agent, gone.name);
}

/* True: there was one. */
static bool drop_left_out(struct agent *agent, const json_t *list)
{
	size_t before = agent->state->network_count;

	if (!may_leave_out(agent, list))
		return false;
	for (size_t i = before; i-- > 0;) {
		if (!names(list, agent->state->networks[i].name))
			set_aside(agent, i);
	}
	return agent->state->network_count != before;
}

/* True: there was one. There is room for it: it was taken from the same list. */
static bool bring_back(struct agent *agent, const json_t *list)
{
	struct state *state = agent->state;
	size_t before = agent->left_count;

	for (size_t i = before; i-- > 0;) {
		if (!names(list, agent->left[i].name))
			continue;
		log_info("network-back", "network=%s", agent->left[i].name);
		state->networks[state->network_count++] = agent->left[i];
		agent->left[i] = agent->left[--agent->left_count];
	}
	return agent->left_count != before;
}

/* ---- the whole ---- */

void agent_networks(void *arg, json_t *list)
{
	struct agent *agent = arg;
	bool other = bring_back(agent, list);
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) other |= take_network(agent, item);
	other |= drop_left_out(agent, list);
	agent->facts_dirty = true;
	agent_map_addresses(agent);
	if (other) { /* a peer may have been given what is ours now, or the other way */
		agent_map_routes(agent);
		agent_map_sources(agent);
		agent->recheck_all = true;
		task_defer(agent->loop, &agent->recheck);
	}
	agent_save_soon(agent);
}
