/*
 * What happened, told to everyone who wants to know: the log, hooks, those who follow `events`, and
 * the record.
 */
#include "agent_parts.h"

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"

static void add_field(struct buf *line, const char *name, const char *value, const char *quote)
{
	if (value && *value)
		buf_addf(line, "%s%s=%s%s%s", line->len ? " " : "", name, quote, value, quote);
}

static void log_event(const struct event *e)
{
	struct buf line;

	buf_init(&line, 2048);
	add_field(&line, "peer", e->peer_name, "");
	add_field(&line, "path", e->path, "");
	add_field(&line, "endpoint", e->endpoint, "");
	add_field(&line, "reason", e->reason, "\"");
	log_line(e->type == EVENT_REFUSED || e->type == EVENT_DEGRADED ? LOG_WARN : LOG_INFO,
		 event_name(e->type), "%s", buf_text(&line));
	buf_free(&line);
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

	if (!bucket_take(&agent->refusals, clock_ms()))
		return;
	if (peer) {
		key_format(key, &peer->key);
		event.peer = key;
		record_add(agent->record, &peer->key, "refused", NULL, "%s", reason);
	}
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
