/*
 * conf.c - wg-quick's own way of reading (linux.bash, parse_options): '#' begins a comment
 * anywhere, keys know no case, blanks around key and value do not count, "\r" is a blank. The text
 * is never written from a model of it: lines of ours are put in or left out.
 */
#include "conf.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static void trim(const char **text, size_t *len)
{
	while (*len && isspace((unsigned char)**text)) {
		(*text)++;
		(*len)--;
	}
	while (*len && isspace((unsigned char)(*text)[*len - 1]))
		(*len)--;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

static void read_line(struct conf_walk *walk, struct conf_line *line)
{
	const char *text = line->start, *comment = memchr(text, '#', line->len), *equals;
	size_t len = comment ? (size_t)(comment - text) : line->len, key_len;

	trim(&text, &len);
	if (len && text[0] == '[') {
		line->heading = true;
		walk->section = is_word(text, len, "[Interface]") ? CONF_INTERFACE
				: is_word(text, len, "[Peer]")    ? CONF_PEER
								  : CONF_OTHER;
	}
	line->section = walk->section;
	equals = len ? memchr(text, '=', len) : NULL;
	if (line->heading || !equals)
		return;
	line->value = equals + 1;
	line->value_len = len - (size_t)(equals + 1 - text);
	trim(&line->value, &line->value_len);
	key_len = (size_t)(equals - text);
	trim(&text, &key_len);
	if (key_len < sizeof(line->key))
		memcpy(line->key, text, key_len);
}

bool conf_next(struct conf_walk *walk, struct conf_line *line)
{
	const char *end;

	*line = (struct conf_line){0};
	if (walk->at >= walk->len)
		return false;
	line->start = walk->text + walk->at;
	end = memchr(line->start, '\n', walk->len - walk->at);
	line->len = end ? (size_t)(end - line->start) + 1 : walk->len - walk->at;
	line->number = ++walk->number;
	walk->at += line->len;
	read_line(walk, line);
	return true;
}

static bool is_setting(const struct conf_line *line, const char *key)
{
	return line->section == CONF_INTERFACE && strcasecmp(line->key, key) == 0;
}

char *conf_value(const char *text, size_t len, const char *key)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_line line;
	char *value = NULL;

	while (conf_next(&walk, &line)) {
		if (!is_setting(&line, key))
			continue;
		free(value);
		value = xmalloc(line.value_len + 1);
		memcpy(value, line.value, line.value_len);
		value[line.value_len] = '\0';
	}
	return value;
}

bool conf_next_prefix(const struct conf_line *line, size_t *at, struct prefix *out)
{
	char word[PREFIX_TEXT + 1];

	while (*at < line->value_len) {
		const char *start = line->value + *at;
		size_t len = 0;

		while (*at + len < line->value_len && !strchr(", \t", start[len]))
			len++;
		*at += len + 1;
		if (!len || len >= sizeof(word))
			continue;
		memcpy(word, start, len);
		word[len] = '\0';
		if (prefix_parse(out, word))
			return true;
	}
	return false;
}

unsigned conf_address_line(const char *text, size_t len, const struct addr *address)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_line line;
	struct prefix prefix;

	while (conf_next(&walk, &line)) {
		if (line.section != CONF_INTERFACE || strcasecmp(line.key, "Address") != 0)
			continue;
		for (size_t at = 0; conf_next_prefix(&line, &at, &prefix);)
			if (addr_equal(&prefix.addr, address))
				return line.number;
	}
	return 0;
}

bool conf_saves(const char *text, size_t len)
{
	char *value = conf_value(text, len, "SaveConfig");
	bool saves = value && strcmp(value, "true") == 0;

	free(value);
	return saves;
}

static void add_option(char *line, size_t size, const char *name, const char *value)
{
	size_t len = strlen(line);

	if (value)
		snprintf(line + len, size - len, " --%s %s", name, value);
}

static void hook_line(char *line, size_t size, const char *start, const char *const values[4])
{
	static const char *const names[] = {"config", "state", "run-dir", "plugin-dir"};

	str_copy(line, size, start);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		add_option(line, size, names[i], values[i]);
	snprintf(line + strlen(line), size - strlen(line), " || true");
}

void conf_hooks_init(struct conf_hooks *hooks, const char *config, const char *state,
		     const char *run_dir, const char *plugin_dir)
{
	const char *const values[] = {config, state, run_dir, plugin_dir};

	hook_line(hooks->up, sizeof(hooks->up), "PostUp = wg-mesh up %i", values);
	hook_line(hooks->down, sizeof(hooks->down), "PreDown = wg-mesh down %i", values);
}

/* A setting whose whole command is ours: "[path/]wg-mesh up ...", nothing chained to it but the
 * "|| true" of the hook. */
static bool is_hook(const struct conf_line *line, const char *key, const char *verb)
{
	char command[512], *name, *rest;

	if (!is_setting(line, key) || line->value_len >= sizeof(command))
		return false;
	memcpy(command, line->value, line->value_len);
	command[line->value_len] = '\0';
	rest = strpbrk(command, " \t");
	if (!rest || strpbrk(command, ";&`$<>"))
		return false;
	*rest++ = '\0';
	name = strrchr(command, '/');
	if (strcmp(name ? name + 1 : command, "wg-mesh") != 0)
		return false;
	rest += strspn(rest, " \t");
	return strncmp(rest, verb, strlen(verb)) == 0 && isspace((unsigned char)rest[strlen(verb)]);
}

