/* The store: the same cases for SQLite, and for PostgreSQL where WG_MESH_TEST_POSTGRES is the URL of
 * an empty database (tests/interop/postgres.sh sets it). */
#include "coordinator/store/store_driver.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/str.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#ifdef HAVE_LIBPQ
#include <libpq-fe.h>
#endif

static const char *postgres;
static char dir[] = "/tmp/wg-mesh-test-store.XXXXXX", path[80], url[300];
static struct loop *loop;
static struct store *store;

static void exec_sqlite(const char *sql)
{
	char *why = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fail_msg("%s", why);
	sqlite3_close(db);
}

static void exec_postgres(const char *sql)
{
#ifdef HAVE_LIBPQ
	PGconn *conn = PQconnectdb(postgres);
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(conn));
	PQclear(result);
	PQfinish(conn);
#else
	fail_msg("built without libpq: %s", sql);
#endif
}

static void open_store(void)
{
	char error[300] = "";
	bool away;

	loop = loop_new();
	store = store_open(loop, url, &away, error, sizeof(error));
	if (!store)
		fail_msg("%s", error);
}

static void close_store(void)
{
	store_close(store);
	loop_free(loop);
}

/* An empty database each. */
static int begin_empty(void **state)
{
	(void)state;
	if (postgres) {
		snprintf(url, sizeof(url), "%s", postgres);
		exec_postgres("SET client_min_messages=warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	} else {
		snprintf(path, sizeof(path), "%s/db", dir);
		snprintf(url, sizeof(url), "sqlite:%s", path);
	}
	return 0;
}

static int begin(void **state)
{
	begin_empty(state);
	open_store();
	return 0;
}

static int end_files(void **state)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char file[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends) && !postgres; i++) {
		snprintf(file, sizeof(file), "%s%s", path, ends[i]);
		unlink(file);
	}
	return 0;
}

static int end(void **state)
{
	close_store();
	return end_files(state);
}

/* ---- writing ------------------------------------------------------------------------------ */

#define WRITE(what, ...) store_write(store, what, (struct store_value[]){__VA_ARGS__})
#define T(text) store_text(text)
#define N(number) store_int(number)

static uint8_t bytes[32];

static struct store_value blob(int first)
{
	bytes[0] = (uint8_t)first;
	return store_blob(bytes, sizeof(bytes));
}

static void put_network(const char *id, const char *name)
{
	WRITE(STORE_NETWORK_PUT, T(id), T(name), T("10.0.0.0/16"), T(NULL), N(1700000000000), N(0));
}

static void put_member(const char *id, const char *network, const char *name, const char *address)
{
	WRITE(STORE_MEMBER_PUT, T(id), T(network), T(name), T(address), T(NULL), T("[]"), T("k1"), N(2), N(0), N(1));
}

static void put_agent(const char *id, int key, const char *name, const char *address)
{
	WRITE(STORE_AGENT_PUT, T(id), blob(key), N(1), T(NULL), N(4));
	put_member(id, "n1", name, address);
}

static void put_key(const char *id, int hash, int reusable)
{
	WRITE(STORE_KEY_PUT, T(id), blob(hash), T("n1"), N(reusable), N(0), T(NULL), T("[\"a\"]"), N(1), N(2),
	      N(0), T(NULL), N(0), T("{}"));
}

static void put_device(const char *id, const char *network, const char *via, const char *name, int key)
{
	WRITE(STORE_DEVICE_PUT, T(id), T(network), T(via), T(name), blob(key), T(NULL), T(NULL), N(5));
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(loop);
}

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("nothing was committed");
}

static struct store_wait *wait_all(struct store_wait *wait)
{
	struct loop_timer limit; /* also keeps the loop going while only a thread is busy */

	timer_init(&limit, loop, too_late, NULL);
	timer_start(&limit, 60000);
	store_wait(store, wait, stop, NULL);
	loop_run(loop);
	timer_stop(&limit);
	return wait;
}

static bool flush(void) /* true: not refused */
{
	struct store_wait wait = {0};

	return !wait_all(&wait)->refused;
}

/* ---- reading: "a|b|3|" lines ---------------------------------------------------------------- */

static struct buf seen;

static void note_row(void *arg, const struct store_value *row)
{
	(void)arg;
	for (int i = 0; i < STORE_MAX_VALUES; i++) {
		if (row[i].type == STORE_INT)
			buf_addf(&seen, "%lld|", (long long)row[i].number);
		else if (row[i].type == STORE_TEXT)
			buf_addf(&seen, "%s|", store_string(&row[i]));
		else if (row[i].type == STORE_BLOB)
			buf_addf(&seen, "<%zu:%02x>|", row[i].len, *(const uint8_t *)row[i].data);
		else
			buf_puts(&seen, "-|");
	}
	while (seen.len > 1 && !memcmp(buf_text(&seen) + seen.len - 2, "-|", 2))
		seen.len -= 2;
	buf_puts(&seen, "\n");
}

