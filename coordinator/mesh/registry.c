/*
 * registry.c - agents that register. What they say of themselves: registry_seen.c; others' changes of
 * them: registry_change.c.
 *
 * Order matters in one place: memory is changed first and the writes are queued in the same wake.
 * Whoever asked is answered, and sync tells the others, only when the store has them on disk.
 */
#include "registry.h"
#include "coordinator/cluster/cluster.h"
#include "device.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "coordinator/access/users.h"
#include "coordinator/api/remedy.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/seal.h"
#include "lib/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool refuse(struct refusal *why, int status, const char *code, const char *format, ...)
{
	va_list args;

	why->status = status;
	why->code = code;
	va_start(args, format);
	remedy_format(why->detail, sizeof(why->detail), format, args);
	va_end(args);
	return false;
}

void registry_new_id(char out[static PROTO_ID_MAX])
{
	uint8_t unique[12];

	random_bytes(unique, sizeof(unique));
	hex_encode(out, PROTO_ID_MAX, unique, sizeof(unique));
}

bool registry_name_ok(const char *name, struct refusal *why)
{
	if (!name_valid(name))
		return refuse(why, 422, "name_invalid", "a name is 1 to 63 characters of a-z, 0-9 and "
			      "'-', with neither first nor last a '-'");
	if (policy_reserved(name))
		return refuse(why, 422, "name_reserved", "the name %s is reserved: choose another", name);
	return true;
}

/* ---- writing ------------------------------------------------------------------ */

void registry_write_agent(struct coordinator *co, const struct agent *agent)
{
	char *capabilities = agent->capabilities ? js_dump(agent->capabilities) : NULL;
	const struct store_value values[] = {
		store_text(agent->id), store_blob(agent->public_key.bytes, KEY_LEN),
		store_int((int64_t)agent->created_at), store_text(capabilities),
		store_int((int64_t)agent->tokens_from),
	};

	store_write(co->store, STORE_AGENT_PUT, values);
	free(capabilities);
}

void registry_write_member(struct coordinator *co, const struct member *member)
{
	char v4[ADDR_TEXT] = "", v6[ADDR_TEXT] = "", *tags = js_dump(member->tags);

	if (member->address.family)
		addr_format(v4, &member->address);
	if (member->address6.family)
		addr_format(v6, &member->address6);
	store_write(co->store, STORE_MEMBER_PUT,
		    (struct store_value[]){
			    store_text(member->agent->id), store_text(member->network->id),
			    store_text(member->name), store_text(*v4 ? v4 : NULL),
			    store_text(*v6 ? v6 : NULL), store_text(tags), store_text(member->key_id),
			    store_int((int64_t)member->joined_at), store_int(member->pending),
			    store_int(member->ephemeral)});
	free(tags);
}

static void write_each_route(struct coordinator *co, const struct member *member, enum store_write what)
{
	char text[PREFIX_TEXT];

	for (unsigned i = 0; i < member->route_count; i++) {
		prefix_format(text, &member->routes[i].prefix);
		store_write(co->store, what,
			    (struct store_value[]){store_text(member->agent->id),
						   store_text(member->network->id), store_text(text),
						   store_int(route_word(&member->routes[i]))});
	}
}

void registry_write_judged(struct coordinator *co, const struct member *member)
{
	write_each_route(co, member, STORE_ROUTE_JUDGE);
}

/* Those that it advertises now, and no others. */
static void write_routes(struct coordinator *co, const struct member *member)
{
	char text[PREFIX_TEXT];
	struct buf all;

	buf_init(&all, 0);
	buf_puts(&all, " ");
	for (unsigned i = 0; i < member->route_count; i++) {
		prefix_format(text, &member->routes[i].prefix);
		buf_addf(&all, "%s ", text);
	}
	store_write(co->store, STORE_ROUTES_KEEP,
		    (struct store_value[]){store_text(member->agent->id), store_text(member->network->id),
					   store_text(buf_text(&all))});
	buf_free(&all);
	write_each_route(co, member, STORE_ROUTE_PUT);
}

/* ---- registering ---------------------------------------------------------------- */

