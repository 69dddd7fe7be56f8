/*
 * admin_agents.c - agents and routes, for administrators. An agent is named by its id, its name (in
 * a network, where several have one of that name), its public key, or a unique beginning of an id.
 */
#include "admin_commands.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

/* ---- which one ----------------------------------------------------------------------------- */

static bool fits(const struct member *member, const char *text, const struct key *key, bool exactly)
{
	if (key)
		return key_equal(&member->agent->public_key, key);
	if (!strcmp(member->name, text) || !strcmp(member->agent->id, text))
		return true;
	return !exactly && strlen(text) >= 4 && str_has_prefix(member->agent->id, text);
}

/* The membership meant; several of one agent count as one unless `network` picks. */
static struct member *search(struct coordinator *co, const struct network *network, const char *text,
			     bool exactly, bool *several)
{
	struct member *found = NULL, *member;
	struct network *each;
	struct key key;
	bool is_key = key_parse(&key, text);

	*several = false;
	list_each(each, &co->mesh.networks, node) {
		if (network && each != network)
			continue;
		list_each(member, &each->members, in_network) {
			if (!fits(member, text, is_key ? &key : NULL, exactly))
				continue;
			if (found && found->agent != member->agent)
				*several = true;
			else if (!found)
				found = member;
		}
	}
	return found;
}

static struct member *find(struct coordinator *co, struct js *js, struct network **network,
			   struct refusal *why)
{
	const char *text = js_need_string(js, "agent", 255);
	struct member *member;
	bool several;

	*network = NULL;
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (js_string(js, "network", NULL)) {
		*network = admin_network(co, js, "network", why);
		if (!*network)
			return NULL;
	}
	member = search(co, *network, text, true, &several);
	if (!member)
		member = search(co, *network, text, false, &several);
	if (!member)
		refuse(why, 404, "unknown_agent", "there is no agent %s: see agent list", text);
	else if (several)
		refuse(why, 400, "ambiguous", "%s could be several agents: say --network, or its id from "
		       "agent list", text);
	return member && !several ? member : NULL;
}

/* ---- agents ---------------------------------------------------------------------------------- */

static json_t *routes_json(const struct member *member)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < member->route_count; i++)
		json_array_append_new(list, json_pack("{sosb}", "prefix",
						      js_from_prefix(&member->routes[i].prefix), "approved",
						      member->routes[i].approved));
	return list;
}

static json_t *member_json(const struct member *member)
{
	const struct agent *agent = member->agent;
	json_t *json = json_pack("{sssssssosOsbsbsb}", "agent_id", agent->id, "name", member->name, "network",
				 member->network->name, "addresses", mesh_addresses_json(member, false),
				 "tags", member->tags, "online", agent->online, "expired", agent->expired,
				 "ephemeral", agent->ephemeral);

	json_object_set_new(json, "public_key", js_from_key(&agent->public_key));
	json_object_set_new(json, "endpoint", js_from_endpoint(&agent->at.endpoint));
	json_object_set_new(json, "nat_type", json_string(nat_type_name(agent->at.nat_type)));
	json_object_set_new(json, "last_seen", js_from_time(agent->last_seen));
	json_object_set_new(json, "joined_at", js_from_time(member->joined_at));
	json_object_set_new(json, "routes", routes_json(member));
	return json;
}

json_t *admin_agent_list(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	struct network *only = NULL, *network;
	json_t *list;
	struct member *member;

	(void)actor;
	if (js_string(js, "network", NULL)) {
		only = admin_network(co, js, "network", why);
		if (!only)
			return NULL;
	}
	list = json_array();
	list_each(network, &co->mesh.networks, node)
		if (!only || network == only)
			list_each(member, &network->members, in_network)
				json_array_append_new(list, member_json(member));
	return json_pack("{so}", "agents", list);
}

json_t *admin_agent_show(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	struct network *network;
	struct member *member = find(co, js, &network, why);
	const struct agent *agent;
	json_t *json;

	(void)actor;
	if (!member)
		return NULL;
	agent = member->agent;
	json = member_json(member);
	json_object_set_new(json, "networks", mesh_networks_json(agent));
	json_object_set_new(json, "at", proto_write_endpoints(&agent->at));
	json_object_set_new(json, "created_at", js_from_time(agent->created_at));
	json_object_set_new(json, "peers_direct", json_integer(agent->direct_peers));
	json_object_set_new(json, "peers_relayed", json_integer(agent->relayed_peers));
	if (agent->capabilities)
		json_object_set(json, "capabilities", agent->capabilities);
	return json_pack("{so}", "agent", json);
}

json_t *admin_agent_rename(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	struct network *network;
	struct member *member = find(co, js, &network, why);
	const char *name = js_need_string(js, "name", 255);

	if (!member)
		return NULL;
	if (!registry_rename(co, member, name, actor, why))
		return NULL;
	return admin_message("agent %s is now %s", member->agent->id, member->name);
}

json_t *admin_agent_remove(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	struct network *network;
	struct member *member = find(co, js, &network, why);
	json_t *message;

	if (!member)
		return NULL;
	message = admin_message("agent %s (%s) removed", member->name, member->agent->id);
	registry_remove(co, member->agent, network, actor);
	return message;
}

json_t *admin_agent_expire(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	struct network *network;
	struct member *member = find(co, js, &network, why);

	if (!member)
		return NULL;
	registry_expire(co, member->agent, actor);
	return admin_message("agent %s expired: it comes back with a new join link", member->name);
}

json_t *admin_agent_tag(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	json_t *tags = js_array(js, "tags", MAX_TAGS), *none = json_array(), *message = NULL;
	struct network *network;
	struct member *member = find(co, js, &network, why);

	if (member && registry_tags_ok(tags, why)) {
		registry_tag(co, member, tags ? tags : none, actor);
		message = admin_message("agent %s has %zu tags", member->name, json_array_size(member->tags));
	}
	json_decref(none);
	return message;
}

/* ---- routes ------------------------------------------------------------------------------------ */

json_t *admin_route_list(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	json_t *list = json_array();
	struct network *network;
	struct member *member;

	(void)js;
	(void)actor;
	(void)why;
	list_each(network, &co->mesh.networks, node)
		list_each(member, &network->members, in_network)
			for (unsigned i = 0; i < member->route_count; i++)
				json_array_append_new(
					list, json_pack("{sosssssssb}", "prefix",
							js_from_prefix(&member->routes[i].prefix),
							"agent_id", member->agent->id, "name", member->name,
							"network", network->name, "approved",
							member->routes[i].approved));
	return json_pack("{so}", "routes", list);
}

static json_t *set_route(struct coordinator *co, struct js *js, const char *actor, bool approved,
			 struct refusal *why)
{
	struct network *network;
	struct member *member = find(co, js, &network, why);
	const char *text = js_need_string(js, "prefix", PREFIX_TEXT);
	struct prefix prefix;

	if (!member)
		return NULL;
	if (!prefix_parse(&prefix, text)) {
		refuse(why, 400, "invalid", "%s is not a route such as 192.168.1.0/24", text);
		return NULL;
	}
	if (!registry_route(co, member, &prefix, approved, actor, why))
		return NULL;
	return admin_message("route %s of %s %s", text, member->name, approved ? "approved" : "revoked");
}

json_t *admin_route_approve(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	return set_route(co, js, actor, true, why);
}

json_t *admin_route_revoke(struct coordinator *co, struct js *js, const char *actor, struct refusal *why)
{
	return set_route(co, js, actor, false, why);
}
