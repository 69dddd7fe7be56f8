/*
 * state.c - the agent's memory on disk. Read strictly: a state that is damaged is said to be so
 * and left alone, never half taken, because the ranges in it are what the agent measures its
 * coordinator against (SPEC 1, rule 6).
 *
 * The tricky thing is the token: it is in the file (0600) and in no log, and the text of
 * the file is wiped after reading and writing.
 */
#include "state.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STATE_MAX (32 * 1024 * 1024) /* a map of 1,000 peers is 1 MiB */
#define MAX_PINS  16
#define MAX_TOKEN 8192

struct state *state_new(void)
{
	return xcalloc(1, sizeof(struct state));
}

static void forget_others(struct state *state)
{
	while (state->other_count)
		free(state->others[--state->other_count]);
}

void state_free(struct state *state)
{
	if (!state)
		return;
	free(state->coordinator_url);
	forget_others(state);
	if (state->token)
		secret_wipe(state->token, strlen(state->token));
	free(state->token);
	if (state->old_token)
		secret_wipe(state->old_token, strlen(state->old_token));
	free(state->old_token);
	for (size_t i = 0; i < state->pin_count; i++)
		free(state->pins[i]);
	free(state->pins);
	free(state->networks);
	json_decref(state->relays);
	json_decref(state->map);
	json_decref(state->choices);
	free(state->config_sha256);
	free(state->config_path);
	free(state->yaml_sha256);
	free(state);
}

static bool has_pin(const struct state *state, const char *pin)
{
	for (size_t i = 0; i < state->pin_count; i++)
		if (!strcmp(state->pins[i], pin))
			return true;
	return false;
}

static bool is_known(const struct state *state, const char *url)
{
	bool known = state->coordinator_url && !strcmp(state->coordinator_url, url);

	for (size_t i = 0; i < state->other_count; i++)
		known |= !strcmp(state->others[i], url);
	return known;
}

bool state_learn_others(struct state *state, json_t *urls)
{
	struct state fresh = {.coordinator_url = state->coordinator_url};
	bool changed = false;
	json_t *item;
	size_t i;

	json_array_foreach(urls, i, item) {
		const char *text = json_string_value(item);
		char *url = text ? proto_origin(text) : NULL;

		if (!url || is_known(&fresh, url) || fresh.other_count == STATE_MAX_OTHERS) {
			free(url);
			continue;
		}
		changed |= !is_known(state, url);
		fresh.others[fresh.other_count++] = url;
	}
	changed |= fresh.other_count != state->other_count;
	forget_others(state);
	memcpy(state->others, fresh.others, sizeof(state->others));
	state->other_count = fresh.other_count;
	return changed;
}

bool state_follow(struct state *state, const char *url, const char *pin)
{
	bool changed = false;

	if (!state->coordinator_url || strcmp(state->coordinator_url, url) != 0) {
		free(state->coordinator_url);
		state->coordinator_url = xstrdup(url);
		forget_others(state);
		changed = true;
	}
	if (pin && !has_pin(state, pin)) {
		for (size_t i = 0; i < state->pin_count; i++)
			free(state->pins[i]);
		free(state->pins);
		state->pins = xcalloc(1, sizeof(*state->pins));
		state->pins[0] = xstrdup(pin);
		state->pin_count = 1;
		changed = true;
	}
	return changed;
}

/* Ids go into the path of a request, and nothing that ends a path segment may be in them. */
static bool id_valid(const char *id)
{
	return strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
	       strlen(id);
}

static void read_identity(struct state *state, struct js *js)
{
	const char *id = js_string(js, "agent_id", ""), *name = js_string(js, "name", "");
	const char *token = js_string(js, "token", NULL), *old = js_string(js, "old_token", NULL);

	if (!id_valid(id) || !str_copy(state->agent_id, sizeof(state->agent_id), id))
		js_fail(js, "agent_id", "is not an agent id");
	if ((*name && !name_valid(name)) || !str_copy(state->name, sizeof(state->name), name))
		js_fail(js, "name", "is not a host name");
	if ((token && strlen(token) > MAX_TOKEN) || (old && strlen(old) > MAX_TOKEN))
		js_fail(js, "token", "is too long");
	state->coordinator_url = xstrdup(js_string(js, "coordinator_url", NULL));
	state_learn_others(state, js_array(js, "coordinators", STATE_MAX_OTHERS));
	state->token = xstrdup(token);
	state->old_token = xstrdup(old);
	state->token_renew_wall_ms = (uint64_t)js_int(js, "token_renew_wall_ms", 0, INT64_MAX, 0);
	if (json_object_get(js->object, "server_key") &&
	    !json_is_null(json_object_get(js->object, "server_key")))
		js_need_key(js, "server_key", &state->server_key);
}

static void read_pins(struct state *state, struct js *js)
{
	json_t *pins = js_array(js, "pins", MAX_PINS), *pin;
	uint8_t bytes[32];
	size_t i;

	if (!pins)
		return;
	state->pins = xcalloc(json_array_size(pins) + 1, sizeof(*state->pins));
	json_array_foreach(pins, i, pin) {
		const char *text = json_string_value(pin);

		if (!text || base64url_decode(bytes, sizeof(bytes), text) != (int)sizeof(bytes)) {
			js_fail(js, "pins", "must be a list of 43 characters of base64url each");
			return;
		}
		state->pins[state->pin_count++] = xstrdup(text);
	}
}

