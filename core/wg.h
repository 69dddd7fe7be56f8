/*
 * wg.h - one WireGuard device, in the kernel (generic netlink through libmnl) or in user space
 * (the UAPI socket of wireguard-go and boringtun), behind the same calls. All calls are
 * synchronous and local: well under a millisecond for the kernel.
 */
#ifndef CORE_WG_H
#define CORE_WG_H

#include "lib/addr.h"
#include "lib/key.h"
#include "lib/list.h"
#include "lib/prefix.h"

struct wg;

struct wg_allowed_ip {
	struct prefix prefix;
};

struct wg_peer {
	struct list node; /* in wg_device.peers */
	struct key public_key;
	struct endpoint endpoint; /* family 0: none */
	struct wg_allowed_ip *allowed_ips;
	size_t allowed_ip_count;
	uint16_t keepalive_s;
	uint64_t last_handshake_wall_ms; /* 0: never */
	uint64_t rx_bytes, tx_bytes;
	bool has_preshared_key;      /* never its value */
	const struct key *preshared; /* borrowed, for WG_PEER_SET_PSK; never read */
};

struct wg_device {
	char name[16];
	uint32_t ifindex;
	struct key private_key, public_key; /* private: zero where it may not be read */
	uint16_t listen_port; /* 0: not bound yet */
	uint32_t fwmark;
	struct list peers;
};

/* What wg_set_peer is to change; the rest stays. */
enum wg_peer_flags {
	WG_PEER_UPDATE_ONLY = 1,         /* never create one that is not there */
	WG_PEER_REPLACE_ALLOWED_IPS = 2, /* allowed_ips is the whole list */
	WG_PEER_SET_ENDPOINT = 4,
	WG_PEER_SET_KEEPALIVE = 8,
	WG_PEER_REMOVE = 16,
	WG_PEER_SET_PSK = 32, /* preshared; all zero: none. Sessions go on, the next handshake has it */
};

/* 0, or -errno: -ENODEV no such WireGuard interface, -EPERM, -EPROTO (UAPI spoke nonsense). */
int wg_open(struct wg **out, const char *interface);
void wg_close(struct wg *wg);
bool wg_is_userspace(const struct wg *wg);

int wg_get(struct wg *wg, struct wg_device *out); /* then wg_device_fini */
void wg_device_fini(struct wg_device *device);    /* frees peers, wipes the private key */
struct wg_peer *wg_device_find(const struct wg_device *device, const struct key *public_key);

int wg_set_peer(struct wg *wg, const struct wg_peer *peer, unsigned flags);

struct wg_change {
	const struct wg_peer *peer; /* borrowed; to remove, its public key is enough */
	unsigned flags;
};
/* Many at once, in few messages, in the order given. On an error some of them may have been done.
 * Removing a peer that is not there is done. */
int wg_set_peers(struct wg *wg, const struct wg_change *changes, size_t count);

int wg_set_listen_port(struct wg *wg, uint16_t port);
int wg_set_fwmark(struct wg *wg, uint32_t fwmark);
int wg_set_private_key(struct wg *wg, const struct key *private_key);

#endif