static const char *rows(enum store_read what)
{
	buf_free(&seen);
	assert_int_equal(store_read(store, what, 10000, note_row, NULL), 0);
	return buf_text(&seen);
}

/* ---- cases ---------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
	(void)state;
	put_network("n1", "default");
	put_agent("a1", 7, "nas", "10.0.0.1");
	WRITE(STORE_AGENT_SEEN, T("a1"), T("{}"), N(5), N(1), T("i1"), N(6));
	WRITE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("192.168.0.0/16"), N(0));
	WRITE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("192.168.0.0/16"), N(1));
	put_key("k1", 9, 1);
	WRITE(STORE_RETIRED_PUT, T("n1"), T("10.0.0.9"), N(1700000000000));
	WRITE(STORE_AUDIT_PUT, N(1), T("root"), T("made"), T(NULL), T("\xc3\xa4 'quoted' \\ \"this\""),
	      T("n1"));
	WRITE(STORE_AUDIT_PUT, N(2), T("root"), T("made"), T("x"), T(""), T(NULL));
	WRITE(STORE_META_PUT, T("secret"), store_blob("\0\1\2", 3));
	WRITE(STORE_META_PUT, T("secret"), store_blob("\3\0\2\1", 4));
	WRITE(STORE_INSTANCE_PUT, T("i1"), T("[]"), T("pin"), N(3));
	WRITE(STORE_NETWORK_SET, T("n1"), N(1));
	WRITE(STORE_MEMBER_EXPIRY, T("a1"), T("n1"), N(77));
	WRITE(STORE_MEMBER_EXPIRE, T("a1"), T("n1"));
	put_device("d1", "n1", "a1", "phone", 6);
	WRITE(STORE_USER_PUT, T("ann"), T(NULL), T("{}"), N(1), N(0));
	WRITE(STORE_USER_PASSWORD, T("ann"), T("hash"));
	WRITE(STORE_USER_ROLES, T("ann"), T("{\"*\":\"admin\"}"), T("{}"));
	WRITE(STORE_USER_LOGIN, T("ann"), N(8));
	WRITE(STORE_TOKEN_PUT, T("t1"), blob(8), N(0), T("ann"), T("ci"), T(NULL), T("[\"read\"]"), N(1), N(2), N(3));
	WRITE(STORE_TOKEN_PUT, T("t2"), blob(9), N(1), T(NULL), T(""), T("{}"), T(NULL), N(1), N(2), N(3));
	WRITE(STORE_TOKEN_USED, T("t1"), N(4));
	WRITE(STORE_RELAY_PUT, T("r1"), T("fra"), T("https://r"), T(NULL), T("[]"), N(1));
	assert_true(flush());
	close_store(); /* it must be on the disk */
	open_store();
	assert_string_equal(rows(STORE_NETWORKS), "n1|default|10.0.0.0/16|-|1700000000000|1|\n");
	assert_string_equal(rows(STORE_AGENTS), "a1|<32:07>|1|-|{}|5|1|4|i1|6|\n");
	assert_string_equal(rows(STORE_MEMBERS), "a1|n1|nas|10.0.0.1|-|[]|k1|2|0|1|1|77|\n");
	assert_string_equal(rows(STORE_DEVICES), "d1|n1|a1|phone|<32:06>|-|-|5|\n");
	assert_string_equal(rows(STORE_ROUTES), "a1|n1|192.168.0.0/16|1|\n");
	assert_string_equal(rows(STORE_KEYS), "k1|<32:09>|n1|1|0|-|[\"a\"]|1|2|0|-|0|{}|\n");
	assert_string_equal(rows(STORE_RETIRED), "n1|10.0.0.9|1700000000000|\n");
	assert_string_equal(rows(STORE_AUDIT), "1|root|made|-|\xc3\xa4 'quoted' \\ \"this\"|n1|\n"
					       "2|root|made|x||\n");
	assert_string_equal(rows(STORE_META), "secret|<4:03>|\n");
	assert_string_equal(rows(STORE_INSTANCES), "i1|[]|pin|3|\n");
	assert_string_equal(rows(STORE_USERS), "ann|hash|{\"*\":\"admin\"}|1|8|\n");
	assert_string_equal(rows(STORE_TOKENS), "t1|<32:08>|0|ann|ci|-|[\"read\"]|1|2|4|\n"
						"t2|<32:09>|1|-||{}|-|1|2|3|\n");
	assert_string_equal(rows(STORE_RELAYS), "r1|fra|https://r|-|[]|1|\n");
	WRITE(STORE_USER_DEL, T("ann"));
	WRITE(STORE_RELAY_DEL, T("r1"));
	WRITE(STORE_AGENT_DEL, T("a1"));
	WRITE(STORE_AUDIT_TRIM, N(1));
	WRITE(STORE_RETIRED_DEL, N(1700000000001));
	WRITE(STORE_INSTANCE_DEL, N(4));
	WRITE(STORE_META_DEL, T("secret"));
	assert_true(flush());
	assert_string_equal(rows(STORE_AGENTS), "");
	assert_string_equal(rows(STORE_MEMBERS), "");
	assert_string_equal(rows(STORE_ROUTES), "");
	assert_string_equal(rows(STORE_RETIRED), "");
	assert_string_equal(rows(STORE_INSTANCES), "");
	assert_string_equal(rows(STORE_USERS), "");
	assert_string_equal(rows(STORE_TOKENS), "t2|<32:09>|1|-||{}|-|1|2|3|\n"); /* hers went with her */
	assert_string_equal(rows(STORE_RELAYS), "");
	assert_string_equal(rows(STORE_META), "");
	assert_string_equal(rows(STORE_AUDIT), "2|root|made|x||\n");
}

