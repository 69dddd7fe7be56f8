/*
 * config.c - defaults, then the file, then the command line; nothing is opened or made here.
 *
 * The one guess: without a public URL, links name the address that the default route leaves from,
 * which is right for a server and wrong behind a router: url_private says so.
 */
#include "config.h"
#include "coordinator/store/store.h"
#include "lib/schema.h"
#include "lib/sock.h"
#include "lib/str.h"
#include "lib/http.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INT(key, low, high, text) {.name = key, .type = SCHEMA_INT, .min = low, .max = high, .help = text}

static const struct schema_field tls_fields[] = {
	{.name = "cert", .type = SCHEMA_STRING, .help = "certificate chain, PEM"},
	{.name = "key", .type = SCHEMA_STRING, .help = "its private key, PEM"},
	{.name = "next_key", .type = SCHEMA_STRING, .help = "the key that comes next, told to agents"},
	{0},
};

static const struct schema_field relay_fields[] = {
	{.name = "embedded", .type = SCHEMA_BOOL, .help = "run a relay and STUN server beside"},
	{.name = "stun", .type = SCHEMA_STRING, .help = "ADDR:PORT of its STUN server"},
	{.name = "region", .type = SCHEMA_STRING, .help = "what agents know it by"},
	{0},
};

static const struct schema_field limit_fields[] = {
	INT("body", 4096, 16 << 20, "bytes of a request's body"),
	INT("header", 1024, 1 << 20, "bytes of a request's head"),
	INT("headers", 8, HTTP_MAX_HEADERS, "header lines"),
	INT("routes", 0, 64, "advertised routes an agent"),
	INT("requests_per_address", 1, 1000000, "a second"),
	INT("requests_per_agent", 1, 1000000, "a second"),
	INT("connections", 8, 1000000, "at once"),
	INT("connections_per_address", 1, 1000000, "at once"),
	{0},
};

static const struct schema_field fields[] = {
	{.name = "listen", .type = SCHEMA_STRING, .help = "ADDR:PORT"},
	{.name = "public_url", .type = SCHEMA_STRING, .flags = SCHEMA_LIST, .help = "https://HOST:PORT"},
	{.name = "db", .type = SCHEMA_STRING, .help = "sqlite:PATH"},
	{.name = "policy", .type = SCHEMA_STRING, .help = "policy file"},
	{.name = "state", .type = SCHEMA_STRING, .help = "state directory"},
	{.name = "run_dir", .type = SCHEMA_STRING, .help = "directory of the control socket"},
	{.name = "token_lifetime", .type = SCHEMA_DURATION, .help = "of an agent's token"},
	{.name = "ephemeral_after", .type = SCHEMA_DURATION, .help = "away so long, an ephemeral agent goes"},
	{.name = "session_lifetime", .type = SCHEMA_DURATION, .help = "of a browser's session"},
	{.name = "dashboard", .type = SCHEMA_BOOL, .help = "serve pages for browsers"},
	{.name = "tls", .type = SCHEMA_OBJECT, .fields = tls_fields},
	{.name = "relay", .type = SCHEMA_OBJECT, .fields = relay_fields},
	{.name = "limits", .type = SCHEMA_OBJECT, .fields = limit_fields},
	{0},
};

static const struct config defaults = {
	.dashboard = true,
	.relay_embedded = true,
	.token_lifetime_ms = 24 * 3600 * 1000ull,
	.ephemeral_ms = 30 * 60 * 1000ull,
	.session_ms = 12 * 3600 * 1000ull,
	.limits = {.body = HTTP_MAX_BODY, .header = HTTP_MAX_HEAD, .headers = HTTP_MAX_HEADERS,
		   .routes = 64, .requests_per_address = 50, .requests_per_agent = 20,
		   .connections = 20000, .connections_per_address = 1000},
};

bool origin_normalise(char *out, size_t size, const char *url)
{
	size_t len;

	if (strncasecmp(url, "https://", 8) || !str_copy(out, size, url))
		return false;
	for (char *c = out; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	len = strlen(out);
	if (len && out[len - 1] == '/')
		out[--len] = '\0';
	if (len > 4 && !strcmp(out + len - 4, ":443"))
		out[len - 4] = '\0';
	return out[8] && strspn(out + 8, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]") == strlen(out + 8);
}

/* HOST, HOST:PORT or [IPV6]:PORT, behind the "https://" of a normalised origin. */
static bool origin_plausible(const char *origin)
{
	const char *at = origin + strlen("https://"), *rest;
	char host[300];
	struct addr addr;
	uint16_t port;
	size_t len;

	origin_host(host, sizeof(host), origin);
	len = strlen(host);
	rest = at + len;
	if (*host == '[') {
		if (host[len - 1] != ']')
			return false;
		host[len - 1] = '\0';
		if (!addr_parse(&addr, host + 1) || addr.family != AF_INET6)
			return false;
	} else if (!*host || *host == '-' || *host == '.' || strstr(host, "..") || strpbrk(host, "[]")) {
		return false;
	}
	return !*rest || (*rest == ':' && parse_u16(rest + 1, &port) && port);
}

void origin_host(char *out, size_t size, const char *origin)
{
	const char *host = origin + strlen("https://");
	size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	snprintf(out, size, "%.*s", (int)len, host);
}

static void set(char **slot, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text) {
		free(*slot);
		*slot = xstrdup(text);
	}
}

