/*
 * map.h - hash table from fixed-size byte keys, or from strings, to pointers (SipHash with a
 * random seed, so that a stranger who picks the keys cannot make it slow). Keys are copied, values
 * are borrowed and never NULL (NULL means: not there).
 */
#ifndef CORE_LIB_MAP_H
#define CORE_LIB_MAP_H

#include "util.h"

struct map;

struct map *map_new(size_t key_len);                   /* 0: NUL-terminated strings */
void map_free(struct map *map);                        /* NULL is fine; values are left alone */
void *map_get(const struct map *map, const void *key); /* NULL: not there */
void *map_put(struct map *map, const void *key, void *value); /* returns the value replaced */
void *map_del(struct map *map, const void *key);              /* returns the value removed */
size_t map_count(const struct map *map);

/* Walks in no particular order: start with *pos = 0; NULL at the end. The entry just returned may
 * be deleted during the walk, nothing else may change. `key` may be NULL; what it gets belongs to
 * the map and ends with the entry. */
void *map_next(const struct map *map, size_t *pos, const void **key);

#endif
