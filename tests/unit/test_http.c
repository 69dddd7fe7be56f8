/*
 * HTTP messages: what is taken, what is refused and with which status, in one piece and in every
 * split; and the answers we write.
 */
#include "lib/clock.h"
#include "lib/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define HOST "Host: a\r\n"

struct wanted {
	const char *text;
	int status; /* 0: complete */
	const char *path, *query, *body;
	size_t left; /* bytes that belong to the next message */
};

static const struct wanted requests[] = {
	{"GET / HTTP/1.1\r\n" HOST "\r\n", 0, "/", NULL, "", 0},
	{"GET /a%20b?x=%2F&y HTTP/1.1\r\n" HOST "\r\n", 0, "/a b", "x=%2F&y", "", 0},
	{"GET http://A/p HTTP/1.1\r\n" HOST "\r\n", 0, "/p", NULL, "", 0},
	{"GET http://a HTTP/1.1\r\n" HOST "\r\n", 0, "/", NULL, "", 0},
	{"GET https://a?q HTTP/1.1\r\n" HOST "\r\n", 0, "/", "q", "", 0},
	{"GET https://b:8443/p HTTP/1.1\r\n" HOST "\r\n", 0, "/p", NULL, "", 0}, /* Host is not asked */
	{"GET HTTPS://[2001:db8::1]:8443/p?q HTTP/1.1\r\n" HOST "\r\n", 0, "/p", "q", "", 0},
	{"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 0, "*", NULL, "", 0},
	{"GET / HTTP/1.0\r\n\r\n", 0, "/", NULL, "", 0},
	{"POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 0, "/p", NULL, "hello", 0},
	{"POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhelloGET", 0, "/p", NULL, "hello", 3},
	{"POST /p HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0, "/p", NULL, "", 0},
	{"POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
	 "4\r\nwiki\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nmore", 0, "/p", NULL,
	 "wiki0123456789", 4},
	{"POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 0, "/p", NULL, "", 0},
	{"GET /a..b/.c HTTP/1.1\r\n" HOST "\r\n", 0, "/a..b/.c", NULL, "", 0},

	{"\r\nGET / HTTP/1.1\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\n" "Host: a\n\n", .status = 400},
	{"GET / HTTP/1.1\r\n" "Host: a\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" "Host: a\rb\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n\r\n", .status = 400},                                /* no Host */
	{"GET / HTTP/1.1\r\n" HOST "host: b\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" "Host: a/b\r\n\r\n", .status = 400},
	{"GET http://a/ HTTP/1.1\r\n\r\n", .status = 400},
	{"GET http://a/ HTTP/1.1\r\n" HOST "Host: a\r\n\r\n", .status = 400},
	{"GET http://a/ HTTP/1.1\r\n" "Host: a/b\r\n\r\n", .status = 400},
	{"GET http:///p HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET https://:8443/p HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET https://root@a/p HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET https://a,b/p HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET https://a/../p HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET ftp://a/p HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" "Host : a\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" HOST " folded\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" HOST ": empty\r\n\r\n", .status = 400},
	{"GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", .status = 400},
	{"GET  / HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET / x HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /\r\n\r\n", .status = 400},
	{"G\x07T / HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /\xC3\xA4 HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /# HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET a HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET * HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /a%2 HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /a%2Fb HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /a%00 HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /a/../b HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /a/%2e%2e HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET /. HTTP/1.1\r\n" HOST "\r\n", .status = 400},
	{"GET / HTTP/2.0\r\n" HOST "\r\n", .status = 400},
	{"GET / HTTP/1.1x\r\n" HOST "\r\n", .status = 400},
	{"GET / http/1.1\r\n" HOST "\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\na", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\na", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\na", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", .status = 413},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 65\r\n\r\n", .status = 413},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .status = 400},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4 \r\nwiki\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\nwiki", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\r\nwikiX", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n000000001\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n41\r\n", .status = 413},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\na\nb\r\n", .status = 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: tea\r\n\r\n", .status = 417},
};

static const struct http_limits small = {.head = 256, .headers = 4, .body = 64};

/* Feeds `len` bytes in pieces that end at `cut` and after each `step` bytes from there. */
static enum http_state feed(struct http_message *m, const char *text, size_t len, size_t cut,
			    size_t step, size_t *used)
{
	enum http_state state = HTTP_NEED_MORE;
	size_t at = 0, took;

	while (at < len && state == HTTP_NEED_MORE) {
		size_t piece = at < cut ? cut - at : MIN(step, len - at);
		char *copy = xmemdup(text + at, piece); /* so that ASan sees every overread */

		state = http_feed(m, copy, piece, &took);
		free(copy);
		at += took;
	}
	*used = at;
	return state;
}

static void check(const struct wanted *w, size_t cut, size_t step)
{
	size_t len = strlen(w->text), used;
	struct http_message m;
	enum http_state state;

	http_init(&m, &small, false);
	state = feed(&m, w->text, len, cut, step, &used);
	if (state != (w->status ? HTTP_BAD : HTTP_COMPLETE))
		fail_msg("%s: state %d, %s", w->text, state, m.reason ? m.reason : "");
	if (w->status) {
		if (m.status != w->status)
			fail_msg("%s: status %d (%s)", w->text, m.status, m.reason);
		assert_non_null(m.reason);
		assert_false(m.keep_alive);
	} else {
		assert_string_equal(m.path, w->path);
		if (w->query)
			assert_string_equal(m.query, w->query);
		else
			assert_null(m.query);
		assert_string_equal(buf_text(&m.body), w->body);
		assert_int_equal(len - used, w->left);
		assert_true(http_has_head(&m));
	}
	http_free(&m);
}

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		check(&requests[i], 0, SIZE_MAX);
}

static void test_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		for (size_t cut = 1; cut < strlen(requests[i].text); cut++)
			check(&requests[i], cut, SIZE_MAX);
		check(&requests[i], 0, 1);
	}
}

