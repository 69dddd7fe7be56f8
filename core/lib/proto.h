/*
 * proto.h - what agents and coordinator say to each other (SPEC 3), one truth for both ends:
 * structs and their JSON. The stream (WS /api/v1/agents/{id}/sync, Authorization: Bearer TOKEN)
 * carries one JSON object per text frame:
 *
 * agent to coordinator
 *   {"type":"hello","version":1,"epoch":"E"|null,"revision":N}      first; where the agent left off
 *   {"type":"ack","revision":N}
 *   {"type":"endpoint", ...}                body of PUT /endpoint: endpoint, endpoints,
 *                                           local_endpoints, nat_type, upnp_mapped
 *   {"type":"heartbeat","endpoint":..,"peer_status":{ID:{"connected":b,"latency_ms":x,"path":"direct"}}}
 *   {"type":"signal","id":N,"to":ID,"network":NAME,"box":BASE64}    sealed, at most 4 KiB of box
 *
 * coordinator to agent
 *   {"type":"snapshot","epoch":"E","revision":N,"networks":[NETWORK],"relays":[RELAY],"pins":[..],
 *    "peers":[PEER]}                        everything; replaces what the agent had
 *   {"type":"resume","epoch":"E","revision":N}    nothing was lost; deltas follow
 *   {"type":"delta","revision":N,"changes":[CHANGE]}
 *   {"type":"signal","from":ID,"network":NAME,"box":BASE64}
 *   {"type":"token","token":"..","expires_in":S}  a fresh token before the old one ends
 *   {"type":"error","code":"..","detail":"..","id":N|null}
 *   {"type":"bye","reason":"..","retry_after_ms":N}
 *
 * CHANGE is {"op":"put","peer":PEER}, {"op":"remove","agent_id":ID,"network":NAME},
 *   {"op":"patch","agent_id":ID,"network":NAME, ...only the fields of PEER that changed},
 *   {"op":"networks","networks":[NETWORK]}, {"op":"relays","relays":[RELAY]} or
 *   {"op":"rules","network":NAME,"rules":[RULE]}, which replaces the rules of that network; a
 *   snapshot has "rules":[{"network":NAME,"rules":[RULE]}].
 * PEER is {"agent_id","public_key","name","network","addresses":["10.86.0.4","fd00::4"],
 *   "routes":["192.168.1.0/24"],"endpoint":"IP:PORT"|null,"endpoints":[..],"local_endpoints":[..],
 *   "nat_type","online":b,"last_seen":TIME|null,"connection_hint":"direct"|"relay"|null,"class":N}; with
 *   "device":true it has no agent: it comes to us by itself, and is told to its gateway alone.
 * RULE is {"classes":[N],"sources":["192.168.1.0/24"],"own":b,"targets":["192.168.2.0/24"],
 *   "protocol":"any"|"tcp"|"udp"|"icmp"|"other","ports":["22","8000-8100"],"family":4|6|null}; see
 *   struct proto_rule.
 * NETWORK is {"id","name","cidr","cidr6":..|null,"addresses":["10.86.0.3/16","fd00::3/64"]}.
 * RELAY is {"region","url":..|null,"key":..|null,"stun":["HOST:PORT"]}. The first stun entry is the
 *   primary; HOST may be a name.
 */
#ifndef CORE_LIB_PROTO_H
#define CORE_LIB_PROTO_H

#include "json.h"

#define PROTO_ID_MAX         40 /* agent and network ids, with NUL */
#define PROTO_NAME_MAX       64 /* with NUL */
#define PROTO_MAX_ENDPOINTS  16
#define PROTO_MAX_ROUTES     64
#define PROTO_MAX_ADDRESSES  4
#define PROTO_MAX_NETWORKS   16
#define PROTO_MAX_RELAYS     64
#define PROTO_MAX_STUN       4
#define PROTO_MAX_SIGNAL     4096

enum nat_type { /* SPEC 2.1 nat.type */
	NAT_UNKNOWN,
	NAT_NONE,
	NAT_FULL_CONE,
	NAT_RESTRICTED_CONE,
	NAT_PORT_RESTRICTED_CONE,
	NAT_SYMMETRIC,
	NAT_UDP_BLOCKED,
};
const char *nat_type_name(enum nat_type type);
enum nat_type nat_type_parse(const char *name); /* unknown words: NAT_UNKNOWN */
/* What a peer's own NAT says about reaching it; null where it depends on the other side. New. */
json_t *proto_connection_hint(enum nat_type type);

