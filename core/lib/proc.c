/*
 * Run a program. The child gets a group of its own, fresh signals, and no descriptor but 0 to 2
 * (and the open program itself when that is what runs: a script's interpreter opens it again).
 *
 * A failed exec is told through a close-on-exec pipe that is read once the child has ended, so the
 * loop never waits for it. The result is there when the child ends; what its own background
 * children may still write to its output is not waited for.
 */
#include "proc.h"

#include "daemon.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS   10000
#define DEFAULT_OUTPUT_LIMIT ((size_t)64 * 1024)
#define KILL_WAIT_MS         100

extern char **environ;

enum { IN, OUT, ERR, EXEC, PIPES };

struct output {
	struct proc *proc;
	struct loop_io io;
	struct buf buf;
};

struct proc {
	struct loop_child child;
	struct loop_timer limit;
	struct loop_io input_io;
	struct buf input;
	struct output out, err;
	int fds[PIPES]; /* our ends; -1: closed */
	bool timed_out;
	proc_fn *fn;
	void *arg;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void proc_free(struct proc *proc)
{
	child_stop(&proc->child);
	timer_stop(&proc->limit);
	io_stop(&proc->input_io);
	io_stop(&proc->out.io);
	io_stop(&proc->err.io);
	for (unsigned i = 0; i < PIPES; i++)
		close_fd(&proc->fds[i]);
	buf_wipe(&proc->input);
	buf_wipe(&proc->out.buf);
	buf_wipe(&proc->err.buf);
	free(proc);
}

/* ---- the child; only async-signal-safe calls, the parent may have threads ---- */

static void child_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Puts the ends at 0, 1, 2 and 3 and the program at 4; first out of the way of those numbers. */
static int child_descriptors(const int ends[PIPES], int run_fd)
{
	int high[PIPES + 1];

	for (int i = 0; i < PIPES; i++) {
		high[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 10);
		if (high[i] < 0)
			return -1;
	}
	high[PIPES] = run_fd > 0 ? fcntl(run_fd, F_DUPFD_CLOEXEC, 10) : -1;
	for (int i = 0; i < PIPES; i++)
		dup3(high[i], i, i == EXEC ? O_CLOEXEC : 0);
	if (run_fd > 0 && dup2(high[PIPES], PIPES) < 0)
		return -1;
	daemon_close_fds(run_fd > 0 ? PIPES + 1 : PIPES);
	return 0;
}

static _Noreturn void child_main(const struct proc_command *command, const int ends[PIPES])
{
	char **argv = (char **)(uintptr_t)command->argv;
	char **env = command->env ? (char **)(uintptr_t)command->env : environ;
	int report = ends[EXEC], error;

	setpgid(0, 0);
	child_signals();
	if (child_descriptors(ends, command->run_fd) == 0) {
		report = EXEC;
		if (command->run_fd > 0)
			fexecve(PIPES, argv, env);
		else
			execve(argv[0], argv, env);
	}
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

/* No signal may reach a handler of ours in the child before it has its own. */
static pid_t fork_quietly(const struct proc_command *command, const int ends[PIPES])
{
	sigset_t all, old;
	pid_t pid;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		child_main(command, ends);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid > 0)
		setpgid(pid, pid); /* whoever is first; killing the group works from here on */
	errno = error;
	return pid;
}

/* ---- the parent ---- */

static void on_input(void *arg, int fd, unsigned events)
{
	struct proc *proc = arg;
	ssize_t put = write(fd, proc->input.data, proc->input.len);

	(void)events;
	if (put < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (put > 0)
		buf_consume(&proc->input, (size_t)put);
	if (put < 0 || !proc->input.len) {
		io_stop(&proc->input_io);
		close_fd(&proc->fds[IN]);
	}
}

/* What passes the limit is read all the same, so that the child is not blocked by it.
 * false: nothing more for now, or ever. */
static bool read_output(struct output *output, int fd)
{
	uint8_t chunk[4096];
	ssize_t got = read(fd, chunk, sizeof(chunk));
	size_t room = output->buf.limit - output->buf.len;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		io_stop(&output->io);
		return false;
	}
	buf_add(&output->buf, chunk, MIN((size_t)got, room));
	return true;
}

static void on_output(void *arg, int fd, unsigned events)
{
	(void)events;
	read_output(arg, fd);
}

/* At most what a pipe holds: a child left behind may write for ever. */
static void drain(struct output *output, int fd)
{
	for (unsigned i = 0; i < 64 && read_output(output, fd); i++)
		;
}

static void on_exit_status(void *arg, int status)
{
	struct proc *proc = arg;
	struct proc_result result = {.output = &proc->out.buf, .errors = &proc->err.buf};
	int exec_error;

	drain(&proc->out, proc->fds[OUT]);
	drain(&proc->err, proc->fds[ERR]);
	result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (read(proc->fds[EXEC], &exec_error, sizeof(exec_error)) == sizeof(exec_error))
		result.error = -exec_error;
	else if (proc->timed_out)
		result.error = -ETIMEDOUT;
	proc->fn(proc->arg, &result);
	proc_free(proc);
}

static void on_limit(void *arg)
{
	struct proc *proc = arg;

	proc->timed_out = true;
	kill(-proc->child.pid, SIGKILL);
}

static int make_pipes(int ours[PIPES], int theirs[PIPES], bool with_input)
{
	for (int i = 0; i < PIPES; i++) {
		int ends[2];

		if (i == IN && !with_input) {
			theirs[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
			if (theirs[i] < 0)
				return -errno;
			continue;
		}
		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		ours[i] = ends[i == IN];
		theirs[i] = ends[i != IN];
		fcntl(ours[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static void watch(struct proc *proc, struct loop *loop, const struct proc_command *command)
{
	size_t limit = command->output_limit ? command->output_limit : DEFAULT_OUTPUT_LIMIT;

	buf_init(&proc->out.buf, limit);
	buf_init(&proc->err.buf, limit);
	io_init(&proc->out.io, loop, proc->fds[OUT], on_output, &proc->out);
	io_init(&proc->err.io, loop, proc->fds[ERR], on_output, &proc->err);
	io_start(&proc->out.io, LOOP_READ);
	io_start(&proc->err.io, LOOP_READ);
	timer_init(&proc->limit, loop, on_limit, proc);
	timer_start(&proc->limit, command->timeout_ms ? command->timeout_ms : DEFAULT_TIMEOUT_MS);
	if (proc->fds[IN] < 0)
		return;
	buf_init(&proc->input, command->input_len);
	buf_add(&proc->input, command->input, command->input_len);
	io_init(&proc->input_io, loop, proc->fds[IN], on_input, proc);
	io_start(&proc->input_io, LOOP_WRITE);
}

struct proc *proc_start(struct loop *loop, const struct proc_command *command, proc_fn *fn,
			void *arg)
{
	struct proc *proc = xcalloc(1, sizeof(*proc));
	int theirs[PIPES] = {-1, -1, -1, -1};
	pid_t pid = -1;
	int error;

	memcpy(proc->fds, theirs, sizeof(theirs));
	proc->fn = fn;
	proc->arg = arg;
	error = make_pipes(proc->fds, theirs, command->input && command->input_len);
	if (!error) {
		pid = fork_quietly(command, theirs);
		error = pid < 0 ? -errno
				: child_start(&proc->child, loop, pid, on_exit_status, proc);
	}
	for (unsigned i = 0; i < PIPES; i++)
		close_fd(&theirs[i]);
	if (!error) {
		watch(proc, loop, command);
		return proc;
	}
	if (pid > 0) {
		kill(-pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	proc_free(proc);
	errno = -error;
	return NULL;
}

/* A killed child ends within a moment; one that the kernel holds is left to init's reaping. */
void proc_kill(struct proc *proc)
{
	struct pollfd ended = {.fd = proc->child.io.ev.fd, .events = POLLIN};

	if (!proc->child.pid)
		return; /* called by its own fn: it is on its way out */
	kill(-proc->child.pid, SIGKILL);
	poll(&ended, 1, KILL_WAIT_MS);
	waitpid(proc->child.pid, NULL, WNOHANG);
	proc_free(proc);
}
