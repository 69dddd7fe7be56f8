/*
 * config.c - IFACE.yaml against the tables below, then into struct config. All that is refused
 * says where (line and column) and what would be right.
 *
 * The file can name commands that run as root, so it is read only if nobody but its owner (root,
 * or us) could have written it; it is checked on the open descriptor that is then read.
 */
#include "config.h"
#include "lib/proto.h"
#include "lib/file.h"
#include "lib/schema.h"
#include "lib/str.h"
#include "plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_FILE_MAX (1024 * 1024)
#define PSK_EVERY_MS     UINT64_C(86400000)
#define PSK_EVERY_MIN_MS UINT64_C(60000)
#define PSK_EVERY_MAX_MS (30 * PSK_EVERY_MS)

static const char *const firewall_words[] = {"nftables", "none", NULL};
static const char *const dns_words[] = {"none", "hosts", "dnsmasq", "resolved", NULL};

static const char *const psk_words[] = {"off", "auto", NULL};

static const struct schema_field coordinator_fields[] = {
	{.name = "url", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED, .help = "https://HOST:PORT"},
	{.name = "pin", .type = SCHEMA_STRING, .flags = SCHEMA_NULLABLE, .help = "SHA-256 of its public key"},
	{0},
};

static const struct schema_field route_fields[] = {
	{.name = "advertise", .type = SCHEMA_PREFIX, .flags = SCHEMA_LIST, .help = "networks behind this host"},
	{.name = "accept", .type = SCHEMA_ANY, .help = "true, false or a list of networks"},
	{0},
};

#define HOOK(word) {.name = word, .type = SCHEMA_STRING, .flags = SCHEMA_LIST}
static const struct schema_field hook_fields[] = { /* the words of event.c, with '_' */
	HOOK("agent_up"), HOOK("agent_down"), HOOK("peer_up"), HOOK("peer_down"),
	HOOK("path_changed"), HOOK("endpoint_changed"), HOOK("nat_changed"), HOOK("relay_changed"),
	HOOK("route_added"), HOOK("route_removed"), HOOK("policy_changed"),
	HOOK("coordinator_lost"), HOOK("coordinator_back"), HOOK("degraded"),
	HOOK("post_up"), HOOK("pre_down"),
	{0},
};

static const struct schema_field fields[] = {
	{.name = "coordinator", .type = SCHEMA_OBJECT, .flags = SCHEMA_REQUIRED, .fields = coordinator_fields},
	{.name = "name", .type = SCHEMA_STRING, .flags = SCHEMA_NULLABLE, .help = "this host's name in the mesh"},
	{.name = "listen_port", .type = SCHEMA_INT, .min = 0, .max = 65535, .help = "0: random"},
	{.name = "discovery", .type = SCHEMA_ANY},
	{.name = "natmap", .type = SCHEMA_ANY},
	{.name = "relay", .type = SCHEMA_ANY},
	{.name = "firewall", .type = SCHEMA_WORD, .words = firewall_words},
	{.name = "routes", .type = SCHEMA_OBJECT, .fields = route_fields},
	{.name = "exit_node", .type = SCHEMA_STRING, .flags = SCHEMA_NULLABLE},
	{.name = "dns", .type = SCHEMA_WORD, .words = dns_words},
	{.name = "psk", .type = SCHEMA_WORD, .words = psk_words},
	{.name = "psk_rotate", .type = SCHEMA_DURATION, .help = "how long a preshared key serves"},
	{.name = "hooks", .type = SCHEMA_OBJECT, .flags = SCHEMA_NULLABLE, .fields = hook_fields},
	{0},
};

struct reading { /* what every step below needs */
	struct config *config;
	char *error;
};

static bool read_coordinator(struct reading *r, const json_t *root)
{
	const json_t *object = json_object_get(root, "coordinator");
	const json_t *url = json_object_get(object, "url"), *pin = json_object_get(object, "pin");
	uint8_t bytes[32];

	r->config->coordinator_url = proto_origin(json_string_value(url));
	if (!r->config->coordinator_url)
		return schema_fail(r->config->yaml, url, r->error,
				   "url must be https://HOST:PORT, PORT 1 to 65535, and nothing more");
	if (!json_is_string(pin))
		return true;
	if (strlen(json_string_value(pin)) != 43 ||
	    base64url_decode(bytes, sizeof(bytes), json_string_value(pin)) != (int)sizeof(bytes))
		return schema_fail(r->config->yaml, pin, r->error,
				   "pin must be 43 characters of base64url: what follows the '.' in a join link");
	r->config->coordinator_pin = xstrdup(json_string_value(pin));
	return true;
}

