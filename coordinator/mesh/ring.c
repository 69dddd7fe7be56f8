/*
 * ring.c - an array addressed by revision modulo its size.
 */
#include "ring.h"
#include "lib/str.h"

#include <string.h>

struct ring {
	struct change *changes;
	size_t max, max_bytes, bytes;
	uint64_t oldest, newest; /* oldest > newest: empty */
};

struct ring *ring_new(size_t max_changes, size_t max_bytes)
{
	struct ring *ring = xcalloc(1, sizeof(*ring));

	ring->changes = xcalloc(max_changes, sizeof(*ring->changes));
	ring->max = max_changes;
	ring->max_bytes = max_bytes;
	ring->oldest = 1;
	return ring;
}

static void drop_oldest(struct ring *ring)
{
	struct change *change = &ring->changes[ring->oldest % ring->max];

	ring->bytes -= change->len;
	free(change->text);
	change->text = NULL;
	ring->oldest++;
}

void ring_forget(struct ring *ring, uint64_t revision)
{
	struct change *change = &ring->changes[revision % ring->max];

	if (revision < ring->oldest || revision > ring->newest)
		return;
	ring->bytes -= change->len;
	free(change->text);
	change->text = NULL;
	change->len = 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	while (ring->oldest <= ring->newest)
		drop_oldest(ring);
	free(ring->changes);
	free(ring);
}

struct change *ring_add(struct ring *ring, const char *agent_id, const json_t *json)
{
	struct change *change;

	if (ring->newest - ring->oldest + 1 >= ring->max)
		drop_oldest(ring);
	ring->newest++;
	change = &ring->changes[ring->newest % ring->max];
	*change = (struct change){.text = json ? js_dump(json) : NULL};
	str_copy(change->agent_id, sizeof(change->agent_id), agent_id);
	change->len = json ? strlen(change->text) : 0;
	ring->bytes += change->len;
	while (ring->bytes > ring->max_bytes && ring->oldest < ring->newest)
		drop_oldest(ring);
	return change;
}

uint64_t ring_revision(const struct ring *ring)
{
	return ring->newest;
}

const struct change *ring_get(const struct ring *ring, uint64_t revision)
{
	return revision >= ring->oldest && revision <= ring->newest
		       ? &ring->changes[revision % ring->max]
		       : NULL;
}
