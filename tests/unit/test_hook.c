/*
 * The hook runner with real processes: what runs, in which order, with which environment, what is
 * owed after a crash, and what a hostile name gets.
 */
#define HOOK_TIMEOUT_MS 700
#include "hook_runner.c"

#include "hook_env.h"
#include "lib/daemon.h"
#include "lib/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "BAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static struct fixture {
	char dir[64], out[96];
	struct paths paths;
	struct hook_client *hooks;
} f;

static void put(const char *name, const char *text, mode_t mode)
{
	char *path = xasprintf("%s/%s", f.dir, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), mode), 0);
	free(path);
}

/* The configuration with these hooks; DIR stands for our directory. */
static void configure(const char *hooks)
{
	char *text = xasprintf("coordinator: {url: https://a.example}\nhooks:\n%s", hooks), *whole;
	struct buf out = {0};

	for (const char *at = text; *at;) {
		if (str_has_prefix(at, "DIR")) {
			buf_puts(&out, f.dir);
			at += 3;
		} else {
			buf_add(&out, at++, 1);
		}
	}
	whole = buf_text(&out);
	put("wg0.yaml", whole, 0600);
	buf_free(&out);
	free(text);
}

static int set_up(void **unused)
{
	char path[200];

	(void)unused;
	f = (struct fixture){0};
	snprintf(f.dir, sizeof(f.dir), "/tmp/test_hook.XXXXXX");
	if (!mkdtemp(f.dir))
		return -1;
	snprintf(f.out, sizeof(f.out), "%s/out", f.dir);
	snprintf(path, sizeof(path), "%s/wg0.yaml", f.dir);
	if (paths_init(&f.paths, "wg0", path, f.dir, f.dir, NULL))
		return -1;
	return 0;
}

static void stop_and_wait(void);

/* A script that adds a line to the output. */
static void put_script(const char *name, const char *line, mode_t mode)
{
	char *text = xasprintf("#!/bin/sh\necho %s >> %s\n", line, f.out);
	char *dir = xasprintf("%s/%s", f.dir, name);

	*strrchr(dir, '/') = '\0';
	assert_int_equal(file_make_dirs(dir, 0755), 0);
	put(name, text, mode);
	free(dir);
	free(text);
}

