/*
 * users.c - the maps of users.h and their rows. Who may change what is judged in admin_users.c.
 */
#include "users.h"
#include "coordinator/sync/events.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/seal.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define USED_MS 60000 /* how exact used_at is */

void users_init(struct users *users)
{
	users->by_name = map_new(0);
	users->accesses = map_new(0);
	users->accesses_by_hash = map_new(HASH_LEN);
}

static void forget_access(struct users *users, struct access *access)
{
	map_del(users->accesses, access->id);
	map_del(users->accesses_by_hash, access->hash);
	json_decref(access->limits);
	json_decref(access->scopes);
	free(access);
}

static void forget_user(struct users *users, struct user *user)
{
	map_del(users->by_name, user->name);
	json_decref(user->roles);
	free(user->password);
	free(user);
}

void users_fini(struct users *users)
{
	struct access *access;
	struct user *user;
	size_t pos = 0;

	if (!users->by_name)
		return;
	while ((access = map_next(users->accesses, &pos, NULL)))
		forget_access(users, access);
	for (pos = 0; (user = map_next(users->by_name, &pos, NULL));)
		forget_user(users, user);
	map_free(users->by_name);
	map_free(users->accesses);
	map_free(users->accesses_by_hash);
}

/* ---- loading ------------------------------------------------------------------------- */

static json_t *parse(const struct store_value *value)
{
	char error[JS_ERROR];

	return value->type == STORE_TEXT ? js_load(value->data, value->len, error) : NULL;
}

void user_row(void *arg, const struct store_value *row)
{
	struct coordinator *co = arg;
	struct user *user = map_get(co->users.by_name, store_string(&row[0]));
	json_t *roles = parse(&row[2]);

	if (!user)
		user = user_add(co, store_string(&row[0]));
	free(user->password);
	user->password = row[1].type == STORE_TEXT ? xstrdup(store_string(&row[1])) : NULL;
	if (json_is_object(roles)) {
		json_decref(user->roles);
		user->roles = json_incref(roles);
	}
	json_decref(roles);
	user->created_at = (uint64_t)row[3].number;
	user->last_login = (uint64_t)row[4].number;
}

void access_row(void *arg, const struct store_value *row)
{
	struct coordinator *co = arg;
	struct access *access;
	struct user *user = map_get(co->users.by_name, store_string(&row[3]));

	if (row[1].type != STORE_BLOB || row[1].len != HASH_LEN || (row[3].type == STORE_TEXT && !user) ||
	    row[2].number < 0 || row[2].number >= ACCESS_KINDS) {
		log_warn("bad-row", "table=tokens id=%s reason=\"a row of the database makes no sense and "
			 "is left out\"", store_string(&row[0]));
		return;
	}
	access = xcalloc(1, sizeof(*access));
	str_copy(access->id, sizeof(access->id), store_string(&row[0]));
	memcpy(access->hash, row[1].data, HASH_LEN);
	access->kind = (enum access_kind)row[2].number;
	access->user = user;
	str_copy(access->label, sizeof(access->label), store_string(&row[4]));
	access->limits = parse(&row[5]);
	access->scopes = parse(&row[6]);
	access->created_at = (uint64_t)row[7].number;
	access->expires_at = (uint64_t)row[8].number;
	access->used_at = (uint64_t)row[9].number;
	if (access->kind != ACCESS_SESSION && access->used_at == access->created_at)
		access->used_at = 0; /* earlier versions wrote that for one that was never used */
	map_put(co->users.accesses, access->id, access);
	map_put(co->users.accesses_by_hash, access->hash, access);
}

int users_load(struct coordinator *co)
{
	int result = store_read(co->store, STORE_USERS, INT64_MAX, user_row, co);

	return result < 0 ? result : store_read(co->store, STORE_TOKENS, INT64_MAX, access_row, co);
}

static void drop_access(struct coordinator *co, struct access *access)
{
	events_cut(co->events, access->id);
	forget_access(&co->users, access);
}

void access_gone(struct coordinator *co, const char *id)
{
	struct access *access = map_get(co->users.accesses, id);

	if (access)
		drop_access(co, access);
}

