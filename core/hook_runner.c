/*
 * hook_runner.c - the queue. Four events at a time, each with its commands one after another.
 *
 * Order is what a hook can rely on: events of one peer (and those of the host itself) never overtake
 * each other, nothing of the mesh starts before agent-up has ended, and agent-down waits for all
 * that was before it. A -down runs only where its -up has; agent-down brings along the peer-downs
 * that are still owed. The record (hook_record.h) is written before an -up is queued and after a
 * -down has ended, so that the worst a crash can do is to run a -down twice.
 *
 * The agent has fewer rights than we have: from it come events and their fields, never a command,
 * and the fields are checked again (hook_env.h).
 */
#include "hook_runner.h"
#include "config.h"
#include "hook_commands.h"
#include "hook_env.h"
#include "hook_record.h"
#include "lib/daemon.h"
#include "lib/json.h"
#include "lib/key.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/ratelimit.h"
#include "lib/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PARALLEL     4
#define QUEUE_MAX    256  /* of events without a pair */
#define JOBS_MAX     8192 /* of all */
#ifndef HOOK_TIMEOUT_MS /* a test has less patience */
#define HOOK_TIMEOUT_MS 10000
#endif
#define OUTPUT_MAX   4096
#define OUTPUT_LINES 10
#define LOCK_RETRY   100
#define SETTLE_WAIT  120000 /* for a runner that does not let go: stopped, it will go on itself */

struct runner {
	struct loop *loop;
	const char *interface;
	const struct paths *paths;
	int fd; /* -1: the agent is gone, or there never was one */
	struct loop_io io;
	struct loop_timer lock_retry;
	struct hook_record *record; /* NULL while an earlier runner has it */
	json_t *early;              /* what the agent has said so long */
	json_t *hooks;              /* of the configuration, or NULL */
	struct list jobs;           /* oldest first; running ones too */
	unsigned job_count, running;
	bool settle; /* run all that is owed */
	pid_t before; /* by this agent; 0: it is gone */
	uint64_t settle_until;
	bool begun;  /* what an earlier runner left is in the queue */
	struct bucket noise;
};

struct job {
	struct list node;
	struct runner *runner;
	enum event_type type;
	json_t *event, *up; /* up: of a -down, its -up in the record */
	char subject[KEY_BASE64];
	struct hook_commands commands;
	size_t next;
	bool running;
};

/* ---- one job ------------------------------------------------------------------------------ */

static void job_free(struct job *job)
{
	list_del(&job->node);
	job->runner->job_count--;
	hook_commands_free(&job->commands);
	json_decref(job->event);
	json_decref(job->up);
	free(job);
}

static void job_done(struct job *job)
{
	struct runner *runner = job->runner;

	if (job->up)
		hook_record_done(runner->record, job->up);
	runner->running--;
	job_free(job);
}

static void log_output(const struct hook_command *command, struct buf *output)
{
	char *at = buf_text(output), *line;

	for (unsigned i = 0; i < OUTPUT_LINES && (line = strsep(&at, "\n")); i++)
		if (*line)
			log_info("hook-output", "hook=%s text=\"%s\"", command->label, line);
}

static void log_result(const struct job *job, const struct proc_result *result)
{
	const struct hook_command *command = &job->commands.list[job->next - 1];
	const char *event = event_name(job->type);

	if (result->error == -ETIMEDOUT)
		log_warn("hook-failed", "hook=%s event=%s reason=\"not done after %d s, killed\"",
			 command->label, event, HOOK_TIMEOUT_MS / 1000);
	else if (result->error)
		log_warn("hook-failed", "hook=%s event=%s reason=\"cannot be run: %s\"", command->label, event,
			 strerror(-result->error));
	else if (result->exit_code)
		log_warn("hook-failed", "hook=%s event=%s exit=%d", command->label, event, result->exit_code);
	else
		log_debug("hook-done", "hook=%s event=%s", command->label, event);
	log_output(command, result->output);
	log_output(command, result->errors);
}

