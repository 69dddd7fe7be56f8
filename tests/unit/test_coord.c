/*
 * The agent's side of the stream against a fake coordinator: real TLS and proofs, and every way in
 * which a coordinator can fail, forget us, or send what it must not.
 */
#include "api.h"
#include "coord.h"
#include "coord_private.h"
#include "fake_coordinator.h"
#include "lib/clock.h"
#include "lib/secret.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SNAPSHOT \
	"{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":5,\"networks\":[],\"relays\":[],\"peers\":[]}"

static struct fixture {
	struct loop *loop;
	struct fetch *fetch;
	struct fake *fake, *other; /* other: NULL where a test has one only */
	struct state *state;
	struct key private_key;
	struct coord *coord;
	unsigned connects, disconnects, snapshots, deltas, signals, saves, rejections;
	char code[64], signal_from[40], signal_text[64];
	int64_t take; /* position to tell on a snapshot; 0: none */
} f;

static void on_connected(void *arg, bool connected, const char *why)
{
	(void)arg;
	assert_true(connected || why);
	connected ? f.connects++ : f.disconnects++;
}

static void on_snapshot(void *arg, json_t *frame)
{
	(void)arg;
	f.snapshots++;
	if (f.take)
		coord_set_position(f.coord, json_string_value(json_object_get(frame, "epoch")), f.take);
}

static void on_delta(void *arg, json_t *frame)
{
	(void)arg;
	(void)frame;
	f.deltas++;
}

static void on_signal(void *arg, const char *from, const char *network, const uint8_t *box, size_t len)
{
	(void)arg;
	assert_string_equal(network, "default");
	f.signals++;
	snprintf(f.signal_from, sizeof(f.signal_from), "%s", from);
	snprintf(f.signal_text, sizeof(f.signal_text), "%.*s", (int)len, (const char *)box);
}

static void on_state(void *arg)
{
	(void)arg;
	f.saves++;
}

static void on_rejected(void *arg, const char *code, const char *why)
{
	(void)arg;
	assert_non_null(why);
	f.rejections++;
	snprintf(f.code, sizeof(f.code), "%s", code);
}

static const struct coord_ops ops = {on_connected, on_snapshot, on_delta, on_signal, on_state, on_rejected};

static int set_up(void **unused)
{
	(void)unused;
	f = (struct fixture){0};
	secret_init();
	clock_set_fake(1000000, 1700000000000);
	f.loop = loop_new();
	assert_int_equal(fetch_new(&f.fetch, f.loop), 0);
	f.fake = fake_new(f.loop);
	f.state = state_new();
	f.state->coordinator_url = xstrdup(f.fake->origin);
	snprintf(f.state->agent_id, sizeof(f.state->agent_id), "a-1");
	f.state->server_key = f.fake->public_key;
	f.state->pins = xcalloc(1, sizeof(*f.state->pins));
	f.state->pins[f.state->pin_count++] = xstrdup(f.fake->pin);
	snprintf(f.fake->token, sizeof(f.fake->token), "token-0");
	f.state->token = xstrdup("token-0");
	key_generate_private(&f.private_key);
	f.coord = coord_new(f.loop, f.fetch, f.state, &f.private_key, &ops, NULL);
	return 0;
}

static int tear_down(void **unused)
{
	(void)unused;
	coord_free(f.coord);
	clock_set_fake(0, 0);
	fake_free(f.fake);
	if (f.other)
		fake_free(f.other);
	fetch_free(f.fetch);
	state_free(f.state);
	loop_free(f.loop);
	return 0;
}

/* Time is faked, the connection is real: each step of 20 ms gives the network 0.1 ms. */
static void turn(uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 20) {
		loop_run_fake(f.loop, 20);
		usleep(100);
	}
}

/* Turns the loop until the condition holds; ten seconds of network are enough for anything. */
#define until(condition)                                                                           \
	do {                                                                                       \
		for (int until_i = 0; until_i < 100000 && !(condition); until_i++)                 \
			turn(20);                                                                  \
		if (!(condition))                                                                  \
			fail_msg("never came: %s", #condition);                                    \
	} while (0)

/* Seconds in which nothing but pings is to be done. */
static void idle(unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		loop_run_fake(f.loop, 1000);
		usleep(300);
	}
}

static void come_up(void)
{
	coord_start(f.coord);
	until(fake_heard(f.fake, "hello"));
	fake_say(f.fake, SNAPSHOT);
	until(f.snapshots == 1);
}

