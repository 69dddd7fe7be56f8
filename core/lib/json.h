/*
 * json.h - jansson with typed getters that remember the first thing that was wrong, so that a
 * reader of a whole object tests once at the end. (json_ belongs to jansson; ours is js_.)
 */
#ifndef CORE_LIB_JSON_H
#define CORE_LIB_JSON_H

#include "addr.h"
#include "key.h"
#include "prefix.h"
#include <jansson.h>

#define JS_ERROR 160

struct js { /* reader of one object */
	json_t *object;
	char error[JS_ERROR]; /* "" while all is well, else "name: must be a string ..." */
};

/* Text to tree: duplicate keys, depth and trailing bytes are refused; NULL and a sentence in error. */
json_t *js_load(const void *data, size_t len, char error[static JS_ERROR]);
/* Is what js_load refused JSON all the same: a value alone, or with \u0000 in a string, which nothing here takes? */
bool js_other(const void *data, size_t len);
char *js_dump(const json_t *json); /* compact, numbers as people write them; new memory */

void js_read(struct js *js, json_t *object); /* not an object: an error */
bool js_ok(const struct js *js);
void js_fail(struct js *js, const char *key, const char *what); /* keeps the first */
bool js_has(const struct js *js, const char *key); /* of whatever type; null is the same as absent */

/* Each returns the value, or the fallback when the key is absent or null. "need" variants make
 * absence an error. Strings are borrowed from the tree. */
const char *js_string(struct js *js, const char *key, const char *fallback);
const char *js_need_string(struct js *js, const char *key, size_t max_len);
int64_t js_int(struct js *js, const char *key, int64_t min, int64_t max, int64_t fallback);
bool js_bool(struct js *js, const char *key, bool fallback);
json_t *js_array(struct js *js, const char *key, size_t max_count); /* borrowed; NULL: absent */
json_t *js_object(struct js *js, const char *key);
bool js_need_key(struct js *js, const char *key, struct key *out);
bool js_need_preshared(struct js *js, const char *key, struct key *out); /* any bytes but all zero */
bool js_endpoint(struct js *js, const char *key, struct endpoint *out); /* false: absent or wrong */

/* The text of a secret in a tree that is about to go; nobody may read it afterwards. */
void js_wipe(json_t *object, const char *key);

/* Values for building trees (json_pack's "o"): null where there is nothing. */
json_t *js_from_key(const struct key *key);
json_t *js_from_endpoint(const struct endpoint *endpoint);
json_t *js_from_prefix(const struct prefix *prefix);
json_t *js_from_addr(const struct addr *addr);
json_t *js_from_time(uint64_t wall_ms);     /* RFC 3339 or null for 0 */
json_t *js_from_string(const char *text);   /* NULL: null */
json_t *js_from_text(const char *text);     /* of a sentence, what is not UTF-8 mended (str_mend) */
json_t *js_from_ms(double ms);              /* < 0: null */

#endif
