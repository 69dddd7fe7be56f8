/*
 * WireGuard in the kernel, by generic netlink (linux/wireguard.h says how). Two tricky things, one
 * each way: a dump comes in many messages, and a peer whose allowed IPs did not fit goes on in the
 * next one, with nothing but its key and more of them; and what is set must fit a nest's 16 bits of
 * length, so it is cut the same way, the flag that replaces the allowed IPs only on the first part.
 */
#include "wg_backend.h"

#include "lib/secret.h"
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <string.h>

#define DUMP_TRIES 8

struct kernel_time { /* struct __kernel_timespec */
	int64_t seconds, nanoseconds;
};

/* ---- reading -------------------------------------------------------------------------------- */

static void read_allowed_ip(struct wg_peer *peer, const struct nlattr *nest)
{
	const struct nlattr *attrs[WGALLOWEDIP_A_MAX + 1];
	struct prefix prefix = {0};
	uint16_t family;
	size_t len;

	netlink_nested(nest, attrs, WGALLOWEDIP_A_MAX);
	if (!netlink_copy(&family, sizeof(family), attrs[WGALLOWEDIP_A_FAMILY]) ||
	    (family != AF_INET && family != AF_INET6))
		return;
	prefix.addr.family = (uint8_t)family;
	len = addr_len(&prefix.addr);
	if (netlink_copy(prefix.addr.bytes, len, attrs[WGALLOWEDIP_A_IPADDR]) &&
	    netlink_copy(&prefix.bits, 1, attrs[WGALLOWEDIP_A_CIDR_MASK]) && prefix.bits <= len * 8)
		wg_peer_allow(peer, &prefix);
}

static void read_endpoint(struct wg_peer *peer, const struct nlattr *attr)
{
	struct sockaddr_storage sa = {0};

	if (!attr || mnl_attr_get_payload_len(attr) < sizeof(struct sockaddr_in))
		return;
	memcpy(&sa, mnl_attr_get_payload(attr), MIN(mnl_attr_get_payload_len(attr), sizeof(sa)));
	endpoint_from_sockaddr(&peer->endpoint, (struct sockaddr *)&sa);
}

static void read_peer_numbers(struct wg_peer *peer, const struct nlattr **attrs)
{
	struct kernel_time handshake = {0};
	struct key preshared = {0};

	netlink_copy(&peer->keepalive_s, 2, attrs[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL]);
	netlink_copy(&peer->rx_bytes, 8, attrs[WGPEER_A_RX_BYTES]);
	netlink_copy(&peer->tx_bytes, 8, attrs[WGPEER_A_TX_BYTES]);
	if (netlink_copy(&handshake, sizeof(handshake), attrs[WGPEER_A_LAST_HANDSHAKE_TIME]))
		peer->last_handshake_wall_ms = (uint64_t)handshake.seconds * 1000 +
					       (uint64_t)handshake.nanoseconds / 1000000;
	netlink_copy(&preshared, sizeof(preshared), attrs[WGPEER_A_PRESHARED_KEY]);
	peer->has_preshared_key = !key_is_zero(&preshared);
	key_wipe(&preshared);
}

static void read_peer(struct wg_device *device, const struct nlattr *nest)
{
	const struct nlattr *attrs[WGPEER_A_MAX + 1], *attr;
	struct wg_peer *peer = NULL;
	struct key public_key;

	netlink_nested(nest, attrs, WGPEER_A_MAX);
	if (!netlink_copy(&public_key, sizeof(public_key), attrs[WGPEER_A_PUBLIC_KEY]))
		return;
	if (!list_empty(&device->peers))
		peer = container_of(device->peers.prev, struct wg_peer, node);
	if (!peer || memcmp(&peer->public_key, &public_key, sizeof(public_key)) != 0) {
		peer = wg_peer_new(device, &public_key);
		read_endpoint(peer, attrs[WGPEER_A_ENDPOINT]);
		read_peer_numbers(peer, attrs);
	}
	if (attrs[WGPEER_A_ALLOWEDIPS])
		mnl_attr_for_each_nested(attr, attrs[WGPEER_A_ALLOWEDIPS])
			read_allowed_ip(peer, attr);
}

