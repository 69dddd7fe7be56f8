/*
 * plugin.c - a plugin's file: found, judged, loaded.
 *
 * Everything is asked of one open descriptor, and dlopen gets that descriptor too (/proc/self/fd/N),
 * so that what was judged is what runs. The tricky thing: dlopen knows what it has loaded by that
 * text as well as by inode, so a number must never be used again for another file. Therefore the
 * descriptor of a loaded object is kept for ever, as the object is.
 */
#include "plugin.h"
#include "lib/file.h"
#include "lib/util.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t ops_sizes[] = { /* of minor version 0 */
	[WGM_DISCOVERY] = sizeof(struct wgm_discovery_ops),
	[WGM_NATMAP] = sizeof(struct wgm_natmap_ops),
	[WGM_RELAY] = sizeof(struct wgm_relay_ops),
	[WGM_FIREWALL] = sizeof(struct wgm_firewall_ops),
};

struct object { /* loaded; never unloaded */
	struct object *next;
	dev_t dev;
	ino_t ino;
	int fd;
	void *handle;
};
static struct object *objects; /* as dlopen's own list: of the process */

PRINTF_LIKE(3, 4)
static int refuse(char error[static PLUGIN_ERROR], int number, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, PLUGIN_ERROR, format, args);
	va_end(args);
	return -number;
}

static int judge_note(int fd, const char *path, uint32_t kind, char error[static PLUGIN_ERROR])
{
	struct plugin_note note;
	const char *its;

	switch (plugin_note_read(fd, &note)) {
	case 0:
		break;
	case -ENODATA:
		return refuse(error, ENOEXEC,
			      "%s has no wg-mesh note: it is no plugin, or lacks WGM_PLUGIN(...)", path);
	default:
		return refuse(error, ENOEXEC,
			      "%s is not a whole shared object for this machine: install it again", path);
	}
	if (note.major != WGM_ABI_MAJOR)
		return refuse(error, ENOEXEC,
			      "%s is built for plugin ABI %u, this is %u: build it against this version's header",
			      path, note.major, WGM_ABI_MAJOR);
	if (note.minor > WGM_ABI_MINOR)
		return refuse(error, ENOEXEC,
			      "%s needs plugin ABI %u.%u, this is %u.%u: install a newer wg-meshd", path,
			      note.major, note.minor, WGM_ABI_MAJOR, WGM_ABI_MINOR);
	its = plugin_kind_name(note.kind);
	if (note.kind != kind)
		return refuse(error, ENOEXEC, "%s is a plugin of kind %s: rename it to %s-NAME.so", path,
			      its ? its : "unknown", its ? its : "KIND");
	return 0;
}

int plugin_open_file(const char *dir, uint32_t kind, const char *name, enum plugin_form *form,
		     char path[static 512], char error[static PLUGIN_ERROR])
{
	const char *why;
	struct stat st;
	int fd;

	path[0] = '\0';
	if (!plugin_kind_name(kind) || !plugin_name_valid(name))
		return refuse(error, EINVAL, "\"%s\" cannot be a plugin's name: use a-z, 0-9 and inner -", name);
	*form = PLUGIN_OBJECT;
	snprintf(path, 512, "%s/%s-%s.so", dir, plugin_kind_name(kind), name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT) {
		*form = PLUGIN_SCRIPT;
		snprintf(path, 512, "%s/%s-%s", dir, plugin_kind_name(kind), name);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	}
	if (fd < 0 && errno == ENOENT) {
		refuse(error, ENOENT,
		       "there is no %s.so (nor a script without .so): install that plugin, or take it out of "
		       "the configuration",
		       path);
		path[0] = '\0';
		return -ENOENT;
	}
	if (fd < 0)
		return refuse(error, errno, "%s cannot be opened: %s", path, strerror(errno));
	if (file_check_trusted(fd, &why))
		refuse(error, EPERM, "%s is not trusted: %s", path, why);
	else if (*form == PLUGIN_SCRIPT && (fstat(fd, &st) || !(st.st_mode & S_IXUSR)))
		refuse(error, EPERM, "%s is not executable: chmod 755 %s", path, path);
	else if (*form == PLUGIN_SCRIPT || !judge_note(fd, path, kind, error))
		return fd;
	close(fd);
	return -EPERM;
}

