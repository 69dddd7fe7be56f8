/*
 * admin_users.c - users and API tokens, for administrators.
 *
 * The rule: nobody gives what is not theirs. A user is managed by who is admin wherever that user has a
 * role (an organisation's admin manages its own people), and a token never has more than its maker.
 */
#include "admin_commands.h"
#include "coordinator/access/loginlink.h"
#include "coordinator/enforce/policy_state.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_LIFETIME_MS (90 * 86400 * 1000ull)
#define MAX_SCOPES        32
#define MAX_TOKENS        1000 /* of one user */

/* ---- what they look like ------------------------------------------------------------------- */

static json_t *user_json(const struct coordinator *co, const struct who *who, const struct user *user)
{
	return json_pack("{sssosbsoso}", "name", user->name, "roles", roles_json(co, who, user->roles), "password",
			 user->password != NULL, "created_at", js_from_time(user->created_at), "last_login",
			 js_from_time(user->last_login));
}

static json_t *user_result(const struct coordinator *co, const struct who *who, const struct user *user,
			   const char *what)
{
	json_t *result = admin_message("user %s %s", user->name, what);

	json_object_set_new(result, "user", user_json(co, who, user));
	return result;
}

/* ---- who may manage whom ----------------------------------------------------------------------- */

static bool manages(struct coordinator *co, const struct who *who, const struct user *user)
{
	unsigned networks = 0; /* that are still there: who has none of them is nobody's but root's */
	const char *id;
	json_t *role;

	if (who_role(who, NULL) >= ROLE_ADMIN)
		return true;
	json_object_foreach(user->roles, id, role) {
		const struct network *network = map_get(co->mesh.networks_by_id, id);

		if (!strcmp(id, EVERYWHERE) || (network && who_role(who, network) < ROLE_ADMIN))
			return false;
		networks += network != NULL;
	}
	return networks > 0;
}

static bool is_self(const struct who *who, const struct user *user)
{
	return user && !strcmp(who->user, user->name);
}

/* A session has no scopes, and may outlive the token. */
static bool may_let_in(const struct who *who, struct refusal *why)
{
	return !who->scopes || refuse(why, 403, "scope_missing", "a token that has scopes gives no passwords and no "
				      "login links: log in, or use a token without scopes");
}

static struct user *find_user(struct coordinator *co, struct js *js, const struct who *who, bool manage,
			      struct refusal *why)
{
	const char *name = js_need_string(js, "user", PROTO_NAME_MAX - 1);
	struct user *user = js_ok(js) ? map_get(co->users.by_name, name) : NULL;

	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!user || !who_shown(who, user->made_in) || (!manages(co, who, user) && !is_self(who, user))) {
		refuse(why, 404, "unknown_user", "there is no user %s: see {user list}", name);
		return NULL;
	}
	if (manage && !manages(co, who, user)) {
		refuse(why, 403, "role_too_low", "this takes the role admin");
		return NULL;
	}
	return user;
}

/* Where the audit has it: in the one network that all these roles are for, so that its administrators
 * see it too; else NULL. */
static const struct network *home_of(const struct coordinator *co, const json_t *roles)
{
	const json_t *role;
	const char *network, *only = NULL;

	json_object_foreach((json_t *)roles, network, role)
		only = network;
	return json_object_size(roles) == 1 ? map_get(co->mesh.networks_by_id, only) : NULL;
}

/* "role" and "network" to an entry of roles; the giver must be admin there. role "none" takes away. */
static bool set_role(struct coordinator *co, struct js *js, const struct who *who, json_t *roles,
		     struct refusal *why)
{
	const char *text = js_need_string(js, "role", 20);
	struct who giver = *who;
	struct network *network;

	giver.need = ROLE_ADMIN;
	if (!js_ok(js) || (!role_parse(text) && strcmp(text, "none")))
		return refuse(why, 400, "invalid", "role: must be viewer, operator, admin or none");
	if (!admin_network_given(co, js, &network, &giver, why) || (!network && !who_may(&giver, NULL, why)))
		return false;
	if (role_parse(text))
		json_object_set_new(roles, network ? network->id : EVERYWHERE, json_string(text));
	else
		json_object_del(roles, network ? network->id : EVERYWHERE);
	return true;
}

/* ---- users ----------------------------------------------------------------------------------------- */

static bool user_name_ok(const char *name, struct refusal *why)
{
	size_t len = strlen(name);

	if (len && len < PROTO_NAME_MAX && *name != '.' && *name != '-' &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_@") == len)
		return true;
	return refuse(why, 422, "name_invalid", "a user's name is 1 to 63 characters of a-z, 0-9, '.', '-', '_' "
		      "and '@', and begins with neither '.' nor '-'");
}

json_t *admin_user_add(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	const char *name = js_need_string(js, "name", 255), *hash = js_string(js, "password_hash", NULL);
	json_t *roles;
	struct user *user;

	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!user_name_ok(name, why) || (hash && !may_let_in(who, why)))
		return NULL;
	user = map_get(co->users.by_name, name);
	if (user && (manages(co, who, user) || is_self(who, user))) {
		refuse(why, 409, "name_taken", "there is a user %s already", name);
		return NULL;
	}
	/* Another organisation's user, or an owner of tags: which of them is not for this one to know. */
	if (user || (who_role(who, NULL) < ROLE_ADMIN && who_owner(policy_in_force(co), name))) {
		refuse(why, 403, "name_not_allowed", "the name %s is not free for you: choose another, or ask an "
		       "administrator for everything", name);
		return NULL;
	}
	roles = json_object();
	if (!set_role(co, js, who, roles, why)) {
		json_decref(roles);
		return NULL;
	}
	user = user_add(co, name);
	json_decref(user->roles);
	user->roles = roles;
	user->password = xstrdup(hash);
	user->created_at = clock_wall_ms();
	user->made_in = store_batch(co->store);
	user_write(co, user);
	registry_audit_in(co, home_of(co, roles), who->actor, "user-added", user->name,
			  js_string(js, "role", NULL));
	return user_result(co, who, user, hash ? "added" : "added, without a password: it logs in by a link (user link)");
}

