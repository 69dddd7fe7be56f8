/*
 * plugin_list.c - what `wg-mesh plugins` shows: every plugin that is configured or lies in the plugin
 * directory, judged but not loaded in the latter case.
 */
#include "lib/json.h"
#include "plugin_instance.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

static const char *const states[] = {
	[PLUGIN_STARTING] = "starting", [PLUGIN_RUNNING] = "running", [PLUGIN_FAILED] = "failed",
	[PLUGIN_REFUSED] = "refused",	[PLUGIN_HUNG] = "hung",	       [PLUGIN_CRASHED] = "crashed",
	[PLUGIN_CHECKED] = "checked",
};

static json_t *text_or_null(const char *text)
{
	return text && *text ? js_from_text(text) : json_null();
}

static json_t *entry_new(uint32_t kind, const char *name, const char *path, enum plugin_form form)
{
	const char *word = form == PLUGIN_SCRIPT ? "script" : "so";

	return json_pack("{s:s, s:s, s:o, s:o, s:b, s:n, s:n, s:n, s:[], s:[]}", "name", name, "kind",
			 plugin_kind_name(kind), "file", text_or_null(path), "form",
			 text_or_null(*path ? word : NULL), "loaded", 0, "version", "summary", "error",
			 "options", "instances");
}

static json_t *find_entry(json_t *all, uint32_t kind, const char *name)
{
	json_t *entry;
	size_t i;

	json_array_foreach(all, i, entry)
		if (!strcmp(json_string_value(json_object_get(entry, "name")), name) &&
		    !strcmp(json_string_value(json_object_get(entry, "kind")), plugin_kind_name(kind)))
			return entry;
	return NULL;
}

static void add_instance(json_t *all, const struct plugin_instance *instance)
{
	json_t *entry = find_entry(all, instance->kind, instance->name);
	const struct wgm_plugin *plugin = &instance->plugin;

	if (!entry) {
		entry = entry_new(instance->kind, instance->name, instance->path, instance->form);
		json_array_append_new(all, entry);
	}
	if (plugin->name) {
		json_object_set_new(entry, "loaded", json_true());
		json_object_set_new(entry, "version", js_from_text(plugin->version));
		json_object_set_new(entry, "summary", js_from_text(plugin->summary));
		json_object_set_new(entry, "options", plugin_table_json(plugin->options));
	}
	json_array_append_new(json_object_get(entry, "instances"),
			      json_pack("{s:s, s:o, s:o}", "state", states[instance->state], "error",
					text_or_null(instance->error), "options",
					plugin_values_json(&instance->values)));
	if (instance->state != PLUGIN_RUNNING)
		json_object_set_new(entry, "error", text_or_null(instance->error));
}

/* KIND-NAME or KIND-NAME.so */
static void add_file(json_t *all, const char *dir, const char *file)
{
	const char *dash = strchr(file, '-'), *dot;
	uint32_t kind = dash ? plugin_kind_parse(file, (size_t)(dash - file)) : 0;
	char name[PLUGIN_NAME_MAX], path[512], error[PLUGIN_ERROR] = "";
	enum plugin_form form;
	json_t *entry;
	size_t len;
	int fd;

	if (!kind)
		return;
	dot = strrchr(dash, '.');
	len = dot && !strcmp(dot, ".so") ? (size_t)(dot - dash - 1) : strlen(dash + 1);
	if (len >= sizeof(name))
		return;
	memcpy(name, dash + 1, len);
	name[len] = '\0';
	if (!plugin_name_valid(name) || find_entry(all, kind, name))
		return;
	fd = plugin_open_file(dir, kind, name, &form, path, error);
	if (fd >= 0)
		close(fd);
	entry = entry_new(kind, name, path, form);
	json_object_set_new(entry, "error", text_or_null(error));
	json_array_append_new(all, entry);
}

json_t *plugin_host_json(const struct plugin_host *host)
{
	const struct plugin_instance *instance;
	json_t *all = json_array();
	struct dirent **files;
	int count;

	list_each(instance, &host->instances, node)
		add_instance(all, instance);
	count = scandir(host->dir, &files, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		add_file(all, host->dir, files[i]->d_name);
		free(files[i]);
	}
	if (count >= 0)
		free(files);
	return json_pack("{s:i, s:o}", "schema", 1, "plugins", all);
}
