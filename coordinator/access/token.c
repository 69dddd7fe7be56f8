/*
 * token.c - libjwt signs and verifies; the algorithm, the claims and the times are judged here. The
 * library would take any algorithm the header names, so ours is asked for afterwards.
 */
#include "token.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <jwt.h>
#include <string.h>

char *token_make(const uint8_t secret[static TOKEN_SECRET_LEN], const char *agent_id,
		 const json_t *claims, uint64_t wall_ms, uint64_t lifetime_ms)
{
	char *text = NULL, *encoded = NULL, *claims_text = js_dump(claims), jti[33];
	uint8_t unique[16];
	jwt_t *jwt = NULL;

	random_bytes(unique, sizeof(unique));
	hex_encode(jti, sizeof(jti), unique, sizeof(unique));
	if (!jwt_new(&jwt) && !jwt_set_alg(jwt, JWT_ALG_HS256, secret, TOKEN_SECRET_LEN) &&
	    !jwt_add_grant(jwt, "sub", agent_id) && !jwt_add_grant(jwt, "jti", jti) &&
	    !jwt_add_grant_int(jwt, "iat", (long)(wall_ms / 1000)) &&
	    !jwt_add_grant_int(jwt, "exp", (long)((wall_ms + lifetime_ms) / 1000)) &&
	    !jwt_add_grants_json(jwt, claims_text))
		encoded = jwt_encode_str(jwt);
	if (!encoded)
		abort(); /* only without memory */
	text = xstrdup(encoded);
	secret_wipe(encoded, strlen(encoded));
	free(encoded);
	jwt_free(jwt);
	free(claims_text);
	return text;
}

enum token_verdict token_check(const uint8_t secret[static TOKEN_SECRET_LEN], const char *text,
			       uint64_t wall_ms, struct token_claims *out)
{
	enum token_verdict verdict = TOKEN_BAD;
	jwt_t *jwt = NULL;
	const char *sub;
	long issued, ends;

	if (strlen(text) > TOKEN_MAX || jwt_decode(&jwt, text, secret, TOKEN_SECRET_LEN))
		return TOKEN_BAD;
	sub = jwt_get_grant(jwt, "sub");
	issued = jwt_get_grant_int(jwt, "iat");
	ends = jwt_get_grant_int(jwt, "exp");
	if (jwt_get_alg(jwt) != JWT_ALG_HS256 || !sub || issued <= 0 || ends <= issued ||
	    !str_copy(out->agent_id, sizeof(out->agent_id), sub))
		goto out;
	out->issued_ms = (uint64_t)issued * 1000;
	out->ends_ms = (uint64_t)ends * 1000;
	if (out->issued_ms > wall_ms + TOKEN_LEEWAY_MS)
		goto out;
	verdict = wall_ms > out->ends_ms + TOKEN_LEEWAY_MS ? TOKEN_ENDED : TOKEN_GOOD;
out:
	jwt_free(jwt);
	return verdict;
}

/* Of wall ms, which a long does not hold everywhere; 0: it is no such number. */
static uint64_t get_ms(jwt_t *jwt, const char *claim)
{
	char *text = jwt_get_grants_json(jwt, claim);
	uint64_t ms = 0;

	if (text && !parse_u64(text, &ms))
		ms = 0;
	free(text);
	return ms;
}

json_t *token_memberships(const uint8_t secret[static TOKEN_SECRET_LEN], const char *text, const char *key,
			  uint64_t since_ms)
{
	char *list = NULL, error[JS_ERROR];
	json_t *result = NULL;
	const char *claimed;
	jwt_t *jwt = NULL;

	if (jwt_decode(&jwt, text, secret, TOKEN_SECRET_LEN))
		return NULL;
	claimed = jwt_get_grant(jwt, "key");
	if (claimed && !strcmp(claimed, key) && get_ms(jwt, "at") > since_ms)
		list = jwt_get_grants_json(jwt, "in");
	if (list)
		result = js_load(list, strlen(list), error);
	free(list);
	jwt_free(jwt);
	return result;
}
