/*
 * inplace.h - an SQLite database put in the place of another. Whenever the process ends, the path has the
 * old one or the new one, whole.
 */
#ifndef COORDINATOR_INPLACE_H
#define COORDINATOR_INPLACE_H

#include <stddef.h>

/* An empty file (0600) of a name that nobody else has, beside `path`, new; NULL: errno says why not. */
char *inplace_beside(const char *path);
/* The file and what SQLite has beside it, as far as it is there. 0 or -errno. */
int inplace_remove(const char *path);
/* What was at `path`, whole or not, is kept under a name of its own, new in *kept; NULL: nothing was there.
 * 0, or -1 and a sentence: `path` is as it was. */
int inplace_put(const char *path, const char *restored, char **kept, char *error, size_t size);
/* Where nothing is at `path`: what a restore that did not come to its end has left there, new; NULL: nothing. */
char *inplace_remains(const char *path);

#endif
