/*
 * tunnel.h - the WireGuard interface and what we put on it: peers, addresses, routes; each written
 * into the ledger before it is made, and nothing touched that the ledger does not hold. Keeps the
 * last dump of the device.
 */
#ifndef CORE_TUNNEL_H
#define CORE_TUNNEL_H

#include "ledger.h"
#include "link.h"
#include "wg.h"

#define TUNNEL_KEEPALIVE_S 25

struct tunnel;

/* 0 or -errno: -ENODEV no such WireGuard interface, -EPERM. Adopts what the ledger holds. */
int tunnel_open(struct tunnel **out, const char *interface, const char *ledger_path);
void tunnel_close(struct tunnel *tunnel); /* everything stays in place */

/* Dumps the device anew. -ENODEV: it has vanished, or is another one by that name now. */
int tunnel_poll(struct tunnel *tunnel);
const struct wg_device *tunnel_device(const struct tunnel *tunnel); /* of the last dump */
const struct key *tunnel_private_key(const struct tunnel *tunnel);
struct link *tunnel_link(struct tunnel *tunnel);
uint32_t tunnel_ifindex(const struct tunnel *tunnel);

bool tunnel_owns_peer(const struct tunnel *tunnel, const struct key *key);
bool tunnel_owns_address(const struct tunnel *tunnel, const struct prefix *address);
/* A walk over the peers that we own: start with *pos = 0; NULL at the end. */
const struct key *tunnel_next_peer(const struct tunnel *tunnel, size_t *pos);

/* Makes it or replaces its allowed IPs. 0 or -errno. */
int tunnel_put_peer(struct tunnel *tunnel, const struct key *key, const struct prefix *allowed,
		    size_t count);
int tunnel_remove_peer(struct tunnel *tunnel, const struct key *key);
/* Its preshared key from now on, also when the peer is made anew: all zero for none; NULL: what it
 * has is no business of ours (so it begins). 0 or -errno; a peer that is not there is no error. */
int tunnel_set_psk(struct tunnel *tunnel, const struct key *key, const struct key *preshared);
/* Its peer goes on under another key: what it may send, its endpoint and its keepalive are those of the
 * old one, which is removed; its preshared key is not. -ENOENT: the device has no such peer of ours. */
int tunnel_rekey_peer(struct tunnel *tunnel, const struct key *from, const struct key *to);
int tunnel_adopt_peer(struct tunnel *tunnel, const struct key *key); /* it is ours from now on */
int tunnel_set_endpoint(struct tunnel *tunnel, const struct key *key, const struct endpoint *to);
/* The same for the way that was just found: where nothing was ever heard of the peer, it is made anew
 * with this endpoint and keepalive, and so WireGuard shakes hands now. (It begins a handshake only
 * every five seconds, and one that the user's traffic has set off before there was an endpoint is
 * lost; made anew, the peer knows nothing of that one.) */
int tunnel_meet(struct tunnel *tunnel, const struct key *key, const struct endpoint *to);
/* shake: makes WireGuard send something now, and so shake hands where there is no session. */
int tunnel_keepalive(struct tunnel *tunnel, const struct key *key, bool shake);

/* Addresses: what is wanted is added, what is ours and not wanted any more is removed. What the
 * user has put there stays the user's. *added: one was not there. 0 or the first -errno. */
int tunnel_set_addresses(struct tunnel *tunnel, const struct prefix *wanted, size_t count,
			 bool *added);
/* source: what packets of this host leave with: our address, as the peer takes no other from us, and
 * the user may have put one of their own on the interface. NULL, or not ours yet: the kernel's choice. */
int tunnel_put_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table,
		     const struct addr *source);
/* One of ours that is there, with another source. */
int tunnel_renew_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table,
		       const struct addr *source);
int tunnel_remove_route(struct tunnel *tunnel, const struct prefix *to, uint32_t table);
bool tunnel_owns_route(const struct tunnel *tunnel, const struct prefix *to, uint32_t table);
const struct ledger_entry *tunnel_next_route(const struct tunnel *tunnel, size_t *pos);

/* `Table =` of a wg-quick file: 0 for off, RT_TABLE_MAIN for auto or where nothing is said. */
uint32_t tunnel_table(const char *config_path);

#endif
