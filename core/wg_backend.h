/*
 * wg_backend.h - what wg.c asks of its two back ends, the kernel (wg_netlink.c) and user space
 * (wg_uapi.c). Nobody else includes this.
 */
#ifndef CORE_WG_BACKEND_H
#define CORE_WG_BACKEND_H

#include "netlink.h"
#include "wg.h"

enum wg_setting { WG_LISTEN_PORT, WG_FWMARK, WG_PRIVATE_KEY };

struct wg_backend {
	int (*open)(struct wg *wg); /* 0; -ENODEV: not a device of this kind; cleans up after itself */
	void (*close)(struct wg *wg);
	int (*get)(struct wg *wg, struct wg_device *out); /* name and ifindex are set already */
	int (*set_peers)(struct wg *wg, const struct wg_change *changes, size_t count);
	/* number: of a port or mark; key: of the private key, else NULL */
	int (*set)(struct wg *wg, enum wg_setting what, uint32_t number, const struct key *key);
};

extern const struct wg_backend wg_netlink, wg_uapi;

struct wg {
	const struct wg_backend *backend;
	char name[16];
	struct netlink nl; /* the kernel's: generic netlink */
	uint16_t family;   /* and its number of "wireguard" */
};

/* A new last peer of the device; an allowed IP more. */
struct wg_peer *wg_peer_new(struct wg_device *device, const struct key *public_key);
void wg_peer_allow(struct wg_peer *peer, const struct prefix *prefix);

#endif
