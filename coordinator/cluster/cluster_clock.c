/*
 * cluster_clock.c - the host's clock beside the database's, which is the one we go by (README.md).
 */
#include "cluster_private.h"
#include "coordinator/access/token.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/str.h"

#include <inttypes.h>
#include <stdlib.h>

/* Once, and again where it has become another. */
void cluster_look_at_clock(struct cluster *cluster)
{
	int64_t ahead = clock_host_ahead();
	bool wrong = llabs(ahead) > (int64_t)TOKEN_LEEWAY_MS, was = cluster->ahead_ms;

	if (wrong ? llabs(ahead - cluster->ahead_ms) <= (int64_t)TOKEN_LEEWAY_MS : !was)
		return;
	cluster->ahead_ms = wrong ? ahead : 0;
	if (wrong)
		log_warn("clock-differs", "ahead_seconds=%" PRId64 " reason=\"this host's clock is not the database's, which "
			 "all coordinators go by: set the one that is wrong, best by NTP on both\"", ahead / 1000);
	else
		log_info("clock-agrees", "reason=\"this host's clock is the database's again\"");
}
