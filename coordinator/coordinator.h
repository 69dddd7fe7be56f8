/*
 * coordinator.h - the one object that owns all the others. A module gets it where it needs more
 * than one of them; the rest know nothing of it.
 */
#ifndef COORDINATOR_COORDINATOR_H
#define COORDINATOR_COORDINATOR_H

#include "config.h"
#include "coordinator/mesh/mesh.h"
#include "metrics.h"
#include "coordinator/store/store.h"
#include "coordinator/access/token.h"
#include "coordinator/access/users.h"
#include "lib/loop.h"

enum counter { /* metrics.c has their names */
	COUNT_REQUESTS,
	COUNT_REFUSED,      /* answers from 400 up */
	COUNT_REGISTRATIONS,
	COUNT_REGISTRATIONS_REFUSED,
	COUNT_RATE_LIMITED,
	COUNT_STREAMS_OPENED,
	COUNT_STREAMS_DROPPED, /* slow readers, silence, broken frames */
	COUNT_SNAPSHOTS,
	COUNT_RESUMES,
	COUNT_CHANGES,
	COUNT_SIGNALS,
	COUNTERS,
};

struct coordinator {
	struct loop *loop;
	struct config config;
	const json_t *options; /* of the command line, for a reload */
	struct endpoint listening; /* config.listen, with the port that the kernel gave for 0 */
	struct store *store;
	struct cluster *cluster; /* NULL: there can be no others */
	struct mesh mesh;
	struct challenges *challenges;
	struct users users;
	struct passwords *passwords;
	struct logins *logins;
	struct events *events;
	struct list relays; /* relays.h: those that were added */
	struct policy_state *policy;
	struct sync *sync;
	struct server *server;
	struct admin *admin;
	char *openapi; /* openapi.c: its text; NULL: nobody has asked for it yet */
	unsigned reads_kept; /* admin_read.c: answers that wait for the disk */
	struct embedded *embedded; /* NULL: no relay of ours */
	struct tls_server *tls;
	char tls_pin[44];           /* of the key in use */
	char pin[44], next_pin[44]; /* "": agents go by the usual authorities; none is coming */
	struct key private_key, public_key;
	uint8_t token_secret[TOKEN_SECRET_LEN];
	struct readmission { /* heal.h: of agents that are newer than the database */
		uint8_t secret[TOKEN_SECRET_LEN];
		uint64_t since_ms, until_ms;
	} readmission;
	uint64_t generation; /* starts of this database until now */
	struct store_wait generation_wait, taken_wait;
	struct list unsaved; /* agents with endpoints or online state to write */
	struct bucket refusals;    /* of registrations, told in log and audit */
	unsigned refusals_left_out; /* since one was, by that bucket */
	struct loop_timer sweep, save;
	uint64_t counters[COUNTERS];
	struct metrics metrics;
};

json_t *coordinator_relays(const struct coordinator *co); /* RELAY of the protocol, new */
json_t *coordinator_urls(const struct coordinator *co); /* of all coordinators */
json_t *coordinator_own_pins(const struct coordinator *co); /* of this one alone: in use, coming */
json_t *coordinator_pins(const struct coordinator *co);
/* "https://HOST:PORT/join#KEY[.PIN]", new; wipe it. */
char *coordinator_link(const struct coordinator *co, const char *key);

#endif
