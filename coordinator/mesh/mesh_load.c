/*
 * mesh_load.c - the mesh from its tables, at the start; and what single rows say, for apply.c too. A row
 * that does not make sense is left out with a log line; it stays in the database for a person to look at.
 */
#include "mesh.h"
#include "device.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <string.h>

#define NO_LIMIT INT64_MAX

struct loading {
	struct mesh *mesh;
	uint64_t wall_ms;
};

static void bad_row(const char *table, const struct store_value *row)
{
	log_warn("bad-row", "table=%s id=%s reason=\"a row of the database makes no sense and is left "
		 "out\"", table, store_string(&row[0]));
}

static json_t *parse(const struct store_value *value)
{
	char error[JS_ERROR];

	return value->type == STORE_TEXT ? js_load(value->data, value->len, error) : NULL;
}

static json_t *row_tags(const struct store_value *value)
{
	json_t *tags = parse(value);

	if (json_is_array(tags))
		return tags;
	json_decref(tags);
	return json_array();
}

bool mesh_row_public_key(const struct store_value *value, struct key *out)
{
	if (value->type != STORE_BLOB || value->len != KEY_LEN)
		return false;
	memcpy(out->bytes, value->data, KEY_LEN);
	return true;
}

/* ---- one by one -------------------------------------------------------------------------------- */

bool mesh_row_ranges(const struct store_value *row, struct prefix *cidr, struct prefix *cidr6)
{
	memset(cidr6, 0, sizeof(*cidr6));
	return prefix_parse(cidr, store_string(&row[2])) &&
	       (row[3].type != STORE_TEXT || prefix_parse(cidr6, store_string(&row[3])));
}

void mesh_row_network(const struct store_value *row, struct network *network)
{
	network->created_at = (uint64_t)row[4].number;
	network->approve = row[5].number;
}

void mesh_row_agent(const struct store_value *row, struct agent *agent)
{
	agent->created_at = (uint64_t)row[2].number;
	json_decref(agent->capabilities);
	agent->capabilities = parse(&row[3]);
	agent->tokens_from = (uint64_t)row[7].number;
}

void mesh_row_seen(const struct store_value *row, struct agent *agent)
{
	json_t *at = parse(&row[4]);
	struct proto_endpoints endpoints;
	struct js js;

	if (at) {
		js_read(&js, at);
		if (proto_read_endpoints(&js, &endpoints))
			where_set(&agent->at, &endpoints);
		json_decref(at);
	}
	agent->last_seen = (uint64_t)row[5].number;
	agent->online = row[6].number;
	str_copy(agent->home, sizeof(agent->home), store_string(&row[8]));
	agent->home_since = (uint64_t)row[9].number;
}

void mesh_row_member(const struct store_value *row, struct member *member)
{
	if (row[10].number && !member->expired)
		member->expired_at = clock_wall_ms();
	json_decref(member->tags);
	member->tags = row_tags(&row[5]);
	str_copy(member->key_id, sizeof(member->key_id), store_string(&row[6]));
	member->joined_at = (uint64_t)row[7].number;
	member->pending = row[8].number;
	member->ephemeral = row[9].number;
	member->expired = row[10].number;
	member->expires_at = (uint64_t)row[11].number;
}

void mesh_row_key(const struct store_value *row, struct join_key *key)
{
	key->reusable = row[3].number;
	key->ephemeral = row[4].number;
	str_copy(key->name, sizeof(key->name), store_string(&row[5]));
	json_decref(key->tags);
	key->tags = row_tags(&row[6]);
	key->created_at = (uint64_t)row[7].number;
	key->expires_at = (uint64_t)row[8].number;
	key->used_at = (uint64_t)row[9].number;
	str_copy(key->used_by, sizeof(key->used_by), store_string(&row[10]));
	key->revoked_at = (uint64_t)row[11].number;
	json_decref(key->maker);
	key->maker = parse(&row[12]);
}

/* ---- all of them ------------------------------------------------------------------------------- */

static void load_network(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;
	struct prefix cidr, cidr6;

	if (mesh_row_ranges(row, &cidr, &cidr6))
		mesh_row_network(row, mesh_network_add(loading->mesh, store_string(&row[0]),
						       store_string(&row[1]), &cidr, &cidr6));
	else
		bad_row("networks", row);
}

