/*
 * device.c - the indexes of device.h, and a device in the protocol's words.
 */
#include "device.h"
#include "lib/str.h"

#include <string.h>

struct device *device_add(struct mesh *mesh, const char *id, const char *name, struct network *network,
			  struct agent *via, const struct key *public_key)
{
	struct device *device = xcalloc(1, sizeof(*device));

	str_copy(device->id, sizeof(device->id), id);
	str_copy(device->name, sizeof(device->name), name);
	device->network = network;
	device->via = via;
	device->public_key = *public_key;
	list_add_tail(&via->devices, &device->in_agent);
	map_put(network->devices, device->name, device);
	map_put(mesh->devices, device->id, device);
	map_put(network->device_keys, device->public_key.bytes, device);
	return device;
}

void device_addressed(struct device *device)
{
	if (device->address.family)
		map_put(device->network->device_addresses, &device->address, device);
	if (device->address6.family)
		map_put(device->network->device_addresses, &device->address6, device);
}

void device_del(struct mesh *mesh, struct device *device)
{
	list_del(&device->in_agent);
	mesh_unmap(device->network->devices, device->name, device);
	map_del(mesh->devices, device->id);
	mesh_unmap(device->network->device_keys, device->public_key.bytes, device);
	mesh_unmap(device->network->device_addresses, &device->address, device);
	mesh_unmap(device->network->device_addresses, &device->address6, device);
	free(device);
}

struct device *device_named(const struct network *network, const char *name)
{
	return map_get(network->devices, name);
}

struct device *device_by_key(const struct network *network, const struct key *public_key)
{
	return map_get(network->device_keys, public_key->bytes);
}

struct device *device_at(const struct network *network, const struct addr *addr)
{
	return map_get(network->device_addresses, addr);
}

bool device_told(const struct device *device)
{
	const struct member *gateway = mesh_member(device->via, device->network);

	return gateway && mesh_shown(gateway);
}

static json_t *peer_json(const struct device *device)
{
	struct proto_peer peer;

	memset(&peer, 0, sizeof(peer));
	str_copy(peer.agent_id, sizeof(peer.agent_id), device->id);
	str_copy(peer.network, sizeof(peer.network), device->network->name);
	str_copy(peer.name, sizeof(peer.name), device->name);
	peer.public_key = device->public_key;
	peer.device = true;
	peer.class = device->class->id;
	if (device->address.family)
		peer.addresses[peer.address_count++] = device->address;
	if (device->address6.family)
		peer.addresses[peer.address_count++] = device->address6;
	return proto_write_peer(&peer);
}

void device_peers(const struct agent *via, json_t *array)
{
	const struct device *device;

	list_each(device, &via->devices, in_agent)
		if (device_told(device))
			json_array_append_new(array, peer_json(device));
}

json_t *device_addresses_json(const struct device *device)
{
	json_t *array = json_array();

	if (device->address.family)
		json_array_append_new(array, js_from_addr(&device->address));
	if (device->address6.family)
		json_array_append_new(array, js_from_addr(&device->address6));
	return array;
}
