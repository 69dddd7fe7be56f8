/* See fake_coordinator.h. */
#include "fake_coordinator.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake_conn {
	struct list node;
	struct fake *fake;
	struct stream *stream;
	struct http_message http;
	struct ws *ws;
};

static void answer(struct fake_conn *conn, int status, const char *body)
{
	struct buf out = {0};

	http_write_response(&out, status, NULL, status < 400 ? "application/json" : "application/problem+json",
			    body, strlen(body), true, false);
	stream_write(conn->stream, out.data, out.len);
	buf_free(&out);
}

static void problem(struct fake_conn *conn, int status, const char *code)
{
	char body[300];

	snprintf(body, sizeof(body), "{\"status\":%d,\"code\":\"%s\",\"detail\":\"detail \\u001b[31m of %s\"}",
		 status, code, code);
	answer(conn, status, body);
}

static void challenge(struct fake_conn *conn)
{
	struct fake *fake = conn->fake;
	char body[300], key[KEY_BASE64], *text;
	uint8_t bytes[32];

	fake->challenges++;
	random_bytes(bytes, sizeof(bytes));
	key_format(key, &fake->shown_key);
	text = base64_encode(bytes, sizeof(bytes));
	snprintf(body, sizeof(body), "{\"challenge\":\"%s\",\"server_key\":\"%s\",\"expires_at\":null}", text, key);
	free(text);
	answer(conn, 200, body);
}

/* The proof of this request against the body's own public key; answers where it is none. */
static bool proved(struct fake_conn *conn, json_t *body)
{
	struct fake *fake = conn->fake;
	const char *header = http_header(&conn->http, "Authorization");
	const char *text = json_string_value(json_object_get(body, "challenge"));
	const char *key = json_string_value(json_object_get(body, "public_key"));
	const char *origin = json_string_value(json_object_get(body, "coordinator"));
	uint8_t bytes[32], proof[32];
	struct key public_key;

	fake->proofs++;
	if (!header || strncmp(header, "Proof ", 6) || !text || !key || !origin ||
	    strcmp(origin, fake->origin) || !key_parse(&public_key, key) ||
	    base64_decode(bytes, sizeof(bytes), text) != 32 ||
	    base64_decode(proof, sizeof(proof), header + 6) != 32 ||
	    !proof_check(proof, &public_key, &fake->private_key, bytes, conn->http.body.data,
			 conn->http.body.len)) {
		fake->bad_proofs++;
		problem(conn, 401, "proof_wrong");
		return false;
	}
	if (fake->challenges_serve_once && !memcmp(bytes, fake->used, 32)) {
		problem(conn, 401, "challenge_used");
		return false;
	}
	memcpy(fake->used, bytes, 32);
	return true;
}

static bool lost(struct fake_conn *conn)
{
	if (!conn->fake->lose_answers)
		return false;
	conn->fake->lose_answers--;
	stream_abort(conn->stream);
	return true;
}

static bool is_agents(struct fake_conn *conn, json_t *body)
{
	struct key key;

	return key_is_zero(&conn->fake->agent_key) ||
	       (key_parse(&key, json_string_value(json_object_get(body, "public_key"))) &&
		key_equal(&key, &conn->fake->agent_key));
}

static bool proves(struct fake_conn *conn, const char *name, const struct key *key, json_t *body)
{
	const char *header = http_header(&conn->http, name);
	const char *text = json_string_value(json_object_get(body, "challenge"));
	uint8_t bytes[32], proof[32];

	return header && !strncmp(header, "Proof ", 6) && text &&
	       base64_decode(bytes, sizeof(bytes), text) == 32 &&
	       base64_decode(proof, sizeof(proof), header + 6) == 32 &&
	       proof_check(proof, key, &conn->fake->private_key, bytes, conn->http.body.data,
			   conn->http.body.len);
}

static void rekey(struct fake_conn *conn, json_t *body)
{
	struct fake *fake = conn->fake;
	const char *text = json_string_value(json_object_get(body, "public_key"));
	struct key key;

	str_copy(fake->body, sizeof(fake->body), buf_text(&conn->http.body));
	if (!text || !key_parse(&key, text) || !proves(conn, "Authorization", &fake->agent_key, body) ||
	    !proves(conn, "WG-Mesh-New-Proof", &key, body)) {
		problem(conn, 401, "proof_wrong");
		return;
	}
	if (fake->rekey_code) {
		problem(conn, 409, fake->rekey_code);
		return;
	}
	fake->agent_key = key;
	fake->rekeyed++;
	if (!lost(conn))
		answer(conn, 200, "{}");
}

static void new_token(struct fake *fake)
{
	snprintf(fake->token, sizeof(fake->token), "token-%u", ++fake->token_number);
}

