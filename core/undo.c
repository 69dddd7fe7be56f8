/*
 * Takes back what the ledger holds and nothing else. Peers go in one batch, being many; the rest
 * one by one. The tricky thing: a ledger tells of one interface in one network namespace, by
 * index; where the name means another one by now, everything went with the old one but policy
 * rules, which do not belong to an interface.
 */
#include "undo.h"

#include "ledger.h"
#include "link.h"
#include "wg.h"
#include <errno.h>
#include <net/if.h>
#include <unistd.h>

struct undo {
	const struct ledger *ledger;
	struct link *link;
	struct wg *wg;       /* NULL: could not be opened, wg_error says why */
	int wg_error;        /* what removing the peers came to */
	uint32_t ifindex;    /* 0: the interface has gone */
	bool mark_put_back;  /* the first mark is what the user had */
};

static bool is_gone(int error)
{
	return error == -ENOENT || error == -ESRCH || error == -ENODEV;
}

static int remove_peers(const struct undo *undo)
{
	struct wg_change *changes = NULL;
	struct wg_peer *peers = NULL;
	const struct ledger_entry *entry;
	size_t pos = 0, count = 0;
	int error;

	for (; (entry = ledger_next(undo->ledger, &pos)); count += entry->kind == LEDGER_PEER)
		;
	peers = xcalloc(count + 1, sizeof(*peers));
	changes = xcalloc(count + 1, sizeof(*changes));
	for (pos = count = 0; (entry = ledger_next(undo->ledger, &pos));) {
		if (entry->kind != LEDGER_PEER)
			continue;
		peers[count].public_key = entry->key;
		changes[count] = (struct wg_change){&peers[count], WG_PEER_REMOVE};
		count++;
	}
	error = wg_set_peers(undo->wg, changes, count);
	free(changes);
	free(peers);
	return error;
}

static int put_back_mark(struct undo *undo, uint32_t mark)
{
	if (undo->wg_error || undo->mark_put_back)
		return undo->wg_error;
	undo->mark_put_back = true;
	return wg_set_fwmark(undo->wg, mark);
}

static int take_back(struct undo *undo, const struct ledger_entry *entry)
{
	int error = 0;

	if (entry->kind == LEDGER_RULE)
		error = link_del_rules(undo->link, entry->number);
	if (!undo->ifindex)
		return error;
	switch (entry->kind) {
	case LEDGER_PEER:
		return undo->wg_error;
	case LEDGER_ADDRESS:
		error = link_del_address(undo->link, undo->ifindex, &entry->prefix);
		break;
	case LEDGER_ROUTE:
		error = link_del_route(undo->link, undo->ifindex, &entry->prefix, entry->number);
		break;
	case LEDGER_MARK:
		return put_back_mark(undo, entry->number);
	case LEDGER_RULE:
	case LEDGER_TABLE:
		break;
	}
	return is_gone(error) ? 0 : error;
}

/* Only where something is left is the ledger brought up to date: else it is about to go. */
static int take_back_all(struct undo *undo, struct ledger *ledger)
{
	const struct ledger_entry *entry;
	size_t pos = 0, count = 0;
	bool *gone = NULL;
	int first = 0;

	while ((entry = ledger_next(ledger, &pos))) {
		int error = take_back(undo, entry);

		gone = xrealloc(gone, (count + 1) * sizeof(*gone));
		gone[count++] = !error;
		if (!first)
			first = error;
	}
	pos = 0;
	for (size_t i = 0; first && i < count; i++) {
		entry = ledger_next(ledger, &pos);
		if (gone[i])
			ledger_del(ledger, entry);
	}
	free(gone);
	return first;
}

static int undo_ledger(struct ledger *ledger, const char *interface)
{
	struct undo undo = {.ledger = ledger, .ifindex = if_nametoindex(interface)};
	int error = link_open(&undo.link);

	if (error)
		return error;
	if (undo.ifindex != ledger_ifindex(ledger))
		undo.ifindex = 0;
	if (undo.ifindex)
		undo.wg_error = wg_open(&undo.wg, interface);
	if (undo.wg)
		undo.wg_error = remove_peers(&undo);
	if (undo.wg_error == -ENODEV) /* its daemon has ended, and its peers with it */
		undo.wg_error = 0, undo.mark_put_back = true;
	error = take_back_all(&undo, ledger);
	wg_close(undo.wg);
	link_close(undo.link);
	return error;
}

int undo_interface(const char *interface, const char *ledger_path)
{
	struct ledger *ledger;
	int error = ledger_claim(ledger_path);
	uint32_t ifindex;

	if (!error)
		error = ledger_read(&ledger, ledger_path);
	if (error)
		return error == -ENOENT ? 0 : error;
	ifindex = ledger_ifindex(ledger);
	ledger_close(ledger);
	error = ledger_open(&ledger, ledger_path, ifindex);
	if (error)
		return error;
	error = undo_ledger(ledger, interface);
	ledger_close(ledger);
	if (!error && unlink(ledger_path) < 0 && errno != ENOENT)
		error = -errno;
	return error;
}
