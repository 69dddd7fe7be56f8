/*
 * registry_change.c - agents that are changed, cut off or leave.
 */
#include "registry.h"
#include "device.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <string.h>

void registry_retire(struct coordinator *co, const struct network *network, struct ipam *ipam,
		     const struct addr *addr)
{
	uint64_t until = clock_wall_ms() + IPAM_REST_MS;
	char text[ADDR_TEXT];

	if (!addr->family || !ipam)
		return;
	ipam_release(ipam, addr, until);
	addr_format(text, addr);
	store_write(co->store, STORE_RETIRED_PUT,
		    (struct store_value[]){store_text(network->id), store_text(text),
					   store_int((int64_t)until)});
}

static void remove_member(struct coordinator *co, struct member *member)
{
	struct network *network = member->network;

	registry_retire(co, network, network->ipam, &member->address);
	registry_retire(co, network, network->ipam6, &member->address6);
	store_write(co->store, STORE_MEMBER_DEL,
		    (struct store_value[]){store_text(member->agent->id), store_text(network->id)});
	sync_remove(co->sync, network, member->agent->id);
	mesh_member_del(member);
}

/* Those of before are void, for good. */
static void end_tokens(struct coordinator *co, struct agent *agent)
{
	agent->tokens_from = (clock_wall_ms() / 1000 + 1) * 1000;
	store_write(co->store, STORE_AGENT_TOKENS,
		    (struct store_value[]){store_text(agent->id), store_int((int64_t)agent->tokens_from)});
}

/* Where it has expired in all its networks. */
static void cut_expired(struct coordinator *co, struct agent *agent)
{
	if (!mesh_expired(agent))
		return;
	end_tokens(co, agent);
	agent->online = false;
	sync_cut(co->sync, agent, "expired");
}

void registry_remove(struct coordinator *co, struct agent *agent, struct network *network,
		     const char *actor)
{
	struct member *member, *tmp;

	registry_devices_drop(co, agent, network, actor);
	list_each_safe(member, tmp, &agent->members, in_agent) {
		if (network && member->network != network)
			continue;
		registry_audit_in(co, member->network, actor, "agent-removed", agent->id, member->name);
		remove_member(co, member);
	}
	if (!list_empty(&agent->members)) {
		sync_reset(co->sync, agent);
		cut_expired(co, agent); /* the last that had not was this one */
		return;
	}
	sync_cut(co->sync, agent, "removed");
	store_write(co->store, STORE_AGENT_DEL, (struct store_value[]){store_text(agent->id)});
	mesh_agent_del(&co->mesh, agent);
}

/* After a change of its name or tags: routes that the policy speaks of, its class, its peers. */
static void settle(struct coordinator *co, struct member *member)
{
	if (policy_judge_routes(policy_in_force(co), member))
		registry_write_judged(co, member);
	sync_put(co->sync, member);
}

bool registry_rename(struct coordinator *co, struct member *member, const char *name, const char *actor,
		     struct refusal *why)
{
	struct member *other;

	if (!registry_name_ok(name, why) || !policy_name_ok(co, name, true, why))
		return false;
	other = map_get(member->network->names, name);
	if (other == member)
		return true;
	if (other || device_named(member->network, name))
		return refuse(why, 409, "name_taken", "the name %s is taken in the network %s", name,
			      member->network->name);
	registry_audit_in(co, member->network, actor, "agent-renamed", member->agent->id, name);
	mesh_member_rename(member, name);
	store_write(co->store, STORE_MEMBER_NAME,
		    (struct store_value[]){store_text(member->agent->id), store_text(member->network->id),
					   store_text(name)});
	settle(co, member);
	return true;
}

void registry_tag(struct coordinator *co, struct member *member, const json_t *tags, const char *actor)
{
	char *text;

	json_decref(member->tags);
	member->tags = registry_tags_once(tags);
	text = js_dump(member->tags);
	store_write(co->store, STORE_MEMBER_TAGS,
		    (struct store_value[]){store_text(member->agent->id), store_text(member->network->id),
					   store_text(text)});
	settle(co, member);
	registry_audit_in(co, member->network, actor, "agent-tagged", member->agent->id, text);
	free(text);
}

