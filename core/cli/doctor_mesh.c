/*
 * doctor_mesh.c - checks of one interface that has joined: its files, its agent, and what the agent
 * has found out about the network.
 */
#include "config.h"
#include "doctor.h"
#include "lib/file.h"
#include "lib/str.h"
#include "link.h"
#include "overlap.h"
#include "run.h"
#include "running.h"
#include "service.h"
#include "status_text.h"
#include "table.h"
#include "wg.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <signal.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESOLVE_MS 4000
#define HELLO_MS   500

static void check_joined(struct doctor *doctor)
{
	const struct paths *paths = &doctor->cli->paths;
	char error[YAML_ERROR];
	struct config *config = config_load(paths->config, error);
	struct stat st;

	if (!config && access(paths->config, R_OK) < 0 && errno == EACCES)
		doctor_say(doctor, DOCTOR_PROBLEM, "use sudo", "%s can be read by root only",
			   paths->config);
	else if (!config)
		doctor_say(doctor, DOCTOR_PROBLEM,
			   access(paths->config, F_OK) < 0 ? "wg-mesh join LINK --interface IFACE"
			   : doctor->status ? "correct that line, then wg-mesh reload IFACE"
					    : "correct that line, then wg-mesh up IFACE",
			   "%s", error);
	else if (stat(paths->config, &st) == 0 && st.st_mode & 077)
		doctor_say(doctor, DOCTOR_PROBLEM, "chmod 600 that file",
			   "%s can be read by others than root", paths->config);
	else if (!doctor->state)
		doctor_say(doctor, DOCTOR_PROBLEM, "wg-mesh join LINK --interface IFACE",
			   "%s is missing or damaged: this host is no member", paths->state);
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "%s has joined as %s", doctor->cli->interface,
			   doctor->state->name);
	if (config)
		config_free(config);
}

static void check_conf(struct doctor *doctor)
{
	const char *text = buf_text(&doctor->conf);
	size_t len = doctor->conf.len;
	struct stat st;

	if (doctor->conf_hidden)
		doctor_say(doctor, DOCTOR_PROBLEM, "use sudo", "%s can be read by root only",
			   doctor->conf_path);
	else if (!doctor->conf_there)
		doctor_say(doctor, DOCTOR_NOTE, NULL,
			   "there is no %s: something else than wg-quick makes the interface",
			   doctor->conf_path);
	else if (stat(doctor->conf_path, &st) == 0 && st.st_mode & 077)
		doctor_say(doctor, DOCTOR_PROBLEM, "chmod 600 that file",
			   "%s holds a private key and can be read by others", doctor->conf_path);
	else if (!conf_has_up(text, len) || !conf_has_down(text, len))
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "add to [Interface]: PostUp = wg-mesh up %i || true and PreDown = "
			   "wg-mesh down %i || true",
			   "%s lacks %s: wg-quick does not start or stop the agent%s",
			   doctor->conf_path,
			   conf_has_up(text, len) ? "the PreDown line" : "the PostUp line",
			   !conf_saves(text, len) || conf_has_down(text, len)
				   ? ""
				   : ", and with SaveConfig = true and no PreDown, wg-quick down "
				     "writes the mesh's addresses and peers into it");
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "%s is private and has both hook lines",
			   doctor->conf_path);
}

static void check_table(struct doctor *doctor)
{
	char *table = conf_value(buf_text(&doctor->conf), doctor->conf.len, "Table");

	if (table && strcasecmp(table, "off") == 0)
		doctor_say(doctor, DOCTOR_NOTE, "route the mesh yourself, or take the line out",
			   "Table = off: wg-mesh makes no routes");
	else if (table && strcasecmp(table, "auto") != 0)
		doctor_say(doctor, DOCTOR_NOTE, NULL,
			   "Table = %.20s: routes of the mesh go into that table", table);
	free(table);
}

/* The same of our addresses: the agent would not be the one who takes them away. */
static void check_saved_addresses(struct doctor *doctor)
{
	const struct state *state = doctor->state;
	char text[ADDR_TEXT];
	unsigned line;

	for (size_t i = 0; state && i < state->network_count; i++) {
		for (unsigned j = 0; j < state->networks[i].address_count; j++) {
			const struct addr *address = &state->networks[i].addresses[j].addr;

			line = conf_address_line(buf_text(&doctor->conf), doctor->conf.len, address);
			if (!line)
				continue;
			addr_format(text, address);
			doctor_say(doctor, DOCTOR_PROBLEM,
				   "delete it there, so that the mesh keeps this address",
				   "line %u of %s has %s, which is our address in the mesh", line,
				   doctor->conf_path, text);
		}
	}
}

