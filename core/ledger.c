/*
 * What we made, written down before it is made. Each change is one line and one write(), so a
 * crash leaves whole lines, and at worst the last one cut short. The file is written anew when most
 * of its lines are history. The tricky thing: a write that fails half way (no space) is taken back,
 * or the next line would be glued to its remains.
 */
#include "ledger.h"

#include "lib/file.h"
#include "lib/log.h"
#include "lib/map.h"
#include "lib/str.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC       "wg-mesh-ledger 1"
#define FILE_MAX    (64u << 20)
#define LINE_TEXT   160
#define SLACK_LINES 1024 /* of history that are never worth writing anew */

struct identity { /* an entry as a key of the map: only what its kind has, no padding */
	uint8_t bytes[1 + KEY_LEN + 1 + 16 + 1 + 4];
};

struct slot {
	struct ledger_entry entry;
	size_t at; /* in ledger.slots */
};

struct ledger {
	char *path;
	int fd; /* -1: for reading only */
	uint64_t netns;
	uint32_t ifindex;
	struct map *by_identity; /* of struct slot */
	struct slot **slots;     /* in order of adding; NULL: deleted */
	size_t slot_count;
	size_t line_count; /* in the file, with history */
};

/* ---- one entry as a line -------------------------------------------------------------------- */

static void format_peer(char *out, const struct ledger_entry *entry)
{
	char key[KEY_BASE64];

	key_format(key, &entry->key);
	snprintf(out, LINE_TEXT, "peer %s", key);
}

static void format_address(char *out, const struct ledger_entry *entry)
{
	char prefix[PREFIX_TEXT];

	prefix_format(prefix, &entry->prefix);
	snprintf(out, LINE_TEXT, "address %s", prefix);
}

static void format_route(char *out, const struct ledger_entry *entry)
{
	char prefix[PREFIX_TEXT];

	prefix_format(prefix, &entry->prefix);
	snprintf(out, LINE_TEXT, "route %s table=%" PRIu32, prefix, entry->number);
}

static void format_rule(char *out, const struct ledger_entry *entry)
{
	snprintf(out, LINE_TEXT, "rule priority=%" PRIu32, entry->number);
}

static void format_mark(char *out, const struct ledger_entry *entry)
{
	snprintf(out, LINE_TEXT, "mark 0x%08" PRIx32, entry->number);
}

static void format_table(char *out, const struct ledger_entry *entry)
{
	snprintf(out, LINE_TEXT, "table %" PRIu32, entry->number);
}

static bool parse_number(struct ledger_entry *entry, char *text)
{
	uint64_t number;

	if (!parse_u64(text, &number) || number > UINT32_MAX)
		return false;
	entry->number = (uint32_t)number;
	return true;
}

static bool parse_peer(struct ledger_entry *entry, char *text)
{
	return key_parse(&entry->key, text);
}

static bool parse_address(struct ledger_entry *entry, char *text)
{
	return prefix_parse(&entry->prefix, text);
}

static bool parse_route(struct ledger_entry *entry, char *text)
{
	char *table = strchr(text, ' ');

	if (!table || !str_has_prefix(table, " table="))
		return false;
	*table = 0;
	return prefix_parse(&entry->prefix, text) && parse_number(entry, table + strlen(" table="));
}

static bool parse_rule(struct ledger_entry *entry, char *text)
{
	return str_has_prefix(text, "priority=") && parse_number(entry, text + strlen("priority="));
}

static bool parse_mark(struct ledger_entry *entry, char *text)
{
	if (strlen(text) != 10 || !str_has_prefix(text, "0x") ||
	    strspn(text + 2, "0123456789abcdef") != 8)
		return false;
	entry->number = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

static const struct {
	const char *word; /* with the blank behind it */
	void (*format)(char *out, const struct ledger_entry *entry);
	bool (*parse)(struct ledger_entry *entry, char *text);
} kinds[] = {
	[LEDGER_PEER] = {"peer ", format_peer, parse_peer},
	[LEDGER_ADDRESS] = {"address ", format_address, parse_address},
	[LEDGER_ROUTE] = {"route ", format_route, parse_route},
	[LEDGER_RULE] = {"rule ", format_rule, parse_rule},
	[LEDGER_MARK] = {"mark ", format_mark, parse_mark},
	[LEDGER_TABLE] = {"table ", format_table, parse_number},
};

static bool parse_entry(struct ledger_entry *entry, char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!str_has_prefix(text, kinds[i].word))
			continue;
		*entry = (struct ledger_entry){.kind = (enum ledger_kind)i};
		return kinds[i].parse(entry, text + strlen(kinds[i].word));
	}
	return false;
}

/* ---- what is held in memory ----------------------------------------------------------------- */

static struct identity identity_of(const struct ledger_entry *entry)
{
	struct prefix prefix = entry->kind == LEDGER_ROUTE ? prefix_mask(&entry->prefix) :
							     entry->prefix;
	struct identity id = {.bytes = {(uint8_t)entry->kind}};
	uint8_t *at = id.bytes + 1;

