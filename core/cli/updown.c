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
#include "hook.h"
#include "ledger.h"
#include "lib/clock.h"
#include "lib/daemon.h"
#include "run.h"
#include "service.h"
#include "undo.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#define HELLO_MS 100 /* a live agent answers in one; a hung one may not cost more */
#define STOP_MS  60
#define DOWN_MS  100 /* SPEC 1, rule 4 */
#define START_MS 120
#define ASK_MS   1000
#define GONE_MS  5000 /* leave removes files that an ending agent may still write */
#define POLL_MS  100
#define TURN_MS     150
#define TURN_NAP_MS 2

/* One `up` or `down` at a time, for all interfaces of a run directory; but no hook waits for another
 * for long. The descriptor, or -1: it is done without. */
static int take_turn(const struct cli *cli)
{
	int fd = open(cli->paths.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int waited = 0; fd >= 0 && waited < TURN_MS && flock(fd, LOCK_EX | LOCK_NB) < 0;
	     waited += TURN_NAP_MS)
		poll(NULL, 0, TURN_NAP_MS);
	return fd;
}

static void end_turn(int turn)
{
	if (turn >= 0)
		close(turn);
}

enum running {
	RUNS_NOT,
	RUNS,           /* for this interface as it is now */
	RUNS_OUTDATED,  /* for an interface of this name that is gone */
	RUNS_ELSEWHERE, /* in another network namespace */
	RUNS_HUNG,
};

/* Whether the ledger was begun for the interface there is now; with none there is nothing to
 * differ. */
static bool ledger_is_current(const struct cli *cli)
{
	unsigned ifindex = if_nametoindex(cli->interface);
	struct ledger *ledger;
	bool current = true;

	if (ledger_read(&ledger, cli->paths.ledger) == 0) {
		current = ledger_ifindex(ledger) == ifindex && ledger_netns(ledger) == netns_id();
		ledger_close(ledger);
	}
	return current;
}

static enum running look(const struct cli *cli, struct agent *agent)
{
	json_t *answer = NULL;
	uint64_t netns;
	int error;

	if (agent_connect(agent, cli->paths.socket) < 0)
		return RUNS_NOT;
	error = agent_send(agent, "{\"command\":\"hello\"}");
	if (!error)
		error = agent_next(agent, HELLO_MS, &answer);
	netns = agent_netns(agent->pid);
	if (!error && json_is_integer(json_object_get(answer, "netns")))
		netns = (uint64_t)json_integer_value(json_object_get(answer, "netns"));
	json_decref(answer);
	if (netns && netns != netns_id())
		return RUNS_ELSEWHERE;
	if (error == -EPIPE || error == -ECONNRESET)
		return RUNS_NOT; /* it was just ending */
	if (!ledger_is_current(cli))
		return RUNS_OUTDATED;
	return error ? RUNS_HUNG : RUNS;
}

static bool start_daemon(const struct cli *cli)
{
	const char *argv[16] = {run_agent_path(), cli->interface, "--daemon"};
	const struct {
		const char *name, *value;
	} pass[] = {{"--config", cli->config},
		    {"--state", cli->state},
		    {"--run-dir", cli->run_dir},
		    {"--plugin-dir", cli->plugin_dir}};
	const struct run run = {.argv = argv, .timeout_ms = START_MS, .leave_running = true};
	struct run_result result;
	size_t count = 3;
	bool started;

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
	if (result.error && !started)
		complain(EXIT_FAILED, "the agent of %s was not started: %s: %s", cli->interface,
			 argv[0], strerror(-result.error));
	else if (!started)
		complain(EXIT_FAILED, "the agent of %s was not started: %s (exit code %d)",
			 cli->interface, *run_last_line(&result) ? run_last_line(&result) : argv[0],
			 result.exit_code);
	run_fini(&result);
	return started;
}

static bool start(const struct cli *cli, bool again)
{
	char why[SERVICE_WHY];

	if (!service_is_ours(cli))
		return start_daemon(cli);
	if (service_agent(cli, again ? "restart" : "start", why) == 0)
		return true;
	complain(EXIT_FAILED, "the agent of %s was not started: %s", cli->interface, why);
	return false;
}

static void ask_stop(const struct cli *cli, struct agent *agent, int patience_ms)
{
	json_t *answer = NULL;
	struct pollfd gone = {.fd = agent->fd, .events = POLLRDHUP};

	if (agent_send(agent, "{\"command\":\"stop\"}") < 0 ||
	    agent_next(agent, patience_ms, &answer) < 0 || poll(&gone, 1, patience_ms) <= 0)
		agent_end(cli, agent->pid);
	json_decref(answer);
}

/* An agent of an interface that is gone: what it holds is gone too, a new one starts in its place.
 */
static bool replace(const struct cli *cli, struct agent *agent)
{
	if (service_is_ours(cli))
		return start(cli, true);
	ask_stop(cli, agent, STOP_MS);
	return start(cli, false);
}

bool agent_stop(const struct cli *cli)
{
	int turn = take_turn(cli);
	char why[SERVICE_WHY];
	struct agent agent;
	enum running running = look(cli, &agent);

	if (running == RUNS_ELSEWHERE)
		complain(EXIT_FAILED, "%s belongs to an agent in another network namespace",
			 cli->interface);
	else if (running != RUNS_NOT && service_is_ours(cli) && !service_agent(cli, "stop", why))
		agent_wait_gone(agent.pid, GONE_MS);
	else if (running != RUNS_NOT)
		ask_stop(cli, &agent, GONE_MS);
	agent_close(&agent);
	end_turn(turn);
	return running != RUNS_ELSEWHERE;
}

