/*
 * register.c - one registration or deregistration, as a program of its own: a document in, a
 * document out. The private key comes in by standard input only and is wiped as soon as it has
 * become a struct key; that is wiped at the end.
 *
 * What the coordinator answers is checked here in full, so that `join` writes down only values.
 */
#include "register_parts.h"
#include "lib/proto.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_INPUT    (256 * 1024)
#define MAX_TAGS     32
#define MAX_PEERS    2000
#define MAX_TOKEN    8192
#define MAX_LIFETIME (10 * 365 * 86400)

/* What a person can do about it, where the coordinator's own sentence does not say. */
static const struct {
	const char *code, *remedy;
} remedies[] = {
	{"name_reserved", "join with --name NAME"}, /* it has said to choose another */
	{"name_taken", "join with --name NAME"},
	{"name_invalid", "choose another with --name"},
	{"name_not_allowed", "choose that one with --name, or ask for another link"},
	{"tag_not_allowed", "leave out --tag, or ask for another link"},
	{"wrong_coordinator", "ask for a link with the address by which it is reached from here "
			      "(its --public-url)"},
	{"network_overlap", "ask its administrator for another network"},
	{"network_full", "ask its administrator to make room"},
	{"too_many_routes", "advertise fewer with --advertise-routes"},
	{"agent_expired", "ask its administrator for a new link, and join again with it"},
};

void register_out(struct registration *r, int exit_code, json_t *out)
{
	r->exit_code = exit_code;
	json_decref(r->out);
	r->out = out;
	if (r->loop)
		loop_stop(r->loop);
}

void register_refuse(struct registration *r, int exit_code, int status, const char *code,
		     const char *format, ...)
{
	char detail[2 * API_DETAIL];
	va_list args;

	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	register_out(r, exit_code, json_pack("{s:i, s:o, s:o}", "status", status, "code", js_from_text(code),
					     "detail", js_from_text(detail)));
}

static void refused(struct registration *r, const struct api_answer *answer)
{
	const char *remedy = "";

	for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
		if (!strcmp(answer->code, remedies[i].code))
			remedy = remedies[i].remedy;
	register_refuse(r, EXIT_REFUSED, answer->status, *answer->code ? answer->code : "refused",
	       "the coordinator refused: %s%s%s", answer->detail, *remedy ? "; " : "", remedy);
}

static void unreachable(struct registration *r, const char *detail)
{
	const char *host = r->api.origin + strlen("https://"), *port = strrchr(host, ':');

	if (port && strchr(port, ']')) /* an IPv6 address without one */
		port = NULL;
	register_refuse(r, EXIT_UNREACHABLE, 0, "unreachable",
			"the coordinator cannot be reached: %s: is it running, and is its TCP port %s open "
			"to this host?", detail, port ? port + 1 : "443");
}

/* No answer of a coordinator's, or a refusal of it. */
void register_failed(struct registration *r, const struct api_answer *answer)
{
	const char *code = answer->code, *url = r->api.origin;

	if (answer->status)
		refused(r, answer);
	else if (!strcmp(code, "pin_mismatch"))
		register_refuse(r, EXIT_REFUSED, 0, code,
		       "the server at %s showed another key than the link names: somebody is in between, "
		       "or the link is old; ask for a new link", url);
	else if (!strcmp(code, "untrusted"))
		register_refuse(r, EXIT_REFUSED, 0, code, "the server at %s cannot be trusted: %s", url, answer->detail);
	else if (!strcmp(code, "unreachable"))
		unreachable(r, answer->detail);
	else
		register_refuse(r, EXIT_REFUSED, 0, code, "%s", answer->detail);
}

/* ---- the coordinator's answer -------------------------------------------------------- */

static json_t *check_networks(struct js *js, bool preview)
{
	json_t *networks = js_array(js, "networks", PROTO_MAX_NETWORKS), *item, *out = json_array();
	struct proto_network network;
	struct js one;
	size_t i;

	if (!networks || json_array_size(networks) == 0)
		js_fail(js, "networks", "is missing");
	json_array_foreach(networks, i, item) {
		js_read(&one, item);
		if (proto_read_network(&one, &network) && (preview || network.address_count > 0))
			json_array_append_new(out, proto_write_network(&network));
		else
			js_fail(js, "networks", js_ok(&one) ? "has no address for us" : one.error);
	}
	return out;
}

