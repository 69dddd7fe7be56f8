/*
 * proto.c - the structs of proto.h to and from JSON. Readers trust nothing: every string has its
 * length, alphabet and meaning checked here, so that what comes out of a struct is safe to show, to
 * compare and to hand to the kernel. A patch tells "absent" (keep) from null (clear).
 */
#include "proto.h"
#include "str.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const nat_names[] = {
	[NAT_UNKNOWN] = "unknown",
	[NAT_NONE] = "none",
	[NAT_FULL_CONE] = "full_cone",
	[NAT_RESTRICTED_CONE] = "restricted_cone",
	[NAT_PORT_RESTRICTED_CONE] = "port_restricted_cone",
	[NAT_SYMMETRIC] = "symmetric",
	[NAT_UDP_BLOCKED] = "udp_blocked",
};

const char *nat_type_name(enum nat_type type)
{
	return (unsigned)type < ARRAY_SIZE(nat_names) ? nat_names[type] : "unknown";
}

enum nat_type nat_type_parse(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(nat_names); i++)
		if (!strcmp(name, nat_names[i]))
			return (enum nat_type)i;
	return NAT_UNKNOWN;
}

/* ---- writing ------------------------------------------------------------------ */

static json_t *endpoint_array(const struct endpoint *endpoints, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, js_from_endpoint(&endpoints[i]));
	return array;
}

static json_t *prefix_array(const struct prefix *prefixes, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, js_from_prefix(&prefixes[i]));
	return array;
}

static void set_endpoints(json_t *object, const struct proto_endpoints *at)
{
	json_object_set_new(object, "endpoint", js_from_endpoint(&at->endpoint));
	json_object_set_new(object, "endpoints", endpoint_array(at->endpoints, at->count));
	json_object_set_new(object, "local_endpoints",
			    endpoint_array(at->local_endpoints, at->local_count));
	json_object_set_new(object, "nat_type", json_string(nat_type_name(at->nat_type)));
}

json_t *proto_write_endpoints(const struct proto_endpoints *at)
{
	json_t *object = json_object();

	set_endpoints(object, at);
	json_object_set_new(object, "upnp_mapped", json_boolean(at->upnp_mapped));
	return object;
}

json_t *proto_connection_hint(enum nat_type type)
{
	switch (type) {
	case NAT_NONE:
	case NAT_FULL_CONE:
		return json_string("direct");
	case NAT_UDP_BLOCKED:
		return json_string("relay");
	case NAT_UNKNOWN:
	case NAT_RESTRICTED_CONE:
	case NAT_PORT_RESTRICTED_CONE:
	case NAT_SYMMETRIC:
		break;
	}
	return json_null();
}

json_t *proto_write_peer(const struct proto_peer *peer)
{
	json_t *object = json_object(), *addresses = json_array();

	json_object_set_new(object, "agent_id", json_string(peer->agent_id));
	json_object_set_new(object, "public_key", js_from_key(&peer->public_key));
	json_object_set_new(object, "name", json_string(peer->name));
	json_object_set_new(object, "network", json_string(peer->network));
	for (unsigned i = 0; i < peer->address_count; i++)
		json_array_append_new(addresses, js_from_addr(&peer->addresses[i]));
	json_object_set_new(object, "addresses", addresses);
	json_object_set_new(object, "routes", prefix_array(peer->routes, peer->route_count));
	set_endpoints(object, &peer->at);
	json_object_set_new(object, "online", json_boolean(peer->online));
	json_object_set_new(object, "last_seen", js_from_time(peer->last_seen));
	json_object_set_new(object, "connection_hint", proto_connection_hint(peer->at.nat_type));
	if (peer->device)
		json_object_set_new(object, "device", json_true());
	if (peer->class)
		json_object_set_new(object, "class", json_integer(peer->class));
	return object;
}

