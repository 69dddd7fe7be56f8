/*
 * frames.c - what goes over the two streams, for openapi.json: each frame's schema, and an example of it.
 * coordinator/README.md says more of when each comes.
 */
#include "dispatch.h"
#include "fields.h"

#include <stdlib.h>

#define ID  "\"4f1d2c3b4a596877\""
#define KEY "\"UBOmay/BHqER6A/zy57fGc+3E12EF2wD/nDnksZ3wXg=\""
#define BOX                                                                                        \
	"\"3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=\""
#define PEER                                                                                       \
	"{\"agent_id\":" ID ",\"public_key\":" KEY ",\"name\":\"nas\",\"network\":\"default\","       \
	"\"addresses\":[\"10.86.0.4\"],\"routes\":[],\"endpoint\":\"198.51.100.9:51820\","             \
	"\"endpoints\":[\"198.51.100.9:51820\"],\"local_endpoints\":[\"192.168.1.2:51820\"],"          \
	"\"nat_type\":\"port_restricted_cone\",\"online\":true,"                                       \
	"\"last_seen\":\"2026-11-23T13:18:09Z\",\"connection_hint\":null,\"class\":3}"
#define RULE                                                                                       \
	"{\"classes\":[3],\"sources\":[],\"own\":true,\"targets\":[],\"protocol\":\"tcp\","              \
	"\"ports\":[\"22\",\"8000-8100\"],\"family\":null}"
#define NETWORK                                                                                    \
	"{\"id\":\"9c3b4a5968774f1d\",\"name\":\"default\",\"cidr\":\"10.86.0.0/16\",\"cidr6\":null,"   \
	"\"addresses\":[\"10.86.0.3/16\"]}"
#define RELAY "{\"region\":\"home\",\"url\":null,\"key\":null,\"stun\":[\"mesh.example.net:3478\"]}"
#define OF_PEER(op) "{\"op\":\"" op "\",\"agent_id\":" ID ",\"network\":\"default\""

struct frame {
	const char *from, *type, *summary;
	const char *fields; /* beside "type" */
	const char *example;
};

static const struct frame frames[] = {
	{"agent", "hello", "Comes first, within 10 s: the position that the agent has",
	 "version:integer? epoch:string? revision:integer?",
	 "{\"type\":\"hello\",\"version\":1,\"epoch\":null,\"revision\":0}"},
	{"agent", "ack", "How far the agent has got", "revision:integer?", "{\"type\":\"ack\",\"revision\":7}"},
	{"agent", "endpoint", "Where the agent is, as PUT /agents/{id}/endpoint: it replaces all that was said of it",
	 ENDPOINT_FIELDS,
	 "{\"type\":\"endpoint\",\"endpoint\":\"203.0.113.5:51820\",\"endpoints\":[\"203.0.113.5:51820\"],"
	 "\"local_endpoints\":[\"192.168.1.2:51820\"],\"nat_type\":\"full_cone\",\"upnp_mapped\":false}"},
	{"agent", "heartbeat", "Still here, and how the peers are, as POST /agents/{id}/heartbeat", HEARTBEAT_FIELDS,
	 "{\"type\":\"heartbeat\",\"endpoint\":\"203.0.113.5:51820\",\"peer_status\":"
	 "{" ID ":{\"connected\":true,\"latency_ms\":12.3,\"path\":\"direct\"}}}"},
	{"agent", "signal", "For another agent, passed on at once; an error with its id says why not",
	 "id:any? to:id network:name box:box",
	 "{\"type\":\"signal\",\"id\":1,\"to\":" ID ",\"network\":\"default\",\"box\":" BOX "}"},
	{"coordinator", "snapshot", "Everything: after hello where the position is not known, and whenever the agent "
	 "joins or leaves a network",
	 "epoch:string revision:integer networks:networks relays:relays pins:strings coordinators:strings "
	 "rules:network_rules peers:peers",
	 "{\"type\":\"snapshot\",\"epoch\":\"e1\",\"revision\":7,\"networks\":[" NETWORK "],\"relays\":[" RELAY "],"
	 "\"pins\":[],\"coordinators\":[\"https://mesh.example.net:8443\"],"
	 "\"rules\":[{\"network\":\"default\",\"rules\":[" RULE "]}],\"peers\":[" PEER "]}"},
	{"coordinator", "resume", "After hello where nothing was lost: deltas follow",
	 "epoch:string revision:integer", "{\"type\":\"resume\",\"epoch\":\"e1\",\"revision\":7}"},
	{"coordinator", "delta", "What has changed", "revision:integer changes:changes",
	 "{\"type\":\"delta\",\"revision\":12,\"changes\":[{\"op\":\"put\",\"peer\":" PEER "},"
	 OF_PEER("patch") ",\"online\":false}," OF_PEER("patch") ",\"class\":4}," OF_PEER("remove") "},"
	 "{\"op\":\"networks\",\"networks\":[" NETWORK "]},{\"op\":\"relays\",\"relays\":[" RELAY "]},"
	 "{\"op\":\"coordinators\",\"coordinators\":[\"https://mesh.example.net:8443\","
	 "\"https://mesh2.example.net:8443\"],\"pins\":[]},"
	 "{\"op\":\"rules\",\"network\":\"default\",\"rules\":[" RULE "]}]}"},
	{"coordinator", "signal", "From another agent", "from:id network:name box:box",
	 "{\"type\":\"signal\",\"from\":" ID ",\"network\":\"default\",\"box\":" BOX "}"},
	{"coordinator", "token", "A fresh token, in time before the one that the stream was opened with ends",
	 "token:string expires_in:integer", "{\"type\":\"token\",\"token\":\"eyJ...\",\"expires_in\":86400}"},
	{"coordinator", "error", "A frame made no sense, came too often, or is a signal to who is not there",
	 "code:word detail:string id:any?",
	 "{\"type\":\"error\",\"code\":\"peer_offline\",\"detail\":\"to: is not connected now\",\"id\":1}"},
	{"coordinator", "bye", "Before the coordinator closes", "reason:word retry_after_ms:integer",
	 "{\"type\":\"bye\",\"reason\":\"restart\",\"retry_after_ms\":1200}"},
	{0},
};

