/* What the audit and the agents' changes wait for before anybody hears of them: a store of its own, and one who
 * listens. */
#include "coordinator/coordinator.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/store/store_private.h"
#include "coordinator/sync/events_private.h"
#include "lib/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/wg-mesh-test-events.XXXXXX", path[80];
static struct coordinator co;
static struct events events;
static struct network *network;
static struct member *one, *other;
static struct buf heard; /* a line each: network, what was told */
static unsigned lost;

/* ---- in the place of events.c ---- */

void events_tell(struct events *to, const char *network_id, char *frame)
{
	char error[JS_ERROR];
	json_t *json = js_load(frame, strlen(frame), error), *audit = json_object_get(json, "audit");
	json_t *agent = json_object_get(json, "agent");

	assert_ptr_equal(to, &events);
	assert_non_null(json);
	buf_addf(&heard, "%s ", network_id);
	if (audit)
		buf_addf(&heard, "audit %s\n", json_string_value(json_object_get(audit, "action")));
	else if (agent)
		buf_addf(&heard, "put %s %s\n", json_string_value(json_object_get(agent, "name")),
			 json_is_true(json_object_get(agent, "online")) ? "online" : "offline");
	else
		buf_addf(&heard, "%s %s\n", json_string_value(json_object_get(json, "op")),
			 json_string_value(json_object_get(json, "agent_id")));
	json_decref(json);
	free(frame);
}

void events_lost(struct events *to)
{
	assert_ptr_equal(to, &events);
	lost++;
}

struct events *events_new(struct coordinator *of)
{
	(void)of;
	return NULL;
}

void events_free(struct events *of)
{
	(void)of;
}

void events_bye(struct events *to)
{
	(void)to;
}

size_t events_listeners(const struct events *of)
{
	return of->count;
}

void events_accept(struct request *rq, const struct who *who)
{
	(void)rq;
	(void)who;
}

void events_cut(struct events *of, const char *access_id)
{
	(void)of;
	(void)access_id;
}

void events_follow(struct events *of, events_follow_fn *fn, void *arg)
{
	of->follow = fn;
	of->follow_arg = arg;
}

/* ---- a coordinator, as far as it is needed ---- */

static struct member *member_new(const char *id, uint8_t key, const char *name)
{
	struct key public_key = {{key}};

	return mesh_member_add(mesh_agent_add(&co.mesh, id, &public_key), network, name);
}

static int begin(void **state)
{
	char error[300] = "", url[100];
	struct prefix cidr, none = {0};
	bool away;

	(void)state;
	snprintf(path, sizeof(path), "%s/db", dir);
	snprintf(url, sizeof(url), "sqlite:%s", path);
	memset(&co, 0, sizeof(co));
	memset(&events, 0, sizeof(events));
	co.loop = loop_new();
	co.store = store_open(co.loop, url, &away, error, sizeof(error));
	if (!co.store)
		fail_msg("%s", error);
	mesh_init(&co.mesh);
	co.events = &events;
	events.co = &co;
	events.count = 1;
	list_init(&events.listeners);
	list_init(&events.held);
	assert_true(prefix_parse(&cidr, "10.100.0.0/16"));
	network = mesh_network_add(&co.mesh, "n1", "lab", &cidr, &none);
	one = member_new("a1", 1, "one");
	other = member_new("a2", 2, "other");
	lost = 0;
	buf_free(&heard);
	return 0;
}

static int end(void **state)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char file[100];

	(void)state;
	events_gate_clear(&events);
	assert_int_equal(events.held_bytes, 0);
	store_close(co.store);
	mesh_fini(&co.mesh);
	loop_free(co.loop);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		snprintf(file, sizeof(file), "%s%s", path, ends[i]);
		unlink(file);
	}
	return 0;
}

static void stop(void *arg)
{
	(void)arg;
	loop_stop(co.loop);
}

static void too_late(void *arg)
{
	(void)arg;
	fail_msg("nothing was committed");
}

