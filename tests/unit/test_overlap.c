/* Which networks join refuses, and that the sentence names the pair. */
#include "cli/overlap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void facts_of_a_laptop(struct overlap_facts *facts)
{
	static const struct {
		const char *prefix, *what;
	} list[] = {
		{"192.168.1.7/24", "address on eth0"}, {"192.168.1.0/24", "route through eth0"},
		{"10.8.0.0/16", "route through tun0"}, {"fd12:3456::5/64", "address on eth0"},
		{"127.0.0.1/8", "address on lo"},      {"fe80::1/64", "address on eth0"},
		{"224.0.0.0/4", "route through eth0"},
	};

	*facts = (struct overlap_facts){0};
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
		struct prefix prefix;

		assert_true(prefix_parse(&prefix, list[i].prefix));
		overlap_add(facts, &prefix, list[i].what);
	}
	assert_int_equal(facts->count, 4); /* loopback, link-local and multicast are everybody's */
}

static const struct {
	const char *cidr, *cidr6, *address;
	const char *words; /* in the sentence; NULL: fine */
} cases[] = {
	{"10.86.0.0/16", NULL, NULL, NULL},
	{"10.86.0.0/16", "fd99::/64", "10.86.0.3/16", NULL},
	{"10.86.0.0/16", "fd99::/64", "fd99::3/64", NULL},
	{"100.64.0.0/10", NULL, NULL, NULL},
	{"192.168.0.0/16", NULL, NULL, "192.168.0.0/16) overlaps 192.168.1.0/24 (address on eth0"},
	{"192.168.1.64/26", NULL, NULL, "overlaps 192.168.1.0/24"},
	{"10.0.0.0/8", NULL, NULL, "overlaps 10.8.0.0/16 (route through tun0"},
	{"10.86.0.0/16", "fd12:3456::/48", NULL, "overlaps fd12:3456::/64"},
	{"0.0.0.0/0", NULL, NULL, "too large"},
	{"10.0.0.0/7", NULL, NULL, "too large"},
	{"10.86.0.0/16", "fd00::/8", NULL, "too large"},
	{"127.0.0.0/8", NULL, NULL, "no range for hosts"},
	{"169.254.0.0/16", NULL, NULL, "no range for hosts"},
	{"224.0.0.0/8", NULL, NULL, "no range for hosts"},
	{"10.86.0.0/16", "fe80::/64", NULL, "no range for hosts"},
	{"10.86.0.0/16", NULL, "10.87.0.3/16", "outside"},
	{"10.86.0.0/16", NULL, "fd99::3/64", "outside"},
	{"10.86.0.0/16", NULL, "nonsense", "is none"},
	{"nonsense", NULL, NULL, "nonsense"},
};

static void test_networks(void **state)
{
	struct overlap_facts facts;
	char why[OVERLAP_WHY];

	(void)state;
	facts_of_a_laptop(&facts);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *addresses = json_array(), *networks;
		bool fine;

		if (cases[i].address)
			json_array_append_new(addresses, json_string(cases[i].address));
		networks =
			json_pack("[{s:s,s:s,s:o,s:o}]", "name", "default", "cidr", cases[i].cidr,
				  "cidr6", js_from_string(cases[i].cidr6), "addresses", addresses);
		why[0] = '\0';
		fine = overlap_networks_ok(&facts, networks, why);
		assert_int_equal(fine, cases[i].words == NULL);
		if (!fine && !strstr(why, cases[i].words))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].cidr, why,
				 cases[i].words);
		json_decref(networks);
	}
	overlap_fini(&facts);
}

static void test_second_network_counts(void **state)
{
	json_t *networks = json_pack("[{s:s,s:s},{s:s,s:s}]", "name", "a", "cidr", "10.86.0.0/16",
				     "name", "b", "cidr", "192.168.1.0/24");
	struct overlap_facts facts;
	char why[OVERLAP_WHY];

	(void)state;
	facts_of_a_laptop(&facts);
	assert_false(overlap_networks_ok(&facts, networks, why));
	assert_non_null(strstr(why, "network b"));
	json_array_clear(networks);
	assert_false(overlap_networks_ok(&facts, networks, why));
	json_decref(networks);
	overlap_fini(&facts);
}

