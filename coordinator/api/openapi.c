/*
 * openapi.c - GET /api/v1/openapi.json, written from the table of endpoints. Fields are said there
 * as "name:type", with a "?" where they may be left out; the types are below.
 */
#include "api.h"
#include "api_admin.h"
#include "dispatch.h"
#include "coordinator/web/web.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define REFERENCE(name) "{\"$ref\":\"#/components/schemas/" name "\"}"
#define ARRAY_OF(name)  "{\"type\":\"array\",\"items\":" REFERENCE(name) "}"

static const struct {
	const char *name, *schema;
} types[] = {
	{"string", "{\"type\":\"string\"}"},
	{"word", "{\"type\":\"string\"}"},
	{"bool", "{\"type\":\"boolean\"}"},
	{"integer", "{\"type\":\"integer\"}"},
	{"seconds", "{\"type\":\"integer\",\"description\":\"seconds from now\"}"},
	{"any", "{}"},
	{"id", "{\"type\":\"string\",\"maxLength\":39}"},
	{"key", "{\"type\":\"string\",\"minLength\":44,\"maxLength\":44,\"description\":"
		"\"Curve25519 public key, base64\"}"},
	{"base64", "{\"type\":\"string\",\"contentEncoding\":\"base64\"}"},
	{"time", "{\"type\":\"string\",\"format\":\"date-time\"}"},
	{"name", "{\"type\":\"string\",\"pattern\":\"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$\"}"},
	{"origin", "{\"type\":\"string\",\"description\":\"https://HOST:PORT as in the join link\"}"},
	{"endpoint", "{\"type\":[\"string\",\"null\"],\"description\":\"192.0.2.1:51820 or [2001:db8::1]:51820\"}"},
	{"endpoints", "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":16}"},
	{"prefixes", "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"maxItems\":64}"},
	{"strings", "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"},
	{"peer_status", "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\",\"properties\":"
			"{\"connected\":{\"type\":\"boolean\"},\"latency_ms\":{\"type\":\"number\"},"
			"\"path\":{\"enum\":[\"direct\",\"relay\",\"none\"]}}}}"},
	{"store_state", "{\"type\":\"object\",\"properties\":{\"state\":{\"type\":\"string\"},"
			"\"queued\":{\"type\":\"integer\"}}}"},
	{"peers", ARRAY_OF("Peer")},
	{"networks", ARRAY_OF("Network")},
	{"relays", ARRAY_OF("Relay")},
	{"duration", "{\"type\":\"string\",\"description\":\"30s, 15m, 1h, 30d, or never\"}"},
	{"role", "{\"enum\":[\"viewer\",\"operator\",\"admin\",\"none\"]}"},
	{"network_row", REFERENCE("NetworkRow")},
	{"network_rows", ARRAY_OF("NetworkRow")},
	{"key_row", REFERENCE("JoinKey")},
	{"key_rows", ARRAY_OF("JoinKey")},
	{"agent_row", REFERENCE("Agent")},
	{"agent_rows", ARRAY_OF("Agent")},
	{"agent_routes", ARRAY_OF("AgentRoute")},
	{"route_row", REFERENCE("Route")},
	{"route_rows", ARRAY_OF("Route")},
	{"relay_row", REFERENCE("RelayRow")},
	{"relay_rows", ARRAY_OF("RelayRow")},
	{"role_rows", ARRAY_OF("Role")},
	{"user_row", REFERENCE("User")},
	{"user_rows", ARRAY_OF("User")},
	{"token_row", REFERENCE("Token")},
	{"token_rows", ARRAY_OF("Token")},
	{"audit_rows", ARRAY_OF("AuditLine")},
	{"device_rows", ARRAY_OF("Device")},
	{"new_device", REFERENCE("NewDevice")},
	{"gateway", REFERENCE("Gateway")},
	{"policy_tests", ARRAY_OF("PolicyTest")},
	{"policy_changes", ARRAY_OF("PolicyChange")},
	{"party", REFERENCE("Party")},
	{"judged_rows", ARRAY_OF("Judged")},
};

