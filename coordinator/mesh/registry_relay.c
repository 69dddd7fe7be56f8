/*
 * registry_relay.c - relays that were added: the list of relays.h, its rows, and every change of it.
 */
#include "registry.h"
#include "relays.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <string.h>

static void relay_free(struct relay *relay)
{
	list_del(&relay->node);
	proto_relay_fini(&relay->as);
	free(relay);
}

void relays_free(struct coordinator *co)
{
	struct relay *relay, *tmp;

	list_each_safe(relay, tmp, &co->relays, node)
		relay_free(relay);
}

void relays_take_stun(struct proto_relay *as, const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (json_is_string(item) && as->stun_count < PROTO_MAX_STUN)
			as->stun[as->stun_count++] = xstrdup(json_string_value(item));
}

void relays_row(void *arg, const struct store_value *row)
{
	struct coordinator *co = arg;
	struct relay *relay = xcalloc(1, sizeof(*relay));
	char error[JS_ERROR];
	json_t *stun = js_load(row[4].data, row[4].len, error);

	str_copy(relay->id, sizeof(relay->id), store_string(&row[0]));
	str_copy(relay->as.region, sizeof(relay->as.region), store_string(&row[1]));
	if (row[2].type == STORE_TEXT)
		relay->as.url = xstrdup(store_string(&row[2]));
	key_parse(&relay->as.key, store_string(&row[3]));
	relays_take_stun(&relay->as, stun);
	relay->created_at = (uint64_t)row[5].number;
	list_add_tail(&co->relays, &relay->node);
	json_decref(stun);
}

int relays_load(struct coordinator *co)
{
	return store_read(co->store, STORE_RELAYS, PROTO_MAX_RELAYS, relays_row, co);
}

void relays_append(const struct coordinator *co, json_t *array)
{
	const struct relay *relay;

	list_each(relay, &co->relays, node)
		json_array_append_new(array, proto_write_relay(&relay->as));
}

static void write_relay(struct coordinator *co, const struct relay *relay)
{
	json_t *as = proto_write_relay(&relay->as);
	char *stun = js_dump(json_object_get(as, "stun")), key[KEY_BASE64];

	key_format(key, &relay->as.key);
	store_write(co->store, STORE_RELAY_PUT,
		    (struct store_value[]){store_text(relay->id), store_text(relay->as.region),
					   store_text(relay->as.url),
					   store_text(key_is_zero(&relay->as.key) ? NULL : key),
					   store_text(stun), store_int((int64_t)relay->created_at)});
	free(stun);
	json_decref(as);
}

/* The same place in the same region; what has no URL is its STUN servers. */
static const struct relay *known_already(const struct coordinator *co, const struct proto_relay *as)
{
	const struct relay *other;

	list_each(other, &co->relays, node) {
		bool same = other->as.stun_count == as->stun_count;

		if (strcmp(other->as.region, as->region) || !other->as.url != !as->url)
			continue;
		if (as->url) {
			same = !strcmp(other->as.url, as->url);
		} else {
			for (unsigned i = 0; same && i < as->stun_count; i++)
				same = !strcmp(other->as.stun[i], as->stun[i]);
		}
		if (same)
			return other;
	}
	return NULL;
}

const struct relay *registry_relay_add(struct coordinator *co, struct proto_relay *as, const char *actor,
				       struct refusal *why)
{
	const struct relay *known = known_already(co, as), *other;
	struct relay *relay;
	size_t count = 0;

	list_each(other, &co->relays, node)
		count++;
	if (known) {
		refuse(why, 409, "relay_known", "this relay is there already, as %s in the region %s: {relay remove %s} "
		       "first, to add it otherwise", known->id, known->as.region, known->id);
		return NULL;
	}
	if (count >= PROTO_MAX_RELAYS - 1) {
		refuse(why, 422, "too_many_relays", "at most %d relays can be added", PROTO_MAX_RELAYS - 1);
		return NULL;
	}
	relay = xcalloc(1, sizeof(*relay));
	relay->as = *as;
	*as = (struct proto_relay){0};
	registry_new_id(relay->id);
	relay->id[12] = '\0';
	relay->created_at = clock_wall_ms();
	relay->made_in = store_batch(co->store);
	list_add_tail(&co->relays, &relay->node);
	write_relay(co, relay);
	registry_audit(co, actor, "relay-added", relay->id, relay->as.region);
	sync_relays(co->sync, true);
	return relay;
}

bool registry_relay_remove(struct coordinator *co, const char *id, const char *actor, struct refusal *why)
{
	struct relay *relay, *tmp;

	list_each_safe(relay, tmp, &co->relays, node) {
		if (strcmp(relay->id, id))
			continue;
		store_write(co->store, STORE_RELAY_DEL, (struct store_value[]){store_text(relay->id)});
		registry_audit(co, actor, "relay-removed", relay->id, relay->as.region);
		relay_free(relay);
		sync_relays(co->sync, true);
		return true;
	}
	return refuse(why, 404, "unknown_relay", "there is no relay %s: see {relay list}", id);
}
