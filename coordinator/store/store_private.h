/*
 * store_private.h - the inside of store.h, for store.c (the queue and the writer's thread) and store_open.c.
 */
#ifndef COORDINATOR_STORE_PRIVATE_H
#define COORDINATOR_STORE_PRIVATE_H

#include "store_driver.h"

#include <pthread.h>
#include <stdatomic.h>

struct row {
	struct list node;
	struct store_value values[STORE_MAX_VALUES]; /* their data follows */
};

struct query {
	struct list node, rows;
	enum store_read what;
	char *id;
	int64_t limit;
	store_row_fn *fn;
	store_done_fn *done;
	void *arg;
};

struct batch {
	struct list ops, queries, waits;
	unsigned count;
	uint64_t serial;
};

struct store {
	struct loop *loop;
	const struct store_driver *driver;
	struct store_backend *backend;
	struct loop_task hand_over;
	struct batch open, busy;
	unsigned group;
	bool in_flight; /* loop's view: busy is with the writer, */
	bool stuck;     /* for longer than `late` waits */
	struct loop_timer late;
	atomic_uint answered; /* queries of busy; */
	unsigned answered_before; /* when `late` was started */
	atomic_bool failing;
	char why[200];  /* under lock: while failing */
	uint64_t commit_us; /* of busy: the writer's until it is posted */
	struct histogram commits;
	store_refused_fn *refused;
	void *refused_arg;

	pthread_t writer;
	pthread_mutex_t lock, in_use; /* in_use: of the backend */
	pthread_cond_t wake;
	bool has_work, stopping; /* under lock */
};

void store_batch_init(struct batch *batch);
void store_hand_over(void *store);
void store_stuck(void *store);
void *store_writer(void *store);
void store_free_ops(struct list *ops, bool refused_too);
void store_free_query(struct query *query);

#endif
