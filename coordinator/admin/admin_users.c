/*
 * admin_users.c - users, for administrators. API tokens: admin_tokens.c.
 *
 * The rule: nobody gives what is not theirs. A user is managed by who is admin wherever that user has a
 * role (an organisation's admin manages its own people).
 */
#include "admin_users.h"
#include "coordinator/access/loginlink.h"
#include "coordinator/enforce/policy_state.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

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

bool admin_manages(struct coordinator *co, const struct who *who, const struct user *user)
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

bool admin_is_self(const struct who *who, const struct user *user)
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
	if (!user || !who_shown(who, user->made_in) || (!admin_manages(co, who, user) && !admin_is_self(who, user))) {
		refuse(why, 404, "unknown_user", "there is no user %s: see {user list}", name);
		return NULL;
	}
	if (manage && !admin_manages(co, who, user)) {
		refuse(why, 403, "role_too_low", "this takes the role admin");
		return NULL;
	}
	return user;
}

const struct network *admin_home_of(const struct coordinator *co, const json_t *roles)
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
	if (user && (admin_manages(co, who, user) || admin_is_self(who, user))) {
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
	registry_audit_in(co, admin_home_of(co, roles), who->actor, "user-added", user->name,
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
		if (who_shown(who, user->made_in) && (admin_manages(co, who, user) || admin_is_self(who, user)))
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
	if (hash && !admin_manages(co, who, user) &&
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
		access_end_sessions(co, user, admin_is_self(who, user) ? who->access : "");
	if (hash) {
		free(user->password);
		user->password = xstrdup(hash);
		user_write_password(co, user);
		registry_audit_in(co, admin_home_of(co, roles), who->actor, "user-password", user->name, NULL);
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
	registry_audit_in(co, admin_home_of(co, user->roles), who->actor, "user-removed", user->name, NULL);
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
	registry_audit_in(co, admin_home_of(co, user->roles), who->actor, "login-link-created", user->name, NULL);
	result = json_pack("{ssso}", "link", link, "expires_at", js_from_time(access->expires_at));
	secret_wipe(link, strlen(link));
	free(link);
	return result;
}
