/*
 * store_postgres.c - the database at a PostgreSQL server, for several coordinators at once. Waits
 * where it must: it runs on the writer's thread.
 *
 * The tricky thing is a connection that breaks during COMMIT: nobody has said whether it was done. So
 * each transaction's number is asked for beforehand, and the next connection waits until that is no longer
 * in progress; then the transaction's bulletin is there or not. What became of the number says nothing: a
 * server that crashed before it was on the disk gives it to another.
 */
#include "store_postgres.h"

#ifdef HAVE_LIBPQ

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIPELINED  500 /* statements sent before their results are read */
#define ATTEMPTS   5   /* where two coordinators stood in each other's way */
#define BEGIN_TEXT "BEGIN"

/* ---- results ------------------------------------------------------------------------------------ */

/* The server's first line; what libpq says has the host, never the password. */
static void set_why(struct store_backend *backend, const char *text)
{
	if (!*text) /* nothing came, not even an error */
		text = PQerrorMessage(backend->conn);
	if (!*text)
		text = "the connection was lost";
	snprintf(backend->why, sizeof(backend->why), "PostgreSQL says: %.*s", (int)strcspn(text, "\n"), text);
}

/* 0; -EEXIST: the data is not allowed; -EIO. Frees the result. */
int postgres_judge(struct store_backend *backend, PGresult *result, bool must_change)
{
	ExecStatusType status = PQresultStatus(result);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	int verdict = -EIO;

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
		verdict = must_change && !strcmp(PQcmdTuples(result), "0") ? -EEXIST : 0;
	} else if (status != PGRES_PIPELINE_ABORTED) {
		set_why(backend, PQresultErrorMessage(result));
		/* Class 23: a constraint, 22: data it cannot take, 40: try again. */
		backend->again = state && str_has_prefix(state, "40");
		if (state && (str_has_prefix(state, "23") || str_has_prefix(state, "22")))
			verdict = -EEXIST;
	}
	PQclear(result);
	return verdict;
}

static int run(struct store_backend *backend, const char *sql)
{
	return postgres_judge(backend, PQexec(backend->conn, sql), false);
}

static void on_notice(void *arg, const char *text)
{
	(void)arg;
	log_debug("postgres", "notice=\"%.*s\"", (int)strcspn(text, "\n"), text);
}

/* ---- connecting ---------------------------------------------------------------------------------- */

static int schema_version(struct store_backend *backend, int *version)
{
	PGresult *result = PQexec(backend->conn, "SELECT max(version) FROM schema_version");
	uint64_t number = 0;

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
	    !PQgetisnull(result, 0, 0))
		parse_u64(PQgetvalue(result, 0, 0), &number);
	*version = (int)number;
	return postgres_judge(backend, result, false);
}

int postgres_run_translated(struct store_backend *backend, const char *sql)
{
	char *text = sql_for_postgres(sql);
	int result = run(backend, text);

	free(text);
	return result;
}

/* One coordinator at a time; all in one transaction. */
static int migrate(struct store_backend *backend)
{
	char sql[80];
	int version;

	if (run(backend, BEGIN_TEXT) || run(backend, "SELECT pg_advisory_xact_lock(2002873665)") ||
	    run(backend, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)") ||
	    schema_version(backend, &version))
		return -EIO;
	if (version > sql_version) {
		snprintf(backend->why, sizeof(backend->why), "it was made by a newer version of this program");
		return -EIO;
	}
	if (version < sql_version) {
		snprintf(sql, sizeof(sql), "INSERT INTO schema_version VALUES (%d)", sql_version);
		for (; version < sql_version; version++)
			if (postgres_run_translated(backend, sql_migrations[version]))
				return -EIO;
		if (run(backend, sql))
			return -EIO;
	}
	return run(backend, "COMMIT");
}

