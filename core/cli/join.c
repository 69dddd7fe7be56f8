/*
 * join.c - `join`: look, ask, check, register, write, bring up; and a way back from each step, so
 * that a join that failed leaves the host as it was.
 *
 * The tricky thing is the order. A network that overlaps this host's is refused before registering:
 * the coordinator is asked for a preview first, which shows the network and makes nothing.
 */
#include "join.h"
#include "agent.h"
#include "lib/daemon.h"
#include "lib/secret.h"
#include "run.h"
#include "running.h"
#include "service.h"
#include "status_text.h"
#include "table.h"
#include "updown.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define WG_QUICK_MS 60000
#define STOP_MS     2000
#define ANSWER_MS   3000 /* a slow machine's agent has just started */

static bool is_preview(const json_t *answer)
{
	return !json_object_get(answer, "agent_id");
}

/* The answer of a registration; as much of a state as taking it back needs. */
static void take_identity(struct join *join)
{
	const char *id = json_string_value(json_object_get(join->answer, "agent_id"));
	const char *token = json_string_value(json_object_get(join->answer, "token"));

	join->registered = true;
	if (join->again)
		return;
	join->state = state_new();
	join->state->coordinator_url = xstrdup(join->link.origin);
	snprintf(join->state->agent_id, sizeof(join->state->agent_id), "%s", id ? id : "");
	join->state->token = xstrdup(token);
	if (*join->link.pin) {
		join->state->pins = xcalloc(2, sizeof(*join->state->pins));
		join->state->pins[join->state->pin_count++] = xstrdup(join->link.pin);
	}
}

static int register_host(struct join *join)
{
	const struct enrolment enrolment = {
		.link = &join->link,
		.private_key = &join->private_key,
		.name = join->name,
		.listen_port = join->listen_port,
		.advertise = &join->cli->advertise,
		.tags = &join->cli->tags,
		.exit_node = join->cli->exit_node,
	};
	int code = enrol_register(&enrolment, true, &join->answer);

	if (!code && is_preview(join->answer)) {
		code = join_check_networks(join, json_object_get(join->answer, "networks"));
		if (!code) {
			json_decref(join->answer);
			code = enrol_register(&enrolment, false, &join->answer);
		}
	}
	if (code)
		return code;
	take_identity(join);
	/* Once more: what was registered is what is checked, whatever a preview had shown. */
	return join_check_networks(join, json_object_get(join->answer, "networks"));
}

/* A running agent would write its own state over ours. It goes, its tunnels stay. */
static void stop_running_agent(struct join *join)
{
	char error[JS_ERROR], why[SERVICE_WHY];
	struct pollfd gone = {.events = POLLRDHUP};
	struct state *fresh;
	json_t *answer = NULL;
	struct agent agent;

	if (agent_connect(&agent, join->cli->paths.socket) == 0) {
		join->stopped_agent = true;
		gone.fd = agent.fd;
		if (agent_send(&agent, "{\"command\":\"stop\"}") < 0 ||
		    agent_next(&agent, STOP_MS, &answer) < 0 || poll(&gone, 1, STOP_MS) <= 0) {
			if (service_is_ours(join->cli))
				service_agent(join->cli, "stop", why);
			agent_end(join->cli, agent.pid);
		}
	}
	json_decref(answer);
	agent_close(&agent);
	if (state_load(&fresh, join->cli->paths.state, error) == 0) {
		state_free(join->state);
		join->state = fresh;
	}
}

static int wg_quick_up(const struct join *join)
{
	const char *const argv[] = {"wg-quick", "up",
				    join->cli->conf ? join->conf_path : join->cli->interface, NULL};
	const struct run run = {.argv = argv, .timeout_ms = WG_QUICK_MS};
	struct run_result result;
	int code = EXIT_DONE;

	if (run_program(&run, &result))
		code = complain(EXIT_FAILED, "wg-quick up %s: %s", argv[2],
				strerror(-result.error));
	else if (result.exit_code) {
		code = complain(EXIT_FAILED,
				"wg-quick up %s failed (exit code %d): correct what it says here, "
				"then join again (or join with --no-up):",
				argv[2], result.exit_code);
		run_print_errors(&result);
	}
	else if (join->cli->verbose)
		fwrite(result.errors.data, 1, result.errors.len, stderr);
	run_fini(&result);
	return code;
}

/* As wg-quick's unit where systemd manages this host, so that stopping the unit takes it down. */
static int interface_up(struct join *join)
{
	char why[SERVICE_WHY];

	if (join->cli->conf || !service_has_wg_quick())
		return wg_quick_up(join);
	if (service_wg_quick(join->cli->interface, "start", why) < 0)
		return complain(EXIT_FAILED, "%s", why);
	return EXIT_DONE;
}

static int bring_up(struct join *join)
{
	bool changed = false;
	int code;

	if (join->cli->no_up)
		return EXIT_DONE;
	if ((join->conf_there || join->made_conf) && !join->cli->conf && service_has_wg_quick()) {
		if (service_enable(join->cli->interface, true, &changed) < 0)
			complain(EXIT_FAILED,
				 "wg-quick@%s could not be enabled: it will not come up at boot",
				 join->cli->interface);
		join->enabled = changed;
		join->state->enabled_unit = join->state->enabled_unit || changed;
		code = changed ? join_note(join) : EXIT_DONE;
		if (code)
			return code;
	}
	return join->interface_up ? EXIT_DONE : interface_up(join);
}

