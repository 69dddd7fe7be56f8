/*
 * bulletin.c - from bulletins to the rows they name. The rows are read by the store's own thread, in
 * order with our writes: what we have written of the same thing and is not in them makes them stale, and
 * they are read again. Our own bulletins are passed over.
 *
 * Where a write of ours was refused, its rows are read and also all bulletins until now: who waits for
 * the verdict (cluster_healing) then knows what the other coordinator has done.
 */
#include "cluster_private.h"
#include "coordinator/admin/admin.h"
#include "coordinator/sync/events.h"
#include "coordinator/mesh/registry.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <string.h>

#define MANY         200 /* bulletins that are read at once (store_sql.c) */
#define MAX_ATTEMPTS 50

static const struct how {
	enum store_read what;
	apply_fn *row;
	apply_end_fn *end; /* NULL: nothing to be done */
	int64_t limit;     /* of a whole table; 0: of the one with this id */
} how[ABOUTS] = {
	[ABOUT_NETWORK] = {STORE_NETWORK_OF, apply_network, apply_network_end, 0},
	[ABOUT_USER] = {STORE_USER_OF, apply_user, apply_user_end, 0},
	[ABOUT_TOKEN] = {STORE_TOKEN_OF, apply_token, apply_token_end, 0},
	[ABOUT_RELAYS] = {STORE_RELAYS, apply_relay, apply_relays_end, PROTO_MAX_RELAYS},
	[ABOUT_META] = {STORE_META, apply_meta, apply_meta_end, 100},
	[ABOUT_POLICY] = {STORE_POLICIES, apply_policy, NULL, 1},
	[ABOUT_KEY] = {STORE_KEY_OF, apply_key, apply_key_end, 0},
	[ABOUT_AGENT] = {STORE_AGENT_OF, apply_agent, apply_agent_end, 0},
	[ABOUT_DEVICE] = {STORE_DEVICE_OF, apply_device, apply_device_end, 0},
};

/* ---- reading rows ---------------------------------------------------------------------------------- */

static void fetch(struct reading *reading);

static bool usable(struct reading *reading)
{
	if (!reading->judged)
		reading->stale = store_pending(reading->cluster->co->store, reading->about,
					       how[reading->about].limit ? NULL : reading->id);
	reading->judged = true;
	return !reading->stale;
}

static void on_row(void *arg, const struct store_value *row)
{
	struct reading *reading = arg;

	if (!usable(reading))
		return;
	how[reading->about].row(reading->cluster->co, reading, row);
	reading->found = true;
}

static void on_member(void *arg, const struct store_value *row)
{
	struct reading *reading = arg;

	if (usable(reading))
		apply_member(reading->cluster->co, reading, row);
}

static void on_route(void *arg, const struct store_value *row)
{
	struct reading *reading = arg;

	if (usable(reading))
		apply_route(reading->cluster->co, reading, row);
}

static void read_again(struct reading *reading)
{
	struct reading kept = {.cluster = reading->cluster, .about = reading->about, .heal = reading->heal,
			       .attempts = reading->attempts + 1};

	memcpy(kept.id, reading->id, sizeof(kept.id));
	*reading = kept;
	fetch(reading);
}

static void on_done(void *arg, uint64_t batch)
{
	struct reading *reading = arg;
	struct cluster *cluster = reading->cluster;
	bool done = true;

	if (batch) {
		done = usable(reading);
		if (done && how[reading->about].end)
			done = how[reading->about].end(cluster->co, reading);
		if (!done && reading->attempts < MAX_ATTEMPTS) {
			read_again(reading);
			return;
		}
		cluster->healing -= reading->heal;
	}
	free(reading);
}

static void fetch(struct reading *reading)
{
	struct store *store = reading->cluster->co->store;
	const struct how *by = &how[reading->about];
	bool agent = reading->about == ABOUT_AGENT;

	store_fetch(store, by->what, by->limit ? NULL : reading->id, by->limit, on_row, agent ? NULL : on_done,
		    reading);
	if (agent) {
		store_fetch(store, STORE_MEMBERS_OF, reading->id, 0, on_member, NULL, reading);
		store_fetch(store, STORE_ROUTES_OF, reading->id, 0, on_route, on_done, reading);
	}
}

