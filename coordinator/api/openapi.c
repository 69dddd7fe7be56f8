/*
 * openapi.c - GET /api/v1/openapi.json, written from the table of endpoints; fields.h says how members are
 * said there.
 */
#include "api.h"
#include "api_admin.h"
#include "dispatch.h"
#include "fields.h"
#include "coordinator/web/web.h"
#include "lib/str.h"

#include <stdio.h>
#include <string.h>

#define AGENT                                                                                      \
	"agent_id:id name:name network:name addresses:strings tags:strings approved:bool online:bool "     \
	"expired:bool ephemeral:bool public_key:key endpoint:endpoint? nat_type:word "                     \
	"last_seen:time? joined_at:time expires_at:time? routes:agent_routes"
#define DEVICE                                                                                     \
	"id:id name:name network:name addresses:strings public_key:key via:string via_id:id created_at:time"

static const struct {
	const char *name, *fields;
} schemas[] = {
	{"Peer", "agent_id:id public_key:key name:name network:name addresses:strings routes:prefixes "
		 "endpoint:endpoint endpoints:endpoints local_endpoints:endpoints nat_type:word online:bool "
		 "last_seen:time? connection_hint:word? class:integer? device:bool?"},
	{"Network", "id:id name:name cidr:string? cidr6:string? addresses:prefixes? approved:bool?"},
	{"Relay", "region:name url:string? key:key? stun:strings"},
	{"Rule", "classes:integers sources:strings own:bool targets:strings protocol:protocol ports:strings "
		 "family:family"},
	{"NetworkRules", "network:name rules:rules"},
	{"ChangePut", "op:=put peer:peer"},
	{"ChangePatch", "op:=patch agent_id:id network:name public_key:key? name:name? addresses:strings? "
			"routes:prefixes? endpoint:endpoint? endpoints:endpoints? local_endpoints:endpoints? "
			"nat_type:word? online:bool? last_seen:time? connection_hint:word? class:integer?"},
	{"ChangeRemove", "op:=remove agent_id:id network:name"},
	{"ChangeNetworks", "op:=networks networks:networks"},
	{"ChangeRelays", "op:=relays relays:relays"},
	{"ChangeCoordinators", "op:=coordinators coordinators:strings pins:strings"},
	{"ChangeRules", "op:=rules network:name rules:rules"},
	{"StoreState", "state:word queued:integer"},
	{"NetworkRow", "id:id name:name cidr:string? cidr6:string? approve:bool agents:integer "
		       "created_at:time"},
	{"JoinKey", "id:id network:name state:word reusable:bool ephemeral:bool name:name? tags:strings "
		    "created_at:time expires_at:time? used_at:time? used_by:id?"},
	{"AgentRoute", "prefix:string approved:bool"},
	{"Agent", AGENT},
	{"WholeAgent", AGENT " networks:networks at:whereabouts created_at:time peers_direct:integer "
		       "peers_relayed:integer capabilities:capabilities?"},
	{"Whereabouts", "endpoint:endpoint endpoints:endpoints local_endpoints:endpoints nat_type:word "
			"upnp_mapped:bool"},
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

static const char schemes[] =
	"{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\",\"description\":"
	"\"an agent's\"},"
	"\"proof\":{\"type\":\"http\",\"scheme\":\"Proof\",\"description\":\"base64 of crypto_auth over the "
	"label, challenge and SHA-256 of the body, under crypto_box_beforenm(server_key, private key)\"},"
	"\"api_token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"of POST /tokens or token "
	"create\"},"
	"\"session\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"" SESSION_COOKIE "\",\"description\":"
	"\"of POST /session\"},"
	"\"csrf\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"WG-Mesh-CSRF\",\"description\":"
	"\"beside the session's cookie, for all but GET, and for GET /events where no Origin is said: csrf_token of "
	"POST /session or GET /session. Without Origin that is all; an Origin must be one of public_url, or the host "
	"that the request is sent to; Sec-Fetch-Site, "
	"where it is there, must be same-origin or none\"}}";

static json_t *parse(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);

	if (!json)
		abort(); /* a table above is wrong, which the unit test finds */
	return json;
}

static json_t *content(const char *type, json_t *schema)
{
	return json_pack("{s{s{so}}}", "content", type, "schema", schema);
}

static json_t *parameters(const struct endpoint_row *row)
{
	json_t *list = json_array(), *query = fields_schema(row->query ? row->query : "", NULL), *schema;
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
	bool session = row->handler == api_session || row->handler == api_logout; /* there may be none */
	const struct {
		bool applies;
		const char *status, *response;
	} all[] = {
		{row->body || row->status == 101, "400", "Problem"},
		{row->auth != AUTH_NONE || row->body, "401", "Problem"},
		{row->auth != AUTH_NONE || row->body, "403", "Problem"},
		{id || row->query || row->body || session || row->handler == api_web, "404", "Problem"},
		{true, "405", "MethodNotAllowed"},
		{writes, "409", "Problem"},
		{row->body, "408", "Problem"},
		{true, "413", "Problem"},
		{row->body, "415", "Problem"},
		{row->body || row->query || row->command, "422", "Problem"},
		{row->status == 101, "426", "UpgradeRequired"},
		{true, "429", "Problem"},
		{true, "503", "Problem"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].applies)
			json_object_set_new(responses, all[i].status,
					    json_pack("{ss+}", "$ref", "#/components/responses/", all[i].response));
}