json_t *proto_write_network(const struct proto_network *network)
{
	json_t *object = json_object();

	json_object_set_new(object, "id", json_string(network->id));
	json_object_set_new(object, "name", json_string(network->name));
	json_object_set_new(object, "cidr", js_from_prefix(&network->cidr));
	json_object_set_new(object, "cidr6", js_from_prefix(&network->cidr6));
	json_object_set_new(object, "addresses",
			    prefix_array(network->addresses, network->address_count));
	if (network->pending)
		json_object_set_new(object, "approved", json_false());
	return object;
}

json_t *proto_write_relay(const struct proto_relay *relay)
{
	json_t *object = json_object(), *stun = json_array();

	json_object_set_new(object, "region", json_string(relay->region));
	json_object_set_new(object, "url", js_from_string(relay->url));
	json_object_set_new(object, "key", js_from_key(&relay->key));
	for (unsigned i = 0; i < relay->stun_count; i++)
		json_array_append_new(stun, json_string(relay->stun[i]));
	json_object_set_new(object, "stun", stun);
	return object;
}

/* ---- reading ------------------------------------------------------------------ */

bool proto_id_valid(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return len > 0 && len < PROTO_ID_MAX && !text[len];
}

static void read_id(struct js *js, const char *key, char out[static PROTO_ID_MAX])
{
	const char *text = js_need_string(js, key, PROTO_ID_MAX - 1);

	if (!js_ok(js))
		return;
	if (proto_id_valid(text))
		str_copy(out, PROTO_ID_MAX, text);
	else
		js_fail(js, key, "must be an id of letters, digits, '-' and '_'");
}

static void read_name(struct js *js, const char *key, char out[static PROTO_NAME_MAX])
{
	const char *text = js_need_string(js, key, PROTO_NAME_MAX - 1);

	if (!js_ok(js))
		return;
	if (name_valid(text))
		str_copy(out, PROTO_NAME_MAX, text);
	else
		js_fail(js, key, "must be a name of 1 to 63 characters a-z, 0-9 and inner '-'");
}

static void read_endpoints(struct js *js, const char *key, struct endpoint *out, unsigned *count)
{
	json_t *array = js_array(js, key, PROTO_MAX_ENDPOINTS), *item;
	size_t i;

	*count = 0;
	if (!array)
		return;
	json_array_foreach(array, i, item) {
		if (!json_is_string(item) || !endpoint_parse(&out[i], json_string_value(item))) {
			js_fail(js, key, "must hold endpoints like \"192.0.2.1:51820\"");
			return;
		}
		*count = (unsigned)i + 1;
	}
}

static void read_prefixes(struct js *js, const char *key, struct prefix *out, unsigned max,
			  unsigned *count)
{
	json_t *array = js_array(js, key, max), *item;
	size_t i;

	*count = 0;
	if (!array)
		return;
	json_array_foreach(array, i, item) {
		if (!json_is_string(item) || !prefix_parse(&out[i], json_string_value(item))) {
			js_fail(js, key, "must hold prefixes like \"192.0.2.0/24\"");
			return;
		}
		*count = (unsigned)i + 1;
	}
}

static void read_addresses(struct js *js, const char *key, struct proto_peer *peer)
{
	json_t *array = js_array(js, key, PROTO_MAX_ADDRESSES), *item;
	size_t i;

	peer->address_count = 0;
	if (!array)
		return;
	json_array_foreach(array, i, item) {
		if (!json_is_string(item) ||
		    !addr_parse(&peer->addresses[i], json_string_value(item))) {
			js_fail(js, key, "must hold addresses like \"10.86.0.4\"");
			return;
		}
		peer->address_count = (unsigned)i + 1;
	}
}

