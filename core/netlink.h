/*
 * netlink.h - one netlink socket, asked and answered synchronously (libmnl);
 * for link.c and wg_netlink.c.
 */
#ifndef CORE_NETLINK_H
#define CORE_NETLINK_H

#include "lib/util.h"
#include <libmnl/libmnl.h>

#define NETLINK_BUFFER 32768 /* the kernel fills dumps up to this, and takes as much */

struct netlink {
	int bus;
	struct mnl_socket *socket;
	uint32_t seq;
	uint8_t *answer; /* NETLINK_BUFFER */
};

int netlink_open(struct netlink *nl, int bus); /* 0 or -errno */
void netlink_close(struct netlink *nl);        /* all-zero is fine */

/* Sends one request (it becomes a dump by NLM_F_DUMP in its flags, else an acknowledged request)
 * and gives every answer to fn (may be NULL; returns MNL_CB_OK, or MNL_CB_ERROR with errno). 0 or
 * -errno; -EINTR: what was dumped changed meanwhile, ask again. */
int netlink_ask(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *arg);

/* Collects the attributes of a message or nest in table[0..max] (by type; others are left out). */
void netlink_attrs(const struct nlmsghdr *message, size_t offset, const struct nlattr **table,
		   uint16_t max);
void netlink_nested(const struct nlattr *nest, const struct nlattr **table, uint16_t max);
/* False: absent, or shorter than size. */
bool netlink_copy(void *out, size_t size, const struct nlattr *attr);

#endif
