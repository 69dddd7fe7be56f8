/*
 * registry_admin.c - networks, join keys and the audit.
 */
#include "registry.h"
#include "coordinator/admin/admin.h"
#include "coordinator/sync/events.h"
#include "coordinator/store/store.h"
#include "coordinator/access/users.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

void registry_audit_in(struct coordinator *co, const struct network *network, const char *actor,
		       const char *action, const char *subject, const char *detail)
{
	uint64_t now = clock_wall_ms();
	json_t *line;

	store_write(co->store, STORE_AUDIT_PUT,
		    (struct store_value[]){store_int((int64_t)now), store_text(actor), store_text(action),
					   store_text(subject), store_text(detail),
					   store_text(network ? network->id : NULL)});
	line = registry_audit_json(now, actor, action, subject, detail, network ? network->name : NULL);
	if (co->admin)
		admin_follow(co->admin, line);
	events_audit(co->events, network, line);
	json_decref(line);
}

void registry_audit(struct coordinator *co, const char *actor, const char *action, const char *subject,
		    const char *detail)
{
	registry_audit_in(co, NULL, actor, action, subject, detail);
}

json_t *registry_audit_json(uint64_t at, const char *actor, const char *action, const char *subject,
			    const char *detail, const char *network)
{
	return json_pack("{sosssssososo}", "at", js_from_time(at), "actor", actor, "action", action, "subject",
			 js_from_string(subject), "detail", js_from_string(detail), "network",
			 js_from_string(network));
}

static void write_network(struct coordinator *co, const struct network *network)
{
	char v4[PREFIX_TEXT], v6[PREFIX_TEXT];
	bool has6 = network->cidr6.addr.family;

	prefix_format(v4, &network->cidr);
	if (has6)
		prefix_format(v6, &network->cidr6);
	store_write(co->store, STORE_NETWORK_PUT,
		    (struct store_value[]){store_text(network->id), store_text(network->name),
					   store_text(v4), store_text(has6 ? v6 : NULL),
					   store_int((int64_t)network->created_at),
					   store_int(network->approve)});
}

struct network *registry_network_create(struct coordinator *co, const char *name,
					const struct prefix *cidr, const struct prefix *cidr6,
					const char *actor, struct refusal *why)
{
	char id[PROTO_ID_MAX], v4[PREFIX_TEXT], v6[PREFIX_TEXT];
	bool has6 = cidr6 && cidr6->addr.family;
	struct network *network;
	const char *problem;

	if (!name_valid(name)) {
		refuse(why, 422, "name_invalid", "a network's name is 1 to 63 characters of a-z, 0-9 and '-'");
		return NULL;
	}
	if (map_get(co->mesh.networks_by_name, name)) {
		refuse(why, 409, "name_taken", "there is a network %s already", name);
		return NULL;
	}
	prefix_format(v4, cidr);
	problem = cidr->addr.family == AF_INET ? ipam_cidr_problem(cidr) : "is not an IPv4 range";
	if (problem) {
		refuse(why, 422, "cidr_invalid", "cidr: %s %s", v4, problem);
		return NULL;
	}
	if (has6) {
		prefix_format(v6, cidr6);
		problem = cidr6->addr.family == AF_INET6 ? ipam_cidr_problem(cidr6) : "is not an IPv6 range";
		if (problem) {
			refuse(why, 422, "cidr_invalid", "cidr6: %s %s", v6, problem);
			return NULL;
		}
	}
	registry_new_id(id);
	network = mesh_network_add(&co->mesh, id, name, cidr, cidr6);
	network->created_at = clock_wall_ms();
	network->made_in = store_batch(co->store);
	write_network(co, network);
	registry_audit_in(co, network, actor, "network-created", name, v4);
	return network;
}

bool registry_network_remove(struct coordinator *co, struct network *network, const char *actor,
			     struct refusal *why)
{
	if (network->member_count)
		return refuse(why, 409, "network_in_use", "the network %s has %u agents: remove them first "
			      "({agent list}, {agent remove})", network->name, network->member_count);
	registry_audit_in(co, network, actor, "network-removed", network->name, NULL);
	store_write(co->store, STORE_NETWORK_DEL, (struct store_value[]){store_text(network->id)});
	mesh_network_del(&co->mesh, network);
	return true;
}

