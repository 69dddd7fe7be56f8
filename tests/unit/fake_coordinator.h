/*
 * fake_coordinator.h - a coordinator for the tests of the agent's side: real TLS, real challenges
 * and proofs, one agent "a-1", and as evil or forgetful as a test wants it. It lives on the test's
 * loop.
 */
#ifndef TESTS_FAKE_COORDINATOR_H
#define TESTS_FAKE_COORDINATOR_H

#include "lib/http.h"
#include "lib/json.h"
#include "lib/stream.h"
#include "lib/tls.h"
#include "lib/ws.h"

struct fake {
	struct loop *loop;
	struct loop_io io;
	struct tls_server *tls;
	struct list conns;
	char directory[64], origin[64], pin[44];
	struct key private_key, public_key, shown_key; /* shown_key: in answers */
	struct key agent_key; /* zero: any; else tokens are for the agent with this key */
	struct fake_conn *stream;                      /* the open sync stream, or NULL */
	json_t *heard;                                 /* frames of the agent's, all streams */
	char token[64];
	unsigned token_number;

	/* what a test wants */
	bool deaf;                 /* accepts and says nothing */
	const char *refuse_upgrade; /* code of a 401 for every upgrade */
	const char *refuse_proof;   /* code of a 401 for every token by proof */
	bool refuse_bearer;
	unsigned lose_answers;      /* so many answers to proofs are swallowed */
	bool challenges_serve_once;
	const char *register_answer; /* body of the 201; NULL: a good one */
	int register_status;
	const char *register_code;
	int expires_in;
	const char *rekey_code; /* of a 409 */

	/* what happened */
	unsigned connections, challenges, proofs, bad_proofs, bearers, upgrades, registered, removed, rekeyed;
	char body[4096]; /* the last one of a registration */
	uint8_t used[32];
};

struct fake *fake_new(struct loop *loop);
void fake_free(struct fake *fake);
void fake_say(struct fake *fake, const char *frame); /* on the open stream */
void fake_raw(struct fake *fake, const void *data, size_t len); /* bytes under the WebSocket */
void fake_cut(struct fake *fake);
/* The last frame of that type, borrowed; NULL: none. */
json_t *fake_heard(const struct fake *fake, const char *type);
unsigned fake_count(const struct fake *fake, const char *type);

#endif
