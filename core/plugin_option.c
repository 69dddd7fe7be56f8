/*
 * plugin_option.c - a plugin's options: its table against what the configuration says.
 *
 * Values are checked once and kept as text and as number; a plugin is never asked to parse. What is
 * wrong is named with its place in the file.
 */
#include "plugin.h"
#include "lib/addr.h"
#include "lib/json.h"
#include "lib/prefix.h"
#include "lib/str.h"

#include <stdarg.h>
#include <string.h>

static const struct {
	const char *name, *wanted;
} types[] = {
	[WGM_STRING] = {"string", "text"},
	[WGM_BOOL] = {"bool", "true or false"},
	[WGM_INT] = {"int", "a whole number"},
	[WGM_DURATION] = {"duration", "a duration such as 20s or 5m"},
	[WGM_ENDPOINT] = {"endpoint", "HOST:PORT"},
	[WGM_PREFIX] = {"prefix", "an address or a prefix such as 192.0.2.0/24"},
};

const char *plugin_table_wrong(const struct wgm_option *table)
{
	struct plugin_values values;
	char error[PLUGIN_ERROR];
	size_t count = 0;

	for (; table && table[count].name; count++) {
		const char *name = table[count].name;

		if (count == PLUGIN_OPTION_MAX)
			return "it declares more than 32 options";
		if (!*name || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
			return "it declares an option whose name is not of a-z, 0-9 and _";
		if (!table[count].type || table[count].type >= ARRAY_SIZE(types))
			return "it declares an option of an unknown type";
	}
	for (size_t i = 0; i < count; i++)
		if (table[i].flags & WGM_REQUIRED)
			return NULL; /* the defaults are checked with the values */
	if (!plugin_values_read(&values, table, "", NULL, NULL, error))
		return "it declares a default that its own option does not allow";
	plugin_values_free(&values);
	return NULL;
}

/* HOST:PORT; HOST is a name, an IPv4 address or an IPv6 address in brackets. */
static bool endpoint_text_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct endpoint endpoint;
	uint16_t port;

	if (endpoint_parse(&endpoint, text))
		return true;
	return colon && colon != text && colon - text < 256 && parse_u16(colon + 1, &port) && port &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
		       (size_t)(colon - text);
}

static bool number_in_range(const struct wgm_option *option, int64_t number)
{
	return (!option->min && !option->max) || (number >= option->min && number <= option->max);
}

/* A default, or a scalar that the file writes as text. */
static bool value_from_text(const struct wgm_option *option, const char *text, struct plugin_value *out)
{
	struct prefix prefix;
	uint64_t number = 0;
	bool negative, good = false;

	switch (option->type) {
	case WGM_STRING:
		good = true;
		break;
	case WGM_BOOL:
		number = !strcmp(text, "true");
		good = number || !strcmp(text, "false");
		break;
	case WGM_INT:
		negative = *text == '-';
		good = parse_u64(text + negative, &number) && number <= INT64_MAX;
		if (negative)
			number = 0 - number;
		break;
	case WGM_DURATION:
		good = parse_duration(text, &number) && number <= INT64_MAX;
		break;
	case WGM_ENDPOINT:
		good = endpoint_text_valid(text);
		break;
	case WGM_PREFIX:
		good = prefix_parse(&prefix, text);
		break;
	}
	if (!good || (option->type != WGM_STRING && !number_in_range(option, (int64_t)number) &&
		      (option->type == WGM_INT || option->type == WGM_DURATION)))
		return false;
	out->text = xstrdup(text);
	out->number = (int64_t)number;
	return true;
}

static bool value_from_json(const struct wgm_option *option, const json_t *json, struct plugin_value *out)
{
	char text[32];

	if (json_is_string(json))
		return option->type != WGM_BOOL && option->type != WGM_INT &&
		       value_from_text(option, json_string_value(json), out);
	if (json_is_boolean(json))
		return option->type == WGM_BOOL &&
		       value_from_text(option, json_is_true(json) ? "true" : "false", out);
	if (!json_is_integer(json) || option->type == WGM_BOOL)
		return false;
	snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(json));
	return value_from_text(option, text, out);
}

struct reading {
	const char *plugin;
	const struct yaml *yaml;
	const json_t *options;
	char *error;
};

/* At the value's place, or the key's, or at none. Always false. */
PRINTF_LIKE(4, 5)
static bool wrong(const struct reading *r, const json_t *node, const char *key, const char *format, ...)
{
	unsigned line, column;
	int len = 0;
	va_list args;

	if (r->yaml && ((node && yaml_where(r->yaml, node, &line, &column)) ||
			(key && yaml_where_key(r->yaml, r->options, key, &line, &column))))
		len = snprintf(r->error, PLUGIN_ERROR, "%s:%u:%u: ", yaml_name(r->yaml), line, column);
	else if (r->yaml)
		len = snprintf(r->error, PLUGIN_ERROR, "%s: ", yaml_name(r->yaml));
	if (len < 0 || len >= PLUGIN_ERROR)
		return false;
	va_start(args, format);
	vsnprintf(r->error + len, (size_t)(PLUGIN_ERROR - len), format, args);
	va_end(args);
	return false;
}

