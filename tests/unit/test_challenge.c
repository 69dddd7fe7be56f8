/* Challenges and tokens: once, in time, for one key; HS256 and nothing else. */
#include "coordinator/access/challenge.h"
#include "coordinator/access/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* The contract's numbers. */
#define LIFE_MS   60000
#define LEEWAY_MS 60000

static const struct key mine = {.bytes = {1}}, other = {.bytes = {2}};
static const struct challenge_taker stranger = {.ids = {"n1", "k1"}};
static const struct challenge_taker agent = {.ids = {"n9", "k9", "a1"}, .known = true};
static const struct key server = {.bytes = {3}}, server2 = {.bytes = {4}};

static void test_once_and_in_time(void **state)
{
	struct challenges *ours = challenges_new(&server, ""), *theirs = challenges_new(&server2, "");
	uint8_t challenge[CHALLENGE_LEN], copy[CHALLENGE_LEN];

	(void)state;
	challenge_make(ours, challenge, &mine, 1000);
	assert_int_equal(challenge_use(theirs, challenge, &mine, &stranger, 1000), CHALLENGE_FOREIGN);
	assert_int_equal(challenge_use(ours, challenge, &other, &stranger, 1000), CHALLENGE_FOREIGN);
	for (size_t i = 0; i < CHALLENGE_LEN; i++) {
		memcpy(copy, challenge, sizeof(copy));
		copy[i] ^= 0x40;
		assert_int_equal(challenge_use(ours, copy, &mine, &stranger, 1000), CHALLENGE_FOREIGN);
	}
	assert_int_equal(challenge_use(ours, challenge, &mine, &stranger, 1000 + LIFE_MS), CHALLENGE_ENDED);
	assert_int_equal(challenge_use(ours, challenge, &mine, &stranger, 999 + LIFE_MS), CHALLENGE_GOOD);
	assert_int_equal(challenge_use(ours, challenge, &mine, &stranger, 999 + LIFE_MS), CHALLENGE_USED);
	challenges_free(theirs);
	challenges_free(ours);
}

/* Another of the mesh knows it as one of the mesh, and whose it is; only the giver says that it serves. */
static void test_of_another(void **state)
{
	struct challenges *giver = challenges_new(&server, "a1"), *taker = challenges_new(&server, "b2");
	struct challenges *reborn = challenges_new(&server, "a3"), *alone = challenges_new(&server, "");
	uint8_t challenge[CHALLENGE_LEN];

	(void)state;
	challenge_make(giver, challenge, &mine, 1000);
	assert_int_equal(challenge_check(taker, challenge, &mine, 1000), CHALLENGE_ELSEWHERE);
	assert_int_equal(challenge_use(taker, challenge, &mine, &stranger, 1000), CHALLENGE_ELSEWHERE);
	assert_int_equal(challenge_use(reborn, challenge, &mine, &stranger, 1000), CHALLENGE_ELSEWHERE);
	assert_int_equal(challenge_use(alone, challenge, &mine, &stranger, 1000), CHALLENGE_ELSEWHERE);
	assert_int_equal(challenge_check(taker, challenge, &other, 1000), CHALLENGE_FOREIGN);
	assert_int_equal(challenge_giver(challenge), challenge_giver_of("a1"));
	assert_int_not_equal(challenge_giver(challenge), challenge_giver_of("b2"));
	assert_int_equal(challenge_use(giver, challenge, &mine, &stranger, 1000), CHALLENGE_GOOD);
	assert_int_equal(challenge_use(giver, challenge, &mine, &stranger, 1000), CHALLENGE_USED);
	challenges_free(giver);
	challenges_free(taker);
	challenges_free(reborn);
	challenges_free(alone);
}

static size_t take_all(struct challenges *challenges, const struct challenge_taker *taker, uint64_t now_ms)
{
	uint8_t challenge[CHALLENGE_LEN];

	for (size_t taken = 0;; taken++) {
		challenge_make(challenges, challenge, &mine, now_ms);
		if (challenge_use(challenges, challenge, &mine, taker, now_ms) == CHALLENGE_BUSY)
			return taken;
	}
}

