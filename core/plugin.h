/*
 * plugin.h - finding, judging and loading one plugin's file, and checking its options. Nothing of
 * an object runs before its file and its ELF note have been found right; a refusal is one sentence
 * that names the file and the remedy.
 */
#ifndef CORE_PLUGIN_H
#define CORE_PLUGIN_H

#include "lib/yaml.h"
#include <wg-mesh/plugin.h>

#define PLUGIN_ERROR      1200
#define PLUGIN_NAME_MAX   40 /* of KIND-NAME, with NUL */
#define PLUGIN_NAME_LIMIT 29 /* of NAME: the longest KIND- has ten characters */
#define PLUGIN_OPTION_MAX 32

const char *plugin_kind_name(uint32_t kind); /* "discovery"; NULL: no such kind */
uint32_t plugin_kind_parse(const char *name, size_t len); /* 0: none */
bool plugin_name_valid(const char *name); /* 1 to PLUGIN_NAME_LIMIT of [a-z0-9-], no '-' first */

enum plugin_form { PLUGIN_OBJECT, PLUGIN_SCRIPT };

/* Opens DIR/KIND-NAME.so, or the script DIR/KIND-NAME, and judges the file (and an object's note)
 * without running anything. The descriptor (the caller closes it), or -ENOENT, -EPERM, -ENOEXEC...
 * and a sentence in error. path gets the file's name, "" where there is none. */
int plugin_open_file(const char *dir, uint32_t kind, const char *name, enum plugin_form *form,
		     char path[static 512], char error[static PLUGIN_ERROR]);
/* Loads the judged object; it stays mapped until the process ends, and a file that is loaded already
 * is not loaded again. `out` gets the descriptor. 0 or -errno and a sentence. */
int plugin_load_object(int fd, const char *path, uint32_t kind, const char *name,
		       struct wgm_plugin *out, char error[static PLUGIN_ERROR]);

/* The ELF note of wg-mesh/plugin.h, read from an open file by a bounded reader.
 * 0; -ENOEXEC: not a shared object for this kind of machine; -ENODATA: no such note. */
struct plugin_note {
	uint16_t major, minor;
	uint32_t kind, plugin_size;
};
int plugin_note_read(int fd, struct plugin_note *out);

/* ---- options ---- */

struct plugin_value {
	char *text;     /* as STRING, ENDPOINT, PREFIX */
	int64_t number; /* BOOL, INT, DURATION (ms) */
};

struct plugin_values { /* one entry an option of the table */
	const struct wgm_option *table;
	size_t count;
	struct plugin_values_of {
		struct plugin_value *values;
		unsigned count;
	} of[PLUGIN_OPTION_MAX];
};

/* Checks `options` (an object, or NULL: none) against the table (NULL: no options) and fills the
 * gaps with the defaults. false: error is "FILE:LINE:COLUMN: sentence", and out is empty. `node` is
 * where the plugin's entry stands in the file. */
bool plugin_values_read(struct plugin_values *out, const struct wgm_option *table, const char *plugin,
			const struct yaml *yaml, const json_t *options, char error[static PLUGIN_ERROR]);
void plugin_values_free(struct plugin_values *values);
const struct plugin_values_of *plugin_values_find(const struct plugin_values *values, const char *option);
/* NULL, or what is wrong with the table itself. */
const char *plugin_table_wrong(const struct wgm_option *table);
json_t *plugin_table_json(const struct wgm_option *table); /* new array */
json_t *plugin_values_json(const struct plugin_values *values); /* new object; secrets are hidden */

#endif