static unsigned refusals;

static void nothing(void *arg)
{
	(void)arg;
}

static void count_refusal(void *arg, enum store_write what, const struct store_value *values)
{
	(void)arg;
	(void)what;
	(void)values;
	refusals++;
}

/* What another coordinator has taken meanwhile is refused with its whole group, and nothing else. */
static void test_refused_by_group(void **state)
{
	struct store_wait first = {0}, second = {0}, third = {0}, last = {0};

	(void)state;
	refusals = 0;
	store_on_refused(store, count_refusal, NULL);
	put_network("n1", "default");
	assert_true(flush());
	store_begin(store);
	put_agent("a1", 1, "nas", "10.0.0.1");
	store_wait(store, &first, nothing, NULL);
	store_begin(store);
	put_agent("a2", 2, "other", "10.0.0.1"); /* the address */
	WRITE(STORE_AUDIT_PUT, N(1), T("x"), T("agent-registered"), T("a2"), T(NULL), T("n1"));
	store_wait(store, &second, nothing, NULL);
	store_begin(store);
	put_agent("a3", 3, "nas", "10.0.0.3"); /* the name */
	store_wait(store, &third, nothing, NULL);
	store_begin(store);
	put_agent("a4", 4, "last", "10.0.0.4");
	wait_all(&last);
	assert_true(flush());
	assert_false(first.refused || last.refused);
	assert_true(second.refused && third.refused);
	assert_int_equal(refusals, 5);
	assert_string_equal(rows(STORE_MEMBERS), "a1|n1|nas|10.0.0.1|-|[]|k1|2|0|1|0|0|\n"
						 "a4|n1|last|10.0.0.4|-|[]|k1|2|0|1|0|0|\n");
	assert_string_equal(rows(STORE_AUDIT), "");
	assert_false(store_behind(store));
}

static bool write_alone(enum store_write what, const struct store_value *values)
{
	struct store_wait wait = {0};

	store_begin(store);
	store_write(store, what, values);
	wait_all(&wait);
	return !wait.refused;
}
#define ALONE(what, ...) write_alone(what, (struct store_value[]){__VA_ARGS__})

