/*
 * sync.c - what the streams are told. See sync.h for the ring and its revisions.
 *
 * A change that must be durable holds back all that follow until the disk has it (`gate`), so that no
 * agent hears of a peer that a crash would take back, and the order stays. Endpoints and online
 * state alone do not wait; where the gate stays shut (a database that is away) they are also told out
 * of turn, for paths must be repaired meanwhile. They say what is, not what changes, so they may come
 * again in their place.
 */
#include "sync_private.h"
#include "coordinator/cluster/cluster.h"
#include "events.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/mesh/device.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/stream.h"

#include <string.h>

#define RING_CHANGES 16384
#define SCRATCH_KEPT (256u << 10)
#define RING_BYTES   (4u << 20)
#define GAP_MS       20          /* between two deltas to a network, at least; */
#define GAP_MEMBERS  20          /* so many that are told make it a millisecond longer, */
#define GAP_MAX_MS   100         /* up to this */
#define STUCK_MS     300         /* a disk that takes longer holds back no patches */

/* ---- who is to be told --------------------------------------------------------------------- */

void sync_mark(struct sync *sync, struct session *session)
{
	if (session && session->greeted && list_empty(&session->dirty))
		list_add_tail(&sync->dirty, &session->dirty);
}

static void mark_class(struct sync *sync, const struct class *class)
{
	const struct member *member;

	list_each(member, &class->members, in_class)
		sync_mark(sync, member->agent->session);
}

/* When the network may be told again. */
static uint64_t next_turn(const struct network *network)
{
	return network->told_ms ? network->told_ms +
					  MIN(GAP_MS + network->receivers / GAP_MEMBERS, GAP_MAX_MS)
				: 0;
}

/* Those who see a class that has changed; those of one whose rules have. */
static void mark_network(struct sync *sync, struct network *network)
{
	struct class *class, *tmp;

	network->receivers = 0;
	list_each_safe(class, tmp, &network->dirty_classes, dirty) {
		unsigned receivers = 0;

		list_del(&class->dirty);
		if (class->dirty_rules)
			mark_class(sync, class);
		class->dirty_rules = false;
		for (unsigned i = 0; i < class->seen_count; i++) {
			mark_class(sync, class->seen[i]);
			receivers += class->seen[i]->member_count;
		}
		network->receivers = MAX(network->receivers, receivers);
	}
}

static void collect(struct sync *sync)
{
	uint64_t now = loop_now(sync->co->loop), next = UINT64_MAX;
	struct network *network, *tmp;
	struct session *session;

	list_each_safe(network, tmp, &sync->dirty_networks, dirty) {
		if (next_turn(network) > now) {
			next = MIN(next, next_turn(network));
			continue;
		}
		list_del(&network->dirty);
		network->told_ms = now;
		mark_network(sync, network);
	}
	if (sync->all_dirty)
		list_each(session, &sync->sessions, node)
			if (session->agent)
				sync_mark(sync, session);
	sync->all_dirty = false;
	if (next != UINT64_MAX)
		timer_start(&sync->gap, next - now);
}

/* Up to `asked` all is on the disk. Not more in a wake than sockets may take, for the memory's sake. */
static void pass(struct sync *sync)
{
	struct list early;

	list_init(&early);
	sync->limit = sync->asked;
	sync_waits_end(sync);
	while (!list_empty(&sync->dirty) && sync->room) {
		struct session *session = container_of(sync->dirty.next, struct session, dirty);

		list_del(&session->dirty);
		session->behind = stream_queued(session->stream) > BEHIND_BYTES;
		if (session->behind || session_waits(session))
			continue; /* it is marked again then */
		if ((session->held || session->anew) && session->held_at > sync->limit)
			list_add_tail(&early, &session->dirty);
		else
			sync_send_delta(sync, session);
	}
	while (!list_empty(&early)) {
		struct list *node = early.next;

		list_del(node);
		list_add_tail(&sync->dirty, node);
	}
	if (sync->scratch.cap > SCRATCH_KEPT)
		buf_free(&sync->scratch);
}

void sync_drained(struct session *session)
{
	struct sync *sync = session->co->sync;

	if (!session->behind)
		return;
	session->behind = false;
	sync_mark(sync, session);
	task_defer(sync->co->loop, &sync->flush);
}

/* What came behind the gate was collected early: it is still to be told in its turn. */
static void mark_early(struct sync *sync)
{
	struct session *session;

	list_each(session, &sync->sessions, node)
		if (session->agent && session->early > sync->asked)
			sync_mark(sync, session);
}

static void on_durable(void *arg)
{
	struct sync *sync = arg;

	if (cluster_healing(sync->co->cluster)) { /* something of it may not be true */
		store_wait(sync->co->store, &sync->gate, on_durable, sync);
		return;
	}
	sync->waiting = false;
	sync->room = WAKE_BYTES;
	pass(sync);
	mark_early(sync);
	if (sync->room)
		task_defer(sync->co->loop, &sync->flush); /* for what came meanwhile */
	else
		timer_start(&sync->gap, 1);
}

