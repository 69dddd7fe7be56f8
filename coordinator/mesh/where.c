/*
 * where.c - endpoints, packed: those there are, one after the other.
 */
#include "where.h"

#include <stdlib.h>
#include <string.h>

struct where {
	struct endpoint endpoint;
	unsigned count, local_count;
	enum nat_type nat_type;
	bool upnp_mapped;
	struct endpoint endpoints[]; /* count, then local_count */
};

void where_set(struct where **where, const struct proto_endpoints *at)
{
	struct where *packed = xrealloc(*where, sizeof(*packed) + (at->count + at->local_count) *
								  sizeof(struct endpoint));

	packed->endpoint = at->endpoint;
	packed->count = at->count;
	packed->local_count = at->local_count;
	packed->nat_type = at->nat_type;
	packed->upnp_mapped = at->upnp_mapped;
	memcpy(packed->endpoints, at->endpoints, at->count * sizeof(struct endpoint));
	memcpy(packed->endpoints + at->count, at->local_endpoints, at->local_count * sizeof(struct endpoint));
	*where = packed;
}

void where_get(const struct where *where, struct proto_endpoints *out)
{
	memset(out, 0, sizeof(*out));
	if (!where)
		return;
	out->endpoint = where->endpoint;
	out->count = where->count;
	out->local_count = where->local_count;
	out->nat_type = where->nat_type;
	out->upnp_mapped = where->upnp_mapped;
	memcpy(out->endpoints, where->endpoints, out->count * sizeof(struct endpoint));
	memcpy(out->local_endpoints, where->endpoints + out->count,
	       out->local_count * sizeof(struct endpoint));
}