#define DEVICE                                                                                     \
	"id:id name:name network:name addresses:strings public_key:key via:string via_id:id created_at:time"

static const struct {
	const char *name, *fields;
} schemas[] = {
	{"Peer", "agent_id:id public_key:key name:name network:name addresses:strings routes:prefixes "
		 "endpoint:endpoint endpoints:endpoints local_endpoints:endpoints nat_type:word online:bool "
		 "last_seen:time? connection_hint:word? class:any? device:bool?"},
	{"Network", "id:id name:name cidr:string? cidr6:string? addresses:prefixes? approved:bool?"},
	{"Relay", "region:name url:string? key:key? stun:strings"},
	{"NetworkRow", "id:id name:name cidr:string? cidr6:string? approve:bool agents:integer "
		       "created_at:time"},
	{"JoinKey", "id:id network:name state:word reusable:bool ephemeral:bool name:name? tags:strings "
		    "created_at:time expires_at:time? used_at:time? used_by:id?"},
	{"AgentRoute", "prefix:string approved:bool"},
	{"Agent", "agent_id:id name:name network:name addresses:strings tags:strings approved:bool online:bool "
		  "expired:bool ephemeral:bool public_key:key endpoint:endpoint? nat_type:word "
		  "last_seen:time? joined_at:time expires_at:time? routes:agent_routes"},
	{"Route", "id:id prefix:string agent_id:id name:name network:name approved:bool"},
	{"RelayRow", "id:id region:name url:string? key:key? stun:strings created_at:time"},
	{"Role", "network:string? role:role"},
	{"User", "name:string roles:role_rows password:bool created_at:time last_login:time?"},
	{"Token", "id:id kind:word name:string? user:string? roles:role_rows? scopes:strings? created_at:time "
		  "expires_at:time? used_at:time?"},
	{"AuditLine", "at:time actor:string action:word subject:string? detail:string? network:name?"},
	{"Device", DEVICE},
	{"Gateway", "name:name public_key:key addresses:strings endpoint:string"},
	{"NewDevice", DEVICE " gateway:gateway cidr:string? cidr6:string?"},
	{"Judged", "from:string? to:string? verdict:word rule:string? line:integer?"},
	{"PolicyTest", "line:integer from:string to:string port:string expect:word result:word detail:string?"},
	{"PolicyChange", "network:name from:string? to:string? before:any after:any agent:name? route:string?"},
	{"Party", "agent:name? network:name? address:string? tags:any?"},
	{"Problem", "type:string title:string status:integer detail:string code:string"},
};

/* The stream, a frame of each kind. coordinator/README.md says more of each. */
#define PEER                                                                                       \
	"{\"agent_id\":\"4f\",\"public_key\":\"AQID...=\",\"name\":\"nas\",\"network\":\"default\","    \
	"\"addresses\":[\"10.86.0.4\"],\"routes\":[],\"endpoint\":\"198.51.100.9:51820\","             \
	"\"endpoints\":[\"198.51.100.9:51820\"],\"local_endpoints\":[\"192.168.1.2:51820\"],"          \
	"\"nat_type\":\"port_restricted_cone\",\"online\":true,"                                       \
	"\"last_seen\":\"2026-11-23T13:18:09Z\",\"connection_hint\":null,\"class\":3}"
#define RULE                                                                                       \
	"{\"classes\":[3],\"sources\":[],\"own\":true,\"targets\":[],\"protocol\":\"tcp\","              \
	"\"ports\":[\"22\",\"8000-8100\"],\"family\":null}"
#define NETWORK                                                                                    \
	"{\"id\":\"9c\",\"name\":\"default\",\"cidr\":\"10.86.0.0/16\",\"cidr6\":null,"                 \
	"\"addresses\":[\"10.86.0.3/16\"]}"
