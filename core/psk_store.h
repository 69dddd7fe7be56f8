/*
 * psk_store.h - STATEDIR/agent/IFACE.psk (0600): the preshared keys agreed on with each peer, so that
 * two hosts agree after a restart also when nobody can pass a signal on.
 */
#ifndef CORE_PSK_STORE_H
#define CORE_PSK_STORE_H

#include "psk.h"
#include "lib/map.h"

struct psk_entry { /* of one public key */
	struct key peer;
	struct psk psk;
	/* of agent_psk.c, zero at first: */
	bool begun, to_send, users; /* users: the device has one that is not ours */
	struct psk_message message; /* to_send: as soon as what it says is kept */
};

/* New map from public key to new psk_entry; empty where there is no file. 0 or -errno (-EBADMSG:
 * damaged), and then the map is empty. */
int psk_load(struct map **out, const char *path);
/* Of entries that say anything, and not those forgotten() names. 0 or -errno. */
typedef bool psk_forgotten_fn(void *arg, const struct psk_entry *entry);
int psk_save(const struct map *entries, const char *path, psk_forgotten_fn *forgotten, void *arg);
void psk_free(struct map *entries); /* wipes; NULL is fine */
struct psk_entry *psk_entry_of(struct map *entries, const struct key *peer); /* makes one */
void psk_entry_remove(struct map *entries, const struct key *peer);

#endif
