/*
 * admin_commands.c - the table of commands; networks and join keys. Agents and routes are in
 * admin_agents.c.
 */
#include "admin_commands.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEY_LIFETIME_MS (3600 * 1000ull)

json_t *admin_message(const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return json_pack("{ss}", "message", text);
}

struct network *admin_network(struct coordinator *co, struct js *js, const char *key, struct refusal *why)
{
	const char *name = js_need_string(js, key, PROTO_NAME_MAX - 1);
	struct network *network = js_ok(js) ? mesh_network(&co->mesh, name) : NULL;

	if (!js_ok(js))
		refuse(why, 400, "invalid", "%s", js->error);
	else if (!network)
		refuse(why, 404, "unknown_network", "there is no network %s: see network list", name);
	return network;
}

/* ---- networks ---------------------------------------------------------------------------- */

static bool read_cidr(struct js *js, const char *key, struct prefix *out, struct refusal *why)
{
	const char *text = js_string(js, key, NULL);

	memset(out, 0, sizeof(*out));
	if (text && !prefix_parse(out, text))
		return refuse(why, 400, "invalid", "--%s %s is not a range such as %s", key, text,
			      strcmp(key, "cidr6") ? "10.44.0.0/16" : "fd12:3456::/64");
	return true;
}

static json_t *network_create(struct coordinator *co, struct js *js, const char *actor,
			      struct refusal *why)
{
	const char *name = js_need_string(js, "name", 255);
	struct prefix cidr, cidr6;
	struct network *network;
	char text[PREFIX_TEXT];

	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!read_cidr(js, "cidr", &cidr, why) || !read_cidr(js, "cidr6", &cidr6, why))
		return NULL;
	if (!cidr.addr.family) {
		refuse(why, 400, "invalid", "a network needs a range: --cidr 10.44.0.0/16");
		return NULL;
	}
	network = registry_network_create(co, name, &cidr, &cidr6, actor, why);
	if (!network)
		return NULL;
	prefix_format(text, &network->cidr);
	return admin_message("network %s made with %s", network->name, text);
}

static json_t *network_list(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	json_t *list = json_array();
	struct network *network;

	(void)js;
	(void)actor;
	(void)why;
	list_each(network, &co->mesh.networks, node)
		json_array_append_new(
			list, json_pack("{sssssososIso}", "id", network->id, "name", network->name, "cidr",
					js_from_prefix(&network->cidr), "cidr6",
					js_from_prefix(&network->cidr6), "agents",
					(json_int_t)network->member_count, "created_at",
					js_from_time(network->created_at)));
	return json_pack("{so}", "networks", list);
}

static json_t *network_remove(struct coordinator *co, struct js *js, const char *actor,
			      struct refusal *why)
{
	struct network *network = admin_network(co, js, "name", why);
	char name[PROTO_NAME_MAX];

	if (!network)
		return NULL;
	str_copy(name, sizeof(name), network->name);
	return registry_network_remove(co, network, actor, why) ? admin_message("network %s removed", name)
								: NULL;
}

/* ---- join keys ----------------------------------------------------------------------------- */

static bool read_wish(struct js *js, struct key_wish *wish, struct refusal *why)
{
	const char *expires = js_string(js, "expires", NULL);

	wish->reusable = js_bool(js, "reusable", false);
	wish->ephemeral = js_bool(js, "ephemeral", false);
	wish->name = js_string(js, "name", NULL);
	wish->tags = js_array(js, "tag", MAX_TAGS);
	wish->lifetime_ms = KEY_LIFETIME_MS;
	if (!js_ok(js))
		return refuse(why, 400, "invalid", "%s", js->error);
	if (expires && !strcmp(expires, "never"))
		wish->lifetime_ms = 0;
	else if (expires && (!parse_duration(expires, &wish->lifetime_ms) || !wish->lifetime_ms))
		return refuse(why, 400, "invalid", "--expires %s is not a time such as 1h, 30d or never",
			      expires);
	return true;
}

static json_t *key_create(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	struct key_wish wish = {.network = admin_network(co, js, "network", why)};
	char secret[SECRET_TEXT], *link;
	struct join_key *key;
	json_t *result;

	if (!wish.network || !read_wish(js, &wish, why))
		return NULL;
	key = registry_key_create(co, &wish, actor, secret, why);
	if (!key)
		return NULL;
	link = coordinator_link(co, secret);
	result = json_pack("{ssssso}", "id", key->id, "link", link, "expires_at",
			   js_from_time(key->expires_at));
	secret_wipe(secret, sizeof(secret));
	secret_wipe(link, strlen(link));
	free(link);
	return result;
}

static const char *key_state(const struct join_key *key, uint64_t now)
{
	if (key->revoked_at)
		return "revoked";
	if (key->expires_at && key->expires_at <= now)
		return "expired";
	return key->used_at && !key->reusable ? "used" : "valid";
}

static json_t *key_json(const struct join_key *key)
{
	return json_pack("{sssssssbsbsosOsosososo}", "id", key->id, "network", key->network->name, "state",
			 key_state(key, clock_wall_ms()), "reusable", key->reusable, "ephemeral",
			 key->ephemeral, "name", js_from_string(*key->name ? key->name : NULL), "tags",
			 key->tags, "created_at", js_from_time(key->created_at), "expires_at",
			 js_from_time(key->expires_at), "used_at", js_from_time(key->used_at), "used_by",
			 js_from_string(*key->used_by ? key->used_by : NULL));
}

static json_t *key_list(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	json_t *list = json_array();
	struct join_key *key;
	size_t pos = 0;

	(void)js;
	(void)actor;
	(void)why;
	while ((key = map_next(co->mesh.keys, &pos, NULL)))
		json_array_append_new(list, key_json(key));
	return json_pack("{so}", "keys", list);
}

static json_t *key_revoke(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	const char *id = js_need_string(js, "id", PROTO_ID_MAX - 1);
	struct join_key *key = map_get(co->mesh.keys, id);

	if (!key) {
		refuse(why, 404, "unknown_key", "there is no join key %s: see key list", id);
		return NULL;
	}
	registry_key_revoke(co, key, actor);
	return admin_message("key %s revoked; agents that joined with it stay", key->id);
}

/* ---- the table -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	admin_fn *fn;
} commands[] = {
	{"network create", network_create},   {"network list", network_list},
	{"network remove", network_remove},   {"key create", key_create},
	{"key list", key_list},		      {"key revoke", key_revoke},
	{"agent list", admin_agent_list},     {"agent show", admin_agent_show},
	{"agent rename", admin_agent_rename}, {"agent remove", admin_agent_remove},
	{"agent expire", admin_agent_expire}, {"agent tag", admin_agent_tag},
	{"route list", admin_route_list},     {"route approve", admin_route_approve},
	{"route revoke", admin_route_revoke},
};

json_t *admin_command(struct coordinator *co, const char *command, struct js *arguments,
		      const char *actor, struct refusal *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(command, commands[i].name))
			return commands[i].fn(co, arguments, actor, why);
	refuse(why, 400, "unknown_command", "the running coordinator does not know \"%s\": it may be older "
	       "than this program", command);
	return NULL;
}