bool agent_up(const struct cli *cli)
{
	int turn = take_turn(cli);
	struct agent agent;
	bool up = false;

	switch (look(cli, &agent)) {
	case RUNS_NOT:
		if (access(cli->paths.config, F_OK) == 0)
			up = start(cli, false);
		else
			complain(EXIT_FAILED,
				 "%s has not joined a mesh (no %s): `wg-mesh join LINK --interface "
				 "%s`",
				 cli->interface, cli->paths.config, cli->interface);
		break;
	case RUNS:
		up = true;
		break;
	case RUNS_OUTDATED:
		up = replace(cli, &agent);
		break;
	case RUNS_ELSEWHERE:
		complain(EXIT_FAILED,
			 "%s belongs to an agent in another network namespace (process %d): use "
			 "another interface name, or --run-dir",
			 cli->interface, (int)agent.pid);
		break;
	case RUNS_HUNG:
		up = cli->has_wait; /* it may only be slow: who waits will see */
		if (up)
			break;
		complain(EXIT_FAILED,
			 "the agent of %s (process %d) runs but does not answer: `wg-mesh down %s` "
			 "ends it, then `wg-mesh up %s`",
			 cli->interface, (int)agent.pid, cli->interface, cli->interface);
		break;
	}
	agent_close(&agent);
	end_turn(turn);
	return up;
}

/* 0 connected, 3 no agent, 4 the coordinator is not reached; asked again until `end`. */
static int connected(const struct cli *cli)
{
	json_t *answer = NULL;
	struct agent agent;
	int code = EXIT_NOT_RUNNING;

	if (agent_connect(&agent, cli->paths.socket) == 0 &&
	    agent_send(&agent, "{\"command\":\"status\"}") == 0) {
		code = EXIT_NOT_REACHABLE;
		if (agent_next(&agent, ASK_MS, &answer) == 0 &&
		    json_is_true(
			    json_object_get(json_object_get(answer, "coordinator"), "connected")))
			code = EXIT_DONE;
	}
	json_decref(answer);
	agent_close(&agent);
	return code;
}

int run_up(struct cli *cli)
{
	bool started = agent_up(cli);
	uint64_t end = clock_ms() + cli->wait_s * 1000;
	int code;

	if (!cli->has_wait)
		return EXIT_DONE;
	if (!started)
		return EXIT_NOT_RUNNING;
	while ((code = connected(cli)) != EXIT_DONE && clock_ms() < end)
		poll(NULL, 0, POLL_MS);
	if (code == EXIT_NOT_RUNNING)
		return complain(code,
				"the agent of %s did not come up: its log (journalctl -u "
				"wg-meshd@%s, or %s) "
				"says why",
				cli->interface, cli->interface, cli->paths.log);
	if (code == EXIT_NOT_REACHABLE)
		return complain(
			code,
			"the agent of %s runs, but has not reached its coordinator in %llu s: "
			"`wg-mesh doctor %s` looks why",
			cli->interface, (unsigned long long)cli->wait_s, cli->interface);
	return EXIT_DONE;
}

/* Asks the agent to clean up and end. False: it has to be done here. */
static bool ask_down(const struct cli *cli, struct agent *agent, bool leave, bool *foreign)
{
	json_t *answer = NULL;
	uint64_t netns;
	bool done;

	if (agent_connect(agent, cli->paths.socket) < 0)
		return false;
	netns = agent_netns(agent->pid);
	*foreign = netns && netns != netns_id();
	if (*foreign)
		return false;
	done = agent_send(agent, leave ? "{\"command\":\"down\",\"leave\":true}"
				       : "{\"command\":\"down\"}") == 0 &&
	       agent_next(agent, DOWN_MS, &answer) == 0 &&
	       json_is_true(json_object_get(answer, "ok"));
	json_decref(answer);
	return done;
}

static bool ledger_elsewhere(const struct cli *cli)
{
	struct ledger *ledger;
	bool elsewhere;

	if (ledger_read(&ledger, cli->paths.ledger) < 0)
		return false;
	elsewhere = ledger_netns(ledger) && ledger_netns(ledger) != netns_id();
	ledger_close(ledger);
	return elsewhere;
}

static bool take_down(const struct cli *cli, bool leave)
{
	char why[SERVICE_WHY];
	bool foreign = false, done;
	struct agent agent;
	int error;

	done = ask_down(cli, &agent, leave, &foreign);
	agent_close(&agent);
	if (done && leave)
		agent_wait_gone(agent.pid, GONE_MS);
	if (done)
		return true;
	if (foreign || ledger_elsewhere(cli)) {
		complain(EXIT_FAILED,
			 "%s is held by wg-mesh in another network namespace: nothing was touched",
			 cli->interface);
		return false;
	}
	if (service_is_ours(cli))
		service_agent(cli, "stop", why);
	agent_end(cli, agent.pid);
	error = undo_interface(cli->interface, cli->paths.ledger);
	if (error)
		complain(EXIT_FAILED,
			 "not all that wg-mesh made on %s could be removed: %s: `wg-mesh down %s` "
			 "tries "
			 "again",
			 cli->interface, strerror(-error), cli->interface);
	hook_settle(cli->interface, &cli->paths);
	return !error;
}

bool agent_down(const struct cli *cli, bool leave)
{
	int turn = take_turn(cli);
	bool done = take_down(cli, leave);

	end_turn(turn);
	return done;
}

int run_down(struct cli *cli)
{
	agent_down(cli, false);
	return EXIT_DONE;
}
