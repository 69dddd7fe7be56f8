/*
 * agent.c - a simulated agent: challenge, proof and registration over TLS on one connection, the
 * stream on another, as a real one does it. Not a map: only which peers it was told of (a bit each)
 * and when a marked change came, found by searching the text, so that the generator costs little
 * beside what it measures. The connections are line.c's.
 */
#include "bench.h"
#include "lib/http.h"
#include "lib/json.h"
#include "lib/secret.h"
#include "lib/seal.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 20000
#define RETRY_MS    500
#define RETRY_MAX   8000
#define MARK_PORT   7777

static void send_request(struct sim *sim);

/* ---- the connection ------------------------------------------------------------------ */

static void hang_up(struct sim *sim)
{
	line_close(sim);
	timer_stop(&sim->timer);
	if (sim->http) {
		http_free(sim->http);
		free(sim->http);
		sim->http = NULL;
	}
}

static void forget_peers(struct sim *sim)
{
	if (sim->seen_count == sim->network->size - 1)
		sim->fleet->complete--;
	memset(sim->seen, 0, (sim->network->size + 63) / 64 * sizeof(*sim->seen));
	sim->seen_count = 0;
}

/* As wg-meshd does where a coordinator is lost. */
static void to_the_next(struct sim *sim)
{
	struct subject *last = &sim->fleet->subjects[sim->fleet->instances - 1];

	sim->subject = sim->subject == last ? sim->fleet->subjects : sim->subject + 1;
}

static void try_again(struct sim *sim)
{
	uint64_t wait = MIN((uint64_t)RETRY_MS << MIN(sim->tries, 5), RETRY_MAX);

	hang_up(sim);
	sim->fleet->failures++;
	sim->tries++;
	to_the_next(sim);
	sim->state = sim->token ? OPENING : CHALLENGE;
	timer_start(&sim->timer, wait / 2 + random_below((uint32_t)wait));
}

static void send_json(struct sim *sim, json_t *json)
{
	char *text = js_dump(json);

	line_text(sim, text);
	free(text);
	json_decref(json);
}

static void dial(struct sim *sim)
{
	sim->dials++;
	if (line_open(sim)) {
		try_again(sim);
		return;
	}
	sim->http = xmalloc(sizeof(*sim->http));
	http_init(sim->http, NULL, true);
	timer_start(&sim->timer, PATIENCE_MS);
	send_request(sim);
}

static void on_timer(void *arg)
{
	struct sim *sim = arg;

	if (sim->fd >= 0)
		try_again(sim); /* nothing came */
	else
		dial(sim);
}

/* ---- what is asked, and what comes of it --------------------------------------------------- */

static void post(struct sim *sim, const char *path, const char *headers, const char *body)
{
	char *text = xasprintf("POST /api/v1%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			       "Content-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
			       path, strlen(body), headers, body);

	line_write(sim, text, strlen(text));
	free(text);
}

static void ask_registration(struct sim *sim)
{
	char name[16], *body, *text, *header;
	uint8_t proof[PROOF_LEN], challenge[CHALLENGE_LEN];
	json_t *json;

	snprintf(name, sizeof(name), "b%05u", sim->index);
	json = json_pack("{sssossssssss}", "coordinator", sim->subject->origin, "public_key",
			 js_from_key(&sim->public_key), "name", name, "join_key",
			 sim->network->join_key, "challenge", sim->challenge, "nat_type", "unknown");
	body = js_dump(json);
	base64_decode(challenge, sizeof(challenge), sim->challenge);
	proof_make(proof, &sim->server_key, &sim->private_key, challenge, body, strlen(body));
	text = base64_encode(proof, sizeof(proof));
	header = xasprintf("Authorization: Proof %s\r\n", text);
	post(sim, "/agents/register", header, body);
	free(header);
	free(text);
	free(body);
	json_decref(json);
}

