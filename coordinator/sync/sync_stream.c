/*
 * sync_stream.c - streams that come and go, and signals between agents.
 */
#include "sync_private.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/api/api.h"
#include "coordinator/api/conn.h"
#include "coordinator/mesh/registry.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define RETURN_MS    3000 /* a stream that comes back so soon was never away */
#define CLONE_MS     60000
#define CLONE_TIMES  6     /* in that time: more than a host that moves, or whose connections break, can have */
#define CLONE_SAY_MS (10 * 60 * 1000ull)

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

/* An agent that moves replaces its stream once; two hosts with one key take it from each other without end. */
void sync_replaced(struct sync *sync, struct agent *agent, const char *by)
{
	uint64_t now = loop_now(sync->co->loop);
	struct replaced *replaced = &agent->replaced;
	char address[ADDR_TEXT], detail[160];
	const struct member *member;

	addr_format(address, &stream_remote(agent->session->stream)->addr);
	session_bye(agent->session, "replaced", 0);
	if (!replaced->count || now > replaced->since_ms + CLONE_MS)
		*replaced = (struct replaced){.since_ms = now, .quiet_ms = replaced->quiet_ms};
	if (++replaced->count < CLONE_TIMES || now < replaced->quiet_ms || !api_may_note(sync->co))
		return;
	replaced->quiet_ms = now + CLONE_SAY_MS;
	member = container_of(agent->members.next, struct member, in_agent);
	log_warn("agent-twice", "agent=%s name=%s from=%s by=\"%s\" reason=\"two hosts have its key and take its stream "
		 "from each other: stop one; wg-mesh rekey on the right one shuts the other out\"", agent->id,
		 member->name, address, by);
	store_begin(sync->co->store);
	list_each(member, &agent->members, in_agent) {
		snprintf(detail, sizeof(detail), "%s, at %s and at %s", member->name, address, by);
		if (!store_behind(sync->co->store))
			registry_audit_in(sync->co, member->network, "coordinator", "agent-twice", agent->id, detail);
	}
}

void sync_accept(struct request *rq)
{
	struct sync *sync = rq->co->sync;
	struct agent *agent = rq->agent;

	if (!conn_wants_websocket(rq))
		return;
	if (agent->session)
		sync_replaced(sync, agent, rq->address);
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