static void pump(struct runner *runner);
static void job_next(struct job *job);

static void command_ended(void *arg, const struct proc_result *result)
{
	struct job *job = arg;
	struct runner *runner = job->runner;

	log_result(job, result);
	job_next(job);
	pump(runner);
}

/* Starts the next command; the job is gone after the last. */
static void job_next(struct job *job)
{
	while (job->next < job->commands.count) {
		const struct hook_command *command = &job->commands.list[job->next++];
		const char *const shell[] = {"/bin/sh", "-c", command->shell, NULL};
		const char *const file[] = {command->path, NULL};
		char **env = hook_env(job->event);
		struct proc_command proc = {
			.argv = command->shell ? shell : file,
			.env = (const char *const *)env,
			.timeout_ms = HOOK_TIMEOUT_MS,
			.output_limit = OUTPUT_MAX,
			.run_fd = command->shell ? 0 : command->fd,
		};
		struct proc *started = proc_start(job->runner->loop, &proc, command_ended, job);
		int error = errno;

		hook_env_free(env);
		if (started)
			return;
		log_warn("hook-failed", "hook=%s reason=\"cannot be run: %s\"", command->label, strerror(error));
	}
	job_done(job);
}

static void job_start(struct job *job)
{
	struct runner *runner = job->runner;

	job->running = true;
	runner->running++;
	hook_commands_find(&job->commands, job->type, runner->interface, runner->hooks,
			   runner->paths->hooks_dir);
	job_next(job);
}

/* ---- the queue ------------------------------------------------------------------------------ */

static bool is_barrier(const struct job *job)
{
	return job->type == EVENT_AGENT_UP || job->type == EVENT_AGENT_DOWN;
}

static bool may_start(const struct runner *runner, const struct job *job)
{
	struct job *earlier;

	list_each(earlier, &runner->jobs, node) {
		if (earlier == job)
			return !job->running;
		if (is_barrier(earlier) || is_barrier(job) || !strcmp(earlier->subject, job->subject))
			return false;
	}
	return false;
}

static struct job *startable(struct runner *runner)
{
	struct job *job;

	if (runner->running >= PARALLEL)
		return NULL;
	list_each(job, &runner->jobs, node) {
		if (!job->running && may_start(runner, job))
			return job;
		if (is_barrier(job))
			return NULL;
	}
	return NULL;
}

static void pump(struct runner *runner)
{
	struct job *job;

	while ((job = startable(runner)))
		job_start(job);
	if (runner->fd < 0 && runner->record && list_empty(&runner->jobs))
		loop_stop(runner->loop);
}

/* The oldest event that has no pair and has not begun: those must not be lost. */
static bool drop_oldest(struct runner *runner)
{
	struct job *job;

	list_each(job, &runner->jobs, node) {
		if (job->running || hook_down_of(job->type) != EVENT_COUNT ||
		    hook_up_of(job->type) != EVENT_COUNT)
			continue;
		if (bucket_take(&runner->noise, loop_now(runner->loop)))
			log_warn("hook-dropped", "event=%s reason=\"hooks are slower than events\"",
				 event_name(job->type));
		job_free(job);
		return true;
	}
	return false;
}

/* Takes event and up. */
static void enqueue(struct runner *runner, enum event_type type, json_t *event, json_t *up)
{
	const char *peer = json_string_value(json_object_get(event, "peer"));
	struct job *job = xcalloc(1, sizeof(*job));

	job->runner = runner;
	job->type = type;
	job->event = event;
	job->up = up;
	str_copy(job->subject, sizeof(job->subject), peer ? peer : "");
	list_add_tail(&runner->jobs, &job->node);
	runner->job_count++;
}

static void enqueue_down(struct runner *runner, json_t *up, enum event_type type, json_t *event)
{
	json_incref(up);
	hook_record_ending(runner->record, up);
	enqueue(runner, type, event, up);
}

