/*
 * admin_networks.c - networks, join keys and the audit, for administrators.
 */
#include "admin_commands.h"
#include "coordinator/enforce/policy_state.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define KEY_LIFETIME_MS (3600 * 1000ull)
#define AUDIT_LINES     1000
#define AUDIT_SEARCH    20000 /* lines looked through for those of one network */

/* ---- networks ---------------------------------------------------------------------------- */

static unsigned agents_of(const struct network *network, const struct who *who)
{
	const struct member *member;
	unsigned count = 0;

	list_each(member, &network->members, in_network)
		count += who_shown(who, member->made_in);
	return count;
}

static json_t *network_json(const struct network *network, const struct who *who)
{
	return json_pack("{sssssososbsIso}", "id", network->id, "name", network->name, "cidr",
			 js_from_prefix(&network->cidr), "cidr6", js_from_prefix(&network->cidr6), "approve",
			 network->approve, "agents", (json_int_t)agents_of(network, who), "created_at",
			 js_from_time(network->created_at));
}

/* With a message for people. */
static json_t *network_result(const struct network *network, const struct who *who, json_t *message)
{
	json_object_set_new(message, "network", network_json(network, who));
	return message;
}

static bool read_cidr(struct js *js, const char *key, struct prefix *out, struct refusal *why)
{
	const char *text = js_string(js, key, NULL);

	memset(out, 0, sizeof(*out));
	if (text && !prefix_parse(out, text))
		return refuse(why, 400, "invalid", "%s: %s is not a range such as %s", key, text,
			      strcmp(key, "cidr6") ? "10.44.0.0/16" : "fd12:3456::/64");
	return true;
}

/* An address of the world that is a member here cannot be reached there any more. */
static bool is_public(const struct prefix *cidr)
{
	struct addr last = prefix_mask(cidr).addr;

	if (cidr->addr.family != AF_INET)
		return false;
	for (unsigned bit = cidr->bits; bit < 32; bit++)
		last.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return !addr_is_private(&cidr->addr) || !addr_is_private(&last);
}

static json_t *warnings(const struct coordinator *co, const struct network *network, const struct who *who)
{
	json_t *list = json_array();
	const struct network *each;

	if (is_public(&network->cidr))
		json_array_append_new(list, json_string(
			"these are public addresses: members lose the hosts on the Internet that have them. 10.0.0.0/8, "
			"172.16.0.0/12, 192.168.0.0/16 and 100.64.0.0/10 are free for such use"));
	list_each(each, &co->mesh.networks, node) {
		bool v4 = prefix_overlaps(&each->cidr, &network->cidr);
		char text[PREFIX_TEXT];

		if (each == network || !who_sees(who, each) || (!v4 && !prefix_overlaps(&each->cidr6, &network->cidr6)))
			continue;
		prefix_format(text, v4 ? &each->cidr : &each->cidr6);
		json_array_append_new(list, json_sprintf("its range overlaps that of the network %s (%s): no agent can be "
							 "in both", each->name, text));
	}
	return list;
}

static json_t *created(const struct coordinator *co, const struct network *network, const struct who *who)
{
	json_t *list = warnings(co, network, who), *warning, *result;
	char text[PREFIX_TEXT];
	struct buf message;
	size_t i;

	prefix_format(text, &network->cidr);
	buf_init(&message, 0);
	buf_addf(&message, "network %s made with %s", network->name, text);
	json_array_foreach(list, i, warning)
		buf_addf(&message, ". Warning: %s", json_string_value(warning));
	result = network_result(network, who, json_pack("{ssso}", "message", buf_text(&message), "warnings", list));
	buf_free(&message);
	return result;
}

json_t *admin_network_create(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	const char *name = js_need_string(js, "name", 255);
	bool approve = js_bool(js, "approve", false);
	struct prefix cidr, cidr6;
	struct network *network;

	if (!who_may(who, NULL, why))
		return NULL;
	if (!read_cidr(js, "cidr", &cidr, why) || !read_cidr(js, "cidr6", &cidr6, why))
		return NULL;
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	if (!cidr.addr.family) {
		refuse(why, 400, "invalid", "cidr: a network needs a range, such as 10.44.0.0/16");
		return NULL;
	}
	if (policy_reserved(name) && strcmp(name, "default")) { /* that one is of agents alone */
		refuse(why, 422, "name_reserved",
		       "the name %s is reserved: it has a meaning of its own in policies; choose another",
		       name);
		return NULL;
	}
	network = registry_network_create(co, name, &cidr, &cidr6, who->actor, why);
	if (!network)
		return NULL;
	if (approve)
		registry_network_approve(co, network, true, who->actor);
	return created(co, network, who);
}

