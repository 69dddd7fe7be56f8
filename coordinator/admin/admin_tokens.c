/*
 * admin_tokens.c - API tokens, for administrators. One never has more than its maker.
 */
#include "admin_users.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_LIFETIME_MS (90 * 86400 * 1000ull)
#define MAX_SCOPES        32
#define MAX_TOKENS        1000 /* of one user */

static json_t *token_json(const struct coordinator *co, const struct who *who, const struct access *access)
{
	static const char *const kinds[ACCESS_KINDS] = {"token", "session", "link"};
	json_t *reach = access_reach(access), *roles = reach ? roles_json(co, who, reach) : json_null();

	json_decref(reach);
	return json_pack("{sssssososososososo}", "id", access->id, "kind", kinds[access->kind],
			 "name", js_from_string(*access->label ? access->label : NULL), "user",
			 js_from_string(access->user ? access->user->name : NULL), "roles", roles, "scopes",
			 access->scopes ? json_incref(access->scopes) : json_null(), "created_at",
			 js_from_time(access->created_at), "expires_at", js_from_time(access->expires_at),
			 "used_at", js_from_time(access->used_at));
}

static bool scope_ok(const char *scope)
{
	static const char *const resources[] = {"networks", "agents", "keys", "routes", "policy", "relays",
						"users", "tokens", "audit", "events", "peers"};
	const char *verb = strchr(scope, ':');

	if (verb && (strcmp(verb, ":read") && strcmp(verb, ":write")))
		return false;
	if (!verb)
		return !strcmp(scope, "read") || !strcmp(scope, "write");
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++)
		if (strlen(resources[i]) == (size_t)(verb - scope) &&
		    !strncmp(resources[i], scope, (size_t)(verb - scope)))
			return true;
	return false;
}

/* Each must be among the maker's own. */
static bool read_scopes(const struct who *who, struct js *js, json_t **out, struct refusal *why)
{
	json_t *scopes = js_array(js, "scopes", MAX_SCOPES), *scope;
	size_t i;

	*out = json_incref(who->scopes);
	if (!js_ok(js))
		return refuse(why, 400, "invalid", "%s", js->error);
	json_array_foreach(scopes, i, scope) {
		const char *text = json_string_value(scope), *verb;
		char resource[20];

		if (!text || !scope_ok(text))
			return refuse(why, 422, "scope_invalid", "a scope is read, write or RESOURCE:read or "
				      ":write, such as agents:read");
		verb = strchr(text, ':');
		snprintf(resource, sizeof(resource), "%.*s", verb ? (int)(verb - text) : 0, text);
		if (!who_scope(who, resource, !strcmp(verb ? verb + 1 : text, "write")))
			return refuse(why, 403, "scope_missing", "this token cannot give the scope %s", text);
	}
	if (scopes && !json_array_size(scopes))
		return refuse(why, 422, "invalid", "scopes: must name at least one; without it the token may all");
	if (scopes) {
		json_decref(*out);
		*out = json_deep_copy(scopes);
	}
	return true;
}

/* "role" and "networks": what the token is held to; each no more than the maker has. */
static bool read_limits(struct coordinator *co, struct js *js, const struct who *who, json_t **out,
			struct refusal *why)
{
	const char *role = js_string(js, "role", NULL);
	json_t *names = js_array(js, "networks", PROTO_MAX_NETWORKS), *name;
	struct who maker = *who;
	size_t i;

	*out = json_incref(who->limits);
	if (!js_ok(js) || (role && !role_parse(role)))
		return refuse(why, 400, "invalid", "%s", js_ok(js) ? "role: must be viewer, operator or admin"
								     : js->error);
	if (names && !json_array_size(names))
		return refuse(why, 422, "invalid", "networks: must name at least one; without it the token is for "
			      "all that its role or its user has");
	if (!role && !names)
		return true;
	if (!role)
		role = role_name(who_highest(who));
	maker.need = role_parse(role);
	json_decref(*out);
	*out = json_object();
	json_array_foreach(names, i, name) {
		struct network *network = json_is_string(name)
						  ? mesh_network(&co->mesh, json_string_value(name)) : NULL;

		if (!network || !who_sees(who, network))
			return refuse(why, 404, "unknown_network", "there is no network %s: see {network list}",
				      json_is_string(name) ? json_string_value(name) : "of that name");
		if (!who_may(&maker, network, why))
			return false;
		json_object_set_new(*out, network->id, json_string(role));
	}
	if (!names && *who->user && who->limits)
		who_cut(*out, who->limits, maker.need);
	else if (!names)
		json_object_set_new(*out, EVERYWHERE, json_string(role));
	return names || *who->user || who_may(&maker, NULL, why); /* a user's is held to the user's anyway */
}

