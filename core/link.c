/*
 * Addresses, routes and rules, made and removed through rtnetlink. The tricky thing: removing must
 * never hit what somebody else made. So routes are removed by our protocol number (the kernel
 * compares it), and rules by sending back, word for word, those that carry our number.
 */
#include "link_internal.h"

#include "lib/str.h"
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#define SMALL 512 /* room for any request but a rule */

int link_open(struct link **out)
{
	struct link *link = xcalloc(1, sizeof(*link));
	int error = netlink_open(&link->nl, NETLINK_ROUTE);

	if (error)
		free(link);
	else
		*out = link;
	return error;
}

void link_close(struct link *link)
{
	if (!link)
		return;
	link_unwatch(link);
	netlink_close(&link->nl);
	free(link);
}

static struct nlmsghdr *begin(void *buffer, uint16_t type, uint16_t flags, void *header, size_t len)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = type;
	message->nlmsg_flags = flags;
	memcpy(mnl_nlmsg_put_extra_header(message, len), header, len);
	return message;
}

static int read_flags(const struct nlmsghdr *message, void *arg)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type == RTM_NEWLINK &&
	    mnl_nlmsg_get_payload_len(message) >= sizeof(*info))
		memcpy(arg, info, sizeof(*info));
	return MNL_CB_OK;
}

int link_find(struct link *link, const char *interface, uint32_t *ifindex, bool *up)
{
	struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	char buffer[SMALL];
	struct nlmsghdr *message = begin(buffer, RTM_GETLINK, 0, &info, sizeof(info));
	int error;

	if (strlen(interface) >= IF_NAMESIZE)
		return -ENODEV;
	mnl_attr_put_strz(message, IFLA_IFNAME, interface);
	error = netlink_ask(&link->nl, message, read_flags, &info);
	if (error)
		return error;
	if (ifindex)
		*ifindex = (uint32_t)info.ifi_index;
	if (up)
		*up = info.ifi_flags & IFF_UP;
	return info.ifi_index ? 0 : -ENODEV;
}

int link_set_up(struct link *link, uint32_t ifindex)
{
	struct ifinfomsg info = {
		.ifi_index = (int)ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	char buffer[SMALL];

	return netlink_ask(&link->nl, begin(buffer, RTM_NEWLINK, 0, &info, sizeof(info)), NULL,
			   NULL);
}

static int change_address(struct link *link, uint16_t type, uint16_t flags, uint32_t ifindex,
			  const struct prefix *address)
{
	struct ifaddrmsg info = {.ifa_family = address->addr.family,
				 .ifa_prefixlen = address->bits,
				 .ifa_index = ifindex,
				 .ifa_flags = address->addr.family == AF_INET6 ? IFA_F_NODAD : 0};
	unsigned len = addr_len(&address->addr);
	char buffer[SMALL];
	struct nlmsghdr *message = begin(buffer, type, flags, &info, sizeof(info));

	mnl_attr_put(message, IFA_LOCAL, len, address->addr.bytes);
	mnl_attr_put(message, IFA_ADDRESS, len, address->addr.bytes);
	return netlink_ask(&link->nl, message, NULL, NULL);
}

int link_add_address(struct link *link, uint32_t ifindex, const struct prefix *address)
{
	return change_address(link, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, address);
}

int link_del_address(struct link *link, uint32_t ifindex, const struct prefix *address)
{
	int error = change_address(link, RTM_DELADDR, 0, ifindex, address);

	return error == -EADDRNOTAVAIL ? -ENOENT : error;
}

/* A removal names no scope or type: any fits. */
static int change_route(struct link *link, uint16_t type, uint16_t flags, uint32_t ifindex,
			const struct prefix *to, uint32_t table, const struct addr *source)
{
	struct prefix net = prefix_mask(to);
	bool add = type == RTM_NEWROUTE;
	struct rtmsg info = {.rtm_family = net.addr.family,
			     .rtm_dst_len = net.bits,
			     .rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC,
			     .rtm_protocol = LINK_PROTOCOL,
			     .rtm_scope = add ? RT_SCOPE_LINK : RT_SCOPE_NOWHERE,
			     .rtm_type = add ? RTN_UNICAST : RTN_UNSPEC};
	char buffer[SMALL];
	struct nlmsghdr *message = begin(buffer, type, flags, &info, sizeof(info));

	mnl_attr_put(message, RTA_DST, addr_len(&net.addr), net.addr.bytes);
	mnl_attr_put_u32(message, RTA_OIF, ifindex);
	mnl_attr_put_u32(message, RTA_TABLE, table);
	if (source)
		mnl_attr_put(message, RTA_PREFSRC, addr_len(source), source->bytes);
	return netlink_ask(&link->nl, message, NULL, NULL);
}

int link_add_route(struct link *link, uint32_t ifindex, const struct prefix *to, uint32_t table,
		   const struct addr *source)
{
	return change_route(link, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, ifindex, to, table, source);
}

int link_del_route(struct link *link, uint32_t ifindex, const struct prefix *to, uint32_t table)
{
	return change_route(link, RTM_DELROUTE, 0, ifindex, to, table, NULL);
}

struct rules { /* those found, as the orders that remove them */
	uint32_t priority;
	uint8_t *orders;
	size_t len;
};

static int read_rule(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attrs[FRA_PROTOCOL + 1];
	struct rules *rules = arg;
	uint32_t priority = 0;
	uint8_t protocol = 0;
	struct nlmsghdr *order;

	netlink_attrs(message, sizeof(struct fib_rule_hdr), attrs, FRA_PROTOCOL);
	netlink_copy(&priority, sizeof(priority), attrs[FRA_PRIORITY]);
	netlink_copy(&protocol, sizeof(protocol), attrs[FRA_PROTOCOL]);
	if (protocol != LINK_PROTOCOL || priority != rules->priority)
		return MNL_CB_OK;
	rules->orders = xrealloc(rules->orders, rules->len + MNL_ALIGN(message->nlmsg_len));
	order = (struct nlmsghdr *)(void *)(rules->orders + rules->len);
	memcpy(order, message, message->nlmsg_len);
	order->nlmsg_type = RTM_DELRULE;
	order->nlmsg_flags = NLM_F_REQUEST;
	order->nlmsg_pid = 0;
	rules->len += MNL_ALIGN(message->nlmsg_len);
	return MNL_CB_OK;
}

static int del_rules(struct link *link, uint8_t family, uint32_t priority)
{
	struct fib_rule_hdr info = {.family = family};
	struct rules rules = {.priority = priority};
	char buffer[SMALL];
	int error = netlink_ask(&link->nl,
				begin(buffer, RTM_GETRULE, NLM_F_DUMP, &info, sizeof(info)),
				read_rule, &rules);

	for (size_t at = 0; at < rules.len && !error;) {
		struct nlmsghdr *order = (struct nlmsghdr *)(void *)(rules.orders + at);

		at += MNL_ALIGN(order->nlmsg_len);
		error = netlink_ask(&link->nl, order, NULL, NULL);
	}
	free(rules.orders);
	return error == -EAFNOSUPPORT || error == -EOPNOTSUPP ? 0 : error;
}

int link_del_rules(struct link *link, uint32_t priority)
{
	int error = del_rules(link, AF_INET, priority);
	int error6 = del_rules(link, AF_INET6, priority);

	return error ? error : error6;
}
