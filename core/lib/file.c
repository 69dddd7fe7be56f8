/*
 * Whole files. A reader of a path that is written here sees the old file or the new one, never a
 * half; after a power cut too, since file and directory are both synced.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK 8192

static ssize_t read_chunk(int fd, struct buf *out)
{
	uint8_t *at = buf_reserve(out, CHUNK);
	uint8_t bounce[CHUNK];
	ssize_t got;

	do
		got = read(fd, at ? at : bounce, CHUNK);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (at)
		out->len += (size_t)got;
	else if (buf_add(out, bounce, (size_t)got))
		return -EFBIG;
	return got;
}

int file_open(const char *path)
{
	/* A FIFO that nobody writes to opens at once, instead of when somebody does. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int error = 0;

	if (fd < 0)
		return errno == ENXIO ? FILE_NOT_REGULAR : -errno; /* a socket */
	if (fstat(fd, &st) < 0)
		error = -errno;
	else if (!S_ISREG(st.st_mode))
		error = S_ISDIR(st.st_mode) ? -EISDIR : FILE_NOT_REGULAR;
	if (!error)
		return fd;
	close(fd);
	return error;
}

const char *file_why(int error)
{
	return error == FILE_NOT_REGULAR ? "it is not a regular file" : strerror(-error);
}

/* Closes it. */
static int read_all(int fd, size_t max, struct buf *out)
{
	size_t start = out->len;
	ssize_t got;

	do {
		got = read_chunk(fd, out);
		if (got > 0 && out->len - start > max)
			got = -EFBIG;
	} while (got > 0);
	close(fd);
	if (got < 0)
		out->len = start;
	if (!out->len)
		buf_wipe(out);
	buf_text(out);
	return (int)got;
}

int file_read(const char *path, size_t max, struct buf *out)
{
	int fd = file_open(path);

	return fd < 0 ? fd : read_all(fd, max, out);
}

int file_read_any(const char *path, size_t max, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : read_all(fd, max, out);
}

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		ssize_t put = write(fd, at, len);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		len -= (size_t)put;
	}
	return 0;
}

/* "DIR/" of "DIR/NAME", "" of "NAME"; new. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return xasprintf("%.*s", slash ? (int)(slash + 1 - path) : 0, path);
}

/* Not every file system can; what it can it does. */
static void sync_directory(const char *directory)
{
	int fd = open(*directory ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

void file_sync_directory_of(const char *path)
{
	char *directory = directory_of(path);

	sync_directory(directory);
	free(directory);
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
	char *directory = directory_of(path);
	char *temporary = xasprintf("%s.%s.XXXXXX", directory, path + strlen(directory));
	int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	int error = 0;

	if (fd < 0) {
		error = -errno;
		goto out;
	}
	error = write_all(fd, data, len);
	if (!error && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		error = -errno;
	close(fd);
	if (!error && rename(temporary, path) < 0)
		error = -errno;
	if (error)
		unlink(temporary);
	else
		sync_directory(directory);
out:
	free(temporary);
	free(directory);
	return error;
}

static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int file_make_dirs(const char *path, mode_t mode)
{
	char *copy = xstrdup(path);
	int error = 0;

	for (char *slash = copy; !error && *slash && (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		error = make_dir(copy, mode);
		*slash = '/';
	}
	if (!error)
		error = make_dir(copy, mode);
	free(copy);
	return error;
}

int file_check_trusted(int fd, const char **why)
{
	struct stat st;

	*why = NULL;
	if (fstat(fd, &st) < 0)
		*why = "it cannot be examined";
	else if (!S_ISREG(st.st_mode))
		*why = "it is not a regular file";
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		*why = "it belongs to another user (chown root)";
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		*why = "others may write to it (chmod go-w)";
	return *why ? -EPERM : 0;
}
