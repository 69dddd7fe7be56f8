/*
 * join_host.c - what join has to know of this host before it asks anybody for anything.
 */
#include "join.h"
#include "doctor.h"
#include "config.h"
#include "interfaces.h"
#include "lib/file.h"
#include "lib/secret.h"
#include "lib/str.h"
#include "link.h"
#include "overlap.h"
#include "run.h"
#include "wg.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONF_MAX   ((size_t)1024 * 1024)
#define PORT_FIRST 49152 /* RFC 6335: dynamic ports */
#define PORT_TRIES 64

/* The host's name as a name in the mesh: what is no letter, digit or '-' becomes a '-'. */
static void name_of_host(char out[static PROTO_NAME_MAX])
{
	char host[256] = "";
	size_t len = 0;

	gethostname(host, sizeof(host) - 1);
	for (const char *c = host; *c && *c != '.' && len + 1 < PROTO_NAME_MAX; c++) {
		char lower = (char)tolower((unsigned char)*c);

		if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9'))
			out[len++] = lower;
		else if (len && out[len - 1] != '-')
			out[len++] = '-';
	}
	while (len && out[len - 1] == '-')
		len--;
	out[len] = '\0';
	if (!name_valid(out))
		str_copy(out, PROTO_NAME_MAX, "host");
}

static bool port_free(uint16_t port)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_free = fd < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) == 0;

	if (fd >= 0)
		close(fd);
	return is_free;
}

static uint16_t random_port(void)
{
	uint16_t port = PORT_FIRST;

	for (int i = 0; i < PORT_TRIES; i++) {
		port = (uint16_t)(PORT_FIRST + random_below(65536 - PORT_FIRST));
		if (port_free(port))
			break;
	}
	return port;
}

static int look_at_device(struct join *join)
{
	const char *interface = join->cli->interface;
	struct wg_device device;
	struct wg *wg;
	int error = wg_open(&wg, interface);

	if (!error) {
		error = wg_get(wg, &device);
		wg_close(wg);
	}
	if (error == -ENODEV)
		return complain(
			EXIT_FAILED,
			"%s is there and is no WireGuard interface: choose another name with "
			"--interface",
			interface);
	if (error)
		return complain(EXIT_FAILED, "%s cannot be read: %s", interface, strerror(-error));
	join->private_key = device.private_key;
	join->listen_port = device.listen_port;
	wg_device_fini(&device);
	if (key_is_zero(&join->private_key))
		return complain(
			EXIT_FAILED,
			"%s has no private key yet: set one first (wg set %s private-key FILE)",
			interface, interface);
	return EXIT_DONE;
}

static int look_at_conf(struct join *join)
{
	const char *text = buf_text(&join->conf), *path = join->conf_path;
	char *key = conf_value(text, join->conf.len, "PrivateKey");
	char *port = conf_value(text, join->conf.len, "ListenPort");
	struct key written = {0};
	int code = EXIT_DONE;

	if (key && !key_parse(&written, key))
		code = complain(EXIT_FAILED, "PrivateKey in %s is no key", path);
	else if (!key && !join->interface_up)
		code = complain(
			EXIT_FAILED,
			"%s has no PrivateKey: bring the interface up first (wg-quick up %s), "
			"then join",
			path, join->cli->interface);
	else if (key && join->interface_up && !key_equal(&written, &join->private_key))
		code = complain(EXIT_FAILED,
				"%s runs with another key than %s has: make them the same first",
				join->cli->interface, path);
	else if (key)
		join->private_key = written;
	if (port && !join->interface_up && !parse_u16(port, &join->listen_port))
		code = complain(EXIT_FAILED, "ListenPort in %s is no port", path);
	if (key)
		secret_wipe(key, strlen(key));
	free(key);
	free(port);
	key_wipe(&written);
	return code;
}

/* A port that is there is used as it is: an option that says otherwise must not seem to be followed. */
static int check_port(const struct join *join)
{
	uint64_t wanted = join->cli->listen_port;

	if (!wanted || wanted == join->listen_port)
		return EXIT_DONE;
	return complain(EXIT_USAGE,
			"--listen-port %u: %s is there already and has its own port: change "
			"ListenPort %s%s, or join without this option",
			(unsigned)wanted, join->cli->interface, join->conf_there ? "in " : "by wg set",
			join->conf_there ? join->conf_path : "");
}

/* Where join makes the wg-quick file. */
static uint16_t choose_port(const struct join *join)
{
	if (join->cli->listen_port)
		return (uint16_t)join->cli->listen_port;
	return join->yaml_port ? join->yaml_port : random_port();
}

static int look_at_interface(struct join *join)
{
	int error, code;

	buf_init(&join->conf, CONF_MAX);
	error = file_read(join->conf_path, CONF_MAX, &join->conf);
	if (error && error != -ENOENT)
		return complain(EXIT_FAILED, "%s cannot be read: %s", join->conf_path,
				strerror(-error));
	join->conf_there = !error;
	join->interface_up = if_nametoindex(join->cli->interface) != 0;
	if (join->interface_up) {
		code = look_at_device(join);
		if (code)
			return code;
	}
	code = join->conf_there ? look_at_conf(join) : EXIT_DONE;
	if (code)
		return code;
	if (join->conf_there || join->interface_up)
		return check_port(join);
	key_generate_private(&join->private_key);
	join->listen_port = choose_port(join);
	return EXIT_DONE;
}

/* Any coordinator of a mesh that we are in is as good as another. */
static bool is_ours(const struct join *join, const char *url)
{
	return url && (!strcmp(url, join->link.origin) || (join->again && state_knows(join->state, url)));
}