static int tear_down(void **unused)
{
	char *command[] = {(char *)(uintptr_t)"rm", (char *)(uintptr_t)"-rf", f.dir, NULL};
	pid_t pid;

	(void)unused;
	stop_and_wait();
	pid = fork();
	if (pid == 0) {
		execv("/bin/rm", command);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* A runner ends when it has worked off all; then its record can be had. */
static void wait_for_runner(void)
{
	struct hook_record *record;

	for (int i = 0; i < 4000; i++, nap()) {
		if (hook_record_open(&record, f.paths.hooks, "wg0") == 0) {
			hook_record_close(record);
			return;
		}
	}
	fail_msg("the runner does not end");
}

static void stop_and_wait(void)
{
	if (!f.hooks)
		return;
	hook_stop(f.hooks);
	f.hooks = NULL;
	nap();
	wait_for_runner();
}

/* Started, and it has its record. */
static void start(void)
{
	int fd;

	assert_int_equal(hook_start(&f.hooks, "wg0", &f.paths), 0);
	for (int i = 0; i < 4000; i++, nap()) {
		fd = open(f.paths.hooks, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0) {
			close(fd);
			return;
		}
		if (fd >= 0)
			close(fd);
	}
	fail_msg("the runner does not start");
}

static char *output(void)
{
	static char text[16384];
	struct buf out = {0};

	file_read(f.out, sizeof(text) - 1, &out);
	snprintf(text, sizeof(text), "%s", buf_text(&out));
	buf_free(&out);
	return text;
}

static void wait_for(const char *text)
{
	for (int i = 0; i < 4000; i++, nap())
		if (strstr(output(), text))
			return;
	fail_msg("never came: %s; there is: %s", text, output());
}

static void send_event(enum event_type type, const char *peer, const char *name)
{
	hook_send(f.hooks, &(struct event){.type = type, .interface = "wg0", .peer = peer, .peer_name = name,
					   .latency_ms = -1});
}

/* The runner's socket has room for some only, and a busy machine's runner is slow to read. */
static void until_told(struct loop *loop)
{
	for (int i = 0; i < 100 && !hook_told(f.hooks); i++) {
		hook_detach(f.hooks);
		hook_attach(f.hooks, loop);
	}
	hook_detach(f.hooks);
}

static void expect(const char *want)
{
	if (strcmp(output(), want))
		fail_msg("is:\n%s\nwant:\n%s", output(), want);
}

/* ---- what runs --------------------------------------------------------------------------- */

static void yaml_then_files_in_order(void **unused)
{
	(void)unused;
	configure("  agent_up: ['echo one %i $WG_MESH_EVENT >> DIR/out', 'echo two >> DIR/out']\n"
		  "  post_up: 'echo three >> DIR/out'\n");
	put_script("hooks.d/agent-up/20-b.sh", "b $WG_MESH_INTERFACE", 0755);
	put_script("hooks.d/agent-up/10-a", "a", 0700);
	put_script("hooks.d/agent-up/30-c~", "backup", 0755);
	put_script("hooks.d/agent-up/.hidden", "hidden", 0755);
	put_script("hooks.d/agent-up/40-plain", "not executable", 0644);
	put_script("hooks.d/agent-up/50-open", "writable by others", 0777);
	put_script("hooks.d/agent-down/10-a", "other event", 0755);
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	stop_and_wait();
	expect("one wg0 agent-up\ntwo\nthree\na\nb wg0\n");
}

static void open_directories_are_refused(void **unused)
{
	char path[400];

	(void)unused;
	configure("  agent_up: []\n");
	put_script("hooks.d/agent-up/10-a", "a", 0755);
	put_script("hooks.d/nat-changed/10-n", "n", 0755);
	snprintf(path, sizeof(path), "%s/agent-up", f.paths.hooks_dir);
	chmod(path, 0777);
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	stop_and_wait();
	expect("n\n");
}

static void untrusted_configuration_runs_nothing(void **unused)
{
	(void)unused;
	configure("  nat_changed: 'echo yaml >> DIR/out'\n");
	put_script("hooks.d/nat-changed/10-n", "file", 0755);
	chmod(f.paths.config, 0666);
	start();
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	stop_and_wait();
	expect("file\n");
}

static void reload_reads_the_file_again(void **unused)
{
	(void)unused;
	configure("  nat_changed: 'echo old >> DIR/out'\n");
	start();
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	wait_for("old\n");
	configure("  nat_changed: 'echo new >> DIR/out'\n");
	hook_reload(f.hooks);
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	wait_for("new\n");
	configure("  nat_changedd: 'echo wrong >> DIR/out'\n"); /* and a wrong one changes nothing */
	hook_reload(f.hooks);
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	stop_and_wait();
	expect("old\nnew\nnew\n");
}

static void environment_is_exactly_this(void **unused)
{
	(void)unused;
	configure("  path_changed: 'env | grep -v \"^PWD=\\|^_=\\|^SHLVL=\\|^OLDPWD=\" | sort >> DIR/out; "
		  "ls /proc/self/fd | tr \"\\n\" \" \" >> DIR/out; id -u >> DIR/out'\n");
	setenv("SECRET_OF_THE_AGENT", "x", 1);
	start();
	unsetenv("SECRET_OF_THE_AGENT");
	hook_send(f.hooks, &(struct event){.type = EVENT_PATH_CHANGED, .interface = "lies", .network = "default",
					   .name = "laptop", .peer = KEY_A, .peer_name = "nas",
					   .peer_address = "10.86.0.4", .path = "direct", .old_path = "relay fra",
					   .endpoint = "198.51.100.9:51820", .old_endpoint = "[2001:db8::1]:5",
					   .reason = "why", .latency_ms = 12.34});
	stop_and_wait();
	expect("HOME=/root\nLANG=C.UTF-8\n"
	       "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSHELL=/bin/sh\n"
	       "WG_MESH_ENDPOINT=198.51.100.9:51820\nWG_MESH_EVENT=path-changed\nWG_MESH_INTERFACE=wg0\n"
	       "WG_MESH_LATENCY_MS=12.3\nWG_MESH_NAME=laptop\nWG_MESH_NETWORK=default\n"
	       "WG_MESH_OLD_ENDPOINT=[2001:db8::1]:5\nWG_MESH_OLD_PATH=relay fra\nWG_MESH_PATH=direct\n"
	       "WG_MESH_PEER=" KEY_A "\nWG_MESH_PEER_ADDRESS=10.86.0.4\nWG_MESH_PEER_NAME=nas\n0 1 2 3 0\n");
}

static void hostile_fields_are_left_out(void **unused)
{
	static const char *const names[] = {"$(touch hacked)", "`id`", "a;b", "a b", "a\nWG_MESH_X=1", "-rf",
					    "../x", "A", "\u00e9", ""};
	json_t *said, *event;
	char **env;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		said = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:s}", "event",
				 "path-changed", "interface", names[i], "name", names[i], "network", names[i],
				 "peer", names[i], "peer_name", names[i], "peer_address", names[i], "path",
				 names[i], "endpoint", names[i], "old_endpoint", names[i], "latency_ms", -1.0,
				 "LD_PRELOAD", "/tmp/x.so");
		event = hook_event_checked(EVENT_PATH_CHANGED, "wg0", said);
		assert_int_equal(json_object_size(event), 2); /* event and interface: ours */
		env = hook_env(event);
		assert_string_equal(env[4], "WG_MESH_EVENT=path-changed");
		assert_string_equal(env[5], "WG_MESH_INTERFACE=wg0");
		assert_null(env[6]);
		hook_env_free(env);
		json_decref(event);
		json_decref(said);
	}
}