static json_t *check_relays(struct js *js)
{
	json_t *relays = js_array(js, "relays", PROTO_MAX_RELAYS), *item, *out = json_array();
	struct proto_relay relay;
	struct js one;
	size_t i;

	json_array_foreach(relays, i, item) {
		js_read(&one, item);
		if (proto_read_relay(&one, &relay)) {
			json_array_append_new(out, proto_write_relay(&relay));
			proto_relay_fini(&relay);
		} else {
			js_fail(js, "relays", one.error);
		}
	}
	return out;
}

static json_t *check_pins(struct js *js)
{
	json_t *pins = js_array(js, "pins", REGISTER_MAX_PINS), *item;
	uint8_t bytes[32];
	size_t i;

	json_array_foreach(pins, i, item) {
		const char *pin = json_string_value(item);

		if (!pin || base64url_decode(bytes, sizeof(bytes), pin) != (int)sizeof(bytes))
			js_fail(js, "pins", "must be 43 characters of base64url each");
	}
	return pins ? json_incref(pins) : json_array();
}

bool register_token_valid(const char *token)
{
	for (const char *c = token; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f)
			return false;
	return *token && strlen(token) <= MAX_TOKEN;
}

static json_t *read_registered(struct registration *r, const struct api_answer *answer, struct js *js)
{
	const char *id = js_need_string(js, "agent_id", PROTO_ID_MAX - 1);
	const char *token = js_need_string(js, "token", MAX_TOKEN);
	const char *name = js_string(js, "name", json_string_value(json_object_get(r->in, "name")));
	int64_t expires_in = js_int(js, "expires_in", 1, MAX_LIFETIME, 0);
	struct key shown;

	if (js_need_key(js, "server_key", &shown) && !key_equal(&shown, &answer->server_key))
		js_fail(js, "server_key", "is another than that of the challenge");
	if (!api_id_valid(id))
		js_fail(js, "agent_id", "is not an id");
	if (!register_token_valid(token))
		js_fail(js, "token", "is not a token");
	if (!expires_in)
		js_fail(js, "expires_in", "is missing");
	if (!name_valid(name))
		js_fail(js, "name", "is not a host name");
	return json_pack("{s:i, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:s, s:b}", "status", answer->status,
			 "agent_id", id, "token", token, "expires_in", (json_int_t)expires_in, "server_key",
			 js_from_key(&answer->server_key), "networks", check_networks(js, false), "relays",
			 check_relays(js), "pins", check_pins(js), "name", name, "approved",
			 js_bool(js, "approved", true));
}

/* Who is there already; without an answer, or with nonsense, nobody. */
static void peers_listed(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;
	json_t *peers = json_array(), *peer;
	size_t i;

	json_array_foreach(json_object_get(answer->body, "peers"), i, peer) {
		const char *name = json_string_value(json_object_get(peer, "name"));
		const char *public_key = json_string_value(json_object_get(peer, "public_key"));
		struct key key;

		if (i < MAX_PEERS && name && name_valid(name) && public_key && key_parse(&key, public_key))
			json_array_append_new(peers, json_pack("{s:s, s:s}", "name", name, "public_key",
							       public_key));
	}
	json_object_set_new(r->listed, "peers", peers);
	register_out(r, EXIT_DONE, r->listed);
}

static void list_peers(struct registration *r, json_t *out)
{
	char path[80];

	r->listed = out;
	snprintf(path, sizeof(path), "/agents/%s/peers",
		 json_string_value(json_object_get(out, "agent_id")));
	api_send(&r->api, "GET", path, json_string_value(json_object_get(out, "token")), NULL, peers_listed, r);
}

static void registered(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;
	json_t *out;
	struct js js;

	if (!answer->body) {
		register_failed(r, answer);
		return;
	}
	js_read(&js, answer->body);
	if (r->preview)
		out = json_pack("{s:i, s:o}", "status", answer->status, "networks", check_networks(&js, true));
	else
		out = read_registered(r, answer, &js);
	if (js_ok(&js)) {
		if (r->preview)
			register_out(r, EXIT_DONE, out);
		else
			list_peers(r, out);
		return;
	}
	json_decref(out);
	register_refuse(r, EXIT_REFUSED, 0, "bad_answer", "the answer of %s makes no sense: %s", r->api.origin, js.error);
}

