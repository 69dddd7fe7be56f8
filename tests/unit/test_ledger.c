/* The ledger: adoption, torn and foreign files, history, and a disk that is full. */
#include "ledger.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <cmocka.h>

#define IFINDEX 7

static char dir[64], path[80], aside[100];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/wg-mesh-ledger-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/wg0.owned", dir);
	snprintf(aside, sizeof(aside), "%s.other", path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	unlink(aside);
	return rmdir(dir);
}

static struct ledger_entry peer_entry(uint8_t number)
{
	return (struct ledger_entry){.kind = LEDGER_PEER, .key = {{number, 1}}};
}

static struct ledger_entry prefix_entry(enum ledger_kind kind, const char *text, uint32_t number)
{
	struct ledger_entry entry = {.kind = kind, .number = number};

	assert_true(prefix_parse(&entry.prefix, text));
	return entry;
}

static size_t count(const struct ledger *ledger)
{
	size_t pos = 0, n = 0;

	while (ledger_next(ledger, &pos))
		n++;
	return n;
}

static struct ledger *open_it(uint32_t ifindex)
{
	struct ledger *ledger = NULL;

	assert_int_equal(ledger_open(&ledger, path, ifindex), 0);
	return ledger;
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void write_own(const char *lines)
{
	char *text = xasprintf(MAGIC " netns=%" PRIu64 " ifindex=%d\n%s", ledger_own_netns(), IFINDEX,
			       lines);

	write_file(text);
	free(text);
}

static void test_every_kind_is_adopted(void **state)
{
	const struct ledger_entry entries[] = {
		peer_entry(1),
		peer_entry(2),
		prefix_entry(LEDGER_ADDRESS, "10.86.0.3/16", 0),
		prefix_entry(LEDGER_ADDRESS, "fd86::3/64", 0),
		prefix_entry(LEDGER_ROUTE, "192.168.7.0/24", 254),
		prefix_entry(LEDGER_ROUTE, "192.168.7.0/24", 52),
		{.kind = LEDGER_RULE, .number = 52},
		{.kind = LEDGER_MARK, .number = 51820},
		{.kind = LEDGER_TABLE, .number = 52},
	};
	struct ledger *ledger = open_it(IFINDEX);
	size_t pos = 0;
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		assert_false(ledger_has(ledger, &entries[i]));
		assert_int_equal(ledger_add(ledger, &entries[i]), 0);
		assert_int_equal(ledger_add(ledger, &entries[i]), 0);
	}
	assert_int_equal(ledger_del(ledger, &entries[1]), 0);
	assert_int_equal(ledger_del(ledger, &entries[1]), 0);
	ledger_close(ledger);