/* The table of used ones is bounded, and empties itself. One taker for each: nobody is held to a share. */
static void test_bounded(void **state)
{
	struct challenges *challenges = challenges_new(&server, "");
	uint8_t challenge[CHALLENGE_LEN], late[CHALLENGE_LEN];
	struct challenge_taker taker;
	char id[20];

	(void)state;
	/* Strangers take three quarters; then those that are known take the last, and no more. */
	for (size_t i = 0; i < CHALLENGE_MAX_USED; i++) {
		snprintf(id, sizeof(id), "%zu", i);
		taker = (struct challenge_taker){.ids = {id}};
		challenge_make(challenges, challenge, &mine, 1000);
		if (i >= CHALLENGE_MAX_USED / 4 * 3) {
			assert_int_equal(challenge_use(challenges, challenge, &mine, &taker, 1000), CHALLENGE_BUSY);
			taker.known = true;
		}
		assert_int_equal(challenge_use(challenges, challenge, &mine, &taker, 1000), CHALLENGE_GOOD);
	}
	challenge_make(challenges, late, &mine, 2000);
	assert_int_equal(challenge_use(challenges, late, &mine, &stranger, 2000), CHALLENGE_BUSY);
	assert_int_equal(challenge_use(challenges, late, &mine, &agent, 2000), CHALLENGE_BUSY);
	assert_int_equal(challenge_use(challenges, challenge, &mine, &agent, 2000), CHALLENGE_USED);
	assert_int_equal(challenge_use(challenges, late, &mine, &stranger, 1000 + LIFE_MS), CHALLENGE_GOOD);
	challenges_free(challenges);
}

static void takes(struct challenges *challenges, const struct challenge_taker *taker, int many, uint64_t now_ms)
{
	uint8_t challenge[CHALLENGE_LEN];

	for (int i = 0; i < many; i++) {
		challenge_make(challenges, challenge, &mine, now_ms);
		assert_int_equal(challenge_use(challenges, challenge, &mine, taker, now_ms), CHALLENGE_GOOD);
	}
}

/* Whoever takes all that is to be had by one join key, as a stranger and as many agents, leaves room to its
 * network's other keys, whose holders may do the same, and they together to other networks. */
static void test_shares(void **state)
{
	struct challenges *challenges = challenges_new(&server, "");
	struct challenge_taker hog;
	size_t first;
	char id[20];

	(void)state;
	first = take_all(challenges, &stranger, 1000);
	assert_int_equal(first, CHALLENGE_MAX_STRANGERS / 4);
	for (int i = 0; i < 2000; i++) {
		snprintf(id, sizeof(id), "%d", i);
		hog = (struct challenge_taker){.ids = {"n1", "k1", id}, .known = true};
		take_all(challenges, &hog, 1000);
	}
	takes(challenges, &(struct challenge_taker){.ids = {"n1", "k2"}}, 1000, 1000);
	takes(challenges, &(struct challenge_taker){.ids = {"n1", "k2", "a"}, .known = true}, 1000, 1000);
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "%d", i);
		take_all(challenges, &(struct challenge_taker){.ids = {"n1", id}}, 1000);
		take_all(challenges, &(struct challenge_taker){.ids = {"n1", id, id}, .known = true}, 1000);
	}
	takes(challenges, &(struct challenge_taker){.ids = {"n2", "k3"}}, 1000, 1000);
	takes(challenges, &agent, 1000, 1000);
	/* A share ends with what is in it. */
	assert_int_equal(take_all(challenges, &stranger, 2000 + LIFE_MS), first);
	assert_int_equal(take_all(challenges, &stranger, 2000 + LIFE_MS), 0);
	challenges_free(challenges);
}

