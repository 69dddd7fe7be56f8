/*
 * Two ends that agree on preshared keys, with a model of WireGuard between them: a session lives 180
 * seconds, its initiator tries for another from 120 on, every five seconds, and succeeds when both
 * have the same preshared key. Signals are lost, delayed and repeated, agents and hosts restart at
 * any moment, with what they kept, or with nothing; and always it has to come together again, with no
 * moment without a session that WireGuard alone would not have had, but where all of that is at once.
 */
#include "psk.h"

#include "lib/secret.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DAY_MS   UINT64_C(86400000)
#define WALL_MS  UINT64_C(1790000000000)
#define IN_AIR   64
#define FOREVER  UINT64_MAX

struct end {
	struct psk psk, kept; /* kept: as on the disk */
	struct key device;    /* its peer's preshared key */
	bool wanted, up, off_air;
	int64_t skew_ms;
	uint64_t handshake_wall_ms;
	unsigned begun, sent;
};

struct flying {
	struct psk_message message;
	uint64_t due_ms;
	int to;
};

static struct sim {
	uint64_t now_ms, session_ms, tried_ms, every_ms;
	struct end ends[2]; /* the first makes the keys */
	struct flying air[IN_AIR], said[IN_AIR];
	unsigned in_air, messages, said_count;
	uint32_t lost;     /* bit n: message n is lost */
	unsigned delay_ms; /* of a message, times 0 to 3 */
	bool repeats, silent, path;
	uint64_t down_ms, longest_ms; /* without a session though both hosts are up */
	uint64_t random;
} s;

static uint32_t chance(uint32_t limit)
{
	s.random = s.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(s.random >> 33) % limit;
}

static uint64_t wall(const struct end *end)
{
	return (uint64_t)((int64_t)(WALL_MS + s.now_ms) + end->skew_ms);
}

static void post(int to, const struct psk_message *message)
{
	unsigned number = s.messages++;

	s.ends[!to].sent++;
	if (s.said_count < IN_AIR)
		s.said[s.said_count++] = (struct flying){*message, 0, to};
	if (s.silent || !s.ends[to].up || (number < 32 && s.lost >> number & 1))
		return;
	for (unsigned copies = s.repeats ? 2 : 1; copies && s.in_air < IN_AIR; copies--)
		s.air[s.in_air++] = (struct flying){
			*message, s.now_ms + (s.delay_ms ? s.delay_ms * chance(4) : 0), to};
}

static void act(int which, unsigned actions, const struct psk_message *message)
{
	struct end *end = &s.ends[which];

	if (actions & PSK_STORE) {
		end->kept = end->psk;
		assert_int_equal(end->kept.state == PSK_IDLE, !end->kept.next.epoch);
		assert_true(end->kept.highest >= end->kept.next.epoch);
		assert_true(end->kept.highest >= end->kept.now.epoch);
	}
	if (actions & PSK_SET)
		end->device = *psk_device(&end->psk);
	if (actions & PSK_BEGUN)
		end->begun++;
	if (actions & PSK_SEND)
		post(!which, message);
}

static struct psk_event event_of(int which)
{
	const struct end *end = &s.ends[which];

	return (struct psk_event){
		.now_ms = s.now_ms,
		.wall_ms = wall(end),
		.reachable = s.ends[!which].up && !s.silent,
		.may_begin = true,
		.has_path = s.path && s.ends[!which].up,
		.has_psk = !key_is_zero(&end->device),
		.handshake_wall_ms = end->handshake_wall_ms,
	};
}

static void hear(const struct flying *f)
{
	struct psk_event event = event_of(f->to);
	struct psk_message out;

	event.heard = &f->message;
	act(f->to, psk_take(&s.ends[f->to].psk, &event, &out), &out);
}

/* All keys that both ends could come back to. */
static bool in_common(void)
{
	const struct psk *a = &s.ends[0].kept, *b = &s.ends[1].kept;

	return key_equal(&a->now.key, &b->now.key) ||
	       (b->next.epoch && key_equal(&a->now.key, &b->next.key)) ||
	       (a->next.epoch && key_equal(&a->next.key, &b->now.key)) ||
	       (a->next.epoch && b->next.epoch && key_equal(&a->next.key, &b->next.key));
}

