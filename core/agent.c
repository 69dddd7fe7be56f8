/*
 * The agent's life: opens every part in the order of their needs, gives up its rights, runs, and
 * takes everything apart in reverse. Tunnels come before the coordinator: the saved map is applied
 * before anything is asked of the network.
 *
 * Three ends: told to stop (all stays in place), told to take down, and the interface has vanished
 * (what the ledger holds is removed, agent-down is told).
 */
#include "agent_parts.h"

#include "agent_load.h"
#include "sandbox.h"
#include "undo.h"
#include "lib/clock.h"
#include "lib/daemon.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/sock.h"
#include "lib/str.h"
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORDS             1024
#define SAVE_FIRST_MS       500
#define SAVE_GAP_MS         5000
#define LOOK_GAP_MS         3000
#define REFUSALS_PER_SECOND 5
#define REFUSALS_BURST      100

const char *agent_name(const struct agent *agent)
{
	return agent->state->name;
}

void agent_end(struct agent *agent, int exit_code)
{
	agent->ending = true;
	agent->exit_code = exit_code;
	loop_stop(agent->loop);
}

int agent_take_down(struct agent *agent)
{
	struct event event = {.type = EVENT_AGENT_DOWN, .latency_ms = -1};
	struct agent_peer *peer;
	bool damaged;
	int error;

	for (size_t pos = 0; (peer = map_next(agent->by_key, &pos, NULL));) {
		if (peer->up)
			agent_emit_peer(agent, EVENT_PEER_DOWN, peer, "the agent goes down");
		peer->up = false;
	}
	error = undo_all(agent->interface, agent->paths, &damaged);
	agent_emit(agent, &event);
	agent_end(agent, 0);
	return error;
}

/* ---- the state file ---- */

static bool is_managed(void *arg, const struct key *key)
{
	struct agent *agent = arg;
	struct agent_peer *peer = agent_find(agent, key);

	return peer && peer->managed && peer->allowed.count;
}

static void save(void *arg)
{
	struct agent *agent = arg;
	int error;

	timer_stop(&agent->save);
	agent->saved_ms = clock_ms();
	if (agent->synced) {
		json_decref(agent->state->map);
		agent->state->map = netmap_json(agent->netmap, is_managed, agent);
	}
	error = state_save(agent->state, agent->paths->state);
	if (error)
		log_warn("state", "file=%s reason=\"it could not be saved: %s\"",
			 agent->paths->state, strerror(-error));
}

void agent_save_soon(struct agent *agent)
{
	uint64_t now = clock_ms(), next = agent->saved_ms + SAVE_GAP_MS;

	if (timer_active(&agent->save))
		return;
	timer_start(&agent->save,
		    !agent->saved_ms || next < now + SAVE_FIRST_MS ? SAVE_FIRST_MS : next - now);
}

/* ---- timers and tasks ---- */

static void look(void *arg)
{
	struct agent *agent = arg;

	agent->looked_ms = clock_ms();
	if (agent->discovery)
		discovery_refresh(agent->discovery);
}

void agent_look_again(struct agent *agent, bool at_once)
{
	uint64_t now = clock_ms(), next = agent->looked_ms + LOOK_GAP_MS;

	if (at_once)
		timer_start(&agent->look, 0);
	else if (!timer_active(&agent->look))
		timer_start(&agent->look, agent->looked_ms && next > now ? next - now : 0);
}

static void recheck(void *arg)
{
	struct agent *agent = arg;

	if (agent->recheck_all)
		agent_map_recheck(agent, false);
	else if (agent->claims_released)
		agent_map_recheck(agent, true);
	agent->recheck_all = false;
}

/* Much of what changes on a host says nothing to us, our own addresses and routes to begin with. */
static void link_changed(void *arg)
{
	struct agent *agent = arg;
	uint64_t before = agent->facts.host_hash;
	bool added;

	agent_poll(agent); /* the interface may be gone */
	if (agent->ending)
		return;
	added = agent_map_addresses(agent);
	agent_map_routes(agent);
	if (added)
		agent_map_sources(agent);
	agent->facts_dirty = true;
	agent_facts(agent);
	if (agent->facts.host_hash == before)
		return;
	log_info("network-changed", "reason=\"addresses, routes or gateways of this host\"");
	agent_map_recheck(agent, false);
	look(agent);
	coord_retry_now(agent->coord);
	peers_network_changed(agent->peers);
}