static int connect_now(struct store_backend *backend)
{
	static const char *const keys[] = {"dbname", "connect_timeout", "application_name",
					   "keepalives_idle", "tcp_user_timeout", NULL};
	const char *values[] = {backend->url, "5", "wg-mesh-coordinator", "10", "10000", NULL};

	PQfinish(backend->conn);
	memset(backend->prepared, 0, sizeof(backend->prepared));
	backend->conn = PQconnectdbParams(keys, values, 1);
	if (PQstatus(backend->conn) != CONNECTION_OK) {
		set_why(backend, PQerrorMessage(backend->conn));
		return -EIO;
	}
	PQsetNoticeProcessor(backend->conn, on_notice, NULL);
	/* An answer must mean that it is on the disk; one of us that hangs must not block the others. */
	return run(backend, "SET client_min_messages=warning;"
			    "SET lock_timeout='5s';"
			    "SET idle_in_transaction_session_timeout='30s';"
			    "SELECT CASE WHEN current_setting('synchronous_commit')='off' "
			    "THEN set_config('synchronous_commit','on',false) END");
}

int postgres_connected(struct store_backend *backend)
{
	if (backend->conn && PQstatus(backend->conn) == CONNECTION_OK)
		return 0;
	return connect_now(backend);
}

static void postgres_close(struct store_backend *backend)
{
	if (!backend)
		return;
	PQfinish(backend->conn);
	free(backend->url);
	free(backend);
}

/* Whoever refuses us is there. */
static bool is_away(const char *url)
{
	static const char *const keys[] = {"dbname", "connect_timeout", NULL};
	const char *values[] = {url, "5", NULL};
	PGPing said = PQpingParams(keys, values, 1);

	return said == PQPING_REJECT || said == PQPING_NO_RESPONSE;
}

/* Before anything is judged by the time. */
static int ask_clock(struct store_backend *backend)
{
	uint64_t asked_ms = clock_ms();
	PGresult *result = PQexec(backend->conn, "SELECT " POSTGRES_NOW);

	postgres_follow_clock(result, 0, asked_ms);
	return postgres_judge(backend, result, false);
}

static struct store_backend *postgres_open(const char *url, bool *away, char *error, size_t size)
{
	struct store_backend *backend = xcalloc(1, sizeof(*backend));
	uint8_t unique[8];

	backend->url = xstrdup(url);
	random_bytes(unique, sizeof(unique));
	hex_encode(backend->instance, sizeof(backend->instance), unique, sizeof(unique));
	*away = false;
	if (!connect_now(backend) && !ask_clock(backend) && !migrate(backend))
		return backend;
	*away = PQstatus(backend->conn) != CONNECTION_OK && is_away(url);
	snprintf(error, size, *away ? "cannot reach the PostgreSQL database: %s; start it, or name another with db: "
				      "or --db"
				    : "cannot use the PostgreSQL database: %s", backend->why);
	postgres_close(backend);
	return NULL;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

void postgres_fill(struct parameters *out, const struct store_value *values,
		   unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct store_value *value = &values[i];

		out->values[i] = NULL;
		out->lengths[i] = (int)value->len;
		out->formats[i] = value->type == STORE_BLOB;
		if (value->type == STORE_INT) {
			snprintf(out->numbers[i], sizeof(out->numbers[i]), "%lld", (long long)value->number);
			out->values[i] = out->numbers[i];
		} else if (value->type != STORE_NULL) {
			out->values[i] = value->data ? value->data : "";
		}
	}
}

static const char *name_of(char out[static 16], enum store_write what)
{
	snprintf(out, 16, "w%d", (int)what);
	return out;
}

static int prepare(struct store_backend *backend, enum store_write what)
{
	char name[16], *sql;
	int result;

	if (backend->prepared[what])
		return 0;
	sql = sql_for_postgres(sql_writes[what].sql);
	result = postgres_judge(backend, PQprepare(backend->conn, name_of(name, what), sql, 0, NULL), false);
	free(sql);
	backend->prepared[what] = !result;
	return result;
}

static int send_one(struct store_backend *backend, const struct store_op *op)
{
	struct parameters p;
	char name[16];

	postgres_fill(&p, op->values, op->count);
	return PQsendQueryPrepared(backend->conn, name_of(name, op->what), (int)op->count, p.values, p.lengths,
				   p.formats, 0) ? 0 : -EIO;
}