static struct join_key *find_key(struct coordinator *co, const char *text, struct refusal *why)
{
	uint8_t hash[HASH_LEN];
	struct join_key *key;

	sha256(hash, text, strlen(text));
	key = map_get(co->mesh.keys_by_hash, hash);
	if (!key)
		refuse(why, 403, "join_key_unknown", "this join key is not known here: ask for a new link");
	return key;
}

/* It is here by this key, and asks once more. */
static bool came_by(const struct member *member, const struct join_key *key)
{
	return member && !member->expired && !strcmp(member->key_id, key->id);
}

/* May this agent come in by this key? `member`: what it has there already. */
static bool key_admits(const struct join_key *key, const struct member *member, uint64_t wall_ms,
		       struct refusal *why)
{
	bool again = came_by(member, key);

	if (key->revoked_at)
		return refuse(why, 403, "join_key_revoked", "this join key was revoked: ask for a new link");
	if (again) /* an answer lost on the way costs nothing */
		return true;
	if (key->expires_at && key->expires_at <= wall_ms)
		return refuse(why, 403, "join_key_expired", "this join key has expired: ask for a new link");
	if (!key->reusable && key->used_at)
		return refuse(why, 403, "join_key_used", "this join key was used already: ask for a new link");
	return true;
}

static bool key_has_tag(const struct join_key *key, const char *tag)
{
	const json_t *item;
	size_t i;

	json_array_foreach(key->tags, i, item)
		if (!strcmp(json_string_value(item), tag))
			return true;
	return false;
}

static const json_t *tags_given(const struct registration *reg, const struct join_key *key)
{
	return json_array_size(reg->tags) ? reg->tags : key->tags;
}

/* The policy, or what its maker is, may be another than when the key was made; who has the tags of it keeps
 * them. */
static bool tags_ok(struct coordinator *co, const struct registration *reg, const struct join_key *key,
		    const struct member *member, struct refusal *why)
{
	const json_t *item;
	const char *tag;
	size_t i;

	json_array_foreach(reg->tags, i, item)
		if (!json_is_string(item) || !key_has_tag(key, json_string_value(item)))
			return refuse(why, 403, "tag_not_allowed", "the join key does not give every tag "
				      "that was asked for");
	tag = came_by(member, key) ? NULL : maker_lacks_tag(co, key->maker, policy_in_force(co), key->network,
							    tags_given(reg, key));
	if (tag)
		return refuse(why, 403, "tag_not_allowed", "who made this join key may not give the tag %s any "
			      "more: ask for a new link", tag);
	return true;
}

static bool wishes_ok(struct coordinator *co, const struct registration *reg, const struct join_key *key,
		      const struct member *member, struct refusal *why)
{
	if (device_by_key(key->network, &reg->public_key))
		return refuse(why, 409, "key_taken", "this key is a device's without an agent: see {peer list}");
	if (reg->route_count > co->config.limits.routes)
		return refuse(why, 422, "too_many_routes", "at most %u routes can be advertised",
			      co->config.limits.routes);
	for (unsigned i = 0; i < reg->route_count; i++)
		if (!registry_route_ok(key->network, &reg->routes[i], why))
			return false;
	if (!tags_ok(co, reg, key, member, why))
		return false;
	/* Who came by it before may have been renamed. */
	if (*key->name && strcmp(key->name, member ? member->name : reg->name) &&
	    !(member && !strcmp(member->key_id, key->id)))
		return refuse(why, 403, "name_not_allowed", "this join key is for the name %s only", key->name);
	if (member) /* it keeps the name it has */
		return true;
	if (!registry_name_ok(reg->name, why) || !policy_name_ok(co, reg->name, *key->name, why))
		return false;
	if (map_get(key->network->names, reg->name) || device_named(key->network, reg->name))
		return refuse(why, 409, "name_taken", "the name %s is taken in the network %s: choose "
			      "another", reg->name, key->network->name);
	return true;
}

