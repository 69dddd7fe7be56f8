/*
 * policy_file.c - watching the policy file. inotify looks at its directory, because editors and
 * configuration systems put a new file (or a link) in its place; a slow look at the file itself is for
 * where there is no inotify. A file is judged when it rests: two looks in a row see the same.
 */
#include "policy_file.h"
#include "policy_state.h"
#include "coordinator/remedy.h"
#include "coordinator/store/store.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/str.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE (1024 * 1024)
#define LOOK_MS  5000
#define REST_MS  50

struct look {
	struct timespec modified;
	ino_t inode;
	off_t size;
};

struct policy_file {
	struct coordinator *co;
	char *path;
	int fd;
	struct loop_io io;
	struct loop_timer timer;
	struct look seen, taken; /* at the last look; when it was last judged */
};

static void look_at(const char *path, struct look *out)
{
	struct stat st;

	memset(out, 0, sizeof(*out));
	if (stat(path, &st))
		return;
	out->modified = st.st_mtim;
	out->inode = st.st_ino;
	out->size = st.st_size;
}

static bool same(const struct look *a, const struct look *b)
{
	return a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec &&
	       a->inode == b->inode && a->size == b->size;
}

static void judge(struct policy_file *file)
{
	const struct policy *now = policy_in_force(file->co);
	struct buf text = {.limit = MAX_FILE};
	struct refusal why = {0};
	char error[POLICY_ERROR], said[REMEDY_TEXT];
	struct policy *policy;
	bool in_force;
	int result = file_read(file->path, MAX_FILE, &text);

	file->taken = file->seen;
	store_begin(file->co->store);
	if (result < 0) {
		log_error("policy", "file=%s reason=\"cannot be read: %s; what was there goes on\"",
			  file->path, file_why(result));
		goto out;
	}
	in_force = text.len == now->text_len && !memcmp(buf_text(&text), now->text, text.len);
	if (policy_file_known(file->co, buf_text(&text), text.len)) {
		if (!in_force)
			log_info("policy", "file=%s reason=\"it is what was taken before; what was applied since goes on\"",
				 file->path);
		goto out;
	}
	if (in_force) {
		policy_file_taken(file->co, buf_text(&text), text.len);
		goto out;
	}
	policy = policy_parse(file->path, buf_text(&text), text.len, error);
	if (!policy) {
		log_error("policy", "reason=\"%s; what was there goes on\"", error);
	} else if (!policy_apply(file->co, policy, POLICY_THE_FILE, 0, &why)) {
		remedy_command(said, why.detail);
		log_error("policy", "file=%s reason=\"%s; what was there goes on\"", file->path, said);
		goto out;
	}
	if (policy)
		policy_file_taken(file->co, buf_text(&text), text.len);
out:
	buf_free(&text);
}

static void on_look(void *arg)
{
	struct policy_file *file = arg;
	struct look now;

	look_at(file->path, &now);
	if (!same(&now, &file->seen)) { /* still being written? */
		file->seen = now;
		timer_start(&file->timer, REST_MS);
		return;
	}
	/* One that waits to be confirmed goes first; its end asks again. */
	if (!same(&now, &file->taken) && !policy_waiting(file->co))
		judge(file);
	timer_start(&file->timer, LOOK_MS);
}

static void on_event(void *arg, int fd, unsigned events)
{
	char buffer[sizeof(struct inotify_event) + NAME_MAX + 1]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	struct policy_file *file = arg;

	(void)events;
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	timer_start(&file->timer, REST_MS);
}

void policy_file_again(struct policy_file *file, bool anew)
{
	if (!file)
		return;
	if (anew)
		memset(&file->taken, 0, sizeof(file->taken));
	timer_start(&file->timer, REST_MS);
}

int policy_file_check(const char *path, char *error, size_t size)
{
	struct buf text = {.limit = MAX_FILE};
	char reason[POLICY_ERROR];
	struct policy *policy = NULL;
	int result = file_read(path, MAX_FILE, &text);

	if (result < 0)
		snprintf(error, size, "the policy %s cannot be read: %s", path, file_why(result));
	else if (!(policy = policy_parse(path, buf_text(&text), text.len, reason)))
		snprintf(error, size, "%s", reason);
	buf_free(&text);
	policy_free(policy);
	return policy ? 0 : 2;
}

static void watch(struct policy_file *file)
{
	char *directory = xstrdup(file->path), *slash = strrchr(directory, '/');

	file->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (slash)
		slash[slash == directory] = '\0';
	if (file->fd >= 0 &&
	    inotify_add_watch(file->fd, slash ? directory : ".",
			      IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE) < 0) {
		close(file->fd);
		file->fd = -1;
	}
	free(directory);
	if (file->fd < 0)
		return;
	io_init(&file->io, file->co->loop, file->fd, on_event, file);
	io_start(&file->io, LOOP_READ);
}

struct policy_file *policy_file_new(struct coordinator *co, const char *path)
{
	struct policy_file *file = xcalloc(1, sizeof(*file));

	file->co = co;
	file->path = xstrdup(path);
	look_at(path, &file->seen);
	file->taken = file->seen;
	timer_init(&file->timer, co->loop, on_look, file);
	timer_start(&file->timer, LOOK_MS);
	watch(file);
	return file;
}

void policy_file_free(struct policy_file *file)
{
	if (!file)
		return;
	timer_stop(&file->timer);
	if (file->fd >= 0) {
		io_stop(&file->io);
		close(file->fd);
	}
	free(file->path);
	free(file);
}