/* RFC 3339 in UTC, with or without a fraction of the second; *out is wall ms. */
static void read_time(struct js *js, const char *key, uint64_t *out)
{
	const char *text = js_string(js, key, NULL), *end;
	struct tm tm = {0};

	*out = 0;
	if (!js_ok(js) || !text)
		return;
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (end && *end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (!end || end[0] != 'Z' || end[1] || tm.tm_year < 70) {
		js_fail(js, key, "must be a time like \"2026-11-23T13:18:09Z\"");
		return;
	}
	*out = (uint64_t)timegm(&tm) * 1000;
}

static bool has(const struct js *js, const char *key)
{
	return json_object_get(js->object, key) != NULL;
}

static void read_at(struct js *js, struct proto_endpoints *at)
{
	if (has(js, "endpoint") && !js_endpoint(js, "endpoint", &at->endpoint))
		memset(&at->endpoint, 0, sizeof(at->endpoint));
	if (has(js, "endpoints"))
		read_endpoints(js, "endpoints", at->endpoints, &at->count);
	if (has(js, "local_endpoints"))
		read_endpoints(js, "local_endpoints", at->local_endpoints, &at->local_count);
	else if (has(js, "local_endpoint"))
		at->local_count = js_endpoint(js, "local_endpoint", &at->local_endpoints[0]);
	if (has(js, "nat_type"))
		at->nat_type = nat_type_parse(js_string(js, "nat_type", NULL));
	if (has(js, "upnp_mapped"))
		at->upnp_mapped = js_bool(js, "upnp_mapped", false);
}

bool proto_read_endpoints(struct js *js, struct proto_endpoints *out)
{
	memset(out, 0, sizeof(*out));
	read_at(js, out);
	return js_ok(js);
}

bool proto_patch_peer(struct js *js, struct proto_peer *inout)
{
	if (has(js, "name"))
		read_name(js, "name", inout->name);
	if (has(js, "public_key"))
		js_need_key(js, "public_key", &inout->public_key);
	if (has(js, "addresses"))
		read_addresses(js, "addresses", inout);
	if (has(js, "routes"))
		read_prefixes(js, "routes", inout->routes, PROTO_MAX_ROUTES, &inout->route_count);
	read_at(js, &inout->at);
	if (has(js, "online"))
		inout->online = js_bool(js, "online", false);
	if (has(js, "last_seen"))
		read_time(js, "last_seen", &inout->last_seen);
	if (has(js, "device"))
		inout->device = js_bool(js, "device", false);
	if (has(js, "class"))
		inout->class = (uint32_t)js_int(js, "class", 0, UINT32_MAX, 0);
	return js_ok(js);
}

bool proto_read_peer(struct js *js, struct proto_peer *out)
{
	memset(out, 0, sizeof(*out));
	read_id(js, "agent_id", out->agent_id);
	read_name(js, "network", out->network);
	read_name(js, "name", out->name);
	js_need_key(js, "public_key", &out->public_key);
	return js_ok(js) && proto_patch_peer(js, out);
}

static void read_cidr(struct js *js, const char *key, int family, struct prefix *out)
{
	const char *text = js_string(js, key, NULL);

	if (!js_ok(js) || !text)
		return;
	if (prefix_parse(out, text) && out->addr.family == family) {
		*out = prefix_mask(out);
		return;
	}
	memset(out, 0, sizeof(*out));
	js_fail(js, key, family == AF_INET ? "must be an IPv4 prefix" : "must be an IPv6 prefix");
}

bool proto_read_network(struct js *js, struct proto_network *out)
{
	memset(out, 0, sizeof(*out));
	read_id(js, "id", out->id);
	read_name(js, "name", out->name);
	read_cidr(js, "cidr", AF_INET, &out->cidr);
	read_cidr(js, "cidr6", AF_INET6, &out->cidr6);
	read_prefixes(js, "addresses", out->addresses, ARRAY_SIZE(out->addresses),
		      &out->address_count);
	out->pending = !js_bool(js, "approved", true);
	return js_ok(js);
}

static bool host_port_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	uint16_t port;

	return colon && colon > text && colon - text < 256 && parse_u16(colon + 1, &port) && port &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") ==
		       strlen(text);
}