/* ---- loading ----------------------------------------------------------------------- */

static void *map_object(int fd, const char *path, char error[static PLUGIN_ERROR])
{
	struct object *object;
	char proc_path[40];
	struct stat st;

	if (fstat(fd, &st)) {
		refuse(error, errno, "%s cannot be examined: %s", path, strerror(errno));
		return NULL;
	}
	for (object = objects; object; object = object->next)
		if (object->dev == st.st_dev && object->ino == st.st_ino)
			return object->handle;
	object = xcalloc(1, sizeof(*object));
	object->dev = st.st_dev;
	object->ino = st.st_ino;
	object->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d", object->fd);
	if (object->fd >= 0)
		object->handle = dlopen(proc_path, RTLD_NOW | RTLD_LOCAL);
	if (!object->handle) {
		const char *why = object->fd < 0 ? strerror(errno) : dlerror();

		/* "/proc/self/fd/9: undefined symbol: x" */
		if (why && !strncmp(why, proc_path, strlen(proc_path)))
			why += strlen(proc_path) + strspn(why + strlen(proc_path), ": ");
		refuse(error, ENOEXEC, "%s cannot be loaded: %s", path, why ? why : "unknown reason");
		if (object->fd >= 0)
			close(object->fd);
		free(object);
		return NULL;
	}
	object->next = objects;
	objects = object;
	return object->handle;
}

static const char *descriptor_wrong(const struct wgm_plugin *plugin, uint32_t kind)
{
	uint32_t ops_size = 0;

	if (plugin->major != WGM_ABI_MAJOR || plugin->minor > WGM_ABI_MINOR || plugin->kind != kind)
		return "its descriptor does not agree with its note";
	if (!plugin->name || !plugin->version || !plugin->summary)
		return "its descriptor lacks a name, a version or a summary";
	if (!plugin->open || !plugin->close)
		return "its descriptor lacks open() or close()";
	if (plugin->ops)
		memcpy(&ops_size, plugin->ops, sizeof(ops_size));
	if (ops_size < ops_sizes[kind])
		return "its descriptor lacks operations, or they do not begin with their size";
	if (kind == WGM_DISCOVERY && !((const struct wgm_discovery_ops *)plugin->ops)->refresh)
		return "it lacks refresh()";
	return plugin_table_wrong(plugin->options);
}

int plugin_load_object(int fd, const char *path, uint32_t kind, const char *name,
		       struct wgm_plugin *out, char error[static PLUGIN_ERROR])
{
	struct wgm_plugin plugin = {0};
	const struct wgm_plugin *found;
	const char *wrong;
	void *handle = map_object(fd, path, error);

	if (!handle)
		return -ENOEXEC;
	found = dlsym(handle, "wgm_plugin");
	if (!found)
		return refuse(error, ENOEXEC,
			      "%s exports no wgm_plugin: end its source in WGM_PLUGIN(...)", path);
	if (found->size < sizeof(plugin))
		return refuse(error, ENOEXEC, "%s has a descriptor that is too short: rebuild it", path);
	memcpy(&plugin, found, sizeof(plugin));
	wrong = descriptor_wrong(&plugin, kind);
	if (wrong)
		return refuse(error, ENOEXEC, "%s cannot be used: %s; rebuild it", path, wrong);
	if (strcmp(plugin.name, name))
		return refuse(error, ENOEXEC, "%s calls itself \"%s\": rename it to %s-%s.so", path,
			      plugin.name, plugin_kind_name(kind), plugin.name);
	*out = plugin;
	return 0;
}
