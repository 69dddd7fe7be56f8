/*
 * plugin_host.c - the life of plugin instances: opened as the configuration names them, retried when
 * they fail, told of news, closed.
 *
 * A plugin never takes the agent down with it: what fails is listed with its sentence and tried
 * again with back-off (the file may be put right meanwhile). The tricky thing is a script: it is
 * asked to describe itself first, so between start and open there may be a wait.
 */
#include "plugin_instance.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/stun.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define RETRY_FIRST_MS 1000
#define RETRY_LAST_MS  300000

/* ---- opening and closing one ------------------------------------------------------------ */

void plugin_instance_failed(struct plugin_instance *instance, enum plugin_state state)
{
	uint64_t wait_ms = (uint64_t)RETRY_FIRST_MS << MIN(instance->failures, 16u);

	if (instance->script) { /* its descriptor and options are the script's own text */
		plugin_script_free(instance->script);
		instance->script = NULL;
		instance->plugin = (struct wgm_plugin){0};
		instance->values = (struct plugin_values){0};
	}
	instance->state = state;
	instance->failures++;
	if (state == PLUGIN_FAILED)
		timer_start(&instance->retry, MIN(wait_ms, RETRY_LAST_MS));
	log_line(instance->failures == 1 ? LOG_WARN : LOG_DEBUG, "plugin-failed",
		 "plugin=%s reason=\"%s\"", instance->label, instance->error);
}

/* Another entry of the configuration has it, and it is a plugin that can be opened once. */
static bool is_second(const struct plugin_instance *instance)
{
	const struct plugin_instance *elder;

	if (instance->plugin.caps & WGM_CAP_MULTI)
		return false;
	list_each(elder, &instance->host->instances, node) {
		if (elder == instance)
			return false;
		if (elder->kind == instance->kind && elder->wanted && !strcmp(elder->name, instance->name))
			return true;
	}
	return false;
}

void plugin_instance_described(struct plugin_instance *instance)
{
	const struct plugin_listener *listener = &instance->host->listeners[instance->kind];
	struct plugin_call call;
	int error;

	if (is_second(instance)) {
		snprintf(instance->error, sizeof(instance->error),
			 "%s is named twice and can be opened once: take one out of the configuration",
			 instance->label);
		plugin_instance_failed(instance, PLUGIN_REFUSED);
		return;
	}
	if (!plugin_values_read(&instance->values, instance->plugin.options, instance->label,
				instance->host->config ? instance->host->config->yaml : NULL,
				instance->options, instance->error)) {
		plugin_instance_failed(instance, PLUGIN_REFUSED);
		return;
	}
	instance->error[0] = '\0';
	if (instance->host->services.only_check) {
		instance->state = PLUGIN_CHECKED;
		return;
	}
	plugin_call_begin(&call, instance->label);
	error = instance->plugin.open(&instance->api, &instance->self);
	plugin_call_end(&call);
	if (error) {
		plugin_take_back(instance);
		plugin_values_free(&instance->values);
		if (!instance->error[0])
			snprintf(instance->error, sizeof(instance->error), "%s could not be opened: %s",
				 instance->label, strerror(error < 0 ? -error : error));
		plugin_instance_failed(instance, PLUGIN_FAILED);
		return;
	}
	instance->state = PLUGIN_RUNNING;
	instance->failures = 0;
	log_info("plugin-opened", "plugin=%s version=%s", instance->label, instance->plugin.version);
	if (listener->opened)
		listener->opened(listener->arg, instance);
}

static void object_start(struct plugin_instance *instance, int fd)
{
	struct plugin_call call;
	int error;

	plugin_call_begin(&call, instance->label); /* its constructors are code of its own already */
	error = plugin_load_object(fd, instance->path, instance->kind, instance->name,
				   &instance->plugin, instance->error);
	plugin_call_end(&call);
	if (error)
		plugin_instance_failed(instance, PLUGIN_FAILED);
	else
		plugin_instance_described(instance);
}