/* Peers in the file who are members: written by hand before, or saved by `wg-quick save`. */
static void check_double_peers(struct doctor *doctor)
{
	const json_t *members = json_object_get(doctor->status, "peers");
	struct conf_peer *peers;
	size_t count, j;
	json_t *member;

	if (!members && doctor->state)
		members = json_object_get(doctor->state->map, "peers");
	count = conf_peers(buf_text(&doctor->conf), doctor->conf.len, &peers);
	for (size_t i = 0; i < count; i++) {
		json_array_foreach(members, j, member)
		{
			const char *text = json_string_value(json_object_get(member, "public_key"));
			struct key key;

			if (!json_is_string(json_object_get(member, "agent_id")) || !text ||
			    !key_parse(&key, text) || !key_equal(&key, &peers[i].public_key))
				continue;
			doctor_say(doctor, DOCTOR_PROBLEM,
				   "delete these lines, so that the mesh keeps this peer",
				   "lines %u to %u of %s describe %s, who is a member of the mesh",
				   peers[i].first_line, peers[i].last_line, doctor->conf_path,
				   words_text(member, "name"));
			break;
		}
	}
	free(peers);
}

static void check_interface(struct doctor *doctor)
{
	const char *interface = doctor->cli->interface;
	struct wg_device device;
	struct wg *wg;
	int error;

	if (if_nametoindex(interface) == 0) {
		doctor_say(doctor, DOCTOR_PROBLEM, "wg-quick up IFACE",
			   "the interface %s is not up", interface);
		return;
	}
	error = wg_open(&wg, interface);
	if (!error) {
		error = wg_get(wg, &device);
		wg_close(wg);
	}
	if (error) {
		doctor_say(doctor, DOCTOR_PROBLEM,
			   error == -EPERM || error == -EACCES
				   ? "use sudo"
				   : "another name for the mesh (join --interface), or whoever made "
				     "IFACE ends it",
			   "%s cannot be read as a WireGuard interface: %s", interface,
			   strerror(-error));
		return;
	}
	if (!device.listen_port)
		doctor_say(doctor, DOCTOR_PROBLEM, "ip link set IFACE up", "%s has no port yet",
			   interface);
	else if (device.fwmark)
		doctor_say(doctor, DOCTOR_OK, NULL, "%s listens on port %u with fwmark 0x%x",
			   interface, device.listen_port, device.fwmark);
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "%s listens on port %u", interface,
			   device.listen_port);
	wg_device_fini(&device);
}

/* One that hangs holds its socket: `up` would not help. */
static bool agent_hangs(struct doctor *doctor)
{
	const char *interface = doctor->cli->interface;
	struct agent agent;
	char remedy[128];
	bool hangs = running_look(doctor->cli, &agent, HELLO_MS) == RUNS_HUNG;

	agent_close(&agent);
	snprintf(remedy, sizeof(remedy), "wg-mesh down %s ends it, then wg-mesh up %s", interface,
		 interface);
	if (hangs)
		doctor_say(doctor, DOCTOR_PROBLEM, remedy,
			   "the agent of %s (process %d) runs but does not answer", interface,
			   (int)agent.pid);
	return hangs;
}

static void check_agent(struct doctor *doctor)
{
	char remedy[PATHS_MAX + 64];

	snprintf(remedy, sizeof(remedy), "wg-mesh up IFACE; %s says why it ended",
		 doctor->cli->paths.log);
	if (doctor->status)
		doctor_say(doctor, DOCTOR_OK, NULL, "the agent runs and answers");
	else if (access(doctor->cli->paths.socket, W_OK) < 0 && errno == EACCES)
		doctor_say(doctor, DOCTOR_PROBLEM, "use sudo", "the agent answers root only");
	else if (!agent_hangs(doctor))
		doctor_say(
			doctor, DOCTOR_PROBLEM,
			service_is_ours(doctor->cli)
				? "wg-mesh up IFACE; journalctl -u 'wg-meshd@*' says why it ended"
				: remedy,
			"no agent answers for %s", doctor->cli->interface);
}

