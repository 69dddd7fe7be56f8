/*
 * conf.h - the user's wg-quick file as text: read line by line exactly as wg-quick does, changed
 * only by whole lines of ours, everything else kept to the byte (order, comments, line ends).
 */
#ifndef CORE_CLI_CONF_H
#define CORE_CLI_CONF_H

#include "lib/buf.h"
#include "lib/key.h"
#include "lib/prefix.h"
#include <sys/types.h>

enum conf_section { CONF_NONE, CONF_INTERFACE, CONF_PEER, CONF_OTHER };

struct conf_line {
	const char *start; /* of the whole line; borrowed */
	size_t len;        /* with its line end */
	unsigned number;   /* from 1 */
	enum conf_section section;
	bool heading;      /* the section's own "[...]" */
	char key[32];      /* "" where there is none */
	const char *value; /* not terminated */
	size_t value_len;
};

struct conf_walk { /* start with all zero but text and len */
	const char *text;
	size_t len, at;
	unsigned number;
	enum conf_section section;
};
bool conf_next(struct conf_walk *walk, struct conf_line *line); /* false: the end */

/* Last value of a key of [Interface], as new memory; NULL: none. */
char *conf_value(const char *text, size_t len, const char *key);

/* The prefixes in a line's value one by one, with commas or blanks between; *at begins at 0. */
bool conf_next_prefix(const struct conf_line *line, size_t *at, struct prefix *out);
/* The first line with this Address in [Interface]; 0: there is none. */
unsigned conf_address_line(const char *text, size_t len, const struct addr *address);
/* SaveConfig = true: `wg-quick down` writes the interface as it is into the file. */
bool conf_saves(const char *text, size_t len);

struct conf_hooks { /* our two lines, without line ends */
	char up[700], down[700];
};
/* Options that moved our directories stand in the lines too. Any may be NULL. */
void conf_hooks_init(struct conf_hooks *hooks, const char *config, const char *state,
		     const char *run_dir, const char *plugin_dir);
/* Which of the two are there, also where the user wrote them with a path or an interface name. */
bool conf_has_up(const char *text, size_t len);
bool conf_has_down(const char *text, size_t len);

/* Copies text into out with those of our lines that are missing at the end of the first
 * [Interface]; false: there is no such section (then out is as text). */
bool conf_add_hooks(struct buf *out, const char *text, size_t len, const struct conf_hooks *hooks);
/* Copies text without our lines; true if there was one. */
bool conf_remove_hooks(struct buf *out, const char *text, size_t len);

/* Copies text with this key in the last PrivateKey line of [Interface]; false: there is none (then out
 * is as text). */
bool conf_set_private_key(struct buf *out, const char *text, size_t len, const struct key *key);
#define CONF_HASH 65
/* SHA-256 in hex: whether a file is as join has made it. */
void conf_hash(char out[static CONF_HASH], const void *text, size_t len);

struct conf_peer {
	struct key public_key;
	unsigned first_line, last_line; /* of its section, blank lines at the end left out */
};
/* New array the caller frees; peers whose key cannot be read are left out. */
size_t conf_peers(const char *text, size_t len, struct conf_peer **out);

/* Replaces a file atomically: a temporary one beside it with the owner and mode of the old one (or
 * of the file a symbolic link names). 0 or -errno; the old file is whole in any case. */
int conf_replace(const char *path, const void *data, size_t len);
/* Makes a new one, 0600; -EEXIST: there is one. Its directory is made where it is missing (0700).
 */
int conf_create(const char *path, const void *data, size_t len);

#endif
