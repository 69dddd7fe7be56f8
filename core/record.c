/*
 * The ring of decisions. Entries have one size, so that a long run of bad luck costs no more memory
 * than a quiet day; equal entries in a row are counted instead of repeated.
 */
#include "record.h"

#include "lib/clock.h"
#include "lib/json.h"
#include <stdarg.h>
#include <string.h>

struct entry {
	uint64_t wall_ms;
	const char *what;
	struct key peer;
	struct endpoint endpoint;
	unsigned times;
	char reason[96];
};

struct record {
	size_t size, next, used;
	struct entry entries[];
};

struct record *record_new(size_t entries)
{
	struct record *record = xcalloc(1, sizeof(*record) + entries * sizeof(struct entry));

	record->size = entries;
	return record;
}

void record_free(struct record *record)
{
	free(record);
}

static bool same(const struct entry *a, const struct entry *b)
{
	return a->what == b->what && !memcmp(&a->peer, &b->peer, sizeof(a->peer)) &&
	       endpoint_equal(&a->endpoint, &b->endpoint) && !strcmp(a->reason, b->reason);
}

void record_add(struct record *record, const struct key *peer, const char *what,
		const struct endpoint *endpoint, const char *format, ...)
{
	struct entry entry = {.wall_ms = clock_wall_ms(), .what = what, .times = 1}, *last;
	va_list args;

	if (peer)
		entry.peer = *peer;
	if (endpoint)
		entry.endpoint = *endpoint;
	va_start(args, format);
	vsnprintf(entry.reason, sizeof(entry.reason), format, args);
	va_end(args);
	last = &record->entries[(record->next + record->size - 1) % record->size];
	if (record->used && same(last, &entry)) {
		last->wall_ms = entry.wall_ms;
		last->times++;
		return;
	}
	record->entries[record->next] = entry;
	record->next = (record->next + 1) % record->size;
	record->used += record->used < record->size;
}

json_t *record_json(const struct record *record, const struct key *peer)
{
	json_t *array = json_array();

	for (size_t i = 0; i < record->used; i++) {
		const struct entry *e =
			&record->entries[(record->next + record->size - record->used + i) %
					 record->size];

		if (peer && memcmp(peer, &e->peer, sizeof(*peer)) != 0)
			continue;
		json_array_append_new(
			array, json_pack("{s:o, s:s, s:o, s:o, s:i}", "time",
					 js_from_time(e->wall_ms), "what", e->what, "endpoint",
					 e->endpoint.addr.family ? js_from_endpoint(&e->endpoint)
								 : json_null(),
					 "reason", js_from_text(e->reason), "times", (int)e->times));
	}
	return array;
}