static void test_tokens(void **state)
{
	static const uint8_t secret[TOKEN_SECRET_LEN] = {1, 2, 3}, wrong[TOKEN_SECRET_LEN] = {3};
	const uint64_t now = 1800000000000ull, hour = 3600000;
	json_t *nets = json_pack("{s[s]}", "nets", "default");
	char *token = token_make(secret, "a1", nets, now, hour), *again;
	struct token_claims claims;

	(void)state;
	assert_int_equal(token_check(secret, token, now, &claims), TOKEN_GOOD);
	assert_string_equal(claims.agent_id, "a1");
	assert_int_equal(claims.ends_ms, now + hour);
	assert_int_equal(token_check(wrong, token, now, &claims), TOKEN_BAD);
	assert_int_equal(token_check(secret, token, now + hour + LEEWAY_MS, &claims), TOKEN_GOOD);
	assert_int_equal(token_check(secret, token, now + hour + LEEWAY_MS + 1, &claims), TOKEN_ENDED);
	assert_int_equal(token_check(secret, token, now - LEEWAY_MS, &claims), TOKEN_GOOD);
	assert_int_equal(token_check(secret, token, now - LEEWAY_MS - 1000, &claims), TOKEN_BAD);
	again = token_make(secret, "a1", nets, now, hour);
	assert_string_not_equal(token, again); /* jti */
	for (size_t i = 0; i + 1 < strlen(token); i++) { /* the last one has spare bits */
		char old = token[i];

		token[i] = old == 'A' ? 'B' : 'A';
		if (token_check(secret, token, now, &claims) == TOKEN_GOOD)
			fail_msg("altered at %zu", i);
		token[i] = old;
	}
	/* {"alg":"none"}, with and without a signature */
	assert_int_equal(token_check(secret, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhMSIsImlhdCI6MSwiZXhwIjo5OTk5OTk5OTk5fQ.",
				     now, &claims), TOKEN_BAD);
	assert_int_equal(token_check(secret, "", now, &claims), TOKEN_BAD);
	assert_int_equal(token_check(secret, "..", now, &claims), TOKEN_BAD);
	free(token);
	free(again);
	json_decref(nets);
}

/* What a token says of its agent holds where it was made after that time; both are more than 32 bits. */
static void test_memberships(void **state)
{
	static const struct {
		const char *key, *claims;
		uint64_t since;
		bool good;
	} rows[] = {
		{"k", "{\"key\":\"k\",\"at\":4294967301,\"in\":[1]}", 4294967300, true},
		{"k", "{\"key\":\"k\",\"at\":4294967301,\"in\":[1]}", 4294967301, false},
		{"k", "{\"key\":\"k\",\"at\":4294967301,\"in\":[1]}", 8589934592, false},
		{"k", "{\"key\":\"k\",\"at\":8589934592,\"in\":[1]}", 4294967301, true},
		{"k", "{\"key\":\"k\",\"at\":8589934592}", 4294967301, false},
		{"k", "{\"key\":\"k\",\"in\":[1]}", 0, false},
		{"k", "{\"key\":\"k\",\"at\":\"5\",\"in\":[1]}", 0, false},
		{"k", "{\"key\":\"k\",\"at\":-5,\"in\":[1]}", 0, false},
		{"other", "{\"key\":\"k\",\"at\":5,\"in\":[1]}", 0, false},
	};
	uint8_t secret[TOKEN_SECRET_LEN] = {1};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *claims = json_loads(rows[i].claims, 0, NULL), *in;
		char *token = token_make(secret, "a1", claims, 1800000000000, 3600000);

		in = token_memberships(secret, token, rows[i].key, rows[i].since);
		if ((in != NULL) != rows[i].good)
			fail_msg("row %zu", i);
		json_decref(in);
		json_decref(claims);
		free(token);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once_and_in_time),
		cmocka_unit_test(test_of_another),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_tokens), cmocka_unit_test(test_memberships),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
