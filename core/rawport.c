/*
 * WireGuard's port, shared through raw sockets. The kernel hands raw sockets a copy of what comes
 * in (never of what goes out, so our own packets do not come back), and a classic BPF filter keeps
 * all but STUN to our port away. Tricky things: between socket() and its filter bytes can queue, so
 * a filter that drops everything comes first and what is there is thrown away; IPv4 gives the IP
 * header (whose length is to be read) and leaves the checksum to us, for which the source address
 * must be known before sending; IPv6 gives the UDP header and makes the checksum itself; and the
 * callback may close the port it is called from.
 */
#include "rawport.h"

#include "lib/sock.h"
#include "lib/stun.h"
#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

#define UDP_HEADER  8
#define PACKET_MAX  1536
#define BATCH       16 /* packets of one wake; the rest comes with the next */
#define UDP_MAX     (65535 - 20 - UDP_HEADER)

struct rawport {
	struct loop *loop;
	struct side {
		struct rawport *raw;
		sa_family_t family;
		int fd; /* -1: this host has no such family */
		struct loop_io io;
	} v4, v6;
	uint16_t port;
	uint32_t fwmark;
	rawport_fn *fn;
	void *arg;
	bool calling, closed; /* in a callback; closed by it: freed after it */
};

/* ---- the filters ---------------------------------------------------------------------------- */

#define FILTER_MAX 12

/* X is where the UDP header begins; no fragment, destination port, STUN's cookie. */
static unsigned filter_v4(struct sock_filter *out, uint16_t port)
{
	const struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x3fff, 6, 0),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, UDP_HEADER + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUN_COOKIE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	memcpy(out, program, sizeof(program));
	return ARRAY_SIZE(program);
}

static unsigned filter_v6(struct sock_filter *out, uint16_t port)
{
	const struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUN_COOKIE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	memcpy(out, program, sizeof(program));
	return ARRAY_SIZE(program);
}

static unsigned filter_nothing(struct sock_filter *out)
{
	*out = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	return 1;
}

static int attach(int fd, struct sock_filter *filter, unsigned len)
{
	struct sock_fprog program = {.len = (unsigned short)len, .filter = filter};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return -errno;
	return 0;
}

static int attach_port(const struct side *side, uint16_t port)
{
	struct sock_filter filter[FILTER_MAX];
	unsigned len = !port                     ? filter_nothing(filter) :
		       side->family == AF_INET ? filter_v4(filter, port) :
						 filter_v6(filter, port);

	return attach(side->fd, filter, len);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static uint16_t get_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* The UDP payload of what the socket gave, checked again: the port may have changed since the
 * filter let it in, and lengths are a stranger's. */
static bool take_udp(struct rawport_packet *packet, const uint8_t *udp, size_t len, uint16_t port)
{
	if (len < UDP_HEADER || get_u16(udp + 2) != port || get_u16(udp + 4) < UDP_HEADER ||
	    get_u16(udp + 4) > len)
		return false;
	packet->from.port = get_u16(udp);
	packet->data = udp + UDP_HEADER;
	packet->len = get_u16(udp + 4) - UDP_HEADER;
	return packet->from.port != 0;
}

static bool take_v4(struct rawport_packet *packet, const uint8_t *data, size_t len, uint16_t port)
{
	size_t header = len ? (data[0] & 0xfu) * 4u : 0;

	if (header < 20 || header > len || data[0] >> 4 != 4)
		return false;
	packet->from.addr = packet->to = (struct addr){.family = AF_INET};
	memcpy(packet->from.addr.bytes, data + 12, 4);
	memcpy(packet->to.bytes, data + 16, 4);
	return take_udp(packet, data + header, len - header, port);
}

static bool take_v6(struct rawport_packet *packet, struct msghdr *message, const uint8_t *data,
		    size_t len, uint16_t port)
{
	struct in6_pktinfo info;

	packet->to.family = 0;
	if (!endpoint_from_sockaddr(&packet->from, message->msg_name))
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		packet->to.family = AF_INET6;
		memcpy(packet->to.bytes, &info.ipi6_addr, 16);
	}
	return packet->to.family && take_udp(packet, data, len, port);
}