/* All that was written is on the disk, or was refused. */
static void flush(void)
{
	struct store_wait wait = {0};
	struct loop_timer limit;

	timer_init(&limit, co.loop, too_late, NULL);
	timer_start(&limit, 60000);
	for (int i = 0; i < 2; i++) { /* of what was refused one hears a batch later */
		store_begin(co.store);
		store_wait(co.store, &wait, stop, NULL);
		loop_run(co.loop);
	}
	timer_stop(&limit);
}

static void says(const char *text)
{
	assert_string_equal(heard.len ? buf_text(&heard) : "", text);
	buf_free(&heard);
}

static void online(struct member *member)
{
	member->agent->online = true;
	events_seen(&events, member);
}

/* ---- cases ---- */

static void test_after_the_disk(void **state)
{
	(void)state;
	online(other);
	says("n1 put other online\n");
	store_begin(co.store);
	registry_audit_in(&co, network, "x", "made", NULL, NULL);
	registry_audit(&co, "x", "for-everything", NULL, NULL);
	events_agent(&events, one);
	online(one); /* behind its change */
	online(one);
	events_agent_gone(&events, network, "a9");
	online(other);
	says("n1 put other online\n");
	flush();
	says("n1 audit made\n audit for-everything\nn1 put one offline\nn1 put one online\nn1 remove a9\n");
	online(one);
	says("n1 put one online\n");
}

/* A change while one waits: each as it was when it was written. */
static void test_changed_again(void **state)
{
	(void)state;
	registry_audit_in(&co, network, "x", "first", NULL, NULL);
	events_agent(&events, one);
	store_hand_over(co.store);
	mesh_member_rename(one, "uno");
	registry_audit_in(&co, network, "x", "second", NULL, NULL);
	events_agent(&events, one);
	flush();
	says("n1 audit first\nn1 put one offline\nn1 audit second\nn1 put uno offline\n");
}

static void test_who_comes_meanwhile(void **state)
{
	(void)state;
	events.count = 0;
	events_agent(&events, one);
	online(one);
	events.count = 1;
	flush();
	says("n1 put one online\n");
	events.count = 0;
	events_agent(&events, one);
	flush();
	says("");
}

static void put_network(const char *id)
{
	store_write(co.store, STORE_NETWORK_PUT,
		    (struct store_value[]){store_text(id), store_text("same"), store_text("10.101.0.0/16"),
					   store_text(NULL), store_int(1), store_int(0)});
}

static void test_refused(void **state)
{
	(void)state;
	store_begin(co.store);
	put_network("n2");
	registry_audit(&co, "x", "taken", NULL, NULL);
	store_begin(co.store);
	put_network("n3"); /* of the same name */
	registry_audit(&co, "x", "refused", NULL, NULL);
	events_agent_gone(&events, network, "a9");
	events_agent(&events, one);
	mesh_member_rename(one, "healed");
	store_begin(co.store);
	registry_audit(&co, "x", "later", NULL, NULL);
	flush();
	says(" audit taken\n audit later\nn1 put healed offline\n");
}

static void test_bounded(void **state)
{
	char detail[1001];

	(void)state;
	memset(detail, 'x', sizeof(detail) - 1);
	detail[sizeof(detail) - 1] = '\0';
	events_agent(&events, one);
	online(one);
	for (int i = 0; i < 3000 && !lost; i++) {
		registry_audit(&co, "x", "much", NULL, detail);
		assert_in_range(events.held_bytes, 0, 3u << 20);
	}
	assert_int_equal(lost, 1);
	events_agent(&events, one);
	events.held_bytes += 2u << 20;
	online(one); /* this alone is too much */
	events.held_bytes -= 2u << 20;
	assert_int_equal(lost, 2);
	flush();
	says("");
	one->agent->online = false;
	events_agent(&events, one);
	online(one);
	registry_audit(&co, "x", "after", NULL, NULL);
	flush();
	says("n1 put one offline\nn1 put one online\n audit after\n");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {CASE(test_after_the_disk), CASE(test_changed_again), CASE(test_refused),
					   CASE(test_who_comes_meanwhile),
					   CASE(test_bounded)};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&heard);
	rmdir(dir);
	return failed;
}
