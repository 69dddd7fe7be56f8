/*
 * policy_follow.c - policies that another coordinator has applied, here too. One that waits to be confirmed
 * is a row of the table meta: each holds it, each can confirm it, and each takes it back by itself when
 * the time has come.
 */
#include "policy_file.h"
#include "policy_state_private.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define WAITING  "policy_waiting"
#define LATER_MS 1000 /* who applied it takes it back first */

void policy_write_waiting(struct policy_state *state, uint64_t until)
{
	const struct version *now = &state->now;
	json_t *json;
	char *text;

	if (!state->co->cluster)
		return;
	json = json_pack("{sIsIssss}", "version", (json_int_t)now->number, "until", (json_int_t)until, "by", now->by,
			 "text", now->policy->text);
	text = js_dump(json);
	store_write(state->co->store, STORE_META_NEW,
		    (struct store_value[]){store_text(WAITING), store_blob(text, strlen(text))});
	free(text);
	json_decref(json);
}

void policy_write_verdict(struct policy_state *state)
{
	if (state->co->cluster)
		store_write(state->co->store, STORE_META_END, (struct store_value[]){store_text(WAITING)});
}

void policy_write_none_waits(struct policy_state *state)
{
	if (state->co->cluster)
		store_write(state->co->store, STORE_META_DEL, (struct store_value[]){store_text(WAITING)});
}

/* NULL, with a log line: it is not understood here. */
static struct policy *understand(const struct policy_state *state, uint64_t number, const char *text)
{
	char reason[POLICY_ERROR], name[40];
	struct policy *policy;

	snprintf(name, sizeof(name), "policy %llu", (unsigned long long)number);
	policy = policy_parse(name, text, strlen(text), reason);
	if (!policy)
		log_error("policy", "reason=\"%s; policy %llu goes on\"", reason,
			  (unsigned long long)state->now.number);
	return policy;
}

static void follow(struct policy_state *state, struct policy *policy, uint64_t number, const char *by)
{
	state->now = (struct version){.policy = policy, .index = policy_index_new(policy), .number = number,
				      .applied_at = clock_wall_ms()};
	str_copy(state->now.by, sizeof(state->now.by), by);
	store_begin(state->co->store); /* what it says of routes */
	sync_policy(state->co, state->now.index);
	log_info("policy-followed", "version=%llu by=\"%s\"", (unsigned long long)number, by);
}

/* It is stored, so it ends one that waits here; perhaps it is that one. */
void policy_row(struct coordinator *co, const struct store_value *row)
{
	struct policy_state *state = co->policy;
	uint64_t number = (uint64_t)row[0].number;
	const char *text = store_string(&row[1]);
	struct version old = state->now;
	bool same = number == old.number && !strcmp(text, old.policy->text);
	struct policy *policy;

	state->last_number = MAX(state->last_number, number);
	if (!same && state->kept.policy && number == state->kept.number)
		return; /* what was before, and is until the verdict */
	policy = same ? NULL : understand(state, number, text);
	if (!same && !policy)
		return;
	if (state->kept.policy)
		policy_file_again(state->file, false);
	timer_stop(&state->confirm);
	policy_version_fini(&state->kept);
	if (same)
		return;
	follow(state, policy, number, store_string(&row[3]));
	state->now.applied_at = (uint64_t)row[2].number;
	policy_version_fini(&old);
}

static void await_verdict(struct policy_state *state, struct policy *policy, struct js *js)
{
	uint64_t until = (uint64_t)js_int(js, "until", 0, INT64_MAX, 0), now = clock_wall_ms();
	uint64_t number = (uint64_t)js_int(js, "version", 1, INT64_MAX, 1);

	state->kept = state->now;
	state->last_number = MAX(state->last_number, number);
	follow(state, policy, number, js_string(js, "by", ""));
	state->confirm_by = loop_now(state->co->loop) + (until > now ? until - now : 0) + LATER_MS;
	timer_start(&state->confirm, state->confirm_by - loop_now(state->co->loop));
}

bool policy_waiting_row(struct coordinator *co, const struct store_value *row)
{
	struct policy_state *state = co->policy;
	struct policy *policy = NULL;
	char error[JS_ERROR];
	uint64_t number;
	const char *text;
	json_t *json;
	struct js js;

	if (strcmp(store_string(&row[0]), WAITING))
		return false;
	json = js_load(row[1].data, row[1].len, error);
	js_read(&js, json);
	text = js_string(&js, "text", "");
	number = (uint64_t)js_int(&js, "version", 1, INT64_MAX, 1);
	if (state->kept.policy && (number != state->now.number || strcmp(text, state->now.policy->text) != 0))
		policy_restore_kept(state); /* another's was first, or is there since */
	if (!state->kept.policy && *text && number > state->now.number) /* else another has been applied since */
		policy = understand(state, number, text);
	if (policy)
		await_verdict(state, policy, &js);
	json_decref(json);
	return true;
}

void policy_none_waits(struct coordinator *co)
{
	if (co->policy->kept.policy) {
		log_info("policy-taken-back", "version=%llu", (unsigned long long)co->policy->now.number);
		policy_restore_kept(co->policy);
	}
}
