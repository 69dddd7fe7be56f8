/*
 * store_open.c - opening and closing a store.
 */
#include "store_private.h"
#include "lib/log.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const struct store_driver *store_driver(const char *url)
{
	if (str_has_prefix(url, "sqlite:"))
		return &store_sqlite;
	if (str_has_prefix(url, "postgres://") || str_has_prefix(url, "postgresql://"))
		return &store_postgres;
	return NULL;
}

bool store_url_ok(const char *url, const char **why)
{
	const struct store_driver *driver = store_driver(url);

	*why = !driver ? "is neither sqlite:PATH nor postgres://USER@HOST/DATABASE"
		       : "needs PostgreSQL, which this build is without: build it where pkg-config finds libpq";
	return driver && driver->open;
}

void store_url_shown(char *out, size_t size, const char *url)
{
	const char *rest = strstr(url, "://"), *user, *host;
	size_t scheme;

	if (!rest || str_has_prefix(url, "sqlite:")) {
		snprintf(out, size, "%s", url);
		return;
	}
	user = rest + strlen("://");
	scheme = (size_t)(user - url);
	host = user + strcspn(user, "@/"); /* libpq looks for a user only so far */
	if (*host != '@')
		host = user;
	snprintf(out, size, "%.*s%.*s%.*s", (int)scheme, url, host > user ? (int)strcspn(user, ":@") : 0, user,
		 (int)strcspn(host, "?"), host);
}

/* Its waits are not made longer by a wall clock that is set back. */
static void wake_init(pthread_cond_t *wake)
{
	pthread_condattr_t how;

	pthread_condattr_init(&how);
	pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
	pthread_cond_init(wake, &how);
	pthread_condattr_destroy(&how);
}

struct store *store_open(struct loop *loop, const char *url, bool *away, char *error, size_t size)
{
	struct store *store = xcalloc(1, sizeof(*store));

	store->loop = loop;
	store->driver = store_driver(url);
	store->group = 1;
	store_batch_init(&store->open);
	store_batch_init(&store->busy);
	store->open.serial = 1;
	task_init(&store->hand_over, store_hand_over, store);
	timer_init(&store->late, loop, store_stuck, store);
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->in_use, NULL);
	wake_init(&store->wake);
	store->backend = store->driver->open(url, away, error, size);
	if (!store->backend)
		goto bad;
	if (pthread_create(&store->writer, NULL, store_writer, store)) {
		snprintf(error, size, "cannot start a thread for the database");
		goto bad;
	}
	return store;
bad:
	store->driver->close(store->backend);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->in_use);
	pthread_cond_destroy(&store->wake);
	free(store);
	return NULL;
}

static bool only_refused(const struct list *ops)
{
	return !list_empty(ops) && container_of(ops->next, struct store_op, node)->refused;
}

static void drop_batch(struct batch *batch)
{
	struct query *query, *tmp;

	store_free_ops(&batch->ops, true);
	list_each_safe(query, tmp, &batch->queries, node) {
		if (query->done)
			query->done(query->arg, 0);
		store_free_query(query);
	}
}

void store_close(struct store *store)
{
	char error[200];

	if (!store)
		return;
	task_cancel(&store->hand_over);
	timer_stop(&store->late);
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->writer, NULL);
	if ((!list_empty(&store->busy.ops) && !only_refused(&store->busy.ops) &&
	     store->driver->commit(store->backend, &store->busy.ops, error, sizeof(error)) < 0) ||
	    (!list_empty(&store->open.ops) &&
	     store->driver->commit(store->backend, &store->open.ops, error, sizeof(error)) < 0))
		log_error("store-failed", "reason=\"%s; what was not answered is lost\"", error);
	drop_batch(&store->busy);
	drop_batch(&store->open);
	store->driver->close(store->backend);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->in_use);
	pthread_cond_destroy(&store->wake);
	free(store);
}