/* A session's cookie is enough to read. */
static json_t *security(const struct endpoint_row *row)
{
	static const char *const by[] = {
		[AUTH_NONE] = "[]",
		[AUTH_SELF] = "[{\"token\":[]}]",
		[AUTH_PROOF] = "[{\"proof\":[]}]",
		[AUTH_OWN] = "[{\"token\":[]},{\"proof\":[]}]",
		[AUTH_ADMIN] = "[{\"api_token\":[]},{\"session\":[],\"csrf\":[]}]",
		[AUTH_LEAVE] = "[{\"token\":[]},{\"proof\":[]},{\"api_token\":[]},{\"session\":[],\"csrf\":[]}]",
	};
	bool reads = row->auth == AUTH_ADMIN && !strcmp(row->method, "GET");

	return parse(reads ? "[{\"api_token\":[]},{\"session\":[]}]" : by[row->auth]);
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
	all = json_pack("{so}", status,
			response(row->status, row->answer ? fields_schema(row->answer, NULL) : NULL));
	if (row->preview) /* done before, or not done */
		json_object_set_new(all, "200",
				    response(200, json_pack("{s[oo]}", "anyOf", fields_schema(row->answer, NULL),
							    fields_schema(row->preview, NULL))));
	if (row->handler == api_web) /* it has an ETag */
		json_object_set_new(all, "304", response(304, NULL));
	return all;
}

static json_t *request_body(const struct endpoint_row *row)
{
	char *of = xasprintf("%s %s", row->method, row->path);
	json_t *body = content("application/json", fields_schema(row->body, of));

	json_object_set_new(body, "required", json_boolean(!fields_optional(row->body)));
	free(of);
	return body;
}

static json_t *operation(const struct endpoint_row *row)
{
	json_t *op = json_pack("{ss}", "summary", row->summary), *responses;

	json_object_set_new(op, "parameters", parameters(row));
	if (row->body)
		json_object_set_new(op, "requestBody", request_body(row));
	responses = successes(row);
	refusals(row, responses);
	json_object_set_new(op, "responses", responses);
	json_object_set_new(op, "security", security(row));
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

/* `headers`: those that it has beside, as JSON; NULL: none. */
static json_t *problem_response(const char *description, const char *headers)
{
	json_t *problem = content("application/problem+json",
				  json_pack("{ss}", "$ref", "#/components/schemas/Problem"));

	json_object_set_new(problem, "description", json_string(description));
	if (headers)
		json_object_set_new(problem, "headers", parse(headers));
	return problem;
}

static json_t *problem_responses(void)
{
	return json_pack("{sososo}", "Problem", problem_response("Refused, with a stable code", NULL),
			 "MethodNotAllowed",
			 problem_response("For a method that this path has not",
					  "{\"Allow\":{\"required\":true,\"description\":\"Those that it has\","
					  "\"schema\":{\"type\":\"string\"}}}"),
			 "UpgradeRequired",
			 problem_response("This is a WebSocket, version 13",
					  "{\"Upgrade\":{\"required\":true,\"schema\":{\"const\":\"websocket\"}},"
					  "\"Sec-WebSocket-Version\":{\"required\":true,\"schema\":{\"const\":\"13\"}}}"));
}

json_t *openapi_document(void)
{
	json_t *components = json_object();
	json_t *document = json_pack("{sss{ssss}}", "openapi", "3.1.0", "info", "title",
				     "wg-mesh coordinator", "version", WG_MESH_VERSION);

	for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
		json_object_set_new(components, schemas[i].name, fields_schema(schemas[i].fields, schemas[i].name));
	json_object_set_new(document, "paths", paths());
	json_object_set_new(document, "components",
			    json_pack("{sososo}", "schemas", components, "responses", problem_responses(),
				      "securitySchemes", parse(schemes)));
	json_object_set_new(document, "x-frames", openapi_frames());
	json_object_set_new(document, "x-events", openapi_events());
	return document;
}

/* Strangers may ask for it, and making it costs far more than sending it. */
const char *openapi_text(struct coordinator *co)
{
	json_t *document;

	if (!co->openapi) {
		document = openapi_document();
		co->openapi = js_dump(document);
		json_decref(document);
	}
	return co->openapi;
}

void api_openapi(struct request *rq)
{
	const char *text = openapi_text(rq->co);

	reply_raw(rq, 200, "Cache-Control: no-store\r\n", "application/json", text, strlen(text));
}
