/*
 * What the agent lends to its plugins: WireGuard's port, the STUN servers the coordinator named,
 * and what this host's addresses and gateway are.
 */
#include "agent_parts.h"

#include "lib/sock.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static uint16_t port(void *arg)
{
	struct agent *agent = arg;

	return agent->port;
}

static int port_send(void *arg, const struct endpoint *to, const void *data, size_t len)
{
	struct agent *agent = arg;

	if (!agent->raw || !agent->port)
		return -EAGAIN;
	return rawport_send(agent->raw, NULL, to, data, len, NULL);
}

static const char *stun_server(void *arg, unsigned index)
{
	struct agent *agent = arg;
	json_t *relay, *stun;
	size_t i, j;

	json_array_foreach(agent->state->relays, i, relay)
	{
		json_array_foreach(json_object_get(relay, "stun"), j, stun)
		{
			if (json_is_string(stun) && index-- == 0)
				return json_string_value(stun);
		}
	}
	return NULL;
}

/* Another mesh's interface: what is reached through it is no network of this host. */
static bool is_mesh(const struct agent *agent, const char *interface)
{
	char path[PATHS_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s.owned", agent->paths->run_dir, interface);
	return access(path, F_OK) == 0;
}

static bool worth_offering(const struct agent *agent, const struct link_address *a)
{
	const struct addr *addr = &a->address.addr;

	return a->up && !a->deprecated && !a->temporary &&
	       a->ifindex != tunnel_ifindex(agent->tunnel) && !addr_is_loopback(addr) &&
	       !addr_is_link_local(addr) && !is_mesh(agent, a->interface);
}

static size_t local_addresses(void *arg, struct addr *addrs, size_t max)
{
	struct agent *agent = arg;
	struct link_address *all = NULL;
	size_t count = 0, found = 0;

	if (link_addresses(tunnel_link(agent->tunnel), &all, &count))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!worth_offering(agent, &all[i]))
			continue;
		if (found < max)
			addrs[found] = all[i].address.addr;
		found++;
	}
	free(all);
	return found;
}

static bool gateway(void *arg, struct addr *out, struct addr *ours)
{
	struct agent *agent = arg;
	struct link_route route;
	struct endpoint to = {.port = 9};

	if (link_gateway(tunnel_link(agent->tunnel), AF_INET, tunnel_ifindex(agent->tunnel),
			 &route) ||
	    !route.gateway.family)
		return false;
	*out = to.addr = route.gateway;
	return sock_source_for(&to, agent->fwmark, ours) == 0;
}

void agent_plugin_services(struct agent *agent, struct plugin_services *services)
{
	*services = (struct plugin_services){
		.arg = agent,
		.loop = agent->loop,
		.interface = agent->interface,
		.port = port,
		.port_send = port_send,
		.stun_server = stun_server,
		.local_addresses = local_addresses,
		.gateway = gateway,
		.hung_path = agent->paths->hung,
	};
}
