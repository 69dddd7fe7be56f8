/*
 * plugin_resolve.h - names to addresses without blocking the loop: getaddrinfo in a few threads.
 */
#ifndef CORE_PLUGIN_RESOLVE_H
#define CORE_PLUGIN_RESOLVE_H

#include "lib/addr.h"
#include "lib/loop.h"

#define RESOLVE_MAX 8 /* addresses of one answer */

struct resolver;
struct lookup;

typedef void resolve_fn(void *arg, const struct endpoint *found, size_t count); /* 0: failed */

struct resolver *resolver_new(struct loop *loop);
void resolver_free(struct resolver *resolver); /* running threads end by themselves, unheard */
/* Answers from the loop, an address too. NULL: too many are waiting. */
struct lookup *resolver_start(struct resolver *resolver, const char *name, uint16_t port, resolve_fn *fn,
			      void *arg);
void resolver_cancel(struct lookup *lookup); /* fn is not called */

#endif
