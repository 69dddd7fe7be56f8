/*
 * plugin_resolve.c - getaddrinfo in at most 4 threads; what comes above waits, up to 64 in all.
 *
 * A thread cannot be stopped in getaddrinfo, so it may outlive the resolver and its loop: both hold
 * the resolver's struct by a count, and a thread posts to the loop only under the lock and only
 * while the resolver is alive.
 */
#include "plugin_resolve.h"
#include "lib/str.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define THREADS_MAX 4
#define WAITING_MAX 64
#define STACK_SIZE  (256 * 1024)

struct resolver {
	pthread_mutex_t lock; /* of alive and refs */
	unsigned refs;
	bool alive;
	struct loop *loop;
	struct list waiting, running;
	unsigned threads, count;
};

struct lookup {
	struct list node;
	struct resolver *resolver;
	char name[256];
	uint16_t port;
	resolve_fn *fn; /* NULL: cancelled */
	void *arg;
	struct endpoint found[RESOLVE_MAX];
	size_t found_count;
	bool threaded;
};

static void unref(struct resolver *resolver)
{
	bool last;

	pthread_mutex_lock(&resolver->lock);
	last = !--resolver->refs;
	pthread_mutex_unlock(&resolver->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

struct resolver *resolver_new(struct loop *loop)
{
	struct resolver *resolver = xcalloc(1, sizeof(*resolver));

	pthread_mutex_init(&resolver->lock, NULL);
	resolver->refs = 1;
	resolver->alive = true;
	resolver->loop = loop;
	list_init(&resolver->waiting);
	list_init(&resolver->running);
	return resolver;
}

static void lookup_free(struct lookup *lookup)
{
	struct resolver *resolver = lookup->resolver;

	list_del(&lookup->node);
	free(lookup);
	unref(resolver);
}

/* ---- the thread ----------------------------------------------------------------------- */

static void look_up(struct lookup *lookup)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
	struct addrinfo *list = NULL;

	if (getaddrinfo(lookup->name, NULL, &hints, &list))
		return;
	for (struct addrinfo *ai = list; ai && lookup->found_count < RESOLVE_MAX; ai = ai->ai_next) {
		struct endpoint *out = &lookup->found[lookup->found_count];

		if (!endpoint_from_sockaddr(out, ai->ai_addr))
			continue;
		out->port = lookup->port;
		lookup->found_count++;
	}
	freeaddrinfo(list);
}

static void finished(void *arg);

static void *thread_main(void *arg)
{
	struct lookup *lookup = arg;
	struct resolver *resolver = lookup->resolver;
	bool alive;

	look_up(lookup);
	pthread_mutex_lock(&resolver->lock);
	alive = resolver->alive;
	if (alive)
		loop_post(resolver->loop, finished, lookup);
	pthread_mutex_unlock(&resolver->lock);
	if (!alive)
		lookup_free(lookup);
	return NULL;
}

static bool start_thread(struct lookup *lookup)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attr, thread_main, lookup);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return !error;
}

/* ---- on the loop ------------------------------------------------------------------------ */

static void start_waiting(struct resolver *resolver)
{
	while (resolver->threads < THREADS_MAX && !list_empty(&resolver->waiting)) {
		struct lookup *lookup = container_of(resolver->waiting.next, struct lookup, node);

		list_del(&lookup->node);
		list_add_tail(&resolver->running, &lookup->node);
		lookup->threaded = start_thread(lookup);
		if (lookup->threaded)
			resolver->threads++;
		else
			loop_post(resolver->loop, finished, lookup);
	}
}

static void finished(void *arg)
{
	struct lookup *lookup = arg;
	struct resolver *resolver = lookup->resolver;
	struct endpoint found[RESOLVE_MAX];
	size_t count = lookup->found_count;
	resolve_fn *fn = lookup->fn;
	void *fn_arg = lookup->arg;

	memcpy(found, lookup->found, sizeof(found));
	if (resolver->alive) {
		resolver->count--;
		resolver->threads -= lookup->threaded;
		start_waiting(resolver);
	}
	lookup_free(lookup);
	if (fn)
		fn(fn_arg, found, count);
}

struct lookup *resolver_start(struct resolver *resolver, const char *name, uint16_t port, resolve_fn *fn,
			      void *arg)
{
	struct lookup *lookup;
	struct addr addr;

	if (resolver->count == WAITING_MAX || strlen(name) >= sizeof(lookup->name))
		return NULL;
	lookup = xcalloc(1, sizeof(*lookup));
	lookup->resolver = resolver;
	str_copy(lookup->name, sizeof(lookup->name), name);
	lookup->port = port;
	lookup->fn = fn;
	lookup->arg = arg;
	resolver->count++;
	pthread_mutex_lock(&resolver->lock);
	resolver->refs++;
	pthread_mutex_unlock(&resolver->lock);
	if (addr_parse(&addr, name)) {
		lookup->found[0] = (struct endpoint){.addr = addr, .port = port};
		lookup->found_count = 1;
		list_add_tail(&resolver->running, &lookup->node);
		loop_post(resolver->loop, finished, lookup);
		return lookup;
	}
	list_add_tail(&resolver->waiting, &lookup->node);
	start_waiting(resolver);
	return lookup;
}

void resolver_cancel(struct lookup *lookup)
{
	lookup->fn = NULL; /* a thread may be in it: freed when that is done */
}

void resolver_free(struct resolver *resolver)
{
	struct lookup *lookup, *next;

	if (!resolver)
		return;
	list_each_safe(lookup, next, &resolver->waiting, node)
		lookup_free(lookup);
	/* The running ones leave the list: what happens to them is up to their threads. */
	list_each_safe(lookup, next, &resolver->running, node) {
		lookup->fn = NULL;
		list_del(&lookup->node);
	}
	pthread_mutex_lock(&resolver->lock);
	resolver->alive = false;
	pthread_mutex_unlock(&resolver->lock);
	unref(resolver);
}
