/*
 * What addresses and routes there are. Rows name their interface, so the links are read first; a
 * dump that changed while it was read is read again.
 */
#include "link_internal.h"

#include "lib/str.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#define DUMP_TRIES 8

struct name { /* a link, and whether packets can leave it */
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	bool up;
};

struct dump {
	struct name *names;
	size_t name_count;
	struct link_address *addresses;
	struct link_route *routes;
	size_t count;
	uint32_t table; /* 0: all */
};

/* Room for one more in an array that doubles: full at 0 and at each power of two. */
static void *one_more(void *array, size_t count, size_t size)
{
	return count & (count - 1) ? array : xrealloc(array, MAX(count * 2, 1) * size);
}

static const struct name *name_of(const struct dump *dump, uint32_t ifindex)
{
	static const struct name unknown;

	for (size_t i = 0; i < dump->name_count; i++)
		if (dump->names[i].ifindex == ifindex)
			return &dump->names[i];
	return &unknown;
}

static int read_link(const struct nlmsghdr *message, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	const unsigned running = IFF_UP | IFF_RUNNING;
	const struct nlattr *attrs[IFLA_IFNAME + 1];
	struct dump *dump = arg;
	struct name *name;

	if (message->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	netlink_attrs(message, sizeof(*info), attrs, IFLA_IFNAME);
	if (!attrs[IFLA_IFNAME] || mnl_attr_validate(attrs[IFLA_IFNAME], MNL_TYPE_NUL_STRING) < 0)
		return MNL_CB_OK;
	dump->names = one_more(dump->names, dump->name_count, sizeof(*name));
	name = &dump->names[dump->name_count++];
	*name = (struct name){.ifindex = (uint32_t)info->ifi_index,
			      .up = (info->ifi_flags & running) == running};
	str_copy(name->name, sizeof(name->name), mnl_attr_get_str(attrs[IFLA_IFNAME]));
	return MNL_CB_OK;
}

static bool read_addr(struct addr *out, uint8_t family, const struct nlattr *attr)
{
	struct addr addr = {.family = family};

	if (!netlink_copy(addr.bytes, addr_len(&addr), attr))
		return false;
	*out = addr;
	return true;
}

static int read_address(const struct nlmsghdr *message, void *arg)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *attrs[IFA_FLAGS + 1];
	struct link_address *row, address = {0};
	struct dump *dump = arg;
	uint32_t flags = info->ifa_flags;
	const struct name *name = name_of(dump, info->ifa_index);

	if (message->nlmsg_type != RTM_NEWADDR ||
	    (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return MNL_CB_OK;
	netlink_attrs(message, sizeof(*info), attrs, IFA_FLAGS);
	/* On a point-to-point link IFA_ADDRESS is the other end's. */
	if (!read_addr(&address.address.addr, info->ifa_family,
		       attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS]))
		return MNL_CB_OK;
	netlink_copy(&flags, sizeof(flags), attrs[IFA_FLAGS]);
	address.address.bits = info->ifa_prefixlen;
	address.ifindex = info->ifa_index;
	/* IFA_F_TEMPORARY is IFA_F_SECONDARY in IPv4, which is no such thing. */
	address.temporary = info->ifa_family == AF_INET6 && flags & IFA_F_TEMPORARY;
	address.deprecated = flags & (IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED);
	address.up = name->up;
	str_copy(address.interface, sizeof(address.interface), name->name);
	dump->addresses = one_more(dump->addresses, dump->count, sizeof(*row));
	row = &dump->addresses[dump->count++];
	*row = address;
	return MNL_CB_OK;
}

/* RTA_VIA: an IPv4 route whose gateway is an IPv6 address. */
static void read_gateway(struct link_route *route, uint8_t family, const struct nlattr **attrs)
{
	const struct rtvia *via;

	if (attrs[RTA_GATEWAY]) {
		read_addr(&route->gateway, family, attrs[RTA_GATEWAY]);
	} else if (attrs[RTA_VIA] &&
		   mnl_attr_get_payload_len(attrs[RTA_VIA]) >= sizeof(*via) + 16) {
		via = mnl_attr_get_payload(attrs[RTA_VIA]);
		route->gateway.family = (uint8_t)via->rtvia_family;
		memcpy(route->gateway.bytes, via->rtvia_addr, addr_len(&route->gateway));
	}
}

static int read_route(const struct nlmsghdr *message, void *arg)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);
	const struct nlattr *attrs[RTA_TABLE > RTA_VIA ? RTA_TABLE + 1 : RTA_VIA + 1];
	struct link_route route = {.table = info->rtm_table, .protocol = info->rtm_protocol};
	struct dump *dump = arg;

	if (message->nlmsg_type != RTM_NEWROUTE || info->rtm_flags & RTM_F_CLONED ||
	    (info->rtm_family != AF_INET && info->rtm_family != AF_INET6))
		return MNL_CB_OK;
	netlink_attrs(message, sizeof(*info), attrs, ARRAY_SIZE(attrs) - 1);
	netlink_copy(&route.table, sizeof(route.table), attrs[RTA_TABLE]);
	if (dump->table && dump->table != route.table)
		return MNL_CB_OK;
	route.to.addr.family = info->rtm_family;
	route.to.bits = info->rtm_dst_len;
	read_addr(&route.to.addr, info->rtm_family, attrs[RTA_DST]);
	read_addr(&route.source, info->rtm_family, attrs[RTA_PREFSRC]);
	read_gateway(&route, info->rtm_family, attrs);
	netlink_copy(&route.metric, sizeof(route.metric), attrs[RTA_PRIORITY]);
	if (!attrs[RTA_MULTIPATH])
		netlink_copy(&route.ifindex, sizeof(route.ifindex), attrs[RTA_OIF]);
	str_copy(route.interface, sizeof(route.interface), name_of(dump, route.ifindex)->name);
	dump->routes = one_more(dump->routes, dump->count, sizeof(route));
	dump->routes[dump->count++] = route;
	return MNL_CB_OK;
}