static void test_conf(void **state)
{
	static const char text[] =
		"[Interface]\nAddress = 10.8.0.2/24, fd77::2/64\n[Peer]\n"
		"AllowedIPs = 10.9.0.0/16,0.0.0.0/0 10.10.0.1\nAddress = 10.11.0.0/16\n";
	static const char *const wanted[] = {"10.8.0.2/24", "fd77::2/64", "10.9.0.0/16",
					     "0.0.0.0/0", "10.10.0.1/32"};
	struct overlap_facts facts = {0};
	char found[PREFIX_TEXT];

	(void)state;
	overlap_gather_conf(&facts, text, strlen(text), "/etc/wireguard/wg0.conf");
	assert_int_equal(facts.count, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		prefix_format(found, &facts.items[i].prefix);
		assert_string_equal(found, wanted[i]);
	}
	assert_string_equal(facts.items[0].what, "Address in wg0.conf");
	assert_string_equal(facts.items[2].what, "AllowedIPs in wg0.conf");
	overlap_fini(&facts);
}

/* `wg-quick save` has written the mesh into the user's file: only what is not the mesh's counts. */
static void test_saved_by_wg_quick(void **unused)
{
	static const char text[] =
		"[Interface]\nAddress = 172.31.5.1/24, 10.86.0.3/16\nAddress = 10.86.0.9/16\n\n[Peer]\n"
		"PublicKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
		"AllowedIPs = 10.86.0.5/32, 0.0.0.0/0\n\n[Peer]\n"
		"PublicKey = AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"
		"AllowedIPs = 10.86.0.6/32\n";
	static const char *const wanted[] = {"172.31.5.1/24", "10.86.0.9/16", "10.86.0.6/32"};
	struct proto_network network = {.address_count = 1};
	struct state state = {.networks = &network, .network_count = 1};
	struct overlap_facts facts = {0};
	char found[PREFIX_TEXT];

	(void)unused;
	assert_true(prefix_parse(&network.addresses[0], "10.86.0.3/16"));
	state.map = json_pack("{s:[{s:s}]}", "peers", "public_key",
			      "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
	overlap_spare(&facts, &state);
	overlap_gather_conf(&facts, text, strlen(text), "/etc/wireguard/wg0.conf");
	assert_int_equal(facts.count, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		prefix_format(found, &facts.items[i].prefix);
		assert_string_equal(found, wanted[i]);
	}
	overlap_fini(&facts);
	json_decref(state.map);
}

/* A commercial VPN's peer on the interface that is to join. */
static void test_peer_takes_all(void **state)
{
	static const char text[] =
		"[Interface]\nAddress = 10.8.0.2/32\n\n[Peer]\n"
		"PublicKey = AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
		"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 198.51.100.7:51820\n";
	json_t *networks = json_pack("[{s:s,s:s}]", "name", "default", "cidr", "10.86.0.0/16");
	struct wg_allowed_ip halves[] = {{{{AF_INET, {0}}, 1}}, {{{AF_INET, {128}}, 1}}};
	struct wg_peer peer = {.allowed_ips = halves, .allowed_ip_count = 2};
	struct wg_device device = {.name = "wg7"};
	struct overlap_facts facts = {0};
	char why[OVERLAP_WHY];

	(void)state;
	overlap_gather_conf(&facts, text, strlen(text), "/etc/wireguard/wg0.conf");
	assert_false(overlap_networks_ok(&facts, networks, why));
	assert_non_null(strstr(why, "0.0.0.0/0 is among the allowed IPs of peer AQEBAQEBAQEBAQEBAQE"
				    "BAQEBAQEBAQEBAQEBAQEBAQE= (lines 4 to 7 of wg0.conf)"));
	assert_non_null(strstr(why, "narrow that peer's AllowedIPs"));
	overlap_fini(&facts);

	list_init(&device.peers);
	list_add_tail(&device.peers, &peer.node);
	memset(&peer.public_key, 1, sizeof(peer.public_key));
	overlap_gather_device(&facts, &device, NULL);
	assert_false(overlap_networks_ok(&facts, networks, why));
	assert_non_null(strstr(why, "0.0.0.0/1 is among the allowed IPs of peer AQEB"));
	assert_non_null(strstr(why, " on wg7 and covers network default (10.86.0.0/16)"));
	overlap_fini(&facts);
	json_decref(networks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_second_network_counts),
		cmocka_unit_test(test_conf),
		cmocka_unit_test(test_saved_by_wg_quick),
		cmocka_unit_test(test_peer_takes_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