static void shake_hands(void)
{
	uint64_t age = s.session_ms ? s.now_ms - s.session_ms : FOREVER;

	if (!s.path || !s.ends[0].up || !s.ends[1].up || age < 120000 ||
	    s.now_ms - s.tried_ms < 5000)
		return;
	s.tried_ms = s.now_ms;
	if (!key_equal(&s.ends[0].device, &s.ends[1].device))
		return;
	s.session_ms = s.now_ms;
	for (int i = 0; i < 2; i++)
		s.ends[i].handshake_wall_ms = wall(&s.ends[i]);
}

static void second(void)
{
	struct psk_message out;

	s.now_ms += 1000;
	shake_hands();
	for (unsigned i = 0; i < s.in_air;) {
		struct flying f = s.air[i];

		if (f.due_ms > s.now_ms) {
			i++;
			continue;
		}
		s.air[i] = s.air[--s.in_air];
		if (s.ends[f.to].up && !s.silent)
			hear(&f);
	}
	for (int i = 0; i < 2; i++) {
		struct psk_event event = event_of(i);

		/* Looks at the device are not at the same time, nor as often, at both. */
		if (s.ends[i].up && (s.now_ms / 1000) % (i ? 4 : 1) == 0)
			act(i, psk_take(&s.ends[i].psk, &event, &out), &out);
	}
	if (s.ends[0].up && s.ends[1].up && s.path && (!s.session_ms || s.now_ms - s.session_ms >= 180000))
		s.down_ms += 1000;
	else
		s.down_ms = 0;
	s.longest_ms = MAX(s.longest_ms, s.down_ms);
}

static void run(unsigned seconds)
{
	while (seconds--)
		second();
}

static void begin(int which)
{
	struct end *end = &s.ends[which];
	struct psk_event event = event_of(which);
	struct psk fresh = {.now = end->kept.now, .next = end->kept.next,
			    .highest = end->kept.highest, .state = end->kept.state,
			    .ours = end->kept.ours, .maker = which == 0, .wanted = end->wanted,
			    .every_ms = s.every_ms};

	end->psk = fresh;
	end->up = true;
	psk_begin(&end->psk, &event);
	if (end->psk.now.epoch || end->psk.next.epoch)
		end->device = *psk_device(&end->psk);
}

/* The agent alone: WireGuard goes on. */
static void restart_agent(int which)
{
	begin(which);
}

/* The interface too. */
static void restart_host(int which)
{
	s.session_ms = 0;
	memset(&s.ends[which].device, 0, sizeof(struct key));
	s.ends[which].handshake_wall_ms = 0;
	begin(which);
}

static void forget_all(int which)
{
	memset(&s.ends[which].kept, 0, sizeof(struct psk));
	restart_host(which);
}

static void start(bool a_wanted, bool b_wanted)
{
	memset(&s, 0, sizeof(s));
	s.now_ms = 1000000;
	s.every_ms = DAY_MS;
	s.path = true;
	s.ends[0].wanted = a_wanted;
	s.ends[1].wanted = b_wanted;
	begin(0);
	begin(1);
}

static void explain(const char *what)
{
	for (int i = 0; i < 2; i++) {
		const struct psk *psk = &s.ends[i].psk;

		print_message("end %d: now %llu next %llu state %d using_next %d ours %d\n", i,
			      (unsigned long long)psk->now.epoch, (unsigned long long)psk->next.epoch,
			      psk->state, psk->using_next, psk->ours);
	}
	fail_msg("%s (lost %#x, %u messages, longest %u s)", what, s.lost, s.messages,
		 (unsigned)(s.longest_ms / 1000));
}

