/*
 * running.c - asks the agent of a name, and the ledger where there is none. The tricky thing: a name
 * is one in all network namespaces that share a file system, and what another one's agent has made
 * can neither be seen nor removed from here.
 */
#include "running.h"
#include "ledger.h"
#include "lib/daemon.h"

#include <errno.h>
#include <net/if.h>

#define HELLO_MS 100

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

static bool ledger_elsewhere(const struct cli *cli)
{
	struct ledger *ledger;
	uint64_t netns;

	if (ledger_read(&ledger, cli->paths.ledger) < 0)
		return false;
	netns = ledger_netns(ledger);
	ledger_close(ledger);
	return netns && netns != netns_id() && netns_exists(netns);
}

enum running running_look(const struct cli *cli, struct agent *agent, int timeout_ms)
{
	json_t *answer = NULL;
	uint64_t netns;
	bool hooks;
	int error;

	if (agent_connect(agent, cli->paths.socket) < 0)
		return ledger_elsewhere(cli) ? RUNS_ELSEWHERE : RUNS_NOT;
	error = agent_send(agent, "{\"command\":\"hello\"}");
	if (!error)
		error = agent_next(agent, timeout_ms, &answer);
	netns = agent_netns(agent->pid);
	if (!error && json_is_integer(json_object_get(answer, "netns")))
		netns = (uint64_t)json_integer_value(json_object_get(answer, "netns"));
	hooks = !json_is_false(json_object_get(answer, "hooks"));
	json_decref(answer);
	if (netns && netns != netns_id())
		return RUNS_ELSEWHERE;
	if (error == -EPIPE || error == -ECONNRESET)
		return RUNS_NOT; /* it was just ending */
	if (!ledger_is_current(cli) || !hooks)
		return RUNS_OUTDATED;
	return error ? RUNS_HUNG : RUNS;
}

int running_hung(const struct cli *cli, const struct agent *agent)
{
	return complain(EXIT_FAILED,
			"the agent of %s (process %d) runs but does not answer: `wg-mesh down %s` ends "
			"it, then `wg-mesh up %s`",
			cli->interface, (int)agent->pid, cli->interface, cli->interface);
}

/* Of the agent, also where it hangs; one that another process namespace hides has to tell. */
static uint64_t netns_of(struct agent *agent)
{
	uint64_t netns = agent->pid ? agent_netns(agent->pid) : 0;
	json_t *answer = NULL;

	if (!netns && agent_send(agent, "{\"command\":\"hello\"}") == 0 &&
	    agent_next(agent, HELLO_MS, &answer) == 0)
		netns = (uint64_t)json_integer_value(json_object_get(answer, "netns"));
	json_decref(answer);
	return netns;
}

bool running_elsewhere(const struct cli *cli)
{
	struct agent agent;
	uint64_t netns = agent_connect(&agent, cli->paths.socket) == 0 ? netns_of(&agent) : 0;
	pid_t pid = agent.pid;

	agent_close(&agent);
	if (netns == netns_id() || (!netns && !ledger_elsewhere(cli)))
		return false;
	if (netns)
		complain(EXIT_FAILED,
			 "%s belongs to an agent in another network namespace (process %d), nothing "
			 "was touched: use another interface name, or --run-dir",
			 cli->interface, (int)pid);
	else
		complain(EXIT_FAILED,
			 "%s is held by wg-mesh in another network namespace (%s), nothing was "
			 "touched: `wg-mesh down %s` there, or use another interface name, or "
			 "--run-dir",
			 cli->interface, cli->paths.ledger, cli->interface);
	return true;
}