static void read_stun(struct js *js, struct proto_relay *out)
{
	json_t *array = js_array(js, "stun", PROTO_MAX_STUN), *item;
	size_t i;

	if (!array)
		return;
	json_array_foreach(array, i, item) {
		if (!json_is_string(item) || !host_port_valid(json_string_value(item))) {
			js_fail(js, "stun", "must hold servers like \"HOST:3478\"");
			return;
		}
		out->stun[out->stun_count++] = xstrdup(json_string_value(item));
	}
}

bool proto_read_relay(struct js *js, struct proto_relay *out)
{
	const char *url;

	memset(out, 0, sizeof(*out));
	read_name(js, "region", out->region);
	url = js_string(js, "url", NULL);
	if (url && (!str_has_prefix(url, "https://") && !str_has_prefix(url, "http://")))
		js_fail(js, "url", "must begin with https:// or http://");
	if (url && js_ok(js))
		out->url = xstrdup(url);
	if (json_is_string(json_object_get(js->object, "key")))
		js_need_key(js, "key", &out->key);
	read_stun(js, out);
	if (js_ok(js))
		return true;
	proto_relay_fini(out);
	return false;
}

void proto_relay_fini(struct proto_relay *relay)
{
	free(relay->url);
	for (unsigned i = 0; i < relay->stun_count; i++)
		free(relay->stun[i]);
	memset(relay, 0, sizeof(*relay));
}

/* ---- join links --------------------------------------------------------------- */

#define BASE64URL "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

/* HOST, HOST:PORT, [V6] or [V6]:PORT of len bytes. */
static bool authority_valid(const char *text, size_t len)
{
	char copy[280], *port = copy;
	uint16_t number;

	if (!len || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (*copy == '[') {
		struct addr addr;
		char *end = strchr(copy, ']');

		if (!end)
			return false;
		*end = '\0';
		if (!addr_parse(&addr, copy + 1) || addr.family != AF_INET6)
			return false;
		port = end + 1;
	} else {
		port += strspn(copy, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
		if (port == copy)
			return false;
	}
	return !*port || (*port == ':' && parse_u16(port + 1, &number) && number);
}

static bool copy_part(char *out, size_t size, const char *from, size_t len)
{
	if (!len || len >= size)
		return false;
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

bool join_link_parse(struct join_link *out, const char *text, char error[static JS_ERROR])
{
	static const char scheme[] = "https://";
	const char *host, *slash, *key, *pin;
	size_t key_len, pin_len;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, scheme, sizeof(scheme) - 1)) {
		snprintf(error, JS_ERROR, "a join link begins with https://");
		return false;
	}
	host = text + sizeof(scheme) - 1;
	slash = host + strcspn(host, "/#?");
	if (!authority_valid(host, (size_t)(slash - host)) ||
	    !copy_part(out->origin, sizeof(out->origin), text, (size_t)(slash - text))) {
		snprintf(error, JS_ERROR, "the join link names no HOST:PORT that could be reached "
					  "(a port is 1 to 65535)");
		goto bad;
	}
	if (strncmp(slash, "/join#", 6)) {
		snprintf(error, JS_ERROR, "a join link looks like https://HOST:PORT/join#KEY.PIN; "
					  "quote it, so that the shell leaves the # alone");
		goto bad;
	}
	key = slash + 6;
	key_len = strspn(key, BASE64URL);
	if (!copy_part(out->key, sizeof(out->key), key, key_len)) {
		snprintf(error, JS_ERROR, "the join link has no key after the #");
		goto bad;
	}
	pin = key + key_len;
	if (!*pin)
		return true;
	pin_len = strspn(pin + 1, BASE64URL);
	if (*pin != '.' || pin_len != 43 || pin[44] ||
	    !copy_part(out->pin, sizeof(out->pin), pin + 1, pin_len)) {
		snprintf(error, JS_ERROR, "the join link is not whole: copy all of it");
		goto bad;
	}
	return true;
bad:
	join_link_wipe(out);
	return false;
}

void join_link_wipe(struct join_link *link)
{
	sodium_memzero(link, sizeof(*link));
}