#define RELAY "{\"region\":\"home\",\"url\":null,\"key\":null,\"stun\":[\"mesh.example.net:3478\"]}"

static const struct {
	const char *from, *text;
} frames[] = {
	{"agent", "{\"type\":\"hello\",\"version\":1,\"epoch\":null,\"revision\":0}"},
	{"agent", "{\"type\":\"ack\",\"revision\":7}"},
	{"agent", "{\"type\":\"endpoint\",\"endpoint\":\"203.0.113.5:51820\",\"endpoints\":"
		  "[\"203.0.113.5:51820\"],\"local_endpoints\":[\"192.168.1.2:51820\"],"
		  "\"nat_type\":\"full_cone\",\"upnp_mapped\":false}"},
	{"agent", "{\"type\":\"heartbeat\",\"endpoint\":\"203.0.113.5:51820\",\"peer_status\":"
		  "{\"4f\":{\"connected\":true,\"latency_ms\":12.3,\"path\":\"direct\"}}}"},
	{"agent", "{\"type\":\"signal\",\"id\":1,\"to\":\"4f\",\"network\":\"default\",\"box\":\"AAAA\"}"},
	{"coordinator", "{\"type\":\"snapshot\",\"epoch\":\"e1\",\"revision\":7,\"networks\":[" NETWORK
			"],\"relays\":[" RELAY "],\"pins\":[],"
			"\"coordinators\":[\"https://mesh.example.net:8443\"],\"peers\":[" PEER "]}"},
	{"coordinator", "{\"type\":\"resume\",\"epoch\":\"e1\",\"revision\":7}"},
	{"coordinator", "{\"type\":\"delta\",\"revision\":12,\"changes\":["
			"{\"op\":\"put\",\"peer\":" PEER "},"
			"{\"op\":\"patch\",\"agent_id\":\"4f\",\"network\":\"default\",\"online\":false},"
			"{\"op\":\"remove\",\"agent_id\":\"4f\",\"network\":\"default\"},"
			"{\"op\":\"networks\",\"networks\":[" NETWORK "]},"
			"{\"op\":\"relays\",\"relays\":[" RELAY "]},"
			"{\"op\":\"coordinators\",\"coordinators\":[\"https://mesh.example.net:8443\","
			"\"https://mesh2.example.net:8443\"],\"pins\":[]}]}"},
	{"coordinator", "{\"type\":\"signal\",\"from\":\"4f\",\"network\":\"default\",\"box\":\"AAAA\"}"},
	{"coordinator", "{\"type\":\"token\",\"token\":\"eyJ...\",\"expires_in\":86400}"},
	{"coordinator", "{\"type\":\"error\",\"code\":\"peer_offline\",\"detail\":\"to: is not connected "
			"now\",\"id\":1}"},
	{"coordinator", "{\"type\":\"snapshot\",\"epoch\":\"e1\",\"revision\":8,\"networks\":[],\"relays\":[],"
			"\"pins\":[],\"rules\":[{\"network\":\"default\",\"rules\":[" RULE "]}],\"peers\":[]}"},
	{"coordinator", "{\"type\":\"delta\",\"revision\":13,\"changes\":["
			"{\"op\":\"rules\",\"network\":\"default\",\"rules\":[" RULE "]},"
			"{\"op\":\"patch\",\"agent_id\":\"4f\",\"network\":\"default\",\"class\":4}]}"},
	{"coordinator", "{\"type\":\"bye\",\"reason\":\"restart\",\"retry_after_ms\":1200}"},
};

static const char schemes[] =
	"{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\",\"description\":"
	"\"an agent's\"},"
	"\"proof\":{\"type\":\"http\",\"scheme\":\"Proof\",\"description\":\"base64 of crypto_auth over the "
	"label, challenge and SHA-256 of the body, under crypto_box_beforenm(server_key, private key)\"},"
	"\"api_token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"of POST /tokens or token "
	"create\"},"
	"\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"" SESSION_COOKIE "\",\"description\":"
	"\"of POST /session; all but GET need the header WG-Mesh-CSRF too\"}}";

