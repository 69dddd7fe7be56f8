/*
 * store_bulletin.c - what a commit tells other coordinators: which rows to read again. Also the values
 * that statements take.
 */
#include "store_driver.h"
#include "lib/json.h"

#include <string.h>

#define MAX_AUDIT 200 /* lines of one commit that are told to those who follow elsewhere */

const char *const store_about_names[ABOUTS] = {
	[ABOUT_NOTHING] = "",	     [ABOUT_NETWORK] = "networks", [ABOUT_USER] = "users",
	[ABOUT_TOKEN] = "tokens",    [ABOUT_RELAYS] = "relays",	   [ABOUT_META] = "meta",
	[ABOUT_POLICY] = "policies", [ABOUT_KEY] = "keys",	   [ABOUT_AGENT] = "agents",
	[ABOUT_DEVICE] = "devices",
};

/* By the statement's first value. What is not here (endpoints, last uses, the trimming of old rows) each coordinator knows otherwise, or need not know. */
enum store_about store_about(enum store_write what)
{
	static const enum store_about table[STORE_WRITES] = {
		[STORE_NETWORK_PUT] = ABOUT_NETWORK, [STORE_NETWORK_SET] = ABOUT_NETWORK,
		[STORE_NETWORK_DEL] = ABOUT_NETWORK, [STORE_AGENT_PUT] = ABOUT_AGENT,
		[STORE_AGENT_KEY] = ABOUT_AGENT,     [STORE_AGENT_TOKENS] = ABOUT_AGENT,
		[STORE_AGENT_ALONE] = ABOUT_AGENT,   [STORE_AGENT_DEL] = ABOUT_AGENT,
		[STORE_MEMBER_PUT] = ABOUT_AGENT,    [STORE_MEMBER_DEL] = ABOUT_AGENT,
		[STORE_MEMBER_EXPIRE] = ABOUT_AGENT, [STORE_MEMBER_RETURN] = ABOUT_AGENT,
		[STORE_MEMBER_EXPIRY] = ABOUT_AGENT, [STORE_AGENT_SET] = ABOUT_AGENT,
		[STORE_MEMBER_NAME] = ABOUT_AGENT,   [STORE_MEMBER_TAGS] = ABOUT_AGENT,
		[STORE_MEMBER_KEY] = ABOUT_AGENT,    [STORE_MEMBER_AGAIN] = ABOUT_AGENT,
		[STORE_MEMBER_APPROVE] = ABOUT_AGENT,
		[STORE_ROUTE_PUT] = ABOUT_AGENT,     [STORE_ROUTE_JUDGE] = ABOUT_AGENT,
		[STORE_ROUTE_SET] = ABOUT_AGENT,     [STORE_ROUTES_KEEP] = ABOUT_AGENT,
		[STORE_USER_PASSWORD] = ABOUT_USER,  [STORE_USER_ROLES] = ABOUT_USER,
		[STORE_KEY_PUT] = ABOUT_KEY,	     [STORE_KEY_USE] = ABOUT_KEY,
		[STORE_KEY_REVOKE] = ABOUT_KEY,	     [STORE_POLICY_PUT] = ABOUT_POLICY,
		[STORE_META_PUT] = ABOUT_META,	     [STORE_META_NEW] = ABOUT_META,
		[STORE_META_DEL] = ABOUT_META,	     [STORE_META_END] = ABOUT_META,
		[STORE_USER_PUT] = ABOUT_USER,
		[STORE_USER_DEL] = ABOUT_USER,	     [STORE_TOKEN_PUT] = ABOUT_TOKEN,
		[STORE_TOKEN_DEL] = ABOUT_TOKEN,     [STORE_TOKEN_SPEND] = ABOUT_TOKEN,
		[STORE_RELAY_PUT] = ABOUT_RELAYS,    [STORE_RELAY_DEL] = ABOUT_RELAYS,
		[STORE_DEVICE_PUT] = ABOUT_DEVICE,   [STORE_DEVICE_DEL] = ABOUT_DEVICE,
	};

	return table[what];
}

static void add_id(json_t *bulletin, const char *name, const struct store_op *op)
{
	json_t *ids = json_object_get(bulletin, name);
	const struct store_value *id = &op->values[0];

	if (!ids) {
		ids = json_object();
		json_object_set_new(bulletin, name, ids);
	}
	json_object_set_new(ids, id->type == STORE_TEXT ? store_string(id) : "", json_true());
}

/* The row itself. */
static void add_row(json_t *bulletin, const char *name, const struct store_op *op, size_t limit)
{
	json_t *lines = json_object_get(bulletin, name), *line = json_array();

	if (!lines) {
		lines = json_array();
		json_object_set_new(bulletin, name, lines);
	}
	for (unsigned i = 0; i < op->count; i++)
		json_array_append_new(line, op->values[i].type == STORE_INT
						    ? json_integer((json_int_t)op->values[i].number)
						    : js_from_string(op->values[i].data));
	if (json_array_size(lines) < limit)
		json_array_append(lines, line);
	json_decref(line);
}

char *bulletin_text(const char *from, const struct list *ops)
{
	json_t *bulletin = json_pack("{ss}", "from", from);
	const struct store_op *op;
	char *text = NULL;

	list_each(op, ops, node) {
		if (op->refused)
			continue;
		if (op->what == STORE_AUDIT_PUT)
			add_row(bulletin, "audit", op, MAX_AUDIT);
		else if (op->what == STORE_RETIRED_PUT)
			add_row(bulletin, "retired", op, SIZE_MAX);
		else if (store_about(op->what))
			add_id(bulletin, store_about_names[store_about(op->what)], op);
	}
	if (json_object_size(bulletin) > 1)
		text = js_dump(bulletin);
	json_decref(bulletin);
	return text;
}

/* ---- values ------------------------------------------------------------------------------------- */

struct store_value store_int(int64_t number)
{
	return (struct store_value){.type = STORE_INT, .number = number};
}

struct store_value store_text(const char *text)
{
	if (!text)
		return (struct store_value){.type = STORE_NULL};
	return (struct store_value){.type = STORE_TEXT, .data = text, .len = strlen(text)};
}

struct store_value store_blob(const void *data, size_t len)
{
	return (struct store_value){.type = STORE_BLOB, .data = data, .len = len};
}

const char *store_string(const struct store_value *value)
{
	return value->type == STORE_TEXT && value->data ? value->data : "";
}