/* One message of a dump: all but the first have only peers. */
static int read_device(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attrs[WGDEVICE_A_MAX + 1], *attr;
	struct wg_device *device = arg;

	netlink_attrs(message, sizeof(struct genlmsghdr), attrs, WGDEVICE_A_MAX);
	netlink_copy(&device->ifindex, 4, attrs[WGDEVICE_A_IFINDEX]);
	netlink_copy(&device->private_key, KEY_LEN, attrs[WGDEVICE_A_PRIVATE_KEY]);
	netlink_copy(&device->public_key, KEY_LEN, attrs[WGDEVICE_A_PUBLIC_KEY]);
	netlink_copy(&device->listen_port, 2, attrs[WGDEVICE_A_LISTEN_PORT]);
	netlink_copy(&device->fwmark, 4, attrs[WGDEVICE_A_FWMARK]);
	if (attrs[WGDEVICE_A_PEERS])
		mnl_attr_for_each_nested(attr, attrs[WGDEVICE_A_PEERS])
			read_peer(device, attr);
	return MNL_CB_OK;
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct nlmsghdr *begin(void *buffer, uint16_t family, uint8_t command, uint8_t version)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *header;

	message->nlmsg_type = family;
	message->nlmsg_flags = NLM_F_REQUEST;
	header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->cmd = command;
	header->version = version;
	return message;
}

static struct nlmsghdr *begin_device(const struct wg *wg, void *buffer, uint8_t command)
{
	struct nlmsghdr *message = begin(buffer, wg->family, command, WG_GENL_VERSION);

	mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, wg->name);
	return message;
}

static int read_family(const struct nlmsghdr *message, void *arg)
{
	const struct nlattr *attrs[CTRL_ATTR_MAX + 1];

	netlink_attrs(message, sizeof(struct genlmsghdr), attrs, CTRL_ATTR_MAX);
	netlink_copy(arg, sizeof(uint16_t), attrs[CTRL_ATTR_FAMILY_ID]);
	return MNL_CB_OK;
}

static int find_family(struct wg *wg)
{
	char buffer[256] = {0}; /* padding is sent too */
	struct nlmsghdr *message = begin(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	int error;

	mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	error = netlink_ask(&wg->nl, message, read_family, &wg->family);
	return error ? error : wg->family ? 0 : -ENOENT;
}

static int get(struct wg *wg, struct wg_device *out)
{
	const struct wg_device empty = *out;
	char buffer[256];
	int error, tries = 0;

	do {
		struct nlmsghdr *message = begin_device(wg, buffer, WG_CMD_GET_DEVICE);

		wg_device_fini(out);
		*out = empty;
		list_init(&out->peers);
		message->nlmsg_flags |= NLM_F_DUMP;
		error = netlink_ask(&wg->nl, message, read_device, out);
	} while (error == -EINTR && ++tries < DUMP_TRIES);
	secret_wipe(wg->nl.answer, NETLINK_BUFFER);
	return error;
}

static void close_socket(struct wg *wg)
{
	netlink_close(&wg->nl);
}

/* Only "there is no such thing" lets user space be asked: no family, or the device is of another
 * kind. */
static int open_device(struct wg *wg)
{
	struct wg_device device = {0};
	int error = netlink_open(&wg->nl, NETLINK_GENERIC);

	if (error)
		return error;
	list_init(&device.peers);
	error = find_family(wg);
	if (!error)
		error = get(wg, &device);
	wg_device_fini(&device);
	if (error)
		close_socket(wg);
	return error == -ENOENT || error == -EOPNOTSUPP ? -ENODEV : error;
}

/* ---- setting -------------------------------------------------------------------------------- */

struct setter { /* one message in the making */
	struct wg *wg;
	uint8_t *buffer;
	struct nlmsghdr *message;
	struct nlattr *peers;
};

static void start(struct setter *setter)
{
	setter->message = begin_device(setter->wg, setter->buffer, WG_CMD_SET_DEVICE);
	setter->peers = mnl_attr_nest_start(setter->message, WGDEVICE_A_PEERS);
}

static int finish(struct setter *setter)
{
	mnl_attr_nest_end(setter->message, setter->peers);
	return netlink_ask(&setter->wg->nl, setter->message, NULL, NULL);
}

/* Whether all of a peer but its allowed IPs fits, and one of these. */
static bool room_for(const struct setter *setter, size_t more)
{
	return setter->message->nlmsg_len + more <= NETLINK_BUFFER;
}
enum {
	PEER_ROOM = 4 + 2 * (4 + KEY_LEN) + 8 + (4 + sizeof(struct sockaddr_in6)) + 8 + 4,
	ALLOWED_IP_ROOM = 4 + 8 + (4 + 16) + 8,
};

static void put_endpoint(struct nlmsghdr *message, const struct endpoint *endpoint)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(endpoint, &sa);

	if (len)
		mnl_attr_put(message, WGPEER_A_ENDPOINT, len, &sa);
}

