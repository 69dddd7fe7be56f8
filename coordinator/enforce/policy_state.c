/*
 * policy_state.c - the policy in force, the one that waits to be confirmed, and the store's copy.
 *
 * `kept` is what comes back when nobody confirms; while it is there no other change is taken. The file
 * of --policy and what an administrator applies are one row of policies: the newest holds. The file is taken
 * only if it is not what was taken before (policy_taken.c), after a restart, at SIGHUP and whenever else it is
 * looked at, so that an older file does not undo what was applied later.
 */
#include "policy_state_private.h"
#include "policy_file.h"
#include "coordinator/mesh/device.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE (1024 * 1024)
#define KEEP     100 /* versions in the store */

const struct policy *policy_in_force(const struct coordinator *co)
{
	return co->policy->now.policy;
}

const struct policy_index *policy_index_in_force(const struct coordinator *co)
{
	return co->policy->now.index;
}

uint64_t policy_waiting(const struct coordinator *co)
{
	return co->policy->kept.policy ? co->policy->now.number : 0;
}

/* ---- members ---------------------------------------------------------------------------------- */

static struct class *place(struct coordinator *co, struct network *network, const struct policy_who *who,
			   bool *made)
{
	if (!network->classes)
		network->classes = classes_new(co->policy->now.index, network->name, &network->cidr,
					       &network->cidr6, NULL);
	return classes_find(network->classes, who, made);
}

struct policy_who policy_device(const struct device *device)
{
	return (struct policy_who){.name = device->name, .addresses = {device->address, device->address6}};
}

struct class *policy_place_device(struct coordinator *co, const struct device *device, bool *made)
{
	struct policy_who who = policy_device(device);

	return place(co, device->network, &who, made);
}

struct class *policy_place(struct coordinator *co, const struct member *member, bool *made)
{
	struct prefix routes[PROTO_MAX_ROUTES];
	struct policy_who who = {.name = member->name, .tags = member->tags, .routes = routes};

	who.addresses[0] = member->address;
	who.addresses[1] = member->address6;
	for (unsigned i = 0; i < member->route_count; i++)
		if (member->routes[i].approved)
			routes[who.route_count++] = member->routes[i].prefix;
	return place(co, member->network, &who, made);
}

bool policy_judge_routes(const struct policy *policy, struct member *member)
{
	struct party who = {.name = member->name, .network = member->network->name, .tags = member->tags,
			    .addr = member->address};
	bool changed = false;

	for (unsigned i = 0; i < member->route_count; i++) {
		struct route *route = &member->routes[i];
		bool yes;

		if (route->by == ROUTE_BY_ADMIN)
			continue;
		yes = policy_approves(policy, &who, &route->prefix);
		changed |= yes != route->approved;
		route->approved = yes;
		route->by = yes ? ROUTE_BY_POLICY : ROUTE_BY_NOBODY;
	}
	return changed;
}

bool policy_name_ok(const struct coordinator *co, const char *name, bool by_key, struct refusal *why)
{
	const struct policy *policy = policy_in_force(co);

	if (policy_host(policy, name))
		return refuse(why, 422, "name_reserved", "the policy has %s under hosts: choose another name",
			      name);
	if (!by_key && policy_names(policy, name))
		return refuse(why, 403, "name_not_allowed", "the policy gives rights to the name %s: it takes "
			      "a join key made for it ({key create --name %s})", name, name);
	return true;
}

/* ---- another policy ------------------------------------------------------------------------------- */

void policy_version_fini(struct version *version)
{
	policy_index_free(version->index);
	policy_free(version->policy);
	*version = (struct version){0};
}

/* Takes the policy. */
static void version_init(struct policy_state *state, struct version *version, struct policy *policy,
			 const char *by)
{
	*version = (struct version){.policy = policy, .index = policy_index_new(policy),
				    .number = ++state->last_number, .applied_at = clock_wall_ms()};
	str_copy(version->by, sizeof(version->by), by);
}

static void write_version(struct policy_state *state)
{
	const struct version *now = &state->now;

	store_write(state->co->store, STORE_POLICY_PUT,
		    (struct store_value[]){store_int((int64_t)now->number), store_text(now->policy->text),
					   store_int((int64_t)now->applied_at), store_text(now->by)});
	store_write(state->co->store, STORE_POLICY_TRIM, (struct store_value[]){store_int(KEEP)});
}

static void audit(struct policy_state *state, const char *actor, const char *action)
{
	char number[32];

	snprintf(number, sizeof(number), "policy %llu", (unsigned long long)state->now.number);
	log_info(action, "version=%llu by=\"%s\" rules=%u", (unsigned long long)state->now.number, actor,
		 state->now.policy->rule_count);
	registry_audit(state->co, actor, action, number, state->now.policy->name);
}