static void flush_early(struct sync *sync)
{
	uint64_t now = loop_now(sync->co->loop), due = sync->waiting_ms + STUCK_MS;
	struct session *session, *tmp;

	if (now < due) {
		if (!timer_active(&sync->gap))
			timer_start(&sync->gap, due - now);
		return;
	}
	sync_waits_stuck(sync);
	collect(sync);
	list_each_safe(session, tmp, &sync->dirty, dirty)
		if (stream_queued(session->stream) <= BEHIND_BYTES)
			sync_send_early(sync, session);
}

static void flush(struct sync *sync)
{
	sync_waits_end(sync); /* for whom there was no room before */
	if (sync->waiting) {
		flush_early(sync);
		return;
	}
	collect(sync);
	sync->asked = ring_revision(sync->ring);
	if (!sync->must_wait) {
		pass(sync);
		return;
	}
	sync->must_wait = false;
	sync->waiting = true;
	sync->waiting_ms = loop_now(sync->co->loop);
	store_wait(sync->co->store, &sync->gate, on_durable, sync);
}

static void on_flush(void *arg)
{
	struct sync *sync = arg;

	sync->room = WAKE_BYTES;
	flush(sync);
	if (!sync->room)
		timer_start(&sync->gap, 1);
}

static void on_gap(void *arg)
{
	struct sync *sync = arg;

	task_defer(sync->co->loop, &sync->flush);
}

/* `last`: of the same receivers, and is moved on. network and class NULL: everyone. */
static struct change *publish(struct sync *sync, struct network *network, struct class *class,
			      uint64_t *last, const char *agent_id, json_t *json, bool durable)
{
	struct change *change = ring_add(sync->ring, agent_id, json);

	json_decref(json);
	change->previous = *last;
	change->durable = durable;
	*last = ring_revision(sync->ring);
	sync->co->counters[COUNT_CHANGES]++;
	sync->must_wait |= durable;
	if (!network)
		sync->all_dirty = true;
	else if (list_empty(&network->dirty))
		list_add_tail(&sync->dirty_networks, &network->dirty);
	if (class && list_empty(&class->dirty))
		list_add_tail(&network->dirty_classes, &class->dirty);
	task_defer(sync->co->loop, &sync->flush);
	return change;
}

/* To those who see the member. A change that tells all that the last one told makes that superfluous,
 * for those who have not heard of it yet. */
static void publish_member(struct sync *sync, struct member *member, json_t *json, unsigned fields,
			   bool durable)
{
	const struct change *last = ring_get(sync->ring, member->changed);

	if (last && !(last->fields & ~fields))
		ring_forget(sync->ring, member->changed);
	publish(sync, member->network, member->class, &member->class->changed, member->agent->id, json,
		durable)->fields = fields;
	member->changed = ring_revision(sync->ring);
}

/* To those who see the class, and not another (NULL: all of them). */
static void publish_removal(struct sync *sync, struct network *network, struct class *class,
			    const struct class *not_seeing, const char *agent_id)
{
	publish(sync, network, class, &class->changed, agent_id,
		json_pack("{ssssss}", "op", "remove", "agent_id", agent_id, "network", network->name), true)
		->not_seeing = not_seeing;
}

/* Where a class has come that this one accepts. */
static void publish_rules(struct sync *sync, struct network *network, struct class *class)
{
	char *before = class->rules;

	if (!before) /* nobody has been told any */
		return;
	class->rules = NULL;
	if (strcmp(class_rules(network->classes, class), before)) {
		class->dirty_rules = true;
		publish(sync, network, class, &class->changed_rules, "",
			json_pack("{ssssso}", "op", "rules", "network", network->name, "rules",
				  class_rules_json(network->classes, class)), true);
	}
	free(before);
}

/* Such as who accepts something of a class that has come. */
static void publish_seen(struct sync *sync, struct network *network, const struct class *class)
{
	for (unsigned i = 0; i < class->seen_count; i++)
		publish_rules(sync, network, class->seen[i]);
}

/* Do members of the two see the same, and accept the same? */
static bool same_view(const struct classes *classes, struct class *a, struct class *b)
{
	for (unsigned i = 0; i < classes->count; i++)
		if (class_sees(a, classes->all[i]) != class_sees(b, classes->all[i]))
			return false;
	return !strcmp(class_rules(classes, a), class_rules(classes, b));
}

void sync_put(struct sync *sync, struct member *member)
{
	struct network *network = member->network;
	struct class *before = member->class;
	bool made;

	mesh_changed(member->agent);
	events_agent(sync->co->events, member);
	if (!mesh_shown(member))
		return;
	mesh_member_classify(member, policy_place(sync->co, member, &made));
	publish_member(sync, member, json_pack("{ssso}", "op", "put", "peer", mesh_peer_json(member)), ~0u,
		       true);
	if (made)
		publish_seen(sync, network, member->class);
	if (!before)
		member->shown = member->changed;
	if (!before || before == member->class)
		return;
	publish_removal(sync, network, before, member->class, member->agent->id);
	if (!same_view(network->classes, before, member->class))
		sync_reset(sync, member->agent);
}