static int write_one(struct store_backend *backend, const struct store_op *op)
{
	struct parameters p;
	char name[16];

	if (prepare(backend, op->what))
		return -EIO;
	postgres_fill(&p, op->values, op->count);
	return postgres_judge(backend, PQexecPrepared(backend->conn, name_of(name, op->what), (int)op->count, p.values,
					     p.lengths, p.formats, 0), sql_writes[op->what].must_change);
}

/* The results of statements that were sent, up to the sync. */
static int collect(struct store_backend *backend, const struct list *first, unsigned count)
{
	const struct list *node = first;
	PGresult *result;
	int verdict = 0, each;

	for (unsigned i = 0; i < count; i++, node = node->next) {
		const struct store_op *op = container_of(node, struct store_op, node);

		while ((result = PQgetResult(backend->conn))) {
			each = postgres_judge(backend, result, sql_writes[op->what].must_change);
			verdict = verdict ? verdict : each;
		}
	}
	PQclear(PQgetResult(backend->conn)); /* of the sync */
	return PQstatus(backend->conn) == CONNECTION_OK ? verdict : -EIO;
}

/* Statements go out together, so that a batch takes few round trips. */
static int write_pipelined(struct store_backend *backend, struct list *ops)
{
	struct list *node = ops->next, *first;
	unsigned count;
	int result = 0;

	if (!PQenterPipelineMode(backend->conn))
		return -EIO;
	while (!result && node != ops) {
		first = node;
		for (count = 0; count < PIPELINED && node != ops && !result; count++, node = node->next)
			result = send_one(backend, container_of(node, struct store_op, node));
		if (result || !PQpipelineSync(backend->conn)) {
			set_why(backend, PQerrorMessage(backend->conn));
			return -EIO; /* the connection is given up */
		}
		result = collect(backend, first, count);
	}
	if (!PQexitPipelineMode(backend->conn))
		return -EIO;
	return result;
}

static bool adds_device(const struct list *ops)
{
	const struct store_op *op;

	list_each(op, ops, node)
		if (op->what == STORE_DEVICE_PUT)
			return true;
	return false;
}

static int begin(struct store_backend *backend)
{
	PGresult *result;
	int verdict;

	*backend->txid = *backend->bulletin = '\0';
	verdict = run(backend, BEGIN_TEXT);
	/* What a device takes, no agent may have, and two tables have no constraint together. */
	if (!verdict && adds_device(backend->ops))
		verdict = run(backend, "LOCK TABLE agents,agent_networks IN SHARE ROW EXCLUSIVE MODE");
	if (verdict)
		return verdict;
	result = PQexec(backend->conn, "SELECT txid_current()");
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		str_copy(backend->txid, sizeof(backend->txid), PQgetvalue(result, 0, 0));
	return postgres_judge(backend, result, false);
}

/* The lock makes the numbers of bulletins visible in their order, so that who asks for those after the last
 * it has seen misses none. */
static int publish(struct store_backend *backend)
{
	char *text = bulletin_text(backend->instance, backend->ops);
	const char *values[] = {backend->bulletin_at, text};
	PGresult *result;

	if (!text)
		return 0;
	if (run(backend, "SELECT pg_advisory_xact_lock(2002873666)")) {
		free(text);
		return -EIO;
	}
	snprintf(backend->bulletin_at, sizeof(backend->bulletin_at), "%lld", (long long)clock_wall_ms());
	result = PQexecParams(backend->conn,
			      "WITH new AS (INSERT INTO bulletins (at,text) VALUES ($1,$2) RETURNING id) "
			      "SELECT id, pg_notify('wg_mesh','') FROM new",
			      2, NULL, values, NULL, NULL, 0);
	free(text);
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		str_copy(backend->bulletin, sizeof(backend->bulletin), PQgetvalue(result, 0, 0));
	return postgres_judge(backend, result, false);
}

