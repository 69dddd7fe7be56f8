/*
 * schema.h - check a YAML tree against tables. An unknown key is refused with line, column and the
 * nearest known key; a wrong value with what would be right.
 */
#ifndef CORE_LIB_SCHEMA_H
#define CORE_LIB_SCHEMA_H

#include "yaml.h"

enum schema_type {
	SCHEMA_STRING,
	SCHEMA_BOOL,
	SCHEMA_INT,      /* min to max */
	SCHEMA_DURATION, /* "10s": parse_duration */
	SCHEMA_ENDPOINT, /* ADDR:PORT, numbers only */
	SCHEMA_PREFIX,   /* CIDR */
	SCHEMA_WORD,     /* one of words */
	SCHEMA_OBJECT,   /* fields */
	SCHEMA_ANY,      /* the owner looks itself */
};
enum schema_flags {
	SCHEMA_REQUIRED = 1,
	SCHEMA_LIST = 2,     /* a list of the type; a single value counts as a list of one */
	SCHEMA_OPEN = 4,     /* OBJECT whose keys are not checked (fields may be NULL) */
	SCHEMA_NULLABLE = 8, /* null is fine */
};

struct schema_field {
	const char *name; /* NULL ends the table */
	enum schema_type type;
	unsigned flags;
	const struct schema_field *fields; /* OBJECT */
	const char *const *words;          /* WORD, NULL-terminated */
	int64_t min, max;                  /* INT; both 0: any */
	const char *help;
};

/* false: error holds "FILE:LINE:COLUMN: sentence". */
bool schema_check(const struct yaml *yaml, const struct schema_field *fields, char error[static YAML_ERROR]);
/* Fails on purpose at a node: for what only the owner can judge. Always returns false. */
bool schema_fail(const struct yaml *yaml, const json_t *node, char error[static YAML_ERROR],
		 const char *format, ...) PRINTF_LIKE(4, 5);

#endif