int agent_reload(struct agent *agent, char error[static YAML_ERROR])
{
	struct config *config = config_load(agent->paths->config, error);

	if (!config) {
		log_error("reload", "reason=\"%s\"", error);
		return -EINVAL;
	}
	plugin_host_configure(agent->plugins, config);
	config_free(agent->config);
	agent->config = config;
	if (state_follow(agent->state, config->coordinator_url, config->coordinator_pin)) {
		agent_save_soon(agent);
		coord_reconnect(agent->coord);
	}
	if (agent->hooks)
		hook_reload(agent->hooks);
	agent_map_recheck(agent, false);
	look(agent);
	log_info("reloaded", "file=%s", agent->paths->config);
	return 0;
}

static void on_signal(void *arg, int signo)
{
	struct agent *agent = arg;
	char error[YAML_ERROR];

	if (signo == SIGHUP)
		agent_reload(agent, error);
	else
		agent_end(agent, 0);
}

/* ---- opening ---- */

/* The network namespace of the agent at the other end. -ETIMEDOUT: it hangs; -ECONNRESET: it has
 * just ended. */
static int ask_netns(int fd, uint64_t *netns)
{
	static const char hello[] = "{\"command\":\"hello\"}\n";
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	char answer[512], error[JS_ERROR];
	json_t *json;
	ssize_t len;

	if (send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL) < 0)
		return -ECONNRESET;
	if (poll(&readable, 1, 1000) <= 0)
		return -ETIMEDOUT;
	len = read(fd, answer, sizeof(answer));
	if (len <= 0)
		return -ECONNRESET;
	json = js_load(answer, (size_t)len, error);
	*netns = (uint64_t)json_integer_value(json_object_get(json, "netns"));
	json_decref(json);
	return 0;
}

/* A name in the run directory that a live agent holds is not taken over. */
static int refuse_second(const char *interface, const struct paths *paths)
{
	int fd = sock_connect_unix(paths->socket), error = fd < 0 ? fd : 0;
	uint64_t netns = 0;

	if (fd >= 0) {
		error = ask_netns(fd, &netns);
		close(fd);
	}
	if (error && error != -ETIMEDOUT)
		return 0;
	if (error)
		log_error("held", "reason=\"an agent that hangs holds %s; end it first\"",
			  paths->socket);
	else if (netns != netns_id())
		log_error("held",
			  "reason=\"an agent of another network namespace holds %s; give this one "
			  "another --run-dir\"",
			  paths->socket);
	else
		log_error("held", "reason=\"the agent of %s is running already\"", interface);
	return 1;
}

static int load(struct agent *agent)
{
	char why[LOAD_WHY];
	int code = load_agent(agent->interface, agent->paths, &agent->config, &agent->state, why);

	if (code)
		log_error(code == 2 ? "config" : "state", "reason=\"%s\"", why);
	return code;
}

/* What a ledger of an interface that is gone held: should `wg-quick save` have written it into the
 * file, it comes back as if it were the user's. */
static void remember_ledger(struct agent *agent)
{
	struct ledger *ledger;
	const struct ledger_entry *entry;

	if (ledger_read(&ledger, agent->paths->ledger))
		return;
	for (size_t pos = 0; (entry = ledger_next(ledger, &pos));) {
		if (entry->kind == LEDGER_PEER)
			map_put(agent->before, entry->key.bytes, agent);
	}
	ledger_close(ledger);
}

