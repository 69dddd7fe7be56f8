/*
 * What makes a service of a program. Capabilities by the raw calls: three of them, and libcap would
 * be a dependency for that.
 */
#include "daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

void daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof(sa.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sa.sun_path, path, len);
	if (path[0] == '@')
		sa.sun_path[0] = 0; /* an abstract name, unix(7) */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&sa,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

static int drop_bounding(uint64_t keep)
{
	for (unsigned cap = 0; cap < 64; cap++) {
		int there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (there < 0)
			break; /* past the last one this kernel knows */
		if (!there || keep >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return -errno;
	}
	return 0;
}

int daemon_drop_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2];
	int error;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	error = drop_bounding(keep);
	if (error)
		return error;
	if (syscall(SYS_capget, &head, sets) < 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t mask = (uint32_t)(keep >> (32 * i));

		sets[i].effective &= mask;
		sets[i].permitted &= mask;
		sets[i].inheritable &= mask; /* the ambient set follows, capabilities(7) */
	}
	return syscall(SYS_capset, &head, sets) < 0 ? -errno : 0;
}

void daemon_close_fds(int lowest)
{
	struct rlimit limit = {.rlim_cur = 1024};

#ifdef SYS_close_range
	if (syscall(SYS_close_range, (unsigned)lowest, ~0u, 0) == 0)
		return;
#endif
	getrlimit(RLIMIT_NOFILE, &limit);
	for (int fd = lowest; fd < (int)MIN(limit.rlim_cur, 65536); fd++)
		close(fd);
}

pid_t daemon_fork(const char *log_path)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = log_path ? open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC,
				  0600)
			   : null;
	pid_t pid = null < 0 || log < 0 ? -1 : fork();
	int error = errno;

	if (pid == 0) {
		setsid();
		dup2(null, 0);
		dup2(log, 1);
		dup2(log, 2);
		for (int fd = 0; fd < 3; fd++)
			fcntl(fd, F_SETFD, 0); /* where it was open there already */
		daemon_close_fds(3);
		return 0;
	}
	if (log >= 0 && log != null)
		close(log);
	if (null >= 0)
		close(null);
	return pid < 0 ? -error : pid;
}

static struct flock whole(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

/* False: the file was unlinked by who held it before, so this lock keeps nobody out. */
static bool is_named(int fd, const char *path)
{
	struct stat held, named;

	return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
	       held.st_dev == named.st_dev;
}

static int write_id(int fd)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) < 0)
		return -errno;
	return write(fd, text, (size_t)len) == len ? 0 : -EIO;
}

int daemon_hold(const char *pid_path)
{
	struct flock lock = whole(F_WRLCK);
	int fd, error;

	for (;;) {
		fd = open(pid_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return -errno;
		if (fcntl(fd, F_SETLK, &lock) < 0) {
			error = errno == EACCES ? -EAGAIN : -errno;
			close(fd);
			return error;
		}
		if (is_named(fd, pid_path))
			break;
		close(fd);
	}
	return write_id(fd); /* the descriptor stays open: closing it would give the lock up */
}

pid_t daemon_holder(const char *pid_path)
{
	struct flock lock = whole(F_WRLCK);
	int fd = open(pid_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), error;

	if (fd < 0)
		return 0;
	error = fcntl(fd, F_GETLK, &lock);
	close(fd);
	return error < 0 || lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

static uint64_t namespace_id(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

uint64_t netns_id(void)
{
	return namespace_id("/proc/thread-self/ns/net");
}

static bool named_netns_exists(uint64_t id)
{
	DIR *dir = opendir("/run/netns");
	struct dirent *entry;
	struct stat st;
	bool found = false;

	while (dir && id && !found && (entry = readdir(dir)))
		found = fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && st.st_ino == id;
	if (dir)
		closedir(dir);
	return found;
}

bool netns_exists(uint64_t id)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	bool found = false;
	char path[300];

	while (dir && id && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", entry->d_name);
		found = namespace_id(path) == id;
	}
	if (dir)
		closedir(dir);
	return found || named_netns_exists(id);
}

static bool shared_with_init(const char *kind)
{
	char ours[64], theirs[64];
	uint64_t id;

	snprintf(ours, sizeof(ours), "/proc/thread-self/ns/%s", kind);
	snprintf(theirs, sizeof(theirs), "/proc/1/ns/%s", kind);
	id = namespace_id(ours);
	return id && id == namespace_id(theirs);
}

bool daemon_under_systemd(void)
{
	struct stat st;

	return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode) &&
	       shared_with_init("net") && shared_with_init("mnt");
}
