/*
 * Sealed signals: the seal, the header, the window.
 */
#include "signals.h"
#include "lib/seal.h"

#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct key alice, alice_public, bob, bob_public;
static const struct signal_address to_bob = {"default", "id-alice", "id-bob"};

static int setup(void **state)
{
	(void)state;
	key_generate_private(&alice);
	key_public(&alice_public, &alice);
	key_generate_private(&bob);
	key_public(&bob_public, &bob);
	return 0;
}

static uint8_t *sealed(size_t *len, uint64_t boot, uint64_t counter)
{
	struct signal_message message = {.answer = true};
	uint8_t *box;

	endpoint_parse(&message.at.endpoint, "203.0.113.10:51820");
	message.at.endpoints[message.at.count++] = message.at.endpoint;
	endpoint_parse(&message.at.local_endpoints[message.at.local_count++], "192.168.1.2:51820");
	message.at.nat_type = NAT_SYMMETRIC;
	box = signal_seal(len, &to_bob, boot, counter, &message, &bob_public, &alice);
	assert_non_null(box);
	return box;
}

static bool opens(struct signal_window *window, const struct signal_address *expected,
		  const uint8_t *box, size_t len)
{
	struct signal_message out;
	const char *why = NULL;
	bool good = signal_open(&out, window, expected, box, len, &alice_public, &bob, &why);

	assert_true(good == (why == NULL));
	return good;
}

static void test_round_trip(void **state)
{
	struct signal_window window = {0};
	struct signal_message out;
	const char *why;
	size_t len;
	uint8_t *box = sealed(&len, UINT64_MAX, 1);

	(void)state;
	assert_true(signal_open(&out, &window, &to_bob, box, len, &alice_public, &bob, &why));
	assert_true(out.answer);
	assert_int_equal(out.at.count, 1);
	assert_int_equal(out.at.local_count, 1);
	assert_int_equal(out.at.endpoint.port, 51820);
	assert_int_equal(out.at.nat_type, NAT_SYMMETRIC);
	assert_false(opens(&window, &to_bob, box, len)); /* replayed */
	free(box);
}

/* Every step goes and comes; a key only with an offer, and none of it is candidates. */
static void test_psk(void **state)
{
	struct signal_window window = {0};
	struct signal_message in = {.type = SIGNAL_PSK}, out;
	const char *why;
	uint8_t *box;
	size_t len;

	(void)state;
	for (unsigned i = 0; i <= PSK_STEPS; i++) { /* the last: an offer of no key */
		in.psk.step = i % PSK_STEPS;
		in.psk.epoch = (uint64_t)PSK_EPOCH_MAX - i;
		in.psk.base = in.psk.step == PSK_OFFER ? 7 : 0;
		in.psk.answer = in.answer = i & 1;
		memset(&in.psk.key, i ? 0 : 0xff, KEY_LEN); /* any bytes; not only what a public key may be */
		box = signal_seal(&len, &to_bob, 1, i, &in, &bob_public, &alice);
		assert_non_null(box);
		assert_true(signal_open(&out, &window, &to_bob, box, len, &alice_public, &bob, &why));
		assert_int_equal(out.type, SIGNAL_PSK);
		assert_int_equal(out.psk.step, in.psk.step);
		assert_true(out.psk.epoch == in.psk.epoch && out.psk.base == in.psk.base);
		assert_int_equal(out.psk.answer, in.psk.answer);
		assert_true(key_equal(&out.psk.key, &in.psk.key));
		assert_int_equal(out.at.count, 0);
		free(box);
	}
}

/* Rightly sealed nonsense. */
static void test_wrong_bodies(void **state)
{
#define HEAD "\"network\":\"default\",\"from\":\"id-alice\",\"to\":\"id-bob\"," \
	     "\"boot\":\"0000000000000001\",\"counter\":1,\"type\":"
	static const char *const texts[] = {
		"{" HEAD "\"other\"}",
		"{" HEAD "\"psk\"}",
		"{" HEAD "\"psk\",\"step\":\"give\",\"epoch\":1}",
		"{" HEAD "\"psk\",\"step\":\"ack\"}",
		"{" HEAD "\"psk\",\"step\":\"ack\",\"epoch\":0}",
		"{" HEAD "\"psk\",\"step\":\"ack\",\"epoch\":-1}",
		"{" HEAD "\"psk\",\"step\":\"ack\",\"epoch\":9007199254740993}",
		"{" HEAD "\"psk\",\"step\":\"offer\",\"epoch\":1,\"key\":\"short\"}",
		"{" HEAD "\"psk\",\"step\":\"offer\",\"epoch\":1,\"key\":7}",
		"{" HEAD "\"psk\",\"step\":\"offer\",\"epoch\":1,\"key\":"
		"\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}",
		"{" HEAD "\"psk\",\"step\":\"offer\",\"epoch\":1,\"base\":-1}",
	};
	uint8_t box[1024];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		struct signal_window window = {0};
		size_t len = strlen(texts[i]) + SEAL_OVERHEAD;

		assert_int_equal(seal_box(box, texts[i], strlen(texts[i]), &bob_public, &alice), 0);
		if (opens(&window, &to_bob, box, len) || window.started)
			fail_msg("%s was taken", texts[i]);
	}
}

static void test_wrong_header(void **state)
{
	static const struct signal_address wrong[] = {
		{"other", "id-alice", "id-bob"},
		{"default", "id-carol", "id-bob"},
		{"default", "id-alice", "id-carol"},
	};
	size_t len;
	uint8_t *box = sealed(&len, 1, 1);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct signal_window window = {0};

		assert_false(opens(&window, &wrong[i], box, len));
		assert_false(window.started); /* the window moves for good ones only */
	}
	free(box);
}

static void test_wrong_seal(void **state)
{
	struct signal_window window = {0};
	struct signal_message out;
	const char *why;
	size_t len;
	uint8_t *box = sealed(&len, 1, 1);

	(void)state;
	assert_false(signal_open(&out, &window, &to_bob, box, len, &bob_public, &bob, &why));
	assert_false(signal_open(&out, &window, &to_bob, box, len, &alice_public, &alice, &why));
	box[len / 2] ^= 1;
	assert_false(opens(&window, &to_bob, box, len));
	for (size_t short_len = 0; short_len < 60; short_len++)
		assert_false(opens(&window, &to_bob, box, short_len));
	free(box);
}

static void test_window(void **state)
{
	static const struct {
		uint64_t boot, counter;
		bool good;
	} steps[] = {
		{7, 10, true},  {7, 10, false},   {7, 12, true},   {7, 11, true},
		{7, 11, false}, {7, 9, true},     {7, 76, true},   {7, 12, false},
		{7, 13, true},  {7, 1000, true},  {7, 936, false}, {7, 937, true},
		{8, 1, true},   {7, 2000, false}, {8, 2, true},    {9, 5, true},
		{8, 3, false},  {7, 3000, false},
	};
	struct signal_window window = {0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		if (signal_window_take(&window, steps[i].boot, steps[i].counter) != steps[i].good)
			fail_msg("step %u: boot %u counter %u", i, (unsigned)steps[i].boot,
				 (unsigned)steps[i].counter);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_round_trip, setup),
		cmocka_unit_test_setup(test_psk, setup),
		cmocka_unit_test_setup(test_wrong_bodies, setup),
		cmocka_unit_test_setup(test_wrong_header, setup),
		cmocka_unit_test_setup(test_wrong_seal, setup),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