json_t *admin_network_list(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	json_t *list = json_array();
	struct network *network;

	(void)js;
	(void)why;
	list_each(network, &co->mesh.networks, node)
		if (who_sees(who, network))
			json_array_append_new(list, network_json(network, who));
	return json_pack("{so}", "networks", list);
}

json_t *admin_network_show(struct coordinator *co, struct js *js, const struct who *who,
			   struct refusal *why)
{
	struct network *network = admin_network(co, js, "name", who, why);

	return network ? json_pack("{so}", "network", network_json(network, who)) : NULL;
}

json_t *admin_network_set(struct coordinator *co, struct js *js, const struct who *who,
			  struct refusal *why)
{
	struct network *network = admin_network(co, js, "name", who, why);
	bool approve;

	if (!network)
		return NULL;
	approve = js_bool(js, "approve", network->approve);
	if (!js_ok(js)) {
		refuse(why, 400, "invalid", "%s", js->error);
		return NULL;
	}
	registry_network_approve(co, network, approve, who->actor);
	return network_result(network, who, admin_message("network %s: who has a link %s", network->name,
						     approve ? "joins and waits for approval" : "joins at once"));
}

json_t *admin_network_remove(struct coordinator *co, struct js *js, const struct who *who,
			     struct refusal *why)
{
	struct network *network = admin_network(co, js, "name", who, why);
	char name[PROTO_NAME_MAX];

	if (!network)
		return NULL;
	str_copy(name, sizeof(name), network->name);
	return registry_network_remove(co, network, who->actor, why)
		       ? admin_message("network %s removed", name) : NULL;
}

/* ---- join keys ----------------------------------------------------------------------------- */

static const char *key_state(const struct join_key *key, uint64_t now)
{
	if (key->revoked_at)
		return "revoked";
	if (key->expires_at && key->expires_at <= now)
		return "expired";
	return key->used_at && !key->reusable ? "used" : "valid";
}

static json_t *key_json(const struct join_key *key)
{
	return json_pack("{sssssssbsbsosOsosososo}", "id", key->id, "network", key->network->name, "state",
			 key_state(key, clock_wall_ms()), "reusable", key->reusable, "ephemeral",
			 key->ephemeral, "name", js_from_string(*key->name ? key->name : NULL), "tags",
			 key->tags, "created_at", js_from_time(key->created_at), "expires_at",
			 js_from_time(key->expires_at), "used_at", js_from_time(key->used_at), "used_by",
			 js_from_string(*key->used_by ? key->used_by : NULL));
}

static bool read_wish(struct js *js, struct key_wish *wish, struct refusal *why)
{
	uint64_t lifetime = KEY_LIFETIME_MS;

	wish->reusable = js_bool(js, "reusable", false);
	wish->ephemeral = js_bool(js, "ephemeral", false);
	wish->name = js_string(js, "name", NULL);
	wish->tags = js_array(js, "tags", MAX_TAGS);
	if (!admin_lifetime(js, &lifetime, why))
		return false;
	wish->expires_at = who_until(wish->maker, lifetime ? clock_wall_ms() + lifetime : 0);
	return true;
}

json_t *admin_key_create(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct key_wish wish = {.network = admin_network(co, js, "network", who, why), .maker = who};
	char secret[SECRET_TEXT], *link;
	struct join_key *key;
	json_t *result;

	if (!wish.network || !read_wish(js, &wish, why) ||
	    (wish.tags && (!registry_tags_ok(wish.tags, why) ||
			   !who_may_tag(who, policy_in_force(co), wish.network, NULL, wish.tags, why))))
		return NULL;
	key = registry_key_create(co, &wish, who->actor, secret, why);
	if (!key)
		return NULL;
	link = coordinator_link(co, secret);
	result = json_pack("{sssssoso}", "id", key->id, "link", link, "expires_at",
			   js_from_time(key->expires_at), "key", key_json(key));
	secret_wipe(secret, sizeof(secret));
	secret_wipe(link, strlen(link));
	free(link);
	return result;
}

