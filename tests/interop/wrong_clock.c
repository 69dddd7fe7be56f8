/* LD_PRELOAD: the wall clock is off by as many seconds as the file WG_MESH_TEST_CLOCK says at this moment. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long off_by(void)
{
	const char *path = getenv("WG_MESH_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char text[24] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	if (fd >= 0)
		close(fd);
	return atol(text);
}

int clock_gettime(clockid_t which, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, which, now);

	if (!result && which == CLOCK_REALTIME)
		now->tv_sec += off_by();
	return result;
}