void policy_restore_kept(struct policy_state *state)
{
	struct version dropped = state->now;

	timer_stop(&state->confirm);
	state->now = state->kept;
	state->kept = (struct version){0};
	sync_policy(state->co, state->now.index);
	policy_version_fini(&dropped);
	policy_file_again(state->file, false);
}

static void on_unconfirmed(void *arg)
{
	struct policy_state *state = arg;

	store_begin(state->co->store);
	audit(state, "nobody", "policy-not-confirmed");
	policy_write_verdict(state);
	policy_restore_kept(state);
}

static bool tests_pass(struct coordinator *co, const struct policy *policy, struct refusal *why)
{
	json_t *results, *item;
	unsigned failed;
	size_t i;

	results = policy_run_tests(co, policy, &failed);
	json_array_foreach(results, i, item)
		if (!strcmp(json_string_value(json_object_get(item, "result")), "failed")) {
			refuse(why, 422, "policy_test_failed", failed > 1 ? "%s; and other tests: see {policy test}" : "%s",
			       json_string_value(json_object_get(item, "detail")));
			break;
		}
	json_decref(results);
	return !failed;
}

bool policy_apply(struct coordinator *co, struct policy *policy, const char *actor, uint64_t confirm_ms,
		  struct refusal *why)
{
	struct policy_state *state = co->policy;
	struct version old;

	if (state->kept.policy) {
		policy_free(policy);
		return refuse(why, 409, "policy_waiting", "policy %llu waits to be confirmed: {policy confirm}, "
			      "or wait until it is taken back", (unsigned long long)state->now.number);
	}
	if (!tests_pass(co, policy, why)) {
		policy_free(policy);
		return false;
	}
	old = state->now;
	version_init(state, &state->now, policy, actor);
	sync_policy(co, state->now.index);
	audit(state, actor, confirm_ms ? "policy-applied-for-now" : "policy-applied");
	if (confirm_ms) {
		state->kept = old;
		state->confirm_by = loop_now(co->loop) + confirm_ms;
		timer_start(&state->confirm, confirm_ms);
		policy_write_waiting(state, state->now.applied_at + confirm_ms);
		return true;
	}
	policy_version_fini(&old);
	write_version(state);
	return true;
}

bool policy_confirm(struct coordinator *co, const char *actor, struct refusal *why)
{
	struct policy_state *state = co->policy;

	if (!state->kept.policy)
		return refuse(why, 409, "nothing_waits", "no policy waits to be confirmed: what {policy show} "
			      "says is in force");
	timer_stop(&state->confirm);
	policy_version_fini(&state->kept);
	write_version(state);
	policy_write_verdict(state);
	audit(state, actor, "policy-confirmed");
	policy_file_again(state->file, false);
	return true;
}

bool policy_roll_back(struct coordinator *co, const char *actor, struct refusal *why)
{
	struct policy_state *state = co->policy;

	if (!state->kept.policy)
		return refuse(why, 409, "nothing_waits", "no policy waits to be confirmed");
	audit(state, actor, "policy-taken-back");
	policy_write_verdict(state);
	policy_restore_kept(state);
	return true;
}

json_t *policy_state_json(const struct coordinator *co)
{
	const struct policy_state *state = co->policy;
	uint64_t now = loop_now(co->loop);
	bool waits = state->kept.policy;

	return json_pack("{sIsosssssbso}", "version", (json_int_t)state->now.number, "applied_at",
			 js_from_time(state->now.applied_at), "applied_by", state->now.by, "text",
			 state->now.policy->text, "waiting", waits, "confirm_seconds",
			 waits ? json_integer((json_int_t)(MAX(state->confirm_by, now) - now + 999) / 1000)
			       : json_null());
}

/* ---- the start ---------------------------------------------------------------------------------------- */

struct stored {
	struct policy_state *state;
	char *text;
	uint64_t number, applied_at;
	char by[100];
};

static void read_policy(void *arg, const struct store_value *row)
{
	struct stored *stored = arg;

	free(stored->text);
	stored->number = (uint64_t)row[0].number;
	stored->text = xstrdup(store_string(&row[1]));
	stored->applied_at = (uint64_t)row[2].number;
	str_copy(stored->by, sizeof(stored->by), store_string(&row[3]));
}

static void read_meta(void *arg, const struct store_value *row)
{
	struct policy_state *state = arg;

	policy_taken_row(state->co, row);
}

