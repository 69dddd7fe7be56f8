/*
 * file.h - whole files. Writers are atomic: a temporary file in the same directory, fsync, rename.
 */
#ifndef CORE_LIB_FILE_H
#define CORE_LIB_FILE_H

#include "buf.h"
#include <sys/types.h>

/* Appends. 0 or -errno (then out is as it was); -EFBIG: larger than max, or than out may hold. */
int file_read(const char *path, size_t max, struct buf *out);
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode);
/* Makes durable that a name was made, changed or removed; where the file system can. */
void file_sync_directory_of(const char *path);
int file_make_dirs(const char *path, mode_t mode); /* like mkdir -p */

/* 0 if the open file is a regular file of root's (or ours) that nobody else may write; -EPERM and a
 * sentence in *why (static) otherwise. For plugins, hooks and configuration. */
int file_check_trusted(int fd, const char **why);

#endif