/* GET /events, an event of each kind. */
static const char *const events[] = {
	"{\"type\":\"hello\",\"version\":1}",
	("{\"type\":\"audit\",\"audit\":{\"at\":\"2026-11-23T13:18:09Z\",\"actor\":\"user ann from "
	 "192.0.2.1\",\"action\":\"key-created\",\"subject\":\"f637355b3089\",\"detail\":null,"
	 "\"network\":\"default\"}}"),
	"{\"type\":\"agent\",\"op\":\"put\",\"agent\":{\"agent_id\":\"4f\",\"network\":\"default\"}}",
	"{\"type\":\"agent\",\"op\":\"remove\",\"agent_id\":\"4f\",\"network\":\"default\"}",
};

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);

	if (!json)
		abort(); /* a table above is wrong, which the unit test finds */
	return json;
}

static json_t *type_schema(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strlen(types[i].name) == len && !strncmp(types[i].name, name, len))
			return parse(types[i].schema);
	abort();
}

/* "a:type b:type?" to an object's schema. */
static json_t *object_schema(const char *fields)
{
	json_t *properties = json_object(), *required = json_array();
	char name[40];

	while (*fields) {
		size_t name_len = strcspn(fields, ":"), type_len;

		snprintf(name, sizeof(name), "%.*s", (int)name_len, fields);
		fields += name_len + 1;
		type_len = strcspn(fields, "? ");
		if (fields[type_len] == '?') { /* left out or null are the same */
			json_object_set_new(properties, name,
					    json_pack("{s[o{ss}]}", "anyOf", type_schema(fields, type_len),
						      "type", "null"));
		} else {
			json_object_set_new(properties, name, type_schema(fields, type_len));
			json_array_append_new(required, json_string(name));
		}
		fields += type_len;
		fields += strspn(fields, "? ");
	}
	return json_pack("{sssoso}", "type", "object", "properties", properties, "required", required);
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s{s{so}}}", "content", type, "schema", schema);
}

static json_t *parameters(const struct endpoint_row *row)
{
	json_t *list = json_array(), *query = object_schema(row->query ? row->query : ""), *schema;
	const char *name;

	if (strstr(row->path, "{id}"))
		json_array_append_new(list, json_pack("{sssssbs{ss}}", "name", "id", "in", "path", "required", 1,
						      "schema", "type", "string"));
	json_object_foreach(json_object_get(query, "properties"), name, schema)
		json_array_append_new(list, json_pack("{sssssbsO}", "name", name, "in", "query", "required", 0,
						      "schema", schema));
	if (row->header)
		json_array_append_new(list, json_pack("{sssssbs{ss}}", "name", row->header, "in", "header", "required",
						      1, "schema", "type", "string"));
	json_decref(query);
	return list;
}

/* The refusals that a row can meet, by what it is; each with a stable code in its body. */
static void refusals(const struct endpoint_row *row, json_t *responses)
{
	bool writes = strcmp(row->method, "GET") != 0, id = strstr(row->path, "{id}") != NULL;
	const struct {
		bool applies;
		const char *status;
	} all[] = {
		{row->body != NULL, "400"},
		{row->auth != AUTH_NONE || row->body, "401"},
		{row->auth != AUTH_NONE || row->body, "403"},
		{id || row->query || row->body || row->handler == api_web, "404"},
		{writes, "409"},
		{writes, "413"},
		{row->body || row->query || row->command, "422"},
		{row->status == 101, "426"},
		{true, "429"},
		{true, "503"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].applies)
			json_object_set_new(responses, all[i].status,
					    json_pack("{ss}", "$ref", "#/components/responses/Problem"));
}

