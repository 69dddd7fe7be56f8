/*
 * lock.h - one process at a time on a state directory, and on a database of SQLite. Locks are held until the
 * process ends; each function returns 0, or 1 and a sentence that says who has it, where that can be told.
 */
#ifndef COORDINATOR_LOCK_H
#define COORDINATOR_LOCK_H

#include "config.h"

int lock_state(const struct config *config, char *error, size_t size);
/* Whatever it is called there, by whichever state directory: the lock is the file's own. `make`: where there is no
 * such file yet, one is made; else, and with PostgreSQL, there is nothing to lock. */
int lock_database(const struct config *config, bool make, char *error, size_t size);

#endif
