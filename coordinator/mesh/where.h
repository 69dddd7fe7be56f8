/*
 * where.h - where an agent says it is, kept in as much room as it takes: a struct proto_endpoints has
 * room for all that may be said, and ten thousand agents say little.
 */
#ifndef COORDINATOR_WHERE_H
#define COORDINATOR_WHERE_H

#include "lib/proto.h"

struct where; /* NULL: nothing was said */

void where_set(struct where **where, const struct proto_endpoints *at); /* free() takes it away */
void where_get(const struct where *where, struct proto_endpoints *out);

#endif
