/*
 * test_fetch.c - fetch against a small TLS server in this process: one thread a connection, whose
 * behaviour is chosen by the request's path. A line "STREAM" makes it an echo.
 */
#include "fetch.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static SSL_CTX *context;
static char pin[44];
static uint16_t port;
static int listener;
static pthread_t accepting;

/* ---- the server ------------------------------------------------------------------- */

static void make_certificate(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	unsigned char *der = NULL, hash[32];
	char *text;
	int len;

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	len = i2d_PUBKEY(key, &der);
	EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL);
	text = base64url_encode(hash, sizeof(hash));
	str_copy(pin, sizeof(pin), text);
	free(text);
	OPENSSL_free(der);
	context = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(context, cert);
	SSL_CTX_use_PrivateKey(context, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void say(SSL *ssl, const char *text)
{
	SSL_write(ssl, text, (int)strlen(text));
}

static void send_big(SSL *ssl)
{
	char block[1000];

	memset(block, 'x', sizeof(block));
	say(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
	for (int i = 0; i < 100; i++)
		SSL_write(ssl, block, sizeof(block));
}

static void echo(SSL *ssl, const char *first, size_t first_len)
{
	char data[16384];
	int len;

	if (first_len)
		SSL_write(ssl, first, (int)first_len);
	while ((len = SSL_read(ssl, data, sizeof(data))) > 0) {
		if (len == 4 && !memcmp(data, "quit", 4))
			return;
		SSL_write(ssl, data, len);
	}
}

/* false: close the connection */
static bool answer(SSL *ssl, const char *request)
{
	const char *body = strstr(request, "\r\n\r\n") + 4;
	char text[600];

	if (!strncmp(request, "GET /ok ", 8)) {
		say(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
		return true;
	}
	if (!strncmp(request, "PUT /echo ", 10)) {
		snprintf(text, sizeof(text), "HTTP/1.1 201 Made\r\nContent-Length: %zu\r\n\r\n%.500s%s",
			 strlen(body) + (strstr(request, "X-Test: 7") ? 1 : 0), body,
			 strstr(request, "X-Test: 7") ? "7" : "");
		say(ssl, text);
		return true;
	}
	if (!strncmp(request, "GET /cut ", 9))
		say(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
	else if (!strncmp(request, "GET /big ", 9))
		send_big(ssl);
	else if (!strncmp(request, "GET /garbage ", 13))
		say(ssl, "220 mail.example.net ESMTP\r\n");
	else if (!strncmp(request, "GET /slow ", 10))
		SSL_read(ssl, text, 1);
	return false;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	SSL *ssl = SSL_new(context);
	char data[4096];
	int len;

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) <= 0)
		goto out;
	while ((len = SSL_read(ssl, data, sizeof(data) - 1)) > 0) {
		data[len] = '\0';
		if (!strncmp(data, "STREAM\n", 7))
			echo(ssl, data + 7, (size_t)len - 7);
		else if (answer(ssl, data))
			continue;
		break;
	}
out:
	SSL_shutdown(ssl);
	SSL_free(ssl);
	shutdown(fd, SHUT_RDWR);
	return NULL;
}

static void *accept_all(void *arg)
{
	pthread_t threads[200];
	int fds[200];
	size_t count = 0;

	while ((fds[count] = accept(listener, NULL, NULL)) >= 0) {
		if (pthread_create(&threads[count], NULL, serve, (void *)(intptr_t)fds[count]) ||
		    ++count == ARRAY_SIZE(fds))
			abort();
	}
	while (count--) {
		shutdown(fds[count], SHUT_RDWR); /* of a case that failed and has closed nothing */
		pthread_join(threads[count], NULL);
		close(fds[count]);
	}
	return arg;
}

static int start_server(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	make_certificate();
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&at, &len))
		return -1;
	port = ntohs(at.sin_port);
	return pthread_create(&accepting, NULL, accept_all, NULL);
}

