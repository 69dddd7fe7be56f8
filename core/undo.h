/*
 * undo.h - takes back all that a ledger holds, with the same device and link code the agent uses,
 * then removes the ledger. Used by `wg-mesh down` and `leave`, with the agent dead or alive.
 */
#ifndef CORE_UNDO_H
#define CORE_UNDO_H

#include "paths.h"

/* 0: all is gone (also where there was nothing). Else the first -errno; it went on regardless and
 * the ledger keeps what is left. An interface that has vanished took everything with it: 0. -EXDEV:
 * the ledger is of another network namespace, which is there; nothing was touched. */
int undo_interface(const char *interface, const char *ledger_path);
/* The same; where the ledger is damaged it goes by the saved map and our routes on the interface.
 * -EBADMSG: there is no such map either, and the ledger was left as it is. */
int undo_all(const char *interface, const struct paths *paths, bool *damaged);

#endif
