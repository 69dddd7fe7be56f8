/*
 * wg-mesh/plugin.h - the whole contract between the agent (wg-meshd) and a plugin.
 *
 * A plugin is one shared object, KIND-NAME.so, that ends in WGM_PLUGIN(...). It links against
 * nothing of ours: all it may call is in struct wgm_host. Every call, both ways, is made on the
 * agent's one thread (wgm_host.post is the exception) and must not block: a call that hangs for
 * 5 s is ended with the agent, which comes back without that plugin and names it; likewise one that
 * crashes.
 *
 * Functions that return int return 0 or a negative errno. Pointers passed in are borrowed for the
 * call; who allocates frees. Structs that begin with a size may grow at their end in a new minor
 * version; all others are frozen within a major version. Times are milliseconds of a monotonic
 * clock, ports are in host order.
 *
 * Kinds `discovery` and `natmap` are version 1. `relay` and `firewall` are declared here so that
 * their shape can be seen, and may change until the first release that bundles one of each.
 *
 * C11 and C++11. See plugins/README.md for a guide with complete examples.
 */
#ifndef WG_MESH_PLUGIN_H
#define WG_MESH_PLUGIN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WGM_PRINTF(at, first) __attribute__((__format__(__printf__, at, first)))
#else
#define WGM_PRINTF(at, first)
#endif

#define WGM_ABI_MAJOR 1 /* a layout or a meaning changed: rebuild */
#define WGM_ABI_MINOR 0 /* members were added at the end of a struct */

#ifndef WGM_NEEDS_MINOR /* a plugin that asks WGM_HAS may set a lower one before it includes this */
#define WGM_NEEDS_MINOR WGM_ABI_MINOR
#endif

enum wgm_kind { WGM_DISCOVERY = 1, WGM_NATMAP = 2, WGM_RELAY = 3, WGM_FIREWALL = 4 };
enum wgm_log { WGM_ERROR, WGM_WARN, WGM_INFO, WGM_DEBUG };
enum wgm_events { WGM_READ = 1, WGM_WRITE = 2 };

struct wgm_key {
	uint8_t bytes[32];
};

union wgm_addr { /* sa.sa_family is 0 (AF_UNSPEC) where there is none */
	struct sockaddr sa;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

/* ---- options: the agent checks the YAML against this table before open() ---- */

/* ENDPOINT is "HOST:PORT", where HOST is a name or an address; PREFIX an address, or one with /N. */
enum wgm_type { WGM_STRING = 1, WGM_BOOL, WGM_INT, WGM_DURATION, WGM_ENDPOINT, WGM_PREFIX };
enum wgm_option_flags { WGM_REQUIRED = 1, WGM_LIST = 2, WGM_SECRET = 4 };

struct wgm_option {
	const char *name; /* NULL ends the table */
	uint32_t type, flags;
	const char *fallback; /* default, written as in the YAML file; NULL: none */
	int64_t min, max;     /* INT; DURATION in ms; both 0: any */
	const char *help;
};

/* ---- what the agent offers one plugin instance ---- */

struct wgm_host;
struct wgm_timer;
struct wgm_watch;

struct wgm_command { /* for spawn(); no shell is involved */
	const char *const *argv, *const *env; /* NULL-terminated; env NULL: a small clean one */
	const void *input;
	size_t input_len;
	uint64_t timeout_ms; /* 0: 10 s */
};

struct wgm_result { /* error < 0: it never ran to its end */
	int error, status; /* status: exit code */
	const void *output;
	size_t output_len;
};

/* A way in which this host may be reached. Frozen. */
enum wgm_candidate_type { WGM_HOST = 1, WGM_SERVER_REFLEXIVE, WGM_PORT_MAPPED, WGM_STATIC };

struct wgm_candidate {
	uint32_t type;
	uint32_t priority; /* among candidates of the same type, higher is better */
	union wgm_addr addr; /* address and UDP port, network order as in sockaddr */
};

/* What a NAT was found to do (RFC 5780 section 4.3 and 4.4). 0: not known. Frozen. */
enum wgm_nat_behaviour {
	WGM_NAT_NONE = 1, /* mapping: our own address is the public one; filtering: nothing is filtered
			     is ENDPOINT_INDEPENDENT */
	WGM_NAT_ENDPOINT_INDEPENDENT,
	WGM_NAT_ADDRESS_DEPENDENT,
	WGM_NAT_ADDRESS_AND_PORT_DEPENDENT,
};

struct wgm_nat {
	uint32_t mapping, filtering; /* enum wgm_nat_behaviour */
	bool udp_blocked;            /* no server answered */
};

struct wgm_mapping; /* natmap, below */
struct wgm_packet;  /* relay, below */

typedef void wgm_timer_fn(void *arg);
typedef void wgm_watch_fn(void *arg, int fd, uint32_t events);
typedef void wgm_result_fn(void *arg, const struct wgm_result *result);
typedef void wgm_resolved_fn(void *arg, const union wgm_addr *addrs, size_t count); /* 0: failed */

/* What an instance is given dies with its close(). Ask WGM_HAS before a member newer than the
 * minor version you require. */
struct wgm_host {
	uint32_t size; /* of this struct in the running agent */
	uint16_t major, minor;
	const char *interface_name; /* "wg0" */

