/*
 * Sockets. Every one is made close-on-exec and ends up non-blocking; errors are negative errno and
 * leave no descriptor behind.
 */
#include "sock.h"

#include "str.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_WAIT_US 100000

static int fail(int fd)
{
	int error = -errno;

	if (fd >= 0)
		close(fd);
	return error;
}

static void set_option(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof(value));
}

static int bound(const struct endpoint *at, int type)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(at, &sa);
	int fd = socket(sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (sa.ss_family == AF_INET6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !addr_is_unspecified(&at->addr));
	if (type == SOCK_STREAM)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return bind(fd, (struct sockaddr *)&sa, len) < 0 ? fail(fd) : fd;
}

/* A host without IPv6 has no "[::]", but what was meant is every address. */
static int bound_any(const struct endpoint *at, int type)
{
	struct endpoint any = *at;
	int fd;

	if (!at->addr.family)
		any.addr.family = AF_INET6;
	fd = bound(&any, type);
	if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && addr_is_unspecified(&any.addr)) {
		any.addr.family = AF_INET;
		fd = bound(&any, type);
	}
	return fd;
}

int sock_listen_tcp(const struct endpoint *at)
{
	int fd = bound_any(at, SOCK_STREAM);

	if (fd < 0)
		return fd;
	return listen(fd, SOMAXCONN) < 0 ? fail(fd) : fd;
}

int sock_udp(const struct endpoint *at)
{
	return bound_any(at, SOCK_DGRAM);
}

static bool unix_address(struct sockaddr_un *sa, const char *path)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	return *path && str_copy(sa->sun_path, sizeof(sa->sun_path), path);
}

int sock_connect_unix(const char *path)
{
	struct timeval wait = {.tv_usec = CONNECT_WAIT_US};
	struct sockaddr_un sa;
	int fd;

	if (!unix_address(&sa, path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno == EAGAIN)
			errno = ETIMEDOUT;
		return fail(fd);
	}
	return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? fail(fd) : fd;
}

/* The socket is made under another name and renamed, so that `path` never names one that nobody
 * listens on yet. Its mode is there from the start (Linux takes it from the descriptor). */
static int listen_as(const char *temporary, const char *path, mode_t mode)
{
	struct sockaddr_un sa;
	int fd;

	if (!unix_address(&sa, temporary))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(temporary);
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return fail(fd);
	if (chmod(temporary, mode) == 0 && listen(fd, SOMAXCONN) == 0 &&
	    rename(temporary, path) == 0)
		return fd;
	fd = fail(fd);
	unlink(temporary);
	return fd;
}

int sock_listen_unix(const char *path, mode_t mode)
{
	struct stat st;
	char *temporary;
	int fd;

	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return -EEXIST;
		fd = sock_connect_unix(path);
		if (fd >= 0)
			close(fd);
		if (fd >= 0 || fd == -ETIMEDOUT)
			return -EADDRINUSE;
		if (fd != -ECONNREFUSED && fd != -ENOENT)
			return fd;
	}
	temporary = xasprintf("%s.new", path);
	fd = listen_as(temporary, path, mode);
	free(temporary);
	return fd;
}

int sock_accept(int fd, struct endpoint *from)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	int client;

	do
		client = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	while (client < 0 && errno == EINTR);
	if (client < 0)
		return -errno;
	if (from && !endpoint_from_sockaddr(from, (struct sockaddr *)&sa))
		*from = (struct endpoint){0};
	return client;
}

int sock_peer_uid(int fd, uid_t *uid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*uid = cred.uid;
	return 0;
}

static int name_of(int fd, int (*ask)(int, struct sockaddr *, socklen_t *), struct endpoint *out)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);

	if (ask(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return endpoint_from_sockaddr(out, (struct sockaddr *)&sa) ? 0 : -EAFNOSUPPORT;
}

static int ask_local(int fd, struct sockaddr *sa, socklen_t *len)
{
	return getsockname(fd, sa, len);
}

static int ask_remote(int fd, struct sockaddr *sa, socklen_t *len)
{
	return getpeername(fd, sa, len);
}

int sock_local(int fd, struct endpoint *out)
{
	return name_of(fd, ask_local, out);
}

int sock_remote(int fd, struct endpoint *out)
{
	return name_of(fd, ask_remote, out);
}

int sock_source_for(const struct endpoint *to, uint32_t fwmark, struct addr *out)
{
	struct sockaddr_storage sa;
	struct endpoint local;
	socklen_t len = endpoint_to_sockaddr(to, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return -errno;
	if ((fwmark && setsockopt(fd, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)) < 0) ||
	    connect(fd, (struct sockaddr *)&sa, len) < 0)
		return fail(fd);
	error = sock_local(fd, &local);
	close(fd);
	if (!error)
		*out = local.addr;
	return error;
}

bool listen_parse(struct endpoint *out, const char *text)
{
	struct endpoint endpoint = {0};
	const char *colon = strrchr(text, ':');
	char *with_port;
	bool good;

	if (!colon || !parse_u16(colon + 1, &endpoint.port))
		return false;
	if (colon == text) {
		endpoint.addr.family = AF_INET6;
		*out = endpoint;
		return true;
	}
	/* endpoint_parse refuses port 0 */
	with_port = xasprintf("%.*s:1", (int)(colon - text), text);
	good = endpoint_parse(out, with_port);
	if (good)
		out->port = endpoint.port;
	free(with_port);
	return good;
}
