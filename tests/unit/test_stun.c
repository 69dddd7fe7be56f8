/*
 * STUN: the published vectors (RFC 5769, RFC 8489 B.1 with erratum 6268), round trips of every
 * attribute, and what a parser refuses.
 */
#include "lib/seal.h"
#include "lib/stun.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const uint8_t txid[STUN_TXID_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

/* Bytes of hex digits and blanks; returns how many. */
static size_t bytes(uint8_t *out, const char *hex)
{
	size_t len = 0;
	unsigned value;

	for (; *hex; hex += *hex == ' ' ? 1 : 2) {
		if (*hex == ' ')
			continue;
		if (sscanf(hex, "%2x", &value) != 1)
			fail_msg("not hex: %s", hex);
		out[len++] = (uint8_t)value;
	}
	return len;
}

/* RFC 5769 2.1, 2.2 and 2.3: their integrity is SHA-1's, their fingerprint and addresses are ours. */
static const char sample_request[] =
	"000100582112a442b7e7a701bc34d686fa87dfae 802200105354554e207465737420636c69656e74"
	"002400046e0001ff 80290008932ff9b151263b36 00060009 6576746a3a68367659202020"
	"000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf";
static const char sample_ipv4[] =
	"0101003c2112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220"
	"002000080001a147e112a643 000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004c07d4c96";
static const char sample_ipv6[] =
	"010100482112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220"
	"002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
	"00080014a382954e4be67bf11784c97c8292c275bfe3ed41 80280004c8fb0b4c";

