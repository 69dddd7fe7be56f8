/*
 * cluster.c - who else is there, and what is said on the bus. Texts are JSON: "i" who says it, "n" a number
 * that makes it unlike any other, and one of
 *
 *   "beat": {"urls": [..], "pins": [..], "relays": [..], "hello": true|false}   here I am; hello: say where all
 *           of yours are
 *   "at": [[agent, home, home_since, online, last_seen, endpoints], ..]
 *   "signal", "spend", "spent", "login"   cluster_pass.c
 *   "bye": true
 *
 * "" comes from the database: something was committed. Nothing here is a secret: who can listen can read
 * the tables. `home_since` is the later one's right, and grows by at least one with each move.
 */
#include "cluster_private.h"
#include "coordinator/embedded.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAT_MS    2000
#define SILENT_MS  6000
#define RETURN_MS  3000  /* agents of one that died are offline after this, unless they are elsewhere */
#define BYE_MS     10000 /* the same, of one that stops */
#define ROOM       7400  /* bytes of a text, before the last item */
#define MAX_EARLY  10000
#define AGE_BEATS  15
#define MAX_OTHERS 64
#define AWAY_MS    (CLUSTER_KEEP_MS / 2)

void cluster_send(struct cluster *cluster, const char *to, const char *what, json_t *value)
{
	json_t *json = json_pack("{sssIso}", "i", cluster->self, "n", (json_int_t)++cluster->number, what, value);
	char *text = js_dump(json);

	bus_send(cluster->bus, to, text);
	free(text);
	json_decref(json);
}

/* ---- where agents are ------------------------------------------------------------------------------ */

static json_t *place_of(const struct agent *agent)
{
	struct proto_endpoints at;

	where_get(agent->at, &at);
	return json_pack("[ssIbIo]", agent->id, agent->home, (json_int_t)agent->home_since, agent->online,
			 (json_int_t)agent->last_seen, proto_write_endpoints(&at));
}

static void say_all(void *arg)
{
	struct cluster *cluster = arg;
	json_t *list = json_array(), *item;
	size_t used = 0, len;
	char *text;

	while (!list_empty(&cluster->unsaid)) {
		struct agent *agent = container_of(cluster->unsaid.next, struct agent, unsaid);

		list_del(&agent->unsaid);
		item = place_of(agent);
		text = js_dump(item);
		len = strlen(text) + 1;
		free(text);
		if (used && used + len > ROOM) {
			cluster_send(cluster, NULL, "at", list);
			list = json_array();
			used = 0;
		}
		json_array_append_new(list, item);
		used += len;
	}
	if (json_array_size(list))
		cluster_send(cluster, NULL, "at", list);
	else
		json_decref(list);
}

void cluster_say(struct cluster *cluster, struct agent *agent)
{
	if (!cluster || !cluster->up_ms || !map_count(cluster->instances))
		return; /* who comes asks for all */
	if (list_empty(&agent->unsaid))
		list_add_tail(&cluster->unsaid, &agent->unsaid);
	task_defer(cluster->co->loop, &cluster->saying);
}

static void say_ours(struct cluster *cluster)
{
	struct agent *agent;
	size_t pos = 0;

	while ((agent = map_next(cluster->co->mesh.agents, &pos, NULL)))
		if (agent->session || !strcmp(agent->home, cluster->self))
			cluster_say(cluster, agent);
}

void cluster_arrived(struct cluster *cluster, struct agent *agent)
{
	if (!cluster)
		return;
	agent->home_since = MAX(clock_wall_ms(), agent->home_since + 1);
	str_copy(agent->home, sizeof(agent->home), cluster->self);
	cluster_say(cluster, agent);
}

static bool lives(const struct cluster *cluster, const char *id)
{
	return cluster && *id && map_get(cluster->instances, id);
}

bool cluster_has(const struct cluster *cluster, const struct agent *agent)
{
	return agent->online && lives(cluster, agent->home);
}

