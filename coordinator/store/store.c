/*
 * store.c - the queue between the loop and the database.
 *
 * Two batches exist: `open` collects on the loop; `busy` belongs to the writer from hand_over to
 * committed (posted back to the loop). While one is being committed everything else collects in the
 * next, so a slow disk makes batches larger, not queues longer. What is fetched is read right after
 * the batch was committed.
 *
 * Those who wait for a group that was refused are called one batch later, so that who heard of the
 * refusal can first fetch what is there instead.
 */
#include "store_private.h"
#include "lib/log.h"
#include "lib/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_QUEUED 20000 /* statements */
#define STUCK_MS   6000  /* a database that is locked says so itself within five seconds */

void store_batch_init(struct batch *batch)
{
	list_init(&batch->ops);
	list_init(&batch->queries);
	list_init(&batch->waits);
	batch->count = 0;
}

static void list_move(struct list *to, struct list *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	to->next = from->next;
	to->prev = from->prev;
	to->next->prev = to->prev->next = to;
	list_init(from);
}

void store_free_ops(struct list *ops, bool refused_too)
{
	struct store_op *op, *tmp;

	list_each_safe(op, tmp, ops, node) {
		if (op->refused && !refused_too)
			continue;
		list_del(&op->node);
		free(op);
	}
}

static void free_rows(struct query *query)
{
	struct row *row, *tmp;

	list_each_safe(row, tmp, &query->rows, node) {
		list_del(&row->node);
		free(row);
	}
}

void store_free_query(struct query *query)
{
	free_rows(query);
	list_del(&query->node);
	free(query->id);
	free(query);
}

static bool batch_empty(const struct batch *batch)
{
	return list_empty(&batch->ops) && list_empty(&batch->queries) && list_empty(&batch->waits);
}

