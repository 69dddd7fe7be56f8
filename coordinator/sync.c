/*
 * sync.c - what the streams are told. See sync.h for the ring and its revisions.
 *
 * A change that must be durable holds back all that follow until the disk has it (`gate`), so that no
 * agent hears of a peer that a crash would take back, and the order stays. Endpoints and online
 * state alone do not wait.
 */
#include "sync.h"
#include "conn.h"
#include "session.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "lib/seal.h"

#include <string.h>

#define RING_CHANGES 16384
#define RING_BYTES   (16u << 20)
#define RETURN_MS    3000 /* a stream that comes back so soon was never away */
#define QUEUE_ROOM   (1u << 20)
#define SNAPSHOT_MAX (256u << 20)

struct sync {
	struct coordinator *co;
	struct ring *ring;
	char epoch[33];
	struct list sessions, leaving;
	struct list dirty_networks, dirty; /* changed since the last flush; sessions to be told */
	size_t streams;
	bool all_dirty;
	bool must_wait, waiting; /* a change wants the disk; it was asked */
	uint64_t asked, limit;   /* revisions: waited for, and what may be told */
	struct store_wait gate;
	struct loop_task flush;
	struct loop_timer leave;
};

/* ---- frames to the agents --------------------------------------------------------------- */

void sync_peers(const struct agent *agent, json_t *array)
{
	const struct member *mine, *other;

	list_each(mine, &agent->members, in_agent)
		list_each(other, &mine->network->members, in_network)
			if (mesh_sees(mine, other))
				json_array_append_new(array, mesh_peer_json(other));
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
}

static void send_snapshot(struct sync *sync, struct session *session)
{
	uint64_t revision = ring_revision(sync->ring);
	json_t *head = json_pack("{sssssIsososo}", "type", "snapshot", "epoch", sync->epoch, "revision",
				 (json_int_t)revision, "networks", mesh_networks_json(session->agent),
				 "relays", coordinator_relays(sync->co), "pins",
				 coordinator_pins(sync->co));
	char *text = js_dump(head);
	struct buf out;

	buf_init(&out, SNAPSHOT_MAX);
	buf_add(&out, text, strlen(text) - 1); /* all but its brace */
	buf_puts(&out, ",\"peers\":[");
	add_peers(&out, session->agent);
	buf_puts(&out, "]}");
	/* A large network must not look like a slow reader. */
	stream_set_limit(session->stream, out.len + out.len / 8 + QUEUE_ROOM);
	session_send_text(session, buf_text(&out), out.len);
	session->sent = revision;
	sync->co->counters[COUNT_SNAPSHOTS]++;
	buf_free(&out);
	free(text);
	json_decref(head);
}

static bool concerns(const struct sync *sync, const struct agent *agent, const struct change *change)
{
	const struct network *network;

	if (!*change->network)
		return true;
	network = map_get(sync->co->mesh.networks_by_id, change->network);
	return network && strcmp(change->agent_id, agent->id) && mesh_agent_in(agent, network);
}

/* What the session has not been sent yet, in one frame. */
static void send_delta(struct sync *sync, struct session *session)
{
	bool any = false;
	struct buf out;

	if (!ring_reaches(sync->ring, session->sent) ||
	    session->agent->reset_revision > session->sent) {
		send_snapshot(sync, session);
		return;
	}
	buf_init(&out, 0);
	buf_addf(&out, "{\"type\":\"delta\",\"revision\":%llu,\"changes\":[",
		 (unsigned long long)sync->limit);
	for (; session->sent < sync->limit; session->sent++) {
		const struct change *change = ring_get(sync->ring, session->sent + 1);

		if (!concerns(sync, session->agent, change))
			continue;
		if (any)
			buf_add(&out, ",", 1);
		buf_add(&out, change->text, change->len);
		any = true;
	}
	buf_puts(&out, "]}");
	if (any)
		session_send_text(session, buf_text(&out), out.len);
	buf_free(&out);
}

/* ---- who is to be told --------------------------------------------------------------------- */

static void mark(struct sync *sync, struct session *session)
{
	if (session && session->greeted && list_empty(&session->dirty))
		list_add_tail(&sync->dirty, &session->dirty);
}

