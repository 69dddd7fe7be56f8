/*
 * natcheck.h - which endpoint the world sees for a UDP port of ours, by STUN (RFC 8489), and what the
 * NAT before it does (RFC 5780); for one address family. Sans-IO: the owner sends what it is given,
 * passes answers in, and calls natcheck_run when natcheck_due has come. Times are milliseconds of any
 * clock that does not jump.
 */
#ifndef CORE_LIB_NATCHECK_H
#define CORE_LIB_NATCHECK_H

#include "addr.h"
#include "stun.h"

#define NATCHECK_SERVERS  4
#define NATCHECK_REQUESTS 8
#define NATCHECK_SEEN     8
#define NATCHECK_OURS     8

enum natcheck_behaviour { /* RFC 5780 4.3 and 4.4; greater is stricter */
	NATCHECK_UNKNOWN,
	NATCHECK_NONE, /* mapping: our own address is the public one */
	NATCHECK_ENDPOINT_INDEPENDENT,
	NATCHECK_ADDRESS_DEPENDENT,
	NATCHECK_ADDRESS_AND_PORT_DEPENDENT,
};

struct natcheck_ops {
	/* 0, or -errno: then it counts as unanswered, and not as blocked. Not called from within. */
	int (*send)(void *arg, const struct endpoint *to, const void *data, size_t len);
	void (*news)(void *arg); /* the result may have changed, or a round has failed */
};

struct natcheck_seen { /* which endpoint of ours somebody saw */
	struct endpoint by, mapped;
};

enum natcheck_test {
	NATCHECK_BINDING,
	NATCHECK_KEEPALIVE,
	NATCHECK_FILTER_BOTH, /* answer asked from the other address and port */
	NATCHECK_FILTER_PORT, /* from the other port */
	NATCHECK_OTHER_ADDRESS, /* the other address asked */
	NATCHECK_OTHER_BOTH,
	NATCHECK_OTHER_PORT,
};

struct natcheck_request {
	bool running;
	enum natcheck_test test;
	struct endpoint to;
	uint8_t txid[STUN_TXID_LEN];
	unsigned sent;
	uint64_t due_ms;
};

struct natcheck { /* the owner reads what is under "the result", and nothing else */
	const struct natcheck_ops *ops;
	void *arg;
	uint64_t keepalive_ms;
	struct endpoint servers[NATCHECK_SERVERS];
	unsigned server_count;
	struct addr ours[NATCHECK_OURS];
	unsigned our_count;
	uint16_t our_port;
	struct natcheck_request requests[NATCHECK_REQUESTS];

	/* this round */
	uint64_t began_ms, again_ms; /* again: keepalive or next round; 0: none is planned */
	unsigned pending, pending_tests; /* requests under way; of them those of RFC 5780 */
	bool sent, answered;
	enum { NATCHECK_UNTESTED, NATCHECK_FILTERING, NATCHECK_MAPPING, NATCHECK_PORTS, NATCHECK_TESTED } stage;
	bool filter_both, filter_port, filter_void, other_alive;
	struct endpoint server, other; /* who answered first, or whose other address is tested */

	/* the result */
	struct natcheck_seen seen[NATCHECK_SEEN]; /* in this round */
	unsigned seen_count;
	struct endpoint known;       /* the best of them; family 0: none */
	uint32_t mapping, filtering; /* enum natcheck_behaviour */
	bool ever;                   /* somebody has answered since natcheck_moved */
	unsigned failures;           /* rounds without an answer */

	struct endpoint tested; /* whose behaviour the result tells */
	uint64_t opened_ms;     /* when the other address was last asked */
};

void natcheck_init(struct natcheck *nc, const struct natcheck_ops *ops, void *arg, uint64_t keepalive_ms);
/* A server to ask; joins a round that nobody has answered yet, or begins one if none is running. */
void natcheck_add_server(struct natcheck *nc, const struct endpoint *server, uint64_t now);
void natcheck_clear_servers(struct natcheck *nc); /* and ends what is under way; the result stays */
/* Our own addresses and port; true if they have changed: then what is known is of another network. */
bool natcheck_moved(struct natcheck *nc, const struct addr *ours, unsigned count, uint16_t port);
/* Look again: a round begins, unless one is under way that is young or not yet answered. */
void natcheck_look(struct natcheck *nc, uint64_t now);
void natcheck_start(struct natcheck *nc, uint64_t now); /* a round begins now */
uint64_t natcheck_due(const struct natcheck *nc);       /* UINT64_MAX: nothing is planned */
void natcheck_run(struct natcheck *nc, uint64_t now);
/* false: not an answer to one of our requests. */
bool natcheck_answer(struct natcheck *nc, const struct endpoint *from, const void *data, size_t len,
		     uint64_t now);

#endif
