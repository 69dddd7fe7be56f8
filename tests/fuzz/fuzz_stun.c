/* STUN: whatever parses is in bounds, and its integrity can be asked for. */
#include "fuzz.h"
#include "lib/stun.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t key[32] = {1};
	struct stun_message m;

	if (stun_parse(&m, data, len))
		return 0;
	free(xmemdup(m.username, m.username_len)); /* all of it can be read */
	stun_verify(&m, data, len, key, sizeof(key));
	return 0;
}
