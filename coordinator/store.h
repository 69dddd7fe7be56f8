/*
 * store.h - what must survive: rows in a database. The coordinator works from memory; it reads the
 * tables once at the start and from then on only writes.
 *
 * Writes are queued, and all of one loop wake are committed together by a thread of their own, so
 * that no fsync stops the loop. Who answers for a write waits with store_wait: its function is
 * called on the loop when everything written so far is on the disk. When a commit fails it is tried
 * again each second, nobody is answered meanwhile, and store_behind() is true.
 *
 * What a statement does is named here; how is the back end's (store_sqlite.c).
 */
#ifndef COORDINATOR_STORE_H
#define COORDINATOR_STORE_H

#include "lib/loop.h"

enum store_type { STORE_NULL, STORE_INT, STORE_TEXT, STORE_BLOB };

struct store_value {
	enum store_type type;
	int64_t number;
	const void *data; /* borrowed for the call */
	size_t len;
};

/* Statements, with their values in order. */
enum store_write {
	STORE_NETWORK_PUT,  /* id, name, cidr, cidr6, created_at */
	STORE_NETWORK_DEL,  /* id */
	STORE_AGENT_PUT,    /* id, public_key, created_at, expired, ephemeral, capabilities,
			       tokens_from */
	STORE_AGENT_SEEN,   /* id, endpoints, last_seen, online */
	STORE_AGENT_DEL,    /* id */
	STORE_MEMBER_PUT,   /* agent_id, network_id, name, address4, address6, tags, key_id, joined_at */
	STORE_MEMBER_DEL,   /* agent_id, network_id */
	STORE_ROUTE_PUT,    /* agent_id, network_id, prefix, approved */
	STORE_ROUTES_DEL,   /* agent_id, network_id */
	STORE_KEY_PUT,      /* id, hash, network_id, reusable, ephemeral, name, tags, created_at,
			       expires_at, used_at, used_by, revoked_at */
	STORE_RETIRED_PUT,  /* network_id, address, until */
	STORE_RETIRED_DEL,  /* until: those before */
	STORE_AUDIT_PUT,    /* at, actor, action, subject, detail */
	STORE_AUDIT_TRIM,   /* how many of the newest to keep */
	STORE_META_PUT,     /* key, value */
	STORE_WRITES,
};

/* Tables, with the columns above in the same order. */
enum store_read {
	STORE_NETWORKS, /* id, name, cidr, cidr6, created_at */
	STORE_AGENTS,   /* id, public_key, created_at, expired, ephemeral, capabilities, endpoints,
			   last_seen, online, tokens_from */
	STORE_MEMBERS,
	STORE_ROUTES,
	STORE_KEYS,
	STORE_RETIRED,
	STORE_AUDIT, /* the newest `limit`, oldest first */
	STORE_META,
	STORE_READS,
};

struct store;
struct store_wait { /* embedded in its owner; all-zero: not waiting */
	struct list node;
	loop_timer_fn *fn;
	void *arg;
};

/* `url` is sqlite:PATH. NULL and a sentence in error. */
struct store *store_open(struct loop *loop, const char *url, char *error, size_t size);
void store_close(struct store *store); /* commits what is queued; waiters are forgotten */

typedef void store_row_fn(void *arg, const struct store_value *row);
int store_read(struct store *store, enum store_read what, int64_t limit, store_row_fn *fn, void *arg);
void store_write(struct store *store, enum store_write what, const struct store_value *values);
void store_wait(struct store *store, struct store_wait *wait, loop_timer_fn *fn, void *arg);
void store_wait_cancel(struct store_wait *wait);  /* what was written stays written */
uint64_t store_batch(const struct store *store);  /* what is written under one number is committed at once */
bool store_behind(const struct store *store);     /* take no more work for now */

struct store_value store_int(int64_t number);
struct store_value store_text(const char *text); /* NULL: null */
struct store_value store_blob(const void *data, size_t len);
const char *store_string(const struct store_value *value); /* "" for null */

/* ---- for store_sqlite.c ---- */

struct store_op {
	struct list node;
	enum store_write what;
	unsigned count;
	struct store_value values[]; /* their data follows */
};

struct store_backend;
struct store_backend *store_sqlite_open(const char *path, char *error, size_t size);
void store_sqlite_close(struct store_backend *backend);
/* All or nothing, durable when it returns 0; -errno and a sentence otherwise. Writer's thread. */
int store_sqlite_commit(struct store_backend *backend, struct list *ops, char *error, size_t size);
int store_sqlite_read(struct store_backend *backend, enum store_read what, int64_t limit,
		      store_row_fn *fn, void *arg);
unsigned store_write_values(enum store_write what); /* how many values a statement takes */

#endif
