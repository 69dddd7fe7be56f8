/*
 * policy_taken.c - what was taken from the policy file before. The row `policy_file` of the table meta has the
 * SHA-256 of the text that any coordinator took last. Where there can be several it is soon another's, so
 * STATE/policy_taken has what the file of this one said last: neither is news.
 */
#include "policy_file.h"
#include "policy_state_private.h"
#include "coordinator/store/store.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/seal.h"
#include "lib/secret.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define META_KEY "policy_file"

static void hash_of(char out[static 65], const void *data, size_t len)
{
	uint8_t hash[32];

	sha256(hash, data, len);
	hex_encode(out, 65, hash, sizeof(hash));
}

/* The token secret is another after a backup was restored. What was taken since the backup is news then. */
static void hash_here(const struct coordinator *co, char out[static 65], const char *hash)
{
	uint8_t both[TOKEN_SECRET_LEN + 64];

	memcpy(both, co->token_secret, TOKEN_SECRET_LEN);
	memcpy(both + TOKEN_SECRET_LEN, hash, 64);
	hash_of(out, both, sizeof(both));
	secret_wipe(both, sizeof(both));
}

static char *path_of(const struct coordinator *co)
{
	return xasprintf("%s/policy_taken", co->config.state);
}

/* The file only ever follows the database. Where another coordinator was quicker nothing was taken. */
static void remember(void *arg)
{
	struct policy_state *state = arg;
	char *path, text[66];

	if (state->co->taken_wait.refused) {
		state->taken_here[0] = '\0';
		policy_file_again(state->file, true);
		return;
	}
	path = path_of(state->co);
	snprintf(text, sizeof(text), "%s\n", state->taken_here);
	if (file_write_atomic(path, text, strlen(text), 0600) < 0)
		log_warn("policy", "file=%s reason=\"cannot be written: an unchanged policy file may be taken again "
			 "at the next start\"", path);
	free(path);
}

static void taken_here(struct policy_state *state, const char *hash)
{
	if (!state->co->cluster)
		return;
	hash_here(state->co, state->taken_here, hash);
	store_wait_cancel(&state->co->taken_wait);
	store_wait(state->co->store, &state->co->taken_wait, remember, state);
}

void policy_file_taken(struct coordinator *co, const char *text, size_t len)
{
	char *hash = co->policy->taken;

	hash_of(hash, text, len);
	store_write(co->store, STORE_META_PUT,
		    (struct store_value[]){store_text(META_KEY), store_blob(hash, strlen(hash))});
	taken_here(co->policy, hash);
}

bool policy_file_known(struct coordinator *co, const char *text, size_t len)
{
	char hash[65], here[65];

	hash_of(hash, text, len);
	hash_here(co, here, hash);
	if (!strcmp(here, co->policy->taken_here))
		return true;
	if (strcmp(hash, co->policy->taken) != 0)
		return false;
	taken_here(co->policy, hash);
	return true;
}

void policy_taken_row(struct coordinator *co, const struct store_value *row)
{
	struct policy_state *state = co->policy;

	if (strcmp(store_string(&row[0]), META_KEY) || row[1].len >= sizeof(state->taken))
		return;
	memcpy(state->taken, row[1].data, row[1].len);
	state->taken[row[1].len] = '\0';
}

void policy_taken_load(struct policy_state *state)
{
	struct buf text = {.limit = sizeof(state->taken_here)};
	char *path = path_of(state->co);

	if (state->co->cluster && !file_read(path, text.limit, &text)) {
		str_copy(state->taken_here, sizeof(state->taken_here), buf_text(&text));
		state->taken_here[strcspn(state->taken_here, "\n")] = '\0';
	}
	buf_free(&text);
	free(path);
}