static void hostile_name_reaches_no_shell(void **unused)
{
	(void)unused;
	configure("  path_changed: 'echo \"<$WG_MESH_PEER_NAME>\" >> DIR/out'\n");
	start();
	send_event(EVENT_PATH_CHANGED, KEY_A, "$(touch hacked)");
	send_event(EVENT_PATH_CHANGED, KEY_A, "x\"; touch hacked; \"");
	send_event(EVENT_PATH_CHANGED, KEY_A, "nas");
	stop_and_wait();
	expect("<>\n<>\n<nas>\n");
}

static void failing_and_hanging_hooks_change_nothing_else(void **unused)
{
	(void)unused;
	configure("  nat_changed: ['exit 3', 'kill -9 $$', 'sleep 100 & echo $! >> DIR/pid; sleep 100',\n"
		  "                '/nonexistent', 'echo alive >> DIR/out']\n");
	put_script("hooks.d/nat-changed/10-no-interpreter", "x", 0755);
	put("hooks.d/nat-changed/10-no-interpreter", "#!/nonexistent\n", 0755);
	put_script("hooks.d/nat-changed/20-last", "last", 0755);
	start();
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	stop_and_wait();
	expect("alive\nlast\n");
	/* what the hanging one had started is gone with it */
	{
		char path[100], pid[32] = "";
		struct buf text = {0};

		snprintf(path, sizeof(path), "%s/pid", f.dir);
		assert_int_equal(file_read(path, 20, &text), 0);
		snprintf(pid, sizeof(pid), "/proc/%.*s/cmdline", (int)strcspn(buf_text(&text), "\n"), buf_text(&text));
		buf_free(&text);
		file_read(pid, 100, &text);
		assert_null(strstr(buf_text(&text), "sleep")); /* not there, or a zombie */
		buf_free(&text);
	}
}

static void four_at_a_time(void **unused)
{
	char key[KEY_BASE64];
	struct key peer = {{0}};

	(void)unused;
	configure("  path_changed: 'mkdir DIR/run.$WG_MESH_PEER_NAME; echo DIR/run.* | wc -w >> DIR/out; sleep 0.1; "
		  "rmdir DIR/run.$WG_MESH_PEER_NAME'\n");
	start();
	for (int i = 0; i < 12; i++) {
		char name[16];

		peer.bytes[0] = (uint8_t)(i + 1);
		key_format(key, &peer);
		snprintf(name, sizeof(name), "p%d", i);
		send_event(EVENT_PATH_CHANGED, key, name);
	}
	stop_and_wait();
	assert_non_null(strstr(output(), "4\n")); /* in parallel */
	assert_null(strstr(output(), "5\n"));    /* but not more */
	assert_int_equal(strlen(output()), 24);
}

static void one_peers_events_keep_their_order(void **unused)
{
	(void)unused;
	configure("  peer_up: 'sleep 0.1; echo up $WG_MESH_PEER_NAME >> DIR/out'\n"
		  "  path_changed: 'echo path $WG_MESH_PEER_NAME >> DIR/out'\n"
		  "  peer_down: 'echo down $WG_MESH_PEER_NAME >> DIR/out'\n"
		  "  agent_up: 'sleep 0.1; echo agent up >> DIR/out'\n"
		  "  agent_down: 'echo agent down >> DIR/out'\n");
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	send_event(EVENT_PATH_CHANGED, KEY_A, "nas");
	send_event(EVENT_PEER_DOWN, KEY_A, "nas");
	send_event(EVENT_AGENT_DOWN, NULL, NULL);
	stop_and_wait();
	expect("agent up\nup nas\npath nas\ndown nas\nagent down\n");
}

