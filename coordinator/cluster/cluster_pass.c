/*
 * cluster_pass.c - what passes from one coordinator to another on the bus:
 *
 *   "signal": {"to", "from", "network", "box"}   to where the agent's stream is
 *   "spend": {"id", "challenge", "key", "known", "of": [ID, ..]}
 *                                                to who gave the challenge: may it serve, now and never again?
 *                                                `known`, `of`: on whose account (struct challenge_taker)
 *   "spent": {"id", "verdict"}                   the answer
 *   "login": {"user", "from", "right"}           to all: a password is tried, or was right
 *
 * The giver alone says of a challenge whether it serves, from the table of those that did: so it serves
 * once wherever it is used. A question or an answer that is lost costs the agent another challenge.
 */
#include "cluster_private.h"
#include "coordinator/access/login.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/str.h"

#include <string.h>

#define ANSWER_MS 3000

/* ---- signals ------------------------------------------------------------------------------------------ */

bool cluster_signal(struct cluster *cluster, const struct agent *to, const char *from, const char *network,
		    const char *box)
{
	if (!cluster || !bus_up(cluster->bus) || !cluster_has(cluster, to))
		return false;
	cluster_send(cluster, to->home, "signal",
		     json_pack("{ssssssss}", "to", to->id, "from", from, "network", network, "box", box));
	return true;
}

static void take_signal(struct cluster *cluster, json_t *signal)
{
	struct js js;
	const char *to, *from, *network, *box;

	js_read(&js, signal);
	to = js_need_string(&js, "to", PROTO_ID_MAX - 1);
	from = js_need_string(&js, "from", PROTO_ID_MAX - 1);
	network = js_need_string(&js, "network", PROTO_NAME_MAX - 1);
	box = js_need_string(&js, "box", (PROTO_MAX_SIGNAL + 2) / 3 * 4);
	if (js_ok(&js))
		sync_signal_from(cluster->co, to, from, network, box);
}

/* ---- challenges ---------------------------------------------------------------------------------------- */

struct cluster_question {
	struct list node; /* cluster's */
	uint64_t id;
	struct loop_timer limit;
	cluster_verdict_fn *fn;
	void *arg;
};

void cluster_question_cancel(struct cluster_question *question)
{
	timer_stop(&question->limit);
	list_del(&question->node);
	free(question);
}

static void answer(struct cluster_question *question, enum challenge_verdict verdict)
{
	cluster_verdict_fn *fn = question->fn;
	void *arg = question->arg;

	cluster_question_cancel(question);
	fn(arg, verdict);
}

static void on_limit(void *arg)
{
	answer(arg, CHALLENGE_SILENT);
}

static const struct instance *giver_of(const struct cluster *cluster, const uint8_t challenge[static CHALLENGE_LEN])
{
	const struct instance *instance;
	size_t pos = 0;

	while ((instance = map_next(cluster->instances, &pos, NULL)))
		if (challenge_giver_of(instance->id) == challenge_giver(challenge))
			return instance;
	return NULL;
}

struct cluster_question *cluster_spend(struct cluster *cluster, const uint8_t challenge[static CHALLENGE_LEN],
				       const struct key *public_key, const struct challenge_taker *taker,
				       cluster_verdict_fn *fn, void *arg)
{
	const struct instance *giver = cluster ? giver_of(cluster, challenge) : NULL;
	struct cluster_question *question;
	char *text;

	if (!giver || !bus_up(cluster->bus))
		return NULL;
	question = xcalloc(1, sizeof(*question));
	question->id = ++cluster->number;
	question->fn = fn;
	question->arg = arg;
	list_add_tail(&cluster->questions, &question->node);
	timer_init(&question->limit, cluster->co->loop, on_limit, question);
	timer_start(&question->limit, ANSWER_MS);
	text = base64_encode(challenge, CHALLENGE_LEN);
	cluster_send(cluster, giver->id, "spend",
		     json_pack("{sIsssosbs[s?s?s?]}", "id", (json_int_t)question->id, "challenge", text, "key",
			       js_from_key(public_key), "known", taker->known, "of", taker->ids[0], taker->ids[1],
			       taker->ids[2]));
	free(text);
	return question;
}

static void take_spend(struct cluster *cluster, const char *from, json_t *asked)
{
	uint8_t challenge[64];
	enum challenge_verdict verdict;
	struct challenge_taker taker = {.known = false};
	struct key public_key;
	const char *text;
	json_t *of;
	struct js js;
	int64_t id;

	js_read(&js, asked);
	id = js_int(&js, "id", 1, INT64_MAX, 0);
	text = js_need_string(&js, "challenge", 64);
	js_need_key(&js, "key", &public_key);
	taker.known = js_bool(&js, "known", false);
	of = js_array(&js, "of", CHALLENGE_TAKERS);
	for (size_t i = 0; i < json_array_size(of); i++)
		taker.ids[i] = json_string_value(json_array_get(of, i));
	if (!js_ok(&js) || base64_decode(challenge, sizeof(challenge), text) != CHALLENGE_LEN)
		return;
	verdict = challenge_use(cluster->co->challenges, challenge, &public_key, &taker, clock_ms());
	cluster_send(cluster, from, "spent", json_pack("{sIsi}", "id", (json_int_t)id, "verdict", (int)verdict));
}

static void take_spent(struct cluster *cluster, json_t *answered)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(answered, "id"));
	json_t *verdict = json_object_get(answered, "verdict");
	json_int_t number = json_integer_value(verdict);
	struct cluster_question *question;

	if (!json_is_integer(verdict) || number < 0 || number >= CHALLENGE_VERDICTS)
		return;
	list_each(question, &cluster->questions, node)
		if (question->id == id) {
			answer(question, (enum challenge_verdict)number);
			return;
		}
}

/* ---- log-ins ------------------------------------------------------------------------------------------- */

void cluster_login(struct cluster *cluster, const char *user, const char *address, bool right)
{
	if (cluster && map_count(cluster->instances))
		cluster_send(cluster, NULL, "login",
			     json_pack("{ss?sssb}", "user", user, "from", address, "right", right));
}

static void take_login(struct cluster *cluster, json_t *login)
{
	struct logins *logins = cluster->co->logins;
	const char *user, *from;
	struct js js;
	bool right;

	js_read(&js, login);
	user = js_string(&js, "user", NULL);
	from = js_need_string(&js, "from", ADDR_TEXT - 1);
	right = js_bool(&js, "right", false);
	if (!js_ok(&js) || (user && strlen(user) >= PROTO_NAME_MAX))
		return;
	if (right)
		logins_right(logins, user, from);
	else
		logins_tried(logins, user, from, loop_now(cluster->co->loop));
}

void cluster_take_passed(struct cluster *cluster, const char *from, json_t *text)
{
	if (json_object_get(text, "signal"))
		take_signal(cluster, json_object_get(text, "signal"));
	if (json_object_get(text, "spend"))
		take_spend(cluster, from, json_object_get(text, "spend"));
	if (json_object_get(text, "spent"))
		take_spent(cluster, json_object_get(text, "spent"));
	if (json_object_get(text, "login"))
		take_login(cluster, json_object_get(text, "login"));
}