static void expect_settled(bool with_key)
{
	const struct end *a = &s.ends[0], *b = &s.ends[1];

	if (a->psk.state != PSK_IDLE || b->psk.state != PSK_IDLE)
		explain("not at rest");
	if (!key_equal(&a->device, &b->device) || !key_equal(&a->psk.now.key, &b->psk.now.key) ||
	    !key_equal(&a->device, &a->psk.now.key))
		explain("not the same key");
	if (key_is_zero(&a->device) == with_key)
		explain(with_key ? "no key" : "a key");
	if (!in_common())
		explain("nothing kept in common");
	for (int i = 0; i < 2; i++) {
		if (with_key && s.ends[i].psk.now.epoch != s.ends[!i].psk.now.epoch)
			explain("not the same epoch");
		assert_true(key_is_zero(&s.ends[i].psk.next.key));
		assert_memory_equal(&s.ends[i].kept.now, &s.ends[i].psk.now, sizeof(struct psk_key));
	}
}

static void expect_never_down(uint64_t more_ms)
{
	if (s.longest_ms > more_ms)
		explain("there was no session");
}

static void test_nothing_lost(void **state)
{
	struct key first;

	(void)state;
	start(true, true);
	run(10);
	assert_true(key_is_zero(&s.ends[0].psk.now.key)); /* not before a handshake had it */
	run(140);
	expect_settled(true);
	first = s.ends[0].device;
	assert_in_range(s.messages, 4, 6);
	run(22 * 3600 * 10 / 11 - 200); /* nothing until the day is over, less its jitter */
	assert_true(key_equal(&first, &s.ends[0].device));
	assert_in_range(s.messages, 4, 6);
	run(8 * 3600);
	expect_settled(true);
	assert_false(key_equal(&first, &s.ends[0].device));
	assert_int_equal(s.ends[0].begun, 2);
	expect_never_down(6000);
}

/* Every way to lose some of the first ten signals, of the first key and of another. */
static void test_signals_lost(void **state)
{
	(void)state;
	for (unsigned hour = 0; hour < 2; hour++) {
		for (uint32_t lost = 0; lost < 1024; lost++) {
			start(true, true);
			if (hour) {
				run(300);
				expect_settled(true);
				s.ends[0].psk.rotate_ms = s.now_ms;
				s.messages = 0;
			}
			s.lost = lost;
			run(3600);
			expect_settled(true);
			expect_never_down(6000);
		}
	}
}

/* Each end restarts, its agent alone or all of its host, at any moment of an agreement, with some
 * signals lost. */
static void test_restarts(void **state)
{
	static const uint32_t patterns[] = {0, 1, 2, 3, 4, 6, 8, 12, 24, 0xf0, 0xfff};

	(void)state;
	for (unsigned at = 0; at < 150; at += at < 12 ? 1 : 3) {
		for (unsigned way = 0; way < 6 * ARRAY_SIZE(patterns); way++) {
			unsigned who = way % 3;

			start(true, true);
			run(300);
			s.ends[0].psk.rotate_ms = s.now_ms;
			s.messages = 0;
			s.lost = patterns[way / 6];
			run(at);
			for (int i = 0; i < 2; i++) {
				if (who == 2 || (int)who == i)
					(way / 3 % 2 ? restart_host : restart_agent)(i);
			}
			assert_true(in_common());
			run(3600);
			expect_settled(true);
			expect_never_down(way / 3 % 2 ? 60000 : 6000);
		}
	}
}

/* The coordinator goes away in the midst of it, at every second, for good; then one host is started
 * anew. The tunnel goes on with what they have. */
static void test_no_coordinator(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 150; at++) {
		for (unsigned way = 0; way < 4; way++) {
			start(true, true);
			run(300);
			s.ends[0].psk.rotate_ms = s.now_ms;
			run(at);
			s.silent = true;
			run(way < 2 ? 0 : 1000);
			restart_host((int)way % 2);
			assert_true(in_common());
			run(4000);
			assert_true(in_common());
			assert_true(s.session_ms && s.now_ms - s.session_ms < 180000);
			assert_false(key_is_zero(&s.ends[0].device));
			expect_never_down(60000);
			s.silent = false;
			s.longest_ms = 0;
			run(2000);
			expect_settled(true);
			expect_never_down(6000);
		}
	}
}

