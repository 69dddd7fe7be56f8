/*
 * hook_env.c - the table of the variables. Names, addresses and keys come from other hosts and
 * through the agent, which has fewer rights than a hook: nothing gets past that is not in form, and
 * addresses and keys are written anew from their values.
 */
#include "hook_env.h"
#include "lib/addr.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 80

static bool check_name(char out[static VALUE_MAX], const char *text)
{
	return name_valid(text) && str_copy(out, VALUE_MAX, text);
}

static bool check_key(char out[static VALUE_MAX], const char *text)
{
	struct key key;

	if (!key_parse(&key, text))
		return false;
	key_format(out, &key);
	return true;
}

static bool check_address(char out[static VALUE_MAX], const char *text)
{
	struct addr addr;

	if (!addr_parse(&addr, text))
		return false;
	addr_format(out, &addr);
	return true;
}

static bool check_endpoint(char out[static VALUE_MAX], const char *text)
{
	struct endpoint endpoint;

	if (!endpoint_parse(&endpoint, text))
		return false;
	endpoint_format(out, &endpoint);
	return true;
}

/* "direct", "none", "relay", "relay fra", "relay:fra" */
static bool check_path(char out[static VALUE_MAX], const char *text)
{
	if (strcmp(text, "direct") && strcmp(text, "none") && strcmp(text, "relay") &&
	    !((str_has_prefix(text, "relay ") || str_has_prefix(text, "relay:")) && name_valid(text + 6)))
		return false;
	return str_copy(out, VALUE_MAX, text);
}

static const struct {
	const char *field, *variable;
	bool (*check)(char out[static VALUE_MAX], const char *text);
} fields[] = {
	{"network", "WG_MESH_NETWORK", check_name},
	{"name", "WG_MESH_NAME", check_name},
	{"peer", "WG_MESH_PEER", check_key},
	{"peer_name", "WG_MESH_PEER_NAME", check_name},
	{"peer_address", "WG_MESH_PEER_ADDRESS", check_address},
	{"path", "WG_MESH_PATH", check_path},
	{"old_path", "WG_MESH_OLD_PATH", check_path},
	{"endpoint", "WG_MESH_ENDPOINT", check_endpoint},
	{"old_endpoint", "WG_MESH_OLD_ENDPOINT", check_endpoint},
};

static const char *const base[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"LANG=C.UTF-8",
	"SHELL=/bin/sh",
};

json_t *hook_event_checked(enum event_type type, const char *interface, const json_t *said)
{
	const json_t *latency = json_object_get(said, "latency_ms");
	json_t *event = json_pack("{s:s, s:s}", "event", event_name(type), "interface", interface);
	char value[VALUE_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *text = json_string_value(json_object_get(said, fields[i].field));

		if (!text || !*text)
			continue;
		if (fields[i].check(value, text))
			json_object_set_new(event, fields[i].field, json_string(value));
		else
			log_warn("hook-field", "event=%s field=%s reason=\"not in form, left out\"",
				 event_name(type), fields[i].field);
	}
	if (json_is_number(latency) && json_number_value(latency) >= 0 && json_number_value(latency) < 1e9)
		json_object_set_new(event, "latency_ms", json_real(json_number_value(latency)));
	return event;
}

char **hook_env(const json_t *event)
{
	const json_t *latency = json_object_get(event, "latency_ms");
	char **env = xcalloc(ARRAY_SIZE(base) + ARRAY_SIZE(fields) + 4, sizeof(*env));
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(base); i++)
		env[count++] = xstrdup(base[i]);
	env[count++] = xasprintf("WG_MESH_EVENT=%s", json_string_value(json_object_get(event, "event")));
	env[count++] = xasprintf("WG_MESH_INTERFACE=%s", json_string_value(json_object_get(event, "interface")));
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *text = json_string_value(json_object_get(event, fields[i].field));

		if (text)
			env[count++] = xasprintf("%s=%s", fields[i].variable, text);
	}
	if (json_is_number(latency))
		env[count++] = xasprintf("WG_MESH_LATENCY_MS=%.1f", json_number_value(latency));
	return env;
}

void hook_env_free(char **env)
{
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
}
