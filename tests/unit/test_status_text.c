/* The status as people read it, its health, and the words for ages and sizes. */
#include "cli/status_text.h"
#include "cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NOW 1795440000000ull /* 2026-11-23T13:20:00Z */

static const char document[] =
	"{'schema':1,'interface':'wg0','network':'default',"
	"'networks':[{'name':'default','addresses':['10.86.0.3/16','fd00::3/64']}],'name':'laptop',"
	"'agent_id':'a','public_key':'KEY','addresses':['10.86.0.3/16'],"
	"'coordinator':{'url':'https://vpn:8443','connected':true,'since':'2026-11-23T13:18:00Z'},"
	"'relay':{'home':null,'connected':false,'latency_ms':null},"
	"'nat':{'type':'port_restricted_cone','mapping':'endpoint-independent','filtering':null,"
	"'endpoints':['203.0.113.5:51820'],'port_mapping':null},"
	"'peers':[{'name':'nas','agent_id':'b','public_key':'NASKEY','addresses':['10.86.0.4'],"
	"'allowed_ips':['10.86.0.4/"
	"32'],'online':true,'path':'direct','endpoint':'198.51.100.9:51820',"
	"'relay':null,'pinned':null,'latency_ms':12.34,'last_handshake':'2026-11-23T13:19:48Z',"
	"'rx_bytes':1536,'tx_bytes':0,'nat_type':'symmetric','networks':['default'],'managed':true}"
	","
	"{'name':null,'agent_id':null,'public_key':'ABCDEFGHIJ','addresses':[],'allowed_ips':['172."
	"31.0.2/32'],"
	"'online':null,'path':'none','endpoint':null,'relay':null,'pinned':null,'latency_ms':null,"
	"'last_handshake':null,'rx_bytes':0,'tx_bytes':0,'nat_type':null,'networks':[],'managed':"
	"false}]}";

static const char text[] =
	"wg0: laptop in default, 10.86.0.3/16, fd00::3/64\n"
	"  public key   KEY\n"
	"  coordinator  https://vpn:8443, connected since 2 min ago\n"
	"  NAT          port_restricted_cone (mapping endpoint-independent, filtering unknown)\n"
	"  endpoints    203.0.113.5:51820\n"
	"\n"
	"PEER      ADDRESS        PATH    ENDPOINT            LATENCY  HANDSHAKE  RECEIVED  SENT\n"
	"nas       10.86.0.4      direct  198.51.100.9:51820  12.3 ms  12 s ago   1.5 KiB   0 B\n"
	"ABCDEFGH  172.31.0.2/32  yours   -                   -        -          0 B       0 B\n";

static json_t *load(const char *quoted)
{
	char *copy = xstrdup(quoted), error[JS_ERROR];
	json_t *json;

	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = js_load(copy, strlen(copy), error);
	assert_non_null(json);
	free(copy);
	return json;
}

static void test_text(void **state)
{
	json_t *status = load(document);
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	status_text(&out, status, NOW);
	assert_string_equal(buf_text(&out), text);
	buf_free(&out);
	json_decref(status);
}

/* Whatever an agent of another version leaves out: no crash, and no control character comes out. */
static void test_strange(void **state)
{
	static const char *const documents[] = {
		"{}",
		"{'peers':[{}]}",
		"{'peers':[1,'x',null,{'name':5,'rx_bytes':'x','addresses':{}}]}",
		"{'networks':[{}],'nat':[],'coordinator':'x'}",
		"{'name':'a\\u001b[31mb','peers':[{'name':'x\\ny','path':'direct','managed':true}]"
		"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		json_t *status = load(documents[i]);
		struct buf out;

		buf_init(&out, 0);
		status_text(&out, status, NOW);
		assert_null(memchr(out.data, '\033', out.len));
		assert_null(strstr(buf_text(&out), "x\ny"));
		buf_free(&out);
		json_decref(status);
	}
}

