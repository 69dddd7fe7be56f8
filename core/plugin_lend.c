/*
 * plugin_lend.c - struct wgm_host as one instance sees it: words, options, timers, descriptors,
 * WireGuard's port, and its news for the core. Programs, names and threads are in plugin_jobs.c.
 *
 * All that an instance is lent hangs on its lists, so that closing it takes everything back and a
 * forgetful plugin is never called again. The tricky thing is what may go while the plugin is being
 * called: what happens once leaves its list and is freed before the plugin hears of it.
 */
#include "lib/addr.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/stun.h"
#include "plugin_instance.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct wgm_timer {
	struct list node;
	struct plugin_instance *instance;
	struct loop_timer timer;
	wgm_timer_fn *fn;
	void *arg;
};

struct wgm_watch {
	struct list node;
	struct plugin_instance *instance;
	struct loop_io io;
	wgm_watch_fn *fn;
	void *arg;
};

static struct plugin_instance *instance_of(struct wgm_host *api)
{
	return container_of(api, struct plugin_instance, api);
}

static const struct plugin_services *services_of(struct wgm_host *api)
{
	return &instance_of(api)->host->services;
}

/* ---- words ------------------------------------------------------------------------- */

PRINTF_LIKE(3, 4)
static void lend_log(struct wgm_host *api, int level, const char *format, ...)
{
	static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
	enum log_level at = level >= WGM_ERROR && level <= WGM_DEBUG ? levels[level] : LOG_INFO;
	char text[PLUGIN_ERROR];
	va_list args;

	if (!log_enabled(at))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_line(at, "plugin", "plugin=%s text=\"%s\"", instance_of(api)->label, text);
}

PRINTF_LIKE(3, 4)
static int lend_fail(struct wgm_host *api, int error, const char *format, ...)
{
	struct plugin_instance *instance = instance_of(api);
	va_list args;

	va_start(args, format);
	vsnprintf(instance->error, sizeof(instance->error), format, args);
	va_end(args);
	if (instance->state == PLUGIN_RUNNING) /* else the failed open() is logged */
		log_error("plugin", "plugin=%s reason=\"%s\"", instance->label, instance->error);
	return error > 0 ? -error : error;
}

static const struct plugin_values_of *option(struct wgm_host *api, const char *name)
{
	return plugin_values_find(&instance_of(api)->values, name);
}

static unsigned lend_option_count(struct wgm_host *api, const char *name)
{
	const struct plugin_values_of *of = option(api, name);

	return of ? of->count : 0;
}

static const char *lend_option_string(struct wgm_host *api, const char *name, unsigned index)
{
	const struct plugin_values_of *of = option(api, name);

	return of && index < of->count ? of->values[index].text : NULL;
}

static int64_t lend_option_int(struct wgm_host *api, const char *name, unsigned index)
{
	const struct plugin_values_of *of = option(api, name);

	return of && index < of->count ? of->values[index].number : 0;
}

/* ---- timers and descriptors ----------------------------------------------------------- */

static uint64_t lend_now_ms(struct wgm_host *api)
{
	return loop_now(services_of(api)->loop);
}

static void on_timer(void *arg)
{
	struct wgm_timer timer = *(struct wgm_timer *)arg;
	struct plugin_call call;

	list_del(&((struct wgm_timer *)arg)->node);
	free(arg);
	plugin_call_begin(&call, timer.instance->label);
	timer.fn(timer.arg);
	plugin_call_end(&call);
}

static struct wgm_timer *lend_after(struct wgm_host *api, uint64_t ms, wgm_timer_fn *fn, void *arg)
{
	struct wgm_timer *timer = xcalloc(1, sizeof(*timer));

	timer->instance = instance_of(api);
	timer->fn = fn;
	timer->arg = arg;
	timer_init(&timer->timer, services_of(api)->loop, on_timer, timer);
	timer_start(&timer->timer, ms);
	list_add_tail(&timer->instance->timers, &timer->node);
	return timer;
}

