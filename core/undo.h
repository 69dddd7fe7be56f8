/*
 * undo.h - takes back all that a ledger holds, with the same device and link code the agent uses,
 * then removes the ledger. Used by `wg-mesh down` and `leave`, with the agent dead or alive.
 */
#ifndef CORE_UNDO_H
#define CORE_UNDO_H

#include "lib/util.h"

/* 0: all is gone (also where there was nothing). Else the first -errno; it went on regardless and
 * the ledger keeps what is left. An interface that has vanished took everything with it: 0. -EXDEV:
 * the ledger is of another network namespace; nothing was touched. */
int undo_interface(const char *interface, const char *ledger_path);

#endif
