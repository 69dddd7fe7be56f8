/*
 * admin_relays.c - commands for relays that are added by hand.
 */
#include "admin_commands.h"
#include "coordinator/mesh/relays.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

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

static bool read_relay(struct js *js, struct proto_relay *as, struct refusal *why)
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
	if (key && (!key_parse(&as->key, key) || !key_is_canonical(&as->key)))
		return refuse(why, 422, "invalid", "key: must be a public key of 44 characters");
	json_array_foreach(stun, i, item)
		if (!json_is_string(item) || !host_port_ok(json_string_value(item)))
			return refuse(why, 422, "invalid", "stun: must be HOST:PORT");
	if (!url && !json_array_size(stun))
		return refuse(why, 422, "invalid", "a relay has a URL, a STUN server or both");
	str_copy(as->region, sizeof(as->region), region);
	as->url = url ? xstrdup(origin) : NULL;
	relays_take_stun(as, stun);
	return true;
}

json_t *admin_relay_add(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct proto_relay as = {0};
	const struct relay *relay = NULL;
	json_t *result = NULL;

	if (who_may(who, NULL, why) && read_relay(js, &as, why))
		relay = registry_relay_add(co, &as, who->actor, why);
	proto_relay_fini(&as);
	if (relay) {
		result = admin_message("relay %s added in the region %s", relay->id, relay->as.region);
		json_object_set_new(result, "relay", relay_json(relay));
	}
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

	if (!who_may(who, NULL, why) || !registry_relay_remove(co, id, who->actor, why))
		return NULL;
	return admin_message("relay %s removed", id);
}