/* One entry: a plugin's name, or {name: {its options}}. */
static bool read_plugin(struct reading *r, json_t *entry, struct config_plugin *out)
{
	const char *name = json_string_value(entry);
	json_t *options = NULL;

	if (json_is_object(entry) && json_object_size(entry) == 1) {
		void *at = json_object_iter(entry);

		name = json_object_iter_key(at);
		options = json_object_iter_value(at);
	}
	if (!name)
		return schema_fail(r->config->yaml, entry, r->error,
				   "must be a plugin's name, or its name with options: {static: {...}}");
	if (!plugin_name_valid(name))
		return schema_fail(r->config->yaml, entry, r->error,
				   "a plugin's name is 1 to %d of a-z, 0-9 and inner '-'", PLUGIN_NAME_LIMIT);
	if (options && !json_is_object(options) && !json_is_null(options))
		return schema_fail(r->config->yaml, options, r->error,
				   "options of plugin %s must be key: value pairs", name);
	out->name = xstrdup(name);
	out->options = json_is_object(options) ? options : NULL;
	return true;
}

/* Twice with other options is for the plugin to judge: some can be opened several times. */
static bool is_first(struct reading *r, json_t *entry, const struct config_plugin *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(all[i].name, all[count].name) &&
		    (all[i].options == all[count].options || json_equal(all[i].options, all[count].options)))
			return schema_fail(r->config->yaml, entry, r->error,
					   "plugin %s is named twice: take one out", all[i].name);
	return true;
}

static bool read_plugins(struct reading *r, const json_t *root, const char *kind,
			 const char *const *defaults, struct config_plugin **out, size_t *count)
{
	json_t *value = json_object_get(root, kind);
	size_t wanted = json_is_array(value) ? json_array_size(value) : 1;

	if (!value) {
		for (wanted = 0; defaults[wanted];)
			wanted++;
	}
	*out = xcalloc(wanted + 1, sizeof(**out));
	for (; *count < wanted; (*count)++) {
		json_t *entry = json_is_array(value) ? json_array_get(value, *count) : value;

		if (!value)
			(*out)[*count].name = xstrdup(defaults[*count]);
		else if (!read_plugin(r, entry, &(*out)[*count]))
			return false;
		if (!is_first(r, entry, *out, *count)) {
			(*count)++;
			return false;
		}
	}
	return true;
}

static bool read_prefixes(struct reading *r, json_t *value, const char *must, struct prefix **out,
			  size_t *count)
{
	size_t wanted = json_is_array(value) ? json_array_size(value) : value ? 1 : 0;

	*out = xcalloc(wanted + 1, sizeof(**out));
	for (; *count < wanted; (*count)++) {
		json_t *entry = json_is_array(value) ? json_array_get(value, *count) : value;
		const char *text = json_string_value(entry);
		struct prefix prefix, masked;
		char right[PREFIX_TEXT];

		if (!text || !prefix_parse(&prefix, text))
			return schema_fail(r->config->yaml, entry, r->error,
					   "%s such as 192.168.1.0/24", must);
		masked = prefix_mask(&prefix);
		if (!addr_equal(&masked.addr, &prefix.addr)) {
			prefix_format(right, &masked);
			return schema_fail(r->config->yaml, entry, r->error,
					   "names a host inside the network; the network is %s", right);
		}
		(*out)[*count] = prefix;
	}
	return true;
}

static bool read_routes(struct reading *r, const json_t *root)
{
	static const char accept_wanted[] = "accept must be true, false or a list of networks";
	const json_t *routes = json_object_get(root, "routes");
	json_t *accept = json_object_get(routes, "accept");
	struct config *config = r->config;

	if (!read_prefixes(r, json_object_get(routes, "advertise"), "advertise must be networks",
			   &config->advertise, &config->advertise_count))
		return false;
	if (!accept || json_is_boolean(accept)) {
		config->accept_mode = json_is_true(accept) ? ACCEPT_PRIVATE : ACCEPT_NONE;
		return true;
	}
	if (!json_is_array(accept) && !json_is_string(accept))
		return schema_fail(config->yaml, accept, r->error, "%s", accept_wanted);
	config->accept_mode = ACCEPT_LIST;
	return read_prefixes(r, accept, accept_wanted, &config->accept, &config->accept_count);
}

static bool read_words(struct reading *r, const json_t *root)
{
	const json_t *name = json_object_get(root, "name");
	const json_t *firewall = json_object_get(root, "firewall");
	const json_t *dns = json_object_get(root, "dns"), *exit_node = json_object_get(root, "exit_node");
	struct config *config = r->config;

	if (json_is_string(name) && !name_valid(json_string_value(name)))
		return schema_fail(config->yaml, name, r->error,
				   "name must be 1 to 63 of a-z, 0-9 and inner '-'");
	if (json_is_string(exit_node) && !*json_string_value(exit_node))
		return schema_fail(config->yaml, exit_node, r->error, "exit_node must be a peer's name or null");
	config->name = xstrdup(json_string_value(name));
	config->firewall = xstrdup(firewall ? json_string_value(firewall) : "nftables");
	config->dns = xstrdup(dns ? json_string_value(dns) : "none");
	config->exit_node = xstrdup(json_string_value(exit_node));
	config->listen_port = (uint16_t)json_integer_value(json_object_get(root, "listen_port"));
	return true;
}