	void (*log)(struct wgm_host *, int level, const char *format, ...) WGM_PRINTF(3, 4);
	/* Logs as an error, remembers the text for `wg-mesh plugins` until the next found() of
	 * something, returns -error. */
	int (*fail)(struct wgm_host *, int error, const char *format, ...) WGM_PRINTF(3, 4);

	/* Options, checked already; index counts in a LIST. NULL or 0 beyond the end. */
	unsigned (*option_count)(struct wgm_host *, const char *option);
	const char *(*option_string)(struct wgm_host *, const char *option, unsigned index);
	int64_t (*option_int)(struct wgm_host *, const char *option, unsigned index); /* BOOL INT DURATION */

	uint64_t (*now_ms)(struct wgm_host *);
	struct wgm_timer *(*after)(struct wgm_host *, uint64_t ms, wgm_timer_fn *, void *arg); /* once */
	void (*cancel)(struct wgm_host *, struct wgm_timer *); /* NULL is fine; not after it has run */
	struct wgm_watch *(*watch)(struct wgm_host *, int fd, uint32_t events, wgm_watch_fn *, void *arg);
	void (*rewatch)(struct wgm_host *, struct wgm_watch *, uint32_t events);
	void (*unwatch)(struct wgm_host *, struct wgm_watch *);
	int (*spawn)(struct wgm_host *, const struct wgm_command *, wgm_result_fn *, void *arg);
	/* A name or an address; answers later. -EAGAIN: too many are waiting. */
	int (*resolve)(struct wgm_host *, const char *name, uint16_t port, wgm_resolved_fn *, void *arg);
	/* From any thread of the plugin's own, all of which must have ended when close() returns. */
	void (*post)(struct wgm_host *, wgm_timer_fn *, void *arg);

	/* WireGuard's own UDP port, shared: what is sent here leaves from it. Only STUN messages
	 * (RFC 8489) may pass. -ENETUNREACH: no route; -EAGAIN: the port is not known yet. */
	uint16_t (*port)(struct wgm_host *);
	int (*port_send)(struct wgm_host *, const union wgm_addr *to, const void *data, size_t len);
	/* "HOST:PORT" of STUN servers the coordinator named; NULL beyond the end. */
	const char *(*stun_server)(struct wgm_host *, unsigned index);
	/* This host's own addresses that may be offered: up, not the tunnel's, not loopback or
	 * link-local. Returns how many there are; fills at most `max`. */
	size_t (*local_addresses)(struct wgm_host *, union wgm_addr *addrs, size_t max);
	/* Default gateway; false: none. */
	bool (*gateway)(struct wgm_host *, union wgm_addr *gateway, union wgm_addr *our_address);

