/*
 * hostaddr.h - the addresses of this host by which strangers may reach it.
 */
#ifndef RELAY_HOSTADDR_H
#define RELAY_HOSTADDR_H

#include "lib/addr.h"

/* Addresses of `family` on interfaces that are up: no loopback, link-local, point-to-point, and of
 * IPv6 no temporary or fading ones; private ones only if wanted. Returns how many were stored. */
size_t host_addresses(struct addr *out, size_t max, int family, bool with_private);

#endif
