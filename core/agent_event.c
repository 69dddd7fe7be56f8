/*
 * What happened, told to everyone who wants to know: the log, hooks, those who follow `events`, and
 * the record.
 */
#include "agent_parts.h"

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

#define TELL_MS 1000

/* What does not apply is written as "-". */
static const char *or_dash(const char *value)
{
	return value && *value ? value : "-";
}

static void log_event(const struct event *e)
{
	enum log_level level =
		e->type == EVENT_REFUSED || e->type == EVENT_DEGRADED ? LOG_WARN : LOG_INFO;
	const char *name = event_name(e->type), *peer = or_dash(e->peer_name);

	if (e->path && *e->path)
		log_line(level, name, "peer=%s path=%s endpoint=%s reason=\"%s\"", peer, e->path,
			 or_dash(e->endpoint), or_dash(e->reason));
	else
		log_line(level, name, "peer=%s reason=\"%s\"", peer, or_dash(e->reason));
}

void agent_emit(struct agent *agent, struct event *event)
{
	struct follower *follower, *next;

	event->interface = agent->interface;
	event->name = agent_name(agent);
	if (!event->network && agent->state->network_count)
		event->network = agent->state->networks[0].name;
	log_event(event);
	if (agent->hooks && event->type != EVENT_REFUSED)
		hook_send(agent->hooks, event);
	list_each_safe (follower, next, &agent->followers, node)
		control_reply(follower->client, event_json(event, clock_wall_ms()));
}

void agent_emit_peer(struct agent *agent, enum event_type type, struct agent_peer *peer,
		     const char *reason)
{
	struct netmap_member *member = netmap_by_key(agent->netmap, &peer->key);
	char key[KEY_BASE64], endpoint[ENDPOINT_TEXT] = "";
	struct event event = {
		.type = type,
		.peer = key,
		.peer_name = peer->name,
		.peer_address = peer->address,
		.endpoint = endpoint,
		.reason = reason,
		.latency_ms = -1,
	};

	key_format(key, &peer->key);
	if (member)
		event.network = member->peer.network;
	if (peer->path) {
		event.path = path_name(peer->path->path);
		event.latency_ms = peer_latency(peer->path);
		if (peer->path->endpoint.addr.family)
			endpoint_format(endpoint, &peer->path->endpoint);
	}
	if (type == EVENT_PEER_DOWN)
		event.path = path_name(PATH_NONE);
	if (type == EVENT_PATH_CHANGED && peer->path)
		event.old_path =
			path_name(peer->path->path == PATH_DIRECT ? PATH_NONE : PATH_DIRECT);
	agent_emit(agent, &event);
}

void agent_refused(struct agent *agent, const struct agent_peer *peer, const char *name,
		   const char *reason)
{
	char key[KEY_BASE64] = "";
	struct event event = {
		.type = EVENT_REFUSED, .peer_name = name, .reason = reason, .latency_ms = -1};

	if (!bucket_take(&agent->refusals, clock_ms())) {
		agent->untold++;
		snprintf(agent->last_untold, sizeof(agent->last_untold), "%s", reason);
		if (!timer_active(&agent->tell))
			timer_start(&agent->tell, TELL_MS);
		return;
	}
	if (peer) {
		key_format(key, &peer->key);
		event.peer = key;
		record_add(agent->record, &peer->key, "refused", NULL, "%s", reason);
	}
	agent_emit(agent, &event);
}

void agent_tell_refusals(void *arg)
{
	struct agent *agent = arg;
	char reason[GUARD_REASON + 64];
	struct event event = {.type = EVENT_REFUSED, .reason = reason, .latency_ms = -1};

	snprintf(reason, sizeof(reason), "%u more were refused, the last one because %s", agent->untold,
		 agent->last_untold);
	agent->untold = 0;
	agent_emit(agent, &event);
}

static void gone(void *arg)
{
	struct follower *follower = arg;

	list_del(&follower->node);
	free(follower);
}

bool agent_follow(struct agent *agent, struct control_client *client)
{
	struct follower *follower = xcalloc(1, sizeof(*follower));

	follower->agent = agent;
	follower->client = client;
	control_reply(client, json_pack("{s:b}", "ok", 1));
	control_on_close(client, gone, follower);
	list_add_tail(&agent->followers, &follower->node);
	return true;
}
