/*
 * agent_parts.h - the agent from inside, for agent*.c only: agent.c begins and ends it, agent_map.c
 * makes of the map what WireGuard is told, agent_networks.c keeps our own networks, agent_tunnel.c
 * follows what WireGuard does, agent_signal.c talks with the other agents, agent_psk.c agrees on
 * preshared keys with them, agent_control.c talks with the user, agent_event.c tells what happened.
 */
#ifndef CORE_AGENT_PARTS_H
#define CORE_AGENT_PARTS_H

#include "agent.h"
#include "control.h"
#include "coord.h"
#include "discovery.h"
#include "event.h"
#include "facts.h"
#include "fetch.h"
#include "netmap.h"
#include "peers.h"
#include "plugin_host.h"
#include "psk_store.h"
#include "rawport.h"
#include "record.h"
#include "tunnel.h"
#include "lib/map.h"
#include "lib/ratelimit.h"

struct prefix_list {
	struct prefix *at;
	size_t count, cap;
};

struct agent_peer { /* one public key of the map */
	struct key key;
	char name[PROTO_NAME_MAX], address[ADDR_TEXT]; /* as last heard: also when it has left */
	struct peer *path; /* NULL: nothing of it was accepted, so there is no tunnel to it */
	bool managed;      /* false: WireGuard's peer is the user's */
	bool contended;    /* another peer has what it claims */
	bool up;           /* peer-up was told */
	bool heartbeat;    /* the coordinator does not know the path yet */
	struct prefix_list allowed, refused;
	size_t route_from; /* allowed: before this addresses, from here routes */
	unsigned seen;     /* in the dump of this number */
};

struct follower { /* of `events` */
	struct list node;
	struct agent *agent;
	struct control_client *client;
};

struct agent {
	const struct agent_options *options;
	const char *interface;
	const struct paths *paths;
	int exit_code;
	struct addr coordinator; /* where it was last reached */
	bool ending, adopting, synced, facts_dirty, claims_released, recheck_all;
	bool was_connected, told_lost;

	struct loop *loop;
	struct loop_signal on_term, on_int, on_hup;
	struct loop_timer poll, save, beat, look; /* look: discovery again */
	struct loop_task recheck;
	uint64_t looked_ms, saved_ms;
	struct bucket refusals;
	struct loop_timer tell; /* of the refusals for which there was no token */
	unsigned untold;
	char last_untold[GUARD_REASON];

	struct config *config;
	struct state *state;
	struct key private_key, public_key;
	uint64_t boot, signal_counter;

	struct tunnel *tunnel;
	struct rawport *raw;
	struct facts facts;
	uint32_t table, fwmark;
	uint16_t port;
	unsigned dump;
	uint64_t total_bytes;
	struct map *foreign; /* of the last dump: key to wg_peer of peers that are not ours */
	struct map *before;  /* keys of a ledger whose interface has gone: those were ours */

	struct netmap *netmap;
	struct map *by_key, *claims; /* to agent_peer */
	struct proto_network *left;  /* that we were taken out of in this run */
	size_t left_count;
	struct peers *peers;
	struct proto_endpoints at; /* ours */

	struct map *psks; /* public key to psk_entry */
	struct bucket psk_begins;
	struct loop_timer psk_flush;
	uint64_t psk_saved_ms;
	bool psk_dirty;

	struct fetch *fetch;
	struct coord *coord;
	struct plugin_services services;
	struct plugin_host *plugins;
	struct discovery *discovery;
	struct control *control;
	struct hook_client *hooks;
	struct record *record;
	struct list followers;
};

/* agent.c */
void agent_end(struct agent *agent, int exit_code);
int agent_take_down(struct agent *agent); /* removes all that is ours, then ends */
void agent_save_soon(struct agent *agent);
const char *agent_name(const struct agent *agent);
int agent_reload(struct agent *agent, char error[static YAML_ERROR]);
/* Discovery once more: at once, or soon and not too often. */
void agent_look_again(struct agent *agent, bool at_once);

/* agent_accept.c */
void agent_peer_apply(struct agent *agent,
		      struct agent_peer *peer); /* to WireGuard, as the map has it */
void agent_peer_drop(struct agent *agent, struct agent_peer *peer); /* it has left; frees it */
bool agent_claimed(const struct agent *agent, const struct prefix *prefix);
/* Our address in the network that we share with the peer of this route; NULL: of no family of its. */
const struct addr *agent_route_source(const struct agent *agent, const struct prefix *route);
/* Packets to it go through this very tunnel: it must never become an endpoint of a peer in it. */
bool agent_in_tunnel(struct agent *agent, const struct addr *addr);

/* agent_networks.c */
void agent_networks(void *arg, json_t *list); /* ours, as the coordinator tells them */

/* agent_map.c */
extern const struct netmap_ops agent_netmap_ops;
void agent_map_synced(
	struct agent *agent); /* the map is the coordinator's now: sweep what it lacks */
/* What peers may have: host, config or foreign peers changed, or a claim was let go. */
void agent_map_recheck(struct agent *agent, bool only_contended);
bool agent_map_addresses(struct agent *agent); /* true: one was not there */
void agent_map_routes(struct agent *agent); /* puts back what a link that went down has taken */
void agent_map_sources(struct agent *agent); /* of routes that have lost theirs, or never had one */
const struct guard_facts *agent_facts(struct agent *agent);
struct agent_peer *agent_find(struct agent *agent, const struct key *key);
void agent_map_free(struct agent *agent);

/* agent_tunnel.c */
extern const struct peers_ops agent_peers_ops;
void agent_poll_in(struct agent *agent, uint64_t ms);
void agent_poll(void *arg);
int agent_tunnel_put(struct agent *agent, struct agent_peer *peer);
void agent_packet(void *arg, const struct rawport_packet *packet);

/* agent_signal.c */
extern const struct coord_ops agent_coord_ops;
void agent_send_signal(struct agent *agent, struct peer *path, bool answer);
void agent_send_message(struct agent *agent, const struct key *to, const struct signal_message *message);
void agent_discovery_changed(void *arg);
void agent_beat(void *arg);

/* agent_psk.c */
void agent_psk_open(struct agent *agent);
void agent_psk_close(struct agent *agent);
void agent_psk_look(struct agent *agent, struct agent_peer *peer,
		    const struct wg_peer *wg); /* at each dump */
void agent_psk_heard(struct agent *agent, struct agent_peer *peer,
		     const struct psk_message *message);

/* agent_plugin.c */
void agent_plugin_services(struct agent *agent, struct plugin_services *services);

/* agent_event.c */
void agent_emit(struct agent *agent, struct event *event);
void agent_emit_peer(struct agent *agent, enum event_type type, struct agent_peer *peer,
		     const char *reason);
void agent_refused(struct agent *agent, const struct agent_peer *peer, const char *name,
		   const char *reason);
void agent_tell_refusals(void *arg); /* one event for all that had none */
bool agent_follow(struct agent *agent, struct control_client *client);

/* agent_find.c */
/* NULL: the client was told why. */
struct agent_peer *agent_find_named(struct agent *agent, struct control_client *client,
				    const char *text);
/* The address that is meant by these words of the user: itself, or of the network that NAME@NETWORK
 * names; else the first. "": it has none. */
void agent_find_address(struct agent *agent, const struct agent_peer *peer, const char *text,
			char out[static ADDR_TEXT]);

/* agent_control.c */
void agent_control(void *arg, struct control_client *client, json_t *request);

#endif
