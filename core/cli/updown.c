/*
 * updown.c - `up` and `down`, wg-quick's PostUp and PreDown (SPEC 1, rule 4): 200 ms, exit code 0.
 *
 * The tricky thing: PostUp runs inside wg-quick's clean-up trap. Anything that hangs, or holds its
 * descriptors, hangs wg-quick; so every wait here has a limit and every child clean descriptors. On
 * the way down what was made is removed in any case, with no agent if need be: wg-quick may write
 * what is left into the user's file next.
 */
#include "updown.h"
#include "agent.h"
#include "agent_load.h"
#include "hook.h"
#include "lib/clock.h"
#include "lib/daemon.h"
#include "run.h"
#include "running.h"
#include "service.h"
#include "status_text.h"
#include "turn.h"
#include "undo.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define HELLO_MS 100 /* a live agent answers in one; a hung one may not cost more */
#define STOP_MS  60
#define DOWN_MS  100 /* SPEC 1, rule 4 */
#define START_MS 120
#define NAP_MS   2
#define ASK_MS   1000
#define GONE_MS  5000 /* leave removes files that an ending agent may still write */
#define POLL_MS  100

static enum exit_code start_daemon(const struct cli *cli, const struct turn *turn)
{
	const char *argv[16] = {run_agent_path(), cli->interface, "--daemon"};
	const struct {
		const char *name, *value;
	} pass[] = {{"--config", cli->config},
		    {"--state", cli->state},
		    {"--run-dir", cli->run_dir},
		    {"--plugin-dir", cli->plugin_dir}};
	const struct run run = {.argv = argv, .timeout_ms = (unsigned)turn_left(turn, START_MS),
				.leave_running = true};
	struct run_result result;
	size_t count = 3;
	bool started, config;

	for (size_t i = 0; i < ARRAY_SIZE(pass); i++) {
		if (!pass[i].value)
			continue;
		argv[count++] = pass[i].name;
		argv[count++] = pass[i].value;
	}
	if (cli->verbose)
		argv[count++] = "--verbose";
	run_program(&run, &result);
	/* A slow start is no failure: it goes on without us. */
	started = result.error == -ETIMEDOUT || (!result.error && result.exit_code == 0);
	config = !result.error && result.exit_code == EXIT_USAGE;
	if (result.error && !started)
		complain(EXIT_FAILED, "the agent of %s was not started: %s: %s", cli->interface,
			 argv[0], strerror(-result.error));
	else if (!started)
		complain(EXIT_FAILED, "the agent of %s was not started: %s (exit code %d)",
			 cli->interface, *run_last_line(&result) ? run_last_line(&result) : argv[0],
			 result.exit_code);
	run_fini(&result);
	return started ? EXIT_DONE : config ? EXIT_USAGE : EXIT_NOT_RUNNING;
}

static enum exit_code start(const struct cli *cli, const struct turn *turn, bool again)
{
	char why[LOAD_WHY];
	int code;

	if (!service_is_ours(cli))
		return start_daemon(cli, turn);
	code = load_check(cli->interface, &cli->paths, why); /* a unit could not tell us */
	if (!code && service_agent(cli, again ? "restart" : "start", why) == 0)
		return EXIT_DONE;
	complain(EXIT_FAILED, "the agent of %s was not started: %s", cli->interface, why);
	return code == EXIT_USAGE ? EXIT_USAGE : EXIT_NOT_RUNNING;
}

/* patience_ms: of each of its two steps; then it is ended by force. */
static void ask_stop(const struct cli *cli, struct agent *agent, int patience_ms)
{
	json_t *answer = NULL;
	struct pollfd gone = {.fd = agent->fd, .events = POLLRDHUP};

	if (agent_send(agent, "{\"command\":\"stop\"}") < 0 ||
	    agent_next(agent, patience_ms, &answer) < 0 || poll(&gone, 1, patience_ms) <= 0)
		agent_end(cli, agent->pid);
	json_decref(answer);
}

/* An agent of an interface that is gone, and all it holds with it; or one whose hooks have gone. A
 * new one starts in its place. */
static enum exit_code replace(const struct cli *cli, const struct turn *turn, struct agent *agent)
{
	if (service_is_ours(cli))
		return start(cli, turn, true);
	ask_stop(cli, agent, turn_left(turn, STOP_MS));
	return start(cli, turn, false);
}

static enum exit_code bring_up(const struct cli *cli, const struct turn *turn, struct agent *agent,
			       bool sees)
{
	switch (running_look(cli, agent, turn_left(turn, HELLO_MS))) {
	case RUNS:
		return EXIT_DONE;
	case RUNS_OUTDATED:
		return replace(cli, turn, agent);
	case RUNS_ELSEWHERE:
		running_elsewhere(cli);
		return EXIT_NOT_RUNNING;
	case RUNS_HUNG:
		if (sees)
			return EXIT_DONE;
		running_hung(cli, agent);
		return EXIT_NOT_RUNNING;
	case RUNS_NOT:
		break;
	}
	if (access(cli->paths.config, F_OK) == 0 || errno != ENOENT)
		return start(cli, turn, false);
	complain(EXIT_FAILED,
		 "%s has not joined a mesh (no %s): `wg-mesh join LINK --interface %s`",
		 cli->interface, cli->paths.config, cli->interface);
	return EXIT_NOT_RUNNING;
}

enum exit_code agent_up(const struct cli *cli, bool sees)
{
	enum exit_code code;
	struct agent agent;
	struct turn turn;

	turn_take(&turn, cli, false);
	code = bring_up(cli, &turn, &agent, sees);
	agent_close(&agent);
	turn_end(&turn);
	return code;
}

