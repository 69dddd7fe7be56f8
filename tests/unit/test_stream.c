/*
 * Streams over socket pairs on a fake clock, plain and TLS: bytes both ways, what is left standing,
 * limits, every way to end; certificates that we make, their pin, and reloading them.
 */
#include "lib/clock.h"
#include "lib/seal.h"
#include "lib/str.h"
#include "lib/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDLE_MS 30000

struct fixture {
	struct loop *loop;
	struct stream *stream; /* NULL once closed */
	int client;
	struct buf got;
	size_t take; /* bytes data() takes at most */
	unsigned drained;
	const char *reason;
	void (*on_data)(struct fixture *f); /* what else data() does */
};

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct fixture *f = arg;
	size_t take = MIN(len, f->take);

	buf_add(&f->got, data, take);
	if (f->on_data)
		f->on_data(f);
	return take;
}

static void on_drained(void *arg)
{
	((struct fixture *)arg)->drained++;
}

static void on_closed(void *arg, const char *reason)
{
	struct fixture *f = arg;

	f->stream = NULL;
	f->reason = reason;
}

static void begin(struct fixture *f, struct tls_server *tls)
{
	static const struct stream_ops ops = {on_data, on_drained, on_closed};
	int fds[2];

	clock_set_fake(1000, 1000);
	*f = (struct fixture){.loop = loop_new(), .take = SIZE_MAX};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	f->client = fds[1];
	f->stream = stream_new(f->loop, fds[0], tls, &ops, f, IDLE_MS);
}

static void finish(struct fixture *f)
{
	if (f->stream) {
		stream_abort(f->stream);
		loop_run_fake(f->loop, 1);
	}
	assert_null(f->stream);
	close(f->client);
	loop_free(f->loop);
	buf_free(&f->got);
	clock_set_fake(0, 0);
}

static void run(struct fixture *f)
{
	loop_run_fake(f->loop, 0);
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->client, text, strlen(text)), strlen(text));
	run(f);
}

/* Reads from the client's end until nothing comes; returns how many bytes, -1: the end. */
static ssize_t hear(struct fixture *f, char *out, size_t size)
{
	size_t len = 0;
	ssize_t got;

	do {
		run(f);
		got = read(f->client, out + len, size - 1 - len);
		if (got > 0)
			len += (size_t)got;
	} while (got > 0);
	out[len] = 0;
	return got < 0 || len ? (ssize_t)len : -1;
}

static void test_both_ways(void **state)
{
	struct fixture f;
	char text[64];

	(void)state;
	begin(&f, NULL);
	say(&f, "hel");
	say(&f, "lo");
	assert_string_equal(buf_text(&f.got), "hello");
	assert_int_equal(stream_write(f.stream, "wor", 3), 0);
	assert_int_equal(stream_write(f.stream, "ld", 2), 0);
	assert_int_equal(stream_queued(f.stream), 5);
	assert_int_equal(read(f.client, text, sizeof(text)), -1); /* gathered until the wake's end */
	assert_int_equal(hear(&f, text, sizeof(text)), 5);
	assert_string_equal(text, "world");
	assert_int_equal(f.drained, 1);
	finish(&f);
	assert_string_equal(f.reason, "closed by us");
}

static void test_much_output(void **state)
{
	size_t len = 1024 * 1024;
	char *data = xmalloc(len), *heard = xmalloc(len + 1);
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7 + i / 1000);
	begin(&f, NULL);
	assert_int_equal(stream_write(f.stream, data, len), 0);
	stream_close(f.stream);
	assert_int_equal(stream_write(f.stream, data, 1), -EPIPE);
	assert_int_equal(hear(&f, heard, len + 1), len);
	assert_memory_equal(data, heard, len);
	assert_non_null(f.stream); /* lingers until the other end closes too */
	shutdown(f.client, SHUT_WR);
	run(&f);
	assert_null(f.stream);
	assert_string_equal(f.reason, "closed");
	finish(&f);
	free(data);
	free(heard);
}