static bool read_psk(struct reading *r, const json_t *root)
{
	const json_t *word = json_object_get(root, "psk"), *every = json_object_get(root, "psk_rotate");
	struct config *config = r->config;

	config->psk_auto = word && !strcmp(json_string_value(word), "auto");
	config->psk_every_ms = PSK_EVERY_MS;
	if (every)
		parse_duration(json_string_value(every), &config->psk_every_ms);
	if (config->psk_every_ms < PSK_EVERY_MIN_MS || config->psk_every_ms > PSK_EVERY_MAX_MS)
		return schema_fail(config->yaml, every, r->error,
				   "psk_rotate must be from 1m (WireGuard shakes hands each two minutes) to 30d");
	return true;
}

/* A single command becomes a list of one, so that nobody else need ask. */
static void read_hooks(struct reading *r, const json_t *root)
{
	json_t *hooks = json_object_get(root, "hooks"), *value;
	const char *key;
	void *tmp;

	if (!json_is_object(hooks))
		return;
	json_object_foreach_safe(hooks, tmp, key, value) {
		if (json_is_string(value))
			json_object_set_new(hooks, key, json_pack("[O]", value));
	}
	r->config->hooks = hooks;
}

static bool read_all(struct reading *r)
{
	static const char *const discovery[] = {"local", "stun", NULL};
	static const char *const natmap[] = {"pcp", "natpmp", "upnp", NULL};
	static const char *const relay[] = {"derp", NULL};
	struct config *config = r->config;
	const json_t *root = yaml_root(config->yaml);

	if (!schema_check(config->yaml, fields, r->error) || !read_coordinator(r, root) ||
	    !read_words(r, root) || !read_routes(r, root) || !read_psk(r, root))
		return false;
	read_hooks(r, root);
	return read_plugins(r, root, "discovery", discovery, &config->discovery, &config->discovery_count) &&
	       read_plugins(r, root, "natmap", natmap, &config->natmap, &config->natmap_count) &&
	       read_plugins(r, root, "relay", relay, &config->relay, &config->relay_count);
}

static int read_trusted(int fd, struct buf *text, const char **why)
{
	int ret = file_check_trusted(fd, why);
	ssize_t got;

	if (ret)
		return ret;
	do {
		uint8_t *room = buf_reserve(text, 16 * 1024);

		if (!room)
			return -EFBIG;
		got = read(fd, room, 16 * 1024);
		if (got < 0)
			return -errno;
		text->len += (size_t)got;
	} while (got > 0);
	return 0;
}

/* The file's text, or a sentence. */
static bool read_file(const char *path, struct buf *text, char *error)
{
	const char *why = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int ret = fd < 0 ? -errno : read_trusted(fd, text, &why);

	if (fd >= 0)
		close(fd);
	if (ret == -ENOENT)
		snprintf(error, YAML_ERROR, "%s: there is no such file; `wg-mesh join` makes it", path);
	else if (ret == -EFBIG)
		snprintf(error, YAML_ERROR, "%s: is larger than 1 MiB", path);
	else if (ret)
		snprintf(error, YAML_ERROR, "%s: cannot be used: %s", path, why ? why : strerror(-ret));
	return ret == 0;
}

struct config *config_load(const char *path, char error[static YAML_ERROR])
{
	struct config *config = xcalloc(1, sizeof(*config));
	struct reading r = {.config = config, .error = error};
	struct buf text;

	error[0] = '\0';
	buf_init(&text, CONFIG_FILE_MAX + 32 * 1024);
	if (read_file(path, &text, error))
		config->yaml = yaml_load_text(path, buf_text(&text), text.len, error);
	buf_free(&text);
	if (!config->yaml || !read_all(&r)) {
		config_free(config);
		return NULL;
	}
	return config;
}

static void free_plugins(struct config_plugin *plugins, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(plugins[i].name);
	free(plugins);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free(config->coordinator_url);
	free(config->coordinator_pin);
	free(config->name);
	free_plugins(config->discovery, config->discovery_count);
	free_plugins(config->natmap, config->natmap_count);
	free_plugins(config->relay, config->relay_count);
	free(config->firewall);
	free(config->dns);
	free(config->exit_node);
	free(config->advertise);
	free(config->accept);
	yaml_free(config->yaml);
	free(config);
}
