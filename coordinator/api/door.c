/*
 * door.c - who may begin a TLS handshake.
 *
 * Only so many may be in one at a time: it takes three times the memory of the connection that comes
 * of it, so when all of a network come back at once memory does not grow by that and those who have
 * begun get through. Places go to sources in turn, first to one that has none, and no source has
 * more than half. So a flood waits behind itself; a network behind one address is served in its own
 * order. Who begins and says no more makes way after a second, where somebody waits for it.
 *
 * (TCP_DEFER_ACCEPT would leave silent sockets to the kernel; but there they fill one queue for all.)
 */
#include "door.h"
#include "conn.h"
#include "coordinator/coordinator.h"

#include <unistd.h>

#define SETTLING_MAX    256  /* handshakes at once, */
#define SOURCE_SETTLING 128  /* and of one source */
#define SETTLING_MS     1000 /* after which one makes way for others, */
#define OWN_MS          3000 /* or for more of its own source */
#define SILENT_MS       15000
#define PAUSE_MS        100

struct waiting {
	struct list node, in_source; /* door's silent; source's silent or ready */
	struct door *door;
	struct source *source;
	struct loop_io io;
	uint64_t since_ms;
	int fd;
};

void door_source_init(struct source *source)
{
	list_init(&source->silent);
	list_init(&source->ready);
	list_init(&source->settling);
	list_init(&source->turn);
	list_init(&source->busy);
}

/* Its descriptor is the caller's again. */
static int forget(struct waiting *waiting)
{
	int fd = waiting->fd;

	io_stop(&waiting->io);
	list_del(&waiting->node);
	list_del(&waiting->in_source);
	free(waiting);
	return fd;
}

static void leave(struct waiting *waiting)
{
	struct door *door = waiting->door;
	struct source *source = waiting->source;

	close(forget(waiting));
	door->gone(door->arg, source);
}

/* ---- turns --------------------------------------------------------------------------- */

static void line_up(struct door *door, struct source *source)
{
	if (!list_empty(&source->turn) || list_empty(&source->ready) ||
	    source->settling_count >= SOURCE_SETTLING)
		return;
	list_add_tail(source->settling_count ? &door->turns : door->turns.next, &source->turn);
}

static void begin(struct door *door, struct source *source)
{
	struct waiting *first = container_of(source->ready.next, struct waiting, in_source);

	door->ready--;
	door->settling++;
	if (!source->settling_count++) {
		list_add_tail(&door->busy, &source->busy);
		door->busy_count++;
	}
	conn_new(door->co, forget(first), source, &source->settling);
}

static void begin_some(struct door *door)
{
	while (!list_empty(&door->turns) && door->settling < SETTLING_MAX) {
		struct source *source = container_of(door->turns.next, struct source, turn);

		list_del(&source->turn);
		begin(door, source);
		line_up(door, source);
	}
	if ((door->ready || !list_empty(&door->silent)) && !timer_active(&door->pause))
		timer_start(&door->pause, PAUSE_MS);
}

/* ---- time ---------------------------------------------------------------------------- */

static void end_silent(struct door *door, uint64_t now)
{
	struct waiting *waiting, *tmp;

	list_each_safe(waiting, tmp, &door->silent, node) {
		if (waiting->since_ms + SILENT_MS > now)
			return;
		leave(waiting);
	}
}

/* Where somebody waits for all: of those who have as much as any. Else of who waits for itself. */
static void make_way(struct door *door, uint64_t now)
{
	bool full = door->settling >= SETTLING_MAX;
	struct source *source;

	list_each(source, &door->busy, busy) {
		if (full && source->settling_count * door->busy_count >= door->settling)
			conn_abort_older(&source->settling, now - SETTLING_MS);
		else if (source->settling_count >= SOURCE_SETTLING && !list_empty(&source->ready))
			conn_abort_older(&source->settling, now - OWN_MS);
	}
}

static void on_pause(void *arg)
{
	struct door *door = arg;
	uint64_t now = loop_now(door->co->loop);

	end_silent(door, now);
	if (door->ready)
		make_way(door, now);
	begin_some(door);
}

static void on_word(void *arg, int fd, unsigned events)
{
	struct waiting *waiting = arg;
	struct door *door = waiting->door;
	struct source *source = waiting->source;

	(void)fd;
	(void)events;
	io_stop(&waiting->io);
	list_del(&waiting->node);
	list_del(&waiting->in_source);
	list_add_tail(&source->ready, &waiting->in_source);
	door->ready++;
	line_up(door, source);
	begin_some(door);
}

/* ---- coming and going ---------------------------------------------------------------- */

void door_init(struct door *door, struct coordinator *co,
	       void (*gone)(void *arg, struct source *source), void *arg)
{
	*door = (struct door){.co = co, .gone = gone, .arg = arg};
	list_init(&door->silent);
	list_init(&door->turns);
	list_init(&door->busy);
	timer_init(&door->pause, co->loop, on_pause, door);
}

void door_enter(struct door *door, struct source *source, int fd)
{
	struct waiting *waiting = xmalloc(sizeof(*waiting));

	*waiting = (struct waiting){.door = door, .source = source, .fd = fd,
				    .since_ms = loop_now(door->co->loop)};
	list_add_tail(&door->silent, &waiting->node);
	list_add_tail(&source->silent, &waiting->in_source);
	io_init(&waiting->io, door->co->loop, fd, on_word, waiting);
	io_start(&waiting->io, LOOP_READ);
	if (!timer_active(&door->pause))
		timer_start(&door->pause, PAUSE_MS);
}

bool door_make_room(struct door *door, struct source *source)
{
	struct list *silent = source ? &source->silent : &door->silent;

	if (list_empty(silent))
		return false;
	leave(source ? container_of(silent->next, struct waiting, in_source)
		     : container_of(silent->next, struct waiting, node));
	return true;
}

void door_left(struct door *door, struct source *source)
{
	door->settling--;
	if (!--source->settling_count) {
		list_del(&source->busy);
		door->busy_count--;
	}
	line_up(door, source);
	begin_some(door);
}

void door_empty(struct door *door, struct source *source)
{
	list_del(&source->turn);
	while (door_make_room(door, source))
		;
	while (!list_empty(&source->ready)) {
		door->ready--;
		leave(container_of(source->ready.next, struct waiting, in_source));
	}
	conn_abort_older(&source->settling, UINT64_MAX);
}

void door_close(struct door *door)
{
	timer_stop(&door->pause);
}
