#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/wg-mesh-test-sock.XXXXXX";

static int enter(void **state)
{
	(void)state;
	return !mkdtemp(directory) || chdir(directory) < 0;
}

static int leave(void **state)
{
	(void)state;
	return chdir("/") < 0 || rmdir(directory) < 0;
}

static void assert_habits(int fd)
{
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void listen_texts(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{":443", "[::]:443"},
		{"0.0.0.0:80", "0.0.0.0:80"},
		{"[::1]:8443", "[::1]:8443"},
		{"127.0.0.1:0", "127.0.0.1:0"},
		{":0", "[::]:0"},
		{"", NULL},
		{":", NULL},
		{"443", NULL},
		{"127.0.0.1", NULL},
		{"127.0.0.1:65536", NULL},
		{"::1:80", NULL},
		{"localhost:80", NULL},
		{":x", NULL},
		{"[::1]", NULL},
	};
	char shown[ENDPOINT_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct endpoint endpoint = {0};

		assert_int_equal(listen_parse(&endpoint, cases[i].text), cases[i].shown != NULL);
		endpoint_format(shown, &endpoint);
		assert_string_equal(shown, cases[i].shown ? cases[i].shown : "");
	}
}

static int connect_to(const struct endpoint *to)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(to, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&sa, len) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void tcp(const char *at, const char *to, const char *seen_as)
{
	struct endpoint endpoint, target, from, remote;
	int listener, client, server;
	char shown[ADDR_TEXT];

	assert_true(listen_parse(&endpoint, at));
	listener = sock_listen_tcp(&endpoint);
	assert_habits(listener);
	assert_int_equal(sock_local(listener, &endpoint), 0);
	assert_int_not_equal(endpoint.port, 0);
	assert_int_equal(sock_accept(listener, NULL), -EAGAIN);
	assert_true(addr_parse(&target.addr, to));
	target.port = endpoint.port;
	target.scope_id = 0;
	client = connect_to(&target);
	assert_true(client >= 0);
	poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, 5000);
	server = sock_accept(listener, &from);
	assert_habits(server);
	addr_format(shown, &from.addr);
	assert_string_equal(shown, seen_as);
	assert_int_equal(sock_remote(server, &remote), 0);
	assert_true(endpoint_equal(&from, &remote));
	assert_int_equal(sock_listen_tcp(&endpoint), -EADDRINUSE);
	close(client);
	close(server);
	close(listener);
}

static bool have_ipv6(void)
{
	struct endpoint endpoint;
	int fd = listen_parse(&endpoint, "[::1]:0") ? sock_udp(&endpoint) : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void listening(void **state)
{
	(void)state;
	tcp("127.0.0.1:0", "127.0.0.1", "127.0.0.1");
	tcp(":0", "127.0.0.1", "127.0.0.1"); /* not ::ffff:127.0.0.1 */
	if (!have_ipv6()) {
		print_message("skipped: this machine has no IPv6\n");
		skip();
	}
	tcp(":0", "::1", "::1");
	tcp("[::]:0", "127.0.0.1", "127.0.0.1");
	tcp("[::1]:0", "::1", "::1");
}

static void udp(void **state)
{
	struct endpoint endpoint, other;
	int fd, again;

	(void)state;
	assert_true(listen_parse(&endpoint, "127.0.0.1:0"));
	fd = sock_udp(&endpoint);
	assert_habits(fd);
	assert_int_equal(sock_local(fd, &endpoint), 0);
	assert_int_equal(sock_remote(fd, &other), -ENOTCONN);
	again = sock_udp(&endpoint);
	assert_int_equal(again, -EADDRINUSE);
	close(fd);
	assert_true(listen_parse(&endpoint, "192.0.2.77:0"));
	assert_int_equal(sock_udp(&endpoint), -EADDRNOTAVAIL);
}

static void unix_sockets(void **state)
{
	struct stat st;
	uid_t uid = 4711;
	int listener, client, server;

	(void)state;
	umask(022);
	assert_int_equal(sock_connect_unix("s"), -ENOENT);
	listener = sock_listen_unix("s", 0660);
	assert_habits(listener);
	assert_int_equal(stat("s", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_not_equal(access("s.new", F_OK), 0);
	client = sock_connect_unix("s");
	assert_habits(client);
	server = sock_accept(listener, &(struct endpoint){0});
	assert_habits(server);
	assert_int_equal(sock_peer_uid(server, &uid), 0);
	assert_int_equal(uid, geteuid());
	assert_int_equal(sock_local(listener, &(struct endpoint){0}), -EAFNOSUPPORT);
	assert_int_equal(sock_listen_unix("s", 0600), -EADDRINUSE);
	close(client);
	close(server);
	close(listener);
	assert_int_equal(sock_connect_unix("s"), -ECONNREFUSED);
	listener = sock_listen_unix("s", 0600); /* a dead one is replaced */
	assert_habits(listener);
	client = sock_connect_unix("s");
	assert_habits(client);
	close(client);
	close(listener);
	assert_int_equal(unlink("s"), 0);
}

static void unix_refusals(void **state)
{
	char path[200];
	int fd = open("plain", O_CREAT | O_WRONLY, 0600);

	(void)state;
	close(fd);
	assert_int_equal(sock_listen_unix("plain", 0600), -EEXIST); /* never somebody's file */
	assert_int_equal(access("plain", F_OK), 0);
	assert_int_equal(unlink("plain"), 0);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	assert_int_equal(sock_listen_unix(path, 0600), -ENAMETOOLONG);
	assert_int_equal(sock_connect_unix(path), -ENAMETOOLONG);
	assert_int_equal(sock_connect_unix(""), -ENAMETOOLONG);
	assert_int_equal(sock_listen_unix("missing/s", 0600), -ENOENT);
}

/* One that is alive but accepts nobody, its queue full, is told from a dead one. */
static void a_full_queue(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "full"};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), first, second;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 0), 0);
	first = sock_connect_unix("full");
	assert_true(first >= 0);
	second = sock_connect_unix("full");
	assert_int_equal(second, -ETIMEDOUT);
	assert_int_equal(sock_listen_unix("full", 0600), -EADDRINUSE);
	close(first);
	close(listener);
	assert_int_equal(unlink("full"), 0);
}

static void sources(void **state)
{
	struct endpoint to;
	struct addr from;

	(void)state;
	assert_true(endpoint_parse(&to, "127.0.0.1:9"));
	assert_int_equal(sock_source_for(&to, 0, &from), 0);
	assert_true(addr_is_loopback(&from));
	to = (struct endpoint){0};
	assert_true(sock_source_for(&to, 0, &from) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listen_texts),  cmocka_unit_test(listening),
		cmocka_unit_test(udp),           cmocka_unit_test(unix_sockets),
		cmocka_unit_test(unix_refusals), cmocka_unit_test(a_full_queue),
		cmocka_unit_test(sources),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