void policy_place_all(struct coordinator *co)
{
	struct network *network;
	struct member *member;
	struct device *device;
	size_t pos = 0;
	bool made;

	while ((device = map_next(co->mesh.devices, &pos, NULL)))
		device->class = policy_place_device(co, device, &made);
	list_each(network, &co->mesh.networks, node)
		list_each(member, &network->members, in_network) {
			if (policy_judge_routes(policy_in_force(co), member))
				registry_write_judged(co, member);
			if (mesh_shown(member))
				mesh_member_classify(member, policy_place(co, member, &made));
		}
}

/* The stored one was right when it was stored; one that is not any more must not let everyone talk. */
static int take_stored(struct policy_state *state, struct stored *stored, char *error, size_t size)
{
	char reason[POLICY_ERROR], name[40];
	struct policy *policy;

	state->last_number = stored->number;
	if (!stored->text)
		return 0;
	snprintf(name, sizeof(name), "policy %llu", (unsigned long long)stored->number);
	policy = policy_parse(name, stored->text, strlen(stored->text), reason);
	if (!policy) {
		snprintf(error, size, "the policy in the database is not understood: %s; start with --policy "
			 "FILE", reason);
		return 2;
	}
	policy_version_fini(&state->now);
	state->now = (struct version){.policy = policy, .index = policy_index_new(policy),
				      .number = stored->number, .applied_at = stored->applied_at};
	str_copy(state->now.by, sizeof(state->now.by), stored->by);
	return 0;
}

/* Newer than what was last taken from it? Then it holds from here on; a wrong one only stops a start
 * that has nothing else to go on with. */
static int take_file(struct policy_state *state, const struct stored *stored, const char *path,
		     bool stored_ok, char *error, size_t size)
{
	char reason[POLICY_ERROR] = "";
	struct buf text = {.limit = MAX_FILE};
	struct policy *policy = NULL;
	int result = file_read(path, MAX_FILE, &text);

	if (result < 0) {
		snprintf(reason, sizeof(reason), "the policy %s cannot be read: %s; name another with --policy or "
			 "policy: in coordinator.yaml", path, file_why(result));
	} else {
		if (stored_ok && policy_file_known(state->co, buf_text(&text), text.len))
			goto out;
		policy = policy_parse(path, buf_text(&text), text.len, reason);
	}
	if (policy) {
		policy_version_fini(&state->now);
		version_init(state, &state->now, policy, POLICY_THE_FILE);
		store_begin(state->co->store);
		audit(state, POLICY_THE_FILE, "policy-applied");
		write_version(state);
		policy_file_taken(state->co, buf_text(&text), text.len);
	} else if (stored_ok && stored->text) {
		log_error("policy", "reason=\"%s; policy %llu goes on\"", reason,
			  (unsigned long long)stored->number);
	} else {
		snprintf(error, size, "%s", reason);
		buf_free(&text);
		return 2;
	}
out:
	buf_free(&text);
	return 0;
}

int policy_state_start(struct policy_state *state, char *error, size_t size)
{
	struct coordinator *co = state->co;
	struct stored stored = {.state = state};
	int result, file = 0;

	if (store_read(co->store, STORE_POLICIES, 1, read_policy, &stored) < 0 ||
	    store_read(co->store, STORE_META, 100, read_meta, state) < 0) {
		snprintf(error, size, "cannot read the database %s: restore it from a backup", co->config.db);
		return 1;
	}
	policy_taken_load(state);
	result = take_stored(state, &stored, error, size);
	if (!co->config.policy_optional || !access(co->config.policy, F_OK)) {
		file = take_file(state, &stored, co->config.policy, !result, error, size);
		result = 0; /* it stands in for a stored one that is not understood */
	}
	if (!file)
		state->file = policy_file_new(co, co->config.policy);
	free(stored.text);
	if (result || file)
		return 2;
	policy_place_all(co);
	store_begin(co->store);
	policy_write_none_waits(state); /* a start takes it back */
	return 0;
}

void policy_reload(struct coordinator *co)
{
	policy_file_again(co->policy->file, true);
}

struct policy_state *policy_state_new(struct coordinator *co)
{
	struct policy_state *state = xcalloc(1, sizeof(*state));

	state->co = co;
	state->now.policy = policy_allow_all();
	state->now.index = policy_index_new(state->now.policy);
	timer_init(&state->confirm, co->loop, on_unconfirmed, state);
	return state;
}

void policy_state_free(struct policy_state *state)
{
	if (!state)
		return;
	timer_stop(&state->confirm);
	policy_file_free(state->file);
	policy_version_fini(&state->now);
	policy_version_fini(&state->kept);
	free(state);
}