json_t *admin_key_list(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	json_t *list = json_array();
	struct join_key *key;
	size_t pos = 0;

	(void)js;
	(void)why;
	while ((key = map_next(co->mesh.keys, &pos, NULL)))
		if (who_sees(who, key->network) && who_shown(who, key->made_in))
			json_array_append_new(list, key_json(key));
	return admin_sorted("keys", list, "created_at", "id");
}

static struct join_key *find_key(struct coordinator *co, struct js *js, const struct who *who,
				 struct refusal *why)
{
	const char *id = js_need_string(js, "id", PROTO_ID_MAX - 1);
	struct join_key *key = js_ok(js) ? map_get(co->mesh.keys, id) : NULL;

	if (!key || !who_sees(who, key->network) || !who_shown(who, key->made_in)) {
		refuse(why, 404, "unknown_key", "there is no join key %s: see {key list}",
		       js_ok(js) ? id : "of that id");
		return NULL;
	}
	return who_may(who, key->network, why) ? key : NULL;
}

json_t *admin_key_show(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct join_key *key = find_key(co, js, who, why);

	return key ? json_pack("{so}", "key", key_json(key)) : NULL;
}

json_t *admin_key_revoke(struct coordinator *co, struct js *js, const struct who *who, struct refusal *why)
{
	struct join_key *key = find_key(co, js, who, why);

	if (!key)
		return NULL;
	registry_key_revoke(co, key, who->actor);
	return admin_message("key %s revoked; agents that joined with it stay", key->id);
}

/* ---- the audit -------------------------------------------------------------------------------- */

struct audit_reading {
	void *call; /* struct admin_call; NULL: who asked has gone */
	struct coordinator *co;
	char only[PROTO_ID_MAX]; /* "": all that may be seen */
	size_t limit;
	json_t *lines;
};

static void audit_row(void *arg, const struct store_value *row)
{
	const struct audit_reading *reading = arg;
	const struct admin_call *call = reading->call;
	const char *id = store_string(&row[5]);
	const struct network *network = *id ? map_get(reading->co->mesh.networks_by_id, id) : NULL;

	if (!call || !who_sees(&call->who, network) || (*reading->only && strcmp(id, reading->only)))
		return;
	json_array_append_new(reading->lines,
			      registry_audit_json((uint64_t)row[0].number, store_string(&row[1]),
						  store_string(&row[2]), row[3].data ? row[3].data : NULL,
						  row[4].data ? row[4].data : NULL,
						  network ? network->name : NULL));
}

static void audit_done(void *arg, uint64_t batch)
{
	struct audit_reading *reading = arg;
	struct admin_call *call = reading->call;
	json_t *lines = reading->lines;
	size_t limit = reading->limit;

	(void)batch;
	free(reading);
	if (!call) {
		json_decref(lines);
		return;
	}
	for (size_t excess = json_array_size(lines); excess > limit; excess--)
		json_array_remove(lines, 0);
	call->reading = NULL;
	admin_finish(call, json_pack("{so}", "audit", lines), NULL);
}

void admin_audit(struct admin_call *call, struct js *js)
{
	size_t limit = (size_t)js_int(js, "limit", 1, AUDIT_SEARCH, AUDIT_LINES);
	struct network *only;
	struct audit_reading *reading;
	struct refusal why;

	if (!admin_network_given(call->co, js, &only, &call->who, &why)) {
		admin_finish(call, NULL, &why);
		return;
	}
	if (!js_ok(js)) {
		refuse(&why, 400, "invalid", "%s", js->error);
		admin_finish(call, NULL, &why);
		return;
	}
	if (store_behind(call->co->store)) {
		refuse(&why, 503, "store_unavailable", "the database, where the audit is, does not answer at the "
		       "moment: try again");
		admin_finish(call, NULL, &why);
		return;
	}
	reading = xcalloc(1, sizeof(*reading));
	reading->call = call;
	reading->co = call->co;
	reading->limit = limit;
	reading->lines = json_array();
	if (only)
		str_copy(reading->only, sizeof(reading->only), only->id);
	call->reading = &reading->call;
	store_fetch(call->co->store, STORE_AUDIT, NULL,
		    only || who_role(&call->who, NULL) < ROLE_VIEWER ? AUDIT_SEARCH : (int64_t)limit, audit_row,
		    audit_done, reading);
}
