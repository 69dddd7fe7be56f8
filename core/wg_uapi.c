/*
 * WireGuard in user space (wireguard-go, boringtun): lines of key=value over a unix socket, one
 * connection a question, so that a restarted daemon is no matter. It answers at once or is hung:
 * nothing here waits longer than WAIT_MS. The tricky thing: an order is carried out line by line,
 * so `update_only` has to come right behind the key, or the peer exists by then.
 */
#include "wg_backend.h"

#include "lib/buf.h"
#include "lib/secret.h"
#include "lib/sock.h"
#include "lib/str.h"
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS "/var/run/wireguard"
#define WAIT_MS 2000

/* ---- the conversation ----------------------------------------------------------------------- */

static int wait_for(int fd, short events)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};
	int ready;

	do
		ready = poll(&poll_fd, 1, WAIT_MS);
	while (ready < 0 && errno == EINTR);
	return ready > 0 ? 0 : ready == 0 ? -ETIMEDOUT : -errno;
}

static int send_all(int fd, const struct buf *request)
{
	size_t sent = 0;

	while (sent < request->len) {
		ssize_t put = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);
		int error = put >= 0 ? 0 : -errno;

		if (error == -EAGAIN)
			error = wait_for(fd, POLLOUT);
		if (error && error != -EINTR)
			return error;
		sent += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

static bool is_whole(const struct buf *answer)
{
	return answer->len >= 2 && memcmp(answer->data + answer->len - 2, "\n\n", 2) == 0;
}

static int receive_all(int fd, struct buf *answer)
{
	while (!is_whole(answer)) {
		uint8_t *at = buf_reserve(answer, 4096);
		ssize_t got = at ? recv(fd, at, 4096, 0) : 0;
		int error = got >= 0 ? 0 : -errno;

		if (error == -EAGAIN)
			error = wait_for(fd, POLLIN);
		if (error && error != -EINTR)
			return error;
		if (!error && got == 0)
			return -EPROTO; /* it ended early, or says more than anyone would */
		answer->len += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int connect_to(const struct wg *wg)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), SOCKETS "/%s.sock", wg->name);
	fd = sock_connect_unix(path);
	return fd == -ENOENT || fd == -ECONNREFUSED ? -ENODEV : fd;
}

/* An order that is refused half way ends the sending with EPIPE; the answer says why. */
static int ask(const struct wg *wg, const struct buf *request, struct buf *answer)
{
	int fd = connect_to(wg), error;

	if (fd < 0)
		return fd;
	error = send_all(fd, request);
	if (!error || error == -EPIPE)
		error = receive_all(fd, answer);
	close(fd);
	return error;
}

/* ---- reading -------------------------------------------------------------------------------- */

struct reader {
	struct wg_device *device;
	struct wg_peer *peer; /* the one whose lines these are */
	uint64_t error;       /* what errno= said */
	bool ended;
};

static bool hex_key(struct key *out, const char *text)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != 2 * KEY_LEN || strspn(text, digits) != 2 * KEY_LEN)
		return false;
	for (size_t i = 0; i < KEY_LEN; i++)
		out->bytes[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
					  (strchr(digits, text[2 * i + 1]) - digits));
	return true;
}

static bool number_to(const char *text, uint64_t max, uint64_t *out)
{
	return parse_u64(text, out) && *out <= max;
}

static bool read_private_key(struct reader *r, const char *value)
{
	if (!hex_key(&r->device->private_key, value))
		return false;
	if (!key_is_zero(&r->device->private_key))
		key_public(&r->device->public_key, &r->device->private_key);
	return true;
}

static bool read_listen_port(struct reader *r, const char *value)
{
	return parse_u16(value, &r->device->listen_port);
}

static bool read_fwmark(struct reader *r, const char *value)
{
	uint64_t number;

	if (!number_to(value, UINT32_MAX, &number))
		return false;
	r->device->fwmark = (uint32_t)number;
	return true;
}

static bool read_public_key(struct reader *r, const char *value)
{
	struct key key;

	if (!hex_key(&key, value))
		return false;
	r->peer = wg_peer_new(r->device, &key);
	return true;
}