static void test_conditions(void **state)
{
	(void)state;
	put_network("n1", "default");
	put_key("one", 1, 0);
	put_key("many", 2, 1);
	put_agent("a1", 1, "nas", "10.0.0.1");
	assert_true(flush());
	assert_true(ALONE(STORE_KEY_USE, T("one"), N(10), T("a1")));
	assert_true(ALONE(STORE_KEY_USE, T("one"), N(11), T("a1"))); /* the same again */
	assert_false(ALONE(STORE_KEY_USE, T("one"), N(12), T("a2")));
	assert_true(ALONE(STORE_KEY_USE, T("many"), N(10), T("a1")));
	assert_true(ALONE(STORE_KEY_USE, T("many"), N(11), T("a2")));
	assert_true(ALONE(STORE_KEY_REVOKE, T("many"), N(13)));
	assert_false(ALONE(STORE_KEY_USE, T("many"), N(14), T("a3")));
	assert_false(ALONE(STORE_KEY_REVOKE, T("none"), N(13)));
	assert_true(ALONE(STORE_META_NEW, T("m"), store_blob("1", 1)));
	assert_false(ALONE(STORE_META_NEW, T("m"), store_blob("2", 1)));
	assert_true(ALONE(STORE_META_END, T("m")));
	assert_false(ALONE(STORE_META_END, T("m")));
	assert_true(ALONE(STORE_AGENT_TOKENS, T("a1"), N(9)));
	assert_false(ALONE(STORE_AGENT_TOKENS, T("gone"), N(9)));
	assert_true(ALONE(STORE_MEMBER_EXPIRE, T("a1"), T("n1")));
	assert_false(ALONE(STORE_MEMBER_EXPIRE, T("a1"), T("n2")));
	assert_false(ALONE(STORE_MEMBER_RETURN, T("a1"), T("n2")));
	assert_false(ALONE(STORE_AGENT_KEY, T("a1"), blob(5)));
	assert_false(ALONE(STORE_ROUTE_PUT, T("gone"), T("n1"), T("10.1.0.0/16"), N(0)));
	assert_false(ALONE(STORE_NETWORK_PUT, T("n2"), T("default"), T("x"), T(NULL), N(1), N(0)));
	assert_false(ALONE(STORE_NETWORK_SET, T("gone"), N(1)));
	assert_false(ALONE(STORE_MEMBER_EXPIRY, T("gone"), T("n1"), N(1)));
	assert_true(ALONE(STORE_TOKEN_PUT, T("t8"), blob(2), N(2), T(NULL), T(""), T(NULL), T(NULL), N(1), N(0),
			  N(1)));
	assert_true(ALONE(STORE_TOKEN_SPEND, T("t8")));
	assert_false(ALONE(STORE_TOKEN_SPEND, T("t8")));
	assert_false(ALONE(STORE_TOKEN_PUT, T("t9"), blob(3), N(0), T("nobody"), T(""), T(NULL), T(NULL), N(1), N(0),
			   N(1)));
	/* The later home is right. */
	assert_true(ALONE(STORE_AGENT_SEEN, T("a1"), T("new"), N(1), N(1), T("i2"), N(20)));
	assert_true(ALONE(STORE_AGENT_SEEN, T("a1"), T("old"), N(1), N(0), T("i1"), N(19)));
	assert_string_equal(rows(STORE_AGENTS), "a1|<32:01>|1|-|new|1|1|9|i2|20|\n");
}

/* Memory may be older than the row: what is there is not made again, and a change is of what it names alone. */
static void test_changes(void **state)
{
	(void)state;
	put_network("n1", "default");
	put_agent("a1", 1, "nas", "10.0.0.1");
	put_network("n2", "other");
	WRITE(STORE_MEMBER_PUT, T("a1"), T("n2"), T("nas"), T(NULL), T(NULL), T("[]"), T("k1"), N(2), N(1), N(0));
	WRITE(STORE_USER_PUT, T("ann"), T("hash"), T("{\"*\":\"admin\"}"), N(1), N(0));
	assert_true(flush());
	put_device("d1", "n1", "a1", "phone", 6);
	assert_true(flush());
	assert_false(ALONE(STORE_AGENT_PUT, T("a1"), blob(9), N(1), T(NULL), N(0)));
	assert_false(ALONE(STORE_MEMBER_PUT, T("a1"), T("n1"), T("x"), T(NULL), T(NULL), T("[]"), T("k"), N(1), N(0), N(0)));
	assert_false(ALONE(STORE_USER_PUT, T("ann"), T(NULL), T("{}"), N(2), N(0)));
	assert_string_equal(rows(STORE_AGENTS), "a1|<32:01>|1|-|-|0|0|4|-|0|\n");
	assert_true(ALONE(STORE_AGENT_SET, T("a1"), T("{\"x\":1}")));
	assert_true(ALONE(STORE_MEMBER_NAME, T("a1"), T("n1"), T("box")));
	assert_true(ALONE(STORE_MEMBER_TAGS, T("a1"), T("n1"), T("[\"a\"]")));
	assert_string_equal(rows(STORE_AGENTS), "a1|<32:01>|1|{\"x\":1}|-|0|0|4|-|0|\n");
	assert_non_null(strstr(rows(STORE_MEMBERS), "a1|n1|box|10.0.0.1|-|[\"a\"]|k1|2|0|1|0|0|\n"));
	assert_true(ALONE(STORE_MEMBER_KEY, T("a1"), T("n1"), T("[]"), T("k2")));
	assert_true(ALONE(STORE_MEMBER_AGAIN, T("a1"), T("n1"), N(1)));
	assert_non_null(strstr(rows(STORE_MEMBERS), "a1|n1|box|10.0.0.1|-|[]|k2|2|0|1|0|0|\n"));
	assert_true(ALONE(STORE_MEMBER_AGAIN, T("a1"), T("n1"), N(0)));
	assert_true(ALONE(STORE_MEMBER_AGAIN, T("a1"), T("n2"), N(1)));
	assert_true(ALONE(STORE_MEMBER_APPROVE, T("a1"), T("n2")));
	assert_non_null(strstr(rows(STORE_MEMBERS), "a1|n1|box|10.0.0.1|-|[]|k2|2|0|0|0|0|\n"));
	assert_non_null(strstr(rows(STORE_MEMBERS), "a1|n2|nas|-|-|[]|k1|2|0|0|0|0|\n"));
	assert_false(ALONE(STORE_MEMBER_NAME, T("a1"), T("n1"), T("phone"))); /* a device's */
	assert_true(ALONE(STORE_MEMBER_NAME, T("a1"), T("n2"), T("phone")));
	assert_true(ALONE(STORE_USER_ROLES, T("ann"), T("{}"), T("{\"*\":\"admin\"}")));
	assert_false(ALONE(STORE_USER_ROLES, T("ann"), T("{\"n1\":\"viewer\"}"), T("{\"*\":\"admin\"}")));
	assert_true(ALONE(STORE_USER_PASSWORD, T("ann"), T("other")));
	assert_string_equal(rows(STORE_USERS), "ann|other|{}|1|0|\n");
	/* What is gone stays gone. */
	assert_false(ALONE(STORE_AGENT_SET, T("gone"), T("{}")));
	assert_false(ALONE(STORE_MEMBER_NAME, T("gone"), T("n1"), T("x")));
	assert_false(ALONE(STORE_MEMBER_TAGS, T("gone"), T("n1"), T("[]")));
	assert_false(ALONE(STORE_MEMBER_KEY, T("gone"), T("n1"), T("[]"), T("k")));
	assert_false(ALONE(STORE_MEMBER_AGAIN, T("gone"), T("n1"), N(0)));
	assert_false(ALONE(STORE_MEMBER_APPROVE, T("gone"), T("n1")));
	assert_false(ALONE(STORE_USER_PASSWORD, T("gone"), T("x")));
}