static void give_token(struct fake_conn *conn)
{
	char body[200];

	new_token(conn->fake);
	snprintf(body, sizeof(body), "{\"token\":\"%s\",\"expires_in\":%d}", conn->fake->token,
		 conn->fake->expires_in);
	answer(conn, 200, body);
}

static bool bearer_good(struct fake_conn *conn)
{
	const char *header = http_header(&conn->http, "Authorization");

	return header && !strncmp(header, "Bearer ", 7) && !strcmp(header + 7, conn->fake->token);
}

static void token(struct fake_conn *conn, json_t *body)
{
	struct fake *fake = conn->fake;
	const char *header = http_header(&conn->http, "Authorization");

	if (header && !strncmp(header, "Bearer ", 7)) {
		fake->bearers++;
		if (bearer_good(conn) && !fake->refuse_bearer)
			give_token(conn);
		else
			problem(conn, 401, "token_expired");
	} else if (proved(conn, body)) {
		if (lost(conn))
			return;
		if (fake->refuse_proof || !is_agents(conn, body))
			problem(conn, 401, fake->refuse_proof ? fake->refuse_proof : "unknown_agent");
		else
			give_token(conn);
	}
}

static void registration(struct fake_conn *conn, json_t *body)
{
	struct fake *fake = conn->fake;
	char text[1000], key[KEY_BASE64];

	str_copy(fake->body, sizeof(fake->body), buf_text(&conn->http.body));
	if (!proved(conn, body))
		return;
	fake->registered++;
	if (lost(conn))
		return;
	if (fake->register_code) {
		problem(conn, fake->register_status, fake->register_code);
		return;
	}
	new_token(fake);
	key_format(key, &fake->public_key);
	snprintf(text, sizeof(text),
		 "{\"agent_id\":\"a-1\",\"name\":\"laptop\",\"token\":\"%s\",\"expires_in\":86400,"
		 "\"network_id\":\"n-1\",\"networks\":[{\"id\":\"n-1\",\"name\":\"default\","
		 "\"cidr\":\"10.86.0.0/16\",\"cidr6\":null,\"addresses\":[\"10.86.0.3/16\"]}],"
		 "\"relays\":[{\"region\":\"fra\",\"url\":null,\"key\":null,\"stun\":[\"stun.example:3478\"]}],"
		 "\"pins\":[\"%s\"],\"server_key\":\"%s\"}",
		 fake->token, fake->pin, key);
	answer(conn, 201, fake->register_answer ? fake->register_answer : text);
}

static void flush(struct fake_conn *conn)
{
	struct buf *out = ws_output(conn->ws);

	if (out->len)
		stream_write(conn->stream, out->data, out->len);
	buf_consume(out, out->len);
}

static void on_message(void *arg, const char *text, size_t len)
{
	struct fake_conn *conn = arg;
	char error[JS_ERROR];
	json_t *frame = js_load(text, len, error);

	json_array_append_new(conn->fake->heard, frame ? frame : json_null());
}

