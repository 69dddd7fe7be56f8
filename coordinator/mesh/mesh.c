/*
 * mesh.c - the maps and lists of mesh.h, and what they look like in the protocol. Loading is in
 * mesh_load.c.
 */
#include "mesh.h"
#include "device.h"
#include "lib/str.h"

#include <string.h>

void mesh_init(struct mesh *mesh)
{
	list_init(&mesh->networks);
	mesh->networks_by_name = map_new(0);
	mesh->networks_by_id = map_new(0);
	mesh->agents = map_new(0);
	mesh->agents_by_key = map_new(KEY_LEN);
	mesh->keys = map_new(0);
	mesh->keys_by_hash = map_new(HASH_LEN);
	mesh->devices = map_new(0);
}

void mesh_unmap(struct map *map, const void *key, const void *value)
{
	if (map_get(map, key) == value)
		map_del(map, key);
}

void mesh_key_del(struct mesh *mesh, struct join_key *key)
{
	mesh_unmap(mesh->keys, key->id, key);
	mesh_unmap(mesh->keys_by_hash, key->hash, key);
	json_decref(key->tags);
	json_decref(key->maker);
	free(key);
}

void mesh_fini(struct mesh *mesh)
{
	struct agent *agent;
	struct join_key *key;
	struct member *member, *tmp;
	struct network *network, *next;
	struct device *device, *device_tmp;
	size_t pos = 0;

	while ((agent = map_next(mesh->agents, &pos, NULL))) {
		list_each_safe(device, device_tmp, &agent->devices, in_agent)
			device_del(mesh, device);
		list_each_safe(member, tmp, &agent->members, in_agent)
			mesh_member_del(member);
		mesh_agent_del(mesh, agent);
	}
	for (pos = 0; (key = map_next(mesh->keys, &pos, NULL));)
		mesh_key_del(mesh, key);
	list_each_safe(network, next, &mesh->networks, node)
		mesh_network_del(mesh, network);
	map_free(mesh->networks_by_name);
	map_free(mesh->networks_by_id);
	map_free(mesh->agents);
	map_free(mesh->agents_by_key);
	map_free(mesh->keys);
	map_free(mesh->keys_by_hash);
	map_free(mesh->devices);
}

struct network *mesh_network_add(struct mesh *mesh, const char *id, const char *name,
				 const struct prefix *cidr, const struct prefix *cidr6)
{
	struct network *network = xcalloc(1, sizeof(*network));

	str_copy(network->id, sizeof(network->id), id);
	str_copy(network->name, sizeof(network->name), name);
	network->cidr = *cidr;
	network->ipam = ipam_new(cidr);
	if (cidr6 && cidr6->addr.family) {
		network->cidr6 = *cidr6;
		network->ipam6 = ipam_new(cidr6);
	}
	network->names = map_new(0);
	network->addresses = map_new(sizeof(struct addr));
	network->devices = map_new(0);
	network->device_keys = map_new(KEY_LEN);
	network->device_addresses = map_new(sizeof(struct addr));
	list_init(&network->members);
	list_init(&network->dirty);
	list_init(&network->dirty_classes);
	list_add_tail(&mesh->networks, &network->node);
	map_put(mesh->networks_by_name, network->name, network);
	map_put(mesh->networks_by_id, network->id, network);
	return network;
}

void mesh_network_del(struct mesh *mesh, struct network *network)
{
	struct join_key *key;
	size_t pos = 0;

	while ((key = map_next(mesh->keys, &pos, NULL)))
		if (key->network == network)
			mesh_key_del(mesh, key);
	mesh_unmap(mesh->networks_by_name, network->name, network);
	mesh_unmap(mesh->networks_by_id, network->id, network);
	list_del(&network->node);
	list_del(&network->dirty);
	classes_free(network->classes);
	ipam_free(network->ipam);
	ipam_free(network->ipam6);
	map_free(network->names);
	map_free(network->addresses);
	map_free(network->devices);
	map_free(network->device_keys);
	map_free(network->device_addresses);
	free(network);
}

