/*
 * api_agent.c - what a registered agent asks of the coordinator, itself only. The stream (sync.c)
 * carries the same endpoint and heartbeat.
 */
#include "api.h"
#include "api_admin.h"
#include "coordinator/mesh/device.h"
#include "dispatch.h"
#include "coordinator/cluster/heal.h"
#include "coordinator/sync/sync.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <string.h>

#define HEARTBEAT_MS 60000

json_t *api_token_json(struct coordinator *co, const struct agent *agent)
{
	json_t *nets = json_array(), *claims, *json;
	const struct member *member;
	char *token;

	list_each(member, &agent->members, in_agent)
		json_array_append_new(nets, json_string(member->network->name));
	/* What it is is in it too, so that it can come back where the database has forgotten it (heal.h). */
	claims = json_pack("{sososIso}", "nets", nets, "key", js_from_key(&agent->public_key), "at",
			   (json_int_t)clock_wall_ms(), "in", heal_memberships(agent));
	token = token_make(co->token_secret, agent->id, claims, MAX(clock_wall_ms(), agent->tokens_from),
			   co->config.token_lifetime_ms);
	json = json_pack("{sssI}", "token", token, "expires_in",
			 (json_int_t)(co->config.token_lifetime_ms / 1000));
	secret_wipe(token, strlen(token));
	free(token);
	json_decref(claims);
	return json;
}

static json_t *position(struct coordinator *co, uint64_t revision)
{
	return json_pack("{sssI}", "epoch", sync_epoch(co->sync), "revision", (json_int_t)revision);
}

/* By token, or by proof of the agent's own key. Answers and returns NULL where neither. */
static struct agent *by_token_or_proof(struct request *rq)
{
	const char *header = http_header(rq->http, "Authorization");
	struct agent *agent = map_get(rq->co->mesh.agents, rq->id);
	uint8_t challenge[CHALLENGE_LEN];
	struct refusal why;

	if (header && !strncasecmp(header, "Proof ", 6)) {
		if (!agent)
			refuse(&why, 401, "unknown_agent", "this agent is not known here any more");
		else if (mesh_expired(agent))
			refuse(&why, 401, "agent_expired",
			       "this agent was expired: join again with a new link");
		else if (proof_judge(rq, header, &agent->public_key, challenge, &why) &&
			 proof_spend(rq, &agent->public_key, NULL, challenge, &why))
			return agent;
		api_proof_refused(rq, agent, &why);
		return NULL;
	}
	agent = auth_bearer(rq->co, header, NULL, &why);
	if (agent && !strcmp(agent->id, rq->id))
		return request_paced(rq, agent) ? agent : NULL;
	if (agent)
		refuse(&why, 403, "not_yours", "an agent reads and writes itself only");
	reply_refusal(rq, &why);
	return NULL;
}

/* Another coordinator has let it in at this moment: what it has proved is as good. */
static void is_back(struct request *rq)
{
	const struct agent *agent = map_get(rq->co->mesh.agents, rq->id);
	struct key public_key;
	struct js js;

	js_read(&js, rq->body);
	if (agent && js_need_key(&js, "public_key", &public_key) && key_equal(&agent->public_key, &public_key))
		reply(rq, 200, api_token_json(rq->co, agent));
	else
		reply_problem(rq, 401, "unknown_agent", "this agent is not known here any more");
}

/* One that is not known, perhaps because the database is an older copy. */
static void come_back(struct request *rq, const char *proof)
{
	const char *old_token = js_string(&rq->js, "old_token", NULL);
	uint8_t challenge[CHALLENGE_LEN];
	struct agent *agent = NULL;
	struct key public_key;
	struct refusal why;

	if (!js_need_key(&rq->js, "public_key", &public_key) || !js_ok(&rq->js))
		refuse(&why, 422, "invalid", "%s", rq->js.error);
	else if (store_behind(rq->co->store))
		refuse(&why, 503, "store_unavailable", "the database takes no writes: try again");
	else if (proof_judge(rq, proof, &public_key, challenge, &why) &&
		 heal_admits(rq->co, rq->id, &public_key, old_token, &why) &&
		 proof_spend(rq, &public_key, NULL, challenge, &why))
		agent = heal_readmit(rq->co, rq->id, &public_key, old_token, &why);
	if (!agent) {
		api_proof_refused(rq, NULL, &why);
		return;
	}
	rq->retry = is_back;
	reply_durable(rq, 200, api_token_json(rq->co, agent));
}

void api_token(struct request *rq)
{
	const char *header = http_header(rq->http, "Authorization");
	struct agent *agent;

	if (header && !strncasecmp(header, "Proof ", 6) && json_object_get(rq->body, "old_token") &&
	    !map_get(rq->co->mesh.agents, rq->id)) {
		come_back(rq, header);
		return;
	}
	agent = by_token_or_proof(rq);
	if (agent)
		reply(rq, 200, api_token_json(rq->co, agent));
}

