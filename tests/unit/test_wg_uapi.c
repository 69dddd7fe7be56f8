/* The lines of userspace WireGuard: what is understood, what is nonsense, what is sent. */
#include "wg_uapi.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

/* wg.c, which names it, is linked; the kernel is not asked here. */
const struct wg_backend wg_netlink;

#define HEX1 "0100000000000000000000000000000000000000000000000000000000000000"
#define HEX0 "0000000000000000000000000000000000000000000000000000000000000000"

static int read_text(struct wg_device *device, const char *text)
{
	struct buf answer = {0};
	int error;

	*device = (struct wg_device){0};
	list_init(&device->peers);
	buf_puts(&answer, text);
	error = read_answer(device, &answer);
	buf_free(&answer);
	return error;
}

static void test_a_device(void **state)
{
	struct wg_device device;
	const struct wg_peer *first, *second;
	char text[ENDPOINT_TEXT];

	(void)state;
	assert_int_equal(read_text(&device, "private_key=" HEX1 "\nlisten_port=51820\nfwmark=51820\n"
					    "public_key=" HEX1 "\npreshared_key=" HEX1 "\n"
					    "protocol_version=1\nendpoint=192.0.2.1:51820\n"
					    "last_handshake_time_sec=1700000000\n"
					    "last_handshake_time_nsec=123456789\n"
					    "tx_bytes=7\nrx_bytes=1099511627776\n"
					    "persistent_keepalive_interval=25\n"
					    "allowed_ip=10.86.0.4/32\nallowed_ip=fd86::4/128\n"
					    "allowed_ip=0.0.0.0/0\n"
					    "public_key=" HEX0 "\npreshared_key=" HEX0 "\n"
					    "endpoint=[fe80::1%lo]:7\nsomething_new=x=y\n"
					    "errno=0\n\n"),
			 0);
	assert_int_equal(device.listen_port, 51820);
	assert_int_equal(device.fwmark, 51820);
	assert_false(key_is_zero(&device.public_key));
	first = container_of(device.peers.next, struct wg_peer, node);
	second = container_of(first->node.next, struct wg_peer, node);
	assert_ptr_equal(second->node.next, &device.peers);
	assert_true(first->last_handshake_wall_ms == 1700000000123);
	assert_true(first->rx_bytes == 1ull << 40 && first->tx_bytes == 7);
	assert_int_equal(first->keepalive_s, 25);
	assert_int_equal(first->allowed_ip_count, 3);
	assert_int_equal(first->allowed_ips[2].prefix.bits, 0);
	assert_true(first->has_preshared_key && !second->has_preshared_key);
	endpoint_format(text, &first->endpoint);
	assert_string_equal(text, "192.0.2.1:51820");
	endpoint_format(text, &second->endpoint);
	assert_string_equal(text, "[fe80::1%1]:7");
	wg_device_fini(&device);
}

static void test_nonsense(void **state)
{
	static const struct {
		const char *text;
		int error;
	} table[] = {
		{"errno=0\n\n", 0},
		{"errno=-1\n\n", -1},
		{"errno=22\n\n", -22},
		{"errno=x\n\n", -EPROTO},
		{"errno=99999\n\n", -EPROTO},
		{"\n\n", -EPROTO},
		{"", -EPROTO},
		{"listen_port=51820\n\n", -EPROTO},
		{"listen_port=65536\nerrno=0\n\n", -EPROTO},
		{"fwmark=4294967296\nerrno=0\n\n", -EPROTO},
		{"no equals sign\nerrno=0\n\n", -EPROTO},
		{"endpoint=192.0.2.1:1\nerrno=0\n\n", -EPROTO}, /* of no peer */
		{"public_key=00\nerrno=0\n\n", -EPROTO},
		{"public_key=" HEX1 "0\nerrno=0\n\n", -EPROTO},
		{"private_key=G" HEX1 "\nerrno=0\n\n", -EPROTO},
		{"public_key=" HEX1 "\nendpoint=nowhere\nerrno=0\n\n", -EPROTO},
		{"public_key=" HEX1 "\nendpoint=[fe80::1%no-such-interface-anywhere]:1\nerrno=0\n\n",
		 -EPROTO},
		{"public_key=" HEX1 "\nendpoint=[fe80::1%gone]:1\nerrno=0\n\n", 0},
		{"public_key=" HEX1 "\nallowed_ip=10.0.0.0/33\nerrno=0\n\n", -EPROTO},
		{"errno=0\nlisten_port=1\n\n", -EPROTO},
	};
	struct wg_device device;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		int error = read_text(&device, table[i].text);

		if (error != table[i].error)
			fail_msg("%s: %d", table[i].text, error);
		wg_device_fini(&device);
	}
}

static void test_changes(void **state)
{
	static struct wg_allowed_ip ip;
	static const struct {
		unsigned flags;
		const char *text;
	} table[] = {
		{0, "allowed_ip=10.86.0.4/32\n"},
		{WG_PEER_REMOVE | WG_PEER_UPDATE_ONLY | WG_PEER_SET_ENDPOINT, "remove=true\n"},
		{WG_PEER_UPDATE_ONLY | WG_PEER_REPLACE_ALLOWED_IPS | WG_PEER_SET_ENDPOINT |
			 WG_PEER_SET_KEEPALIVE,
		 "update_only=true\nreplace_allowed_ips=true\nendpoint=[2001:db8::1]:7\n"
		 "persistent_keepalive_interval=25\nallowed_ip=10.86.0.4/32\n"},
		{WG_PEER_UPDATE_ONLY | WG_PEER_SET_PSK,
		 "update_only=true\npreshared_key=" HEX1 "\nallowed_ip=10.86.0.4/32\n"},
	};
	static const struct key preshared = {{1}};
	struct wg_peer peer = {.public_key = {{1}}, .preshared = &preshared, .allowed_ips = &ip, .allowed_ip_count = 1,
			       .keepalive_s = 25};
	struct buf out = {0};

	(void)state;
	assert_true(prefix_parse(&ip.prefix, "10.86.0.4"));
	assert_true(endpoint_parse(&peer.endpoint, "[2001:db8::1]:7"));
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		buf_puts(&out, "");
		assert_int_equal(put_change(&out, &peer, table[i].flags), 0);
		assert_memory_equal(out.data, "public_key=" HEX1 "\n", 76);
		assert_string_equal(buf_text(&out) + 76, table[i].text);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_device),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
