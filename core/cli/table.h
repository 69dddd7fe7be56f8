/*
 * table.h - columns as wide as what is in them, and the words people read: ages, bytes, text that a
 * stranger chose and that may not speak to the terminal.
 */
#ifndef CORE_CLI_TABLE_H
#define CORE_CLI_TABLE_H

#include "lib/buf.h"
#include "lib/json.h"

#define TABLE_COLUMNS 12

struct table {
	char **cells; /* rows of `columns` */
	size_t columns, count;
};

void table_init(struct table *table, size_t columns);
void table_fini(struct table *table);
void table_add(struct table *table, const char *cell); /* next cell; NULL or "" prints as "-" */
void table_addf(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3);
void table_print(const struct table *table,
		 struct buf *out); /* a line a row; no blanks at the end */

/* Borrowed until the sixteenth next call of any of them: for printing at once. */
const char *words_age(const char *rfc3339, uint64_t wall_ms); /* "12 s ago", "never" for NULL */
const char *words_bytes(double bytes);                        /* "1.5 MiB" */
const char *words_ms(const json_t *ms);                       /* "12.3 ms", "" for null */

/* Text of a member, its control characters replaced by '?'; "" where it is null or no text. */
const char *words_text(const json_t *object, const char *key);
/* The strings of an array member with ", " between. */
const char *words_list(const json_t *object, const char *key);

uint64_t time_parse(const char *rfc3339); /* ms since 1970; 0: none */

#endif
