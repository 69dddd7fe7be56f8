#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The constants were computed with PyNaCl and hashlib (blake2b, hmac), not with this code. */
#define A_PRIVATE "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
#define A_PUBLIC  "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="
#define B_PRIVATE "ZWZnaGlqa2xtbm9wcXJzdHV2d3h5ent8fX5/gIGCg4Q="
#define B_PUBLIC  "VxR2nRFr92Q2rnS8eT0sMK0ZA8WaxSc4BcfiaYtBDDY="

static struct key a, a_public, b, b_public;
static uint8_t challenge[CHALLENGE_LEN];

static int set_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(challenge); i++)
		challenge[i] = (uint8_t)i;
	return !(key_parse(&a, A_PRIVATE) && key_parse(&a_public, A_PUBLIC) &&
		 key_parse(&b, B_PRIVATE) && key_parse(&b_public, B_PUBLIC));
}

static void assert_hex(const void *data, size_t len, const char *hex)
{
	char text[512];

	assert_true(len * 2 < sizeof(text));
	hex_encode(text, sizeof(text), data, len);
	assert_string_equal(text, hex);
}

static void public_keys(void **state)
{
	static const struct {
		const char *private_key, *public_key;
	} cases[] = {
		{A_PRIVATE, A_PUBLIC},
		{B_PRIVATE, B_PUBLIC},
		/* Bob's of RFC 7748 6.1 */
		{"XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=",
		 "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="},
	};
	struct key private_key, public_key;
	char text[KEY_BASE64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(key_parse(&private_key, cases[i].private_key));
		key_public(&public_key, &private_key);
		key_format(text, &public_key);
		assert_string_equal(text, cases[i].public_key);
		key_public(&private_key, &private_key); /* in place */
		assert_true(key_equal(&private_key, &public_key));
	}
}

static void generated_keys(void **state)
{
	struct key one, two;

	(void)state;
	for (int i = 0; i < 100; i++) {
		key_generate_private(&one);
		key_generate_private(&two);
		assert_false(key_equal(&one, &two));
		assert_int_equal(one.bytes[0] & 7, 0);
		assert_int_equal(one.bytes[31] & 0xc0, 0x40);
	}
	assert_false(key_is_zero(&one));
	key_wipe(&one);
	assert_true(key_is_zero(&one));
	one.bytes[31] = 1;
	assert_false(key_is_zero(&one));
}

static void key_texts(void **state)
{
	static const char *const bad[] = {
		"",
		"short",
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw",   /* no padding */
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw==", /* one character too many */
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHx=",  /* stray bits: a second name */
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9_AsrhtHHw=",  /* url alphabet */
		" B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw",
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw=\n",
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHA==", /* 31 bytes */
		"B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHwA", /* 33 bytes */
	};
	struct key key = a_public;
	char text[KEY_BASE64], brief[KEY_SHORT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(key_parse(&key, bad[i]));
		assert_true(key_equal(&key, &a_public));
	}
	key_format(text, &a_public);
	assert_string_equal(text, A_PUBLIC);
	key_format_short(brief, &a_public);
	assert_string_equal(brief, "B6N8vBQg");
}

/* One way to write each key, and none for those that have the same secret with everyone. */
static void canonical_keys(void **state)
{
	static const char *const bad[] = {
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
		"X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
		"7P///////////////////////////////////////38=",
		"7f///////////////////////////////////////38=", /* 0, not reduced */
		"9v///////////////////////////////////////38=", /* 9 */
		"/////////////////////////////////////////38=",
		"CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA=",
	};
	static const char *const good[] = {
		"CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"6////////////////////////////////////////38=",
		"/////////////////////////////////////////n8=",
	};
	struct key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(key_parse(&key, bad[i]));
		assert_false(key_is_canonical(&key));
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(key_parse(&key, good[i]));
		assert_true(key_is_canonical(&key));
	}
	for (int i = 0; i < 20; i++) {
		key_generate_private(&key);
		key_public(&key, &key);
		assert_true(key_is_canonical(&key));
		key.bytes[31] |= 0x80;
		assert_false(key_is_canonical(&key));
	}
}

static void proof_vector(void **state)
{
	static const char body[] = "{\"name\":\"laptop\"}";
	uint8_t proof[PROOF_LEN];

	(void)state;
	assert_int_equal(proof_make(proof, &b_public, &a, challenge, body, strlen(body)), 0);
	assert_hex(proof, sizeof(proof),
		   "4cbdf09047eb49e512b5d47b0f9bf7cf66bb20da18b166de3204c3838f3b3fc8");
	assert_true(proof_check(proof, &a_public, &b, challenge, body, strlen(body)));
}

