/*
 * stunserver.c - the sockets of the STUN server.
 *
 * One socket for each address and port it was told to serve; "all addresses" is one socket for both
 * families. IP_PKTINFO says which address was asked and makes the answer leave from it, also from
 * the other one of a pair. A pair (RFC 5780) is two of our addresses of a family with two ports,
 * the second being the first plus one; its sockets are opened beside those asked for.
 *
 * Whoever asks is answered to, so a forged source is hit: each source (IPv6: its /64) has a token
 * bucket in a table of fixed size, found by a keyed hash.
 */
#include "stunserver.h"
#include "hostaddr.h"
#include "lib/log.h"
#include "lib/ratelimit.h"
#include "lib/sock.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH          32
#define BATCHES_A_WAKE 8
#define SLOTS          4096
#define RATE_A_SECOND  50
#define BURST          200
#define REFRESH_MS     60000
#define MAX_SOCKETS    32
#define MAX_PAIRS      8

union control { /* room for both families' packet information, aligned */
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_storage from[BATCH];
	union control control[BATCH];
	uint8_t data[BATCH][STUN_MAX_LEN];
};

struct stun_socket {
	struct stunserver *server;
	struct loop_io io;
	struct endpoint at; /* as bound */
	int fd, family;     /* of the socket; AF_INET6 bound to all takes both */
	bool asked_for;     /* else it was opened for a pair */
};

struct stunserver {
	struct loop *loop;
	struct stunserver_options options;
	struct stun_socket sockets[MAX_SOCKETS];
	size_t socket_count;
	struct stun_pair pairs[MAX_PAIRS];
	size_t pair_count;
	struct loop_timer refresh;
	struct batch batch;
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	struct bucket buckets[SLOTS];
};

/* ---- one message ----------------------------------------------------------------- */

static bool allowed(struct stunserver *server, const struct addr *from)
{
	size_t len = from->family == AF_INET6 ? 8 : 4;
	uint64_t hash;

	_Static_assert(sizeof(hash) == crypto_shorthash_BYTES, "one word");
	crypto_shorthash((uint8_t *)&hash, from->bytes, len, server->hash_key);
	return bucket_take(&server->buckets[hash % SLOTS], loop_now(server->loop));
}

/* The address a message was sent to. */
static bool asked_address(struct msghdr *message, struct addr *out, uint32_t *interface)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct endpoint endpoint;
	bool found = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c && !found; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			in6.sin6_addr = info.ipi6_addr;
			*interface = info.ipi6_ifindex;
			found = endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&in6);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			in.sin_addr = info.ipi_addr;
			*interface = (uint32_t)info.ipi_ifindex;
			found = endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&in);
		}
	}
	if (found)
		*out = endpoint.addr;
	return found;
}

/* An address as a socket of `family` wants it: IPv4 in an IPv6 socket is ::ffff:a.b.c.d. */
static void as_in6(struct in6_addr *out, const struct addr *addr)
{
	memset(out, 0, sizeof(*out));
	if (addr->family == AF_INET6) {
		memcpy(out, addr->bytes, 16);
		return;
	}
	out->s6_addr[10] = out->s6_addr[11] = 0xFF;
	memcpy(out->s6_addr + 12, addr->bytes, 4);
}

static socklen_t as_sockaddr(struct sockaddr_storage *out, const struct endpoint *endpoint, int family)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	if (family == endpoint->addr.family)
		return endpoint_to_sockaddr(endpoint, out);
	memset(out, 0, sizeof(*out));
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(endpoint->port);
	as_in6(&in6->sin6_addr, &endpoint->addr);
	return sizeof(*in6);
}

static void set_source(struct msghdr *message, const struct endpoint *source, int family)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(message);

	if (family == AF_INET6) {
		struct in6_pktinfo info = {.ipi6_ifindex = source->scope_id};

		as_in6(&info.ipi6_addr, &source->addr);
		*c = (struct cmsghdr){CMSG_LEN(sizeof(info)), IPPROTO_IPV6, IPV6_PKTINFO};
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		message->msg_controllen = CMSG_SPACE(sizeof(info));
	} else {
		struct in_pktinfo info = {0};

		memcpy(&info.ipi_spec_dst, source->addr.bytes, 4);
		*c = (struct cmsghdr){CMSG_LEN(sizeof(info)), IPPROTO_IP, IP_PKTINFO};
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		message->msg_controllen = CMSG_SPACE(sizeof(info));
	}
}

