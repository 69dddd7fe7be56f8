/*
 * wg-meshd: the agent of one WireGuard interface. Reads the options, forks the hook runner while
 * there are all rights and one thread, and runs the agent, in the foreground or as a daemon.
 */
#include "agent.h"
#include "agent_load.h"
#include "config.h"
#include "plugin_check.h"
#include "register.h"
#include "supervise.h"
#include "lib/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/sock.h"
#include "lib/str.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOLD_MS     3000 /* an agent that ends saves its state first */
#define HOLD_NAP_MS 20
#define HELLO_MS    300

struct arguments {
	const char *interface, *config, *state, *run_dir, *plugin_dir;
	bool check, verbose, help, version, registers, daemon;
};

struct option {
	const char *name, *value_name; /* value_name NULL: a flag */
	size_t at;
	const char *help;
};

#define AT(member) offsetof(struct arguments, member)
static const struct option options[] = {
	{"--config", "FILE", AT(config), "configuration (a directory when it ends in '/')"},
	{"--state", "DIR", AT(state), "directory of the state file"},
	{"--run-dir", "DIR", AT(run_dir), "directory of the control socket and the ledger"},
	{"--plugin-dir", "DIR", AT(plugin_dir), "directory of the plugins"},
	{"--check", NULL, AT(check), "read the configuration, report, exit"},
	{"--daemon", NULL, AT(daemon), "detach; restart the agent if it dies"},
	{"--register", NULL, AT(registers), "one registration, asked for on standard input"},
	{"--verbose", NULL, AT(verbose), "log what a developer wants to know"},
	{"--help", NULL, AT(help), "this text"},
	{"--version", NULL, AT(version), "the version"},
};

static void print_help(void)
{
	printf("usage: wg-meshd IFACE [options]\n\nThe mesh agent of one WireGuard interface.\n\n");
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		printf("  %-13s %-5s %s\n", options[i].name,
		       options[i].value_name ? options[i].value_name : "", options[i].help);
}

static const struct option *find_option(const char *word, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		if (strlen(options[i].name) == len && !strncmp(options[i].name, word, len))
			return &options[i];
	}
	return NULL;
}

/* "--name VALUE" or "--name=VALUE"; the number of words used, 0: a sentence was printed. */
static int take_option(struct arguments *args, int left, char **words)
{
	const char *equals = strchr(words[0], '=');
	const struct option *option =
		find_option(words[0], equals ? (size_t)(equals - words[0]) : strlen(words[0]));

	if (!option || (equals && !option->value_name)) {
		fprintf(stderr, "wg-meshd: there is no option %s; see wg-meshd --help\n", words[0]);
		return 0;
	}
	if (!option->value_name) {
		*(bool *)((char *)args + option->at) = true;
		return 1;
	}
	if (!equals && left < 2) {
		fprintf(stderr, "wg-meshd: %s needs a %s\n", option->name, option->value_name);
		return 0;
	}
	*(const char **)((char *)args + option->at) = equals ? equals + 1 : words[1];
	return equals ? 1 : 2;
}

static bool parse(struct arguments *args, int argc, char **argv)
{
	int used;

	for (int i = 1; i < argc; i += used) {
		used = 1;
		if (argv[i][0] == '-')
			used = take_option(args, argc - i, argv + i);
		else if (args->interface)
			fprintf(stderr, "wg-meshd: one interface, not also %s\n", argv[i]),
				used = 0;
		else
			args->interface = argv[i];
		if (!used)
			return false;
	}
	if (args->help || args->version || args->registers)
		return true;
	if (!args->interface || !interface_name_valid(args->interface)) {
		fprintf(stderr, "wg-meshd: %s%s; see wg-meshd --help\n",
			args->interface ? args->interface : "name the interface",
			args->interface ? ": that is no interface's name" : "");
		return false;
	}
	return true;
}

static int check(const char *interface, const struct paths *paths)
{
	char error[YAML_ERROR];
	struct config *config = config_load(paths->config, error);
	bool good;

	if (!config) {
		fprintf(stderr, "%s\n", error);
		return 2;
	}
	good = plugin_check(config, interface, paths->plugin_dir);
	config_free(config);
	if (good)
		printf("%s: good\n", paths->config);
	return good ? 0 : 2;
}