/* An administrator's word on a route (1, 2) stays, whatever agent and policy say meanwhile at another. */
static void test_routes(void **state)
{
	(void)state;
	put_network("n1", "default");
	put_agent("a1", 1, "nas", "10.0.0.1");
	WRITE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("10.1.0.0/16"), N(0));
	WRITE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("110.1.0.0/16"), N(3));
	WRITE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("fd00::/48"), N(0));
	assert_true(flush());
	assert_true(ALONE(STORE_ROUTE_SET, T("a1"), T("n1"), T("10.1.0.0/16"), N(2)));
	assert_true(ALONE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("10.1.0.0/16"), N(3)));
	assert_true(ALONE(STORE_ROUTE_JUDGE, T("a1"), T("n1"), T("10.1.0.0/16"), N(3)));
	assert_true(ALONE(STORE_ROUTE_JUDGE, T("a1"), T("n1"), T("110.1.0.0/16"), N(0)));
	assert_true(ALONE(STORE_ROUTE_PUT, T("a1"), T("n1"), T("fd00::/48"), N(3)));
	assert_true(ALONE(STORE_ROUTE_JUDGE, T("a1"), T("n1"), T("10.9.0.0/16"), N(3))); /* makes none */
	assert_false(ALONE(STORE_ROUTE_SET, T("a1"), T("n1"), T("10.9.0.0/16"), N(1)));
	assert_non_null(strstr(rows(STORE_ROUTES), "a1|n1|10.1.0.0/16|2|\n"));
	assert_non_null(strstr(rows(STORE_ROUTES), "a1|n1|110.1.0.0/16|0|\n"));
	assert_non_null(strstr(rows(STORE_ROUTES), "a1|n1|fd00::/48|3|\n"));
	assert_true(ALONE(STORE_ROUTES_KEEP, T("a1"), T("n1"), T(" 110.1.0.0/16 fd00::/48 ")));
	assert_null(strstr(rows(STORE_ROUTES), "|10.1.0.0/16|"));
	assert_non_null(strstr(rows(STORE_ROUTES), "|110.1.0.0/16|"));
	assert_non_null(strstr(rows(STORE_ROUTES), "|fd00::/48|"));
	assert_true(ALONE(STORE_ROUTES_KEEP, T("a1"), T("n1"), T(" ")));
	assert_string_equal(rows(STORE_ROUTES), "");
}

