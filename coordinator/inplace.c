/*
 * inplace.c - see inplace.h. The old file's log is worked into it, it gets a second name (link), and one
 * rename puts the new one over the first.
 */
#include "inplace.h"
#include "coordinator/store/store_driver.h"
#include "lib/file.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_KEPT 1000

/* A log that is beside a database of which it is not is taken for its own. */
static const char *const logs[] = {"-wal", "-shm", "-journal"};

static int remove_logs(const char *path)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(logs) && !result; i++) {
		char *log = xasprintf("%s%s", path, logs[i]);

		if (unlink(log) < 0 && errno != ENOENT)
			result = -errno;
		free(log);
	}
	return result;
}

char *inplace_beside(const char *path)
{
	char *beside = xasprintf("%s.XXXXXX", path);
	int fd = mkostemp(beside, O_CLOEXEC), error = errno; /* 0600 */

	if (fd >= 0) {
		close(fd);
		return beside;
	}
	free(beside);
	errno = error;
	return NULL;
}

int inplace_remove(const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return remove_logs(path);
}

/* Of a database that cannot be read the log could not be worked in. */
static int keep_logs(const char *path, const char *kept)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(logs) && !result; i++) {
		char *log = xasprintf("%s%s", path, logs[i]), *second = xasprintf("%s%s", kept, logs[i]);

		if (link(log, second) < 0 && errno != ENOENT && errno != EEXIST)
			result = -errno;
		free(log);
		free(second);
	}
	return result;
}

static bool same_file(const char *a, const char *b)
{
	struct stat of_a, of_b;

	return !stat(a, &of_a) && !stat(b, &of_b) && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

/* The first name that is free, or that an attempt which did not come to its end has given to this very file. */
static int keep(const char *path, char **kept)
{
	int result = -EEXIST;

	for (unsigned i = 1; i <= MAX_KEPT && result == -EEXIST; i++) {
		free(*kept);
		*kept = i == 1 ? xasprintf("%s.before-restore", path) : xasprintf("%s.before-restore-%u", path, i);
		result = !link(path, *kept) || (errno == EEXIST && same_file(path, *kept)) ? 0 : -errno;
	}
	if (!result)
		result = keep_logs(path, *kept);
	if (!result)
		file_sync_directory_of(path);
	if (result != -ENOENT) /* else nothing is there */
		return result;
	free(*kept);
	*kept = NULL;
	return 0;
}

int inplace_put(const char *path, const char *restored, char **kept, char *error, size_t size)
{
	int result = store_sqlite_settle(restored, error, size);

	*kept = NULL;
	if (result || (!access(path, F_OK) && store_sqlite_settle(path, error, size) == -EIO)) /* not: damaged */
		return -1;
	result = keep(path, kept);
	if (!result)
		result = remove_logs(path);
	if (!result && rename(restored, path) < 0)
		result = -errno;
	if (!result) {
		file_sync_directory_of(path);
		return 0;
	}
	snprintf(error, size, "%s: %s", path, strerror(-result));
	free(*kept);
	*kept = NULL;
	return -1;
}

char *inplace_remains(const char *path)
{
	static const char *const ends[] = {".before-restore", ".restored"};

	for (size_t i = 0; i < ARRAY_SIZE(ends) && access(path, F_OK); i++) {
		char *remains = xasprintf("%s%s", path, ends[i]);

		if (!access(remains, F_OK))
			return remains;
		free(remains);
	}
	return NULL;
}
