/*
 * challenge.c - 6 random bytes, 4 that name the giver, 6 of end (ms of the giver's monotonic clock), 16
 * bytes of MAC over all of that and the agent's public key. The MAC's key comes from the server key, which
 * all coordinators of a mesh have, so that each knows a challenge of another. Whether it still serves
 * only its giver knows. A giver is one life of a process: the table of used ones need not survive it.
 */
#include "challenge.h"
#include "lib/list.h"
#include "lib/map.h"
#include "lib/secret.h"

#include <sodium.h>
#include <string.h>

#define GIVER_AT 6
#define END_AT   10
#define END_LEN  6
#define MAC_AT   16

struct share_name { /* a hash of the ids that lead to it */
	uint8_t bytes[crypto_generichash_BYTES_MIN];
};

struct share { /* how much of the table is on somebody's account */
	size_t count;
	struct share_name name;
};

struct used {
	struct list node; /* oldest end first */
	uint64_t end;
	bool known;
	struct share *shares[CHALLENGE_TAKERS];
	uint8_t challenge[CHALLENGE_LEN];
};

struct challenges {
	uint8_t secret[crypto_generichash_KEYBYTES];
	uint32_t giver;
	struct map *used;
	struct list order;
	struct map *shares; /* by name; of those that have something */
	size_t strangers;
};

uint32_t challenge_giver_of(const char *instance)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	uint32_t giver;

	crypto_generichash(hash, sizeof(hash), (const uint8_t *)instance, strlen(instance), NULL, 0);
	memcpy(&giver, hash, sizeof(giver));
	return giver;
}

uint32_t challenge_giver(const uint8_t challenge[static CHALLENGE_LEN])
{
	uint32_t giver;

	memcpy(&giver, challenge + GIVER_AT, sizeof(giver));
	return giver;
}

struct challenges *challenges_new(const struct key *server_key, const char *instance)
{
	static const char use[] = "wg-mesh challenge 1";
	struct challenges *challenges = xcalloc(1, sizeof(*challenges));

	crypto_generichash(challenges->secret, sizeof(challenges->secret), (const uint8_t *)use, sizeof(use),
			   server_key->bytes, KEY_LEN);
	if (*instance)
		challenges->giver = challenge_giver_of(instance);
	else
		random_bytes(&challenges->giver, sizeof(challenges->giver));
	challenges->used = map_new(CHALLENGE_LEN);
	challenges->shares = map_new(sizeof(struct share_name));
	list_init(&challenges->order);
	return challenges;
}

static void share_names(struct share_name out[static CHALLENGE_TAKERS], const struct challenge_taker *taker)
{
	struct share_name above = {.bytes = {taker->known}};

	for (size_t i = 0; i < CHALLENGE_TAKERS; i++) {
		const char *id = taker->ids[i] ? taker->ids[i] : "";

		crypto_generichash(out[i].bytes, sizeof(out[i].bytes), (const uint8_t *)id, strlen(id), above.bytes,
				   sizeof(above.bytes));
		above = out[i];
	}
}

static size_t share_count(const struct challenges *challenges, const struct share_name *name)
{
	const struct share *share = map_get(challenges->shares, name);

	return share ? share->count : 0;
}

static struct share *share_take(struct challenges *challenges, const struct share_name *name)
{
	struct share *share = map_get(challenges->shares, name);

	if (!share) {
		share = xcalloc(1, sizeof(*share));
		share->name = *name;
		map_put(challenges->shares, name, share);
	}
	share->count++;
	return share;
}

static void share_give_back(struct challenges *challenges, struct share *share)
{
	if (--share->count)
		return;
	map_del(challenges->shares, &share->name);
	free(share);
}

static void forget(struct challenges *challenges, struct used *used)
{
	map_del(challenges->used, used->challenge);
	list_del(&used->node);
	for (size_t i = 0; i < CHALLENGE_TAKERS; i++)
		share_give_back(challenges, used->shares[i]);
	challenges->strangers -= !used->known;
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
	map_free(challenges->shares);
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

	random_bytes(out, GIVER_AT);
	memcpy(out + GIVER_AT, &challenges->giver, sizeof(challenges->giver));
	for (unsigned i = 0; i < END_LEN; i++)
		out[END_AT + i] = (uint8_t)(end >> 8 * i);
	mac(challenges, out + MAC_AT, out, public_key);
}

static uint64_t end_of(const uint8_t challenge[static CHALLENGE_LEN])
{
	uint64_t end = 0;

	for (unsigned i = 0; i < END_LEN; i++)
		end |= (uint64_t)challenge[END_AT + i] << 8 * i;
	return end;
}

enum challenge_verdict challenge_check(struct challenges *challenges,
				       const uint8_t challenge[static CHALLENGE_LEN],
				       const struct key *public_key, uint64_t now_ms)
{
	struct used *used, *tmp;
	uint8_t expected[16];

	mac(challenges, expected, challenge, public_key);
	if (!secret_equal(expected, challenge + MAC_AT, sizeof(expected)))
		return CHALLENGE_FOREIGN;
	if (challenge_giver(challenge) != challenges->giver)
		return CHALLENGE_ELSEWHERE;
	if (end_of(challenge) <= now_ms)
		return CHALLENGE_ENDED;
	list_each_safe(used, tmp, &challenges->order, node) {
		if (used->end > now_ms)
			break;
		forget(challenges, used);
	}
	return map_get(challenges->used, challenge) ? CHALLENGE_USED : CHALLENGE_GOOD;
}

/* The more others have, the less. */
static bool has_room(const struct challenges *challenges, bool known, const struct share_name *names)
{
	size_t room = CHALLENGE_MAX_USED - map_count(challenges->used), taken = 0;

	if (!known)
		room = MIN(room, CHALLENGE_MAX_STRANGERS - challenges->strangers);
	for (size_t i = 0; i < CHALLENGE_TAKERS; i++)
		taken += share_count(challenges, &names[i]);
	return taken < room;
}

enum challenge_verdict challenge_use(struct challenges *challenges,
				     const uint8_t challenge[static CHALLENGE_LEN],
				     const struct key *public_key, const struct challenge_taker *taker,
				     uint64_t now_ms)
{
	enum challenge_verdict verdict = challenge_check(challenges, challenge, public_key, now_ms);
	struct share_name names[CHALLENGE_TAKERS];
	struct used *used;

	if (verdict != CHALLENGE_GOOD)
		return verdict;
	share_names(names, taker);
	if (!has_room(challenges, taker->known, names))
		return CHALLENGE_BUSY;
	used = xcalloc(1, sizeof(*used));
	used->known = taker->known;
	for (size_t i = 0; i < CHALLENGE_TAKERS; i++)
		used->shares[i] = share_take(challenges, &names[i]);
	challenges->strangers += !taker->known;
	/* Kept a whole life from now: the order of the list is the order of use. */
	used->end = now_ms + CHALLENGE_LIFE_MS;
	memcpy(used->challenge, challenge, CHALLENGE_LEN);
	map_put(challenges->used, challenge, used);
	list_add_tail(&challenges->order, &used->node);
	return CHALLENGE_GOOD;
}
