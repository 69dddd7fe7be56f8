/*
 * Open addressing with linear probing; the table is at most three quarters full, dead entries
 * counted. A removed entry leaves its place marked dead, and only map_put ever moves entries: that
 * is what lets a walk delete what it has just been given.
 */
#include "map.h"

#include "secret.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 8

enum slot_state { SLOT_EMPTY, SLOT_USED, SLOT_DEAD };

struct slot {
	void *key, *value;
	uint32_t hash;
	uint32_t state;
};

struct map {
	struct slot *slots;
	size_t size; /* a power of two, or 0 before the first entry */
	size_t used, dead;
	size_t key_len;
	uint8_t seed[crypto_shorthash_KEYBYTES];
};

struct map *map_new(size_t key_len)
{
	struct map *map = xcalloc(1, sizeof(*map));

	map->key_len = key_len;
	random_bytes(map->seed, sizeof(map->seed));
	return map;
}

void map_free(struct map *map)
{
	if (!map)
		return;
	for (size_t i = 0; i < map->size; i++)
		free(map->slots[i].key);
	free(map->slots);
	free(map);
}

static size_t key_size(const struct map *map, const void *key)
{
	return map->key_len ? map->key_len : strlen(key) + 1;
}

static uint32_t hash_of(const struct map *map, const void *key)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint32_t hash;

	crypto_shorthash(out, key, key_size(map, key), map->seed);
	memcpy(&hash, out, sizeof(hash));
	return hash;
}

static bool slot_is(const struct map *map, const struct slot *slot, uint32_t hash, const void *key)
{
	if (slot->state != SLOT_USED || slot->hash != hash)
		return false;
	if (!map->key_len)
		return strcmp(slot->key, key) == 0;
	return memcmp(slot->key, key, map->key_len) == 0;
}

static struct slot *find(const struct map *map, uint32_t hash, const void *key)
{
	size_t i = hash;

	if (!map->size)
		return NULL;
	for (;; i++) {
		struct slot *slot = &map->slots[i & (map->size - 1)];

		if (slot->state == SLOT_EMPTY)
			return NULL;
		if (slot_is(map, slot, hash, key))
			return slot;
	}
}

static struct slot *place_for(struct map *map, uint32_t hash)
{
	size_t i = hash;

	while (map->slots[i & (map->size - 1)].state != SLOT_EMPTY)
		i++;
	return &map->slots[i & (map->size - 1)];
}

/* Also throws the dead away, so its new size follows from the living. */
static void rebuild(struct map *map)
{
	struct slot *old = map->slots;
	size_t old_size = map->size;

	map->size = FIRST_SIZE;
	while (map->size < (map->used + 1) * 2)
		map->size *= 2;
	map->slots = xcalloc(map->size, sizeof(*map->slots));
	map->dead = 0;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i].state == SLOT_USED)
			*place_for(map, old[i].hash) = old[i];
	}
	free(old);
}

void *map_get(const struct map *map, const void *key)
{
	const struct slot *slot = find(map, hash_of(map, key), key);

	return slot ? slot->value : NULL;
}

void *map_put(struct map *map, const void *key, void *value)
{
	uint32_t hash = hash_of(map, key);
	struct slot *slot = find(map, hash, key);

	if (slot) {
		void *old = slot->value;

		slot->value = value;
		return old;
	}
	if ((map->used + map->dead + 1) * 4 > map->size * 3)
		rebuild(map);
	*place_for(map, hash) = (struct slot){
		.key = xmemdup(key, key_size(map, key)),
		.value = value,
		.hash = hash,
		.state = SLOT_USED,
	};
	map->used++;
	return NULL;
}

void *map_del(struct map *map, const void *key)
{
	struct slot *slot = find(map, hash_of(map, key), key);
	void *old;

	if (!slot)
		return NULL;
	old = slot->value;
	free(slot->key);
	*slot = (struct slot){.state = SLOT_DEAD};
	map->used--;
	map->dead++;
	return old;
}

size_t map_count(const struct map *map)
{
	return map->used;
}

void *map_next(const struct map *map, size_t *pos, const void **key)
{
	while (*pos < map->size) {
		const struct slot *slot = &map->slots[(*pos)++];

		if (slot->state != SLOT_USED)
			continue;
		if (key)
			*key = slot->key;
		return slot->value;
	}
	return NULL;
}