static void put_allowed_ip(struct nlmsghdr *message, const struct prefix *prefix)
{
	struct nlattr *nest = mnl_attr_nest_start(message, 0);

	mnl_attr_put_u16(message, WGALLOWEDIP_A_FAMILY, prefix->addr.family);
	mnl_attr_put(message, WGALLOWEDIP_A_IPADDR, addr_len(&prefix->addr), prefix->addr.bytes);
	mnl_attr_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, prefix->bits);
	mnl_attr_nest_end(message, nest);
}

static uint32_t kernel_flags(unsigned flags, bool first)
{
	return (flags & WG_PEER_REMOVE ? WGPEER_F_REMOVE_ME : 0u) |
	       (flags & WG_PEER_UPDATE_ONLY ? WGPEER_F_UPDATE_ONLY : 0u) |
	       (flags & WG_PEER_REPLACE_ALLOWED_IPS && first ? WGPEER_F_REPLACE_ALLOWEDIPS : 0u);
}

/* Puts the peer with its allowed IPs from *done on, as many as fit. */
static void put_peer(struct setter *setter, const struct wg_change *change, size_t *done)
{
	const struct wg_peer *peer = change->peer;
	struct nlmsghdr *message = setter->message;
	struct nlattr *nest = mnl_attr_nest_start(message, 0), *allowed;
	unsigned flags = change->flags;
	bool first = *done == 0;

	mnl_attr_put(message, WGPEER_A_PUBLIC_KEY, KEY_LEN, &peer->public_key);
	mnl_attr_put_u32(message, WGPEER_A_FLAGS, kernel_flags(flags, first));
	if (!(flags & WG_PEER_REMOVE)) {
		if (flags & WG_PEER_SET_ENDPOINT && first)
			put_endpoint(message, &peer->endpoint);
		if (flags & WG_PEER_SET_KEEPALIVE && first)
			mnl_attr_put_u16(message, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
					 peer->keepalive_s);
		if (flags & WG_PEER_SET_PSK && first)
			mnl_attr_put(message, WGPEER_A_PRESHARED_KEY, KEY_LEN, peer->preshared);
		allowed = mnl_attr_nest_start(message, WGPEER_A_ALLOWEDIPS);
		for (; *done < peer->allowed_ip_count && room_for(setter, ALLOWED_IP_ROOM); ++*done)
			put_allowed_ip(message, &peer->allowed_ips[*done].prefix);
		mnl_attr_nest_end(message, allowed);
	}
	mnl_attr_nest_end(message, nest);
}

static int put_change(struct setter *setter, const struct wg_change *change)
{
	size_t count = change->flags & WG_PEER_REMOVE ? 0 : change->peer->allowed_ip_count;
	size_t done = 0;

	do {
		if (!room_for(setter, PEER_ROOM + ALLOWED_IP_ROOM)) {
			int error = finish(setter);

			if (error)
				return error;
			start(setter);
		}
		put_peer(setter, change, &done);
	} while (done < count);
	return 0;
}

static int set_peers(struct wg *wg, const struct wg_change *changes, size_t count)
{
	struct setter setter = {.wg = wg, .buffer = xmalloc(NETLINK_BUFFER)};
	int error = 0;

	start(&setter);
	for (size_t i = 0; i < count && !error; i++)
		error = put_change(&setter, &changes[i]);
	if (!error)
		error = finish(&setter);
	secret_wipe(setter.buffer, NETLINK_BUFFER); /* preshared keys */
	free(setter.buffer);
	return error;
}

static int set(struct wg *wg, enum wg_setting what, uint32_t number, const struct key *key)
{
	char buffer[256];
	struct nlmsghdr *message = begin_device(wg, buffer, WG_CMD_SET_DEVICE);
	int error;

	if (what == WG_LISTEN_PORT)
		mnl_attr_put_u16(message, WGDEVICE_A_LISTEN_PORT, (uint16_t)number);
	else if (what == WG_FWMARK)
		mnl_attr_put_u32(message, WGDEVICE_A_FWMARK, number);
	else
		mnl_attr_put(message, WGDEVICE_A_PRIVATE_KEY, KEY_LEN, key);
	error = netlink_ask(&wg->nl, message, NULL, NULL);
	secret_wipe(buffer, sizeof(buffer));
	return error;
}

const struct wg_backend wg_netlink = {open_device, close_socket, get, set_peers, set};
