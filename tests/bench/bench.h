/*
 * bench.h - the load generator: simulated agents (agent.c) against a real coordinator (subject.c),
 * in phases (phases.c), and what was measured (figures.c). main.c has the options.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "lib/buf.h"
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

/* Its directory and configuration; database: a URL, or NULL for SQLite in the directory. */
int subject_make(struct subject *subject, const char *program, const char *database);
int subject_start(struct subject *subject);                     /* until it takes connections */
void subject_kill(struct subject *subject);                     /* SIGKILL, and waits */
void subject_remove(struct subject *subject);
/* The join key of a link; NULL where the command failed. New memory. */
char *subject_network(struct subject *subject, const char *name, const char *cidr);
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
	struct subject *subject;
	struct sim *sims;
	struct sim_network *networks;
	unsigned count, network_count;
	/* what happens to them is told here */
	void (*ready)(struct fleet *fleet, struct sim *sim); /* has its stream and first snapshot */
	unsigned complete; /* agents whose map has every peer */
	uint64_t complete_ns, heard_ns; /* when the last became so; when a map last changed */
	uint64_t frames, bytes, failures; /* snapshots and deltas; lost connections */
	unsigned refused; /* requests of registrations */
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

void fleet_make(struct fleet *fleet, struct loop *loop, struct subject *subject, unsigned agents,
		unsigned per_network);
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
	unsigned agents, per_network, window, changes, rate;
	bool restart;
	unsigned stay;
	const char *database;
};
int bench_run(const char *program, unsigned run, const struct plan *plan);

#endif