void user_gone(struct coordinator *co, const char *name)
{
	struct user *user = map_get(co->users.by_name, name);
	struct access *access;
	size_t pos = 0;

	while (user && (access = map_next(co->users.accesses, &pos, NULL)))
		if (access->user == user)
			drop_access(co, access);
	if (user)
		forget_user(&co->users, user);
}

/* ---- users ----------------------------------------------------------------------------- */

struct user *user_add(struct coordinator *co, const char *name)
{
	struct user *user = xcalloc(1, sizeof(*user));

	str_copy(user->name, sizeof(user->name), name);
	user->roles = json_object();
	map_put(co->users.by_name, user->name, user);
	return user;
}

void user_write(struct coordinator *co, const struct user *user)
{
	char *roles = js_dump(user->roles);

	store_write(co->store, STORE_USER_PUT,
		    (struct store_value[]){store_text(user->name), store_text(user->password),
					   store_text(roles), store_int((int64_t)user->created_at),
					   store_int((int64_t)user->last_login)});
	free(roles);
}

void user_write_password(struct coordinator *co, const struct user *user)
{
	store_write(co->store, STORE_USER_PASSWORD,
		    (struct store_value[]){store_text(user->name), store_text(user->password)});
}

void user_write_roles(struct coordinator *co, const struct user *user, const json_t *before)
{
	char *roles = js_dump(user->roles), *was = js_dump(before);

	store_write(co->store, STORE_USER_ROLES,
		    (struct store_value[]){store_text(user->name), store_text(roles), store_text(was)});
	free(roles);
	free(was);
}

void user_remove(struct coordinator *co, struct user *user)
{
	struct access *access;
	size_t pos = 0;

	while ((access = map_next(co->users.accesses, &pos, NULL)))
		if (access->user == user)
			access_end(co, access);
	store_write(co->store, STORE_USER_DEL, (struct store_value[]){store_text(user->name)});
	forget_user(&co->users, user);
}

/* ---- tokens and sessions ------------------------------------------------------------------ */

static void write_access(struct coordinator *co, const struct access *access)
{
	char *limits = access->limits ? js_dump(access->limits) : NULL;
	char *scopes = access->scopes ? js_dump(access->scopes) : NULL;
	const struct store_value values[] = {
		store_text(access->id),
		store_blob(access->hash, HASH_LEN),
		store_int(access->kind),
		store_text(access->user ? access->user->name : NULL),
		store_text(access->label),
		store_text(limits),
		store_text(scopes),
		store_int((int64_t)access->created_at),
		store_int((int64_t)access->expires_at),
		store_int((int64_t)access->used_at),
	};

	store_write(co->store, STORE_TOKEN_PUT, values);
	free(limits);
	free(scopes);
}

struct access *access_make(struct coordinator *co, const struct access *like, char text[static ACCESS_TEXT])
{
	struct access *access = xmemdup(like, sizeof(*like));
	uint8_t random[32];
	char *secret;

	random_bytes(random, sizeof(random));
	secret = base64url_encode(random, sizeof(random));
	snprintf(text, ACCESS_TEXT, ACCESS_PREFIX "%s", secret);
	secret_wipe(random, sizeof(random));
	secret_wipe(secret, strlen(secret));
	free(secret);
	sha256(access->hash, text, strlen(text));
	registry_new_id(access->id);
	access->id[12] = '\0';
	access->created_at = clock_wall_ms();
	access->made_in = store_batch(co->store);
	access->used_at = access->kind == ACCESS_SESSION ? access->created_at : 0; /* logging in is use */
	map_put(co->users.accesses, access->id, access);
	map_put(co->users.accesses_by_hash, access->hash, access);
	write_access(co, access);
	return access;
}

void access_end(struct coordinator *co, struct access *access)
{
	store_write(co->store, STORE_TOKEN_DEL, (struct store_value[]){store_text(access->id)});
	drop_access(co, access);
}

void access_spend(struct coordinator *co, struct access *access)
{
	store_write(co->store, STORE_TOKEN_SPEND, (struct store_value[]){store_text(access->id)});
	drop_access(co, access);
}

static void end_kind(struct coordinator *co, const struct user *user, enum access_kind kind, const char *but)
{
	struct access *access;
	size_t pos = 0;

	while ((access = map_next(co->users.accesses, &pos, NULL)))
		if (access->user == user && access->kind == kind && strcmp(access->id, but))
			access_end(co, access);
}

