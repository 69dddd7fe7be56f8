/*
 * What the STUN server says: each request of RFC 5780's tests to one with two addresses and to one
 * with a single one, and all that gets no answer.
 */
#include "../../relay/stunanswer.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define CLIENT "198.51.100.7:40000"
#define A1P1   "192.0.2.1:3478"
#define A1P2   "192.0.2.1:3479"
#define A2P1   "192.0.2.2:3478"
#define A2P2   "192.0.2.2:3479"

static const uint8_t txid[STUN_TXID_LEN] = "transaction!";

static struct endpoint at(const char *text)
{
	struct endpoint endpoint;

	if (!endpoint_parse(&endpoint, text))
		fail_msg("%s", text);
	return endpoint;
}

static struct stun_pair pair_of(const char *one, const char *two)
{
	struct endpoint a = at(one), b = at(two);

	return (struct stun_pair){.address = {a.addr, b.addr}, .port = {a.port, b.port}};
}

static void assert_endpoint(const struct endpoint *endpoint, const char *text)
{
	char got[ENDPOINT_TEXT] = "none";

	if (endpoint->addr.family)
		endpoint_format(got, endpoint);
	assert_string_equal(got, text ? text : "none");
}

static void test_answers(void **state)
{
	static const struct {
		const char *local;
		bool pair;
		uint32_t change;
		uint16_t response_port;
		uint16_t code; /* 0: success */
		const char *source, *other, *to;
	} cases[] = {
		{A1P1, false, 0, 0, 0, A1P1, NULL, CLIENT},
		{A1P1, true, 0, 0, 0, A1P1, A2P2, CLIENT},
		{A2P2, true, 0, 0, 0, A2P2, A1P1, CLIENT},
		{A2P1, true, 0, 0, 0, A2P1, A1P2, CLIENT},
		{A1P1, true, STUN_CHANGE_PORT, 0, 0, A1P2, A2P2, CLIENT},
		{A1P1, true, STUN_CHANGE_IP, 0, 0, A2P1, A2P2, CLIENT},
		{A1P1, true, STUN_CHANGE_IP | STUN_CHANGE_PORT, 0, 0, A2P2, A2P2, CLIENT},
		{A2P1, true, STUN_CHANGE_IP | STUN_CHANGE_PORT, 0, 0, A1P2, A1P2, CLIENT},
		{A1P1, true, 0, 4242, 0, A1P1, A2P2, "198.51.100.7:4242"},
		{A1P1, false, STUN_CHANGE_IP, 0, 420, A1P1, NULL, CLIENT},
		{A1P1, false, STUN_CHANGE_PORT, 0, 420, A1P1, NULL, CLIENT},
		/* not one of the pair's: another address of the same host */
		{"192.0.2.9:3478", true, 0, 0, 0, "192.0.2.9:3478", NULL, CLIENT},
		{"192.0.2.9:3478", true, STUN_CHANGE_IP, 0, 420, "192.0.2.9:3478", NULL, CLIENT},
	};
	struct stun_pair pair = pair_of(A1P1, A2P2);
	struct endpoint from = at(CLIENT);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct endpoint local = at(cases[i].local);
		struct stun_answer answer;
		struct stun_message m;
		struct stun_writer w;
		uint8_t data[128];

		stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
		if (cases[i].change)
			stun_put_u32(&w, STUN_CHANGE_REQUEST, cases[i].change);
		if (cases[i].response_port)
			stun_put_u32(&w, STUN_RESPONSE_PORT, (uint32_t)cases[i].response_port << 16);
		assert_true(stun_answer(&answer, cases[i].pair ? &pair : NULL, &local, &from, data,
					stun_finish(&w)));
		assert_endpoint(&answer.source, cases[i].source);
		assert_endpoint(&answer.to, cases[i].to);
		assert_int_equal(stun_parse(&m, answer.data, answer.len), 0);
		assert_memory_equal(m.txid, txid, sizeof(txid));
		assert_int_equal(m.error_code, cases[i].code);
		assert_int_equal(m.type, cases[i].code ? STUN_ERROR : STUN_SUCCESS);
		assert_endpoint(&m.mapped, cases[i].code ? NULL : CLIENT);
		assert_endpoint(&m.response_origin, cases[i].code ? NULL : cases[i].source);
		assert_endpoint(&m.other_address, cases[i].other);
		assert_false(m.has_fingerprint);
	}
}

