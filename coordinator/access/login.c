/*
 * login.c - counters by name ("user NAME", "from SOURCE"). A user's own wait stays short, so that a
 * stranger cannot lock somebody out for long; a source's grows to a quarter of an hour. The table is
 * bounded: when it is full, whoever tried longest ago is forgotten, for a table that strangers have filled
 * must keep nobody else from logging in. To be forgotten costs as many tries of others as it has places.
 */
#include "login.h"
#include "lib/addr.h"
#include "lib/list.h"
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
	struct list node;
	char key[160];
	unsigned failures;
	uint64_t last_ms, until_ms;
};

struct logins {
	struct map *entries;
	struct list oldest; /* the one tried longest ago first */
};

struct logins *logins_new(void)
{
	struct logins *logins = xcalloc(1, sizeof(*logins));

	logins->entries = map_new(0);
	list_init(&logins->oldest);
	return logins;
}

static void forget(struct logins *logins, struct entry *entry)
{
	map_del(logins->entries, entry->key);
	list_del(&entry->node);
	free(entry);
}

void logins_free(struct logins *logins)
{
	struct entry *entry, *tmp;

	if (!logins)
		return;
	list_each_safe(entry, tmp, &logins->oldest, node)
		forget(logins, entry);
	map_free(logins->entries);
	free(logins);
}

static void key_of(char out[static 160], size_t kind, const char *user, const char *address)
{
	char from[ADDR_TEXT] = "";
	struct addr addr;

	if (addr_parse(&addr, address)) {
		addr = addr_source(&addr);
		addr_format(from, &addr);
	}
	snprintf(out, 160, "%s %s", kinds[kind].prefix, kind ? from : user);
}

uint64_t logins_wait(const struct logins *logins, const char *user, const char *address, uint64_t now_ms)
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
		if (!entry) {
			if (map_count(logins->entries) >= MAX_ENTRIES)
				forget(logins, container_of(logins->oldest.next, struct entry, node));
			entry = xcalloc(1, sizeof(*entry));
			memcpy(entry->key, key, sizeof(key));
			list_init(&entry->node);
			map_put(logins->entries, entry->key, entry);
		}
		list_del(&entry->node);
		list_add_tail(&logins->oldest, &entry->node);
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
		struct entry *entry;

		key_of(key, kind, user, address);
		entry = map_get(logins->entries, key);
		if (entry)
			forget(logins, entry);
	}
}
