/*
 * api_session.c - browsers: log in with a password or a link, get a cookie that scripts cannot read and other
 * sites cannot use, log out.
 *
 * The CSRF token is made from the session's secret, so it needs no place of its own; our page reads it
 * from GET /session, which no other site's page can.
 */
#include "api.h"
#include "api_admin.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/access/login.h"
#include "coordinator/access/loginlink.h"
#include "coordinator/access/password.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define COOKIE_ATTRIBUTES "Path=/; Secure; HttpOnly; SameSite=Strict"

bool session_cookie(const struct request *rq, char out[static ACCESS_TEXT])
{
	const char *at = http_header(rq->http, "Cookie");
	size_t len;

	for (; at && *at; at += strspn(at, "; ")) {
		len = strcspn(at, ";");
		if (str_has_prefix(at, SESSION_COOKIE "=") && len - strlen(SESSION_COOKIE "=") < ACCESS_TEXT) {
			snprintf(out, ACCESS_TEXT, "%.*s", (int)(len - strlen(SESSION_COOKIE "=")),
				 at + strlen(SESSION_COOKIE "="));
			return true;
		}
		at += len;
	}
	return false;
}

void session_csrf(char out[static 44], const char *session)
{
	char text[ACCESS_TEXT + 20], *encoded;
	uint8_t hash[32];

	snprintf(text, sizeof(text), "wg-mesh csrf 1 %s", session);
	sha256(hash, text, strlen(text));
	encoded = base64url_encode(hash, sizeof(hash));
	str_copy(out, 44, encoded);
	secret_wipe(text, sizeof(text));
	free(encoded);
}

/* An origin that is the very host the request was sent to is ours by whatever name, also through `ssh -L`: a page
 * of another site has another, and where its name is made to lead here (DNS rebinding) the browser has no cookie
 * for that name, since __Host- binds it to the one that was logged in at. */
bool session_cross_site(const struct request *rq)
{
	const char *origin = http_header(rq->http, "Origin"), *host = rq->http->host;
	const char *site = http_header(rq->http, "Sec-Fetch-Site");
	const struct config *config = &rq->co->config;
	char ours[300], theirs[300], text[300];

	if (site && strcmp(site, "same-origin") && strcmp(site, "none"))
		return true;
	if (!origin)
		return false;
	if (!origin_normalise(theirs, sizeof(theirs), origin))
		return true;
	for (unsigned i = 0; i < config->url_count; i++)
		if (!strcmp(theirs, config->urls[i]))
			return false;
	snprintf(text, sizeof(text), "https://%s", host ? host : "");
	return !origin_normalise(ours, sizeof(ours), text) || strcmp(ours, theirs);
}

static json_t *session_json(const struct access *access, const char *text)
{
	json_t *roles = json_array(), *role;
	const char *id;
	char csrf[44];

	session_csrf(csrf, text);
	json_object_foreach(access->user->roles, id, role)
		json_array_append_new(roles, json_pack("{sosO}", "network",
						       strcmp(id, EVERYWHERE) ? json_string(id) : json_null(),
						       "role", role));
	return json_pack("{sssossso}", "user", access->user->name, "roles", roles, "csrf_token", csrf,
			 "expires_at", js_from_time(access->expires_at));
}

/* ---- logging in -------------------------------------------------------------------------------- */

struct trying {
	struct request *rq;
	struct password_job *job;
	char user[PROTO_NAME_MAX];
};

static void on_cancel(struct request *rq)
{
	struct trying *trying = rq->pending;

	rq->cancel = NULL;
	if (trying->job)
		password_cancel(trying->job);
	free(trying);
}

/* `link`: by which it begins, and whose roles it, and tokens made in it, are held to; NULL: a password. */
static void begin_session(struct request *rq, struct user *user, struct access *link)
{
	struct access like = {.kind = ACCESS_SESSION, .user = user}, *access;
	char text[ACCESS_TEXT], from[sizeof(rq->from) + PROTO_NAME_MAX + 20];
	uint64_t now = clock_wall_ms();
	json_t *json;

	store_begin(rq->co->store);
	if (link) {
		like.limits = json_incref(link->limits);
		access_spend(rq->co, link);
	}
	like.expires_at = now + rq->co->config.session_ms;
	access = access_make(rq->co, &like, text);
	user->last_login = now;
	store_write(rq->co->store, STORE_USER_LOGIN,
		    (struct store_value[]){store_text(user->name), store_int((int64_t)now)});
	snprintf(from, sizeof(from), "user %s from %s", user->name, rq->address);
	registry_audit(rq->co, from, "login", user->name, link ? "by a link" : NULL);
	snprintf(rq->headers, sizeof(rq->headers), "Set-Cookie: " SESSION_COOKIE "=%s; " COOKIE_ATTRIBUTES
		 "; Max-Age=%llu\r\n", text, (unsigned long long)(rq->co->config.session_ms / 1000));
	json = session_json(access, text);
	secret_wipe(text, sizeof(text));
	reply_durable(rq, 201, json);
}

static void note_refused(struct request *rq, const char *user)
{
	if (!api_may_note(rq->co))
		return;
	log_warn("login-refused", "from=%s", rq->address);
	registry_audit(rq->co, rq->from, "login-refused", user, NULL);
}

/* The user may have gone meanwhile, or have another password: a session by the old one would begin after all of
 * its sessions were ended. */