static void lend_cancel(struct wgm_host *api, struct wgm_timer *timer)
{
	(void)api;
	if (!timer)
		return;
	timer_stop(&timer->timer);
	list_del(&timer->node);
	free(timer);
}

static void on_watch(void *arg, int fd, unsigned events)
{
	struct wgm_watch *watch = arg;
	struct plugin_call call;

	plugin_call_begin(&call, watch->instance->label);
	watch->fn(watch->arg, fd,
		  (events & LOOP_READ ? WGM_READ : 0u) | (events & LOOP_WRITE ? WGM_WRITE : 0u));
	plugin_call_end(&call);
}

static void lend_rewatch(struct wgm_host *api, struct wgm_watch *watch, uint32_t events)
{
	(void)api;
	if (events & (WGM_READ | WGM_WRITE))
		io_start(&watch->io, (events & WGM_READ ? LOOP_READ : 0u) |
					     (events & WGM_WRITE ? LOOP_WRITE : 0u));
	else
		io_stop(&watch->io);
}

static struct wgm_watch *lend_watch(struct wgm_host *api, int fd, uint32_t events, wgm_watch_fn *fn,
				    void *arg)
{
	struct wgm_watch *watch = xcalloc(1, sizeof(*watch));

	watch->instance = instance_of(api);
	watch->fn = fn;
	watch->arg = arg;
	io_init(&watch->io, services_of(api)->loop, fd, on_watch, watch);
	list_add_tail(&watch->instance->watches, &watch->node);
	lend_rewatch(api, watch, events);
	return watch;
}

static void lend_unwatch(struct wgm_host *api, struct wgm_watch *watch)
{
	(void)api;
	if (!watch)
		return;
	io_stop(&watch->io);
	list_del(&watch->node);
	free(watch);
}

/* ---- the network --------------------------------------------------------------------------- */

static uint16_t lend_port(struct wgm_host *api)
{
	const struct plugin_services *s = services_of(api);

	return s->port ? s->port(s->arg) : 0;
}

void plugin_remember_request(struct plugin_instance *instance, const uint8_t txid[static 12])
{
	memcpy(instance->requests[instance->next_request++ % PLUGIN_REQUESTS_MAX], txid, 12);
}

bool plugin_sent_request(const struct plugin_instance *instance, const uint8_t txid[static 12])
{
	unsigned known = MIN(instance->next_request, PLUGIN_REQUESTS_MAX);

	for (unsigned i = 0; i < known; i++)
		if (!memcmp(instance->requests[i], txid, 12))
			return true;
	return false;
}

static int lend_port_send(struct wgm_host *api, const union wgm_addr *to, const void *data, size_t len)
{
	const struct plugin_services *s = services_of(api);
	const uint8_t *txid = (const uint8_t *)data + 8;
	struct plugin_instance *instance = instance_of(api);
	struct endpoint endpoint;

	if (!stun_is(data, len) || !endpoint_from_sockaddr(&endpoint, &to->sa))
		return -EINVAL;
	if (!s->port_send || !lend_port(api))
		return -EAGAIN;
	if (!plugin_sent_request(instance, txid)) /* a retransmission is not a new one */
		plugin_remember_request(instance, txid);
	return s->port_send(s->arg, &endpoint, data, len);
}

static const char *lend_stun_server(struct wgm_host *api, unsigned index)
{
	const struct plugin_services *s = services_of(api);

	return s->stun_server ? s->stun_server(s->arg, index) : NULL;
}

static void to_wgm(union wgm_addr *out, const struct addr *addr)
{
	const struct endpoint endpoint = {.addr = *addr};
	struct sockaddr_storage storage;

	memset(out, 0, sizeof(*out));
	if (!addr->family)
		return;
	endpoint_to_sockaddr(&endpoint, &storage);
	memcpy(out, &storage, sizeof(*out));
}

static size_t lend_local_addresses(struct wgm_host *api, union wgm_addr *addrs, size_t max)
{
	const struct plugin_services *s = services_of(api);
	struct addr ours[64];
	size_t count = s->local_addresses ? s->local_addresses(s->arg, ours, ARRAY_SIZE(ours)) : 0;

	count = MIN(count, ARRAY_SIZE(ours));
	for (size_t i = 0; i < MIN(count, max); i++)
		to_wgm(&addrs[i], &ours[i]);
	return count;
}

