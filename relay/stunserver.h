/*
 * stunserver.h - a STUN server (RFC 8489) with NAT behaviour discovery (RFC 5780) where there are
 * two addresses of a family. Answers leave from the address that was asked, at a bounded rate for
 * each asker; what is not a binding request is dropped without a word.
 */
#ifndef RELAY_STUNSERVER_H
#define RELAY_STUNSERVER_H

#include "lib/loop.h"
#include "stunanswer.h"

#define STUN_MAX_LISTEN 8

struct stunserver_options {
	struct endpoint listen[STUN_MAX_LISTEN]; /* address unspecified: all of this host */
	size_t listen_count;
	struct addr alternate[STUN_MAX_LISTEN]; /* second addresses, given by hand */
	size_t alternate_count;
};

struct stunserver;

/* NULL and a sentence in error. With all addresses served, the second one is looked for again each
 * minute. */
struct stunserver *stunserver_new(struct loop *loop, const struct stunserver_options *options,
				  char *error, size_t size);
void stunserver_free(struct stunserver *server);
/* Where it listens: bound addresses, unspecified for all. Returns how many were stored. */
size_t stunserver_endpoints(const struct stunserver *server, struct endpoint *out, size_t max);
bool stunserver_has_pair(const struct stunserver *server); /* RFC 5780 is on for some family */

#endif