static void send_request(struct sim *sim)
{
	char key[KEY_BASE64], body[100], *text;

	switch (sim->state) {
	case CHALLENGE:
		key_format(key, &sim->public_key);
		snprintf(body, sizeof(body), "{\"public_key\":\"%s\"}", key);
		post(sim, "/agents/challenge", "", body);
		break;
	case REGISTER:
		ask_registration(sim);
		break;
	default:
		text = xasprintf("GET /api/v1/agents/%s/sync HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n",
			 sim->id, sim->token);
		line_write(sim, text, strlen(text));
		free(text);
	}
}

static void opened(struct sim *sim)
{
	http_free(sim->http);
	free(sim->http);
	sim->http = NULL;
	sim->state = STREAMING;
	send_json(sim, json_pack("{sssisnsi}", "type", "hello", "version", 1, "epoch", "revision", 0));
}

static bool take_registration(struct sim *sim, json_t *json)
{
	const char *id = json_string_value(json_object_get(json, "agent_id"));
	const char *token = json_string_value(json_object_get(json, "token"));

	if (!id || !token || !str_copy(sim->id, sizeof(sim->id), id))
		return false;
	free(sim->token);
	sim->token = xstrdup(token);
	return true;
}

static bool take_challenge(struct sim *sim, json_t *json)
{
	const char *challenge = json_string_value(json_object_get(json, "challenge"));
	const char *key = json_string_value(json_object_get(json, "server_key"));

	return challenge && key && str_copy(sim->challenge, sizeof(sim->challenge), challenge) &&
	       key_parse(&sim->server_key, key);
}

/* A whole HTTP answer. False: not what was asked for. */
static bool answered(struct sim *sim)
{
	char error[JS_ERROR];
	json_t *json;
	bool ok;

	if (sim->state == OPENING) {
		if (sim->http->status != 101)
			return false;
		opened(sim);
		return true;
	}
	if (sim->http->status >= 300) {
		sim->fleet->refused++;
		fprintf(stderr, "bench: %d: %s\n", sim->http->status, buf_text(&sim->http->body));
		return false;
	}
	json = js_load(sim->http->body.data, sim->http->body.len, error);
	ok = json && (sim->state == CHALLENGE ? take_challenge(sim, json) : take_registration(sim, json));
	json_decref(json);
	if (!ok)
		return false;
	if (sim->state == CHALLENGE) {
		sim->state = REGISTER;
		http_reset(sim->http);
		send_request(sim);
		return true;
	}
	hang_up(sim);
	if (sim->registers_only) {
		sim->fleet->written++;
		sim->done = true;
		sim->fleet->ready(sim->fleet, sim);
		return true;
	}
	sim->state = OPENING;
	dial(sim);
	return true;
}

bool sim_bytes(struct sim *sim, const uint8_t *data, size_t len)
{
	unsigned dials = sim->dials;
	size_t used = 0;

	while (sim->http && len) {
		enum http_state state = http_feed(sim->http, data, len, &used);

		data += used;
		len -= used;
		if (state == HTTP_BAD || (state == HTTP_COMPLETE && !answered(sim)))
			return false;
		if (state != HTTP_COMPLETE || sim->dials != dials)
			return true;
	}
	return !len || line_frames(sim, data, len);
}

void sim_lost(struct sim *sim)
{
	forget_peers(sim);
	if (sim->state == STREAMING && !sim->fleet->reconnecting)
		fprintf(stderr, "bench: agent %u has lost its stream\n", sim->index);
	try_again(sim);
}

/* ---- frames -------------------------------------------------------------------------------- */

static const char *find(const char *text, const char *end, const char *what)
{
	return memmem(text, (size_t)(end - text), what, strlen(what));
}