static void set_bool(bool *slot, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (value)
		*slot = json_is_true(value);
}

static void set_size(size_t *slot, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_integer(value))
		*slot = (size_t)json_integer_value(value);
}

static void set_unsigned(unsigned *slot, const json_t *object, const char *key)
{
	size_t value = *slot;

	set_size(&value, object, key);
	*slot = (unsigned)value;
}

static void take_limits(struct config_limits *limits, const json_t *json)
{
	set_size(&limits->body, json, "body");
	set_size(&limits->header, json, "header");
	set_unsigned(&limits->headers, json, "headers");
	set_unsigned(&limits->routes, json, "routes");
	set_unsigned(&limits->requests_per_address, json, "requests_per_address");
	set_unsigned(&limits->requests_per_agent, json, "requests_per_agent");
	set_unsigned(&limits->connections, json, "connections");
	set_unsigned(&limits->connections_per_address, json, "connections_per_address");
}

/* Both the file and the options have these keys. -1: a sentence is in error. */
static int take_common(struct config *config, const json_t *json, char error[static CONFIG_ERROR])
{
	const json_t *urls = json_object_get(json, "public_url"), *url;
	const char *listen = json_string_value(json_object_get(json, "listen"));
	char origin[300];

	set(&config->state, json, "state");
	set(&config->run_dir, json, "run_dir");
	set(&config->db, json, "db");
	set(&config->policy, json, "policy");
	if (listen && !listen_parse(&config->listen, listen)) {
		snprintf(error, CONFIG_ERROR, "listen: \"%s\" is not ADDR:PORT, such as [::]:8443", listen);
		return -1;
	}
	if (!urls)
		return 0;
	while (config->url_count)
		free(config->urls[--config->url_count]);
	for (size_t i = 0; i < (json_is_array(urls) ? json_array_size(urls) : 1); i++) {
		url = json_is_array(urls) ? json_array_get(urls, i) : urls;
		if (i == CONFIG_MAX_URLS ||
		    !origin_normalise(origin, sizeof(origin), json_string_value(url)) ||
		    !origin_plausible(origin)) {
			snprintf(error, CONFIG_ERROR, "public_url: \"%s\" is not https://HOST:PORT",
				 json_string_value(url));
			return -1;
		}
		config->urls[config->url_count++] = xstrdup(origin);
	}
	config->urls_given = config->url_count > 0;
	return 0;
}

static void take_duration(uint64_t *ms, const json_t *root, const char *key)
{
	const json_t *value = json_object_get(root, key);

	if (json_is_string(value))
		parse_duration(json_string_value(value), ms);
	else if (json_is_integer(value))
		*ms = 1000 * (uint64_t)json_integer_value(value);
}

static int load_file(struct config *config, bool may_wait, char error[static CONFIG_ERROR])
{
	struct yaml *yaml;
	const json_t *root, *tls, *relay;
	int result = -1;

	yaml = yaml_load_file(config->file, may_wait, error);
	if (!yaml)
		return -1;
	if (!schema_check(yaml, fields, error))
		goto out;
	root = yaml_root(yaml);
	tls = json_object_get(root, "tls");
	relay = json_object_get(root, "relay");
	set(&config->cert, tls, "cert");
	set(&config->key, tls, "key");
	set(&config->next_key, tls, "next_key");
	set(&config->relay_stun, relay, "stun");
	set(&config->relay_region, relay, "region");
	set_bool(&config->relay_embedded, relay, "embedded");
	set_bool(&config->dashboard, root, "dashboard");
	take_duration(&config->token_lifetime_ms, root, "token_lifetime");
	take_duration(&config->ephemeral_ms, root, "ephemeral_after");
	take_duration(&config->session_ms, root, "session_lifetime");
	take_limits(&config->limits, json_object_get(root, "limits"));
	result = take_common(config, root, error);
out:
	yaml_free(yaml);
	return result;
}

