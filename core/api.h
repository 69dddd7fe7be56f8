/*
 * api.h - requests of the coordinator's API (SPEC 3) and what they answer, in our words. A request
 * that needs a proof gets its challenge first; one whose answer was lost is sent once more.
 */
#ifndef CORE_API_H
#define CORE_API_H

#include "fetch.h"
#include "lib/json.h"

#define API_CODE   48
#define API_DETAIL 400

struct api { /* copied, what it points to is borrowed for the life of the call; pins are copied */
	struct fetch *fetch;
	const char *origin; /* "https://HOST:PORT" */
	struct fetch_trust trust;
	const struct key *private_key; /* for proofs */
	const struct key *new_private_key; /* NULL, or to go on under: proved too (api_prove) */
	const struct key *server_key;  /* that it must show; NULL or zero: any */
	const struct key *peers;       /* keys that no server may have */
	size_t peer_count;
};

struct api_answer {
	int status;              /* HTTP; 0: not reached, or what answered is no coordinator */
	json_t *body;            /* borrowed; the object of a 2xx, NULL where there was none */
	char code[API_CODE];     /* "": none. For status 0: unreachable, pin_mismatch, untrusted,
				    bad_answer, server_key_is_peer, server_key_changed */
	char detail[API_DETAIL]; /* one sentence, safe to print */
	struct key server_key;   /* of a proved request */
};

struct api_call;
typedef void api_fn(void *arg, const struct api_answer *answer); /* the call is gone afterwards */

/* path begins behind /api/v1; bearer and body (takes) may be NULL. */
struct api_call *api_send(const struct api *api, const char *method, const char *path,
			  const char *bearer, json_t *body, api_fn *fn, void *arg);
/* POST with Authorization: Proof; adds coordinator, public_key and challenge to the body (takes). */
struct api_call *api_prove(const struct api *api, const char *path, json_t *body, api_fn *fn, void *arg);
void api_cancel(struct api_call *call); /* fn is not called; NULL is fine */

/* Ids go into the path of a request: 1 to 39 letters, digits, '-', '_'. */
bool api_id_valid(const char *id);

#endif
