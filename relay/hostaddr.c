/*
 * hostaddr.c - getifaddrs, and for IPv6 the flags that it does not tell: a temporary address
 * (RFC 8981) would be gone within a day, with clients still asking for it.
 */
#include "hostaddr.h"

#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define FLEETING (IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED)

/* Looks the address up in /proc/net/if_inet6: "address index length scope flags name". */
static bool is_fleeting(const struct addr *addr)
{
	FILE *file = fopen("/proc/net/if_inet6", "re");
	char line[160], digits[33];
	unsigned flags;
	bool found = false;

	for (int i = 0; i < 16; i++)
		snprintf(digits + 2 * i, 3, "%02x", addr->bytes[i]);
	while (file && !found && fgets(line, sizeof(line), file))
		found = !strncmp(line, digits, 32) &&
			sscanf(line + 32, " %*x %*x %*x %x", &flags) == 1 && (flags & FLEETING);
	if (file)
		fclose(file);
	return found;
}

static bool is_wanted(const struct ifaddrs *i, int family, bool with_private, struct addr *addr)
{
	struct endpoint endpoint;

	if (!i->ifa_addr || i->ifa_addr->sa_family != family || !(i->ifa_flags & IFF_UP) ||
	    (i->ifa_flags & (IFF_LOOPBACK | IFF_POINTOPOINT)))
		return false;
	if (!endpoint_from_sockaddr(&endpoint, i->ifa_addr))
		return false;
	*addr = endpoint.addr;
	return !addr_is_link_local(addr) && !addr_is_loopback(addr) &&
	       (with_private || !addr_is_private(addr)) && (family != AF_INET6 || !is_fleeting(addr));
}

size_t host_addresses(struct addr *out, size_t max, int family, bool with_private)
{
	struct ifaddrs *all = NULL;
	struct addr addr;
	size_t count = 0;

	if (getifaddrs(&all))
		return 0;
	for (const struct ifaddrs *i = all; i && count < max; i = i->ifa_next)
		if (is_wanted(i, family, with_private, &addr))
			out[count++] = addr;
	freeifaddrs(all);
	return count;
}
