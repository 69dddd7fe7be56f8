/*
 * apply.c - rows that another coordinator has changed, put into our memory; the agents and who else it
 * concerns are told as if it had been changed here. Nothing is written, but that sessions end (apply_user).
 *
 * The changes of one bulletin come in one by one, so for a moment two may have the same name or address:
 * the one that was read last has it. Where something is gone from the database, it is gone here; that is
 * also how what was refused disappears.
 */
#include "cluster_private.h"
#include "coordinator/mesh/device.h"
#include "heal.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/mesh/relays.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "coordinator/access/users.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <string.h>

/* ---- networks, keys ------------------------------------------------------------------------------- */

void apply_network(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct network *network = map_get(co->mesh.networks_by_id, reading->id);
	struct prefix cidr, cidr6;

	if (!mesh_row_ranges(row, &cidr, &cidr6))
		return;
	if (!network)
		network = mesh_network_add(&co->mesh, reading->id, store_string(&row[1]), &cidr, &cidr6);
	mesh_row_network(row, network);
}

bool apply_network_end(struct coordinator *co, struct reading *reading)
{
	struct network *network = map_get(co->mesh.networks_by_id, reading->id);

	if (reading->found || !network)
		return true;
	if (network->member_count || map_count(network->devices))
		return false; /* who was in it goes first */
	mesh_network_del(&co->mesh, network);
	return true;
}

void apply_key(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct network *network = map_get(co->mesh.networks_by_id, store_string(&row[2]));
	struct join_key *key = map_get(co->mesh.keys, reading->id);

	if (!network || row[1].type != STORE_BLOB || row[1].len != HASH_LEN)
		return;
	mesh_row_key(row, key ? key : mesh_key_add(&co->mesh, reading->id, row[1].data, network));
}

bool apply_key_end(struct coordinator *co, struct reading *reading)
{
	struct join_key *key = map_get(co->mesh.keys, reading->id);

	if (!reading->found && key)
		mesh_key_del(&co->mesh, key);
	return true;
}

/* ---- addresses ------------------------------------------------------------------------------------- */

/* But where another member has it already: one that was read before. */
static void release(struct network *network, const struct member *but, struct ipam *ipam,
		    const struct addr *addr)
{
	const struct member *has = map_get(network->addresses, addr);

	if (ipam && addr->family && (!has || has == but))
		ipam_release(ipam, addr, clock_wall_ms() + IPAM_REST_MS);
}

static bool set_address(struct member *member, struct ipam *ipam, struct addr *addr,
			const struct store_value *value)
{
	struct addr now = {0};

	if (!ipam || (!addr_parse(&now, store_string(value)) && !addr->family) || addr_equal(&now, addr))
		return false;
	release(member->network, member, ipam, addr);
	mesh_unmap(member->network->addresses, addr, member);
	*addr = now;
	if (now.family)
		ipam_claim(ipam, addr);
	return true;
}

/* ---- agents ---------------------------------------------------------------------------------------- */

static void drop_device(struct coordinator *co, struct device *device)
{
	release(device->network, NULL, device->network->ipam, &device->address);
	release(device->network, NULL, device->network->ipam6, &device->address6);
	device_del(&co->mesh, device);
}

static void drop_member(struct coordinator *co, struct member *member)
{
	struct network *network = member->network;
	struct device *device, *tmp;

	list_each_safe(device, tmp, &member->agent->devices, in_agent)
		if (device->network == network)
			drop_device(co, device);
	release(network, member, network->ipam, &member->address);
	release(network, member, network->ipam6, &member->address6);
	sync_remove(co->sync, network, member->agent->id);
	mesh_member_del(member);
}

static void drop_agent(struct coordinator *co, struct agent *agent)
{
	struct member *member, *tmp;

	list_each_safe(member, tmp, &agent->members, in_agent)
		drop_member(co, member);
	sync_cut(co->sync, agent, "removed");
	mesh_agent_del(&co->mesh, agent);
}