static bool wrong_value(const struct reading *r, const struct wgm_option *option, const json_t *node)
{
	const char *wanted = types[option->type].wanted;

	if ((option->type == WGM_INT || option->type == WGM_DURATION) && (option->min || option->max))
		return wrong(r, node, option->name, "%s: %s must be %s from %lld to %lld%s", r->plugin,
			     option->name, wanted, (long long)option->min, (long long)option->max,
			     option->type == WGM_DURATION ? " ms" : "");
	return wrong(r, node, option->name, "%s: %s must be %s", r->plugin, option->name, wanted);
}

static bool known_keys(const struct reading *r, const struct wgm_option *table)
{
	const char *names[PLUGIN_OPTION_MAX + 1] = {NULL}, *key, *near;
	json_t *value;
	size_t count = 0;

	for (; table && table[count].name; count++)
		names[count] = table[count].name;
	json_object_foreach((json_t *)(uintptr_t)r->options, key, value) {
		size_t i = 0;

		while (i < count && strcmp(names[i], key))
			i++;
		if (i < count)
			continue;
		near = str_nearest(key, names);
		if (near)
			return wrong(r, NULL, key, "%s has no option \"%s\"; did you mean \"%s\"?",
				     r->plugin, key, near);
		return wrong(r, NULL, key, "%s has no option \"%s\"%s%s", r->plugin, key,
			     count ? "; its first is " : "; it has none", count ? names[0] : "");
	}
	return true;
}

static bool read_option(const struct reading *r, const struct wgm_option *option,
			struct plugin_values_of *out)
{
	const json_t *json = r->options ? json_object_get(r->options, option->name) : NULL;
	bool list = json_is_array(json);
	size_t count = list ? json_array_size(json) : 1;

	if (!json || json_is_null(json)) {
		if (option->flags & WGM_REQUIRED)
			return wrong(r, r->options, NULL, "%s needs the option %s", r->plugin, option->name);
		if (!option->fallback)
			return true;
		out->values = xcalloc(1, sizeof(*out->values));
		out->count = 1;
		return value_from_text(option, option->fallback, out->values) ||
		       wrong_value(r, option, NULL);
	}
	if (list && !(option->flags & WGM_LIST))
		return wrong(r, json, option->name, "%s: %s takes one value, not a list", r->plugin,
			     option->name);
	out->values = xcalloc(count + 1, sizeof(*out->values));
	for (size_t i = 0; i < count; i++) {
		const json_t *value = list ? json_array_get(json, i) : json;

		if (!value_from_json(option, value, &out->values[i]))
			return wrong_value(r, option, value);
		out->count++;
	}
	return true;
}

bool plugin_values_read(struct plugin_values *out, const struct wgm_option *table, const char *plugin,
			const struct yaml *yaml, const json_t *options, char error[static PLUGIN_ERROR])
{
	struct reading r = {plugin, yaml, options, error};

	*out = (struct plugin_values){.table = table};
	if (options && !json_is_object(options))
		return wrong(&r, options, NULL, "%s: its options must be written {name: value}", plugin);
	if (options && !known_keys(&r, table))
		return false;
	for (size_t i = 0; table && table[i].name && i < PLUGIN_OPTION_MAX; i++) {
		out->count++;
		if (!read_option(&r, &table[i], &out->of[i])) {
			plugin_values_free(out);
			return false;
		}
	}
	return true;
}

void plugin_values_free(struct plugin_values *values)
{
	for (size_t i = 0; i < values->count; i++) {
		for (unsigned v = 0; v < values->of[i].count; v++)
			free(values->of[i].values[v].text);
		free(values->of[i].values);
	}
	*values = (struct plugin_values){0};
}

const struct plugin_values_of *plugin_values_find(const struct plugin_values *values, const char *option)
{
	for (size_t i = 0; i < values->count; i++)
		if (!strcmp(values->table[i].name, option))
			return &values->of[i];
	return NULL;
}

json_t *plugin_table_json(const struct wgm_option *table)
{
	json_t *all = json_array();

	for (size_t i = 0; table && table[i].name && i < PLUGIN_OPTION_MAX; i++)
		json_array_append_new(
			all, json_pack("{s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "name", table[i].name, "type",
				       types[table[i].type].name, "required",
				       (table[i].flags & WGM_REQUIRED) != 0, "list",
				       (table[i].flags & WGM_LIST) != 0, "secret",
				       (table[i].flags & WGM_SECRET) != 0, "default",
				       js_from_text(table[i].fallback), "help",
				       js_from_text(table[i].help)));
	return all;
}

json_t *plugin_values_json(const struct plugin_values *values)
{
	json_t *all = json_object();

	for (size_t i = 0; i < values->count; i++) {
		const struct wgm_option *option = &values->table[i];
		const struct plugin_values_of *of = &values->of[i];
		json_t *list = json_array();

		for (unsigned v = 0; v < of->count; v++)
			json_array_append_new(list, json_string(option->flags & WGM_SECRET ?
									"(secret)" :
									of->values[v].text));
		if (option->flags & WGM_LIST) {
			json_object_set_new(all, option->name, list);
			continue;
		}
		json_object_set_new(all, option->name,
				    of->count ? json_incref(json_array_get(list, 0)) : json_null());
		json_decref(list);
	}
	return all;
}
