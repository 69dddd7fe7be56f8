/*
 * schema.c - a YAML tree checked against tables. Every complaint names the place, the key and what
 * would be right. A value is known by its holder (object and key, or list and index), because null,
 * true and false are the same node wherever they stand.
 */
#include "schema.h"
#include "addr.h"
#include "buf.h"
#include "prefix.h"
#include "str.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
	const struct yaml *yaml;
	char *error; /* YAML_ERROR bytes */
};

struct spot { /* of a value */
	const json_t *parent;
	const char *key; /* NULL: item of a list */
	size_t index;
	const char *name; /* of the field, for sentences */
};

/* ---- complaints ----------------------------------------------------------------- */

static bool PRINTF_LIKE(5, 0) complain(const struct check *c, bool known, unsigned line,
				       unsigned column, const char *format, va_list args)
{
	int len;

	len = known ? snprintf(c->error, YAML_ERROR, "%s:%u:%u: ", yaml_name(c->yaml), line, column)
		    : snprintf(c->error, YAML_ERROR, "%s: ", yaml_name(c->yaml));
	if (len > 0 && len < YAML_ERROR)
		vsnprintf(c->error + len, YAML_ERROR - (size_t)len, format, args);
	return false;
}

static bool PRINTF_LIKE(3, 4) fail_key(const struct check *c, const struct spot *spot,
				       const char *format, ...)
{
	unsigned line = 0, column = 0;
	va_list args;
	bool known;

	known = yaml_where_key(c->yaml, spot->parent, spot->key, &line, &column);
	va_start(args, format);
	complain(c, known, line, column, format, args);
	va_end(args);
	return false;
}

static bool PRINTF_LIKE(3, 4) fail_value(const struct check *c, const struct spot *spot,
					 const char *format, ...)
{
	unsigned line = 0, column = 0;
	va_list args;
	bool known;

	known = yaml_where_value(c->yaml, spot->parent, spot->key, spot->index, &line, &column);
	va_start(args, format);
	complain(c, known, line, column, format, args);
	va_end(args);
	return false;
}

bool schema_fail(const struct yaml *yaml, const json_t *node, char error[static YAML_ERROR],
		 const char *format, ...)
{
	struct check c = {yaml, error};
	unsigned line = 0, column = 0;
	va_list args;
	bool known;

	known = yaml_where(yaml, node, &line, &column);
	va_start(args, format);
	complain(&c, known, line, column, format, args);
	va_end(args);
	return false;
}

/* "a, b or c" in new memory. */
static char *join(const char *const *words)
{
	struct buf text = {0};

	for (size_t i = 0; words[i]; i++) {
		if (i)
			buf_puts(&text, words[i + 1] ? ", " : " or ");
		buf_puts(&text, words[i]);
	}
	return text.data ? (char *)text.data : xstrdup("nothing");
}

