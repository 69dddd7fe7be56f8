/*
 * bench.h - the load generator: simulated agents (agent.c) against a real coordinator (subject.c),
 * in phases (phases.c), and what was measured (figures.c). main.c has the options.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "lib/buf.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/loop.h"
#include "lib/proto.h"
#include "thin.h"

/* ---- figures.c ---- */

struct samples { /* nanoseconds */
	uint64_t *all;
	size_t count, cap;
};

uint64_t now_ns(void);
void samples_add(struct samples *samples, uint64_t ns);
void samples_free(struct samples *samples);
double samples_ms(struct samples *samples, double quantile); /* sorts */

enum { MAX_RUNS = 8 };
/* A line of the table for this run's column; the first run gives the lines their order. */
void figure(unsigned run, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same for what must not be: the program will end with 1. */
void fault(unsigned run, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
bool faults(void);
void figures_print(unsigned runs);
void figures_print_json(unsigned runs);

/* ---- subject.c: the coordinator under test ---- */

struct subject {
	const char *program, *database;
	char *dir, *origin;
	struct endpoint at;
	pid_t pid; /* 0: not running */
};

enum { MAX_INSTANCES = 8 };

/* Its directory and configuration; database: a URL, or NULL for SQLite in the directory. `first` is another on
 * the same database that has been started, or NULL. */
int subject_make(struct subject *subject, const char *program, const char *database,
		 const struct subject *first);
int subject_start(struct subject *subject);                     /* until it takes connections */
void subject_kill(struct subject *subject);                     /* SIGKILL, and waits */
void subject_remove(struct subject *subject);
/* The join key of a link; NULL where the command failed. New memory. */
char *subject_network(struct subject *subject, const char *name, const char *cidr);
/* Until it knows so many join keys, which another made. False: it does not come to that. */
bool subject_has_keys(const struct subject *subject, size_t count);
json_t *subject_agents(const struct subject *subject, const char *network); /* rows, new; NULL: no answer */
uint64_t subject_cpu_ns(const struct subject *subject);
uint64_t own_cpu_ns(void);
struct memory {
	double rss, private_dirty; /* KiB */
};
struct memory subject_memory(const struct subject *subject);

/* ---- agent.c ---- */

struct fleet;

enum agent_state { IDLE, CHALLENGE, REGISTER, OPENING, STREAMING };

struct sim { /* one simulated agent */
	struct fleet *fleet;
	struct subject *subject; /* where it is */
	bool registers_only;     /* has no stream: its registration is a write, and no more */
	unsigned index, slot; /* of all; in its network */
	struct sim_network *network;
	struct key private_key, public_key;
	char id[PROTO_ID_MAX], *token, challenge[64];
	struct key server_key;
	enum agent_state state;
	bool done; /* reported to the fleet since it was last started */
	int fd;
	struct thin tls;
	struct buf early;  /* to be sent once TLS is through */
	struct buf frame;  /* the beginning of one */
	struct loop_io io;
	struct loop_timer timer; /* to give up, or to try again */
	unsigned tries, dials;
	struct buf out;
	struct http_message *http;
	uint64_t *seen; /* a bit for each peer told of */
	unsigned seen_count;
};

struct sim_network {
	char name[PROTO_NAME_MAX];
	char *join_key;
	unsigned first, size; /* agents, by index */
};

struct fleet {
	struct loop *loop;
	struct subject subjects[MAX_INSTANCES];
	unsigned instances;
	struct sim *sims;
	struct sim_network *networks;
	unsigned count, network_count;
	/* what happens to them is told here */
	void (*ready)(struct fleet *fleet, struct sim *sim); /* has its stream and first snapshot */
	unsigned complete; /* agents whose map has every peer */
	uint64_t complete_ns, heard_ns; /* when the last became so; when a map last changed */
	uint64_t frames, bytes, failures; /* snapshots and deltas; lost connections */
	unsigned refused; /* requests of registrations */
	unsigned written; /* of those that only register: answered */
	/* marked changes and signals */
	struct mark *marks;
	unsigned mark_count, marks_open;
	struct samples latency;
	bool reconnecting; /* a lost stream is opened again */
};

struct mark { /* a change or signal on its way */
	uint64_t sent_ns;
	unsigned expected;
};

/* fleet->subjects are there. */
void fleet_make(struct fleet *fleet, struct loop *loop, unsigned agents, unsigned per_network);
uint64_t fleet_cpu_ns(const struct fleet *fleet);        /* of all coordinators that run */
struct memory fleet_memory(const struct fleet *fleet); /* the same */
/* Agents that only register, in a network of their own; numbered from `index` on. */
struct sim *writers_make(struct fleet *fleet, struct sim_network *network, unsigned index, unsigned count);
void writers_free(struct sim *sims, unsigned count);
void fleet_free(struct fleet *fleet);
void sim_join(struct sim *sim);   /* register on one connection, the stream on another */
void sim_connect(struct sim *sim, uint64_t in_ms);
void sim_move(struct sim *sim, unsigned mark); /* tells a new endpoint that carries the mark */
void sim_signal(struct sim *sim, const struct sim *to, unsigned mark);

/* called by line.c */
bool sim_bytes(struct sim *sim, const uint8_t *data, size_t len); /* false: not what was asked for */
void sim_message(struct sim *sim, const char *text, size_t len);
void sim_lost(struct sim *sim); /* the connection */

/* ---- line.c ---- */

int line_open(struct sim *sim); /* 0 or negative errno */
void line_close(struct sim *sim);
void line_write(struct sim *sim, const void *data, size_t len);
void line_text(struct sim *sim, const char *text);		    /* a frame */
bool line_frames(struct sim *sim, const uint8_t *data, size_t len); /* false: no more will come */

/* ---- phases.c ---- */

struct plan {
	unsigned agents, per_network, window, changes, rate, instances;
	bool restart;
	unsigned stay;
	const char *database;
};
int bench_run(const char *program, unsigned run, const struct plan *plan);

#endif