static void take_place(struct cluster *cluster, struct agent *agent, json_t *item)
{
	const char *home = json_string_value(json_array_get(item, 1));
	uint64_t since = (uint64_t)json_integer_value(json_array_get(item, 2));
	bool online = json_is_true(json_array_get(item, 3));
	uint64_t seen = (uint64_t)json_integer_value(json_array_get(item, 4));
	char there[20 + INSTANCE_ID_MAX];
	struct proto_endpoints at;
	struct js js;

	js_read(&js, json_array_get(item, 5));
	if (!home || since < agent->home_since || !proto_read_endpoints(&js, &at))
		return;
	if (since > agent->home_since) {
		str_copy(agent->home, sizeof(agent->home), home);
		agent->home_since = since;
		snprintf(there, sizeof(there), "coordinator %s", agent->home);
		if (agent->session)
			sync_replaced(cluster->co->sync, agent, there);
	}
	if (online && lives(cluster, home))
		list_del(&agent->leaving);
	registry_heard(cluster->co, agent, &at, online || agent->session, seen);
}

static void remember(struct cluster *cluster, const char *id, json_t *item)
{
	if (map_count(cluster->early) < MAX_EARLY)
		json_decref(map_put(cluster->early, id, json_incref(item)));
}

static void free_items(struct map *map)
{
	json_t *item;
	size_t pos = 0;

	while ((item = map_next(map, &pos, NULL)))
		json_decref(item);
	map_free(map);
}

/* What was said of agents that have not become known meanwhile never will be of use. */
static void age(struct cluster *cluster)
{
	free_items(cluster->earlier);
	cluster->earlier = cluster->early;
	cluster->early = map_new(0);
}

void cluster_known(struct cluster *cluster, struct agent *agent)
{
	json_t *older = map_del(cluster->earlier, agent->id), *item = map_del(cluster->early, agent->id);

	if (!item) {
		item = older;
		older = NULL;
	}
	json_decref(older);
	if (item)
		take_place(cluster, agent, item);
	else if (agent->online && !lives(cluster, agent->home))
		sync_leaving(cluster->co->sync, agent, SILENT_MS);
	json_decref(item);
}

static void take_places(struct cluster *cluster, json_t *list)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		const char *id = json_string_value(json_array_get(item, 0));
		struct agent *agent = id ? map_get(cluster->co->mesh.agents, id) : NULL;

		if (agent && !mesh_expired(agent))
			take_place(cluster, agent, item);
		else if (id && !agent && strlen(id) < PROTO_ID_MAX)
			remember(cluster, id, item);
	}
}

/* ---- others -------------------------------------------------------------------------------------------- */

static void instance_free(struct instance *instance)
{
	json_decref(instance->urls);
	json_decref(instance->pins);
	json_decref(instance->relays);
	free(instance);
}

static void forget(struct cluster *cluster, struct instance *instance, uint64_t ms, const char *why)
{
	struct agent *agent;
	size_t pos = 0;
	unsigned count = 0;

	map_del(cluster->instances, instance->id);
	while ((agent = map_next(cluster->co->mesh.agents, &pos, NULL))) {
		if (!agent->online || strcmp(agent->home, instance->id))
			continue;
		sync_leaving(cluster->co->sync, agent, ms);
		count++;
	}
	log_info("coordinator-gone", "instance=%s agents=%u reason=\"%s\"", instance->id, count, why);
	instance_free(instance);
	sync_relays(cluster->co->sync, false);
}

/* To one (NULL: all); hello: say where all of yours are. */
static void beat(struct cluster *cluster, const char *to, bool hello)
{
	const struct coordinator *co = cluster->co;
	json_t *urls = json_array();

	for (unsigned i = 0; i < co->config.url_count; i++)
		json_array_append_new(urls, json_string(co->config.urls[i]));
	cluster_send(cluster, to, "beat",
		     json_pack("{sososo*sb}", "urls", urls, "pins", coordinator_own_pins(co), "relays",
			       co->embedded ? embedded_relays(co->embedded) : NULL, "hello", hello));
}