/* Both keys prove the same challenge, which was asked for with the old one. */
void api_key(struct request *rq)
{
	struct agent *agent = map_get(rq->co->mesh.agents, rq->id);
	uint8_t challenge[32];
	struct key new_key;
	struct refusal why;

	if (!js_need_key(&rq->js, "public_key", &new_key)) {
		reply_problem(rq, 422, "invalid", "%s", rq->js.error);
		return;
	}
	if (!agent || mesh_expired(agent)) {
		reply_problem(rq, 401, "unknown_agent", "this agent is not known here any more");
		return;
	}
	if (!request_may_write(rq))
		return;
	if (!proof_challenge(rq, &agent->public_key, challenge, &why) ||
	    !proof_header(rq, http_header(rq->http, "Authorization"), &agent->public_key, challenge,
			  &why) ||
	    !proof_header(rq, http_header(rq->http, "WG-Mesh-New-Proof"), &new_key, challenge, &why) ||
	    !proof_origin(rq, &why) || !proof_spend(rq, &agent->public_key, NULL, challenge, &why)) {
		api_proof_refused(rq, agent, &why);
		return;
	}
	if (!registry_rekey(rq->co, agent, &new_key, &why)) {
		reply_refusal(rq, &why);
		return;
	}
	reply_durable(rq, 200, json_pack("{so}", "public_key", js_from_key(&new_key)));
}

/* One, or without a query all (NULL): never all for a query that was meant otherwise. */
static bool which_network(struct request *rq, struct agent *agent, struct network **network,
			  struct refusal *why)
{
	json_t *arguments = json_object();
	const char *name;
	bool good = api_query(rq, arguments, why);

	name = json_string_value(json_object_get(arguments, "network"));
	if (good && (name || rq->http->query)) {
		*network = name ? mesh_network(&rq->co->mesh, name) : NULL;
		good = (*network && mesh_agent_in(agent, *network)) ||
		       refuse(why, 404, "not_a_member", "this agent is in no network of that name");
	}
	json_decref(arguments);
	return good;
}

void api_leave(struct request *rq)
{
	struct agent *agent;
	struct network *network = NULL;
	struct refusal why;

	if (!request_may_write(rq))
		return;
	agent = by_token_or_proof(rq);
	if (!agent)
		return;
	if (!which_network(rq, agent, &network, &why)) {
		reply_refusal(rq, &why);
		return;
	}
	log_info("left", "agent=%s", agent->id);
	registry_remove(rq->co, agent, network, agent->id);
	reply_durable(rq, 204, NULL);
}

static bool endpoint_ok(const struct endpoint *at)
{
	return !addr_is_loopback(&at->addr) && !addr_is_multicast(&at->addr) && !addr_is_unspecified(&at->addr);
}

bool api_endpoints_ok(struct js *js, const struct proto_endpoints *at)
{
	bool good = !at->endpoint.addr.family || endpoint_ok(&at->endpoint);

	for (unsigned i = 0; i < at->count; i++)
		good = good && endpoint_ok(&at->endpoints[i]);
	for (unsigned i = 0; i < at->local_count; i++)
		good = good && endpoint_ok(&at->local_endpoints[i]);
	if (!good)
		js_fail(js, "endpoint", "must be no loopback, multicast, broadcast or unspecified address");
	return js_ok(js);
}

void api_endpoint(struct request *rq)
{
	struct proto_endpoints at;

	if (!proto_read_endpoints(&rq->js, &at) || !api_endpoints_ok(&rq->js, &at)) {
		reply_problem(rq, 422, "invalid", "%s", rq->js.error);
		return;
	}
	registry_endpoints(rq->co, rq->agent, &at);
	reply(rq, 200, position(rq->co, sync_revision(rq->co->sync)));
}

/* ---- the peers ---------------------------------------------------------------------------------- */

/* One for each agent: what waits is bounded by how many there are. Its text is kept as far as the gate
 * allows. */
struct peers_wait {
	struct request *rq;
	struct sync_wait wait;
};

static char *peers_text(struct request *rq, uint64_t until)
{
	json_t *peers = json_array(), *json = position(rq->co, MIN(until, sync_revision(rq->co->sync)));
	char *text;

	sync_peers(rq->agent, peers, until);
	json_object_set_new(json, "peers", peers);
	json_object_set_new(json, "networks", mesh_networks_json(rq->agent));
	json_object_set_new(json, "relays", coordinator_relays(rq->co));
	text = js_dump(json);
	json_decref(json);
	return text;
}

/* Takes text. */
static void answer_peers(struct request *rq, char *text)
{
	size_t len = strlen(text);

	sync_sent(rq->co->sync, len);
	reply_raw(rq, 200, "Cache-Control: no-store\r\n", "application/json", text, len);
	free(text);
}

static void end_waiting(struct request *rq)
{
	struct peers_wait *waiting = rq->pending;
	struct agent *agent = map_get(rq->co->mesh.agents, rq->id); /* it may have gone meanwhile */

	if (agent && agent->peers_wait == waiting)
		agent->peers_wait = NULL;
	rq->cancel = NULL;
	sync_wait_cancel(rq->co->sync, &waiting->wait);
	free(waiting);
}

