/*
 * hook_record.c - the record is appended to and replayed; when nothing is owed it is emptied, when
 * it has grown it is written anew beside and renamed.
 *
 * The tricky thing is the renaming: a lock belongs to the file, not to its name, so whoever gets a
 * lock looks whether the name still means that file.
 */
#include "hook_record.h"
#include "lib/daemon.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_MAX (16 * 1024 * 1024)
#define COMPACT_AT (1024 * 1024)

struct hook_record {
	char *path, *interface;
	int fd;
	json_t *head;  /* what is in the file; NULL: it is empty */
	json_t *owed;  /* list of events */
	size_t size;
};

static const struct {
	enum event_type up, down;
} pairs[] = {
	{EVENT_AGENT_UP, EVENT_AGENT_DOWN},
	{EVENT_PEER_UP, EVENT_PEER_DOWN},
};

enum event_type hook_down_of(enum event_type up)
{
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (pairs[i].up == up)
			return pairs[i].down;
	return EVENT_COUNT;
}

enum event_type hook_up_of(enum event_type down)
{
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (pairs[i].down == down)
			return pairs[i].up;
	return EVENT_COUNT;
}

/* ---- reading --------------------------------------------------------------------------- */

static char *boot_id(void)
{
	struct buf text;
	char *id;

	buf_init(&text, 256);
	file_read("/proc/sys/kernel/random/boot_id", 128, &text);
	id = xstrdup(buf_text(&text));
	id[strcspn(id, "\n")] = '\0';
	buf_free(&text);
	return id;
}

static json_t *present_head(const char *interface)
{
	char *boot = boot_id();
	json_t *head = json_pack("{s:s, s:s, s:I, s:I}", "boot", boot, "interface", interface, "ifindex",
				 (json_int_t)if_nametoindex(interface), "netns", (json_int_t)netns_id());

	free(boot);
	return head;
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
	return json_equal(json_object_get(a, key), json_object_get(b, key));
}

static bool same_text(const json_t *object, const char *key, const char *text)
{
	const char *is = json_string_value(json_object_get(object, key));

	return is && !strcmp(is, text);
}

static bool type_of(const json_t *event, enum event_type *out)
{
	const char *name = json_string_value(json_object_get(event, "event"));

	return name && event_parse(out, name);
}

bool hook_record_is_ending(const json_t *up)
{
	return json_is_true(json_object_get(up, "ending"));
}

/* There can be two of a kind: one that is ending, and the next, which waits for that. */
static json_t *find(const json_t *owed, enum event_type up, const char *peer, bool ending, size_t *at)
{
	json_t *event;
	size_t i;

	json_array_foreach(owed, i, event) {
		const char *is = json_string_value(json_object_get(event, "peer"));
		enum event_type type;

		if (!type_of(event, &type) || type != up || hook_record_is_ending(event) != ending)
			continue;
		if (up == EVENT_PEER_UP && (!is || !peer || strcmp(is, peer)))
			continue;
		*at = i;
		return event;
	}
	return NULL;
}

/* One line after the first: an -up, or its -down that is about to run ("ending") or has run. */
static void replay(json_t *owed, json_t *event)
{
	const char *peer = json_string_value(json_object_get(event, "peer"));
	enum event_type type;
	json_t *up;
	size_t at;

	if (!type_of(event, &type))
		return;
	if (hook_down_of(type) != EVENT_COUNT) {
		if (hook_record_is_ending(event) || !find(owed, type, peer, false, &at))
			json_array_append(owed, event);
		return;
	}
	type = hook_up_of(type);
	if (hook_record_is_ending(event)) {
		up = find(owed, type, peer, false, &at);
		if (up)
			json_object_set_new(up, "ending", json_true());
	} else if (find(owed, type, peer, true, &at) || find(owed, type, peer, false, &at)) {
		json_array_remove(owed, at);
	}
}

/* A last line that a crash cut short is no JSON, and passed over. */
static void replay_text(const struct buf *text, json_t **head, json_t *owed)
{
	const char *at = (const char *)text->data, *end = at + text->len;
	char error[JS_ERROR];

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((newline ? newline : end) - at);
		json_t *line = js_load(at, len, error);

		if (json_is_object(line) && !*head && json_object_get(line, "boot"))
			*head = json_incref(line);
		else if (json_is_object(line) && *head)
			replay(owed, line);
		json_decref(line);
		at += len + 1;
	}
}

/* What a file of this boot says; nothing for one of another. */
static int read_record(const char *path, json_t **head, json_t **owed)
{
	char *boot = boot_id();
	struct buf text;
	int ret;

	*head = NULL;
	*owed = json_array();
	buf_init(&text, RECORD_MAX + 1);
	ret = file_read(path, RECORD_MAX, &text);
	if (ret == 0 && text.len > 0)
		replay_text(&text, head, *owed);
	if (*head && !same_text(*head, "boot", boot)) {
		json_array_clear(*owed);
		json_decref(*head);
		*head = NULL;
	}
	buf_free(&text);
	free(boot);
	return ret;
}

static bool head_stale(const json_t *head)
{
	const char *interface = json_string_value(json_object_get(head, "interface"));
	json_t *now;
	bool stale;

	if (!head)
		return false;
	now = present_head(interface ? interface : "");
	stale = !same(head, now, "ifindex") || !same(head, now, "netns");
	json_decref(now);
	return stale;
}

bool hook_record_stale(const struct hook_record *record)
{
	return head_stale(record->head);
}

