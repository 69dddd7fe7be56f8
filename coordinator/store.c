/*
 * store.c - the queue between the loop and the database.
 *
 * Two batches exist: `open` collects on the loop; `busy` belongs to the writer from hand_over to
 * committed (posted back to the loop). While one is being committed everything else collects in the
 * next, so a slow disk makes batches larger, not queues longer.
 */
#include "store.h"
#include "lib/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MAX_QUEUED 20000 /* statements */

struct batch {
	struct list ops, waits;
	unsigned count;
};

struct store {
	struct loop *loop;
	struct store_backend *backend;
	struct loop_task hand_over;
	struct batch open, busy;
	bool in_flight; /* loop's view: busy is with the writer */
	uint64_t batches; /* handed over until now */
	atomic_bool failing;

	pthread_t writer;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool has_work, stopping; /* under lock */
};

static void batch_init(struct batch *batch)
{
	list_init(&batch->ops);
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

static void free_ops(struct list *ops)
{
	struct store_op *op, *tmp;

	list_each_safe(op, tmp, ops, node) {
		list_del(&op->node);
		free(op);
	}
}

static void hand_over(void *arg)
{
	struct store *store = arg;

	if (store->in_flight || (list_empty(&store->open.ops) && list_empty(&store->open.waits)))
		return;
	list_move(&store->busy.ops, &store->open.ops);
	list_move(&store->busy.waits, &store->open.waits);
	store->busy.count = store->open.count;
	store->open.count = 0;
	store->in_flight = true;
	store->batches++;
	pthread_mutex_lock(&store->lock);
	store->has_work = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
}

static void committed(void *arg)
{
	struct store *store = arg;
	struct list waits;

	list_move(&waits, &store->busy.waits);
	store->busy.count = 0;
	store->in_flight = false;
	while (!list_empty(&waits)) {
		struct store_wait *wait = container_of(waits.next, struct store_wait, node);

		list_del(&wait->node);
		wait->fn(wait->arg);
	}
	hand_over(store);
}

/* On the writer's thread. False: stopping before it went through. */
static bool commit_until_done(struct store *store)
{
	char error[200];
	struct timespec until;

	while (store_sqlite_commit(store->backend, &store->busy.ops, error, sizeof(error)) < 0) {
		if (!atomic_exchange(&store->failing, true))
			log_error("store-failed", "reason=\"%s; trying again each second\"", error);
		clock_gettime(CLOCK_REALTIME, &until);
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
	if (atomic_exchange(&store->failing, false))
		log_info("store-back", "reason=\"writes go through again\"");
	free_ops(&store->busy.ops);
	return true;
}

static void *writer(void *arg)
{
	struct store *store = arg;

	pthread_mutex_lock(&store->lock);
	for (;;) {
		while (!store->has_work && !store->stopping)
			pthread_cond_wait(&store->wake, &store->lock);
		if (!store->has_work)
			break;
		store->has_work = false;
		pthread_mutex_unlock(&store->lock);
		if (commit_until_done(store))
			loop_post(store->loop, committed, store);
		pthread_mutex_lock(&store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

struct store *store_open(struct loop *loop, const char *url, char *error, size_t size)
{
	struct store *store = xcalloc(1, sizeof(*store));

	store->loop = loop;
	batch_init(&store->open);
	batch_init(&store->busy);
	task_init(&store->hand_over, hand_over, store);
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->wake, NULL);
	store->backend = store_sqlite_open(url + strlen("sqlite:"), error, size);
	if (!store->backend)
		goto bad;
	if (pthread_create(&store->writer, NULL, writer, store)) {
		snprintf(error, size, "cannot start a thread for the database");
		goto bad;
	}
	return store;
bad:
	store_sqlite_close(store->backend);
	pthread_mutex_destroy(&store->lock);
	pthread_cond_destroy(&store->wake);
	free(store);
	return NULL;
}

void store_close(struct store *store)
{
	char error[200];

	if (!store)
		return;
	task_cancel(&store->hand_over);
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->writer, NULL);
	if ((!list_empty(&store->busy.ops) &&
	     store_sqlite_commit(store->backend, &store->busy.ops, error, sizeof(error)) < 0) ||
	    (!list_empty(&store->open.ops) &&
	     store_sqlite_commit(store->backend, &store->open.ops, error, sizeof(error)) < 0))
		log_error("store-failed", "reason=\"%s; what was not answered is lost\"", error);
	free_ops(&store->busy.ops);
	free_ops(&store->open.ops);
	store_sqlite_close(store->backend);
	pthread_mutex_destroy(&store->lock);
	pthread_cond_destroy(&store->wake);
	free(store);
}

int store_read(struct store *store, enum store_read what, int64_t limit, store_row_fn *fn, void *arg)
{
	return store_sqlite_read(store->backend, what, limit, fn, arg);
}

/* One allocation: the statement, its values, and copies of their bytes. */
static struct store_op *op_new(enum store_write what, const struct store_value *values, unsigned count)
{
	size_t size = sizeof(struct store_op) + count * sizeof(*values);
	struct store_op *op;
	uint8_t *at;

	for (unsigned i = 0; i < count; i++)
		size += values[i].len;
	op = xmalloc(size);
	op->what = what;
	op->count = count;
	at = (uint8_t *)&op->values[count];
	for (unsigned i = 0; i < count; i++) {
		op->values[i] = values[i];
		if (!values[i].len)
			continue;
		memcpy(at, values[i].data, values[i].len);
		op->values[i].data = at;
		at += values[i].len;
	}
	return op;
}

void store_write(struct store *store, enum store_write what, const struct store_value *values)
{
	struct store_op *op = op_new(what, values, store_write_values(what));

	list_add_tail(&store->open.ops, &op->node);
	store->open.count++;
	task_defer(store->loop, &store->hand_over);
}

void store_wait(struct store *store, struct store_wait *wait, loop_timer_fn *fn, void *arg)
{
	wait->fn = fn;
	wait->arg = arg;
	list_add_tail(&store->open.waits, &wait->node);
	task_defer(store->loop, &store->hand_over);
}

void store_wait_cancel(struct store_wait *wait)
{
	if (wait->node.next)
		list_del(&wait->node);
}

uint64_t store_batch(const struct store *store)
{
	return store->batches;
}

bool store_behind(const struct store *store)
{
	return atomic_load(&store->failing) || store->open.count > MAX_QUEUED;
}

struct store_value store_int(int64_t number)
{
	return (struct store_value){.type = STORE_INT, .number = number};
}

struct store_value store_text(const char *text)
{
	if (!text)
		return (struct store_value){.type = STORE_NULL};
	return (struct store_value){.type = STORE_TEXT, .data = text, .len = strlen(text)};
}

struct store_value store_blob(const void *data, size_t len)
{
	return (struct store_value){.type = STORE_BLOB, .data = data, .len = len};
}

const char *store_string(const struct store_value *value)
{
	return value->type == STORE_TEXT && value->data ? value->data : "";
}