static void on_checked(void *arg, const char *right)
{
	struct trying *trying = arg;
	struct request *rq = trying->rq;
	struct user *user = map_get(rq->co->users.by_name, trying->user);
	char name[PROTO_NAME_MAX];

	str_copy(name, sizeof(name), trying->user);
	rq->cancel = NULL;
	free(trying);
	if (right && user && user->password && !strcmp(right, user->password)) {
		logins_right(rq->co->logins, name, rq->address);
		cluster_login(rq->co->cluster, name, rq->address, true);
		begin_session(rq, user, NULL);
		return;
	}
	note_refused(rq, user ? user->name : "-");
	reply_problem(rq, 401, "login_wrong", "user or password is wrong");
}

static bool may_try(struct request *rq, const char *name)
{
	uint64_t now = loop_now(rq->co->loop), wait = logins_wait(rq->co->logins, name, rq->address, now);
	unsigned seconds;

	if (!wait) {
		logins_tried(rq->co->logins, name, rq->address, now);
		/* What is nobody's name may be a password, typed into the wrong field. */
		cluster_login(rq->co->cluster, map_get(rq->co->users.by_name, name) ? name : NULL,
			      rq->address, false);
		return true;
	}
	seconds = (unsigned)(wait / 1000) + 1;
	snprintf(rq->headers, sizeof(rq->headers), "Retry-After: %u\r\n", seconds);
	reply_problem(rq, 429, "too_many_attempts", "too many wrong attempts: try again in %u s", seconds);
	return false;
}

static bool may_begin(struct request *rq)
{
	if (!js_ok(&rq->js))
		reply_problem(rq, 422, "invalid", "%s", rq->js.error);
	else if (session_cross_site(rq)) /* nobody is logged in unasked */
		reply_problem(rq, 403, "cross_site", "Origin or Sec-Fetch-Site says that a page of another site made "
			      "this request: log in at one of public_url, or at the host that it asks");
	else
		return request_may_write(rq);
	return false;
}

void api_login(struct request *rq)
{
	const char *name = js_need_string(&rq->js, "user", PROTO_NAME_MAX - 1);
	const char *password = js_need_string(&rq->js, "password", PASSWORD_MAX);
	struct trying *trying;
	const struct user *user;

	if (!may_begin(rq) || !may_try(rq, name))
		return;
	user = map_get(rq->co->users.by_name, name);
	trying = xcalloc(1, sizeof(*trying));
	trying->rq = rq;
	str_copy(trying->user, sizeof(trying->user), name);
	trying->job = password_check(rq->co->passwords, password, user ? user->password : NULL, on_checked,
				     trying);
	secret_wipe((char *)(uintptr_t)password, strlen(password));
	secret_wipe(rq->http->body.data, rq->http->body.len);
	if (!trying->job) {
		free(trying);
		reply_problem(rq, 429, "busy", "too many passwords are being looked at: try again");
		return;
	}
	reply_later(rq, on_cancel, trying, AWAITED_PASSWORD);
}

/* Again, where another coordinator has taken the same link at this moment: then it is not there any more. */
static void try_link(struct request *rq)
{
	struct access *access = loginlink_get(rq->co, rq->id);

	*rq->headers = '\0';
	if (!request_may_write(rq))
		return;
	if (access) {
		begin_session(rq, access->user, access);
		return;
	}
	note_refused(rq, "-");
	reply_problem(rq, 401, "link_wrong", "this link was used already, has ended or was taken back: ask for "
		      "another ({user link})");
}

/* Nobody waits for wrong ones: 256 bits are not guessed, and whoever tries has only the requests of its source.
 * The secret is forgotten at once, from here on the link is known by its id. */
void api_login_link(struct request *rq)
{
	const char *secret = js_need_string(&rq->js, "secret", ACCESS_TEXT - 1);
	const struct access *access;

	if (!may_begin(rq))
		return;
	if (!rq->co->config.dashboard) {
		reply_problem(rq, 409, "dashboard_off", "the dashboard is off here, and no link to it logs in: log in "
			      "with a password");
		return;
	}
	access = access_find(rq->co, secret, clock_wall_ms());
	str_copy(rq->id, sizeof(rq->id), access ? access->id : "");
	secret_wipe((char *)(uintptr_t)secret, strlen(secret));
	secret_wipe(rq->http->body.data, rq->http->body.len);
	rq->retry = try_link;
	try_link(rq);
}

/* ---- the session -------------------------------------------------------------------------------- */

static struct access *own_session(struct request *rq, char text[static ACCESS_TEXT])
{
	struct access *access;
	struct who who;

	if (!admin_authenticate(rq, &who))
		return NULL;
	who_fini(&who);
	access = session_cookie(rq, text) ? access_find(rq->co, text, clock_wall_ms()) : NULL;
	if (!access || access->kind != ACCESS_SESSION || http_header(rq->http, "Authorization")) {
		reply_problem(rq, 404, "no_session", "this is an API token, there is no session");
		return NULL;
	}
	return access;
}

void api_session(struct request *rq)
{
	char text[ACCESS_TEXT];
	struct access *access = own_session(rq, text);

	if (access)
		reply(rq, 200, session_json(access, text));
}

void api_logout(struct request *rq)
{
	char text[ACCESS_TEXT], from[sizeof(rq->from) + PROTO_NAME_MAX + 20];
	struct access *access = own_session(rq, text);

	if (!access || !request_may_write(rq))
		return;
	snprintf(from, sizeof(from), "user %s from %s", access->user->name, rq->address);
	registry_audit(rq->co, from, "logout", access->user->name, NULL);
	access_end(rq->co, access);
	snprintf(rq->headers, sizeof(rq->headers), "Set-Cookie: " SESSION_COOKIE "=; " COOKIE_ATTRIBUTES
		 "; Max-Age=0\r\n");
	reply_durable(rq, 204, NULL);
}