static bool read_preshared_key(struct reader *r, const char *value)
{
	r->peer->has_preshared_key = strspn(value, "0") != strlen(value);
	return true;
}

/* Go writes the interface of a link-local address by name: [fe80::1%eth0]:51820. When that is gone,
 * so is the endpoint. */
static bool read_endpoint(struct reader *r, const char *value)
{
	const char *zone = strchr(value, '%'), *end = zone ? strchr(zone, ']') : NULL;
	char name[IF_NAMESIZE] = "", *text;
	unsigned ifindex;
	bool good;

	if (endpoint_parse(&r->peer->endpoint, value))
		return true;
	if (!end || end - zone > IF_NAMESIZE)
		return false;
	memcpy(name, zone + 1, (size_t)(end - zone - 1));
	ifindex = if_nametoindex(name);
	text = xasprintf("%.*s%%%u%s", (int)(zone - value), value, ifindex, end);
	good = !ifindex || endpoint_parse(&r->peer->endpoint, text);
	free(text);
	return good;
}

static bool read_handshake_s(struct reader *r, const char *value)
{
	uint64_t seconds;

	if (!number_to(value, UINT64_MAX / 1000, &seconds))
		return false;
	r->peer->last_handshake_wall_ms += seconds * 1000;
	return true;
}

static bool read_handshake_ns(struct reader *r, const char *value)
{
	uint64_t nanoseconds;

	if (!number_to(value, 999999999, &nanoseconds))
		return false;
	r->peer->last_handshake_wall_ms += nanoseconds / 1000000;
	return true;
}

static bool read_rx(struct reader *r, const char *value)
{
	return parse_u64(value, &r->peer->rx_bytes);
}

static bool read_tx(struct reader *r, const char *value)
{
	return parse_u64(value, &r->peer->tx_bytes);
}

static bool read_keepalive(struct reader *r, const char *value)
{
	return parse_u16(value, &r->peer->keepalive_s);
}

static bool read_allowed_ip(struct reader *r, const char *value)
{
	struct prefix prefix;

	if (!prefix_parse(&prefix, value))
		return false;
	wg_peer_allow(r->peer, &prefix);
	return true;
}

static bool read_errno(struct reader *r, const char *value)
{
	r->ended = true;
	return number_to(value + (*value == '-'), 4095, &r->error);
}

static const struct field {
	const char *key;
	bool (*read)(struct reader *r, const char *value);
	bool of_peer;
} fields[] = {
	{"private_key", read_private_key, false},
	{"listen_port", read_listen_port, false},
	{"fwmark", read_fwmark, false},
	{"public_key", read_public_key, false},
	{"preshared_key", read_preshared_key, true},
	{"endpoint", read_endpoint, true},
	{"last_handshake_time_sec", read_handshake_s, true},
	{"last_handshake_time_nsec", read_handshake_ns, true},
	{"rx_bytes", read_rx, true},
	{"tx_bytes", read_tx, true},
	{"persistent_keepalive_interval", read_keepalive, true},
	{"allowed_ip", read_allowed_ip, true},
	{"errno", read_errno, false},
};

/* Keys we do not know are left alone: newer daemons say more. */
static bool read_line(struct reader *r, char *line)
{
	char *value = strchr(line, '=');

	if (!value)
		return false;
	*value++ = 0;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (strcmp(fields[i].key, line) == 0)
			return (r->peer || !fields[i].of_peer) && fields[i].read(r, value);
	return true;
}

/* Reads a whole answer; NUL bytes in it make it nonsense. */
static int read_answer(struct wg_device *device, struct buf *answer)
{
	struct reader r = {.device = device};
	char *line = buf_text(answer), *end;

	if (strlen(line) != answer->len)
		return -EPROTO;
	for (; (end = strchr(line, '\n')) && end != line; line = end + 1) {
		*end = 0;
		if (r.ended || !read_line(&r, line))
			return -EPROTO;
	}
	return r.ended ? -(int)r.error : -EPROTO;
}

