/*
 * register_key.c - the agent goes on under a new key. The tricky thing is the answer that is lost, or
 * the program that was killed before it could write down what came: whether the coordinator has the
 * old key or the new one is found out by asking for a token by proof of each, the new one first. So it
 * may be run again after whatever happened, and ends with the new key, or says that nothing changed.
 */
#include "register_parts.h"

#include "lib/json.h"
#include "lib/secret.h"
#include <stdio.h>
#include <string.h>

static void done(struct registration *r, json_t *body)
{
	const char *token = json_string_value(json_object_get(body, "token"));
	json_t *seconds = json_object_get(body, "expires_in");
	json_t *out = json_pack("{s:i}", "status", 200);

	if (token && register_token_valid(token) && json_is_integer(seconds)) {
		json_object_set_new(out, "token", json_string(token));
		json_object_set(out, "expires_in", seconds);
	}
	register_out(r, EXIT_DONE, out);
}

static void ask_token(struct registration *r, const struct key *private_key, api_fn *fn)
{
	char path[80];

	snprintf(path, sizeof(path), "/agents/%s/token", r->agent_id);
	r->api.private_key = private_key;
	r->api.new_private_key = NULL;
	api_prove(&r->api, path, json_object(), fn, r);
}

static bool refuses_key(const struct api_answer *answer)
{
	return answer->status == 401 || answer->status == 403 || answer->status == 404;
}

/* Under the new key: then it is done. */
static void token_of_new(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;

	if (answer->body)
		done(r, answer->body);
	else
		register_failed(r, answer->status ? &r->first : answer);
}

static void changed(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;

	if (!answer->status) { /* did it come to pass? Nobody knows: say so, and it is asked first next time */
		register_failed(r, answer);
		return;
	}
	r->first = *answer;
	r->first.body = NULL;
	if (answer->body)
		done(r, answer->body);
	else if (refuses_key(answer))
		ask_token(r, &r->new_private_key, token_of_new);
	else
		register_failed(r, answer);
}

static void change(struct registration *r)
{
	char path[80];

	snprintf(path, sizeof(path), "/agents/%s/key", r->agent_id);
	r->api.private_key = &r->private_key;
	r->api.new_private_key = &r->new_private_key;
	api_prove(&r->api, path, json_object(), changed, r);
}

/* Before anything is changed: it may have been, the last time. */
static void token_of_new_first(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;

	if (answer->body)
		done(r, answer->body);
	else if (refuses_key(answer))
		change(r);
	else
		register_failed(r, answer);
}

void register_rekey(struct registration *r, struct js *js)
{
	bool again = js_bool(js, "again", false);

	r->agent_id = js_need_string(js, "agent_id", 39);
	if (js_ok(js) && !api_id_valid(r->agent_id))
		js_fail(js, "agent_id", "is not an id");
	if (js_string(js, "server_key", NULL))
		js_need_key(js, "server_key", &r->server_key);
	js_need_key(js, "new_private_key", &r->new_private_key);
	js_wipe(r->in, "new_private_key");
	if (!js_ok(js))
		return;
	if (again)
		ask_token(r, &r->new_private_key, token_of_new_first);
	else
		change(r);
}
