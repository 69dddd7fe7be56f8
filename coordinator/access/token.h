/*
 * token.h - the agents' bearer tokens: JWT, HS256 and nothing else (SPEC 3).
 */
#ifndef COORDINATOR_TOKEN_H
#define COORDINATOR_TOKEN_H

#include "lib/proto.h"

#define TOKEN_SECRET_LEN 32
#define TOKEN_LEEWAY_MS  60000
#define TOKEN_MAX        4096

/* New text. `claims` is an object with what else is to be in it ("nets"), borrowed. */
char *token_make(const uint8_t secret[static TOKEN_SECRET_LEN], const char *agent_id,
		 const json_t *claims, uint64_t wall_ms, uint64_t lifetime_ms);

struct token_claims {
	char agent_id[PROTO_ID_MAX];
	uint64_t issued_ms, ends_ms; /* wall */
};
enum token_verdict { TOKEN_GOOD, TOKEN_BAD, TOKEN_ENDED };
enum token_verdict token_check(const uint8_t secret[static TOKEN_SECRET_LEN], const char *text,
			       uint64_t wall_ms, struct token_claims *out);
/* The claim "in" of one that token_check has not called bad, if its claim "key" is this and it was made
 * (claim "at", wall ms) after `since_ms`; new, or NULL. */
json_t *token_memberships(const uint8_t secret[static TOKEN_SECRET_LEN], const char *text, const char *key,
			  uint64_t since_ms);

#endif
