/*
 * Netlink, asked and answered. The tricky thing: after an answer that was not read to its end (a
 * dump that changed under way, a full socket buffer) the rest would be taken for the answer to the
 * next question; so such a socket is thrown away and a new one opened.
 */
#include "netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int open_socket(struct netlink *nl)
{
	nl->socket = mnl_socket_open2(nl->bus, SOCK_CLOEXEC);
	if (!nl->socket)
		return -errno;
	if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) == 0)
		return 0;
	int error = -errno;

	mnl_socket_close(nl->socket);
	nl->socket = NULL;
	return error;
}

int netlink_open(struct netlink *nl, int bus)
{
	int error;

	*nl = (struct netlink){.bus = bus};
	error = open_socket(nl);
	if (!error)
		nl->answer = xmalloc(NETLINK_BUFFER);
	return error;
}

void netlink_close(struct netlink *nl)
{
	if (nl->socket)
		mnl_socket_close(nl->socket);
	free(nl->answer);
	*nl = (struct netlink){0};
}

/* The end of a dump carries its error, which libmnl 1.0.4 does not look at. */
static int end_of_dump(const struct nlmsghdr *message, void *arg)
{
	int error = 0;

	(void)arg;
	if (mnl_nlmsg_get_payload_len(message) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
	if (!error)
		return MNL_CB_STOP;
	errno = abs(error);
	return MNL_CB_ERROR;
}

static int acknowledged(const struct nlmsghdr *message, void *arg)
{
	struct nlmsgerr answer;

	(void)arg;
	if (mnl_nlmsg_get_payload_len(message) < sizeof(answer)) {
		errno = EBADMSG;
		return MNL_CB_ERROR;
	}
	memcpy(&answer, mnl_nlmsg_get_payload(message), sizeof(answer));
	if (!answer.error)
		return MNL_CB_STOP;
	errno = abs(answer.error);
	return MNL_CB_ERROR;
}

static int receive(struct netlink *nl, mnl_cb_t fn, void *arg)
{
	mnl_cb_t control[NLMSG_MIN_TYPE] = {[NLMSG_ERROR] = acknowledged, [NLMSG_DONE] = end_of_dump};
	unsigned portid = mnl_socket_get_portid(nl->socket);
	int more;

	do {
		ssize_t len = mnl_socket_recvfrom(nl->socket, nl->answer, NETLINK_BUFFER);

		if (len < 0 && errno == EINTR) {
			more = MNL_CB_OK;
			continue;
		}
		if (len < 0)
			return -errno;
		more = mnl_cb_run2(nl->answer, (size_t)len, nl->seq, portid, fn, arg, control,
				   ARRAY_SIZE(control));
	} while (more > MNL_CB_STOP);
	return more < 0 ? -errno : 0;
}

int netlink_ask(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *arg)
{
	bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int error;

	if (!nl->socket && (error = open_socket(nl)))
		return error;
	request->nlmsg_flags |= dump ? NLM_F_REQUEST : NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->socket, request, request->nlmsg_len) < 0)
		return -errno;
	error = receive(nl, fn, arg);
	if (error && (dump || error == -ENOBUFS || error == -EPROTO || error == -ENOSPC)) {
		mnl_socket_close(nl->socket);
		nl->socket = NULL;
	}
	return error;
}

void netlink_attrs(const struct nlmsghdr *message, size_t offset, const struct nlattr **table,
		   uint16_t max)
{
	const struct nlattr *attr;

	memset(table, 0, (max + 1u) * sizeof(*table));
	mnl_attr_for_each(attr, message, offset)
		if (mnl_attr_get_type(attr) <= max)
			table[mnl_attr_get_type(attr)] = attr;
}

void netlink_nested(const struct nlattr *nest, const struct nlattr **table, uint16_t max)
{
	const struct nlattr *attr;

	memset(table, 0, (max + 1u) * sizeof(*table));
	mnl_attr_for_each_nested(attr, nest)
		if (mnl_attr_get_type(attr) <= max)
			table[mnl_attr_get_type(attr)] = attr;
}

bool netlink_copy(void *out, size_t size, const struct nlattr *attr)
{
	if (!attr || mnl_attr_get_payload_len(attr) < size)
		return false;
	memcpy(out, mnl_attr_get_payload(attr), size);
	return true;
}
