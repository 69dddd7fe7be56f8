/*
 * meanings.c - what members mean whose name and type do not say it, for openapi.json. The first row that fits
 * counts; `of` is how whose it is begins, "" is every request, schema and frame.
 */
#include "fields.h"
#include "lib/str.h"

#include <string.h>

static const struct {
	const char *of, *name, *text;
} meanings[] = {
	/* requests */
	{"POST /agents/{id}/token", "old_token",
	 "Only by Proof, and only for an agent that is not known any more because an older copy of the database was "
	 "restored: the last token that it had. While `restore --readmit` lasts it brings the agent back under its "
	 "id, with the networks, names, tags and addresses that the token names. A proof alone does not: anybody "
	 "can make a key and prove it, so what says that this key belonged here is the token, which the coordinator "
	 "signed before. It must be for this key, and younger than the copy: who was removed before stays out"},
	{"POST /agents/{id}/token", "public_key", "With old_token: the key that is proved; it is not looked at else"},
	{"POST /agents/{id}/token", "challenge", "By Proof: of POST /agents/challenge for the agent's key"},
	{"POST /agents/{id}/token", "coordinator", "By Proof: the origin that the agent knows the coordinator by"},
	{"POST /agents/{id}/key", "public_key", "The new key; the challenge was asked for with the old one"},
	{"DELETE /agents/{id}", "challenge", "By Proof: of POST /agents/challenge for the agent's key"},
	{"DELETE /agents/{id}", "coordinator", "By Proof: the origin that the agent knows the coordinator by"},
	{"POST /agents/register", "coordinator", "The origin in the join link, as the agent knows it: a coordinator "
	 "that is not reached by it refuses, so that nobody passes a proof on"},
	{"POST /agents/register", "preview", "Judge the same and make nothing: 200 with the network"},
	{"POST /agents/register", "tags", "Some of the join key's tags; null: all of them"},
	{"POST /agents/register", "capabilities", "Words, or words with values, at most 4 KiB; kept as they are"},
	{"POST /users", "network", "Where the role is; null: it is for everything"},
	{"PATCH /users/{id}", "network", "Where the role is; null: it is for everything"},
	{"POST /join-keys", "expires", "null: in an hour; a token makes none that lives longer than itself"},
	{"POST /tokens", "expires", "null: in 90 days; a token makes none that lives longer than itself"},
	{"PUT /policy", "confirm", "Seconds after which the policy is taken back unless POST /policy/confirm comes"},
	{"POST /policy", "version", "Of the policy that is meant; null: whichever waits"},
	{"POST /peers", "endpoint", "HOST:PORT where the device finds its gateway; null: where the world sees the agent"},
	{"POST /agents/{id}/approve", "network", "null: in all where it waits, or has expired, and one may"},
	{"POST /agents/{id}/expire", "network", "null: in all of its that one may"},
	{"", "file", "What mistakes in the policy are told of: FILE:LINE:COLUMN"},

	/* the stream */
	{"frame hello", "version", "Of this protocol: 1"},
	{"frame hello", "epoch", "Of the position that the agent has; null: it has none"},
	{"frame hello", "revision", "Of the position that the agent has; 0: it has none"},
	{"frame ack", "revision", "How far the agent has got; nothing depends on it"},
	{"frame delta", "revision", "The position after these changes, in the epoch of the last snapshot or resume"},
	{"frame delta", "changes", "What has changed since the last frame with a revision, in order"},
	{"frame signal", "to", "The agent it is for, in a network that both are in"},
	{"frame signal", "from", "The agent that sent it"},
	{"frame signal", "id", "The sender's own number, which an error has again; null: none"},
	{"frame signal", "box",
	 "Sealed from agent to agent (crypto_box): 40 to 4096 bytes; passed on unread, kept by nobody"},
	{"frame token", "expires_in", "Seconds; then the token ends, and another comes in time"},
	{"frame error", "code", "bad_json bad_frame bad_hello bad_ack bad_endpoint bad_heartbeat bad_signal "
	 "too_many_messages unknown_peer peer_offline peer_busy"},
	{"frame error", "detail", "One sentence"},
	{"frame error", "id", "The id of the frame it is about; null: that had none"},
	{"frame bye", "reason",
	 "replaced (the agent has opened another stream), removed or expired (its token is void), restart"},
	{"frame bye", "retry_after_ms", "Milliseconds to wait before the next stream"},
	{"frame snapshot", "rules", "What the agent's firewall accepts, in each network that has a policy"},
	{"frame snapshot", "peers",
	 "All that the agent may talk to, and the devices behind it; it replaces what the agent had"},
	{"ChangePut", "peer", "Added, or in the place of what was told of this agent in this network"},
	{"ChangeNetworks", "networks", "All of the agent's, in the place of those it had"},
	{"ChangeRelays", "relays", "All there are, in the place of those it had"},
	{"ChangeRules", "rules", "All of this network, in the place of those it had"},
	{"Rule", "classes", "From peers of one of these classes, by their own addresses"},
	{"Rule", "sources", "From these ranges behind a peer"},
	{"Rule", "own", "To the agent's own addresses"},
	{"Rule", "targets", "To these ranges behind the agent"},
	{"Rule", "ports", "22 or 8000-8100; none: every one"},
	{"Rule", "family", "IPv4 or IPv6; null: both"},

	/* what several have */
	{"Peer", "class",
	 "Peers that the policy does not tell apart in this network have the same; rules name it; null: none"},
	{"Change", "class", "Peers that the policy does not tell apart in this network have the same; rules name it"},
	{"Peer", "device",
	 "A device with the stock WireGuard app, behind this agent: no agent answers there; null: it is an agent"},
	{"Peer", "connection_hint", "direct (its NAT lets anyone in), relay (it has no UDP), null: try"},
	{"Peer", "routes", "Ranges behind it, approved"},
	{"Change", "routes", "Ranges behind it, approved"},
	{"Party", "agent", "The agent, or device, whose own address it is; null: nobody's"},
	{"Gateway", "endpoint", "HOST:PORT where the device finds it"},
	{"Role", "network", "null: everything"},
	{"", "endpoint", "Where the world sees it; null: not known"},
	{"", "endpoints", "All places where the world may see it"},
	{"", "local_endpoints", "Where it is in its own network"},
	{"", "local_endpoint", "One, where local_endpoints is not there"},
	{"", "nat_type", "none full_cone restricted_cone port_restricted_cone symmetric udp_blocked unknown"},
	{"", "upnp_mapped", "A router was asked for a port, and gave it"},
	{"", "peer_status",
	 "By agent id: is there a path, how long is the way, and is it direct, relay, relay:REGION or none"},
	{"", "epoch", "One life of the coordinator's process"},
	{"", "revision", "Counts changes up within an epoch; some do not concern an agent, so there are gaps"},
	{"", "pins",
	 "SHA-256 of the coordinators' public keys (SPKI), base64url; empty: the usual authorities are gone by"},
	{"", "coordinators", "URLs of all coordinators of this mesh, any of which an agent may go to"},
	{"", "stun", "HOST:PORT; the first is the primary"},
	{"", "region", "The relay's name"},
	{"", "url", "null: STUN only"},
	{"", "cidr6", "null: there is none"},
	{"", "network", "A network, by its name"},
	{"Network", "approved", "false: it waits for approval, or has expired there; null: it does not wait"},
};

const char *meaning(const char *of, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (of && !strcmp(name, meanings[i].name) && str_has_prefix(of, meanings[i].of))
			return meanings[i].text;
	return NULL;
}
