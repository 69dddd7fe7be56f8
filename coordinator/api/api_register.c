/*
 * api_register.c - challenge, proof of key ownership, registration.
 *
 * The order of the judgement is the order of what it gives away: the proof first, with the coordinator that
 * it names, so that without one nobody learns which join keys or names exist. Then the join key (or what else
 * lets a stranger in), then that the challenge was not used, then the name and what is left. So what a
 * stranger makes up takes no place in the table of used challenges, and a proof that somebody else has seen
 * says no more than whether the join key in it is good, which who has the key may ask anyway.
 */
#include "api.h"
#include "coordinator/access/challenge.h"
#include "coordinator/cluster/cluster.h"
#include "dispatch.h"
#include "remedy.h"
#include "coordinator/store/store.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define MAX_AUDIT_DETAIL 200
#define MAX_CAPABILITIES 4096

bool api_may_note(struct coordinator *co)
{
	if (!bucket_take(&co->refusals, loop_now(co->loop))) {
		co->refusals_left_out++;
		return false;
	}
	api_note_left_out(co);
	return true;
}

void api_note_left_out(struct coordinator *co)
{
	if (!co->refusals_left_out)
		return;
	log_warn("refusals-left-out", "count=%u reason=\"there were too many to write down each\"",
		 co->refusals_left_out);
	co->refusals_left_out = 0;
}

/* A flood of refusals fills neither the log nor, while the disk takes nothing, the memory. */
static void note_refusal(struct request *rq, const char *what, const char *who, const char *code,
			 const char *detail)
{
	char line[MAX_AUDIT_DETAIL], said[REMEDY_TEXT];

	if (!api_may_note(rq->co))
		return;
	remedy_command(said, detail);
	log_warn(what, "from=%s who=%s code=%s reason=\"%s\"", rq->address, who, code, said);
	if (store_behind(rq->co->store))
		return;
	snprintf(line, sizeof(line), "%.40s: %.150s", code, said);
	str_mend(line);
	registry_audit(rq->co, rq->from, what, who, line);
}

void api_proof_refused(struct request *rq, const struct agent *agent, const struct refusal *why)
{
	if (!why->status)
		return;
	note_refusal(rq, "proof-refused", agent ? agent->id : "-", why->code, why->detail);
	reply_refusal(rq, why);
}

void api_refused(struct request *rq, int status, const char *code, const char *detail)
{
	const struct key *key = NULL;
	char who[KEY_SHORT] = "-";
	struct key parsed;
	const char *text;

	if (rq->row->handler == api_register) {
		text = json_string_value(json_object_get(rq->body, "public_key"));
		if (text && key_parse(&parsed, text))
			key = &parsed;
		if (key)
			key_format_short(who, key);
		rq->co->counters[COUNT_REGISTRATIONS_REFUSED]++;
		note_refusal(rq, "registration-refused", who, code, detail);
	}
	reply_problem(rq, status, code, "%s", detail);
}

static void refused(struct request *rq, const struct refusal *why)
{
	if (why->status)
		api_refused(rq, why->status, why->code, why->detail);
}

void api_challenge(struct request *rq)
{
	uint8_t challenge[CHALLENGE_LEN];
	struct key public_key;
	char *text;

	if (!js_need_key(&rq->js, "public_key", &public_key)) {
		reply_problem(rq, 422, "invalid", "%s", rq->js.error);
		return;
	}
	challenge_make(rq->co->challenges, challenge, &public_key, clock_ms());
	text = base64_encode(challenge, sizeof(challenge));
	reply(rq, 200,
	      json_pack("{sssoso}", "challenge", text, "server_key", js_from_key(&rq->co->public_key),
			"expires_at", js_from_time(clock_wall_ms() + CHALLENGE_LIFE_MS)));
	free(text);
}

/* ---- proofs ----------------------------------------------------------------------- */

/* A proof names the origin the agent believes to talk to, so that no server can pass it on. */
bool proof_origin(struct request *rq, struct refusal *why)
{
	const struct config *config = &rq->co->config;
	const char *text = js_need_string(&rq->js, "coordinator", 300);
	char origin[300] = "", at[ENDPOINT_TEXT], local[ENDPOINT_TEXT + 8], here[ENDPOINT_TEXT + 8] = "";

	endpoint_format(at, conn_local(rq));
	snprintf(local, sizeof(local), "https://%s", at);
	origin_normalise(here, sizeof(here), local);
	if (js_ok(&rq->js) && origin_normalise(origin, sizeof(origin), text)) {
		for (unsigned i = 0; config->urls_given && i < config->url_count; i++)
			if (!strcmp(origin, config->urls[i]))
				return true;
		if (!config->urls_given && !strcmp(origin, here))
			return true;
	}
	return refuse(why, 401, "wrong_coordinator", "the proof is for another coordinator than %s",
		      config->urls_given ? config->urls[0] : here);
}