static int open_tunnel(struct agent *agent)
{
	const char *config_path = agent->state->config_path;
	char fallback[64];
	int error;

	remember_ledger(agent);
	error = tunnel_open(&agent->tunnel, agent->interface, agent->paths->ledger);
	if (error) {
		log_error("interface", "reason=\"%s: %s\"", agent->interface,
			  error == -ENODEV ? "there is no such WireGuard interface"
			  : error == -EXDEV
				  ? "wg-mesh of another network namespace holds this name; give "
				    "this one another --run-dir"
				  : strerror(-error));
		return error == -ENODEV ? AGENT_EXIT_GONE : 1;
	}
	snprintf(fallback, sizeof(fallback), "/etc/wireguard/%s.conf", agent->interface);
	agent->table = tunnel_table(config_path ? config_path : fallback);
	agent->private_key = *tunnel_private_key(agent->tunnel);
	if (key_is_zero(&agent->private_key)) {
		log_error("interface", "reason=\"%s has no private key\"", agent->interface);
		return 1;
	}
	key_public(&agent->public_key, &agent->private_key);
	agent->port = tunnel_device(agent->tunnel)->listen_port;
	agent->fwmark = tunnel_device(agent->tunnel)->fwmark;
	error = rawport_open(&agent->raw, agent->loop, agent->port, agent->fwmark, agent_packet,
			     agent);
	if (error) {
		log_error("port", "reason=\"WireGuard's port cannot be shared: %s\"",
			  strerror(-error));
		return 1;
	}
	return 0;
}

static int open_sockets(struct agent *agent)
{
	const uint64_t keep = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW;
	int error = control_listen(&agent->control, agent->loop, agent->paths->socket,
				   agent_control, agent);

	if (error) {
		log_error("control", "reason=\"%s cannot be opened: %s\"", agent->paths->socket,
			  strerror(-error));
		return 1;
	}
	link_watch(tunnel_link(agent->tunnel), agent->loop, link_changed, agent);
	error = daemon_drop_capabilities(keep);
	if (error) {
		log_error("rights", "reason=\"rights could not be given up: %s\"",
			  strerror(-error));
		return 1;
	}
	error = sandbox_enter(agent->paths);
	if (error)
		log_warn("sandbox",
			 "reason=\"this kernel does not limit where the agent may write: %s\"",
			 strerror(-error));
	return 0;
}

/* Tunnels first. */
static void apply_saved_map(struct agent *agent)
{
	agent->peers = peers_new(agent->loop, &agent->private_key, &agent_peers_ops, agent);
	agent->netmap = netmap_new(&agent_netmap_ops, agent);
	agent_psk_open(agent);
	agent_poll(agent);
	agent_map_addresses(agent);
	if (agent->state->map)
		netmap_snapshot(agent->netmap, agent->state->map);
}

static int open_network(struct agent *agent)
{
	struct plugin_services services;
	int error = fetch_new(&agent->fetch, agent->loop);

	if (error) {
		log_error("fetch", "reason=\"%s\"", strerror(-error));
		return 1;
	}
	if (state_follow(agent->state, agent->config->coordinator_url,
			 agent->config->coordinator_pin))
		agent_save_soon(agent);
	agent->coord = coord_new(agent->loop, agent->fetch, agent->state, &agent->private_key,
				 &agent_coord_ops, agent);
	coord_set_fwmark(agent->coord, agent->fwmark);
	coord_set_position(agent->coord,
			   *netmap_epoch(agent->netmap) ? netmap_epoch(agent->netmap) : NULL,
			   netmap_revision(agent->netmap));
	agent_plugin_services(agent, &services);
	agent->services = services;
	agent->plugins = plugin_host_new(&agent->services, agent->paths->plugin_dir);
	agent->discovery = discovery_new(agent->plugins, agent_discovery_changed, agent);
	plugin_host_configure(agent->plugins, agent->config);
	look(agent);
	coord_start(agent->coord);
	return 0;
}

