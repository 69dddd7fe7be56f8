/*
 * coord_token.c - the token that opens the stream, and another before it ends.
 *
 * A token's end is reckoned from `expires_in` on the monotonic clock. The wall time in the state is
 * only a hint for the next start: whatever the clock says, a token that the coordinator refuses is
 * replaced by proof of our key, also long after it ended.
 */
#include "coord_private.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEW_RETRY  60000
#define MAX_TOKEN    8192
#define MAX_LIFETIME (400 * 86400)

void coord_fill_api(struct coord *coord, struct api *api, const char *pins[static COORD_MAX_PINS + 1])
{
	size_t count = MIN(coord->state->pin_count, (size_t)COORD_MAX_PINS);

	for (size_t i = 0; i < count; i++)
		pins[i] = coord->state->pins[i];
	pins[count] = NULL;
	*api = (struct api){
		.fetch = coord->fetch,
		.origin = coord_origin(coord),
		.trust = {.pins = count ? pins : NULL, .fwmark = coord->fwmark},
		.private_key = coord->private_key,
		.server_key = &coord->state->server_key,
	};
}

static bool token_valid(const char *token)
{
	if (!token || !*token || strlen(token) > MAX_TOKEN)
		return false;
	for (const char *c = token; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f)
			return false;
	return true;
}

static void drop(char **token)
{
	if (*token)
		secret_wipe(*token, strlen(*token));
	free(*token);
	*token = NULL;
}

static void forget_token(struct coord *coord)
{
	drop(&coord->state->token);
}

/* It is what a coordinator that has forgotten us may let us in again by (SPEC 3). */
void coord_refused_token(struct coord *coord)
{
	struct state *state = coord->state;

	if (!state->token)
		return;
	drop(&state->old_token);
	state->old_token = state->token;
	state->token = NULL;
	coord->ops->state_changed(coord->arg);
}

bool coord_take_token(struct coord *coord, json_t *object)
{
	const char *token = json_string_value(json_object_get(object, "token"));
	const json_t *seconds = json_object_get(object, "expires_in");
	uint64_t renew_ms;

	if (!token_valid(token) || !json_is_integer(seconds) || json_integer_value(seconds) < 1 ||
	    json_integer_value(seconds) > MAX_LIFETIME)
		return false;
	renew_ms = (uint64_t)json_integer_value(seconds) * 1000 / 3 * 2;
	forget_token(coord);
	drop(&coord->state->old_token);
	coord->state->token = xstrdup(token);
	coord->state->token_renew_wall_ms = clock_wall_ms() + renew_ms;
	timer_start(&coord->renew, MAX(renew_ms, 1000u));
	coord->ops->state_changed(coord->arg);
	return true;
}

static void ask_by_proof(struct coord *coord, api_fn *fn)
{
	const char *pins[COORD_MAX_PINS + 1];
	json_t *body = json_object();
	char path[80];
	struct api api;

	coord_fill_api(coord, &api, pins);
	snprintf(path, sizeof(path), "/agents/%s/token", coord->state->agent_id);
	if (coord->state->old_token)
		json_object_set_new(body, "old_token", json_string(coord->state->old_token));
	coord->renewal = api_prove(&api, path, body, fn, coord);
}

/* Before connecting: there was no token, or it was refused. */
static void proved_to_connect(void *arg, const struct api_answer *answer)
{
	struct coord *coord = arg;

	coord->renewal = NULL;
	if (answer->body && coord_take_token(coord, answer->body)) {
		coord->proved = true;
		coord_connect(coord);
		return;
	}
	if (coord_code_rejects(answer->code))
		coord_set_rejected(coord, answer->code, answer->detail);
	coord_failed(coord, answer->body ? "the token it gave makes no sense" : answer->detail);
}

void coord_prove_to_connect(struct coord *coord)
{
	if (!coord->renewal)
		ask_by_proof(coord, proved_to_connect);
}

/* In time: with the token we have, else by proof; and again in a minute where neither worked. */
static void renewed_by_proof(void *arg, const struct api_answer *answer)
{
	struct coord *coord = arg;

	coord->renewal = NULL;
	if (!answer->body || !coord_take_token(coord, answer->body)) {
		log_debug("token-not-renewed", "reason=\"%s\"", answer->detail);
		timer_start(&coord->renew, coord_jittered(RENEW_RETRY));
	}
	if (!coord->sync && !timer_active(&coord->retry)) /* the stream ended meanwhile */
		coord_connect(coord);
}

static void renewed(void *arg, const struct api_answer *answer)
{
	struct coord *coord = arg;

	if (answer->status == 401)
		ask_by_proof(coord, renewed_by_proof);
	else
		renewed_by_proof(coord, answer);
}

void coord_renew_due(void *arg)
{
	struct coord *coord = arg;
	const char *pins[COORD_MAX_PINS + 1];
	char path[80];
	struct api api;

	if (coord->renewal || !coord->sync) { /* connecting sees to it */
		timer_start(&coord->renew, coord_jittered(RENEW_RETRY));
		return;
	}
	if (!coord->state->token) {
		ask_by_proof(coord, renewed_by_proof);
		return;
	}
	coord_fill_api(coord, &api, pins);
	snprintf(path, sizeof(path), "/agents/%s/token", coord->state->agent_id);
	coord->renewal = api_send(&api, "POST", path, coord->state->token, json_object(), renewed, coord);
}
