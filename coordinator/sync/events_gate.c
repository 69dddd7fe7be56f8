/*
 * events_gate.c - what is written is heard of when it is on the disk: an audit line, or an agent that was changed,
 * waits here for the batch of the store that has it, as it was when it was written. What was refused is not told;
 * an agent that was in such a batch is told as memory has it once that is set right. Where an agent is, and whether
 * it is online, goes at once, but behind what waits of the same agent.
 *
 * A database that takes its time must not fill the memory: what would be more than MAX_HELD ends those who listen,
 * who come again and ask for what is.
 */
#include "events_private.h"
#include "coordinator/admin/admin_commands.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/coordinator.h"
#include "lib/str.h"

#include <string.h>

#define MAX_HELD (2u << 20) /* leaves room in the queue of a listener that reads */

enum kind {
	KIND_AUDIT, /* text is the line */
	KIND_PUT,   /* text is the agent; NULL: as memory has it then */
	KIND_SEEN,  /* no text: it was seen while a change of it waited */
	KIND_GONE,  /* text is the frame */
};

struct held {
	struct list node; /* events.held */
	struct store_wait wait;
	struct events *events;
	enum kind kind;
	char network[PROTO_ID_MAX], agent[PROTO_ID_MAX]; /* ids; "": none */
	uint64_t batch, refusals;
	char *text;
	size_t bytes;
};

static void drop(struct held *held)
{
	store_wait_cancel(&held->wait);
	list_del(&held->node);
	held->events->held_bytes -= held->bytes;
	free(held->text);
	free(held);
}

static struct member *member_of(const struct held *held)
{
	const struct mesh *mesh = &held->events->co->mesh;
	struct agent *agent = map_get(mesh->agents, held->agent);
	struct network *network = map_get(mesh->networks_by_id, held->network);

	return agent && network ? mesh_member(agent, network) : NULL;
}

void events_gate_clear(struct events *events)
{
	while (!list_empty(&events->held)) {
		struct held *held = container_of(events->held.next, struct held, node);
		struct member *member = held->kind == KIND_SEEN ? member_of(held) : NULL;

		if (member)
			member->heard_more = false;
		drop(held);
	}
}

static void on_disk(void *arg);

/* Takes text. */
static void hold(struct events *events, enum kind kind, const char *network_id, const char *agent_id, char *text)
{
	struct coordinator *co = events->co;
	struct held *held = xcalloc(1, sizeof(*held));

	held->events = events;
	held->kind = kind;
	str_copy(held->network, sizeof(held->network), network_id);
	str_copy(held->agent, sizeof(held->agent), agent_id);
	held->batch = store_batch(co->store);
	held->refusals = cluster_refusals(co->cluster);
	held->text = text;
	held->bytes = sizeof(*held) + (text ? strlen(text) : 0);
	list_add_tail(&events->held, &held->node);
	events->held_bytes += held->bytes;
	if (events->held_bytes > MAX_HELD) {
		events_gate_clear(events);
		events_lost(events);
		return;
	}
	store_wait(co->store, &held->wait, on_disk, held);
}

static char *agent_text(const struct member *member)
{
	json_t *json = admin_agent_json(member);
	char *text = js_dump(json);

	json_decref(json);
	return text;
}

static void tell_agent(struct events *events, const char *network_id, const char *agent)
{
	events_tell(events, network_id, xasprintf("{\"type\":\"agent\",\"op\":\"put\",\"agent\":%s}", agent));
}

static bool pending(const struct events *events, const struct member *member)
{
	return member->heard_in >= store_oldest(events->co->store) || cluster_healing(events->co->cluster);
}

static void tell_now(struct events *events, struct member *member)
{
	bool waits = member->heard_more;
	char *text;

	if (!events->count)
		return;
	if (pending(events, member)) {
		member->heard_more = true; /* before it is held: it may be too much */
		if (!waits)
			hold(events, KIND_SEEN, member->network->id, member->agent->id, NULL);
		return;
	}
	text = agent_text(member);
	tell_agent(events, member->network->id, text);
	free(text);
}

/* As memory has it now; where that has changed once more, when this is on the disk. */
static void tell_anew(struct held *held)
{
	struct member *member = member_of(held);

	if (!member)
		return;
	if (held->kind == KIND_SEEN)
		member->heard_more = false;
	if (held->kind == KIND_PUT || !member->expired)
		tell_now(held->events, member);
}

static void tell_audit(const struct held *held)
{
	struct events *events = held->events;

	if (events->follow)
		events->follow(events->follow_arg, held->text, held->batch);
	events_tell(events, held->network, xasprintf("{\"type\":\"audit\",\"audit\":%s}", held->text));
}

static void on_disk(void *arg)
{
	struct held *held = arg;
	struct coordinator *co = held->events->co;
	bool refused = held->wait.refused;

	if (held->kind == KIND_PUT && (refused || held->refusals != cluster_refusals(co->cluster))) {
		free(held->text);
		held->text = NULL;
	}
	if ((held->kind == KIND_PUT || held->kind == KIND_SEEN) && !held->text && cluster_healing(co->cluster)) {
		store_wait(co->store, &held->wait, on_disk, held);
		return;
	}
	list_del(&held->node); /* what is told anew may have to wait, and be too much */
	if (held->kind == KIND_AUDIT && !refused)
		tell_audit(held);
	else if (held->kind == KIND_GONE && !refused)
		events_tell(held->events, held->network, xstrdup(held->text));
	else if (held->kind == KIND_PUT && held->text)
		tell_agent(held->events, held->network, held->text);
	else if (held->kind == KIND_PUT || held->kind == KIND_SEEN)
		tell_anew(held);
	drop(held);
}

void events_audit(struct events *events, const struct network *network, const json_t *line)
{
	if (events)
		hold(events, KIND_AUDIT, network ? network->id : "", "", js_dump(line));
}

void events_agent(struct events *events, struct member *member)
{
	if (!events)
		return;
	member->heard_in = store_batch(events->co->store);
	/* Who comes before it is on the disk, and reads without it, is to hear of it too. */
	hold(events, KIND_PUT, member->network->id, member->agent->id, events->count ? agent_text(member) : NULL);
}

void events_seen(struct events *events, struct member *member)
{
	if (events)
		tell_now(events, member);
}

void events_agent_gone(struct events *events, const struct network *network, const char *agent_id)
{
	json_t *frame;

	if (!events)
		return;
	frame = json_pack("{ssssssss}", "type", "agent", "op", "remove", "agent_id", agent_id, "network",
			  network->name);
	hold(events, KIND_GONE, network->id, agent_id, js_dump(frame));
	json_decref(frame);
}