/* One that is new here, also because it was taken for gone: what each has missed is said. */
static struct instance *instance_of(struct cluster *cluster, const char *id)
{
	struct instance *instance = map_get(cluster->instances, id);

	if (!instance && strlen(id) < sizeof(instance->id) && map_count(cluster->instances) < MAX_OTHERS) {
		instance = xcalloc(1, sizeof(*instance));
		str_copy(instance->id, sizeof(instance->id), id);
		map_put(cluster->instances, id, instance);
		log_info("coordinator-found", "instance=%s", id);
		beat(cluster, id, true);
		say_ours(cluster);
	}
	if (instance)
		instance->heard_ms = loop_now(cluster->co->loop);
	return instance;
}

static void take_beat(struct cluster *cluster, struct instance *instance, json_t *given)
{
	json_t *urls = json_object_get(given, "urls"), *pins = json_object_get(given, "pins");
	json_t *relays = json_object_get(given, "relays");
	bool changed;

	if (!instance || !json_is_array(urls) || !json_is_array(pins))
		return;
	changed = !instance->urls || !json_equal(urls, instance->urls) || !json_equal(pins, instance->pins);
	json_decref(instance->urls);
	json_decref(instance->pins);
	instance->urls = json_incref(urls);
	instance->pins = json_incref(pins);
	if (json_is_true(json_object_get(given, "hello"))) {
		beat(cluster, instance->id, false);
		say_ours(cluster);
	}
	if (changed)
		sync_coordinators(cluster->co->sync);
	if (instance->relays ? json_equal(relays, instance->relays) : !relays)
		return;
	json_decref(instance->relays);
	instance->relays = json_incref(relays);
	sync_relays(cluster->co->sync, false);
}

static void on_beat(void *arg)
{
	struct cluster *cluster = arg;
	uint64_t now = loop_now(cluster->co->loop);
	struct instance *instance;
	size_t pos = 0;
	bool slept;

	/* Where we have slept ourselves, what the others said is still to be read. */
	slept = now > cluster->beat_ms + 2 * BEAT_MS;
	if (now > cluster->beat_ms + AWAY_MS)
		bulletin_catch_up(cluster, true);
	cluster->beat_ms = now;
	cluster_look_at_clock(cluster);
	if (++cluster->beats % AGE_BEATS == 0)
		age(cluster);
	beat(cluster, NULL, false);
	while (!slept && (instance = map_next(cluster->instances, &pos, NULL)))
		if (instance->heard_ms + SILENT_MS <= now)
			forget(cluster, instance, RETURN_MS, "it was not heard of any more");
	timer_start(&cluster->beat, BEAT_MS);
}

static void on_heard(void *arg, const char *text)
{
	struct cluster *cluster = arg;
	struct instance *instance;
	char error[JS_ERROR];
	const char *from;
	json_t *json;

	if (!*text) {
		bulletin_wake(cluster, false);
		return;
	}
	json = js_load(text, strlen(text), error);
	from = json_string_value(json_object_get(json, "i"));
	if (from && strcmp(from, cluster->self)) {
		instance = instance_of(cluster, from);
		if (json_object_get(json, "beat"))
			take_beat(cluster, instance, json_object_get(json, "beat"));
		take_places(cluster, json_object_get(json, "at"));
		cluster_take_passed(cluster, from, json);
		if (instance && json_object_get(json, "bye"))
			forget(cluster, instance, BYE_MS, "it stops");
	}
	json_decref(json);
}

/* Others have not heard us, nor we them: all is said anew. */
static void on_up(void *arg, bool up)
{
	struct cluster *cluster = arg;
	uint64_t now = loop_now(cluster->co->loop);
	struct instance *instance;
	size_t pos = 0;

	log_info(up ? "bus-up" : "bus-away", "instance=%s", cluster->self);
	if (!up) {
		timer_stop(&cluster->beat);
		cluster->up_ms = 0;
		return;
	}
	cluster->up_ms = MAX(now, 1u);
	while ((instance = map_next(cluster->instances, &pos, NULL)))
		instance->heard_ms = now;
	bulletin_catch_up(cluster, now > cluster->beat_ms + AWAY_MS);
	beat(cluster, NULL, true);
	say_ours(cluster);
	cluster->beat_ms = now;
	timer_start(&cluster->beat, BEAT_MS);
}

