/*
 * backup.c - a backup is an SQLite database of the same schema, whatever the coordinator's own is,
 * with one more table: the key files. So backup, restore and migrate are one copy of all tables.
 *
 * What is restored is older than what agents know. The row `restored` in `meta` has the next start
 * make a new token secret and let in, for a time, those who can show that they were here (heal.c).
 */
#include "backup.h"
#include "args.h"
#include "inplace.h"
#include "lock.h"
#include "coordinator/access/who.h"
#include "coordinator/store/store_driver.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE (1 << 20)
#define READMIT_MS (24 * 3600 * 1000ull)

/* Of the state directory: without them proofs, links and the embedded relay's key are others. */
static const char *const files[] = {"server.key", "tls.key", "tls.crt"};
static const char *const file_columns[] = {"name", "data"};

static int failed(const char *format, ...) PRINTF_LIKE(1, 2);
static int failed(const char *format, ...)
{
	va_list args;

	fputs("wg-mesh-coordinator: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return 1;
}

/* ---- one database to another --------------------------------------------------------------------- */

struct side {
	const struct store_driver *driver;
	struct store_backend *backend;
	char error[300];
	bool away; /* a server that does not answer */
};

static bool side_open(struct side *side, const char *url)
{
	side->driver = store_driver(url);
	side->backend = side->driver->open(url, &side->away, side->error, sizeof(side->error));
	return side->backend;
}

/* Of the file of SQLite; NULL: another kind. */
static const char *path_of(const char *url)
{
	return str_has_prefix(url, "sqlite:") ? url + strlen("sqlite:") : NULL;
}

/* Where a name is wrong, opening it would make an empty one. */
static bool is_there(struct side *side, const char *url)
{
	const char *path = path_of(url);

	if (!path || !access(path, F_OK))
		return true;
	snprintf(side->error, sizeof(side->error), "there is no database %s: name the one that is there, with --db or "
		 "db: in coordinator.yaml", path);
	return false;
}

static int side_exec(struct side *side, const char *sql)
{
	return side->driver->exec(side->backend, sql, side->error, sizeof(side->error));
}

/* 0: no coordinator, of this state directory or another, works on it. */
static int side_alone(struct side *side)
{
	return side->driver->alone ? side_exec(side, side->driver->alone) : 0;
}

static void side_close(struct side *side)
{
	if (side->driver)
		side->driver->close(side->backend);
	side->backend = NULL;
}

struct copying {
	struct side *to;
	const struct sql_table *table;
	uint64_t rows;
	int result;
};

static void copy_row(void *arg, const char *const *columns, const struct store_value *values, unsigned count)
{
	struct copying *copying = arg;
	unsigned skip = copying->table->numbered ? 1 : 0; /* its first column: the database numbers anew */

	if (copying->result)
		return;
	copying->result = copying->to->driver->load(copying->to->backend, copying->table->name, columns + skip,
						    values + skip, count - skip, copying->to->error,
						    sizeof(copying->to->error));
	copying->rows++;
}

/* All tables, in an order that foreign keys allow; the target's own rows go first. `rows` gets how many of each. */
static int copy_all(struct side *from, struct side *to, json_t *rows)
{
	char sql[80];
	int result = side_exec(from, from->driver->snapshot);

	if (!result)
		result = side_exec(to, "BEGIN");
	for (size_t i = sql_table_count; i-- > 0 && !result;) {
		snprintf(sql, sizeof(sql), "DELETE FROM %s", sql_tables[i].name);
		result = side_exec(to, sql);
	}
	for (size_t i = 0; i < sql_table_count && !result; i++) {
		struct copying copying = {.to = to, .table = &sql_tables[i]};

		result = from->driver->dump(from->backend, sql_tables[i].name, copy_row, &copying, from->error,
					    sizeof(from->error));
		result = result ? result : copying.result;
		if (!result)
			json_object_set_new(rows, sql_tables[i].name, json_integer((json_int_t)copying.rows));
	}
	if (!result)
		result = side_exec(to, "COMMIT");
	side_exec(from, "ROLLBACK");
	return result;
}

/* "rows" of a result. */
static json_t *rows_of(json_t *result)
{
	json_t *rows = json_object();

	json_object_set_new(result, "rows", rows);
	return rows;
}

static const char *why(const struct side *a, const struct side *b)
{
	return *a->error ? a->error : b->error;
}

static int code_of(const struct side *a, const struct side *b)
{
	return a->away || b->away ? EXIT_NOT_REACHABLE : EXIT_FAILED;
}

/* Into the database itself, since no coordinator need run. A full disk keeps nobody from a backup. */
static void put_audit(struct side *side, const char *action, const char *subject)
{
	static const char *const columns[] = {"at", "actor", "action", "subject"};
	struct who who;

	who_root(&who, (unsigned)getuid());
	if (side->driver->load(side->backend, "audit", columns,
			       (struct store_value[]){store_int((int64_t)clock_wall_ms()), store_text(who.actor),
						      store_text(action), store_text(subject)}, 4,
			       side->error, sizeof(side->error)))
		fprintf(stderr, "wg-mesh-coordinator: the audit has no line %s: %s\n", action, side->error);
}

/* ---- backup ---------------------------------------------------------------------------------------- */

static int put_files(struct side *to, const struct config *config)
{
	struct buf file;
	int result = side_exec(to, "CREATE TABLE files (name TEXT PRIMARY KEY, data BLOB NOT NULL)");

	for (size_t i = 0; i < ARRAY_SIZE(files) && !result; i++) {
		char *path = xasprintf("%s/%s", config->state, files[i]);

		buf_init(&file, MAX_FILE);
		if (!file_read(path, MAX_FILE, &file)) {
			const struct store_value row[] = {store_text(files[i]), store_blob(file.data, file.len)};

			result = to->driver->load(to->backend, "files", file_columns, row, 2, to->error,
						  sizeof(to->error));
		}
		buf_wipe(&file);
		free(path);
	}
	return result;
}

int backup_run(const struct config *config, const json_t *options, json_t *result)
{
	const char *path = json_string_value(json_object_get(options, "file"));
	char *temporary, *url;
	struct side from = {0}, to = {0};
	int code = 0;

	umask(0077);
	temporary = inplace_beside(path);
	if (!temporary)
		return failed("cannot make a backup at %s: %s", path, strerror(errno));
	url = xasprintf("sqlite:%s", temporary);
	if (!is_there(&from, config->db) || !side_open(&from, config->db) || !side_open(&to, url)) {
		failed("cannot make a backup: %s", why(&from, &to));
		code = code_of(&from, &to);
	} else {
		put_audit(&from, "backup-made", path);
		if (copy_all(&from, &to, rows_of(result)) || put_files(&to, config) ||
		    side_exec(&to, "PRAGMA journal_mode=DELETE"))
			code = failed("cannot make a backup: %s", why(&from, &to));
	}
	side_close(&to);
	side_close(&from);
	if (!code && rename(temporary, path) < 0)
		code = failed("cannot make a backup at %s: %s", path, strerror(errno));
	if (code)
		inplace_remove(temporary);
	else
		file_sync_directory_of(path);
	json_object_set_new(result, "file", json_string(path));
	json_object_set_new(result, "message", json_sprintf("backup written to %s: keep it as safe as the server, its "
							    "keys are in it", path));
	free(url);
	free(temporary);
	return code;
}

/* ---- restore ---------------------------------------------------------------------------------------- */

struct taking {
	const struct config *config;
	bool looking; /* whether they are there: nothing is written yet */
	int result;
};

static void take_file(void *arg, const char *const *columns, const struct store_value *values, unsigned count)
{
	struct taking *taking = arg;
	char *path;

	(void)columns;
	for (size_t i = 0; i < ARRAY_SIZE(files) && count == 2 && !taking->result; i++) {
		if (strcmp(files[i], store_string(&values[0])) || taking->looking)
			continue;
		path = xasprintf("%s/%s", taking->config->state, files[i]);
		taking->result = file_write_atomic(path, values[1].data, values[1].len, 0600);
		free(path);
	}
}

/* The backup may be of an older version: what is brought up to date is a copy. */
static char *working_copy(const struct config *config, const char *path)
{
	char *copy = xasprintf("%s/restore.part", config->state);
	struct buf file;
	int result;

	buf_init(&file, SIZE_MAX / 2);
	result = file_read_any(path, SIZE_MAX / 4, &file);
	if (!result && (file.len < 16 || memcmp(file.data, "SQLite format 3", 16)))
		result = -EBADMSG;
	if (!result)
		result = inplace_remove(copy); /* of a restore that was ended */
	if (!result)
		result = file_write_atomic(copy, file.data, file.len, 0600);
	buf_wipe(&file);
	if (!result)
		return copy;
	if (result == -EBADMSG)
		failed("%s is no backup of a coordinator", path);
	else
		failed("cannot read the backup %s: %s", path, strerror(-result));
	free(copy);
	return NULL;
}

/* Who is in the dashboard, or has a link to it, comes in again by a password or a new link: sessions that
 * were ended since the backup and links that were used are in it. */
static int mark_restored(struct side *copy, uint64_t readmit_ms)
{
	static const char *const columns[] = {"key", "value"};
	char text[24];

	if (side_exec(copy, "DELETE FROM tokens WHERE session<>0") ||
	    side_exec(copy, "DELETE FROM meta WHERE key='restored'"))
		return -1;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)readmit_ms);
	return copy->driver->load(copy->backend, "meta", columns,
				  (struct store_value[]){store_text("restored"), store_blob(text, strlen(text))}, 2,
				  copy->error, sizeof(copy->error));
}