static bool verdict_good(enum challenge_verdict verdict, struct refusal *why)
{
	switch (verdict) {
	case CHALLENGE_GOOD:
		return true;
	case CHALLENGE_FOREIGN:
	case CHALLENGE_ELSEWHERE:
	case CHALLENGE_VERDICTS:
		return refuse(why, 401, "challenge_unknown", "this challenge was not given here for this key");
	case CHALLENGE_ENDED:
		return refuse(why, 401, "challenge_expired", "this challenge has ended: ask for another");
	case CHALLENGE_USED:
		return refuse(why, 401, "challenge_used", "this challenge was used already: ask for another");
	case CHALLENGE_SILENT:
		return refuse(why, 401, "challenge_unknown",
			      "the coordinator that gave this challenge does not answer: ask for another");
	case CHALLENGE_BUSY:
		break;
	}
	return refuse(why, 429, "busy", "too many registrations at the moment: try again in a minute");
}

bool proof_challenge(struct request *rq, const struct key *public_key, uint8_t challenge[static 32],
		     struct refusal *why)
{
	const char *text = js_need_string(&rq->js, "challenge", 64);
	enum challenge_verdict verdict;
	uint8_t bytes[64];

	if (!js_ok(&rq->js) || base64_decode(bytes, sizeof(bytes), text) != CHALLENGE_LEN)
		return refuse(why, 401, "challenge_missing",
			      "challenge: must be the 32 bytes that /agents/challenge gave, as base64");
	memcpy(challenge, bytes, CHALLENGE_LEN);
	verdict = challenge_check(rq->co->challenges, challenge, public_key, clock_ms());
	return verdict == CHALLENGE_ELSEWHERE || verdict_good(verdict, why);
}

static void cancel_question(struct request *rq)
{
	rq->cancel = NULL;
	cluster_question_cancel(rq->pending);
}

static void on_spent(void *arg, enum challenge_verdict verdict)
{
	struct request *rq = arg;

	rq->cancel = NULL;
	rq->spent = verdict == CHALLENGE_ELSEWHERE ? CHALLENGE_FOREIGN : verdict;
	js_read(&rq->js, rq->body);
	store_begin(rq->co->store);
	rq->row->handler(rq);
}

/* Only who gave it can say; until then there is no answer. */
static bool spend_elsewhere(struct request *rq, const struct key *public_key, const uint8_t challenge[static 32],
			    const struct challenge_taker *taker, struct refusal *why)
{
	struct cluster_question *question = cluster_spend(rq->co->cluster, challenge, public_key, taker, on_spent,
							  rq);

	if (!question)
		return verdict_good(CHALLENGE_ELSEWHERE, why);
	reply_later(rq, cancel_question, question, AWAITED_COORDINATOR);
	why->status = 0;
	return false;
}

/* Who is neither known nor has a join key was known to a database of before: by the id that it proves. */
static struct challenge_taker taker_of(const struct request *rq, const struct agent *agent, const struct join_key *by)
{
	const struct member *member;

	if (!agent && by)
		return (struct challenge_taker){.ids = {by->network->id, by->id}};
	if (!agent)
		return (struct challenge_taker){.ids = {NULL, NULL, rq->id}};
	if (list_empty(&agent->members))
		return (struct challenge_taker){.ids = {NULL, NULL, agent->id}, .known = true};
	member = container_of(agent->members.next, struct member, in_agent); /* the network that it was first in */
	return (struct challenge_taker){.ids = {member->network->id, member->key_id, agent->id}, .known = true};
}

bool proof_spend(struct request *rq, const struct key *public_key, const struct join_key *by,
		 const uint8_t challenge[static 32], struct refusal *why)
{
	struct agent *agent = map_get(rq->co->mesh.agents_by_key, public_key->bytes);
	const struct challenge_taker taker = taker_of(rq, agent, by);
	enum challenge_verdict verdict = rq->spent;

	if (verdict == CHALLENGE_ELSEWHERE) {
		if (agent && !agent_may_ask(rq->co, agent, rq->http->body.len))
			return refuse(why, 429, "too_many_requests", "too many requests of this agent: slow down");
		verdict = challenge_use(rq->co->challenges, challenge, public_key, &taker, clock_ms());
	}
	return verdict == CHALLENGE_ELSEWHERE ? spend_elsewhere(rq, public_key, challenge, &taker, why)
					      : verdict_good(verdict, why);
}

bool proof_header(struct request *rq, const char *header, const struct key *public_key,
		  const uint8_t challenge[static 32], struct refusal *why)
{
	uint8_t proof[PROOF_LEN];

	if (!header || strncasecmp(header, "Proof ", 6) ||
	    base64_decode(proof, sizeof(proof), header + 6) != PROOF_LEN)
		return refuse(why, 401, "proof_missing",
			      "this needs a proof of the key: Authorization: Proof BASE64");
	if (!proof_check(proof, public_key, &rq->co->private_key, challenge, rq->http->body.data,
			 rq->http->body.len))
		return refuse(why, 401, "proof_wrong", "the proof does not fit this public key and body");
	return true;
}