/* Who is named: "name":"b00042" */
static void see_peers(struct sim *sim, const char *text, const char *end)
{
	static const char mark[] = "\"name\":\"b";
	const struct sim_network *network = sim->network;

	for (; (text = find(text, end, mark)); text += sizeof(mark) - 1) {
		unsigned slot = (unsigned)strtoul(text + sizeof(mark) - 1, NULL, 10) - network->first;

		if (slot >= network->size || sim->seen[slot / 64] >> slot % 64 & 1)
			continue;
		sim->seen[slot / 64] |= 1ull << slot % 64;
		if (++sim->seen_count == network->size - 1) {
			sim->fleet->complete++;
			sim->fleet->complete_ns = now_ns();
		}
	}
}

static void arrived(struct fleet *fleet, unsigned number)
{
	struct mark *mark = number < fleet->mark_count ? &fleet->marks[number] : NULL;

	if (!mark || !mark->expected)
		return;
	samples_add(&fleet->latency, now_ns() - mark->sent_ns);
	if (!--mark->expected && !--fleet->marks_open)
		loop_stop(fleet->loop);
}

/* "endpoint":"198.18.HIGH.LOW:7777" */
static void see_moves(struct sim *sim, const char *text, const char *end)
{
	static const char mark[] = "\"endpoint\":\"198.18.";
	unsigned high, low, port;

	for (; (text = find(text, end, mark)); text += sizeof(mark) - 1)
		if (sscanf(text + sizeof(mark) - 1, "%3u.%3u:%5u", &high, &low, &port) == 3 &&
		    port == MARK_PORT)
			arrived(sim->fleet, high << 8 | low);
}

static void see_signal(struct sim *sim, const char *text, const char *end)
{
	static const char mark[] = "\"box\":\"";
	uint8_t number[3];
	char head[5] = "";

	text = find(text, end, mark);
	if (!text || end - text < 20)
		return;
	memcpy(head, text + sizeof(mark) - 1, 4);
	if (base64_decode(number, sizeof(number), head) == 3)
		arrived(sim->fleet, (unsigned)number[0] << 8 | number[1]);
}

static void heard(struct fleet *fleet, size_t len)
{
	fleet->frames++;
	fleet->bytes += len;
	fleet->heard_ns = now_ns();
}

void sim_message(struct sim *sim, const char *text, size_t len)
{
	struct fleet *fleet = sim->fleet;
	const char *end = text + len, *head = text + MIN(len, 40);

	if (find(text, head, "\"delta\"")) {
		heard(fleet, len);
		see_peers(sim, text, end);
		see_moves(sim, text, end);
	} else if (find(text, head, "\"snapshot\"")) {
		heard(fleet, len);
		forget_peers(sim);
		see_peers(sim, text, end);
		timer_stop(&sim->timer);
		sim->tries = 0;
		if (!sim->done) {
			sim->done = true;
			fleet->ready(fleet, sim);
		}
	} else if (find(text, head, "\"signal\"")) {
		see_signal(sim, text, end);
	} else if (find(text, head, "\"error\"")) {
		fprintf(stderr, "bench: agent %u hears %.*s\n", sim->index, (int)MIN(len, 200), text);
	}
}

/* ---- what agents do -------------------------------------------------------------------------- */

void sim_join(struct sim *sim)
{
	sim->state = CHALLENGE;
	sim->done = false;
	dial(sim);
}

void sim_connect(struct sim *sim, uint64_t in_ms)
{
	hang_up(sim);
	forget_peers(sim);
	sim->state = OPENING;
	sim->done = false;
	sim->tries = 0;
	timer_start(&sim->timer, in_ms);
}

static void set_mark(struct sim *sim, unsigned number, unsigned expected)
{
	struct fleet *fleet = sim->fleet;

	fleet->marks[number] = (struct mark){.sent_ns = now_ns(), .expected = expected};
	fleet->marks_open++;
}