static int take_files(struct side *from, struct taking *taking, bool looking)
{
	taking->looking = looking;
	if (from->driver->dump(from->backend, "files", take_file, taking, from->error, sizeof(from->error)))
		return failed("this is no backup of a coordinator: %s", from->error);
	if (taking->result)
		return failed("cannot write the keys into %s: %s; restore once more when that is mended",
			      taking->config->state, strerror(-taking->result));
	return 0;
}

/* One transaction in PostgreSQL; an SQLite file is made beside the old one. So one that fails has
 * changed nothing. */
static int take_rows(struct side *from, const struct config *config, uint64_t readmit_ms, json_t *told)
{
	const char *path = path_of(config->db);
	char *url = path ? xasprintf("%s.restored", config->db) : xstrdup(config->db);
	const char *restored = url + strlen("sqlite:"); /* where there is a path */
	struct side to = {0};
	char *kept = NULL;
	int result;

	if (path)
		inplace_remove(restored);
	result = !side_open(&to, url) || side_alone(&to) || mark_restored(from, readmit_ms) ||
		 copy_all(from, &to, rows_of(told));
	if (result) {
		failed("cannot restore: %s; nothing was changed", why(&to, from));
		result = code_of(&to, from);
	}
	side_close(&to);
	if (path && !result) {
		if (inplace_put(path, restored, &kept, to.error, sizeof(to.error)))
			result = failed("cannot restore: %s; nothing was changed", to.error);
		else if (kept)
			json_object_set_new(told, "kept", json_string(kept));
	}
	if (path && result)
		inplace_remove(restored);
	free(kept);
	free(url);
	return result;
}

