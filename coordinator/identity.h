/*
 * identity.h - what agents know a coordinator by: the server key, and the key and certificate of TLS. Loaded from
 * the state directory or from where the configuration says; made where there are none.
 */
#ifndef COORDINATOR_IDENTITY_H
#define COORDINATOR_IDENTITY_H

#include "coordinator.h"

/* 0; else the exit code, and a sentence in error. */
int identity_load(struct coordinator *co, char *error, size_t size);
/* Whether the server key is the one that agents of this database prove theirs to: `known`, NULL where the database is
 * older than that it says. Writes a new key to its file, once it may. 0, or 1 and a sentence. */
int identity_confirm(struct coordinator *co, const struct key *known, char *error, size_t size);
/* After the mesh was loaded: makes what there is not of TLS, and tells in log and audit where agents know another key.
 * As identity_load. */
int identity_make_tls(struct coordinator *co, char *error, size_t size);
/* For --check: whether what the configuration names for TLS can be used; -1 and a sentence. What can, but will not
 * please agents, is told on stderr. */
int identity_check(const struct config *config, char *error, size_t size);
/* Tells in the log that the certificate in use has ended, or has not begun. */
void identity_tell_dates(const struct tls_server *tls, const char *cert);

#endif
