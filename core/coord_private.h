/*
 * coord_private.h - struct coord, for the four files that make it up: coord.c (when to connect),
 * coord_others.c (where), coord_token.c (with what), coord_frames.c (what is said).
 */
#ifndef CORE_COORD_PRIVATE_H
#define CORE_COORD_PRIVATE_H

#include "api.h"
#include "coord.h"
#include "coord_sync.h"
#include "lib/ratelimit.h"

#define COORD_MAX_PINS 16
#define COORD_EPOCH    64

struct coord {
	struct loop *loop;
	struct fetch *fetch;
	struct state *state;
	const struct key *private_key;
	const struct coord_ops *ops;
	void *arg;
	uint32_t fwmark;
	struct coord_sync *sync;   /* dialling or open */
	struct api_call *renewal;  /* asking for a token */
	struct loop_timer retry, renew;
	size_t turn, tried;        /* which coordinator: 0 the state's URL, then the others; since one was good */
	bool elsewhere;            /* it said that it stops */
	unsigned failures;         /* in a row, without a snapshot or resume between them */
	bool started, open, connected, proved; /* proved: the token was got by proof for this attempt */
	uint64_t since_wall_ms, attempt_ms, bye_ms;
	char epoch[COORD_EPOCH];
	int64_t revision;          /* taken in by the owner */
	int64_t heard;             /* last one of this stream */
	uint64_t in_step_ms;       /* when its snapshot or resume came */
	bool lost_place;           /* begin with a snapshot */
	char rejected[API_CODE];   /* said already */
	struct proto_endpoints at;
	bool have_at;
	uint64_t signal_id;
	struct bucket noise; /* log lines that the coordinator can cause */
};

/* coord.c */
void coord_connect(struct coord *coord);
void coord_set_connected(struct coord *coord, bool connected, const char *why);
void coord_set_rejected(struct coord *coord, const char *code, const char *why); /* says it once */
void coord_failed(struct coord *coord, const char *why); /* says it once an outage, and waits */
uint64_t coord_jittered(uint64_t ms); /* half to one and a half times */
bool coord_code_rejects(const char *code);

/* coord_others.c */
bool coord_next(struct coord *coord); /* another coordinator's turn; true: each had one */
void coord_learn_others(struct coord *coord, json_t *urls);

/* coord_token.c */
void coord_fill_api(struct coord *coord, struct api *api, const char *pins[static COORD_MAX_PINS + 1]);
void coord_refused_token(struct coord *coord);
bool coord_take_token(struct coord *coord, json_t *object); /* {"token","expires_in"} */
void coord_prove_to_connect(struct coord *coord);
void coord_renew_due(void *arg);

/* coord_frames.c */
bool coord_on_frame(void *arg, json_t *frame, const char **why);
void coord_greet(struct coord *coord);

#endif