#define AGENT                                                                                      \
	"{\"agent_id\":" ID ",\"name\":\"nas\",\"network\":\"default\",\"addresses\":[\"10.86.0.4\"],"     \
	"\"tags\":[],\"approved\":true,\"online\":true,\"expired\":false,\"ephemeral\":false,"           \
	"\"public_key\":" KEY ",\"endpoint\":\"198.51.100.9:51820\",\"nat_type\":\"full_cone\","         \
	"\"last_seen\":\"2026-11-23T13:18:09Z\",\"joined_at\":\"2026-11-20T08:00:00Z\","               \
	"\"expires_at\":null,\"routes\":[]}"

static const struct frame events[] = {
	{"coordinator", "hello", "Comes first: from here on nothing is missed", "version:integer",
	 "{\"type\":\"hello\",\"version\":1}"},
	{"coordinator", "audit", "Somebody did something", "audit:audit_row",
	 "{\"type\":\"audit\",\"audit\":{\"at\":\"2026-11-23T13:18:09Z\",\"actor\":\"user ann from 192.0.2.1\","
	 "\"action\":\"key-created\",\"subject\":\"f637355b3089\",\"detail\":null,\"network\":\"default\"}}"},
	{"coordinator", "agent", "An agent is there, or otherwise than before", "op:=put agent:agent_row",
	 "{\"type\":\"agent\",\"op\":\"put\",\"agent\":" AGENT "}"},
	{"coordinator", "agent", "An agent has left a network", "op:=remove agent_id:id network:name",
	 "{\"type\":\"agent\",\"op\":\"remove\",\"agent_id\":" ID ",\"network\":\"default\"}"},
	{0},
};

static json_t *described(const struct frame *all, const char *what)
{
	json_t *list = json_array(), *schema, *example;

	for (const struct frame *frame = all; frame->type; frame++) {
		char *fields = xasprintf("type:=%s %s", frame->type, frame->fields);
		char *of = xasprintf("%s %s", what, frame->type);

		schema = fields_schema(fields, of);
		example = json_loads(frame->example, 0, NULL);
		if (!example)
			abort(); /* a table above is wrong, which the unit test finds */
		json_array_append_new(list, json_pack("{sssssssoso}", "from", frame->from, "type", frame->type,
						      "summary", frame->summary, "schema", schema, "example", example));
		free(fields);
		free(of);
	}
	return list;
}

json_t *openapi_frames(void)
{
	return described(frames, "frame");
}

json_t *openapi_events(void)
{
	return described(events, "event");
}