/* A configuration that was there before must be for this coordinator: it is not overwritten. */
static int look_at_config(struct join *join)
{
	const char *path = join->cli->paths.config;
	char error[YAML_ERROR];
	struct config *config;
	int code = EXIT_DONE;

	if (access(path, F_OK) < 0)
		return EXIT_DONE;
	config = config_load(path, error);
	if (!config)
		return complain(EXIT_USAGE, "%s", error);
	if (!is_ours(join, config->coordinator_url))
		code = complain(
			EXIT_FAILED,
			"%s is for the coordinator %s: change it or move it away%s%s, or join with "
			"another --interface",
			path, config->coordinator_url ? config->coordinator_url : "(none)",
			join->again ? " after wg-mesh leave " : "",
			join->again ? join->cli->interface : "");
	join->yaml_port = config->listen_port;
	config_free(config);
	return code;
}

static int look_at_state(struct join *join)
{
	char error[JS_ERROR];
	int found = state_load(&join->state, join->cli->paths.state, error);

	if (found == -ENOENT)
		return look_at_config(join);
	if (found)
		return complain(EXIT_FAILED, "%s: %s: `wg-mesh leave %s` clears it away",
				join->cli->paths.state,
				found == -EBADMSG ? error : strerror(-found), join->cli->interface);
	join->again = true;
	if (!state_knows(join->state, join->link.origin))
		return complain(
			EXIT_FAILED,
			"%s is in a mesh of %s: `wg-mesh leave %s` first, or join with another "
			"--interface",
			join->cli->interface, join->state->coordinator_url, join->cli->interface);
	if (join->cli->name && strcmp(join->cli->name, join->state->name) != 0)
		return complain(EXIT_USAGE,
				"--name %s: %s has joined as %s already: `wg-mesh leave %s` first, or "
				"join without this option",
				join->cli->name, join->cli->interface, join->state->name,
				join->cli->interface);
	str_copy(join->name, sizeof(join->name), join->state->name);
	return look_at_config(join);
}

static int look_at_tools(const struct join *join)
{
	if (access(run_agent_path(), X_OK) < 0)
		return complain(EXIT_FAILED, "the agent %s is missing: install wg-mesh whole",
				run_agent_path());
	if (!join->interface_up && !join->cli->no_up && !doctor_in_path("wg-quick"))
		return complain(
			EXIT_FAILED,
			"wg-quick is missing (Debian: apt install wireguard-tools); or join "
			"with --no-up");
	return EXIT_DONE;
}

static int check_words(const struct join *join)
{
	struct prefix prefix;

	if (join->cli->name && !name_valid(join->cli->name))
		return complain(EXIT_USAGE,
				"--name %.70s is no host name: 1 to 63 of a-z 0-9 and inner '-'",
				join->cli->name);
	for (size_t i = 0; i < join->cli->advertise.count; i++)
		if (!prefix_parse(&prefix, join->cli->advertise.items[i]))
			return complain(
				EXIT_USAGE,
				"--advertise-routes: %.60s is no network such as 192.168.1.0/24",
				join->cli->advertise.items[i]);
	for (size_t i = 0; i < join->cli->tags.count; i++)
		if (!name_valid(join->cli->tags.items[i]))
			return complain(EXIT_USAGE,
					"--tag %.70s is no tag: 1 to 63 of a-z 0-9 and inner '-'",
					join->cli->tags.items[i]);
	if (interfaces_reserved(join->cli->interface))
		return complain(EXIT_USAGE,
				"--interface %s: %s is a server's file: choose another name",
				join->cli->interface, join->cli->paths.config);
	return EXIT_DONE;
}

int join_look(struct join *join)
{
	int code = check_words(join);

	if (!code && geteuid() != 0)
		code = complain(EXIT_CANNOT_RUN,
				"join changes this host's network: run it as root (sudo)");
	if (join->cli->name)
		str_copy(join->name, sizeof(join->name), join->cli->name);
	else
		name_of_host(join->name);
	if (join->cli->conf)
		str_copy(join->conf_path, sizeof(join->conf_path), join->cli->conf);
	else
		snprintf(join->conf_path, sizeof(join->conf_path), "/etc/wireguard/%s.conf",
			 join->cli->interface);
	if (!code)
		code = look_at_state(join);
	if (!code)
		code = look_at_interface(join);
	if (!code)
		code = look_at_tools(join);
	return code;
}

static void gather_device(struct overlap_facts *facts, const struct join *join,
			  const struct ledger *ledger)
{
	struct wg_device device;
	struct wg *wg;

	if (!join->interface_up || wg_open(&wg, join->cli->interface))
		return;
	if (wg_get(wg, &device) == 0) {
		overlap_gather_device(facts, &device, ledger);
		wg_device_fini(&device);
	}
	wg_close(wg);
}

int join_check_networks(struct join *join, const json_t *networks)
{
	const struct paths *paths = &join->cli->paths;
	struct overlap_facts facts = {0};
	struct ledger *ledger = NULL;
	char why[OVERLAP_WHY];
	int code = EXIT_DONE, error;

	if (ledger_read(&ledger, paths->ledger) < 0)
		ledger = NULL;
	if (join->again)
		overlap_spare(&facts, join->state);
	error = overlap_gather(&facts, join->cli->interface, ledger);
	if (join->conf_there)
		overlap_gather_conf(&facts, buf_text(&join->conf), join->conf.len, join->conf_path);
	gather_device(&facts, join, ledger);
	if (ledger)
		ledger_close(ledger);
	if (error)
		code = complain(EXIT_FAILED, "the addresses of this host cannot be read: %s",
				strerror(-error));
	else if (!overlap_networks_ok(&facts, networks, why))
		code = complain(EXIT_FAILED, "%s", why);
	overlap_fini(&facts);
	return code;
}
