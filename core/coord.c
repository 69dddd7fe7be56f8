/*
 * coord.c - when to connect, when to give up a connection, and when to try again.
 *
 * The tricky thing is telling an outage from a refusal. An outage is waited out with back-off and
 * heard of once. A refused token is first replaced by proof of our key; only where that is refused
 * too does the owner hear of it, and even then nothing is torn down and we go on asking.
 */
#include "coord_private.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_MIN  1000
#define BACKOFF_MAX  60000
#define NEXT_MS      500   /* to another coordinator: all that were at the same do not come at once */
#define SETTLED      10000 /* a stream that lived shorter counts as a failure */
#define HINT_MAX     (12ull * 3600 * 1000) /* how far a wall clock may put off the first renewal */

void coord_set_connected(struct coord *coord, bool connected, const char *why)
{
	if (coord->connected == connected)
		return;
	coord->connected = connected;
	coord->since_wall_ms = clock_wall_ms();
	coord->ops->connected(coord->arg, connected, why);
}

void coord_set_rejected(struct coord *coord, const char *code, const char *why)
{
	if (!strcmp(coord->rejected, code))
		return;
	str_copy(coord->rejected, sizeof(coord->rejected), code);
	coord->ops->rejected(coord->arg, code, why);
}

/* Half to one and a half times `ms`: many agents that lose a coordinator do not come back at once. */
uint64_t coord_jittered(uint64_t ms)
{
	return ms / 2 + random_below((uint32_t)ms + 1);
}

static void wait_and_retry(struct coord *coord)
{
	uint64_t base = BACKOFF_MIN << MIN(coord->failures, 6u);
	uint64_t delay = coord_jittered(MIN(base, BACKOFF_MAX));
	bool go_on = (!coord->bye_ms || coord->elsewhere) && !coord_next(coord);

	coord->elsewhere = false;
	if (go_on) {
		coord->bye_ms = 0;
		delay = random_below(NEXT_MS);
	} else if (coord->bye_ms) {
		delay = coord->bye_ms + random_below((uint32_t)coord->bye_ms / 2 + 1);
		coord->bye_ms = 0;
	} else {
		coord->failures++;
	}
	timer_start(&coord->retry, delay);
}

/* Heard of once an outage, not at each attempt. */
void coord_failed(struct coord *coord, const char *why)
{
	if (coord->failures == 0 && coord->tried == 0)
		log_warn("coordinator-away", "url=%s reason=\"%s\"", coord_origin(coord), why);
	else
		log_debug("coordinator-away", "url=%s attempts=%u reason=\"%s\"", coord_origin(coord),
			  coord->failures + 1, why);
	wait_and_retry(coord);
}

/* It knows us no more, or wants no more of us: not what the next attempt could mend. */
bool coord_code_rejects(const char *code)
{
	static const char *const codes[] = {"unknown_agent", "agent_expired", "revoked",
					    "server_key_changed", "server_key_is_peer"};

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (!strcmp(code, codes[i]))
			return true;
	return false;
}

static void on_open(void *arg)
{
	struct coord *coord = arg;

	coord->open = true;
	coord_greet(coord);
}

static void on_closed(void *arg, const struct coord_sync_end *end)
{
	struct coord *coord = arg;
	bool refused = end->status == 401 || end->status == 403 || end->status == 404;

	coord->sync = NULL;
	coord->open = false;
	if (!strcmp(end->code, "malformed"))
		coord->lost_place = true;
	if (refused && !coord->proved) {
		log_debug("token-refused", "status=%d code=%s", end->status, end->code);
		coord_refused_token(coord);
		coord_connect(coord);
		return;
	}
	if (coord->connected && loop_now(coord->loop) - coord->in_step_ms >= SETTLED) {
		coord->failures = 0;
		coord->tried = 0;
	}
	if (coord_code_rejects(end->code))
		coord_set_rejected(coord, end->code, end->why);
	coord->proved = false;
	coord_set_connected(coord, false, end->why);
	coord_failed(coord, end->why);
}

