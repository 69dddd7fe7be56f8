/*
 * password.c - a queue and a worker. A job belongs to the loop (list `all`) from its making to its call
 * back; the worker only fills in what came out, and posts it.
 */
#include "password.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

#define MAX_JOBS 32

struct password_job {
	struct list node, queued; /* all; the worker's queue, under the lock */
	struct passwords *owner;
	char *text, hash[crypto_pwhash_STRBYTES];
	bool checks, known, right;
	password_hashed_fn *hashed; /* both NULL: cancelled */
	password_checked_fn *checked;
	void *arg;
};

struct passwords {
	struct loop *loop;
	struct list all;
	size_t count;
	char nobody[crypto_pwhash_STRBYTES]; /* worker's: a hash for users who are not there */
	pthread_t worker;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list queue; /* under lock */
	bool stopping;     /* under lock */
};

static bool make_hash(char out[static crypto_pwhash_STRBYTES], const char *text)
{
	return !crypto_pwhash_str(out, text, strlen(text), crypto_pwhash_OPSLIMIT_INTERACTIVE,
				  crypto_pwhash_MEMLIMIT_INTERACTIVE);
}

static void work(struct passwords *passwords, struct password_job *job)
{
	if (!job->checks) {
		job->right = make_hash(job->hash, job->text);
		return;
	}
	if (!job->known && !*passwords->nobody)
		make_hash(passwords->nobody, "nobody");
	job->right = !crypto_pwhash_str_verify(job->known ? job->hash : passwords->nobody, job->text,
					       strlen(job->text)) && job->known;
}

static void job_free(struct password_job *job)
{
	list_del(&job->node);
	job->owner->count--;
	secret_wipe(job->text, strlen(job->text));
	secret_wipe(job->hash, sizeof(job->hash));
	free(job->text);
	free(job);
}

static void finished(void *arg)
{
	struct password_job *job = arg;

	if (job->hashed)
		job->hashed(job->arg, job->right ? job->hash : NULL);
	else if (job->checked)
		job->checked(job->arg, job->right ? job->hash : NULL);
	job_free(job);
}

static void *worker(void *arg)
{
	struct passwords *passwords = arg;
	struct password_job *job;

	pthread_mutex_lock(&passwords->lock);
	for (;;) {
		while (list_empty(&passwords->queue) && !passwords->stopping)
			pthread_cond_wait(&passwords->wake, &passwords->lock);
		if (passwords->stopping)
			break;
		job = container_of(passwords->queue.next, struct password_job, queued);
		list_del(&job->queued);
		pthread_mutex_unlock(&passwords->lock);
		work(passwords, job);
		loop_post(passwords->loop, finished, job);
		pthread_mutex_lock(&passwords->lock);
	}
	pthread_mutex_unlock(&passwords->lock);
	return NULL;
}

struct passwords *passwords_new(struct loop *loop)
{
	struct passwords *passwords = xcalloc(1, sizeof(*passwords));

	secret_init();
	passwords->loop = loop;
	list_init(&passwords->all);
	list_init(&passwords->queue);
	pthread_mutex_init(&passwords->lock, NULL);
	pthread_cond_init(&passwords->wake, NULL);
	if (!pthread_create(&passwords->worker, NULL, worker, passwords))
		return passwords;
	free(passwords);
	return NULL;
}

void passwords_free(struct passwords *passwords)
{
	struct password_job *job, *tmp;

	if (!passwords)
		return;
	pthread_mutex_lock(&passwords->lock);
	passwords->stopping = true;
	pthread_cond_signal(&passwords->wake);
	pthread_mutex_unlock(&passwords->lock);
	pthread_join(passwords->worker, NULL);
	list_each_safe(job, tmp, &passwords->all, node)
		job_free(job);
	pthread_mutex_destroy(&passwords->lock);
	pthread_cond_destroy(&passwords->wake);
	free(passwords);
}

size_t passwords_queued(const struct passwords *passwords)
{
	return passwords->count;
}

static struct password_job *job_new(struct passwords *passwords, const char *text, void *arg)
{
	struct password_job *job;

	if (passwords->count >= MAX_JOBS)
		return NULL;
	job = xcalloc(1, sizeof(*job));
	job->owner = passwords;
	job->text = xstrdup(text);
	job->arg = arg;
	list_add_tail(&passwords->all, &job->node);
	passwords->count++;
	return job;
}

static void submit(struct password_job *job)
{
	struct passwords *passwords = job->owner;

	pthread_mutex_lock(&passwords->lock);
	list_add_tail(&passwords->queue, &job->queued);
	pthread_cond_signal(&passwords->wake);
	pthread_mutex_unlock(&passwords->lock);
}

struct password_job *password_hash(struct passwords *passwords, const char *text, password_hashed_fn *fn,
				   void *arg)
{
	struct password_job *job = job_new(passwords, text, arg);

	if (!job)
		return NULL;
	job->hashed = fn;
	submit(job);
	return job;
}

struct password_job *password_check(struct passwords *passwords, const char *text, const char *hash,
				    password_checked_fn *fn, void *arg)
{
	struct password_job *job = job_new(passwords, text, arg);

	if (!job)
		return NULL;
	job->checks = true;
	job->known = hash && strlen(hash) < sizeof(job->hash);
	if (job->known)
		str_copy(job->hash, sizeof(job->hash), hash);
	job->checked = fn;
	submit(job);
	return job;
}

void password_cancel(struct password_job *job)
{
	job->hashed = NULL;
	job->checked = NULL;
}
