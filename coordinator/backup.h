/*
 * backup.h - copies of the whole database: to one file and back, and from one kind of database to the
 * other. They are commands that work on the database itself; the exit code is returned, and where it
 * is 0 `result` (an object) has what was done: "message", "rows" of each table, "file", "kept".
 */
#ifndef COORDINATOR_BACKUP_H
#define COORDINATOR_BACKUP_H

#include "config.h"

int backup_run(const struct config *config, const json_t *options, json_t *result);  /* file */
int restore_run(const struct config *config, const json_t *options, json_t *result); /* file, readmit; not while serving */
int migrate_run(const struct config *config, const json_t *options, json_t *result); /* to; not while serving */
/* Of `serve`: what a restore that did not come to its end has left missing. 0, or 1 and a sentence; `restored`:
 * the database is one that no start has seen since its restore. */
int restore_missing_database(const struct config *config, char *error, size_t size);
int restore_missing_keys(const struct config *config, bool restored, char *error, size_t size);

#endif