/* Networks of one agent share an interface: their ranges must not overlap. */
static bool ranges_ok(const struct agent *agent, const struct network *network, struct refusal *why)
{
	const struct member *other;

	list_each(other, &agent->members, in_agent)
		if (prefix_overlaps(&other->network->cidr, &network->cidr) ||
		    (other->network->cidr6.addr.family && network->cidr6.addr.family &&
		     prefix_overlaps(&other->network->cidr6, &network->cidr6)))
			return refuse(why, 409, "network_overlap", "the range of the network %s overlaps "
				      "that of %s, which this agent is in", network->name,
				      other->network->name);
	return true;
}

static uint32_t scattered(const struct coordinator *co, const struct network *network)
{
	unsigned bits = 32 - network->cidr.bits;

	return cluster_others(co->cluster) ? 1 + random_below((1u << MIN(bits, 31u)) - 2) : 0;
}

static bool give_addresses(struct coordinator *co, struct member *member, uint64_t wall_ms, struct refusal *why)
{
	struct network *network = member->network;
	uint32_t host = 0, host6;

	/* Several that begin at the same place would be refused one after the other. */
	if (ipam_take(network->ipam, scattered(co, network), wall_ms, &member->address, &host) < 0)
		return refuse(why, 409, "network_full", "the network %s has no free address", network->name);
	if (network->ipam6 && ipam_take(network->ipam6, host, wall_ms, &member->address6, &host6) < 0) {
		ipam_release(network->ipam, &member->address, 1);
		return refuse(why, 409, "network_full", "the network %s has no free IPv6 address",
			      network->name);
	}
	mesh_member_addressed(member);
	return true;
}

static void set_tags(struct member *member, const json_t *tags)
{
	json_t *copy = registry_tags_once(tags);

	json_decref(member->tags);
	member->tags = copy;
}

static const struct route *route_among(const struct route *routes, unsigned count, const struct prefix *prefix)
{
	for (unsigned i = 0; i < count; i++)
		if (prefix_equal(&routes[i].prefix, prefix))
			return &routes[i];
	return NULL;
}

/* Each once, however it is written. What was said of a prefix before stays. */
static void set_routes(struct member *member, const struct registration *reg)
{
	struct route *routes = xcalloc(reg->route_count, sizeof(*routes));
	unsigned count = 0;

	for (unsigned i = 0; i < reg->route_count; i++) {
		struct prefix prefix = prefix_mask(&reg->routes[i]);
		const struct route *before = route_among(member->routes, member->route_count, &prefix);

		if (!route_among(routes, count, &prefix))
			routes[count++] = before ? *before : (struct route){.prefix = prefix};
	}
	free(member->routes);
	member->routes = routes;
	member->route_count = count;
}

static void set_capabilities(struct agent *agent, json_t *capabilities)
{
	json_decref(agent->capabilities);
	agent->capabilities = json_deep_copy(capabilities);
}

static void use_key(struct coordinator *co, struct join_key *key, const struct agent *agent,
		    uint64_t wall_ms)
{
	key->used_at = wall_ms;
	str_copy(key->used_by, sizeof(key->used_by), agent->id);
	store_write(co->store, STORE_KEY_USE,
		    (struct store_value[]){store_text(key->id), store_int((int64_t)wall_ms),
					   store_text(agent->id)});
}

static struct member *admit(struct coordinator *co, const struct registration *reg, struct join_key *key,
			    struct agent *agent, struct refusal *why)
{
	uint64_t now = clock_wall_ms();
	bool is_new = !agent;
	struct member *member;
	char id[PROTO_ID_MAX];

	if (is_new) {
		registry_new_id(id);
		agent = mesh_agent_add(&co->mesh, id, &reg->public_key);
		agent->created_at = now;
		where_set(&agent->at, &reg->at);
	}
	member = mesh_member_add(agent, key->network, reg->name);
	if (!give_addresses(co, member, now, why)) {
		mesh_member_del(member);
		if (is_new)
			mesh_agent_del(&co->mesh, agent);
		return NULL;
	}
	member->joined_at = now;
	member->made_in = store_batch(co->store);
	member->pending = key->network->approve;
	member->ephemeral = key->ephemeral;
	return member;
}

static void write_capabilities(struct coordinator *co, const struct agent *agent)
{
	char *text = agent->capabilities ? js_dump(agent->capabilities) : NULL;

	store_write(co->store, STORE_AGENT_SET, (struct store_value[]){store_text(agent->id), store_text(text)});
	free(text);
}

