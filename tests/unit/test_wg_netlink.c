/*
 * The kernel's messages, both ways, without a kernel: what is set is cut into messages that fit,
 * and the same messages, read as a dump, give back what was set. The real kernel is asked by
 * tests/kernel.
 */
#define netlink_ask asked_for_real
#include "netlink.c"
#undef netlink_ask
int netlink_ask(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *arg);
#include "wg_netlink.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define MAX_PARTS 5000

static struct part { /* one peer as a message had it */
	struct key key;
	uint32_t flags;
	size_t allowed_ips;
	bool has_endpoint, has_keepalive, has_ips_nest, has_preshared;
	struct key preshared;
} parts[MAX_PARTS];
static size_t part_count, message_count;
static struct wg_device heard; /* all messages read as one dump */
static int answer;             /* of the kernel */

static void take_part(const struct nlattr *nest)
{
	const struct nlattr *attrs[WGPEER_A_MAX + 1], *attr;
	struct part *part = &parts[part_count++];

	assert_in_range(part_count, 1, MAX_PARTS);
	netlink_nested(nest, attrs, WGPEER_A_MAX);
	*part = (struct part){.has_endpoint = attrs[WGPEER_A_ENDPOINT],
			      .has_keepalive = attrs[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL],
			      .has_ips_nest = attrs[WGPEER_A_ALLOWEDIPS]};
	part->has_preshared =
		netlink_copy(&part->preshared, KEY_LEN, attrs[WGPEER_A_PRESHARED_KEY]);
	assert_true(netlink_copy(&part->key, KEY_LEN, attrs[WGPEER_A_PUBLIC_KEY]));
	assert_true(netlink_copy(&part->flags, 4, attrs[WGPEER_A_FLAGS]));
	if (part->has_ips_nest)
		mnl_attr_for_each_nested(attr, attrs[WGPEER_A_ALLOWEDIPS])
			part->allowed_ips++;
}

int netlink_ask(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *arg)
{
	const struct nlattr *attrs[WGDEVICE_A_MAX + 1], *attr;

	(void)nl, (void)fn, (void)arg;
	assert_in_range(request->nlmsg_len, 1, NETLINK_BUFFER);
	netlink_attrs(request, sizeof(struct genlmsghdr), attrs, WGDEVICE_A_MAX);
	assert_non_null(attrs[WGDEVICE_A_PEERS]);
	assert_string_equal(mnl_attr_get_str(attrs[WGDEVICE_A_IFNAME]), "wg7");
	mnl_attr_for_each_nested(attr, attrs[WGDEVICE_A_PEERS])
		take_part(attr);
	read_device(request, &heard);
	message_count++;
	return answer;
}

static struct wg wg = {.name = "wg7", .family = 33};

static int setup(void **state)
{
	(void)state;
	part_count = message_count = 0;
	answer = 0;
	list_init(&heard.peers);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wg_device_fini(&heard);
	return 0;
}

static struct key numbered(size_t number)
{
	struct key key = {{1}};

	memcpy(key.bytes + 8, &number, sizeof(number));
	return key;
}

static void test_removing_a_thousand(void **state)
{
	struct wg_change changes[1000];
	struct wg_peer peers[1000] = {0};

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		peers[i].public_key = numbered(i);
		changes[i] = (struct wg_change){&peers[i], WG_PEER_REMOVE};
	}
	assert_int_equal(set_peers(&wg, changes, 1000), 0);
	assert_in_range(message_count, 1, 4);
	assert_int_equal(part_count, 1000);
	for (size_t i = 0; i < 1000; i++) {
		assert_memory_equal(&parts[i].key, &peers[i].public_key, KEY_LEN);
		assert_int_equal(parts[i].flags, WGPEER_F_REMOVE_ME);
		assert_false(parts[i].has_ips_nest);
	}
}

