/*
 * admin_commands.c - the table of commands, and how one is run. What they do is in admin_networks.c,
 * admin_agents.c, admin_routes.c, admin_devices.c, admin_users.c, admin_relays.c and policy_commands.c.
 */
#include "admin_commands.h"
#include "coordinator/access/password.h"
#include "coordinator/store/store.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define V ROLE_VIEWER
#define O ROLE_OPERATOR
#define A ROLE_ADMIN

static const struct admin_row rows[] = {
	/* name, function, resource, role, writes, has a password, answers later */
	{"network create", admin_network_create, "networks", A, true, false, NULL},
	{"network list", admin_network_list, "networks", V, false, false, NULL},
	{"network show", admin_network_show, "networks", V, false, false, NULL},
	{"network set", admin_network_set, "networks", A, true, false, NULL},
	{"network remove", admin_network_remove, "networks", A, true, false, NULL},
	{"key create", admin_key_create, "keys", O, true, false, NULL},
	{"key list", admin_key_list, "keys", V, false, false, NULL},
	{"key show", admin_key_show, "keys", V, false, false, NULL},
	{"key revoke", admin_key_revoke, "keys", O, true, false, NULL},
	{"agent list", admin_agent_list, "agents", V, false, false, NULL},
	{"agent show", admin_agent_show, "agents", V, false, false, NULL},
	{"agent set", admin_agent_set, "agents", O, true, false, NULL},
	{"agent rename", admin_agent_rename, "agents", O, true, false, NULL},
	{"agent tag", admin_agent_tag, "agents", O, true, false, NULL},
	{"agent approve", admin_agent_approve, "agents", O, true, false, NULL},
	{"agent expire", admin_agent_expire, "agents", O, true, false, NULL},
	{"agent remove", admin_agent_remove, "agents", O, true, false, NULL},
	{"route list", admin_route_list, "routes", V, false, false, NULL},
	{"route set", admin_route_set, "routes", O, true, false, NULL},
	{"route approve", admin_route_approve, "routes", O, true, false, NULL},
	{"route revoke", admin_route_revoke, "routes", O, true, false, NULL},
	{"peer add", admin_peer_add, "agents", O, true, false, NULL},
	{"peer list", admin_peer_list, "agents", V, false, false, NULL},
	{"peer remove", admin_peer_remove, "agents", O, true, false, NULL},
	{"policy show", admin_policy_show, "policy", V, false, false, NULL},
	{"policy check", admin_policy_check, "policy", V, false, false, NULL},
	{"policy test", admin_policy_check, "policy", V, false, false, NULL},
	{"policy diff", admin_policy_diff, "policy", V, false, false, NULL},
	{"policy explain", admin_policy_explain, "policy", V, false, false, NULL},
	{"policy apply", admin_policy_apply, "policy", A, true, false, NULL},
	{"policy confirm", admin_policy_confirm, "policy", A, true, false, NULL},
	{"policy rollback", admin_policy_rollback, "policy", A, true, false, NULL},
	{"user add", admin_user_add, "users", A, true, true, NULL},
	{"user list", admin_user_list, "users", V, false, false, NULL},
	{"user show", admin_user_show, "users", V, false, false, NULL},
	{"user set", admin_user_set, "users", V, true, true, NULL},
	{"user passwd", admin_user_set, "users", V, true, true, NULL},
	{"user role", admin_user_set, "users", A, true, false, NULL},
	{"user link", admin_user_link, "users", A, true, false, NULL},
	{"user remove", admin_user_remove, "users", A, true, false, NULL},
	{"token create", admin_token_create, "tokens", V, true, false, NULL},
	{"token list", admin_token_list, "tokens", V, false, false, NULL},
	{"token revoke", admin_token_revoke, "tokens", V, true, false, NULL},
	{"relay add", admin_relay_add, "relays", A, true, false, NULL},
	{"relay list", admin_relay_list, "relays", V, false, false, NULL},
	{"relay remove", admin_relay_remove, "relays", A, true, false, NULL},
	{"audit", NULL, "audit", V, false, false, admin_audit},
};

const struct admin_row *admin_row(const char *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(command, rows[i].name))
			return &rows[i];
	return NULL;
}

/* ---- shared ------------------------------------------------------------------------------ */

json_t *admin_message(const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return json_pack("{ss}", "message", text);
}

struct network *admin_network(struct coordinator *co, struct js *js, const char *key,
			      const struct who *who, struct refusal *why)
{
	const char *name = js_need_string(js, key, PROTO_NAME_MAX - 1);
	struct network *network = js_ok(js) ? mesh_network(&co->mesh, name) : NULL;

	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!network || !who_sees(who, network)) {
		refuse(why, 404, "unknown_network", "there is no network %s: see {network list}", name);
		return NULL;
	}
	return who_may(who, network, why) ? network : NULL;
}

bool admin_network_given(struct coordinator *co, struct js *js, struct network **only, const struct who *who,
			 struct refusal *why)
{
	*only = js_has(js, "network") ? admin_network(co, js, "network", who, why) : NULL;
	return *only || !js_has(js, "network");
}

bool admin_lifetime(struct js *js, uint64_t *ms, struct refusal *why)
{
	const char *expires = js_string(js, "expires", NULL);

	if (!js_ok(js))
		return refuse(why, 400, "invalid", "%s", js->error);
	if (expires && !strcmp(expires, "never"))
		*ms = 0;
	else if (expires && (!parse_duration(expires, ms) || !*ms || *ms > 36500ull * 86400 * 1000))
		return refuse(why, 400, "invalid", "expires: %s is not a time such as 1h, 30d or never",
			      expires);
	return true;
}