void registry_network_approve(struct coordinator *co, struct network *network, bool approve,
			      const char *actor)
{
	if (network->approve == approve)
		return;
	network->approve = approve;
	store_write(co->store, STORE_NETWORK_SET,
		    (struct store_value[]){store_text(network->id), store_int(approve)});
	registry_audit_in(co, network, actor, approve ? "approval-on" : "approval-off", network->name, NULL);
}

bool registry_tags_ok(const json_t *tags, struct refusal *why)
{
	const json_t *item;
	size_t i;

	if (json_array_size(tags) > MAX_TAGS)
		return refuse(why, 422, "too_many_tags", "at most %d tags can be given", MAX_TAGS);
	json_array_foreach(tags, i, item) {
		if (json_is_string(item) && str_has_prefix(json_string_value(item), "tag:"))
			return refuse(why, 422, "tag_invalid", "%.70s: a tag is given by its name alone, here %.64s; tag: "
				      "is how policies write it", json_string_value(item),
				      json_string_value(item) + 4);
		if (!json_is_string(item) || !name_valid(json_string_value(item)))
			return refuse(why, 422, "tag_invalid",
				      "a tag is 1 to 63 characters of a-z, 0-9 and '-'");
	}
	return true;
}

json_t *registry_tags_once(const json_t *tags)
{
	json_t *out = json_array(), *item, *other;
	size_t i, k;
	bool there;

	json_array_foreach(tags, i, item) {
		there = false;
		json_array_foreach(out, k, other)
			there |= json_equal(item, other);
		if (!there)
			json_array_append_new(out, json_deep_copy(item));
	}
	return out;
}

static void write_key(struct coordinator *co, const struct join_key *key)
{
	char *tags = js_dump(key->tags), *maker = key->maker ? js_dump(key->maker) : NULL;
	const struct store_value values[] = {
		store_text(key->id),
		store_blob(key->hash, HASH_LEN),
		store_text(key->network->id),
		store_int(key->reusable),
		store_int(key->ephemeral),
		store_text(*key->name ? key->name : NULL),
		store_text(tags),
		store_int((int64_t)key->created_at),
		store_int((int64_t)key->expires_at),
		store_int((int64_t)key->used_at),
		store_text(*key->used_by ? key->used_by : NULL),
		store_int((int64_t)key->revoked_at),
		store_text(maker),
	};

	store_write(co->store, STORE_KEY_PUT, values);
	free(tags);
	free(maker);
}

struct join_key *registry_key_create(struct coordinator *co, const struct key_wish *wish,
				     const char *actor, char secret[static SECRET_TEXT],
				     struct refusal *why)
{
	uint8_t random[16], hash[HASH_LEN];
	char id[PROTO_ID_MAX], *text;
	struct join_key *key;

	if ((wish->name && !registry_name_ok(wish->name, why)) || !registry_tags_ok(wish->tags, why))
		return NULL;
	random_bytes(random, sizeof(random));
	text = base64url_encode(random, sizeof(random));
	str_copy(secret, SECRET_TEXT, text);
	sha256(hash, text, strlen(text));
	secret_wipe(text, strlen(text));
	secret_wipe(random, sizeof(random));
	free(text);
	registry_new_id(id);
	id[12] = '\0';
	key = mesh_key_add(&co->mesh, id, hash, wish->network);
	key->reusable = wish->reusable;
	key->ephemeral = wish->ephemeral;
	key->created_at = clock_wall_ms();
	key->made_in = store_batch(co->store);
	key->expires_at = wish->expires_at;
	if (wish->name)
		str_copy(key->name, sizeof(key->name), wish->name);
	if (wish->tags) {
		json_decref(key->tags);
		key->tags = registry_tags_once(wish->tags);
	}
	key->maker = wish->maker ? maker_json(wish->maker) : NULL;
	write_key(co, key);
	registry_audit_in(co, wish->network, actor, "key-created", key->id, wish->network->name);
	return key;
}

void registry_key_revoke(struct coordinator *co, struct join_key *key, const char *actor)
{
	if (key->revoked_at)
		return;
	key->revoked_at = clock_wall_ms();
	store_write(co->store, STORE_KEY_REVOKE,
		    (struct store_value[]){store_text(key->id), store_int((int64_t)key->revoked_at)});
	registry_audit_in(co, key->network, actor, "key-revoked", key->id, NULL);
}
