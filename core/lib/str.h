/*
 * str.h - numbers, words and names. Parsers take the whole string or fail: no leading blanks, no
 * sign, no trailing text. bool functions leave their output alone on failure.
 */
#ifndef CORE_LIB_STR_H
#define CORE_LIB_STR_H

#include "util.h"

bool parse_u16(const char *text, uint16_t *out);
bool parse_u64(const char *text, uint64_t *out);
/* "90", "90s", "15m", "1h", "7d", "1w", and several from the largest down, "1h30m"; bare: seconds. */
bool parse_duration(const char *text, uint64_t *ms);

/* false: cut short (still terminated), between two characters of UTF-8. */
bool str_copy(char *out, size_t size, const char *text);
/* Makes UTF-8 of it, where it is: half a character at the end goes, other bytes that belong to none become '?'.
 * For texts that quote a stranger's, or were cut: JSON and PostgreSQL take nothing else. */
void str_mend(char *text);
bool str_has_prefix(const char *text, const char *prefix);

/* A character of control of ASCII or of Latin-1 (in UTF-8 0xc2 and 0x80 to 0x9f). */
bool str_has_control(const char *text);
/* The word of `words` (NULL-terminated) nearest to `word` (edit distance, at most 3 and less than
 * half its length), or NULL. For "did you mean". */
const char *str_nearest(const char *word, const char *const *words);

/* The same of words that are offered one by one, for as long as it says true: NEAREST_MAX are compared at
 * most, and one of a length that is too far off is not. Words are borrowed. */
#define NEAREST_MAX 500
struct nearest {
	const char *word, *found; /* NULL: none so far */
	size_t len, below;        /* the next must be nearer than this */
	unsigned compared;
};
void nearest_init(struct nearest *nearest, const char *word);
bool nearest_offer(struct nearest *nearest, const char *word);

/* RFC 1123 host name label: 1 to 63 of a-z 0-9 and inner '-'; upper case is refused. */
bool name_valid(const char *name);
bool interface_name_valid(const char *name); /* what wg-quick takes: [a-zA-Z0-9_=+.-]{1,15} */

/* RFC 3339 UTC "2026-11-23T13:18:09Z" of milliseconds since 1970; 0 gives "" . */
#define TIME_TEXT 32
void time_format(char out[static TIME_TEXT], uint64_t wall_ms);

/* base64, standard alphabet with padding, or url alphabet without. Encoders return new memory.
 * Decoders return the number of bytes, or -EINVAL (also when it would not fit). */
char *base64_encode(const void *data, size_t len);
char *base64url_encode(const void *data, size_t len);
int base64_decode(uint8_t *out, size_t size, const char *text);
int base64url_decode(uint8_t *out, size_t size, const char *text);
void hex_encode(char *out, size_t size, const void *data, size_t len); /* size >= 2 * len + 1 */

#endif