static void instance_start(void *arg)
{
	struct plugin_instance *instance = arg;
	const struct plugin_services *services = &instance->host->services;
	char words[PLUGIN_FAULT];
	int fd;

	fd = plugin_open_file(instance->host->dir, instance->kind, instance->name, &instance->form,
			      instance->path, instance->error);
	if (fd < 0) {
		plugin_instance_failed(instance, PLUGIN_FAILED);
		return;
	}
	if (plugin_watchdog_guilty(services->hung_path, instance->label, instance->path, words)) {
		snprintf(instance->error, sizeof(instance->error),
			 "%s %s and is left out: install a mended one, or remove %s, then run wg-mesh "
			 "reload %s",
			 instance->path, words, services->hung_path, services->interface);
		plugin_instance_failed(instance, strncmp(words, "hung", 4) ? PLUGIN_CRASHED : PLUGIN_HUNG);
	} else if (instance->form == PLUGIN_SCRIPT) {
		instance->state = PLUGIN_STARTING;
		plugin_script_start(instance);
	} else {
		object_start(instance, fd);
	}
	close(fd);
}

static void instance_close(struct plugin_instance *instance)
{
	const struct plugin_listener *listener = &instance->host->listeners[instance->kind];
	bool was_running = instance->state == PLUGIN_RUNNING;
	struct plugin_call call;

	timer_stop(&instance->retry);
	if (was_running) {
		plugin_call_begin(&call, instance->label);
		instance->plugin.close(instance->self);
		plugin_call_end(&call);
	}
	instance->state = PLUGIN_STARTING;
	instance->self = NULL;
	plugin_take_back(instance);
	plugin_values_free(&instance->values);
	plugin_script_free(instance->script);
	instance->script = NULL;
	instance->plugin = (struct wgm_plugin){0};
	instance->failures = 0;
	if (was_running && listener->news)
		listener->news(listener->arg, instance);
}

static void instance_free(struct plugin_instance *instance)
{
	instance_close(instance);
	list_del(&instance->node);
	json_decref(instance->options_copy);
	free(instance);
}

static struct plugin_instance *instance_new(struct plugin_host *host, uint32_t kind, const char *name)
{
	struct plugin_instance *instance = xcalloc(1, sizeof(*instance));

	instance->host = host;
	instance->id = ++host->last_id;
	instance->kind = kind;
	str_copy(instance->name, sizeof(instance->name), name);
	snprintf(instance->label, sizeof(instance->label), "%.9s-%.29s", plugin_kind_name(kind), name);
	timer_init(&instance->retry, host->services.loop, instance_start, instance);
	plugin_lend(instance);
	list_add_tail(&host->instances, &instance->node);
	return instance;
}

/* ---- the configuration ---------------------------------------------------------------------- */

/* The first that no entry of the configuration has claimed yet. */
static struct plugin_instance *find(struct plugin_host *host, uint32_t kind, const char *name)
{
	struct plugin_instance *instance;

	list_each(instance, &host->instances, node)
		if (instance->kind == kind && !instance->wanted && !strcmp(instance->name, name))
			return instance;
	return NULL;
}

/* New options for a running one: taken by reload(), else by closing and opening. */
static void instance_reload(struct plugin_instance *instance)
{
	struct plugin_values old = instance->values, new;
	struct plugin_call call;
	int error = -ENOSYS;

	if (instance->state == PLUGIN_RUNNING && instance->plugin.reload &&
	    plugin_values_read(&new, instance->plugin.options, instance->label,
			       instance->host->config->yaml, instance->options, instance->error)) {
		instance->values = new;
		plugin_call_begin(&call, instance->label);
		error = instance->plugin.reload(instance->self);
		plugin_call_end(&call);
		plugin_values_free(&old);
	}
	if (!error) {
		instance->error[0] = '\0';
		return;
	}
	instance_close(instance);
	instance_start(instance);
}

static void want(struct plugin_host *host, uint32_t kind, const struct config_plugin *entry)
{
	struct plugin_instance *instance;
	bool same;

	instance = find(host, kind, entry->name);
	if (!instance) {
		instance = instance_new(host, kind, entry->name);
		instance->options = entry->options;
		instance->options_copy = json_deep_copy(entry->options);
		instance->wanted = true;
		instance_start(instance);
		return;
	}
	same = (!entry->options && !instance->options_copy) ||
	       json_equal(entry->options, instance->options_copy);
	instance->wanted = true;
	instance->options = entry->options;
	if (!same) {
		json_decref(instance->options_copy);
		instance->options_copy = json_deep_copy(entry->options);
		instance_reload(instance);
	} else if (instance->state != PLUGIN_RUNNING && instance->state != PLUGIN_STARTING) {
		instance_close(instance);
		instance_start(instance);
	}
}

