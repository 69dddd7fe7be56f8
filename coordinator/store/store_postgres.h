/*
 * store_postgres.h - the inside of the PostgreSQL driver, for store_postgres.c (connecting, writing) and
 * store_postgres_read.c.
 */
#ifndef COORDINATOR_STORE_POSTGRES_H
#define COORDINATOR_STORE_POSTGRES_H

#include "store_driver.h"

#ifdef HAVE_LIBPQ

#include <libpq-fe.h>

/* Ours is the database's clock, so that all coordinators on it have the same. */
#define POSTGRES_NOW "(extract(epoch FROM clock_timestamp())*1000)::bigint"
void postgres_follow_clock(const PGresult *result, int column, uint64_t asked_ms); /* it has that */

struct store_backend {
	PGconn *conn;
	char *url;
	bool prepared[STORE_WRITES];
	char txid[24]; /* of the transaction that is open, or of which COMMIT was not answered; "": none */
	char bulletin[24], bulletin_at[24]; /* of the same: its row; "": none */
	bool in_doubt;
	bool again;    /* the last failure passes by itself */
	char instance[17];
	const struct list *ops; /* being committed */
	char why[200];
};

struct parameters {
	const char *values[STORE_MAX_VALUES];
	int lengths[STORE_MAX_VALUES], formats[STORE_MAX_VALUES];
	char numbers[STORE_MAX_VALUES][24];
};

/* 0; -EEXIST: the data is not allowed, or nothing was changed that must be; -EIO. Frees the result. */
int postgres_judge(struct store_backend *backend, PGresult *result, bool must_change);
int postgres_connected(struct store_backend *backend); /* again, where it is not */
int postgres_run_translated(struct store_backend *backend, const char *sql);
void postgres_fill(struct parameters *out, const struct store_value *values, unsigned count);

int postgres_read(struct store_backend *backend, enum store_read what, const char *id, int64_t limit,
		  store_row_fn *fn, void *arg, char *error, size_t size);
int postgres_exec(struct store_backend *backend, const char *sql, char *error, size_t size);
int postgres_dump(struct store_backend *backend, const char *table, store_dump_fn *fn, void *arg, char *error,
		  size_t size);
int postgres_load(struct store_backend *backend, const char *table, const char *const *columns,
		  const struct store_value *values, unsigned count, char *error, size_t size);

#endif
#endif