void apply_agent(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct agent *agent = map_get(co->mesh.agents, reading->id);
	struct key key;

	if (!mesh_row_public_key(&row[1], &key))
		return;
	reading->fresh = !agent;
	if (!agent) {
		agent = mesh_agent_add(&co->mesh, reading->id, &key);
		mesh_row_seen(row, agent);
	} else if (!key_equal(&agent->public_key, &key)) {
		mesh_agent_rekey(&co->mesh, agent, &key);
		reading->changed = true;
	}
	reading->was_expired = mesh_expired(agent);
	mesh_row_agent(row, agent);
	reading->agent = agent;
}

void apply_member(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct network *network = map_get(co->mesh.networks_by_id, store_string(&row[1]));
	struct applied *applied = &reading->members[reading->member_count];
	struct member *member;
	bool shown, known;
	json_t *tags;

	if (!reading->agent || !network || reading->member_count == PROTO_MAX_NETWORKS)
		return;
	reading->member_count++;
	member = mesh_member(reading->agent, network);
	known = member != NULL;
	applied->fresh = !known;
	if (!known) {
		member = mesh_member_add(reading->agent, network, store_string(&row[2]));
	} else if (strcmp(member->name, store_string(&row[2]))) {
		mesh_member_rename(member, store_string(&row[2]));
		applied->changed = true;
	}
	applied->member = member;
	applied->changed |= set_address(member, network->ipam, &member->address, &row[3]);
	applied->changed |= set_address(member, network->ipam6, &member->address6, &row[4]);
	mesh_member_addressed(member);
	shown = mesh_shown(member);
	tags = json_incref(member->tags);
	mesh_row_member(row, member);
	applied->changed |= !json_equal(tags, member->tags);
	applied->fresh |= mesh_shown(member) != shown;
	applied->ended = known && shown && !mesh_shown(member);
	json_decref(tags);
}

void apply_route(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct applied *applied;
	struct prefix prefix;

	(void)co;
	for (unsigned i = 0; i < reading->member_count; i++) {
		applied = &reading->members[i];
		if (strcmp(applied->member->network->id, store_string(&row[1])) ||
		    applied->route_count == PROTO_MAX_ROUTES || !prefix_parse(&prefix, store_string(&row[2])))
			continue;
		applied->routes = xrealloc(applied->routes,
					   (applied->route_count + 1) * sizeof(*applied->routes));
		applied->routes[applied->route_count] = (struct route){.prefix = prefix};
		route_set_word(&applied->routes[applied->route_count++], row[3].number);
	}
}

static const struct route *route_of(const struct member *member, const struct prefix *prefix)
{
	for (unsigned i = 0; i < member->route_count; i++)
		if (prefix_equal(&member->routes[i].prefix, prefix))
			return &member->routes[i];
	return NULL;
}

static void settle_routes(struct applied *applied)
{
	struct member *member = applied->member;

	applied->changed |= applied->route_count != member->route_count;
	for (unsigned i = 0; i < applied->route_count; i++) {
		const struct route *before = route_of(member, &applied->routes[i].prefix);

		applied->changed |= !before || route_word(before) != route_word(&applied->routes[i]);
	}
	free(member->routes);
	member->routes = applied->routes;
	member->route_count = applied->route_count;
}

/* True: it is in fewer networks than before. */
static bool drop_others(struct coordinator *co, const struct reading *reading)
{
	struct member *member, *tmp;
	bool any = false;

	list_each_safe(member, tmp, &reading->agent->members, in_agent) {
		bool there = false;

		for (unsigned i = 0; i < reading->member_count; i++)
			there |= reading->members[i].member == member;
		if (there)
			continue;
		drop_member(co, member);
		any = true;
	}
	return any;
}

