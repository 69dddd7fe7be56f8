/* The control socket with a real socket and real clients, on the loop. */
#include "control.h"
#include "lib/buf.h"
#include "lib/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture {
	char path[64];
	struct loop *loop;
	struct control *control;
	struct control_client *kept;
	unsigned requests, closed;
} f;

static void kept_closed(void *arg)
{
	(void)arg;
	f.kept = NULL;
	f.closed++;
}

/* echo answers at once, later keeps the client, big answers with n bytes, follow answers and keeps. */
static void handle(void *arg, struct control_client *client, json_t *request)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	size_t size = (size_t)json_integer_value(json_object_get(request, "n"));

	(void)arg;
	f.requests++;
	if (!strcmp(command, "echo")) {
		control_reply(client, json_incref(request));
	} else if (!strcmp(command, "later")) {
		f.kept = client;
		control_on_close(client, kept_closed, NULL);
	} else if (!strcmp(command, "follow")) {
		control_reply(client, json_pack("{s:b}", "ok", 1));
		f.kept = client;
		control_on_close(client, kept_closed, NULL);
	} else if (!strcmp(command, "big")) {
		char *text = xcalloc(1, size + 1);

		memset(text, 'x', size);
		control_reply(client, json_pack("{s:s}", "x", text));
		free(text);
	} else {
		control_error(client, 2, "there is no command %s", command);
	}
}

static int set_up(void **state)
{
	(void)state;
	f = (struct fixture){0};
	snprintf(f.path, sizeof(f.path), "/tmp/test_control.%d.sock", getpid());
	f.loop = loop_new();
	return control_listen(&f.control, f.loop, f.path, handle, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	control_free(f.control);
	loop_free(f.loop);
	return access(f.path, F_OK) == 0 ? -1 : 0; /* the socket is gone */
}

static int dial(void)
{
	int fd = sock_connect_unix(f.path);

	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

static void stop(void *arg)
{
	loop_stop(arg);
}

/* Turns the loop a few times. */
static void turn(void)
{
	struct loop_timer timer;

	timer_init(&timer, f.loop, stop, f.loop);
	timer_start(&timer, 20);
	loop_run(f.loop);
	timer_stop(&timer);
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What came in; false where the other end has closed and nothing came. */
static bool hear(int fd, struct buf *in)
{
	ssize_t got;
	bool ended = false;

	for (int i = 0; i < 20; i++) {
		turn();
		for (;;) {
			uint8_t *room = buf_reserve(in, 65536);

			assert_non_null(room);
			got = recv(fd, room, 65536, 0);
			if (got <= 0)
				break;
			in->len += (size_t)got;
		}
		ended = got == 0 || (got < 0 && errno == ECONNRESET);
		if (ended || (in->len > 0 && in->data[in->len - 1] == '\n'))
			break;
	}
	return in->len > 0 || !ended;
}

static void ask(const char *request, const char *want)
{
	struct buf in = {0};
	int fd = dial();

	say(fd, request);
	assert_true(hear(fd, &in));
	assert_string_equal(buf_text(&in), want);
	buf_free(&in);
	close(fd);
}

static void answers(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(f.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	ask("{\"command\":\"echo\"}\n", "{\"command\":\"echo\"}\n");
	ask("\n\n{\"command\":\"echo\"}\n{\"command\":\"echo\",\"n\":1}\n",
	    "{\"command\":\"echo\"}\n{\"command\":\"echo\",\"n\":1}\n");
	ask("{\"command\":\"fly\"}\n", "{\"ok\":false,\"exit\":2,\"error\":\"there is no command fly\"}\n");
}

/* What is quoted is cut between two characters. */
static void long_words(void **state)
{
	char *word = xcalloc(1, 601), *request, *want;

	(void)state;
	for (size_t i = 0; i < 600; i += 2)
		memcpy(word + i, "\xc3\xa9", 2);
	request = xasprintf("{\"command\":\"%s\"}\n", word);
	word[490] = '\0'; /* of 511 bytes, 20 are before it */
	want = xasprintf("{\"ok\":false,\"exit\":2,\"error\":\"there is no command %s\"}\n", word);
	ask(request, want);
	free(request);
	free(want);
	free(word);
}

static void wrong_requests(void **state)
{
	static const char *const wrong[] = {"x\n", "[]\n", "{}\n", "{\"command\":7}\n", "{\"command\":\n", "\"a\"\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct buf in = {0};
		int fd = dial();

		say(fd, wrong[i]);
		assert_true(hear(fd, &in));
		assert_non_null(strstr(buf_text(&in), "\"ok\":false,\"exit\":2"));
		say(fd, "{\"command\":\"echo\"}\n"); /* and the connection goes on */
		assert_true(hear(fd, &in));
		assert_non_null(strstr(buf_text(&in), "echo"));
		buf_free(&in);
		close(fd);
	}
	assert_int_equal(f.requests, ARRAY_SIZE(wrong));
}

static void endless_request(void **state)
{
	char *blanks = xmalloc(100001);
	struct buf in = {0};
	int fd = dial();

	(void)state;
	memset(blanks, ' ', 100000);
	assert_true(send(fd, blanks, 100000, MSG_NOSIGNAL) > 60000);
	hear(fd, &in);
	assert_non_null(strstr(buf_text(&in), "65536 bytes"));
	buf_free(&in);
	assert_false(hear(fd, &in));
	buf_free(&in);
	close(fd);
	free(blanks);
	ask("{\"command\":\"echo\"}\n", "{\"command\":\"echo\"}\n");
}

static void answered_later(void **state)
{
	struct buf in = {0};
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":\"later\"}\n{\"command\":\"echo\"}\n");
	turn();
	assert_non_null(f.kept);
	assert_int_equal(f.requests, 1); /* the second waits for the answer to the first */
	control_reply(f.kept, json_pack("{s:i}", "first", 1));
	hear(fd, &in);
	assert_string_equal(buf_text(&in), "{\"first\":1}\n{\"command\":\"echo\"}\n");
	close(fd);
	turn();
	assert_int_equal(f.closed, 0); /* it had been answered */
	buf_free(&in);
}

static void gone_before_the_answer(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":\"later\"}\n");
	turn();
	assert_non_null(f.kept);
	close(fd);
	turn();
	assert_int_equal(f.closed, 1);
	assert_null(f.kept);
}

static void half_closed_is_answered(void **state)
{
	struct buf in = {0};
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":\"later\"}\n");
	shutdown(fd, SHUT_WR);
	turn();
	assert_non_null(f.kept);
	assert_int_equal(f.closed, 0);
	control_reply(f.kept, json_pack("{s:i}", "a", 1));
	hear(fd, &in);
	assert_string_equal(buf_text(&in), "{\"a\":1}\n");
	buf_free(&in);
	assert_false(hear(fd, &in)); /* and then closed */
	buf_free(&in);
	close(fd);
}

static void followers(void **state)
{
	struct buf in = {0};
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":\"follow\"}\n");
	turn();
	for (int i = 0; i < 3; i++)
		control_reply(f.kept, json_pack("{s:i}", "i", i));
	hear(fd, &in);
	assert_string_equal(buf_text(&in), "{\"ok\":true}\n{\"i\":0}\n{\"i\":1}\n{\"i\":2}\n");
	assert_int_equal(f.closed, 0);
	close(fd);
	turn();
	assert_int_equal(f.closed, 1);
	buf_free(&in);
}

