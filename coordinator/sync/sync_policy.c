/*
 * sync_policy.c - another policy: who is told of whom now, and of whom no more.
 *
 * Members that were alike and are alike again make one shift. Pairs of shifts are compared, not pairs
 * of members; then each agent is told of the members of those shifts that it gained or lost, and its
 * new rules. Where that is much of what it sees, it gets a snapshot, written when it is its turn.
 */
#include "coordinator/enforce/policy_state.h"
#include "coordinator/mesh/device.h"
#include "sync_private.h"

#include <string.h>

#define MAX_TEXT (256u << 20)
#define MANY     16 /* changes for one agent that a snapshot may replace */

struct shift {
	struct class *before, *now;
	bool routes; /* theirs are otherwise than before */
	struct member **members;
	unsigned count;
};

struct shifts {
	struct network *network;
	struct classes *before, *now;
	struct map *by_key;
	struct shift **all;
	unsigned count;
};

enum news { NEWS_NONE, NEWS_PUT, NEWS_REMOVE, NEWS_CLASS };

struct shift_key {
	uint32_t before, now, routes;
};

/* ---- one that is told ---------------------------------------------------------------------------- */

/* To this one alone, CHANGEs with commas between; taken. The session must be greeted. */
static void tell(struct sync *sync, struct session *session, char *changes)
{
	char *joined;

	if (session->held) {
		joined = xasprintf("%s,%s", session->held, changes);
		free(session->held);
		free(changes);
		changes = joined;
	}
	session->held = changes;
	session->held_at = ring_revision(sync->ring);
	sync_mark(sync, session);
}

/* A snapshot. */
static void anew(struct sync *sync, struct session *session)
{
	session_forget(session);
	session->anew = true;
	session->held_at = ring_revision(sync->ring);
	sync_mark(sync, session);
}

/* ---- the old policy ends ---------------------------------------------------------------------------- */

/* What is still to be said by the old one is held for each, for its chains of changes end here. */
static void hold(struct sync *sync, struct session *session)
{
	struct buf out = {.limit = SNAPSHOT_MAX};

	if (session->behind || session_waits(session) ||
	    !sync_missed(sync, session->agent, session->sent, ring_revision(sync->ring))) {
		anew(sync, session);
		return;
	}
	if (sync->found.len) {
		sync_add_found(sync, &out);
		tell(sync, session, buf_text(&out));
	}
}

/* Everything said until now was said by the old policy. */
static void turn(struct sync *sync)
{
	struct session *session;

	list_each(session, &sync->sessions, node)
		if (session->agent && session->greeted)
			hold(sync, session);
	ring_add(sync->ring, "", NULL);
	sync->floor = ring_revision(sync->ring);
	sync->must_wait = true;
	list_each(session, &sync->sessions, node)
		session->sent = session->held_at = sync->floor;
	task_defer(sync->co->loop, &sync->flush);
}

/* ---- gathering ------------------------------------------------------------------------------- */

static struct shift *shift_of(struct shifts *shifts, struct class *before, struct class *now, bool routes)
{
	struct shift_key key = {before->slot, now->slot, routes};
	struct shift *shift = map_get(shifts->by_key, &key);

	if (shift)
		return shift;
	shift = xcalloc(1, sizeof(*shift));
	*shift = (struct shift){.before = before, .now = now, .routes = routes};
	map_put(shifts->by_key, &key, shift);
	if ((shifts->count & (shifts->count - 1)) == 0)
		shifts->all = xrealloc(shifts->all, MAX(shifts->count * 2, 1) * sizeof(*shifts->all));
	shifts->all[shifts->count++] = shift;
	return shift;
}

static void add_member(struct shift *shift, struct member *member)
{
	if ((shift->count & (shift->count - 1)) == 0)
		shift->members = xrealloc(shift->members,
					  MAX(shift->count * 2, 1) * sizeof(*shift->members));
	shift->members[shift->count++] = member;
}

/* Its class is its gateway's to know alone. */
static void shift_device(struct coordinator *co, struct device *device)
{
	uint32_t before = device->class->id;
	struct session *session = device->via->session;
	bool made;

	device->class = policy_place_device(co, device, &made);
	if (device->class->id != before && session && session->greeted && device_told(device))
		tell(co->sync, session, xasprintf("{\"op\":\"patch\",\"agent_id\":\"%s\",\"network\":\"%s\","
						  "\"class\":%u}", device->id, device->network->name,
						  device->class->id));
}