/* OpenSSL frees its locks at exit: a thread that still shook hands would use them. */
static int stop_server(void **state)
{
	(void)state;
	shutdown(listener, SHUT_RDWR);
	pthread_join(accepting, NULL);
	close(listener);
	SSL_CTX_free(context);
	return 0;
}

/* ---- requests ----------------------------------------------------------------------- */

struct seen {
	struct loop *loop;
	int calls, error, status;
	char why[600], body[300];
	size_t len;
};

static void on_answer(void *arg, const struct fetch_answer *a)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->error = a->error;
	seen->status = a->status;
	seen->len = a->body->len;
	str_copy(seen->why, sizeof(seen->why), a->why);
	str_copy(seen->body, sizeof(seen->body), buf_text(a->body));
	loop_stop(seen->loop);
}

struct seen_case {
	const char *name, *path;
	const char *pins[3];
	bool closed_port;
	uint64_t timeout_ms;
	size_t max;
	int error, status;
	const char *text; /* in the body, or in the sentence */
};

#define OTHER_PIN "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static const struct seen_case cases[] = {
	{"right pin", "/ok", {pin}, .status = 200, .text = "hello"},
	{"one of two pins", "/ok", {OTHER_PIN, pin}, .status = 200, .text = "hello"},
	{"wrong pin", "/ok", {OTHER_PIN}, .error = -EKEYREJECTED, .text = "not the pinned one"},
	{"pin that is none", "/ok", {"what"}, .error = -EKEYREJECTED, .text = "not the pinned one"},
	{"no pin, self-made", "/ok", {NULL}, .error = -EKEYREJECTED, .text = "not trusted"},
	{"closed port", "/ok", {pin}, .closed_port = true, .error = -ECONNREFUSED, .text = "refused"},
	{"cut off", "/cut", {pin}, .error = -ECONNRESET, .status = 200, .text = "cut off"},
	{"nothing", "/nothing", {pin}, .error = -ECONNRESET, .text = "without an answer"},
	{"not HTTP", "/garbage", {pin}, .error = -EPROTO, .text = "not HTTP"},
	{"too big", "/big", {pin}, .max = 5000, .error = -EFBIG, .status = 200, .text = "larger than"},
	{"no answer", "/slow", {pin}, .timeout_ms = 200, .error = -ETIMEDOUT, .text = "no answer in time"},
};

static uint16_t closed_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	bind(fd, (struct sockaddr *)&at, sizeof(at));
	getsockname(fd, (struct sockaddr *)&at, &len);
	close(fd);
	return ntohs(at.sin_port);
}

static void test_requests(void **state)
{
	struct loop *loop = loop_new();
	struct fetch *fetch;

	(void)state;
	assert_int_equal(fetch_new(&fetch, loop), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct seen_case *c = &cases[i];
		struct fetch_trust trust = {.pins = c->pins[0] ? c->pins : NULL};
		struct seen seen = {.loop = loop};
		char url[100];

		snprintf(url, sizeof(url), "https://127.0.0.1:%u%s",
			 c->closed_port ? closed_port() : port, c->path);
		fetch_start(fetch, &trust,
			    &(struct fetch_request){.method = "GET", .url = url, .max_answer = c->max,
						    .timeout_ms = c->timeout_ms},
			    on_answer, &seen);
		loop_run(loop);
		assert_int_equal(seen.calls, 1);
		assert_int_equal(seen.error, c->error);
		assert_int_equal(seen.status, c->status);
		assert_non_null(strstr(c->error ? seen.why : seen.body, c->text));
	}
	fetch_free(fetch);
	loop_free(loop);
}