static bool has_hook(const char *text, size_t len, const char *key, const char *verb)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_line line;

	while (conf_next(&walk, &line))
		if (is_hook(&line, key, verb))
			return true;
	return false;
}

bool conf_has_up(const char *text, size_t len)
{
	return has_hook(text, len, "PostUp", "up");
}

bool conf_has_down(const char *text, size_t len)
{
	return has_hook(text, len, "PreDown", "down");
}

/* Where the first [Interface] ends: after its last line that says something. 0: no such section. */
static size_t insert_at(const char *text, size_t len, const char **line_end)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_line line;
	size_t at = 0;

	*line_end = "\n";
	while (conf_next(&walk, &line)) {
		if (at && line.heading)
			break;
		if (line.section != CONF_INTERFACE || (!line.heading && !line.key[0]))
			continue;
		at = walk.at;
		if (line.len >= 2 && line.start[line.len - 2] == '\r')
			*line_end = "\r\n";
	}
	return at;
}

bool conf_add_hooks(struct buf *out, const char *text, size_t len, const struct conf_hooks *hooks)
{
	const char *line_end;
	size_t at = insert_at(text, len, &line_end);

	buf_add(out, text, at);
	if (at && text[at - 1] != '\n')
		buf_puts(out, line_end);
	if (at && !conf_has_up(text, len))
		buf_addf(out, "%s%s", hooks->up, line_end);
	if (at && !conf_has_down(text, len))
		buf_addf(out, "%s%s", hooks->down, line_end);
	buf_add(out, text + at, len - at);
	return at > 0;
}

bool conf_remove_hooks(struct buf *out, const char *text, size_t len)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_line line;
	bool found = false;

	while (conf_next(&walk, &line)) {
		if (is_hook(&line, "PostUp", "up") || is_hook(&line, "PreDown", "down"))
			found = true;
		else
			buf_add(out, line.start, line.len);
	}
	return found;
}

bool conf_set_private_key(struct buf *out, const char *text, size_t len, const struct key *key)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_line line, last = {0};
	char base64[KEY_BASE64];
	size_t before;

	while (conf_next(&walk, &line)) {
		if (is_setting(&line, "PrivateKey"))
			last = line;
	}
	buf_reserve(out, len + KEY_BASE64); /* so that growing leaves no copy behind */
	if (!last.start) {
		buf_add(out, text, len);
		return false;
	}
	key_format(base64, key);
	before = (size_t)(last.value - text);
	buf_add(out, text, before);
	buf_add(out, base64, strlen(base64));
	before += last.value_len;
	buf_add(out, text + before, len - before);
	secret_wipe(base64, sizeof(base64));
	return true;
}

void conf_hash(char out[static CONF_HASH], const void *text, size_t len)
{
	uint8_t hash[32];

	sha256(hash, text, len);
	hex_encode(out, CONF_HASH, hash, sizeof(hash));
}

size_t conf_peers(const char *text, size_t len, struct conf_peer **out)
{
	struct conf_walk walk = {.text = text, .len = len};
	struct conf_peer *peers = NULL, *peer = NULL;
	struct conf_line line;
	size_t count = 0;
	char base64[KEY_BASE64];

	while (conf_next(&walk, &line)) {
		if (line.heading && line.section == CONF_PEER) {
			peers = xrealloc(peers, (count + 1) * sizeof(*peers));
			peer = &peers[count++];
			*peer = (struct conf_peer){.first_line = line.number,
						   .last_line = line.number};
		} else if (line.heading) {
			peer = NULL;
		} else if (peer && line.key[0]) {
			peer->last_line = line.number;
			if (strcasecmp(line.key, "PublicKey") != 0 ||
			    line.value_len >= sizeof(base64))
				continue;
			memcpy(base64, line.value, line.value_len);
			base64[line.value_len] = '\0';
			if (!key_parse(&peer->public_key, base64))
				key_wipe(&peer->public_key);
		}
	}
	*out = peers;
	return count;
}

static int write_all(int fd, const void *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			data = (const char *)data + n;
			len -= (size_t)n;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int conf_create(const char *path, const void *data, size_t len)
{
	char directory[PATH_MAX], *slash;
	int fd, error;

	str_copy(directory, sizeof(directory), path);
	slash = strrchr(directory, '/');
	if (slash && slash != directory) {
		*slash = '\0';
		if (mkdir(directory, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	error = fchmod(fd, 0600) < 0 ? -errno : write_all(fd, data, len);
	close(fd);
	if (error)
		unlink(path);
	return error;
}

int conf_replace(const char *path, const void *data, size_t len)
{
	char real[PATH_MAX], temporary[PATH_MAX + 16];
	struct stat st;
	int fd, error = 0;

	if (!realpath(path, real) || stat(real, &st) < 0)
		return -errno;
	snprintf(temporary, sizeof(temporary), "%s.XXXXXX", real);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode & 07777) < 0)
		error = -errno;
	if (!error)
		error = write_all(fd, data, len);
	close(fd);
	if (!error && rename(temporary, real) < 0)
		error = -errno;
	if (error)
		unlink(temporary);
	return error;
}