/* Every -down of that kind which is owed, with what its -up knew; at the beginning also those that
 * an earlier runner had begun with. */
static void enqueue_owed(struct runner *runner, enum event_type up_type)
{
	const json_t *owed = hook_record_owed(runner->record);
	enum event_type type;
	json_t *up;
	size_t i;

	json_array_foreach(owed, i, up) {
		const char *name = json_string_value(json_object_get(up, "event"));

		if (!name || !event_parse(&type, name) || type != up_type ||
		    (hook_record_is_ending(up) && runner->begun))
			continue;
		type = hook_down_of(up_type);
		enqueue_down(runner, up, type, hook_event_checked(type, runner->interface, up));
	}
}

static void settle(struct runner *runner)
{
	enqueue_owed(runner, EVENT_PEER_UP);
	enqueue_owed(runner, EVENT_AGENT_UP);
	hook_record_renew(runner->record);
}

/* A -down that an earlier runner began and did not end, where the rest goes on. */
static void finish_begun(struct runner *runner)
{
	const json_t *owed = hook_record_owed(runner->record);
	enum event_type type;
	json_t *up;
	size_t i;

	json_array_foreach(owed, i, up) {
		const char *name = json_string_value(json_object_get(up, "event"));

		if (!hook_record_is_ending(up) || !name || !event_parse(&type, name))
			continue;
		type = hook_down_of(type);
		enqueue(runner, type, hook_event_checked(type, runner->interface, up), json_incref(up));
	}
}

/* ---- events from the agent --------------------------------------------------------------------- */

static void take_up(struct runner *runner, enum event_type type, json_t *event)
{
	const char *peer = json_string_value(json_object_get(event, "peer"));
	json_t *owed;

	if (type == EVENT_AGENT_UP && hook_record_stale(runner->record))
		settle(runner);
	owed = hook_record_find(runner->record, type, peer);
	if (owed || (type == EVENT_PEER_UP && !peer)) {
		json_decref(event); /* an agent that came back to tunnels that never went */
		return;
	}
	hook_record_up(runner->record, event);
	enqueue(runner, type, event, NULL);
}

static void take_down(struct runner *runner, enum event_type type, json_t *event)
{
	const char *peer = json_string_value(json_object_get(event, "peer"));
	json_t *up = hook_record_find(runner->record, hook_up_of(type), peer);

	if (!up) {
		json_decref(event);
		return;
	}
	if (type == EVENT_AGENT_DOWN)
		enqueue_owed(runner, EVENT_PEER_UP);
	enqueue_down(runner, up, type, event);
}

static void take_event(struct runner *runner, const json_t *said)
{
	const char *name = json_string_value(json_object_get(said, "event"));
	enum event_type type;
	json_t *event;

	if (!name || !event_parse(&type, name) || strcmp(name, event_name(type)) || type == EVENT_REFUSED)
		return;
	/* A -down is never dropped: there is one at most for each -up that was taken. */
	if (hook_up_of(type) == EVENT_COUNT &&
	    (runner->job_count >= JOBS_MAX || (runner->job_count >= QUEUE_MAX && !drop_oldest(runner) &&
					       hook_down_of(type) == EVENT_COUNT))) {
		if (bucket_take(&runner->noise, loop_now(runner->loop)))
			log_warn("hook-dropped", "event=%s reason=\"hooks are slower than events\"", name);
		return;
	}
	event = hook_event_checked(type, runner->interface, said);
	if (hook_down_of(type) != EVENT_COUNT)
		take_up(runner, type, event);
	else if (hook_up_of(type) != EVENT_COUNT)
		take_down(runner, type, event);
	else
		enqueue(runner, type, event, NULL);
}

/* What ran goes on running where the file has become wrong. */
static void read_config(struct runner *runner)
{
	char error[YAML_ERROR];
	struct config *config = config_load(runner->paths->config, error);

	if (!config) {
		log_warn("hooks-config", "reason=\"the hooks of the file are not taken: %s\"", error);
		return;
	}
	json_decref(runner->hooks);
	runner->hooks = json_deep_copy(config->hooks);
	config_free(config);
}