/* One end has nothing any more: the other asks, and they agree anew. */
static void test_all_forgotten(void **state)
{
	(void)state;
	for (int who = 0; who < 2; who++) {
		for (int64_t skew = -1; skew <= 1; skew++) {
			start(true, true);
			s.ends[who].skew_ms = skew * 365 * (int64_t)DAY_MS;
			run(300);
			expect_settled(true);
			s.ends[who].skew_ms = 0;
			forget_all(who);
			run(600);
			expect_settled(true);
			expect_never_down(90000);
		}
	}
}

static void test_away_a_week(void **state)
{
	(void)state;
	for (int who = 0; who < 2; who++) {
		for (unsigned at = 0; at < 140; at += 7) {
			start(true, true);
			run(300);
			s.ends[0].psk.rotate_ms = s.now_ms;
			run(at);
			s.ends[who].up = false;
			run(7 * 86400 / 20); /* of a week's looks, a few are enough */
			s.now_ms += 6 * DAY_MS;
			s.longest_ms = 0;
			restart_host(who);
			run(1000);
			expect_settled(true);
			expect_never_down(60000);
		}
	}
}

/* Old, delayed and repeated signals, and clocks that are years apart. */
static void test_noise(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 300; seed++) {
		start(true, true);
		s.random = seed;
		s.every_ms = 600000;
		s.repeats = seed % 3 == 0;
		s.delay_ms = seed % 5 * 4000;
		s.ends[seed & 1].skew_ms = (int64_t)chance(2000) * 86400000 * (seed & 2 ? 1 : -1);
		for (unsigned i = 0; i < 40; i++) {
			s.lost = chance(4) ? 0 : chance(1 << 16);
			s.messages = 0;
			run(chance(200));
			if (!chance(6))
				restart_agent((int)chance(2));
			if (!chance(20))
				s.silent = !s.silent;
			assert_true(in_common());
		}
		s.silent = s.repeats = false;
		s.delay_ms = 0;
		s.lost = 0;
		s.every_ms = s.ends[0].psk.every_ms = DAY_MS;
		run(4000);
		expect_settled(true);
		/* A signal half a minute late, or a restart while keys are tried, costs another round of
		 * trying; nothing else does. */
		expect_never_down(60000);
	}
}

/* A coordinator that stores what it passed on and says it again to one that has restarted (whose
 * window against replay is empty). */
static void test_replay(void **state)
{
	struct flying old[IN_AIR];
	unsigned count;
	struct key second_key;

	(void)state;
	start(true, true);
	run(300);
	count = s.said_count;
	memcpy(old, s.said, sizeof(old));
	assert_in_range(count, 4, 8);
	s.ends[0].psk.rotate_ms = s.now_ms;
	run(300);
	expect_settled(true);
	second_key = s.ends[0].device;
	for (int who = 0; who < 2; who++) {
		restart_agent(who);
		for (unsigned i = 0; i < count; i++) {
			if (old[i].to == who)
				hear(&old[i]);
			assert_true(key_equal(&s.ends[who].psk.now.key, &second_key));
			assert_true(in_common());
		}
	}
	run(1000);
	expect_settled(true);
	expect_never_down(6000);
}

/* off at one end: no key, and hardly a word. */
static void test_one_is_off(void **state)
{
	(void)state;
	for (int who = 0; who < 2; who++) {
		start(who != 0, who != 1);
		run(4 * 3600);
		expect_settled(false);
		assert_in_range(s.messages, 0, 10);
		expect_never_down(6000);
	}
	start(false, false);
	run(4 * 3600);
	assert_int_equal(s.messages, 0);
}

/* Turned off later: the key goes by agreement, whatever is lost; and comes back. */
static void test_turned_off(void **state)
{
	(void)state;
	for (uint32_t lost = 0; lost < 256; lost++) {
		for (int who = 0; who < 2; who++) {
			start(true, true);
			run(300);
			s.messages = 0;
			s.lost = lost;
			s.ends[who].wanted = false;
			restart_agent(who);
			assert_false(key_is_zero(&s.ends[who].device)); /* not by one end alone */
			run(3000);
			expect_settled(false);
			expect_never_down(6000);
			s.ends[who].wanted = true;
			restart_agent(who);
			run(2 * 3600);
			expect_settled(true);
			expect_never_down(6000);
		}
	}
}