static void watch_signals(struct agent *agent)
{
	signal_start(&agent->on_term, agent->loop, SIGTERM, on_signal, agent);
	signal_start(&agent->on_int, agent->loop, SIGINT, on_signal, agent);
	signal_start(&agent->on_hup, agent->loop, SIGHUP, on_signal, agent);
	timer_init(&agent->poll, agent->loop, agent_poll, agent);
	timer_init(&agent->save, agent->loop, save, agent);
	timer_init(&agent->beat, agent->loop, agent_beat, agent);
	timer_init(&agent->look, agent->loop, look, agent);
	timer_init(&agent->tell, agent->loop, agent_tell_refusals, agent);
	task_init(&agent->recheck, recheck, agent);
}

static void init(struct agent *agent, const struct agent_options *options)
{
	agent->options = options;
	agent->interface = options->interface;
	agent->paths = options->paths;
	agent->hooks = options->hooks;
	agent->facts_dirty = true;
	agent->loop = loop_new();
	agent->record = record_new(RECORDS);
	agent->by_key = map_new(KEY_LEN);
	agent->claims = map_new(18);
	agent->foreign = map_new(KEY_LEN);
	agent->before = map_new(KEY_LEN);
	list_init(&agent->followers);
	bucket_init(&agent->refusals, REFUSALS_PER_SECOND, REFUSALS_BURST, clock_ms());
	random_bytes(&agent->boot, sizeof(agent->boot));
	watch_signals(agent);
	hook_attach(agent->hooks, agent->loop);
}

/* 0, or the exit code. */
static int begin(struct agent *agent)
{
	struct event event = {.type = EVENT_AGENT_UP, .latency_ms = -1};
	int code = refuse_second(agent->interface, agent->paths);

	if (!code)
		code = load(agent);
	if (!code)
		code = open_tunnel(agent);
	if (!code)
		code = open_sockets(agent);
	if (code)
		return code;
	/* A record of it means that this is a restart: tunnels are as they were, nobody is told. */
	agent->adopting = hook_owes(agent->paths, EVENT_AGENT_UP);
	apply_saved_map(agent);
	code = open_network(agent);
	if (code)
		return code;
	if (!agent->adopting)
		agent_emit(agent, &event);
	daemon_notify("READY=1");
	log_info("started", "version=%s port=%u peers=%zu", WG_MESH_VERSION, agent->port,
		 netmap_count(agent->netmap));
	return 0;
}

static void finish(struct agent *agent)
{
	if (agent->tunnel && agent->netmap && timer_active(&agent->save))
		save(agent);
	agent_psk_close(agent);
	if (timer_active(&agent->tell))
		agent_tell_refusals(agent);
	if (agent->discovery)
		discovery_free(agent->discovery);
	if (agent->plugins)
		plugin_host_free(agent->plugins);
	if (agent->coord)
		coord_free(agent->coord);
	if (agent->fetch)
		fetch_free(agent->fetch);
	peers_free(agent->peers);
	agent_map_free(agent);
	if (agent->control) {
		control_flush(agent->control);
		control_free(agent->control);
	}
	netmap_free(agent->netmap);
	if (agent->raw)
		rawport_close(agent->raw);
	tunnel_close(agent->tunnel);
	facts_fini(&agent->facts);
	map_free(agent->foreign);
	map_free(agent->before);
	state_free(agent->state);
	if (agent->config)
		config_free(agent->config);
	record_free(agent->record);
	for (unsigned i = 0; i < 5; i++)
		timer_stop((struct loop_timer *[]){&agent->poll, &agent->save, &agent->beat,
						   &agent->look, &agent->tell}[i]);
	task_cancel(&agent->recheck);
	signal_stop(&agent->on_term);
	signal_stop(&agent->on_int);
	signal_stop(&agent->on_hup);
	hook_detach(agent->hooks);
	loop_free(agent->loop);
	key_wipe(&agent->private_key);
}

int agent_run(const struct agent_options *options)
{
	struct agent *agent = xcalloc(1, sizeof(*agent));
	int code;

	init(agent, options);
	code = begin(agent);
	if (!code) {
		if (!agent->ending)
			loop_run(agent->loop);
		code = agent->exit_code;
		daemon_notify("STOPPING=1");
		log_info("ended", "exit=%d", code);
	}
	finish(agent);
	free(agent);
	return code;
}