static void gather(struct coordinator *co, struct shifts *shifts, const struct policy *policy)
{
	struct device *device;
	struct member *member;
	size_t pos = 0;
	bool made;

	while ((device = map_next(shifts->network->devices, &pos, NULL)))
		shift_device(co, device);
	list_each(member, &shifts->network->members, in_network) {
		struct class *before = member->class, *now;
		bool routes;

		if (!mesh_shown(member) || !before) {
			mesh_member_classify(member, NULL); /* those of before are about to be freed */
			continue;
		}
		routes = policy_judge_routes(policy, member);
		if (routes)
			registry_write_judged(co, member);
		now = policy_place(co, member, &made);
		mesh_member_classify(member, now);
		if (routes || now->id != before->id)
			mesh_changed(member->agent);
		add_member(shift_of(shifts, before, now, routes), member);
	}
}

/* ---- telling ------------------------------------------------------------------------------------ */

static enum news news_of(const struct shift *viewer, const struct shift *other)
{
	bool before = class_sees(viewer->before, other->before), now = class_sees(viewer->now, other->now);

	if (before != now)
		return now ? NEWS_PUT : NEWS_REMOVE;
	if (now && other->routes)
		return NEWS_PUT;
	return now && other->before->id != other->now->id ? NEWS_CLASS : NEWS_NONE;
}

static void add_news(struct buf *out, struct member *member, enum news news)
{
	buf_puts(out, out->len ? "," : "");
	if (news == NEWS_PUT) {
		buf_puts(out, "{\"op\":\"put\",\"peer\":");
		buf_puts(out, mesh_peer_text(member));
		buf_puts(out, "}");
		return;
	}
	buf_addf(out, "{\"op\":\"%s\",\"agent_id\":\"%s\",\"network\":\"%s\"",
		 news == NEWS_REMOVE ? "remove" : "patch", member->agent->id, member->network->name);
	if (news == NEWS_CLASS)
		buf_addf(out, ",\"class\":%u", member->class->id);
	buf_puts(out, "}");
}

static void tell_one(struct coordinator *co, const struct shifts *shifts, const struct member *member,
		     const enum news *news, const char *rules)
{
	struct buf out = {.limit = MAX_TEXT};

	for (unsigned i = 0; i < shifts->count; i++)
		for (unsigned k = 0; news[i] != NEWS_NONE && k < shifts->all[i]->count; k++)
			if (shifts->all[i]->members[k]->agent != member->agent)
				add_news(&out, shifts->all[i]->members[k], news[i]);
	if (rules) {
		buf_addf(&out, "%s{\"op\":\"rules\",\"network\":\"%s\",\"rules\":", out.len ? "," : "",
			 shifts->network->name);
		buf_puts(&out, rules);
		buf_puts(&out, "}");
	}
	if (out.len)
		tell(co->sync, member->agent->session, buf_text(&out));
	else
		buf_free(&out);
}

static void tell_shift(struct coordinator *co, const struct shifts *shifts, const struct shift *viewer)
{
	enum news *news = xcalloc(shifts->count, sizeof(*news));
	const char *rules = class_rules(shifts->now, viewer->now);
	unsigned changes = 0, seen = 0;

	if (viewer->before->rules && !strcmp(viewer->before->rules, rules))
		rules = NULL;
	for (unsigned i = 0; i < shifts->count; i++) {
		news[i] = news_of(viewer, shifts->all[i]);
		changes += news[i] != NEWS_NONE ? shifts->all[i]->count : 0;
		seen += class_sees(viewer->now, shifts->all[i]->now) ? shifts->all[i]->count : 0;
	}
	for (unsigned i = 0; (changes || rules) && i < viewer->count; i++) {
		struct session *session = viewer->members[i]->agent->session;

		if (!session || !session->greeted)
			continue;
		if (changes > MANY && 2 * changes > seen)
			anew(co->sync, session);
		else
			tell_one(co, shifts, viewer->members[i], news, rules);
	}
	free(news);
}

static void shift_network(struct coordinator *co, struct network *network, const struct policy_index *index)
{
	struct shifts shifts = {.network = network, .before = network->classes,
				.by_key = map_new(sizeof(struct shift_key))};

	shifts.now = classes_new(index, network->name, &network->cidr, &network->cidr6, shifts.before);
	network->classes = shifts.now;
	gather(co, &shifts, index->policy);
	for (unsigned i = 0; i < shifts.count; i++)
		tell_shift(co, &shifts, shifts.all[i]);
	for (unsigned i = 0; i < shifts.count; i++) {
		free(shifts.all[i]->members);
		free(shifts.all[i]);
	}
	free(shifts.all);
	map_free(shifts.by_key);
	shifts.now->before = NULL;
	classes_free(shifts.before);
}

void sync_policy(struct coordinator *co, const struct policy_index *index)
{
	struct network *network;

	turn(co->sync);
	list_each(network, &co->mesh.networks, node)
		if (network->classes)
			shift_network(co, network, index);
}