static json_t *security(enum endpoint_auth auth)
{
	static const char *const by[] = {
		[AUTH_NONE] = "[]",
		[AUTH_SELF] = "[{\"token\":[]}]",
		[AUTH_OWN] = "[{\"token\":[]},{\"proof\":[]}]",
		[AUTH_ADMIN] = "[{\"api_token\":[]},{\"session\":[]}]",
		[AUTH_LEAVE] = "[{\"token\":[]},{\"proof\":[]},{\"api_token\":[]},{\"session\":[]}]",
	};

	return parse(by[auth]);
}

static json_t *response(int status, json_t *schema)
{
	json_t *response = schema ? content("application/json", schema) : json_object();

	json_object_set_new(response, "description", json_string(http_status_text(status)));
	return response;
}

/* What an answer may be that is no refusal. */
static json_t *successes(const struct endpoint_row *row)
{
	char status[8];
	json_t *all;

	snprintf(status, sizeof(status), "%d", row->status);
	all = json_pack("{so}", status, response(row->status, row->answer ? object_schema(row->answer) : NULL));
	if (row->preview) /* done before, or not done */
		json_object_set_new(all, "200", response(200, json_pack("{s[oo]}", "anyOf", object_schema(row->answer),
									 object_schema(row->preview))));
	if (row->handler == api_web) /* it has an ETag */
		json_object_set_new(all, "304", response(304, NULL));
	return all;
}

static json_t *operation(const struct endpoint_row *row)
{
	json_t *op = json_pack("{ss}", "summary", row->summary), *responses;

	json_object_set_new(op, "parameters", parameters(row));
	if (row->body) {
		json_t *body = content("application/json", object_schema(row->body));

		json_object_set_new(body, "required", json_true());
		json_object_set_new(op, "requestBody", body);
	}
	responses = successes(row);
	refusals(row, responses);
	json_object_set_new(op, "responses", responses);
	json_object_set_new(op, "security", security(row->auth));
	if (row->max_body)
		json_object_set_new(op, "x-max-body", json_integer((json_int_t)row->max_body));
	if (row->command)
		json_object_set_new(op, "x-command", json_string(row->command));
	return op;
}

static json_t *paths(void)
{
	json_t *all = json_object();

	for (const struct endpoint_row *row = endpoints; row->method; row++) {
		bool root = str_has_prefix(row->path, "//");
		char *path = xasprintf("%s%s", root ? "" : "/api/v1", row->path + root), method[8];
		json_t *item = json_object_get(all, path);
		size_t i;

		for (i = 0; row->method[i] && i < sizeof(method) - 1; i++)
			method[i] = (char)(row->method[i] | 0x20);
		method[i] = '\0';
		if (!item)
			json_object_set_new(all, path, item = json_object());
		json_object_set_new(item, method, operation(row));
		free(path);
	}
	return all;
}

static json_t *frame_list(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		json_array_append_new(list, json_pack("{ssso}", "from", frames[i].from, "example",
						      parse(frames[i].text)));
	return list;
}

static json_t *event_list(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		json_array_append_new(list, json_pack("{so}", "example", parse(events[i])));
	return list;
}

static json_t *problem_response(void)
{
	json_t *problem = content("application/problem+json",
				  json_pack("{ss}", "$ref", "#/components/schemas/Problem"));

	json_object_set_new(problem, "description", json_string("Refused, with a stable code"));
	return json_pack("{so}", "Problem", problem);
}

json_t *openapi_document(void)
{
	json_t *components = json_object();
	json_t *document = json_pack("{sss{ssss}}", "openapi", "3.1.0", "info", "title",
				     "wg-mesh coordinator", "version", WG_MESH_VERSION);

	for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
		json_object_set_new(components, schemas[i].name, object_schema(schemas[i].fields));
	json_object_set_new(document, "paths", paths());
	json_object_set_new(document, "components",
			    json_pack("{sososo}", "schemas", components, "responses", problem_response(),
				      "securitySchemes", parse(schemes)));
	json_object_set_new(document, "x-frames", frame_list());
	json_object_set_new(document, "x-events", event_list());
	return document;
}

void api_openapi(struct request *rq)
{
	reply(rq, 200, openapi_document());
}