/* Whose key it is, is a question within one network; what an agent has joined meanwhile is seen. */
static void test_networks_apart(void **state)
{
	(void)state;
	put_network("n1", "red");
	put_network("n2", "blue");
	put_agent("a1", 1, "red-gate", "10.0.0.1");
	WRITE(STORE_AGENT_PUT, T("a2"), blob(2), N(1), T(NULL), N(0));
	put_member("a2", "n2", "blue-gate", "10.0.0.1");
	put_device("d1", "n1", "a1", "phone", 2); /* the key of blue's agent */
	put_device("d2", "n2", "a2", "phone", 3);
	put_device("d3", "n1", "a1", "other", 3); /* of blue's device */
	assert_true(flush());
	assert_false(ALONE(STORE_DEVICE_PUT, T("d4"), T("n1"), T("a1"), T("x"), blob(3), T(NULL), T(NULL), N(1)));
	assert_false(ALONE(STORE_DEVICE_PUT, T("d4"), T("n2"), T("a2"), T("x"), blob(2), T(NULL), T(NULL), N(1)));
	/* An agent joins where a device has its key, and takes the key of a device of its own networks. */
	assert_false(ALONE(STORE_MEMBER_PUT, T("a2"), T("n1"), T("b"), T(NULL), T(NULL), T("[]"), T("k"), N(1), N(0), N(0)));
	assert_false(ALONE(STORE_AGENT_KEY, T("a2"), blob(3)));
	bytes[1] = 9;
	assert_true(ALONE(STORE_AGENT_KEY, T("a1"), blob(7)));
	bytes[1] = 0;
	assert_true(ALONE(STORE_DEVICE_DEL, T("d1")));
	assert_true(ALONE(STORE_MEMBER_PUT, T("a2"), T("n1"), T("b"), T(NULL), T(NULL), T("[]"), T("k"), N(1), N(0), N(0)));
	/* What it is in is what was judged, or it is refused. */
	assert_true(ALONE(STORE_AGENT_ALONE, T("a2"), T("n2 n1 ")));
	assert_false(ALONE(STORE_AGENT_ALONE, T("a2"), T("n2 ")));
	assert_false(ALONE(STORE_AGENT_ALONE, T("a2"), T("")));
	/* Expired in one network is not expired in the other, and no rename takes it back. */
	assert_true(ALONE(STORE_MEMBER_EXPIRE, T("a2"), T("n1")));
	assert_true(ALONE(STORE_AGENT_KEY, T("a2"), blob(8)));
	assert_true(ALONE(STORE_MEMBER_NAME, T("a2"), T("n1"), T("c")));
	assert_non_null(strstr(rows(STORE_MEMBERS), "a2|n1|c|-|-|[]|k|1|0|0|1|0|\n"));
	assert_non_null(strstr(rows(STORE_MEMBERS), "a2|n2|blue-gate|10.0.0.1|-|[]|k1|2|0|1|0|0|\n"));
	assert_true(ALONE(STORE_MEMBER_RETURN, T("a2"), T("n1")));
	assert_non_null(strstr(rows(STORE_MEMBERS), "a2|n1|c|-|-|[]|k|1|0|0|0|0|\n"));
}

static void fetched(void *arg, uint64_t serial)
{
	uint64_t *out = arg;

	*out = serial;
}

/* Fetched rows are those of after the writes before them, and come before those who wait. */
static void test_fetch(void **state)
{
	uint64_t serial = 0, asked;

	(void)state;
	buf_free(&seen);
	put_network("n1", "default");
	put_agent("a1", 1, "nas", "10.0.0.1");
	put_agent("a2", 2, "pc", "10.0.0.2");
	asked = store_batch(store);
	store_fetch(store, STORE_MEMBERS_OF, "a2", 0, note_row, fetched, &serial);
	assert_true(flush());
	assert_int_equal(serial, asked);
	assert_true(store_batch(store) > serial);
	assert_string_equal(buf_text(&seen), "a2|n1|pc|10.0.0.2|-|[]|k1|2|0|1|0|0|\n");
	buf_free(&seen);
	store_fetch(store, STORE_AGENT_OF, "none", 0, note_row, fetched, &serial);
	store_fetch(store, STORE_NETWORKS, NULL, 5, note_row, fetched, &serial);
	assert_true(flush());
	assert_string_equal(buf_text(&seen), "n1|default|10.0.0.0/16|-|1700000000000|0|\n");
}