static bool fail_unknown(const struct check *c, const struct spot *spot,
			 const struct schema_field *fields)
{
	const char **names, *nearest;
	size_t count = 0;
	char *known;

	while (fields[count].name)
		count++;
	names = xcalloc(count + 1, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		names[i] = fields[i].name;
	nearest = str_nearest(spot->key, names);
	known = join(names);
	if (nearest)
		fail_key(c, spot, "unknown key \"%.60s\", did you mean \"%s\"?", spot->key, nearest);
	else
		fail_key(c, spot, "unknown key \"%.60s\", known here: %s", spot->key, known);
	free(known);
	free(names);
	return false;
}

static bool fail_word(const struct check *c, const struct spot *spot, const char *word,
		      const char *const *words)
{
	const char *nearest = word ? str_nearest(word, words) : NULL;
	char *known = join(words);

	if (nearest)
		fail_value(c, spot, "%s: \"%.60s\" is not known, did you mean \"%s\"?", spot->name, word,
			   nearest);
	else
		fail_value(c, spot, "%s: must be %s", spot->name, known);
	free(known);
	return false;
}

/* ---- values --------------------------------------------------------------------- */

static bool check_int(const struct check *c, const struct spot *spot, const struct schema_field *f,
		      const json_t *value)
{
	int64_t number = json_integer_value(value);
	bool any = !f->min && !f->max;

	if (json_is_integer(value) && (any || (number >= f->min && number <= f->max)))
		return true;
	if (any)
		return fail_value(c, spot, "%s: must be a whole number", spot->name);
	return fail_value(c, spot, "%s: must be a whole number from %" PRId64 " to %" PRId64, spot->name,
			  f->min, f->max);
}

static bool check_string(const struct check *c, const struct spot *spot, const json_t *value)
{
	if (json_is_string(value))
		return true;
	if (json_is_integer(value) || json_is_boolean(value))
		return fail_value(c, spot, "%s: must be text, put it in quotes", spot->name);
	return fail_value(c, spot, "%s: must be text", spot->name);
}

static bool check_duration(const struct check *c, const struct spot *spot, const json_t *value)
{
	uint64_t ms;

	if (json_is_integer(value) && json_integer_value(value) >= 0) /* bare: seconds */
		return true;
	if (json_is_string(value) && parse_duration(json_string_value(value), &ms))
		return true;
	return fail_value(c, spot, "%s: must be a duration like 10s, 15m, 1h or 7d", spot->name);
}

static bool check_endpoint(const struct check *c, const struct spot *spot, const json_t *value)
{
	struct endpoint endpoint;

	if (json_is_string(value) && endpoint_parse(&endpoint, json_string_value(value)))
		return true;
	return fail_value(c, spot, "%s: must be an endpoint like \"192.0.2.1:51820\"", spot->name);
}

static bool check_prefix(const struct check *c, const struct spot *spot, const json_t *value)
{
	struct prefix prefix;

	if (json_is_string(value) && prefix_parse(&prefix, json_string_value(value)))
		return true;
	return fail_value(c, spot, "%s: must be a prefix like 192.168.1.0/24", spot->name);
}

static bool check_word(const struct check *c, const struct spot *spot, const struct schema_field *f,
		       const json_t *value)
{
	const char *word = json_string_value(value);

	for (size_t i = 0; word && f->words[i]; i++)
		if (!strcmp(word, f->words[i]))
			return true;
	return fail_word(c, spot, word, f->words);
}

static bool check_fields(const struct check *c, json_t *object, const struct schema_field *fields,
			 bool open);

static bool check_object(const struct check *c, const struct spot *spot, const struct schema_field *f,
			 json_t *value)
{
	if (!json_is_object(value) && (f->flags & SCHEMA_LIST))
		return fail_value(c, spot, spot->key ? "%s: must be a list, each item of it keys and values"
						     : "%s: each item must be keys and values", spot->name);
	if (!json_is_object(value))
		return fail_value(c, spot, json_is_array(value) ? "%s: must be keys and values, not a list"
								: "%s: must be keys and values", spot->name);
	return check_fields(c, value, f->fields, f->flags & SCHEMA_OPEN);
}

static bool check_one(const struct check *c, const struct spot *spot, const struct schema_field *f,
		      json_t *value)
{
	switch (f->type) {
	case SCHEMA_STRING:
		return check_string(c, spot, value);
	case SCHEMA_BOOL:
		return json_is_boolean(value) ||
		       fail_value(c, spot, "%s: must be true or false", spot->name);
	case SCHEMA_INT:
		return check_int(c, spot, f, value);
	case SCHEMA_DURATION:
		return check_duration(c, spot, value);
	case SCHEMA_ENDPOINT:
		return check_endpoint(c, spot, value);
	case SCHEMA_PREFIX:
		return check_prefix(c, spot, value);
	case SCHEMA_WORD:
		return check_word(c, spot, f, value);
	case SCHEMA_OBJECT:
		return check_object(c, spot, f, value);
	case SCHEMA_ANY:
		return true;
	}
	return false;
}

static bool check_value(const struct check *c, const struct spot *spot, const struct schema_field *f,
			json_t *value)
{
	if (json_is_null(value))
		return (f->flags & SCHEMA_NULLABLE) || f->type == SCHEMA_ANY ||
		       fail_key(c, spot, "%s: has no value, give it one or remove the line", spot->name);
	if (!(f->flags & SCHEMA_LIST)) {
		if (json_is_array(value) && f->type != SCHEMA_ANY && f->type != SCHEMA_OBJECT)
			return fail_value(c, spot, "%s: must be one value, not a list", spot->name);
		return check_one(c, spot, f, value);
	}
	if (!json_is_array(value))
		return check_one(c, spot, f, value);
	for (size_t i = 0; i < json_array_size(value); i++) {
		struct spot item = {value, NULL, i, spot->name};

		if (!check_one(c, &item, f, json_array_get(value, i)))
			return false;
	}
	return true;
}

static const struct schema_field *find(const struct schema_field *fields, const char *name)
{
	for (; fields->name; fields++)
		if (!strcmp(fields->name, name))
			return fields;
	return NULL;
}

static bool check_fields(const struct check *c, json_t *object, const struct schema_field *fields,
			 bool open)
{
	static const struct schema_field none[] = {{.name = NULL}};
	const struct schema_field *f;
	const char *key;
	json_t *value;

	if (!fields)
		fields = none;
	json_object_foreach(object, key, value) {
		struct spot spot = {object, key, 0, key};

		f = find(fields, key);
		if (!f && !open)
			return fail_unknown(c, &spot, fields);
		if (f && !check_value(c, &spot, f, value))
			return false;
	}
	for (f = fields; f->name; f++)
		if ((f->flags & SCHEMA_REQUIRED) && !json_object_get(object, f->name))
			return schema_fail(c->yaml, object, c->error, "the key \"%s\" is missing", f->name);
	return true;
}

bool schema_check(const struct yaml *yaml, const struct schema_field *fields, char error[static YAML_ERROR])
{
	struct check c = {yaml, error};
	json_t *root = yaml_root(yaml);

	if (!json_is_object(root))
		return schema_fail(yaml, root, error, "the file must consist of keys and values");
	return check_fields(&c, root, fields, false);
}
