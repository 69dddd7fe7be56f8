/*
 * hook_commands.c - finds what to run, and trusts only what root (or we) wrote and nobody else can
 * write. A file is checked, and later run, by the same descriptor: what its name means by then is
 * no matter.
 */
#include "hook_commands.h"
#include "lib/buf.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_COMMANDS 64
#define MAX_COMMAND  (64 * 1024)

static struct hook_command *add(struct hook_commands *out)
{
	out->list = xrealloc(out->list, (out->count + 1) * sizeof(*out->list));
	out->list[out->count] = (struct hook_command){.fd = -1};
	return &out->list[out->count++];
}

/* As in wg-quick: every %i is the interface's name, nothing else is put in. */
static char *substitute(const char *command, const char *interface)
{
	struct buf out;
	char *text;

	buf_init(&out, 16 * MAX_COMMAND);
	for (const char *at = command; *at;) {
		size_t plain = strcspn(at, "%");

		buf_add(&out, at, plain);
		at += plain;
		if (at[0] == '%' && at[1] == 'i') {
			buf_puts(&out, interface);
			at += 2;
		} else if (at[0] == '%') {
			buf_puts(&out, "%");
			at++;
		}
	}
	text = xstrdup(buf_text(&out));
	buf_free(&out);
	return text;
}

static void find_yaml(struct hook_commands *out, enum event_type type, const char *interface, const json_t *hooks)
{
	json_t *list, *command;
	enum event_type is;
	const char *word;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)hooks, word, list) {
		if (!event_parse(&is, word) || is != type)
			continue;
		json_array_foreach(list, i, command) {
			struct hook_command *found;

			if (!json_is_string(command) || json_string_length(command) > MAX_COMMAND ||
			    out->count >= MAX_COMMANDS)
				continue;
			found = add(out);
			found->label = xasprintf("%s[%zu]", word, i);
			found->shell = substitute(json_string_value(command), interface);
		}
	}
}

/* Left alone: hidden files, and what editors and package managers leave behind. */
static int wanted(const struct dirent *entry)
{
	static const char *const endings[] = {"~", ".bak", ".orig", ".rej", ".swp", ".dpkg-old", ".dpkg-new",
					      ".dpkg-dist", ".dpkg-tmp", ".rpmsave", ".rpmnew", ".rpmorig"};
	size_t len = strlen(entry->d_name);

	if (entry->d_name[0] == '.')
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t end = strlen(endings[i]);

		if (len >= end && !strcmp(entry->d_name + len - end, endings[i]))
			return 0;
	}
	return 1;
}

static bool directory_trusted(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()) &&
	    !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return true;
	log_warn("hook-refused", "path=%s reason=\"others may write to the directory (chown root, chmod go-w)\"",
		 path);
	return false;
}

static void take_file(struct hook_commands *out, int dir, const char *path, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct hook_command *found;
	const char *why = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		why = strerror(errno);
	else if (S_ISDIR(st.st_mode))
		goto out;
	else if (!(st.st_mode & S_IXUSR))
		why = "it is not executable (chmod +x)";
	else
		file_check_trusted(fd, &why);
	if (why) {
		log_warn("hook-refused", "path=%s/%s reason=\"%s\"", path, name, why);
		goto out;
	}
	found = add(out);
	found->path = xasprintf("%s/%s", path, name);
	found->label = xstrdup(found->path);
	found->fd = fd;
	return;
out:
	if (fd >= 0)
		close(fd);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void find_files(struct hook_commands *out, enum event_type type, const char *hooks_dir)
{
	char *path = xasprintf("%s/%s", hooks_dir, event_name(type));
	int outer = open(hooks_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int dir = outer < 0 ? -1 : openat(outer, event_name(type), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **names = NULL;
	int count = 0;

	if (dir < 0 || !directory_trusted(outer, hooks_dir) || !directory_trusted(dir, path))
		goto out;
	count = scandirat(dir, ".", &names, wanted, by_name);
	for (int i = 0; i < count; i++) {
		if (out->count < MAX_COMMANDS)
			take_file(out, dir, path, names[i]->d_name);
		free(names[i]);
	}
	free(names);
out:
	if (dir >= 0)
		close(dir);
	if (outer >= 0)
		close(outer);
	free(path);
}

void hook_commands_find(struct hook_commands *out, enum event_type type, const char *interface,
			const json_t *hooks, const char *hooks_dir)
{
	*out = (struct hook_commands){0};
	find_yaml(out, type, interface, hooks);
	find_files(out, type, hooks_dir);
}

void hook_commands_free(struct hook_commands *commands)
{
	for (size_t i = 0; i < commands->count; i++) {
		struct hook_command *command = &commands->list[i];

		if (command->fd >= 0)
			close(command->fd);
		free(command->label);
		free(command->shell);
		free(command->path);
	}
	free(commands->list);
	*commands = (struct hook_commands){0};
}
