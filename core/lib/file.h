/*
 * file.h - whole files. Writers are atomic: a temporary file in the same directory, fsync, rename.
 */
#ifndef CORE_LIB_FILE_H
#define CORE_LIB_FILE_H

#include "buf.h"
#include <errno.h>
#include <sys/types.h>

#define FILE_NOT_REGULAR (-ENOTSUP) /* a pipe, a socket, a device: whoever reads it may wait for ever */

/* To be read: a regular file, at once; or -errno. */
int file_open(const char *path);
/* Appends. A regular file only. 0 or -errno (then out is as it was); -EFBIG: larger than max, or than out may hold. */
int file_read(const char *path, size_t max, struct buf *out);
/* The same of whatever it is, such as /dev/stdin or a shell's <(...). It may wait: for commands and before a loop runs. */
int file_read_any(const char *path, size_t max, struct buf *out);
const char *file_why(int error); /* of these three, as part of a sentence; as strerror */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);
/* Makes durable that a name was made, changed or removed; where the file system can. */
void file_sync_directory_of(const char *path);
int file_make_dirs(const char *path, mode_t mode); /* like mkdir -p */

/* 0 if the open file is a regular file of root's (or ours) that nobody else may write; -EPERM and a
 * sentence in *why (static) otherwise. For plugins, hooks and configuration. */
int file_check_trusted(int fd, const char **why);

#endif