void coord_connect(struct coord *coord)
{
	static const struct coord_sync_ops ops = {.opened = on_open, .frame = coord_on_frame, .closed = on_closed};
	const char *pins[COORD_MAX_PINS + 1];
	struct api api;

	timer_stop(&coord->retry);
	coord->attempt_ms = loop_now(coord->loop);
	if (coord->sync)
		return;
	if (!coord->state->token) {
		coord_prove_to_connect(coord);
		return;
	}
	coord_fill_api(coord, &api, pins);
	coord->sync = coord_sync_open(coord->loop, coord->fetch,
				      &(struct coord_sync_target){.origin = api.origin,
								  .agent_id = coord->state->agent_id,
								  .token = coord->state->token,
								  .trust = api.trust},
				      &ops, coord);
}

static void retry_due(void *arg)
{
	coord_connect(arg);
}

void coord_retry_now(struct coord *coord)
{
	uint64_t since = loop_now(coord->loop) - coord->attempt_ms;

	if (!coord->started)
		return;
	coord->failures = 0;
	coord->tried = 0;
	if (coord->open && coord_sync_check(coord->sync))
		return;
	if (coord->open) {
		coord->open = false;
		coord_set_connected(coord, false, "the address it was reached from has gone");
	}
	coord_sync_free(coord->sync); /* they went over the network that was */
	coord->sync = NULL;
	api_cancel(coord->renewal);
	coord->renewal = NULL;
	if (since < BACKOFF_MIN) { /* a network that changes all the time is no reason to hammer */
		timer_start(&coord->retry, BACKOFF_MIN - since);
		return;
	}
	coord_connect(coord);
}

void coord_reconnect(struct coord *coord)
{
	coord->turn = 0;
	if (coord->open)
		coord_sync_end(coord->sync, "the coordinator's address has changed");
	else
		coord_retry_now(coord);
}

/* ---- life -------------------------------------------------------------------------------------- */

struct coord *coord_new(struct loop *loop, struct fetch *fetch, struct state *state,
			const struct key *private_key, const struct coord_ops *ops, void *arg)
{
	struct coord *coord = xcalloc(1, sizeof(*coord));

	coord->loop = loop;
	coord->fetch = fetch;
	coord->state = state;
	coord->private_key = private_key;
	coord->ops = ops;
	coord->arg = arg;
	coord->since_wall_ms = clock_wall_ms();
	timer_init(&coord->retry, loop, retry_due, coord);
	timer_init(&coord->renew, loop, coord_renew_due, coord);
	bucket_init(&coord->noise, 0.2, 10, loop_now(loop));
	return coord;
}

void coord_free(struct coord *coord)
{
	if (!coord)
		return;
	coord_sync_free(coord->sync);
	api_cancel(coord->renewal);
	timer_stop(&coord->retry);
	timer_stop(&coord->renew);
	free(coord);
}

void coord_start(struct coord *coord)
{
	uint64_t wall = clock_wall_ms(), hint = coord->state->token_renew_wall_ms;

	coord->started = true;
	timer_start(&coord->renew, MIN(hint > wall ? hint - wall : coord_jittered(BACKOFF_MAX), HINT_MAX));
	coord_connect(coord);
}

const char *coord_refusal(const struct coord *coord)
{
	return *coord->rejected ? coord->rejected : NULL;
}

bool coord_connected(const struct coord *coord)
{
	return coord->connected;
}

struct addr coord_remote(const struct coord *coord)
{
	return coord && coord->sync ? coord_sync_remote(coord->sync) : (struct addr){0};
}

uint64_t coord_since_wall_ms(const struct coord *coord)
{
	return coord->since_wall_ms;
}

void coord_set_fwmark(struct coord *coord, uint32_t fwmark)
{
	coord->fwmark = fwmark;
}