static void proof_of_something_else(void **state)
{
	uint8_t proof[PROOF_LEN], other[CHALLENGE_LEN];
	struct key c, c_public;

	(void)state;
	key_generate_private(&c);
	key_public(&c_public, &c);
	memcpy(other, challenge, sizeof(other));
	other[31] ^= 1;
	assert_int_equal(proof_make(proof, &b_public, &a, challenge, "body", 4), 0);
	assert_true(proof_check(proof, &a_public, &b, challenge, "body", 4));
	assert_false(proof_check(proof, &a_public, &b, challenge, "bodx", 4));
	assert_false(proof_check(proof, &a_public, &b, challenge, "body", 3));
	assert_false(proof_check(proof, &a_public, &b, other, "body", 4));
	assert_false(proof_check(proof, &c_public, &b, challenge, "body", 4)); /* another agent's */
	assert_false(
		proof_check(proof, &a_public, &c, challenge, "body", 4)); /* for another server */
	for (unsigned bit = 0; bit < PROOF_LEN * 8; bit++) {
		proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(proof_check(proof, &a_public, &b, challenge, "body", 4));
		proof[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(proof_make(proof, &b_public, &a, challenge, NULL, 0), 0);
	assert_true(proof_check(proof, &a_public, &b, challenge, "", 0));
}

static void box_vector(void **state)
{
	static const char box[] =
		"c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
		"63859c2ca427683a53e332f22271c63caedf5e39819974a456cb02578b6b0f76";
	uint8_t bytes[56], out[16];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		const char hex[3] = {box[2 * i], box[2 * i + 1], 0};

		bytes[i] = (uint8_t)strtoul(hex, NULL, 16);
	}
	assert_int_equal(seal_open(out, bytes, sizeof(bytes), &a_public, &b), 0);
	assert_memory_equal(out, "hello over there", 16);
}

static void boxes(void **state)
{
	uint8_t box[5 + SEAL_OVERHEAD], again[5 + SEAL_OVERHEAD], out[5];

	(void)state;
	assert_int_equal(seal_box(box, "hello", 5, &b_public, &a), 0);
	assert_int_equal(seal_box(again, "hello", 5, &b_public, &a), 0);
	assert_memory_not_equal(box, again, sizeof(box)); /* a nonce serves once */
	assert_int_equal(seal_open(out, box, sizeof(box), &a_public, &b), 0);
	assert_memory_equal(out, "hello", 5);
	assert_int_equal(seal_open(out, box, sizeof(box), &b_public, &b), -EBADMSG);
	for (size_t i = 0; i < sizeof(box); i++) {
		box[i] ^= 0x80;
		assert_int_equal(seal_open(out, box, sizeof(box), &a_public, &b), -EBADMSG);
		box[i] ^= 0x80;
		assert_int_equal(seal_open(out, box, i, &a_public, &b), -EBADMSG);
	}
	assert_int_equal(seal_box(box, "", 0, &b_public, &a), 0);
	assert_int_equal(seal_open(out, box, SEAL_OVERHEAD, &a_public, &b), 0);
}

static void probes(void **state)
{
	struct key from_a, from_b;
	uint8_t id[PROBE_ID_LEN];
	char text[KEY_BASE64];

	(void)state;
	assert_int_equal(probe_key(&from_a, &a, &b_public), 0);
	assert_int_equal(probe_key(&from_b, &b, &a_public), 0);
	key_format(text, &from_a);
	assert_string_equal(text, "iovbDUKJl70aammRzYRNIFipPfWnoxTz0GBr47S1+IA=");
	assert_true(key_equal(&from_a, &from_b));
	probe_id(id, &from_a, &a_public);
	assert_hex(id, sizeof(id), "de9ffb7c92e6b5094e8c08afde8551b4");
	probe_id(id, &from_a, &b_public);
	assert_hex(id, sizeof(id), "8357effee5ea04dac38a86f727f34dde");
}

/* Points of low order give a secret that everybody knows. */
static void weak_points(void **state)
{
	struct key weak[] = {{{0}}, {{1}}};
	uint8_t out[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(weak); i++) {
		assert_int_equal(proof_make(out, &weak[i], &a, challenge, "x", 1), -EINVAL);
		assert_false(proof_check(out, &weak[i], &a, challenge, "x", 1));
		assert_int_equal(seal_box(out, "x", 1, &weak[i], &a), -EINVAL);
		assert_int_equal(seal_open(out, out, 41, &weak[i], &a), -EBADMSG);
		assert_int_equal(probe_key(&(struct key){{0}}, &a, &weak[i]), -EINVAL);
	}
}

static void hash(void **state)
{
	uint8_t out[32];

	(void)state;
	sha256(out, "abc", 3); /* FIPS 180-2 B.1 */
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256(out, "", 0);
	assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void secrets(void **state)
{
	uint8_t one[32] = {0}, two[32] = {0};

	(void)state;
	assert_true(secret_equal(one, two, 32));
	two[31] = 1;
	assert_false(secret_equal(one, two, 32));
	random_bytes(one, sizeof(one));
	random_bytes(two, sizeof(two));
	assert_memory_not_equal(one, two, 32);
	secret_wipe(one, 31);
	assert_int_equal(one[0] | one[30], 0);
	secret_wipe(NULL, 0);
	assert_int_equal(random_below(0), 0);
	assert_int_equal(random_below(1), 0);
	for (int i = 0; i < 1000; i++)
		assert_true(random_below(7) < 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(public_keys),
		cmocka_unit_test(generated_keys),
		cmocka_unit_test(key_texts),
		cmocka_unit_test(canonical_keys),
		cmocka_unit_test(proof_vector),
		cmocka_unit_test(proof_of_something_else),
		cmocka_unit_test(box_vector),
		cmocka_unit_test(boxes),
		cmocka_unit_test(probes),
		cmocka_unit_test(weak_points),
		cmocka_unit_test(hash),
		cmocka_unit_test(secrets),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
