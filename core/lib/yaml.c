/*
 * yaml.c - libyaml's events built into a jansson tree, with a note for each value of where it
 * stood. What makes YAML surprising or explosive (aliases, tags, several documents, keys given
 * twice) is refused where it stands. The place of a value is found by what holds it, in one step: a
 * policy asks for that of each of its words.
 */
#include "yaml.h"
#include "file.h"
#include "map.h"
#include "str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_SIZE  (1024 * 1024)
#define MAX_DEPTH 32
#define MAX_VALUES 100000 /* a loop waits while they are read */

struct holder { /* of a value: all of it is compared */
	const void *what; /* the list; of an object its own copy of the key; NULL: the root */
	size_t index;     /* in the list */
};

struct place {
	struct holder holder;
	const json_t *node;
	yaml_mark_t key_mark, mark;
};

struct yaml {
	char *name;
	json_t *root;
	struct place *places;
	size_t count;
	struct map *by_holder;
};

struct builder {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one */
	struct yaml *yaml;
	unsigned depth;
	char *error; /* YAML_ERROR bytes */
};

/* ---- building ------------------------------------------------------------------- */

/* Always NULL. */
static void *PRINTF_LIKE(3, 4) fail_at(struct builder *b, yaml_mark_t mark, const char *format, ...)
{
	va_list args;
	int len;

	len = snprintf(b->error, YAML_ERROR, "%s:%zu:%zu: ", b->yaml->name, mark.line + 1, mark.column + 1);
	va_start(args, format);
	if (len > 0 && len < YAML_ERROR)
		vsnprintf(b->error + len, YAML_ERROR - (size_t)len, format, args);
	va_end(args);
	return NULL;
}

/* Steps to the next event. */
static bool next(struct builder *b)
{
	yaml_parser_t *p = &b->parser;

	yaml_event_delete(&b->event);
	if (yaml_parser_parse(p, &b->event))
		return true;
	if (p->error == YAML_READER_ERROR)
		fail_at(b, p->mark, "not UTF-8 text near byte %zu", p->problem_offset);
	else
		fail_at(b, p->problem_mark, "not valid YAML: %s%s%s", p->problem ? p->problem : "",
			p->context ? " " : "", p->context ? p->context : "");
	return false;
}

static bool note_place(struct builder *b, const struct place *place)
{
	struct yaml *yaml = b->yaml;

	if (yaml->count == MAX_VALUES) {
		fail_at(b, place->mark, "more than %d values: leave some out", MAX_VALUES);
		return false;
	}
	if ((yaml->count & (yaml->count - 1)) == 0) /* a power of two is full */
		yaml->places = xrealloc(yaml->places,
					MAX(yaml->count * 2, 1) * sizeof(*yaml->places));
	yaml->places[yaml->count++] = *place;
	return true;
}

/* When there are all, for they move while they grow. */
static void index_places(struct yaml *yaml)
{
	yaml->by_holder = map_new(sizeof(struct holder));
	for (size_t i = 0; i < yaml->count; i++)
		map_put(yaml->by_holder, &yaml->places[i].holder, &yaml->places[i]);
}

static const void *own_key(const json_t *object, const char *key)
{
	return json_object_iter_key(json_object_iter_at((json_t *)object, key));
}

static bool one_of(const char *text, const char *const *words)
{
	while (*words && strcmp(text, *words))
		words++;
	return *words;
}

/* YAML 1.2 core: [-+]?[0-9]+, 0o[0-7]+, 0x[0-9a-fA-F]+ */
static bool looks_like_int(const char *text, int *base)
{
	const char *digits = "0123456789";
	const char *start = text + (*text == '-' || *text == '+');

	*base = 10;
	if (str_has_prefix(text, "0o"))
		digits = "01234567", *base = 8;
	else if (str_has_prefix(text, "0x"))
		digits = "0123456789abcdefABCDEF", *base = 16;
	if (*base != 10)
		start = text + 2;
	return *start && !start[strspn(start, digits)];
}

static json_t *plain_int(struct builder *b, const char *text, int base)
{
	long long value;

	errno = 0;
	value = strtoll(text + (base == 10 ? 0 : 2), NULL, base);
	return errno ? fail_at(b, b->event.start_mark, "the number %.40s is too large", text)
		     : json_integer(value);
}