static void slow_follower_is_let_go(void **state)
{
	char *text = xcalloc(1, 100001);
	int fd = dial();

	(void)state;
	memset(text, 'x', 100000);
	say(fd, "{\"command\":\"follow\"}\n");
	turn();
	for (int i = 0; i < 50 && f.kept; i++) {
		control_reply(f.kept, json_pack("{s:s}", "x", text));
		turn();
	}
	assert_null(f.kept);
	assert_int_equal(f.closed, 1);
	free(text);
	close(fd);
	ask("{\"command\":\"echo\"}\n", "{\"command\":\"echo\"}\n");
}

static void large_answer_arrives_whole(void **state)
{
	struct buf in = {0};
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":\"big\",\"n\":1000000}\n");
	while (in.len == 0 || in.data[in.len - 1] != '\n')
		assert_true(hear(fd, &in));
	assert_int_equal(in.len, 1000000 + strlen("{\"x\":\"\"}\n"));
	buf_free(&in);
	close(fd);
}

static void many_clients(void **state)
{
	int fds[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial();
		turn();
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	turn();
	ask("{\"command\":\"echo\"}\n", "{\"command\":\"echo\"}\n");
}

static void flushed_before_the_end(void **state)
{
	struct buf in = {0};
	int fd = dial();

	(void)state;
	say(fd, "{\"command\":\"later\"}\n");
	turn();
	control_reply(f.kept, json_pack("{s:b}", "ok", 1));
	control_flush(f.control);
	in.len = 0;
	assert_int_equal(recv(fd, buf_reserve(&in, 100), 100, 0), strlen("{\"ok\":true}\n"));
	buf_free(&in);
	close(fd);
}

/* One too many is told so: a connection that just closes would look like no agent. */
static void one_too_many_is_told(void **state)
{
	struct buf in = {0};
	int fds[64], fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial();
	for (int i = 0; i < 20; i++)
		turn();
	fd = dial();
	send(fd, "{\"command\":\"echo\"}\n", 19, MSG_NOSIGNAL);
	assert_true(hear(fd, &in));
	assert_non_null(strstr(buf_text(&in), "\"ok\":false"));
	assert_non_null(strstr(buf_text(&in), "too many"));
	assert_int_equal(f.requests, 0);
	buf_free(&in);
	close(fd);
	close(fds[0]);
	turn();
	ask("{\"command\":\"echo\"}\n", "{\"command\":\"echo\"}\n");
	for (size_t i = 1; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	turn();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers),
		TEST(long_words),
		TEST(wrong_requests),
		TEST(endless_request),
		TEST(answered_later),
		TEST(gone_before_the_answer),
		TEST(half_closed_is_answered),
		TEST(followers),
		TEST(slow_follower_is_let_go),
		TEST(large_answer_arrives_whole),
		TEST(many_clients),
		TEST(one_too_many_is_told),
		TEST(flushed_before_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