	ledger = open_it(IFINDEX);
	assert_int_equal(count(ledger), ARRAY_SIZE(entries) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		assert_int_equal(ledger_has(ledger, &entries[i]), i != 1);
	assert_int_equal(ledger_next(ledger, &pos)->kind, LEDGER_PEER);
	assert_int_equal(ledger_next(ledger, &pos)->prefix.bits, 16);
	assert_int_equal(ledger_ifindex(ledger), IFINDEX);
	assert_int_equal(ledger_netns(ledger), ledger_own_netns());
	ledger_close(ledger);
}

static void test_host_bits(void **state)
{
	struct ledger_entry route = prefix_entry(LEDGER_ROUTE, "192.168.7.9/24", 254);
	struct ledger_entry same = prefix_entry(LEDGER_ROUTE, "192.168.7.0/24", 254);
	struct ledger_entry address = prefix_entry(LEDGER_ADDRESS, "10.86.0.3/16", 0);
	struct ledger_entry other = prefix_entry(LEDGER_ADDRESS, "10.86.0.4/16", 0);
	struct ledger *ledger = open_it(IFINDEX);

	(void)state;
	ledger_add(ledger, &route);
	ledger_add(ledger, &address);
	assert_true(ledger_has(ledger, &same));
	assert_false(ledger_has(ledger, &other));
	ledger_close(ledger);
}

#define KEY1 "AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY2 "AgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* What a crash or a person may leave behind: how many entries are held. */
static void test_torn_and_strange_lines(void **state)
{
	static const struct {
		const char *lines;
		size_t held;
	} table[] = {
		{"", 0},
		{"+ peer " KEY1 "\n", 1},
		{"+ peer " KEY1, 1},
		{"+ peer " KEY1 "\n+ peer AgEAAAAA", 1},
		{"+ peer " KEY1 "\n+ pe", 1},
		{"+ peer " KEY1 "\n+", 1},
		{"+ peer " KEY1 "\n- peer " KEY1, 0},
		{"+ peer " KEY1 "\n- peer " KEY2 "\n", 1},
		{"+ peer " KEY1 "\n+ peer " KEY1 "\n- peer " KEY1 "\n", 0},
		{"- peer " KEY1 "\n+ peer " KEY1 "\n", 1},
		{"+ mark 0x0000ca6c\n", 1},
		{"+ mark 0x0000ca6", 0}, /* cut short it would be another mark */
		{"+ mark 51820\n", 0},
		{"+ route 10.0.0.0/8\n", 0},
		{"+ route 10.0.0.0/8 table=254", 1},
		{"+ route 10.0.0.0/8 table=4294967296\n", 0},
		{"+ rule 52\n+ rule priority=52\n", 1},
		{"+ command rm -rf /\n\n+peer\nx\n+ table 52\n", 1},
		{"+ address 10.86.0.3/33\n+ address 10.86.0.3/16 x\n", 0},
	};
	struct ledger_entry other = peer_entry(9);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct ledger *ledger;

		write_own(table[i].lines);
		assert_int_equal(ledger_read(&ledger, path), 0);
		if (count(ledger) != table[i].held)
			fail_msg("%s: holds %zu", table[i].lines, count(ledger));
		assert_int_equal(ledger_add(ledger, &other), -EBADF);
		ledger_close(ledger);

		ledger = open_it(IFINDEX);
		assert_int_equal(count(ledger), table[i].held);
		assert_int_equal(ledger_add(ledger, &other), 0);
		ledger_close(ledger);
		ledger = open_it(IFINDEX); /* the new line is not glued to the torn one */
		assert_true(ledger_has(ledger, &other));
		assert_int_equal(count(ledger), table[i].held + 1);
		ledger_close(ledger);
	}
}

static void test_another_interface_begins_anew(void **state)
{
	char *foreign = xasprintf(MAGIC " netns=%" PRIu64 " ifindex=%d\n+ peer " KEY1 "\n",
				  ledger_own_netns() + 1, IFINDEX);
	const char *strange[] = {foreign, "", "wg-mesh-ledger", "wg-mesh-ledger 2 x=1\n+ table 1\n",
				 MAGIC " netns=-1 ifindex=7\n", "\n\n\n"};
	struct ledger *ledger;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
		write_file(strange[i]);
		ledger = open_it(IFINDEX);
		assert_int_equal(count(ledger), 0);
		assert_int_equal(ledger_netns(ledger), ledger_own_netns());
		ledger_close(ledger);
	}
	write_own("+ peer " KEY1 "\n");
	ledger = open_it(IFINDEX + 1);
	assert_int_equal(count(ledger), 0);
	assert_int_equal(ledger_ifindex(ledger), IFINDEX + 1);
	ledger_close(ledger);
	free(foreign);
}

