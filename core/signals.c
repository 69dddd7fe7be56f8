/*
 * Sealed messages between agents. What is inside is believed only when the seal, the header and the
 * window agree: a coordinator that stores messages can withhold them, and can neither forge nor
 * repeat them, nor hand them to another agent or network.
 */
#include "signals.h"

#include "lib/clock.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include <inttypes.h>
#include <string.h>

static bool is_dead(const struct signal_window *window, uint64_t boot)
{
	for (unsigned i = 0; i < window->dead_count; i++) {
		if (window->dead[i] == boot)
			return true;
	}
	return false;
}

static void bury(struct signal_window *window)
{
	if (window->dead_count == SIGNAL_DEAD_BOOTS)
		memmove(window->dead, window->dead + 1,
			sizeof(window->dead) - sizeof(*window->dead));
	else
		window->dead_count++;
	window->dead[window->dead_count - 1] = window->boot;
}

bool signal_window_take(struct signal_window *window, uint64_t boot, uint64_t counter)
{
	uint64_t ahead, behind;

	if (!window->started || boot != window->boot) {
		if (is_dead(window, boot))
			return false;
		if (window->started)
			bury(window);
		window->started = true;
		window->boot = boot;
		window->highest = counter;
		window->seen = 1;
		return true;
	}
	if (counter > window->highest) {
		ahead = counter - window->highest;
		window->seen = ahead < 64 ? window->seen << ahead | 1 : 1;
		window->highest = counter;
		return true;
	}
	behind = window->highest - counter;
	if (behind >= 64 || window->seen >> behind & 1)
		return false;
	window->seen |= UINT64_C(1) << behind;
	return true;
}

/* ---- bodies ---- */

static json_t *write_candidates(const struct signal_message *message)
{
	return proto_write_endpoints(&message->at);
}

static bool read_candidates(struct js *js, struct signal_message *out)
{
	return proto_read_endpoints(js, &out->at);
}

static json_t *write_psk(const struct signal_message *message)
{
	const struct psk_message *psk = &message->psk;
	json_t *json = json_pack("{s:s, s:I}", "step", psk_step_name(psk->step), "epoch",
				 (json_int_t)psk->epoch);

	if (psk->step == PSK_OFFER) {
		json_object_set_new(json, "base", json_integer((json_int_t)psk->base));
		json_object_set_new(json, "key", key_is_zero(&psk->key) ? json_null()
									: js_from_key(&psk->key));
	}
	return json;
}

static bool read_psk(struct js *js, struct signal_message *out)
{
	const char *step = js_need_string(js, "step", 8);
	int64_t epoch = js_int(js, "epoch", 1, PSK_EPOCH_MAX, 0);

	if (!js_ok(js) || !epoch || !psk_step_parse(&out->psk.step, step))
		return false;
	out->psk.answer = out->answer;
	out->psk.epoch = (uint64_t)epoch;
	out->psk.base = (uint64_t)js_int(js, "base", 0, PSK_EPOCH_MAX, 0);
	if (out->psk.step == PSK_OFFER && js_string(js, "key", NULL))
		js_need_preshared(js, "key", &out->psk.key);
	return js_ok(js);
}

static const struct {
	const char *name, *unreadable;
	json_t *(*write)(const struct signal_message *message);
	bool (*read)(struct js *js, struct signal_message *out);
} types[SIGNAL_TYPES] = {
	[SIGNAL_CANDIDATES] = {"candidates", "its candidates cannot be read", write_candidates,
			       read_candidates},
	[SIGNAL_PSK] = {"psk", "what it says of preshared keys cannot be read", write_psk, read_psk},
};

/* ---- sealing and opening ---- */

uint8_t *signal_seal(size_t *len, const struct signal_address *address, uint64_t boot,
		     uint64_t counter, const struct signal_message *message,
		     const struct key *to_public, const struct key *our_private)
{
	json_t *json = types[message->type].write(message);
	uint8_t *box = NULL;
	char boot_text[17], *text;

	snprintf(boot_text, sizeof(boot_text), "%016" PRIx64, boot);
	json_object_set_new(json, "type", json_string(types[message->type].name));
	json_object_set_new(json, "network", json_string(address->network));
	json_object_set_new(json, "from", json_string(address->from));
	json_object_set_new(json, "to", json_string(address->to));
	json_object_set_new(json, "boot", json_string(boot_text));
	json_object_set_new(json, "counter", json_integer((json_int_t)counter));
	json_object_set_new(json, "answer", json_boolean(message->answer));
	text = js_dump(json);
	js_wipe(json, "key");
	json_decref(json);
	*len = strlen(text) + SEAL_OVERHEAD;
	if (*len <= PROTO_MAX_SIGNAL) {
		box = xmalloc(*len);
		if (seal_box(box, text, *len - SEAL_OVERHEAD, to_public, our_private)) {
			free(box);
			box = NULL;
		}
	}
	secret_wipe(text, strlen(text));
	free(text);
	return box;
}

static bool parse_boot(const char *text, uint64_t *out)
{
	uint64_t value = 0;

	if (!text || strlen(text) != 16)
		return false;
	for (; *text; text++) {
		const char *digits = "0123456789abcdef", *at = strchr(digits, *text);

		if (!at)
			return false;
		value = value << 4 | (uint64_t)(at - digits);
	}
	*out = value;
	return true;
}

static const char *check(struct signal_message *out, struct signal_window *window,
			 const struct signal_address *expected, json_t *json)
{
	const char *type, *network, *from, *to, *boot_text;
	uint64_t boot;
	int64_t counter;
	struct js js;

	js_read(&js, json);
	type = js_need_string(&js, "type", 32);
	network = js_need_string(&js, "network", PROTO_NAME_MAX - 1);
	from = js_need_string(&js, "from", PROTO_ID_MAX - 1);
	to = js_need_string(&js, "to", PROTO_ID_MAX - 1);
	boot_text = js_need_string(&js, "boot", 16);
	counter = js_int(&js, "counter", 0, INT64_MAX, -1);
	out->answer = js_bool(&js, "answer", false);
	if (!js_ok(&js) || counter < 0 || !parse_boot(boot_text, &boot))
		return "its header is not whole";
	while (out->type < SIGNAL_TYPES && strcmp(type, types[out->type].name) != 0)
		out->type++;
	if (out->type == SIGNAL_TYPES)
		return "it is of a type this version does not know";
	if (strcmp(network, expected->network) != 0)
		return "it is for another network";
	if (strcmp(from, expected->from) != 0 || strcmp(to, expected->to) != 0)
		return "it is not from that agent to this one";
	if (!types[out->type].read(&js, out))
		return types[out->type].unreadable;
	if (!signal_window_take(window, boot, (uint64_t)counter))
		return "it has been seen before";
	return NULL;
}

bool signal_open(struct signal_message *out, struct signal_window *window,
		 const struct signal_address *expected, const uint8_t *box, size_t len,
		 const struct key *from_public, const struct key *our_private, const char **why)
{
	uint8_t text[PROTO_MAX_SIGNAL];
	char error[JS_ERROR];
	json_t *json;

	memset(out, 0, sizeof(*out));
	*why = "it is not sealed by that agent";
	if (len < SEAL_OVERHEAD || len > PROTO_MAX_SIGNAL ||
	    seal_open(text, box, len, from_public, our_private))
		return false;
	*why = "it is not JSON";
	json = js_load(text, len - SEAL_OVERHEAD, error);
	secret_wipe(text, sizeof(text));
	if (!json)
		return false;
	*why = check(out, window, expected, json);
	js_wipe(json, "key");
	json_decref(json);
	return *why == NULL;
}
