/*
 * Whose a ledger file is. The tricky thing: the name of an interface says nothing of its network
 * namespace, and run directories are shared (containers, `ip netns`). What another namespace's agent
 * made can be removed there only, so its ledger must not be lost here.
 */
#include "ledger.h"

#include "lib/daemon.h"
#include <errno.h>
#include <stdio.h>

static int netns_of(const char *path, uint64_t *netns)
{
	struct ledger *ledger;
	int error = ledger_read(&ledger, path);

	if (error)
		return error;
	*netns = ledger_netns(ledger);
	ledger_close(ledger);
	return 0;
}

static int move(const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

/* What is there goes aside (where there is something), and what was aside comes back if it is ours. */
static int swap(const char *path, const char *aside, bool there)
{
	char *passing = xasprintf("%s.new", path);
	uint64_t netns = 0;
	bool returns = netns_of(aside, &netns) == 0 && netns == ledger_own_netns();
	int error = returns ? move(aside, passing) : 0;

	if (!error && there)
		error = move(path, aside);
	if (!error && returns)
		error = move(passing, path);
	free(passing);
	return error;
}

int ledger_claim(const char *path)
{
	uint64_t ours = ledger_own_netns(), netns = ours;
	int error = netns_of(path, &netns);
	char *aside;

	if (netns == ours && error != -ENOENT)
		return error == -EBADMSG ? 0 : error;
	if (netns != ours && netns_exists(netns))
		return -EXDEV;
	aside = xasprintf("%s.other", path);
	error = swap(path, aside, netns != ours);
	free(aside);
	return error;
}
