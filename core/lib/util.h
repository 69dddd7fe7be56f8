/*
 * util.h - the few macros everyone needs, and allocation that cannot fail.
 *
 * Running out of memory ends the process with one line on stderr. What a stranger may make
 * grow is bounded by its own limit (struct buf, queues), never by malloc.
 */
#ifndef CORE_LIB_UTIL_H
#define CORE_LIB_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(at, first) __attribute__((__format__(__printf__, at, first)))

/* All return new memory that the caller frees with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
void *xmemdup(const void *data, size_t len);
char *xstrdup(const char *text); /* NULL gives NULL */
char *xasprintf(const char *format, ...) PRINTF_LIKE(1, 2);

/* The first thing in a program: where standard input, output or error is closed, /dev/null takes its number, so that
 * no socket or database gets it and is written into. What is then printed on standard output fails, as it does
 * on a descriptor that is closed. Without a /dev/null the program ends with 1. */
void standard_open(void);
bool output_closed(void); /* standard output was closed, or cannot be written */
/* At the end of a program: `code`, or 1 after a sentence where what was printed on standard output
 * could not be written (a full disk). Who closed a pipe early does not need the sentence. */
int output_end(const char *program, int code);

#endif