static void greets_and_takes_a_snapshot(void **unused)
{
	json_t *hello;

	(void)unused;
	f.take = 5;
	coord_send_endpoints(f.coord, &(struct proto_endpoints){.nat_type = NAT_SYMMETRIC});
	coord_start(f.coord);
	until(fake_heard(f.fake, "endpoint"));
	assert_false(coord_connected(f.coord)); /* not before the snapshot */
	hello = json_array_get(f.fake->heard, 0);
	assert_string_equal(json_string_value(json_object_get(hello, "type")), "hello");
	assert_true(json_is_null(json_object_get(hello, "epoch")));
	assert_int_equal(json_integer_value(json_object_get(hello, "version")), 1);
	fake_say(f.fake, SNAPSHOT);
	until(fake_heard(f.fake, "ack"));
	assert_true(coord_connected(f.coord));
	assert_int_equal(f.connects, 1);
	assert_int_equal(json_integer_value(json_object_get(fake_heard(f.fake, "ack"), "revision")), 5);
	assert_int_equal(f.fake->challenges, 0); /* the token was good */
}

static void comes_back_where_it_left_off(void **unused)
{
	json_t *hello;

	(void)unused;
	f.take = 5;
	come_up();
	fake_say(f.fake, "{\"type\":\"delta\",\"revision\":6,\"changes\":[]}");
	until(f.deltas == 1);
	coord_set_position(f.coord, "E", 6);
	fake_cut(f.fake);
	until(f.disconnects == 1);
	assert_false(coord_connected(f.coord));
	until(fake_count(f.fake, "hello") == 2);
	hello = fake_heard(f.fake, "hello");
	assert_string_equal(json_string_value(json_object_get(hello, "epoch")), "E");
	assert_int_equal(json_integer_value(json_object_get(hello, "revision")), 6);
	f.take = 0;
	fake_say(f.fake, "{\"type\":\"resume\",\"epoch\":\"E\",\"revision\":6}");
	until(f.connects == 2);
	assert_int_equal(f.rejections, 0);
}

static void asks_anew_when_the_owner_lost_its_place(void **unused)
{
	(void)unused;
	f.take = 5;
	come_up();
	coord_set_position(f.coord, NULL, 0);
	until(fake_count(f.fake, "hello") == 2);
	assert_true(json_is_null(json_object_get(fake_heard(f.fake, "hello"), "epoch")));
}

static void passes_signals(void **unused)
{
	char big[PROTO_MAX_SIGNAL + 1] = "";
	json_t *sent;

	(void)unused;
	assert_int_equal(coord_send_signal(f.coord, "b-2", "default", (const uint8_t *)"hi", 2), -ENOTCONN);
	come_up();
	assert_int_equal(coord_send_signal(f.coord, "b-2", "default", (const uint8_t *)"hi", 2), 0);
	assert_int_equal(coord_send_signal(f.coord, "b-2", "default", (const uint8_t *)big, sizeof(big)), -EMSGSIZE);
	until(fake_heard(f.fake, "signal"));
	sent = fake_heard(f.fake, "signal");
	assert_string_equal(json_string_value(json_object_get(sent, "to")), "b-2");
	assert_string_equal(json_string_value(json_object_get(sent, "box")), "aGk=");
	fake_say(f.fake, "{\"type\":\"signal\",\"from\":\"b-2\",\"network\":\"default\",\"box\":\"aG8=\"}");
	until(f.signals == 1);
	assert_string_equal(f.signal_from, "b-2");
	assert_string_equal(f.signal_text, "ho");
	coord_send_heartbeat(f.coord, json_pack("{s:{s:b}}", "b-2", "connected", 1));
	until(fake_heard(f.fake, "heartbeat"));
}

static void proves_the_key_when_the_token_has_ended(void **unused)
{
	(void)unused;
	free(f.state->token);
	f.state->token = xstrdup("long-ended");
	f.state->token_renew_wall_ms = 1; /* a wall clock that went wrong changes nothing */
	come_up();
	assert_int_equal(f.fake->challenges, 1);
	assert_int_equal(f.fake->bad_proofs, 0);
	assert_string_equal(f.state->token, "token-1");
	assert_true(f.saves > 0);
	assert_int_equal(f.rejections, 0);
}

static void proves_the_key_without_a_token(void **unused)
{
	(void)unused;
	free(f.state->token);
	f.state->token = NULL;
	come_up();
	assert_string_equal(f.state->token, "token-1");
}