static void load_agent(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;
	struct agent *agent;
	struct key key;

	if (!mesh_row_public_key(&row[1], &key)) {
		bad_row("agents", row);
		return;
	}
	agent = mesh_agent_add(loading->mesh, store_string(&row[0]), &key);
	mesh_row_agent(row, agent);
	mesh_row_seen(row, agent);
}

static void load_member(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;
	struct agent *agent = map_get(loading->mesh->agents, store_string(&row[0]));
	struct network *network = map_get(loading->mesh->networks_by_id, store_string(&row[1]));
	struct member *member;

	if (!agent || !network) {
		bad_row("agent_networks", row);
		return;
	}
	member = mesh_member_add(agent, network, store_string(&row[2]));
	if (addr_parse(&member->address, store_string(&row[3])))
		ipam_claim(network->ipam, &member->address);
	if (network->ipam6 && addr_parse(&member->address6, store_string(&row[4])))
		ipam_claim(network->ipam6, &member->address6);
	mesh_member_addressed(member);
	mesh_row_member(row, member);
}

static void load_route(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;
	struct agent *agent = map_get(loading->mesh->agents, store_string(&row[0]));
	struct network *network = map_get(loading->mesh->networks_by_id, store_string(&row[1]));
	struct member *member = agent && network ? mesh_member(agent, network) : NULL;
	struct prefix prefix;

	if (!member || member->route_count == PROTO_MAX_ROUTES ||
	    !prefix_parse(&prefix, store_string(&row[2]))) {
		bad_row("routes", row);
		return;
	}
	member->routes = xrealloc(member->routes, (member->route_count + 1) * sizeof(*member->routes));
	member->routes[member->route_count] = (struct route){.prefix = prefix};
	route_set_word(&member->routes[member->route_count++], row[3].number);
}

static void load_key(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;
	struct network *network = map_get(loading->mesh->networks_by_id, store_string(&row[2]));

	if (network && row[1].type == STORE_BLOB && row[1].len == HASH_LEN)
		mesh_row_key(row, mesh_key_add(loading->mesh, store_string(&row[0]), row[1].data, network));
	else
		bad_row("keys", row);
}

static void load_device(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;
	struct network *network = map_get(loading->mesh->networks_by_id, store_string(&row[1]));
	struct agent *via = map_get(loading->mesh->agents, store_string(&row[2]));
	struct device *device;
	struct key key;

	if (!network || !via || !mesh_row_public_key(&row[4], &key)) {
		bad_row("devices", row);
		return;
	}
	device = device_add(loading->mesh, store_string(&row[0]), store_string(&row[3]), network, via, &key);
	if (addr_parse(&device->address, store_string(&row[5])))
		ipam_claim(network->ipam, &device->address);
	if (network->ipam6 && addr_parse(&device->address6, store_string(&row[6])))
		ipam_claim(network->ipam6, &device->address6);
	device_addressed(device);
	device->created_at = (uint64_t)row[7].number;
}

void mesh_retired(struct mesh *mesh, const char *network_id, const char *address, uint64_t until,
		  uint64_t wall_ms)
{
	struct network *network = map_get(mesh->networks_by_id, network_id);
	struct ipam *ipam;
	struct addr addr;

	if (!network || !addr_parse(&addr, address))
		return;
	ipam = addr.family == AF_INET ? network->ipam : network->ipam6;
	/* One that has been taken again by its old owner is in use. */
	if (ipam && until > wall_ms && ipam_claim(ipam, &addr) == 0)
		ipam_release(ipam, &addr, until);
}

static void load_retired(void *arg, const struct store_value *row)
{
	struct loading *loading = arg;

	mesh_retired(loading->mesh, store_string(&row[0]), store_string(&row[1]), (uint64_t)row[2].number,
		     loading->wall_ms);
}

int mesh_load(struct mesh *mesh, struct store *store, uint64_t wall_ms)
{
	static const struct {
		enum store_read what;
		store_row_fn *fn;
	} steps[] = {
		{STORE_NETWORKS, load_network}, {STORE_AGENTS, load_agent},
		{STORE_MEMBERS, load_member},   {STORE_ROUTES, load_route},
		{STORE_KEYS, load_key},         {STORE_DEVICES, load_device},
		{STORE_RETIRED, load_retired},
	};
	struct loading loading = {.mesh = mesh, .wall_ms = wall_ms};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int result = store_read(store, steps[i].what, NO_LIMIT, steps[i].fn, &loading);

		if (result < 0)
			return result;
	}
	return 0;
}
