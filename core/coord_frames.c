/*
 * coord_frames.c - what coordinator and agent say to each other on the stream (proto.h).
 *
 * All that comes in is hostile: frames are checked in shape, size and order here, peers in
 * proto.c, and what they may do to this host in guard.c. One that is not as agreed ends the stream,
 * and the next begins with a snapshot.
 */
#include "coord_private.h"
#include "lib/log.h"
#include "lib/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYE_MIN     100
#define BYE_MAX     300000
#define MAX_PEERS   20000
#define MAX_CHANGES 60000

static bool has_list(json_t *frame, const char *key, size_t max)
{
	json_t *list = json_object_get(frame, key);

	return json_is_array(list) && json_array_size(list) <= max;
}

static bool read_revision(json_t *frame, int64_t *out)
{
	const json_t *revision = json_object_get(frame, "revision");

	if (!json_is_integer(revision) || json_integer_value(revision) < 0)
		return false;
	*out = json_integer_value(revision);
	return true;
}

static bool epoch_valid(const json_t *epoch)
{
	const char *text = json_string_value(epoch);

	return text && *text && strlen(text) < COORD_EPOCH;
}

/* The server tells of a key before it uses it. Pins are added, never taken away, and never where
 * the usual authorities are what we go by. */
static void learn_pins(struct coord *coord, json_t *pins)
{
	struct state *state = coord->state;
	bool changed = false;
	uint8_t bytes[32];
	json_t *item;
	size_t i;

	if (!json_is_array(pins) || state->pin_count == 0)
		return;
	json_array_foreach(pins, i, item) {
		const char *pin = json_string_value(item);
		bool known = false;

		for (size_t k = 0; pin && k < state->pin_count; k++)
			known |= !strcmp(pin, state->pins[k]);
		if (!pin || known || state->pin_count >= COORD_MAX_PINS || strlen(pin) != 43 ||
		    base64url_decode(bytes, sizeof(bytes), pin) != (int)sizeof(bytes))
			continue;
		state->pins = xrealloc(state->pins, (state->pin_count + 1) * sizeof(*state->pins));
		state->pins[state->pin_count++] = xstrdup(pin);
		changed = true;
	}
	if (changed)
		coord->ops->state_changed(coord->arg);
}

/* Now we are connected: who only opens the stream and closes it again is a failure. */
static void in_step(struct coord *coord, json_t *frame, int64_t revision)
{
	coord->heard = revision;
	coord->in_step_ms = loop_now(coord->loop);
	coord->proved = false;
	coord->lost_place = false;
	coord->rejected[0] = '\0';
	coord_set_connected(coord, true, NULL);
	coord->ops->snapshot(coord->arg, frame);
}

static const char *on_snapshot(struct coord *coord, json_t *frame)
{
	int64_t revision;

	if (!epoch_valid(json_object_get(frame, "epoch")) || !read_revision(frame, &revision))
		return "a snapshot without epoch or revision";
	if (!has_list(frame, "networks", PROTO_MAX_NETWORKS) || !has_list(frame, "peers", MAX_PEERS) ||
	    !has_list(frame, "relays", PROTO_MAX_RELAYS))
		return "a snapshot without its lists, or with too long ones";
	learn_pins(coord, json_object_get(frame, "pins"));
	coord_learn_others(coord, json_object_get(frame, "coordinators"));
	in_step(coord, frame, revision);
	return NULL;
}

static const char *on_resume(struct coord *coord, json_t *frame)
{
	const json_t *epoch = json_object_get(frame, "epoch");
	int64_t revision;

	if (!epoch_valid(epoch) || strcmp(json_string_value(epoch), coord->epoch) ||
	    !read_revision(frame, &revision) || revision < coord->revision)
		return "a resume from another place than ours";
	in_step(coord, frame, coord->revision);
	return NULL;
}

static void learn_coordinators(struct coord *coord, json_t *changes)
{
	json_t *change;
	size_t i;

	json_array_foreach(changes, i, change) {
		const char *op = json_string_value(json_object_get(change, "op"));

		if (!op || strcmp(op, "coordinators"))
			continue;
		learn_pins(coord, json_object_get(change, "pins"));
		coord_learn_others(coord, json_object_get(change, "coordinators"));
	}
}

static const char *on_delta(struct coord *coord, json_t *frame)
{
	int64_t revision;

	if (!coord->connected)
		return "a delta before any snapshot";
	if (!read_revision(frame, &revision) || revision < coord->heard)
		return "a delta out of order";
	if (!has_list(frame, "changes", MAX_CHANGES))
		return "a delta without its changes, or with too many";
	coord->heard = revision;
	learn_coordinators(coord, json_object_get(frame, "changes"));
	coord->ops->delta(coord->arg, frame);
	return NULL;
}

