/*
 * ipam.h - which addresses of one prefix are taken. Addresses that were given back rest for seven
 * days before anybody else gets them. Hosts are numbered from 1; of an IPv6 prefix only the last 32
 * bits are used.
 */
#ifndef COORDINATOR_IPAM_H
#define COORDINATOR_IPAM_H

#include "lib/prefix.h"

#define IPAM_REST_MS (7 * 24 * 3600 * 1000ull)

struct ipam;

struct ipam *ipam_new(const struct prefix *cidr);
void ipam_free(struct ipam *ipam);
/* Takes the wanted host number, or where that is 0 or taken the next free one. 0 or -ENOSPC. */
int ipam_take(struct ipam *ipam, uint32_t wanted, uint64_t wall_ms, struct addr *out, uint32_t *host);
int ipam_claim(struct ipam *ipam, const struct addr *addr); /* -EADDRINUSE, -ERANGE */
void ipam_release(struct ipam *ipam, const struct addr *addr, uint64_t until_wall_ms);
uint32_t ipam_host(const struct ipam *ipam, const struct addr *addr); /* 0: not a host of it */

/* Can a network have this prefix? NULL, or what is wrong with it. */
const char *ipam_cidr_problem(const struct prefix *cidr);
/* An RFC 1918 /16 that overlaps none of `local`, tried in an order that `seed` turns, and a ULA /64
 * of random bytes. False: every one overlaps. */
bool ipam_choose(struct prefix *cidr, const struct prefix *local, size_t count, uint32_t seed);
void ipam_choose_ula(struct prefix *cidr6, const uint8_t random[static 7]);

/* The IPv4 prefixes this host routes or has (main table and interfaces), at most max. */
size_t ipam_local_prefixes(struct prefix *out, size_t max);

#endif