	/* News for the core, by kind. */
	void (*found)(struct wgm_host *, const struct wgm_candidate *, size_t count); /* replaces this
							instance's earlier ones; 0 withdraws them */
	void (*nat)(struct wgm_host *, const struct wgm_nat *);
	void (*mapped)(struct wgm_host *, const struct wgm_mapping *);
	void (*relay_state)(struct wgm_host *, bool up, uint32_t rtt_ms);
	void (*relay_input)(struct wgm_host *, const struct wgm_packet *, size_t count);
};

#define WGM_HAS(host, member)                                                                      \
	((host)->size >= offsetof(struct wgm_host, member) + sizeof((host)->member))

/* ---- discovery: finds endpoints of this host ---- */

struct wgm_discovery_ops {
	uint32_t size;
	/* Look (again): at start, when addresses, routes or the port have changed, and when a
	 * connection attempt has failed. Answers by found() and nat(). Required. */
	int (*refresh)(void *self);
	/* A STUN answer that came in on WireGuard's port to a request (by its transaction) that this
	 * plugin has sent there; it may come from another address. NULL: not wanted. */
	void (*packet)(void *self, const union wgm_addr *from, const void *data, size_t len);
	/* The list of stun_server() has changed. NULL: not wanted. */
	void (*servers_changed)(void *self);
};

/* ---- natmap: asks a router for a port ---- */

struct wgm_mapping { /* frozen */
	uint32_t id;
	int32_t error;    /* < 0: no mapping */
	uint8_t protocol; /* IPPROTO_UDP */
	uint16_t internal_port;
	union wgm_addr external; /* wanted on the way in (port may be 0), granted on the way out */
	uint32_t lifetime_s;
};

struct wgm_natmap_ops {
	uint32_t size;
	int (*map)(void *self, const struct wgm_mapping *wanted); /* answers by mapped(); the core renews
								     at half the lifetime */
	void (*unmap)(void *self, uint32_t id);
	void (*gateway_changed)(void *self); /* NULL: not wanted */
};

/* ---- relay (unstable): carries sealed WireGuard packets by public key ---- */

struct wgm_packet {
	struct wgm_key peer;
	const void *data;
	size_t len;
};

struct wgm_relay_node {
	const char *region, *url;
	struct wgm_key key;
};

struct wgm_relay_ops {
	uint32_t size;
	int (*connect)(void *self, const struct wgm_relay_node *); /* answers by relay_state() */
	void (*disconnect)(void *self);
	size_t (*send)(void *self, const struct wgm_packet *, size_t count); /* how many it took */
};

/* ---- firewall (unstable): apply() replaces all rules at once; twice is harmless ---- */

struct wgm_prefix {
	union wgm_addr addr;
	uint8_t bits;
};

struct wgm_rule { /* accepts; what no rule accepts is dropped */
	const struct wgm_prefix *sources, *targets;
	uint32_t source_count, target_count;
	uint8_t protocol; /* 0: any */
	uint16_t first_port, last_port;
};

struct wgm_ruleset {
	uint64_t revision;
	const struct wgm_rule *rules;
	uint32_t rule_count;
	const struct wgm_prefix *masquerade;
	uint32_t masquerade_count;
};

struct wgm_firewall_ops {
	uint32_t size;
	int (*apply)(void *self, const struct wgm_ruleset *);
	int (*clear)(void *self);
};

/* ---- the descriptor ---- */

enum wgm_caps {
	WGM_CAP_MULTI = 1, /* more than one instance may be open */
};

struct wgm_plugin {
	uint32_t size; /* of this struct when the plugin was built */
	uint16_t major, minor;
	uint32_t kind, caps;
	const char *name; /* [a-z0-9-]+; the file is called KIND-NAME.so */
	const char *version, *summary;
	const struct wgm_option *options; /* NULL: none */
	int (*open)(struct wgm_host *, void **self); /* must not wait for the network */
	int (*reload)(void *self); /* NULL, or not 0: closed and opened anew when options change */
	void (*close)(void *self);
	const void *ops; /* struct wgm_KIND_ops */
};

/* An ELF note that the agent reads before it loads the object, so that nothing of a plugin with
 * another ABI runs. */
struct wgm_note {
	uint32_t name_len, desc_len, type;
	char name[8]; /* "wg-mesh" */
	uint16_t major, minor;
	uint32_t kind, plugin_size;
};

#define WGM_NOTE_TYPE 0x57474d01u

#if defined(__cplusplus)
#define WGM_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define WGM_EXPORT __attribute__((visibility("default")))
#endif

/* Put once at the end of the file:
 * WGM_PLUGIN(WGM_DISCOVERY, "file", "1.0", "reads endpoints from a file", 0, options, open_fn,
 *            NULL, close_fn, &ops); */
#define WGM_PLUGIN(kind_, name_, version_, summary_, caps_, options_, open_, reload_, close_, ops_) \
	__attribute__((section(".note.wg-mesh"), used, aligned(4)))                                \
	static const struct wgm_note wgm_plugin_note = {                                           \
		8, 12, WGM_NOTE_TYPE, "wg-mesh", WGM_ABI_MAJOR, WGM_NEEDS_MINOR, kind_,            \
		(uint32_t)sizeof(struct wgm_plugin)};                                              \
	WGM_EXPORT const struct wgm_plugin wgm_plugin;                                             \
	const struct wgm_plugin wgm_plugin = {(uint32_t)sizeof(struct wgm_plugin), WGM_ABI_MAJOR,  \
					      WGM_NEEDS_MINOR, kind_, caps_, name_, version_,      \
					      summary_, options_, open_, reload_, close_, ops_}

#ifdef __cplusplus
}
#endif

#endif