/* ---- what was asked ------------------------------------------------------------------- */

static json_t *routes_of(struct js *js)
{
	json_t *routes = js_array(js, "advertised_routes", PROTO_MAX_ROUTES - 2), *item, *out = json_array();
	struct prefix prefix;
	size_t i;

	json_array_foreach(routes, i, item) {
		if (json_is_string(item) && prefix_parse(&prefix, json_string_value(item)))
			json_array_append_new(out, js_from_prefix(&prefix));
		else
			js_fail(js, "advertised_routes", "must be networks such as 192.168.1.0/24");
	}
	if (js_bool(js, "exit_node", false)) {
		json_array_append_new(out, json_string("0.0.0.0/0"));
		json_array_append_new(out, json_string("::/0"));
	}
	return out;
}

static json_t *tags_of(struct js *js)
{
	json_t *tags = js_array(js, "tags", MAX_TAGS), *item;
	size_t i;

	json_array_foreach(tags, i, item) {
		if (!json_is_string(item) || !name_valid(json_string_value(item)))
			js_fail(js, "tags", "must be 1 to 63 of a-z, 0-9 and inner '-' each");
	}
	return tags;
}

static void start_registering(struct registration *r, struct js *js)
{
	const char *name = js_need_string(js, "name", PROTO_NAME_MAX - 1);
	const char *join_key = js_need_string(js, "join_key", 127);
	json_t *routes = routes_of(js), *tags = tags_of(js), *body;

	if (!name_valid(name))
		js_fail(js, "name", "must be 1 to 63 of a-z, 0-9 and inner '-'");
	body = json_pack("{s:s, s:s, s:n, s:s, s:[s,s], s:O}", "name", name, "join_key", join_key, "endpoint",
			 "nat_type", "unknown", "capabilities", "sync", "signal", "advertised_routes", routes);
	if (tags && json_array_size(tags) > 0)
		json_object_set(body, "tags", tags);
	json_decref(routes);
	r->preview = js_bool(js, "preview", false);
	if (r->preview)
		json_object_set_new(body, "preview", json_true());
	if (js_ok(js))
		api_prove(&r->api, "/agents/register", body, registered, r);
	else
		json_decref(body);
}

static void start_removal(struct registration *r, const char *token);

static void token_proved(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;
	const char *token = json_string_value(json_object_get(answer->body, "token"));

	if (token && register_token_valid(token))
		start_removal(r, token);
	else if (!strcmp(answer->code, "unknown_agent"))
		register_out(r, EXIT_DONE, json_pack("{s:i}", "status", 204));
	else
		register_failed(r, answer);
}

static void removed(void *arg, const struct api_answer *answer)
{
	struct registration *r = arg;
	char path[80];

	if (answer->status == 401 && !r->proved) {
		r->proved = true;
		snprintf(path, sizeof(path), "/agents/%s/token", r->agent_id);
		api_prove(&r->api, path, json_object(), token_proved, r);
	} else if ((answer->status >= 200 && answer->status < 300) || !strcmp(answer->code, "unknown_agent")) {
		register_out(r, EXIT_DONE, json_pack("{s:i}", "status", 204));
	} else {
		register_failed(r, answer);
	}
}

static void start_removal(struct registration *r, const char *token)
{
	char path[64];

	snprintf(path, sizeof(path), "/agents/%s", r->agent_id);
	api_send(&r->api, "DELETE", path, token, NULL, removed, r);
}

static void start_deregistering(struct registration *r, struct js *js)
{
	const char *token = js_string(js, "token", NULL);
	struct api_answer none = {.status = 401};

	r->agent_id = js_need_string(js, "agent_id", PROTO_ID_MAX - 1);
	if (js_ok(js) && !api_id_valid(r->agent_id))
		js_fail(js, "agent_id", "is not an id");
	if (js_string(js, "server_key", NULL))
		js_need_key(js, "server_key", &r->server_key);
	if (!js_ok(js))
		return;
	if (token && register_token_valid(token))
		start_removal(r, token);
	else
		removed(r, &none);
}