static json_t *build_scalar(struct builder *b)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	const char *text = (const char *)b->event.data.scalar.value;
	size_t len = b->event.data.scalar.length;
	json_t *json;
	int base;

	if (strlen(text) != len)
		return fail_at(b, b->event.start_mark, "text with a NUL in it is not taken");
	if (b->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		if (one_of(text, nulls))
			return json_null();
		if (one_of(text, trues))
			return json_true();
		if (one_of(text, falses))
			return json_false();
		if (looks_like_int(text, &base))
			return plain_int(b, text, base);
	}
	json = json_stringn(text, len);
	return json ? json : fail_at(b, b->event.start_mark, "this text is not valid UTF-8");
}

static json_t *build(struct builder *b);

static json_t *build_list(struct builder *b)
{
	json_t *list = json_array(), *item;

	while (next(b) && b->event.type != YAML_SEQUENCE_END_EVENT) {
		struct place place = {.holder = {list, json_array_size(list)}, .mark = b->event.start_mark};

		item = build(b);
		if (!item)
			goto failed;
		place.node = item;
		json_array_append_new(list, item);
		if (!note_place(b, &place))
			goto failed;
	}
	if (b->event.type == YAML_SEQUENCE_END_EVENT)
		return list;
failed:
	json_decref(list);
	return NULL;
}

/* The current event as a new key of `object`, in new memory. */
static char *build_key(struct builder *b, const json_t *object)
{
	const char *text = (const char *)b->event.data.scalar.value;

	if (b->event.type != YAML_SCALAR_EVENT)
		return fail_at(b, b->event.start_mark, "a key must be a plain word");
	if (b->event.data.scalar.anchor || b->event.data.scalar.tag)
		return fail_at(b, b->event.start_mark, "anchors and tags are not taken");
	if (strlen(text) != b->event.data.scalar.length)
		return fail_at(b, b->event.start_mark, "text with a NUL in it is not taken");
	if (json_object_get(object, text))
		return fail_at(b, b->event.start_mark, "the key %.60s is there twice", text);
	return xstrdup(text);
}

static json_t *build_object(struct builder *b)
{
	json_t *object = json_object(), *value;
	char *key = NULL;

	while (next(b) && b->event.type != YAML_MAPPING_END_EVENT) {
		struct place place = {.key_mark = b->event.start_mark};

		key = build_key(b, object);
		if (!key || !next(b))
			goto failed;
		place.mark = b->event.start_mark;
		value = build(b);
		if (!value)
			goto failed;
		place.node = value;
		if (json_object_set_new(object, key, value)) {
			fail_at(b, place.key_mark, "this key is not valid UTF-8");
			goto failed;
		}
		place.holder.what = own_key(object, key);
		if (!note_place(b, &place))
			goto failed;
		free(key);
		key = NULL;
	}
	if (b->event.type == YAML_MAPPING_END_EVENT)
		return object;
failed:
	free(key);
	json_decref(object);
	return NULL;
}

/* The current event and all that belongs to it as a tree; NULL: error is set. */
static json_t *build(struct builder *b)
{
	const yaml_event_t *e = &b->event;
	json_t *json = NULL;

	if (e->type == YAML_ALIAS_EVENT || (e->type == YAML_SCALAR_EVENT && e->data.scalar.anchor) ||
	    (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.anchor) ||
	    (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.anchor))
		return fail_at(b, e->start_mark, "anchors and aliases are not taken");
	if ((e->type == YAML_SCALAR_EVENT && e->data.scalar.tag) ||
	    (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.tag) ||
	    (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.tag))
		return fail_at(b, e->start_mark, "tags are not taken");
	if (b->depth == MAX_DEPTH)
		return fail_at(b, e->start_mark, "nested more than %d levels deep", MAX_DEPTH);
	b->depth++;
	if (e->type == YAML_SCALAR_EVENT)
		json = build_scalar(b);
	else if (e->type == YAML_SEQUENCE_START_EVENT)
		json = build_list(b);
	else if (e->type == YAML_MAPPING_START_EVENT)
		json = build_object(b);
	b->depth--;
	return json;
}

