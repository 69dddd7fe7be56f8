/*
 * proto_rule.c - rules for an agent's firewall: structs and their JSON, for both ends.
 */
#include "proto.h"
#include "str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CLASSES  16384
#define MAX_PREFIXES 16384
#define MAX_PORTS    4096

static const char *const protocols[] = {"any", "tcp", "udp", "icmp", "other"};

static json_t *prefixes_json(const struct prefix *prefixes, unsigned count)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(array, js_from_prefix(&prefixes[i]));
	return array;
}

json_t *proto_write_rule(const struct proto_rule *rule)
{
	json_t *object = json_object(), *classes = json_array(), *ports = json_array();
	char text[16];

	for (unsigned i = 0; i < rule->class_count; i++)
		json_array_append_new(classes, json_integer(rule->classes[i]));
	for (unsigned i = 0; i < rule->port_count; i++) {
		const struct proto_ports *range = &rule->ports[i];

		if (range->low == range->high)
			snprintf(text, sizeof(text), "%u", range->low);
		else
			snprintf(text, sizeof(text), "%u-%u", range->low, range->high);
		json_array_append_new(ports, json_string(text));
	}
	json_object_set_new(object, "classes", classes);
	json_object_set_new(object, "sources", prefixes_json(rule->sources, rule->source_count));
	json_object_set_new(object, "own", json_boolean(rule->own));
	json_object_set_new(object, "targets", prefixes_json(rule->targets, rule->target_count));
	json_object_set_new(object, "protocol", json_string(protocols[rule->protocol]));
	json_object_set_new(object, "ports", ports);
	json_object_set_new(object, "family",
			    rule->family ? json_integer(rule->family == AF_INET ? 4 : 6) : json_null());
	return object;
}

static void read_classes(struct js *js, struct proto_rule *out)
{
	json_t *array = js_array(js, "classes", MAX_CLASSES), *item;
	size_t i;

	out->classes = xcalloc(json_array_size(array) + 1, sizeof(*out->classes));
	json_array_foreach(array, i, item) {
		json_int_t id = json_integer_value(item);

		if (id < 1 || id > UINT32_MAX) {
			js_fail(js, "classes", "must hold numbers of classes");
			return;
		}
		out->classes[out->class_count++] = (uint32_t)id;
	}
}

static void read_prefixes(struct js *js, const char *key, struct prefix **out, unsigned *count)
{
	json_t *array = js_array(js, key, MAX_PREFIXES), *item;
	size_t i;

	*out = xcalloc(json_array_size(array) + 1, sizeof(**out));
	json_array_foreach(array, i, item) {
		if (!json_is_string(item) || !prefix_parse(&(*out)[i], json_string_value(item))) {
			js_fail(js, key, "must hold prefixes like \"192.0.2.0/24\"");
			return;
		}
		*count = (unsigned)i + 1;
	}
}

static bool parse_ports(const char *text, struct proto_ports *out)
{
	const char *dash = strchr(text, '-');
	char low[8];

	if (!dash)
		return parse_u16(text, &out->low) && parse_u16(text, &out->high);
	snprintf(low, sizeof(low), "%.*s", (int)MIN(dash - text, 7), text);
	return parse_u16(low, &out->low) && parse_u16(dash + 1, &out->high) && out->low <= out->high;
}

static void read_ports(struct js *js, struct proto_rule *out)
{
	json_t *array = js_array(js, "ports", MAX_PORTS), *item;
	size_t i;

	out->ports = xcalloc(json_array_size(array) + 1, sizeof(*out->ports));
	json_array_foreach(array, i, item) {
		if (!json_is_string(item) || !parse_ports(json_string_value(item), &out->ports[i])) {
			js_fail(js, "ports", "must hold ports like \"22\" or \"8000-8100\"");
			return;
		}
		out->port_count = (unsigned)i + 1;
	}
	if (out->port_count && out->protocol != PROTO_TCP && out->protocol != PROTO_UDP)
		js_fail(js, "ports", "only tcp and udp have any");
}

static void read_protocol(struct js *js, struct proto_rule *out)
{
	const char *word = js_need_string(js, "protocol", 8);

	for (size_t i = 0; js_ok(js) && i < ARRAY_SIZE(protocols); i++)
		if (!strcmp(word, protocols[i])) {
			out->protocol = (enum proto_protocol)i;
			return;
		}
	js_fail(js, "protocol", "must be any, tcp, udp, icmp or other");
}

/* A rule that is not understood must not be half understood: it would accept too much. */
bool proto_read_rule(struct js *js, struct proto_rule *out)
{
	int64_t family;

	memset(out, 0, sizeof(*out));
	read_protocol(js, out);
	read_classes(js, out);
	read_prefixes(js, "sources", &out->sources, &out->source_count);
	read_prefixes(js, "targets", &out->targets, &out->target_count);
	out->own = js_bool(js, "own", false);
	family = js_int(js, "family", 4, 6, 0);
	out->family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : 0;
	if (family == 5)
		js_fail(js, "family", "must be 4, 6 or null");
	read_ports(js, out);
	if (js_ok(js))
		return true;
	proto_rule_fini(out);
	return false;
}

void proto_rule_fini(struct proto_rule *rule)
{
	free(rule->classes);
	free(rule->sources);
	free(rule->targets);
	free(rule->ports);
	memset(rule, 0, sizeof(*rule));
}
