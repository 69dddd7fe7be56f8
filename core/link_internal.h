/*
 * link_internal.h - the one struct behind link.h, for link.c, link_dump.c and link_watch.c.
 */
#ifndef CORE_LINK_INTERNAL_H
#define CORE_LINK_INTERNAL_H

#include "link.h"
#include "netlink.h"

struct link {
	struct netlink nl; /* questions and orders */
	struct link_news *news; /* NULL: nobody watches */
};

void link_unwatch(struct link *link);

#endif
