/*
 * News of links, addresses and routes. Only that something changed is told; the listener looks for
 * itself. A burst is one piece of news, QUIET_MS after its last message but no later than LATEST_MS
 * after its first, so that a link that flaps for ever cannot keep it back.
 */
#include "link_internal.h"

#include "lib/sock.h"
#include <errno.h>
#include <linux/rtnetlink.h>

#define QUIET_MS 100
#define LATEST_MS 1000
#define MESSAGES_PER_WAKE 64

struct link_news {
	struct mnl_socket *socket;
	struct loop *loop;
	struct loop_io io;
	struct loop_timer quiet;
	uint64_t first_ms; /* of this burst */
	link_changed_fn *fn;
	void *arg;
};

/* A full socket buffer (ENOBUFS) is news too. */
static void on_news(void *arg, int fd, unsigned events)
{
	struct link_news *news = arg;
	uint64_t now = loop_now(news->loop), latest;
	char buffer[8192];
	bool any = false;

	(void)events;
	for (int i = 0; i < MESSAGES_PER_WAKE; i++) {
		if (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) < 0 && errno != ENOBUFS)
			break;
		any = true;
	}
	if (!any)
		return;
	if (!timer_active(&news->quiet))
		news->first_ms = now;
	latest = news->first_ms + LATEST_MS;
	timer_start(&news->quiet, latest > now ? MIN(QUIET_MS, latest - now) : 0);
}

static void on_quiet(void *arg)
{
	struct link_news *news = arg;

	news->fn(news->arg);
}

int link_watch(struct link *link, struct loop *loop, link_changed_fn *fn, void *arg)
{
	unsigned groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			  RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct link_news *news;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		int error = -errno;

		mnl_socket_close(socket);
		return error;
	}
	link_unwatch(link);
	link->news = news = xcalloc(1, sizeof(*news));
	*news = (struct link_news){.socket = socket, .loop = loop, .fn = fn, .arg = arg};
	timer_init(&news->quiet, loop, on_quiet, news);
	io_init(&news->io, loop, mnl_socket_get_fd(socket), on_news, news);
	io_start(&news->io, LOOP_READ);
	return 0;
}

void link_unwatch(struct link *link)
{
	if (!link->news)
		return;
	io_stop(&link->news->io);
	timer_stop(&link->news->quiet);
	mnl_socket_close(link->news->socket);
	free(link->news);
	link->news = NULL;
}
