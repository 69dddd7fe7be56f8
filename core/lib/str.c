/*
 * Numbers, words and names. Everything a user or a stranger wrote comes through here: the whole
 * text must be right, and a wrong one leaves the output as it was.
 */
#include "str.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The number at the start; *end is what follows. */
static bool leading_number(const char *text, uint64_t *out, const char **end)
{
	uint64_t value = 0;

	if (!is_digit(*text))
		return false;
	for (; is_digit(*text); text++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*out = value;
	*end = text;
	return true;
}

bool parse_u64(const char *text, uint64_t *out)
{
	const char *end;
	uint64_t value;

	if (!leading_number(text, &value, &end) || *end)
		return false;
	*out = value;
	return true;
}

bool parse_u16(const char *text, uint16_t *out)
{
	uint64_t value;

	if (!parse_u64(text, &value) || value > UINT16_MAX)
		return false;
	*out = (uint16_t)value;
	return true;
}

bool parse_duration(const char *text, uint64_t *ms)
{
	static const struct {
		char unit;
		uint64_t ms;
	} units[] = {{'w', 604800000}, {'d', 86400000}, {'h', 3600000}, {'m', 60000}, {'s', 1000}};
	uint64_t value, sum = 0;
	const char *end;
	size_t unit = 0;

	if (parse_u64(text, &value))
		return !__builtin_mul_overflow(value, 1000, &value) && (*ms = value, true);
	end = text;
	do {
		if (!leading_number(end, &value, &end))
			return false;
		while (unit < ARRAY_SIZE(units) && units[unit].unit != *end)
			unit++;
		if (unit == ARRAY_SIZE(units) || __builtin_mul_overflow(value, units[unit++].ms, &value) ||
		    __builtin_add_overflow(sum, value, &sum))
			return false;
	} while (*++end);
	*ms = sum;
	return true;
}

/* The bytes of the character of UTF-8 (RFC 3629) at the start, at least 1; 0: there is none. *cut: what is there
 * are the first ones of one, and the text ends. */
static size_t character_len(const char *text, bool *cut)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t len = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : c[0] < 0xf5 ? 4 : 0;

	*cut = false;
	for (size_t i = 1; i < len; i++) {
		unsigned char low = 0x80, high = 0xbf;

		if (i == 1 && (c[0] == 0xe0 || c[0] == 0xf0)) /* too long a form */
			low = c[0] == 0xe0 ? 0xa0 : 0x90;
		if (i == 1 && (c[0] == 0xed || c[0] == 0xf4)) /* a surrogate; beyond U+10FFFF */
			high = c[0] == 0xed ? 0x9f : 0x8f;
		*cut = !c[i];
		if (c[i] < low || c[i] > high)
			return 0;
	}
	return len;
}

void str_mend(char *text)
{
	bool cut;

	while (*text) {
		size_t len = character_len(text, &cut);

		if (cut)
			*text = '\0';
		else if (len)
			text += len;
		else
			*text++ = '?';
	}
}

bool str_copy(char *out, size_t size, const char *text)
{
	size_t len = strlen(text), end = MIN(len, size - 1);

	if (!size)
		return false;
	while (end < len && end && ((unsigned char)text[end] & 0xc0) == 0x80)
		end--;
	memcpy(out, text, end);
	out[end] = 0;
	return len < size;
}

bool str_has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

#define WORD_MAX 64

/* Insertions, deletions, replacements and swaps of neighbours, each one step; `below` where it is not below
 * that. Cell j of row i is at least |i - j|, so only those near the diagonal are looked at. */
static size_t edit_distance(const char *a, size_t len_a, const char *b, size_t len_b, size_t below)
{
	size_t rows[3][WORD_MAX + 2];

	for (size_t i = 0; i <= len_a; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
		size_t first = i < below ? 0 : i - below + 1, last = MIN(len_b, i + below - 1), least = below;

		if (first)
			row[first - 1] = below;
		for (size_t j = first; j <= last; j++) {
			if (!i || !j) {
				row[j] = i + j;
			} else {
				row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
				row[j] = MIN(row[j], MIN(above[j], row[j - 1]) + 1);
				if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
					row[j] = MIN(row[j], above2[j - 2] + 1);
			}
			least = MIN(least, row[j]);
		}
		row[last + 1] = below;
		if (least == below)
			return below;
	}
	return rows[len_a % 3][len_b];
}

bool str_has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f ||
		    ((unsigned char)*text == 0xc2 && (unsigned char)text[1] < 0xa0))
			return true;
	return false;
}

void nearest_init(struct nearest *nearest, const char *word)
{
	size_t len = strlen(word);

	*nearest = (struct nearest){.word = word, .len = len, .below = len > WORD_MAX ? 0 : MIN((len + 1) / 2, (size_t)4)};
}

bool nearest_offer(struct nearest *nearest, const char *word)
{
	size_t len = strlen(word), apart = len > nearest->len ? len - nearest->len : nearest->len - len, distance;

	if (apart < nearest->below && len <= WORD_MAX && nearest->compared < NEAREST_MAX) {
		nearest->compared++;
		distance = edit_distance(nearest->word, nearest->len, word, len, nearest->below);
		if (distance < nearest->below) {
			nearest->below = distance;
			nearest->found = word;
		}
	}
	return nearest->below && nearest->compared < NEAREST_MAX;
}

const char *str_nearest(const char *word, const char *const *words)
{
	struct nearest nearest;

	nearest_init(&nearest, word);
	while (*words && nearest_offer(&nearest, *words))
		words++;
	return nearest.found;
}

static bool only_of(const char *text, const char *allowed, size_t max)
{
	size_t len = strlen(text);

	return len >= 1 && len <= max && strspn(text, allowed) == len;
}

bool name_valid(const char *name)
{
	return only_of(name, "abcdefghijklmnopqrstuvwxyz0123456789-", 63) && name[0] != '-' &&
	       name[strlen(name) - 1] != '-';
}

/* "." and ".." match wg-quick's pattern, but no interface can be called so. */
bool interface_name_valid(const char *name)
{
	return only_of(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_=+.-",
		       15) &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && name[0] != '-';
}

void time_format(char out[static TIME_TEXT], uint64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm parts;

	out[0] = 0;
	if (wall_ms && gmtime_r(&seconds, &parts))
		strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static char *encode(const void *data, size_t len, int variant)
{
	size_t size = sodium_base64_ENCODED_LEN(len, variant);
	char *out = xmalloc(size);

	return sodium_bin2base64(out, size, data, len, variant);
}

static int decode(uint8_t *out, size_t size, const char *text, int variant)
{
	size_t len;

	if (sodium_base642bin(out, size, text, strlen(text), NULL, &len, NULL, variant) != 0 ||
	    len > INT_MAX)
		return -EINVAL;
	return (int)len;
}

char *base64_encode(const void *data, size_t len)
{
	return encode(data, len, sodium_base64_VARIANT_ORIGINAL);
}

char *base64url_encode(const void *data, size_t len)
{
	return encode(data, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int base64_decode(uint8_t *out, size_t size, const char *text)
{
	return decode(out, size, text, sodium_base64_VARIANT_ORIGINAL);
}

int base64url_decode(uint8_t *out, size_t size, const char *text)
{
	return decode(out, size, text, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void hex_encode(char *out, size_t size, const void *data, size_t len)
{
	sodium_bin2hex(out, size, data, len);
}