/* The address that links name where nobody said one. */
static void default_url(struct config *config, uint16_t port)
{
	struct endpoint towards = {0}, at = config->listen;
	char text[ENDPOINT_TEXT];

	at.port = port;
	if (!at.addr.family || addr_is_unspecified(&at.addr)) {
		if (!endpoint_parse(&towards, "192.0.2.1:9") ||
		    sock_source_for(&towards, 0, &at.addr) < 0) {
			endpoint_parse(&towards, "[2001:db8::1]:9");
			if (sock_source_for(&towards, 0, &at.addr) < 0)
				addr_parse(&at.addr, "127.0.0.1");
		}
	}
	endpoint_format(text, &at);
	config->urls[0] = xasprintf("https://%s", text);
	config->url_count = 1;
	config->url_private = addr_is_private(&at.addr) || addr_is_loopback(&at.addr);
}

static int check(struct config *config, char error[static CONFIG_ERROR])
{
	const struct {
		const char *key, *value;
	} paths[] = {{"state", config->state}, {"run_dir", config->run_dir}, {"db", config->db}, {"policy", config->policy},
		     {"tls: cert", config->cert}, {"tls: key", config->key}, {"tls: next_key", config->next_key}};
	struct endpoint stun;
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i].value && !*paths[i].value) {
			snprintf(error, CONFIG_ERROR, "%s: is empty: leave it out, or say where", paths[i].key);
			return -1;
		}
	if (!config->cert != !config->key) {
		snprintf(error, CONFIG_ERROR, "tls: cert and key belong together, one is missing");
		return -1;
	}
	if (config->db && !store_url_ok(config->db, &why)) {
		snprintf(error, CONFIG_ERROR, "db: \"%.*s...\" %s", (int)strcspn(config->db, ":") + 1,
			 config->db, why); /* a password may be in the rest */
		return -1;
	}
	if (!listen_parse(&stun, config->relay_stun)) {
		snprintf(error, CONFIG_ERROR, "relay: stun: \"%s\" is not ADDR:PORT, such as :3478",
			 config->relay_stun);
		return -1;
	}
	if (config->relay_region && !name_valid(config->relay_region)) {
		snprintf(error, CONFIG_ERROR, "relay: region: \"%.70s\" is not a name of 1 to 63 characters of a-z, "
			 "0-9 and '-'", config->relay_region);
		return -1;
	}
	if (config->token_lifetime_ms < 60 * 1000) {
		snprintf(error, CONFIG_ERROR, "token_lifetime: must be at least a minute");
		return -1;
	}
	return 0;
}

/* Beside coordinator.yaml, so /etc/wg-mesh/policy.yaml where nothing is moved. */
static void default_policy(struct config *config)
{
	const char *file = config->file ? config->file : WG_MESH_SYSCONFDIR "/coordinator.yaml";
	const char *slash = strrchr(file, '/');

	config->policy_optional = true;
	config->policy = xasprintf("%.*spolicy.yaml", slash ? (int)(slash - file) + 1 : 0, file);
}

int config_load(struct config *config, const json_t *options, bool may_wait, char error[static CONFIG_ERROR])
{
	const char *file = json_string_value(json_object_get(options, "config"));

	*config = defaults;
	config->state = xstrdup(WG_MESH_STATEDIR "/coordinator");
	config->run_dir = xstrdup(WG_MESH_RUNDIR);
	config->relay_stun = xstrdup(":3478");
	listen_parse(&config->listen, "[::]:8443");
	if (file || !access(WG_MESH_SYSCONFDIR "/coordinator.yaml", F_OK)) {
		config->file = xstrdup(file ? file : WG_MESH_SYSCONFDIR "/coordinator.yaml");
		if (load_file(config, may_wait, error) < 0)
			return 2;
	}
	if (take_common(config, options, error) < 0 || check(config, error) < 0)
		return 2;
	if (!config->policy)
		default_policy(config);
	if (!config->db)
		config->db = xasprintf("sqlite:%s/coordinator.db", config->state);
	if (!config->urls_given)
		default_url(config, config->listen.port);
	return 0;
}

void config_take_port(struct config *config, uint16_t port)
{
	if (config->urls_given || config->listen.port)
		return;
	free(config->urls[0]);
	default_url(config, port);
}

void config_free(struct config *config)
{
	char *owned[] = {config->file, config->policy, config->state, config->run_dir, config->db, config->cert,
			 config->key, config->next_key, config->relay_stun, config->relay_region};

	for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
		free(owned[i]);
	for (unsigned i = 0; i < config->url_count; i++)
		free(config->urls[i]);
	memset(config, 0, sizeof(*config));
}
