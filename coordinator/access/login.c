/*
 * login.c - counters by name ("user NAME", "from ADDRESS"). A user's own wait stays short, so that a
 * stranger cannot lock somebody out for long; an address's grows to a quarter of an hour. The table is
 * bounded: when it is full the oldest that owe nothing go, and if none do, nobody new may try.
 */
#include "login.h"
#include "lib/map.h"

#include <stdio.h>
#include <string.h>

#define MAX_ENTRIES 20000
#define FORGET_MS   (3600 * 1000ull)

static const struct {
	const char *prefix;
	unsigned free;
	uint64_t max_ms;
} kinds[] = {
	{"user", 10, 30 * 1000ull},
	{"from", 5, 15 * 60 * 1000ull},
};

struct entry {
	char key[160];
	unsigned failures;
	uint64_t last_ms, until_ms;
};

struct logins {
	struct map *entries;
};

struct logins *logins_new(void)
{
	struct logins *logins = xcalloc(1, sizeof(*logins));

	logins->entries = map_new(0);
	return logins;
}

void logins_free(struct logins *logins)
{
	struct entry *entry;
	size_t pos = 0;

	if (!logins)
		return;
	while ((entry = map_next(logins->entries, &pos, NULL)))
		free(entry);
	map_free(logins->entries);
	free(logins);
}

static void key_of(char out[static 160], size_t kind, const char *user, const char *address)
{
	snprintf(out, 160, "%s %s", kinds[kind].prefix, kind ? address : user);
}

static void forget_old(struct logins *logins, uint64_t now_ms)
{
	struct entry *entry;
	size_t pos = 0;

	while ((entry = map_next(logins->entries, &pos, NULL)))
		if (entry->until_ms <= now_ms && entry->last_ms + FORGET_MS <= now_ms) {
			map_del(logins->entries, entry->key);
			free(entry);
		}
}

uint64_t logins_wait(struct logins *logins, const char *user, const char *address, uint64_t now_ms)
{
	uint64_t wait = 0;
	char key[160];

	for (size_t kind = !user; kind < ARRAY_SIZE(kinds); kind++) {
		struct entry *entry;

		key_of(key, kind, user, address);
		entry = map_get(logins->entries, key);
		if (entry && entry->until_ms > now_ms)
			wait = MAX(wait, entry->until_ms - now_ms);
	}
	if (!wait && map_count(logins->entries) + ARRAY_SIZE(kinds) > MAX_ENTRIES) {
		forget_old(logins, now_ms);
		if (map_count(logins->entries) + ARRAY_SIZE(kinds) > MAX_ENTRIES)
			wait = 60 * 1000;
	}
	return wait;
}

void logins_tried(struct logins *logins, const char *user, const char *address, uint64_t now_ms)
{
	char key[160];

	for (size_t kind = !user; kind < ARRAY_SIZE(kinds); kind++) {
		struct entry *entry;
		unsigned over;

		key_of(key, kind, user, address);
		entry = map_get(logins->entries, key);
		if (!entry && map_count(logins->entries) >= MAX_ENTRIES)
			continue;
		if (!entry) {
			entry = xcalloc(1, sizeof(*entry));
			memcpy(entry->key, key, sizeof(key));
			map_put(logins->entries, entry->key, entry);
		}
		if (entry->last_ms + FORGET_MS <= now_ms)
			entry->failures = 0;
		entry->failures++;
		entry->last_ms = now_ms;
		over = entry->failures > kinds[kind].free ? entry->failures - kinds[kind].free : 0;
		if (over)
			entry->until_ms = now_ms + MIN(kinds[kind].max_ms, 1000ull << MIN(over, 20u));
	}
}

void logins_right(struct logins *logins, const char *user, const char *address)
{
	char key[160];

	for (size_t kind = !user; kind < ARRAY_SIZE(kinds); kind++) {
		key_of(key, kind, user, address);
		free(map_del(logins->entries, key));
	}
}