/* Its row is locked by the first, so the second sees what another coordinator has let it into meanwhile:
 * ranges were not judged against that. */
static void write_joined(struct coordinator *co, const struct agent *agent, const struct network *network)
{
	const struct member *member;
	struct buf judged;

	write_capabilities(co, agent);
	buf_init(&judged, 0);
	list_each(member, &agent->members, in_agent)
		if (member->network != network)
			buf_addf(&judged, "%s ", member->network->id);
	store_write(co->store, STORE_AGENT_ALONE,
		    (struct store_value[]){store_text(agent->id), store_text(buf_text(&judged))});
	buf_free(&judged);
}

/* One that was here: what others have changed of it meanwhile stays. `key`: by which it came now; NULL: the same
 * as before. */
static void write_again(struct coordinator *co, const struct member *member, const struct join_key *key)
{
	const char *id = member->agent->id, *network = member->network->id;
	char *tags;

	write_capabilities(co, member->agent);
	store_write(co->store, STORE_MEMBER_AGAIN,
		    (struct store_value[]){store_text(id), store_text(network), store_int(member->ephemeral)});
	if (!key)
		return;
	tags = js_dump(member->tags);
	store_write(co->store, STORE_MEMBER_KEY,
		    (struct store_value[]){store_text(id), store_text(network), store_text(tags),
					   store_text(key->id)});
	free(tags);
}

void registry_return(struct coordinator *co, struct member *member)
{
	if (!member->expired)
		return;
	member->expired = false;
	member->expires_at = 0;
	store_write(co->store, STORE_MEMBER_RETURN,
		    (struct store_value[]){store_text(member->agent->id), store_text(member->network->id)});
}

const struct join_key *registry_admits(struct coordinator *co, const struct registration *reg, struct refusal *why)
{
	const struct join_key *key = find_key(co, reg->join_key, why);
	const struct agent *agent = map_get(co->mesh.agents_by_key, reg->public_key.bytes);
	const struct member *member = key && agent ? mesh_member(agent, key->network) : NULL;

	return key && key_admits(key, member, clock_wall_ms(), why) ? key : NULL;
}

struct member *registry_register(struct coordinator *co, const struct registration *reg,
				 const char *actor, bool *again, struct network **network,
				 struct refusal *why)
{
	uint64_t now = clock_wall_ms();
	struct join_key *key = find_key(co, reg->join_key, why);
	struct agent *agent = map_get(co->mesh.agents_by_key, reg->public_key.bytes);
	struct member *member = key && agent ? mesh_member(agent, key->network) : NULL;
	bool same_key = key && came_by(member, key), is_new = !agent;

	*network = NULL;
	if (!key || !key_admits(key, member, now, why) || !wishes_ok(co, reg, key, member, why) ||
	    (agent && !member && !ranges_ok(agent, key->network, why)))
		return NULL;
	*network = key->network;
	if (reg->preview)
		return NULL;
	*again = member != NULL;
	if (!member)
		member = admit(co, reg, key, agent, why);
	if (!member) {
		*network = NULL;
		return NULL;
	}
	agent = member->agent;
	if (!key->ephemeral) /* who was asked to stay stays */
		member->ephemeral = false;
	set_capabilities(agent, reg->capabilities);
	set_routes(member, reg);
	if (!same_key) {
		set_tags(member, tags_given(reg, key));
		str_copy(member->key_id, sizeof(member->key_id), key->id);
		use_key(co, key, agent, now);
	}
	policy_judge_routes(policy_in_force(co), member);
	if (is_new)
		registry_write_agent(co, agent);
	else if (!*again)
		write_joined(co, agent, member->network);
	if (*again)
		write_again(co, member, same_key ? NULL : key);
	else
		registry_write_member(co, member);
	registry_return(co, member);
	write_routes(co, member);
	registry_audit_in(co, member->network, actor, *again ? "agent-registered-again" : "agent-registered", agent->id,
		       member->name);
	sync_put(co->sync, member);
	sync_reset(co->sync, agent);
	return member;
}
