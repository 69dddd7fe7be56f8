/*
 * heal.c - see heal.h. `meta` has "generation", "restored" (by restore, until the next start) and,
 * while agents may come back, "readmit_secret", "readmit_since" and "readmit_until".
 */
#include "heal.h"
#include "coordinator/mesh/device.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define READMIT_MS (24 * 3600 * 1000ull)
#define MAX_ROOM   2600 /* of a token, for memberships */

struct heal_meta {
	struct readmission old;
	uint64_t generation, restored_ms;
	bool restored;
	uint64_t newest; /* audit line: about when the copy was made */
};

static uint64_t number_of(const struct store_value *value)
{
	char text[24] = "";
	uint64_t number = 0;

	if (value->len < sizeof(text) && value->len)
		memcpy(text, value->data, value->len);
	parse_u64(text, &number);
	return number;
}

static void read_meta(void *arg, const struct store_value *row)
{
	const char *key = store_string(&row[0]);
	struct heal_meta *meta = arg;

	if (!strcmp(key, "generation"))
		meta->generation = number_of(&row[1]);
	else if (!strcmp(key, "readmit_since"))
		meta->old.since_ms = number_of(&row[1]);
	else if (!strcmp(key, "readmit_until"))
		meta->old.until_ms = number_of(&row[1]);
	else if (!strcmp(key, "readmit_secret") && row[1].len == TOKEN_SECRET_LEN)
		memcpy(meta->old.secret, row[1].data, TOKEN_SECRET_LEN);
	else if (!strcmp(key, "restored")) {
		meta->restored = true;
		meta->restored_ms = number_of(&row[1]);
	}
}

static void read_audit(void *arg, const struct store_value *row)
{
	struct heal_meta *meta = arg;

	meta->newest = (uint64_t)row[0].number;
}

static void put(struct coordinator *co, const char *key, const void *data, size_t len)
{
	store_write(co->store, STORE_META_PUT,
		    (struct store_value[]){store_text(key), store_blob(data, len)});
}

static void put_number(struct coordinator *co, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	put(co, key, text, strlen(text));
}

/* ---- noticing --------------------------------------------------------------------------------------- */

static uint64_t known_generation(const struct coordinator *co)
{
	char *path = xasprintf("%s/generation", co->config.state);
	uint64_t number = 0;
	struct buf file;

	buf_init(&file, 64);
	if (!file_read(path, 32, &file)) {
		buf_text(&file)[strcspn(buf_text(&file), "\n")] = '\0';
		parse_u64(buf_text(&file), &number);
	}
	buf_free(&file);
	free(path);
	return number;
}

/* The file only ever follows the database. */
static void remember(void *arg)
{
	struct coordinator *co = arg;
	char *path = xasprintf("%s/generation", co->config.state), text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)co->generation);
	if (file_write_atomic(path, text, strlen(text), 0600) < 0)
		log_warn("generation", "file=%s reason=\"cannot be written: an older copy of the database would "
			 "not be noticed\"", path);
	free(path);
}

static void renew(struct coordinator *co, const struct heal_meta *meta)
{
	uint64_t now = clock_wall_ms(), readmit = meta->restored ? meta->restored_ms : READMIT_MS;
	char detail[120];

	memcpy(co->readmission.secret, co->token_secret, TOKEN_SECRET_LEN);
	co->readmission.since_ms = meta->newest;
	co->readmission.until_ms = now + readmit;
	random_bytes(co->token_secret, TOKEN_SECRET_LEN);
	put(co, "token_secret", co->token_secret, TOKEN_SECRET_LEN);
	put(co, "readmit_secret", co->readmission.secret, TOKEN_SECRET_LEN);
	put_number(co, "readmit_since", co->readmission.since_ms);
	put_number(co, "readmit_until", co->readmission.until_ms);
	store_write(co->store, STORE_META_DEL, (struct store_value[]){store_text("restored")});
	snprintf(detail, sizeof(detail), "agents that are newer than it may come back for %llu minutes",
		 (unsigned long long)(readmit / 60000));
	registry_audit(co, "start", meta->restored ? "database-restored" : "older-database-noticed", NULL, detail);
	log_warn("older-database", "restored=%s reason=\"this copy is older than what agents know: all get new "
		 "tokens; %s\"", meta->restored ? "true" : "false", detail);
}

int heal_check(struct coordinator *co)
{
	struct heal_meta meta = {0};
	int result = store_read(co->store, STORE_META, 100, read_meta, &meta);

	if (!result)
		result = store_read(co->store, STORE_AUDIT, 1, read_audit, &meta);
	if (result)
		return result;
	co->readmission = meta.old;
	if (meta.restored || meta.generation < known_generation(co))
		renew(co, &meta);
	co->generation = MAX(meta.generation, known_generation(co)) + 1;
	put_number(co, "generation", co->generation);
	store_wait(co->store, &co->generation_wait, remember, co);
	secret_wipe(&meta, sizeof(meta));
	return 0;
}

