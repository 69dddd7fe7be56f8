/*
 * replay.c - stands in for libFuzzer: runs the target on the bytes of each file given, so that the
 * corpus and old crashes are tested with any compiler.
 */
#include "fuzz.h"
#include "lib/file.h"

#include <string.h>

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct buf bytes = {0};
		uint8_t *exact;
		int result = file_read(argv[i], 1024 * 1024, &bytes);

		if (result) {
			fprintf(stderr, "%s cannot be read: %s\n", argv[i], strerror(-result));
			return 1;
		}
		exact = xmemdup(bytes.data, bytes.len); /* so that ASan sees every overread */
		LLVMFuzzerTestOneInput(exact, bytes.len);
		free(exact);
		buf_free(&bytes);
	}
	printf("%d replayed\n", argc - 1);
	return 0;
}