static void read_peers(struct registration *r, struct js *js)
{
	json_t *peers = js_array(js, "peers", MAX_PEERS), *item;
	size_t i;

	r->peers = xcalloc(json_array_size(peers) + 1, sizeof(*r->peers));
	json_array_foreach(peers, i, item) {
		if (!json_is_string(item) || !key_parse(&r->peers[i], json_string_value(item)))
			js_fail(js, "peers", "must be public keys");
	}
	r->api.peers = r->peers;
	r->api.peer_count = json_array_size(peers);
}

/* The link's, and what has been learnt since. */
static void read_pins(struct registration *r, struct js *js)
{
	json_t *more = check_pins(js), *item;
	const char *pin = js_string(js, "pin", NULL);
	uint8_t bytes[32];
	size_t i, count = 0;

	if (pin && *pin && base64url_decode(bytes, sizeof(bytes), pin) != (int)sizeof(bytes))
		js_fail(js, "pin", "must be 43 characters of base64url");
	if (pin && *pin)
		r->pins[count++] = pin;
	json_array_foreach(more, i, item)
		if (count && js_ok(js)) /* without one, the usual authorities are gone by */
			r->pins[count++] = json_string_value(item);
	json_decref(more); /* borrowed from the document */
	r->api.trust.pins = count ? r->pins : NULL;
}

static void read_common(struct registration *r, struct js *js)
{
	const char *url = js_need_string(js, "url", 299);

	if (!str_has_prefix(url, "https://") || strpbrk(url + MIN(strlen(url), 8), "/?#@ "))
		js_fail(js, "url", "must be https://HOST:PORT");
	if (!key_parse(&r->private_key, js_need_string(js, "private_key", KEY_BASE64 - 1)))
		js_fail(js, "private_key", "must be a WireGuard key, 44 characters of base64");
	read_peers(r, js);
	read_pins(r, js);
	r->api.origin = url;
	r->api.fetch = r->fetch;
	r->api.private_key = &r->private_key;
	r->api.server_key = &r->server_key;
}

static void run(struct registration *r)
{
	struct js js;

	js_read(&js, r->in);
	if (js_ok(&js)) {
		read_common(r, &js);
		js_wipe(r->in, "private_key");
	}
	if (js_ok(&js)) {
		if (js_bool(&js, "deregister", false))
			start_deregistering(r, &js);
		else if (js_bool(&js, "rekey", false))
			register_rekey(r, &js);
		else
			start_registering(r, &js);
	}
	if (!js_ok(&js))
		register_refuse(r, EXIT_INPUT, 0, "bad_input", "the document on standard input is wrong: %s", js.error);
	else if (!r->out)
		loop_run(r->loop);
}

static int read_input(struct buf *in)
{
	for (;;) {
		uint8_t *room = buf_reserve(in, 4096);
		ssize_t got;

		if (!room)
			return -EFBIG;
		got = read(STDIN_FILENO, room, 4096);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		in->len += (size_t)got;
	}
}

static void write_output(const struct registration *r)
{
	char *text = js_dump(r->out);

	puts(text);
	fflush(stdout);
	secret_wipe(text, strlen(text));
	free(text);
}

int register_main(void)
{
	struct registration r = {.exit_code = EXIT_REFUSED};
	char error[JS_ERROR] = "cannot be read";
	struct buf in;

	secret_init();
	buf_init(&in, MAX_INPUT);
	buf_reserve(&in, MAX_INPUT / 2); /* so that growing leaves no copy of the key behind */
	r.loop = loop_new();
	if (read_input(&in) == 0)
		r.in = js_load(in.data, in.len, error);
	buf_wipe(&in);
	if (fetch_new(&r.fetch, r.loop))
		register_refuse(&r, EXIT_REFUSED, 0, "no_http", "libcurl cannot be used on this host");
	else if (!r.in)
		register_refuse(&r, EXIT_INPUT, 0, "bad_input", "the document on standard input is wrong: %s", error);
	else
		run(&r);
	if (!r.out)
		register_refuse(&r, EXIT_UNREACHABLE, 0, "unreachable", "the coordinator did not answer");
	write_output(&r);
	key_wipe(&r.private_key);
	key_wipe(&r.new_private_key);
	js_wipe(r.in, "join_key");
	free(r.peers);
	if (r.fetch)
		fetch_free(r.fetch);
	json_decref(r.in);
	json_decref(r.out);
	loop_free(r.loop);
	return r.exit_code;
}