static int get(struct wg *wg, struct wg_device *out)
{
	struct buf request = {0}, answer = {0};
	int error;

	buf_puts(&request, "get=1\n\n");
	error = ask(wg, &request, &answer);
	if (!error)
		error = read_answer(out, &answer);
	buf_free(&request);
	buf_wipe(&answer);
	return error;
}

/* ---- setting -------------------------------------------------------------------------------- */

static int put_key(struct buf *out, const char *name, const struct key *key)
{
	char hex[2 * KEY_LEN + 1];
	int error;

	hex_encode(hex, sizeof(hex), key, KEY_LEN);
	error = buf_addf(out, "%s=%s\n", name, hex);
	secret_wipe(hex, sizeof(hex));
	return error;
}

static int put_allowed_ips(struct buf *out, const struct wg_peer *peer)
{
	char text[PREFIX_TEXT];
	int error = 0;

	for (size_t i = 0; i < peer->allowed_ip_count && !error; i++) {
		prefix_format(text, &peer->allowed_ips[i].prefix);
		error = buf_addf(out, "allowed_ip=%s\n", text);
	}
	return error;
}

static int put_change(struct buf *out, const struct wg_peer *peer, unsigned flags)
{
	char endpoint[ENDPOINT_TEXT];
	int error = put_key(out, "public_key", &peer->public_key);

	if (flags & WG_PEER_REMOVE)
		return error ? error : buf_puts(out, "remove=true\n");
	if (!error && flags & WG_PEER_UPDATE_ONLY)
		error = buf_puts(out, "update_only=true\n");
	if (!error && flags & WG_PEER_REPLACE_ALLOWED_IPS)
		error = buf_puts(out, "replace_allowed_ips=true\n");
	if (!error && flags & WG_PEER_SET_ENDPOINT && peer->endpoint.addr.family) {
		endpoint_format(endpoint, &peer->endpoint);
		error = buf_addf(out, "endpoint=%s\n", endpoint);
	}
	if (!error && flags & WG_PEER_SET_KEEPALIVE)
		error = buf_addf(out, "persistent_keepalive_interval=%u\n", peer->keepalive_s);
	if (!error && flags & WG_PEER_SET_PSK)
		error = put_key(out, "preshared_key", peer->preshared);
	return error ? error : put_allowed_ips(out, peer);
}

static int order(struct wg *wg, struct buf *request)
{
	struct buf answer = {.limit = 65536};
	struct wg_device nothing = {0};
	int error = buf_puts(request, "\n");

	list_init(&nothing.peers);
	if (!error)
		error = ask(wg, request, &answer);
	if (!error)
		error = read_answer(&nothing, &answer);
	wg_device_fini(&nothing);
	buf_free(&answer);
	return error;
}

static int set_peers(struct wg *wg, const struct wg_change *changes, size_t count)
{
	struct buf request = {0};
	int error = buf_puts(&request, "set=1\n");

	for (size_t i = 0; i < count && !error; i++)
		error = put_change(&request, changes[i].peer, changes[i].flags);
	if (!error)
		error = order(wg, &request);
	buf_wipe(&request);
	return error;
}

static int set(struct wg *wg, enum wg_setting what, uint32_t number, const struct key *key)
{
	static const char *const names[] = {
		[WG_LISTEN_PORT] = "listen_port",
		[WG_FWMARK] = "fwmark",
	};
	struct buf request = {0};
	int error = buf_puts(&request, "set=1\n");

	if (!error)
		error = what == WG_PRIVATE_KEY ?
				put_key(&request, "private_key", key) :
				buf_addf(&request, "%s=%u\n", names[what], number);
	if (!error)
		error = order(wg, &request);
	buf_wipe(&request);
	return error;
}

/* ---- opening -------------------------------------------------------------------------------- */

static int open_device(struct wg *wg)
{
	int fd = connect_to(wg);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void close_device(struct wg *wg)
{
	(void)wg; /* a connection a question: nothing is kept */
}

const struct wg_backend wg_uapi = {open_device, close_device, get, set_peers, set};