/* The peers before and behind a large one stay whole. */
static void test_a_peer_that_does_not_fit(void **state)
{
	struct wg_allowed_ip ips[3000];
	struct wg_peer peers[3] = {{.public_key = numbered(1)}, {.public_key = numbered(2)},
				   {.public_key = numbered(3)}};
	const unsigned flags = WG_PEER_UPDATE_ONLY | WG_PEER_REPLACE_ALLOWED_IPS |
			       WG_PEER_SET_ENDPOINT | WG_PEER_SET_KEEPALIVE;
	const struct wg_change changes[3] = {{&peers[0], 0}, {&peers[1], flags}, {&peers[2], 0}};
	const struct wg_peer *peer;

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		assert_true(prefix_parse(&ips[i].prefix, i & 1 ? "fd86::/64" : "10.0.0.0/24"));
		memcpy(ips[i].prefix.addr.bytes + 1, &i, 2);
	}
	for (size_t i = 0; i < 3; i++) {
		peers[i].allowed_ips = ips;
		peers[i].allowed_ip_count = i == 1 ? 3000 : 2;
	}
	assert_true(endpoint_parse(&peers[1].endpoint, "[2001:db8::1]:51820"));
	peers[1].keepalive_s = 25;
	assert_int_equal(set_peers(&wg, changes, 3), 0);
	assert_in_range(message_count, 3, 6);
	assert_int_equal(part_count, message_count + 2);
	for (size_t i = 1; i < part_count - 1; i++) {
		bool first = i == 1;

		assert_memory_equal(&parts[i].key, &peers[1].public_key, KEY_LEN);
		assert_int_equal(parts[i].flags, WGPEER_F_UPDATE_ONLY |
						 (first ? WGPEER_F_REPLACE_ALLOWEDIPS : 0u));
		assert_int_equal(parts[i].has_endpoint, first);
		assert_int_equal(parts[i].has_keepalive, first);
		assert_in_range(parts[i].allowed_ips, 1, 2999);
	}

	peer = container_of(heard.peers.next->next, struct wg_peer, node);
	assert_int_equal(peer->allowed_ip_count, 3000);
	for (size_t i = 0; i < 3000; i++)
		assert_true(prefix_equal(&peer->allowed_ips[i].prefix, &ips[i].prefix));
	assert_true(endpoint_equal(&peer->endpoint, &peers[1].endpoint));
	assert_int_equal(peer->keepalive_s, 25);
	peer = container_of(peer->node.next, struct wg_peer, node);
	assert_memory_equal(&peer->public_key, &peers[2].public_key, KEY_LEN);
	assert_ptr_equal(peer->node.next, &heard.peers);
}

/* As many as there are, each whole and with its own; zero is sent too, for that takes it away. */
static void test_preshared_keys(void **state)
{
	enum { MANY = 1000 };
	static struct wg_change changes[MANY];
	static struct wg_peer peers[MANY];
	static struct key preshared[MANY];
	const struct wg_peer *peer;

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		preshared[i] = i ? numbered(MANY + i) : (struct key){0};
		peers[i] = (struct wg_peer){.public_key = numbered(i), .preshared = &preshared[i]};
		changes[i] = (struct wg_change){
			&peers[i], WG_PEER_UPDATE_ONLY | (i & 1 && i > 1 ? 0 : WG_PEER_SET_PSK)};
	}
	assert_int_equal(set_peers(&wg, changes, MANY), 0);
	assert_int_equal(part_count, MANY);
	for (size_t i = 0; i < MANY; i++) {
		bool wanted = changes[i].flags & WG_PEER_SET_PSK;

		assert_int_equal(parts[i].flags, WGPEER_F_UPDATE_ONLY);
		assert_int_equal(parts[i].has_preshared, wanted);
		if (wanted)
			assert_memory_equal(&parts[i].preshared, &preshared[i], KEY_LEN);
	}
	peer = container_of(heard.peers.next, struct wg_peer, node);
	assert_false(peer->has_preshared_key);
	assert_null(peer->preshared);
	peer = container_of(peer->node.next, struct wg_peer, node);
	assert_true(peer->has_preshared_key);
}

/* With many allowed IPs it goes with the first part only. */
static void test_a_preshared_key_goes_once(void **state)
{
	static struct wg_allowed_ip ips[3000];
	const struct key preshared = numbered(9);
	struct wg_peer peer = {.public_key = numbered(1), .preshared = &preshared,
			       .allowed_ips = ips, .allowed_ip_count = ARRAY_SIZE(ips)};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++)
		assert_true(prefix_parse(&ips[i].prefix, "fd86::/64"));
	assert_int_equal(set_peers(&wg, &(struct wg_change){&peer, WG_PEER_SET_PSK}, 1), 0);
	assert_in_range(part_count, 2, 10);
	for (size_t i = 0; i < part_count; i++)
		assert_int_equal(parts[i].has_preshared, i == 0);
}

