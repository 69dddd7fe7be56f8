/*
 * store_postgres_read.c - rows from PostgreSQL, and whole tables for backup, restore and migrate.
 */
#include "store_postgres.h"

#ifdef HAVE_LIBPQ

#include "lib/clock.h"
#include "lib/str.h"

#include <errno.h>
#include <stdio.h>

#define TYPE_BYTEA 17
#define TYPE_INT8  20
#define TYPE_INT4  23

static struct store_value column(const PGresult *result, int row, int at, unsigned char **owned)
{
	const char *text = PQgetvalue(result, row, at);
	size_t len;

	*owned = NULL;
	if (PQgetisnull(result, row, at))
		return (struct store_value){.type = STORE_NULL};
	switch (PQftype(result, at)) {
	case TYPE_INT4:
	case TYPE_INT8:
		return store_int(strtoll(text, NULL, 10));
	case TYPE_BYTEA:
		*owned = PQunescapeBytea((const unsigned char *)text, &len);
		return store_blob(*owned, *owned ? len : 0);
	}
	return store_text(text);
}

static void each_row(const PGresult *result, store_row_fn *fn, void *arg)
{
	int columns = MIN(PQnfields(result), STORE_MAX_VALUES);

	for (int row = 0; row < PQntuples(result); row++) {
		struct store_value values[STORE_MAX_VALUES] = {0};
		unsigned char *owned[STORE_MAX_VALUES] = {0};

		for (int i = 0; i < columns; i++)
			values[i] = column(result, row, i, &owned[i]);
		fn(arg, values);
		for (int i = 0; i < columns; i++)
			PQfreemem(owned[i]);
	}
}

void postgres_follow_clock(const PGresult *result, int column, uint64_t asked_ms)
{
	uint64_t now;

	if (PQntuples(result) == 1 && parse_u64(PQgetvalue(result, 0, column), &now))
		clock_follow(now, asked_ms);
}

int postgres_read(struct store_backend *backend, enum store_read what, const char *id, int64_t limit,
		  store_row_fn *fn, void *arg, char *error, size_t size)
{
	char number[24], *sql;
	const char *values[] = {id ? id : number};
	PGresult *result;
	int verdict = -EIO;

	snprintf(number, sizeof(number), "%lld", (long long)limit);
	if (!postgres_connected(backend)) {
		sql = sql_for_postgres(sql_reads[what]);
		result = PQexecParams(backend->conn, sql, 1, NULL, values, NULL, NULL, 0);
		if (PQresultStatus(result) == PGRES_TUPLES_OK)
			each_row(result, fn, arg);
		verdict = postgres_judge(backend, result, false);
		free(sql);
	}
	if (verdict)
		snprintf(error, size, "%s", backend->why);
	return verdict ? -EIO : 0;
}

int postgres_exec(struct store_backend *backend, const char *sql, char *error, size_t size)
{
	if (!postgres_connected(backend) && !postgres_run_translated(backend, sql))
		return 0;
	snprintf(error, size, "%s", backend->why);
	return -EIO;
}

int postgres_dump(struct store_backend *backend, const char *table, store_dump_fn *fn, void *arg,
			 char *error, size_t size)
{
	const char *names[STORE_MAX_VALUES];
	char sql[80];
	PGresult *result;
	unsigned count;

	snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY 1", table);
	result = PQexec(backend->conn, sql);
	count = (unsigned)MIN(PQnfields(result), STORE_MAX_VALUES);
	for (unsigned i = 0; i < count; i++)
		names[i] = PQfname(result, (int)i);
	for (int row = 0; row < PQntuples(result); row++) {
		struct store_value values[STORE_MAX_VALUES] = {0};
		unsigned char *owned[STORE_MAX_VALUES] = {0};

		for (unsigned i = 0; i < count; i++)
			values[i] = column(result, row, (int)i, &owned[i]);
		fn(arg, names, values, count);
		for (unsigned i = 0; i < count; i++)
			PQfreemem(owned[i]);
	}
	if (!postgres_judge(backend, result, false))
		return 0;
	snprintf(error, size, "%s", backend->why);
	return -EIO;
}

int postgres_load(struct store_backend *backend, const char *table, const char *const *columns,
			 const struct store_value *values, unsigned count, char *error, size_t size)
{
	char *sql = sql_insert(table, columns, count), *theirs = sql_for_postgres(sql);
	struct parameters p;
	int verdict;

	postgres_fill(&p, values, count);
	verdict = postgres_judge(backend, PQexecParams(backend->conn, theirs, (int)count, NULL, p.values, p.lengths,
					      p.formats, 0), false);
	free(theirs);
	free(sql);
	if (verdict)
		snprintf(error, size, "%s", backend->why);
	return verdict;
}

#endif