void access_end_links(struct coordinator *co, const struct user *user)
{
	end_kind(co, user, ACCESS_LINK, "");
}

void access_end_sessions(struct coordinator *co, const struct user *user, const char *but)
{
	end_kind(co, user, ACCESS_SESSION, but);
	access_end_links(co, user);
}

void access_sweep(struct coordinator *co, uint64_t wall_ms)
{
	struct access *access;
	size_t pos = 0;

	while ((access = map_next(co->users.accesses, &pos, NULL)))
		if (!access_valid(access, wall_ms))
			access_end(co, access);
}

bool access_valid(const struct access *access, uint64_t wall_ms)
{
	return !access->expires_at || access->expires_at > wall_ms;
}

struct access *access_find(struct coordinator *co, const char *text, uint64_t wall_ms)
{
	uint8_t hash[HASH_LEN];
	struct access *access;

	sha256(hash, text, strlen(text));
	access = map_get(co->users.accesses_by_hash, hash);
	if (!access || !access_valid(access, wall_ms))
		return NULL;
	if (wall_ms > access->used_at + USED_MS) {
		access->used_at = wall_ms;
		store_write(co->store, STORE_TOKEN_USED,
			    (struct store_value[]){store_text(access->id), store_int((int64_t)wall_ms)});
	}
	return access;
}

void who_access(struct who *who, const struct access *access, const char *address)
{
	const struct user *user = access->user;

	memset(who, 0, sizeof(*who));
	who->session = access->kind == ACCESS_SESSION;
	who->ends_at = who->session ? 0 : access->expires_at;
	str_copy(who->access, sizeof(who->access), access->id);
	if (user)
		str_copy(who->user, sizeof(who->user), user->name);
	if (who->session)
		snprintf(who->actor, sizeof(who->actor), "user %s from %s", user->name, address);
	else
		snprintf(who->actor, sizeof(who->actor), "%s%s%stoken %s from %s", user ? "user " : "",
			 user ? user->name : "", user ? " " : "", access->id, address);
	who->roles = user ? json_incref(user->roles) : NULL;
	who->limits = json_incref(access->limits);
	who->scopes = json_incref(access->scopes);
}

bool who_refresh(const struct coordinator *co, struct who *who)
{
	const struct access *access = map_get(co->users.accesses, who->access);

	if (who->root)
		return true;
	if (!access || !access_valid(access, clock_wall_ms()))
		return false;
	json_decref(who->roles); /* limits and scopes are as they were made */
	who->roles = access->user ? json_incref(access->user->roles) : NULL;
	return true;
}

json_t *roles_json(const struct coordinator *co, const struct who *who, const json_t *roles)
{
	json_t *list = json_array(), *role;
	const char *id;

	json_object_foreach((json_t *)(uintptr_t)roles, id, role) {
		const struct network *network = map_get(co->mesh.networks_by_id, id);

		if (!strcmp(id, EVERYWHERE) || (network && who_sees(who, network)))
			json_array_append_new(list, json_pack("{sosO}", "network",
							      js_from_string(network ? network->name : NULL),
							      "role", role));
	}
	return list;
}

json_t *access_reach(const struct access *access)
{
	return access->limits ? who_reach(access->user ? access->user->roles : NULL, access->limits) : NULL;
}

/* ---- who made a join key --------------------------------------------------------------------- */

json_t *maker_json(const struct who *who)
{
	json_t *maker = json_object();

	if (who->root)
		json_object_set_new(maker, "root", json_true());
	if (*who->user)
		json_object_set_new(maker, "user", json_string(who->user));
	if (who->limits)
		json_object_set(maker, "limits", who->limits);
	return maker;
}

const char *maker_lacks_tag(const struct coordinator *co, const json_t *maker, const struct policy *policy,
			    const struct network *network, const json_t *tags)
{
	const char *name = json_string_value(json_object_get(maker, "user"));
	const struct user *user = name ? map_get(co->users.by_name, name) : NULL;
	struct who who = {.root = json_is_true(json_object_get(maker, "root"))};

	if (!maker)
		return NULL;
	if (user) {
		str_copy(who.user, sizeof(who.user), user->name);
		who.roles = user->roles;
	}
	if (user || !name)
		who.limits = json_object_get(maker, "limits");
	return who_lacks_tag(&who, policy, network, tags);
}
