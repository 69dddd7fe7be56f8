/*
 * store_sqlite.c - the database as one SQLite file: WAL, synchronous=FULL (a commit that returned is
 * on the disk), schema versions in user_version.
 */
#include "store_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct store_backend {
	sqlite3 *db;
	sqlite3_stmt *statements[STORE_WRITES];
	char why[160]; /* of the last failure */
};

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int user_version(sqlite3 *db)
{
	sqlite3_stmt *statement;
	int version = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		version = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return version;
}

static int migrate(sqlite3 *db, char *error, size_t size)
{
	int version = user_version(db);
	char sql[64];

	if (version < 0 || version > sql_version) {
		snprintf(error, size, version < 0 ? "%s" : "it was made by a newer version of this program",
			 sqlite3_errmsg(db));
		return -EIO;
	}
	for (; version < sql_version; version++) {
		snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", version + 1);
		if (run(db, "BEGIN IMMEDIATE") || run(db, sql_migrations[version]) || run(db, sql) ||
		    run(db, "COMMIT")) {
			snprintf(error, size, "%s", sqlite3_errmsg(db));
			run(db, "ROLLBACK");
			return -EIO;
		}
	}
	return 0;
}

static sqlite3 *open_one(const char *path, int flags, char *error, size_t size)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK ||
	    sqlite3_busy_timeout(db, 5000) != SQLITE_OK) {
		snprintf(error, size, "%s", sqlite3_errmsg(db));
		sqlite3_close(db);
		return NULL;
	}
	return db;
}

static void sqlite_close(struct store_backend *backend)
{
	if (!backend)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(backend->statements); i++)
		sqlite3_finalize(backend->statements[i]);
	sqlite3_close(backend->db);
	free(backend);
}

static struct store_backend *sqlite_open(const char *url, bool *away, char *error, size_t size)
{
	struct store_backend *backend = xcalloc(1, sizeof(*backend));
	const char *path = url + strlen("sqlite:");
	char why[200] = "";
	struct stat st;
	int fd;

	*away = false;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600); /* its -wal takes the mode over */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		snprintf(why, sizeof(why), "%s", fd < 0 ? strerror(errno) : "it is not a regular file");
		if (fd >= 0)
			close(fd);
		goto bad;
	}
	close(fd);
	backend->db = open_one(path, SQLITE_OPEN_READWRITE, why, sizeof(why));
	if (!backend->db)
		goto bad;
	if (run(backend->db, "PRAGMA journal_mode=WAL") ||
	    run(backend->db, "PRAGMA synchronous=FULL") ||
	    run(backend->db, "PRAGMA foreign_keys=ON")) {
		snprintf(why, sizeof(why), "%s", sqlite3_errmsg(backend->db));
		goto bad;
	}
	if (migrate(backend->db, why, sizeof(why)) < 0)
		goto bad;
	return backend;
bad:
	snprintf(error, size, "cannot use the database %s: %s", path, why);
	sqlite_close(backend);
	return NULL;
}

int store_sqlite_settle(const char *path, char *error, size_t size)
{
	char why[200] = "";
	sqlite3 *db = open_one(path, SQLITE_OPEN_READWRITE, why, sizeof(why));
	int result = db ? 0 : -EIO;

	if (db && (run(db, "SELECT count(*) FROM sqlite_master") || run(db, "PRAGMA journal_mode=DELETE"))) {
		result = (sqlite3_errcode(db) & 0xff) == SQLITE_NOTADB || (sqlite3_errcode(db) & 0xff) == SQLITE_CORRUPT
				 ? -EBADMSG : -EIO;
		snprintf(why, sizeof(why), "%s", sqlite3_errmsg(db));
	}
	sqlite3_close(db);
	if (result)
		snprintf(error, size, "cannot use the database %s: %s", path, why);
	return result;
}

static void bind(sqlite3_stmt *statement, int at, const struct store_value *value)
{
	switch (value->type) {
	case STORE_NULL:
		sqlite3_bind_null(statement, at);
		break;
	case STORE_INT:
		sqlite3_bind_int64(statement, at, value->number);
		break;
	case STORE_TEXT:
		sqlite3_bind_text(statement, at, value->len ? value->data : "", (int)value->len,
				  SQLITE_STATIC);
		break;
	case STORE_BLOB:
		sqlite3_bind_blob(statement, at, value->len ? value->data : "", (int)value->len,
				  SQLITE_STATIC);
		break;
	}
}

static int failed(struct store_backend *backend)
{
	snprintf(backend->why, sizeof(backend->why), "the database says: %s", sqlite3_errmsg(backend->db));
	return (sqlite3_errcode(backend->db) & 0xff) == SQLITE_CONSTRAINT ? -EEXIST : -EIO;
}