static void test_headers(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nx-a: \t one two \t\r\n"
				   "Connection: Upgrade , keep-alive\r\nEmpty:\r\n\r\n";
	struct http_message m;
	size_t used;

	(void)state;
	http_init(&m, NULL, false);
	assert_int_equal(http_feed(&m, text, strlen(text), &used), HTTP_COMPLETE);
	assert_string_equal(http_header(&m, "X-A"), "one two");
	assert_string_equal(http_header(&m, "empty"), "");
	assert_null(http_header(&m, "x"));
	assert_true(http_header_has(&m, "connection", "upgrade"));
	assert_true(http_header_has(&m, "connection", "keep-alive"));
	assert_false(http_header_has(&m, "connection", "keep"));
	assert_false(http_header_has(&m, "connection", "close"));
	assert_int_equal(http_feed(&m, "more", 4, &used), HTTP_COMPLETE);
	assert_int_equal(used, 0);
	http_free(&m);
}

static void test_host(void **state)
{
	static const struct {
		const char *text, *host;
	} cases[] = {
		{"GET / HTTP/1.1\r\n" HOST "\r\n", "a"},
		{"GET https://b:8443/p HTTP/1.1\r\n" HOST "\r\n", "b:8443"},
		{"GET https://[2001:db8::1]?q HTTP/1.1\r\n" HOST "\r\n", "[2001:db8::1]"},
		{"GET http://b/p HTTP/1.0\r\n\r\n", "b"},
	};
	struct http_message m;
	size_t used;

	(void)state;
	http_init(&m, NULL, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(http_feed(&m, cases[i].text, strlen(cases[i].text), &used),
				 HTTP_COMPLETE);
		assert_string_equal(m.host, cases[i].host);
		http_reset(&m);
		assert_null(m.host);
	}
	http_free(&m);
}

