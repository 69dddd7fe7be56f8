/* YAML, and a schema over what it holds: a refusal always has a sentence. */
#include "fuzz.h"
#include "lib/schema.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const words[] = {"one", "two", NULL};
	static const struct schema_field inner[] = {
		{.name = "url", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED},
		{.name = "every", .type = SCHEMA_DURATION},
		{.name = NULL},
	};
	static const struct schema_field fields[] = {
		{.name = "a", .type = SCHEMA_OBJECT, .fields = inner},
		{.name = "b", .type = SCHEMA_INT, .max = 9, .flags = SCHEMA_LIST},
		{.name = "c", .type = SCHEMA_WORD, .words = words},
		{.name = "d", .type = SCHEMA_PREFIX, .flags = SCHEMA_LIST},
		{.name = "e", .type = SCHEMA_ENDPOINT, .flags = SCHEMA_NULLABLE},
		{.name = "f", .type = SCHEMA_OBJECT, .flags = SCHEMA_OPEN},
		{.name = NULL},
	};
	char error[YAML_ERROR] = "";
	struct yaml *yaml = yaml_load_text("f", (const char *)data, len, error);

	if (!yaml && !error[0])
		abort();
	if (yaml && !schema_check(yaml, fields, error) && !error[0])
		abort();
	yaml_free(yaml);
	return 0;
}
