/*
 * store_sqlite.c - the database as one SQLite file: WAL, synchronous=FULL (a commit that returned is
 * on the disk), schema versions in user_version. Two connections: the writer's thread has one, the
 * loop reads through the other.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_VALUES 12

/* Each entry takes the schema one version further; entries are never changed, only added. */
static const char *const migrations[] = {
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, cidr TEXT NOT NULL,"
	" cidr6 TEXT, created_at INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE agents (id TEXT PRIMARY KEY, public_key BLOB NOT NULL UNIQUE,"
	" created_at INTEGER NOT NULL, expired INTEGER NOT NULL, ephemeral INTEGER NOT NULL,"
	" capabilities TEXT, endpoints TEXT, last_seen INTEGER NOT NULL DEFAULT 0,"
	" online INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	"CREATE TABLE agent_networks (agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,"
	" network_id TEXT NOT NULL REFERENCES networks(id), name TEXT NOT NULL, address4 TEXT,"
	" address6 TEXT, tags TEXT NOT NULL, key_id TEXT, joined_at INTEGER NOT NULL,"
	" PRIMARY KEY (agent_id, network_id), UNIQUE (network_id, name),"
	" UNIQUE (network_id, address4), UNIQUE (network_id, address6)) WITHOUT ROWID;"
	"CREATE TABLE routes (agent_id TEXT NOT NULL, network_id TEXT NOT NULL, prefix TEXT NOT NULL,"
	" approved INTEGER NOT NULL, PRIMARY KEY (agent_id, network_id, prefix),"
	" FOREIGN KEY (agent_id, network_id) REFERENCES agent_networks ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE TABLE policies (version INTEGER PRIMARY KEY, text TEXT NOT NULL,"
	" applied_at INTEGER NOT NULL, applied_by TEXT NOT NULL);"
	"CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
	" network_id TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE, reusable INTEGER NOT NULL,"
	" ephemeral INTEGER NOT NULL, name TEXT, tags TEXT NOT NULL, created_at INTEGER NOT NULL,"
	" expires_at INTEGER, used_at INTEGER, used_by TEXT, revoked_at INTEGER) WITHOUT ROWID;"
	"CREATE TABLE retired_addresses (network_id TEXT NOT NULL REFERENCES networks(id)"
	" ON DELETE CASCADE, address TEXT NOT NULL, until INTEGER NOT NULL,"
	" PRIMARY KEY (network_id, address)) WITHOUT ROWID;"
	"CREATE TABLE audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL,"
	" action TEXT NOT NULL, subject TEXT, detail TEXT);",
	"ALTER TABLE agents ADD COLUMN tokens_from INTEGER NOT NULL DEFAULT 0;",
};

static const struct {
	unsigned values;
	const char *sql;
} writes[STORE_WRITES] = {
	[STORE_NETWORK_PUT] = {5, "INSERT INTO networks VALUES (?1,?2,?3,?4,?5)"},
	[STORE_NETWORK_DEL] = {1, "DELETE FROM networks WHERE id=?1"},
	[STORE_AGENT_PUT] = {7, "INSERT INTO agents (id,public_key,created_at,expired,ephemeral,"
				"capabilities,tokens_from) VALUES (?1,?2,?3,?4,?5,?6,?7) "
				"ON CONFLICT (id) DO UPDATE SET "
				"public_key=?2,expired=?4,ephemeral=?5,capabilities=?6,tokens_from=?7"},
	[STORE_AGENT_SEEN] = {4, "UPDATE agents SET endpoints=?2,last_seen=?3,online=?4 WHERE id=?1"},
	[STORE_AGENT_DEL] = {1, "DELETE FROM agents WHERE id=?1"},
	[STORE_MEMBER_PUT] = {8, "INSERT INTO agent_networks VALUES (?1,?2,?3,?4,?5,?6,?7,?8) "
				 "ON CONFLICT (agent_id,network_id) DO UPDATE SET name=?3,address4=?4,"
				 "address6=?5,tags=?6,key_id=?7"},
	[STORE_MEMBER_DEL] = {2, "DELETE FROM agent_networks WHERE agent_id=?1 AND network_id=?2"},
	[STORE_ROUTE_PUT] = {4, "INSERT INTO routes VALUES (?1,?2,?3,?4) "
				"ON CONFLICT DO UPDATE SET approved=?4"},
	[STORE_ROUTES_DEL] = {2, "DELETE FROM routes WHERE agent_id=?1 AND network_id=?2"},
	[STORE_KEY_PUT] = {12, "INSERT INTO keys VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) "
			       "ON CONFLICT (id) DO UPDATE SET used_at=?10,used_by=?11,revoked_at=?12"},
	[STORE_RETIRED_PUT] = {3, "INSERT INTO retired_addresses VALUES (?1,?2,?3) "
				  "ON CONFLICT DO UPDATE SET until=?3"},
	[STORE_RETIRED_DEL] = {1, "DELETE FROM retired_addresses WHERE until<?1"},
	[STORE_AUDIT_PUT] = {5, "INSERT INTO audit (at,actor,action,subject,detail) "
				"VALUES (?1,?2,?3,?4,?5)"},
	[STORE_AUDIT_TRIM] = {1, "DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1"},
	[STORE_META_PUT] = {2, "INSERT INTO meta VALUES (?1,?2) ON CONFLICT DO UPDATE SET value=?2"},
};

static const char *const reads[STORE_READS] = {
	[STORE_NETWORKS] = "SELECT id,name,cidr,cidr6,created_at FROM networks LIMIT ?1",
	[STORE_AGENTS] = "SELECT id,public_key,created_at,expired,ephemeral,capabilities,endpoints,"
			 "last_seen,online,tokens_from FROM agents LIMIT ?1",
	[STORE_MEMBERS] = "SELECT * FROM agent_networks LIMIT ?1",
	[STORE_ROUTES] = "SELECT * FROM routes LIMIT ?1",
	[STORE_KEYS] = "SELECT * FROM keys LIMIT ?1",
	[STORE_RETIRED] = "SELECT * FROM retired_addresses LIMIT ?1",
	[STORE_AUDIT] = "SELECT at,actor,action,subject,detail FROM (SELECT * FROM audit "
			"ORDER BY id DESC LIMIT ?1) ORDER BY id",
	[STORE_META] = "SELECT key,value FROM meta LIMIT ?1",
};

struct store_backend {
	sqlite3 *writer, *reader;
	sqlite3_stmt *statements[STORE_WRITES];
};

unsigned store_write_values(enum store_write what)
{
	return writes[what].values;
}

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

	if (version < 0 || version > (int)ARRAY_SIZE(migrations)) {
		snprintf(error, size, version < 0 ? "%s" : "it was made by a newer version of this program",
			 sqlite3_errmsg(db));
		return -EIO;
	}
	for (; version < (int)ARRAY_SIZE(migrations); version++) {
		snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", version + 1);
		if (run(db, "BEGIN IMMEDIATE") || run(db, migrations[version]) || run(db, sql) ||
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

struct store_backend *store_sqlite_open(const char *path, char *error, size_t size)
{
	struct store_backend *backend = xcalloc(1, sizeof(*backend));
	char why[200] = "";
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); /* its -wal takes the mode over */
	if (fd < 0) {
		snprintf(why, sizeof(why), "%s", strerror(errno));
		goto bad;
	}
	close(fd);
	backend->writer = open_one(path, SQLITE_OPEN_READWRITE, why, sizeof(why));
	if (!backend->writer)
		goto bad;
	if (run(backend->writer, "PRAGMA journal_mode=WAL") ||
	    run(backend->writer, "PRAGMA synchronous=FULL") ||
	    run(backend->writer, "PRAGMA foreign_keys=ON")) {
		snprintf(why, sizeof(why), "%s", sqlite3_errmsg(backend->writer));
		goto bad;
	}
	if (migrate(backend->writer, why, sizeof(why)) < 0)
		goto bad;
	backend->reader = open_one(path, SQLITE_OPEN_READWRITE, why, sizeof(why));
	if (!backend->reader)
		goto bad;
	return backend;
bad:
	snprintf(error, size, "cannot use the database %s: %s", path, why);
	store_sqlite_close(backend);
	return NULL;
}

void store_sqlite_close(struct store_backend *backend)
{
	if (!backend)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(backend->statements); i++)
		sqlite3_finalize(backend->statements[i]);
	sqlite3_close(backend->reader);
	sqlite3_close(backend->writer);
	free(backend);
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

static int write_one(struct store_backend *backend, const struct store_op *op)
{
	sqlite3_stmt **slot = &backend->statements[op->what], *statement;
	int rc;

	if (!*slot && sqlite3_prepare_v3(backend->writer, writes[op->what].sql, -1,
					 SQLITE_PREPARE_PERSISTENT, slot, NULL) != SQLITE_OK)
		return -EIO;
	statement = *slot;
	for (unsigned i = 0; i < op->count; i++)
		bind(statement, (int)i + 1, &op->values[i]);
	rc = sqlite3_step(statement);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return rc == SQLITE_DONE ? 0 : -EIO;
}

int store_sqlite_commit(struct store_backend *backend, struct list *ops, char *error, size_t size)
{
	const struct store_op *op;

	if (list_empty(ops))
		return 0;
	if (run(backend->writer, "BEGIN IMMEDIATE"))
		goto bad;
	list_each(op, ops, node)
		if (write_one(backend, op) < 0)
			goto bad;
	if (run(backend->writer, "COMMIT"))
		goto bad;
	return 0;
bad:
	snprintf(error, size, "the database says: %s", sqlite3_errmsg(backend->writer));
	run(backend->writer, "ROLLBACK");
	return -EIO;
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

int store_sqlite_read(struct store_backend *backend, enum store_read what, int64_t limit,
		      store_row_fn *fn, void *arg)
{
	struct store_value row[MAX_VALUES];
	sqlite3_stmt *statement;
	int rc;

	if (sqlite3_prepare_v2(backend->reader, reads[what], -1, &statement, NULL) != SQLITE_OK)
		return -EIO;
	sqlite3_bind_int64(statement, 1, limit);
	while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(statement) && i < MAX_VALUES; i++)
			row[i] = column(statement, i);
		fn(arg, row);
	}
	sqlite3_finalize(statement);
	return rc == SQLITE_DONE ? 0 : -EIO;
}
