#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/str.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void numbers(void **state)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t value;
	} cases[] = {
		{"0", true, 0},
		{"7", true, 7},
		{"007", true, 7},
		{"65535", true, 65535},
		{"18446744073709551615", true, UINT64_MAX},
		{"18446744073709551616", false, 0},
		{"99999999999999999999", false, 0},
		{"", false, 0},
		{" 1", false, 0},
		{"1 ", false, 0},
		{"+1", false, 0},
		{"-1", false, 0},
		{"0x10", false, 0},
		{"1.5", false, 0},
		{"\xd9\xa1", false, 0}, /* an Arabic digit */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t wide = 4711;
		uint16_t narrow = 4711;
		bool fits = cases[i].good && cases[i].value <= UINT16_MAX;

		assert_int_equal(parse_u64(cases[i].text, &wide), cases[i].good);
		assert_int_equal(wide, cases[i].good ? cases[i].value : 4711);
		assert_int_equal(parse_u16(cases[i].text, &narrow), fits);
		assert_int_equal(narrow, fits ? cases[i].value : 4711);
	}
	assert_false(parse_u16("65536", &(uint16_t){0}));
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms; /* 4711: refused */
	} cases[] = {
		{"90", 90000},   {"90s", 90000},    {"15m", 900000},
		{"1h", 3600000}, {"7d", 604800000}, {"0", 0},
		{"1w", 604800000}, {"1h30m", 5400000}, {"1w2d3h4m5s", 788645000}, {"1d30s", 86430000},
		{"", 4711},      {"s", 4711},       {"1y", 4711},
		{"1h30", 4711},  {"30m1h", 4711},   {"1h1h", 4711},
		{"h30m", 4711},  {"30500568904943w999999999999999999s", 4711},
		{"1 h", 4711},   {"1hh", 4711},     {"-1s", 4711},
		{"1H", 4711},    {"1.5h", 4711},    {"18446744073709551615d", 4711},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ms = 4711;

		assert_int_equal(parse_duration(cases[i].text, &ms), cases[i].ms != 4711);
		assert_int_equal(ms, cases[i].ms);
	}
}

static void copies(void **state)
{
	char out[4];

	(void)state;
	assert_true(str_copy(out, sizeof(out), "abc"));
	assert_string_equal(out, "abc");
	assert_false(str_copy(out, sizeof(out), "abcd"));
	assert_string_equal(out, "abc");
	assert_true(str_copy(out, sizeof(out), ""));
	assert_string_equal(out, "");
	assert_false(str_copy(out, 0, ""));
	assert_true(str_has_prefix("wg-mesh", "wg-"));
	assert_true(str_has_prefix("wg", ""));
	assert_false(str_has_prefix("wg", "wg-"));
}

static void did_you_mean(void **state)
{
	static const char *const words[] = {"interface", "coordinator", "relays",
					    "plugins",   "up",          NULL};
	static const struct {
		const char *word, *nearest;
	} cases[] = {
		{"coordnator", "coordinator"},
		{"interfcae", "interface"},
		{"plugin", "plugins"},
		{"relay", "relays"},
		{"relays", "relays"},
		{"pu", NULL},
		{"xyz", NULL},
		{"", NULL},
		{"completely", NULL},
		{"coordinates", "coordinator"},
		{"oordniatorx", "coordinator"}, /* one gone, two swapped, one too many */
		{"oordniatoxx", NULL},
		{"ocordinatr", "coordinator"},
		{"plungisn", "plugins"},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *nearest = str_nearest(cases[i].word, words);

		if (cases[i].nearest) {
			assert_non_null(nearest);
			assert_string_equal(nearest, cases[i].nearest);
		} else {
			assert_null(nearest);
		}
	}
}

/* A word among many costs no more than some, and one that none of them can be costs nothing. */
static void did_you_mean_among_many(void **state)
{
	char word[70], other[70];
	struct nearest nearest;
	unsigned offered = 0;

	(void)state;
	memset(word, 'q', 62);
	word[62] = 0;
	nearest_init(&nearest, word);
	memset(other, 'x', 66);
	for (size_t len = 0; len <= 66; len++) {
		other[len] = 0;
		assert_true(nearest_offer(&nearest, other));
		other[len] = 'x';
	}
	assert_int_equal(nearest.compared, 6); /* of 59 to 64 letters */
	assert_null(nearest.found);
	other[60] = 0;
	while (nearest_offer(&nearest, other))
		assert_true(++offered < 100000);
	assert_int_equal(nearest.compared, NEAREST_MAX);
	assert_false(nearest_offer(&nearest, word)); /* no more, not even this */
	assert_int_equal(nearest.compared, NEAREST_MAX);
	/* What is found must be bettered, and nothing is better than the word. */
	nearest_init(&nearest, "laptop");
	assert_true(nearest_offer(&nearest, "lapto"));
	assert_true(nearest_offer(&nearest, "lptop"));
	assert_int_equal(nearest.compared, 1);
	assert_false(nearest_offer(&nearest, "laptop"));
	assert_string_equal(nearest.found, "laptop");
}

#define A63 "abcdefghij-abcdefghij-abcdefghij-abcdefghij-abcdefghij-01234567"

