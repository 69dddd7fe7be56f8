/*
 * commands.c - the table of commands and the tables of their options. To add a command, write its
 * function and one entry here: help, dispatch and completion follow.
 */
#include "command.h"

#define AT(field) offsetof(struct cli, field)

const struct option global_options[] = {
	{.name = "config",
	 .type = OPTION_TEXT,
	 .offset = AT(config),
	 .value = "FILE",
	 .help = "the interface's YAML file, or its directory with a '/' at the end"},
	{.name = "state",
	 .type = OPTION_TEXT,
	 .offset = AT(state),
	 .value = "DIR",
	 .help = "where the agent's state is"},
	{.name = "run-dir",
	 .type = OPTION_TEXT,
	 .offset = AT(run_dir),
	 .value = "DIR",
	 .help = "where control sockets and ledgers are"},
	{.name = "plugin-dir",
	 .type = OPTION_TEXT,
	 .offset = AT(plugin_dir),
	 .value = "DIR",
	 .help = "where plugins are"},
	{.name = "verbose",
	 .letter = 'v',
	 .type = OPTION_FLAG,
	 .offset = AT(verbose),
	 .help = "say more"},
	{.name = "help",
	 .letter = 'h',
	 .type = OPTION_FLAG,
	 .offset = AT(help),
	 .help = "this text"},
	{.name = "version", .type = OPTION_FLAG, .offset = AT(version), .help = "the version"},
	{0},
};

#define JSON_OPTION                                                                                \
	{                                                                                          \
		.name = "json", .type = OPTION_FLAG, .offset = AT(json),                           \
		.help = "one JSON document instead of text"                                        \
	}

static const struct option join_options[] = {
	{.name = "link-file",
	 .type = OPTION_TEXT,
	 .offset = AT(link_file),
	 .value = "FILE",
	 .help = "read the join link from this file"},
	{.name = "interface",
	 .letter = 'i',
	 .type = OPTION_TEXT,
	 .offset = AT(join_interface),
	 .value = "IFACE",
	 .help = "the interface to join with (default wg0)"},
	{.name = "name",
	 .type = OPTION_TEXT,
	 .offset = AT(name),
	 .value = "NAME",
	 .help = "this host's name in the mesh (default: the host name)"},
	{.name = "listen-port",
	 .type = OPTION_NUMBER,
	 .offset = AT(listen_port),
	 .value = "PORT",
	 .help = "UDP port of an interface made here (default: random)",
	 .min = 1,
	 .max = 65535},
	{.name = "advertise-routes",
	 .type = OPTION_LIST,
	 .offset = AT(advertise),
	 .value = "CIDR,...",
	 .help = "offer these networks behind this host to the mesh"},
	{.name = "exit-node",
	 .type = OPTION_FLAG,
	 .offset = AT(exit_node),
	 .help = "offer this host as a way out to the internet"},
	{.name = "tag",
	 .type = OPTION_LIST,
	 .offset = AT(tags),
	 .value = "TAG",
	 .help = "choose among the tags of the join key; may be repeated"},
	{.name = "no-up",
	 .type = OPTION_FLAG,
	 .offset = AT(no_up),
	 .help = "register and write the files only"},
	{.name = "edit-conf",
	 .type = OPTION_FLAG,
	 .offset = AT(edit_conf),
	 .help = "add the two hook lines to a wg-quick file that exists"},
	{.name = "conf",
	 .type = OPTION_TEXT,
	 .offset = AT(conf),
	 .value = "FILE",
	 .help = "the wg-quick file (default /etc/wireguard/IFACE.conf)"},
	{0},
};

static const struct option up_options[] = {
	{.name = "wait",
	 .type = OPTION_NUMBER,
	 .offset = AT(wait_s),
	 .value = "SECONDS",
	 .help = "wait until connected: exit 0, else 2 (wrong configuration), 3 (not "
		 "running) or 4 (coordinator not reachable)",
	 .max = 86400,
	 .has_offset = AT(has_wait)},
	{0},
};

static const struct option status_options[] = {
	JSON_OPTION,
	{.name = "healthy",
	 .type = OPTION_FLAG,
	 .offset = AT(healthy),
	 .help = "exit 0 only if connected and every online peer has a path"},
	{0},
};