/* What we sent to an address of our own is not for us. */
static bool is_own(const struct rawport *raw, const struct rawport_packet *packet)
{
	return packet->from.port == raw->port && addr_equal(&packet->from.addr, &packet->to);
}

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in6 from[BATCH];
	char control[BATCH][CMSG_SPACE(sizeof(struct in6_pktinfo)) + 64];
	uint8_t data[BATCH][PACKET_MAX];
};

static int receive(const struct side *side, struct batch *batch)
{
	for (unsigned i = 0; i < BATCH; i++) {
		batch->vectors[i] = (struct iovec){batch->data[i], PACKET_MAX};
		batch->messages[i].msg_hdr = (struct msghdr){.msg_name = &batch->from[i],
							     .msg_namelen = sizeof(batch->from[i]),
							     .msg_iov = &batch->vectors[i],
							     .msg_iovlen = 1,
							     .msg_control = batch->control[i],
							     .msg_controllen = sizeof(batch->control[i])};
	}
	return recvmmsg(side->fd, batch->messages, BATCH, MSG_DONTWAIT, NULL);
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct side *side = arg;
	struct rawport *raw = side->raw;
	struct rawport_packet packet = {0};
	struct batch batch;
	int count = receive(side, &batch);

	(void)fd, (void)events;
	raw->calling = true;
	for (int i = 0; i < count && !raw->closed; i++) {
		struct msghdr *message = &batch.messages[i].msg_hdr;
		size_t len = batch.messages[i].msg_len;
		bool good = side->family == AF_INET ?
				    take_v4(&packet, batch.data[i], len, raw->port) :
				    take_v6(&packet, message, batch.data[i], len, raw->port);

		if (good && !(message->msg_flags & MSG_TRUNC) && !is_own(raw, &packet))
			raw->fn(raw->arg, &packet);
	}
	raw->calling = false;
	if (raw->closed)
		free(raw);
}

/* ---- sending -------------------------------------------------------------------------------- */

static uint32_t sum(uint32_t so_far, const uint8_t *data, size_t len)
{
	for (; len > 1; data += 2, len -= 2)
		so_far += get_u16(data);
	if (len)
		so_far += (uint32_t)data[0] << 8;
	return so_far;
}

/* RFC 768, with the pseudo header of IPv4; 0 is sent as all ones. len < 64 KiB: no overflow. */
static uint16_t checksum_v4(const struct addr *from, const struct addr *to, const uint8_t *header,
			    const uint8_t *data, size_t len)
{
	uint32_t total = IPPROTO_UDP + UDP_HEADER + (uint32_t)len;

	total = sum(total, from->bytes, 4);
	total = sum(total, to->bytes, 4);
	total = sum(total, header, UDP_HEADER);
	total = sum(total, data, len);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total ? (uint16_t)~total : 0xffff;
}