void store_hand_over(void *arg)
{
	struct store *store = arg;

	if (store->in_flight || batch_empty(&store->open))
		return;
	list_move(&store->busy.ops, &store->open.ops);
	list_move(&store->busy.queries, &store->open.queries);
	list_move(&store->busy.waits, &store->open.waits);
	store->busy.count = store->open.count;
	store->busy.serial = store->open.serial++;
	store->open.count = 0;
	store->in_flight = true;
	store->answered_before = atomic_load(&store->answered);
	timer_start(&store->late, STUCK_MS);
	pthread_mutex_lock(&store->lock);
	store->has_work = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

/* It neither takes nor refuses: a server that hangs, or somebody's lock. */
void store_stuck(void *arg)
{
	struct store *store = arg;
	unsigned answered = atomic_load(&store->answered);

	if (answered != store->answered_before) { /* a long batch: as when everything is read again */
		store->answered_before = answered;
		timer_start(&store->late, STUCK_MS);
		return;
	}
	store->stuck = true;
	if (!atomic_load(&store->failing))
		log_error("store-stuck", "reason=\"the database has not answered for %d seconds; waiting for it\"",
			  STUCK_MS / 1000);
}

/* ---- what the writer has done ------------------------------------------------------------------ */

static bool group_refused(const struct list *ops, unsigned group)
{
	const struct store_op *op;

	list_each(op, ops, node)
		if (op->group == group)
			return true;
	return false;
}

/* Only refused ones are left in `ops`. Their waiters go into the batch that is open. */
static void take_refusals(struct store *store, struct list *ops)
{
	struct store_wait *wait, *tmp;
	struct store_op *op;

	if (list_empty(ops))
		return;
	list_each_safe(wait, tmp, &store->busy.waits, node) {
		if (!group_refused(ops, wait->group))
			continue;
		list_del(&wait->node);
		list_add_tail(&store->open.waits, &wait->node);
		wait->refused = true;
	}
	list_each(op, ops, node) {
		log_debug("write-refused", "statement=%d id=%s", op->what, store_string(&op->values[0]));
		if (store->refused)
			store->refused(store->refused_arg, op->what, op->values);
	}
	store_free_ops(ops, true);
}

static void deliver(struct store *store, struct list *queries)
{
	store->group++; /* what is done with rows is none of what was written before */
	while (!list_empty(queries)) {
		struct query *query = container_of(queries->next, struct query, node);
		struct row *row;

		list_each(row, &query->rows, node)
			query->fn(query->arg, row->values);
		if (query->done)
			query->done(query->arg, store->busy.serial);
		store_free_query(query);
	}
}

static void committed(void *arg)
{
	struct store *store = arg;
	struct list ops, queries, waits;

	timer_stop(&store->late);
	if (atomic_exchange(&store->failing, false) | store->stuck)
		log_info("store-back", "reason=\"writes go through again\"");
	store->stuck = false;
	histogram_add(&store->commits, HISTOGRAM_SECONDS, (double)store->commit_us / 1e6);
	list_move(&ops, &store->busy.ops);
	take_refusals(store, &ops);
	list_move(&queries, &store->busy.queries);
	deliver(store, &queries);
	list_move(&waits, &store->busy.waits);
	store->busy.count = 0;
	store->in_flight = false;
	while (!list_empty(&waits)) {
		struct store_wait *wait = container_of(waits.next, struct store_wait, node);

		list_del(&wait->node);
		wait->fn(wait->arg);
	}
	store_hand_over(store);
}

/* ---- the writer's thread ------------------------------------------------------------------------ */

/* Values whose bytes are copied to `at`, each with a NUL behind it: PostgreSQL takes texts as strings, and so
 * do readers. */
static void copy_values(struct store_value *to, const struct store_value *from, unsigned count, void *at)
{
	uint8_t *next = at;

	for (unsigned i = 0; i < count; i++) {
		to[i] = from[i];
		if (!from[i].data)
			continue;
		memcpy(next, from[i].data, from[i].len);
		next[from[i].len] = '\0';
		to[i].data = next;
		next += from[i].len + 1;
	}
}

static void keep_row(void *arg, const struct store_value *values)
{
	struct query *query = arg;
	size_t size = sizeof(struct row);
	struct row *row;

	for (int i = 0; i < STORE_MAX_VALUES; i++)
		size += values[i].len + 1;
	row = xmalloc(size);
	copy_values(row->values, values, STORE_MAX_VALUES, row + 1);
	list_add_tail(&query->rows, &row->node);
}

static int do_batch(struct store *store, char *error, size_t size)
{
	struct query *query;
	int result = 0;

	pthread_mutex_lock(&store->in_use);
	if (!list_empty(&store->busy.ops))
		result = store->driver->commit(store->backend, &store->busy.ops, error, size);
	if (!result)
		store_free_ops(&store->busy.ops, false);
	list_each(query, &store->busy.queries, node) {
		if (result)
			break;
		free_rows(query); /* of an attempt that was cut off */
		result = store->driver->read(store->backend, query->what, query->id, query->limit, keep_row,
					     query, error, size);
		atomic_fetch_add(&store->answered, !result);
	}
	pthread_mutex_unlock(&store->in_use);
	return result;
}

/* False: stopping before it went through. */
static bool batch_until_done(struct store *store)
{
	char error[200];
	struct timespec until;

	while (do_batch(store, error, sizeof(error)) < 0) {
		pthread_mutex_lock(&store->lock);
		str_copy(store->why, sizeof(store->why), error);
		pthread_mutex_unlock(&store->lock);
		if (!atomic_exchange(&store->failing, true))
			log_error("store-failed", "reason=\"%s; trying again each second\"", error);
		clock_gettime(CLOCK_MONOTONIC, &until); /* as `wake` was told */
		until.tv_sec++;
		pthread_mutex_lock(&store->lock);
		if (!store->stopping)
			pthread_cond_timedwait(&store->wake, &store->lock, &until);
		if (store->stopping) {
			pthread_mutex_unlock(&store->lock);
			return false;
		}
		pthread_mutex_unlock(&store->lock);
	}
	return true;
}

void *store_writer(void *arg)
{
	struct store *store = arg;
	uint64_t began;

	pthread_mutex_lock(&store->lock);
	for (;;) {
		while (!store->has_work && !store->stopping)
			pthread_cond_wait(&store->wake, &store->lock);
		if (!store->has_work)
			break;
		store->has_work = false;
		pthread_mutex_unlock(&store->lock);
		began = histogram_now_us();
		if (batch_until_done(store)) {
			store->commit_us = histogram_now_us() - began;
			loop_post(store->loop, committed, store);
		}
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

/* ---- what the loop asks for ------------------------------------------------------------------------ */

int store_read(struct store *store, enum store_read what, int64_t limit, store_row_fn *fn, void *arg)
{
	char error[200];
	int result;

	pthread_mutex_lock(&store->in_use);
	result = store->driver->read(store->backend, what, NULL, limit, fn, arg, error, sizeof(error));
	pthread_mutex_unlock(&store->in_use);
	if (result)
		log_error("store-failed", "reason=\"%s\"", error);
	return result;
}

void store_fetch(struct store *store, enum store_read what, const char *id, int64_t limit,
		 store_row_fn *fn, store_done_fn *done, void *arg)
{
	struct query *query = xcalloc(1, sizeof(*query));

	list_init(&query->rows);
	query->what = what;
	query->id = id ? xstrdup(id) : NULL;
	query->limit = limit;
	query->fn = fn;
	query->done = done;
	query->arg = arg;
	list_add_tail(&store->open.queries, &query->node);
	task_defer(store->loop, &store->hand_over);
}

/* One allocation: the statement, its values, and copies of their bytes. */
static struct store_op *op_new(enum store_write what, const struct store_value *values, unsigned count)
{
	size_t size = sizeof(struct store_op) + count * sizeof(*values);
	struct store_op *op;

	for (unsigned i = 0; i < count; i++)
		size += values[i].len + 1;
	op = xmalloc(size);
	op->what = what;
	op->count = count;
	op->refused = false;
	copy_values(op->values, values, count, &op->values[count]);
	return op;
}

void store_begin(struct store *store)
{
	store->group++;
}

void store_write(struct store *store, enum store_write what, const struct store_value *values)
{
	struct store_op *op = op_new(what, values, sql_writes[what].values);

	op->group = store->group;
	list_add_tail(&store->open.ops, &op->node);
	store->open.count++;
	task_defer(store->loop, &store->hand_over);
}

void store_wait(struct store *store, struct store_wait *wait, loop_timer_fn *fn, void *arg)
{
	wait->fn = fn;
	wait->arg = arg;
	wait->group = store->group;
	wait->refused = false;
	list_add_tail(&store->open.waits, &wait->node);
	task_defer(store->loop, &store->hand_over);
}

void store_wait_cancel(struct store_wait *wait)
{
	if (wait->node.next)
		list_del(&wait->node);
}

size_t store_queued(const struct store *store)
{
	return store->open.count + store->busy.count;
}

const struct histogram *store_commits(const struct store *store)
{
	return &store->commits;
}

bool store_behind(const struct store *store)
{
	return atomic_load(&store->failing) || store->stuck || store->open.count > MAX_QUEUED;
}

void store_why(struct store *store, char out[static STORE_WHY])
{
	out[0] = '\0';
	pthread_mutex_lock(&store->lock);
	if (atomic_load(&store->failing) && *store->why)
		snprintf(out, STORE_WHY, " (%s)", store->why);
	pthread_mutex_unlock(&store->lock);
}

uint64_t store_batch(const struct store *store)
{
	return store->open.serial;
}

uint64_t store_oldest(const struct store *store)
{
	return store->in_flight ? store->busy.serial : store->open.serial;
}

const char *store_instance(const struct store *store)
{
	return store->driver->instance ? store->driver->instance(store->backend) : "";
}

int store_settle(struct store *store)
{
	char error[200];
	int result = 0;

	pthread_mutex_lock(&store->in_use);
	if (!list_empty(&store->open.ops))
		result = store->driver->commit(store->backend, &store->open.ops, error, sizeof(error));
	pthread_mutex_unlock(&store->in_use);
	if (result) {
		log_error("store-failed", "reason=\"%s\"", error);
		return -EIO;
	}
	store_free_ops(&store->open.ops, true);
	store->open.count = 0;
	return 0;
}

bool store_pending(const struct store *store, enum store_about about, const char *id)
{
	const struct store_op *op;

	list_each(op, &store->open.ops, node)
		if (store_about(op->what) == about && (!id || !strcmp(store_string(&op->values[0]), id)))
			return true;
	return false;
}

void store_on_refused(struct store *store, store_refused_fn *fn, void *arg)
{
	store->refused = fn;
	store->refused_arg = arg;
}