/* A namespace that nobody sees: what it made is kept for when it is seen again. */
static void test_another_namespace_is_moved_aside(void **state)
{
	char *foreign = xasprintf(MAGIC " netns=1 ifindex=%d\n+ peer " KEY1 "\n", IFINDEX), *back;
	struct ledger *ledger;

	(void)state;
	write_file(foreign);
	assert_int_equal(ledger_claim(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(ledger_read(&ledger, aside), 0);
	assert_int_equal(ledger_netns(ledger), 1);
	assert_int_equal(count(ledger), 1);
	ledger_close(ledger);
	assert_int_equal(ledger_claim(path), 0); /* nothing there, and nothing of ours aside */
	assert_int_equal(access(path, F_OK), -1);

	/* Seen from there ours is the other one: they change places. */
	back = xasprintf(MAGIC " netns=%" PRIu64 " ifindex=%d\n+ table 5\n", ledger_own_netns(), IFINDEX);
	write_file(back);
	assert_int_equal(rename(path, aside), 0);
	write_file(foreign);
	ledger = open_it(IFINDEX);
	assert_int_equal(count(ledger), 1);
	assert_int_equal(ledger_netns(ledger), ledger_own_netns());
	ledger_close(ledger);
	assert_int_equal(ledger_read(&ledger, aside), 0);
	assert_int_equal(ledger_netns(ledger), 1);
	ledger_close(ledger);
	free(back);
	free(foreign);
}

static void test_a_live_namespace_keeps_its_ledger(void **state)
{
	char proc[64], *foreign;
	struct ledger *ledger;
	struct stat st;
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		bool apart = unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;

		if (write(ready[1], apart ? "y" : "n", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(proc, sizeof(proc), "/proc/%d/ns/net", (int)pid);
	if (byte == 'y' && stat(proc, &st) == 0) {
		foreign = xasprintf(MAGIC " netns=%" PRIu64 " ifindex=%d\n+ peer " KEY1 "\n",
				    (uint64_t)st.st_ino, IFINDEX);
		write_file(foreign);
		assert_int_equal(ledger_claim(path), -EXDEV);
		assert_int_equal(ledger_open(&ledger, path, IFINDEX), -EXDEV);
		assert_int_equal(ledger_read(&ledger, path), 0);
		assert_int_equal(count(ledger), 1);
		ledger_close(ledger);
		free(foreign);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	if (byte != 'y') {
		puts("skipped: no network namespace can be made here");
		skip();
	}
	assert_int_equal(ledger_claim(path), 0);
	assert_int_equal(access(aside, F_OK), 0);
}

static void test_reading_what_is_not_there(void **state)
{
	struct ledger *ledger;

	(void)state;
	assert_int_equal(ledger_read(&ledger, path), -ENOENT);
	write_file("something else\n");
	assert_int_equal(ledger_read(&ledger, path), -EBADMSG);
}

static void test_history_is_forgotten(void **state)
{
	struct ledger_entry kept = peer_entry(1), entry = {.kind = LEDGER_TABLE};
	struct ledger *ledger = open_it(IFINDEX);
	struct stat st;

	(void)state;
	ledger_add(ledger, &kept);
	for (uint32_t i = 0; i < 20000; i++) {
		entry.number = i;
		assert_int_equal(ledger_add(ledger, &entry), 0);
		assert_int_equal(ledger_del(ledger, &entry), 0);
	}
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1, 100 * 1024);
	assert_in_range(ledger->slot_count, 1, 4096);
	assert_int_equal(count(ledger), 1);
	ledger_close(ledger);
	ledger = open_it(IFINDEX);
	assert_true(ledger_has(ledger, &kept));
	assert_int_equal(count(ledger), 1);
	ledger_close(ledger);
}

static void test_deleting_on_a_walk(void **state)
{
	struct ledger *ledger = open_it(IFINDEX);
	const struct ledger_entry *entry;
	size_t pos = 0, seen = 0;

	(void)state;
	for (uint8_t i = 0; i < 200; i++) {
		struct ledger_entry peer = peer_entry(i);

		ledger_add(ledger, &peer);
	}
	while ((entry = ledger_next(ledger, &pos))) {
		seen++;
		if (entry->key.bytes[0] % 2)
			assert_int_equal(ledger_del(ledger, entry), 0);
	}
	assert_int_equal(seen, 200);
	assert_int_equal(count(ledger), 100);
	ledger_close(ledger);
}

/* A file size limit stands in for a full disk: part of the line is written, then no more. */
static void test_full_disk(void **state)
{
	struct ledger_entry one = peer_entry(1), two = peer_entry(2);
	struct ledger *ledger = open_it(IFINDEX);
	struct rlimit before, limit;
	struct stat st;

	(void)state;
	assert_int_equal(ledger_add(ledger, &one), 0);
	assert_int_equal(stat(path, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = before;
	limit.rlim_cur = (rlim_t)st.st_size + 10;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(ledger_add(ledger, &two), -ENOSPC);
	assert_false(ledger_has(ledger, &two));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(ledger_add(ledger, &two), 0);
	ledger_close(ledger);
	ledger = open_it(IFINDEX);
	assert_true(ledger_has(ledger, &one) && ledger_has(ledger, &two));
	assert_int_equal(count(ledger), 2);
	ledger_close(ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_kind_is_adopted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_and_strange_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_interface_begins_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_namespace_is_moved_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_live_namespace_keeps_its_ledger, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_what_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_history_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deleting_on_a_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