static void a_lost_answer_costs_nothing(void **unused)
{
	(void)unused;
	free(f.state->token);
	f.state->token = NULL;
	f.fake->lose_answers = 1;
	f.fake->challenges_serve_once = true;
	come_up();
	assert_int_equal(f.fake->proofs, 3); /* lost; the same again, refused; a new one */
	assert_int_equal(f.fake->challenges, 2);
}

static void renews_in_time(void **unused)
{
	(void)unused;
	come_up();
	fake_say(f.fake, "{\"type\":\"token\",\"token\":\"token-0\",\"expires_in\":1}");
	until(f.fake->bearers == 1);
	until(!strcmp(f.state->token, "token-1"));
	assert_int_equal(f.fake->challenges, 0);
	/* and by proof, where the token is not taken any more */
	f.fake->refuse_bearer = true;
	fake_say(f.fake, "{\"type\":\"token\",\"token\":\"token-1\",\"expires_in\":1}");
	until(!strcmp(f.state->token, "token-2"));
	assert_int_equal(f.fake->challenges, 1);
	assert_true(coord_connected(f.coord)); /* all that time */
	assert_int_equal(f.disconnects, 0);
}

static void forgotten_agent_is_told_once_and_goes_on(void **unused)
{
	(void)unused;
	f.fake->refuse_upgrade = "unknown_agent";
	f.fake->refuse_proof = "unknown_agent";
	coord_start(f.coord);
	until(f.rejections == 1);
	assert_string_equal(f.code, "unknown_agent");
	until(f.fake->proofs >= 2);
	assert_int_equal(f.rejections, 1);
	f.fake->refuse_upgrade = f.fake->refuse_proof = NULL; /* let in again */
	until(fake_heard(f.fake, "hello"));
	fake_say(f.fake, SNAPSHOT);
	until(f.connects == 1);
}

static void a_changed_server_key_is_refused(void **unused)
{
	(void)unused;
	key_generate_private(&f.fake->shown_key);
	free(f.state->token);
	f.state->token = NULL;
	coord_start(f.coord);
	until(f.rejections == 1);
	assert_string_equal(f.code, "server_key_changed");
	assert_int_equal(f.fake->proofs, 0); /* nothing was proved to it */
}

static void a_server_with_another_pin_gets_nothing(void **unused)
{
	(void)unused;
	f.state->pins[0][0] = f.state->pins[0][0] == 'A' ? 'B' : 'A';
	coord_start(f.coord);
	until(f.fake->connections >= 2);
	turn(50);
	assert_int_equal(f.fake->upgrades + f.fake->challenges, 0);
	assert_int_equal(f.connects, 0);
}