bool proof_judge(struct request *rq, const char *header, const struct key *public_key,
		 uint8_t challenge[static 32], struct refusal *why)
{
	if (!header || strncasecmp(header, "Proof ", 6))
		return refuse(why, 401, "proof_missing",
			      "this needs a proof of the key: Authorization: Proof BASE64");
	return proof_challenge(rq, public_key, challenge, why) &&
	       proof_header(rq, header, public_key, challenge, why) && proof_origin(rq, why);
}

/* ---- registering -------------------------------------------------------------------- */

static void read_routes(struct js *js, struct registration *reg)
{
	json_t *array = js_array(js, "advertised_routes", PROTO_MAX_ROUTES), *item;
	size_t i;

	json_array_foreach(array, i, item) {
		if (!json_is_string(item) ||
		    !prefix_parse(&reg->routes[i], json_string_value(item))) {
			js_fail(js, "advertised_routes", "must hold prefixes like \"192.168.1.0/24\"");
			return;
		}
		reg->route_count++;
	}
}

/* Words, or words with values; kept as they are, so not too many. */
static void read_capabilities(struct js *js, struct registration *reg)
{
	json_t *given = json_object_get(js->object, "capabilities");
	char *text;

	if (!given || json_is_null(given))
		return;
	text = js_dump(given);
	if (!json_is_object(given) && !json_is_array(given))
		js_fail(js, "capabilities", "must be a list or an object");
	else if (strlen(text) > MAX_CAPABILITIES)
		js_fail(js, "capabilities", "must be at most 4 KiB");
	else
		reg->capabilities = given;
	free(text);
}

static bool read_registration(struct request *rq, struct registration *reg)
{
	struct js *js = &rq->js;

	memset(reg, 0, sizeof(*reg));
	js_need_key(js, "public_key", &reg->public_key);
	reg->name = js_need_string(js, "name", PROTO_NAME_MAX - 1);
	reg->join_key = js_need_string(js, "join_key", 128);
	js_endpoint(js, "endpoint", &reg->at.endpoint);
	api_endpoints_ok(js, &reg->at);
	reg->at.nat_type = nat_type_parse(js_string(js, "nat_type", NULL));
	read_capabilities(js, reg);
	reg->tags = js_array(js, "tags", MAX_TAGS);
	reg->preview = js_bool(js, "preview", false);
	read_routes(js, reg);
	return js_ok(js);
}

/* What is shown to someone who only asks what would happen. */
static json_t *preview_json(const struct network *network)
{
	return json_pack("{sss[{sssssoso}]}", "network_id", network->id, "networks", "id", network->id,
			 "name", network->name, "cidr", js_from_prefix(&network->cidr), "cidr6",
			 js_from_prefix(&network->cidr6));
}

static json_t *registered_json(struct coordinator *co, const struct member *member)
{
	json_t *json = api_token_json(co, member->agent);

	json_object_set_new(json, "agent_id", json_string(member->agent->id));
	json_object_set_new(json, "name", json_string(member->name));
	json_object_set_new(json, "network_id", json_string(member->network->id));
	json_object_set_new(json, "approved", json_boolean(!member->pending));
	json_object_set_new(json, "addresses", mesh_addresses_json(member, true));
	json_object_set_new(json, "networks", mesh_networks_json(member->agent));
	json_object_set_new(json, "relays", coordinator_relays(co));
	json_object_set_new(json, "pins", coordinator_pins(co));
	json_object_set_new(json, "server_key", js_from_key(&co->public_key));
	return json;
}

/* The proof has been judged. Also called again, where another coordinator was quicker to take the
 * name, the address or the key: by now we know. */
static void register_proved(struct request *rq)
{
	struct coordinator *co = rq->co;
	struct registration reg;
	struct network *network;
	struct member *member;
	struct refusal why;
	bool again;

	store_begin(co->store);
	read_registration(rq, &reg);
	member = registry_register(co, &reg, rq->from, &again, &network, &why);
	if (!network) {
		refused(rq, &why);
		return;
	}
	if (!member) {
		reply(rq, 200, preview_json(network));
		return;
	}
	co->counters[COUNT_REGISTRATIONS]++;
	log_info("registered", "agent=%s name=%s network=%s again=%s from=%s", member->agent->id,
		 member->name, network->name, again ? "true" : "false", rq->address);
	rq->retry = register_proved;
	reply_durable(rq, again ? 200 : 201, registered_json(co, member));
}

void api_register(struct request *rq)
{
	uint8_t challenge[CHALLENGE_LEN];
	const struct join_key *key;
	struct registration reg;
	struct refusal why;

	if (!read_registration(rq, &reg)) {
		api_refused(rq, 422, "invalid", rq->js.error);
		return;
	}
	if (!proof_judge(rq, http_header(rq->http, "Authorization"), &reg.public_key, challenge, &why) ||
	    !(key = registry_admits(rq->co, &reg, &why)) || !proof_spend(rq, &reg.public_key, key, challenge, &why)) {
		refused(rq, &why);
		return;
	}
	if (store_behind(rq->co->store)) {
		api_refused(rq, 503, "store_unavailable", "the database takes no writes: try again");
		return;
	}
	register_proved(rq);
}
