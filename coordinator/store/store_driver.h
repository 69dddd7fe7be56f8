/*
 * store_driver.h - what a database must be able to do; store.c drives it from one thread at a time.
 */
#ifndef COORDINATOR_STORE_DRIVER_H
#define COORDINATOR_STORE_DRIVER_H

#include "store.h"

#define STORE_MAX_VALUES 16

struct store_op {
	struct list node;
	enum store_write what;
	unsigned group, count;
	bool refused; /* the commit's verdict */
	struct store_value values[]; /* their data follows */
};

struct store_backend;

typedef void store_dump_fn(void *arg, const char *const *columns, const struct store_value *values,
			   unsigned count);

struct store_driver {
	/* NULL: a sentence, and in *away whether it is a server that does not answer. */
	struct store_backend *(*open)(const char *url, bool *away, char *error, size_t size);
	void (*close)(struct store_backend *backend); /* NULL is fine */
	/* All that is not refused is durable when it returns 0; -errno and a sentence: nothing is. */
	int (*commit)(struct store_backend *backend, struct list *ops, char *error, size_t size);
	int (*read)(struct store_backend *backend, enum store_read what, const char *id, int64_t limit,
		    store_row_fn *fn, void *arg, char *error, size_t size);
	/* For backup, restore and migrate: whole tables, row by row, in transactions of the caller's. */
	int (*exec)(struct store_backend *backend, const char *sql, char *error, size_t size);
	int (*dump)(struct store_backend *backend, const char *table, store_dump_fn *fn, void *arg, char *error,
		    size_t size);
	int (*load)(struct store_backend *backend, const char *table, const char *const *columns,
		    const struct store_value *values, unsigned count, char *error, size_t size);
	const char *(*instance)(struct store_backend *backend); /* NULL: one process at a time */
	const char *alone; /* fails where somebody serves from it; NULL: a lock of the state directory does that */
	const char *snapshot; /* begins a transaction that sees the database as it is now */
};

extern const struct store_driver store_sqlite, store_postgres;
/* The file alone is the database from then on, its log is worked in. 0; -EBADMSG: it is damaged, or no database;
 * -EIO; with a sentence. */
int store_sqlite_settle(const char *path, char *error, size_t size);
/* By the URL's beginning; NULL: none. */
const struct store_driver *store_driver(const char *url);

/* ---- store_sql.c: the one list of statements, in words that both understand ---- */

struct sql_write {
	unsigned values;
	bool must_change; /* no row changed: refused */
	const char *sql;
};
extern const struct sql_write sql_writes[STORE_WRITES];
extern const char *const sql_reads[STORE_READS];
extern const char *const sql_migrations[]; /* entries are never changed, only added */
extern const int sql_version;              /* how many there are */

/* Of a commit, new; NULL: nothing that concerns anyone. store_bulletin.c */
char *bulletin_text(const char *from, const struct list *ops);

/* What a backup has, in an order that foreign keys allow. */
struct sql_table {
	const char *name;
	bool numbered; /* its first column is a number that the database gives */
};
extern const struct sql_table sql_tables[];
extern const size_t sql_table_count;
/* "INSERT INTO table (a,b) VALUES (?1,?2)", new. */
char *sql_insert(const char *table, const char *const *columns, unsigned count);

/* SQLite's words as PostgreSQL's, new. */
char *sql_for_postgres(const char *sql);

/* Commits `ops` by single steps that answer 0, -EEXIST (refused by a constraint) or another -errno:
 * first all at once, then, where that is refused, group by group. */
struct sql_steps {
	int (*run)(struct store_backend *backend, const char *sql);
	int (*all)(struct store_backend *backend, struct list *ops); /* begin and all of them */
	int (*one)(struct store_backend *backend, const struct store_op *op);
};
int sql_commit(const struct sql_steps *steps, struct store_backend *backend, struct list *ops);

#endif
