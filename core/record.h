/*
 * record.h - the last decisions, in a bounded ring: what was sent and heard, what was decided and
 * why. `explain` prints from it.
 */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include "lib/addr.h"
#include "lib/key.h"
#include <jansson.h>

struct record; /* the ring */

struct record *record_new(size_t entries);
void record_free(struct record *record);
/* what: a static word like "probe-sent". peer and endpoint may be NULL. Overwrites the oldest. */
void record_add(struct record *record, const struct key *peer, const char *what,
		const struct endpoint *endpoint, const char *format, ...) PRINTF_LIKE(5, 6);
/* New array, oldest first, of {"time","what","endpoint","reason"}; peer NULL: all. */
json_t *record_json(const struct record *record, const struct key *peer);

#endif