static void test_ipv6(void **state)
{
	struct stun_pair pair = pair_of("[2001:db8::1]:3478", "[2001:db8::2]:3479");
	struct endpoint local = at("[2001:db8::1]:3478"), from = at("[2001:db8:9::9]:1");
	struct stun_answer answer;
	struct stun_message m;
	struct stun_writer w;
	uint8_t data[64];

	(void)state;
	stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
	stun_put_u32(&w, STUN_CHANGE_REQUEST, STUN_CHANGE_IP);
	stun_put_fingerprint(&w);
	assert_true(stun_answer(&answer, &pair, &local, &from, data, stun_finish(&w)));
	assert_int_equal(stun_parse(&m, answer.data, answer.len), 0);
	assert_endpoint(&answer.source, "[2001:db8::2]:3478");
	assert_endpoint(&m.mapped, "[2001:db8:9::9]:1");
	assert_endpoint(&m.other_address, "[2001:db8::2]:3479");
	assert_true(m.has_fingerprint); /* as asked, so answered */
}

/* 420 names what was not understood, to tell the client what to leave out. */
static void test_unknown_attributes(void **state)
{
	struct endpoint local = at(A1P1), from = at(CLIENT);
	struct stun_answer answer;
	struct stun_writer w;
	uint8_t data[64];
	static const uint8_t list[] = {0x00, 0x0A, 0x00, 0x04, 0x70, 0x01, 0x00, 0x26};

	(void)state;
	stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
	stun_put_bytes(&w, 0x7001, "x", 1);
	stun_put_bytes(&w, STUN_PADDING, "xxxx", 4);
	stun_put_bytes(&w, 0xC001, "may be ignored", 14);
	assert_true(stun_answer(&answer, NULL, &local, &from, data, stun_finish(&w)));
	assert_non_null(memmem(answer.data, answer.len, list, sizeof(list)));
}

static void test_silence(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		const char *local;
		uint16_t from_port;
	} cases[] = {
		{"an indication", STUN_INDICATION, A1P1, 1},
		{"a success", STUN_SUCCESS, A1P1, 1}, /* or two servers could answer each other for ever */
		{"an error", STUN_ERROR, A1P1, 1},
		{"TURN's Allocate", 0x0003, A1P1, 1},
		{"from port 0", STUN_REQUEST, A1P1, 0},
		{"to a multicast address", STUN_REQUEST, "224.0.0.1:3478", 1},
	};
	struct stun_answer answer;
	struct endpoint from = at(CLIENT), local = at(A1P1);
	struct stun_writer w;
	uint8_t data[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		local = at(cases[i].local);
		from.port = cases[i].from_port;
		stun_begin(&w, data, sizeof(data), cases[i].type, txid);
		if (stun_answer(&answer, NULL, &local, &from, data, stun_finish(&w)))
			fail_msg("%s is answered", cases[i].name);
	}
	assert_false(stun_answer(&answer, NULL, &local, &from, "GET / HTTP/1.1\r\n\r\n\r\n", 20));
	assert_false(stun_answer(&answer, NULL, &local, &from, "", 0));
}

/* Nobody can make us send much more than they did: under six times, with all there is to tell. */
static void test_little_amplification(void **state)
{
	struct stun_pair pair = pair_of("[2001:db8::1]:3478", "[2001:db8::2]:3479");
	struct endpoint local = at("[2001:db8::1]:3478"), from = at("[2001:db8:9::9]:1");
	struct stun_answer answer;
	struct stun_writer w;
	uint8_t data[64];
	size_t len;

	(void)state;
	stun_begin(&w, data, sizeof(data), STUN_REQUEST, txid);
	len = stun_finish(&w);
	assert_true(stun_answer(&answer, &pair, &local, &from, data, len));
	assert_in_range(answer.len, len, 6 * len);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_unknown_attributes),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_little_amplification),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
