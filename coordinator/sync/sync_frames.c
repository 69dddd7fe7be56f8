/*
 * sync_frames.c - snapshots and deltas: what an agent is told, found by following the chains of changes
 * of its networks.
 */
#include "sync_private.h"
#include "coordinator/coordinator.h"
#include "coordinator/mesh/device.h"
#include "lib/stream.h"
#include "lib/str.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_ROOM (1u << 20)

void sync_peers(const struct agent *agent, json_t *array, uint64_t until)
{
	const struct member *mine, *other;

	list_each(mine, &agent->members, in_agent)
		for (unsigned i = 0; mine->class && i < mine->class->seen_count; i++)
			list_each(other, &mine->class->seen[i]->members, in_class)
				if (other->shown <= until && mesh_sees(mine, other))
					json_array_append_new(array, mesh_peer_json(other));
	device_peers(agent, array);
}

static void add_devices(struct buf *out, const struct agent *agent, bool any)
{
	json_t *devices = json_array();
	char *text;

	device_peers(agent, devices);
	if (json_array_size(devices)) {
		text = js_dump(devices); /* "[...]" */
		buf_puts(out, any ? "," : "");
		buf_add(out, text + 1, strlen(text) - 2);
		free(text);
	}
	json_decref(devices);
}

static void add_peers(struct buf *out, const struct agent *agent, uint64_t until)
{
	const struct member *mine;
	struct member *other;
	bool any = false;

	list_each(mine, &agent->members, in_agent)
		for (unsigned i = 0; mine->class && i < mine->class->seen_count; i++)
			list_each(other, &mine->class->seen[i]->members, in_class) {
				if (other->shown > until || !mesh_sees(mine, other))
					continue;
				if (any)
					buf_add(out, ",", 1);
				buf_puts(out, mesh_peer_text(other));
				any = true;
			}
	add_devices(out, agent, any);
}

static void add_rules(struct buf *out, const struct agent *agent)
{
	const struct member *mine;
	bool any = false;

	list_each(mine, &agent->members, in_agent) {
		if (!mine->class)
			continue;
		buf_addf(out, "%s{\"network\":\"%s\",\"rules\":", any ? "," : "", mine->network->name);
		buf_puts(out, class_rules(mine->network->classes, mine->class));
		buf_puts(out, "}");
		any = true;
	}
}

static void send_text(struct sync *sync, struct session *session, const char *text, size_t len)
{
	session_send_text(session, text, len);
	sync_sent(sync, len);
}

