/*
 * WebSocket, both ends against each other in every split, and raw frames a stranger may send.
 */
#include "lib/ws.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define MAX_MESSAGE 100
#define NO_CODE     1005 /* RFC 6455 7.1.5: a close frame without one */

struct end {
	struct ws *ws;
	struct buf got; /* messages, each with a '|' behind it */
	bool echo;
};

static void on_message(void *arg, const char *text, size_t len)
{
	struct end *end = arg;

	buf_add(&end->got, text, len);
	buf_puts(&end->got, "|");
	if (end->echo)
		assert_int_equal(ws_send(end->ws, text, len), 0);
}

static void open_end(struct end *end, bool is_server)
{
	*end = (struct end){.ws = ws_new(is_server, MAX_MESSAGE, on_message, end)};
}

static void close_end(struct end *end)
{
	ws_free(end->ws);
	buf_free(&end->got);
}

/* Moves what `from` has to say, first `cut` bytes, then the rest; returns the last ws_feed. */
static int move(struct end *from, struct end *to, size_t cut)
{
	struct buf *out = ws_output(from->ws);
	int result = 0;

	while (out->len && !result) {
		size_t len = cut && cut < out->len ? cut : out->len;
		uint8_t *copy = xmemdup(out->data, len);

		cut = 0;
		buf_consume(out, len);
		result = ws_feed(to->ws, copy, len);
		free(copy);
	}
	return result;
}

static void test_messages_in_every_split(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < 40; cut++) {
		struct end server, client;

		open_end(&server, true);
		open_end(&client, false);
		server.echo = true;
		assert_int_equal(ws_send(client.ws, "hello", 5), 0);
		assert_int_equal(ws_send(client.ws, "", 0), 0);
		assert_int_equal(ws_ping(client.ws), 0);
		assert_int_equal(ws_send(client.ws, "w\xC3\xB6rld", 6), 0);
		assert_int_equal(move(&client, &server, cut), 0);
		assert_string_equal(buf_text(&server.got), "hello||w\xC3\xB6rld|");
		assert_int_equal(move(&server, &client, cut), 0);
		assert_string_equal(buf_text(&client.got), "hello||w\xC3\xB6rld|");
		assert_int_equal(ws_last_pong(client.ws), 1);
		assert_false(ws_closed(client.ws));
		close_end(&server);
		close_end(&client);
	}
}

/* Pongs that nobody asked for count for the interval they came in, and for no other. */
static void test_watch(void **state)
{
	static const uint8_t pong[] = {0x8A, 0x80, 1, 2, 3, 4}; /* masked, empty */
	struct end server, client;
	struct ws_watch watch = {0};

	(void)state;
	open_end(&server, true);
	open_end(&client, false);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(ws_watch_ping(&watch, server.ws));
		assert_int_equal(move(&server, &client, 0), 0);
		assert_int_equal(move(&client, &server, 0), 0);
	}
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(ws_feed(server.ws, pong, sizeof(pong)), 0);
	assert_true(ws_watch_ping(&watch, server.ws));
	assert_true(ws_watch_ping(&watch, server.ws));
	assert_false(ws_watch_ping(&watch, server.ws));
	close_end(&server);
	close_end(&client);
}

static void test_closing(void **state)
{
	struct end server, client;

	(void)state;
	open_end(&server, true);
	open_end(&client, false);
	assert_int_equal(ws_close(server.ws, 1001, "going away"), 0);
	assert_int_equal(ws_send(server.ws, "late", 4), -EPIPE);
	assert_false(ws_closed(server.ws));
	assert_int_equal(move(&server, &client, 0), 0);
	assert_true(ws_closed(client.ws)); /* its answer is on the way */
	assert_int_equal(move(&client, &server, 0), 0);
	assert_true(ws_closed(server.ws));
	close_end(&server);
	close_end(&client);
}

static void test_too_large(void **state)
{
	struct end server, client;
	char text[MAX_MESSAGE + 1];

	(void)state;
	memset(text, 'x', sizeof(text));
	open_end(&server, true);
	open_end(&client, false);
	ws_send(client.ws, text, MAX_MESSAGE);
	assert_int_equal(move(&client, &server, 0), 0);
	assert_int_equal(server.got.len, MAX_MESSAGE + 1);
	ws_send(client.ws, text, sizeof(text));
	assert_int_equal(move(&client, &server, 0), -EPROTO);
	assert_int_equal(server.got.len, MAX_MESSAGE + 1);
	assert_memory_equal(ws_output(server.ws)->data, "\x88\x02\x03\xF1", 4); /* 1009 */
	close_end(&server);
	close_end(&client);
}

