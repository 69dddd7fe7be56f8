/*
 * sync_stream.c - streams that come and go, and signals between agents.
 */
#include "sync_private.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/api/conn.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <string.h>

#define RETURN_MS 3000 /* a stream that comes back so soon was never away */

/* ---- coming and going ------------------------------------------------------------------------ */

void sync_hello(struct session *session, const char *epoch, uint64_t revision)
{
	struct sync *sync = session->co->sync;
	struct agent *agent = session->agent;

	if (epoch && !strcmp(epoch, sync->epoch) && sync_missed(sync, agent, revision, 0)) {
		session->sent = revision;
		session->served = true;
		sync->co->counters[COUNT_RESUMES]++;
		session_send(session, json_pack("{sssssI}", "type", "resume", "epoch", sync->epoch,
						"revision", (json_int_t)revision));
		sync_send_delta(sync, session);
	} else {
		sync_send_snapshot(sync, session);
	}
	registry_online(sync->co, agent, true);
}

void sync_accept(struct request *rq)
{
	struct sync *sync = rq->co->sync;
	struct agent *agent = rq->agent;

	if (!conn_wants_websocket(rq))
		return;
	if (agent->session)
		session_bye(agent->session, "replaced", 0);
	list_del(&agent->leaving);
	session_open(rq, agent, &sync->sessions);
	sync->streams++;
	cluster_arrived(sync->co->cluster, agent);
}

void sync_ended(struct session *session)
{
	struct sync *sync = session->co->sync;

	session->agent->session = NULL;
	sync->streams--;
	sync_leaving(sync, session->agent, RETURN_MS);
}

void sync_leave_due(void *arg)
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

static bool are_peers(struct coordinator *co, const char *from, const char *to, const char *name)
{
	struct network *network = map_get(co->mesh.networks_by_name, name);
	struct agent *a = map_get(co->mesh.agents, from), *b = map_get(co->mesh.agents, to);
	struct member *mine = network && a ? mesh_member(a, network) : NULL;
	struct member *theirs = network && b ? mesh_member(b, network) : NULL;

	return mine && theirs && mesh_sees(mine, theirs);
}

static bool here(const struct agent *agent)
{
	return agent->session && agent->session->greeted;
}

/* Signals must cut nobody off who is slow to read. */
static bool reads_slowly(const struct agent *agent)
{
	return stream_queued(agent->session->stream) > BEHIND_BYTES;
}

static void pass_on(struct session *session, const char *from, const char *network, const char *box)
{
	session_send(session, json_pack("{ssssssss}", "type", "signal", "from", from, "network", network,
					"box", box));
}

void sync_signal_from(struct coordinator *co, const char *to, const char *from, const char *network,
		      const char *box)
{
	struct agent *agent = map_get(co->mesh.agents, to);

	if (are_peers(co, from, to, network) && here(agent) && !reads_slowly(agent))
		pass_on(agent->session, from, network, box);
}

/* Passed on at once, or an error: nothing is kept for later. The box is not ours to open. */
bool sync_signal(struct session *session, struct js *js, const char **code)
{
	const char *to = js_need_string(js, "to", PROTO_ID_MAX - 1);
	const char *name = js_need_string(js, "network", PROTO_NAME_MAX - 1);
	const char *box = js_need_string(js, "box", (PROTO_MAX_SIGNAL + 2) / 3 * 4);
	struct coordinator *co = session->co;
	uint8_t bytes[PROTO_MAX_SIGNAL];
	struct agent *agent;

	*code = "bad_signal";
	if (js_ok(js) && base64_decode(bytes, sizeof(bytes), box) < SEAL_OVERHEAD)
		js_fail(js, "box", "must be a sealed box of at most 4096 bytes, as base64");
	if (!js_ok(js))
		return false;
	*code = "unknown_peer";
	if (!are_peers(co, session->agent->id, to, name)) {
		js_fail(js, "to", "is no peer of yours in this network");
		return false;
	}
	agent = map_get(co->mesh.agents, to);
	*code = "peer_busy";
	if ((here(agent) && reads_slowly(agent)) || !session_may_signal(session, agent)) {
		js_fail(js, "to", "has not read what it was sent before: try again soon");
		return false;
	}
	*code = "peer_offline";
	if (here(agent)) {
		pass_on(agent->session, session->agent->id, name, box);
	} else if (!cluster_signal(co->cluster, agent, session->agent->id, name, box)) {
		js_fail(js, "to", "is not connected now");
		return false;
	}
	co->counters[COUNT_SIGNALS]++;
	return true;
}
