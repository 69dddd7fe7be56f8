/*
 * fields.c - the types that members have: what a body may give there, and their JSON Schema.
 */
#include "fields.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFERENCE(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define ARRAY_OF(name)  "{\"type\":\"array\",\"items\":" REFERENCE(name) "}"
#define STRINGS         "{\"type\":\"array\",\"items\":{\"type\":\"string\"}"

/* What a request may give; ANSWER: these are in answers alone. */
enum takes { ANSWER, STRING, BOOL, INTEGER, LIST_OF_STRINGS, OBJECT, LIST_OR_OBJECT };

static const char *const must[] = {
	[STRING] = "must be a string", [BOOL] = "must be true or false", [INTEGER] = "must be a whole number",
	[LIST_OF_STRINGS] = "must be a list of strings", [OBJECT] = "must be an object",
	[LIST_OR_OBJECT] = "must be a list or an object",
};

static const struct {
	const char *name;
	enum takes takes;
	const char *schema;
} types[] = {
	{"string", STRING, "{\"type\":\"string\"}"},
	{"word", STRING, "{\"type\":\"string\"}"},
	{"bool", BOOL, "{\"type\":\"boolean\"}"},
	{"integer", INTEGER, "{\"type\":\"integer\"}"},
	{"seconds", INTEGER, "{\"type\":\"integer\",\"description\":\"seconds from now\"}"},
	{"any", ANSWER, "{}"},
	{"id", STRING, "{\"type\":\"string\",\"maxLength\":39}"},
	{"key", STRING, "{\"type\":\"string\",\"minLength\":44,\"maxLength\":44,\"description\":"
			"\"Curve25519 public key, base64\"}"},
	{"base64", STRING, "{\"type\":\"string\",\"contentEncoding\":\"base64\"}"},
	{"box", STRING, "{\"type\":\"string\",\"contentEncoding\":\"base64\",\"minLength\":56,\"maxLength\":5464}"},
	{"time", STRING, "{\"type\":\"string\",\"format\":\"date-time\"}"},
	{"name", STRING, "{\"type\":\"string\",\"pattern\":\"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$\"}"},
	{"origin", STRING, "{\"type\":\"string\",\"description\":\"https://HOST:PORT as in the join link\"}"},
	{"endpoint", STRING, "{\"type\":[\"string\",\"null\"],\"description\":"
			     "\"192.0.2.1:51820 or [2001:db8::1]:51820\"}"},
	{"endpoints", LIST_OF_STRINGS, STRINGS ",\"maxItems\":16}"},
	{"prefixes", LIST_OF_STRINGS, STRINGS ",\"maxItems\":64}"},
	{"strings", LIST_OF_STRINGS, STRINGS "}"},
	{"integers", ANSWER, "{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}"},
	{"capabilities", LIST_OR_OBJECT, "{\"type\":[\"array\",\"object\"]}"},
	{"peer_status", OBJECT,
	 "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\",\"properties\":"
	 "{\"connected\":{\"type\":[\"boolean\",\"null\"]},\"latency_ms\":{\"type\":[\"number\",\"null\"],\"minimum\":0},"
	 "\"path\":{\"type\":[\"string\",\"null\"],\"pattern\":\"^(direct|relay(:.+)?|none)$\"}}}}"},
	{"protocol", ANSWER, "{\"enum\":[\"any\",\"tcp\",\"udp\",\"icmp\",\"other\"]}"},
	{"family", ANSWER, "{\"enum\":[4,6,null]}"},
	{"store_state", ANSWER, REFERENCE("StoreState")},
	{"peer", ANSWER, REFERENCE("Peer")},
	{"peers", ANSWER, ARRAY_OF("Peer")},
	{"networks", ANSWER, ARRAY_OF("Network")},
	{"relays", ANSWER, ARRAY_OF("Relay")},
	{"rules", ANSWER, ARRAY_OF("Rule")},
	{"network_rules", ANSWER, ARRAY_OF("NetworkRules")},
	{"changes", ANSWER,
	 "{\"type\":\"array\",\"items\":{\"anyOf\":[" REFERENCE("ChangePut") "," REFERENCE("ChangePatch") ","
	 REFERENCE("ChangeRemove") "," REFERENCE("ChangeNetworks") "," REFERENCE("ChangeRelays") ","
	 REFERENCE("ChangeCoordinators") "," REFERENCE("ChangeRules") "]}}"},
	{"duration", STRING, "{\"type\":\"string\",\"description\":\"30s, 15m, 1h, 30d, or never\"}"},
	{"role", STRING, "{\"enum\":[\"viewer\",\"operator\",\"admin\",\"none\"]}"},
	{"network_row", ANSWER, REFERENCE("NetworkRow")},
	{"network_rows", ANSWER, ARRAY_OF("NetworkRow")},
	{"key_row", ANSWER, REFERENCE("JoinKey")},
	{"key_rows", ANSWER, ARRAY_OF("JoinKey")},
	{"agent_row", ANSWER, REFERENCE("Agent")},
	{"agent_rows", ANSWER, ARRAY_OF("Agent")},
	{"whole_agent", ANSWER, REFERENCE("WholeAgent")},
	{"whereabouts", ANSWER, REFERENCE("Whereabouts")},
	{"agent_routes", ANSWER, ARRAY_OF("AgentRoute")},
	{"route_row", ANSWER, REFERENCE("Route")},
	{"route_rows", ANSWER, ARRAY_OF("Route")},
	{"relay_row", ANSWER, REFERENCE("RelayRow")},
	{"relay_rows", ANSWER, ARRAY_OF("RelayRow")},
	{"role_rows", ANSWER, ARRAY_OF("Role")},
	{"user_row", ANSWER, REFERENCE("User")},
	{"user_rows", ANSWER, ARRAY_OF("User")},
	{"token_row", ANSWER, REFERENCE("Token")},
	{"token_rows", ANSWER, ARRAY_OF("Token")},
	{"audit_row", ANSWER, REFERENCE("AuditLine")},
	{"audit_rows", ANSWER, ARRAY_OF("AuditLine")},
	{"device_rows", ANSWER, ARRAY_OF("Device")},
	{"new_device", ANSWER, REFERENCE("NewDevice")},
	{"gateway", ANSWER, REFERENCE("Gateway")},
	{"policy_tests", ANSWER, ARRAY_OF("PolicyTest")},
	{"policy_changes", ANSWER, ARRAY_OF("PolicyChange")},
	{"party", ANSWER, REFERENCE("Party")},
	{"judged_rows", ANSWER, ARRAY_OF("Judged")},
};