/* One that is ending closes the connection. */
static bool answers(const struct paths *paths)
{
	static const char hello[] = "{\"command\":\"hello\"}\n";
	struct pollfd poller = {.fd = sock_connect_unix(paths->socket), .events = POLLIN};
	bool alive;
	char byte;

	if (poller.fd < 0)
		return false;
	alive = send(poller.fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL) > 0 &&
		poll(&poller, 1, HELLO_MS) > 0 && read(poller.fd, &byte, 1) == 1;
	close(poller.fd);
	return alive;
}

/* When `down` was last asked for (core/cli/turn.h). */
static struct timespec down_time(const struct paths *paths)
{
	struct stat st;

	return stat(paths->turn, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

/* One agent for an interface. One that is just ending is waited for; one that answers is there to
 * stay. A `down` that came since we were started was meant for us too. 0, or an exit code; *down: that
 * is why. */
static int become_the_one(const struct arguments *args, const struct paths *paths,
			  const struct timespec *started, bool *down)
{
	struct timespec now;
	int error;

	for (unsigned waited = 0; waited < HOLD_MS; waited += HOLD_NAP_MS) {
		error = daemon_hold(paths->pid);
		if (error != -EAGAIN || answers(paths))
			break;
		poll(NULL, 0, HOLD_NAP_MS);
	}
	now = down_time(paths);
	*down = now.tv_sec != started->tv_sec || now.tv_nsec != started->tv_nsec;
	if (!error && *down)
		unlink(paths->pid);
	if (*down)
		log_info("ended", "reason=\"wg-mesh down %s was called meanwhile\"", args->interface);
	if (!error || *down)
		return 0;
	log_error("held", "reason=\"%s: %s\"", error == -EAGAIN ? args->interface : paths->pid,
		  error == -EAGAIN ? "its agent is running already" : strerror(-error));
	return 1;
}

/* Not before the daemon can be found by its pid file, or has ended. */
static void wait_for_daemon(const struct paths *paths, pid_t pid)
{
	for (unsigned waited = 0; waited < HOLD_MS; waited++) {
		if (daemon_holder(paths->pid) == pid || waitpid(pid, NULL, WNOHANG) == pid)
			return;
		poll(NULL, 0, 1);
	}
}

static int run(const struct arguments *args, const struct paths *paths)
{
	struct agent_options agent = {.interface = args->interface, .paths = paths};
	int error = file_make_dirs(paths->run_dir, 0755), code;
	struct timespec started = down_time(paths);
	char why[LOAD_WHY];
	bool down;
	pid_t pid;

	if (error) {
		fprintf(stderr, "wg-meshd: %s cannot be made: %s\n", paths->run_dir,
			strerror(-error));
		return 1;
	}
	code = load_check(args->interface, paths, why);
	if (code) {
		fprintf(stderr, "wg-meshd: %s\n", why);
		return code;
	}
	if (args->daemon) {
		pid = daemon_fork(paths->log);
		if (pid > 0)
			wait_for_daemon(paths, pid);
		if (pid < 0)
			fprintf(stderr, "wg-meshd: no daemon with the log %s: %s\n", paths->log,
				strerror((int)-pid));
		if (pid)
			return pid < 0 ? 1 : 0;
	}
	log_open("wg-meshd", args->interface, args->verbose ? LOG_DEBUG : LOG_INFO);
	if (args->daemon)
		log_keep_short(paths->log, paths->log_old);
	code = become_the_one(args, paths, &started, &down);
	if (code || down)
		return code;
	error = hook_start(&agent.hooks, args->interface, paths);
	if (error)
		log_warn("hooks", "reason=\"no hooks will run: %s\"", strerror(-error));
	code = args->daemon ? supervise(&agent) : agent_run(&agent);
	if (agent.hooks)
		hook_stop(agent.hooks);
	unlink(paths->pid);
	return code;
}

int main(int argc, char **argv)
{
	struct arguments args = {0};
	struct paths paths;
	int error;

	standard_open();
	if (!parse(&args, argc, argv))
		return 2;
	if (args.help)
		print_help();
	if (args.version)
		printf("wg-meshd %s\n", WG_MESH_VERSION);
	if (args.help || args.version)
		return output_end("wg-meshd", 0);
	if (args.registers)
		return register_main();
	error = paths_init(&paths, args.interface, args.config, args.state, args.run_dir,
			   args.plugin_dir);
	if (error) {
		fprintf(stderr, "wg-meshd: a path is empty or too long\n");
		return 2;
	}
	return args.check ? output_end("wg-meshd", check(args.interface, &paths)) : run(&args, &paths);
}