/* Whose it is: one's own, or for who may everything another's or nobody's. */
static bool read_owner(struct coordinator *co, struct js *js, const struct who *who, struct user **out,
		       struct refusal *why)
{
	const char *name = js_string(js, "user", NULL);

	*out = map_get(co->users.by_name, name ? name : who->user);
	if (name && (!*out || (!admin_is_self(who, *out) && who_role(who, NULL) < ROLE_ADMIN)))
		return refuse(why, 404, "unknown_user", "there is no user %s for whom you could make tokens",
			      name);
	return true;
}

static unsigned tokens_of(struct coordinator *co, const struct user *user)
{
	const struct access *access;
	unsigned count = 0;
	size_t pos = 0;

	while ((access = map_next(co->users.accesses, &pos, NULL)))
		count += access->user == user && access->kind == ACCESS_TOKEN;
	return count;
}

static const json_t *access_roles(const struct access *access)
{
	return access->user ? access->user->roles : access->limits;
}

/* "ann: admin of lab, viewer of office": whose it is, or what for, and what it may. */
static void token_audit(struct buf *out, const struct coordinator *co, const struct who *who, const struct access *access)
{
	json_t *token = token_json(co, who, access), *role;
	size_t i;

	buf_puts(out, access->user ? access->user->name : access->label);
	json_array_foreach(json_object_get(token, "roles"), i, role) {
		const char *network = json_string_value(json_object_get(role, "network"));

		buf_addf(out, "%s%s of %s", i ? ", " : out->len ? ": " : "", json_string_value(json_object_get(role, "role")),
			 network ? network : "everything");
	}
	json_decref(token);
}

json_t *admin_token_create(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	struct access like = {0}, *access;
	const char *label = js_string(js, "name", "");
	uint64_t lifetime = TOKEN_LIFETIME_MS;
	char text[ACCESS_TEXT];
	struct buf said;
	json_t *result;

	if (!who_may_make_tokens(who, why) || !read_owner(co, js, who, &like.user, why) ||
	    !read_limits(co, js, who, &like.limits, why) || !read_scopes(who, js, &like.scopes, why) ||
	    !admin_lifetime(js, &lifetime, why))
		goto refused;
	if (!str_copy(like.label, sizeof(like.label), label) || str_has_control(label)) {
		refuse(why, 422, "name_invalid", "a token's name has at most 63 characters, none of them a control "
		       "character such as a line's end");
		goto refused;
	}
	if (!like.user && !like.limits) {
		refuse(why, 400, "invalid", "a token is a user's (user) or has a role (role): "
		       "{token create --user NAME}");
		goto refused;
	}
	if (tokens_of(co, like.user) >= MAX_TOKENS) {
		refuse(why, 422, "too_many_tokens", "there are %d tokens already: revoke some", MAX_TOKENS);
		goto refused;
	}
	like.expires_at = who_until(who, lifetime ? clock_wall_ms() + lifetime : 0);
	access = access_make(co, &like, text);
	buf_init(&said, 0);
	token_audit(&said, co, who, access);
	registry_audit_in(co, admin_home_of(co, access_roles(access)), who->actor, "token-created", access->id,
			  buf_text(&said));
	buf_free(&said);
	result = json_pack("{sossso}", "token", token_json(co, who, access), "secret", text, "expires_at",
			   js_from_time(access->expires_at));
	secret_wipe(text, sizeof(text));
	return result;
refused:
	json_decref(like.limits);
	json_decref(like.scopes);
	return NULL;
}

static bool shows(struct coordinator *co, const struct who *who, const struct access *access)
{
	return who_role(who, NULL) >= ROLE_ADMIN || !strcmp(who->access, access->id) ||
	       (access->user && (admin_is_self(who, access->user) || admin_manages(co, who, access->user)));
}

json_t *admin_token_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	json_t *list = json_array();
	struct access *access;
	size_t pos = 0;

	(void)js;
	(void)why;
	while ((access = map_next(co->users.accesses, &pos, NULL)))
		if (who_shown(who, access->made_in) && shows(co, who, access) && access_valid(access, clock_wall_ms()))
			json_array_append_new(list, token_json(co, who, access));
	return admin_sorted("tokens", list, "created_at", "id");
}

json_t *admin_token_revoke(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	const char *id = js_need_string(js, "id", PROTO_ID_MAX - 1);
	struct access *access = js_ok(js) ? map_get(co->users.accesses, id) : NULL;

	if (!access || !shows(co, who, access)) {
		refuse(why, 404, "unknown_token", "there is no token %s: see {token list}",
		       js_ok(js) ? id : "of that id");
		return NULL;
	}
	registry_audit_in(co, admin_home_of(co, access_roles(access)), who->actor, "token-revoked", access->id,
			  access->user ? access->user->name : access->label);
	access_end(co, access);
	return admin_message("token %s revoked", id);
}