struct proto_endpoints { /* what an agent says of itself */
	struct endpoint endpoint; /* the best one; family 0: none */
	struct endpoint endpoints[PROTO_MAX_ENDPOINTS], local_endpoints[PROTO_MAX_ENDPOINTS];
	unsigned count, local_count;
	enum nat_type nat_type;
	bool upnp_mapped;
};

struct proto_peer {
	char agent_id[PROTO_ID_MAX], network[PROTO_NAME_MAX], name[PROTO_NAME_MAX];
	struct key public_key;
	struct addr addresses[PROTO_MAX_ADDRESSES];
	unsigned address_count;
	struct prefix routes[PROTO_MAX_ROUTES];
	unsigned route_count;
	struct proto_endpoints at;
	bool online;
	uint64_t last_seen; /* wall ms; 0: never */
	bool device;        /* plain WireGuard without an agent: neither probed nor signalled */
	uint32_t class;     /* how rules call it; 0: none */
};

/* What an agent's firewall accepts in one network: new connections out of the tunnel, replies being
 * allowed anyway. Rules are accepts without order, and what none of them accepts is dropped. A packet
 * fits where its source (the own address of a peer of one of the classes, or one that is behind a peer:
 * in sources and outside the network's range), its target (own: an address of this agent itself; or one
 * behind it, in targets and outside the network's range), its protocol and its port fit. */
enum proto_protocol { PROTO_ANY, PROTO_TCP, PROTO_UDP, PROTO_ICMP, PROTO_OTHER };

struct proto_ports {
	uint16_t low, high;
};

struct proto_rule {
	uint8_t family; /* AF_INET, AF_INET6, 0: both */
	bool own;
	enum proto_protocol protocol; /* OTHER: none of the others; ICMP: of both families */
	uint32_t *classes;
	struct prefix *sources, *targets;
	struct proto_ports *ports; /* of tcp and udp; none: all */
	unsigned class_count, source_count, target_count, port_count;
};

struct proto_network {
	char id[PROTO_ID_MAX], name[PROTO_NAME_MAX];
	struct prefix cidr, cidr6; /* family 0: none */
	struct prefix addresses[2]; /* ours in it, with the network's length */
	unsigned address_count;
	bool pending; /* we wait to be approved in it, and have no peers there ("approved": false) */
};

struct proto_relay {
	char region[PROTO_NAME_MAX];
	char *url;       /* NULL: STUN only */
	struct key key;  /* zero: none */
	char *stun[PROTO_MAX_STUN];
	unsigned stun_count;
};

bool proto_id_valid(const char *text); /* of an agent or a network */

/* JSON from structs: new references. */
/* "https://HOST[:PORT]" of a URL that is no more than that, new; NULL: it is not. */
char *proto_origin(const char *url);

json_t *proto_write_endpoints(const struct proto_endpoints *at);
json_t *proto_write_peer(const struct proto_peer *peer);
json_t *proto_write_network(const struct proto_network *network);
json_t *proto_write_relay(const struct proto_relay *relay);
json_t *proto_write_rule(const struct proto_rule *rule);

/* Structs from JSON; strict in types and sizes, unknown members are ignored. false: js->error says
 * what. proto_patch_peer changes only what is present. */
bool proto_read_endpoints(struct js *js, struct proto_endpoints *out);
bool proto_read_peer(struct js *js, struct proto_peer *out);
bool proto_patch_peer(struct js *js, struct proto_peer *inout);
bool proto_read_network(struct js *js, struct proto_network *out);
bool proto_read_relay(struct js *js, struct proto_relay *out); /* then proto_relay_fini */
void proto_relay_fini(struct proto_relay *relay);
bool proto_read_rule(struct js *js, struct proto_rule *out); /* then proto_rule_fini */
void proto_rule_fini(struct proto_rule *rule);

/* A join link "https://HOST:PORT/join#KEY[.PIN]" taken apart; origin is "https://HOST:PORT". */
struct join_link {
	char origin[300], key[128], pin[44]; /* pin "": the usual authorities */
};
bool join_link_parse(struct join_link *out, const char *text, char error[static JS_ERROR]);
void join_link_wipe(struct join_link *link);

#endif