void sim_move(struct sim *sim, unsigned mark)
{
	char endpoint[ENDPOINT_TEXT];

	snprintf(endpoint, sizeof(endpoint), "198.18.%u.%u:%u", mark >> 8 & 255, mark & 255, MARK_PORT);
	set_mark(sim, mark, sim->network->size - 1);
	send_json(sim, json_pack("{sssss[s]s[s]ss}", "type", "endpoint", "endpoint", endpoint, "endpoints",
				 endpoint, "local_endpoints", "192.168.1.2:51820", "nat_type",
				 "port_restricted_cone"));
}

void sim_signal(struct sim *sim, const struct sim *to, unsigned mark)
{
	uint8_t box[200] = {(uint8_t)(mark >> 8), (uint8_t)mark};
	char *text = base64_encode(box, sizeof(box));

	set_mark(sim, mark, 1);
	send_json(sim, json_pack("{ssssssss}", "type", "signal", "to", to->id, "network",
				 sim->network->name, "box", text));
	free(text);
}

/* ---- all of them ------------------------------------------------------------------------------- */

static void sim_init(struct fleet *fleet, struct sim *sim, unsigned index, struct sim_network *network)
{
	sim->fleet = fleet;
	sim->index = index;
	sim->network = network;
	sim->slot = index - network->first;
	sim->subject = &fleet->subjects[index % fleet->instances];
	sim->fd = -1;
	key_generate_private(&sim->private_key);
	key_public(&sim->public_key, &sim->private_key);
	sim->seen = xcalloc((network->size + 63) / 64, sizeof(*sim->seen));
	timer_init(&sim->timer, fleet->loop, on_timer, sim);
}

void fleet_make(struct fleet *fleet, struct loop *loop, unsigned agents, unsigned per_network)
{
	fleet->loop = loop;
	fleet->count = agents;
	fleet->network_count = (agents + per_network - 1) / per_network;
	fleet->networks = xcalloc(fleet->network_count, sizeof(*fleet->networks));
	fleet->sims = xcalloc(agents, sizeof(*fleet->sims));
	fleet->marks = xcalloc(65536, sizeof(*fleet->marks));
	for (unsigned i = 0; i < fleet->network_count; i++) {
		struct sim_network *network = &fleet->networks[i];

		snprintf(network->name, sizeof(network->name), "net-%u", i);
		network->first = i * per_network;
		network->size = MIN(per_network, agents - network->first);
		for (unsigned j = 0; j < network->size; j++)
			sim_init(fleet, &fleet->sims[network->first + j], network->first + j, network);
	}
}

static void sim_free(struct sim *sim)
{
	hang_up(sim);
	timer_stop(&sim->timer);
	free(sim->token);
	free(sim->seen);
}

struct sim *writers_make(struct fleet *fleet, struct sim_network *network, unsigned index, unsigned count)
{
	struct sim *sims = xcalloc(count, sizeof(*sims));

	network->first = index;
	network->size = count;
	for (unsigned i = 0; i < count; i++) {
		sim_init(fleet, &sims[i], index + i, network);
		sims[i].registers_only = true;
	}
	return sims;
}

void writers_free(struct sim *sims, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		sim_free(&sims[i]);
	free(sims);
}

uint64_t fleet_cpu_ns(const struct fleet *fleet)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < fleet->instances; i++)
		sum += subject_cpu_ns(&fleet->subjects[i]);
	return sum;
}

struct memory fleet_memory(const struct fleet *fleet)
{
	struct memory sum = {0};

	for (unsigned i = 0; i < fleet->instances; i++) {
		struct memory one = subject_memory(&fleet->subjects[i]);

		sum.rss += one.rss;
		sum.private_dirty += one.private_dirty;
	}
	return sum;
}

void fleet_free(struct fleet *fleet)
{
	for (unsigned i = 0; i < fleet->count; i++)
		sim_free(&fleet->sims[i]);
	for (unsigned i = 0; i < fleet->network_count; i++)
		free(fleet->networks[i].join_key);
	free(fleet->networks);
	free(fleet->sims);
	free(fleet->marks);
	samples_free(&fleet->latency);
}