static void test_body_and_headers(void **state)
{
	const char *pins[] = {pin, NULL}, *headers[] = {"X-Test: 7", NULL};
	struct fetch_trust trust = {.pins = pins};
	struct loop *loop = loop_new();
	struct seen seen = {.loop = loop};
	struct fetch *fetch;
	char url[100];

	(void)state;
	fetch_new(&fetch, loop);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/echo", port);
	fetch_start(fetch, &trust,
		    &(struct fetch_request){.method = "PUT", .url = url, .headers = headers,
					    .body = "{\"a\":1}", .body_len = 7},
		    on_answer, &seen);
	loop_run(loop);
	assert_int_equal(seen.error, 0);
	assert_int_equal(seen.status, 201);
	assert_string_equal(seen.body, "{\"a\":1}7");
	fetch_free(fetch);
	loop_free(loop);
}

static void test_bad_urls(void **state)
{
	static const char *const urls[] = {"http://127.0.0.1/", "file:///etc/passwd", "nonsense:", ""};
	struct loop *loop = loop_new();
	struct fetch *fetch;

	(void)state;
	fetch_new(&fetch, loop);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct seen seen = {.loop = loop};

		fetch_start(fetch, NULL, &(struct fetch_request){.method = "GET", .url = urls[i]},
			    on_answer, &seen);
		loop_run(loop);
		assert_int_equal(seen.calls, 1);
		assert_true(seen.error < 0);
	}
	fetch_free(fetch);
	loop_free(loop);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void test_cancelled_is_silent(void **state)
{
	struct loop *loop = loop_new();
	struct seen seen = {.loop = loop};
	struct loop_timer timer;
	struct fetch_call *call;
	struct fetch *fetch;
	char url[100];

	(void)state;
	fetch_new(&fetch, loop);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/slow", port);
	call = fetch_start(fetch, NULL, &(struct fetch_request){.method = "GET", .url = url},
			   on_answer, &seen);
	fetch_start(fetch, NULL, &(struct fetch_request){.method = "GET", .url = url}, on_answer, &seen);
	timer_init(&timer, loop, stop, loop);
	timer_start(&timer, 20);
	fetch_cancel(call);
	fetch_free(fetch); /* and the other one */
	loop_run(loop);
	assert_int_equal(seen.calls, 0);
	loop_free(loop);
}

static void on_answer_free(void *arg, const struct fetch_answer *a)
{
	struct fetch **fetch = arg;

	assert_int_equal(a->error, -EKEYREJECTED);
	fetch_free(*fetch);
	*fetch = NULL;
}

static void test_freed_in_a_callback(void **state)
{
	struct loop *loop = loop_new();
	struct fetch *fetch;
	char url[100];

	(void)state;
	fetch_new(&fetch, loop);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/ok", port);
	fetch_start(fetch, NULL, &(struct fetch_request){.method = "GET", .url = url}, on_answer_free,
		    &fetch);
	loop_run(loop); /* ends when nothing is left to wait for */
	assert_null(fetch);
	loop_free(loop);
}

/* ---- streams -------------------------------------------------------------------------- */

struct talk {
	struct loop *loop;
	struct fetch *fetch;
	struct fetch_stream *stream;
	size_t sent, got;
	int opened, closed, error;
	char why[600];
	bool close_at_first, quit;
};

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 31 >> 3);
}

static void talk_opened(void *arg)
{
	struct talk *talk = arg;
	uint8_t data[1000];

	talk->opened++;
	assert_int_equal(fetch_stream_write(talk->stream, "STREAM\n", 7), 0);
	while (talk->sent < 1000000) { /* many times what a socket takes */
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = pattern(talk->sent + i);
		assert_int_equal(fetch_stream_write(talk->stream, data, sizeof(data)), 0);
		talk->sent += sizeof(data);
	}
}

static void talk_data(void *arg, const uint8_t *data, size_t len)
{
	struct talk *talk = arg;

	for (size_t i = 0; i < len; i++)
		assert_int_equal(data[i], pattern(talk->got + i));
	talk->got += len;
	if (talk->close_at_first) {
		fetch_stream_close(talk->stream);
		loop_stop(talk->loop);
	} else if (talk->got == talk->sent && talk->quit) {
		fetch_stream_write(talk->stream, "quit", 4);
	} else if (talk->got == talk->sent) {
		loop_stop(talk->loop);
	}
}