static void test_queue_limit(void **state)
{
	struct fixture f;
	char data[1000] = {0};

	(void)state;
	begin(&f, NULL);
	stream_set_limit(f.stream, 1500);
	assert_int_equal(stream_write(f.stream, data, 1000), 0);
	assert_int_equal(stream_write(f.stream, data, 1000), -ENOBUFS);
	assert_int_equal(stream_write(f.stream, data, 1), -EPIPE);
	assert_non_null(f.stream); /* never from inside a call */
	run(&f);
	assert_null(f.stream);
	assert_string_equal(f.reason, "the other end reads too slowly");
	finish(&f);
}

static void test_left_standing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, NULL);
	f.take = 2;
	say(&f, "abcdefg");
	assert_string_equal(buf_text(&f.got), "ab");
	say(&f, "h");
	assert_string_equal(buf_text(&f.got), "abcd");
	f.take = 3;
	stream_resume(f.stream);
	assert_string_equal(buf_text(&f.got), "abcd");
	run(&f);
	assert_string_equal(buf_text(&f.got), "abcdefg");
	stream_resume(f.stream);
	run(&f);
	assert_string_equal(buf_text(&f.got), "abcdefgh");
	stream_resume(f.stream);
	run(&f);
	assert_string_equal(buf_text(&f.got), "abcdefgh");
	finish(&f);
}

/* Who takes nothing is not read for: the sender's end fills up. */
static void test_stops_reading(void **state)
{
	char block[4096] = {0};
	struct fixture f;
	size_t sent = 0;
	ssize_t now;

	(void)state;
	begin(&f, NULL);
	f.take = 0;
	while ((now = write(f.client, block, sizeof(block))) > 0) {
		sent += (size_t)now;
		assert_in_range(sent, 0, 8 * 1024 * 1024);
		run(&f);
	}
	assert_int_equal(errno, EAGAIN);
	f.take = SIZE_MAX;
	stream_resume(f.stream);
	for (int i = 0; i < 100; i++)
		run(&f);
	assert_int_equal(f.got.len, sent);
	finish(&f);
}

static void answer_and_close(struct fixture *f)
{
	stream_write(f->stream, "413", 3);
	stream_close(f->stream);
}

/* An answer to one who is still sending arrives. */
static void test_early_answer(void **state)
{
	char block[4096] = {0}, text[16];
	struct fixture f;

	(void)state;
	begin(&f, NULL);
	f.on_data = answer_and_close;
	for (int i = 0; i < 500; i++) {
		assert_int_equal(write(f.client, block, sizeof(block)), sizeof(block));
		run(&f);
	}
	assert_int_equal(hear(&f, text, sizeof(text)), 3);
	assert_string_equal(text, "413");
	loop_run_fake(f.loop, 5000);
	assert_null(f.stream);
	finish(&f);
}

static void close_inside(struct fixture *f)
{
	stream_close(f->stream);
}

static void abort_inside(struct fixture *f)
{
	stream_write(f->stream, "lost", 4);
	stream_abort(f->stream);
	stream_abort(f->stream);
	stream_close(f->stream);
}

static void test_ends(void **state)
{
	static const struct {
		const char *name, *say, *reason;
		void (*on_data)(struct fixture *f);
		bool shut;
		uint64_t wait_ms;
	} cases[] = {
		{"peer", NULL, "the other end has closed", NULL, true, 0},
		{"peer after bytes", "x", "the other end has closed", NULL, true, 0},
		{"close", "x", "closed", close_inside, true, 0},
		{"close, peer stays", "x", "closed", close_inside, false, 5000},
		{"abort", "x", "closed by us", abort_inside, false, 0},
		{"idle", NULL, "nothing was heard for too long", NULL, false, IDLE_MS},
		{"half-closed peer is answered", "x", "closed", answer_and_close, true, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture f;

		begin(&f, NULL);
		f.on_data = cases[i].on_data;
		if (cases[i].say)
			assert_int_equal(write(f.client, cases[i].say, 1), 1);
		if (cases[i].shut)
			shutdown(f.client, SHUT_WR);
		if (cases[i].wait_ms) {
			run(&f);
			loop_run_fake(f.loop, cases[i].wait_ms - 1);
			assert_non_null(f.stream);
		}
		loop_run_fake(f.loop, 1);
		if (f.stream)
			fail_msg("%s: still there", cases[i].name);
		assert_string_equal(f.reason, cases[i].reason);
		finish(&f);
	}
}

static void test_idle_is_since_the_last_byte(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, NULL);
	for (int i = 0; i < 5; i++) {
		loop_run_fake(f.loop, IDLE_MS - 1);
		assert_non_null(f.stream);
		say(&f, "x");
	}
	stream_set_idle(f.stream, 0);
	loop_run_fake(f.loop, 100 * IDLE_MS);
	assert_non_null(f.stream);
	finish(&f);
}