struct agent *mesh_agent_add(struct mesh *mesh, const char *id, const struct key *public_key)
{
	struct agent *agent = xcalloc(1, sizeof(*agent));

	str_copy(agent->id, sizeof(agent->id), id);
	agent->public_key = *public_key;
	list_init(&agent->members);
	list_init(&agent->devices);
	list_init(&agent->unsaved);
	list_init(&agent->leaving);
	list_init(&agent->unsaid);
	map_put(mesh->agents, agent->id, agent);
	map_put(mesh->agents_by_key, agent->public_key.bytes, agent);
	return agent;
}

void mesh_agent_del(struct mesh *mesh, struct agent *agent)
{
	map_del(mesh->agents, agent->id);
	mesh_unmap(mesh->agents_by_key, agent->public_key.bytes, agent);
	list_del(&agent->unsaved);
	list_del(&agent->leaving);
	list_del(&agent->unsaid);
	json_decref(agent->capabilities);
	free(agent->at);
	free(agent);
}

void mesh_agent_rekey(struct mesh *mesh, struct agent *agent, const struct key *public_key)
{
	mesh_unmap(mesh->agents_by_key, agent->public_key.bytes, agent);
	agent->public_key = *public_key;
	map_put(mesh->agents_by_key, agent->public_key.bytes, agent);
}

struct member *mesh_member_add(struct agent *agent, struct network *network, const char *name)
{
	struct member *member = xcalloc(1, sizeof(*member));

	member->agent = agent;
	member->network = network;
	str_copy(member->name, sizeof(member->name), name);
	member->tags = json_array();
	list_init(&member->in_class);
	list_add_tail(&agent->members, &member->in_agent);
	list_add_tail(&network->members, &member->in_network);
	network->member_count++;
	map_put(network->names, member->name, member);
	return member;
}

void mesh_member_del(struct member *member)
{
	struct network *network = member->network;

	mesh_member_classify(member, NULL);
	mesh_unmap(network->names, member->name, member);
	mesh_unmap(network->addresses, &member->address, member);
	mesh_unmap(network->addresses, &member->address6, member);
	network->member_count--;
	list_del(&member->in_agent);
	list_del(&member->in_network);
	json_decref(member->tags);
	free(member->routes);
	free(member->text);
	free(member);
}

void mesh_member_classify(struct member *member, struct class *class)
{
	if (member->class == class)
		return;
	list_del(&member->in_class);
	if (member->class)
		member->class->member_count--;
	member->class = class;
	if (!class)
		return;
	list_add_tail(&class->members, &member->in_class);
	class->member_count++;
}

void mesh_member_rename(struct member *member, const char *name)
{
	mesh_unmap(member->network->names, member->name, member);
	str_copy(member->name, sizeof(member->name), name);
	map_put(member->network->names, member->name, member);
}

void mesh_member_addressed(struct member *member)
{
	if (member->address.family)
		map_put(member->network->addresses, &member->address, member);
	if (member->address6.family)
		map_put(member->network->addresses, &member->address6, member);
}

/* 0 nobody said, 1 and 2 an administrator said yes or no, 3 the policy says yes. */
int64_t route_word(const struct route *route)
{
	if (route->by == ROUTE_BY_NOBODY)
		return 0;
	return route->by == ROUTE_BY_POLICY ? 3 : route->approved ? 1 : 2;
}

void route_set_word(struct route *route, int64_t word)
{
	route->approved = word & 1;
	route->by = word == 3 ? ROUTE_BY_POLICY : word ? ROUTE_BY_ADMIN : ROUTE_BY_NOBODY;
}

struct join_key *mesh_key_add(struct mesh *mesh, const char *id, const uint8_t hash[static HASH_LEN],
			      struct network *network)
{
	struct join_key *key = xcalloc(1, sizeof(*key));

	str_copy(key->id, sizeof(key->id), id);
	memcpy(key->hash, hash, HASH_LEN);
	key->network = network;
	key->tags = json_array();
	map_put(mesh->keys, key->id, key);
	map_put(mesh->keys_by_hash, key->hash, key);
	return key;
}