static void talk_closed(void *arg, int error, const char *why)
{
	struct talk *talk = arg;

	talk->closed++;
	talk->error = error;
	str_copy(talk->why, sizeof(talk->why), why);
	loop_stop(talk->loop);
}

static const struct fetch_stream_ops talk_ops = {talk_opened, talk_data, talk_closed};

static void talk_start(struct talk *talk, const char *const *pins)
{
	struct fetch_trust trust = {.pins = pins};
	char url[100];

	talk->loop = loop_new();
	fetch_new(&talk->fetch, talk->loop);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", port);
	talk->stream = fetch_dial(talk->fetch, &trust, url, &talk_ops, talk);
}

static void talk_end(struct talk *talk)
{
	fetch_free(talk->fetch);
	loop_free(talk->loop);
}

static void test_stream(void **state)
{
	const char *pins[] = {pin, NULL};
	struct talk talk = {.quit = true};

	(void)state;
	talk_start(&talk, pins);
	loop_run(talk.loop);
	assert_int_equal(talk.opened, 1);
	assert_int_equal(talk.got, 1000000);
	assert_int_equal(talk.closed, 1); /* the server's end */
	assert_int_equal(talk.error, -ECONNRESET);
	talk_end(&talk);
}

static void test_stream_beside_requests(void **state)
{
	const char *pins[] = {pin, NULL};
	struct fetch_trust trust = {.pins = pins};
	struct talk talk = {0};
	char url[100];

	(void)state;
	talk_start(&talk, pins);
	loop_run(talk.loop);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/ok", port);
	for (int i = 0; i < 8; i++) {
		struct seen seen = {.loop = talk.loop};

		fetch_start(talk.fetch, &trust, &(struct fetch_request){.method = "GET", .url = url},
			    on_answer, &seen);
		loop_run(talk.loop);
		assert_int_equal(seen.status, 200);
	}
	assert_int_equal(talk.closed, 0);
	talk.got = 0;
	talk.sent = 3;
	fetch_stream_write(talk.stream, (uint8_t[]){pattern(0), pattern(1), pattern(2)}, 3);
	loop_run(talk.loop);
	assert_int_equal(talk.got, 3);
	talk_end(&talk);
}

static void test_stream_closed_in_its_callback(void **state)
{
	const char *pins[] = {pin, NULL};
	struct talk talk = {.close_at_first = true};

	(void)state;
	talk_start(&talk, pins);
	loop_run(talk.loop);
	assert_int_equal(talk.closed, 0);
	assert_true(talk.got > 0);
	talk_end(&talk);
}

static void test_stream_wrong_pin(void **state)
{
	const char *pins[] = {OTHER_PIN, NULL};
	struct talk talk = {0};

	(void)state;
	talk_start(&talk, pins);
	loop_run(talk.loop);
	assert_int_equal(talk.opened, 0);
	assert_int_equal(talk.closed, 1);
	assert_int_equal(talk.error, -EKEYREJECTED);
	talk_end(&talk);
}

static void test_stream_queue_is_bounded(void **state)
{
	const char *pins[] = {pin, NULL};
	struct talk talk = {0};
	uint8_t data[4096] = {0};
	size_t taken = 0;

	(void)state;
	talk_start(&talk, pins);
	while (taken < 10u << 20 && !fetch_stream_write(talk.stream, data, sizeof(data)))
		taken += sizeof(data);
	assert_int_equal(taken, 1u << 20);
	fetch_stream_close(talk.stream);
	talk_end(&talk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_body_and_headers),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_cancelled_is_silent),
		cmocka_unit_test(test_freed_in_a_callback),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_stream_beside_requests),
		cmocka_unit_test(test_stream_closed_in_its_callback),
		cmocka_unit_test(test_stream_wrong_pin),
		cmocka_unit_test(test_stream_queue_is_bounded),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
