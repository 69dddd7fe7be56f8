/*
 * rundir.c - the lock is the truth, the files only say who holds it: a process id alone may belong
 * to somebody else by now. relay.lock itself is never removed, or two could each hold "it".
 */
#include "rundir.h"
#include "lib/file.h"
#include "lib/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct rundir {
	char *json_path;
	int lock;
};

/* A coordinator that looks whether anybody holds the lock holds it itself for a moment. */
static bool lock_soon(int fd)
{
	for (int i = 0; i < 10; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return true;
		usleep(10000);
	}
	return false;
}

static int take_lock(const char *path, char *error, size_t size)
{
	char pid[32] = "";
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0) {
		snprintf(error, size, "%s cannot be opened: %s", path, strerror(errno));
		return -1;
	}
	if (!lock_soon(fd)) {
		if (read(fd, pid, sizeof(pid) - 1) < 0)
			pid[0] = 0;
		pid[strcspn(pid, "\n")] = 0;
		snprintf(error, size, "a relay is running already (process %s holds %s): end it first, "
				      "or give another --run-dir", pid[0] ? pid : "unknown", path);
		close(fd);
		return -1;
	}
	if (ftruncate(fd, 0) || dprintf(fd, "%d\n", (int)getpid()) < 0) {
		snprintf(error, size, "%s cannot be written: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

struct rundir *rundir_take(const char *path, char *error, size_t size)
{
	struct rundir *dir = NULL;
	int result = file_make_dirs(path, 0755), lock;
	char *lock_path;

	if (result) {
		snprintf(error, size, "%s cannot be made: %s", path, strerror(-result));
		return NULL;
	}
	lock_path = xasprintf("%s/relay.lock", path);
	lock = take_lock(lock_path, error, size);
	free(lock_path);
	if (lock < 0)
		return NULL;
	dir = xcalloc(1, sizeof(*dir));
	dir->lock = lock;
	dir->json_path = xasprintf("%s/relay.json", path);
	unlink(dir->json_path); /* of one that ended badly */
	return dir;
}

int rundir_publish(struct rundir *dir, const struct endpoint *stun, size_t count)
{
	json_t *list = json_array(), *json;
	char *text, *line;
	int result;

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, js_from_endpoint(&stun[i]));
	json = json_pack("{s:i,s:o,s:s}", "pid", (int)getpid(), "stun", list, "version", WG_MESH_VERSION);
	text = js_dump(json);
	line = xasprintf("%s\n", text);
	result = file_write_atomic(dir->json_path, line, strlen(line), 0644);
	free(line);
	free(text);
	json_decref(json);
	return result;
}

void rundir_leave(struct rundir *dir)
{
	if (!dir)
		return;
	unlink(dir->json_path);
	close(dir->lock);
	free(dir->json_path);
	free(dir);
}
