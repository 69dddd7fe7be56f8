/*
 * link.h - addresses, routes, rules and link state through rtnetlink (libmnl), and news of their
 * changes. Calls are synchronous; 0 or -errno. Adding what is there already is -EEXIST, removing
 * what is not there is -ENOENT or -ESRCH.
 */
#ifndef CORE_LINK_H
#define CORE_LINK_H

#include "lib/loop.h"
#include "lib/prefix.h"

struct link;

struct link_address {
	uint32_t ifindex;
	char interface[16];
	struct prefix address; /* with host bits */
	bool temporary, deprecated, up; /* deprecated: or not usable yet; up: its link runs */
};

struct link_route {
	struct prefix to; /* bits 0: default */
	uint32_t ifindex; /* 0: none (blackhole, multipath) */
	char interface[16];
	struct addr gateway, source; /* family 0: none */
	uint32_t table, metric;
	uint8_t protocol; /* RTPROT_*; ours are LINK_PROTOCOL */
};

#define LINK_PROTOCOL 0x77 /* RTPROT_ value of the routes we make: shows in `ip route` as 119 */

typedef void link_changed_fn(void *arg); /* coalesced: called 100 ms after the last of a burst,
					 * at most 1 s after its first */

int link_open(struct link **out);
void link_close(struct link *link);

int link_find(struct link *link, const char *interface, uint32_t *ifindex, bool *up); /* -ENODEV */
int link_add_address(struct link *link, uint32_t ifindex, const struct prefix *address);
int link_del_address(struct link *link, uint32_t ifindex, const struct prefix *address);
/* source: the address that packets of this host leave with, one of its own; NULL: the kernel's choice. */
int link_add_route(struct link *link, uint32_t ifindex, const struct prefix *to, uint32_t table,
		   const struct addr *source);
int link_del_route(struct link *link, uint32_t ifindex, const struct prefix *to, uint32_t table);
/* Removes the policy rules of both families that have this priority and are ours (protocol 119). */
int link_del_rules(struct link *link, uint32_t priority);
int link_set_up(struct link *link, uint32_t ifindex);

/* New arrays the caller frees. Routes: the main table unless `table` is another; 0: all tables. */
int link_addresses(struct link *link, struct link_address **out, size_t *count);
int link_routes(struct link *link, uint32_t table, struct link_route **out, size_t *count);
/* Default gateway by lowest metric of the main table, leaving out `not_ifindex`. -ENOENT: none. */
int link_gateway(struct link *link, uint8_t family, uint32_t not_ifindex, struct link_route *out);

/* Calls fn when any link, address or route has changed. */
int link_watch(struct link *link, struct loop *loop, link_changed_fn *fn, void *arg);

#endif