json_t *admin_user_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	json_t *list = json_array();
	struct user *user;
	size_t pos = 0;

	(void)js;
	(void)why;
	while ((user = map_next(co->users.by_name, &pos, NULL)))
		if (who_shown(who, user->made_in) && (manages(co, who, user) || is_self(who, user)))
			json_array_append_new(list, user_json(co, who, user));
	return admin_sorted("users", list, "name", "name");
}

json_t *admin_user_show(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct user *user = find_user(co, js, who, false, why);

	return user ? json_pack("{so}", "user", user_json(co, who, user)) : NULL;
}

/* Password, role or both. One's own password takes a session: a token that leaks must not become one. A role
 * that is raised ends links and sessions: whoever gave that link may have no say where the new role is. */
json_t *admin_user_set(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	const char *hash = js_string(js, "password_hash", NULL);
	bool role = js_string(js, "role", NULL) != NULL;
	struct user *user = find_user(co, js, who, role, why);
	const char *network = js_string(js, "network", NULL);
	const struct network *where = network ? mesh_network(&co->mesh, network) : NULL;
	json_t *roles, *before;
	bool raised;

	if (!user)
		return NULL;
	if (!hash && !role) {
		refuse(why, 400, "invalid", "say what to change: a password or a role");
		return NULL;
	}
	if (hash && !manages(co, who, user) &&
	    (!who->session || (who->limits && who_raised(who->limits, user->roles)))) {
		refuse(why, 403, "session_needed", "one's own password is changed after logging in (again, where a "
		       "role was given since), not by a token");
		return NULL;
	}
	roles = json_deep_copy(user->roles);
	if ((hash && !may_let_in(who, why)) || (role && !set_role(co, js, who, roles, why))) {
		json_decref(roles);
		return NULL;
	}
	raised = who_raised(user->roles, roles);
	before = user->roles;
	user->roles = roles;
	if (role)
		user_write_roles(co, user, before);
	json_decref(before);
	if (hash || raised)
		access_end_sessions(co, user, is_self(who, user) ? who->access : "");
	if (hash) {
		free(user->password);
		user->password = xstrdup(hash);
		user_write_password(co, user);
		registry_audit_in(co, home_of(co, roles), who->actor, "user-password", user->name, NULL);
	}
	if (role)
		registry_audit_in(co, where, who->actor, "user-role", user->name, js_string(js, "role", NULL));
	return user_result(co, who, user, raised ? "changed: its sessions and login links have ended" : "changed");
}

json_t *admin_user_remove(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct user *user = find_user(co, js, who, true, why);
	json_t *message;

	if (!user)
		return NULL;
	message = admin_message("user %s removed, with all tokens and sessions", user->name);
	registry_audit_in(co, home_of(co, user->roles), who->actor, "user-removed", user->name, NULL);
	user_remove(co, user);
	return message;
}

/* A link is as good as a password that one sets: it takes the same. */
json_t *admin_user_link(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct user *user = find_user(co, js, who, true, why);
	const struct access *access;
	json_t *result;
	char *link;

	if (!user || !may_let_in(who, why))
		return NULL;
	access = loginlink_make(co, user, &link);
	if (!access) {
		refuse(why, 409, "dashboard_off", "the dashboard is off here: say dashboard: true in the "
		       "coordinator's configuration");
		return NULL;
	}
	registry_audit_in(co, home_of(co, user->roles), who->actor, "login-link-created", user->name, NULL);
	result = json_pack("{ssso}", "link", link, "expires_at", js_from_time(access->expires_at));
	secret_wipe(link, strlen(link));
	free(link);
	return result;
}

/* ---- tokens ---------------------------------------------------------------------------------------------- */

static json_t *token_json(const struct coordinator *co, const struct who *who, const struct access *access)
{
	static const char *const kinds[ACCESS_KINDS] = {"token", "session", "link"};

	return json_pack("{sssssososososososo}", "id", access->id, "kind", kinds[access->kind],
			 "name", js_from_string(*access->label ? access->label : NULL), "user",
			 js_from_string(access->user ? access->user->name : NULL), "roles",
			 access->limits ? roles_json(co, who, access->limits) : json_null(), "scopes",
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
	if (name && (!*out || (!is_self(who, *out) && who_role(who, NULL) < ROLE_ADMIN)))
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

json_t *admin_token_create(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	struct access like = {0}, *access;
	const char *label = js_string(js, "name", "");
	uint64_t lifetime = TOKEN_LIFETIME_MS;
	char text[ACCESS_TEXT];
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
	registry_audit_in(co, home_of(co, access_roles(access)), who->actor, "token-created", access->id,
			  like.user ? like.user->name : label);
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
	       (access->user && (is_self(who, access->user) || manages(co, who, access->user)));
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
	registry_audit_in(co, home_of(co, access_roles(access)), who->actor, "token-revoked", access->id,
			  access->user ? access->user->name : access->label);
	access_end(co, access);
	return admin_message("token %s revoked", id);
}