bool apply_agent_end(struct coordinator *co, struct reading *reading)
{
	struct agent *agent = reading->found ? reading->agent : map_get(co->mesh.agents, reading->id);
	bool reset;

	if (!agent)
		return true;
	if (!reading->found) {
		drop_agent(co, agent);
		return true;
	}
	reset = drop_others(co, reading);
	for (unsigned i = 0; i < reading->member_count; i++) {
		struct applied *applied = &reading->members[i];

		settle_routes(applied);
		if (applied->ended)
			sync_remove(co->sync, applied->member->network, agent->id);
		if (!(applied->ended && applied->member->expired) &&
		    (applied->fresh || applied->changed || (reading->changed && !applied->member->expired)))
			sync_put(co->sync, applied->member); /* one that waits is told to the dashboard alone */
		reset |= applied->fresh;
	}
	if (reset)
		sync_reset(co->sync, agent);
	if (mesh_expired(agent) && !reading->was_expired) {
		agent->online = false;
		sync_cut(co->sync, agent, "expired");
	}
	if (reading->fresh && !mesh_expired(agent))
		cluster_known(reading->cluster, agent);
	return true;
}

/* ---- devices ------------------------------------------------------------------------------------- */

void apply_device(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct network *network = map_get(co->mesh.networks_by_id, store_string(&row[1]));
	struct agent *via = map_get(co->mesh.agents, store_string(&row[2]));
	struct device *device;
	struct key key;

	if (!network || !via || !mesh_row_public_key(&row[4], &key) ||
	    map_get(co->mesh.devices, reading->id)) /* it is never changed */
		return;
	device = device_add(&co->mesh, reading->id, store_string(&row[3]), network, via, &key);
	if (addr_parse(&device->address, store_string(&row[5])))
		ipam_claim(network->ipam, &device->address);
	if (network->ipam6 && addr_parse(&device->address6, store_string(&row[6])))
		ipam_claim(network->ipam6, &device->address6);
	device_addressed(device);
	device->created_at = (uint64_t)row[7].number;
	sync_device(co->sync, device);
}

bool apply_device_end(struct coordinator *co, struct reading *reading)
{
	struct device *device = map_get(co->mesh.devices, reading->id);
	struct agent *via;

	if (reading->found || !device)
		return true;
	via = device->via;
	drop_device(co, device);
	sync_reset(co->sync, via);
	return true;
}

/* ---- who administers, relays, policy, the rest ------------------------------------------------------ */

/* Who raised a role has ended the links and sessions that it knew of; of those begun here it may not have heard. */
void apply_user(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	struct user *user = map_get(co->users.by_name, reading->id);
	json_t *before = user ? json_incref(user->roles) : NULL;

	user_row(co, row);
	if (before && who_raised(before, user->roles)) {
		store_begin(co->store);
		access_end_sessions(co, user, "");
	}
	json_decref(before);
}

bool apply_user_end(struct coordinator *co, struct reading *reading)
{
	if (!reading->found)
		user_gone(co, reading->id);
	return true;
}

void apply_token(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	if (!map_get(co->users.accesses, reading->id)) /* it is never changed */
		access_row(co, row);
}

bool apply_token_end(struct coordinator *co, struct reading *reading)
{
	if (!reading->found)
		access_gone(co, reading->id);
	return true;
}

void apply_relay(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	if (!reading->found)
		relays_free(co);
	relays_row(co, row);
}

bool apply_relays_end(struct coordinator *co, struct reading *reading)
{
	if (!reading->found)
		relays_free(co);
	sync_relays(co->sync, false);
	return true;
}

void apply_policy(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	(void)reading;
	policy_row(co, row);
}

void apply_meta(struct coordinator *co, struct reading *reading, const struct store_value *row)
{
	heal_row(co, row);
	policy_taken_row(co, row);
	reading->changed |= policy_waiting_row(co, row);
}

bool apply_meta_end(struct coordinator *co, struct reading *reading)
{
	if (!reading->changed)
		policy_none_waits(co);
	return true;
}
