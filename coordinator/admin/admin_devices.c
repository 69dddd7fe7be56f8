/*
 * admin_devices.c - devices with the stock WireGuard app, for administrators. What is answered is all
 * that a configuration needs but the private key, which no coordinator ever sees.
 */
#include "admin_commands.h"
#include "coordinator/mesh/device.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

static json_t *device_json(const struct device *device)
{
	const struct member *via = mesh_member(device->via, device->network);

	return json_pack("{sssssssosossssso}", "id", device->id, "name", device->name, "network",
			 device->network->name, "addresses", device_addresses_json(device), "public_key",
			 js_from_key(&device->public_key), "via", via ? via->name : "", "via_id",
			 device->via->id, "created_at", js_from_time(device->created_at));
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS  "0123456789"

/* Labels of letters, digits and, inside, hyphens; the last one is no number. */
static bool is_hostname(const char *text, size_t len)
{
	const char *end = text + len;
	size_t label;

	for (; text < end; text += label + 1) {
		label = strspn(text, LETTERS DIGITS "-");
		if (!label || label > 63 || *text == '-' || text[label - 1] == '-')
			return false;
		if (text + label == end)
			return strspn(text, DIGITS) < label;
		if (text[label] != '.')
			return false;
	}
	return false;
}

/* What WireGuard's apps take: NAME:PORT, IPV4:PORT or [IPV6]:PORT. */
static bool is_endpoint(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct endpoint numbers;
	uint16_t port;

	if (endpoint_parse(&numbers, text))
		return !numbers.scope_id;
	return colon && colon - text <= 253 && parse_u16(colon + 1, &port) && port &&
	       is_hostname(text, (size_t)(colon - text));
}

/* Where the device finds its gateway: as the administrator says, else as the world sees the agent. */
static json_t *endpoint_json(const struct member *via, struct js *js, struct refusal *why)
{
	const char *text = js_string(js, "endpoint", NULL);
	struct proto_endpoints at;

	if (text && !is_endpoint(text)) {
		refuse(why, 400, "invalid", "endpoint: %.60s is not an address such as vpn.example.net:51820",
		       text);
		return NULL;
	}
	where_get(via->agent->at, &at);
	if (!text && !at.endpoint.addr.family) {
		refuse(why, 409, "no_endpoint", "no public endpoint of %s is known: start its agent, or say "
		       "one (endpoint), HOST:PORT", via->name);
		return NULL;
	}
	return text ? json_string(text) : js_from_endpoint(&at.endpoint);
}

/* Sentences for whoever adds it. */
static json_t *notes_json(const struct member *via, bool endpoint_said)
{
	json_t *notes = json_array();
	struct proto_endpoints at;
	char text[300];

	where_get(via->agent->at, &at);
	snprintf(text, sizeof(text), "the device reaches %s alone: nothing is forwarded to other agents until "
				     "there is a firewall for it", via->name);
	json_array_append_new(notes, json_string(text));
	if (!endpoint_said && !at.upnp_mapped && at.nat_type != NAT_NONE && at.nat_type != NAT_FULL_CONE) {
		snprintf(text, sizeof(text), "%s is behind a router that may let nobody in (NAT: %s): forward "
					     "UDP port %u to it there", via->name,
			 nat_type_name(at.nat_type), at.endpoint.port);
		json_array_append_new(notes, json_string(text));
	}
	return notes;
}

json_t *admin_peer_add(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	const char *name = js_need_string(js, "name", 255);
	struct member *via;
	struct device *device;
	json_t *json, *endpoint, *gateway;
	struct key key;

	js_need_key(js, "public_key", &key);
	via = admin_member(co, js, FIND_EXACT, who, why);
	if (!via)
		return NULL;
	endpoint = endpoint_json(via, js, why);
	device = endpoint ? registry_device_add(co, via, name, &key, who->actor, why) : NULL;
	if (!device) {
		json_decref(endpoint);
		return NULL;
	}
	gateway = json_pack("{sssososo}", "name", via->name, "public_key", js_from_key(&via->agent->public_key),
			    "addresses", mesh_addresses_json(via, false), "endpoint", endpoint);
	json = device_json(device);
	json_object_set_new(json, "gateway", gateway);
	json_object_set_new(json, "cidr", js_from_prefix(&via->network->cidr));
	json_object_set_new(json, "cidr6", js_from_prefix(&via->network->cidr6));
	return json_pack("{soso}", "device", json, "notes",
			 notes_json(via, js_string(js, "endpoint", NULL) != NULL));
}

json_t *admin_peer_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct network *only;
	struct device *device;
	json_t *list;
	size_t pos = 0;

	if (!admin_network_given(co, js, &only, who, why))
		return NULL;
	list = json_array();
	while ((device = map_next(co->mesh.devices, &pos, NULL)))
		if ((!only || device->network == only) && who_sees(who, device->network) &&
		    who_shown(who, device->made_in))
			json_array_append_new(list, device_json(device));
	return json_pack("{so}", "devices", list);
}

static struct device *search(struct coordinator *co, const char *text, const struct network *only,
			     const struct who *who, bool *several)
{
	struct device *found = NULL, *device;
	size_t pos = 0;

	*several = false;
	while ((device = map_next(co->mesh.devices, &pos, NULL))) {
		if ((only && device->network != only) || !who_sees(who, device->network) ||
		    (strcmp(device->name, text) && strcmp(device->id, text)))
			continue;
		*several = found != NULL;
		found = device;
	}
	return found;
}

json_t *admin_peer_remove(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	const char *text = js_need_string(js, "name", 255);
	struct network *only;
	struct device *device;
	json_t *message;
	bool several;

	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!admin_network_given(co, js, &only, who, why))
		return NULL;
	device = search(co, text, only, who, &several);
	if (!device || several) {
		if (several)
			refuse(why, 400, "ambiguous", "%s could be several devices: say of which network", text);
		else
			refuse(why, 404, "unknown_device", "there is no device %s: see {peer list}", text);
		return NULL;
	}
	if (!who_may(who, device->network, why))
		return NULL;
	message = admin_message("device %s removed: its gateway lets it in no more", device->name);
	registry_device_remove(co, device, who->actor);
	return message;
}
