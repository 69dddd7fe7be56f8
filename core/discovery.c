/*
 * discovery.c - merges what the discovery plugins found.
 *
 * Candidates are ordered by type (mapped by a router, seen by a server, given by hand; this host's
 * own are the local ones), then by the plugin's priority, then by the order in the configuration,
 * and an endpoint is kept once. Of the NAT the strictest opinion counts: where two plugins differ, a
 * path that works for the stricter works for the other. News is gathered to the end of the wake, so
 * that the owner hears once of what changed together, and not of what did not change.
 */
#include "discovery.h"
#include "lib/log.h"
#include "plugin_instance.h"

#include <string.h>

struct discovery {
	struct plugin_host *host;
	discovery_changed_fn *fn;
	void *arg;
	struct loop_task news;
	struct proto_endpoints result;
	struct wgm_nat nat;
};

struct ranked {
	struct endpoint endpoint;
	uint32_t type, priority;
	unsigned order;
};

/* Best first. */
static const uint32_t ranks[] = {
	[WGM_PORT_MAPPED] = 0,
	[WGM_SERVER_REFLEXIVE] = 1,
	[WGM_STATIC] = 2,
	[WGM_HOST] = 3,
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (ranks[x->type] != ranks[y->type])
		return ranks[x->type] < ranks[y->type] ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* ---- the NAT in the words of SPEC 2.1 ---------------------------------------------------- */

/* Mapping (down) and filtering (across): unknown, none, endpoint-independent, address-dependent,
 * address-and-port-dependent. What a single server cannot show stays unknown. */
static const enum nat_type nat_types[5][5] = {
	[0] = {NAT_UNKNOWN, NAT_UNKNOWN, NAT_UNKNOWN, NAT_UNKNOWN, NAT_UNKNOWN},
	[WGM_NAT_NONE] = {NAT_NONE, NAT_NONE, NAT_NONE, NAT_RESTRICTED_CONE, NAT_PORT_RESTRICTED_CONE},
	[WGM_NAT_ENDPOINT_INDEPENDENT] = {NAT_UNKNOWN, NAT_FULL_CONE, NAT_FULL_CONE, NAT_RESTRICTED_CONE,
					  NAT_PORT_RESTRICTED_CONE},
	[WGM_NAT_ADDRESS_DEPENDENT] = {NAT_SYMMETRIC, NAT_SYMMETRIC, NAT_SYMMETRIC, NAT_SYMMETRIC,
				       NAT_SYMMETRIC},
	[WGM_NAT_ADDRESS_AND_PORT_DEPENDENT] = {NAT_SYMMETRIC, NAT_SYMMETRIC, NAT_SYMMETRIC, NAT_SYMMETRIC,
						NAT_SYMMETRIC},
};

static enum nat_type nat_type_of(const struct wgm_nat *nat)
{
	if (nat->udp_blocked)
		return NAT_UDP_BLOCKED;
	if (nat->mapping > WGM_NAT_ADDRESS_AND_PORT_DEPENDENT ||
	    nat->filtering > WGM_NAT_ADDRESS_AND_PORT_DEPENDENT)
		return NAT_UNKNOWN;
	return nat_types[nat->mapping][nat->filtering];
}

static const char *behaviour_name(uint32_t behaviour)
{
	static const char *const names[] = {
		[WGM_NAT_NONE] = "none",
		[WGM_NAT_ENDPOINT_INDEPENDENT] = "endpoint-independent",
		[WGM_NAT_ADDRESS_DEPENDENT] = "address-dependent",
		[WGM_NAT_ADDRESS_AND_PORT_DEPENDENT] = "address-and-port-dependent",
	};

	return behaviour < ARRAY_SIZE(names) ? names[behaviour] : NULL;
}

const char *discovery_mapping(const struct discovery *discovery)
{
	return behaviour_name(discovery->nat.mapping);
}

const char *discovery_filtering(const struct discovery *discovery)
{
	return behaviour_name(discovery->nat.filtering);
}

/* ---- merging ------------------------------------------------------------------------------- */

static void add_endpoint(struct endpoint *list, unsigned *count, const struct endpoint *endpoint)
{
	for (unsigned i = 0; i < *count; i++)
		if (endpoint_equal(&list[i], endpoint))
			return;
	if (*count < PROTO_MAX_ENDPOINTS)
		list[(*count)++] = *endpoint;
}

static size_t collect(const struct discovery *discovery, struct ranked *out, size_t max)
{
	const struct plugin_instance *instance;
	size_t count = 0;

	list_each(instance, &discovery->host->instances, node) {
		if (instance->kind != WGM_DISCOVERY)
			continue;
		for (size_t i = 0; i < instance->found_count && count < max; i++) {
			struct ranked *r = &out[count];

			if (!endpoint_from_sockaddr(&r->endpoint, &instance->found[i].addr.sa))
				continue;
			r->type = instance->found[i].type;
			r->priority = instance->found[i].priority;
			r->order = (unsigned)count++;
		}
	}
	return count;
}

/* An opinion beats none, a stricter one a milder; blocked counts when nobody else got through. */
static void merge_nat(const struct discovery *discovery, struct wgm_nat *out)
{
	const struct plugin_instance *instance;
	bool blocked = false, open = false;

	*out = (struct wgm_nat){0};
	list_each(instance, &discovery->host->instances, node) {
		if (instance->kind != WGM_DISCOVERY)
			continue;
		out->mapping = MAX(out->mapping, instance->nat.mapping);
		out->filtering = MAX(out->filtering, instance->nat.filtering);
		blocked = blocked || instance->nat.udp_blocked;
		open = open || (!instance->nat.udp_blocked && instance->nat.mapping);
	}
	out->udp_blocked = blocked && !open;
}

/* From another host; a coordinator takes no others. */
static bool reachable(const struct addr *addr)
{
	return !addr_is_loopback(addr) && !addr_is_multicast(addr) && !addr_is_unspecified(addr);
}

static void merge(const struct discovery *discovery, struct proto_endpoints *out, struct wgm_nat *nat)
{
	struct ranked all[8 * PLUGIN_FOUND_MAX];
	size_t count = collect(discovery, all, ARRAY_SIZE(all));

	memset(out, 0, sizeof(*out));
	qsort(all, count, sizeof(all[0]), by_rank);
	for (size_t i = 0; i < count; i++) {
		if (!reachable(&all[i].endpoint.addr))
			continue;
		if (all[i].type == WGM_HOST)
			add_endpoint(out->local_endpoints, &out->local_count, &all[i].endpoint);
		else
			add_endpoint(out->endpoints, &out->count, &all[i].endpoint);
		out->upnp_mapped = out->upnp_mapped || all[i].type == WGM_PORT_MAPPED;
	}
	if (out->count)
		out->endpoint = out->endpoints[0];
	merge_nat(discovery, nat);
	out->nat_type = nat_type_of(nat);
}

static bool same_list(const struct endpoint *a, unsigned a_count, const struct endpoint *b, unsigned b_count)
{
	if (a_count != b_count)
		return false;
	for (unsigned i = 0; i < a_count; i++)
		if (!endpoint_equal(&a[i], &b[i]))
			return false;
	return true;
}

static void on_news(void *arg)
{
	struct discovery *discovery = arg;
	const struct proto_endpoints *old = &discovery->result;
	struct proto_endpoints new;
	struct wgm_nat nat;
	bool same;

	merge(discovery, &new, &nat);
	same = same_list(old->endpoints, old->count, new.endpoints, new.count) &&
	       same_list(old->local_endpoints, old->local_count, new.local_endpoints, new.local_count) &&
	       old->upnp_mapped == new.upnp_mapped && discovery->nat.mapping == nat.mapping &&
	       discovery->nat.filtering == nat.filtering && discovery->nat.udp_blocked == nat.udp_blocked;
	discovery->result = new;
	discovery->nat = nat;
	if (!same)
		discovery->fn(discovery->arg);
}

/* ---- the plugins ------------------------------------------------------------------------------ */

static void refresh_one(struct plugin_instance *instance)
{
	const struct wgm_discovery_ops *ops = instance->plugin.ops;
	struct plugin_call call;
	int error;

	plugin_call_begin(&call, instance->label);
	error = ops->refresh(instance->self);
	plugin_call_end(&call);
	if (error)
		log_debug("plugin", "plugin=%s reason=\"refresh: %s\"", instance->label, strerror(-error));
}

static void on_opened(void *arg, struct plugin_instance *instance)
{
	(void)arg;
	refresh_one(instance);
}

static void on_instance_news(void *arg, struct plugin_instance *instance)
{
	struct discovery *discovery = arg;

	(void)instance;
	task_defer(discovery->host->services.loop, &discovery->news);
}

struct discovery *discovery_new(struct plugin_host *host, discovery_changed_fn *fn, void *arg)
{
	struct discovery *discovery = xcalloc(1, sizeof(*discovery));
	const struct plugin_listener listener = {on_opened, on_instance_news, discovery};

	discovery->host = host;
	discovery->fn = fn;
	discovery->arg = arg;
	task_init(&discovery->news, on_news, discovery);
	plugin_host_listen(host, WGM_DISCOVERY, &listener);
	return discovery;
}

void discovery_free(struct discovery *discovery)
{
	if (!discovery)
		return;
	task_cancel(&discovery->news);
	plugin_host_listen(discovery->host, WGM_DISCOVERY, &(struct plugin_listener){0});
	free(discovery);
}

void discovery_refresh(struct discovery *discovery)
{
	struct plugin_instance *instance;

	list_each(instance, &discovery->host->instances, node)
		if (instance->kind == WGM_DISCOVERY && instance->state == PLUGIN_RUNNING)
			refresh_one(instance);
}

void discovery_result(const struct discovery *discovery, struct proto_endpoints *out)
{
	*out = discovery->result;
}
