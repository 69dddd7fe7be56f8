/*
 * Preshared keys with the other agents (`psk: auto`): carries what psk.c judges. What has to be kept
 * is written first, many in one write; only then is a message sent that says it was kept. A key that
 * the user has set by hand, and a peer that is the user's, are left alone.
 */
#include "agent_parts.h"

#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include <string.h>

#define FLUSH_MS      20  /* to gather what comes together */
#define FLUSH_GAP_MS  250 /* and not to wear out the disk */
#define FAILED_MS     5000
#define BEGIN_PER_S   4 /* agreements begun, for all peers */
#define BEGIN_BURST   16
#define FORGET_MS     (UINT64_C(30) * 86400000) /* a peer that is no member any more */

static void send_one(struct agent *agent, struct psk_entry *entry)
{
	struct signal_message message = {.type = SIGNAL_PSK, .answer = entry->message.answer};

	message.psk = entry->message;
	entry->to_send = false;
	record_add(agent->record, &entry->peer, "psk-sent", NULL, "%s",
		   psk_step_name(message.psk.step));
	agent_send_message(agent, &entry->peer, &message);
	key_wipe(&message.psk.key);
	key_wipe(&entry->message.key);
}

static bool forgotten(void *arg, const struct psk_entry *entry)
{
	struct agent *agent = arg;

	return agent->synced && !netmap_by_key(agent->netmap, &entry->peer) &&
	       entry->psk.highest + FORGET_MS < clock_wall_ms();
}

static bool keep(struct agent *agent)
{
	int error = psk_save(agent->psks, agent->paths->psk, forgotten, agent);

	agent->psk_saved_ms = clock_ms();
	agent->psk_dirty = error != 0;
	if (error)
		log_warn("psk", "file=%s reason=\"it could not be saved: %s\"", agent->paths->psk,
			 strerror(-error));
	return !error;
}

static void flush(void *arg)
{
	struct agent *agent = arg;
	struct psk_entry *entry;

	if (agent->psk_dirty && !keep(agent)) {
		timer_start(&agent->psk_flush, FAILED_MS);
		return;
	}
	for (size_t pos = 0; (entry = map_next(agent->psks, &pos, NULL));) {
		if (entry->to_send)
			send_one(agent, entry);
	}
}

static void flush_soon(struct agent *agent)
{
	uint64_t now = clock_ms(), next = agent->psk_saved_ms + FLUSH_GAP_MS;

	if (!timer_active(&agent->psk_flush))
		timer_start(&agent->psk_flush, agent->psk_dirty && next > now + FLUSH_MS ? next - now
											  : FLUSH_MS);
}

/* Gives the device the key that is to be there; none: then what comes there is the user's. */
static void set_device(struct agent *agent, struct psk_entry *entry)
{
	const struct key *key = psk_device(&entry->psk);
	int error = tunnel_set_psk(agent->tunnel, &entry->peer, key);

	if (key_is_zero(key))
		tunnel_set_psk(agent->tunnel, &entry->peer, NULL);
	record_add(agent->record, &entry->peer, "psk-set", NULL, "%s",
		   key_is_zero(key)	    ? "none"
		   : entry->psk.using_next ? "the new one"
					    : "the one agreed on");
	if (error)
		log_warn("psk-not-set", "reason=\"%s\"", strerror(-error));
}

static void take(struct agent *agent, struct psk_entry *entry, struct psk_event *event)
{
	struct psk_message out;
	unsigned actions = psk_take(&entry->psk, event, &out);

	if (actions & PSK_BEGUN)
		bucket_take(&agent->psk_begins, event->now_ms);
	if (actions & PSK_SET)
		set_device(agent, entry);
	if (actions & PSK_SEND)
		entry->message = out, entry->to_send = true;
	agent->psk_dirty |= actions & PSK_STORE;
	if (actions & (PSK_STORE | PSK_SEND))
		flush_soon(agent);
	secret_wipe(&out, sizeof(out));
}

static struct psk_event event_of(struct agent *agent, const struct agent_peer *peer)
{
	struct psk_event event = {.now_ms = clock_ms(), .wall_ms = clock_wall_ms()};

	event.reachable = peer && peer->path && peer->path->online && agent->coord &&
			  coord_connected(agent->coord);
	event.has_path = peer && peer->path && peer->path->path != PATH_NONE;
	event.may_begin = bucket_wait_ms(&agent->psk_begins, event.now_ms) == 0;
	return event;
}

static struct psk_entry *begun(struct agent *agent, const struct key *key,
			       const struct psk_event *event)
{
	struct psk_entry *entry = psk_entry_of(agent->psks, key);

	if (entry->begun)
		return entry;
	entry->begun = true;
	entry->psk.maker = memcmp(agent->public_key.bytes, key->bytes, KEY_LEN) < 0;
	entry->psk.every_ms = agent->config->psk_every_ms;
	psk_begin(&entry->psk, event);
	return entry;
}

static bool wanted(struct agent *agent, const struct agent_peer *peer, const struct psk_entry *entry)
{
	return agent->config->psk_auto && peer->managed && !entry->users;
}

void agent_psk_look(struct agent *agent, struct agent_peer *peer, const struct wg_peer *wg)
{
	struct psk_event event;
	struct psk_entry *entry;

	if (!peer->path || peer->path->device ||
	    (!agent->config->psk_auto && !map_get(agent->psks, peer->key.bytes)))
		return;
	event = event_of(agent, peer);
	event.has_psk = wg->has_preshared_key;
	event.handshake_wall_ms = wg->last_handshake_wall_ms;
	entry = begun(agent, &peer->key, &event);
	entry->users = !peer->managed || psk_is_users(&entry->psk, event.has_psk);
	entry->psk.wanted = wanted(agent, peer, entry);
	entry->psk.every_ms = agent->config->psk_every_ms;
	if (!entry->users)
		take(agent, entry, &event);
}

void agent_psk_heard(struct agent *agent, struct agent_peer *peer, const struct psk_message *message)
{
	struct psk_event event = event_of(agent, peer);
	struct psk_entry *entry;

	if (!peer->path || peer->path->device)
		return;
	event.heard = message;
	entry = begun(agent, &peer->key, &event);
	entry->psk.wanted = wanted(agent, peer, entry);
	record_add(agent->record, &peer->key, "psk-heard", NULL, "%s", psk_step_name(message->step));
	take(agent, entry, &event);
}

/* Before any peer is made, so that each is made with its key. */
void agent_psk_open(struct agent *agent)
{
	struct psk_event event = event_of(agent, NULL);
	struct psk_entry *entry;
	int error = psk_load(&agent->psks, agent->paths->psk);

	bucket_init(&agent->psk_begins, BEGIN_PER_S, BEGIN_BURST, clock_ms());
	timer_init(&agent->psk_flush, agent->loop, flush, agent);
	if (error)
		log_warn("psk", "file=%s reason=\"it is damaged, so the peers will be asked: %s\"",
			 agent->paths->psk, strerror(-error));
	for (size_t pos = 0; (entry = map_next(agent->psks, &pos, NULL));) {
		begun(agent, &entry->peer, &event);
		if (!key_is_zero(psk_device(&entry->psk)))
			set_device(agent, entry);
	}
}

void agent_psk_close(struct agent *agent)
{
	if (!agent->psks)
		return;
	timer_stop(&agent->psk_flush);
	if (agent->psk_dirty)
		keep(agent);
	psk_free(agent->psks);
}