	if (entry->kind == LEDGER_PEER) {
		memcpy(at, &entry->key, KEY_LEN);
	} else if (entry->kind == LEDGER_ADDRESS || entry->kind == LEDGER_ROUTE) {
		at += KEY_LEN;
		*at++ = prefix.addr.family;
		memcpy(at, prefix.addr.bytes, sizeof(prefix.addr.bytes));
		at[sizeof(prefix.addr.bytes)] = prefix.bits;
	}
	if (entry->kind != LEDGER_PEER && entry->kind != LEDGER_ADDRESS)
		memcpy(id.bytes + sizeof(id.bytes) - 4, &entry->number, 4);
	return id;
}

static struct slot *find(const struct ledger *ledger, const struct ledger_entry *entry)
{
	struct identity id = identity_of(entry);

	return map_get(ledger->by_identity, &id);
}

static void hold(struct ledger *ledger, const struct ledger_entry *entry)
{
	struct identity id = identity_of(entry);
	struct slot *slot = xmalloc(sizeof(*slot));
	size_t count = ledger->slot_count;

	if (!(count & (count - 1))) /* none or a power of two: full */
		ledger->slots = xrealloc(ledger->slots, MAX(count * 2, 1) * sizeof(slot));
	*slot = (struct slot){.entry = *entry, .at = count};
	ledger->slots[ledger->slot_count++] = slot;
	map_put(ledger->by_identity, &id, slot);
}

static void drop(struct ledger *ledger, struct slot *slot)
{
	struct identity id = identity_of(&slot->entry);

	map_del(ledger->by_identity, &id);
	ledger->slots[slot->at] = NULL;
	free(slot);
}

static void read_line(struct ledger *ledger, char *line)
{
	struct ledger_entry entry;
	struct slot *slot;

	if ((line[0] != '+' && line[0] != '-') || line[1] != ' ' || !parse_entry(&entry, line + 2))
		return; /* cut short: what it was about has not been made */
	slot = find(ledger, &entry);
	if (line[0] == '+' && !slot)
		hold(ledger, &entry);
	else if (line[0] == '-' && slot)
		drop(ledger, slot);
}

static bool read_header(struct ledger *ledger, char *line)
{
	char expected[LINE_TEXT];

	if (sscanf(line, MAGIC " netns=%" SCNu64 " ifindex=%" SCNu32, &ledger->netns,
		   &ledger->ifindex) != 2)
		return false;
	snprintf(expected, sizeof(expected), MAGIC " netns=%" PRIu64 " ifindex=%" PRIu32,
		 ledger->netns, ledger->ifindex);
	return strcmp(line, expected) == 0;
}

/* False: no whole first line of ours. The file's bytes are cut into lines on the way. */
static bool read_text(struct ledger *ledger, char *text)
{
	char *line = text, *end = strchr(line, '\n');

	if (!end)
		return false;
	*end = 0;
	if (!read_header(ledger, line))
		return false;
	for (line = end + 1; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (end)
			*end = 0;
		read_line(ledger, line);
		ledger->line_count++;
		if (!end)
			break;
	}
	return true;
}

/* ---- the file ------------------------------------------------------------------------------- */

/* All of it or nothing. */
static int append(struct ledger *ledger, const char *text, size_t len)
{
	struct stat before;
	ssize_t put;
	int error;

	if (ledger->fd < 0)
		return -EBADF;
	if (fstat(ledger->fd, &before) < 0)
		return -errno;
	do
		put = write(ledger->fd, text, len);
	while (put < 0 && errno == EINTR);
	if (put == (ssize_t)len)
		return 0;
	error = put < 0 ? -errno : -ENOSPC;
	if (put > 0 && ftruncate(ledger->fd, before.st_size) < 0)
		error = -errno;
	return error;
}

static int append_change(struct ledger *ledger, char sign, const struct ledger_entry *entry)
{
	char text[LINE_TEXT], line[LINE_TEXT + 4];
	int error;

	kinds[entry->kind].format(text, entry);
	snprintf(line, sizeof(line), "%c %s\n", sign, text);
	error = append(ledger, line, strlen(line));
	if (!error)
		ledger->line_count++;
	return error;
}

