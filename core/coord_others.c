/*
 * coord_others.c - several coordinators of one mesh: any of them will do. One that is lost or does not
 * answer is followed by the next within half a second; only when each has had its turn do we wait.
 */
#include "coord_private.h"
#include "lib/str.h"

#include <stdlib.h>
#include <string.h>

static const char *url_of(const struct state *state, size_t turn)
{
	return turn && turn <= state->other_count ? state->others[turn - 1] : state->coordinator_url;
}

const char *coord_origin(const struct coord *coord)
{
	return url_of(coord->state, coord->turn);
}

bool coord_next(struct coord *coord)
{
	size_t count = coord->state->other_count + 1;

	coord->turn = (coord->turn + 1) % count;
	if (++coord->tried < count)
		return false;
	coord->tried = 0;
	return true;
}

void coord_learn_others(struct coord *coord, json_t *urls)
{
	struct state *state = coord->state;
	char *now;

	if (!json_is_array(urls))
		return;
	now = xstrdup(coord_origin(coord));
	if (state_learn_others(state, urls))
		coord->ops->state_changed(coord->arg);
	coord->turn = 0;
	for (size_t turn = 1; turn <= state->other_count; turn++)
		if (!strcmp(url_of(state, turn), now))
			coord->turn = turn;
	free(now);
}