size_t hook_record_count(const char *path, enum event_type up, bool with_ending, bool any_interface)
{
	json_t *head, *owed, *event;
	enum event_type type;
	size_t i, count = 0;

	read_record(path, &head, &owed);
	if (any_interface || !head_stale(head)) {
		json_array_foreach(owed, i, event) {
			if (type_of(event, &type) && (up == EVENT_COUNT || type == up) &&
			    (with_ending || !hook_record_is_ending(event)))
				count++;
		}
	}
	json_decref(head);
	json_decref(owed);
	return count;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* create: O_CREAT or 0 */
static int open_locked(const char *path, int create)
{
	struct stat by_name, by_fd;
	int fd, error;

	for (;;) {
		fd = open(path, O_RDWR | create | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			error = errno;
			close(fd);
			return -error;
		}
		if (fstat(fd, &by_fd) == 0 && stat(path, &by_name) == 0 && by_fd.st_ino == by_name.st_ino)
			return fd;
		close(fd);
	}
}

static int open_record(struct hook_record **out, const char *path, const char *interface, int create)
{
	struct hook_record *record;
	int fd = open_locked(path, create);
	struct stat st;

	if (fd < 0)
		return fd;
	record = xcalloc(1, sizeof(*record));
	record->fd = fd;
	record->path = xstrdup(path);
	record->interface = xstrdup(interface);
	read_record(path, &record->head, &record->owed);
	if (json_array_size(record->owed) == 0) {
		json_decref(record->head);
		record->head = NULL;
		if (ftruncate(fd, 0) < 0)
			log_warn("hook-record", "path=%s reason=\"%s\"", path, strerror(errno));
	}
	if (fstat(fd, &st) == 0)
		record->size = (size_t)st.st_size;
	*out = record;
	return 0;
}

int hook_record_open(struct hook_record **out, const char *path, const char *interface)
{
	return open_record(out, path, interface, O_CREAT);
}

int hook_record_open_owed(struct hook_record **out, const char *path, const char *interface)
{
	return open_record(out, path, interface, 0);
}

void hook_record_close(struct hook_record *record)
{
	if (!record)
		return;
	close(record->fd);
	json_decref(record->head);
	json_decref(record->owed);
	free(record->path);
	free(record->interface);
	free(record);
}

const json_t *hook_record_owed(const struct hook_record *record)
{
	return record->owed;
}

json_t *hook_record_find(const struct hook_record *record, enum event_type up, const char *peer)
{
	size_t at;

	return find(record->owed, up, peer, false, &at);
}

/* One write a line, so that a crash leaves at most one that is cut short. */
static bool write_line(int fd, const json_t *line, size_t *size)
{
	char *text = js_dump(line), *whole = xasprintf("%s\n", text);
	size_t len = strlen(whole);
	bool good = write(fd, whole, len) == (ssize_t)len;

	*size += good ? len : 0;
	free(whole);
	free(text);
	return good;
}

static void compact(struct hook_record *record)
{
	char *temporary = xasprintf("%s.new", record->path);
	int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
	size_t size = 0, i;
	json_t *event;

	good = good && write_line(fd, record->head, &size);
	json_array_foreach(record->owed, i, event) {
		good = good && write_line(fd, event, &size);
	}
	if (good && rename(temporary, record->path) == 0) {
		close(record->fd);
		record->fd = fd;
		record->size = size;
	} else if (fd >= 0) {
		close(fd);
		unlink(temporary);
	}
	free(temporary);
}

void hook_record_renew(struct hook_record *record)
{
	if (!record->head)
		return;
	json_decref(record->head);
	record->head = present_head(record->interface);
	compact(record);
}

static void append(struct hook_record *record, const json_t *line)
{
	bool good = true;

	if (!record->head) {
		record->head = present_head(record->interface);
		good = write_line(record->fd, record->head, &record->size);
	}
	if (!good || !write_line(record->fd, line, &record->size))
		log_warn("hook-record", "path=%s reason=\"what is owed could not be written down: %s\"",
			 record->path, strerror(errno));
	else if (record->size > COMPACT_AT + 512 * json_array_size(record->owed))
		compact(record);
}

void hook_record_up(struct hook_record *record, json_t *event)
{
	json_array_append(record->owed, event);
	append(record, event);
}

/* {"event":"peer-down","peer":..} of an -up. */
static json_t *down_line(const json_t *up)
{
	enum event_type type = EVENT_AGENT_UP;
	json_t *peer = json_object_get(up, "peer");

	type_of(up, &type);
	return json_pack("{s:s, s:O}", "event", event_name(hook_down_of(type)), "peer",
			 peer ? peer : json_null());
}

void hook_record_ending(struct hook_record *record, json_t *up)
{
	json_t *line = down_line(up);

	json_object_set_new(line, "ending", json_true());
	json_object_set_new(up, "ending", json_true());
	append(record, line);
	json_decref(line);
}

void hook_record_done(struct hook_record *record, json_t *up)
{
	json_t *line = down_line(up);
	size_t i, count = json_array_size(record->owed);

	for (i = 0; i < count && json_array_get(record->owed, i) != up; i++)
		;
	if (i < count)
		json_array_remove(record->owed, i);
	append(record, line);
	json_decref(line);
	if (json_array_size(record->owed) > 0)
		return;
	json_decref(record->head); /* the next -up is this interface's as it is then */
	record->head = NULL;
	if (ftruncate(record->fd, 0) == 0)
		record->size = 0;
}
