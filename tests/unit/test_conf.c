/* The wg-quick file: reading as wg-quick does, our lines put in and taken out to the byte. */
#include "cli/conf.h"

#include <setjmp.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define UP   "PostUp = wg-mesh up %i || true"
#define DOWN "PreDown = wg-mesh down %i || true"

static const struct {
	const char *before, *after;
} added[] = {
	{"[Interface]\nPrivateKey = x\n", "[Interface]\nPrivateKey = x\n" UP "\n" DOWN "\n"},
	/* no newline at the end */
	{"[Interface]\nPrivateKey = x", "[Interface]\nPrivateKey = x\n" UP "\n" DOWN "\n"},
	/* line ends of the file */
	{"[Interface]\r\nPrivateKey = x\r\n\r\n[Peer]\r\n",
	 "[Interface]\r\nPrivateKey = x\r\n" UP "\r\n" DOWN "\r\n\r\n[Peer]\r\n"},
	/* a comment behind the section stays with what follows it */
	{"[Interface]\nPrivateKey = x\n\n# friend\n[Peer]\nPublicKey = y\n",
	 "[Interface]\nPrivateKey = x\n" UP "\n" DOWN "\n\n# friend\n[Peer]\nPublicKey = y\n"},
	/* a peer first */
	{"[Peer]\nPublicKey = y\n[Interface]\nPrivateKey = x\n",
	 "[Peer]\nPublicKey = y\n[Interface]\nPrivateKey = x\n" UP "\n" DOWN "\n"},
	/* the user's own hooks stay, and before ours */
	{"[Interface]\nPostUp = iptables -A x\nPreDown=true\n[Peer]\n",
	 "[Interface]\nPostUp = iptables -A x\nPreDown=true\n" UP "\n" DOWN "\n[Peer]\n"},
	/* one of ours is there */
	{"[Interface]\npostup=wg-mesh up %i || true\n",
	 "[Interface]\npostup=wg-mesh up %i || true\n" DOWN "\n"},
	/* in a comment it is not */
	{"[Interface]\n# " UP "\n", "[Interface]\n" UP "\n" DOWN "\n# " UP "\n"},
	/* heading with blanks, comment behind it */
	{"  [interface]  # mine\nPrivateKey=x",
	 "  [interface]  # mine\nPrivateKey=x\n" UP "\n" DOWN "\n"},
	/* in a peer's section it does not count */
	{"[Interface]\n[Peer]\nPostUp = wg-mesh up %i\n",
	 "[Interface]\n" UP "\n" DOWN "\n[Peer]\nPostUp = wg-mesh up %i\n"},
};

static void test_add(void **state)
{
	struct conf_hooks hooks;
	struct buf out;

	(void)state;
	conf_hooks_init(&hooks, NULL, NULL, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(added); i++) {
		buf_init(&out, 0);
		assert_true(conf_add_hooks(&out, added[i].before, strlen(added[i].before), &hooks));
		assert_string_equal(buf_text(&out), added[i].after);
		assert_true(conf_has_up(buf_text(&out), out.len) &&
			    conf_has_down(buf_text(&out), out.len));
		buf_free(&out);
	}
	buf_init(&out, 0);
	assert_false(conf_add_hooks(&out, "[Peer]\n", 7, &hooks));
	assert_string_equal(buf_text(&out), "[Peer]\n");
	buf_free(&out);
}

static void test_add_twice_is_once(void **state)
{
	const char *text = "[Interface]\nPrivateKey = x\n";
	struct conf_hooks hooks;
	struct buf once, twice;

	(void)state;
	conf_hooks_init(&hooks, NULL, NULL, "/run/other", NULL);
	assert_string_equal(hooks.up, "PostUp = wg-mesh up %i --run-dir /run/other || true");
	buf_init(&once, 0);
	buf_init(&twice, 0);
	conf_add_hooks(&once, text, strlen(text), &hooks);
	conf_add_hooks(&twice, buf_text(&once), once.len, &hooks);
	assert_string_equal(buf_text(&once), buf_text(&twice));
	buf_free(&once);
	assert_true(conf_remove_hooks(&once, buf_text(&twice), twice.len));
	assert_string_equal(buf_text(&once), text);
	buf_free(&once);
	buf_free(&twice);
}