static void want(struct cluster *cluster, enum store_about about, const char *id, bool heal)
{
	struct reading *reading = xcalloc(1, sizeof(*reading));

	reading->cluster = cluster;
	reading->about = about;
	reading->heal = heal;
	cluster->healing += heal;
	str_copy(reading->id, sizeof(reading->id), id);
	fetch(reading);
}

/* ---- bulletins ------------------------------------------------------------------------------------- */

static void take_audit(struct coordinator *co, json_t *lines)
{
	json_t *row, *line;
	size_t i;

	json_array_foreach(lines, i, row) {
		const char *id = json_string_value(json_array_get(row, 5));
		const struct network *network = id ? map_get(co->mesh.networks_by_id, id) : NULL;

		line = registry_audit_json((uint64_t)json_integer_value(json_array_get(row, 0)),
					   json_string_value(json_array_get(row, 1)),
					   json_string_value(json_array_get(row, 2)),
					   json_string_value(json_array_get(row, 3)),
					   json_string_value(json_array_get(row, 4)),
					   network ? network->name : NULL);
		if (!line)
			continue;
		admin_follow(co->admin, line);
		events_audit(co->events, network, line);
		json_decref(line);
	}
}

struct retiring {
	struct cluster *cluster;
	json_t *rows;
};

/* Of those whose owner is here still, its end has them rest (apply.c). */
static void retire(void *arg, uint64_t batch)
{
	struct retiring *retiring = arg;
	json_t *row;
	size_t i;

	json_array_foreach(retiring->rows, i, row) {
		const char *network = json_string_value(json_array_get(row, 0));
		const char *address = json_string_value(json_array_get(row, 1));

		if (batch && network && address)
			mesh_retired(&retiring->cluster->co->mesh, network, address,
				     (uint64_t)json_integer_value(json_array_get(row, 2)), clock_wall_ms());
	}
	json_decref(retiring->rows);
	free(retiring);
}

static void no_row(void *arg, const struct store_value *row)
{
	(void)arg;
	(void)row;
}

/* What is fetched comes in order: their networks, which may be as new, are there by then. */
static void take_retired(struct cluster *cluster, json_t *rows)
{
	struct retiring *retiring;

	if (!rows)
		return;
	retiring = xmalloc(sizeof(*retiring));
	retiring->cluster = cluster;
	retiring->rows = json_incref(rows);
	store_fetch(cluster->co->store, STORE_LAST_BULLETIN, NULL, 1, no_row, retire, retiring);
}

/* Networks come before what is in them: that is the order of the numbers. */
static void take_bulletin(struct cluster *cluster, json_t *bulletin)
{
	const char *from = json_string_value(json_object_get(bulletin, "from")), *id;
	json_t *value;

	if (!from || !strcmp(from, cluster->self))
		return;
	for (enum store_about about = ABOUT_NOTHING + 1; about < ABOUTS; about++) {
		json_t *ids = json_object_get(bulletin, store_about_names[about]);

		json_object_foreach(ids, id, value) {
			want(cluster, about, id, cluster->heals);
			if (how[about].limit)
				break;
		}
	}
	take_retired(cluster, json_object_get(bulletin, "retired"));
	take_audit(cluster->co, json_object_get(bulletin, "audit"));
}

/* ---- all of it --------------------------------------------------------------------------------------- */

/* Where bulletins were missed: everything in a table, and in our memory, is read again. */
struct sweep {
	struct cluster *cluster;
	enum store_about about;
	struct map *there;
};

static void on_there(void *arg, const struct store_value *row)
{
	struct sweep *sweep = arg;

	map_put(sweep->there, store_string(&row[0]), sweep);
	want(sweep->cluster, sweep->about, store_string(&row[0]), false);
}

static void on_retired(void *arg, const struct store_value *row)
{
	struct cluster *cluster = arg;

	mesh_retired(&cluster->co->mesh, store_string(&row[0]), store_string(&row[1]), (uint64_t)row[2].number,
		     clock_wall_ms());
}

