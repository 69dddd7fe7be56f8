/*
 * The filters of the shared port, run by the kernel itself: a classic BPF filter on a unix datagram
 * socket sees what was sent from its first byte, which is what raw sockets show theirs.
 */
#include "rawport.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define PORT 51820

struct packet {
	const char *name;
	unsigned options;  /* bytes of IP options */
	uint16_t fragment; /* of the IP header: flags and offset */
	uint16_t port;
	uint32_t cookie;
	size_t payload; /* bytes behind the UDP header */
	bool passes_v4, passes_v6;
};

/* All of them go through both filters, IPv6 without its IP header. */
static const struct packet packets[] = {
	{"stun", 0, 0, PORT, STUN_COOKIE, 20, true, true},
	{"do not fragment", 0, 0x4000, PORT, STUN_COOKIE, 20, true, true},
	{"one option", 4, 0, PORT, STUN_COOKIE, 20, true, true},
	{"all options", 40, 0, PORT, STUN_COOKIE, 20, true, true},
	{"shortest that has a cookie", 0, 0, PORT, STUN_COOKIE, 8, true, true},
	{"cookie cut short", 0, 0, PORT, STUN_COOKIE, 7, false, false},
	{"no payload", 0, 0, PORT, STUN_COOKIE, 0, false, false},
	{"other port", 0, 0, PORT + 1, STUN_COOKIE, 20, false, false},
	{"port with bytes swapped", 0, 0, 0x6cca, STUN_COOKIE, 20, false, false},
	{"other port behind options", 8, 0, PORT - 1, STUN_COOKIE, 20, false, false},
	{"other cookie", 0, 0, PORT, STUN_COOKIE ^ 1, 20, false, false},
	{"wireguard", 0, 0, PORT, 0x12345678, 148, false, false},
	{"first fragment", 0, 0x2000, PORT, STUN_COOKIE, 20, false, true},
	{"last fragment", 0, 0x0010, PORT, STUN_COOKIE, 20, false, true},
};

static size_t build(uint8_t *out, const struct packet *packet, bool six)
{
	size_t ip = six ? 0 : 20 + packet->options;
	uint8_t *udp = out + ip;

	memset(out, 0, 256);
	if (!six) {
		out[0] = (uint8_t)(0x40 | ip / 4);
		put_u16(out + 6, packet->fragment);
		out[9] = IPPROTO_UDP;
		memset(out + 20, 1, packet->options); /* no-operation */
	}
	put_u16(udp, 3478);
	put_u16(udp + 2, packet->port);
	put_u16(udp + 4, (uint16_t)(UDP_HEADER + packet->payload));
	put_u16(udp + UDP_HEADER + 4, (uint16_t)(packet->cookie >> 16));
	put_u16(udp + UDP_HEADER + 6, (uint16_t)packet->cookie);
	return ip + UDP_HEADER + packet->payload;
}

static void run_filter(bool six)
{
	struct side side = {.family = six ? AF_INET6 : AF_INET};
	uint8_t bytes[256], got[256];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	side.fd = pair[1];
	assert_int_equal(attach_port(&side, PORT), 0);
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++) {
		bool expected = six ? packets[i].passes_v6 : packets[i].passes_v4;
		size_t len = build(bytes, &packets[i], six);
		bool passed;

		send(pair[0], bytes, len, 0); /* a filter that says no is EPERM or nothing */
		passed = recv(pair[1], got, sizeof(got), MSG_DONTWAIT) == (ssize_t)len;
		if (passed != expected)
			fail_msg("%s, %s: %s", packets[i].name, six ? "IPv6" : "IPv4",
				 passed ? "passed" : "dropped");
	}
	assert_int_equal(attach_port(&side, 0), 0);
	send(pair[0], bytes, build(bytes, &packets[0], six), 0);
	assert_true(recv(pair[1], got, sizeof(got), MSG_DONTWAIT) < 0);
	close(pair[0]);
	close(pair[1]);
}

static void test_filter_v4(void **state)
{
	(void)state;
	run_filter(false);
}

static void test_filter_v6(void **state)
{
	(void)state;
	run_filter(true);
}

/* RFC 1071's way, and an answer known from a capture. */
static void test_checksum(void **state)
{
	const struct addr from = {AF_INET, {192, 0, 2, 1}}, to = {AF_INET, {198, 51, 100, 2}};
	static const uint8_t data[] = {1, 2, 3};
	uint8_t header[UDP_HEADER] = {0xca, 0x6c, 0x0d, 0x96, 0, 11, 0, 0};
	uint32_t total = 0;
	uint16_t sent = checksum_v4(&from, &to, header, data, sizeof(data));

	(void)state;
	/* c000+0201+c633+6402+0011+000b + ca6c+0d96+000b + 0102+0300 = 2c861 -> c863 -> 379c */
	assert_int_equal(sent, 0x379c);
	put_u16(header + 6, sent);
	total = sum(sum(sum(sum(IPPROTO_UDP + 11, from.bytes, 4), to.bytes, 4), header, 8), data, 3);
	total = (total & 0xffff) + (total >> 16);
	assert_int_equal((total & 0xffff) + (total >> 16), 0xffff);
}

static void test_checksum_is_never_zero(void **state)
{
	const struct addr from = {AF_INET, {192, 0, 2, 1}}, to = {AF_INET, {198, 51, 100, 2}};
	uint8_t header[UDP_HEADER] = {0xca, 0x6c, 0x0d, 0x96, 0, 10, 0, 0}, data[2] = {0};
	uint16_t sum_without = checksum_v4(&from, &to, header, data, 2);

	(void)state;
	put_u16(data, sum_without); /* what makes it come out as nought */
	assert_int_equal(checksum_v4(&from, &to, header, data, 2), 0xffff);
}

static void test_take(void **state)
{
	static const struct {
		const char *name;
		uint8_t first;   /* version and header length */
		uint16_t length; /* the UDP header's */
		size_t cut;      /* bytes missing at the end */
		uint16_t source;
		bool good;
	} table[] = {
		{"whole", 0x45, 28, 0, 3478, true},
		{"padded", 0x45, 20, 0, 3478, true},
		{"longer than what came", 0x45, 29, 0, 3478, false},
		{"shorter than its header", 0x45, 7, 0, 3478, false},
		{"cut", 0x45, 28, 1, 3478, false},
		{"header too short", 0x44, 28, 0, 3478, false},
		{"header longer than the packet", 0x4f, 28, 28, 3478, false},
		{"not IPv4", 0x65, 28, 0, 3478, false},
		{"source port 0", 0x45, 28, 0, 0, false},
	};
	struct rawport_packet packet = {0};
	uint8_t bytes[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		size_t len = build(bytes, &packets[0], false) - table[i].cut;

		bytes[0] = table[i].first;
		put_u16(bytes + 20, table[i].source);
		put_u16(bytes + 24, table[i].length);
		if (take_v4(&packet, bytes, len, PORT) != table[i].good)
			fail_msg("%s", table[i].name);
		if (table[i].good)
			assert_int_equal(packet.len, table[i].length - UDP_HEADER);
		assert_false(take_v4(&packet, bytes, len, PORT + 1));
	}
	assert_false(take_v4(&packet, bytes, 0, PORT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter_v4), cmocka_unit_test(test_filter_v6),
		cmocka_unit_test(test_checksum),  cmocka_unit_test(test_checksum_is_never_zero),
		cmocka_unit_test(test_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
