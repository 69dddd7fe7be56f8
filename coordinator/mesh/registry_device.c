/*
 * registry_device.c - devices that come and go. Its gateway is told by a snapshot: that is rare, and
 * so nothing of a device is ever in the ring that all others read from, but rules that name its class.
 */
#include "registry.h"
#include "device.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"

#include <string.h>

static void write_device(struct coordinator *co, const struct device *device)
{
	char v4[ADDR_TEXT] = "", v6[ADDR_TEXT] = "";

	if (device->address.family)
		addr_format(v4, &device->address);
	if (device->address6.family)
		addr_format(v6, &device->address6);
	store_write(co->store, STORE_DEVICE_PUT,
		    (struct store_value[]){
			    store_text(device->id), store_text(device->network->id),
			    store_text(device->via->id), store_text(device->name),
			    store_blob(device->public_key.bytes, KEY_LEN), store_text(*v4 ? v4 : NULL),
			    store_text(*v6 ? v6 : NULL), store_int((int64_t)device->created_at)});
}

static bool wish_ok(struct coordinator *co, const struct member *via, const char *name,
		    const struct key *public_key, struct refusal *why)
{
	const struct network *network = via->network;
	const struct agent *owner;

	if (!registry_name_ok(name, why) || !policy_name_ok(co, name, true, why))
		return false;
	if (via->expired)
		return refuse(why, 409, "not_approved", "%s has expired: it has to join again first", via->name);
	if (via->pending)
		return refuse(why, 409, "not_approved", "%s waits for its approval itself: {agent approve %s}",
			      via->name, via->name);
	if (map_get(network->names, name) || device_named(network, name))
		return refuse(why, 409, "name_taken", "the name %s is taken in the network %s", name,
			      network->name);
	if (key_is_zero(public_key) || key_equal(public_key, &co->public_key))
		return refuse(why, 422, "key_invalid", "this public key cannot be a device's");
	owner = map_get(co->mesh.agents_by_key, public_key->bytes);
	if ((owner && mesh_agent_in(owner, network)) || device_by_key(network, public_key))
		return refuse(why, 409, "key_taken", "an agent or device of the network %s has this public key "
			      "already", network->name);
	return true;
}

struct device *registry_device_add(struct coordinator *co, struct member *via, const char *name,
				   const struct key *public_key, const char *actor, struct refusal *why)
{
	struct network *network = via->network;
	uint64_t now = clock_wall_ms();
	struct addr address = {0}, address6 = {0};
	struct device *device;
	char id[PROTO_ID_MAX];
	uint32_t host = 0, host6;

	if (!wish_ok(co, via, name, public_key, why))
		return NULL;
	if (ipam_take(network->ipam, 0, now, &address, &host) < 0) {
		refuse(why, 409, "network_full", "the network %s has no free address", network->name);
		return NULL;
	}
	if (network->ipam6 && ipam_take(network->ipam6, host, now, &address6, &host6) < 0) {
		ipam_release(network->ipam, &address, 1);
		refuse(why, 409, "network_full", "the network %s has no free IPv6 address", network->name);
		return NULL;
	}
	registry_new_id(id);
	device = device_add(&co->mesh, id, name, network, via->agent, public_key);
	device->address = address;
	device->address6 = address6;
	device_addressed(device);
	device->created_at = now;
	device->made_in = store_batch(co->store);
	write_device(co, device);
	registry_audit_in(co, network, actor, "device-added", device->id, device->name);
	sync_device(co->sync, device);
	return device;
}

static void drop(struct coordinator *co, struct device *device, const char *actor)
{
	registry_audit_in(co, device->network, actor, "device-removed", device->id, device->name);
	registry_retire(co, device->network, device->network->ipam, &device->address);
	registry_retire(co, device->network, device->network->ipam6, &device->address6);
	store_write(co->store, STORE_DEVICE_DEL, (struct store_value[]){store_text(device->id)});
	device_del(&co->mesh, device);
}

void registry_device_remove(struct coordinator *co, struct device *device, const char *actor)
{
	struct agent *via = device->via;

	drop(co, device, actor);
	sync_reset(co->sync, via);
}

void registry_devices_drop(struct coordinator *co, struct agent *via, const struct network *network,
			   const char *actor)
{
	struct device *device, *tmp;

	list_each_safe(device, tmp, &via->devices, in_agent)
		if (!network || device->network == network)
			drop(co, device, actor);
}