static void take_said(struct runner *runner, const json_t *said)
{
	const char *type = json_string_value(json_object_get(said, "type"));

	if (type && !strcmp(type, "reload"))
		read_config(runner);
	else
		take_event(runner, said);
}

static void take_message(struct runner *runner, const char *text, size_t len)
{
	char error[JS_ERROR];
	json_t *said = js_load(text, len, error);

	if (json_is_object(said) && runner->begun)
		take_said(runner, said);
	else if (json_is_object(said) && json_array_size(runner->early) < 2 * JOBS_MAX)
		json_array_append(runner->early, said);
	json_decref(said);
}

static void on_socket(void *arg, int fd, unsigned events)
{
	struct runner *runner = arg;
	char message[HOOK_MESSAGE_MAX];
	ssize_t got = recv(fd, message, sizeof(message), MSG_DONTWAIT);

	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got > 0) {
		take_message(runner, message, (size_t)got);
	} else {
		io_stop(&runner->io);
		close(fd);
		runner->fd = -1;
	}
	pump(runner);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static bool has_successor(const struct runner *runner)
{
	pid_t holder = daemon_holder(runner->paths->pid);

	return holder && holder != runner->before;
}

/* Begins once an earlier runner, which may still be working off its queue, has let go. */
static void take_record(void *arg)
{
	struct runner *runner = arg;
	json_t *said;
	size_t i;
	int error = (runner->settle ? hook_record_open_owed : hook_record_open)(
		&runner->record, runner->paths->hooks, runner->interface);

	if (error == -EWOULDBLOCK && runner->settle && has_successor(runner)) {
		loop_stop(runner->loop);
		return;
	}
	if (error == -EWOULDBLOCK &&
	    (!runner->settle || loop_now(runner->loop) < runner->settle_until)) {
		timer_start(&runner->lock_retry, LOCK_RETRY);
		return;
	}
	if (error == -ENOENT && runner->settle) { /* paid, and gone with all else that was ours */
		loop_stop(runner->loop);
		return;
	}
	if (error) {
		log_error("hook-record", "path=%s reason=\"no hooks will run: %s\"", runner->paths->hooks,
			  strerror(-error));
		loop_stop(runner->loop);
		return;
	}
	read_config(runner);
	if (runner->settle || hook_record_stale(runner->record))
		settle(runner);
	else
		finish_begun(runner);
	runner->begun = true;
	json_array_foreach(runner->early, i, said)
		take_said(runner, said);
	json_array_clear(runner->early);
	pump(runner);
}

void hook_runner(int fd, const char *interface, const struct paths *paths, pid_t before)
{
	struct runner runner = {.interface = interface, .paths = paths, .fd = fd, .settle = fd < 0,
				.before = before, .early = json_array()};
	struct job *job, *tmp;

	runner.loop = loop_new();
	list_init(&runner.jobs);
	runner.settle_until = loop_now(runner.loop) + SETTLE_WAIT;
	bucket_init(&runner.noise, 0.2, 5, loop_now(runner.loop));
	timer_init(&runner.lock_retry, runner.loop, take_record, &runner);
	if (fd >= 0) { /* read from the beginning: a full socket would lose what is said */
		io_init(&runner.io, runner.loop, fd, on_socket, &runner);
		io_start(&runner.io, LOOP_READ);
	}
	timer_start(&runner.lock_retry, 0);
	loop_run(runner.loop);
	timer_stop(&runner.lock_retry);
	if (fd >= 0)
		io_stop(&runner.io);
	if (runner.fd >= 0)
		close(runner.fd);
	list_each_safe(job, tmp, &runner.jobs, node)
		job_free(job);
	hook_record_close(runner.record);
	json_decref(runner.hooks);
	json_decref(runner.early);
	loop_free(runner.loop);
}