static const char *on_signal(struct coord *coord, json_t *frame)
{
	const char *from = json_string_value(json_object_get(frame, "from"));
	const char *network = json_string_value(json_object_get(frame, "network"));
	const char *text = json_string_value(json_object_get(frame, "box"));
	uint8_t box[PROTO_MAX_SIGNAL];
	int len;

	if (!from || !api_id_valid(from) || !network || !name_valid(network) || !text ||
	    strlen(text) > 4 * ((PROTO_MAX_SIGNAL + 2) / 3))
		return "a signal without sender, network or box";
	len = base64_decode(box, sizeof(box), text);
	if (len <= 0)
		return "a signal whose box is no base64";
	if (coord->connected)
		coord->ops->signal(coord->arg, from, network, box, (size_t)len);
	return NULL;
}

static const char *on_token(struct coord *coord, json_t *frame)
{
	return coord_take_token(coord, frame) ? NULL : "a token that is none";
}

static const char *on_error(struct coord *coord, json_t *frame)
{
	const char *code = json_string_value(json_object_get(frame, "code"));
	const char *detail = json_string_value(json_object_get(frame, "detail"));

	if (!code || strlen(code) >= API_CODE)
		return "an error without a code";
	if (coord_code_rejects(code))
		coord_set_rejected(coord, code, detail ? detail : "the coordinator gave no reason");
	if (bucket_take(&coord->noise, loop_now(coord->loop)))
		log_info("coordinator-error", "code=%s reason=\"%s\"", code, detail ? detail : "");
	return NULL;
}

static const char *on_bye(struct coord *coord, json_t *frame)
{
	const json_t *after = json_object_get(frame, "retry_after_ms");
	const char *reason = json_string_value(json_object_get(frame, "reason"));
	int64_t ms = json_is_integer(after) ? json_integer_value(after) : 0;

	coord->elsewhere = reason && !strcmp(reason, "restart");
	coord->bye_ms = (uint64_t)MIN(MAX(ms, BYE_MIN), BYE_MAX);
	coord_sync_end(coord->sync, "the coordinator said good-bye");
	return NULL;
}

static const struct {
	const char *type;
	const char *(*take)(struct coord *coord, json_t *frame); /* NULL, or what is wrong with it */
} frames[] = {
	{"snapshot", on_snapshot},
	{"resume", on_resume},
	{"delta", on_delta},
	{"signal", on_signal},
	{"token", on_token},
	{"error", on_error},
	{"bye", on_bye},
};

/* What we do not know is a newer coordinator's, and passed over. */
bool coord_on_frame(void *arg, json_t *frame, const char **why)
{
	struct coord *coord = arg;
	const char *type = json_string_value(json_object_get(frame, "type"));

	*why = "a frame without a type";
	if (!type)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		if (!strcmp(type, frames[i].type)) {
			*why = frames[i].take(coord, frame);
			return !*why;
		}
	}
	return true;
}

/* ---- frames to it -------------------------------------------------------------------------------- */

static void send_endpoints(struct coord *coord)
{
	json_t *frame = proto_write_endpoints(&coord->at);

	json_object_set_new(frame, "type", json_string("endpoint"));
	coord_sync_send(coord->sync, frame);
}

void coord_send_endpoints(struct coord *coord, const struct proto_endpoints *at)
{
	coord->at = *at;
	coord->have_at = true;
	if (coord->open)
		send_endpoints(coord);
}

int coord_send_signal(struct coord *coord, const char *to, const char *network, const uint8_t *box, size_t len)
{
	char *text;
	json_t *frame;

	if (!coord->connected)
		return -ENOTCONN;
	if (len > PROTO_MAX_SIGNAL)
		return -EMSGSIZE;
	text = base64_encode(box, len);
	frame = json_pack("{s:s, s:I, s:s, s:s, s:s}", "type", "signal", "id",
			  (json_int_t)++coord->signal_id, "to", to, "network", network, "box", text);
	free(text);
	return frame ? coord_sync_send(coord->sync, frame) : -EINVAL;
}

void coord_send_heartbeat(struct coord *coord, json_t *peer_status)
{
	if (coord->connected)
		coord_sync_send(coord->sync, json_pack("{s:s, s:o, s:O}", "type", "heartbeat", "endpoint",
						       js_from_endpoint(&coord->at.endpoint),
						       "peer_status", peer_status));
	json_decref(peer_status);
}

void coord_set_position(struct coord *coord, const char *epoch, int64_t revision)
{
	bool known = epoch && *epoch && strlen(epoch) < COORD_EPOCH;

	str_copy(coord->epoch, sizeof(coord->epoch), known ? epoch : "");
	coord->revision = known ? revision : 0;
	if (!coord->connected)
		return;
	if (known)
		coord_sync_send(coord->sync, json_pack("{s:s, s:I}", "type", "ack", "revision",
						       (json_int_t)revision));
	else
		coord_sync_end(coord->sync, "the map is asked for anew");
}

/* The first words on a new stream. */
void coord_greet(struct coord *coord)
{
	bool known = coord->epoch[0] && !coord->lost_place;

	coord_sync_send(coord->sync,
			json_pack("{s:s, s:i, s:o, s:I}", "type", "hello", "version", 1, "epoch",
				  known ? json_string(coord->epoch) : json_null(), "revision",
				  (json_int_t)(known ? coord->revision : 0)));
	if (coord->have_at)
		send_endpoints(coord);
}