bool agent_stop(const struct cli *cli)
{
	char why[SERVICE_WHY];
	struct agent agent;
	struct turn turn;
	enum running running;

	if (running_elsewhere(cli))
		return false;
	turn_take(&turn, cli, false);
	running = running_look(cli, &agent, HELLO_MS);
	if (running != RUNS_NOT && service_is_ours(cli) && !service_agent(cli, "stop", why))
		agent_wait_gone(agent.pid, GONE_MS);
	else if (running != RUNS_NOT)
		ask_stop(cli, &agent, GONE_MS);
	agent_close(&agent);
	turn_end(&turn);
	return true;
}

/* 0 connected, 3 no agent, 4 the coordinator is not reached; asked again until `end`. why: what an
 * administrator has to do, or "". */
static int connected(const struct cli *cli, char why[static STATUS_WHY])
{
	json_t *answer = NULL;
	struct agent agent;
	int code = EXIT_NOT_RUNNING;

	why[0] = '\0';
	if (agent_connect(&agent, cli->paths.socket) == 0 &&
	    agent_send(&agent, "{\"command\":\"status\"}") == 0) {
		code = EXIT_NOT_REACHABLE;
		if (agent_next(&agent, ASK_MS, &answer) == 0 &&
		    json_is_true(
			    json_object_get(json_object_get(answer, "coordinator"), "connected")))
			code = EXIT_DONE;
		status_admitted(answer, why);
	}
	json_decref(answer);
	agent_close(&agent);
	return code;
}

static bool is_root(const char *command)
{
	if (geteuid() == 0)
		return true;
	complain(EXIT_CANNOT_RUN, "%s changes this host's network: run it as root (sudo)", command);
	return false;
}

int run_up(struct cli *cli)
{
	uint64_t end = clock_ms() + cli->wait_s * 1000;
	int code = is_root("up") ? (int)agent_up(cli, cli->has_wait) : EXIT_CANNOT_RUN;
	char why[STATUS_WHY];

	if (!cli->has_wait)
		return EXIT_DONE;
	if (code)
		return code;
	while ((code = connected(cli, why)) != EXIT_DONE && clock_ms() < end)
		poll(NULL, 0, POLL_MS);
	if (code == EXIT_NOT_RUNNING)
		return complain(code,
				"the agent of %s did not come up: its log (journalctl -u "
				"wg-meshd@%s, or %s) "
				"says why",
				cli->interface, cli->interface, cli->paths.log);
	if (*why)
		return complain(code, "%s", why);
	if (code == EXIT_NOT_REACHABLE)
		return complain(
			code,
			"the agent of %s runs, but has not reached its coordinator in %llu s: "
			"`wg-mesh doctor %s` looks why",
			cli->interface, (unsigned long long)cli->wait_s, cli->interface);
	return EXIT_DONE;
}

/* Asks the agent to clean up and end. False: it has to be done here. *owes: its hooks have to be
 * run here. */
static bool ask_down(struct agent *agent, const struct turn *turn, bool *owes)
{
	json_t *answer = NULL;
	bool done = agent_send(agent, "{\"command\":\"down\"}") == 0 &&
		    agent_next(agent, turn_left(turn, DOWN_MS), &answer) == 0 &&
		    json_is_true(json_object_get(answer, "ok"));

	*owes = json_is_false(json_object_get(answer, "hooks"));
	json_decref(answer);
	return done;
}

/* Nobody else becomes the agent until the interface is clean and we have ended: one that has waited
 * for this moment ends by itself, since a down was asked for (turn.h). */
static void hold_off(const struct cli *cli, const struct turn *turn)
{
	while (daemon_hold(cli->paths.pid) == -EAGAIN && !turn_over(turn)) {
		agent_end(cli, 0);
		poll(NULL, 0, NAP_MS);
	}
}

static int undo(const struct cli *cli)
{
	const char *interface = cli->interface, *ledger = cli->paths.ledger;
	bool damaged;
	int error = undo_all(interface, &cli->paths, &damaged);

	if (error == -EBADMSG)
		complain(EXIT_FAILED,
			 "%s is damaged and there is no saved map: what wg-mesh made on %s is not "
			 "known; look at `ip address show %s` and `wg show %s`, then delete that file",
			 ledger, interface, interface, interface);
	else if (error)
		complain(EXIT_FAILED,
			 "not all that wg-mesh made on %s could be removed: %s: `wg-mesh down %s` "
			 "tries again",
			 interface, strerror(-error), interface);
	else if (damaged)
		complain(EXIT_DONE,
			 "%s was damaged: what the saved map names was removed from %s", ledger,
			 interface);
	return error;
}

static bool clean_up(const struct cli *cli, const struct turn *turn, const struct agent *agent)
{
	char why[SERVICE_WHY];
	int error;

	if (service_is_ours(cli))
		service_agent(cli, "stop", why);
	agent_end(cli, agent->pid);
	hold_off(cli, turn);
	error = undo(cli);
	unlink(cli->paths.pid);
	hook_settle(cli->interface, &cli->paths);
	return !error;
}

bool agent_down(const struct cli *cli, bool leave)
{
	bool done = false, owes = false;
	struct agent agent = {.fd = -1};
	struct turn turn;

	if (running_elsewhere(cli))
		return false;
	turn_take(&turn, cli, true);
	if (agent_connect(&agent, cli->paths.socket) == 0)
		done = ask_down(&agent, &turn, &owes);
	agent_close(&agent);
	if (done && owes)
		hook_settle(cli->interface, &cli->paths);
	if (!done)
		done = clean_up(cli, &turn, &agent);
	turn_end(&turn);
	if (done && leave)
		agent_wait_gone(agent.pid, GONE_MS);
	return done;
}

int run_down(struct cli *cli)
{
	if (is_root("down"))
		agent_down(cli, false);
	return EXIT_DONE;
}