void registry_expire(struct coordinator *co, struct member *member, const char *actor)
{
	struct agent *agent = member->agent;

	if (member->expired)
		return;
	member->expired = true;
	member->expired_at = clock_wall_ms();
	store_write(co->store, STORE_MEMBER_EXPIRE,
		    (struct store_value[]){store_text(agent->id), store_text(member->network->id)});
	registry_audit_in(co, member->network, actor, "agent-expired", agent->id, member->name);
	sync_remove(co->sync, member->network, agent->id);
	sync_reset(co->sync, agent);
	cut_expired(co, agent);
}

void registry_expire_at(struct coordinator *co, struct member *member, uint64_t wall_ms,
			const char *actor)
{
	char text[TIME_TEXT];

	member->expires_at = wall_ms;
	store_write(co->store, STORE_MEMBER_EXPIRY,
		    (struct store_value[]){store_text(member->agent->id), store_text(member->network->id),
					   store_int((int64_t)wall_ms)});
	time_format(text, wall_ms);
	registry_audit_in(co, member->network, actor, "agent-expiry-set", member->agent->id,
			  wall_ms ? text : "never");
}

/* From this network: where it has expired it is away, though it may be there in others. */
static uint64_t away_ms(const struct coordinator *co, const struct member *member, uint64_t wall_ms)
{
	const struct agent *agent = member->agent;
	uint64_t since = MAX(agent->last_seen, member->joined_at);

	if (agent->session || cluster_has(co->cluster, agent))
		since = wall_ms;
	if (member->expired)
		since = MIN(since, member->expired_at);
	return wall_ms - MIN(since, wall_ms);
}

/* Each by itself: one that is refused takes along neither another nor what somebody has just asked for. */
void registry_end_due(struct coordinator *co, uint64_t wall_ms)
{
	struct network *network;
	struct member *member, *tmp;

	list_each(network, &co->mesh.networks, node)
		list_each_safe(member, tmp, &network->members, in_network)
			if (member->ephemeral && away_ms(co, member, wall_ms) > co->config.ephemeral_ms) {
				store_begin(co->store);
				registry_remove(co, member->agent, network, "ephemeral");
			} else if (member->expires_at && member->expires_at <= wall_ms && !member->expired) {
				store_begin(co->store);
				registry_expire(co, member, "expiry");
			}
}

void registry_approve(struct coordinator *co, struct member *member, const char *actor)
{
	if (mesh_shown(member))
		return;
	member->pending = false;
	store_write(co->store, STORE_MEMBER_APPROVE,
		    (struct store_value[]){store_text(member->agent->id), store_text(member->network->id)});
	registry_return(co, member);
	registry_audit_in(co, member->network, actor, "agent-approved", member->agent->id, member->name);
	sync_put(co->sync, member);
	sync_reset(co->sync, member->agent); /* now it sees its peers */
}

/* A device's key is judged in its own network alone: of others' this agent's operators learn nothing. */
static bool is_devices(const struct agent *agent, const struct key *public_key)
{
	const struct member *member;

	list_each(member, &agent->members, in_agent)
		if (device_by_key(member->network, public_key))
			return true;
	return false;
}

bool registry_rekey(struct coordinator *co, struct agent *agent, const struct key *public_key,
		    struct refusal *why)
{
	struct member *member;

	if (map_get(co->mesh.agents_by_key, public_key->bytes) || is_devices(agent, public_key))
		return refuse(why, 409, "key_taken", "another agent or a device has this public key");
	/* Who had the old key may have one. Also locks its row: the next sees in which networks it is. */
	end_tokens(co, agent);
	mesh_agent_rekey(&co->mesh, agent, public_key);
	store_write(co->store, STORE_AGENT_KEY,
		    (struct store_value[]){store_text(agent->id), store_blob(public_key->bytes, KEY_LEN)});
	list_each(member, &agent->members, in_agent) {
		if (member->expired) /* what it does is another network's matter */
			continue;
		registry_audit_in(co, member->network, agent->id, "agent-rekeyed", agent->id, member->name);
		sync_put(co->sync, member);
	}
	return true;
}