/* What a commit tells others, and what of it they read. */
static void test_bulletins(void **state)
{
	char wanted[360];

	(void)state;
	buf_free(&seen);
	put_network("n1", "default");
	put_agent("a1", 1, "nas", "10.0.0.1");
	put_agent("a2", 2, "pc", "10.0.0.2");
	put_key("k1", 3, 1);
	WRITE(STORE_AUDIT_PUT, N(7), T("root"), T("made"), T("k1"), T(NULL), T("n1"));
	WRITE(STORE_RETIRED_PUT, T("n1"), T("10.0.0.9"), N(99));
	assert_true(flush());
	WRITE(STORE_AGENT_SEEN, T("a1"), T("[]"), N(5), N(1), T("i1"), N(10)); /* of no interest */
	assert_true(flush());
	store_begin(store);
	WRITE(STORE_NETWORK_PUT, T("n2"), T("default"), T("10.1.0.0/16"), T(NULL), N(1), N(0)); /* refused */
	store_begin(store);
	WRITE(STORE_KEY_REVOKE, T("k1"), N(9));
	assert_true(flush());
	store_fetch(store, STORE_BULLETINS, NULL, 0, note_row, NULL, NULL);
	assert_true(flush());
	if (!postgres) { /* one coordinator only */
		assert_string_equal(store_instance(store), "");
		assert_string_equal(buf_text(&seen), "");
		return;
	}
	snprintf(wanted, sizeof(wanted),
		 "1|{\"from\":\"%s\",\"networks\":{\"n1\":true},\"agents\":{\"a1\":true,\"a2\":true},"
		 "\"keys\":{\"k1\":true},\"audit\":[[7,\"root\",\"made\",\"k1\",null,\"n1\"]],"
		 "\"retired\":[[\"n1\",\"10.0.0.9\",99]]}|1|\n"
		 "2|{\"from\":\"%s\",\"keys\":{\"k1\":true}}|1|\n", store_instance(store), store_instance(store));
	assert_string_equal(buf_text(&seen), wanted);
	buf_free(&seen);
	store_fetch(store, STORE_BULLETINS, NULL, 1, note_row, NULL, NULL); /* after the first */
	store_fetch(store, STORE_LAST_BULLETIN, NULL, 1, note_row, NULL, NULL);
	assert_true(flush());
	snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "2|\n");
	assert_string_equal(buf_text(&seen), strchr(wanted, '\n') + 1);
	WRITE(STORE_BULLETIN_DEL, N(INT64_MAX));
	assert_true(flush());
	assert_string_equal(rows(STORE_BULLETINS), "");
}

static void note_pending(void *arg, const struct store_value *row)
{
	const bool *wanted = arg;

	assert_int_equal(store_pending(store, ABOUT_AGENT, store_string(&row[0])), *wanted);
	assert_int_equal(store_pending(store, ABOUT_AGENT, NULL), *wanted);
	assert_false(store_pending(store, ABOUT_KEY, NULL));
	assert_false(store_pending(store, ABOUT_AGENT, "a9"));
	note_row(NULL, row);
}

static void write_meanwhile(void *arg)
{
	(void)arg;
	WRITE(STORE_AGENT_TOKENS, T("a1"), N(77));
}

/* A row that was read while something newer waits to be written is known as such. */
static void test_pending(void **state)
{
	bool yes = true, no = false;
	struct loop_task task;

	(void)state;
	buf_free(&seen);
	put_network("n1", "default");
	put_agent("a1", 1, "nas", "10.0.0.1");
	assert_true(flush());
	store_fetch(store, STORE_AGENT_OF, "a1", 0, note_pending, NULL, &no);
	assert_true(flush());
	store_fetch(store, STORE_AGENT_OF, "a1", 0, note_pending, NULL, &yes);
	task_init(&task, write_meanwhile, NULL); /* after this has been handed over */
	task_defer(loop, &task);
	assert_true(flush());
	assert_true(flush());
	assert_non_null(strstr(rows(STORE_AGENTS), "|77|"));
}

/* At the start, without the loop; of two that make the same, one is there. */
static void test_settle(void **state)
{
	(void)state;
	store_begin(store);
	WRITE(STORE_META_NEW, T("secret"), blob(1));
	assert_int_equal(store_settle(store), 0);
	store_begin(store);
	WRITE(STORE_META_NEW, T("secret"), blob(2));
	put_network("n1", "default");
	store_begin(store);
	put_network("n2", "other");
	assert_int_equal(store_settle(store), 0);
	assert_string_equal(rows(STORE_META), "secret|<32:01>|\n");
	assert_string_equal(rows(STORE_NETWORKS), "n2|other|10.0.0.0/16|-|1700000000000|0|\n");
	assert_true(flush());
}

/* More than goes through the database's pipe at once. */
static void test_many(void **state)
{
	char id[20], name[20], address[20];
	unsigned count = 0;

	(void)state;
	put_network("n1", "default");
	for (int i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "a%d", i);
		snprintf(name, sizeof(name), "name%d", i);
		snprintf(address, sizeof(address), "10.0.%d.%d", i / 200, i % 200 + 1);
		bytes[1] = (uint8_t)(i / 256);
		put_agent(id, i % 256, name, address);
	}
	assert_true(flush());
	for (const char *text = rows(STORE_MEMBERS); (text = strchr(text, '\n')); text++)
		count++;
	assert_int_equal(count, 3000);
	bytes[1] = 0;
}

