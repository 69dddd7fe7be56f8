/*
 * admin_routes.c - routes that agents advertise, for administrators.
 */
#include "admin_commands.h"
#include "lib/seal.h"
#include "lib/str.h"

#include <string.h>

#define AGENT_PART 8
#define HASH_PART  8 /* bytes: an agent that chooses its prefixes must not find two with one id */
#define ROUTE_ID   (AGENT_PART + 2 * HASH_PART + 1)

/* How much of a route's id is its agent's: with that it is found without the hash of every route. */
static size_t agent_part(const struct member *member)
{
	return strnlen(member->agent->id, AGENT_PART);
}

/* A name for a route in a path: how its agent's id begins, then a hash of agent, network and prefix. */
static void route_id(char out[static ROUTE_ID], const struct member *member, const struct prefix *prefix)
{
	char prefix_text[PREFIX_TEXT], *text;
	size_t len = agent_part(member);
	uint8_t hash[32];

	prefix_format(prefix_text, prefix);
	text = xasprintf("%s %s %s", member->agent->id, member->network->id, prefix_text);
	sha256(hash, text, strlen(text));
	memcpy(out, member->agent->id, len);
	hex_encode(out + len, ROUTE_ID - len, hash, HASH_PART);
	free(text);
}

static json_t *route_json(const struct member *member, const struct route *route)
{
	char id[ROUTE_ID];

	route_id(id, member, &route->prefix);
	return json_pack("{sssosssssssb}", "id", id, "prefix", js_from_prefix(&route->prefix), "agent_id",
			 member->agent->id, "name", member->name, "network", member->network->name,
			 "approved", route->approved);
}

json_t *admin_route_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct network *network, *only;
	struct member *member;
	json_t *list;

	if (!admin_network_given(co, js, &only, who, why))
		return NULL;
	list = json_array();
	list_each(network, &co->mesh.networks, node)
		if (who_sees(who, network) && (!only || network == only))
			list_each(member, &network->members, in_network)
				for (unsigned i = 0; who_shown(who, member->made_in) && i < member->route_count; i++)
					json_array_append_new(list, route_json(member, &member->routes[i]));
	return json_pack("{so}", "routes", list);
}

static json_t *set_route(struct coordinator *co, struct member *member, const struct prefix *prefix,
			 bool approved, const struct who *who, struct refusal *why)
{
	char text[PREFIX_TEXT];
	json_t *result;

	if (!registry_route(co, member, prefix, approved, who->actor, why))
		return NULL;
	prefix_format(text, prefix);
	result = admin_message("route %s of %s %s in the network %s", text, member->name,
			       approved ? "approved" : "revoked", member->network->name);
	for (unsigned i = 0; i < member->route_count; i++)
		if (prefix_equal(&member->routes[i].prefix, prefix))
			json_object_set_new(result, "route", route_json(member, &member->routes[i]));
	return result;
}

/* "exit": what the agent advertises of 0.0.0.0/0 and ::/0. */
static json_t *set_exit(struct coordinator *co, struct member *member, bool approved, const struct who *who,
			struct refusal *why)
{
	json_t *result = NULL, *all = json_array();

	for (unsigned i = 0; i < member->route_count; i++) {
		struct prefix prefix = member->routes[i].prefix;

		if (prefix.bits || !registry_route(co, member, &prefix, approved, who->actor, why))
			continue;
		json_array_append_new(all, route_json(member, &member->routes[i]));
	}
	if (json_array_size(all)) {
		result = admin_message("%s is %s an exit in the network %s", member->name,
				       approved ? "now" : "no longer", member->network->name);
		json_object_set(result, "routes", all);
	} else {
		refuse(why, 404, "unknown_route", "%s does not advertise 0.0.0.0/0 or ::/0: see {route list}",
		       member->name);
	}
	json_decref(all);
	return result;
}

static json_t *set_named_route(struct coordinator *co, struct js *js, const struct who *who, bool approved,
			       struct refusal *why)
{
	struct member *member = admin_member(co, js, FIND_CERTAIN, who, why);
	const char *text = js_need_string(js, "prefix", PREFIX_TEXT);
	struct prefix prefix;

	if (!member)
		return NULL;
	if (!strcmp(text, "exit"))
		return set_exit(co, member, approved, who, why);
	if (!prefix_parse(&prefix, text)) {
		refuse(why, 400, "invalid", "%s is not a route such as 192.168.1.0/24, nor exit", text);
		return NULL;
	}
	prefix = prefix_mask(&prefix); /* what is told and written is the route itself */
	return set_route(co, member, &prefix, approved, who, why);
}

json_t *admin_route_approve(struct coordinator *co, struct js *js, const struct who *who,
			    struct refusal *why)
{
	return set_named_route(co, js, who, true, why);
}

json_t *admin_route_revoke(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	return set_named_route(co, js, who, false, why);
}

static bool has_route(const struct member *member, const char *wanted, struct prefix *prefix)
{
	char id[ROUTE_ID];

	if (strncmp(wanted, member->agent->id, agent_part(member)))
		return false;
	for (unsigned i = 0; i < member->route_count; i++) {
		*prefix = member->routes[i].prefix;
		route_id(id, member, prefix);
		if (!strcmp(id, wanted))
			return true;
	}
	return false;
}

static struct member *find_route(struct coordinator *co, const struct who *who, const char *wanted,
				 struct prefix *prefix)
{
	struct network *network;
	struct member *member;

	list_each(network, &co->mesh.networks, node)
		if (who_sees(who, network))
			list_each(member, &network->members, in_network)
				if (has_route(member, wanted, prefix))
					return member;
	return NULL;
}

/* By its id, as `route list` has it. */
json_t *admin_route_set(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	const char *id = js_need_string(js, "id", ROUTE_ID - 1);
	bool approved = js_bool(js, "approved", false);
	struct member *member;
	struct prefix prefix;

	if (js_ok(js) && !json_is_boolean(json_object_get(js->object, "approved")))
		js_fail(js, "approved", "is missing, must be true or false");
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	member = find_route(co, who, id, &prefix);
	if (!member) {
		refuse(why, 404, "unknown_route", "there is no route %s: see {route list}", id);
		return NULL;
	}
	return who_may(who, member->network, why) ? set_route(co, member, &prefix, approved, who, why) : NULL;
}
