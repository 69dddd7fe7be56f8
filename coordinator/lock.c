/*
 * lock.c - see lock.h. By flock, which has nothing to do with SQLite's own locks (fcntl) on the same file, but on NFS,
 * where a database of SQLite does not belong anyway.
 */
#include "lock.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* " (process 123)", or "" where the kernel does not say: a lock of another container, or of another machine. */
static void find_holder(int fd, char *out, size_t size)
{
	FILE *locks = fopen("/proc/locks", "re");
	unsigned long long inode;
	unsigned high, low;
	struct stat file;
	char line[200];
	long pid;

	*out = '\0';
	while (locks && !*out && !fstat(fd, &file) && fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*d: FLOCK %*s WRITE %ld %x:%x:%llu", &pid, &high, &low, &inode) == 4 &&
		    makedev(high, low) == file.st_dev && inode == (unsigned long long)file.st_ino && pid > 0)
			snprintf(out, size, " (process %ld)", pid);
	if (locks)
		fclose(locks);
}

/* 0; -EWOULDBLOCK, and who has it in `holder`; another -errno: it cannot be locked. */
static int hold(int fd, char *holder, size_t size)
{
	int result = flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;

	if (result == -EWOULDBLOCK)
		find_holder(fd, holder, size);
	if (result)
		close(fd);
	return result;
}

int lock_state(const struct config *config, char *error, size_t size)
{
	char *path = xasprintf("%s/lock", config->state), holder[40];
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int result = fd < 0 ? -errno : hold(fd, holder, sizeof(holder));

	free(path);
	if (result == -EWOULDBLOCK)
		snprintf(error, size, "the state directory %s is in use by another coordinator%s: stop that "
			 "one, or give this one a --state of its own", config->state, holder);
	else if (result)
		snprintf(error, size, "the state directory %s cannot be used: %s; move it with --state",
			 config->state, strerror(-result));
	return result < 0;
}

int lock_database(const struct config *config, bool make, char *error, size_t size)
{
	const char *path = config->db + strlen("sqlite:");
	char holder[40];
	int fd;

	if (!str_has_prefix(config->db, "sqlite:"))
		return 0;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);
	if (fd < 0 || hold(fd, holder, sizeof(holder)) != -EWOULDBLOCK)
		return 0; /* why it cannot be used is said where it is opened */
	snprintf(error, size, "the database %s is in use by another coordinator%s: stop that one, or give this one "
		 "another with db: or --db", path, holder);
	return 1;
}
