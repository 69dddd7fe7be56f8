/*
 * plugin_jobs.c - what a plugin has done elsewhere: programs, names to look up, and calls that its own
 * threads post to the loop.
 *
 * The tricky thing is who may be gone when an answer comes. A job hangs on its instance's list and is
 * cancelled with it; a posted call knows its instance by number only, and the host by an anchor that
 * outlives it.
 */
#include "lib/addr.h"
#include "lib/proc.h"
#include "plugin_instance.h"

#include <errno.h>
#include <string.h>

struct job { /* a program or a name */
	struct list node;
	struct plugin_instance *instance;
	struct proc *proc;
	struct lookup *lookup;
	wgm_result_fn *on_result;
	wgm_resolved_fn *on_resolved;
	void *arg;
};

struct posting {
	struct plugin_anchor *anchor;
	uint64_t id;
	wgm_timer_fn *fn;
	void *arg;
};

static struct plugin_instance *instance_of(struct wgm_host *api)
{
	return container_of(api, struct plugin_instance, api);
}

static struct job *job_new(struct wgm_host *api, void *arg)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->instance = instance_of(api);
	job->arg = arg;
	list_add_tail(&job->instance->jobs, &job->node);
	return job;
}

static struct job job_take(void *arg)
{
	struct job job = *(struct job *)arg;

	list_del(&((struct job *)arg)->node);
	free(arg);
	return job;
}

static void on_exit_of(void *arg, const struct proc_result *result)
{
	struct job job = job_take(arg);
	const struct wgm_result answer = {
		.error = result->error,
		.status = result->exit_code,
		.output = buf_text(result->output),
		.output_len = result->output->len,
	};
	struct plugin_call call;

	plugin_call_begin(&call, job.instance->label);
	job.on_result(job.arg, &answer);
	plugin_call_end(&call);
}

int plugin_spawn(struct wgm_host *api, const struct wgm_command *command, wgm_result_fn *fn, void *arg)
{
	static const char *const clean[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", NULL};
	const struct proc_command ours = {
		.argv = command->argv,
		.env = command->env ? command->env : clean,
		.input = command->input,
		.input_len = command->input_len,
		.timeout_ms = command->timeout_ms,
	};
	struct job *job = job_new(api, arg);

	job->on_result = fn;
	job->proc = proc_start(instance_of(api)->host->services.loop, &ours, on_exit_of, job);
	if (job->proc)
		return 0;
	job_take(job);
	return -(errno ? errno : EIO);
}

static void on_lookup(void *arg, const struct endpoint *found, size_t count)
{
	struct job job = job_take(arg);
	union wgm_addr addrs[RESOLVE_MAX];
	struct sockaddr_storage storage;
	struct plugin_call call;

	memset(addrs, 0, sizeof(addrs));
	for (size_t i = 0; i < count; i++) {
		endpoint_to_sockaddr(&found[i], &storage);
		memcpy(&addrs[i], &storage, sizeof(addrs[i]));
	}
	plugin_call_begin(&call, job.instance->label);
	job.on_resolved(job.arg, addrs, count);
	plugin_call_end(&call);
}

int plugin_resolve(struct wgm_host *api, const char *name, uint16_t port, wgm_resolved_fn *fn, void *arg)
{
	struct job *job = job_new(api, arg);

	job->on_resolved = fn;
	job->lookup = resolver_start(instance_of(api)->host->resolver, name, port, on_lookup, job);
	if (job->lookup)
		return 0;
	job_take(job);
	return -EAGAIN;
}

static void anchor_drop(struct plugin_anchor *anchor)
{
	if (!__atomic_sub_fetch(&anchor->refs, 1, __ATOMIC_ACQ_REL))
		free(anchor);
}

static void on_post(void *arg)
{
	struct posting posting = *(struct posting *)arg;
	struct plugin_host *host = posting.anchor->host;
	struct plugin_instance *instance = host ? plugin_host_find(host, posting.id) : NULL;
	struct plugin_call call;

	free(arg);
	anchor_drop(posting.anchor);
	if (!instance || instance->state != PLUGIN_RUNNING)
		return;
	plugin_call_begin(&call, instance->label);
	posting.fn(posting.arg);
	plugin_call_end(&call);
}

void plugin_post(struct wgm_host *api, wgm_timer_fn *fn, void *arg)
{
	struct plugin_instance *instance = instance_of(api);
	struct posting *posting = xmalloc(sizeof(*posting));

	*posting = (struct posting){instance->host->anchor, instance->id, fn, arg};
	__atomic_add_fetch(&posting->anchor->refs, 1, __ATOMIC_ACQ_REL);
	loop_post(instance->host->services.loop, on_post, posting);
}

void plugin_end_jobs(struct plugin_instance *instance)
{
	struct job *job, *next;

	list_each_safe(job, next, &instance->jobs, node) {
		if (job->proc)
			proc_kill(job->proc);
		if (job->lookup)
			resolver_cancel(job->lookup);
		job_take(job);
	}
}