static void queue_is_bounded_and_keeps_the_downs(void **unused)
{
	struct loop *loop = loop_new();

	(void)unused;
	configure("  agent_up: 'sleep 0.5; echo up >> DIR/out'\n"
		  "  agent_down: 'echo down >> DIR/out'\n"
		  "  nat_changed: 'echo -n x >> DIR/n'\n");
	start();
	hook_attach(f.hooks, loop);
	send_event(EVENT_AGENT_UP, NULL, NULL);
	for (int i = 0; i < 400; i++) {
		send_event(EVENT_NAT_CHANGED, NULL, NULL);
		if (i % 20 == 0)
			nap();
	}
	send_event(EVENT_AGENT_DOWN, NULL, NULL);
	until_told(loop);
	loop_free(loop);
	stop_and_wait();
	expect("up\ndown\n");
	{
		char path[100];
		struct stat st;

		snprintf(path, sizeof(path), "%s/n", f.dir);
		assert_int_equal(stat(path, &st), 0);
		assert_in_range(st.st_size, 200, 256);
	}
}

/* ---- each -up gets its -down ----------------------------------------------------------------- */

#define PAIRS                                                                                      \
	"  agent_up: 'echo agent up >> DIR/out'\n  agent_down: 'echo agent down >> DIR/out'\n"     \
	"  peer_up: 'echo up $WG_MESH_PEER_NAME >> DIR/out'\n"                                     \
	"  peer_down: 'echo down $WG_MESH_PEER_NAME >> DIR/out'\n"

static void down_runs_only_after_its_up(void **unused)
{
	(void)unused;
	configure(PAIRS);
	start();
	send_event(EVENT_PEER_DOWN, KEY_A, "nas");
	send_event(EVENT_AGENT_DOWN, NULL, NULL);
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	send_event(EVENT_PEER_UP, NULL, "nobody");
	send_event(EVENT_PEER_DOWN, KEY_B, "other");
	send_event(EVENT_PEER_DOWN, KEY_A, "nas");
	send_event(EVENT_PEER_DOWN, KEY_A, "nas");
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	stop_and_wait();
	expect("up nas\ndown nas\nup nas\n");
	assert_false(hook_owes(&f.paths, EVENT_AGENT_UP));
	assert_true(hook_owes(&f.paths, EVENT_PEER_UP));
}

static void restart_with_tunnels_intact_is_silent(void **unused)
{
	(void)unused;
	configure(PAIRS);
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	stop_and_wait(); /* a crash, or SIGTERM */
	assert_true(hook_owes(&f.paths, EVENT_AGENT_UP));
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	stop_and_wait();
	expect("agent up\nup nas\n");
	start();
	send_event(EVENT_AGENT_DOWN, NULL, NULL); /* brings along the peer's */
	stop_and_wait();
	expect("agent up\nup nas\ndown nas\nagent down\n");
	assert_int_equal(hook_record_count(f.paths.hooks, EVENT_COUNT, true, true), 0);
}

static void settle_runs_what_is_owed(void **unused)
{
	(void)unused;
	configure(PAIRS);
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	wait_for("up nas");
	send_event(EVENT_PEER_UP, KEY_B, "pi");
	wait_for("up pi");
	send_event(EVENT_PEER_DOWN, KEY_A, "nas");
	stop_and_wait();
	assert_int_equal(hook_settle("wg0", &f.paths), 0);
	wait_for("agent down\n");
	wait_for_runner();
	expect("agent up\nup nas\nup pi\ndown nas\ndown pi\nagent down\n");
	assert_int_equal(hook_settle("wg0", &f.paths), 0); /* nothing more */
	nap();
	wait_for_runner();
	expect("agent up\nup nas\nup pi\ndown nas\ndown pi\nagent down\n");
}

static void settle_waits_for_the_runner_before(void **unused)
{
	(void)unused;
	configure("  agent_up: 'sleep 0.3; echo up >> DIR/out'\n  agent_down: 'echo down >> DIR/out'\n");
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	for (int i = 0; i < 2000 && !hook_owes(&f.paths, EVENT_AGENT_UP); i++)
		nap();
	hook_stop(f.hooks);
	f.hooks = NULL;
	assert_int_equal(hook_settle("wg0", &f.paths), 0);
	wait_for("down\n");
	wait_for_runner();
	expect("up\ndown\n");
}