void sync_remove(struct sync *sync, const struct network *network, const char *agent_id)
{
	struct agent *agent = map_get(sync->co->mesh.agents, agent_id);
	struct member *member = agent ? mesh_member(agent, network) : NULL;
	struct class *before = member ? member->class : NULL;

	events_agent_gone(sync->co->events, network, agent_id);
	if (!before)
		return;
	if (member->changed > sync->limit)
		ring_forget(sync->ring, member->changed);
	mesh_member_classify(member, NULL);
	if (member->shown > MAX(sync->limit, sync->snapshot)) /* nobody has heard of it */
		return;
	publish_removal(sync, member->network, before, NULL, agent_id);
}

void sync_device(struct sync *sync, struct device *device)
{
	bool made;

	device->class = policy_place_device(sync->co, device, &made);
	if (made)
		publish_seen(sync, device->network, device->class);
	sync_reset(sync, device->via);
}

/* A bit for each field that patches have. */
static unsigned fields_of(json_t *object)
{
	static const char *const known[] = {"endpoint", "endpoints", "local_endpoints", "nat_type",
					    "connection_hint", "online", "last_seen"};
	unsigned fields = 0;
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value) {
		size_t i = 0;

		while (i < ARRAY_SIZE(known) && strcmp(key, known[i]))
			i++;
		fields |= 1u << i;
	}
	return fields;
}

void sync_patch(struct sync *sync, const struct agent *agent, json_t *fields)
{
	unsigned bits = fields_of(fields);
	struct member *member;

	json_object_set_new(fields, "op", json_string("patch"));
	json_object_set_new(fields, "agent_id", json_string(agent->id));
	list_each(member, &agent->members, in_agent) {
		if (!member->expired) /* else what it does is another network's matter */
			events_agent(sync->co->events, member);
		if (!member->class)
			continue;
		json_object_set_new(fields, "network", json_string(member->network->name));
		publish_member(sync, member, json_incref(fields), bits, false);
	}
	json_decref(fields);
}

void sync_relays(struct sync *sync, bool durable)
{
	publish(sync, NULL, NULL, &sync->changed_all, "",
		json_pack("{ssso}", "op", "relays", "relays", coordinator_relays(sync->co)), durable);
}

void sync_coordinators(struct sync *sync)
{
	publish(sync, NULL, NULL, &sync->changed_all, "",
		json_pack("{sssoso}", "op", "coordinators", "coordinators", coordinator_urls(sync->co), "pins",
			  coordinator_pins(sync->co)), false);
}

/* A change for nobody makes the revision after which the agent may not resume. */
void sync_reset(struct sync *sync, struct agent *agent)
{
	ring_add(sync->ring, "", NULL);
	agent->reset_revision = ring_revision(sync->ring);
	sync->must_wait = true;
	sync_mark(sync, agent->session);
	task_defer(sync->co->loop, &sync->flush);
}

/* ---- the module ---------------------------------------------------------------------------------- */

struct sync *sync_new(struct coordinator *co)
{
	struct sync *sync = xcalloc(1, sizeof(*sync));
	uint8_t unique[16];

	sync->co = co;
	sync->ring = ring_new(RING_CHANGES, RING_BYTES);
	random_bytes(unique, sizeof(unique));
	hex_encode(sync->epoch, sizeof(sync->epoch), unique, sizeof(unique));
	list_init(&sync->sessions);
	list_init(&sync->leaving);
	list_init(&sync->dirty_networks);
	list_init(&sync->dirty);
	list_init(&sync->unsettled);
	task_init(&sync->flush, on_flush, sync);
	timer_init(&sync->leave, co->loop, sync_leave_due, sync);
	timer_init(&sync->gap, co->loop, on_gap, sync);
	buf_init(&sync->found, 0);
	buf_init(&sync->scratch, SNAPSHOT_MAX);
	return sync;
}

void sync_free(struct sync *sync)
{
	if (!sync)
		return;
	/* Agents and networks live on: they must not hang in our lists. */
	while (!list_empty(&sync->leaving))
		list_del(sync->leaving.next);
	while (!list_empty(&sync->dirty_networks))
		list_del(sync->dirty_networks.next);
	timer_stop(&sync->leave);
	timer_stop(&sync->gap);
	buf_free(&sync->found);
	buf_free(&sync->scratch);
	task_cancel(&sync->flush);
	store_wait_cancel(&sync->gate);
	ring_free(sync->ring);
	free(sync);
}

const char *sync_epoch(const struct sync *sync)
{
	return sync->epoch;
}

size_t sync_streams(const struct sync *sync)
{
	return sync->streams;
}