/* The whole stream: no document, or one. */
static bool build_stream(struct builder *b)
{
	struct place place = {0};

	if (!next(b) || !next(b)) /* stream start */
		return false;
	if (b->event.type == YAML_DOCUMENT_START_EVENT) {
		if (!next(b))
			return false;
		place.mark = b->event.start_mark;
		b->yaml->root = build(b);
		if (!b->yaml->root || !next(b) || !next(b)) /* document end */
			return false;
	}
	if (b->event.type != YAML_STREAM_END_EVENT) {
		fail_at(b, b->event.start_mark, "only one document is taken");
		return false;
	}
	if (json_is_null(b->yaml->root) || !b->yaml->root)
		b->yaml->root = json_object();
	place.node = b->yaml->root;
	if (!note_place(b, &place))
		return false;
	index_places(b->yaml);
	return true;
}

struct yaml *yaml_load_text(const char *name, const char *text, size_t len, char error[static YAML_ERROR])
{
	struct builder b = {.yaml = xcalloc(1, sizeof(*b.yaml)), .error = error};
	bool ok;

	b.yaml->name = xstrdup(name);
	if (len > MAX_SIZE) {
		snprintf(error, YAML_ERROR, "%s:1:1: larger than 1 MiB", name);
		yaml_free(b.yaml);
		return NULL;
	}
	if (!yaml_parser_initialize(&b.parser))
		abort(); /* only without memory */
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, len);
	ok = build_stream(&b);
	yaml_event_delete(&b.event);
	yaml_parser_delete(&b.parser);
	if (ok)
		return b.yaml;
	yaml_free(b.yaml);
	return NULL;
}

struct yaml *yaml_load_file(const char *path, char error[static YAML_ERROR])
{
	struct buf text = {.limit = MAX_SIZE};
	struct yaml *yaml = NULL;
	int result = file_read(path, MAX_SIZE, &text);

	if (result == -EFBIG)
		snprintf(error, YAML_ERROR, "%s:1:1: larger than 1 MiB", path);
	else if (result)
		snprintf(error, YAML_ERROR, "the configuration %s cannot be read: %s; name another with --config", path,
			 strerror(-result));
	else
		yaml = yaml_load_text(path, buf_text(&text), text.len, error);
	buf_wipe(&text);
	return yaml;
}

void yaml_free(struct yaml *yaml)
{
	if (!yaml)
		return;
	map_free(yaml->by_holder);
	free(yaml->places);
	json_decref(yaml->root);
	free(yaml->name);
	free(yaml);
}

/* ---- asking --------------------------------------------------------------------- */

json_t *yaml_root(const struct yaml *yaml)
{
	return yaml->root;
}

const char *yaml_name(const struct yaml *yaml)
{
	return yaml->name;
}

static bool tell(const yaml_mark_t *mark, unsigned *line, unsigned *column)
{
	*line = (unsigned)mark->line + 1;
	*column = (unsigned)mark->column + 1;
	return true;
}

bool yaml_where(const struct yaml *yaml, const json_t *node, unsigned *line, unsigned *column)
{
	const struct place *found = NULL;

	for (size_t i = 0; i < yaml->count; i++) {
		if (yaml->places[i].node != node)
			continue;
		if (found)
			return false;
		found = &yaml->places[i];
	}
	return found && tell(&found->mark, line, column);
}

static const struct place *find(const struct yaml *yaml, const json_t *parent, const char *key,
				size_t index)
{
	const struct holder holder = {key ? own_key(parent, key) : parent, key ? 0 : index};

	return key && !holder.what ? NULL : map_get(yaml->by_holder, &holder);
}

bool yaml_where_key(const struct yaml *yaml, const json_t *object, const char *key, unsigned *line,
		    unsigned *column)
{
	const struct place *place = find(yaml, object, key, 0);

	return place && tell(&place->key_mark, line, column);
}

bool yaml_where_value(const struct yaml *yaml, const json_t *parent, const char *key, size_t index,
		      unsigned *line, unsigned *column)
{
	const struct place *place = find(yaml, parent, key, index);

	return place && tell(&place->mark, line, column);
}
