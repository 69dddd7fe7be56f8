/* Options by table, and that every one of them is in the manual page. */
#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* commands.c names the functions; here nothing is run. */
#define STUB(name)                                                                                 \
	int name(struct cli *cli)                                                                  \
	{                                                                                          \
		(void)cli;                                                                         \
		return 0;                                                                          \
	}
STUB(run_join)
STUB(run_up)
STUB(run_down)
STUB(run_status)
STUB(run_ping)
STUB(run_explain)
STUB(run_plugins)
STUB(run_reload)
STUB(run_events)
STUB(run_doctor)
STUB(run_rekey)
STUB(run_leave)

static bool parse(struct cli *cli, const char *command, const char *line, char error[OPTION_ERROR])
{
	static char text[256];
	char *argv[16], *word, *rest = text;
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	while ((word = strsep(&rest, " ")) && argc < 16)
		if (*word)
			argv[argc++] = word;
	*cli = (struct cli){0};
	return options_parse(cli, command_find(command)->options, argc, argv, error);
}

static void test_right(void **state)
{
	char error[OPTION_ERROR];
	struct cli cli;

	(void)state;
	assert_true(parse(&cli, "join",
			  "link --name a --listen-port=51820 --tag x --tag y,z --no-up", error));
	assert_string_equal(cli.name, "a");
	assert_int_equal(cli.listen_port, 51820);
	assert_int_equal(cli.tags.count, 3);
	assert_string_equal(cli.tags.items[2], "z");
	assert_true(cli.no_up && !cli.edit_conf);
	assert_int_equal(cli.args.count, 1);

	assert_true(parse(&cli, "ping", "-c 3 wg0 --until-direct nas", error));
	assert_int_equal(cli.count, 3);
	assert_true(cli.until_direct);
	assert_string_equal(cli.args.items[1], "nas");

	assert_true(parse(&cli, "up", "wg0 --wait 0", error));
	assert_true(cli.has_wait);
	assert_true(parse(&cli, "up", "wg0 -v --run-dir /x", error));
	assert_false(cli.has_wait);
	assert_string_equal(cli.run_dir, "/x");

	assert_true(parse(&cli, "join", "- -- --name", error));
	assert_int_equal(cli.args.count, 2);
	assert_string_equal(cli.args.items[0], "-");
	assert_string_equal(cli.args.items[1], "--name");
}

static void test_wrong(void **state)
{
	static const struct {
		const char *command, *line, *sentence;
	} cases[] = {
		{"join", "--listen-prot 1",
		 "there is no option --listen-prot: did you mean --listen-port?"},
		{"join", "--listen-port 0", "--listen-port takes a number from 1 to 65535, not 0"},
		{"join", "--listen-port 65536",
		 "--listen-port takes a number from 1 to 65535, not 65536"},
		{"join", "--listen-port x", "--listen-port takes a number from 1 to 65535, not x"},
		{"join", "--name", "--name needs a value: NAME"},
		{"ping", "-c 0 wg0 nas", "-c takes a number from 1 to 1000000, not 0"},
		{"ping", "-c", "-c needs a value: N"},
		{"join", "--no-up=1", "--no-up takes no value"},
		{"status", "--wait 1", "there is no option --wait here: see --help"},
		{"status", "-x", "there is no option -x here: see --help"},
		{"status", "-vx", "there is no option -vx here: see --help"},
		{"status", "--jsonn", "there is no option --jsonn: did you mean --json?"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char error[OPTION_ERROR];
		struct cli cli;

		assert_false(parse(&cli, cases[i].command, cases[i].line, error));
		assert_string_equal(error, cases[i].sentence);
	}
}

static void test_lists_end(void **state)
{
	char text[3 * WORDS_MAX + 16], error[OPTION_ERROR], *argv[] = {(char *)"--tag", text};
	struct cli cli = {0};

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t i = 1; i < sizeof(text); i += 2)
		text[i] = ',';
	text[sizeof(text) - 1] = '\0';
	assert_false(options_parse(&cli, command_find("join")->options, 2, argv, error));
	assert_int_equal(cli.tags.count, WORDS_MAX);
}

/* ---- what is documented ---------------------------------------------------------- */

static char *read_text(const char *path)
{
	static char text[65536];
	FILE *file = fopen(path, "r");
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	return text;
}

static void expect_options(const char *page, const struct option *options)
{
	char flag[64];

	for (; options && options->name; options++) {
		snprintf(flag, sizeof(flag), "Fl -%s", options->name);
		if (!strstr(page, flag))
			fail_msg("--%s is not in etc/man/wg-mesh.1", options->name);
	}
}

static void test_manual_page(void **state)
{
	const char *page = read_text("etc/man/wg-mesh.1");
	char section[64];

	(void)state;
	expect_options(page, global_options);
	for (const struct command *c = commands; c->name; c++) {
		snprintf(section, sizeof(section), ".Ss %s\n", c->name);
		if (!strstr(page, section))
			fail_msg("%s has no section in etc/man/wg-mesh.1", c->name);
		expect_options(page, c->options);
	}
}

static void test_readme(void **state)
{
	const char *page = read_text("core/cli/README.md");
	char word[80];

	(void)state;
	for (const struct command *c = commands; c->name; c++) {
		snprintf(word, sizeof(word), "`wg-mesh %s", c->name);
		if (!strstr(page, word))
			fail_msg("%s is not in core/cli/README.md", c->name);
		for (const struct option *o = c->options; o && o->name; o++) {
			snprintf(word, sizeof(word), "--%s", o->name);
			if (!strstr(page, word))
				fail_msg("--%s is not in core/cli/README.md", o->name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right),     cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_lists_end), cmocka_unit_test(test_manual_page),
		cmocka_unit_test(test_readme),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