/* The socket that can send from `source`. */
static const struct stun_socket *socket_for(const struct stunserver *server,
					    const struct endpoint *source)
{
	for (size_t i = 0; i < server->socket_count; i++) {
		const struct stun_socket *s = &server->sockets[i];
		bool all = addr_is_unspecified(&s->at.addr) &&
			   (s->family == AF_INET6 || source->addr.family == AF_INET);

		if (s->at.port == source->port && (all || addr_equal(&s->at.addr, &source->addr)))
			return s;
	}
	return NULL;
}

/* What cannot be sent is lost, as datagrams are: the client asks again. */
static void send_answer(struct stunserver *server, struct stun_answer *answer)
{
	const struct stun_socket *s = socket_for(server, &answer->source);
	struct iovec vector = {answer->data, answer->len};
	struct sockaddr_storage to;
	union control control;
	struct msghdr message = {
		.msg_name = &to,
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control),
	};

	if (!s)
		return;
	message.msg_namelen = as_sockaddr(&to, &answer->to, s->family);
	memset(&control, 0, sizeof(control));
	set_source(&message, &answer->source, s->family);
	if (sendmsg(s->fd, &message, MSG_DONTWAIT) < 0)
		log_debug("stun-send", "reason=\"%s\"", strerror(errno));
}

static void handle(struct stun_socket *s, struct msghdr *message, const uint8_t *data, size_t len)
{
	struct stunserver *server = s->server;
	const struct stun_pair *pair = NULL;
	struct endpoint from, local = {.port = s->at.port};
	struct stun_answer answer;
	uint32_t interface = 0;

	if ((message->msg_flags & MSG_TRUNC) || !stun_is(data, len) ||
	    !endpoint_from_sockaddr(&from, message->msg_name) ||
	    !asked_address(message, &local.addr, &interface) || !allowed(server, &from.addr))
		return;
	if (addr_is_link_local(&local.addr))
		local.scope_id = interface;
	for (size_t i = 0; i < server->pair_count && !pair; i++)
		if (stun_pair_has(&server->pairs[i], &local))
			pair = &server->pairs[i];
	if (stun_answer(&answer, pair, &local, &from, data, len))
		send_answer(server, &answer);
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct stun_socket *s = arg;
	struct batch *b = &s->server->batch;
	int count = BATCH;

	(void)events;
	for (int round = 0; round < BATCHES_A_WAKE && count == BATCH; round++) {
		for (int i = 0; i < BATCH; i++) {
			b->vectors[i] = (struct iovec){b->data[i], STUN_MAX_LEN};
			b->messages[i].msg_hdr = (struct msghdr){
				.msg_name = &b->from[i],
				.msg_namelen = sizeof(b->from[i]),
				.msg_iov = &b->vectors[i],
				.msg_iovlen = 1,
				.msg_control = b->control[i].bytes,
				.msg_controllen = sizeof(b->control[i]),
			};
		}
		count = recvmmsg(fd, b->messages, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < count; i++)
			handle(s, &b->messages[i].msg_hdr, b->data[i], b->messages[i].msg_len);
	}
}

/* ---- sockets and pairs ------------------------------------------------------------- */

static bool PRINTF_LIKE(3, 4) fail(char *error, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, size, format, args);
	va_end(args);
	return false;
}