void plugin_host_configure(struct plugin_host *host, const struct config *config)
{
	const struct {
		uint32_t kind;
		const struct config_plugin *entries;
		size_t count;
	} lists[] = {
		{WGM_DISCOVERY, config->discovery, config->discovery_count},
		{WGM_NATMAP, config->natmap, config->natmap_count},
		{WGM_RELAY, config->relay, config->relay_count},
	};
	struct plugin_instance *instance, *next;

	host->config = config;
	list_each(instance, &host->instances, node)
		instance->wanted = false;
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		if (!host->listeners[lists[l].kind].opened)
			continue;
		for (size_t i = 0; i < lists[l].count; i++)
			want(host, lists[l].kind, &lists[l].entries[i]);
	}
	list_each_safe(instance, next, &host->instances, node)
		if (!instance->wanted)
			instance_free(instance);
}

/* ---- the host ---------------------------------------------------------------------------------- */

struct plugin_host *plugin_host_new(const struct plugin_services *services, const char *plugin_dir)
{
	struct plugin_host *host = xcalloc(1, sizeof(*host));

	host->services = *services;
	host->dir = xstrdup(plugin_dir);
	host->resolver = resolver_new(services->loop);
	host->anchor = xcalloc(1, sizeof(*host->anchor));
	host->anchor->refs = 1;
	host->anchor->host = host;
	list_init(&host->instances);
	if (services->hung_path)
		plugin_watchdog_open(services->hung_path);
	return host;
}

void plugin_host_free(struct plugin_host *host)
{
	struct plugin_instance *instance, *next;

	if (!host)
		return;
	list_each_safe(instance, next, &host->instances, node)
		instance_free(instance);
	resolver_free(host->resolver);
	host->anchor->host = NULL;
	if (!__atomic_sub_fetch(&host->anchor->refs, 1, __ATOMIC_ACQ_REL))
		free(host->anchor);
	free(host->dir);
	free(host);
}

void plugin_host_listen(struct plugin_host *host, uint32_t kind, const struct plugin_listener *listener)
{
	host->listeners[kind] = *listener;
}

struct plugin_instance *plugin_host_find(struct plugin_host *host, uint64_t id)
{
	struct plugin_instance *instance;

	list_each(instance, &host->instances, node)
		if (instance->id == id)
			return instance;
	return NULL;
}

void plugin_host_packet(struct plugin_host *host, const struct endpoint *from, const void *data, size_t len)
{
	struct plugin_instance *instance;
	struct sockaddr_storage storage;
	struct plugin_call call;
	union wgm_addr addr;

	if (!stun_is(data, len))
		return;
	memset(&addr, 0, sizeof(addr));
	endpoint_to_sockaddr(from, &storage);
	memcpy(&addr, &storage, sizeof(addr));
	list_each(instance, &host->instances, node) {
		const struct wgm_discovery_ops *ops = instance->plugin.ops;

		if (instance->state != PLUGIN_RUNNING || instance->kind != WGM_DISCOVERY || !ops->packet ||
		    !plugin_sent_request(instance, (const uint8_t *)data + 8))
			continue;
		plugin_call_begin(&call, instance->label);
		ops->packet(instance->self, &addr, data, len);
		plugin_call_end(&call);
		return;
	}
}

void plugin_host_servers_changed(struct plugin_host *host)
{
	struct plugin_instance *instance;
	struct plugin_call call;

	list_each(instance, &host->instances, node) {
		const struct wgm_discovery_ops *ops = instance->plugin.ops;

		if (instance->state != PLUGIN_RUNNING || instance->kind != WGM_DISCOVERY ||
		    !ops->servers_changed)
			continue;
		plugin_call_begin(&call, instance->label);
		ops->servers_changed(instance->self);
		plugin_call_end(&call);
	}
}
