/*
 * admin_agents.c - agents, for administrators. How an agent is named: ../mesh/find.h.
 */
#include "admin_commands.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/mesh/device.h"
#include "coordinator/mesh/find.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

/* ---- which one ----------------------------------------------------------------------------- */

/* The membership that "agent" (and "network") name, to be worked on; *network is NULL where none was given. NULL:
 * refused. */
static struct member *meant(struct coordinator *co, struct js *js, struct network **network,
			    enum find_how how, const struct who *who, struct refusal *why)
{
	const char *text = js_need_string(js, "agent", 255);
	struct member *member;

	*network = NULL;
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!admin_network_given(co, js, network, who, why))
		return NULL;
	member = find_agent(co, *network, who, text, how, why);
	return member && who_may(who, member->network, why) ? member : NULL;
}

struct member *admin_member(struct coordinator *co, struct js *js, enum find_how how, const struct who *who,
			    struct refusal *why)
{
	struct network *network;
	struct member *member = meant(co, js, &network, how, who, why);

	return member && (network || find_only(member, who, why)) ? member : NULL;
}

/* Of an agent's memberships, those in `network`, or (NULL) in all that this one may work on: what an
 * organisation decides holds in its own networks alone. */
static bool is_meant(const struct who *who, const struct member *member, const struct network *network)
{
	return network ? member->network == network : who_role(who, member->network) >= who->need;
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

/* Where it is, for those of the member's network: once it has expired there, that is others' matter. */
static void whereabouts(const struct member *member, struct proto_endpoints *out)
{
	memset(out, 0, sizeof(*out));
	if (!member->expired)
		where_get(member->agent->at, out);
}

json_t *admin_agent_json(const struct member *member)
{
	const struct agent *agent = member->agent;
	struct proto_endpoints at;
	json_t *json = json_pack("{sssssssosOsbsbsbsb}", "agent_id", agent->id, "name", member->name,
				 "network", member->network->name, "addresses",
				 mesh_addresses_json(member, false), "tags", member->tags, "approved",
				 !member->pending, "online", agent->online && !member->expired, "expired",
				 member->expired, "ephemeral", member->ephemeral);

	json_object_set_new(json, "public_key", js_from_key(&agent->public_key));
	whereabouts(member, &at);
	json_object_set_new(json, "endpoint", js_from_endpoint(&at.endpoint));
	json_object_set_new(json, "nat_type", json_string(nat_type_name(at.nat_type)));
	json_object_set_new(json, "last_seen", js_from_time(member->expired ? 0 : agent->last_seen));
	json_object_set_new(json, "joined_at", js_from_time(member->joined_at));
	json_object_set_new(json, "expires_at", js_from_time(member->expires_at));
	json_object_set_new(json, "routes", routes_json(member));
	return json;
}

/* With a message for people. */
static json_t *agent_result(const struct member *member, json_t *message)
{
	json_object_set_new(message, "agent", admin_agent_json(member));
	return message;
}

json_t *admin_agent_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	int64_t limit = js_int(js, "limit", 1, 1000000, 1000000), offset = js_int(js, "offset", 0, 1000000, 0);
	struct network *only, *network;
	int64_t total = 0;
	json_t *list;
	struct member *member;

	if (!admin_network_given(co, js, &only, who, why))
		return NULL;
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	list = json_array();
	list_each(network, &co->mesh.networks, node) {
		if ((only && network != only) || !who_sees(who, network))
			continue;
		list_each(member, &network->members, in_network)
			if (who_shown(who, member->made_in) && total++ >= offset && total <= offset + limit)
				json_array_append_new(list, admin_agent_json(member));
	}
	return json_pack("{sosI}", "agents", list, "total", (json_int_t)total);
}

json_t *admin_agent_show(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct network *network;
	struct member *member = meant(co, js, &network, FIND_ANY, who, why);
	json_t *json, *networks = json_array();
	const struct member *each;
	unsigned direct = 0, relayed = 0;
	struct proto_endpoints at;
	uint64_t created = UINT64_MAX;

	if (!member) {
		json_decref(networks);
		return NULL;
	}
	whereabouts(member, &at);
	list_each(each, &member->agent->members, in_agent)
		if (who_sees(who, each->network) && who_shown(who, each->made_in)) {
			json_array_append_new(networks, mesh_network_json(each));
			direct += each->direct_peers;
			relayed += each->relayed_peers;
			created = MIN(created, each->joined_at);
		}
	json = admin_agent_json(member);
	json_object_set_new(json, "networks", networks);
	json_object_set_new(json, "at", proto_write_endpoints(&at));
	json_object_set_new(json, "created_at", js_from_time(who_sees(who, NULL) ? member->agent->created_at
										: created));
	json_object_set_new(json, "peers_direct", json_integer(direct));
	json_object_set_new(json, "peers_relayed", json_integer(relayed));
	if (member->agent->capabilities && !member->expired)
		json_object_set(json, "capabilities", member->agent->capabilities);
	return json_pack("{so}", "agent", json);
}

json_t *admin_agent_rename(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	struct member *member = admin_member(co, js, FIND_CERTAIN, who, why);
	const char *name = js_need_string(js, "name", 255);

	if (!member || !registry_rename(co, member, name, who->actor, why))
		return NULL;
	return agent_result(member, admin_message("agent %s is now %s in the network %s", member->agent->id,
						  member->name, member->network->name));
}