static void names(void **state)
{
	static const struct {
		const char *text;
		bool name, interface;
	} cases[] = {
		{"wg0", true, true},
		{"a", true, true},
		{"", false, false},
		{"-a", false, false}, /* it would be an option */
		{"a-", false, true},
		{"a-b", true, true},
		{"Ab", false, true},
		{"a.b", false, true},
		{"a_b", false, true},
		{"a=b", false, true},
		{"a+b", false, true},
		{".", false, false},
		{"..", false, false},
		{"...", false, true},
		{"a b", false, false},
		{"a/b", false, false},
		{"a\n", false, false},
		{"$(x)", false, false},
		{"\xc3\xa4", false, false},
		{"wg-012345678901", true, true},   /* 15 */
		{"wg-0123456789012", true, false}, /* 16 */
		{A63, true, false},
		{A63 "x", false, false},
	};

	(void)state;
	assert_int_equal(strlen(A63), 63);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(name_valid(cases[i].text), cases[i].name);
		assert_int_equal(interface_name_valid(cases[i].text), cases[i].interface);
	}
}

static void times(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {
		{0, ""},
		{1, "1970-01-01T00:00:00Z"},
		{1795439889999, "2026-11-23T13:18:09Z"},
		{951782400000, "2000-02-29T00:00:00Z"},
		{4102444799000, "2099-12-31T23:59:59Z"},
	};
	char text[TIME_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		time_format(text, cases[i].ms);
		assert_string_equal(text, cases[i].text);
	}
	time_format(text, UINT64_MAX); /* must fit or be empty */
	assert_true(strlen(text) < TIME_TEXT);
}

static void base64_both_ways(void **state)
{
	static const struct { /* RFC 4648 10, and one that needs the two letters */
		const char *data, *standard, *url;
	} cases[] = {
		{"", "", ""},
		{"f", "Zg==", "Zg"},
		{"fo", "Zm8=", "Zm8"},
		{"foo", "Zm9v", "Zm9v"},
		{"foobar", "Zm9vYmFy", "Zm9vYmFy"},
		{"\xfb\xff", "+/8=", "-_8"},
	};
	uint8_t out[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].data);
		char *standard = base64_encode(cases[i].data, len);
		char *url = base64url_encode(cases[i].data, len);

		assert_string_equal(standard, cases[i].standard);
		assert_string_equal(url, cases[i].url);
		assert_int_equal(base64_decode(out, sizeof(out), standard), len);
		assert_memory_equal(out, cases[i].data, len);
		assert_int_equal(base64url_decode(out, sizeof(out), url), len);
		assert_memory_equal(out, cases[i].data, len);
		free(standard);
		free(url);
	}
}

static void base64_refusals(void **state)
{
	static const char *const standard[] = {"Zg",     "Zg=",   "Zg===", "Zh==", "Z",
					       "Zm9v\n", " Zm9v", "Zm9v!", "-_8=", "Zm9vYmFyYmF6"};
	static const char *const url[] = {"Zg==", "Zh", "Z", "+/8", "Zm9v\n", "Zm9vYmFyYmF6"};
	uint8_t out[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(standard); i++)
		assert_int_equal(base64_decode(out, sizeof(out), standard[i]), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(url); i++)
		assert_int_equal(base64url_decode(out, sizeof(out), url[i]), -EINVAL);
}

static void mended(void **state)
{
	static const struct {
		const char *text, *mended;
	} cases[] = {
		{"", ""},
		{"a\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xa9 \xf4\x8f\xbf\xbf", "a\xc3\xa9 \xe2\x82\xac \xf0\x9f\x92\xa9 \xf4\x8f\xbf\xbf"},
		{"a\xc3", "a"},
		{"a\xe2\x82", "a"},
		{"a\xf0\x9f\x92", "a"},
		{"a\xc3 b", "a? b"},
		{"a\xf0\x9f\x92\xc3\xa9", "a???\xc3\xa9"},
		{"\x80\xbf\xfe\xff", "????"},
		{"\xc0\xaf\xc1\x81", "????"}, /* too long a form */
		{"\xe0\x9f\xbf", "???"},
		{"\xf0\x8f\xbf\xbf", "????"},
		{"\xed\xa0\x80", "???"}, /* a surrogate */
		{"\xf4\x90\x80\x80", "????"},
		{"\xf5\x80\x80\x80", "????"},
	};
	char text[40];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(str_copy(text, sizeof(text), cases[i].text));
		str_mend(text);
		assert_string_equal(text, cases[i].mended);
	}
}

static void cut_between_characters(void **state)
{
	static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x92\xa9"};
	char text[121] = "", out[120], whole[120];

	(void)state;
	for (size_t n = 1; n <= 4; n++) {
		for (size_t at = 0; at < 120; at += n)
			memcpy(text + at, characters[n - 1], n + 1);
		for (size_t size = 1; size <= sizeof(out); size++) {
			assert_false(str_copy(out, size, text));
			assert_int_equal(strlen(out), (size - 1) / n * n);
			memcpy(whole, out, sizeof(out));
			str_mend(out);
			assert_string_equal(out, whole);
		}
	}
}

static void hex(void **state)
{
	char out[9];

	(void)state;
	hex_encode(out, sizeof(out), "\x00\xff\x1a\x80", 4);
	assert_string_equal(out, "00ff1a80");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(durations),
		cmocka_unit_test(copies),
		cmocka_unit_test(did_you_mean),
		cmocka_unit_test(did_you_mean_among_many),
		cmocka_unit_test(names),
		cmocka_unit_test(times),
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(base64_refusals),
		cmocka_unit_test(mended),
		cmocka_unit_test(cut_between_characters),
		cmocka_unit_test(hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