void heal_row(struct coordinator *co, const struct store_value *row)
{
	struct heal_meta meta = {.old = co->readmission, .generation = co->generation};

	if (!strcmp(store_string(&row[0]), "token_secret") && row[1].len == TOKEN_SECRET_LEN)
		memcpy(co->token_secret, row[1].data, TOKEN_SECRET_LEN);
	read_meta(&meta, row);
	co->readmission = meta.old;
	if (meta.generation > co->generation) {
		co->generation = meta.generation;
		remember(co);
	}
	secret_wipe(&meta, sizeof(meta));
}

/* ---- coming back -------------------------------------------------------------------------------------- */

json_t *heal_memberships(const struct agent *agent)
{
	json_t *list = json_array();
	const struct member *member;
	char *text;

	list_each(member, &agent->members, in_agent)
		if (!member->expired)
			json_array_append_new(list, json_pack("[ssooO]", member->network->id, member->name,
						      js_from_addr(&member->address),
						      js_from_addr(&member->address6), member->tags));
	text = js_dump(list);
	if (strlen(text) > MAX_ROOM) /* it would have to join again: a token must fit into a header */
		json_array_clear(list);
	free(text);
	return list;
}

/* False: the network has none. */
static bool take_address(struct ipam *ipam, const char *text, uint64_t now, struct addr *out)
{
	uint32_t host;

	if (!ipam || (text && addr_parse(out, text) && !ipam_claim(ipam, out)))
		return true;
	memset(out, 0, sizeof(*out));
	return !ipam_take(ipam, 0, now, out, &host);
}

/* Those it had, where they are free, else others. */
static bool take_addresses(struct member *member, json_t *was, uint64_t now)
{
	struct network *network = member->network;

	if (!take_address(network->ipam, json_string_value(json_array_get(was, 2)), now, &member->address))
		return false;
	if (!take_address(network->ipam6, json_string_value(json_array_get(was, 3)), now, &member->address6)) {
		ipam_release(network->ipam, &member->address, 1);
		return false;
	}
	mesh_member_addressed(member);
	return true;
}

static void rejoin(struct coordinator *co, struct agent *agent, json_t *was, uint64_t now)
{
	const char *id = json_string_value(json_array_get(was, 0));
	const char *name = json_string_value(json_array_get(was, 1));
	struct network *network = id ? map_get(co->mesh.networks_by_id, id) : NULL;
	json_t *tags = json_array_get(was, 4);
	struct member *member;

	if (!network || !name || map_get(network->names, name) || mesh_agent_in(agent, network) ||
	    device_named(network, name) || device_by_key(network, &agent->public_key))
		return;
	member = mesh_member_add(agent, network, name);
	if (!take_addresses(member, was, now)) {
		mesh_member_del(member);
		return;
	}
	member->joined_at = now;
	member->made_in = store_batch(co->store);
	member->pending = network->approve; /* its token does not say whether it was approved */
	if (json_is_array(tags)) {
		json_decref(member->tags);
		member->tags = json_deep_copy(tags);
	}
	registry_write_member(co, member);
	registry_audit_in(co, network, agent->id, "agent-readmitted", agent->id, name);
	sync_put(co->sync, member);
}

/* Where it was a member, new; NULL or none: it may not come back. */
static json_t *memberships(struct coordinator *co, const char *id, const struct key *public_key,
			   const char *old_token, struct refusal *why)
{
	uint64_t now = clock_wall_ms();
	char key[KEY_BASE64 + 1];
	struct token_claims claims;

	key_format(key, public_key);
	refuse(why, 401, "unknown_agent", "this agent is not known here any more");
	if (!old_token || co->readmission.until_ms <= now || map_get(co->mesh.agents_by_key, public_key->bytes) ||
	    token_check(co->readmission.secret, old_token, now, &claims) == TOKEN_BAD ||
	    strcmp(claims.agent_id, id))
		return NULL;
	return token_memberships(co->readmission.secret, old_token, key, co->readmission.since_ms);
}

bool heal_admits(struct coordinator *co, const char *id, const struct key *public_key, const char *old_token,
		 struct refusal *why)
{
	json_t *was = memberships(co, id, public_key, old_token, why);
	bool yes = json_array_size(was);

	json_decref(was);
	return yes;
}

struct agent *heal_readmit(struct coordinator *co, const char *id, const struct key *public_key,
			   const char *old_token, struct refusal *why)
{
	json_t *was = memberships(co, id, public_key, old_token, why), *each;
	uint64_t now = clock_wall_ms();
	struct agent *agent = NULL;
	size_t i;

	if (!json_array_size(was))
		goto out;
	agent = mesh_agent_add(&co->mesh, id, public_key);
	agent->created_at = now;
	registry_write_agent(co, agent);
	json_array_foreach(was, i, each)
		rejoin(co, agent, each, now);
	if (list_empty(&agent->members)) {
		store_write(co->store, STORE_AGENT_DEL, (struct store_value[]){store_text(id)});
		mesh_agent_del(&co->mesh, agent);
		agent = NULL;
	}
out:
	json_decref(was);
	return agent;
}
