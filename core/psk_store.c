/*
 * The file of preshared keys. It is written as text by hand: all that is in it is numbers, words of
 * ours and base64, and a tree of JSON would leave copies of the keys about.
 */
#include "psk_store.h"

#include "lib/file.h"
#include "lib/json.h"
#include "lib/secret.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define PSK_FILE_MAX (16 * 1024 * 1024)
#define ONE_MAX      512 /* bytes of an entry, at most */

static const char *const state_names[] = {"idle",   "offered",  "held",
					  "staged", "switched", "confirmed"};

struct psk_entry *psk_entry_of(struct map *entries, const struct key *peer)
{
	struct psk_entry *entry = map_get(entries, peer->bytes);

	if (entry)
		return entry;
	entry = xcalloc(1, sizeof(*entry));
	entry->peer = *peer;
	map_put(entries, peer->bytes, entry);
	return entry;
}

static void free_entry(struct psk_entry *entry)
{
	if (!entry)
		return;
	psk_wipe(&entry->psk);
	key_wipe(&entry->message.key);
	free(entry);
}

void psk_entry_remove(struct map *entries, const struct key *peer)
{
	free_entry(map_del(entries, peer->bytes));
}

void psk_free(struct map *entries)
{
	struct psk_entry *entry;

	if (!entries)
		return;
	for (size_t pos = 0; (entry = map_next(entries, &pos, NULL));)
		free_entry(entry);
	map_free(entries);
}

/* ---- reading ---- */

static bool read_key(struct js *of, const char *name, struct psk_key *out)
{
	struct js js;

	js_read(&js, js_object(of, name));
	out->epoch = (uint64_t)js_int(&js, "epoch", 0, PSK_EPOCH_MAX, 0);
	if (js_string(&js, "key", NULL))
		js_need_preshared(&js, "key", &out->key);
	js_wipe(js.object, "key");
	return js_ok(&js);
}

static bool read_entry(struct map *entries, json_t *item)
{
	struct psk_entry *entry;
	struct psk psk = {0};
	const char *state;
	struct key peer;
	struct js js;
	bool good;

	js_read(&js, item);
	good = js_need_key(&js, "public_key", &peer);
	psk.highest = (uint64_t)js_int(&js, "highest", 0, PSK_EPOCH_MAX, 0);
	psk.ours = js_bool(&js, "ours", false);
	state = js_need_string(&js, "state", 16);
	good = read_key(&js, "now", &psk.now) && good;
	good = read_key(&js, "next", &psk.next) && good && js_ok(&js);
	while (good && strcmp(state, state_names[psk.state]) != 0)
		good = ++psk.state <= PSK_CONFIRMED;
	good = good && (psk.state == PSK_IDLE) == !psk.next.epoch;
	if (good) {
		entry = psk_entry_of(entries, &peer);
		entry->psk = psk;
	}
	psk_wipe(&psk);
	return good;
}

static int read_all(struct map *entries, json_t *root)
{
	json_t *peers = json_object_get(root, "peers"), *item;
	bool good = json_is_array(peers);
	size_t i;

	json_array_foreach(peers, i, item) good = read_entry(entries, item) && good;
	return good ? 0 : -EBADMSG;
}

int psk_load(struct map **out, const char *path)
{
	char why[JS_ERROR];
	json_t *root = NULL;
	struct buf text;
	int error;

	*out = map_new(KEY_LEN);
	buf_init(&text, PSK_FILE_MAX);
	error = file_read(path, PSK_FILE_MAX, &text);
	if (!error) {
		root = js_load(text.data, text.len, why);
		error = root ? read_all(*out, root) : -EBADMSG;
	}
	json_decref(root);
	buf_wipe(&text);
	if (error && error != -ENOENT) {
		psk_free(*out);
		*out = map_new(KEY_LEN);
	}
	return error == -ENOENT ? 0 : error;
}

/* ---- writing ---- */

static void write_key(struct buf *out, const char *name, const struct psk_key *key)
{
	char text[KEY_BASE64];

	if (key_is_zero(&key->key)) {
		buf_addf(out, ",\"%s\":{\"epoch\":%" PRIu64 ",\"key\":null}", name, key->epoch);
		return;
	}
	key_format(text, &key->key);
	buf_addf(out, ",\"%s\":{\"epoch\":%" PRIu64 ",\"key\":\"%s\"}", name, key->epoch, text);
	secret_wipe(text, sizeof(text));
}

static void write_entry(struct buf *out, const struct psk_entry *entry)
{
	char peer[KEY_BASE64];

	key_format(peer, &entry->peer);
	buf_addf(out, "{\"public_key\":\"%s\",\"highest\":%" PRIu64 ",\"state\":\"%s\",\"ours\":%s", peer,
		 entry->psk.highest, state_names[entry->psk.state],
		 entry->psk.ours ? "true" : "false");
	write_key(out, "now", &entry->psk.now);
	write_key(out, "next", &entry->psk.next);
	buf_puts(out, "}");
}

int psk_save(const struct map *entries, const char *path, psk_forgotten_fn *forgotten, void *arg)
{
	struct psk_entry *entry;
	const char *comma = "";
	struct buf text;
	int error;

	buf_init(&text, PSK_FILE_MAX);
	buf_reserve(&text, MIN(64 + map_count(entries) * ONE_MAX, (size_t)PSK_FILE_MAX));
	buf_puts(&text, "{\"schema\":1,\"peers\":[");
	for (size_t pos = 0; (entry = map_next(entries, &pos, NULL));) {
		if (!entry->psk.highest || (forgotten && forgotten(arg, entry)))
			continue;
		buf_puts(&text, comma);
		write_entry(&text, entry);
		comma = ",\n";
	}
	error = buf_puts(&text, "]}\n");
	if (!error)
		error = file_write_atomic(path, text.data, text.len, 0600);
	buf_wipe(&text);
	return error;
}