static bool lend_gateway(struct wgm_host *api, union wgm_addr *gateway, union wgm_addr *our_address)
{
	const struct plugin_services *s = services_of(api);
	struct addr a = {0}, b = {0};

	if (!s->gateway || !s->gateway(s->arg, &a, &b))
		return false;
	to_wgm(gateway, &a);
	to_wgm(our_address, &b);
	return true;
}

/* ---- news ------------------------------------------------------------------------------------ */

static void tell(struct plugin_instance *instance)
{
	const struct plugin_listener *listener = &instance->host->listeners[instance->kind];

	if (listener->news)
		listener->news(listener->arg, instance);
}

static void lend_found(struct wgm_host *api, const struct wgm_candidate *candidates, size_t count)
{
	struct plugin_instance *instance = instance_of(api);
	struct endpoint endpoint;

	instance->found_count = 0;
	for (size_t i = 0; i < count && instance->found_count < PLUGIN_FOUND_MAX; i++)
		if (candidates[i].type >= WGM_HOST && candidates[i].type <= WGM_STATIC &&
		    endpoint_from_sockaddr(&endpoint, &candidates[i].addr.sa) && endpoint.port)
			instance->found[instance->found_count++] = candidates[i];
	if (instance->found_count && instance->state == PLUGIN_RUNNING)
		instance->error[0] = '\0'; /* whatever it complained of is over */
	tell(instance);
}

static void lend_nat(struct wgm_host *api, const struct wgm_nat *nat)
{
	struct plugin_instance *instance = instance_of(api);

	instance->nat = *nat;
	tell(instance);
}

/* The kinds that these serve have no part in this agent yet. */
static void lend_mapped(struct wgm_host *api, const struct wgm_mapping *mapping)
{
	(void)api;
	(void)mapping;
}

static void lend_relay_state(struct wgm_host *api, bool up, uint32_t rtt_ms)
{
	(void)api;
	(void)up;
	(void)rtt_ms;
}

static void lend_relay_input(struct wgm_host *api, const struct wgm_packet *packets, size_t count)
{
	(void)api;
	(void)packets;
	(void)count;
}

void plugin_lend(struct plugin_instance *instance)
{
	instance->api = (struct wgm_host){
		.size = sizeof(struct wgm_host),
		.major = WGM_ABI_MAJOR,
		.minor = WGM_ABI_MINOR,
		.interface_name = instance->host->services.interface,
		.log = lend_log,
		.fail = lend_fail,
		.option_count = lend_option_count,
		.option_string = lend_option_string,
		.option_int = lend_option_int,
		.now_ms = lend_now_ms,
		.after = lend_after,
		.cancel = lend_cancel,
		.watch = lend_watch,
		.rewatch = lend_rewatch,
		.unwatch = lend_unwatch,
		.spawn = plugin_spawn,
		.resolve = plugin_resolve,
		.post = plugin_post,
		.port = lend_port,
		.port_send = lend_port_send,
		.stun_server = lend_stun_server,
		.local_addresses = lend_local_addresses,
		.gateway = lend_gateway,
		.found = lend_found,
		.nat = lend_nat,
		.mapped = lend_mapped,
		.relay_state = lend_relay_state,
		.relay_input = lend_relay_input,
	};
	list_init(&instance->timers);
	list_init(&instance->watches);
	list_init(&instance->jobs);
}

void plugin_take_back(struct plugin_instance *instance)
{
	struct wgm_timer *timer, *next_timer;
	struct wgm_watch *watch, *next_watch;

	list_each_safe(timer, next_timer, &instance->timers, node)
		lend_cancel(&instance->api, timer);
	list_each_safe(watch, next_watch, &instance->watches, node)
		lend_unwatch(&instance->api, watch);
	plugin_end_jobs(instance);
	instance->next_request = 0;
	instance->found_count = 0;
	instance->nat = (struct wgm_nat){0};
}
