/*
 * interfaces.c - looks into the directories of configurations and of control sockets. The servers'
 * files lie there too and are told apart by name.
 */
#include "interfaces.h"
#include "lib/buf.h"
#include "lib/str.h"

#include <dirent.h>

bool interfaces_reserved(const char *stem)
{
	static const char *const stems[] = {"coordinator", "relay", "policy"};

	for (size_t i = 0; i < ARRAY_SIZE(stems); i++)
		if (strcmp(stem, stems[i]) == 0)
			return true;
	return false;
}

static void add(struct interfaces *out, const char *file, const char *ending)
{
	size_t len = strlen(file), end = strlen(ending);
	char stem[16];

	if (len <= end || len - end >= sizeof(stem) || strcmp(file + len - end, ending) != 0)
		return;
	memcpy(stem, file, len - end);
	stem[len - end] = '\0';
	if (interfaces_reserved(stem) || !interface_name_valid(stem) || out->count == INTERFACES_MAX)
		return;
	for (size_t i = 0; i < out->count; i++)
		if (strcmp(out->names[i], stem) == 0)
			return;
	str_copy(out->names[out->count++], sizeof(stem), stem);
}

static void add_directory(struct interfaces *out, const char *path, const char *ending)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		add(out, entry->d_name, ending);
	if (dir)
		closedir(dir);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void interfaces_list(const struct cli *cli, struct interfaces *out)
{
	struct paths paths;

	out->count = 0;
	if (paths_init(&paths, "wg0", cli->config, cli->state, cli->run_dir, cli->plugin_dir) < 0)
		return;
	add_directory(out, paths.config_dir, ".yaml");
	add_directory(out, paths.run_dir, ".sock");
	qsort(out->names, out->count, sizeof(out->names[0]), by_name);
}

int interfaces_only_one(struct cli *cli, bool none_is_fine)
{
	static struct interfaces found;
	struct buf names;
	int code;

	interfaces_list(cli, &found);
	if (found.count == 1) {
		cli->interface = found.names[0];
		return EXIT_DONE;
	}
	if (found.count == 0 && none_is_fine)
		return EXIT_DONE;
	if (found.count == 0)
		return complain(EXIT_NOT_RUNNING,
				"no interface of this host has joined a mesh: "
				"`wg-mesh join LINK` with a link from your coordinator");
	buf_init(&names, 4096);
	for (size_t i = 0; i < found.count; i++)
		buf_addf(&names, "%s%s", i ? ", " : "", found.names[i]);
	code = complain(EXIT_USAGE, "which interface? there are %s", buf_text(&names));
	buf_free(&names);
	return code;
}
