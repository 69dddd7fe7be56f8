/*
 * prefix.h - IP prefixes (allowed IPs, routes, networks).
 */
#ifndef CORE_LIB_PREFIX_H
#define CORE_LIB_PREFIX_H

#include "addr.h"

#define PREFIX_TEXT (ADDR_TEXT + 4)

struct prefix {
	struct addr addr; /* as written: prefix_parse keeps host bits, prefix_mask clears them */
	uint8_t bits;
};

bool prefix_parse(struct prefix *out, const char *text); /* without "/N": a single host */
void prefix_format(char out[static PREFIX_TEXT], const struct prefix *prefix);
struct prefix prefix_host(const struct addr *addr);
struct prefix prefix_mask(const struct prefix *prefix);
bool prefix_equal(const struct prefix *a, const struct prefix *b); /* after masking */
bool prefix_contains(const struct prefix *outer, const struct addr *addr);
bool prefix_covers(const struct prefix *outer, const struct prefix *inner); /* equal counts */
bool prefix_overlaps(const struct prefix *a, const struct prefix *b);
/* What it overlaps that is never behind a peer, such as "loopback"; NULL: nothing. */
const char *prefix_reserved(const struct prefix *prefix);

#endif
