/*
 * api_admin.c - REST to commands: the row of the table names the command, path, query and body are its
 * arguments. Unknown ones are refused: a misspelt "expires" must not become the default.
 */
#include "api_admin.h"
#include "coordinator/admin/admin_commands.h"
#include "api.h"
#include "dispatch.h"
#include "fields.h"
#include "coordinator/sync/events.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define MAX_QUERY 1000

/* ---- who asks ------------------------------------------------------------------------------ */

static const char *bearer(const struct request *rq)
{
	const char *header = http_header(rq->http, "Authorization");

	return header && !strncasecmp(header, "Bearer ", 7) ? header + 7 : NULL;
}

bool admin_credentials(const struct request *rq)
{
	const char *token = bearer(rq);
	char session[ACCESS_TEXT];

	return token ? str_has_prefix(token, ACCESS_PREFIX)
		     : !http_header(rq->http, "Authorization") && session_cookie(rq, session);
}

static bool safe_method(const struct request *rq)
{
	return (!strcmp(rq->http->method, "GET") || !strcmp(rq->http->method, "HEAD")) &&
	       !http_header(rq->http, "Upgrade");
}

/* A browser sends the cookie whoever made the page, so reading is free and the rest must prove that it is no other
 * site's page: by a header that none can know or send, and, as far as the browser says it, by where it comes from. */
static bool session_proves(struct request *rq, const char *session)
{
	const char *given = http_header(rq->http, "WG-Mesh-CSRF");
	char csrf[44];

	if (safe_method(rq))
		return true;
	if (session_cross_site(rq)) {
		reply_problem(rq, 403, "cross_site", "Origin or Sec-Fetch-Site says that a page of another site made "
			      "this request: open the dashboard by one of public_url, or by the host that it asks");
		return false;
	}
	/* A browser cannot add headers to an Upgrade, but says the origin. */
	if (http_header(rq->http, "Upgrade") && http_header(rq->http, "Origin"))
		return true;
	session_csrf(csrf, session);
	if (given && strlen(given) == strlen(csrf) && secret_equal(given, csrf, strlen(csrf)))
		return true;
	reply_problem(rq, 403, "csrf_wrong", "the header WG-Mesh-CSRF is %s: a session needs it with the csrf_token "
		      "that GET /api/v1/session gives", given ? "wrong" : "missing");
	return false;
}

/* An agent's token is good, and not for this. */
static void refuse_token(struct request *rq, const char *token)
{
	struct refusal why;

	if (token && auth_bearer(rq->co, http_header(rq->http, "Authorization"), NULL, &why))
		reply_problem(rq, 403, "not_yours", "this is an agent's token, for what the agent asks itself: "
			      "administration takes an API token ({token create}) or a session");
	else
		reply_problem(rq, 401, "token_invalid", token ? "this token is not known here, has ended or was "
			      "revoked" : "this session has ended: log in again");
}

