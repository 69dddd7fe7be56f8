/*
 * sync_frames.c - snapshots and deltas: what an agent is told, found by following the chains of changes
 * of its networks.
 */
#include "sync_private.h"
#include "coordinator.h"
#include "device.h"
#include "lib/stream.h"
#include "lib/str.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_ROOM (1u << 20)

void sync_peers(const struct agent *agent, json_t *array)
{
	const struct member *mine, *other;

	list_each(mine, &agent->members, in_agent)
		list_each(other, &mine->network->members, in_network)
			if (mesh_sees(mine, other))
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

static void add_peers(struct buf *out, const struct agent *agent)
{
	const struct member *mine;
	struct member *other;
	bool any = false;

	list_each(mine, &agent->members, in_agent)
		list_each(other, &mine->network->members, in_network) {
			if (!mesh_sees(mine, other))
				continue;
			if (any)
				buf_add(out, ",", 1);
			buf_puts(out, mesh_peer_text(other));
			any = true;
		}
	add_devices(out, agent, any);
}

void sync_send_snapshot(struct sync *sync, struct session *session)
{
	uint64_t revision = ring_revision(sync->ring);
	json_t *head = json_pack("{sssssIsososo}", "type", "snapshot", "epoch", sync->epoch, "revision",
				 (json_int_t)revision, "networks", mesh_networks_json(session->agent),
				 "relays", coordinator_relays(sync->co), "pins",
				 coordinator_pins(sync->co));
	char *text = js_dump(head);
	struct buf *out = &sync->scratch;

	out->len = 0;
	buf_add(out, text, strlen(text) - 1); /* all but its brace */
	buf_puts(out, ",\"peers\":[");
	add_peers(out, session->agent);
	buf_puts(out, "]}");
	/* A large network must not look like a slow reader. */
	stream_set_limit(session->stream, out->len + out->len / 8 + QUEUE_ROOM);
	session_send_text(session, buf_text(out), out->len);
	session->sent = revision;
	sync->co->counters[COUNT_SNAPSHOTS]++;
	free(text);
	json_decref(head);
}

/* Adds to `found` the chain's revisions that the agent is to hear of, newest first. */
static bool walk(struct sync *sync, const struct agent *agent, uint64_t revision, uint64_t from,
		 uint64_t limit)
{
	const struct change *change;

	for (; revision > from; revision = change->previous) {
		change = ring_get(sync->ring, revision);
		if (!change)
			return false;
		if (revision <= limit && change->text && strcmp(change->agent_id, agent->id))
			buf_add(&sync->found, &revision, sizeof(revision));
	}
	return true;
}

static int newest_first(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

bool sync_missed(struct sync *sync, const struct agent *agent, uint64_t from, uint64_t limit)
{
	const struct member *member;
	size_t before;
	bool sorted = true;

	sync->found.len = 0;
	if (agent->reset_revision > from || from > ring_revision(sync->ring) ||
	    !walk(sync, agent, sync->changed_all, from, limit))
		return false;
	list_each(member, &agent->members, in_agent) {
		before = sync->found.len;
		if (member->pending)
			continue;
		if (!walk(sync, agent, member->network->changed, from, limit))
			return false;
		sorted &= !before || sync->found.len == before;
	}
	if (!sorted)
		qsort(sync->found.data, sync->found.len / sizeof(uint64_t), sizeof(uint64_t),
		      newest_first);
	return true;
}

void sync_send_delta(struct sync *sync, struct session *session)
{
	struct buf *out = &sync->scratch;
	const uint64_t *found;

	if (!sync_missed(sync, session->agent, session->sent, sync->limit)) {
		sync_send_snapshot(sync, session);
		return;
	}
	session->sent = MAX(session->sent, sync->limit);
	if (!sync->found.len)
		return;
	found = (const uint64_t *)(const void *)sync->found.data;
	out->len = 0;
	buf_addf(out, "{\"type\":\"delta\",\"revision\":%llu,\"changes\":[",
		 (unsigned long long)sync->limit);
	for (size_t i = sync->found.len / sizeof(*found); i--;) {
		const struct change *change = ring_get(sync->ring, found[i]);

		buf_add(out, change->text, change->len);
		buf_add(out, i ? "," : "]}", i ? 1 : 2);
	}
	session_send_text(session, buf_text(out), out->len);
}