static void write_record(const char *boot, int ifindex, const char *lines)
{
	struct hook_record *record;
	struct buf text = {0};
	char *head;

	file_read("/proc/sys/kernel/random/boot_id", 64, &text);
	head = xasprintf("{\"boot\":\"%.*s\",\"interface\":\"wg0\",\"ifindex\":%d,\"netns\":%llu}\n%s",
			 (int)strcspn(buf_text(&text), "\n"), boot ? boot : buf_text(&text), ifindex,
			 (unsigned long long)netns_id(), lines);
	assert_int_equal(file_write_atomic(f.paths.hooks, head, strlen(head), 0600), 0);
	free(head);
	buf_free(&text);
	assert_int_equal(hook_record_open(&record, f.paths.hooks, "wg0"), 0);
	hook_record_close(record);
}

/* `leave` has removed it while the one that was to pay still waited for its turn. */
static void paying_makes_no_record(void **unused)
{
	(void)unused;
	configure(PAIRS);
	write_record(NULL, 0, "{\"event\":\"agent-up\"}\n");
	assert_int_equal(unlink(f.paths.hooks), 0);
	hook_runner(-1, "wg0", &f.paths, 0);
	assert_int_equal(access(f.paths.hooks, F_OK), -1);
}

static void reboot_owes_nothing(void **unused)
{
	(void)unused;
	configure(PAIRS);
	write_record("another-boot", 0, "{\"event\":\"agent-up\"}\n");
	assert_false(hook_owes(&f.paths, EVENT_AGENT_UP));
	assert_int_equal(hook_settle("wg0", &f.paths), 0);
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	stop_and_wait();
	expect("agent up\n");
}

static void interface_made_anew_gets_its_downs_first(void **unused)
{
	(void)unused;
	configure(PAIRS);
	write_record(NULL, 4711,
		     "{\"event\":\"agent-up\"}\n"
		     "{\"event\":\"peer-up\",\"peer\":\"" KEY_A "\",\"peer_name\":\"nas\"}\n");
	assert_false(hook_owes(&f.paths, EVENT_AGENT_UP)); /* for this interface */
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	send_event(EVENT_PEER_UP, KEY_A, "nas");
	stop_and_wait();
	expect("down nas\nagent down\nagent up\nup nas\n");
	assert_true(hook_owes(&f.paths, EVENT_AGENT_UP));
}

static void down_that_was_cut_short_runs_again(void **unused)
{
	(void)unused;
	configure(PAIRS);
	write_record(NULL, 0,
		     "{\"event\":\"agent-up\"}\n"
		     "{\"event\":\"peer-up\",\"peer\":\"" KEY_A "\",\"peer_name\":\"nas\"}\n"
		     "{\"event\":\"peer-down\",\"peer\":\"" KEY_A "\",\"ending\":true}\n"
		     "{\"event\":\"peer-up\",\"peer\":\"" KEY_A "\",\"peer_name\":\"na"); /* and a line cut short */
	start();
	stop_and_wait();
	expect("down nas\n");
	assert_true(hook_owes(&f.paths, EVENT_AGENT_UP));
}

static void record_does_not_grow_for_ever(void **unused)
{
	struct hook_record *record;
	json_t *keep = json_pack("{s:s}", "event", "agent-up"), *up;
	struct stat st;

	(void)unused;
	assert_int_equal(hook_record_open(&record, f.paths.hooks, "wg0"), 0);
	hook_record_up(record, keep);
	for (int i = 0; i < 20000; i++) {
		up = json_pack("{s:s, s:s}", "event", "peer-up", "peer", KEY_A);
		hook_record_up(record, up);
		hook_record_ending(record, up);
		hook_record_done(record, up);
		json_decref(up);
	}
	assert_int_equal(stat(f.paths.hooks, &st), 0);
	assert_in_range(st.st_size, 1, 1200000);
	hook_record_close(record);
	assert_int_equal(hook_record_count(f.paths.hooks, EVENT_COUNT, true, true), 1);
	json_decref(keep);
}

