/*
 * fields.h - members of a body, a query or an answer, as the table of routes has them: "name:type name:type?",
 * where "?" says that one may be left out (null is the same) and "=word" in a type's place that it is this word.
 * One text is what openapi.json says and what a body is held to.
 */
#ifndef COORDINATOR_FIELDS_H
#define COORDINATOR_FIELDS_H

#include "coordinator/mesh/registry.h"

#define FIELD_NAME 40 /* with NUL */

struct field {
	char name[FIELD_NAME];
	const char *type; /* in the text, not terminated */
	size_t type_len;
	bool optional;
};

bool field_next(const char **fields, struct field *out); /* false: no more */
bool field_find(const char *fields, const char *name, struct field *out); /* fields may be NULL: none */
bool field_is(const struct field *field, const char *type);

bool fields_optional(const char *fields); /* may all be left out? */
/* Has each member of the object that is of these the type it must have? Others are not looked at, and neither is
 * what is missing. False: 422 that names the member. */
bool fields_fit(const char *fields, const json_t *object, struct refusal *why);

/* JSON Schema of an object with these members. `of`: whose they are, for meaning(); NULL: without. New. */
json_t *fields_schema(const char *fields, const char *of);

/* meanings.c: what a member of "POST /users", "Peer" or "frame hello" means; NULL: its name and type say it, or
 * `of` is NULL. */
const char *meaning(const char *of, const char *name);

#endif