static void collect(struct sync *sync)
{
	struct network *network, *tmp;
	struct session *session;
	struct member *member;

	list_each_safe(network, tmp, &sync->dirty_networks, dirty) {
		list_del(&network->dirty);
		list_each(member, &network->members, in_network)
			mark(sync, member->agent->session);
	}
	if (sync->all_dirty)
		list_each(session, &sync->sessions, node)
			if (session->agent)
				mark(sync, session);
	sync->all_dirty = false;
}

static void flush_up_to(struct sync *sync, uint64_t limit)
{
	sync->limit = limit;
	while (!list_empty(&sync->dirty)) {
		struct session *session = container_of(sync->dirty.next, struct session, dirty);

		list_del(&session->dirty);
		send_delta(sync, session);
	}
}

static void on_durable(void *arg)
{
	struct sync *sync = arg;

	sync->waiting = false;
	flush_up_to(sync, sync->asked);
	task_defer(sync->co->loop, &sync->flush); /* for what came meanwhile */
}

static void on_flush(void *arg)
{
	struct sync *sync = arg;

	if (sync->waiting)
		return;
	collect(sync);
	sync->asked = ring_revision(sync->ring);
	if (!sync->must_wait) {
		flush_up_to(sync, sync->asked);
		return;
	}
	sync->must_wait = false;
	sync->waiting = true;
	store_wait(sync->co->store, &sync->gate, on_durable, sync);
}

static void publish(struct sync *sync, struct network *network, const char *agent_id, json_t *change,
		    bool durable)
{
	ring_add(sync->ring, network ? network->id : "", agent_id, change);
	json_decref(change);
	sync->co->counters[COUNT_CHANGES]++;
	sync->must_wait |= durable;
	if (!network)
		sync->all_dirty = true;
	else if (list_empty(&network->dirty))
		list_add_tail(&sync->dirty_networks, &network->dirty);
	task_defer(sync->co->loop, &sync->flush);
}

void sync_put(struct sync *sync, const struct member *member)
{
	mesh_changed(member->agent);
	publish(sync, member->network, member->agent->id,
		json_pack("{ssso}", "op", "put", "peer", mesh_peer_json(member)), true);
}

void sync_remove(struct sync *sync, const struct network *network, const char *agent_id)
{
	publish(sync, (struct network *)network, agent_id,
		json_pack("{ssssss}", "op", "remove", "agent_id", agent_id, "network", network->name), true);
}

void sync_patch(struct sync *sync, const struct agent *agent, json_t *fields)
{
	const struct member *member;

	json_object_set_new(fields, "op", json_string("patch"));
	json_object_set_new(fields, "agent_id", json_string(agent->id));
	list_each(member, &agent->members, in_agent) {
		json_object_set_new(fields, "network", json_string(member->network->name));
		publish(sync, member->network, agent->id, json_incref(fields), false);
	}
	json_decref(fields);
}

void sync_relays(struct sync *sync)
{
	publish(sync, NULL, "", json_pack("{ssso}", "op", "relays", "relays", coordinator_relays(sync->co)),
		false);
}

/* A change for nobody makes the revision after which the agent may not resume. */
void sync_reset(struct sync *sync, struct agent *agent)
{
	json_t *nothing = json_object();

	ring_add(sync->ring, "-", "", nothing);
	json_decref(nothing);
	agent->reset_revision = ring_revision(sync->ring);
	sync->must_wait = true;
	mark(sync, agent->session);
	task_defer(sync->co->loop, &sync->flush);
}

/* ---- coming and going ------------------------------------------------------------------------ */

void sync_hello(struct session *session, const char *epoch, uint64_t revision)
{
	struct sync *sync = session->co->sync;
	struct agent *agent = session->agent;

	if (epoch && !strcmp(epoch, sync->epoch) && ring_reaches(sync->ring, revision) &&
	    agent->reset_revision <= revision) {
		session->sent = revision;
		sync->co->counters[COUNT_RESUMES]++;
		session_send(session, json_pack("{sssssI}", "type", "resume", "epoch", sync->epoch,
						"revision", (json_int_t)revision));
		send_delta(sync, session);
	} else {
		send_snapshot(sync, session);
	}
	registry_online(sync->co, agent, true);
}