/* The keys come last: a restore that fails leaves the server's own. Where it ends between the two, the next
 * start sees that by a file of no content. */
static int restore_from(const struct config *config, const char *copy, uint64_t readmit_ms, json_t *told)
{
	char *url = xasprintf("sqlite:%s", copy);
	struct taking taking = {.config = config};
	char *unfinished = xasprintf("%s/restore.unfinished", config->state);
	bool before = !access(unfinished, F_OK);
	struct side from = {0};
	int result, error;

	if (!side_open(&from, url))
		result = failed("this is no backup of a coordinator: %s", from.error);
	else if (!(result = take_files(&from, &taking, true)) &&
		 (error = file_write_atomic(unfinished, "", 0, 0600)) < 0)
		result = failed("cannot write into %s: %s; nothing was changed", config->state, strerror(-error));
	if (!result && (result = take_rows(&from, config, readmit_ms, told)) && !before)
		unlink(unfinished);
	if (!result && !(result = take_files(&from, &taking, false)))
		unlink(unfinished);
	side_close(&from);
	inplace_remove(copy);
	free(unfinished);
	free(url);
	return result;
}

/* Nobody may work on the database meanwhile. The state directory is made as `serve` makes it: a restore is
 * mostly on a machine that has none yet. */
static bool alone(const struct config *config)
{
	int result = file_make_dirs(config->state, 0700);
	char error[300];

	if (result < 0) {
		failed("cannot make the directory %s: %s; move it with --state", config->state, strerror(-result));
		return false;
	}
	if (!lock_state(config, error, sizeof(error)) && !lock_database(config, false, error, sizeof(error)))
		return true;
	failed("%s", error);
	return false;
}