static void upgrade(struct fake_conn *conn)
{
	struct fake *fake = conn->fake;
	const char *key = http_header(&conn->http, "Sec-WebSocket-Key");
	char text[300], accept[29];

	fake->upgrades++;
	if (fake->refuse_upgrade || !bearer_good(conn) || !key) {
		problem(conn, 401, fake->refuse_upgrade ? fake->refuse_upgrade : "token_expired");
		return;
	}
	ws_accept_key(accept, key);
	snprintf(text, sizeof(text), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
				     "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
	stream_write(conn->stream, text, strlen(text));
	conn->ws = ws_new(true, 1 << 20, on_message, conn);
	fake->stream = conn;
}

static void request(struct fake_conn *conn)
{
	const char *path = conn->http.path;
	char error[JS_ERROR];
	json_t *body = js_load(conn->http.body.data, conn->http.body.len, error);

	if (!strcmp(path, "/api/v1/agents/challenge")) {
		challenge(conn);
	} else if (!strcmp(path, "/api/v1/agents/register")) {
		registration(conn, body);
	} else if (!strcmp(path, "/api/v1/agents/a-1/token")) {
		token(conn, body);
	} else if (!strcmp(path, "/api/v1/agents/a-1/key")) {
		rekey(conn, body);
	} else if (!strcmp(path, "/api/v1/agents/a-1/sync")) {
		upgrade(conn);
	} else if (!strcmp(conn->http.method, "DELETE") && !strcmp(path, "/api/v1/agents/a-1")) {
		if (bearer_good(conn)) {
			conn->fake->removed++;
			answer(conn, 204, "");
		} else {
			problem(conn, 401, "token_expired");
		}
	} else {
		problem(conn, 404, "not_found");
	}
	json_decref(body);
}

static size_t on_data(void *arg, const uint8_t *data, size_t len)
{
	struct fake_conn *conn = arg;
	size_t at = 0, used;

	while (at < len && !conn->ws && !conn->fake->deaf) {
		enum http_state state = http_feed(&conn->http, data + at, len - at, &used);

		at += used;
		if (state != HTTP_COMPLETE)
			break;
		request(conn);
		http_reset(&conn->http);
	}
	if (conn->ws && at < len && !conn->fake->deaf) {
		ws_feed(conn->ws, data + at, len - at);
		flush(conn);
	}
	return len;
}

static void on_closed(void *arg, const char *reason)
{
	struct fake_conn *conn = arg;

	(void)reason;
	if (conn->fake->stream == conn)
		conn->fake->stream = NULL;
	list_del(&conn->node);
	http_free(&conn->http);
	ws_free(conn->ws);
	free(conn);
}

static void on_accept(void *arg, int listener, unsigned events)
{
	static const struct stream_ops ops = {.data = on_data, .closed = on_closed};
	struct fake *fake = arg;
	int fd = sock_accept(listener, NULL);
	struct fake_conn *conn;

	(void)events;
	if (fd < 0)
		return;
	fake->connections++;
	conn = xcalloc(1, sizeof(*conn));
	conn->fake = fake;
	http_init(&conn->http, NULL, false);
	list_add_tail(&fake->conns, &conn->node);
	conn->stream = stream_new(fake->loop, fd, fake->tls, &ops, conn, 0);
}

struct fake *fake_new(struct loop *loop)
{
	const char *const names[] = {"127.0.0.1", NULL};
	struct fake *fake = xcalloc(1, sizeof(*fake));
	struct endpoint at;
	char cert[96], key[96], error[200];
	int fd;

	fake->loop = loop;
	fake->expires_in = 86400;
	fake->heard = json_array();
	list_init(&fake->conns);
	key_generate_private(&fake->private_key);
	key_public(&fake->public_key, &fake->private_key);
	fake->shown_key = fake->public_key;
	snprintf(fake->directory, sizeof(fake->directory), "/tmp/fake_coordinator.XXXXXX");
	if (!mkdtemp(fake->directory))
		abort();
	snprintf(cert, sizeof(cert), "%s/cert.pem", fake->directory);
	snprintf(key, sizeof(key), "%s/key.pem", fake->directory);
	if (tls_make_certificate(cert, key, names, error, sizeof(error)))
		abort();
	fake->tls = tls_server_new(cert, key, error, sizeof(error));
	tls_server_pin(fake->tls, fake->pin);
	unlink(cert);
	unlink(key);
	rmdir(fake->directory);
	addr_parse(&at.addr, "127.0.0.1");
	at.port = 0;
	at.scope_id = 0;
	fd = sock_listen_tcp(&at);
	if (fd < 0 || sock_local(fd, &at))
		abort();
	snprintf(fake->origin, sizeof(fake->origin), "https://127.0.0.1:%u", at.port);
	io_init(&fake->io, loop, fd, on_accept, fake);
	io_start(&fake->io, LOOP_READ);
	return fake;
}

void fake_free(struct fake *fake)
{
	struct fake_conn *conn, *tmp;

	io_stop(&fake->io);
	close(fake->io.ev.fd);
	list_each_safe(conn, tmp, &fake->conns, node)
		stream_abort(conn->stream);
	while (!list_empty(&fake->conns)) {
		struct loop_timer timer;

		timer_init(&timer, fake->loop, (loop_timer_fn *)loop_stop, fake->loop);
		timer_start(&timer, 5);
		loop_run(fake->loop);
		timer_stop(&timer);
	}
	tls_server_free(fake->tls);
	json_decref(fake->heard);
	free(fake);
}

void fake_say(struct fake *fake, const char *frame)
{
	if (!fake->stream)
		return;
	ws_send(fake->stream->ws, frame, strlen(frame));
	flush(fake->stream);
}

void fake_raw(struct fake *fake, const void *data, size_t len)
{
	if (fake->stream)
		stream_write(fake->stream->stream, data, len);
}

void fake_cut(struct fake *fake)
{
	if (fake->stream)
		stream_abort(fake->stream->stream);
}

json_t *fake_heard(const struct fake *fake, const char *type)
{
	for (size_t i = json_array_size(fake->heard); i-- > 0;) {
		json_t *frame = json_array_get(fake->heard, i);
		const char *is = json_string_value(json_object_get(frame, "type"));

		if (is && !strcmp(is, type))
			return frame;
	}
	return NULL;
}

unsigned fake_count(const struct fake *fake, const char *type)
{
	unsigned count = 0;
	json_t *frame;
	size_t i;

	json_array_foreach(fake->heard, i, frame) {
		const char *is = json_string_value(json_object_get(frame, "type"));

		count += is && !strcmp(is, type);
	}
	return count;
}