static const char *sort_key, *sort_id; /* of the one that is running: qsort has no argument for them */

static int compare_by(const json_t *a, const json_t *b, const char *key)
{
	const char *left = json_string_value(json_object_get(a, key)), *right = json_string_value(json_object_get(b, key));

	return strcmp(left ? left : "", right ? right : "");
}

static int compare(const void *a, const void *b)
{
	const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
	int order = compare_by(left, right, sort_key);

	return order ? order : compare_by(left, right, sort_id);
}

json_t *admin_sorted(const char *name, json_t *list, const char *key, const char *id)
{
	size_t count = json_array_size(list), i;
	json_t **items = xcalloc(count + 1, sizeof(json_t *)), *item;

	json_array_foreach(list, i, item)
		items[i] = json_incref(item);
	sort_key = key;
	sort_id = id;
	qsort(items, count, sizeof(json_t *), compare);
	json_array_clear(list);
	for (i = 0; i < count; i++)
		json_array_append_new(list, items[i]);
	free(items);
	return json_pack("{so}", name, list);
}

/* ---- a call -------------------------------------------------------------------------------- */

static void call_fini(struct admin_call *call)
{
	admin_read_cancel(call);
	js_wipe(call->arguments, "password"); /* where it was refused before that was taken */
	json_decref(call->arguments);
	who_fini(&call->who);
	memset(call, 0, sizeof(*call));
}

void admin_call_cancel(struct admin_call *call)
{
	if (!call->co)
		return;
	if (call->job)
		password_cancel(call->job);
	if (call->reading)
		*call->reading = NULL;
	call_fini(call);
}

void admin_finish(struct admin_call *call, json_t *result, const struct refusal *why)
{
	void (*done)(void *arg, json_t *result, const struct refusal *why) = call->done;
	void *arg = call->arg;

	call_fini(call);
	done(arg, result, why);
}

static void execute(struct admin_call *call)
{
	struct refusal why = {.status = 500, .code = "failed"};
	json_t *result;
	struct js js;

	js_read(&js, call->arguments);
	call->who.need = call->row->role;
	if (call->row->later) {
		call->row->later(call, &js);
		return;
	}
	if (!call->row->write) {
		admin_read(call);
		return;
	}
	store_begin(call->co->store);
	result = call->row->fn(call->co, &js, &call->who, &why);
	admin_finish(call, result, &why);
}

static bool allowed(const struct admin_call *call, const char *command, struct refusal *why)
{
	const struct admin_row *row = call->row;

	if (!row)
		return refuse(why, 400, "unknown_command", "the running coordinator does not know \"%s\": it "
			      "may be older than this program", command);
	if (!who_scope(&call->who, row->resource, row->write))
		return refuse(why, 403, "scope_missing", "this token lacks the scope %s:%s", row->resource,
			      row->write ? "write" : "read");
	if (who_highest(&call->who) < row->role)
		return refuse(why, 403, "role_too_low", "this takes the role %s", role_name(row->role));
	if (row->write && store_behind(call->co->store))
		return refuse(why, 503, "store_unavailable", "the database takes no writes at the moment: "
			      "try again");
	return true;
}

/* Hashing takes its time, in which a token may be revoked, a session end, a role be taken away. */
static bool still_allowed(struct admin_call *call, struct refusal *why)
{
	if (!who_refresh(call->co, &call->who))
		return refuse(why, 401, "token_invalid", "the token or session that asked for this has ended meanwhile: "
			      "log in again, or use another token");
	return allowed(call, call->row->name, why);
}

static void hashed(void *arg, const char *hash)
{
	struct admin_call *call = arg;
	struct refusal why;

	call->job = NULL;
	if (!hash) {
		refuse(&why, 503, "busy", "no memory for the password's hash: try again");
		admin_finish(call, NULL, &why);
	} else if (!still_allowed(call, &why)) {
		admin_finish(call, NULL, &why);
	} else {
		json_object_set_new(call->arguments, "password_hash", json_string(hash));
		execute(call);
	}
}

/* A password leaves the arguments here, whatever becomes of it. */
static bool take_password(struct admin_call *call, struct refusal *why)
{
	json_t *value = json_incref(json_object_get(call->arguments, "password"));
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);
	bool fine = false;

	json_object_del(call->arguments, "password");
	json_object_del(call->arguments, "password_hash"); /* ours alone to say */
	if (value && !json_is_null(value) && (!text || len < PASSWORD_MIN || len > PASSWORD_MAX)) {
		refuse(why, 422, "password_invalid", "a password has %d to %d characters", PASSWORD_MIN,
		       PASSWORD_MAX);
	} else if (text) {
		call->job = password_hash(call->co->passwords, text, hashed, call);
		fine = call->job != NULL;
		if (!fine)
			refuse(why, 429, "busy", "too many passwords are being looked at: try again");
	} else {
		fine = true;
	}
	if (text)
		secret_wipe((char *)(uintptr_t)text, len);
	json_decref(value);
	return fine;
}

void admin_run(struct admin_call *call, struct coordinator *co, const char *command, json_t *arguments,
	       const struct who *who, void (*done)(void *arg, json_t *result, const struct refusal *why),
	       void *arg)
{
	struct refusal why;

	*call = (struct admin_call){.co = co, .row = admin_row(command), .done = done, .arg = arg};
	call->arguments = arguments ? json_copy(arguments) : json_object();
	who_copy(&call->who, who);
	if (!allowed(call, command, &why) || (call->row->password && !take_password(call, &why)))
		admin_finish(call, NULL, &why);
	else if (!call->job)
		execute(call);
}