static int open_for_appending(struct ledger *ledger)
{
	int fd = open(ledger->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	if (ledger->fd >= 0)
		close(ledger->fd);
	ledger->fd = fd;
	return 0;
}

/* Writes header and entries, no history, in place of the file. */
static int write_anew(struct ledger *ledger)
{
	const struct ledger_entry *entry;
	struct buf text = {.limit = FILE_MAX};
	char line[LINE_TEXT];
	size_t pos = 0;
	int error = buf_addf(&text, MAGIC " netns=%" PRIu64 " ifindex=%" PRIu32 "\n", ledger->netns,
			     ledger->ifindex);

	while (!error && (entry = ledger_next(ledger, &pos))) {
		kinds[entry->kind].format(line, entry);
		error = buf_addf(&text, "+ %s\n", line);
	}
	if (!error)
		error = file_write_atomic(ledger->path, text.data, text.len, 0600);
	buf_free(&text);
	if (!error)
		error = open_for_appending(ledger);
	if (!error)
		ledger->line_count = map_count(ledger->by_identity);
	return error;
}

static void close_gaps(struct ledger *ledger)
{
	size_t kept = 0, cap = 1;

	for (size_t i = 0; i < ledger->slot_count; i++) {
		if (!ledger->slots[i])
			continue;
		ledger->slots[i]->at = kept;
		ledger->slots[kept++] = ledger->slots[i];
	}
	while (cap < kept)
		cap *= 2;
	ledger->slots = xrealloc(ledger->slots, cap * sizeof(*ledger->slots));
	ledger->slot_count = kept;
}

/* Only when adding: during a walk entries may be deleted. A failure to tidy up is none to add. */
static void forget_history(struct ledger *ledger)
{
	if (ledger->slot_count > 2 * map_count(ledger->by_identity) + SLACK_LINES)
		close_gaps(ledger);
	if (ledger->fd >= 0 && ledger->line_count > 2 * map_count(ledger->by_identity) + SLACK_LINES)
		write_anew(ledger);
}

/* ---- the calls ------------------------------------------------------------------------------ */

uint64_t ledger_own_netns(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static void empty(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->slot_count; i++)
		if (ledger->slots[i])
			drop(ledger, ledger->slots[i]);
	ledger->slot_count = ledger->line_count = 0;
}

static struct ledger *new_ledger(const char *path)
{
	struct ledger *ledger = xcalloc(1, sizeof(*ledger));

	ledger->path = xstrdup(path);
	ledger->fd = -1;
	ledger->by_identity = map_new(sizeof(struct identity));
	return ledger;
}

/* 0; -ENOENT; -EBADMSG: not a ledger. *torn: its last line has no end. */
static int load(struct ledger *ledger, bool *torn)
{
	struct buf text = {.limit = FILE_MAX};
	int error = file_read(ledger->path, FILE_MAX - 1, &text);

	*torn = text.len && text.data[text.len - 1] != '\n';
	if (!error && !read_text(ledger, buf_text(&text)))
		error = -EBADMSG;
	buf_free(&text);
	return error;
}

static int adopt(struct ledger *ledger, uint32_t ifindex)
{
	bool torn;
	int error = ledger_claim(ledger->path);

	if (!error)
		error = load(ledger, &torn);
	if (error && error != -ENOENT && error != -EBADMSG)
		return error;
	if (!error && ledger->netns == ledger_own_netns() && ledger->ifindex == ifindex) {
		error = open_for_appending(ledger);
		return error || !torn ? error : append(ledger, "\n", 1);
	}
	if (error == -EBADMSG)
		log_warn("ledger-unreadable", "path=%s reason=\"it begins anew\"", ledger->path);
	empty(ledger);
	ledger->netns = ledger_own_netns();
	ledger->ifindex = ifindex;
	return write_anew(ledger);
}

int ledger_open(struct ledger **out, const char *path, uint32_t ifindex)
{
	struct ledger *ledger = new_ledger(path);
	int error = adopt(ledger, ifindex);

	if (error)
		ledger_close(ledger);
	else
		*out = ledger;
	return error;
}

int ledger_read(struct ledger **out, const char *path)
{
	struct ledger *ledger = new_ledger(path);
	bool torn;
	int error = load(ledger, &torn);

	if (error)
		ledger_close(ledger);
	else
		*out = ledger;
	return error;
}

void ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return;
	empty(ledger);
	if (ledger->fd >= 0)
		close(ledger->fd);
	map_free(ledger->by_identity);
	free(ledger->slots);
	free(ledger->path);
	free(ledger);
}

uint64_t ledger_netns(const struct ledger *ledger)
{
	return ledger->netns;
}

uint32_t ledger_ifindex(const struct ledger *ledger)
{
	return ledger->ifindex;
}

int ledger_add(struct ledger *ledger, const struct ledger_entry *entry)
{
	int error;

	if (find(ledger, entry))
		return 0;
	forget_history(ledger);
	error = append_change(ledger, '+', entry);
	if (!error)
		hold(ledger, entry);
	return error;
}

int ledger_del(struct ledger *ledger, const struct ledger_entry *entry)
{
	struct slot *slot = find(ledger, entry);
	int error;

	if (!slot)
		return 0;
	error = append_change(ledger, '-', entry);
	if (!error)
		drop(ledger, slot); /* `entry` may be this very one */
	return error;
}

bool ledger_has(const struct ledger *ledger, const struct ledger_entry *entry)
{
	return find(ledger, entry) != NULL;
}

const struct ledger_entry *ledger_next(const struct ledger *ledger, size_t *pos)
{
	while (*pos < ledger->slot_count) {
		struct slot *slot = ledger->slots[(*pos)++];

		if (slot)
			return &slot->entry;
	}
	return NULL;
}
