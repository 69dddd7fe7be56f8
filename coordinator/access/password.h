/*
 * password.h - Argon2id off the loop's thread: one worker, so that 64 MiB are in use at most once, and
 * a bounded queue. Each job calls back on the loop, unless cancelled.
 */
#ifndef COORDINATOR_PASSWORD_H
#define COORDINATOR_PASSWORD_H

#include "lib/loop.h"

#define PASSWORD_MIN 10
#define PASSWORD_MAX 1024

struct passwords;
struct password_job;

struct passwords *passwords_new(struct loop *loop); /* NULL: no thread */
void passwords_free(struct passwords *passwords);
size_t passwords_queued(const struct passwords *passwords);

typedef void password_hashed_fn(void *arg, const char *hash); /* NULL: no memory */
/* `right`: the hash that the text fits, which may not be the user's any more; NULL: it does not. */
typedef void password_checked_fn(void *arg, const char *right);

/* NULL: too many are waiting. Both copy the text and wipe the copy. */
struct password_job *password_hash(struct passwords *passwords, const char *text, password_hashed_fn *fn,
				   void *arg);
/* hash NULL: takes as long as with one, and is wrong. */
struct password_job *password_check(struct passwords *passwords, const char *text, const char *hash,
				    password_checked_fn *fn, void *arg);
void password_cancel(struct password_job *job); /* it will not call back */

#endif