static const struct option rekey_options[] = {
	{.name = "edit-conf",
	 .type = OPTION_FLAG,
	 .offset = AT(edit_conf),
	 .help = "put the new key into a wg-quick file of your own, too"},
	{0},
};

static const struct option ping_options[] = {
	{.name = "count",
	 .letter = 'c',
	 .type = OPTION_NUMBER,
	 .offset = AT(count),
	 .value = "N",
	 .help = "stop after N pings (default 4; 10 with --until-direct)",
	 .min = 1,
	 .max = 1000000},
	{.name = "until-direct",
	 .type = OPTION_FLAG,
	 .offset = AT(until_direct),
	 .help = "stop at the first direct answer; exit 1 if there was none"},
	{0},
};

static const struct option json_options[] = {JSON_OPTION, {0}};

const struct command commands[] = {
	{"join", run_join, "LINK|-|--link-file FILE [options]",
	 "join a mesh with a link from its coordinator",
	 "Registers this host and brings the interface up. '-' reads the link from standard "
	 "input.\n"
	 "An existing wg-quick file keeps its key; its two hook lines are added with --edit-conf, "
	 "else\n"
	 "printed. An interface that is up is joined without being taken down.",
	 INTERFACE_NONE, 0, 1, join_options, NULL},
	{"up", run_up, "IFACE [--wait SECONDS]", "start the agent (the PostUp hook)",
	 "Returns at once and always with 0, so that wg-quick is never in trouble because of it; "
	 "what\n"
	 "failed is said in a sentence. With --wait the exit code tells.",
	 INTERFACE_REQUIRED, 0, 0, up_options, NULL},
	{"down", run_down, "IFACE", "stop the agent and remove all it made (the PreDown hook)",
	 "Also with no agent alive: what it made is in a ledger. Always returns 0.",
	 INTERFACE_REQUIRED, 0, 0, NULL, NULL},
	{"status", run_status, "[IFACE] [--json] [--healthy]", "this host and every peer", NULL,
	 INTERFACE_OPTIONAL, 0, 0, status_options, NULL},
	{"ping", run_ping, "[IFACE] PEER [-c N] [--until-direct]",
	 "is a peer there, and by which path",
	 "PEER is a name, mesh address, agent id or public key, or the beginning of one;\n"
	 "NAME@NETWORK where two networks have that name.",
	 INTERFACE_OPTIONAL, 1, 1, ping_options, "peer"},
	{"explain", run_explain, "[IFACE] PEER [--json]", "why a peer has the path it has", NULL,
	 INTERFACE_OPTIONAL, 1, 1, json_options, "peer"},
	{"plugins", run_plugins, "[IFACE] [--json]",
	 "plugins found and loaded, their options and health", NULL, INTERFACE_OPTIONAL, 0, 0,
	 json_options, NULL},
	{"reload", run_reload, "[IFACE]", "read the configuration again without dropping a tunnel",
	 NULL, INTERFACE_OPTIONAL, 0, 0, NULL, NULL},
	{"events", run_events, "[IFACE] [--json]", "follow what happens, until interrupted", NULL,
	 INTERFACE_OPTIONAL, 0, 0, json_options, NULL},
	{"doctor", run_doctor, "[IFACE] [--json]",
	 "what on this host stands in the way, with remedies", "Exit code 1 if there is any.",
	 INTERFACE_IF_ANY, 0, 0, json_options, NULL},
	{"rekey", run_rekey, "[IFACE] [options]", "go on under a new WireGuard key, without leaving the mesh",
	 "The key is made here; the coordinator and the peers are told of its public half. Killed on the\n"
	 "way or without an answer, it is run again and goes on. The wg-quick file gets the new key where\n"
	 "join has made it, or with --edit-conf.",
	 INTERFACE_OPTIONAL, 0, 0, rekey_options, NULL},
	{"leave", run_leave, "IFACE", "leave the mesh: deregister and remove everything made here",
	 "Cleans this host also with the coordinator away (then exit 4). A wg-quick file made by "
	 "join\n"
	 "and unchanged since goes (a .bak stays), from another just the two hook lines. IFACE.yaml "
	 "goes\n"
	 "likewise; one that was there before join stays.",
	 INTERFACE_REQUIRED, 0, 0, NULL, NULL},
	{0},
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}
