/*
 * rawport.h - WireGuard's UDP port, shared. Kernel WireGuard owns the socket and lets nobody else
 * bind; so STUN leaves through a raw socket with WireGuard's source port and comes back through a
 * raw socket with a classic BPF filter: our destination port and the STUN cookie (the length of the
 * IP header is read, never assumed). WireGuard gets a copy and ignores it. SO_MARK is the
 * interface's fwmark, so that probes take the road WireGuard's packets take. IPv4 and IPv6.
 */
#ifndef CORE_RAWPORT_H
#define CORE_RAWPORT_H

#include "lib/addr.h"
#include "lib/loop.h"

struct rawport;

struct rawport_packet {
	struct endpoint from; /* outside source */
	struct addr to;       /* our address it came to */
	const uint8_t *data;  /* the UDP payload, borrowed */
	size_t len;
};
typedef void rawport_fn(void *arg, const struct rawport_packet *packet);

/* 0; -EPERM without CAP_NET_RAW. One family missing on this host is fine. */
int rawport_open(struct rawport **out, struct loop *loop, uint16_t port, uint32_t fwmark,
		 rawport_fn *fn, void *arg);
void rawport_close(struct rawport *raw);
int rawport_set(struct rawport *raw, uint16_t port, uint32_t fwmark); /* they changed */
uint16_t rawport_port(const struct rawport *raw);

/* from: the local address to send from, or NULL for what the routing says. The checksum is real in
 * both families. *used (may be NULL) gets the local address taken. 0 or -errno. */
int rawport_send(struct rawport *raw, const struct addr *from, const struct endpoint *to,
		 const void *data, size_t len, struct addr *used);

#endif
