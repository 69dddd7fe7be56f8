/*
 * One WireGuard device. The kernel is asked first: a socket file that lies about in
 * /var/run/wireguard must not take over a device that the kernel has. What is common to both back
 * ends is here: the list of peers, names, the choice.
 */
#include "wg_backend.h"

#include "lib/str.h"
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>

int wg_open(struct wg **out, const char *interface)
{
	static const struct wg_backend *const backends[] = {&wg_netlink, &wg_uapi};
	struct wg *wg;
	int error = -ENODEV;

	if (!interface_name_valid(interface) || !if_nametoindex(interface))
		return -ENODEV;
	wg = xcalloc(1, sizeof(*wg));
	str_copy(wg->name, sizeof(wg->name), interface);
	for (size_t i = 0; i < ARRAY_SIZE(backends) && error == -ENODEV; i++) {
		wg->backend = backends[i];
		error = wg->backend->open(wg);
	}
	if (error)
		free(wg);
	else
		*out = wg;
	return error;
}

void wg_close(struct wg *wg)
{
	if (!wg)
		return;
	wg->backend->close(wg);
	free(wg);
}

bool wg_is_userspace(const struct wg *wg)
{
	return wg->backend == &wg_uapi;
}

int wg_get(struct wg *wg, struct wg_device *out)
{
	int error;

	*out = (struct wg_device){.ifindex = if_nametoindex(wg->name)};
	list_init(&out->peers);
	str_copy(out->name, sizeof(out->name), wg->name);
	if (!out->ifindex)
		return -ENODEV;
	error = wg->backend->get(wg, out);
	if (error)
		wg_device_fini(out);
	return error;
}

void wg_device_fini(struct wg_device *device)
{
	struct wg_peer *peer, *next;

	list_each_safe(peer, next, &device->peers, node) {
		free(peer->allowed_ips);
		free(peer);
	}
	list_init(&device->peers);
	key_wipe(&device->private_key);
}

struct wg_peer *wg_device_find(const struct wg_device *device, const struct key *public_key)
{
	struct wg_peer *peer;

	list_each(peer, &device->peers, node)
		if (key_equal(&peer->public_key, public_key))
			return peer;
	return NULL;
}

struct wg_peer *wg_peer_new(struct wg_device *device, const struct key *public_key)
{
	struct wg_peer *peer = xcalloc(1, sizeof(*peer));

	peer->public_key = *public_key;
	list_add_tail(&device->peers, &peer->node);
	return peer;
}

void wg_peer_allow(struct wg_peer *peer, const struct prefix *prefix)
{
	size_t count = peer->allowed_ip_count;

	if (!(count & (count - 1))) /* none or a power of two: full */
		peer->allowed_ips = xrealloc(peer->allowed_ips, MAX(count * 2, 1) *
							       sizeof(*peer->allowed_ips));
	peer->allowed_ips[count].prefix = *prefix;
	peer->allowed_ip_count++;
}

int wg_set_peers(struct wg *wg, const struct wg_change *changes, size_t count)
{
	return count ? wg->backend->set_peers(wg, changes, count) : 0;
}

int wg_set_peer(struct wg *wg, const struct wg_peer *peer, unsigned flags)
{
	return wg_set_peers(wg, &(struct wg_change){.peer = peer, .flags = flags}, 1);
}

int wg_set_listen_port(struct wg *wg, uint16_t port)
{
	return wg->backend->set(wg, WG_LISTEN_PORT, port, NULL);
}

int wg_set_fwmark(struct wg *wg, uint32_t fwmark)
{
	return wg->backend->set(wg, WG_FWMARK, fwmark, NULL);
}

int wg_set_private_key(struct wg *wg, const struct key *private_key)
{
	return wg->backend->set(wg, WG_PRIVATE_KEY, 0, private_key);
}