/* 0 or -errno. *hung: it runs, and has not answered in all that time. */
static int ask_agent(const struct join *join, bool *hung)
{
	json_t *answer = NULL;
	struct agent agent;
	int error = agent_await(join->cli, &agent, true);

	*hung = !error && (agent_send(&agent, "{\"command\":\"hello\"}") < 0 ||
			   agent_next(&agent, ANSWER_MS, &answer) == -ETIMEDOUT);
	if (*hung)
		running_hung(join->cli, &agent);
	json_decref(answer);
	agent_close(&agent);
	return error;
}

/* wg-quick's PostUp may have started it: then it is waited for, since what comes next is a question
 * to it. What PostUp says is lost in wg-quick's own words, so it is asked for again. 0, or an exit
 * code after a sentence; the host has joined all the same. */
static int start_agent(const struct join *join)
{
	struct agent agent;
	int error, code;
	bool hung;

	agent_await(join->cli, &agent, false);
	agent_close(&agent);
	code = agent_up(join->cli, true);
	error = ask_agent(join, &hung);
	if (hung)
		return EXIT_FAILED;
	if (!error || (!code && daemon_holder(join->cli->paths.pid))) /* or it is only slow */
		return EXIT_DONE;
	if (code)
		return EXIT_FAILED;
	return complain(EXIT_FAILED, "the agent of %s has ended at once: %s says why",
			join->cli->interface, join->cli->paths.log);
}

static void print_addresses(const json_t *networks)
{
	const json_t *network;
	json_t *address;
	size_t i, j;

	json_array_foreach(networks, i, network)
	{
		printf("  network %s:", json_string_value(json_object_get(network, "name")));
		json_array_foreach(json_object_get(network, "addresses"), j, address)
			printf("%s %s", j ? "," : "", json_string_value(address));
		putchar('\n');
	}
}

/* Where the network asks for it, an administrator comes next. */
static void print_approval(const struct join *join)
{
	const json_t *network;
	char why[STATUS_WHY];
	size_t i;

	json_array_foreach(json_object_get(join->answer, "networks"), i, network)
		if (!network_admitted(network, words_text(join->answer, "name"), why))
			printf("%s\n", why);
}

static void print_missing_hooks(struct join *join)
{
	const char *text = buf_text(&join->conf);
	struct conf_hooks hooks;

	if (!join->conf_there || join->edited_conf ||
	    (conf_has_up(text, join->conf.len) && conf_has_down(text, join->conf.len)))
		return;
	conf_hooks_init(&hooks, join->cli->config, join->cli->state, join->cli->run_dir,
			join->cli->plugin_dir);
	printf("Add these lines to [Interface] in %s (or join with --edit-conf), so that wg-quick "
	       "starts and\n"
	       "stops the agent:\n%s\n%s\n",
	       join->conf_path, hooks.up, hooks.down);
	if (conf_saves(text, join->conf.len) && !conf_has_down(text, join->conf.len))
		printf("%s has SaveConfig = true: without PreDown, wg-quick down writes the mesh's "
		       "addresses and\npeers into it\n",
		       join->conf_path);
}

static void tell(struct join *join)
{
	const char *interface = join->cli->interface;

	printf("%s has joined the mesh at %s\n", join->state->name, join->link.origin);
	print_addresses(json_object_get(join->answer, "networks"));
	if (join->made_conf)
		printf("  made %s (its key never leaves this host) and %s\n", join->conf_path,
		       join->cli->paths.config);
	if (join->edited_conf)
		printf("  added two lines to %s\n", join->conf_path);
	if (join->enabled)
		printf("  %s comes up at boot (wg-quick@%s is enabled)\n", interface, interface);
	print_double_peers(join->conf_path, buf_text(&join->conf), join->conf.len,
			   json_object_get(join->answer, "peers"));
	print_missing_hooks(join);
	if (!join->conf_there && !join->made_conf)
		printf("%s was made by something else than wg-quick: run `wg-mesh up %s` after it "
		       "comes up, and\n"
		       "`wg-mesh down %s` before it goes\n",
		       interface, interface, interface);
	print_approval(join);
	if (join->agent_failed)
		printf("Its agent does not work: see to what is said above, then wg-mesh up %s\n",
		       interface);
	else if (join->cli->no_up && join->interface_up && !join->stopped_agent)
		printf("Next: wg-mesh up %s\n", interface);
	else if (join->cli->no_up && !join->interface_up)
		printf("Next: wg-quick up %s\n", join->cli->conf ? join->conf_path : interface);
	else
		printf("Next: wg-mesh status %s\n", interface);
}

static int finish(struct join *join)
{
	int code = EXIT_DONE;

	if (!join->cli->no_up || join->stopped_agent) /* what ran goes on */
		code = start_agent(join);
	join->agent_failed = code != EXIT_DONE;
	tell(join);
	return code;
}

static void join_fini(struct join *join)
{
	join_link_wipe(&join->link);
	key_wipe(&join->private_key);
	buf_wipe(&join->conf);
	json_decref(join->answer);
	state_free(join->state);
}

int run_join(struct cli *cli)
{
	struct join join = {.cli = cli};
	int code;

	cli->interface = cli->join_interface ? cli->join_interface : "wg0";
	code = cli_set_interface(cli);
	if (!code)
		code = enrol_read_link(cli, &join.link);
	if (!code)
		code = join_look(&join);
	if (!code && running_elsewhere(cli))
		code = EXIT_FAILED;
	if (!code)
		code = register_host(&join);
	if (!code && join.again && running_elsewhere(cli))
		code = EXIT_FAILED; /* another's agent came while we were asking */
	if (!code && join.again)
		stop_running_agent(&join);
	if (!code) {
		code = join_write(&join);
		if (!code)
			code = bring_up(&join);
		if (code && join.again)
			agent_up(cli, false);
	}
	if (code)
		join_take_back(&join);
	else
		code = finish(&join);
	join_fini(&join);
	return code;
}
