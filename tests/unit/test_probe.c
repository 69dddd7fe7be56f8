/*
 * Probes: what is believed and what is not. Alice asks, bob answers; mallory tries.
 */
#include "probe.h"

#include "lib/stun.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct side {
	struct key private_key, public_key;
	struct probes *probes;
	struct probe_partner other;
};

static struct side alice, bob;
static struct endpoint at_alice, at_bob, elsewhere;
static uint8_t packet[PROBE_MAX_LEN];
static struct probe_result result;

static void side_init(struct side *side)
{
	key_generate_private(&side->private_key);
	key_public(&side->public_key, &side->private_key);
	side->probes = probes_new();
}

static int setup(void **state)
{
	(void)state;
	side_init(&alice);
	side_init(&bob);
	endpoint_parse(&at_alice, "203.0.113.10:51820");
	endpoint_parse(&at_bob, "[2001:db8::2]:41641");
	endpoint_parse(&elsewhere, "203.0.113.66:51820");
	assert_int_equal(
		probes_add(alice.probes, &alice.other, &alice.private_key, &bob.public_key, 1), 0);
	assert_int_equal(probes_add(bob.probes, &bob.other, &bob.private_key, &alice.public_key, 1),
			 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	probes_remove(alice.probes, &alice.other);
	probes_remove(bob.probes, &bob.other);
	probes_free(alice.probes);
	probes_free(bob.probes);
	return 0;
}

static size_t ask(uint64_t now)
{
	size_t len = probes_ask(alice.probes, &alice.other, &at_bob, now, packet);

	assert_true(len > STUN_HEADER_LEN && len <= PROBE_MAX_LEN);
	return len;
}

static void test_ask_and_answer(void **state)
{
	size_t len = ask(1000);

	(void)state;
	assert_int_equal(probes_input(bob.probes, &at_alice, packet, len, 1500, &result),
			 PROBE_ASKED);
	assert_ptr_equal(result.partner, &bob.other);
	assert_true(endpoint_equal(&result.at, &at_alice));
	len = result.reply_len;
	memcpy(packet, result.reply, len);
	assert_int_equal(probes_input(alice.probes, &at_bob, packet, len, 3000, &result),
			 PROBE_ANSWERED);
	assert_ptr_equal(result.partner, &alice.other);
	assert_true(endpoint_equal(&result.at, &at_bob));
	assert_true(endpoint_equal(&result.mapped, &at_alice));
	assert_int_equal(result.rtt_us, 2000);
	/* An answer counts once. */
	assert_int_equal(probes_input(alice.probes, &at_bob, packet, len, 3001, &result),
			 PROBE_FOREIGN);
}

static void answer_of_bob(uint64_t now, size_t *len)
{
	*len = ask(now);
	assert_int_equal(probes_input(bob.probes, &at_alice, packet, *len, now, &result),
			 PROBE_ASKED);
	*len = result.reply_len;
	memcpy(packet, result.reply, *len);
}

static void test_answer_from_elsewhere(void **state)
{
	size_t len;

	(void)state;
	answer_of_bob(1000, &len);
	assert_int_equal(probes_input(alice.probes, &elsewhere, packet, len, 1100, &result),
			 PROBE_REFUSED);
}

static void test_answer_too_late(void **state)
{
	size_t len;

	(void)state;
	answer_of_bob(1000, &len);
	assert_int_equal(
		probes_input(alice.probes, &at_bob, packet, len, 1001 + PROBE_TIMEOUT_US, &result),
		PROBE_REFUSED);
}

static void test_reflected(void **state)
{
	size_t len = ask(1000);

	(void)state;
	assert_int_equal(probes_input(alice.probes, &at_bob, packet, len, 1100, &result),
			 PROBE_REFUSED);
	/* Turned into an answer it is no better. */
	packet[0] = STUN_SUCCESS >> 8;
	packet[1] = STUN_SUCCESS & 255;
	assert_int_not_equal(probes_input(alice.probes, &at_bob, packet, len, 1100, &result),
			     PROBE_ANSWERED);
}

static void test_altered(void **state)
{
	size_t len = ask(1000);

	(void)state;
	/* Of what stands behind the integrity nothing is read but the fingerprint. */
	for (size_t i = 0; i < len - 8; i++) {
		packet[i] ^= 1;
		assert_int_not_equal(
			probes_input(bob.probes, &at_alice, packet, len, 1100, &result),
			PROBE_ASKED);
		packet[i] ^= 1;
	}
	assert_int_equal(probes_input(bob.probes, &at_alice, packet, len, 1100, &result),
			 PROBE_ASKED);
}

static void test_stranger(void **state)
{
	struct side mallory;
	size_t len;

	(void)state;
	side_init(&mallory);
	assert_int_equal(probes_add(mallory.probes, &mallory.other, &mallory.private_key,
				    &bob.public_key, 1),
			 0);
	len = probes_ask(mallory.probes, &mallory.other, &at_bob, 1000, packet);
	assert_int_equal(probes_input(bob.probes, &elsewhere, packet, len, 1100, &result),
			 PROBE_REFUSED);
	/* With alice's name, which mallory has seen pass, and without her key. */
	ask(1000);
	memcpy(mallory.other.our_id, packet + STUN_HEADER_LEN + 4, PROBE_ID_LEN);
	len = probes_ask(mallory.probes, &mallory.other, &at_bob, 1000, packet);
	assert_int_equal(probes_input(bob.probes, &elsewhere, packet, len, 1100, &result),
			 PROBE_REFUSED);
	probes_remove(mallory.probes, &mallory.other);
	probes_free(mallory.probes);
}

static void test_plain_stun_is_not_answered(void **state)
{
	static const uint8_t txid[STUN_TXID_LEN] = {1, 2, 3};
	struct stun_writer w;
	size_t len;

	(void)state;
	stun_begin(&w, packet, sizeof(packet), STUN_REQUEST, txid);
	len = stun_finish(&w);
	assert_int_equal(probes_input(bob.probes, &elsewhere, packet, len, 1, &result),
			 PROBE_REFUSED);
	stun_begin(&w, packet, sizeof(packet), STUN_SUCCESS, txid);
	stun_put_mapped(&w, &at_bob);
	len = stun_finish(&w);
	assert_int_equal(probes_input(bob.probes, &elsewhere, packet, len, 1, &result),
			 PROBE_FOREIGN);
}

static void test_answers_are_limited(void **state)
{
	size_t len = ask(1000), answered = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		answered += probes_input(bob.probes, &at_alice, packet, len, 2000, &result) ==
			    PROBE_ASKED;
	assert_in_range(answered, 10, 60);
}

static void test_removed_partner(void **state)
{
	size_t len;

	(void)state;
	answer_of_bob(1000, &len);
	probes_remove(alice.probes, &alice.other);
	assert_int_equal(probes_input(alice.probes, &at_bob, packet, len, 1100, &result),
			 PROBE_FOREIGN);
	assert_int_equal(
		probes_add(alice.probes, &alice.other, &alice.private_key, &bob.public_key, 1), 0);
}

static void test_weak_key(void **state)
{
	struct probe_partner weak;
	struct key zero = {{0}};

	(void)state;
	assert_true(probes_add(alice.probes, &weak, &alice.private_key, &zero, 1) < 0);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_ask_and_answer),
		CASE(test_answer_from_elsewhere),
		CASE(test_answer_too_late),
		CASE(test_reflected),
		CASE(test_altered),
		CASE(test_stranger),
		CASE(test_plain_stun_is_not_answered),
		CASE(test_answers_are_limited),
		CASE(test_removed_partner),
		CASE(test_weak_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