static void learns_pins(void **unused)
{
	char frame[400];

	(void)unused;
	coord_start(f.coord);
	until(fake_heard(f.fake, "hello"));
	snprintf(frame, sizeof(frame),
		 "{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":5,\"networks\":[],\"relays\":[],\"peers\":[],"
		 "\"pins\":[\"%s\",\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"short\",7]}",
		 f.fake->pin);
	fake_say(f.fake, frame);
	until(f.snapshots == 1);
	assert_int_equal(f.state->pin_count, 2);
	assert_string_equal(f.state->pins[0], f.fake->pin);
	assert_string_equal(f.state->pins[1], "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
	assert_int_equal(f.saves, 1);
}

static void good_bye_is_obeyed(void **unused)
{
	(void)unused;
	come_up();
	fake_say(f.fake, "{\"type\":\"bye\",\"reason\":\"restart\",\"retry_after_ms\":100000}");
	until(f.disconnects == 1);
	turn(1800); /* the ordinary back-off would have been over */
	assert_int_equal(fake_count(f.fake, "hello"), 1);
	coord_retry_now(f.coord); /* but a new network is a new chance */
	until(fake_count(f.fake, "hello") == 2);
}

static void network_change_finds_a_dead_connection(void **unused)
{
	(void)unused;
	come_up();
	f.fake->deaf = true;
	coord_retry_now(f.coord);
	until(f.disconnects == 1); /* within 5 s, not 40 */
}

static void moves_to_another_address(void **unused)
{
	struct fake *other = f.other = fake_new(f.loop);

	(void)unused;
	come_up();
	other->private_key = f.fake->private_key;
	other->public_key = other->shown_key = f.fake->public_key;
	assert_true(state_follow(f.state, other->origin, other->pin));
	coord_reconnect(f.coord);
	until(fake_heard(other, "hello")); /* by proof: it does not know the token */
	assert_int_equal(other->bad_proofs, 0);
	clock_set_fake(0, 0);
	coord_free(f.coord);
	f.coord = NULL;
}

/* A second one of the same mesh: it has the same server key and takes the same tokens. */
static struct fake *another(void)
{
	struct fake *fake = f.other = fake_new(f.loop);

	fake->private_key = f.fake->private_key;
	fake->public_key = f.fake->public_key;
	fake->shown_key = f.fake->shown_key;
	snprintf(fake->token, sizeof(fake->token), "%s", f.fake->token);
	return fake;
}

static void come_up_with(const struct fake *other, bool delta)
{
	char frame[600];

	coord_start(f.coord);
	until(fake_heard(f.fake, "hello"));
	snprintf(frame, sizeof(frame),
		 "{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":5,\"networks\":[],\"relays\":[],\"peers\":[],"
		 "\"pins\":[\"%s\",\"%s\"],\"coordinators\":[\"%s\",\"%s\"]}",
		 f.fake->pin, other->pin, f.fake->origin, other->origin);
	fake_say(f.fake, delta ? SNAPSHOT : frame);
	until(f.snapshots == 1);
	if (!delta)
		return;
	snprintf(frame, sizeof(frame),
		 "{\"type\":\"delta\",\"revision\":6,\"changes\":[{\"op\":\"coordinators\",\"coordinators\":[\"%s\"],"
		 "\"pins\":[\"%s\"]}]}", other->origin, other->pin);
	fake_say(f.fake, frame);
	until(f.deltas == 1);
}

static void goes_to_another_coordinator(void **unused)
{
	(void)unused;
	for (int delta = 0; delta < 2; delta++) {
		struct fake *other = another();
		uint64_t began;

		come_up_with(other, delta);
		assert_int_equal(f.state->other_count, 1);
		assert_string_equal(f.state->others[0], other->origin);
		began = clock_ms();
		f.fake->deaf = true;
		fake_cut(f.fake);
		until(fake_heard(other, "hello"));
		assert_true(clock_ms() - began < 3000); /* before the first back-off could have ended twice */
		fake_say(other, SNAPSHOT);
		until(f.snapshots == 2);
		assert_true(coord_connected(f.coord));
		assert_string_equal(coord_origin(f.coord), other->origin);
		assert_int_equal(other->challenges, 0); /* by the token it had */
		assert_int_equal(f.rejections, 0);
		f.fake->deaf = false; /* and back */
		idle(11);
		fake_say(other, "{\"type\":\"bye\",\"reason\":\"restart\",\"retry_after_ms\":5000}");
		until(fake_count(f.fake, "hello") == 2);
		if (delta)
			return;
		tear_down(NULL);
		set_up(NULL);
	}
}

static void proves_to_one_at_a_time(void **unused)
{
	struct fake *other = another();

	(void)unused;
	come_up_with(other, false);
	snprintf(other->token, sizeof(other->token), "unlike ours");
	fake_cut(f.fake);
	f.fake->refuse_upgrade = "token_expired";
	until(other->proofs == 1);
	assert_int_equal(other->bad_proofs, 0);
	until(fake_heard(other, "hello"));
}

static void backs_off_when_each_had_its_turn(void **unused)
{
	struct fake *other = another();
	unsigned before;

	(void)unused;
	come_up_with(other, false);
	f.fake->refuse_upgrade = other->refuse_upgrade = "unknown_agent";
	f.fake->refuse_proof = other->refuse_proof = "unknown_agent";
	fake_cut(f.fake);
	turn(60000);
	before = f.fake->connections + other->connections;
	turn(60000);
	assert_true(f.fake->connections + other->connections - before < 30);
	assert_true(other->connections > 0);
	assert_int_equal(f.rejections, 1);
}

static void silence_ends_a_connection(void **unused)
{
	uint64_t begin;

	(void)unused;
	come_up();
	turn(100);
	begin = clock_ms();
	f.fake->deaf = true;
	until(f.disconnects == 1);
	assert_in_range(clock_ms() - begin, 30000, 45000);
}

static void an_idle_connection_lives(void **unused)
{
	(void)unused;
	come_up();
	idle(600);
	assert_int_equal(f.disconnects, 0);
}

static void backs_off(void **unused)
{
	(void)unused;
	f.fake->refuse_upgrade = f.fake->refuse_proof = "unknown_agent";
	coord_start(f.coord);
	turn(3 * 60 * 1000);
	/* after 1, 2, 4 ... 32 s, then each minute: 9 attempts, give or take the jitter */
	assert_in_range(f.fake->proofs, 6, 14);
}

static void renews_after_two_thirds_of_its_life(void **unused)
{
	(void)unused;
	come_up();
	f.fake->expires_in = 90;
	fake_say(f.fake, "{\"type\":\"token\",\"token\":\"token-0\",\"expires_in\":90}");
	idle(55);
	assert_int_equal(f.fake->bearers, 0);
	turn(10000);
	assert_int_equal(f.fake->bearers, 1);
	idle(50);
	turn(15000);
	assert_int_equal(f.fake->bearers, 2);
	assert_int_equal(f.disconnects, 0);
}

static void deaf_server_does_not_hold_us(void **unused)
{
	(void)unused;
	f.fake->deaf = true;
	coord_start(f.coord);
	until(f.fake->connections == 1);
	turn(1100);
	f.fake->deaf = false;
	coord_retry_now(f.coord);
	until(fake_heard(f.fake, "hello"));
}

/* Frames that end the stream; then the next one begins without a place. */
static const char *const bad_frames[] = {
	"x",
	"[]",
	"7",
	"{}",
	"{\"type\":7}",
	"{\"type\":\"snapshot\"}",
	"{\"type\":\"snapshot\",\"epoch\":7,\"revision\":1,\"networks\":[],\"relays\":[],\"peers\":[]}",
	"{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":-1,\"networks\":[],\"relays\":[],\"peers\":[]}",
	"{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":1.5,\"networks\":[],\"relays\":[],\"peers\":[]}",
	"{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":1,\"networks\":{},\"relays\":[],\"peers\":[]}",
	"{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":1,\"networks\":[],\"relays\":[]}",
	"{\"type\":\"snapshot\",\"epoch\":\"E\",\"revision\":1,\"peers\":[],\"relays\":[],\"networks\":"
	"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}",
	"{\"type\":\"resume\",\"epoch\":\"other\",\"revision\":5}",
	"{\"type\":\"resume\",\"epoch\":\"E\",\"revision\":4}",
	"{\"type\":\"delta\",\"revision\":4,\"changes\":[]}",
	"{\"type\":\"delta\",\"revision\":6}",
	"{\"type\":\"delta\",\"revision\":6,\"changes\":{}}",
	"{\"type\":\"delta\",\"changes\":[]}",
	"{\"type\":\"signal\",\"from\":\"../b\",\"network\":\"default\",\"box\":\"aGk=\"}",
	"{\"type\":\"signal\",\"from\":\"b\",\"network\":\"$(id)\",\"box\":\"aGk=\"}",
	"{\"type\":\"signal\",\"from\":\"b\",\"network\":\"default\",\"box\":\"!\"}",
	"{\"type\":\"signal\",\"from\":\"b\",\"network\":\"default\",\"box\":\"\"}",
	"{\"type\":\"signal\",\"from\":\"b\",\"network\":\"default\"}",
	"{\"type\":\"token\",\"token\":\"a b\",\"expires_in\":5}",
	"{\"type\":\"token\",\"token\":\"a\\r\\nX: y\",\"expires_in\":5}",
	"{\"type\":\"token\",\"token\":\"ab\",\"expires_in\":0}",
	"{\"type\":\"token\",\"token\":\"ab\"}",
	"{\"type\":\"error\"}",
	"{\"type\":\"snapshot\",\"type\":\"resume\"}",
};

static void bad_frames_end_the_stream(void **unused)
{
	(void)unused;
	f.take = 5;
	come_up();
	for (size_t i = 0; i < ARRAY_SIZE(bad_frames); i++) {
		unsigned hellos = fake_count(f.fake, "hello"), lost = f.disconnects;

		fake_say(f.fake, bad_frames[i]);
		for (int k = 0; k < 200 && f.disconnects == lost; k++)
			turn(5);
		if (f.disconnects == lost)
			fail_msg("was taken: %s", bad_frames[i]);
		turn(1000);
		coord_retry_now(f.coord);
		until(fake_count(f.fake, "hello") == hellos + 1);
		assert_true(json_is_null(json_object_get(fake_heard(f.fake, "hello"), "epoch")));
		fake_say(f.fake, SNAPSHOT);
		until(coord_connected(f.coord));
		assert_int_equal(f.deltas + f.signals, 0);
		/* Time flies here where the machine is slow: the token may be a later one of the server's. */
		assert_memory_equal(f.state->token, "token-", strlen("token-"));
	}
}

static void delta_before_a_snapshot_ends_the_stream(void **unused)
{
	(void)unused;
	coord_start(f.coord);
	until(fake_heard(f.fake, "hello"));
	fake_say(f.fake, "{\"type\":\"delta\",\"revision\":6,\"changes\":[]}");
	until(!f.fake->stream);
	assert_int_equal(f.deltas + f.connects, 0);
}

static void broken_websocket_ends_the_stream(void **unused)
{
	static const uint8_t masked[] = {0x81, 0x82, 1, 2, 3, 4, 'a', 'b'}; /* a server must not mask */

	(void)unused;
	come_up();
	fake_raw(f.fake, masked, sizeof(masked));
	until(f.disconnects == 1);
}

static void huge_message_ends_the_stream(void **unused)
{
	static const uint8_t head[] = {0x81, 0x7f, 0, 0, 0, 1, 0, 0, 0, 0}; /* 4 GiB are announced */

	(void)unused;
	come_up();
	fake_raw(f.fake, head, sizeof(head));
	until(f.disconnects == 1);
}

static void unknown_frames_are_passed_over(void **unused)
{
	(void)unused;
	come_up();
	fake_say(f.fake, "{\"type\":\"weather\",\"rain\":true}");
	fake_say(f.fake, "{\"type\":\"error\",\"code\":\"peer_offline\",\"detail\":\"\\u001b[31m\",\"id\":1}");
	fake_say(f.fake, "{\"type\":\"delta\",\"revision\":6,\"changes\":[]}");
	until(f.deltas == 1);
	assert_int_equal(f.disconnects + f.rejections, 0);
}

static void revoked_in_the_stream(void **unused)
{
	(void)unused;
	come_up();
	fake_say(f.fake, "{\"type\":\"error\",\"code\":\"revoked\",\"detail\":\"gone\",\"id\":null}");
	until(f.rejections == 1);
	assert_string_equal(f.code, "revoked");
}

/* Half to one and a half of the wait, spread over all of it, and not the same in two agents. */
#define WAITS 200
static void draw_waits(uint64_t waits[WAITS])
{
	for (unsigned i = 0; i < WAITS; i++)
		waits[i] = coord_jittered(10000);
}

static void waits_are_spread(void **state)
{
	uint64_t ours[WAITS], theirs[WAITS] = {0};
	unsigned in_quarter[4] = {0};
	int ends[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		draw_waits(theirs);
		_exit(write(ends[1], theirs, sizeof(theirs)) != (ssize_t)sizeof(theirs));
	}
	draw_waits(ours);
	assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(ends[0]);
	close(ends[1]);
	assert_memory_not_equal(ours, theirs, sizeof(ours));
	for (unsigned i = 0; i < WAITS; i++) {
		assert_in_range(ours[i], 5000, 15000);
		in_quarter[MIN((ours[i] - 5000) / 2500, 3)]++;
	}
	for (unsigned i = 0; i < 4; i++)
		assert_true(in_quarter[i] > 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(greets_and_takes_a_snapshot),
		TEST(comes_back_where_it_left_off),
		TEST(asks_anew_when_the_owner_lost_its_place),
		TEST(passes_signals),
		TEST(proves_the_key_when_the_token_has_ended),
		TEST(proves_the_key_without_a_token),
		TEST(a_lost_answer_costs_nothing),
		TEST(renews_in_time),
		TEST(forgotten_agent_is_told_once_and_goes_on),
		TEST(a_changed_server_key_is_refused),
		TEST(a_server_with_another_pin_gets_nothing),
		TEST(learns_pins),
		TEST(good_bye_is_obeyed),
		TEST(network_change_finds_a_dead_connection),
		TEST(moves_to_another_address),
		TEST(goes_to_another_coordinator),
		TEST(proves_to_one_at_a_time),
		TEST(backs_off_when_each_had_its_turn),
		TEST(silence_ends_a_connection),
		TEST(an_idle_connection_lives),
		TEST(backs_off),
		cmocka_unit_test(waits_are_spread),
		TEST(renews_after_two_thirds_of_its_life),
		TEST(deaf_server_does_not_hold_us),
		TEST(bad_frames_end_the_stream),
		TEST(delta_before_a_snapshot_ends_the_stream),
		TEST(broken_websocket_ends_the_stream),
		TEST(huge_message_ends_the_stream),
		TEST(unknown_frames_are_passed_over),
		TEST(revoked_in_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