static void read_networks(struct state *state, struct js *js)
{
	json_t *networks = js_array(js, "networks", PROTO_MAX_NETWORKS), *network;
	struct js one;
	size_t i;

	if (!networks)
		return;
	state->networks = xcalloc(json_array_size(networks) + 1, sizeof(*state->networks));
	json_array_foreach(networks, i, network) {
		js_read(&one, network);
		if (!proto_read_network(&one, &state->networks[i])) {
			js_fail(js, "networks", one.error);
			return;
		}
		state->network_count++;
	}
}

static void read_choices(struct state *state, struct js *js)
{
	state->relays = json_incref(js_array(js, "relays", PROTO_MAX_RELAYS));
	state->map = json_incref(js_object(js, "map"));
	state->choices = json_incref(js_object(js, "choices"));
	state->made_config = js_bool(js, "made_config", false);
	state->edited_config = js_bool(js, "edited_config", false);
	state->enabled_unit = js_bool(js, "enabled_unit", false);
	state->config_sha256 = xstrdup(js_string(js, "config_sha256", NULL));
	state->config_path = xstrdup(js_string(js, "config_path", NULL));
	state->yaml_sha256 = xstrdup(js_string(js, "yaml_sha256", NULL));
}

static int state_read(struct state *state, json_t *root, char error[static JS_ERROR])
{
	struct js js;

	js_read(&js, root);
	if (js_ok(&js) && js_int(&js, "schema", 1, 1, 0) != 1)
		js_fail(&js, "schema", "must be 1");
	read_identity(state, &js);
	read_pins(state, &js);
	read_networks(state, &js);
	read_choices(state, &js);
	if (js_ok(&js))
		return 0;
	str_copy(error, JS_ERROR, js.error);
	return -EBADMSG;
}

int state_load(struct state **out, const char *path, char error[static JS_ERROR])
{
	struct state *state = state_new();
	json_t *root = NULL;
	struct buf text;
	int ret;

	error[0] = '\0';
	buf_init(&text, STATE_MAX);
	ret = file_read(path, STATE_MAX, &text);
	if (ret) {
		if (ret != -ENOENT)
			snprintf(error, JS_ERROR, "%s", strerror(-ret));
		goto out;
	}
	root = js_load(text.data, text.len, error);
	ret = root ? state_read(state, root, error) : -EBADMSG;
out:
	json_decref(root);
	buf_wipe(&text);
	if (ret) {
		state_free(state);
		return ret;
	}
	*out = state;
	return 0;
}

static json_t *borrow(json_t *json)
{
	return json ? json_incref(json) : json_null();
}

static json_t *write_pins(const struct state *state)
{
	json_t *pins = json_array();

	for (size_t i = 0; i < state->pin_count; i++)
		json_array_append_new(pins, json_string(state->pins[i]));
	return pins;
}

static json_t *write_others(const struct state *state)
{
	json_t *urls = json_array();

	for (size_t i = 0; i < state->other_count; i++)
		json_array_append_new(urls, json_string(state->others[i]));
	return urls;
}

static json_t *write_networks(const struct state *state)
{
	json_t *networks = json_array();

	for (size_t i = 0; i < state->network_count; i++)
		json_array_append_new(networks, proto_write_network(&state->networks[i]));
	return networks;
}

static json_t *write_state(const struct state *state)
{
	return json_pack(
		"{s:i, s:o, s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o, s:o, s:o, s:o}",
		"schema", 1, "coordinator_url", js_from_string(state->coordinator_url),
		"agent_id", state->agent_id, "name", state->name,
		"token", js_from_string(state->token), "old_token", js_from_string(state->old_token),
		"token_renew_wall_ms", (json_int_t)state->token_renew_wall_ms,
		"server_key", key_is_zero(&state->server_key) ? json_null() : js_from_key(&state->server_key),
		"pins", write_pins(state), "networks", write_networks(state),
		"relays", borrow(state->relays), "map", borrow(state->map),
		"choices", borrow(state->choices),
		"made_config", state->made_config, "edited_config", state->edited_config,
		"enabled_unit", state->enabled_unit,
		"config_sha256", js_from_string(state->config_sha256),
		"config_path", js_from_string(state->config_path),
		"yaml_sha256", js_from_string(state->yaml_sha256), "coordinators", write_others(state));
}

int state_save(const struct state *state, const char *path)
{
	char *directory = xstrdup(path), *slash = strrchr(directory, '/');
	json_t *root = write_state(state);
	int ret = root ? 0 : -EINVAL; /* text in it that is not UTF-8 */
	char *text = NULL;

	if (!root)
		goto out;
	if (slash && slash != directory) {
		*slash = '\0';
		ret = file_make_dirs(directory, 0700);
		if (ret)
			goto out;
	}
	text = js_dump(root);
	ret = file_write_atomic(path, text, strlen(text), 0600);
out:
	if (text)
		secret_wipe(text, strlen(text));
	free(text);
	free(directory);
	json_decref(root);
	return ret;
}