/* ---- versions ----------------------------------------------------------------------------------- */

static void load_fixture(int version)
{
	char file[80], number[120], *text;
	struct buf sql, theirs;

	buf_init(&sql, 0);
	snprintf(file, sizeof(file), "tests/unit/store/v%d.sql", version);
	assert_int_equal(file_read(file, 1 << 20, &sql), 0);
	if (!postgres) {
		snprintf(number, sizeof(number), "PRAGMA user_version=%d;", version);
		buf_puts(&sql, number);
		exec_sqlite(buf_text(&sql));
	} else {
		snprintf(number, sizeof(number), "CREATE TABLE schema_version (version BIGINT);"
			 "INSERT INTO schema_version VALUES (%d)", version);
		buf_init(&theirs, 0);
		for (const char *at = buf_text(&sql); *at; at++) { /* X'00' is '\x00' there */
			if (str_has_prefix(at, "X'"))
				buf_puts(&theirs, "'\\x");
			else
				buf_add(&theirs, at, 1);
			at += str_has_prefix(at, "X'");
		}
		text = sql_for_postgres(buf_text(&theirs));
		exec_postgres(number);
		exec_postgres(text);
		free(text);
		buf_free(&theirs);
	}
	buf_free(&sql);
}

static void test_from_every_version(void **state)
{
	(void)state;
	for (int version = 1; version < sql_version; version++) {
		begin_empty(state);
		load_fixture(version);
		open_store();
		assert_non_null(strstr(rows(STORE_AGENTS), "a1|<32:"));
		assert_non_null(strstr(rows(STORE_MEMBERS), "a1|n1|nas|10.86.0.1|fd00:1::1|[\"web\"]|k1|1700000000003|"
							    "0|0|0|0|\n"));
		if (version == 5) { /* what was an agent's is a membership's */
			assert_non_null(strstr(rows(STORE_MEMBERS), "a9|n1|gone|10.86.0.9|-|[]|k1|1700000000019|1|1|1|"
								    "1700000000018|\n"));
			assert_string_equal(rows(STORE_DEVICES),
					    "d1|n1|a1|phone|<32:66>|10.86.0.5|-|1700000000020|\n");
		}
		assert_string_equal(rows(STORE_ROUTES), "a1|n1|192.168.1.0/24|1|\n");
		assert_non_null(strstr(rows(STORE_KEYS), "|1700000000006|a1|0|\n"));
		assert_string_equal(rows(STORE_RETIRED), "n1|10.86.0.2|1700000000007|\n");
		assert_string_equal(rows(STORE_AUDIT), "1700000000008|root|network-created|default|\n");
		put_agent("a2", 2, "pc", "10.86.0.3");
		put_network("n2", "other");
		put_device("d8", "n1", "a1", "tablet", 7);
		put_device("d9", "n2", "a1", "tablet", 7);
		assert_true(flush());
		close_store();
		end_files(state);
	}
}

static void test_newer_version(void **state)
{
	char error[300] = "";
	bool away = true;

	begin(state);
	close_store();
	if (postgres)
		exec_postgres("INSERT INTO schema_version VALUES (1000)");
	else
		exec_sqlite("PRAGMA user_version=1000");
	loop = loop_new();
	assert_null(store_open(loop, url, &away, error, sizeof(error)));
	assert_false(away);
	assert_non_null(strstr(error, "newer version"));
	loop_free(loop);
	end_files(state);
}

static void test_shown(void **state)
{
	static const char *const urls[][2] = {
		{"sqlite:/a@b:c?d", "sqlite:/a@b:c?d"},
		{"postgres://mesh:secret@db:5432/mesh?password=secret", "postgres://mesh@db:5432/mesh"},
		{"postgres://mesh@db/mesh", "postgres://mesh@db/mesh"},
		{"postgresql://db/mesh?user=x&password=s@x", "postgresql://db/mesh"},
		{"postgres:///mesh?host=/run/x@y", "postgres:///mesh"},
		{"postgres://:secret@db", "postgres://@db"},
	};
	char shown[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		store_url_shown(shown, sizeof(shown), urls[i][0]);
		assert_string_equal(shown, urls[i][1]);
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		CASE(test_round_trip), CASE(test_refused_by_group), CASE(test_conditions), CASE(test_changes), CASE(test_routes),
		CASE(test_networks_apart), CASE(test_fetch), CASE(test_shown), CASE(test_bulletins), CASE(test_pending), CASE(test_settle), CASE(test_many), cmocka_unit_test(test_from_every_version), cmocka_unit_test(test_newer_version),
	};
	int failed;

	postgres = getenv("WG_MESH_TEST_POSTGRES");
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&seen);
	rmdir(dir);
	return failed;
}