static void say_of_plugin(struct doctor *doctor, const json_t *plugin, const json_t *instance)
{
	const char *error = words_text(instance, "error"), *state = words_text(instance, "state");

	doctor_say(doctor, DOCTOR_PROBLEM,
		   "see to it, or take the plugin out of the configuration; then wg-mesh reload IFACE",
		   "plugin %s-%s %s%s%s", words_text(plugin, "kind"), words_text(plugin, "name"),
		   strcmp(state, "running") ? state : "runs with an error", *error ? ": " : "", error);
}

/* Those that are configured; what else lies in the directory is nobody's problem. */
static void check_plugins(struct doctor *doctor)
{
	const json_t *plugins = json_object_get(doctor->plugins, "plugins");
	json_t *plugin, *instance;
	unsigned good = 0, bad = 0;
	size_t i, j;

	json_array_foreach(plugins, i, plugin)
	{
		json_array_foreach(json_object_get(plugin, "instances"), j, instance)
		{
			const char *state = words_text(instance, "state");
			bool well = !strcmp(state, "starting") ||
				    (!strcmp(state, "running") && !*words_text(instance, "error"));

			good += well;
			bad += !well;
			if (!well)
				say_of_plugin(doctor, plugin, instance);
		}
	}
	if (plugins && !bad)
		doctor_say(doctor, DOCTOR_OK, NULL, "all %u plugins run", good);
}

/* In a child, since the resolver cannot be told to hurry. */
static bool resolves(const char *host)
{
	struct addrinfo *found;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(getaddrinfo(host, "443", NULL, &found) != 0);
	if (pid < 0)
		return false;
	if (!run_wait(pid, RESOLVE_MS, &status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void check_resolver(struct doctor *doctor)
{
	const char *url = doctor->state ? doctor->state->coordinator_url : NULL;
	char host[256];
	struct addr addr;
	size_t len;

	if (!url || !str_has_prefix(url, "https://"))
		return;
	url += strlen("https://");
	len = *url == '[' ? strcspn(++url, "]") : strcspn(url, ":/");
	snprintf(host, sizeof(host), "%.*s", (int)len, url);
	if (addr_parse(&addr, host))
		return;
	if (resolves(host))
		doctor_say(doctor, DOCTOR_OK, NULL, "the coordinator's name %s resolves", host);
	else
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "look at /etc/resolv.conf, and whether the name still exists",
			   "the coordinator's name %s does not resolve", host);
}

static void check_key(struct doctor *doctor)
{
	if (access(doctor->cli->paths.rekey, F_OK) == 0)
		doctor_say(doctor, DOCTOR_PROBLEM, "wg-mesh rekey IFACE goes on where it stopped",
			   "a change of %s's key was begun and has not ended, or its wg-quick file has "
			   "the old one still",
			   doctor->cli->interface);
}

static void check_coordinator(struct doctor *doctor)
{
	const json_t *coordinator = json_object_get(doctor->status, "coordinator");

	if (!doctor->status || *words_text(coordinator, "refused")) /* see approval */
		return;
	if (json_is_true(json_object_get(coordinator, "connected")))
		doctor_say(doctor, DOCTOR_OK, NULL, "connected to %s",
			   words_text(coordinator, "url"));
	else
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "look whether it runs and its port is open to this host; tunnels go on "
			   "meanwhile",
			   "the coordinator %s is not reached", words_text(coordinator, "url"));
}

static void check_admitted(struct doctor *doctor)
{
	char why[STATUS_WHY], *remedy;

	if (!doctor->status)
		return;
	if (status_admitted(doctor->status, why)) {
		doctor_say(doctor, DOCTOR_OK, NULL, "approved in every network");
		return;
	}
	remedy = strstr(why, ": ");
	if (remedy)
		*remedy = '\0';
	doctor_say(doctor, DOCTOR_PROBLEM, remedy ? remedy + 2 : NULL, "%s", why);
}

static void check_nat(struct doctor *doctor)
{
	const json_t *nat = json_object_get(doctor->status, "nat");
	const char *type = words_text(nat, "type");

	if (!doctor->status)
		return;
	if (strcmp(type, "udp_blocked") == 0)
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "let UDP out, or at least to the coordinator's STUN port (3478)",
			   "no STUN server answers: UDP seems to be blocked on the way out");
	else if (strcmp(type, "symmetric") == 0)
		doctor_say(doctor, DOCTOR_NOTE,
			   "forward WireGuard's port on the router, or turn on its port mapping "
			   "(PCP, UPnP)",
			   "the router maps each connection anew (symmetric NAT): direct paths "
			   "need the other "
			   "side to be reachable");
	else if (strcmp(type, "unknown") == 0 || !*type)
		doctor_say(doctor, DOCTOR_NOTE, NULL, "the NAT is not known yet");
	else
		doctor_say(doctor, DOCTOR_OK, NULL, "NAT: %s", type);
}