bool admin_authenticate(struct request *rq, struct who *who)
{
	const char *token = bearer(rq);
	char session[ACCESS_TEXT] = "";
	struct access *access;

	if (!token && (http_header(rq->http, "Authorization") || !session_cookie(rq, session))) {
		reply_problem(rq, 401, "token_missing", "this needs an API token (Authorization: Bearer TOKEN) or "
			      "a session");
		return false;
	}
	access = access_find(rq->co, token ? token : session, clock_wall_ms());
	if (access && access->kind != (token ? ACCESS_TOKEN : ACCESS_SESSION))
		access = NULL; /* a session is a cookie and nothing else, a token never one, a link neither */
	if (!access) {
		refuse_token(rq, token);
		return false;
	}
	if (!token && !session_proves(rq, session))
		return false;
	who_access(who, access, rq->address);
	return true;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static bool decode(char *text)
{
	char *out = text;

	for (; *text; text++) {
		unsigned byte;
		char hex[3];

		if (*text != '%') {
			*out++ = *text == '+' ? ' ' : *text;
			continue;
		}
		snprintf(hex, sizeof(hex), "%.2s", text + 1);
		if (strspn(hex, "0123456789abcdefABCDEF") != 2)
			return false;
		byte = (unsigned)strtoul(hex, NULL, 16);
		if (!byte)
			return false;
		*out++ = (char)byte;
		text += 2;
	}
	*out = '\0';
	return true;
}

static bool take_parameter(json_t *arguments, const char *fields, char *pair, struct refusal *why)
{
	char *value = strchr(pair, '=');
	struct field field;
	uint64_t number;

	str_mend(pair); /* for it is quoted */
	if (value)
		*value++ = '\0';
	if (!value || !field_find(fields, pair, &field))
		return refuse(why, 422, "unknown_parameter", "%.40s: there is no such parameter", pair);
	if (!decode(value))
		return refuse(why, 422, "invalid", "%s: after %% there must be two hexadecimal digits, and not 00", pair);
	if (json_object_get(arguments, pair))
		return refuse(why, 422, "invalid", "%s: is there twice", pair);
	if (field_is(&field, "integer")) {
		if (!parse_u64(value, &number) || number > INT32_MAX)
			return refuse(why, 422, "invalid", "%s: must be a number", pair);
		json_object_set_new(arguments, pair, json_integer((json_int_t)number));
	} else if (json_object_set_new(arguments, pair, json_string(value)) < 0) {
		return refuse(why, 422, "invalid", "%s: must be UTF-8", pair);
	}
	return true;
}

bool api_query(struct request *rq, json_t *arguments, struct refusal *why)
{
	char query[MAX_QUERY], *pair, *next = query;

	if (!rq->http->query || !*rq->http->query)
		return true;
	if (!str_copy(query, sizeof(query), rq->http->query))
		return refuse(why, 413, "query_too_large", "the query is too long");
	while ((pair = strsep(&next, "&")))
		if (!take_parameter(arguments, rq->row->query, pair, why))
			return false;
	return true;
}

static json_t *arguments_of(struct request *rq, struct refusal *why)
{
	json_t *arguments = json_object(), *value;
	struct field field;
	const char *name;

	if (!api_query(rq, arguments, why))
		goto bad;
	json_object_foreach(rq->body, name, value) {
		if (!field_find(rq->row->body, name, &field)) {
			refuse(why, 422, "unknown_field", "%.40s: there is no such field", name);
			goto bad;
		}
		if (!json_is_null(value))
			json_object_set(arguments, name, value);
	}
	if (rq->row->id_key)
		json_object_set_new(arguments, rq->row->id_key, json_string(rq->id));
	return arguments;
bad:
	json_decref(arguments);
	return NULL;
}

/* ---- commands ---------------------------------------------------------------------------------- */

struct pending {
	struct request *rq;
	struct admin_call call;
	bool write, answered;
};

static void on_cancel(struct request *rq)
{
	struct pending *pending = rq->pending;

	rq->cancel = NULL;
	admin_call_cancel(&pending->call);
	free(pending);
}

static void on_done(void *arg, json_t *result, const struct refusal *why)
{
	struct pending *pending = arg;
	struct request *rq = pending->rq;
	bool write = pending->write;

	rq->cancel = NULL;
	free(pending);
	if (!result) { /* what is wrong usage of the command line is an unprocessable request here */
		reply_problem(rq, why->status == 400 ? 422 : why->status, why->code, "%s", why->detail);
		return;
	}
	json_object_del(result, "message");
	if (rq->row->status == 204) {
		json_decref(result);
		result = NULL;
	}
	if (write)
		reply_durable(rq, rq->row->status, result);
	else
		reply(rq, rq->row->status, result);
}

void api_command(struct request *rq)
{
	const struct admin_row *row = admin_row(rq->row->command);
	struct pending *pending;
	struct refusal why;
	json_t *arguments;
	struct who who;

	if (!admin_authenticate(rq, &who))
		return;
	arguments = arguments_of(rq, &why);
	if (!arguments) {
		reply_refusal(rq, &why);
		who_fini(&who);
		return;
	}
	pending = xcalloc(1, sizeof(*pending));
	pending->rq = rq;
	pending->write = row->write;
	reply_later(rq, on_cancel, pending, row->password ? AWAITED_PASSWORD : AWAITED_READ);
	if (row->password)
		secret_wipe(rq->http->body.data, rq->http->body.len);
	admin_run(&pending->call, rq->co, rq->row->command, arguments, &who, on_done, pending);
	json_decref(arguments);
	who_fini(&who);
}

void api_events(struct request *rq)
{
	struct who who;

	if (!admin_authenticate(rq, &who))
		return;
	if (!who_scope(&who, "events", false))
		reply_problem(rq, 403, "scope_missing", "this token lacks the scope events:read");
	else
		events_accept(rq, &who);
	who_fini(&who);
}