static void rubbish_from_the_agent_is_passed_over(void **unused)
{
	static const char *const rubbish[] = {"", "x", "[]", "{}", "{\"event\":7}", "{\"event\":\"fly\"}",
					      "{\"event\":\"refused\"}", "{\"event\":\"post-up\"}",
					      "{\"event\":\"agent_up\"}",
					      "{\"type\":\"run\",\"command\":\"touch hacked\"}"};

	(void)unused;
	configure("  agent_up: 'echo up >> DIR/out'\n  nat_changed: 'echo nat >> DIR/out'\n");
	put_script("hooks.d/refused/10-x", "refused", 0755);
	start();
	for (size_t i = 0; i < ARRAY_SIZE(rubbish); i++)
		send(*(int *)f.hooks, rubbish[i], strlen(rubbish[i]) + !*rubbish[i], MSG_NOSIGNAL);
	send_event(EVENT_REFUSED, NULL, NULL);
	send_event(EVENT_NAT_CHANGED, NULL, NULL);
	stop_and_wait();
	expect("nat\n");
}

static void send_many(enum event_type type, unsigned count)
{
	char key[KEY_BASE64];
	struct key peer = {{1}};

	for (unsigned i = 0; i < count; i++) {
		memcpy(peer.bytes, &i, sizeof(i));
		key_format(key, &peer);
		send_event(type, key, "nas");
	}
}

/* The runner before still works; meanwhile comes more than a socket holds. */
static void burst_for_a_runner_that_waits_is_not_lost(void **unused)
{
	struct loop *loop = loop_new();
	struct hook_record *record;

	(void)unused;
	configure("  nat_changed: 'echo nat >> DIR/out'\n");
	assert_int_equal(hook_record_open(&record, f.paths.hooks, "wg0"), 0);
	assert_int_equal(hook_start(&f.hooks, "wg0", &f.paths), 0);
	hook_attach(f.hooks, loop);
	send_many(EVENT_PEER_UP, 3000);
	until_told(loop);
	hook_record_close(record);
	for (int i = 0; i < 4000 && hook_record_count(f.paths.hooks, EVENT_PEER_UP, true, true) < 3000; i++)
		nap();
	assert_int_equal(hook_record_count(f.paths.hooks, EVENT_PEER_UP, true, true), 3000);
	stop_and_wait();

	start();
	hook_attach(f.hooks, loop);
	send_many(EVENT_PEER_DOWN, 3000);
	until_told(loop);
	stop_and_wait();
	assert_int_equal(hook_record_count(f.paths.hooks, EVENT_PEER_UP, true, true), 0);
	loop_free(loop);
}

/* Killed alone, it is forked anew, and what was said meanwhile is done. */
static void runner_that_dies_has_a_successor(void **unused)
{
	char *text;
	int pid = 0;

	(void)unused;
	configure("  agent_up: 'echo $PPID >> DIR/out'\n  agent_down: 'echo down >> DIR/out'\n");
	start();
	send_event(EVENT_AGENT_UP, NULL, NULL);
	wait_for("\n");
	assert_int_equal(sscanf(output(), "%d", &pid), 1);
	assert_true(pid > 1 && hook_alive(f.hooks));
	assert_int_equal(kill(pid, SIGKILL), 0);
	for (int i = 0; i < 4000 && kill(pid, 0) == 0; i++)
		nap();
	assert_true(hook_alive(f.hooks));
	send_event(EVENT_AGENT_DOWN, NULL, NULL);
	wait_for("down\n");
	stop_and_wait();
	text = xasprintf("%d\ndown\n", pid);
	expect(text);
	free(text);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(yaml_then_files_in_order),
		TEST(open_directories_are_refused),
		TEST(untrusted_configuration_runs_nothing),
		TEST(reload_reads_the_file_again),
		TEST(environment_is_exactly_this),
		TEST(hostile_fields_are_left_out),
		TEST(hostile_name_reaches_no_shell),
		TEST(failing_and_hanging_hooks_change_nothing_else),
		TEST(four_at_a_time),
		TEST(one_peers_events_keep_their_order),
		TEST(queue_is_bounded_and_keeps_the_downs),
		TEST(down_runs_only_after_its_up),
		TEST(restart_with_tunnels_intact_is_silent),
		TEST(settle_runs_what_is_owed),
		TEST(settle_waits_for_the_runner_before),
		TEST(paying_makes_no_record),
		TEST(reboot_owes_nothing),
		TEST(interface_made_anew_gets_its_downs_first),
		TEST(down_that_was_cut_short_runs_again),
		TEST(record_does_not_grow_for_ever),
		TEST(rubbish_from_the_agent_is_passed_over),
		TEST(burst_for_a_runner_that_waits_is_not_lost),
		TEST(runner_that_dies_has_a_successor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