struct member *mesh_member(const struct agent *agent, const struct network *network)
{
	struct member *member;

	list_each(member, &agent->members, in_agent)
		if (member->network == network)
			return member;
	return NULL;
}

struct network *mesh_network(const struct mesh *mesh, const char *name_or_id)
{
	struct network *network = map_get(mesh->networks_by_name, name_or_id);

	return network ? network : map_get(mesh->networks_by_id, name_or_id);
}

bool mesh_agent_in(const struct agent *agent, const struct network *network)
{
	return mesh_member(agent, network) != NULL;
}

bool mesh_expired(const struct agent *agent)
{
	const struct member *member;

	list_each(member, &agent->members, in_agent)
		if (!member->expired)
			return false;
	return !list_empty(&agent->members);
}

bool mesh_shown(const struct member *member)
{
	return !member->expired && !member->pending;
}

bool mesh_sees(const struct member *viewer, const struct member *other)
{
	return viewer->network == other->network && viewer->agent != other->agent &&
	       mesh_shown(viewer) && mesh_shown(other) && viewer->class && other->class &&
	       class_sees(viewer->class, other->class);
}

/* ---- in the protocol's words -------------------------------------------------------- */

static void peer_of(const struct member *member, struct proto_peer *out)
{
	const struct agent *agent = member->agent;

	memset(out, 0, sizeof(*out));
	str_copy(out->agent_id, sizeof(out->agent_id), agent->id);
	str_copy(out->network, sizeof(out->network), member->network->name);
	str_copy(out->name, sizeof(out->name), member->name);
	out->public_key = agent->public_key;
	if (member->address.family)
		out->addresses[out->address_count++] = member->address;
	if (member->address6.family)
		out->addresses[out->address_count++] = member->address6;
	for (unsigned i = 0; i < member->route_count; i++)
		if (member->routes[i].approved)
			out->routes[out->route_count++] = member->routes[i].prefix;
	where_get(agent->at, &out->at);
	out->online = agent->online;
	out->last_seen = agent->last_seen;
	out->class = member->class ? member->class->id : 0;
}

json_t *mesh_peer_json(const struct member *member)
{
	struct proto_peer peer;

	peer_of(member, &peer);
	return proto_write_peer(&peer);
}

/* A snapshot of a large network is mostly these: writing them once makes it cheap. */
const char *mesh_peer_text(struct member *member)
{
	json_t *json;

	if (!member->text) {
		json = mesh_peer_json(member);
		member->text = js_dump(json);
		json_decref(json);
	}
	return member->text;
}

void mesh_changed(struct agent *agent)
{
	struct member *member;

	list_each(member, &agent->members, in_agent) {
		free(member->text);
		member->text = NULL;
	}
}

json_t *mesh_network_json(const struct member *member)
{
	const struct network *network = member->network;
	struct proto_network out = {.cidr = network->cidr, .cidr6 = network->cidr6,
				    .pending = !mesh_shown(member)};

	str_copy(out.id, sizeof(out.id), network->id);
	str_copy(out.name, sizeof(out.name), network->name);
	if (member->address.family)
		out.addresses[out.address_count++] =
			(struct prefix){.addr = member->address, .bits = network->cidr.bits};
	if (member->address6.family)
		out.addresses[out.address_count++] =
			(struct prefix){.addr = member->address6, .bits = network->cidr6.bits};
	return proto_write_network(&out);
}

json_t *mesh_networks_json(const struct agent *agent)
{
	json_t *array = json_array();
	const struct member *member;

	list_each(member, &agent->members, in_agent)
		json_array_append_new(array, mesh_network_json(member));
	return array;
}

json_t *mesh_addresses_json(const struct member *member, bool with_length)
{
	const struct addr *all[] = {&member->address, &member->address6};
	const uint8_t bits[] = {member->network->cidr.bits, member->network->cidr6.bits};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct prefix prefix = {.addr = *all[i], .bits = bits[i]};

		if (all[i]->family)
			json_array_append_new(array, with_length ? js_from_prefix(&prefix)
								 : js_from_addr(all[i]));
	}
	return array;
}