/* On at one end, which is refused; then on at the other, by a reload or a restart, at any moment. */
static void test_turned_on(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		for (unsigned at = 0; at < 130; at++) {
			struct end *late = &s.ends[way & 1];

			start(!(way & 1) ? false : true, !(way & 1) ? true : false);
			run(at);
			late->wanted = late->psk.wanted = true;
			if (way & 2)
				restart_agent((int)(way & 1));
			run(300);
			expect_settled(true);
			expect_never_down(6000);
		}
	}
}

/* Off, and all forgotten: the other end hears that there is none. */
static void test_off_and_forgotten(void **state)
{
	(void)state;
	for (int who = 0; who < 2; who++) {
		start(true, true);
		run(300);
		s.ends[who].wanted = false;
		forget_all(who);
		run(600);
		assert_true(key_is_zero(&s.ends[0].device) && key_is_zero(&s.ends[1].device));
		expect_never_down(200000); /* a session of which WireGuard does not know that it is dead */
	}
}

/* One that never answers, as older versions do: tried ever more seldom, and nothing happens. */
static void test_no_answer(void **state)
{
	(void)state;
	start(true, true);
	s.lost = UINT32_MAX;
	for (unsigned i = 0; i < 24; i++) {
		run(3600);
		s.messages = 0;
	}
	assert_in_range(s.ends[0].sent, 10, 200);
	assert_int_equal(s.ends[0].begun, 1);
	assert_true(key_is_zero(&s.ends[0].device));
	expect_never_down(6000);
}

/* What the user has set by hand is not ours; what is ours and was taken away is put back. */
static void test_the_users(void **state)
{
	struct psk psk = {0};

	(void)state;
	assert_true(psk_is_users(&psk, true));
	assert_false(psk_is_users(&psk, false));
	start(true, true);
	run(300);
	assert_false(psk_is_users(&s.ends[0].psk, true));
	memset(&s.ends[0].device, 0, sizeof(struct key));
	run(4);
	expect_settled(true);
}

/* An end that asks and asks has its way, and not at its pace. */
static void test_asking_has_a_limit(void **state)
{
	struct flying ask = {.message = {.step = PSK_ASK}, .to = 0};

	(void)state;
	start(true, true);
	run(300);
	for (unsigned i = 0; i < 600; i++) {
		ask.message.epoch = s.ends[0].psk.highest;
		hear(&ask);
		second();
	}
	assert_in_range(s.ends[0].begun, 2, 62);
	run(1000);
	expect_settled(true);
	expect_never_down(6000);
	ask.message.epoch = UINT64_MAX;
	hear(&ask);
	run(600);
	expect_settled(true);
}

/* One that offers and offers: few of it are taken, and each is one that can be gone back from. */
static void test_offering_has_a_limit(void **state)
{
	struct flying offer = {.message = {.step = PSK_OFFER}, .to = 1};
	unsigned stored = 0;

	(void)state;
	start(true, true);
	run(300);
	for (unsigned i = 0; i < 600; i++) {
		uint64_t before = s.ends[1].kept.highest;

		offer.message.epoch = s.ends[1].psk.highest + 1;
		offer.message.base = s.ends[0].psk.now.epoch;
		memset(&offer.message.key, (int)i + 1, KEY_LEN);
		hear(&offer);
		stored += s.ends[1].kept.highest != before;
		second();
		assert_true(in_common());
	}
	assert_in_range(stored, 2, 61);
	s.ends[0].psk.rotate_ms = s.now_ms;
	run(2000);
	expect_settled(true);
	expect_never_down(60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_lost),    cmocka_unit_test(test_signals_lost),
		cmocka_unit_test(test_restarts),	cmocka_unit_test(test_no_coordinator),
		cmocka_unit_test(test_all_forgotten),   cmocka_unit_test(test_away_a_week),
		cmocka_unit_test(test_noise),		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_one_is_off),      cmocka_unit_test(test_turned_off),
		cmocka_unit_test(test_turned_on), cmocka_unit_test(test_off_and_forgotten), cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_offering_has_a_limit),
		cmocka_unit_test(test_the_users),       cmocka_unit_test(test_asking_has_a_limit),
	};

	secret_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