/* ---- TLS ------------------------------------------------------------------------ */

static char directory[] = "/tmp/test_stream.XXXXXX";
static char cert_path[64], key_path[64];
static const char *const names[] = {"mesh.example", "192.0.2.1", "2001:db8::1", NULL};

static int make_files(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(cert_path, sizeof(cert_path), "%s/cert.pem", directory);
	snprintf(key_path, sizeof(key_path), "%s/key.pem", directory);
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	unlink(cert_path);
	unlink(key_path);
	return rmdir(directory);
}

static struct tls_server *make_server(void)
{
	char error[200] = "";
	struct tls_server *tls;

	if (tls_make_certificate(cert_path, key_path, names, error, sizeof(error)))
		fail_msg("%s", error);
	tls = tls_server_new(cert_path, key_path, error, sizeof(error));
	if (!tls)
		fail_msg("%s", error);
	return tls;
}

static SSL *client_new(SSL_CTX **context, int fd)
{
	SSL *ssl;

	*context = SSL_CTX_new(TLS_client_method());
	ssl = SSL_new(*context);
	SSL_set_fd(ssl, fd);
	SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h2\x08http/1.1", 12);
	return ssl;
}

static void connect_client(struct fixture *f, SSL *ssl)
{
	int result = 0;

	for (int i = 0; i < 100 && result != 1; i++) {
		result = SSL_connect(ssl);
		run(f);
	}
	assert_int_equal(result, 1);
	run(f);
}

static void check_certificate(SSL *ssl, const struct tls_server *tls)
{
	X509 *cert = SSL_get1_peer_certificate(ssl);
	unsigned char *der = NULL, digest[32];
	char pin[44], *text;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	assert_int_equal(X509_check_host(cert, "mesh.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "other.example", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(cert, "192.0.2.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "2001:db8::1", 0), 1);
	sha256(digest, der, (size_t)len);
	text = base64url_encode(digest, 32);
	tls_server_pin(tls, pin);
	assert_string_equal(pin, text);
	free(text);
	OPENSSL_free(der);
	X509_free(cert);
}

static void test_tls(void **state)
{
	struct tls_server *tls = make_server();
	size_t len = 512 * 1024, heard = 0;
	uint8_t *data = xcalloc(1, len), part[20000];
	const unsigned char *chosen;
	unsigned chosen_len;
	struct fixture f;
	SSL_CTX *context;
	SSL *ssl;
	int got = 0;

	(void)state;
	begin(&f, tls);
	ssl = client_new(&context, f.client);
	assert_int_equal(stream_write(f.stream, "early", 5), 0); /* sent after the handshake */
	connect_client(&f, ssl);
	check_certificate(ssl, tls);
	SSL_get0_alpn_selected(ssl, &chosen, &chosen_len);
	assert_int_equal(chosen_len, 8);
	assert_memory_equal(chosen, "http/1.1", 8);
	assert_int_equal(SSL_read(ssl, part, sizeof(part)), 5);
	assert_int_equal(SSL_write(ssl, "hello", 5), 5);
	run(&f);
	assert_string_equal(buf_text(&f.got), "hello");
	stream_write(f.stream, data, len);
	stream_close(f.stream);
	for (int i = 0; i < 10000 && (got = SSL_read(ssl, part, sizeof(part))) != 0; i++) {
		if (got < 0 && SSL_get_error(ssl, got) == SSL_ERROR_ZERO_RETURN)
			break;
		heard += got > 0 ? (size_t)got : 0;
		run(&f);
	}
	assert_int_equal(heard, len);
	assert_int_equal(SSL_get_error(ssl, got), SSL_ERROR_ZERO_RETURN); /* a proper goodbye */
	shutdown(f.client, SHUT_RDWR);
	run(&f);
	assert_string_equal(f.reason, "closed");
	SSL_free(ssl);
	SSL_CTX_free(context);
	finish(&f);
	tls_server_free(tls);
	free(data);
}

