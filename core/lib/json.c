/*
 * json.c - jansson behind typed getters. A reader keeps the first error, so that the owner of an
 * object asks for all its fields in a row and tests js_ok() once at the end.
 *
 * Errors become "key: must be ..." and never quote the value: it may be a secret, or a stranger's.
 */
#include "json.h"
#include "secret.h"
#include "str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64 /* jansson alone would allow 2048 */

/* Depth is limited on the bytes, before jansson recurses. */
static bool too_deep(const char *text, size_t len)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				in_string = false;
		} else if (text[i] == '"') {
			in_string = true;
		} else if (text[i] == '[' || text[i] == '{') {
			if (++depth > MAX_DEPTH)
				return true;
		} else if ((text[i] == ']' || text[i] == '}') && depth > 0) {
			depth--;
		}
	}
	return false;
}

json_t *js_load(const void *data, size_t len, char error[static JS_ERROR])
{
	json_error_t why;
	json_t *json;

	if (too_deep(data, len)) {
		str_copy(error, JS_ERROR, "the JSON is nested too deeply");
		return NULL;
	}
	json = json_loadb(len ? data : "", len, JSON_REJECT_DUPLICATES, &why);
	if (!json) /* why.text may quote the input's bytes: only its kind and place are told */
		snprintf(error, JS_ERROR, "not valid JSON at line %d, column %d%s", why.line,
			 why.column,
			 json_error_code(&why) == json_error_duplicate_key ? ": a key is there twice" : "");
	return json;
}

bool js_other(const void *data, size_t len)
{
	json_t *json = too_deep(data, len) ? NULL
					   : json_loadb(len ? data : "", len, JSON_REJECT_DUPLICATES |
							JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	bool other = json != NULL;

	json_decref(json);
	return other;
}

char *js_dump(const json_t *json)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));

	if (!text) /* only without memory, or for a tree that holds itself */
		abort();
	return text;
}

void js_wipe(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	if (json_is_string(value)) /* jansson's own bytes, which it is done with once they are read */
		secret_wipe((char *)(uintptr_t)json_string_value(value), json_string_length(value));
}

void js_read(struct js *js, json_t *object)
{
	*js = (struct js){.object = object};
	if (!json_is_object(object)) {
		js->object = NULL;
		str_copy(js->error, JS_ERROR, "must be an object");
	}
}

bool js_ok(const struct js *js)
{
	return !js->error[0];
}

void js_fail(struct js *js, const char *key, const char *what)
{
	if (js_ok(js))
		snprintf(js->error, JS_ERROR, "%s: %s", key, what);
}

/* The value of a key, or NULL where it is absent or null. */
static json_t *get(const struct js *js, const char *key)
{
	json_t *value = json_object_get(js->object, key);

	return json_is_null(value) ? NULL : value;
}

bool js_has(const struct js *js, const char *key)
{
	return get(js, key) != NULL;
}

/* NULL when absent; another type is an error. (jansson lets no NUL into a string.) */
static const char *get_string(struct js *js, const char *key)
{
	json_t *value = get(js, key);

	if (!value)
		return NULL;
	if (!json_is_string(value)) {
		js_fail(js, key, "must be a string");
		return NULL;
	}
	return json_string_value(value);
}

const char *js_string(struct js *js, const char *key, const char *fallback)
{
	const char *text = get_string(js, key);

	return text ? text : fallback;
}

const char *js_need_string(struct js *js, const char *key, size_t max_len)
{
	const char *text = get_string(js, key);
	char what[64];

	if (!text) {
		js_fail(js, key, "is missing, must be a string");
		return "";
	}
	if (strlen(text) > max_len) {
		snprintf(what, sizeof(what), "must be at most %zu characters", max_len);
		js_fail(js, key, what);
		return "";
	}
	return text;
}

