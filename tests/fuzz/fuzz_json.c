/* JSON: what loads can be read by every getter, and written so that it loads again as the same. */
#include "fuzz.h"
#include "lib/json.h"

#include <stdlib.h>
#include <string.h>

static void read_all(json_t *json)
{
	struct endpoint endpoint;
	struct key key;
	struct js js;

	js_read(&js, json);
	js_string(&js, "s", NULL);
	js_need_string(&js, "n", 8);
	js_int(&js, "i", -5, 5, 0);
	js_bool(&js, "b", false);
	js_array(&js, "a", 3);
	js_object(&js, "o");
	js_need_key(&js, "k", &key);
	js_endpoint(&js, "e", &endpoint);
	if (js_ok(&js) && !json_is_object(json))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char error[JS_ERROR] = "", *text;
	json_t *json = js_load(data, len, error), *again;

	if (!json) {
		if (!error[0])
			abort();
		return 0;
	}
	read_all(json);
	text = js_dump(json);
	again = js_load(text, strlen(text), error);
	if (!again)
		abort();
	json_decref(again);
	json_decref(json);
	free(text);
	return 0;
}