void sync_accept(struct request *rq)
{
	const char *key = http_header(rq->http, "Sec-WebSocket-Key");
	const char *version = http_header(rq->http, "Sec-WebSocket-Version");
	struct sync *sync = rq->co->sync;
	struct agent *agent = rq->agent;

	if (!http_header_has(rq->http, "Upgrade", "websocket") ||
	    !http_header_has(rq->http, "Connection", "upgrade") || !key || strlen(key) != 24 ||
	    !version || strcmp(version, "13")) {
		reply_problem(rq, 426, "websocket_needed", "this is a WebSocket: ask with Upgrade: websocket, "
			      "Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key");
		return;
	}
	if (agent->session)
		session_bye(agent->session, "replaced", 0);
	list_del(&agent->leaving);
	session_open(rq, agent, &sync->sessions);
	sync->streams++;
}

void sync_ended(struct session *session)
{
	struct sync *sync = session->co->sync;

	session->agent->session = NULL;
	sync->streams--;
	sync_leaving(sync, session->agent, RETURN_MS);
}

static void on_leave(void *arg)
{
	struct sync *sync = arg;
	uint64_t now = loop_now(sync->co->loop);
	struct agent *agent, *tmp;

	list_each_safe(agent, tmp, &sync->leaving, leaving) {
		if (agent->offline_at > now)
			continue;
		list_del(&agent->leaving);
		registry_online(sync->co, agent, false);
	}
	if (!list_empty(&sync->leaving))
		timer_start(&sync->leave, 1000);
}

void sync_leaving(struct sync *sync, struct agent *agent, uint64_t ms)
{
	agent->offline_at = loop_now(sync->co->loop) + ms;
	if (list_empty(&agent->leaving))
		list_add_tail(&sync->leaving, &agent->leaving);
	if (!timer_active(&sync->leave))
		timer_start(&sync->leave, 1000);
}

void sync_cut(struct sync *sync, struct agent *agent, const char *reason)
{
	(void)sync;
	if (agent->session)
		session_bye(agent->session, reason, 0);
	list_del(&agent->leaving);
}

void sync_bye(struct sync *sync)
{
	struct session *session, *tmp;

	list_each_safe(session, tmp, &sync->sessions, node)
		if (session->agent)
			session_bye(session, "restart", 500 + random_below(4500));
}

/* ---- signals ----------------------------------------------------------------------------------- */

/* Passed on at once, or an error: nothing is kept for later. The box is not ours to open. */
bool sync_signal(struct session *session, struct js *js, const char **code)
{
	const char *to = js_need_string(js, "to", PROTO_ID_MAX - 1);
	const char *name = js_need_string(js, "network", PROTO_NAME_MAX - 1);
	const char *box = js_need_string(js, "box", (PROTO_MAX_SIGNAL + 2) / 3 * 4);
	struct mesh *mesh = &session->co->mesh;
	struct member *mine, *theirs;
	struct network *network;
	uint8_t bytes[PROTO_MAX_SIGNAL];
	struct agent *agent;

	*code = "bad_signal";
	if (js_ok(js) && base64_decode(bytes, sizeof(bytes), box) < SEAL_OVERHEAD)
		js_fail(js, "box", "must be a sealed box of at most 4096 bytes, as base64");
	if (!js_ok(js))
		return false;
	network = map_get(mesh->networks_by_name, name);
	agent = map_get(mesh->agents, to);
	mine = network ? mesh_member(session->agent, network) : NULL;
	theirs = network && agent ? mesh_member(agent, network) : NULL;
	*code = "unknown_peer";
	if (!mine || !theirs || !mesh_sees(mine, theirs)) {
		js_fail(js, "to", "is no peer of yours in this network");
		return false;
	}
	*code = "peer_offline";
	if (!agent->session || !agent->session->greeted) {
		js_fail(js, "to", "is not connected now");
		return false;
	}
	session_send(agent->session, json_pack("{ssssssss}", "type", "signal", "from", session->agent->id,
					       "network", name, "box", box));
	session->co->counters[COUNT_SIGNALS]++;
	return true;
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
	task_init(&sync->flush, on_flush, sync);
	timer_init(&sync->leave, co->loop, on_leave, sync);
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
	task_cancel(&sync->flush);
	store_wait_cancel(&sync->gate);
	ring_free(sync->ring);
	free(sync);
}

const char *sync_epoch(const struct sync *sync)
{
	return sync->epoch;
}

uint64_t sync_revision(const struct sync *sync)
{
	return ring_revision(sync->ring);
}

size_t sync_streams(const struct sync *sync)
{
	return sync->streams;
}