int restore_run(const struct config *config, const json_t *options, json_t *result)
{
	const char *path = json_string_value(json_object_get(options, "file"));
	const char *readmit = json_string_value(json_object_get(options, "readmit"));
	uint64_t readmit_ms = READMIT_MS;
	char *copy;
	int code;

	if (readmit && strcmp(readmit, "0") && !parse_duration(readmit, &readmit_ms)) {
		failed("--readmit %s is not a time such as 24h, or 0", readmit);
		return 2;
	}
	if (readmit && !strcmp(readmit, "0"))
		readmit_ms = 0;
	umask(0077);
	if (!alone(config))
		return 1;
	copy = working_copy(config, path);
	if (!copy)
		return 1;
	code = restore_from(config, copy, readmit_ms, result);
	free(copy);
	json_object_set_new(result, "file", json_string(path));
	json_object_set_new(result, "message", json_sprintf("restored from %s; start the coordinator: agents prove "
							    "their keys again and go on", path));
	return code;
}

/* A new mesh is none to begin where an old one was to come back. */
int restore_missing_database(const struct config *config, char *error, size_t size)
{
	const char *path = path_of(config->db);
	char *remains = path ? inplace_remains(path) : NULL;

	if (!remains)
		return 0;
	snprintf(error, size, "there is no database %s, but %s of a restore: restore the backup once more, or move "
		 "that file away to begin a new mesh", path, remains);
	free(remains);
	return 1;
}

int restore_missing_keys(const struct config *config, bool restored, char *error, size_t size)
{
	char *unfinished = xasprintf("%s/restore.unfinished", config->state);
	bool missing = restored && !access(unfinished, F_OK);

	if (missing)
		snprintf(error, size, "a restore has not come to its end, and the keys in %s may not be those of the "
			 "database: restore the backup once more", config->state);
	else
		unlink(unfinished); /* that one has changed nothing */
	free(unfinished);
	return missing;
}

/* ---- migrate ------------------------------------------------------------------------------------------ */

static void count_row(void *arg, const struct store_value *row)
{
	(void)row;
	++*(unsigned *)arg;
}

static int read_into(struct side *side, enum store_read what, unsigned *count)
{
	return side->driver->read(side->backend, what, NULL, 1, count_row, count, side->error,
				  sizeof(side->error));
}

int migrate_run(const struct config *config, const json_t *options, json_t *result)
{
	const char *url = json_string_value(json_object_get(options, "to")), *reason;
	struct side from = {0}, to = {0};
	unsigned there = 0;
	int code = 0;

	if (!url || !store_url_ok(url, &reason)) {
		failed("migrate needs --to sqlite:PATH or postgres://USER@HOST/DATABASE%s%s", url ? ": this one " : "",
		       url ? reason : "");
		return 2;
	}
	umask(0077);
	if (!is_there(&from, config->db)) {
		code = failed("cannot migrate: %s", from.error);
	} else if (!alone(config)) {
		code = EXIT_FAILED;
	} else if (!side_open(&from, config->db) || side_alone(&from) || !side_open(&to, url) ||
		   read_into(&to, STORE_NETWORKS, &there) || read_into(&to, STORE_META, &there)) {
		failed("cannot migrate: %s", why(&from, &to));
		code = code_of(&from, &to);
	} else if (there) {
		code = failed("the database to migrate to is not empty: name an empty one");
	} else if (copy_all(&from, &to, rows_of(result))) {
		code = failed("cannot migrate: %s; nothing was changed", why(&to, &from));
	} else {
		put_audit(&to, "database-migrated", NULL);
	}
	json_object_set_new(result, "message", json_string("all moved; the old database stays as it is. Put the new one "
							   "into db: of coordinator.yaml (or --db) and start"));
	side_close(&to);
	side_close(&from);
	return code;
}