static void send_scratch(struct sync *sync, struct session *session)
{
	send_text(sync, session, buf_text(&sync->scratch), sync->scratch.len);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

/* Into scratch. Who came after `until` is left out. */
static void write_snapshot(struct sync *sync, const struct agent *agent, uint64_t revision, uint64_t until)
{
	json_t *head = json_pack("{sssssIsosososo}", "type", "snapshot", "epoch", sync->epoch, "revision",
				 (json_int_t)revision, "networks", mesh_networks_json(agent), "relays",
				 coordinator_relays(sync->co), "pins", coordinator_pins(sync->co),
				 "coordinators", coordinator_urls(sync->co));
	char *text = js_dump(head);
	struct buf *out = &sync->scratch;

	out->len = 0;
	buf_add(out, text, strlen(text) - 1); /* all but its brace */
	buf_puts(out, ",\"rules\":[");
	add_rules(out, agent);
	buf_puts(out, "],\"peers\":[");
	add_peers(out, agent, until);
	buf_puts(out, "]}");
	free(text);
	json_decref(head);
}

static void send_snapshot(struct sync *sync, struct session *session, const char *text, size_t len)
{
	/* A large network must not look like a slow reader. */
	stream_set_limit(session->stream, len + len / 8 + QUEUE_ROOM);
	histogram_add(&sync->co->metrics.snapshot_bytes, HISTOGRAM_BYTES, (double)len);
	send_text(sync, session, text, len);
	session->served = true;
	sync->co->counters[COUNT_SNAPSHOTS]++;
}

/* The database takes its time: an agent that has come without a map gets one of those who are on the
 * disk; the others follow. They have the names and routes that memory has. */
static void send_without_newest(struct sync *sync, struct session *session)
{
	if (session->served || !sync_may_see(sync, session->agent))
		return;
	session_forget(session);
	write_snapshot(sync, session->agent, sync->limit, sync->limit);
	session->sent = sync->limit;
	session->early = ring_revision(sync->ring);
	send_snapshot(sync, session, buf_text(&sync->scratch), sync->scratch.len);
	sync_mark(sync, session);
}

static void on_told(void *arg, enum sync_told told)
{
	struct session *session = arg;
	struct sync *sync = session->co->sync;

	if (told == SYNC_STUCK) {
		send_without_newest(sync, session);
	} else if (told == SYNC_REFUSED || !session->wait.text) {
		sync_send_snapshot(sync, session);
	} else {
		send_snapshot(sync, session, session->wait.text, session->wait.len);
		sync_wait_cancel(sync, &session->wait);
		sync_mark(sync, session);
	}
}

void sync_send_snapshot(struct sync *sync, struct session *session)
{
	bool now = sync_settled(sync);

	session_forget(session);
	if (!now)
		sync_wait(sync, &session->wait, on_told, session);
	if (!now && !sync_may_keep(sync))
		return;
	session->sent = sync->snapshot = ring_revision(sync->ring);
	write_snapshot(sync, session->agent, session->sent, SYNC_ALL);
	if (now)
		send_snapshot(sync, session, buf_text(&sync->scratch), sync->scratch.len);
	else
		sync_keep(sync, &session->wait, xstrdup(buf_text(&sync->scratch)), sync->scratch.len);
}

/* ---- deltas ---------------------------------------------------------------------------------- */

/* Adds to `found` the chain's revisions that the agent is to hear of, newest first. `class`: what it is
 * of in this network, NULL where the chain is for everyone. */
static bool walk(struct sync *sync, const struct agent *agent, const struct class *class,
		 uint64_t revision, uint64_t from, uint64_t limit)
{
	const struct change *change;

	for (; revision > from; revision = change->previous) {
		change = ring_get(sync->ring, revision);
		if (!change)
			return false;
		if (sync->only_patches && change->durable)
			continue;
		if (revision <= limit && change->text && strcmp(change->agent_id, agent->id) &&
		    !(change->not_seeing && class_sees(class, change->not_seeing)))
			buf_add(&sync->found, &revision, sizeof(revision));
	}
	return true;
}

/* Changes of members that this one sees, and of its own rules. */
static bool walk_member(struct sync *sync, const struct member *member, uint64_t from, uint64_t limit)
{
	const struct class *class = member->class;

	if (!class)
		return true;
	for (unsigned i = 0; i < class->seen_count; i++)
		if (!walk(sync, member->agent, class, class->seen[i]->changed, from, limit))
			return false;
	return walk(sync, member->agent, class, class->changed_rules, from, limit);
}

static int newest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

bool sync_missed(struct sync *sync, const struct agent *agent, uint64_t from, uint64_t limit)
{
	const struct member *member;

	sync->found.len = 0;
	if (agent->reset_revision > from || sync->floor > from || from > ring_revision(sync->ring) ||
	    !walk(sync, agent, NULL, sync->changed_all, from, limit))
		return false;
	list_each(member, &agent->members, in_agent)
		if (!walk_member(sync, member, from, limit))
			return false;
	if (sync->found.len > sizeof(uint64_t))
		qsort(sync->found.data, sync->found.len / sizeof(uint64_t), sizeof(uint64_t),
		      newest_first);
	return true;
}

void sync_add_found(const struct sync *sync, struct buf *out)
{
	const uint64_t *found = (const uint64_t *)(const void *)sync->found.data;

	for (size_t i = sync->found.len / sizeof(*found); i--;) {
		const struct change *change = ring_get(sync->ring, found[i]);

		buf_add(out, change->text, change->len);
		buf_add(out, ",", i ? 1 : 0);
	}
}

void sync_send_delta(struct sync *sync, struct session *session)
{
	struct buf *out = &sync->scratch;

	if (session->anew || !sync_missed(sync, session->agent, session->sent, sync->limit)) {
		sync_send_snapshot(sync, session);
		return;
	}
	session->sent = MAX(session->sent, sync->limit);
	if (!sync->found.len && !session->held)
		return;
	out->len = 0;
	buf_addf(out, "{\"type\":\"delta\",\"revision\":%llu,\"changes\":[",
		 (unsigned long long)sync->limit);
	if (session->held) {
		buf_puts(out, session->held);
		buf_puts(out, sync->found.len ? "," : "");
		stream_set_limit(session->stream, out->len + out->len / 8 + QUEUE_ROOM);
		session_forget(session);
	}
	sync_add_found(sync, out);
	buf_puts(out, "]}");
	histogram_add(&sync->co->metrics.delta_bytes, HISTOGRAM_BYTES, (double)out->len);
	send_scratch(sync, session);
}

void sync_send_early(struct sync *sync, struct session *session)
{
	uint64_t newest = ring_revision(sync->ring);
	struct buf *out = &sync->scratch;
	bool fine;

	if (session->anew || session->held || session_waits(session))
		return;
	sync->only_patches = true;
	fine = sync_missed(sync, session->agent, MAX(session->sent, session->early), newest);
	sync->only_patches = false;
	session->early = newest;
	if (!fine || !sync->found.len)
		return;
	out->len = 0;
	buf_addf(out, "{\"type\":\"delta\",\"revision\":%llu,\"changes\":[", (unsigned long long)session->sent);
	sync_add_found(sync, out);
	buf_puts(out, "]}");
	send_scratch(sync, session);
}