static void test_rfc5769(void **state)
{
	uint8_t data[256];
	struct stun_message m;
	char text[ENDPOINT_TEXT];
	size_t len = bytes(data, sample_request);

	(void)state;
	assert_true(stun_is(data, len));
	assert_int_equal(stun_parse(&m, data, len), 0);
	assert_int_equal(m.type, STUN_REQUEST);
	assert_true(m.has_fingerprint);
	assert_int_equal(m.username_len, 9);
	assert_memory_equal(m.username, "evtj:h6vY", 9);
	assert_int_equal(m.unknown_count, 1); /* ICE's PRIORITY */
	assert_int_equal(m.unknown[0], 0x0024);

	len = bytes(data, sample_ipv4);
	assert_int_equal(stun_parse(&m, data, len), 0);
	endpoint_format(text, &m.mapped);
	assert_string_equal(text, "192.0.2.1:32853");

	len = bytes(data, sample_ipv6);
	assert_int_equal(stun_parse(&m, data, len), 0);
	endpoint_format(text, &m.mapped);
	assert_string_equal(text, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

static const char rfc8489_b1[] =
	"000100902112a44278ad3433c6ad72c029da412e"
	"001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
	"001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679363473 41000000"
	"0014000b6578616d706c652e6f726700 001d000400020000"
	"001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";

static void test_rfc8489(void **state)
{
	static const char secret[] = "\xE3\x83\x9E\xE3\x83\x88\xE3\x83\xAA\xE3\x83\x83\xE3\x82\xAF\xE3\x82\xB9"
				     ":example.org:TheMatrIX";
	uint8_t data[256], key[32];
	size_t len = bytes(data, rfc8489_b1);
	struct stun_message m;

	(void)state;
	sha256(key, secret, strlen(secret));
	assert_int_equal(stun_parse(&m, data, len), 0);
	assert_int_equal(m.unknown_count, 0);
	assert_true(m.has_integrity);
	assert_true(stun_verify(&m, data, len, key, sizeof(key)));
	for (size_t i = 0; i < len; i++) { /* every bit of it counts, but for the length it ends with */
		data[i] ^= 0x10;
		if (!stun_parse(&m, data, len) && stun_verify(&m, data, len, key, sizeof(key)))
			fail_msg("altered at %zu and still taken", i);
		data[i] ^= 0x10;
	}
	key[0] ^= 1;
	assert_int_equal(stun_parse(&m, data, len), 0);
	assert_false(stun_verify(&m, data, len, key, sizeof(key)));
}

static struct endpoint at(const char *text)
{
	struct endpoint endpoint;

	if (!endpoint_parse(&endpoint, text))
		fail_msg("%s", text);
	return endpoint;
}

static size_t write_all(uint8_t *out, size_t size, const struct endpoint *e, const uint8_t *key)
{
	struct stun_writer w;

	stun_begin(&w, out, size, STUN_REQUEST, txid);
	stun_put_mapped(&w, e);
	stun_put_endpoint(&w, STUN_RESPONSE_ORIGIN, e);
	stun_put_endpoint(&w, STUN_OTHER_ADDRESS, e);
	stun_put_u32(&w, STUN_CHANGE_REQUEST, STUN_CHANGE_IP | STUN_CHANGE_PORT);
	stun_put_u32(&w, STUN_RESPONSE_PORT, 4242u << 16);
	stun_put_bytes(&w, STUN_USERNAME, "who", 3);
	stun_put_bytes(&w, STUN_SOFTWARE, "test", 4);
	stun_put_error(&w, 420, "Unknown Attribute");
	stun_put_unknown(&w, (const uint16_t[]){0x7001, 0x7002}, 2);
	stun_put_bytes(&w, 0x7001, "x", 1);
	stun_put_integrity(&w, key, 32);
	stun_put_fingerprint(&w);
	return stun_finish(&w);
}

static void test_round_trip(void **state)
{
	static const char *const endpoints[] = {"192.0.2.1:1", "[2001:db8::1]:65535", "33.18.164.66:8466"};
	uint8_t data[STUN_MAX_LEN], key[32] = {7};
	struct stun_message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(endpoints); i++) {
		struct endpoint e = at(endpoints[i]);
		size_t len = write_all(data, sizeof(data), &e, key);

		assert_int_not_equal(len, 0);
		assert_int_equal(stun_parse(&m, data, len), 0);
		assert_memory_equal(m.txid, txid, sizeof(txid));
		assert_true(endpoint_equal(&m.mapped, &e));
		assert_true(endpoint_equal(&m.response_origin, &e));
		assert_true(endpoint_equal(&m.other_address, &e));
		assert_int_equal(m.change, STUN_CHANGE_IP | STUN_CHANGE_PORT);
		assert_int_equal(m.response_port, 4242);
		assert_int_equal(m.username_len, 3);
		assert_memory_equal(m.username, "who", 3);
		assert_int_equal(m.error_code, 420);
		assert_int_equal(m.unknown_count, 1);
		assert_int_equal(m.unknown[0], 0x7001);
		assert_true(m.has_fingerprint);
		assert_true(stun_verify(&m, data, len, key, sizeof(key)));
		for (size_t size = 0; size < len; size++) { /* never past what there is */
			uint8_t *small = xmalloc(size);

			assert_int_equal(write_all(small, size, &e, key), 0);
			free(small);
		}
	}
}

static void test_mapped_prefers_xor(void **state)
{
	struct endpoint plain = at("192.0.2.1:1"), masked = at("192.0.2.2:2");
	uint8_t data[128];
	struct stun_writer w;
	struct stun_message m;

	(void)state;
	for (int first = 0; first < 2; first++) {
		stun_begin(&w, data, sizeof(data), STUN_SUCCESS, txid);
		if (first)
			stun_put_mapped(&w, &masked);
		stun_put_endpoint(&w, STUN_MAPPED_ADDRESS, &plain);
		if (!first)
			stun_put_mapped(&w, &masked);
		assert_int_equal(stun_parse(&m, data, stun_finish(&w)), 0);
		assert_true(endpoint_equal(&m.mapped, &masked));
	}
}

/* Of repeated attributes the first counts (RFC 8489 14), whichever it is. */
static void test_repeated(void **state)
{
	static const uint8_t change[] = {0, 3, 0, 4, 0, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 6};
	struct endpoint first = at("192.0.2.1:1"), second = at("192.0.2.2:2");
	uint8_t data[256];
	struct stun_writer w;
	struct stun_message m;
	size_t len;

	(void)state;
	stun_begin(&w, data, sizeof(data), STUN_SUCCESS, txid);
	stun_put_mapped(&w, &first);
	stun_put_mapped(&w, &second);
	stun_put_endpoint(&w, STUN_OTHER_ADDRESS, &first);
	stun_put_endpoint(&w, STUN_OTHER_ADDRESS, &second);
	assert_int_equal(stun_parse(&m, data, stun_finish(&w)), 0);
	assert_true(endpoint_equal(&m.mapped, &first));
	assert_true(endpoint_equal(&m.other_address, &first));
	for (size_t turn = 0; turn < 2; turn++) {
		stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
		len = stun_finish(&w);
		memcpy(data + len, turn ? change + 8 : change, 8);
		memcpy(data + len + 8, turn ? change : change + 8, 8);
		data[3] = (uint8_t)(data[3] + 16);
		assert_int_equal(stun_parse(&m, data, len + 16), 0);
		assert_int_equal(m.change, turn ? 6 : 0);
	}
}

/* What stands behind the integrity is anybody's: not believed (RFC 8489 14.6). */
static void test_behind_integrity(void **state)
{
	struct endpoint e = at("192.0.2.1:1");
	uint8_t data[256], key[32] = {1};
	struct stun_writer w;
	struct stun_message m;
	size_t len;

	(void)state;
	stun_begin(&w, data, sizeof(data), STUN_SUCCESS, txid);
	stun_put_integrity(&w, key, sizeof(key));
	stun_put_mapped(&w, &e);
	stun_put_bytes(&w, STUN_USERNAME, "evil", 4);
	stun_put_fingerprint(&w);
	len = stun_finish(&w);
	assert_int_equal(stun_parse(&m, data, len), 0);
	assert_true(stun_verify(&m, data, len, key, sizeof(key)));
	assert_int_equal(m.mapped.addr.family, 0);
	assert_null(m.username);
}

static void test_truncated_integrity(void **state)
{
	uint8_t data[128], key[32] = {1}, full[128];
	struct stun_writer w;
	struct stun_message m;
	size_t len;

	(void)state;
	stun_begin(&w, full, sizeof(full), STUN_REQUEST, txid);
	stun_put_integrity(&w, key, sizeof(key));
	stun_finish(&w);
	stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
	stun_put_bytes(&w, STUN_MESSAGE_INTEGRITY_SHA256, full + 24, 16);
	len = stun_finish(&w);
	assert_int_equal(stun_parse(&m, data, len), 0);
	assert_false(stun_verify(&m, data, len, key, sizeof(key)));
}

static void test_refused(void **state)
{
#define HEAD(len) "0001" len "2112a4420102030405060708090a0b0c"
	static const char *const cases[] = {
		"",
		"0001",
		"000100002112a4420102030405060708090a0b",         /* short header */
		"400100002112a4420102030405060708090a0b0c",       /* first bits */
		"000100002112a4430102030405060708090a0b0c",       /* cookie */
		HEAD("0004"),                                      /* less than it says */
		HEAD("0000") "00000000",                           /* more */
		HEAD("0002") "0000",                               /* not a multiple of 4 */
		HEAD("0004") "80220004",                           /* attribute goes past the end */
		HEAD("0008") "8022000500000000",                   /* its padding does */
		HEAD("0004") "8022ffff",
		HEAD("0008") "00200004 00010000",                  /* addresses of wrong sizes */
		HEAD("000c") "00200008 0002000000000000",
		HEAD("000c") "00010008 0003000000000000",
		HEAD("0004") "00030000",                           /* CHANGE-REQUEST without flags */
		HEAD("0004") "00270000",                           /* RESPONSE-PORT without a port */
		HEAD("0008") "00090004 00000200",                  /* error 200 */
		HEAD("0008") "00090004 00000464",                  /* error 4 + 100 */
		HEAD("0008") "80280004 00000000",                  /* wrong fingerprint */
		HEAD("0008") "80280003 00000000",
	};
	uint8_t data[128];
	struct stun_message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = bytes(data, cases[i]);
		uint8_t *exact = xmemdup(data, len);

		if (stun_parse(&m, exact, len) != -EBADMSG)
			fail_msg("taken: %s", cases[i]);
		free(exact);
	}
}

/* A right fingerprint counts only as the last attribute. */
static void test_fingerprint_is_last(void **state)
{
	uint8_t data[64];
	struct stun_writer w;
	struct stun_message m;

	(void)state;
	stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
	stun_put_fingerprint(&w);
	assert_int_equal(stun_parse(&m, data, stun_finish(&w)), 0);
	stun_put_bytes(&w, STUN_SOFTWARE, "x", 1);
	assert_int_equal(stun_parse(&m, data, stun_finish(&w)), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5769),
		cmocka_unit_test(test_rfc8489),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_mapped_prefers_xor),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_behind_integrity),
		cmocka_unit_test(test_truncated_integrity),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_fingerprint_is_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
