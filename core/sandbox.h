/*
 * sandbox.h - what an agent may write in the file system once it runs: its state, its run directory,
 * temporary files. Its children (script plugins) may no more than that; the hook runner, forked
 * before, is free.
 */
#ifndef CORE_SANDBOX_H
#define CORE_SANDBOX_H

#include "paths.h"

/* Call with no_new_privs set. 0; -ENOSYS or -EOPNOTSUPP where the kernel has no Landlock (then only
 * the lost capabilities hold it); another -errno. */
int sandbox_enter(const struct paths *paths);

#endif