static int write_one(struct store_backend *backend, const struct store_op *op)
{
	sqlite3_stmt **slot = &backend->statements[op->what], *statement;
	int result = 0;

	if (!*slot && sqlite3_prepare_v3(backend->db, sql_writes[op->what].sql, -1,
					 SQLITE_PREPARE_PERSISTENT, slot, NULL) != SQLITE_OK)
		return failed(backend);
	statement = *slot;
	for (unsigned i = 0; i < op->count; i++)
		bind(statement, (int)i + 1, &op->values[i]);
	if (sqlite3_step(statement) != SQLITE_DONE)
		result = failed(backend);
	else if (sql_writes[op->what].must_change && !sqlite3_changes(backend->db))
		result = -EEXIST;
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return result;
}

static int run_step(struct store_backend *backend, const char *sql)
{
	int result = run(backend->db, strcmp(sql, "BEGIN") ? sql : "BEGIN IMMEDIATE");

	if (result && strcmp(sql, "ROLLBACK"))
		failed(backend);
	return result;
}

static int write_all(struct store_backend *backend, struct list *ops)
{
	const struct store_op *op;
	int result = run_step(backend, "BEGIN");

	list_each(op, ops, node)
		if (!result)
			result = write_one(backend, op);
	return result;
}

static int sqlite_commit(struct store_backend *backend, struct list *ops, char *error, size_t size)
{
	static const struct sql_steps steps = {run_step, write_all, write_one};
	int result;

	/* Nothing of it may be left open from an attempt that failed half-way. */
	if (!sqlite3_get_autocommit(backend->db))
		run(backend->db, "ROLLBACK");
	result = sql_commit(&steps, backend, ops);
	if (result)
		snprintf(error, size, "%s", backend->why);
	return result;
}

static struct store_value column(sqlite3_stmt *statement, int at)
{
	switch (sqlite3_column_type(statement, at)) {
	case SQLITE_INTEGER:
		return store_int(sqlite3_column_int64(statement, at));
	case SQLITE_TEXT:
		return store_text((const char *)sqlite3_column_text(statement, at));
	case SQLITE_BLOB:
		return store_blob(sqlite3_column_blob(statement, at),
				  (size_t)sqlite3_column_bytes(statement, at));
	}
	return (struct store_value){.type = STORE_NULL};
}

static int sqlite_read(struct store_backend *backend, enum store_read what, const char *id, int64_t limit,
		       store_row_fn *fn, void *arg, char *error, size_t size)
{
	struct store_value row[STORE_MAX_VALUES] = {0};
	sqlite3_stmt *statement;
	int rc = sqlite3_prepare_v2(backend->db, sql_reads[what], -1, &statement, NULL);

	if (rc == SQLITE_OK) {
		if (id)
			sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
		else
			sqlite3_bind_int64(statement, 1, limit);
		while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
			for (int i = 0; i < sqlite3_column_count(statement) && i < STORE_MAX_VALUES; i++)
				row[i] = column(statement, i);
			fn(arg, row);
		}
		sqlite3_finalize(statement);
	}
	if (rc == SQLITE_DONE)
		return 0;
	snprintf(error, size, "the database says: %s", sqlite3_errmsg(backend->db));
	return -EIO;
}

static int said(struct store_backend *backend, char *error, size_t size)
{
	snprintf(error, size, "the database says: %s", sqlite3_errmsg(backend->db));
	return -EIO;
}

static int sqlite_exec(struct store_backend *backend, const char *sql, char *error, size_t size)
{
	return run(backend->db, sql) ? said(backend, error, size) : 0;
}

static int sqlite_dump(struct store_backend *backend, const char *table, store_dump_fn *fn, void *arg,
		       char *error, size_t size)
{
	struct store_value row[STORE_MAX_VALUES];
	const char *names[STORE_MAX_VALUES];
	char sql[80];
	sqlite3_stmt *statement;
	int rc, count;

	snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1", table);
	if (sqlite3_prepare_v2(backend->db, sql, -1, &statement, NULL) != SQLITE_OK)
		return said(backend, error, size);
	count = MIN(sqlite3_column_count(statement), STORE_MAX_VALUES);
	while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
		for (int i = 0; i < count; i++) {
			names[i] = sqlite3_column_name(statement, i);
			row[i] = column(statement, i);
		}
		fn(arg, names, row, (unsigned)count);
	}
	sqlite3_finalize(statement);
	return rc == SQLITE_DONE ? 0 : said(backend, error, size);
}

static int sqlite_load(struct store_backend *backend, const char *table, const char *const *columns,
		       const struct store_value *values, unsigned count, char *error, size_t size)
{
	char *sql = sql_insert(table, columns, count);
	sqlite3_stmt *statement = NULL;
	int result = sqlite3_prepare_v2(backend->db, sql, -1, &statement, NULL) == SQLITE_OK ? 0 : -EIO;

	for (unsigned i = 0; i < count && !result; i++)
		bind(statement, (int)i + 1, &values[i]);
	if (result || sqlite3_step(statement) != SQLITE_DONE)
		result = said(backend, error, size);
	sqlite3_finalize(statement);
	free(sql);
	return result;
}

const struct store_driver store_sqlite = {
	.exec = sqlite_exec,
	.dump = sqlite_dump,
	.load = sqlite_load,
	.snapshot = "BEGIN",
	.open = sqlite_open,
	.close = sqlite_close,
	.commit = sqlite_commit,
	.read = sqlite_read,
};
