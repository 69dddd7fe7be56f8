/*
 * addr.h - IP addresses and endpoints (address and UDP port) as values, both families.
 * IPv4-mapped IPv6 addresses are turned into IPv4 on the way in. Text is "192.0.2.1:51820" and
 * "[2001:db8::1]:51820", as wg shows it; a link-local one is "[fe80::1%3]:51820" (interface index).
 */
#ifndef CORE_LIB_ADDR_H
#define CORE_LIB_ADDR_H

#include "util.h"
#include <netinet/in.h>

#define ADDR_TEXT     INET6_ADDRSTRLEN
#define ENDPOINT_TEXT (INET6_ADDRSTRLEN + 24)

struct addr {
	uint8_t family;    /* AF_INET, AF_INET6, or 0: none */
	uint8_t bytes[16]; /* network order; IPv4 uses the first 4, the rest is 0 */
};

struct endpoint {
	struct addr addr;
	uint16_t port;     /* host order */
	uint32_t scope_id; /* interface of a link-local IPv6 address, else 0 */
};

bool addr_parse(struct addr *out, const char *text);
void addr_format(char out[static ADDR_TEXT], const struct addr *addr);
bool addr_equal(const struct addr *a, const struct addr *b);
unsigned addr_len(const struct addr *addr); /* bytes: 4, 16 or 0 */
/* Whom to count for what comes from there: an IPv6 host can have any address of its /64, so that is one. */
struct addr addr_source(const struct addr *addr);

bool addr_is_loopback(const struct addr *addr);
bool addr_is_link_local(const struct addr *addr);
bool addr_is_multicast(const struct addr *addr); /* and 255.255.255.255 */
bool addr_is_unspecified(const struct addr *addr);
bool addr_is_private(const struct addr *addr); /* RFC 1918, RFC 6598, ULA */

bool endpoint_parse(struct endpoint *out, const char *text); /* numbers only, port 1 to 65535 */
void endpoint_format(char out[static ENDPOINT_TEXT], const struct endpoint *endpoint);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
bool endpoint_from_sockaddr(struct endpoint *out, const struct sockaddr *sa);
socklen_t endpoint_to_sockaddr(const struct endpoint *endpoint, struct sockaddr_storage *out);

#endif
