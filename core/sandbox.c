/*
 * sandbox.c - Landlock (landlock(7), Linux 5.13). An agent without capabilities but NET_ADMIN and
 * NET_RAW is still user 0, and so may write whatever belongs to root. This takes that away, with a
 * unit of systemd's and without.
 *
 * The tricky thing: rights are handled or not; those the kernel does not know yet must not be asked
 * for, so the mask follows its ABI. Reading and executing are left alone: resolver, certificates,
 * plugins and what scripts call are where a distribution puts them.
 */
#include "sandbox.h"
#include "lib/file.h"
#include "lib/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRUNCATE_RIGHT (1ull << 14) /* LANDLOCK_ACCESS_FS_TRUNCATE, newer than Debian 12's header */

#define WRITE_RIGHTS                                                                               \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                            \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)
#define DEVICE_RIGHTS                                                                              \
	(LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* A directory that is not there needs no rule: nothing can be written into it. */
static int allow(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	int error = 0;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		error = -errno;
	close(rule.parent_fd);
	return error;
}

static int allow_ours(int ruleset, const struct paths *paths, uint64_t rights)
{
	char state[PATHS_MAX], *slash;
	uint64_t files = rights & ~(uint64_t)DEVICE_RIGHTS;
	const char *const directories[] = {paths->run_dir, state, "/tmp", "/var/tmp"};
	int error = 0;

	str_copy(state, sizeof(state), paths->state);
	slash = strrchr(state, '/');
	if (slash && slash != state)
		*slash = '\0';
	for (size_t i = 0; !error && i < ARRAY_SIZE(directories); i++)
		error = allow(ruleset, directories[i], files);
	if (!error) /* what is there may be written to: /dev/null */
		error = allow(ruleset, "/dev", rights & (LANDLOCK_ACCESS_FS_WRITE_FILE | TRUNCATE_RIGHT));
	return error;
}

int sandbox_enter(const struct paths *paths)
{
	struct landlock_ruleset_attr attributes = {.handled_access_fs = WRITE_RIGHTS};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	int ruleset, error;

	if (abi < 0)
		return -errno;
	if (abi >= 3)
		attributes.handled_access_fs |= TRUNCATE_RIGHT;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes.handled_access_fs), 0);
	if (ruleset < 0)
		return -errno;
	error = allow_ours(ruleset, paths, attributes.handled_access_fs);
	if (!error && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		error = -errno;
	close(ruleset);
	return error;
}