/* What keeps us out is said with the remedy, and only then. */
static void test_admitted(void **state)
{
	static const struct {
		const char *document, *says;
	} cases[] = {
		{"{}", NULL},
		{"{'coordinator':{'refused':null},'networks':[{'name':'lan','approved':true},{'name':'x'}]}", NULL},
		{"{'name':'nas','networks':[{'name':'a','approved':true},{'name':'lan','approved':false}]}",
		 "agent approve nas --network lan"},
		{"{'interface':'wg1','coordinator':{'refused':'agent_expired'}}", "has expired this agent"},
		{"{'interface':'wg1','coordinator':{'refused':'agent_expired'}}", "join LINK --interface wg1"},
		{"{'interface':'wg1','coordinator':{'refused':'unknown_agent'}}", "no more (unknown_agent)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *status = load(cases[i].document);
		char why[STATUS_WHY];
		struct buf out;

		buf_init(&out, 0);
		assert_int_equal(status_admitted(status, why), !cases[i].says);
		status_text(&out, status, NOW);
		if (cases[i].says) {
			assert_non_null(strstr(why, cases[i].says));
			assert_non_null(strstr(buf_text(&out), why));
			assert_null(strstr(buf_text(&out), "join another host"));
		} else {
			assert_string_equal(why, "");
		}
		buf_free(&out);
		json_decref(status);
	}
}

static void test_healthy(void **state)
{
	static const struct {
		const char *document;
		bool healthy;
	} cases[] = {
		{"{'coordinator':{'connected':true},'peers':[]}", true},
		{"{'coordinator':{'connected':false},'peers':[]}", false},
		{"{'peers':[]}", false},
		{"{'coordinator':{'connected':true},'peers':[{'online':true,'path':'none','managed'"
		 ":true}]}",
		 false},
		{"{'coordinator':{'connected':true},'peers':[{'online':true,'path':'relay','"
		 "managed':true}]}",
		 true},
		{"{'coordinator':{'connected':true},'peers':[{'online':false,'path':'none','"
		 "managed':true}]}",
		 true},
		{"{'coordinator':{'connected':true},'peers':[{'online':null,'path':'none','managed'"
		 ":false}]}",
		 true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *status = load(cases[i].document);
		char why[STATUS_WHY];

		assert_int_equal(status_healthy(status, why), cases[i].healthy);
		assert_int_equal(*why == '\0', cases[i].healthy);
		json_decref(status);
	}
}

static void test_words(void **state)
{
	(void)state;
	assert_string_equal(words_age(NULL, NOW), "never");
	assert_string_equal(words_age("nonsense", NOW), "never");
	assert_string_equal(words_age("2026-11-23T13:20:00Z", NOW), "now");
	assert_string_equal(words_age("2026-11-23T13:20:09Z", NOW),
			    "now"); /* a clock was set back */
	assert_string_equal(words_age("2026-11-23T13:18:30Z", NOW), "1 min ago");
	assert_string_equal(words_age("2026-11-23T11:20:00Z", NOW), "2 h ago");
	assert_string_equal(words_age("2026-11-20T13:20:00Z", NOW), "3 d ago");
	assert_string_equal(words_bytes(0), "0 B");
	assert_string_equal(words_bytes(1023), "1023 B");
	assert_string_equal(words_bytes(1024), "1.0 KiB");
	assert_string_equal(words_bytes(123.0 * 1024 * 1024), "123 MiB");
	assert_string_equal(words_bytes(5e15), "4.4 PiB");
}

static void test_table_width(void **state)
{
	struct table table;
	struct buf out;

	(void)state;
	table_init(&table, 2);
	table_add(&table, "\xc3\xa9t\xc3\xa9"); /* three characters in five bytes */
	table_add(&table, "x");
	table_add(&table, "");
	table_add(&table, NULL);
	buf_init(&out, 0);
	table_print(&table, &out);
	assert_string_equal(buf_text(&out), "\xc3\xa9t\xc3\xa9  x\n-    -\n");
	buf_free(&out);
	table_fini(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),        cmocka_unit_test(test_strange),
		cmocka_unit_test(test_admitted), cmocka_unit_test(test_healthy),     cmocka_unit_test(test_words),
		cmocka_unit_test(test_table_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