int64_t js_int(struct js *js, const char *key, int64_t min, int64_t max, int64_t fallback)
{
	json_t *value = get(js, key);
	char what[96];

	if (!value)
		return fallback;
	if (json_is_integer(value) && json_integer_value(value) >= min &&
	    json_integer_value(value) <= max)
		return json_integer_value(value);
	snprintf(what, sizeof(what), "must be a whole number from %lld to %lld", (long long)min,
		 (long long)max);
	js_fail(js, key, what);
	return fallback;
}

bool js_bool(struct js *js, const char *key, bool fallback)
{
	json_t *value = get(js, key);

	if (value && !json_is_boolean(value))
		js_fail(js, key, "must be true or false");
	return json_is_boolean(value) ? json_is_true(value) : fallback;
}

json_t *js_array(struct js *js, const char *key, size_t max_count)
{
	json_t *value = get(js, key);
	char what[64];

	if (!value)
		return NULL;
	if (!json_is_array(value)) {
		js_fail(js, key, "must be a list");
		return NULL;
	}
	if (json_array_size(value) > max_count) {
		snprintf(what, sizeof(what), "must have at most %zu entries", max_count);
		js_fail(js, key, what);
		return NULL;
	}
	return value;
}

json_t *js_object(struct js *js, const char *key)
{
	json_t *value = get(js, key);

	if (value && !json_is_object(value)) {
		js_fail(js, key, "must be an object");
		return NULL;
	}
	return value;
}

bool js_need_key(struct js *js, const char *key, struct key *out)
{
	const char *text = js_need_string(js, key, KEY_BASE64 - 1);

	if (key_parse(out, text) && key_is_canonical(out))
		return true;
	js_fail(js, key, "must be a WireGuard public key, 44 characters of base64");
	return false;
}

bool js_need_preshared(struct js *js, const char *key, struct key *out)
{
	const char *text = js_need_string(js, key, KEY_BASE64 - 1);

	if (key_parse(out, text) && !key_is_zero(out))
		return true;
	js_fail(js, key, "must be a preshared key, 44 characters of base64");
	return false;
}

bool js_endpoint(struct js *js, const char *key, struct endpoint *out)
{
	const char *text = get_string(js, key);

	if (!text)
		return false;
	if (endpoint_parse(out, text))
		return true;
	js_fail(js, key, "must be an endpoint like 192.0.2.1:51820 or [2001:db8::1]:51820");
	return false;
}

/* ---- building ------------------------------------------------------------------- */

json_t *js_from_string(const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	return value ? value : json_null(); /* also for bytes that are not UTF-8 */
}

json_t *js_from_text(const char *text)
{
	char *mended = text ? xstrdup(text) : NULL;
	json_t *value;

	if (mended)
		str_mend(mended);
	value = js_from_string(mended);
	free(mended);
	return value;
}

json_t *js_from_key(const struct key *key)
{
	char text[KEY_BASE64];

	if (!key || key_is_zero(key))
		return json_null();
	key_format(text, key);
	return js_from_string(text);
}

json_t *js_from_endpoint(const struct endpoint *endpoint)
{
	char text[ENDPOINT_TEXT];

	if (!endpoint || !endpoint->addr.family)
		return json_null();
	endpoint_format(text, endpoint);
	return js_from_string(text);
}

json_t *js_from_prefix(const struct prefix *prefix)
{
	char text[PREFIX_TEXT];

	if (!prefix || !prefix->addr.family)
		return json_null();
	prefix_format(text, prefix);
	return js_from_string(text);
}

json_t *js_from_addr(const struct addr *addr)
{
	char text[ADDR_TEXT];

	if (!addr || !addr->family)
		return json_null();
	addr_format(text, addr);
	return js_from_string(text);
}

json_t *js_from_time(uint64_t wall_ms)
{
	char text[TIME_TEXT];

	time_format(text, wall_ms);
	return js_from_string(wall_ms ? text : NULL);
}

json_t *js_from_ms(double ms)
{
	/* One decimal: what people read, and what a clock of ours is good for. */
	return ms >= 0 ? json_real((double)(int64_t)(ms * 10 + 0.5) / 10) : json_null();
}
