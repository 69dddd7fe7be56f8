/*
 * peers.h - finds and keeps the path to each peer: rounds of probes to its candidates, answers to
 * its own, the decision of path.h, and what follows from it. Knows nothing of WireGuard, the
 * coordinator or sockets: it speaks through callbacks, so that it runs on a fake clock too.
 */
#ifndef CORE_PEERS_H
#define CORE_PEERS_H

#include "peer.h"

struct peers;

struct peers_ops {
	/* A STUN message out of WireGuard's port. from NULL: any of our addresses. */
	int (*send)(void *arg, const struct addr *from, const struct endpoint *to, const void *data,
		    size_t len);
	void (*set_endpoint)(void *arg, struct peer *peer, const struct endpoint *to);
	void (*initiate)(void *arg, struct peer *peer); /* make WireGuard shake hands, now */
	void (*signal)(void *arg, struct peer *peer, bool answer); /* send it our candidates */
	void (*path_changed)(void *arg, struct peer *peer, enum path_kind old, const char *reason);
	void (*stuck)(void *arg, struct peer *peer); /* a round failed or a path broke: our own
							endpoints may have changed */
	bool (*allowed)(void *arg, const struct endpoint *at);
	void (*note)(void *arg, struct peer *peer, const char *what, const struct endpoint *at,
		     const char *reason); /* for the record */
};

struct peers *peers_new(struct loop *loop, const struct key *private_key,
			const struct peers_ops *ops, void *arg); /* borrows the key */
void peers_free(struct peers *peers);

struct peer *peers_add(struct peers *peers, const struct key *public_key, void *owner);
void peers_remove(struct peers *peers, struct peer *peer);
struct peer *peers_find(const struct peers *peers, const struct key *public_key);

void peers_offer(struct peer *peer, const struct proto_endpoints *at); /* from the map */
void peers_signalled(struct peer *peer, const struct signal_message *message);
void peers_online(struct peer *peer, bool online);
/* What WireGuard reports; handshake_wall_ms as it says it, 0: never. */
struct peer_report {
	struct endpoint endpoint;
	uint64_t handshake_wall_ms, rx_bytes, tx_bytes;
	bool keepalive_on;
};
void peers_observe(struct peer *peer, const struct peer_report *report);
void peers_connect(struct peer *peer);             /* a round of probes now */
void peers_network_changed(struct peers *peers);   /* ours: look at every path again */
/* Ours: those that have no path are told, the others are shown where we are now. */
void peers_endpoints_changed(struct peers *peers);

/* What came in on WireGuard's port. True: it was a probe and is dealt with. */
bool peers_input(struct peers *peers, const struct endpoint *from, const struct addr *to,
		 const uint8_t *data, size_t len);

/* One probe over the path in use; where there is none yet, as soon as there is one. fn is called
 * once, within five seconds: rtt_ms < 0 means no answer. */
typedef void peers_ping_fn(void *arg, struct peer *peer, double rtt_ms);
struct peers_ping;
struct peers_ping *peers_ping(struct peer *peer, peers_ping_fn *fn, void *arg);
void peers_ping_cancel(struct peers_ping *ping);

#endif