/* Frames to a server, masked with zeroes; what it answers with (a close frame's code, 0: none). */
static void test_strange_frames(void **state)
{
	static const struct {
		const char *name;
		size_t len;
		const char *frames, *got;
		unsigned code;
	} cases[] = {
		{"text", 8, "\x81\x82\0\0\0\0hi", "hi|", 0},
		{"fragments", 16, "\x01\x82\0\0\0\0hi" "\x80\x82\0\0\0\0ho", "hiho|", 0},
		{"ping between fragments", 22, "\x01\x82\0\0\0\0hi" "\x89\x80\0\0\0\0" "\x80\x82\0\0\0\0ho",
		 "hiho|", 0},
		{"not masked", 4, "\x81\x02hi", "", 1002},
		{"reserved bit", 8, "\xC1\x82\0\0\0\0hi", "", 1002},
		{"unknown opcode", 8, "\x83\x82\0\0\0\0hi", "", 1002},
		{"fragmented ping", 6, "\x09\x80\0\0\0\0", "", 1002},
		{"ping of 126 bytes", 8, "\x89\xFE\0\x7E\0\0\0\0", "", 1002},
		{"text, then a fragmented ping", 14, "\x81\x82\0\0\0\0hi\x09\x80\0\0\0\0", "hi|", 1002},
		{"continuation of nothing", 8, "\x80\x82\0\0\0\0hi", "", 1002},
		{"length in too many bytes", 10, "\x81\xFE\0\x02\0\0\0\0hi", "", 1002},
		{"length beyond 63 bits", 14, "\x81\xFF\x80\0\0\0\0\0\0\0\0\0\0\0", "", 1002},
		{"more than allowed", 15, "\x81\xFF\0\0\0\0\0\x01\0\0\0\0\0\0x", "", 1009},
		{"binary", 8, "\x82\x82\0\0\0\0hi", "", 1003},
		{"not UTF-8", 8, "\x81\x82\0\0\0\0\xC3\x28", "", 1007},
		{"close with code 1", 8, "\x88\x82\0\0\0\0\0\x01", "", 1002},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t cut = 1; cut <= cases[i].len; cut++) {
			struct end server;
			struct buf *out;
			unsigned code = 0;
			int result;

			open_end(&server, true);
			result = ws_feed(server.ws, cases[i].frames, cut);
			if (!result)
				result = ws_feed(server.ws, cases[i].frames + cut, cases[i].len - cut);
			out = ws_output(server.ws);
			if (out->len == 2 && out->data[0] == 0x88)
				code = NO_CODE;
			else if (out->len >= 4 && out->data[0] == 0x88)
				code = (unsigned)(out->data[2] << 8 | out->data[3]);
			if (code != cases[i].code || !result != !cases[i].code ||
			    strcmp(buf_text(&server.got), cases[i].got))
				fail_msg("%s, cut at %zu: result %d, code %u, got %s", cases[i].name, cut,
					 result, code, buf_text(&server.got));
			if (result)
				assert_int_equal(ws_feed(server.ws, "\x81\x80\0\0\0\0", 6), -EPROTO);
			assert_string_equal(buf_text(&server.got), cases[i].got);
			close_end(&server);
		}
	}
}

static void on_large(void *arg, const char *text, size_t len)
{
	(void)text;
	*(size_t *)arg = len;
}

/* Both roles, around the places where the length takes more bytes. */
static void test_lengths(void **state)
{
	static const size_t lengths[] = {0, 125, 126, 127, 65535, 65536, 200000};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(lengths); i++) {
		size_t len = lengths[i / 2], got = SIZE_MAX;
		bool from_server = i % 2;
		struct ws *from = ws_new(from_server, 1 << 20, on_large, &got);
		struct ws *to = ws_new(!from_server, 1 << 20, on_large, &got);
		char *text = xmalloc(len + 1);

		memset(text, 'x', len);
		assert_int_equal(ws_send(from, text, len), 0);
		assert_int_equal(ws_feed(to, ws_output(from)->data, ws_output(from)->len), 0);
		assert_int_equal(got, len);
		free(text);
		ws_free(from);
		ws_free(to);
	}
}

static void test_output_has_a_limit(void **state)
{
	size_t len = 1024 * 1024;
	char *text = xcalloc(1, len);

	(void)state;
	memset(text, 'x', len);
	for (int is_server = 0; is_server < 2; is_server++) {
		struct end end;
		int result = 0;

		open_end(&end, is_server);
		for (int i = 0; i < 20 && !result; i++)
			result = ws_send(end.ws, text, len);
		assert_int_equal(result, -ENOBUFS);
		assert_true(ws_closed(end.ws));
		assert_int_equal(ws_send(end.ws, text, 1), -EPIPE);
		close_end(&end);
	}
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_in_every_split), cmocka_unit_test(test_watch),
		cmocka_unit_test(test_closing),
		cmocka_unit_test(test_too_large),               cmocka_unit_test(test_strange_frames),
		cmocka_unit_test(test_lengths),                 cmocka_unit_test(test_output_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