static json_t *tagged(const struct member *member)
{
	size_t count = json_array_size(member->tags);

	return admin_message("agent %s has %zu tag%s in the network %s", member->name, count, count == 1 ? "" : "s",
			     member->network->name);
}

json_t *admin_agent_tag(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	json_t *tags = js_array(js, "tags", MAX_TAGS), *result = NULL;
	struct member *member = admin_member(co, js, FIND_CERTAIN, who, why);

	if (member && !tags) /* a list that was forgotten must not take all away */
		refuse(why, 400, "invalid", "%s", js_ok(js) ? "tags: is missing; [] takes all away" : js->error);
	else if (member && registry_tags_ok(tags, why) &&
	    who_may_tag(who, policy_in_force(co), member->network, member->tags, tags, why)) {
		registry_tag(co, member, tags, who->actor);
		result = agent_result(member, tagged(member));
	}
	return result;
}

/* Name and tags at once: both or neither. */
json_t *admin_agent_set(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct member *member = admin_member(co, js, FIND_CERTAIN, who, why);
	const char *name = js_string(js, "name", NULL);
	json_t *tags = js_array(js, "tags", MAX_TAGS);

	if (!member)
		return NULL;
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if ((tags && (!registry_tags_ok(tags, why) ||
		      !who_may_tag(who, policy_in_force(co), member->network, member->tags, tags, why))) ||
	    (name && !registry_rename(co, member, name, who->actor, why)))
		return NULL;
	if (tags)
		registry_tag(co, member, tags, who->actor);
	return agent_result(member, admin_message("agent %s changed in the network %s", member->name,
						  member->network->name));
}

json_t *admin_agent_approve(struct coordinator *co, struct js *js, const struct who *who,
			    struct refusal *why)
{
	struct member *member = admin_member(co, js, FIND_CERTAIN, who, why);

	if (!member)
		return NULL;
	registry_approve(co, member, who->actor);
	return agent_result(member, admin_message("agent %s approved in the network %s", member->name,
						  member->network->name));
}

/* Names of the devices behind it, which go with it. */
static void add_devices(json_t *names, const struct member *member)
{
	const struct device *device;

	list_each(device, &member->agent->devices, in_agent)
		if (device->network == member->network)
			json_array_append_new(names, json_string(device->name));
}

static json_t *removed(const struct agent *agent, const char *name, json_t *devices)
{
	struct buf text;
	json_t *result, *device;
	size_t i;

	buf_init(&text, 0);
	buf_addf(&text, "agent %s (%s) removed", name, agent->id);
	json_array_foreach(devices, i, device)
		buf_addf(&text, "%s%s", i ? ", " : ", and its devices: ", json_string_value(device));
	result = json_pack("{ssso}", "message", buf_text(&text), "devices", devices);
	buf_free(&text);
	return result;
}

json_t *admin_agent_remove(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	struct network *network, *each, *next;
	struct member *member = meant(co, js, &network, FIND_CERTAIN, who, why), *other;
	json_t *devices, *result;
	char id[PROTO_ID_MAX];
	struct agent *agent;

	if (!member)
		return NULL;
	devices = json_array();
	list_each(other, &member->agent->members, in_agent)
		if (is_meant(who, other, network))
			add_devices(devices, other);
	result = removed(member->agent, member->name, devices);
	str_copy(id, sizeof(id), member->agent->id);
	list_each_safe(each, next, &co->mesh.networks, node) {
		agent = map_get(co->mesh.agents, id); /* it goes with its last network */
		member = agent ? mesh_member(agent, each) : NULL;
		if (member && is_meant(who, member, network))
			registry_remove(co, agent, each, who->actor);
	}
	return result;
}

static json_t *expired(const struct member *member, unsigned count)
{
	return count > 1 ? admin_message("agent %s expired in %u networks: it comes back in each with a new join "
					 "link of that network", member->name, count)
			 : admin_message("agent %s expired in the network %s: it comes back with a new join link",
					 member->name, member->network->name);
}

json_t *admin_agent_expire(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	struct network *network;
	struct member *member = meant(co, js, &network, FIND_CERTAIN, who, why), *each;
	const char *in = js_string(js, "in", NULL);
	unsigned count = 0;
	uint64_t ms = 0;

	if (!member)
		return NULL;
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (in && strcmp(in, "never") && (!parse_duration(in, &ms) || !ms)) {
		refuse(why, 400, "invalid", "in: %s is not a time such as 30d, or never", in);
		return NULL;
	}
	list_each(each, &member->agent->members, in_agent) {
		if (!is_meant(who, each, network) || (in && each->expired))
			continue;
		count++;
		if (in)
			registry_expire_at(co, each, ms ? clock_wall_ms() + ms : 0, who->actor);
		else
			registry_expire(co, each, who->actor);
	}
	if (!in)
		return agent_result(member, expired(member, count));
	if (!count) {
		refuse(why, 409, "agent_expired", "agent %s has expired already: it comes back with a new join link, or "
		       "where an administrator approves it", member->name);
		return NULL;
	}
	return agent_result(member, ms ? admin_message("agent %s expires in %s", member->name, in)
				       : admin_message("agent %s does not expire", member->name));
}
