/*
 * policy_file.h - the file of --policy: what is written into it holds at once, if it is right.
 */
#ifndef COORDINATOR_POLICY_FILE_H
#define COORDINATOR_POLICY_FILE_H

#include "lib/util.h"

#define POLICY_THE_FILE "the policy file" /* as who applied it */

struct coordinator;
struct policy_file;

struct policy_file *policy_file_new(struct coordinator *co, const char *path);
void policy_file_free(struct policy_file *file);
/* Looks at it soon; anew: also where no look tells that it was written. NULL is fine. */
void policy_file_again(struct policy_file *file, bool anew);

/* 0, or 2 and a sentence in error. */
int policy_file_check(const char *path, char *error, size_t size);

/* policy_taken.c: remembers over restarts that this was read; whether it is what was last read here, or taken by
 * any coordinator on this database. */
void policy_file_taken(struct coordinator *co, const char *text, size_t len);
bool policy_file_known(struct coordinator *co, const char *text, size_t len);

#endif