static void on_told(void *arg, enum sync_told told)
{
	struct peers_wait *waiting = arg;
	struct request *rq = waiting->rq;
	char *text = NULL;

	rq->agent = map_get(rq->co->mesh.agents, rq->id);
	if (told == SYNC_STUCK && rq->agent && !sync_may_see(rq->co->sync, rq->agent))
		return;
	if (told == SYNC_STUCK && rq->agent)
		text = peers_text(rq, sync_durable(rq->co->sync));
	else if (told == SYNC_DURABLE && rq->agent && waiting->wait.text)
		text = xstrdup(waiting->wait.text);
	end_waiting(rq);
	if (!rq->agent)
		reply_problem(rq, 401, "unknown_agent", "this agent is not known here any more");
	else if (text)
		answer_peers(rq, text);
	else
		api_peers(rq);
}

/* Who asks again has perhaps given up the question of before: that one is ended. */
static void end_older(struct peers_wait *waiting)
{
	struct request *rq = waiting->rq;

	end_waiting(rq);
	reply_problem(rq, 429, "too_many_requests", "this agent has asked for its peers again meanwhile: read the "
		      "newer answer");
}

void api_peers(struct request *rq)
{
	struct sync *sync = rq->co->sync;
	struct peers_wait *waiting;
	char *text;

	if (sync_settled(sync)) {
		answer_peers(rq, peers_text(rq, SYNC_ALL));
		return;
	}
	if (rq->agent->peers_wait)
		end_older(rq->agent->peers_wait);
	waiting = rq->agent->peers_wait = xcalloc(1, sizeof(*waiting));
	waiting->rq = rq;
	reply_later(rq, end_waiting, waiting, AWAITED_READ);
	sync_wait(sync, &waiting->wait, on_told, waiting);
	if (!sync_may_keep(sync))
		return;
	text = peers_text(rq, SYNC_ALL);
	sync_keep(sync, &waiting->wait, text, strlen(text));
}

static bool path_known(const char *path)
{
	return !strcmp(path, "direct") || !strcmp(path, "none") || !strcmp(path, "relay") ||
	       (!strncmp(path, "relay:", 6) && name_valid(path + 6));
}

static bool latency_ok(const json_t *ms)
{
	return !ms || json_is_null(ms) || (json_is_number(ms) && json_number_value(ms) >= 0);
}

static bool is_in(const struct coordinator *co, const char *peer_id, const struct network *network)
{
	const struct agent *agent = map_get(co->mesh.agents, peer_id);
	const struct device *device = agent ? NULL : map_get(co->mesh.devices, peer_id);

	return agent ? mesh_agent_in(agent, network) : device && device->network == network;
}

static void judge_paths(struct js *js, json_t *status)
{
	const char *id;
	json_t *peer;
	struct js each;

	json_object_foreach(status, id, peer) {
		js_read(&each, peer);
		js_bool(&each, "connected", false);
		if (!path_known(js_string(&each, "path", "none")))
			js_fail(&each, "path", "must be direct, relay, relay:REGION or none");
		if (!latency_ok(json_object_get(peer, "latency_ms")))
			js_fail(&each, "latency_ms", "must be milliseconds, or null");
		if (!proto_id_valid(id))
			js_fail(&each, "its key", "must be an agent's id");
		if (!js_ok(&each)) {
			js_fail(js, "peer_status", each.error);
			return;
		}
	}
}

/* In each network its own: who looks at one must not hear how many peers there are in another. */
static void count_paths(struct coordinator *co, struct agent *agent, json_t *status)
{
	const char *id, *path;
	struct member *member;
	json_t *peer;

	list_each(member, &agent->members, in_agent)
		member->direct_peers = member->relayed_peers = 0;
	json_object_foreach(status, id, peer) {
		path = json_string_value(json_object_get(peer, "path"));
		list_each(member, &agent->members, in_agent)
			if (path && is_in(co, id, member->network)) {
				member->direct_peers += !strcmp(path, "direct");
				member->relayed_peers += !strncmp(path, "relay", 5);
			}
	}
}

bool api_take_heartbeat(struct coordinator *co, struct agent *agent, struct js *js)
{
	json_t *status = js_object(js, "peer_status");
	struct proto_endpoints at;

	where_get(agent->at, &at);
	judge_paths(js, status);
	if (js_endpoint(js, "endpoint", &at.endpoint))
		api_endpoints_ok(js, &(struct proto_endpoints){.endpoint = at.endpoint});
	if (!js_ok(js))
		return false;
	if (status)
		count_paths(co, agent, status);
	registry_endpoints(co, agent, &at);
	return true;
}

void api_heartbeat(struct request *rq)
{
	if (!api_take_heartbeat(rq->co, rq->agent, &rq->js)) {
		reply_problem(rq, 422, "invalid", "%s", rq->js.error);
		return;
	}
	if (!rq->agent->session) { /* online without a stream, for a while */
		registry_online(rq->co, rq->agent, true);
		sync_leaving(rq->co->sync, rq->agent, HEARTBEAT_MS);
	}
	reply(rq, 200, position(rq->co, sync_revision(rq->co->sync)));
}