static void look_at_ours(const struct sweep *sweep)
{
	const struct coordinator *co = sweep->cluster->co;
	const struct map *ours[ABOUTS] = {
		[ABOUT_NETWORK] = co->mesh.networks_by_id, [ABOUT_USER] = co->users.by_name,
		[ABOUT_TOKEN] = co->users.accesses,	   [ABOUT_KEY] = co->mesh.keys,
		[ABOUT_AGENT] = co->mesh.agents,	   [ABOUT_DEVICE] = co->mesh.devices,
	};
	const void *id;
	size_t pos = 0;

	while (map_next(ours[sweep->about], &pos, &id))
		if (!map_get(sweep->there, id))
			want(sweep->cluster, sweep->about, id, false);
	if (sweep->about == ABOUT_NETWORK) /* behind the networks themselves */
		store_fetch(co->store, STORE_RETIRED, NULL, INT64_MAX, on_retired, NULL, sweep->cluster);
}

/* When the store is closed (batch 0) there is no cluster any more. */
static void there_done(void *arg, uint64_t batch)
{
	struct sweep *sweep = arg;

	if (batch)
		look_at_ours(sweep);
	map_free(sweep->there);
	free(sweep);
}

static void read_everything(struct cluster *cluster)
{
	static const struct {
		enum store_about about;
		enum store_read table;
	} tables[] = {
		{ABOUT_NETWORK, STORE_NETWORKS}, {ABOUT_USER, STORE_USERS},   {ABOUT_TOKEN, STORE_TOKENS},
		{ABOUT_KEY, STORE_KEYS},	 {ABOUT_AGENT, STORE_AGENTS}, {ABOUT_DEVICE, STORE_DEVICES},
	};

	log_warn("bulletins-missed", "last=%lld reason=\"everything is read again\"", (long long)cluster->last);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct sweep *sweep = xcalloc(1, sizeof(*sweep));

		sweep->cluster = cluster;
		sweep->about = tables[i].about;
		sweep->there = map_new(0);
		store_fetch(cluster->co->store, tables[i].table, NULL, INT64_MAX, on_there, there_done, sweep);
	}
	want(cluster, ABOUT_RELAYS, "", false);
	want(cluster, ABOUT_POLICY, "", false);
	want(cluster, ABOUT_META, "", false);
}

static void on_bulletin(void *arg, const struct store_value *row)
{
	struct cluster *cluster = arg;
	char error[JS_ERROR];
	json_t *bulletin = row[1].data ? js_load(row[1].data, row[1].len, error) : NULL;

	if (!cluster->rows && row[2].number > cluster->last + 1)
		read_everything(cluster); /* there were older ones */
	cluster->last = row[0].number;
	take_bulletin(cluster, bulletin);
	json_decref(bulletin);
	cluster->rows++;
}

static void ask(struct cluster *cluster);

static void bulletins_done(void *arg, uint64_t batch)
{
	struct cluster *cluster = arg;

	if (!batch)
		return;
	cluster->asked = false;
	cluster->healing -= cluster->heals;
	cluster->heals = false;
	if (cluster->again || cluster->rows >= MANY)
		ask(cluster);
}

static void ask(struct cluster *cluster)
{
	cluster->asked = true;
	cluster->again = false;
	cluster->rows = 0;
	store_fetch(cluster->co->store, STORE_BULLETINS, NULL, cluster->last, on_bulletin, bulletins_done, cluster);
}

void bulletin_wake(struct cluster *cluster, bool heal)
{
	if (heal && !cluster->heals)
		cluster->healing++;
	cluster->heals |= heal;
	if (cluster->asked)
		cluster->again = true;
	else
		ask(cluster);
}

/* ---- what was refused ------------------------------------------------------------------------------ */

static void on_refused(void *arg, enum store_write what, const struct store_value *values)
{
	struct cluster *cluster = arg;
	enum store_about about = store_about(what);

	if (!about)
		return;
	cluster->refusals++;
	want(cluster, about, store_string(&values[0]), true);
	bulletin_wake(cluster, true);
}

/* ---- after a break --------------------------------------------------------------------------------- */

void bulletin_catch_up(struct cluster *cluster, bool long_away)
{
	if (long_away)
		read_everything(cluster);
	bulletin_wake(cluster, false);
}

/* ---- the start ------------------------------------------------------------------------------------- */

static void read_last(void *arg, const struct store_value *row)
{
	struct cluster *cluster = arg;

	cluster->last = row[0].number;
}

void bulletin_start(struct cluster *cluster)
{
	store_read(cluster->co->store, STORE_LAST_BULLETIN, 1, read_last, cluster);
	store_on_refused(cluster->co->store, on_refused, cluster);
}
