/*
 * api.c - one request after another: challenge, proof, and once more where an answer was lost.
 *
 * The tricky thing is the lost answer. The server may have done what we asked, so the same body and
 * proof go out again; if it then says that this challenge has served, a new challenge is answered
 * for the same key, which it takes as registering again. Nothing is asked more than three times.
 *
 * All that a server says is hostile: its sentences are cut and cleaned before anybody prints them.
 */
#include "api.h"
#include "lib/secret.h"
#include "lib/seal.h"
#include "lib/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PINS 16

struct api_call {
	struct api api;
	char *pins[MAX_PINS + 1];
	struct fetch_call *fetch;
	char *method, *url, *secret_header, *new_header, *text; /* of the request itself */
	json_t *body;                              /* of a proved one, still without challenge */
	bool resent, proved_anew;
	struct key server_key;
	api_fn *fn;
	void *arg;
};

bool api_id_valid(const char *id)
{
	size_t len = strlen(id);

	return len > 0 && len < 40 &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == len;
}

static void free_secret(char **text)
{
	if (*text)
		secret_wipe(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void call_free(struct api_call *call)
{
	for (size_t i = 0; call->pins[i]; i++)
		free(call->pins[i]);
	free(call->method);
	free(call->url);
	free_secret(&call->secret_header);
	free_secret(&call->new_header);
	free_secret(&call->text);
	json_decref(call->body);
	free(call);
}

void api_cancel(struct api_call *call)
{
	if (!call)
		return;
	if (call->fetch)
		fetch_cancel(call->fetch);
	call_free(call);
}

/* ---- answers ------------------------------------------------------------------------ */

static void finish(struct api_call *call, struct api_answer *answer)
{
	api_fn *fn = call->fn;
	void *arg = call->arg;

	answer->server_key = call->server_key;
	fn(arg, answer);
	json_decref(answer->body);
	call_free(call);
}

static void PRINTF_LIKE(3, 4) fail(struct api_call *call, const char *code, const char *format, ...)
{
	struct api_answer answer = {0};
	va_list args;

	str_copy(answer.code, sizeof(answer.code), code);
	va_start(args, format);
	vsnprintf(answer.detail, sizeof(answer.detail), format, args);
	va_end(args);
	finish(call, &answer);
}

/* Printable text only: controls, and UTF-8's C1 controls, become blanks. */
static void copy_clean(char *out, size_t size, const char *text)
{
	str_copy(out, size, text);
	for (unsigned char *c = (unsigned char *)out; *c; c++) {
		if (*c < 0x20 || *c == 0x7f)
			*c = ' ';
		else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			c[0] = c[1] = ' ';
	}
}

static bool code_valid(const char *code)
{
	size_t len = strlen(code);

	return len > 0 && len < API_CODE && strspn(code, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* application/problem+json, RFC 9457, with a code. */
static void read_problem(struct api_answer *answer, json_t *body)
{
	const char *code = json_string_value(json_object_get(body, "code"));
	const char *detail = json_string_value(json_object_get(body, "detail"));

	if (!detail)
		detail = json_string_value(json_object_get(body, "title"));
	if (code && code_valid(code))
		str_copy(answer->code, sizeof(answer->code), code);
	if (detail)
		copy_clean(answer->detail, sizeof(answer->detail), detail);
	else
		snprintf(answer->detail, sizeof(answer->detail), "it answered %d and gave no reason",
			 answer->status);
}

static void not_reached(struct api_call *call, const struct fetch_answer *got)
{
	if (got->error == -EKEYREJECTED)
		fail(call, call->pins[0] ? "pin_mismatch" : "untrusted", "%s", got->why);
	else
		fail(call, "unreachable", "%s", got->why);
}

/* The body of a 2xx must be an object, or nothing. */
static bool read_answer(struct api_call *call, const struct fetch_answer *got, struct api_answer *answer)
{
	char error[JS_ERROR];

	*answer = (struct api_answer){.status = got->status};
	if (got->body && got->body->len > 0)
		answer->body = js_load(got->body->data, got->body->len, error);
	if (got->status >= 200 && got->status < 300) {
		if (json_is_object(answer->body) || (got->status == 204 && !answer->body))
			return true;
		json_decref(answer->body);
		fail(call, "bad_answer", "what answers at %s is no coordinator", call->api.origin);
		return false;
	}
	read_problem(answer, answer->body);
	json_decref(answer->body);
	answer->body = NULL;
	return true;
}

/* ---- requests ----------------------------------------------------------------------- */

static void send_now(struct api_call *call, const char *url, const char *text, fetch_fn *fn)
{
	const char *headers[5] = {"Accept: application/json"};
	size_t count = 1;
	struct fetch_request request = {.method = call->method, .url = url, .headers = headers};

	if (text) {
		headers[count++] = "Content-Type: application/json";
		request.body = text;
		request.body_len = strlen(text);
	}
	if (call->secret_header && text == call->text)
		headers[count++] = call->secret_header;
	if (call->new_header && text == call->text)
		headers[count++] = call->new_header;
	call->fetch = fetch_start(call->api.fetch, &call->api.trust, &request, fn, call);
}

static void start_challenge(struct api_call *call);

/* libcurl repeats a request of its own accord where a kept connection dies under it; so also an
 * answer to the first one that we saw can say that this challenge has served. */
static bool challenge_is_over(const struct api_call *call, const struct api_answer *answer)
{
	return call->body && !call->proved_anew && answer->status == 401 &&
	       (call->resent || str_has_prefix(answer->code, "challenge_"));
}

static void answered(void *arg, const struct fetch_answer *got)
{
	struct api_call *call = arg;
	struct api_answer answer;

	call->fetch = NULL;
	if (got->error) {
		if (call->body && !call->resent && got->error != -EKEYREJECTED) {
			call->resent = true;
			send_now(call, call->url, call->text, answered);
		} else {
			not_reached(call, got);
		}
		return;
	}
	if (!read_answer(call, got, &answer))
		return;
	if (challenge_is_over(call, &answer)) {
		call->proved_anew = true;
		start_challenge(call);
	} else {
		finish(call, &answer);
	}
}

static bool server_key_good(struct api_call *call)
{
	const struct api *api = &call->api;
	struct key ours;
	bool is_peer;

	key_public(&ours, api->private_key);
	is_peer = key_equal(&ours, &call->server_key);
	for (size_t i = 0; i < api->peer_count; i++)
		is_peer |= key_equal(&api->peers[i], &call->server_key);
	if (is_peer)
		fail(call, "server_key_is_peer",
		     "the server at %s shows the key of a peer as its own: refused, tell its administrator",
		     api->origin);
	else if (api->server_key && !key_is_zero(api->server_key) &&
		 !key_equal(api->server_key, &call->server_key))
		fail(call, "server_key_changed",
		     "the server at %s has another key than when this host joined: join again with a new link",
		     api->origin);
	else
		return true;
	return false;
}

/* New "NAME: Proof ..." that one of our keys is there, for the body as it will be sent. 0 or -errno. */
static int make_proof(struct api_call *call, const char *name, const struct key *private_key,
		      const uint8_t challenge[static CHALLENGE_LEN], char **header)
{
	uint8_t proof[PROOF_LEN];
	char *text;
	int ret = proof_make(proof, &call->server_key, private_key, challenge, call->text,
			     strlen(call->text));

	if (ret)
		return ret;
	text = base64_encode(proof, sizeof(proof));
	*header = xasprintf("%s: Proof %s", name, text);
	free_secret(&text);
	secret_wipe(proof, sizeof(proof));
	return 0;
}

static json_t *public_of(const struct key *private_key)
{
	struct key public_key;

	key_public(&public_key, private_key);
	return js_from_key(&public_key);
}

/* The challenge was asked for with the key we have; in the body stands the one to come. */
static int prove(struct api_call *call, const char *challenge_text)
{
	const struct key *new_key = call->api.new_private_key;
	uint8_t challenge[CHALLENGE_LEN];
	int ret;

	if (base64_decode(challenge, sizeof(challenge), challenge_text) != CHALLENGE_LEN)
		return -EINVAL;
	json_object_set_new(call->body, "challenge", json_string(challenge_text));
	free_secret(&call->text);
	free_secret(&call->secret_header);
	free_secret(&call->new_header);
	json_object_set_new(call->body, "public_key",
			    public_of(new_key ? new_key : call->api.private_key));
	call->text = js_dump(call->body);
	ret = make_proof(call, "Authorization", call->api.private_key, challenge,
			 &call->secret_header);
	if (!ret && new_key)
		ret = make_proof(call, "WG-Mesh-New-Proof", new_key, challenge, &call->new_header);
	return ret;
}

static void challenged(void *arg, const struct fetch_answer *got)
{
	struct api_call *call = arg;
	struct api_answer answer;
	const char *challenge;
	struct js js;

	call->fetch = NULL;
	if (got->error) {
		not_reached(call, got);
		return;
	}
	if (!read_answer(call, got, &answer))
		return;
	if (!answer.body) {
		finish(call, &answer);
		return;
	}
	js_read(&js, answer.body);
	challenge = js_need_string(&js, "challenge", 64);
	js_need_key(&js, "server_key", &call->server_key);
	if (!js_ok(&js))
		fail(call, "bad_answer", "what answers at %s is no coordinator (%s)", call->api.origin, js.error);
	else if (!server_key_good(call))
		;
	else if (prove(call, challenge))
		fail(call, "bad_answer", "the challenge of %s cannot be answered", call->api.origin);
	else
		send_now(call, call->url, call->text, answered);
	json_decref(answer.body);
}

static void start_challenge(struct api_call *call)
{
	char *url = xasprintf("%s/api/v1/agents/challenge", call->api.origin), *text;
	json_t *key = json_pack("{s:o}", "public_key", public_of(call->api.private_key));

	text = js_dump(key);
	send_now(call, url, text, challenged);
	free(text);
	free(url);
	json_decref(key);
}

static struct api_call *call_new(const struct api *api, const char *method, const char *path,
				 api_fn *fn, void *arg)
{
	struct api_call *call = xcalloc(1, sizeof(*call));

	call->api = *api;
	call->fn = fn;
	call->arg = arg;
	call->method = xstrdup(method);
	call->url = xasprintf("%s/api/v1%s", api->origin, path);
	for (size_t i = 0; i < MAX_PINS && api->trust.pins && api->trust.pins[i]; i++)
		call->pins[i] = xstrdup(api->trust.pins[i]);
	call->api.trust.pins = call->pins[0] ? (const char *const *)call->pins : NULL;
	return call;
}

struct api_call *api_send(const struct api *api, const char *method, const char *path,
			  const char *bearer, json_t *body, api_fn *fn, void *arg)
{
	struct api_call *call = call_new(api, method, path, fn, arg);

	call->text = body ? js_dump(body) : NULL;
	json_decref(body);
	if (bearer)
		call->secret_header = xasprintf("Authorization: Bearer %s", bearer);
	send_now(call, call->url, call->text, answered);
	return call;
}

struct api_call *api_prove(const struct api *api, const char *path, json_t *body, api_fn *fn, void *arg)
{
	struct api_call *call = call_new(api, "POST", path, fn, arg);

	call->body = body;
	json_object_set_new(body, "coordinator", json_string(api->origin));
	start_challenge(call);
	return call;
}