/* Every message type used here begins with a struct that is at least as long as this one. */
static int ask(struct link *link, uint16_t type, mnl_cb_t fn, struct dump *dump, size_t *count)
{
	char buffer[128];
	int error, tries = 0;

	do {
		struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

		*count = 0;
		message->nlmsg_type = type;
		message->nlmsg_flags = NLM_F_DUMP;
		mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
		error = netlink_ask(&link->nl, message, fn, dump);
	} while (error == -EINTR && ++tries < DUMP_TRIES);
	return error;
}

int link_addresses(struct link *link, struct link_address **out, size_t *count)
{
	struct dump dump = {0};
	int error = ask(link, RTM_GETLINK, read_link, &dump, &dump.name_count);

	if (!error)
		error = ask(link, RTM_GETADDR, read_address, &dump, &dump.count);
	free(dump.names);
	if (error)
		free(dump.addresses);
	else
		*out = dump.addresses, *count = dump.count;
	return error;
}

int link_routes(struct link *link, uint32_t table, struct link_route **out, size_t *count)
{
	struct dump dump = {.table = table};
	int error = ask(link, RTM_GETLINK, read_link, &dump, &dump.name_count);

	if (!error)
		error = ask(link, RTM_GETROUTE, read_route, &dump, &dump.count);
	free(dump.names);
	if (error)
		free(dump.routes);
	else
		*out = dump.routes, *count = dump.count;
	return error;
}

int link_gateway(struct link *link, uint8_t family, uint32_t not_ifindex, struct link_route *out)
{
	struct link_route *routes;
	const struct link_route *best = NULL;
	size_t count;
	int error = link_routes(link, RT_TABLE_MAIN, &routes, &count);

	if (error)
		return error;
	for (size_t i = 0; i < count; i++) {
		const struct link_route *route = &routes[i];

		if (route->to.addr.family == family && route->to.bits == 0 &&
		    route->gateway.family && route->ifindex && route->ifindex != not_ifindex &&
		    (!best || route->metric < best->metric))
			best = route;
	}
	if (best)
		*out = *best;
	free(routes);
	return best ? 0 : -ENOENT;
}