static void test_keep_alive(void **state)
{
	static const struct {
		const char *text;
		bool keep_alive;
	} cases[] = {
		{"GET / HTTP/1.1\r\n" HOST "\r\n", true},
		{"GET / HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n", false},
		{"GET / HTTP/1.0\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false},
	};
	struct http_message m;
	size_t used;

	(void)state;
	http_init(&m, NULL, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(http_feed(&m, cases[i].text, strlen(cases[i].text), &used),
				 HTTP_COMPLETE);
		assert_int_equal(m.keep_alive, cases[i].keep_alive);
		http_reset(&m);
	}
	http_free(&m);
}

static void test_expect(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
				   "Expect: 100-continue\r\n\r\n";
	struct http_message m;
	size_t used;

	(void)state;
	http_init(&m, NULL, false);
	assert_false(http_has_head(&m));
	assert_int_equal(http_feed(&m, text, strlen(text), &used), HTTP_NEED_MORE);
	assert_true(http_has_head(&m));
	assert_true(m.expect_continue);
	assert_int_equal(http_feed(&m, "ok", 2, &used), HTTP_COMPLETE);
	http_free(&m);
}

static void test_limits(void **state)
{
	struct http_message m;
	char text[400];
	size_t used;

	(void)state;
	http_init(&m, &small, false);
	memset(text, 'a', sizeof(text));
	assert_int_equal(http_feed(&m, text, sizeof(text), &used), HTTP_BAD);
	assert_int_equal(m.status, 414);
	http_reset(&m);
	memcpy(text, "GET / HTTP/1.1\r\n", 16);
	assert_int_equal(http_feed(&m, text, sizeof(text), &used), HTTP_BAD);
	assert_int_equal(m.status, 431);
	http_reset(&m);
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n");
	assert_int_equal(http_feed(&m, text, strlen(text), &used), HTTP_BAD);
	assert_int_equal(m.status, 431);
	http_free(&m);
}

/* Sixteen chunks of four bytes are 64, the limit; one more byte is too much. */
static void test_chunks_have_a_limit(void **state)
{
	struct http_message m;
	size_t used;

	(void)state;
	http_init(&m, &small, false);
	http_feed(&m, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 56, &used);
	for (int i = 0; i < 16; i++)
		assert_int_equal(http_feed(&m, "4\r\nwiki\r\n", 9, &used), HTTP_NEED_MORE);
	assert_int_equal(http_feed(&m, "1\r\n", 3, &used), HTTP_BAD);
	assert_int_equal(m.status, 413);
	http_free(&m);
}

static void test_responses(void **state)
{
	static const struct wanted cases[] = {
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00", 101, .left = 1},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, .body = "ok"},
		{"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, .body = "ok"},
		{"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", .status = 304},
		{"HTTP/1.1 20 OK\r\n\r\n", .status = -1},
		{"HTTP/1.1 2000 OK\r\n\r\n", .status = -1},
		{"SSH-2.0-OpenSSH\r\n\r\n", .status = -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t cut = 0; cut < strlen(cases[i].text); cut++) {
			struct http_message m;
			size_t used;
			enum http_state got;

			http_init(&m, NULL, true);
			got = feed(&m, cases[i].text, strlen(cases[i].text), cut, SIZE_MAX, &used);
			assert_int_equal(got, cases[i].status < 0 ? HTTP_BAD : HTTP_COMPLETE);
			if (cases[i].status > 0) {
				assert_int_equal(m.status, cases[i].status);
				assert_string_equal(buf_text(&m.body), cases[i].body ? cases[i].body : "");
			}
			http_free(&m);
		}
	}
}

static void test_writing(void **state)
{
	struct buf out = {0};

	(void)state;
	clock_set_fake(1000, 784111777000);
	http_write_response(&out, 200, "X: y\r\n", "text/plain", "hello", 5, true, false);
	assert_string_equal(buf_text(&out),
			    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			    "Content-Length: 5\r\nContent-Type: text/plain\r\nX: y\r\n\r\nhello");
	buf_free(&out);
	http_write_response(&out, 413, NULL, NULL, "hello", 5, false, true);
	assert_string_equal(buf_text(&out),
			    "HTTP/1.1 413 Content Too Large\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			    "Content-Length: 5\r\nConnection: close\r\n\r\n");
	buf_free(&out);
	http_write_response(&out, 204, NULL, NULL, NULL, 0, true, false);
	assert_string_equal(buf_text(&out),
			    "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
	buf_free(&out);
	clock_set_fake(0, 0);
}

static void test_accept_key(void **state)
{
	char out[29];

	(void)state;
	ws_accept_key(out, "dGhlIHNhbXBsZSBub25jZQ=="); /* RFC 6455 1.3 */
	assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	ws_accept_key(out, "");
	assert_string_equal(out, "Kfh9QIsMVZcl6xEPYxPHzW8SZ8w=");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_expect),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_chunks_have_a_limit),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_writing),
		cmocka_unit_test(test_accept_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