static void test_remove(void **state)
{
	static const struct {
		const char *before, *after;
	} cases[] = {
		{"[Interface]\nA = 1\n" UP "\n" DOWN "\n[Peer]\n", "[Interface]\nA = 1\n[Peer]\n"},
		{"[Interface]\r\n" UP "\r\nA = 1\r\n" DOWN, "[Interface]\r\nA = 1\r\n"},
		{"[Interface]\nPostUp = /usr/bin/wg-mesh up wg0\n", "[Interface]\n"},
		/* more than ours, another program, another section, a comment: the user's */
		{"[Interface]\nPostUp = wg-mesh up %i; echo\n", NULL},
		{"[Interface]\nPostUp = wg-mesh up %i && echo\n", NULL},
		{"[Interface]\nPostUp = my-wg-mesh up %i\n", NULL},
		{"[Interface]\nPostUp = wg-mesh upgrade\n", NULL},
		{"[Interface]\nPostDown = wg-mesh down %i\n", NULL},
		{"[Interface]\n#" UP "\n", NULL},
		{"[Peer]\n" UP "\n", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out;

		buf_init(&out, 0);
		assert_int_equal(conf_remove_hooks(&out, cases[i].before, strlen(cases[i].before)),
				 cases[i].after != NULL);
		assert_string_equal(buf_text(&out),
				    cases[i].after ? cases[i].after : cases[i].before);
		buf_free(&out);
	}
}

static void test_value(void **state)
{
	static const struct {
		const char *text, *value;
	} cases[] = {
		{"[Interface]\nListenPort = 51820\n", "51820"},
		{"[Interface]\r\nlistenport=51820 # mine\r\n", "51820"},
		{"[Interface]\nListenPort = 1\nListenPort = 2", "2"},
		{"[Peer]\nListenPort = 1\n", NULL},
		{"ListenPort = 1\n", NULL},
		{"[Interface]\n#ListenPort = 1\n", NULL},
		{"[Interface]\nListenPort\n", NULL},
		{"[Interface]\nListenPort =\n", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *value = conf_value(cases[i].text, strlen(cases[i].text), "ListenPort");

		if (cases[i].value)
			assert_string_equal(value, cases[i].value);
		else
			assert_null(value);
		free(value);
	}
}

static void test_peers(void **state)
{
	static const char text[] =
		"[Interface]\nPrivateKey = x\n"
		"[Peer]\n# nas\nPublicKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\n"
		"AllowedIPs = 10.0.0.2/32\n\n\n"
		"[Peer]\nPublicKey = nonsense\n";
	struct conf_peer *peers;

	(void)state;
	assert_int_equal(conf_peers(text, strlen(text), &peers), 2);
	assert_int_equal(peers[0].public_key.bytes[31], 1);
	assert_int_equal(peers[0].first_line, 3);
	assert_int_equal(peers[0].last_line, 6);
	assert_true(key_is_zero(&peers[1].public_key));
	free(peers);
}

static void test_files(void **state)
{
	char directory[] = "/tmp/test_conf.XXXXXX", path[64], link[64], text[32] = "";
	struct stat st;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/made/wg0.conf", directory);
	snprintf(link, sizeof(link), "%s/link.conf", directory);
	assert_int_equal(conf_create(path, "one\n", 4), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(conf_create(path, "two\n", 4), -EEXIST);
	/* mode and the symbolic link stay, the file itself changes */
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(conf_replace(link, "three\n", 6), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	file = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "three\n");
	unlink(link);
	unlink(path);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0); /* no temporary file stays */
	assert_int_equal(rmdir(directory), 0);
}

/* The one line that wg-quick goes by, and nothing else, to the byte. */
static void test_private_key(void **state)
{
	static const struct {
		const char *before, *after; /* after NULL: there is no such line */
	} rows[] = {
		{"[Interface]\nPrivateKey = old\n", "[Interface]\nPrivateKey = KEY\n"},
		{"[Interface]\r\n privatekey=old # mine\r\nListenPort = 1\r\n",
		 "[Interface]\r\n privatekey=KEY # mine\r\nListenPort = 1\r\n"},
		{"[Interface]\nPrivateKey = one\nPrivateKey =\ttwo", "[Interface]\nPrivateKey = one\nPrivateKey =\tKEY"},
		{"[Peer]\nPrivateKey = x\n[Interface]\nPrivateKey=\n", "[Peer]\nPrivateKey = x\n[Interface]\nPrivateKey=KEY\n"},
		{"[Interface]\n# PrivateKey = old\n", NULL},
		{"[Peer]\nPrivateKey = x\n", NULL},
		{"", NULL},
	};
	const char *zero = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	struct key key = {{9}};
	char expect[200];
	struct buf out;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *at = rows[i].after ? strstr(rows[i].after, "KEY") : NULL;

		buf_init(&out, 0);
		assert_int_equal(conf_set_private_key(&out, rows[i].before, strlen(rows[i].before), &key),
				 at != NULL);
		snprintf(expect, sizeof(expect), "%s", rows[i].before);
		if (at)
			snprintf(expect, sizeof(expect), "%.*s%s%s", (int)(at - rows[i].after),
				 rows[i].after, zero, at + 3);
		assert_string_equal(buf_text(&out), expect);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),    cmocka_unit_test(test_add_twice_is_once),
		cmocka_unit_test(test_remove), cmocka_unit_test(test_value),
		cmocka_unit_test(test_peers),  cmocka_unit_test(test_files),
		cmocka_unit_test(test_private_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
