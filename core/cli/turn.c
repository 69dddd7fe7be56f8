/*
 * turn.c - a lock and a deadline. The lock's file is the interface's own: what another interface's
 * command waits for is no concern of this one.
 */
#include "turn.h"
#include "lib/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WHOLE_MS 180 /* of the 200; the rest is for starting and ending this program */
#define TURN_MS  80
#define NAP_MS   2
#define LEAST_MS 10

#define FLAGS (O_RDWR | O_CLOEXEC | O_NOFOLLOW)

/* An `up` that makes the file has its time be 0, which to an agent that looked before means the same as
 * no file: no `down` was asked for. It has no name before. Where the file system cannot do that, it is
 * made as it comes. */
static int make_turn(const struct cli *cli)
{
	static const struct timespec never[2] = {{0}, {0}};
	int fd = open(cli->paths.run_dir, O_RDWR | O_CLOEXEC | O_TMPFILE, 0600);

	if (fd >= 0) {
		if (futimens(fd, never) == 0 &&
		    linkat(fd, "", AT_FDCWD, cli->paths.turn, AT_EMPTY_PATH) == 0)
			return fd;
		close(fd);
	}
	return open(cli->paths.turn, FLAGS | O_CREAT, 0600);
}

/* Where nothing of ours is, nothing is made. */
static int open_turn(const struct cli *cli, bool down)
{
	bool ours = access(cli->paths.config, F_OK) == 0 || access(cli->paths.socket, F_OK) == 0 ||
		    access(cli->paths.pid, F_OK) == 0;
	int fd = open(cli->paths.turn, FLAGS);

	if (fd >= 0 || errno != ENOENT || !ours)
		return fd;
	return down ? open(cli->paths.turn, FLAGS | O_CREAT, 0600) : make_turn(cli);
}

void turn_take(struct turn *turn, const struct cli *cli, bool down)
{
	struct timespec now[2];
	uint64_t limit;

	turn->end = clock_ms() + WHOLE_MS;
	limit = clock_ms() + TURN_MS;
	turn->fd = open_turn(cli, down);
	clock_gettime(CLOCK_REALTIME, &now[0]); /* finer than what the kernel would put there */
	now[1] = now[0];
	if (turn->fd >= 0 && down)
		futimens(turn->fd, now);
	while (turn->fd >= 0 && flock(turn->fd, LOCK_EX | LOCK_NB) < 0 && clock_ms() < limit)
		poll(NULL, 0, NAP_MS);
}

void turn_end(struct turn *turn)
{
	if (turn->fd >= 0)
		close(turn->fd);
	turn->fd = -1;
}

bool turn_over(const struct turn *turn)
{
	return clock_ms() >= turn->end;
}

int turn_left(const struct turn *turn, int wanted_ms)
{
	uint64_t now = clock_ms();
	int left = now < turn->end ? (int)(turn->end - now) : 0;

	return MIN(wanted_ms, MAX(left, LEAST_MS));
}
