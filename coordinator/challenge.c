/*
 * challenge.c - 8 random bytes, 8 bytes of end (ms of our monotonic clock), 16 bytes of MAC over both
 * and the agent's public key, under a key that lives as long as the process: so the table of used
 * ones need not survive a restart.
 */
#include "challenge.h"
#include "lib/list.h"
#include "lib/map.h"
#include "lib/secret.h"

#include <sodium.h>
#include <string.h>

#define MAC_AT 16

struct used {
	struct list node; /* oldest end first */
	uint64_t end;
	uint8_t challenge[CHALLENGE_LEN];
};

struct challenges {
	uint8_t secret[crypto_generichash_KEYBYTES];
	struct map *used;
	struct list order;
};

struct challenges *challenges_new(void)
{
	struct challenges *challenges = xcalloc(1, sizeof(*challenges));

	random_bytes(challenges->secret, sizeof(challenges->secret));
	challenges->used = map_new(CHALLENGE_LEN);
	list_init(&challenges->order);
	return challenges;
}

static void forget(struct challenges *challenges, struct used *used)
{
	map_del(challenges->used, used->challenge);
	list_del(&used->node);
	free(used);
}

void challenges_free(struct challenges *challenges)
{
	struct used *used, *tmp;

	if (!challenges)
		return;
	list_each_safe(used, tmp, &challenges->order, node)
		forget(challenges, used);
	map_free(challenges->used);
	secret_wipe(challenges, sizeof(*challenges));
	free(challenges);
}

static void mac(const struct challenges *challenges, uint8_t out[static 16], const uint8_t *head,
		const struct key *public_key)
{
	uint8_t text[MAC_AT + KEY_LEN];

	memcpy(text, head, MAC_AT);
	memcpy(text + MAC_AT, public_key->bytes, KEY_LEN);
	crypto_generichash(out, 16, text, sizeof(text), challenges->secret, sizeof(challenges->secret));
}

void challenge_make(struct challenges *challenges, uint8_t out[static CHALLENGE_LEN],
		    const struct key *public_key, uint64_t now_ms)
{
	uint64_t end = now_ms + CHALLENGE_LIFE_MS;

	random_bytes(out, 8);
	memcpy(out + 8, &end, 8);
	mac(challenges, out + MAC_AT, out, public_key);
}

enum challenge_verdict challenge_check(struct challenges *challenges,
				       const uint8_t challenge[static CHALLENGE_LEN],
				       const struct key *public_key, uint64_t now_ms)
{
	struct used *used, *tmp;
	uint8_t expected[16];
	uint64_t end;

	mac(challenges, expected, challenge, public_key);
	if (!secret_equal(expected, challenge + MAC_AT, sizeof(expected)))
		return CHALLENGE_FOREIGN;
	memcpy(&end, challenge + 8, 8);
	if (end <= now_ms)
		return CHALLENGE_ENDED;
	list_each_safe(used, tmp, &challenges->order, node) {
		if (used->end > now_ms)
			break;
		forget(challenges, used);
	}
	return map_get(challenges->used, challenge) ? CHALLENGE_USED : CHALLENGE_GOOD;
}

enum challenge_verdict challenge_use(struct challenges *challenges,
				     const uint8_t challenge[static CHALLENGE_LEN],
				     const struct key *public_key, uint64_t now_ms)
{
	enum challenge_verdict verdict = challenge_check(challenges, challenge, public_key, now_ms);
	struct used *used;

	if (verdict != CHALLENGE_GOOD)
		return verdict;
	if (map_count(challenges->used) >= CHALLENGE_MAX_USED)
		return CHALLENGE_BUSY;
	used = xcalloc(1, sizeof(*used));
	/* Kept a whole life from now: the order of the list is the order of use. */
	used->end = now_ms + CHALLENGE_LIFE_MS;
	memcpy(used->challenge, challenge, CHALLENGE_LEN);
	map_put(challenges->used, challenge, used);
	list_add_tail(&challenges->order, &used->node);
	return CHALLENGE_GOOD;
}