static int run_step(struct store_backend *backend, const char *sql)
{
	int result;

	if (!strcmp(sql, BEGIN_TEXT))
		return begin(backend);
	if (!strcmp(sql, "COMMIT")) {
		result = publish(backend);
		if (result)
			return result;
	}
	if (!strcmp(sql, "ROLLBACK") && PQtransactionStatus(backend->conn) == PQTRANS_IDLE)
		return 0;
	result = run(backend, sql);
	if (!strcmp(sql, "COMMIT"))
		backend->in_doubt = result && PQstatus(backend->conn) != CONNECTION_OK;
	return result;
}

static int write_all(struct store_backend *backend, struct list *ops)
{
	const struct store_op *op;
	int result = 0;

	list_each(op, ops, node)
		if (!result)
			result = prepare(backend, op->what);
	if (!result)
		result = begin(backend);
	return result ? result : write_pipelined(backend, ops);
}

/* 0: the transaction has ended, also with the server it was in; -EIO: nobody can say yet. The server may not
 * have noticed that its connection broke. */
static int look_up_end(struct store_backend *backend)
{
	const char *values[] = {backend->txid}, *state;
	PGresult *result = PQexecParams(backend->conn, "SELECT txid_status($1::bigint)", 1, NULL, values, NULL,
					NULL, 0);
	bool open = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
		    !strcmp(PQgetvalue(result, 0, 0), "in progress");

	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (state && !strcmp(state, "22023")) { /* a number that has not been given yet */
		PQclear(result);
		return 0;
	}
	if (postgres_judge(backend, result, false))
		return -EIO;
	if (open)
		snprintf(backend->why, sizeof(backend->why), "PostgreSQL is still busy with the last commit");
	return open ? -EIO : 0;
}

/* 0: it is done, 1: it is not; -EIO: nobody can say yet. What has no bulletin does no harm twice. A bulletin is
 * kept for an hour: who finds out later does again what may be there, and is refused where it is. */
static int look_up_doubt(struct store_backend *backend)
{
	const char *values[] = {backend->bulletin, backend->bulletin_at, backend->instance};
	PGresult *result;
	bool done;

	if (postgres_connected(backend) || look_up_end(backend))
		return -EIO;
	if (!*backend->bulletin)
		return 1;
	result = PQexecParams(backend->conn,
			      "SELECT FROM bulletins WHERE id=$1 AND at=$2 AND position($3::text IN text)>0",
			      3, NULL, values, NULL, NULL, 0);
	done = PQntuples(result) == 1;
	return postgres_judge(backend, result, false) ? -EIO : !done;
}

static int postgres_commit(struct store_backend *backend, struct list *ops, char *error, size_t size)
{
	static const struct sql_steps steps = {run_step, write_all, write_one};
	int result = -EIO;

	backend->ops = ops;
	if (backend->in_doubt) {
		result = look_up_doubt(backend);
		backend->in_doubt = result < 0;
	}
	if (!backend->in_doubt && result) {
		for (int i = 0; i < ATTEMPTS; i++) {
			backend->again = false;
			result = postgres_connected(backend);
			if (!result)
				result = sql_commit(&steps, backend, ops);
			if (!result || !backend->again)
				break;
		}
		/* One that is in the middle of something is of no more use. */
		if (result && PQtransactionStatus(backend->conn) != PQTRANS_IDLE) {
			PQfinish(backend->conn);
			backend->conn = NULL;
		}
	}
	if (result)
		snprintf(error, size, "%s", backend->why);
	return result;
}

static const char *postgres_instance(struct store_backend *backend)
{
	return backend->instance;
}

const struct store_driver store_postgres = {
	.instance = postgres_instance,
	.exec = postgres_exec,
	.dump = postgres_dump,
	.load = postgres_load,
	.alone = "DO $$ BEGIN IF EXISTS (SELECT FROM pg_stat_activity WHERE datname=current_database() AND "
		 "application_name='wg-mesh-coordinator bus') THEN RAISE EXCEPTION 'coordinators work on this "
		 "database: stop all of them first'; END IF; END $$",
	.snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
	.open = postgres_open,
	.close = postgres_close,
	.commit = postgres_commit,
	.read = postgres_read,
};

#else

const struct store_driver store_postgres = {0};

#endif