static void put_u16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* IP_PKTINFO or IPV6_PKTINFO: the source address is `from`. */
static void pin_source(struct msghdr *message, const struct addr *from, const struct endpoint *to)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(message);

	if (from->family == AF_INET) {
		struct in_pktinfo info = {0};

		memcpy(&info.ipi_spec_dst, from->bytes, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {.ipi6_ifindex = to->scope_id};

		memcpy(&info.ipi6_addr, from->bytes, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
	}
	message->msg_controllen = CMSG_SPACE(c->cmsg_len - CMSG_LEN(0));
}

static int send_packet(const struct rawport *raw, int fd, const struct addr *from,
		       const struct endpoint *to, const void *data, size_t len)
{
	uint8_t header[UDP_HEADER] = {0};
	struct iovec vectors[] = {{header, sizeof(header)}, {(void *)(uintptr_t)data, len}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control = {0};
	struct endpoint at = {.addr = to->addr, .scope_id = to->scope_id}; /* raw: no port */
	struct sockaddr_storage sa;
	struct msghdr message = {.msg_name = &sa,
				 .msg_namelen = endpoint_to_sockaddr(&at, &sa),
				 .msg_iov = vectors,
				 .msg_iovlen = ARRAY_SIZE(vectors),
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	put_u16(header, raw->port);
	put_u16(header + 2, to->port);
	put_u16(header + 4, (uint16_t)(UDP_HEADER + len));
	if (from->family == AF_INET)
		put_u16(header + 6, checksum_v4(from, &to->addr, header, data, len));
	pin_source(&message, from, to);
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int rawport_send(struct rawport *raw, const struct addr *from, const struct endpoint *to,
		 const void *data, size_t len, struct addr *used)
{
	const struct side *side = to->addr.family == AF_INET  ? &raw->v4 :
				  to->addr.family == AF_INET6 ? &raw->v6 :
								NULL;
	struct addr source;
	int error = 0;

	if (!side || side->fd < 0)
		return -EAFNOSUPPORT;
	if (!raw->port || !to->port)
		return -ENOTCONN;
	if (len > UDP_MAX)
		return -EMSGSIZE;
	if (from)
		source = *from;
	else
		error = sock_source_for(to, raw->fwmark, &source);
	if (!error && source.family != side->family)
		error = -EAFNOSUPPORT;
	if (error)
		return error;
	error = send_packet(raw, side->fd, &source, to, data, len);
	if (!error && used)
		*used = source;
	return error;
}

/* ---- opening -------------------------------------------------------------------------------- */

static int set_mark(const struct side *side, uint32_t fwmark)
{
	return setsockopt(side->fd, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)) < 0 ? -errno : 0;
}

/* IPv6 only: let the kernel make and check the checksum, and say where packets came to. */
static int set_options(const struct side *side)
{
	int checksum_at = 6, on = 1;

	if (side->family == AF_INET)
		return 0;
	if (setsockopt(side->fd, IPPROTO_IPV6, IPV6_CHECKSUM, &checksum_at, sizeof(checksum_at)) < 0 ||
	    setsockopt(side->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

static void drain(int fd)
{
	char byte;

	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
		;
}

static void close_side(struct side *side)
{
	if (side->fd < 0)
		return;
	io_stop(&side->io);
	close(side->fd);
	side->fd = -1;
}

static int open_side(struct rawport *raw, struct side *side, sa_family_t family)
{
	struct sock_filter nothing[1];
	int error;

	side->raw = raw;
	side->family = family;
	side->fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	if (side->fd < 0)
		return -errno;
	error = attach(side->fd, nothing, filter_nothing(nothing));
	if (!error) {
		drain(side->fd);
		error = set_options(side);
	}
	if (!error)
		error = set_mark(side, raw->fwmark);
	if (!error)
		error = attach_port(side, raw->port);
	io_init(&side->io, raw->loop, side->fd, on_readable, side);
	if (error)
		close_side(side);
	else
		io_start(&side->io, LOOP_READ);
	return error;
}

int rawport_open(struct rawport **out, struct loop *loop, uint16_t port, uint32_t fwmark,
		 rawport_fn *fn, void *arg)
{
	struct rawport *raw = xcalloc(1, sizeof(*raw));
	int error4, error6;

	*raw = (struct rawport){.loop = loop, .port = port, .fwmark = fwmark, .fn = fn, .arg = arg};
	error4 = open_side(raw, &raw->v4, AF_INET);
	error6 = open_side(raw, &raw->v6, AF_INET6);
	if (error4 && error6) {
		free(raw);
		return error4;
	}
	*out = raw;
	return 0;
}

void rawport_close(struct rawport *raw)
{
	if (!raw)
		return;
	close_side(&raw->v4);
	close_side(&raw->v6);
	raw->closed = true;
	if (!raw->calling)
		free(raw);
}

static int set_side(const struct side *side, uint16_t port, uint32_t fwmark)
{
	int error = side->fd < 0 ? 0 : attach_port(side, port);

	return error || side->fd < 0 ? error : set_mark(side, fwmark);
}

int rawport_set(struct rawport *raw, uint16_t port, uint32_t fwmark)
{
	int error4 = set_side(&raw->v4, port, fwmark);
	int error6 = set_side(&raw->v6, port, fwmark);

	raw->port = port;
	raw->fwmark = fwmark;
	return error4 ? error4 : error6;
}

uint16_t rawport_port(const struct rawport *raw)
{
	return raw->port;
}