static bool open_socket(struct stunserver *server, const struct endpoint *at, bool asked_for, char *error,
			size_t size)
{
	struct stun_socket *s = &server->sockets[server->socket_count];
	char text[ENDPOINT_TEXT];
	int on = 1, fd;

	endpoint_format(text, at);
	if (server->socket_count == MAX_SOCKETS)
		return fail(error, size, "there are too many STUN addresses to open %s too", text);
	fd = sock_udp(at);
	if (fd < 0)
		return fail(error, size, "the STUN server cannot listen at %s: %s", text, strerror(-fd));
	*s = (struct stun_socket){.server = server, .fd = fd, .asked_for = asked_for};
	sock_local(fd, &s->at);
	s->family = s->at.addr.family; /* AF_INET where there is no IPv6 */
	if (s->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
	else
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	io_init(&s->io, server->loop, fd, on_readable, s);
	io_start(&s->io, LOOP_READ);
	server->socket_count++;
	return true;
}

static bool add_pair(struct stunserver *server, const struct stun_pair *pair, char *error, size_t size)
{
	for (unsigned i = 0; i < 4; i++) {
		struct endpoint at = {.addr = pair->address[i & 1], .port = pair->port[i >> 1]};

		if (!socket_for(server, &at) && !open_socket(server, &at, false, error, size))
			return false;
	}
	if (server->pair_count == MAX_PAIRS)
		return fail(error, size, "there are too many pairs of STUN addresses");
	server->pairs[server->pair_count++] = *pair;
	return true;
}

static const struct addr *alternate_of(const struct stunserver_options *options, int family)
{
	for (size_t i = 0; i < options->alternate_count; i++)
		if (options->alternate[i].family == family)
			return &options->alternate[i];
	return NULL;
}

/* The first of this host's addresses that is not `not`. */
static bool first_address(struct addr *out, int family, bool with_private, const struct addr *not)
{
	struct addr all[16];
	size_t count = host_addresses(all, ARRAY_SIZE(all), family, with_private);

	for (size_t i = 0; i < count; i++) {
		if (not && addr_equal(&all[i], not))
			continue;
		*out = all[i];
		return true;
	}
	return false;
}

/* Two addresses where all of them are served: by hand, or two public ones. */
static bool find_addresses(const struct stunserver_options *options, int family, struct addr out[static 2])
{
	const struct addr *alternate = alternate_of(options, family);

	if (alternate) {
		out[1] = *alternate;
		return first_address(&out[0], family, false, alternate) ||
		       first_address(&out[0], family, true, alternate);
	}
	return first_address(&out[0], family, false, NULL) &&
	       first_address(&out[1], family, false, &out[0]);
}

/* The second address for one that was named: another named with the same port, or the alternate. */
static bool find_partner(const struct stunserver *server, const struct stun_socket *one,
			 struct addr out[static 2])
{
	const struct addr *alternate = alternate_of(&server->options, one->at.addr.family);

	out[0] = one->at.addr;
	for (size_t i = 0; i < server->options.listen_count; i++) {
		const struct stun_socket *two = &server->sockets[i];

		if (two->at.port == one->at.port && two->family == one->family && two != one) {
			out[1] = two->at.addr;
			return true;
		}
	}
	if (!alternate || addr_equal(alternate, &one->at.addr))
		return false;
	out[1] = *alternate;
	return true;
}

static bool has_pair(const struct stunserver *server, int family, uint16_t port)
{
	for (size_t i = 0; i < server->pair_count; i++)
		if (server->pairs[i].address[0].family == family &&
		    (server->pairs[i].port[0] == port || server->pairs[i].port[1] == port))
			return true;
	return false;
}

/* For "all addresses" at a port: opens that address's second port on all addresses too. */
static bool add_wildcard_pair(struct stunserver *server, const struct stun_socket *s, int family,
			      char *error, size_t size)
{
	struct stun_pair pair = {.port = {s->at.port, (uint16_t)(s->at.port + 1)}};
	struct endpoint second = {.addr = s->at.addr, .port = pair.port[1]};
	struct endpoint probe;

	if (has_pair(server, family, s->at.port) ||
	    !find_addresses(&server->options, family, pair.address))
		return true;
	probe = (struct endpoint){.addr = pair.address[0], .port = pair.port[1]};
	if (!socket_for(server, &probe) && !open_socket(server, &second, false, error, size))
		return false;
	return add_pair(server, &pair, error, size);
}

static bool add_named_pair(struct stunserver *server, const struct stun_socket *s, char *error,
			   size_t size)
{
	struct stun_pair pair = {.port = {s->at.port, (uint16_t)(s->at.port + 1)}};

	if (has_pair(server, s->family, s->at.port) || !find_partner(server, s, pair.address))
		return true;
	return add_pair(server, &pair, error, size);
}

/* Finds the pairs there are now. (The first sockets are those asked for.) */
static bool add_pairs(struct stunserver *server, char *error, size_t size)
{
	bool ok = true;

	server->pair_count = 0;
	for (size_t i = 0; i < server->options.listen_count && ok; i++) {
		const struct stun_socket *s = &server->sockets[i];

		if (s->at.port == UINT16_MAX)
			continue;
		if (!addr_is_unspecified(&s->at.addr))
			ok = add_named_pair(server, s, error, size);
		else
			ok = add_wildcard_pair(server, s, AF_INET, error, size) &&
			     (s->family == AF_INET ||
			      add_wildcard_pair(server, s, AF_INET6, error, size));
	}
	return ok;
}

static void log_pairs(const struct stunserver *server)
{
	char one[ADDR_TEXT], two[ADDR_TEXT];

	for (size_t i = 0; i < server->pair_count; i++) {
		const struct stun_pair *pair = &server->pairs[i];

		addr_format(one, &pair->address[0]);
		addr_format(two, &pair->address[1]);
		log_info("stun-pair", "addresses=%s,%s ports=%u,%u", one, two, pair->port[0],
			 pair->port[1]);
	}
	if (!server->pair_count)
		log_info("stun-pair", "addresses=none reason=\"no second public address\"");
}

/* Addresses come and go; an answer from one that is gone would never arrive. */
static void on_refresh(void *arg)
{
	struct stunserver *server = arg;
	struct stun_pair before[MAX_PAIRS];
	size_t count = server->pair_count;
	char error[160];

	memcpy(before, server->pairs, sizeof(before));
	if (!add_pairs(server, error, sizeof(error)))
		log_debug("stun-pair", "reason=\"%s\"", error);
	if (count != server->pair_count || memcmp(before, server->pairs, count * sizeof(*before)))
		log_pairs(server);
	timer_start(&server->refresh, REFRESH_MS);
}

/* ---- the server -------------------------------------------------------------------- */

struct stunserver *stunserver_new(struct loop *loop, const struct stunserver_options *options,
				  char *error, size_t size)
{
	struct stunserver *server = xcalloc(1, sizeof(*server));
	bool ok = true;

	server->loop = loop;
	server->options = *options;
	crypto_shorthash_keygen(server->hash_key);
	for (size_t i = 0; i < SLOTS; i++)
		bucket_init(&server->buckets[i], RATE_A_SECOND, BURST, loop_now(loop));
	timer_init(&server->refresh, loop, on_refresh, server);
	for (size_t i = 0; i < options->listen_count && ok; i++)
		ok = open_socket(server, &options->listen[i], true, error, size);
	if (ok && !add_pairs(server, error, size)) {
		ok = !options->alternate_count; /* who names a second address wants it */
		log_warn("stun-pair", "reason=\"%s\"", error);
	}
	if (!ok) {
		stunserver_free(server);
		return NULL;
	}
	log_pairs(server);
	timer_start(&server->refresh, REFRESH_MS);
	return server;
}

void stunserver_free(struct stunserver *server)
{
	if (!server)
		return;
	timer_stop(&server->refresh);
	for (size_t i = 0; i < server->socket_count; i++) {
		io_stop(&server->sockets[i].io);
		close(server->sockets[i].fd);
	}
	free(server);
}

size_t stunserver_endpoints(const struct stunserver *server, struct endpoint *out, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < server->socket_count && count < max; i++)
		if (server->sockets[i].asked_for)
			out[count++] = server->sockets[i].at;
	return count;
}

bool stunserver_has_pair(const struct stunserver *server)
{
	return server->pair_count > 0;
}