static void test_an_error_ends_it(void **state)
{
	struct wg_change changes[2000];
	struct wg_peer peer = {.public_key = numbered(1)};

	(void)state;
	for (size_t i = 0; i < 2000; i++)
		changes[i] = (struct wg_change){&peer, WG_PEER_REMOVE};
	answer = -EPERM;
	assert_int_equal(set_peers(&wg, changes, 2000), -EPERM);
	assert_int_equal(message_count, 1);
}

/* A first message of a dump as the kernel writes it, and attributes that are too short or odd. */
static void test_reading_a_device(void **state)
{
	const struct kernel_time handshake = {1700000000, 123456789};
	const struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(51820),
				       .sin_addr = {htonl(0xc0000201)}};
	const struct key key = numbered(5), preshared = numbered(6);
	char buffer[2048], text[ENDPOINT_TEXT];
	struct nlmsghdr *message = begin_device(&wg, buffer, WG_CMD_GET_DEVICE);
	struct nlattr *peers, *peer, *ips, *ip;
	const struct wg_peer *got;

	(void)state;
	mnl_attr_put_u32(message, WGDEVICE_A_IFINDEX, 42);
	mnl_attr_put_u16(message, WGDEVICE_A_LISTEN_PORT, 51820);
	mnl_attr_put_u32(message, WGDEVICE_A_FWMARK, 0xca6c);
	mnl_attr_put(message, WGDEVICE_A_PUBLIC_KEY, KEY_LEN, &key);
	mnl_attr_put(message, WGDEVICE_A_PRIVATE_KEY, 5, &key); /* too short: none */
	mnl_attr_put(message, 77, 4, &key);                     /* of a newer kernel */
	peers = mnl_attr_nest_start(message, WGDEVICE_A_PEERS);
	peer = mnl_attr_nest_start(message, 0);
	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, KEY_LEN, &key);
	mnl_attr_put(message, WGPEER_A_PRESHARED_KEY, KEY_LEN, &preshared);
	mnl_attr_put(message, WGPEER_A_ENDPOINT, sizeof(sa), &sa);
	mnl_attr_put(message, WGPEER_A_LAST_HANDSHAKE_TIME, sizeof(handshake), &handshake);
	mnl_attr_put_u64(message, WGPEER_A_RX_BYTES, 1ull << 40);
	mnl_attr_put_u64(message, WGPEER_A_TX_BYTES, 7);
	ips = mnl_attr_nest_start(message, WGPEER_A_ALLOWEDIPS);
	ip = mnl_attr_nest_start(message, 0);
	mnl_attr_put_u16(message, WGALLOWEDIP_A_FAMILY, AF_INET);
	mnl_attr_put(message, WGALLOWEDIP_A_IPADDR, 4, &sa.sin_addr);
	mnl_attr_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, 33);
	mnl_attr_nest_end(message, ip);
	ip = mnl_attr_nest_start(message, 0);
	mnl_attr_put_u16(message, WGALLOWEDIP_A_FAMILY, AF_INET);
	mnl_attr_put(message, WGALLOWEDIP_A_IPADDR, 4, &sa.sin_addr);
	mnl_attr_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, 32);
	mnl_attr_nest_end(message, ip);
	mnl_attr_nest_end(message, ips);
	mnl_attr_nest_end(message, peer);
	peer = mnl_attr_nest_start(message, 0); /* without a key: none */
	mnl_attr_nest_end(message, peer);
	mnl_attr_nest_end(message, peers);

	read_device(message, &heard);
	assert_int_equal(heard.ifindex, 42);
	assert_int_equal(heard.listen_port, 51820);
	assert_int_equal(heard.fwmark, 0xca6c);
	assert_true(key_equal(&heard.public_key, &key));
	assert_true(key_is_zero(&heard.private_key));
	got = container_of(heard.peers.next, struct wg_peer, node);
	assert_ptr_equal(got->node.next, &heard.peers);
	endpoint_format(text, &got->endpoint);
	assert_string_equal(text, "192.0.2.1:51820");
	assert_true(got->last_handshake_wall_ms == 1700000000123);
	assert_true(got->rx_bytes == 1ull << 40 && got->tx_bytes == 7 && got->has_preshared_key);
	assert_int_equal(got->allowed_ip_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_removing_a_thousand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_peer_that_does_not_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_preshared_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_preshared_key_goes_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_error_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_a_device, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
