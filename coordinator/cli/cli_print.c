/*
 * cli_print.c - tables whose columns are as wide as they must be.
 */
#include "cli_print.h"
#include "lib/json.h"
#include "lib/util.h"

#include <stdio.h>
#include <string.h>

#define MAX_COLUMNS 8
#define CELL        160
#define MORE        "..." /* of a list that is longer */

/* Others may have chosen it: no line and no colour of theirs. */
static void no_control(char *text)
{
	unsigned char before = 0, byte;

	for (; (byte = (unsigned char)*text); text++) {
		bool latin = before == 0xc2 && byte < 0xa0; /* two bytes of UTF-8 */

		if (latin)
			text[-1] = '?';
		if (latin || byte < ' ' || byte == 0x7f)
			*text = '?';
		before = byte;
	}
}

static void cell(char out[static CELL], const json_t *value)
{
	const json_t *item;
	size_t i;

	*out = '\0';
	if (json_is_string(value))
		snprintf(out, CELL, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(out, CELL, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		snprintf(out, CELL, "%s", json_is_true(value) ? "yes" : "no");
	json_array_foreach(value, i, item) {
		bool fits = strlen(out) + strlen(MORE) + json_string_length(item) + 2 < CELL;

		if (json_is_string(item))
			snprintf(out + strlen(out), CELL - strlen(out), "%s%s", i ? "," : "",
				 fits ? json_string_value(item) : MORE);
		if (!fits)
			break;
	}
	if (!*out)
		snprintf(out, CELL, "-");
	no_control(out);
}

void print_table(const json_t *rows, const struct column *columns)
{
	size_t width[MAX_COLUMNS] = {0}, i;
	const json_t *row;
	char text[CELL];

	for (size_t c = 0; columns[c].title; c++)
		width[c] = strlen(columns[c].title);
	json_array_foreach(rows, i, row)
		for (size_t c = 0; columns[c].title; c++) {
			cell(text, json_object_get(row, columns[c].key));
			width[c] = MAX(width[c], strlen(text));
		}
	for (size_t c = 0; columns[c].title; c++)
		printf("%-*s%s", columns[c + 1].title ? (int)width[c] + 2 : 0, columns[c].title,
		       columns[c + 1].title ? "" : "\n");
	json_array_foreach(rows, i, row)
		for (size_t c = 0; columns[c].title; c++) {
			cell(text, json_object_get(row, columns[c].key));
			printf("%-*s%s", columns[c + 1].title ? (int)width[c] + 2 : 0, text,
			       columns[c + 1].title ? "" : "\n");
		}
}

void print_json(json_t *result)
{
	json_t *document = json_pack("{si}", "schema", 1);
	char *text;

	json_object_update(document, result);
	text = json_dumps(document, JSON_INDENT(2));
	puts(text);
	free(text);
	json_decref(document);
}

void print_message(const json_t *result)
{
	puts(json_string_value(json_object_get(result, "message")));
}

void print_moved(const json_t *result)
{
	const json_t *count, *kept = json_object_get(result, "kept");
	const char *table;

	json_object_foreach(json_object_get(result, "rows"), table, count)
		printf("%s: %lld\n", table, (long long)json_integer_value(count));
	if (kept)
		printf("the database of before is kept as %s\n", json_string_value(kept));
	print_message(result);
}

void print_link(const json_t *result)
{
	puts(json_string_value(json_object_get(result, "link")));
}

void print_networks(const json_t *result)
{
	static const struct column columns[] = {
		{"NAME", "name"},     {"CIDR", "cidr"},	      {"CIDR6", "cidr6"},
		{"AGENTS", "agents"}, {"APPROVAL", "approve"}, {0},
	};

	print_table(json_object_get(result, "networks"), columns);
}

void print_keys(const json_t *result)
{
	static const struct column columns[] = {
		{"ID", "id"},		    {"NETWORK", "network"}, {"STATE", "state"},
		{"REUSABLE", "reusable"},   {"NAME", "name"},	    {"TAGS", "tags"},
		{"EXPIRES", "expires_at"}, {0},
	};

	print_table(json_object_get(result, "keys"), columns);
}

/* One word for what an agent is in that network. */
static const char *agent_state(const json_t *agent)
{
	if (json_is_true(json_object_get(agent, "expired")))
		return "expired";
	if (!json_is_true(json_object_get(agent, "approved")))
		return "waiting";
	return json_is_true(json_object_get(agent, "online")) ? "online" : "offline";
}

void print_agents(const json_t *result)
{
	static const struct column columns[] = {
		{"NAME", "name"},   {"ID", "agent_id"},	       {"NETWORK", "network"},	 {"ADDRESSES", "addresses"},
		{"STATE", "state"}, {"EXPIRES", "expires_at"}, {"ENDPOINT", "endpoint"}, {"LAST SEEN", "last_seen"},
		{0},
	};
	json_t *copies = json_deep_copy(json_object_get(result, "agents")), *row;
	size_t i;

	json_array_foreach(copies, i, row)
		json_object_set_new(row, "state", json_string(agent_state(row)));
	print_table(copies, columns);
	json_decref(copies);
}

static void row(const char *key, const json_t *value)
{
	char text[CELL];

	cell(text, value);
	printf("%-15s %s\n", key, text);
}

/* A line each: an agent may have many routes. */
static void print_agent_routes(const json_t *routes)
{
	const json_t *route;
	char text[CELL];
	size_t i;

	json_array_foreach(routes, i, route) {
		cell(text, json_object_get(route, "prefix"));
		printf("%-15s %s%s\n", i ? "" : "routes", text,
		       json_is_true(json_object_get(route, "approved")) ? "" : " (not approved)");
	}
	if (!json_array_size(routes))
		row("routes", NULL);
}

static void print_agent_networks(const json_t *networks)
{
	const json_t *network;
	char name[CELL], addresses[CELL];
	size_t i;

	json_array_foreach(networks, i, network) {
		cell(name, json_object_get(network, "name"));
		cell(addresses, json_object_get(network, "addresses"));
		printf("%-15s %s %s%s\n", i ? "" : "networks", name, addresses,
		       json_is_false(json_object_get(network, "approved")) ? " (not approved)" : "");
	}
	if (!json_array_size(networks))
		row("networks", NULL);
}

void print_agent(const json_t *result)
{
	json_t *agent = json_object_get(result, "agent"), *value, *part;
	const char *key, *name;

	json_object_foreach(agent, key, value) {
		if (!strcmp(key, "routes"))
			print_agent_routes(value);
		else if (!strcmp(key, "networks"))
			print_agent_networks(value);
		else if (!json_is_object(value))
			row(key, value);
		else
			json_object_foreach(value, name, part)
				if (!json_object_get(agent, name)) /* some of where it is was said already */
					row(name, part);
	}
}

void print_routes(const json_t *result)
{
	static const struct column columns[] = {
		{"ROUTE", "prefix"}, {"AGENT", "name"}, {"NETWORK", "network"}, {"APPROVED", "approved"}, {0},
	};

	print_table(json_object_get(result, "routes"), columns);
}

void print_secret(const json_t *result)
{
	puts(json_string_value(json_object_get(result, "secret")));
}

/* "roles" to "admin of everything, viewer of lab". A token that has none of its own is as its user, and one
 * whose networks are gone is good for nothing. */
static json_t *roles_text(const json_t *row)
{
	const json_t *roles = json_object_get(row, "roles"), *role;
	char text[CELL] = "";
	size_t i;

	if (!json_array_size(roles))
		return json_string(json_is_array(roles) ? "none" : "its user's");
	json_array_foreach(roles, i, role) {
		const char *network = json_string_value(json_object_get(role, "network"));

		if (strlen(text) + 70 < CELL)
			snprintf(text + strlen(text), CELL - strlen(text), "%s%s of %s", i ? ", " : "",
				 json_string_value(json_object_get(role, "role")),
				 network ? network : "everything");
	}
	return json_string(text);
}

static void table_with_roles(const json_t *rows, const struct column *columns)
{
	json_t *copies = json_deep_copy(rows), *row;
	size_t i;

	json_array_foreach(copies, i, row)
		json_object_set_new(row, "roles", roles_text(row));
	print_table(copies, columns);
	json_decref(copies);
}

void print_users(const json_t *result)
{
	static const struct column columns[] = {
		{"NAME", "name"}, {"ROLES", "roles"}, {"PASSWORD", "password"}, {"LAST LOGIN", "last_login"}, {0},
	};

	table_with_roles(json_object_get(result, "users"), columns);
}

void print_tokens(const json_t *result)
{
	static const struct column columns[] = {
		{"ID", "id"},	      {"KIND", "kind"},	  {"NAME", "name"},	    {"USER", "user"},
		{"ROLES", "roles"}, {"SCOPES", "scopes"}, {"EXPIRES", "expires_at"}, {"USED", "used_at"}, {0},
	};

	table_with_roles(json_object_get(result, "tokens"), columns);
}

void print_relays(const json_t *result)
{
	static const struct column columns[] = {
		{"ID", "id"}, {"REGION", "region"}, {"URL", "url"}, {"STUN", "stun"}, {0},
	};

	print_table(json_object_get(result, "relays"), columns);
}

void print_audit_line(const json_t *line)
{
	static const char *const keys[] = {"at", "actor", "action", "subject", "detail"};
	char text[CELL];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		cell(text, json_object_get(line, keys[i]));
		printf("%s%s", text, i + 1 < ARRAY_SIZE(keys) ? "  " : "\n");
	}
}

void print_audit(const json_t *result)
{
	const json_t *line;
	size_t i;

	json_array_foreach(json_object_get(result, "audit"), i, line)
		print_audit_line(line);
}
