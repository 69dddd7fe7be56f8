/*
 * registry_seen.c - what agents say of themselves: where they are, and that they are there. It is told
 * at once and written later, some at a time.
 */
#include "registry.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"

static void write_seen(struct coordinator *co, const struct agent *agent)
{
	struct proto_endpoints at;
	json_t *json;
	char *text;

	where_get(agent->at, &at);
	json = proto_write_endpoints(&at);
	text = js_dump(json);

	store_write(co->store, STORE_AGENT_SEEN,
		    (struct store_value[]){store_text(agent->id), store_text(text),
					   store_int((int64_t)agent->last_seen), store_int(agent->online),
					   store_text(*agent->home ? agent->home : NULL),
					   store_int((int64_t)agent->home_since)});
	free(text);
	json_decref(json);
}

void registry_save_seen(struct coordinator *co, unsigned max)
{
	struct agent *agent, *tmp;

	list_each_safe(agent, tmp, &co->unsaved, unsaved) {
		if (!max--)
			return;
		list_del(&agent->unsaved);
		write_seen(co, agent);
	}
}

void registry_seen(struct coordinator *co, struct agent *agent)
{
	agent->last_seen = clock_wall_ms();
	mesh_changed(agent);
	if (list_empty(&agent->unsaved))
		list_add_tail(&co->unsaved, &agent->unsaved);
}

/* The members of `now` that `before` has otherwise. */
static json_t *difference(json_t *before, json_t *now)
{
	json_t *changed = json_object(), *value;
	const char *key;

	json_object_foreach(now, key, value)
		if (!json_equal(value, json_object_get(before, key)))
			json_object_set(changed, key, value);
	json_object_del(changed, "upnp_mapped");
	return changed;
}

/* As peers have it. */
static json_t *written(const struct proto_endpoints *at)
{
	json_t *json = proto_write_endpoints(at);

	json_object_set_new(json, "connection_hint", proto_connection_hint(at->nat_type));
	return json;
}

/* What is otherwise in the second than the first, new; NULL: nothing. */
static json_t *moved(const struct proto_endpoints *from, const struct proto_endpoints *to)
{
	json_t *before = written(from), *now = written(to);
	json_t *changed = difference(before, now);

	json_decref(before);
	json_decref(now);
	if (json_object_size(changed))
		return changed;
	json_decref(changed);
	return NULL;
}

void registry_endpoints(struct coordinator *co, struct agent *agent, const struct proto_endpoints *at)
{
	struct proto_endpoints was;
	json_t *changed;

	where_get(agent->at, &was);
	changed = moved(&was, at);
	where_set(&agent->at, at);
	registry_seen(co, agent);
	if (!changed)
		return;
	sync_patch(co->sync, agent, changed);
	cluster_say(co->cluster, agent);
}

void registry_heard(struct coordinator *co, struct agent *agent, const struct proto_endpoints *at,
		    bool online, uint64_t last_seen)
{
	struct proto_endpoints was;
	json_t *changed;

	where_get(agent->at, &was);
	changed = moved(&was, at);
	where_set(&agent->at, at);
	agent->last_seen = MAX(agent->last_seen, last_seen);
	mesh_changed(agent);
	if (agent->online != online) {
		changed = changed ? changed : json_object();
		json_object_set_new(changed, "online", json_boolean(online));
		json_object_set_new(changed, "last_seen", js_from_time(agent->last_seen));
		agent->online = online;
	}
	if (changed)
		sync_patch(co->sync, agent, changed);
}

void registry_online(struct coordinator *co, struct agent *agent, bool online)
{
	registry_seen(co, agent);
	if (agent->online == online)
		return;
	agent->online = online;
	sync_patch(co->sync, agent, json_pack("{sbso}", "online", online, "last_seen",
					      js_from_time(agent->last_seen)));
	cluster_say(co->cluster, agent);
}