/* ---- what the coordinator asks ------------------------------------------------------------------------- */

/* The one with the smallest id; not before the others can have been heard. */
bool cluster_leads(const struct cluster *cluster)
{
	const struct instance *instance;
	size_t pos = 0;

	if (!cluster)
		return true;
	if (!cluster->up_ms || loop_now(cluster->co->loop) < cluster->up_ms + BEAT_MS)
		return false;
	while ((instance = map_next(cluster->instances, &pos, NULL)))
		if (strcmp(instance->id, cluster->self) < 0)
			return false;
	return true;
}

bool cluster_healing(const struct cluster *cluster)
{
	return cluster && cluster->healing;
}

uint64_t cluster_refusals(const struct cluster *cluster)
{
	return cluster ? cluster->refusals : 0;
}

unsigned cluster_others(const struct cluster *cluster)
{
	return cluster ? (unsigned)map_count(cluster->instances) : 0;
}

static void add_new(json_t *array, const json_t *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
		if (json_equal((json_t *)(uintptr_t)item, (json_t *)(uintptr_t)text))
			return;
	json_array_append(array, (json_t *)(uintptr_t)text);
}

void cluster_add_urls(const struct cluster *cluster, json_t *array)
{
	const struct instance *instance;
	size_t pos = 0, i;
	json_t *url;

	while (cluster && (instance = map_next(cluster->instances, &pos, NULL)))
		json_array_foreach(instance->urls, i, url)
			add_new(array, url);
}

void cluster_add_relays(const struct cluster *cluster, json_t *array)
{
	const struct instance *instance;
	size_t pos = 0, i;
	json_t *relay;

	while (cluster && (instance = map_next(cluster->instances, &pos, NULL)))
		json_array_foreach(instance->relays, i, relay)
			add_new(array, relay);
}

void cluster_add_pins(const struct cluster *cluster, json_t *array)
{
	const struct instance *instance;
	size_t pos = 0, i;
	json_t *pin;

	while (cluster && (instance = map_next(cluster->instances, &pos, NULL)))
		json_array_foreach(instance->pins, i, pin)
			add_new(array, pin);
}

/* ---- life ------------------------------------------------------------------------------------------------ */

struct cluster *cluster_new(struct coordinator *co)
{
	static const struct bus_ops ops = {.up = on_up, .heard = on_heard};
	const char *self = store_instance(co->store);
	struct cluster *cluster;

	if (!*self)
		return NULL;
	cluster = xcalloc(1, sizeof(*cluster));
	cluster->co = co;
	str_copy(cluster->self, sizeof(cluster->self), self);
	cluster->instances = map_new(0);
	cluster->beat_ms = loop_now(co->loop);
	list_init(&cluster->questions);
	cluster->early = map_new(0);
	cluster->earlier = map_new(0);
	list_init(&cluster->unsaid);
	task_init(&cluster->saying, say_all, cluster);
	timer_init(&cluster->beat, co->loop, on_beat, cluster);
	bulletin_start(cluster);
	cluster_look_at_clock(cluster);
	cluster->bus = bus_new(co->loop, co->config.db, self, &ops, cluster);
	return cluster;
}

void cluster_free(struct cluster *cluster)
{
	struct instance *instance;
	size_t pos = 0;

	if (!cluster)
		return;
	cluster_send(cluster, NULL, "bye", json_true());
	bus_free(cluster->bus);
	timer_stop(&cluster->beat);
	task_cancel(&cluster->saying);
	while (!list_empty(&cluster->unsaid))
		list_del(cluster->unsaid.next);
	while ((instance = map_next(cluster->instances, &pos, NULL)))
		instance_free(instance);
	map_free(cluster->instances);
	free_items(cluster->early);
	free_items(cluster->earlier);
	free(cluster);
}