static void leave_error(struct fixture *f)
{
	(void)f;
	ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
}

/* What another use of OpenSSL has left in the error queue is no fault of this connection. */
static void test_foreign_error(void **state)
{
	struct tls_server *tls = make_server();
	struct fixture f;
	SSL_CTX *context;
	uint8_t part[10];
	SSL *ssl;

	(void)state;
	begin(&f, tls);
	f.on_data = leave_error;
	ssl = client_new(&context, f.client);
	connect_client(&f, ssl);
	assert_int_equal(SSL_write(ssl, "hello", 5), 5);
	run(&f);
	assert_non_null(f.stream);
	assert_int_equal(stream_write(f.stream, "there", 5), 0);
	run(&f);
	assert_int_equal(SSL_read(ssl, part, sizeof(part)), 5);
	SSL_free(ssl);
	SSL_CTX_free(context);
	finish(&f);
	tls_server_free(tls);
}

static void test_no_tls(void **state)
{
	struct tls_server *tls = make_server();
	struct fixture f;

	(void)state;
	begin(&f, tls);
	say(&f, "GET / HTTP/1.1\r\n\r\n");
	assert_null(f.stream);
	assert_string_equal(f.reason, "the TLS handshake failed");
	finish(&f);

	begin(&f, tls);
	loop_run_fake(f.loop, 10000);
	assert_null(f.stream);
	assert_string_equal(f.reason, "the TLS handshake took too long");
	finish(&f);
	tls_server_free(tls);
}

static void copy_bytes(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, out, size - 1);

	assert_true(len > 0);
	out[len] = 0;
	close(fd);
}

static void test_certificate_files(void **state)
{
	struct tls_server *tls = make_server();
	char error[200], before[44], after[44], key[2000], again[2000];
	struct stat st;

	(void)state;
	assert_int_equal(stat(key_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	tls_server_pin(tls, before);
	copy_bytes(key_path, key, sizeof(key));
	assert_int_equal(unlink(cert_path), 0); /* renewing: a new certificate, the same key */
	assert_int_equal(tls_server_reload(tls, cert_path, key_path, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "cert.pem cannot be opened: No such file"));
	assert_int_equal(tls_make_certificate(cert_path, key_path, names, error, sizeof(error)), 0);
	copy_bytes(key_path, again, sizeof(again));
	assert_string_equal(key, again);
	assert_int_equal(tls_server_reload(tls, cert_path, key_path, error, sizeof(error)), 0);
	tls_server_pin(tls, after);
	assert_string_equal(before, after);

	assert_int_equal(unlink(key_path), 0);
	assert_int_equal(tls_make_certificate(cert_path, key_path, names, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "put it back, or remove both"));
	assert_null(tls_server_new(cert_path, key_path, error, sizeof(error)));
	unlink(cert_path);
	assert_int_equal(tls_make_certificate(cert_path, key_path, (const char *const[]){"a,DNS:b", NULL},
					      error, sizeof(error)),
			 -EINVAL);
	tls_server_pin(tls, after); /* the old ones still serve */
	assert_string_equal(before, after);
	tls_server_free(tls);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_much_output),
		cmocka_unit_test(test_queue_limit),
		cmocka_unit_test(test_left_standing),
		cmocka_unit_test(test_stops_reading),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_idle_is_since_the_last_byte),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_foreign_error),
		cmocka_unit_test(test_no_tls),
		cmocka_unit_test(test_certificate_files),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