static void check_paths(struct doctor *doctor)
{
	char why[STATUS_WHY];

	if (!doctor->status ||
	    !json_is_true(
		    json_object_get(json_object_get(doctor->status, "coordinator"), "connected")))
		return;
	if (status_healthy(doctor->status, why))
		doctor_say(doctor, DOCTOR_OK, NULL, "every online peer has a path");
	else
		doctor_say(doctor, DOCTOR_PROBLEM, "wg-mesh explain tells what was tried", "%s",
			   why);
}

static void gather_device(struct overlap_facts *facts, const char *interface,
			  const struct ledger *ledger)
{
	struct wg_device device;
	struct wg *wg;

	if (if_nametoindex(interface) == 0 || wg_open(&wg, interface))
		return;
	if (wg_get(wg, &device) == 0) {
		overlap_gather_device(facts, &device, ledger);
		wg_device_fini(&device);
	}
	wg_close(wg);
}

static void check_overlap(struct doctor *doctor)
{
	struct overlap_facts facts = {0};
	struct ledger *ledger = NULL;
	char why[OVERLAP_WHY];
	json_t *networks = json_array();

	if (!doctor->state || ledger_read(&ledger, doctor->cli->paths.ledger) < 0)
		ledger = NULL;
	if (doctor->state)
		overlap_spare(&facts, doctor->state);
	for (size_t i = 0; doctor->state && i < doctor->state->network_count; i++)
		json_array_append_new(networks, proto_write_network(&doctor->state->networks[i]));
	if (json_array_size(networks) &&
	    overlap_gather(&facts, doctor->cli->interface, ledger) == 0) {
		gather_device(&facts, doctor->cli->interface, ledger);
		if (overlap_networks_ok(&facts, networks, why))
			doctor_say(doctor, DOCTOR_OK, NULL,
				   "no address, route or peer of this host overlaps the mesh");
		else
			doctor_say(doctor, DOCTOR_PROBLEM,
				   "take it from this host, or make the network anew with another "
				   "range (wg-mesh-coordinator network create) and join that",
				   "%s", why);
	}
	overlap_fini(&facts);
	if (ledger)
		ledger_close(ledger);
	json_decref(networks);
}

static int sysctl_number(const char *path)
{
	struct buf text;
	int value = -1;

	buf_init(&text, 64);
	if (file_read(path, 63, &text) == 0 && sscanf(buf_text(&text), "%d", &value) != 1)
		value = -1;
	buf_free(&text);
	return value;
}

static void check_sysctl(struct doctor *doctor)
{
	char path[PATHS_MAX], error[YAML_ERROR];
	struct config *config = config_load(doctor->cli->paths.config, error);
	int all = sysctl_number("/proc/sys/net/ipv4/conf/all/rp_filter"), own;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter",
		 doctor->cli->interface);
	own = sysctl_number(path);
	if (MAX(all, own) == 1)
		doctor_say(doctor, DOCTOR_NOTE,
			   "sysctl net.ipv4.conf.all.rp_filter=2 where packets get lost",
			   "rp_filter is strict: a packet that comes in where its answer would not "
			   "go out is dropped");
	if (config && config->advertise_count &&
	    sysctl_number("/proc/sys/net/ipv4/ip_forward") == 0)
		doctor_say(doctor, DOCTOR_PROBLEM,
			   "sysctl -w net.ipv4.ip_forward=1 (and in /etc/sysctl.d)",
			   "this host offers routes, and forwards no packets");
	if (config)
		config_free(config);
}

const struct doctor_check doctor_mesh_checks[] = {
	{"joined", check_joined},
	{"wg-quick", check_conf},
	{"table", check_table},
	{"peers", check_double_peers},
	{"addresses", check_saved_addresses},
	{"interface", check_interface},
	{"agent", check_agent},
	{"plugins", check_plugins},
	{"resolver", check_resolver},
	{"key", check_key},
	{"coordinator", check_coordinator},
	{"approval", check_admitted},
	{"nat", check_nat},
	{"paths", check_paths},
	{"overlap", check_overlap},
	{"sysctl", check_sysctl},
	{0},
};
