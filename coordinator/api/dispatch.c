/*
 * dispatch.c - from a request to its handler: path, method, JSON, who asks, how often.
 */
#include "dispatch.h"
#include "fields.h"
#include "server.h"
#include "api.h"
#include "api_admin.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define BASE "/api/v1"

bool pattern_match(const char *pattern, const char *path, char id[static PROTO_NAME_MAX])
{
	size_t len;

	if (str_has_prefix(pattern, "//")) {
		pattern++;
	} else {
		if (!str_has_prefix(path, BASE "/"))
			return false;
		path += strlen(BASE);
	}
	while (*pattern && *path) {
		if (*pattern == '{') {
			len = strcspn(path, "/");
			if (!len || len >= PROTO_NAME_MAX)
				return false;
			memcpy(id, path, len);
			id[len] = '\0';
			path += len;
			pattern += strcspn(pattern, "}") + 1;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return !*pattern && !*path;
}

static bool method_fits(const struct endpoint_row *row, const char *method)
{
	return !strcmp(row->method, method) ||
	       (!strcmp(method, "HEAD") && !strcmp(row->method, "GET") && row->status != 101);
}

/* The pattern that a path is meant by, with its {id}: one without goes before, "register" is no agent there. NULL:
 * none. */
static const char *pattern_of(const char *path, char id[static PROTO_NAME_MAX])
{
	const char *pattern = NULL;

	for (const struct endpoint_row *row = endpoints; row->method; row++) {
		char given[PROTO_NAME_MAX] = "";

		if (!pattern_match(row->path, path, given))
			continue;
		pattern = row->path;
		memcpy(id, given, sizeof(given));
		if (!strchr(pattern, '{'))
			break;
	}
	return pattern;
}

static const struct endpoint_row *row_of(const char *pattern, const char *method)
{
	for (const struct endpoint_row *row = endpoints; pattern && row->method; row++)
		if (!strcmp(row->path, pattern) && method_fits(row, method))
			return row;
	return NULL;
}

/* The row of a request, NULL: none. One without an {id} that lacks the method leaves it to the agent of that name,
 * *named then. */
static const struct endpoint_row *row_find(const struct http_message *http, const char *pattern,
					   char id[static PROTO_NAME_MAX], bool *named)
{
	const struct endpoint_row *found = row_of(pattern, http->method);

	*named = false;
	for (const struct endpoint_row *row = endpoints; pattern && !found && row->method; row++)
		if (method_fits(row, http->method) && pattern_match(row->path, http->path, id)) {
			found = row;
			*named = true;
		}
	return found;
}

size_t dispatch_max_body(const struct http_message *http)
{
	char id[PROTO_NAME_MAX];
	bool named;
	const struct endpoint_row *row = row_find(http, pattern_of(http->path, id), id, &named);

	return row && row->max_body ? row->max_body : SIZE_MAX;
}

bool dispatch_unpaced(const struct http_message *http)
{
	char id[PROTO_NAME_MAX];
	bool named;
	const struct endpoint_row *row = row_find(http, pattern_of(http->path, id), id, &named);

	return row && row->unpaced && !http->body.len;
}

static void method_not_allowed(struct request *rq, const char *pattern)
{
	char allowed[64] = "";
	size_t len = 0;

	for (const struct endpoint_row *row = endpoints; row->method; row++)
		if (!strcmp(row->path, pattern)) {
			len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, "%s%s%s", len ? ", " : "",
						row->method, method_fits(row, "HEAD") ? ", HEAD" : "");
			len = MIN(len, sizeof(allowed) - 1);
		}
	reply_method_not_allowed(rq, allowed);
}

struct agent *auth_bearer(struct coordinator *co, const char *header, uint64_t *ends_ms,
			  struct refusal *why)
{
	struct token_claims claims;
	struct agent *agent;

	if (!header || strncasecmp(header, "Bearer ", 7)) {
		refuse(why, 401, "token_missing", "this needs the agent's token: Authorization: Bearer TOKEN");
		return NULL;
	}
	switch (token_check(co->token_secret, header + 7, clock_wall_ms(), &claims)) {
	case TOKEN_BAD:
		refuse(why, 401, "token_invalid", "this token was not made here, or was altered");
		return NULL;
	case TOKEN_ENDED:
		refuse(why, 401, "token_expired", "this token has ended: ask for a fresh one by proof");
		return NULL;
	case TOKEN_GOOD:
		break;
	}
	if (ends_ms)
		*ends_ms = claims.ends_ms;
	agent = map_get(co->mesh.agents, claims.agent_id);
	if (!agent)
		refuse(why, 401, "unknown_agent", "this agent is not known here any more");
	else if (mesh_expired(agent))
		refuse(why, 401, "agent_expired", "this agent was expired: join again with a new link");
	else if (claims.issued_ms < agent->tokens_from)
		refuse(why, 401, "token_expired", "this token was revoked: ask for a fresh one by proof");
	else
		return agent;
	return NULL;
}

/* Bearer of the agent that the path names, and no other. */
static bool authenticate(struct request *rq)
{
	struct refusal why;

	rq->agent = auth_bearer(rq->co, http_header(rq->http, "Authorization"), &rq->token_ends_ms,
				&why);
	if (!rq->agent) {
		reply_refusal(rq, &why);
		return false;
	}
	if (strcmp(rq->agent->id, rq->id)) {
		reply_problem(rq, 403, "not_yours", "an agent reads and writes itself only");
		return false;
	}
	return true;
}

bool agent_may_ask(struct coordinator *co, struct agent *agent, size_t body)
{
	const struct config_limits *limits = &co->config.limits;
	uint64_t now = loop_now(co->loop);

	if (!agent->requests.burst)
		bucket_init(&agent->requests, limits->requests_per_agent, 4.0 * limits->requests_per_agent,
			    now);
	if (bucket_take_many(&agent->requests, REQUESTS_OF_BODY(body), now))
		return true;
	co->counters[COUNT_RATE_LIMITED]++;
	return false;
}

bool request_paced(struct request *rq, struct agent *agent)
{
	if (agent_may_ask(rq->co, agent, rq->http->body.len))
		return true;
	reply_problem(rq, 429, "too_many_requests", "too many requests of this agent: slow down");
	return false;
}

bool request_may_write(struct request *rq)
{
	if (!store_behind(rq->co->store))
		return true;
	reply_problem(rq, 503, "store_unavailable", "the database takes no writes: try again");
	return false;
}

static bool read_body(struct request *rq)
{
	const char *encoding = http_header(rq->http, "Content-Encoding");
	const struct buf *body = &rq->http->body;
	char error[JS_ERROR];
	struct refusal why;

	if (rq->row->body && encoding && body->len && strcasecmp(encoding, "identity")) {
		snprintf(rq->headers, sizeof(rq->headers), "Accept-Encoding: identity\r\n");
		reply_problem(rq, 415, "encoding_unknown", "a body is taken as it is: send it without Content-Encoding");
		return false;
	}
	if (!rq->row->body || (rq->row->auth == AUTH_ADMIN && !body->len))
		return true; /* a command finds out itself what it misses */
	rq->body = body->len || !fields_optional(rq->row->body) ? js_load(body->data, body->len, error)
								 : json_object();
	js_read(&rq->js, rq->body);
	if (!rq->body && !js_other(body->data, body->len))
		api_refused(rq, 400, "bad_json", error);
	else if (!js_ok(&rq->js))
		api_refused(rq, 422, "invalid", "the body must be a JSON object, and no string in it may have \\u0000");
	else if (!fields_fit(rq->row->body, rq->body, &why))
		api_refused(rq, why.status, why.code, why.detail);
	else
		return true;
	return false;
}

void dispatch(struct request *rq)
{
	const char *pattern = pattern_of(rq->http->path, rq->id);
	bool named;

	rq->row = row_find(rq->http, pattern, rq->id, &named);
	if (named && !admin_credentials(rq)) /* no agent asks for itself by name */
		rq->row = NULL;
	if (!rq->row && pattern) {
		method_not_allowed(rq, pattern);
		return;
	}
	if (!rq->row) {
		reply_problem(rq, 404, "not_found", "there is nothing here; see %s/openapi.json", BASE);
		return;
	}
	if (rq->row->auth == AUTH_SELF && (!authenticate(rq) || !request_paced(rq, rq->agent)))
		return;
	store_begin(rq->co->store);
	if (!read_body(rq))
		return;
	if (rq->row->auth == AUTH_LEAVE && admin_credentials(rq))
		api_command(rq);
	else
		rq->row->handler(rq);
}