/* ---- the notation ------------------------------------------------------------------------------ */

bool field_next(const char **fields, struct field *out)
{
	const char *at = *fields + strspn(*fields, " ");
	size_t name_len = strcspn(at, ":");

	if (!*at)
		return false;
	snprintf(out->name, sizeof(out->name), "%.*s", (int)name_len, at);
	out->type = at + name_len + 1;
	out->type_len = strcspn(out->type, "? ");
	at = out->type + out->type_len;
	out->optional = *at == '?';
	*fields = at + out->optional;
	return true;
}

bool field_find(const char *fields, const char *name, struct field *out)
{
	while (fields && field_next(&fields, out))
		if (!strcmp(name, out->name))
			return true;
	return false;
}

bool field_is(const struct field *field, const char *type)
{
	return strlen(type) == field->type_len && !strncmp(type, field->type, field->type_len);
}

bool fields_optional(const char *fields)
{
	struct field field;

	while (field_next(&fields, &field))
		if (!field.optional)
			return false;
	return true;
}

static size_t type_of(const struct field *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (field_is(field, types[i].name))
			return i;
	abort(); /* the table of routes is wrong, which the unit test finds */
}

/* ---- a body ------------------------------------------------------------------------------------ */

static bool all_strings(const json_t *list)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (!json_is_string(item))
			return false;
	return json_is_array(list);
}

static bool fits(enum takes takes, const json_t *value)
{
	switch (takes) {
	case STRING:
		return json_is_string(value);
	case BOOL:
		return json_is_boolean(value);
	case INTEGER:
		return json_is_integer(value);
	case LIST_OF_STRINGS:
		return all_strings(value);
	case OBJECT:
		return json_is_object(value);
	case LIST_OR_OBJECT:
		return json_is_array(value) || json_is_object(value);
	case ANSWER:
		break;
	}
	abort();
}

bool fields_fit(const char *fields, const json_t *object, struct refusal *why)
{
	struct field field;

	while (fields && field_next(&fields, &field)) {
		const json_t *value = json_object_get(object, field.name);
		enum takes takes = types[type_of(&field)].takes;

		if (value && !json_is_null(value) && !fits(takes, value))
			return refuse(why, 422, "invalid", "%s: %s", field.name, must[takes]);
	}
	return true;
}

/* ---- the schema -------------------------------------------------------------------------------- */

static json_t *type_schema(const struct field *field)
{
	json_t *schema;

	if (*field->type == '=')
		return json_pack("{ss%}", "const", field->type + 1, field->type_len - 1);
	schema = json_loads(types[type_of(field)].schema, 0, NULL);
	if (!schema)
		abort(); /* likewise */
	return schema;
}

json_t *fields_schema(const char *fields, const char *of)
{
	json_t *properties = json_object(), *required = json_array(), *schema;
	struct field field;

	while (field_next(&fields, &field)) {
		const char *says = meaning(of, field.name);

		schema = type_schema(&field);
		if (field.optional)
			schema = json_pack("{s[o{ss}]}", "anyOf", schema, "type", "null");
		else
			json_array_append_new(required, json_string(field.name));
		if (says)
			json_object_set_new(schema, "description", json_string(says));
		json_object_set_new(properties, field.name, schema);
	}
	return json_pack("{sssoso}", "type", "object", "properties", properties, "required", required);
}
