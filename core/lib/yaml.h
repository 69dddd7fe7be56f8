/*
 * yaml.h - a YAML file as a JSON tree that knows where each value stood. One document, no anchors,
 * aliases, tags or duplicate keys; 1 MiB, 32 levels, 100,000 values. Plain scalars become null, booleans (true,
 * false) or integers as YAML 1.2 core has them; all else are strings.
 */
#ifndef CORE_LIB_YAML_H
#define CORE_LIB_YAML_H

#include "util.h"
#include <jansson.h>

#define YAML_ERROR 256

struct yaml; /* owns the tree */

/* NULL and "FILE:LINE:COLUMN: sentence" in error. An empty document is an empty object. */
struct yaml *yaml_load_file(const char *path, char error[static YAML_ERROR]);
struct yaml *yaml_load_text(const char *name, const char *text, size_t len, char error[static YAML_ERROR]);
void yaml_free(struct yaml *yaml);
json_t *yaml_root(const struct yaml *yaml); /* borrowed */
const char *yaml_name(const struct yaml *yaml);

/* Where a value (node of the tree) or the key `key` of an object stood; 1-based. false: unknown.
 * jansson has one null, one true and one false: such a node is found if it is there only once, and
 * always by what holds it (key of an object, or NULL and the index in a list). */
bool yaml_where(const struct yaml *yaml, const json_t *node, unsigned *line, unsigned *column);
bool yaml_where_key(const struct yaml *yaml, const json_t *object, const char *key, unsigned *line,
		    unsigned *column);
bool yaml_where_value(const struct yaml *yaml, const json_t *parent, const char *key, size_t index,
		      unsigned *line, unsigned *column);

#endif
