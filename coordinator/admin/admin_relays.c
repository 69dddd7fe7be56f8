/*
 * admin_relays.c - the list of relays.h, its rows, and its commands.
 */
#include "admin_commands.h"
#include "coordinator/mesh/relays.h"
#include "coordinator/store/store.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <stdio.h>
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

static void take_stun(struct proto_relay *as, const json_t *list)
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
	take_stun(&relay->as, stun);
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

static json_t *relay_json(const struct relay *relay)
{
	json_t *json = proto_write_relay(&relay->as);

	json_object_set_new(json, "id", json_string(relay->id));
	json_object_set_new(json, "created_at", js_from_time(relay->created_at));
	return json;
}

/* HOST:PORT, where HOST may be a name or [IPv6]. */
static bool host_port_ok(const char *text)
{
	const char *colon = strrchr(text, ':');
	uint16_t port;

	return colon && colon > text && strlen(text) < 262 && parse_u16(colon + 1, &port) && port &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == strlen(text);
}

static bool read_relay(struct js *js, struct relay *relay, struct refusal *why)
{
	const char *region = js_need_string(js, "region", PROTO_NAME_MAX - 1);
	const char *url = js_string(js, "url", NULL), *key = js_string(js, "key", NULL);
	json_t *stun = js_array(js, "stun", PROTO_MAX_STUN), *item;
	char origin[300];
	size_t i;

	if (!js_ok(js))
		return refuse(why, 400, "invalid", "%s", js->error);
	if (!name_valid(region))
		return refuse(why, 422, "name_invalid", "a region is 1 to 63 characters of a-z, 0-9 and '-'");
	if (url && !origin_normalise(origin, sizeof(origin), url))
		return refuse(why, 422, "invalid", "url: must be https://HOST:PORT");
	if (key && (!key_parse(&relay->as.key, key) || !key_is_canonical(&relay->as.key)))
		return refuse(why, 422, "invalid", "key: must be a public key of 44 characters");
	json_array_foreach(stun, i, item)
		if (!json_is_string(item) || !host_port_ok(json_string_value(item)))
			return refuse(why, 422, "invalid", "stun: must be HOST:PORT");
	if (!url && !json_array_size(stun))
		return refuse(why, 422, "invalid", "a relay has a URL, a STUN server or both");
	str_copy(relay->as.region, sizeof(relay->as.region), region);
	relay->as.url = url ? xstrdup(origin) : NULL;
	take_stun(&relay->as, stun);
	return true;
}

/* The same place in the same region; what has no URL is its STUN servers. */
static const struct relay *known_already(const struct coordinator *co, const struct relay *relay)
{
	const struct relay *other;

	list_each(other, &co->relays, node) {
		bool same = other->as.stun_count == relay->as.stun_count;

		if (strcmp(other->as.region, relay->as.region) || !other->as.url != !relay->as.url)
			continue;
		if (relay->as.url) {
			same = !strcmp(other->as.url, relay->as.url);
		} else {
			for (unsigned i = 0; same && i < relay->as.stun_count; i++)
				same = !strcmp(other->as.stun[i], relay->as.stun[i]);
		}
		if (same)
			return other;
	}
	return NULL;
}

json_t *admin_relay_add(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct relay *relay = xcalloc(1, sizeof(*relay)), *other;
	const struct relay *known;
	size_t count = 0;
	json_t *result;

	list_init(&relay->node);
	list_each(other, &co->relays, node)
		count++;
	if (!who_may(who, NULL, why) || !read_relay(js, relay, why)) {
		relay_free(relay);
		return NULL;
	}
	known = known_already(co, relay);
	if (known) {
		relay_free(relay);
		refuse(why, 409, "relay_known", "this relay is there already, as %s in the region %s: {relay remove %s} "
		       "first, to add it otherwise", known->id, known->as.region, known->id);
		return NULL;
	}
	if (count >= PROTO_MAX_RELAYS - 1) {
		relay_free(relay);
		refuse(why, 422, "too_many_relays", "at most %d relays can be added", PROTO_MAX_RELAYS - 1);
		return NULL;
	}
	registry_new_id(relay->id);
	relay->id[12] = '\0';
	relay->created_at = clock_wall_ms();
	relay->made_in = store_batch(co->store);
	list_add_tail(&co->relays, &relay->node);
	write_relay(co, relay);
	registry_audit(co, who->actor, "relay-added", relay->id, relay->as.region);
	sync_relays(co->sync, true);
	result = admin_message("relay %s added in the region %s", relay->id, relay->as.region);
	json_object_set_new(result, "relay", relay_json(relay));
	return result;
}

json_t *admin_relay_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	json_t *list = json_array();
	const struct relay *relay;

	(void)js;
	(void)why;
	list_each(relay, &co->relays, node) /* every agent is told of them */
		if (who_shown(who, relay->made_in))
			json_array_append_new(list, relay_json(relay));
	return json_pack("{so}", "relays", list);
}

json_t *admin_relay_remove(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	const char *id = js_need_string(js, "id", PROTO_ID_MAX - 1);
	struct relay *relay, *tmp;
	json_t *message;

	if (!who_may(who, NULL, why))
		return NULL;
	list_each_safe(relay, tmp, &co->relays, node) {
		if (strcmp(relay->id, id))
			continue;
		message = admin_message("relay %s removed", relay->id);
		store_write(co->store, STORE_RELAY_DEL, (struct store_value[]){store_text(relay->id)});
		registry_audit(co, who->actor, "relay-removed", relay->id, relay->as.region);
		relay_free(relay);
		sync_relays(co->sync, true);
		return message;
	}
	refuse(why, 404, "unknown_relay", "there is no relay %s: see {relay list}", id);
	return NULL;
}
