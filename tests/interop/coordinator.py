#!/usr/bin/python3
"""Cases of coordinator.sh. With words: only the cases whose name has one of them."""
import base64, calendar, contextlib, hashlib, hmac, http.client, ipaddress, json, multiprocessing, os, re, resource, select, shutil, signal, socket, sqlite3, stat, struct, subprocess, sys, tempfile, threading, time
import meshclient
from meshclient import PROGRAM, Agent, Coordinator, Line, WrongClock, Ws, b64, free_port, wait_until
from nacl.bindings import crypto_scalarmult_base, randombytes

LABEL = "coordinator on PostgreSQL" if meshclient.POSTGRES else "coordinator"
NO_RELAY = "relay: {embedded: false}\n"
FAST = NO_RELAY + "limits: {requests_per_address: 100000, requests_per_agent: 10000}\n"
cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


def equal(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError("%s: %r, not %r" % (what, seen, wanted))


def refused(answer, status, code):
    equal((answer[0], answer[1].get("code") if isinstance(answer[1], dict) else answer[1]), (status, code))
    equal(sorted(answer[1]), ["code", "detail", "status", "title", "type"], "problem+json")


def agents(co):
    return json.loads(co.admin("agent", "list", "--json"))["agents"]


def metric(co, name):
    """Of what is in memory, whether or not it is on the disk."""
    return int(re.search("^wg_mesh_%s (-?[0-9]+)$" % name, co.request("GET", "/metrics", root=True)[1].decode(), re.M)[1])


# ---- registering -------------------------------------------------------------------


@case("the first start prints one join link and one to the dashboard, the second none")
def _(co):
    wait_until(lambda: co.read("out"))
    lines = co.read("out").split()
    equal(len(lines), 2)
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+/join#[\w-]{22}\.[\w-]{43}", lines[0]), lines[0]
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+/#login=[\w-]{47}", lines[1]), lines[1]
    co.stop()
    co.start()
    equal(len(co.read("out").split()), 2, "lines after the second start")
    for secret in (lines[0].partition("#")[2].partition(".")[0], lines[1].partition("=")[2]):
        assert secret not in co.log(), "the link is in the log"


@case("a first start that fails at the port or the policy loses no join link")
def _(_co):
    co = Coordinator(FAST)
    try:
        with socket.socket() as taken, open(co.dir + "/out", "ab") as out, open(co.dir + "/log", "ab") as log:
            taken.bind(("127.0.0.1", co.port))
            taken.listen()
            command = [PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml"]
            equal(subprocess.run(command, stdout=out, stderr=log, timeout=20).returncode, 1)
        assert "choose another with --listen" in co.log()
        with open(co.dir + "/policy.yaml", "w") as f:
            f.write("version: 2\n")
        with open(co.dir + "/out", "ab") as out, open(co.dir + "/log", "ab") as log:
            equal(subprocess.run(command, stdout=out, stderr=log, timeout=20).returncode, 2)
        os.remove(co.dir + "/policy.yaml")
        equal(co.read("out"), "")
        co.start()
        wait_until(lambda: co.read("out"))  # it is printed when it is on the disk
        equal(len(co.read("out").split()), 2, "links")
    finally:
        co.close()


@case("a relay that ends at once is told of in its own words")
def _(_co):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        co = Coordinator("relay: {stun: '127.0.0.1:%d'}\n" % taken.getsockname()[1]).start()
        try:
            assert wait_until(lambda: "cannot listen" in co.log() and "moves it" in co.log()), co.log()
        finally:
            co.close()


@case("twenty lines of Python register an agent")
def _(co):
    link = co.admin("key", "create").strip()
    done = subprocess.run(["/usr/bin/python3", "tests/interop/register.py", link, "python"],
                          capture_output=True, text=True, timeout=20)
    answer = json.loads(done.stdout)
    assert {"agent_id", "token", "expires_in", "network_id", "addresses", "relays", "server_key"} <= set(answer)
    equal(answer["expires_in"], 86400)
    equal([a["name"] for a in agents(co)], ["python"])


@case("registering again costs nothing, also when the key is used up")
def _(co):
    key, agent = co.key(), Agent(co, "again")
    status, first = agent.try_register(key)
    equal(status, 201)
    status, second = agent.try_register(key)
    equal(status, 200)
    equal(second["agent_id"], first["agent_id"])
    equal(second["addresses"], first["addresses"])
    assert second["token"] != first["token"]
    equal(len([a for a in agents(co) if a["name"] == "again"]), 1)
    refused(Agent(co, "another").try_register(key), 403, "join_key_used")


@case("join keys: unknown, used, expired, revoked")
def _(co):
    refused(Agent(co, "k1").try_register("A" * 22), 403, "join_key_unknown")
    key = co.key()
    Agent(co, "k2").register(key)
    refused(Agent(co, "k3").try_register(key), 403, "join_key_used")
    key = co.key("--expires", "1s")
    time.sleep(1.1)
    refused(Agent(co, "k4").try_register(key), 403, "join_key_expired")
    def ids():
        return {k["id"] for k in json.loads(co.admin("key", "list", "--json"))["keys"]}

    others = ids()
    key = co.key("--reusable")
    co.admin("key", "revoke", (ids() - others).pop())
    refused(Agent(co, "k5").try_register(key), 403, "join_key_revoked")
    audit = co.admin("audit")
    for code in ("unknown", "used", "expired", "revoked"):
        assert "join_key_" + code in audit, "no audit line: " + code
    equal([a["name"] for a in agents(co) if a["name"].startswith("k")], ["k2"])


@case("proofs: what a stranger makes up uses up no challenge")
def _(co):
    key, agent, lost = co.key("--reusable"), Agent(co, "s1"), Agent(co, "s2")
    given = agent.challenge()
    for _ in range(2):
        refused(agent.try_register("A" * 22, given=given), 403, "join_key_unknown")
        refused(agent.try_register(key, given=given, coordinator="https://evil.example:8443"), 401, "wrong_coordinator")
    equal(agent.try_register(key, given=given)[0], 201)
    refused(agent.try_register(key, given=given), 401, "challenge_used")
    lost.id, given = "f" * 24, lost.challenge()
    for _ in range(2):
        refused(by_proof(co, lost, "/token", given=given, public_key=b64(lost.public), old_token="x"), 401, "unknown_agent")
    equal(lost.try_register(key, given=given)[0], 201)


@case("proofs: missing, garbage, replayed, foreign, for another coordinator")
def _(co):
    key, agent, thief = co.key("--reusable"), Agent(co, "p1"), Agent(co, "p2")
    refused(agent.try_register(key, headers={}), 401, "proof_missing")
    refused(agent.try_register(key, headers={"Authorization": "Proof !!"}), 401, "proof_missing")
    refused(agent.try_register(key, headers={"Authorization": "Proof " + b64(b"\0" * 32)}), 401, "proof_wrong")
    given = agent.challenge()
    body = json.dumps(agent.body(given, key)).encode()
    headers = {"Authorization": agent.proof(given, body, private=thief.private)}
    refused(co.request("POST", "/agents/register", body, headers), 401, "proof_wrong")
    given = agent.challenge()
    body = json.dumps(agent.body(given, key)).encode()
    headers = {"Authorization": agent.proof(given, body)}
    refused(co.request("POST", "/agents/register", body + b" ", headers), 401, "proof_wrong")
    given = agent.challenge()
    body = json.dumps(agent.body(given, key)).encode()
    headers = {"Authorization": agent.proof(given, body)}
    equal(co.request("POST", "/agents/register", body, headers)[0], 201)
    refused(co.request("POST", "/agents/register", body, headers), 401, "challenge_used")
    refused(agent.try_register(key, given=agent.challenge(thief.public)), 401, "challenge_unknown")
    given = {**agent.challenge(), "challenge": b64(b"x" * 32)}
    refused(agent.try_register(key, given=given), 401, "challenge_unknown")
    refused(agent.try_register(key, coordinator="https://evil.example:8443"), 401, "wrong_coordinator")
    refused(agent.try_register(key, coordinator="https://localhost:%d" % co.port), 401, "wrong_coordinator")
    given = agent.challenge()
    body = json.dumps(agent.body(given, key)).encode()
    headers = {"Authorization": agent.proof(given, body, server_key=thief.public)}
    refused(co.request("POST", "/agents/register", body, headers), 401, "proof_wrong")
    audit = co.admin("audit")
    for code in ("proof_missing", "proof_wrong", "challenge_used", "challenge_unknown", "wrong_coordinator"):
        assert code in audit, "no audit line: " + code


@case("a key has one way to be written: other bytes for it are no second agent")
def _(co):
    key = co.key("--reusable")
    alice = Agent(co, "alice").register(key)
    twin = Agent(co, "twin")
    twin.private = alice.private
    for public in (alice.public[:31] + bytes([alice.public[31] | 0x80]), b"\1" + b"\0" * 31, b"\xed" + b"\xff" * 30 + b"\x7f"):
        refused(co.request("POST", "/agents/challenge", {"public_key": b64(public)}), 422, "invalid")
        given = alice.challenge()
        twin.public = public
        refused(twin.try_register(key, given=given), 422, "invalid")
        stderr = co.admin("relay", "add", "https://relay.example:443", "--region", "r", "--key", b64(public), code=None)
        assert "public key" in stderr, stderr
    equal([a["name"] for a in agents(co)], ["alice"])


@case("a challenge is refused when its minute is over")
def _(_co):
    co = Coordinator(FAST).start()
    agent, key = Agent(co, "late"), co.key()
    given, begun = agent.challenge(), time.time()

    def later():
        try:
            time.sleep(max(0, begun + 61 - time.time()))
            refused(agent.try_register(key, given=given), 401, "challenge_expired")
            equal(agent.try_register(key)[0], 201)
        finally:
            co.close()
    return later


@case("a proof that is wrong uses no challenge up: strangers do not fill the table of used ones")
def _(co):
    key, agent = co.key(), Agent(co, "patient")
    given = agent.challenge()
    for _ in range(5):
        refused(agent.try_register(key, given=given, headers={"Authorization": "Proof " + b64(b"\0" * 32)}), 401, "proof_wrong")
    equal(agent.try_register(key, given=given)[0], 201)
    refused(agent.try_register(key, given=given), 401, "challenge_used")


def flood(co, agent, path, code, **more):
    """Proofs of one agent, many at a time, until one is answered with this code; how many were taken."""
    def exchange(requests):
        sock.sendall(b"".join(requests))
        return [(int(lines.readline().split()[1]), lines.read(int(http.client.parse_headers(lines)["Content-Length"])))
                for _ in requests]

    def post(where, body, *headers):
        head = ("POST /api/v1%s HTTP/1.1" % where, "Host: a", "Content-Length: %d" % len(body), *headers, "", "")
        return "\r\n".join(head).encode() + body
    ask, taken = post("/agents/challenge", json.dumps({"public_key": b64(agent.public)}).encode()), 0
    with meshclient.TLS.wrap_socket(socket.create_connection(("127.0.0.1", co.port), 20)) as sock:
        lines = sock.makefile("rb")
        while taken < 200000:
            proofs = []
            for _, text in exchange([ask] * 200):
                given = json.loads(text)
                body = json.dumps({**agent.body(given, None), **more}).encode()
                proofs.append(post(path, body, "Authorization: " + agent.proof(given, body)))
            for status, text in exchange(proofs):
                if status != 200:
                    equal(json.loads(text)["code"], code)
                    return taken
                taken += 1
    raise AssertionError("%d were taken" % taken)


@case("who asks for previews, or proves itself, until it is told to wait keeps nobody else waiting")
def _(_co):
    co = Coordinator(FAST).start()
    try:
        hog, other = co.key("--reusable"), co.key("--reusable")
        friend, agent = Agent(co, "friend").register(other), Agent(co, "hog").register(hog)
        flood(co, Agent(co, "previews"), "/agents/register", "busy", preview=True, join_key=hog)
        refused(Agent(co, "late").try_register(hog), 429, "busy")
        equal(Agent(co, "early").try_register(other)[0], 201)
        flood(co, agent, "/agents/%s/token" % agent.id, "busy")
        refused(by_proof(co, agent, "/token"), 429, "busy")
        equal(by_proof(co, friend, "/token")[0], 200)
        equal(Agent(co, "stranger").try_register(other)[0], 201)
    finally:
        co.close()


@case("of a flood of refusals the log says how many it left out")
def _(co):
    agent = Agent(co, "flood")
    body = json.dumps({"public_key": b64(agent.public), "name": "x", "join_key": "y"}).encode()
    connection, sent = co.connect(), 0
    def refusals():
        nonlocal sent
        for _ in range(200):
            connection.request("POST", "/api/v1/agents/register", body)
            answer = connection.getresponse()
            answer.read()
            equal(answer.status, 401)
            sent += 1
        return "refusals-left-out" in co.log() or sent > 20000
    while not refusals():
        pass
    def told():
        lines = co.log()
        return lines.count(" registration-refused") + sum(map(int, re.findall(r"refusals-left-out count=(\d+)", lines)))
    assert wait_until(lambda: told() == sent, 60), "%d of %d are told of" % (told(), sent)
    connection.close()


@case("a challenge does not outlive the coordinator")
def _(co):
    agent, key = Agent(co, "late"), co.key()
    given = agent.challenge()
    co.stop(signal.SIGKILL)
    co.start()
    refused(agent.try_register(key, given=given), 401, "challenge_unknown")


@case("names: taken, reserved, wrong, or for another")
def _(co):
    key = co.key("--reusable")
    Agent(co, "n1").register(key)
    refused(Agent(co, "n1").try_register(key), 409, "name_taken")
    for name in ("any", "self", "network", "group", "tag", "exit", "default"):
        refused(Agent(co, name).try_register(key), 422, "name_reserved")
    for name in ("", "N2", "-n", "n-", "a b", "n.x", "$(reboot)", "\u00e4"):
        refused(Agent(co, name).try_register(key), 422, "name_invalid")
    refused(Agent(co, "n" * 300).try_register(key), 422, "invalid")
    Agent(co, "n" * 63).register(key)
    refused(Agent(co, "n3").try_register(co.key("--name", "n4")), 403, "name_not_allowed")
    Agent(co, "n4").register(co.key("--name", "n4"))
    tagged = co.key("--name", "db-1", "--tag", "db")
    other = Agent(co, "n6").register(key)
    refused(other.try_register(tagged), 403, "name_not_allowed") # by whatever name
    refused(other.try_register(tagged, name="db-1"), 403, "name_not_allowed")
    db = Agent(co, "db-1").register(tagged)
    equal([a["tags"] for a in agents(co) if a["name"] in ("n6", "db-1")], [[], ["db"]])
    co.admin("agent", "rename", "db-1", "db-2")
    equal(db.try_register(tagged)[0], 200, "again by its own key, after it was renamed")
    assert "n5" in co.admin("agent", "rename", "n4", "n5")
    assert "taken" in co.admin("agent", "rename", "n5", "n1", code=1)


@case("tags come from the key, and may be chosen among")
def _(co):
    key = co.key("--reusable", "--tag", "web", "--tag", "db")
    Agent(co, "t1").register(key)
    Agent(co, "t2").register(key, tags=["db"])
    refused(Agent(co, "t3").try_register(key, tags=["ops"]), 403, "tag_not_allowed")
    equal({a["name"]: a["tags"] for a in agents(co) if a["name"] in ("t1", "t2")}, {"t1": ["web", "db"], "t2": ["db"]})


@case("a preview judges the same and makes nothing")
def _(co):
    key, agent = co.key(), Agent(co, "v1")
    status, answer = agent.try_register(key, preview=True)
    equal(status, 200)
    equal(sorted(answer), ["network_id", "networks"])
    equal(answer["networks"][0]["name"], "default")
    refused(Agent(co, "v2").try_register("B" * 22, preview=True), 403, "join_key_unknown")
    equal([a for a in agents(co) if a["name"] == "v1"], [])
    agent.register(key)


@case("addresses: unique, in both families, not given out again soon")
def _(co):
    co.admin("network", "create", "small", "--cidr", "10.9.9.0/29", "--cidr6", "fd00:9::/64")
    key = co.key("--network", "small", "--reusable")
    all_ = [Agent(co, "s%d" % i).register(key) for i in range(4)]
    equal(all_[0].addresses, ["10.9.9.1/29", "fd00:9::1/64"])
    equal(len({a.addresses[0] for a in all_}), 4)
    co.admin("agent", "remove", "s1")
    equal(Agent(co, "s4").register(key).addresses[0], "10.9.9.5/29")
    co.stop(signal.SIGKILL)
    co.start()
    equal(Agent(co, "s5").register(key).addresses[0], "10.9.9.6/29")
    refused(Agent(co, "s6").try_register(key), 409, "network_full")


@case("several networks with one key; overlapping ones are refused")
def _(co):
    co.admin("network", "create", "office", "--cidr", "10.200.0.0/16")
    co.admin("network", "create", "clash", "--cidr", "10.200.5.0/24")
    agent = Agent(co, "multi").register(co.key())
    first = agent.id
    status, answer = agent.try_register(co.key("--network", "office"))
    equal((status, answer["agent_id"]), (201, first))
    equal(sorted(n["name"] for n in answer["networks"]), ["default", "office"])
    refused(agent.try_register(co.key("--network", "clash")), 409, "network_overlap")


@case("a network's name means nothing else in a policy; public addresses only bring a warning")
def _(co):
    for name in ("any", "self", "network", "group", "tag", "exit"):
        said = co.admin("network", "create", name, "--cidr", "10.202.0.0/16", code=None)
        equal("the name %s is reserved" % name in said, True, said)
    said = co.admin("network", "create", "inside", "--cidr", "172.31.0.0/16")
    equal("Warning" in said, False, said)
    said = co.admin("network", "create", "outside", "--cidr", "11.0.0.0/8")
    equal("Warning: these are public addresses" in said, True, said)
    Agent(co, "world").register(co.key("--network", "outside"))


@case("joining another network shows its peers on the same stream")
def _(co):
    co.admin("network", "create", "office", "--cidr", "10.201.0.0/16")
    office = co.key("--network", "office", "--reusable")
    there = Agent(co, "there").register(office)
    here = Agent(co, "here").register(co.key())
    ws = here.stream()
    equal(ws.receive()["peers"], [])
    equal(here.try_register(office)[0], 201)
    snapshot = ws.find(lambda m: m.get("type") == "snapshot")
    equal([(p["name"], p["network"]) for p in snapshot["peers"]], [("there", "office")])
    here.co.request("DELETE", "/agents/%s?network=office" % here.id, headers=here.bearer())
    snapshot = ws.find(lambda m: m.get("type") == "snapshot")
    equal(([n["name"] for n in snapshot["networks"]], snapshot["peers"]), (["default"], []))
    equal([p["name"] for p in there.ask("GET", "/peers")[1]["peers"]], [])


def memberships(co, agent):
    """By network: has it expired, is it approved, is it shown online."""
    return {a["network"]: (a["expired"], a["approved"], a["online"]) for a in agents(co) if a["agent_id"] == agent.id}


@case("an agent that has expired is back, with its peers, in the network whose key it joins by, and in no other")
def _(co):
    co.admin("network", "create", "back", "--cidr", "10.201.0.0/24")
    one, two = co.key("--reusable"), co.key("--network", "back", "--reusable")
    agent, here, there = Agent(co, "back-1").register(one), Agent(co, "here").register(one), Agent(co, "there").register(two)
    agent.register(two)
    watching = {"default": here.stream(), "back": there.stream()}
    for ws in watching.values():
        equal([p["name"] for p in ws.receive()["peers"]], ["back-1"])

    def told(network, op):
        return watching[network].find(lambda m: m.get("op") == op and (m.get("agent_id") or m["peer"]["agent_id"]) == agent.id, 3)

    def peers():
        return sorted(p["name"] for p in agent.ask("GET", "/peers")[1]["peers"])

    said = co.admin("agent", "expire", agent.id)
    assert "in 2 networks" in said, said
    for network in watching:
        assert told(network, "remove"), "not told that it went: " + network
    refused(agent.ask("GET", "/peers"), 401, "agent_expired")
    for network, key, name in (("default", one, "here"), ("back", two, "there")):
        agent.register(key)
        assert told(network, "put"), "not told that it is back: " + network
        assert name in peers(), peers()
        if network == "default":
            equal(watching["back"].find(lambda m: m.get("op") == "put", 0.5), None, "the key of another network brought it back")
            equal((peers(), memberships(co, agent)["back"][0]), (["here"], True))
            co.stop(signal.SIGKILL)
            co.start()
            equal((peers(), memberships(co, agent)["back"][0]), (["here"], True), "after a restart")
            for where in watching:
                watching[where] = (here if where == "default" else there).stream()
                watching[where].receive()
    equal({m[0] for m in memberships(co, agent).values()}, {False})
    for ws in watching.values():
        ws.close()


@case("who expires in one network of two stays in the other: its token, its stream, its place")
def _(co):
    co.admin("network", "create", "red", "--cidr", "10.202.0.0/24")
    red, blue = co.key("--network", "red", "--reusable"), co.key("--reusable")
    agent, seen = Agent(co, "in-both").register(red), Agent(co, "blue-1").register(blue)
    Agent(co, "red-1").register(red)
    agent.register(blue)
    agent.ask("PUT", "/endpoint", {"endpoint": "192.0.2.9:9"})
    for network in ("red", "default"):
        peer_add(co, "phone-" + network, "in-both", "--network", network)
    ws, watching = agent.stream(), seen.stream()
    equal(len(ws.receive()["peers"]), 4)
    watching.receive()
    assert "expired in the network red" in co.admin("agent", "expire", "in-both", "--network", "red")
    snapshot = ws.find(lambda m: m.get("type") == "snapshot", 3)
    equal({n["name"]: n.get("approved", True) for n in snapshot["networks"]}, {"red": False, "default": True})
    equal(sorted(p["name"] for p in snapshot["peers"]), ["blue-1", "phone-default"])
    equal(agent.ask("GET", "/peers")[0], 200)
    equal(watching.find(lambda m: m.get("op") == "remove", 0.5), None)
    equal(sorted(memberships(co, agent).items()), [("default", (False, True, True)), ("red", (True, True, False))])
    rows = {a["network"]: a for a in agents(co) if a["agent_id"] == agent.id}
    equal([(rows[n]["endpoint"], rows[n]["last_seen"] is None) for n in ("default", "red")], [("192.0.2.9:9", False), (None, True)])
    assert "has expired" in co.admin("peer", "add", "phone", "--via", "in-both", "--network", "red", "--endpoint", "a:1", code=1)
    # Neither a rename, nor joining again by the other's key, nor leaving the other brings it back; an operator does.
    co.admin("agent", "rename", "in-both", "in-two", "--network", "red")
    agent.register(blue)
    equal(memberships(co, agent)["red"][0], True)
    co.admin("agent", "approve", agent.id, "--network", "red")
    snapshot = ws.find(lambda m: m.get("type") == "snapshot" and len(m["peers"]) == 4, 3)
    assert snapshot, "not told that it is approved again"
    co.admin("agent", "expire", agent.id, "--network", "red")
    equal(agent.co.request("DELETE", "/agents/%s?network=default" % agent.id, headers=agent.bearer())[0], 204)
    assert ws.ended(3), "expired in all that is left, and its stream goes on"
    refused(agent.ask("GET", "/peers"), 401, "agent_expired")
    equal(agent.try_register(red)[0], 200)


@case("an expiry that was set is of its network alone, and so is being ephemeral")
def _(_co):
    co = Coordinator(FAST + "ephemeral_after: 2s\n").start()
    try:
        co.admin("network", "create", "red", "--cidr", "10.202.0.0/24")
        agent = Agent(co, "timed").register(co.key("--network", "red", "--ephemeral"))
        agent.register(co.key())
        Agent(co, "lasting").register(co.key("--network", "red"))
        co.admin("agent", "expire", "timed", "--network", "default", "--in", "1s")
        equal({a["network"]: (a["expires_at"] is not None, a["ephemeral"]) for a in agents(co) if a["name"] == "timed"},
              {"red": (False, True), "default": (True, False)})
        assert wait_until(lambda: list(memberships(co, agent)) == ["default"], 15), "red has it still"
        assert wait_until(lambda: memberships(co, agent)["default"][0], 15), "it does not expire"
        refused(agent.ask("GET", "/peers"), 401, "agent_expired")
        refused(by_proof(co, agent, "/token"), 401, "agent_expired")
    finally:
        co.close()


@case("who is ephemeral and has expired in one network goes from there, though it is online in another")
def _(_co):
    co = Coordinator(FAST + "ephemeral_after: 2s\n").start()
    try:
        co.admin("network", "create", "red", "--cidr", "10.202.0.0/24")
        agent = Agent(co, "both").register(co.key("--network", "red", "--ephemeral")).register(co.key())
        ws = agent.stream()
        ws.receive()
        co.admin("agent", "expire", "both", "--network", "red")
        assert memberships(co, agent)["red"][0], "away at once"
        assert wait_until(lambda: list(memberships(co, agent)) == ["default"], 15), "red has it still"
        time.sleep(3)
        equal(memberships(co, agent), {"default": (False, True, True)})
        equal(agent.ask("GET", "/peers")[0], 200)
        # Also one that had expired before the coordinator's start.
        agent.register(co.key("--network", "red", "--ephemeral"))
        co.admin("agent", "expire", "both", "--network", "red")
        ws.close()
        co.stop()
        co.start()
        ws = agent.stream()
        ws.receive()
        assert wait_until(lambda: list(memberships(co, agent)) == ["default"], 15), "red has it still"
    finally:
        co.close()


@case("the tags of a join key are judged again when somebody joins by it: the policy and its maker may have changed")
def _(co):
    def policy(text):
        with open(co.dir + "/policy.yaml", "w") as f:
            f.write("version: 1\ndefault: allow\n" + text)
        return co.dir + "/policy.yaml"

    def operator(name):
        co.admin("user", "add", name, "--role", "operator", "--no-password")
        return {"Authorization": "Bearer " + co.admin("token", "create", "--user", name).strip()}

    def made_by(headers, **more):
        body = {"network": "default", "reusable": True, "tags": ["web", "db"], **more}
        return co.request("POST", "/join-keys", body, headers)[1]["link"].partition("#")[2].partition(".")[0]

    ann, bob = operator("ann"), operator("bob")
    robot = {"Authorization": "Bearer " + co.admin("token", "create", "--role", "operator").strip()}
    keys = {"ann": made_by(ann), "bob": made_by(bob), "robot": made_by(robot),
            "root": co.key("--reusable", "--tag", "web", "--tag", "db"), "old": made_by(bob)}
    first = Agent(co, "first").register(keys["bob"])
    co.stop()
    co.execute("UPDATE keys SET maker=NULL WHERE id=(SELECT id FROM keys WHERE maker LIKE '%bob%' AND used_at=0)")
    co.start()
    warned = co.admin("policy", "apply", policy("tags: {db: [ann]}\n"))
    for word, times in (("admits nobody with the tag db", 2), ("still gives the tag db", 1)):
        equal(warned.count(word), times, warned)

    def joins(name, maker, **more):
        status, answer = Agent(co, name).try_register(keys[maker], **more)
        return status if status == 201 else (answer["code"], "tag db" in answer["detail"])

    lost = "tag_not_allowed", True
    for maker, wanted in (("ann", 201), ("bob", lost), ("robot", lost), ("root", 201), ("old", 201)):
        equal(joins("by-" + maker, maker), wanted, maker)
    equal(joins("some", "bob", tags=["web"]), 201, "a tag of nobody's")
    equal(first.try_register(keys["bob"])[0], 200, "who has them keeps them")
    co.admin("agent", "expire", "first")
    refused(first.try_register(keys["bob"]), 403, "tag_not_allowed")
    co.admin("policy", "apply", policy("tags: {db: [operator]}\n"))
    for maker in ("ann", "bob", "robot"):
        equal(joins("op-" + maker, maker), 201, maker)
    co.admin("user", "role", "ann", "viewer")
    co.admin("user", "remove", "bob")
    for maker in ("ann", "bob"):
        equal(joins("no-" + maker, maker), lost, maker)
    co.admin("user", "add", "bob", "--role", "viewer", "--no-password")
    equal(joins("no-bob", "bob"), lost, "another bob")
    co.stop()
    co.start()
    equal([joins("again-" + maker, maker) for maker in ("ann", "robot", "root")], [lost, 201, 201], "after a restart")


@case("a device's key is a secret of its network: another has it too, and no one learns of it")
def _(co):
    co.admin("network", "create", "red", "--cidr", "10.202.0.0/24")
    red, blue = co.key("--network", "red", "--reusable"), co.key("--reusable")
    gate, other = Agent(co, "red-gate").register(red), Agent(co, "blue-gate").register(blue)
    host, phone = Agent(co, "host"), Agent(co, "phone")
    peer_add(co, "squatted", "red-gate", "--public-key", b64(host.public))
    equal(host.try_register(blue)[0], 201, "a device of another network keeps it out")
    refused(host.try_register(red), 409, "key_taken")
    for via in ("red-gate", "blue-gate"):
        peer_add(co, "phone", via, "--public-key", b64(phone.public))
        assert "key" in co.admin("peer", "add", "twice", "--via", via, "--endpoint", "a:1", "--public-key", b64(phone.public), code=1)
    for agent, via, wanted in ((other, "red-gate", 0), (other, "blue-gate", 1), (gate, "red-gate", 1)):
        co.admin("peer", "add", "like-an-agent", "--via", via, "--endpoint", "a:1", "--public-key", b64(agent.public), code=wanted)

    def rekey(agent, new):
        given = agent.challenge()
        body = json.dumps({"coordinator": co.origin, "challenge": given["challenge"], "public_key": b64(new.public)}).encode()
        return co.request("POST", "/agents/%s/key" % agent.id, body, {
            "Authorization": agent.proof(given, body), "WG-Mesh-New-Proof": agent.proof(given, body, private=new.private)})

    mine, new = Agent(co, "mine"), Agent(co, "new").register(blue)
    peer_add(co, "reds", "red-gate", "--public-key", b64(mine.public))
    refused(rekey(gate, mine), 409, "key_taken")
    refused(rekey(gate, phone), 409, "key_taken")
    refused(rekey(other, phone), 409, "key_taken")
    equal(rekey(new, mine)[0], 200, "the key of a device of another network")
    co.stop(signal.SIGKILL)
    co.start()
    equal(sorted((d["network"], d["name"]) for d in json.loads(co.admin("peer", "list", "--json"))["devices"]),
          [("default", "phone"), ("red", "like-an-agent"), ("red", "phone"), ("red", "reds"), ("red", "squatted")])
    co.admin("peer", "remove", "phone", "--network", "red")
    equal(phone.try_register(red)[0], 201)
    refused(phone.try_register(blue), 409, "key_taken")


@case("an agent without a stream is online by its heartbeats")
def _(co):
    agent = Agent(co, "poll").register(co.key())
    equal([a["online"] for a in agents(co)], [False])
    answer = agent.ask("POST", "/heartbeat", {"endpoint": "192.0.2.3:3", "peer_status": {
        "x": {"connected": True, "latency_ms": 1.5, "path": "direct"}}})
    equal((answer[0], sorted(answer[1])), (200, ["epoch", "revision"]))
    equal([(a["online"], a["endpoint"]) for a in agents(co)], [(True, "192.0.2.3:3")])


@case("a heartbeat that is refused changes nothing")
def _(co):
    key = co.key("--reusable")
    agent, other = Agent(co, "one").register(key), Agent(co, "two").register(key)

    def shown():
        row = json.loads(co.admin("agent", "show", "one", "--json"))["agent"]
        return row["peers_direct"], row["peers_relayed"], row["endpoint"]
    direct = {other.id: {"connected": True, "path": "direct"}}
    equal(agent.ask("POST", "/heartbeat", {"endpoint": "192.0.2.3:3", "peer_status": direct})[0], 200)
    equal(shown(), (1, 0, "192.0.2.3:3"))
    for body in ({"peer_status": {other.id: {"path": "zzz"}}}, {"peer_status": {other.id: {"path": "relay"}, "x": {"path": "zzz"}}},
                 {"peer_status": {other.id: {"path": "relay"}}, "endpoint": "127.0.0.1:9"},
                 {"peer_status": {}, "endpoint": "nowhere"}):
        refused(agent.ask("POST", "/heartbeat", body), 422, "invalid")
        equal(shown(), (1, 0, "192.0.2.3:3"), body)
    equal(agent.ask("POST", "/heartbeat", {})[0], 200)
    equal(shown(), (1, 0, "192.0.2.3:3"), "one that says nothing of them")
    equal(agent.ask("POST", "/heartbeat", {"peer_status": {other.id: {"path": "relay:home"}}})[0], 200)
    equal(shown(), (0, 1, "192.0.2.3:3"))

@case("routes are told to peers once they are approved")
def _(co):
    key = co.key("--reusable")
    router = Agent(co, "router").register(key, advertised_routes=["192.168.7.0/24", "192.168.8.9/24"])
    ws = Agent(co, "user").register(key).stream()
    equal(ws.receive()["peers"][0]["routes"], [])
    co.admin("route", "approve", "router", "192.168.8.0/24")
    put = ws.find(lambda m: m.get("op") == "put")
    equal(put["peer"]["routes"], ["192.168.8.0/24"])
    assert "does not advertise" in co.admin("route", "approve", "router", "10.0.0.0/8", code=1)
    router.register(key, advertised_routes=["192.168.8.0/24"])
    equal([(r["prefix"], r["approved"]) for r in json.loads(co.admin("route", "list", "--json"))["routes"]],
          [("192.168.8.0/24", True)])


# ---- tokens ---------------------------------------------------------------------------


def forged(secret, header, claims):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    text = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}.get(header["alg"])
    signature = part(hmac.digest(secret, text, digest)) if digest else b""
    return (text + b"." + signature).decode()


@case("tokens: none, altered, of another algorithm, ended, of another agent")
def _(co):
    key = co.key("--reusable")
    agent, other = Agent(co, "tok1").register(key), Agent(co, "tok2").register(key)
    equal(agent.ask("GET", "/peers")[0], 200)
    path = "/agents/%s/peers" % agent.id
    refused(co.request("GET", path), 401, "token_missing")
    secret = co.meta("token_secret")
    now = int(time.time())
    claims = {"sub": agent.id, "nets": ["default"], "iat": now, "exp": now + 100, "jti": "1"}
    good = forged(secret, {"alg": "HS256", "typ": "JWT"}, claims)
    equal(co.request("GET", path, headers={"Authorization": "Bearer " + good})[0], 200)
    wrong = {
        "altered": agent.token[:-4] + ("AAAA" if agent.token[-4:] != "AAAA" else "BBBB"),
        "none": forged(secret, {"alg": "none", "typ": "JWT"}, claims),
        "hs512": forged(secret, {"alg": "HS512", "typ": "JWT"}, claims),
        "hs384": forged(secret, {"alg": "HS384", "typ": "JWT"}, claims),
        "other secret": forged(b"x" * 32, {"alg": "HS256", "typ": "JWT"}, claims),
        "from the future": forged(secret, {"alg": "HS256", "typ": "JWT"}, {**claims, "iat": now + 300, "exp": now + 600}),
        "rs256": forged(secret, {"alg": "RS256", "typ": "JWT"}, claims), # the secret is no PEM: OpenSSL complains
        "words": "a.b.c", "long": "A" * 5000,
    }
    for name, token in wrong.items():
        answer = co.request("GET", path, headers={"Authorization": "Bearer " + token})
        equal((name, answer[0], answer[1]["code"]), (name, 401, "token_invalid"))
    ended = forged(secret, {"alg": "HS256", "typ": "JWT"}, {**claims, "iat": now - 500, "exp": now - 100})
    refused(co.request("GET", path, headers={"Authorization": "Bearer " + ended}), 401, "token_expired")
    for times in {"iat": now - 500, "exp": now - 30}, {"iat": now + 30, "exp": now + 600}:  # another server's clock
        leeway = forged(secret, {"alg": "HS256", "typ": "JWT"}, {**claims, **times})
        equal(co.request("GET", path, headers={"Authorization": "Bearer " + leeway})[0], 200, str(times))
    given = json.loads(base64.urlsafe_b64decode(agent.token.split(".")[1] + "=="))
    equal(given["exp"] - given["iat"], 24 * 3600, "seconds that a token lives")
    for method, what in (("GET", "/peers"), ("PUT", "/endpoint"), ("POST", "/heartbeat"), ("POST", "/token"),
                         ("DELETE", "")):
        refused(co.request(method, "/agents/%s%s" % (other.id, what), {} if method != "GET" else None,
                           agent.bearer()), 403, "not_yours")


def by_proof(co, agent, what, method="POST", given=None, private=None, **more):
    given = given or agent.challenge()
    body = json.dumps({"coordinator": co.origin, "challenge": given["challenge"], **more}).encode()
    headers = {"Authorization": agent.proof(given, body, private=private)}
    return co.request(method, "/agents/%s%s" % (agent.id, what), body, headers)


@case("a fresh token by the old one, and by proof")
def _(co):
    agent, other = Agent(co, "fresh").register(co.key()), Agent(co, "thief")
    status, answer = agent.ask("POST", "/token", {})
    equal((status, answer["expires_in"]), (200, 86400))
    status, answer = by_proof(co, agent, "/token")
    equal(status, 200)
    agent.token = answer["token"]
    equal(agent.ask("GET", "/peers")[0], 200)
    refused(by_proof(co, agent, "/token", private=other.private), 401, "proof_wrong")
    refused(by_proof(co, agent, "/token", coordinator="https://evil.example"), 401, "wrong_coordinator")


@case("a stream brings a fresh token before the one it was opened with ends, and none before it is time")
def _(co):
    key, now = co.key("--reusable"), int(time.time())
    soon, late = Agent(co, "soon").register(key), Agent(co, "late").register(key)
    claims = {"sub": soon.id, "nets": ["default"], "iat": now - 100, "exp": now + 3600, "jti": "soon"}
    soon.token = forged(co.meta("token_secret"), {"alg": "HS256", "typ": "JWT"}, claims)
    ending, fresh = soon.stream(), late.stream()
    token = ending.find(lambda m: m.get("type") == "token", 33)
    equal((token or {}).get("expires_in"), 86400, "expires_in")
    soon.token = token["token"]
    equal(soon.ask("GET", "/peers")[0], 200)
    equal(fresh.find(lambda m: m.get("type") == "token", 2), None, "a token on the other stream")


@case("a refused proof leaves an audit line, for a token and for a key too, and is in it at once")
def _(co):
    agent, thief = Agent(co, "proven").register(co.key()), Agent(co, "thief")
    for number in range(20):
        refused(by_proof(co, agent, "/token", private=thief.private), 401, "proof_wrong")
        equal(co.admin("audit").count("proof_wrong"), number + 1)
    refused(by_proof(co, agent, "/key", private=thief.private, public_key=b64(thief.public)), 401, "proof_wrong")
    refused(by_proof(co, agent, "", "DELETE", private=thief.private), 401, "proof_wrong")
    lines = [line for line in co.admin("audit").splitlines() if "proof-refused" in line]
    equal([agent.id in line for line in lines], [True] * 22)


@case("an agent goes on under a new key")
def _(co):
    agent, new = Agent(co, "rotate").register(co.key()), Agent(co, "new")
    given = agent.challenge()
    body = json.dumps({"coordinator": co.origin, "challenge": given["challenge"],
                       "public_key": b64(new.public)}).encode()
    headers = {"Authorization": agent.proof(given, body)}
    refused(co.request("POST", "/agents/%s/key" % agent.id, body, headers), 401, "proof_missing")
    given = agent.challenge()
    body = json.dumps({"coordinator": co.origin, "challenge": given["challenge"],
                       "public_key": b64(new.public)}).encode()
    headers = {"Authorization": agent.proof(given, body), "WG-Mesh-New-Proof": agent.proof(given, body, private=new.private)}
    equal(co.request("POST", "/agents/%s/key" % agent.id, body, headers)[0], 200)
    refused(by_proof(co, agent, "/token"), 401, "challenge_unknown")
    refused(agent.ask("GET", "/peers"), 401, "token_expired")  # who had the old key may have a token, too
    agent.private, agent.public = new.private, new.public
    equal(by_proof(co, agent, "/token")[0], 200)


@case("leaving with a body or a query that is not understood leaves nothing")
def _(co):
    agent = Agent(co, "stays").register(co.key())
    for query, body, status, code in (("?netwrok=default", None, 422, "unknown_parameter"), ("?network", None, 422, "unknown_parameter"),
                                      ("?network=default&x=1", None, 422, "unknown_parameter"), ("?", None, 404, "not_a_member"),
                                      ("?network=default&network=default", None, 422, "invalid"),
                                      ("?network=other", None, 404, "not_a_member"), ("?network=", None, 404, "not_a_member"),
                                      ("", b"{bad", 400, "bad_json"), ("", b"[]", 422, "invalid")):
        refused(agent.ask("DELETE", query, body), status, code)
        equal(agent.ask("GET", "/peers")[0], 200)
    equal(agent.ask("DELETE", "?network=defaul%74", {})[0], 204)


@case("leaving, removal and expiry end a token at once")
def _(co):
    key = co.key("--reusable")
    agent = Agent(co, "leaver").register(key)
    equal(agent.ask("DELETE", "")[0], 204)
    refused(agent.ask("GET", "/peers"), 401, "unknown_agent")
    agent = Agent(co, "removed").register(key)
    co.admin("agent", "remove", "removed")
    refused(agent.ask("GET", "/peers"), 401, "unknown_agent")
    refused(by_proof(co, agent, "/token"), 401, "unknown_agent")
    agent = Agent(co, "expired").register(key)
    co.admin("agent", "expire", "expired")
    refused(agent.ask("GET", "/peers"), 401, "agent_expired")
    refused(by_proof(co, agent, "/token"), 401, "agent_expired")
    status, answer = agent.try_register(key)
    equal((status, answer["agent_id"]), (200, agent.id))
    refused(agent.ask("GET", "/peers"), 401, "token_expired") # the old one stays void
    agent.token = answer["token"]
    equal(agent.ask("GET", "/peers")[0], 200)
    co.stop()
    co.start()
    equal(agent.ask("GET", "/peers")[0], 200)


# ---- bad input --------------------------------------------------------------------------


def raw(co, data, seconds=10):
    """Sends bytes as they are; the status of what comes back, or None."""
    with socket.create_connection(("127.0.0.1", co.port), seconds) as plain:
        with meshclient.TLS.wrap_socket(plain) as s:
            try:
                s.sendall(data)
                head = s.recv(4096)
            except OSError:
                return None
            return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else None


@case("bad input of every kind gets a 4xx, and the next is served")
def _(co):
    post = "POST /api/v1/agents/register HTTP/1.1\r\nHost: a\r\n"
    table = [
        (b"nonsense\r\n\r\n", 400), (b"\x16\x03\x01\x00\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"PUT /api/v1/agents/register HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        ((post + "Content-Length: 2000000\r\n\r\n").encode(), 413),
        ((post + "Content-Length: 2000000\r\n\r\n").encode() + b"x" * 300000, 413),
        ((post + "Content-Length: -1\r\n\r\n").encode(), 400),
        ((post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n").encode(), 400),
        ((post + "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n").encode(), 413),
        (b"GET /api/v1/agents/%ff%00/peers HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /api/v1/agents/" + b"a" * 300 + b"/peers HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ]
    for data, status in table:
        seen = raw(co, data)
        if seen != status:
            raise AssertionError("%r: %r, not %d" % (data[:70], seen, status))
    bodies = [
        (b"{", 400, "bad_json"), (b"", 400, "bad_json"), (b"\xff\xfe", 400, "bad_json"),
        (b'{"name":"a","name":"b"}', 400, "bad_json"), (b"[" * 30000, 400, "bad_json"),
        (b"[]", 422, "invalid"), (b"null", 422, "invalid"), (b"7", 422, "invalid"), (b"{}", 422, "invalid"),
        (b'{"public_key":7}', 422, "invalid"), (b'{"public_key":"AAAA"}', 422, "invalid"),
        (b'{"a":"' + b"x" * 30000 + b'"}', 422, "invalid"), (b'{"a":"' + b"x" * 40000 + b'"}', 413, "body_too_large"),
        (b'{"a":"' + b"x" * 1000000 + b'"}', 413, "body_too_large"),
    ]
    for body, status, code in bodies:
        answer = co.request("POST", "/agents/register", body)
        if (answer[0], answer[1]["code"]) != (status, code):
            raise AssertionError("%r: %r" % (body[:40], answer))
    equal(co.request("POST", "/agents/register", b"x" * 1100000)[0], 413)
    agent, key = Agent(co, "shape"), co.key("--reusable")
    for field, value in [("name", 7), ("name", None), ("name", ["x"]), ("join_key", "x" * 500), ("join_key", {}),
                         ("endpoint", "1.2.3.4"), ("endpoint", "host:1"), ("capabilities", "all"), ("capabilities", ["x" * 5000]),
                         ("advertised_routes", ["10.0.0.0/33"]), ("advertised_routes", ["10.0.0.0/8"] * 65),
                         ("advertised_routes", "10.0.0.0/8"), ("tags", "web"), ("preview", "yes")]:
        refused(agent.try_register(key, **{field: value}), 422, "invalid")
    equal(agents(co) and [a for a in agents(co) if a["name"] == "shape"], [])
    agent.register(key)
    sixteen = ["1.2.3.4:%d" % port for port in range(1, 17)]
    equal(agent.ask("PUT", "/endpoint", {"endpoints": sixteen, "local_endpoints": sixteen})[0], 200)
    for body in ({"endpoint": "x"}, {"endpoints": ["1.2.3.4:5"] * 17}, {"local_endpoints": ["1.2.3.4:5"] * 17}, {"local_endpoints": {}}, {"upnp_mapped": 1},
                 {"endpoint": "127.0.0.1:5"}, {"endpoints": ["1.2.3.4:5", "255.255.255.255:5"]}, {"endpoint": "[::1]:5"},
                 {"local_endpoints": ["0.0.0.0:5"]}, {"endpoint": "224.0.0.1:5"}, {"endpoint": "[::ffff:127.0.0.1]:5"}):
        refused(agent.ask("PUT", "/endpoint", body), 422, "invalid")
    for body in ({"peer_status": []}, {"peer_status": {"x": 1}}, {"endpoint": 1}, {"endpoint": "127.0.0.1:9"},
                 {"peer_status": {"x": {"latency_ms": "a"}}}, {"peer_status": {"x": {"latency_ms": -1}}},
                 {"peer_status": {"x": {"path": "zzz"}}}, {"peer_status": {"x": {"path": "relay:"}}},
                 {"peer_status": {"a\n": {}}}, {"peer_status": {"": {}}}, {"peer_status": {"a" * 300: {}}}):
        refused(agent.ask("POST", "/heartbeat", body), 422, "invalid")
    assert co.ready()


@case("a target with its origin is served as the path alone, whatever Host says (RFC 9112 3.2.2)")
def _(co):
    agent = Agent(co, "absolute").register(co.key())
    head = "Authorization: Bearer %s\r\n\r\n" % agent.token
    path = "/api/v1/agents/%s/peers" % agent.id
    for target, host, status in ((path, "a", 200), (co.origin + path, co.origin[len("https://"):], 200),
                                 (co.origin + path, "elsewhere.example", 200), ("HTTPS://mesh.example:8443" + path, "a", 200),
                                 ("http://mesh.example" + path + "?", "a", 200), (co.origin, "a", 200), (co.origin + "/nothing", "a", 404),
                                 (co.origin + path, "a/b", 400), (co.origin + path, "a\r\nHost: a", 400),
                                 ("https://" + path, "a", 400), ("https://root@mesh.example" + path, "a", 400),
                                 ("ftp://mesh.example" + path, "a", 400), ("mesh.example" + path, "a", 400)):
        seen = raw(co, ("GET %s HTTP/1.1\r\nHost: %s\r\n%s" % (target, host, head)).encode())
        equal((target, host, seen), (target, host, status))


@case("too many requests: 429, of an address and of an agent")
def _(co):
    with_limits = Coordinator(NO_RELAY + "limits: {requests_per_address: 5, requests_per_agent: 1}\n").start()
    try:
        line = Line(with_limits) # one connection: quicker than the limit, whatever else the machine does
        answers = [line.request("GET", "/openapi.json") for _ in range(100)]
        line.close()
        equal({status for status, _ in answers}, {200, 429})
        refused(next(a for a in answers if a[0] == 429), 429, "too_many_requests")
        time.sleep(2)
        agent = Agent(with_limits, "hasty").register(with_limits.key())
        time.sleep(1)
        agent.co = Line(with_limits)
        codes = [agent.ask("GET", "/peers")[0] for _ in range(8)] # fewer than the address may send
        agent.co.close()
        assert 429 in codes and codes[0] == 200, codes
    finally:
        with_limits.close()


@case("slow clients are cut off and slow nobody down")
def _(co):
    plain = [socket.create_connection(("127.0.0.1", co.port)) for _ in range(400)]
    dripping = meshclient.TLS.wrap_socket(socket.create_connection(("127.0.0.1", co.port)))
    dripping.sendall(b"POST /api/v1/agents/register HTTP/1.1\r\nHost: a\r\n")
    half = meshclient.TLS.wrap_socket(socket.create_connection(("127.0.0.1", co.port), 60))
    half.sendall(b'POST /api/v1/agents/register HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{"a"')
    begin, answered = time.time(), 0
    try:
        while time.time() - begin < 25:
            dripping.sendall(b"X")
            dripping.settimeout(0.5)
            try:
                answered = dripping.recv(100)
                break
            except socket.timeout:
                pass
            equal(co.request("GET", "/healthz", root=True)[0], 200)
    except OSError:
        answered = b""
    assert answered == b"" or answered.startswith(b"HTTP/1.1 408"), answered
    told = half.recv(4096) # of one that stops in its body
    assert told.startswith(b"HTTP/1.1 408") and b'"too_slow"' in told, told
    wait_until(lambda: gauge(co, "connections") < 20, 20)
    assert gauge(co, "connections") < 20, "connections that never spoke are still open"
    for s in plain:
        s.close()


PIPELINED = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"


@case("requests one after the other on one connection are all answered in whole, and who reads nothing is cut off")
def _(co):
    lazy = meshclient.TLS.wrap_socket(socket.create_connection(("127.0.0.1", co.port), 20))
    before = metric(co, "requests_total")
    lazy.sendall(PIPELINED * 400)
    with meshclient.TLS.wrap_socket(socket.create_connection(("127.0.0.1", co.port), 20)) as s:
        s.sendall(PIPELINED * 150)
        time.sleep(1) # it has other things to do first
        answers = s.makefile("rb")
        for n in range(150):
            head = b"".join(iter(answers.readline, b"\r\n"))
            length = int(re.search(rb"^Content-Length: (\d+)", head, re.M)[1])
            equal((n, head.split()[1], len(answers.read(length))), (n, b"200", length))
    assert metric(co, "requests_total") - before < 300, "answers pile up for who does not read"
    port = lazy.getsockname()[1]
    assert wait_until(lambda: is_gone(co, port), 90), "it is still there"
    lazy.close()


def is_gone(co, port):
    """Whether the coordinator has ended the connection that comes from this port."""
    with open("/proc/net/tcp") as f:
        return not any([int(address.rpartition(":")[2], 16) for address in row[1:3]] == [co.port, port]
                       for row in (line.split() for line in f.readlines()[1:]))


def wordless(co, source, count, word=b""):
    """Connections that say this and no more."""
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection(("127.0.0.1", co.port), 5, (source, 0)))
        if word:
            sockets[-1].sendall(word)
    return sockets


def ended(sockets):
    poll = select.poll()
    for s in sockets:
        poll.register(s, select.POLLIN)
    return len(poll.poll(0))


def health_from(co, source):
    plain = socket.create_connection(("127.0.0.1", co.port), 20, (source, 0))
    with meshclient.TLS.wrap_socket(plain) as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return s.recv(100).split()[1]


@case("thousands of connections that say nothing, or one byte, keep nobody else waiting")
def _(unused):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    co = Coordinator(NO_RELAY + "limits: {requests_per_address: 100000, connections_per_address: 2000}\n").start()
    try:
        silent = wordless(co, "127.0.6.1", 2000)
        stammering = wordless(co, "127.0.6.2", 500, b"\x16")
        for i in range(50):
            equal(health_from(co, "127.0.7.%d" % i), b"200")
            if i == 0: # none of them had to go first
                equal(ended(silent), 0)
                assert ended(stammering) < 400, "the handshakes of one address had all places"
        # The network that they are in is served too: the oldest that says nothing makes way.
        equal(health_from(co, "127.0.6.1"), b"200")
        assert ended(silent) >= 1
        equal(health_from(co, "127.0.6.2"), b"200")
        for s in silent + stammering:
            s.close()
        assert wait_until(lambda: gauge(co, "connections") < 10), "they are still there"
    finally:
        co.close()


@case("a whole network behind one address comes back at once, and all are served")
def _(unused):
    co = Coordinator(NO_RELAY + "limits: {requests_per_address: 100000, connections_per_address: 2000}\n").start()
    served, threads = [], []
    def one():
        served.append(health_from(co, "127.0.6.3"))
    try:
        silent = wordless(co, "127.0.6.3", 300)
        for _ in range(600):
            threads.append(threading.Thread(target=one))
            threads[-1].start()
        for thread in threads:
            thread.join()
        equal(served, [b"200"] * 600)
        for s in silent:
            s.close()
    finally:
        co.close()


def times_of_healthz(co):
    """Seconds: the middle and the ninth tenth of 50 answers over a second or so."""
    connection, times = co.connect(), []
    for _ in range(50):
        begin = time.perf_counter()
        connection.request("GET", "/healthz")
        equal(connection.getresponse().status, 200)
        times.append(time.perf_counter() - begin)
        connection.close()
        time.sleep(0.02)
    return sorted(times)[25], sorted(times)[45]


def abuse(co, done):
    """Bad input of every kind, one after the other, for ever."""
    post = b"POST /api/v1/agents/register HTTP/1.1\r\nHost: a\r\nContent-Length: "
    while True:
        for data in (b"nonsense\r\n\r\n", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
                     post + b"100000\r\n\r\n" + b"[" * 100000, post + b"2000000\r\n\r\n",
                     post + b"1000008\r\n\r\n" + b'{"a":"' + b"x" * 1000000 + b'"}',
                     post + b"312\r\n\r\n" + b'{"name":"' + b"n" * 301 + b'"}'):
            raw(co, data)
            with done.get_lock():
                done.value += 1


@case("bad input slows nobody down")
def _(co):
    before = times_of_healthz(co)
    done = multiprocessing.Value("i", 0)
    abusers = [multiprocessing.Process(target=abuse, args=(co, done), daemon=True) for _ in range(2)]
    for abuser in abusers:
        abuser.start()
    try:
        assert wait_until(lambda: done.value >= 12), "nobody abuses"
        from_then = done.value
        beside = times_of_healthz(co)
        assert done.value - from_then > 6, "the abuse has stopped"
    finally:
        for abuser in abusers:
            abuser.kill()
            abuser.join()
    # The floors are what two abusers may cost who want the same two processors, on a busy machine.
    for was, now, floor in zip(before, beside, (0.030, 0.200)):
        assert now <= max(3 * was, floor), "ms before %r, beside %r" % tuple(
            [round(1000 * t, 1) for t in times] for times in (before, beside))


def gauge(co, name):
    text = co.request("GET", "/metrics", root=True)[1].decode()
    return int(re.search(r"^wg_mesh_%s (\d+)$" % name, text, re.M).group(1))


# ---- the stream ---------------------------------------------------------------------------


def pair(co, prefix):
    key = co.key("--reusable")
    return Agent(co, prefix + "1").register(key), Agent(co, prefix + "2").register(key)


@case("more connections than descriptors: the administrator still gets an answer, and all comes back")
def _(unused):
    co = Coordinator(FAST, wrapper=["prlimit", "--nofile=200:200"])
    sockets = []
    try:
        co.start()
        for _ in range(250):
            sockets.append(socket.create_connection(("127.0.0.1", co.port), 5))
        time.sleep(0.3)
        assert co.key(), "no answer"
        assert "out of file descriptors" not in co.log(), co.log()
        while sockets:
            sockets.pop().close()
        assert wait_until(co.ready), "nobody is served any more"
    finally:
        for s in sockets:
            s.close()
        co.close()


@case("large bodies that never end: one address holds a few of them, and all others are served")
def _(co):
    held, told = [], 0
    for _ in range(40):
        plain = socket.create_connection(("127.0.0.1", co.port), 5, ("127.0.5.1", 0))
        s = meshclient.TLS.wrap_socket(plain)
        held.append(s)
        try:
            s.sendall(b"POST /api/v1/agents/x/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
                      + b"x" * 900000)
            s.settimeout(0.05)
            told += s.recv(4096).startswith(b"HTTP/1.1 429 ")
        except OSError:
            pass
    assert told >= 30, "%d of 40 were told to come back" % told
    equal(co.request("POST", "/agents/x/heartbeat", b'{"a":"' + b"A" * 1000000 + b'"}')[0], 401, "another address")
    for s in held:
        s.close()
    assert wait_until(lambda: raw_from("127.0.5.1", co) == 401), "nothing is taken of it any more"


@case("large bodies: no request takes more than it ever needs, and each counts by its bytes")
def _(unused):
    co = Coordinator(NO_RELAY + "limits: {requests_per_address: 20}\n").start()
    try:
        agent = Agent(co, "wordy").register(co.key())
        for method, path, size in (("POST", "/agents/challenge", 1100), ("PUT", "/agents/%s/endpoint" % agent.id, 9000),
                                   ("POST", "/agents/%s/token" % agent.id, 33000), ("POST", "/agents/%s/key" % agent.id, 5000),
                                   ("DELETE", "/agents/%s" % agent.id, 33000), ("POST", "/session", 5000)):
            refused(co.request(method, path, b'{"a":"' + b"x" * size + b'"}', agent.bearer()), 413, "body_too_large")
        # Unfinished ones too, and without their length.
        equal(raw(co, b"POST /api/v1/agents/challenge HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 2000), 413)
        equal(raw(co, b"POST /api/v1/agents/challenge HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * 2000), 413)
        time.sleep(4)
        body = b'{"peer_status":{},"a":"' + b"x" * 1000000 + b'"}'
        equal(agent.ask("POST", "/heartbeat", body)[0], 200)
        equal(agent.ask("POST", "/heartbeat", body)[0], 429)
        time.sleep(4)
        # And frames: the agent is told to slow down, then cut off.
        stream, codes = agent.stream(), []
        stream.receive()
        for _ in range(30):
            try:
                stream.send({"type": "ack", "revision": 1, "x": "y" * 150000})
            except OSError:
                break
        try:
            while True:
                codes.append(stream.receive().get("code"))
        except (EOFError, OSError):
            pass
        assert "too_many_messages" in codes, codes
        stream = agent.stream()
        status = {"%032x" % i: {"connected": True, "latency_ms": 1234.5, "path": "relay:" + "r" * 63} for i in range(900)}
        stream.send({"type": "heartbeat", "endpoint": None, "peer_status": status})
        stream.send({"type": "signal", "id": 9, "to": "nobody", "network": "default", "box": b64(b"x" * 40)})
        equal(stream.find(lambda m: m.get("type") == "error")["code"], "unknown_peer")
    finally:
        co.close()


def raw_from(source, co):
    body = b'{"public_key":"' + b"A" * 1000000 + b'"}'
    try:
        plain = socket.create_connection(("127.0.0.1", co.port), 5, (source, 0))
        with meshclient.TLS.wrap_socket(plain) as s:
            s.sendall(b"POST /api/v1/agents/x/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return int(s.recv(4096).split()[1])
    except OSError:
        return None


@case("a stream begins with a snapshot and goes on with deltas")
def _(co):
    key = co.key("--reusable")
    one = Agent(co, "w1").register(key)
    ws = one.stream()
    snapshot = ws.receive()
    equal(sorted(snapshot), ["coordinators", "epoch", "networks", "peers", "pins", "relays", "revision", "rules", "type"])
    equal(snapshot["networks"][0]["addresses"], one.addresses)
    two = Agent(co, "w2").register(key, endpoint="192.0.2.7:51820", nat_type="full_cone")
    put = ws.find(lambda m: m.get("op") == "put" and m["peer"]["agent_id"] == two.id)
    equal(put["peer"]["name"], "w2")
    equal(put["peer"]["endpoint"], "192.0.2.7:51820")
    equal(put["peer"]["connection_hint"], "direct")
    two.ask("PUT", "/endpoint", {"endpoint": "192.0.2.8:1", "endpoints": ["192.0.2.8:1"], "nat_type": "full_cone"})
    patch = ws.find(lambda m: m.get("op") == "patch" and m["agent_id"] == two.id)
    equal(patch, {"op": "patch", "agent_id": two.id, "network": "default", "endpoint": "192.0.2.8:1",
                  "endpoints": ["192.0.2.8:1"]})
    two.ask("PUT", "/endpoint", {"endpoint": "192.0.2.8:1", "endpoints": ["192.0.2.8:1"], "nat_type": "udp_blocked"})
    patch = ws.find(lambda m: m.get("op") == "patch" and "nat_type" in m)
    equal((patch["nat_type"], patch["connection_hint"]), ("udp_blocked", "relay"))
    other = two.stream()
    assert ws.find(lambda m: m.get("op") == "patch" and m.get("online") is True), "no online patch"
    other.send({"type": "endpoint", "endpoint": "192.0.2.9:1", "endpoints": [], "local_endpoint": "10.0.0.1:1"})
    assert ws.find(lambda m: m.get("endpoint") == "192.0.2.9:1" and m.get("local_endpoints") == ["10.0.0.1:1"])
    other.close()
    assert ws.find(lambda m: m.get("op") == "patch" and m.get("online") is False), "no offline patch"
    equal([p["name"] for p in one.ask("GET", "/peers")[1]["peers"] if p["name"] == "w2"], ["w2"])
    two.ask("DELETE", "")
    assert ws.find(lambda m: m.get("op") == "remove" and m["agent_id"] == two.id), "no removal"


@case("a stream goes on where it left off")
def _(co):
    one, two = pair(co, "r")
    ws = one.stream()
    snapshot = ws.receive()
    ws.close()
    two.ask("PUT", "/endpoint", {"endpoint": "192.0.2.10:1"})
    ws = one.stream(epoch=snapshot["epoch"], revision=snapshot["revision"])
    equal(ws.receive()["type"], "resume")
    assert ws.find(lambda m: m.get("endpoint") == "192.0.2.10:1"), "what was missed did not come"
    ws.close()
    for epoch, revision in ((None, 0), ("another", 3), (snapshot["epoch"], 10 ** 9)):
        ws = one.stream(epoch=epoch, revision=revision)
        equal(ws.receive()["type"], "snapshot")
        ws.close()
    co.stop(signal.SIGKILL)
    co.start()
    ws = one.stream(epoch=snapshot["epoch"], revision=snapshot["revision"])
    fresh = ws.receive()
    equal(fresh["type"], "snapshot")
    assert fresh["epoch"] != snapshot["epoch"]
    ws.close()


def meanwhile(function, *arguments, **named):
    """Runs it in a thread; what is returned waits for the result."""
    done = []
    thread = threading.Thread(target=lambda: done.append(function(*arguments, **named)))
    thread.start()

    def result(seconds=30):
        thread.join(seconds)
        if not done:
            raise AssertionError("no answer")
        return done[0]
    return result


def names_of(message):
    return sorted(peer["name"] for peer in message["peers"])


@case("two hosts with one key, which take the stream from each other, are told of once; one that moves is not")
def _(co):
    key = co.key("--reusable")
    moves, twice = Agent(co, "moves").register(key), Agent(co, "twice").register(key)
    streams = [moves.stream(source="127.0.0.%d" % n) for n in (2, 3, 2)]
    equal([stream.find(lambda m: m["type"] == "bye")["reason"] for stream in streams[:2]], ["replaced"] * 2)
    for n in range(20):
        streams.append(twice.stream(source="127.0.0.%d" % (2 + n % 2)))
        assert streams[-1].receive()
    said = [line for line in co.log().splitlines() if " agent-twice " in line]
    equal(len(said), 1, "\n".join(said))
    for part in ("agent=%s name=twice " % twice.id, "127.0.0.2", "127.0.0.3", "rekey"):
        assert part in said[0], said[0]
    lines = [line for line in co.admin("audit").splitlines() if "agent-twice" in line]
    assert len(lines) == 1 and all(part in lines[0] for part in (twice.id, "twice, at", "127.0.0.2", "127.0.0.3")), lines


@case("a disk that is slow: who is not on it is told to nobody, not in a new stream's snapshot nor to who reads")
def _(co):
    key = co.key("--reusable")
    a, b = Agent(co, "a").register(key), Agent(co, "b").register(key)
    with co.no_commits():
        late = Agent(co, "late")
        registering = meanwhile(late.try_register, key)
        assert wait_until(lambda: metric(co, "agents") == 3), "it is in memory"
        stream = b.stream()
        equal(names_of(stream.receive()), ["a"], "the snapshot")
        equal(names_of(b.ask("GET", "/peers")[1]), ["a"])
        equal(a.ask("PUT", "/endpoint", {"endpoint": "198.51.100.7:7", "nat_type": "unknown"})[0], 200)
        assert stream.find(lambda m: m.get("op") == "patch" and m.get("endpoint") == "198.51.100.7:7"), "a patch"
        assert not stream.find(lambda m: m.get("op") == "put", 0.5), "heard of an agent that is on no disk"
    equal(registering()[0], 201)
    put = stream.find(lambda m: m.get("op") == "put")
    equal(put and put["peer"]["name"], "late")
    equal(names_of(b.ask("GET", "/peers")[1]), ["a", "late"])
    equal(names_of(b.stream().receive()), ["a", "late"])


@case("a disk that is slow: who is told of its own registration waits for it, and then has all at once")
def _(co):
    key = co.key("--reusable")
    a, b = Agent(co, "a").register(key), Agent(co, "b").register(key)
    with co.no_commits():
        again = meanwhile(b.try_register, key, advertised_routes=["192.168.7.0/24"])
        joining = [meanwhile(Agent(co, "n%d" % n).try_register, key) for n in range(5)]
        assert wait_until(lambda: metric(co, "agents") == 7)
        stream, reading = b.stream(), meanwhile(b.ask, "GET", "/peers")
        try:
            raise AssertionError("told of what is on no disk: %s" % stream.receive(1))
        except socket.timeout:
            pass
    equal([again()[0]] + [one()[0] for one in joining], [200] + [201] * 5)
    equal(names_of(stream.receive()), ["a", "n0", "n1", "n2", "n3", "n4"], "the snapshot")
    equal(names_of(reading()[1]), ["a", "n0", "n1", "n2", "n3", "n4"])
    with co.no_commits():  # what comes behind the last that waits waits for nothing more
        again = meanwhile(b.try_register, key, advertised_routes=["192.168.8.0/24"])
        assert wait_until(lambda: metric(co, "store_queue") >= 5)
        equal(a.ask("PUT", "/endpoint", {"endpoint": "198.51.100.7:7", "nat_type": "unknown"})[0], 200)
        stream, reading = b.stream(), meanwhile(b.ask, "GET", "/peers")
        time.sleep(0.5)
    equal(again()[0], 200)
    equal(len(stream.receive()["peers"]), 6)
    equal(reading(5)[0], 200)
    with co.no_commits():  # gone before it could be told of
        removing = meanwhile(co.admin, "agent", "remove", "n4")
        assert wait_until(lambda: metric(co, "agents") == 6)
        again = meanwhile(b.try_register, key)
        reading, stream = meanwhile(a.ask, "GET", "/peers"), a.stream()
        equal(names_of(stream.receive()), ["b", "n0", "n1", "n2", "n3"])
        equal(reading()[0], 200)
        a_removed = meanwhile(co.admin, "agent", "remove", "a")
        assert stream.ended(3), "who is removed is cut off at once"
    removing(), again(), a_removed()
    refused(a.ask("GET", "/peers"), 401, "unknown_agent")


def filled(co, count):
    """With so many agents more, that are there in the database only."""
    network = json.loads(co.admin("network", "list", "--json"))["networks"][0]
    prefix = network["cidr"].rsplit(".", 2)[0]
    co.stop()
    co.insert("agents", "id, public_key, created_at, expired, ephemeral",
              [("many%d" % i, randombytes(32), 1000, 0, 0) for i in range(count)])
    co.insert("agent_networks", "agent_id, network_id, name, address4, tags, joined_at",
              [("many%d" % i, network["id"], "many-%d" % i, "%s.%d.%d" % (prefix, i // 250 + 1, i % 250 + 1), "[]", 1000)
               for i in range(count)])
    return co.start()


def memory_mb(co):
    with open("/proc/%d/status" % co.process.pid) as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1)) // 1024


@case("a disk that is slow: of an agent's questions one waits, and takes no more memory than its answer")
def _(co):
    key = co.key("--reusable")
    agent = Agent(co, "one").register(key)
    filled(co, 1000)
    answers = []
    with co.no_commits():
        again = meanwhile(agent.try_register, key, advertised_routes=["192.168.7.0/24"])
        assert wait_until(lambda: metric(co, "store_queue") >= 5)
        before = memory_mb(co)
        asking = [threading.Thread(target=lambda: answers.append(agent.ask("GET", "/peers"))) for _ in range(60)]
        for one in asking:
            one.start()
        assert wait_until(lambda: len(answers) == 59), "%d of 60 were told that another is asked" % len(answers)
        for answer in answers:
            refused(answer, 429, "too_many_requests")
        grown = memory_mb(co) - before
        sanitized = "asan" in meshclient.BUILD  # keeps what was freed
        assert grown < 30 or sanitized, "%d MB more" % grown
    equal(again()[0], 200)
    for one in asking:
        one.join(20)
    status, answer = answers[-1]
    equal((len(answers), status, len(answer["peers"])), (60, 200, 1000))
    equal(len(agent.ask("GET", "/peers")[1]["peers"]), 1000)


@case("a disk that is slow: when it is back, others are served between the snapshots that have waited")
def _(co):
    key = co.key("--reusable")
    waiting = [Agent(co, "w%d" % i).register(key) for i in range(40)]
    filled(co, 5000)
    path = co.dir + "/other.yaml"
    with open(path, "w") as f:
        f.write("version: 1\ndefault: allow\ntags: {db: [operator]}\n")
    with co.no_commits():
        applying = meanwhile(co.admin, "policy", "apply", path)  # another policy: nobody may see what is not on the disk
        assert wait_until(lambda: "db" in co.admin("policy", "show"))
        streams = [agent.stream() for agent in waiting]
        time.sleep(1)
        equal(select.select([ws.sock for ws in streams], [], [], 0)[0], [], "told before it is on the disk")
        other = meshclient.TLS.wrap_socket(socket.create_connection(("127.0.0.1", co.port)))
        ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    told, between = set(), 0
    other.sendall(ask)
    while len(told) < len(streams):
        ready = select.select([ws.sock for ws in streams if ws not in told] + [other], [], [], 20)[0]
        told |= {ws for ws in streams if ws.sock in ready}
        if other in ready:
            between += 0 < len(told) < len(streams)
            other.recv(65536)
            other.sendall(ask)
    assert between, "all snapshots went out before anybody else was served"
    for ws in streams:
        equal(len(ws.receive()["peers"]), 5039)
    applying()


@case("a large network: snapshot, peers and agent list are whole, though larger than a slow reader may pile up")
def _(co):
    key = co.key()
    filled(co, 5000)
    agent = Agent(co, "one").register(key)
    equal(len(agents(co)), 5001, "agent list")
    status, answer = agent.ask("GET", "/peers")
    equal((status, len(answer["peers"])), (200, 5000), "peers")
    equal(len(agent.stream().receive()["peers"]), 5000, "snapshot")


@case("signals reach peers of a shared network and nobody else")
def _(co):
    one, two = pair(co, "g")
    co.admin("network", "create", "apart", "--cidr", "10.207.0.0/16")
    stranger = Agent(co, "g3").register(co.key("--network", "apart"))
    ws1, ws2, ws3 = one.stream(), two.stream(), stranger.stream()
    for ws in (ws1, ws2, ws3):
        equal(ws.receive()["type"], "snapshot")
    box = b64(b"s" * 200)
    ws1.send({"type": "signal", "id": 1, "to": two.id, "network": "default", "box": box})
    seen = ws2.find(lambda m: m.get("type") == "signal")
    equal(seen, {"type": "signal", "from": one.id, "network": "default", "box": box})
    ws1.send({"type": "signal", "id": 2, "to": two.id, "network": "default", "box": b64(b"s" * 4096)})
    assert ws2.find(lambda m: m.get("type") == "signal"), "4 KiB did not come through"
    for number, to, network, data, code in (
            (3, stranger.id, "default", b"s" * 99, "unknown_peer"), (4, stranger.id, "apart", b"s" * 99, "unknown_peer"),
            (5, "nobody", "default", b"s" * 99, "unknown_peer"), (6, one.id, "default", b"s" * 99, "unknown_peer"),
            (7, two.id, "default", b"s" * 4097, "bad_signal"), (8, two.id, "default", b"s", "bad_signal")):
        ws1.send({"type": "signal", "id": number, "to": to, "network": network, "box": b64(data)})
        error = ws1.find(lambda m: m.get("type") == "error")
        equal((error["code"], error["id"]), (code, number))
    ws2.close()
    wait_until(lambda: gauge(co, "streams") == 2)
    ws1.send({"type": "signal", "id": 9, "to": two.id, "network": "default", "box": box})
    equal(ws1.find(lambda m: m.get("type") == "error")["code"], "peer_offline")
    equal(ws3.find(lambda m: m.get("type") == "signal", 0.5), None)
    equal([p["name"] for p in stranger.ask("GET", "/peers")[1]["peers"]], [])
    for ws in (ws1, ws3):
        ws.close()


@case("a flood of signals cuts nobody off who does not read them, and leaves others their turn")
def _(co):
    key = co.key("--reusable")
    alice, bob, carol = [Agent(co, name).register(key) for name in ("alice", "bob", "carol")]
    to = alice.stream()
    to.receive()
    deaf = Ws(co, "/api/v1/agents/%s/sync" % bob.id, bob.token, receive_buffer=16384)
    deaf.send({"type": "hello", "version": 1, "epoch": None, "revision": 0})
    deaf.receive()
    listener = carol.stream()
    listener.receive()
    def signal_to(agent, number, box):
        to.send({"type": "signal", "id": number, "to": agent.id, "network": "default", "box": b64(box)})
    for number in range(300):
        signal_to(bob, number, randombytes(4096))
    seen = [to.receive() for _ in range(200)]
    codes = {m["code"] for m in seen if m["type"] == "error"}
    equal(codes - {"too_many_messages"}, {"peer_busy"})
    time.sleep(3)
    signal_to(carol, 7, b"x" * 40)
    assert listener.find(lambda m: m.get("type") == "signal"), "another peer heard nothing"
    # None of them too fast, all together more than a stream may have in its queue.
    crowd = [Agent(co, "crowd%d" % i).register(key).stream() for i in range(8)]
    for number in range(150):
        for one in crowd:
            one.send({"type": "signal", "id": number, "to": bob.id, "network": "default", "box": b64(randombytes(4096))})
        time.sleep(0.055)
    assert crowd[0].find(lambda m: m.get("code") == "peer_busy"), "all were passed on"
    peers = {p["name"]: p["online"] for p in alice.ask("GET", "/peers")[1]["peers"]}
    equal(peers["bob"], True, "is the one who does not read online")
    heard = 0
    while deaf.find(lambda m: m.get("type") == "signal", 1):
        heard += 1
    assert heard > 20, "%d signals were heard" % heard
    signal_to(bob, 8, b"y" * 40)
    assert deaf.find(lambda m: m.get("type") == "signal" and m["box"] == b64(b"y" * 40)), "it hears none any more"


@case("who changes its endpoint all the time is stopped before its peers hear of each")
def _(unused):
    co = Coordinator(NO_RELAY + "limits: {requests_per_agent: 5}\n").start()
    try:
        restless, peer = pair(co, "restless")
        ws, heard = restless.stream(), peer.stream()
        ws.receive()
        for number in range(100):
            try:
                ws.send({"type": "endpoint", "endpoint": "192.0.2.1:%d" % (number + 1)})
            except OSError:
                break
        assert ws.find(lambda m: m.get("code") == "too_many_messages"), "never told to slow down"
        assert ws.ended(), "goes on"
        seen = 0
        while heard.find(lambda m: m.get("op") == "patch" and "endpoint" in m, 1):
            seen += 1
        assert 1 <= seen <= 60, "%d changes were passed on" % seen
    finally:
        co.close()


@case("broken frames end their own stream at most")
def _(co):
    one, two = pair(co, "b")
    ws = two.stream()
    equal(ws.receive()["type"], "snapshot")

    def breaks(name, act, ends=True):
        bad = one.stream()
        bad.find(lambda m: m.get("type") == "snapshot")
        act(bad)
        if ends and not bad.ended():
            raise AssertionError(name + ": the stream goes on")
        if not ends and not bad.find(lambda m: m.get("type") == "error"):
            raise AssertionError(name + ": no error came")
        bad.close()

    breaks("binary", lambda b: b.frame(2, b"x"))
    breaks("unmasked", lambda b: b.frame(1, b"{}", masked=False))
    breaks("too long", lambda b: b.frame(1, b"x" * 100, length=1 << 40))
    breaks("too long", lambda b: b.frame(1, b"x" * 300000))
    breaks("reserved opcode", lambda b: b.frame(5, b"x"))
    breaks("reserved bits", lambda b: b.frame(1, b"{}", fin=0xF0))
    breaks("not UTF-8", lambda b: b.frame(1, b"\xff\xfe"))
    breaks("fragmented ping", lambda b: b.frame(9, b"x", fin=0))
    breaks("continuation of nothing", lambda b: b.frame(0, b"x"))
    breaks("many", lambda b: [b.send("{") for _ in range(20)])
    for name, text in (("no JSON", "{"), ("no object", "[]"), ("no type", "{}"), ("unknown type", '{"type":"x"}'),
                       ("deep", "[" * 1000), ("second hello", '{"type":"hello","version":1}'),
                       ("wrong endpoint", '{"type":"endpoint","endpoint":7}'),
                       ("wrong heartbeat", '{"type":"heartbeat","peer_status":[1]}'),
                       ("wrong ack", '{"type":"ack","revision":-1}')):
        breaks(name, lambda b: b.send(text), ends=False)
    silent = one.stream(hello=False)
    silent.send({"type": "ack", "revision": 1})
    equal(silent.receive()["code"], "bad_frame")
    silent.close()
    one.ask("PUT", "/endpoint", {"endpoint": "192.0.2.77:7"})
    assert ws.find(lambda m: m.get("endpoint") == "192.0.2.77:7"), "the other stream has ended"
    equal(Ws(co, "/api/v1/agents/%s/sync" % one.id, "wrong").status, 401)
    equal(one.ask("GET", "/sync")[0], 426)
    ws.close()


@case("a removed agent is cut off at once, and its peers are told")
def _(co):
    one, two = pair(co, "c")
    ws1, ws2 = one.stream(), two.stream()
    ws1.receive(), ws2.receive()
    co.admin("agent", "remove", "c2")
    assert ws2.ended(2), "its stream goes on"
    assert ws1.find(lambda m: m.get("op") == "remove" and m["agent_id"] == two.id, 3)
    equal(Ws(co, "/api/v1/agents/%s/sync" % two.id, two.token).status, 401)
    newer = one.stream()
    assert ws1.ended(2), "the older of two streams of one agent goes on"
    equal(newer.receive()["type"], "snapshot")
    newer.close()


def kernel_holds(port, to):
    """Bytes that were written to a connection here, and that the other end has not taken."""
    for name in ("tcp", "tcp6"):
        with open("/proc/net/" + name) as f:
            for row in (line.split() for line in f.readlines()[1:]):
                if [int(address.rpartition(":")[2], 16) for address in row[1:3]] == [port, to]:
                    return int(row[4].partition(":")[0], 16)
    raise AssertionError("no connection from %d to %d" % (port, to))


@case("a reader that does not read keeps nobody waiting, and signals do not pile up for it")
def _(co):
    key = co.key("--reusable")
    lazy, good = Agent(co, "lazy").register(key), Agent(co, "good").register(key)
    senders = [Agent(co, "sender%d" % i).register(key) for i in range(4)]
    slow = Ws(co, "/api/v1/agents/%s/sync" % lazy.id, lazy.token, receive_buffer=4096)
    slow.send({"type": "hello", "version": 1})
    ws = good.stream()
    ws.receive()
    streams = [s.stream() for s in senders]
    box, sent = b64(b"s" * 4096), 0
    wait_until(lambda: gauge(co, "streams") == 6)
    while sent < 2000:
        for stream in streams:
            for _ in range(50):
                stream.send({"type": "signal", "id": 1, "to": lazy.id, "network": "default", "box": box})
                sent += 1
        time.sleep(0.3)
    equal(gauge(co, "streams"), 6, "streams after %d signals" % sent)
    senders[0].ask("PUT", "/endpoint", {"endpoint": "192.0.2.99:9"})
    assert ws.find(lambda m: m.get("endpoint") == "192.0.2.99:9"), "the good one waits"
    # Nor does the kernel hold much for it: what is news waits where later news replaces it.
    line = Line(co)
    for n in range(1500):
        where = {"endpoints": ["192.0.2.%d:%d" % (i, 1000 + n) for i in range(1, 17)]}
        equal(line.request("PUT", "/agents/%s/endpoint" % senders[n % 4].id, where, senders[n % 4].bearer())[0], 200)
    line.close()
    held = kernel_holds(co.port, slow.sock.getsockname()[1])
    assert 0 < held < 200000, "the kernel holds %d bytes for who does not read" % held
    for stream in streams + [ws, slow]:
        stream.close()


# ---- the disk --------------------------------------------------------------------------------


@case("SIGKILL at any moment: every registration that was answered is there")
def _(co):
    answered, lock, stop = {}, threading.Lock(), threading.Event()
    key = co.key("--reusable")

    def load(number):
        count = 0
        while not stop.is_set():
            agent = Agent(co, "load-%d-%d" % (number, count))
            count += 1
            try:
                agent.register(key)
            except Exception:
                time.sleep(0.02)
                continue
            with lock:
                answered[agent.id] = (agent.name, [a.split("/")[0] for a in agent.addresses])

    threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for moment in (0.31, 0.77, 0.13, 1.1, 0.53):
            time.sleep(moment)
            before = len(answered)
            co.stop(signal.SIGKILL)
            co.start()
            assert wait_until(lambda: len(answered) > before + 3), "no registrations after the restart"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    there = {a["agent_id"]: (a["name"], a["addresses"]) for a in agents(co)}
    lost = {k: v for k, v in answered.items() if there.get(k) != v}
    assert not lost, "%d of %d lost: %r" % (len(lost), len(answered), list(lost.values())[:3])
    addresses = [a for v in there.values() for a in v[1]]
    equal(len(addresses), len(set(addresses)), "addresses given out")
    assert len(answered) > 20


@case("a full disk: nothing is promised, nothing is lost, and it goes on when there is room")
def _(unused):
    if meshclient.POSTGRES:
        return "the disk is PostgreSQL's there"
    co = Coordinator(FAST)
    os.mkdir(co.dir + "/state")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", co.dir + "/state"],
                      capture_output=True).returncode:
        return "no tmpfs can be mounted here"
    try:
        co.start()
        key = co.key("--reusable")
        before = Agent(co, "before").register(key)
        ws = before.stream()
        ws.receive()
        with open(co.dir + "/state/filler", "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 4096) == 4096:
                    pass
            except OSError:
                pass
        waiting = Agent(co, "waiting")
        statuses = [waiting.try_register(key)[0] for _ in range(40)]
        assert 503 in statuses and statuses[-1] == 503, statuses
        status, problem = co.request("GET", "/healthz", root=True)
        assert status == 503 and "database or disk is full" in problem["detail"], problem
        assert "database or disk is full" in co.admin("network", "create", "full", "--cidr", "10.200.0.0/24", code=1)
        equal(before.ask("GET", "/peers")[0], 200)
        os.unlink(co.dir + "/state/filler")
        assert wait_until(lambda: co.ready()), "it does not go on"
        waiting.register(key)
        assert ws.find(lambda m: m.get("op") == "put" and m["peer"]["name"] == "waiting")
        co.stop(signal.SIGKILL)
        co.start()
        equal(sorted(a["name"] for a in agents(co)), ["before", "waiting"])
    finally:
        co.stop()
        subprocess.run(["umount", "-l", co.dir + "/state"])
        co.close()


@case("a wall clock that is set while the database is away: writes go on when it is back, not when the clock says so")
def _(unused):
    clock = WrongClock(7200)
    co = Coordinator(FAST, wrapper=clock.wrapper)
    try:
        co.start()
        key, late = co.key("--reusable"), Agent(co, "late")
        with co.no_commits():
            refused(late.try_register(key), 503, "store_unavailable")
            assert wait_until(lambda: "store-failed" in co.log(), 30)
            clock.set(0)
        assert wait_until(lambda: late.try_register(key)[0] in (200, 201), 20), "it does not go on"
    finally:
        co.close()
        clock.close()


@case("secrets are in no log, and the files are ours alone")
def _(co):
    link = co.admin("key", "create", "--reusable").strip()
    key = link.partition("#")[2].partition(".")[0]
    agent = Agent(co, "secret").register(key)
    agent.ask("GET", "/peers")
    with open(co.dir + "/state/server.key") as f:
        server_key = f.read().strip()
    co.stop()
    log = co.log()
    for what, secret in (("join key", key), ("token", agent.token), ("private key", b64(agent.private)),
                         ("server key", server_key)):
        assert secret not in log, what + " is in the log"
        for name in os.listdir(co.dir + "/state"):
            if name.startswith("coordinator.db"):
                with open(co.dir + "/state/" + name, "rb") as f:
                    assert secret.encode() not in f.read(), "%s is in %s" % (what, name)
    for name in os.listdir(co.dir + "/state"):
        mode = stat.S_IMODE(os.stat(co.dir + "/state/" + name).st_mode)
        assert name == "tls.crt" or mode == 0o600, "%s has mode %o" % (name, mode)
    co.start()
    equal(stat.S_IMODE(os.stat(co.dir + "/run/coordinator.sock").st_mode), 0o600)


@case("only one coordinator works on a state directory")
def _(co):
    done = subprocess.run([PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml", "--run-dir", co.dir + "/run2"],
                          capture_output=True, text=True, timeout=20)
    equal(done.returncode, 1)
    assert "in use" in done.stderr and "(process %d)" % co.process.pid in done.stderr and done.stderr.count("\n") == 1, done.stderr
    equal(co.stop(), 0, "exit code after SIGTERM")
    equal(os.path.exists(co.dir + "/run/coordinator.sock"), False)
    co.admin("agent", "list", code=3)
    co.start()


@case("wrong options and configurations exit 2 with one sentence")
def _(co):
    def run(*words):
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stderr

    path = co.dir + "/wrong.yaml"
    for text, words in (("lisen: x\n", ["wrong.yaml:1:1", "listen"]), ("listen: nowhere\n", ["nowhere"]),
                        ("limits: {body: 1}\n", ["wrong.yaml:1:"]), ("tls: {cert: /x}\n", ["tls"]),
                        ("policy: /etc/x\n", ["policy"]), ("relay: {stun: x}\n", ["stun"]),
                        ("public_url: ftp://x\n", ["public_url"]), ("public_url: https://x:99999\n", ["99999"]),
                        ("public_url: 'https://[::1'\n", ["public_url"]), ("public_url: https://:1\n", ["public_url"]),
                        ("db: mysql://x\n", ["db"]), ("state: ''\n", ["state: is empty"]), ("run_dir: ''\n", ["run_dir: is empty"]),
                        ("policy: ''\n", ["policy: is empty"]), ("tls: {cert: '', key: ''}\n", ["tls: cert: is empty"])):
        with open(path, "w") as f:
            f.write(text)
        code, error = run("serve", "--config", path, "--check")
        equal(code, 2, text)
        equal(error.count("\n"), 1, error)
        for word in words:
            assert word in error, error
    for words in (["serve", "--lissen", "x"], ["serve", "--listen"], ["nothing"], [], ["serve", "x"],
                  ["network", "create"], ["key", "create", "a"]):
        equal(run(*words)[0], 2, words)
    for text in ("tls: {cert: /none.crt, key: /none.key}\n", "tls: {next_key: /none.key}\n"):
        with open(path, "w") as f:
            f.write("listen: 127.0.0.1:%d\nstate: %s/other\nrun_dir: %s/other\n%s" %
                    (free_port(), co.dir, co.dir, text))
        checked, served = run("serve", "--config", path, "--check"), run("serve", "--config", path)
        equal((checked[0], served[0]), (2, 2), text)
        equal(served[1].splitlines()[-1], checked[1].strip())
        assert "/none." in checked[1], checked[1]
    equal(run("--config", co.dir + "/coordinator.yaml", "--check")[0], 0)
    equal(run("--version")[0], 0)
    equal(run("--help")[0], 0)


def shell(co, redirection, *words, stdin=subprocess.DEVNULL):
    """A command with descriptors as the shell makes them: its exit code and what it said."""
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" ' + redirection, PROGRAM, "--run-dir", co.dir + "/run", *words],
                          capture_output=True, text=True, timeout=20, stdin=stdin)
    return done.returncode, done.stderr


@case("a standard descriptor that is closed is nobody's socket: nothing is made whose secret cannot be told")
def _(unused):
    co = Coordinator(NO_RELAY, wrapper=["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-']).start()
    try:
        Agent(co, "gate").register(co.key("--reusable"), endpoint="192.0.2.1:51820")
        equal([os.readlink("/proc/%d/fd/%d" % (co.process.pid, fd)) for fd in range(3)], ["/dev/null"] * 3)
        lists = lambda: [co.admin(*words, "--json") for words in (("key", "list"), ("token", "list"), ("peer", "list"))]
        secret = (("key", "create"), ("token", "create", "--role", "viewer"), ("peer", "add", "phone", "--via", "gate"))
        before = lists()
        for words in (*secret, ("network", "create", "lab", "--cidr", "10.210.0.0/16"), ("backup", co.dir + "/b")):
            code, said = shell(co, ">&-", *words)
            equal((code, said.count("\n"), "standard output is closed: nothing was done" in said), (1, 1, True), said)
            equal(shell(co, ">&- 2>&-", *words), (1, ""))
        equal((lists(), os.path.exists(co.dir + "/b")), (before, False))
        assert "lab" not in co.admin("network", "list")
        for words, end in zip(secret, ("key revoke", "token revoke", "peer remove")):
            code, said = shell(co, ">/dev/full", *words)
            equal(code, 1, said)
            again = re.search(r"(?:made|added), its \w+ is lost: (%s \S+) " % end, said)
            assert again, said
            co.admin(*again[1].split())
        equal(shell(co, "<&-", "key", "list"), (0, ""))
        equal(co.stop(), 0)
    finally:
        co.close()


def first_start(networks, address, *options):
    """In a network namespace of its own with this address and routes to these networks: the networks that it
    has made, and its log."""
    co = Coordinator(NO_RELAY)
    with open(co.dir + "/routes", "w") as f:
        f.write("link set lo up\naddress add %s dev lo\nroute add default dev lo src %s\n" %
                (address, address.partition("/")[0]))
        f.writelines("route add %s dev lo\n" % network for network in networks)
    try:
        with open(co.dir + "/log", "ab") as log:
            co.process = subprocess.Popen(["unshare", "-n", "sh", "-c", 'ip -batch "$0" && exec "$@"', co.dir + "/routes",
                                           PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml", "--listen",
                                           "[::]:8443", *options], stdout=log, stderr=log)
        assert wait_until(lambda: co.process.poll() is not None or
                          not co.admin("network", "list", code=None), 20) and co.process.poll() is None, co.log()
        return [n["cidr"] for n in json.loads(co.admin("network", "list", "--json"))["networks"]], co.log()
    finally:
        co.close()


@case("the first start: `default` is where no route or address is, and an address of this site gets a warning")
def _(unused):
    if os.getuid() or meshclient.POSTGRES:
        return "needs root" if os.getuid() else "there is no PostgreSQL in its namespace"
    def but(network, *free):
        left = [ipaddress.ip_network(network)]
        for one in map(ipaddress.ip_network, free):
            left = [part for n in left for part in (n.address_exclude(one) if one.subnet_of(n) else [n])]
        return left
    edges = ["172.16.0.0/12", "192.168.0.0/16"]
    # One /16 is left, and one that only an address of this host is in.
    made, log = first_start(edges + but("10.0.0.0/8", "10.70.0.0/16", "10.222.0.0/16"), "10.70.1.1/16")
    equal(made, ["10.222.0.0/16"])
    assert "warn public-url url=https://10.70.1.1:8443 " in log and "say --public-url" in log, log
    # A route to a part of it is enough.
    made, log = first_start(edges + but("10.0.0.0/8", "10.71.0.0/16", "10.222.0.0/16") + ["10.71.33.0/24"],
                            "203.0.113.1/24")
    equal(made, ["10.222.0.0/16"])
    assert "public-url" not in log, log
    made, log = first_start(edges + ["10.0.0.0/8"], "192.168.1.1/24", "--public-url", "https://mesh.example:8443")
    equal(made, [])
    assert "no-default-network" in log and "network create" in log and "public-url" not in log, log


@case("the API describes itself, every route of it and every frame")
def _(co):
    document = co.request("GET", "/openapi.json")[1]
    routes = {(m.upper(), p) for p, item in document["paths"].items() for m in item}
    for route in (("POST", "/api/v1/agents/challenge"), ("POST", "/api/v1/agents/register"),
                  ("PUT", "/api/v1/agents/{id}/endpoint"), ("GET", "/api/v1/agents/{id}/peers"),
                  ("POST", "/api/v1/agents/{id}/heartbeat"), ("POST", "/api/v1/agents/{id}/token"),
                  ("POST", "/api/v1/agents/{id}/key"), ("GET", "/api/v1/agents/{id}/sync"), ("GET", "/healthz"),
                  ("GET", "/metrics")):
        assert route in routes, route
    equal({f["example"]["type"] for f in document["x-frames"]},
          {"hello", "ack", "endpoint", "heartbeat", "signal", "snapshot", "resume", "delta", "token", "error", "bye"})
    assert co.request("GET", "/metrics", root=True)[1].endswith(b"# EOF\n")
    assert {"200", "201"} <= set(document["paths"]["/api/v1/agents/register"]["post"]["responses"])
    for method, path, allowed in (("DELETE", "/healthz", "GET, HEAD"), ("HEAD", "/api/v1/agents/x/sync", "GET"),
                                  ("PUT", "/api/v1/agents/register", "POST"), ("GET", "/api/v1/agents/register", "POST"),
                                  ("GET", "/api/v1/agents/challenge", "POST"), ("DELETE", "/api/v1/agents/challenge", "POST"),
                                  ("POST", "/api/v1/agents/x", "DELETE, GET, HEAD, PATCH")):
        connection = co.connect()
        connection.request(method, path)
        answer = connection.getresponse()
        equal((answer.status, answer.getheader("Allow")), (405, allowed), path)
        connection.close()


@case("the relay outlives a SIGKILL of the coordinator and is adopted, SIGTERM ends both")
def _(unused):
    co = Coordinator("relay: {stun: '127.0.0.1:%d'}\n" % free_port())
    described = co.dir + "/run/relay.json"

    def relay_pid():
        try:
            return json.loads(co.read("run/relay.json"))["pid"]
        except OSError:
            return None

    try:
        co.start()
        first = wait_until(relay_pid)
        assert first, "no relay: " + co.log()
        agent = Agent(co, "stunned").register(co.key())
        snapshot = agent.stream().receive()
        equal([r["stun"] for r in snapshot["relays"]], [json.loads(co.read("run/relay.json"))["stun"]])
        equal(snapshot["relays"][0]["url"], None)
        co.stop(signal.SIGKILL)
        os.kill(first, 0)
        co.start()
        assert wait_until(lambda: "relay-adopted pid=%d" % first in co.log()), co.log()
        time.sleep(0.5)
        equal(relay_pid(), first)
        os.kill(first, signal.SIGKILL)
        second = wait_until(lambda: relay_pid() not in (None, first) and relay_pid())
        assert second, "it was not started again: " + co.log()
        equal(co.stop(), 0)
        assert wait_until(lambda: not os.path.exists(described)), "the relay is still there"
        equal(wait_until(lambda: not os.path.exists("/proc/%d" % second)), True)
    finally:
        left = relay_pid()
        if left:
            os.kill(left, signal.SIGTERM)
        co.close()


def stun_answers(host, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.3)
        s.sendto(struct.pack("!HHI", 1, 0, 0x2112A442) + b"twelve bytes", (host, port))
        try:
            return s.recv(2000)[:2] == b"\1\1"
        except OSError:
            return False


@case("another address for STUN is served, also where the relay was adopted, and agents are told where it is served")
def _(unused):
    port = free_port()
    co = Coordinator("relay: {stun: '127.0.0.1:%d'}\n" % port)
    try:
        co.start()
        assert wait_until(lambda: stun_answers("127.0.0.1", port)), co.log()
        agent = Agent(co, "stunned").register(co.key())
        for address, served in (("127.0.0.3:%d", "127.0.0.3"), (":%d", "127.0.0.4"), ("0.0.0.0:%d", "127.0.0.5")):
            co.stop(signal.SIGKILL)
            configuration = re.sub("stun: '[^']*'", "stun: '%s'" % (address % port), co.read("coordinator.yaml"))
            with open(co.dir + "/coordinator.yaml", "w") as f:
                f.write(configuration)
            co.start()
            assert wait_until(lambda: stun_answers(served, port)), "nobody answers at %s: %s" % (served, co.log())
            told = agent.stream().receive()["relays"][0]["stun"]
            equal(told, [(served if address[:2] == "12" else "127.0.0.1") + ":%d" % port])
        equal(co.log().count("relay-replaced"), 2, "replaced where it does not serve what is asked")
    finally:
        co.close()


@case("under systemd the first links are in a file, not in the log")
def _(unused):
    co = Coordinator(FAST)
    try:
        open(co.dir + "/out", "w").close()
        st = os.stat(co.dir + "/out")
        os.environ["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino)
        co.start()
        del os.environ["JOURNAL_STREAM"]
        wait_until(lambda: os.path.exists(co.dir + "/state/first-links"))
        link, dashboard = co.read("state/first-links").split()
        equal(co.read("out"), "")
        assert "/join#" not in co.log() and "#login" not in co.log()
        equal(co.request("POST", "/session/link", {"secret": dashboard.partition("=")[2]})[0], 201)
        equal(stat.S_IMODE(os.stat(co.dir + "/state/first-links").st_mode), 0o600)
        Agent(co, "first").register(link.partition("#")[2].partition(".")[0])
        Agent(co, "second").register(link.partition("#")[2].partition(".")[0])
    finally:
        os.environ.pop("JOURNAL_STREAM", None)
        co.close()


@case("a certificate may be renewed, another key must have been announced")
def _(unused):
    def file(name):
        return co.dir + "/" + name

    def make(name, key=None):
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file(name + ".key")]
        subprocess.run(["openssl", "req", "-x509", "-subj", "/CN=" + name, "-days", "9", "-out", file(name + ".crt"),
                        *(["-key", file(key)] if key else new)], check=True, capture_output=True)

    def certificate():
        with socket.create_connection(("127.0.0.1", co.port)) as plain, meshclient.TLS.wrap_socket(plain) as s:
            return s.getpeercert(True)

    def install(cert, key):
        shutil.copy(file(cert), file("live.crt"))
        shutil.copy(file(key), file("live.key"))

    co = Coordinator(FAST)
    try:
        for name in ("old", "next", "stranger"):
            make(name)
        make("renewed", "old.key")
        plain = co.read("coordinator.yaml")

        def configure(coming):
            with open(file("coordinator.yaml"), "w") as f:
                f.write("%stls: {cert: %s, key: %s%s}\n" % (plain, file("live.crt"), file("live.key"), coming))

        configure("")
        install("old.crt", "old.key")
        co.start()
        link = co.admin("key", "create").strip()
        assert re.fullmatch(r"https://[^/]*/join#[\w-]+", link), link
        agent = Agent(co, "pinned").register(link.partition("#")[2])
        stream = agent.stream()
        equal(stream.receive()["pins"], [])
        # A coming key is told at once; one that cannot be read changes nothing.
        for coming, pins in (("next.key", 2), ("nothing.key", None), ("next.key", None)):
            lines = co.log().count(" reload")
            configure(", next_key: " + file(coming))
            co.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: co.log().count(" reload") > lines), "no word of the reload"
            told = stream.find(lambda m: m.get("op") == "coordinators", 1)
            equal(told and len(told["pins"]), pins, coming)
        assert "nothing.key cannot be opened" in co.log()
        equal(len(agent.stream().receive()["pins"]), 2)
        for name, key, word, changes in (("stranger", "stranger.key", "was not announced", False),
                                         ("old", "stranger.key", "reload", False),
                                         ("renewed", "old.key", "reload cert=", True),
                                         ("next", "next.key", "reload cert=", True)):
            before, lines = certificate(), co.log().count("reload")
            install(name + ".crt", key)
            co.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: co.log().count("reload") > lines), "no word of the reload"
            told = [line for line in co.log().splitlines() if "reload" in line][-1]
            assert word in told, told
            equal(certificate() != before, changes, name)
    finally:
        co.close()


def moved(co, url):
    """Its first URL is another from now on, by SIGHUP; the one that tests use stays."""
    lines, plain = co.log().count("info reload"), re.sub("public_url:.*\n", "", co.read("coordinator.yaml"))
    with open(co.dir + "/coordinator.yaml", "w") as f:
        f.write("%spublic_url: ['%s', '%s']\n" % (plain, url, co.origin))
    co.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: co.log().count("info reload") > lines), "no word of the reload"


@case("SIGHUP with another public_url: streams that are open hear of it, and of the STUN server at its host")
def _(unused):
    co = Coordinator("relay: {stun: ':%d'}\n" % free_port()).start()
    try:
        stream = Agent(co, "here").register(co.key()).stream()
        snapshot = stream.receive()
        equal((snapshot["coordinators"], len(snapshot["relays"])), ([co.origin], 1))
        moved(co, "https://moved.example.net:8443")
        told = {}
        assert stream.find(lambda m: told.update({m.get("op"): m}) or {"coordinators", "relays"} <= set(told)), list(told)
        equal(told["coordinators"]["coordinators"], ["https://moved.example.net:8443", co.origin])
        equal([stun.partition(":")[0] for stun in told["relays"]["relays"][0]["stun"]], ["moved.example.net"])
        moved(co, "https://moved.example.net:8443")  # nothing new
        assert not stream.find(lambda m: m.get("op") in ("coordinators", "relays"), 0.3)
    finally:
        co.close()


@case("a pipe in the place of a file stops nobody: it is refused, but where a command is given one")
def _(_co):
    def run(*words, text=None):
        done = subprocess.run([PROGRAM, *words, "--run-dir", co.dir + "/run"], input=text, capture_output=True, text=True,
                              timeout=20)
        return done.returncode, done.stdout + done.stderr

    co = Coordinator(FAST)
    policy, config = co.dir + "/p.yaml", co.dir + "/coordinator.yaml"
    try:
        with open(policy, "w") as f:
            f.write("version: 1\ndefault: allow\n")
        co.options += ["--policy", policy]
        co.start()
        for path, word in ((policy, "cannot be read: it is not a regular file"), (config, "cannot be read: it is not a reg")):
            lines = co.log().count(word)
            os.rename(path, path + ".kept")
            os.mkfifo(path)
            co.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: co.log().count(word) > lines), co.log()[-600:]
            assert co.ready(), "it answers nobody"
            if path == policy:
                code, said = run("serve", "--check", "--config", config, "--policy", path)
                assert code == 2 and word in said, said
            os.rename(path + ".kept", path)
        equal(run("policy", "apply", "/dev/stdin", text="version: 1\ndefault: deny\n")[0], 0)
        equal(run("policy", "apply", "-", text="version: 1\ndefault: allow\n")[0], 0)
        equal(run("serve", "--check", "--config", "/dev/stdin", text=co.read("coordinator.yaml"))[0], 0)
        equal(co.stop(), 0)
        os.unlink(policy)
        os.mkfifo(policy)
        lines = co.log().count("not a regular file")
        co.start()  # what was applied goes on
        assert co.log().count("not a regular file") > lines
    finally:
        co.close()


@case("keys that were lost are not replaced in silence where there are agents")
def _(_co):
    def refused_start():
        done = subprocess.run([PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml"], capture_output=True, text=True,
                              timeout=20)
        equal(done.returncode, 1)
        return done.stderr

    co = Coordinator(FAST)
    state = co.dir + "/state/"
    try:
        co.start()
        co.stop()
        for name in ("server.key", "tls.key", "tls.crt"):  # there are no agents yet
            os.unlink(state + name)
        if meshclient.POSTGRES:  # there others may know it
            assert "not the key of the other coordinators" in refused_start()
            co.execute("DELETE FROM meta WHERE key='server_public'")
        size = len(co.log())
        co.start()
        assert "tls-key" not in co.log()[size:]
        agent = Agent(co, "loser").register(co.key())
        co.stop()
        for name in ("server.key", "tls.key", "tls.crt"):
            os.rename(state + name, state + name + ".kept")
        said = refused_start()
        assert "/server.key is not " in said and "restore it from a backup" in said, said
        assert not os.path.exists(state + "server.key"), "it has made one"
        with open(state + "server.key", "w") as f:
            f.write(b64(randombytes(32)) + "\n")
        assert "/server.key is not the key " in refused_start()
        open(state + "server.key", "w").close()
        assert "server.key is empty: restore it" in refused_start()
        os.rename(state + "server.key.kept", state + "server.key")
        with open(state + "generation", "w") as f:
            f.write("garbage\n")
        size = len(co.log())
        co.start()
        said = co.log()[size:]
        assert re.search("generation file=.*this is no number", said), said
        if not meshclient.POSTGRES:  # there it may be a coordinator beside others
            assert re.search("tls-key file=.*join again", said), said
            assert "tls-key-made" in co.admin("audit"), "not in the audit"
        equal(by_proof(co, agent, "/token")[0], 200)
        co.stop()
        size = len(co.log())
        co.start()
        assert "tls-key" not in co.log()[size:] and "generation file" not in co.log()[size:]
    finally:
        co.close()


@case("what is in the way of a start is named with its remedy")
def _(_co):
    def start(code=1, *options):
        done = subprocess.run([PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml", *options], capture_output=True, text=True,
                              timeout=20)
        equal(done.returncode, code, done.stderr)
        return done.stderr

    co = Coordinator(FAST)
    state, socket_path = co.dir + "/state", co.dir + "/run/coordinator.sock"
    try:
        for path in (state, co.dir + "/run"):
            os.mkdir(path, 0o700)
        open(socket_path, "w").close()
        assert "coordinator.sock: something else is there, which is no socket: remove it" in start()
        os.unlink(socket_path)
        os.chmod(state, 0o1777)
        assert "anybody may write to the state directory" in start()
        os.chmod(state, 0o770)
        co.start()
        assert "state-directory path=%s mode=0770" % state in co.log()
        co.stop()
        os.chmod(state, 0o700)
        if meshclient.POSTGRES:
            server = meshclient.POSTGRES.partition("@")[2]
            role = co.database + "_few"
            meshclient.psql("postgres", "CREATE ROLE %s LOGIN CONNECTION LIMIT 0" % role)
            try:
                said = start(4, "--db", "postgres://%s@%s/%s" % (role, server, co.database))
            finally:
                meshclient.psql("postgres", "DROP ROLE " + role)
            assert "cannot reach" in said and "too many connections" in said, said
        else:
            for end in ("", "-wal", "-shm"):
                if os.path.exists(state + "/coordinator.db" + end):
                    os.unlink(state + "/coordinator.db" + end)
            os.mkfifo(state + "/coordinator.db")
            assert "coordinator.db: it is not a regular file" in start()
    finally:
        co.close()


@case("a certificate that has ended, or has not begun, is told of; its end is in /metrics")
def _(_co):
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=co.dir)

    def certificate(years):
        """Of a year that begins so many years from now; the second that it ends at."""
        begin, end = ("%d0101000000Z" % (time.gmtime().tm_year + years + more) for more in (0, 1))
        openssl("ca", "-batch", "-notext", "-selfsign", "-config", "ca.cnf", "-keyfile", "own.key", "-in", "own.csr",
                "-startdate", begin, "-enddate", end, "-out", "own.crt")
        return calendar.timegm(time.strptime(end, "%Y%m%d%H%M%SZ"))

    co = Coordinator(FAST)
    config = co.dir + "/coordinator.yaml"
    try:
        co.start()
        assert b"certificate_end" not in co.request("GET", "/metrics", root=True)[1]
        co.stop()
        assert "certificate reason" not in co.log()
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "own.key")
        openssl("req", "-new", "-key", "own.key", "-subj", "/CN=mesh", "-out", "own.csr")
        with open(co.dir + "/ca.cnf", "w") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
                    "policy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
        open(co.dir + "/index", "w").close()
        with open(config, "a") as f:
            f.write("tls: {cert: %s/own.crt, key: %s/own.key}\n" % (co.dir, co.dir))
        for years, word in ((-3, "ended at "), (0, None), (3, " only: agents")):
            end, lines = certificate(years), co.log().count(" reload cert")
            checked = subprocess.run([PROGRAM, "serve", "--check", "--config", config], capture_output=True, text=True)
            equal(checked.returncode, 0)
            assert word in checked.stderr if word else not checked.stderr, checked.stderr
            said = co.log().count("certificate reason")
            if co.process:
                co.process.send_signal(signal.SIGHUP)
                assert wait_until(lambda: co.log().count(" reload cert") > lines), co.log()[-600:]
            else:
                co.start()
            equal(metric(co, "tls_certificate_end_timestamp_seconds"), end)
            equal(co.log().count("certificate reason") - said, 1 if word else 0, years)
            assert not word or word in co.log()
    finally:
        co.close()


@case("SIGTERM says bye to those who are connected, and ends in time")
def _(co):
    agent = Agent(co, "open").register(co.key())
    ws, idle, half = agent.stream(), co.connect(), co.connect()
    ws.receive()
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    half.connect()
    half.send(b"POST /api/v1/agents/register HTTP/1.1\r\n")
    following = subprocess.Popen([PROGRAM, "--config", co.dir + "/coordinator.yaml", "audit", "--follow"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    following.stdout.readline()
    equal(co.stop(), 0)
    bye = ws.find(lambda m: m.get("type") == "bye")
    equal(bye["reason"], "restart")
    said = following.communicate(timeout=5)[1]
    equal(following.returncode, 3, said)
    assert "has ended" in said and said.count("\n") == 1, said


# ---- devices -----------------------------------------------------------------------------------


def peer_add(co, name, via, *more):
    return json.loads(co.admin("peer", "add", name, "--via", via, "--endpoint", "vpn.example.net:51820", "--json", *more))


@case("devices: told to their gateway alone, by snapshot, also after SIGKILL; nobody reaches them through us")
def _(co):
    gate, other = pair(co, "gate")
    ws, ws_other = gate.stream(), other.stream()
    ws.receive(), ws_other.receive()
    added = peer_add(co, "phone", gate.name)
    device, text = added["device"], added["configuration"]
    key = re.search(r"^PrivateKey = (\S{44})$", text, re.M)[1]
    equal(b64(crypto_scalarmult_base(base64.b64decode(key))), device["public_key"])
    assert "\nEndpoint = vpn.example.net:51820\n" in text and "\nPublicKey = %s\n" % b64(gate.public) in text, text
    assert "nothing is forwarded" in added["notes"][0], added["notes"]
    seen = ws.find(lambda m: m.get("type") == "snapshot")
    peer = [p for p in seen["peers"] if p["name"] == "phone"][0]
    equal((peer["device"], peer["public_key"], peer["addresses"], peer["routes"], peer["endpoint"], peer["agent_id"]),
          (True, device["public_key"], device["addresses"], [], None, device["id"]))
    equal(ws_other.find(lambda m: "phone" in json.dumps(m), 0.5), None)
    for stream in ws, ws_other:
        stream.send({"type": "signal", "id": 1, "to": device["id"], "network": "default", "box": b64(b"s" * 60)})
        equal(stream.find(lambda m: m.get("type") == "error")["code"], "unknown_peer")
    co.stop(signal.SIGKILL)
    co.start()
    names = [[p["name"] for p in a.ask("GET", "/peers")[1]["peers"]] for a in (gate, other)]
    equal(["phone" in n for n in names], [True, False])
    assert key.encode() not in b"".join(
        open(os.path.join(d, f), "rb").read() for d, _, files in os.walk(co.dir) for f in files
        if not stat.S_ISSOCK(os.stat(os.path.join(d, f)).st_mode)), "the private key is on the disk"
    assert device["addresses"][0] not in json.dumps([Agent(co, "gate3").register(co.key()).addresses])
    ws = gate.stream()
    ws.receive()
    co.admin("peer", "remove", "phone")
    seen = ws.find(lambda m: m.get("type") == "snapshot")
    assert "phone" not in json.dumps(seen), seen
    co.admin("peer", "remove", "phone", code=1)


@case("devices: names and keys are theirs alone, and they go with their gateway")
def _(co):
    gate, other = pair(co, "hub")
    own = Agent(co, "tablet")
    added = peer_add(co, "tablet", gate.name, "--public-key", b64(own.public))
    assert "PrivateKey = " not in added["configuration"]
    refused(own.try_register(co.key(), name="tablet2"), 409, "key_taken")
    refused(Agent(co, "tablet").try_register(co.key()), 409, "name_taken")
    co.admin("agent", "rename", other.name, "tablet", code=1)
    for words in (["tablet", "--via", gate.name], [other.name, "--via", gate.name], ["default", "--via", gate.name],
                  ["x", "--via", gate.name, "--public-key", b64(own.public)],
                  ["x", "--via", gate.name, "--public-key", b64(other.public)], ["x", "--via", gate.name]):
        said = co.admin("peer", "add", *words, code=1)  # the last: no endpoint of the gateway is known
        equal(said.count("\n"), 1, said)
    for words in (["x"], ["x", "--via", gate.name, "--public-key", "short"], ["x", "--via", gate.name, "--endpoint", "a b:1"],
                  ["x", "--via", gate.name, "--endpoint", "host:0"], ["x", "--via", gate.name, "--endpoint", "host\nDNS=1:5"]):
        co.admin("peer", "add", *words, code=2)
    for endpoint in ("[:5", "-:1", "....:1", "::1:5", "1.2.3:5", "a-.b:5", "[fe80::1%eth0]:5", "[1.2.3.4]:5", ":5", "a..b:5"):
        co.admin("peer", "add", "x", "--via", gate.name, "--endpoint", endpoint, code=2)
    for n, endpoint in enumerate(("[2001:db8::1]:5", "192.0.2.1:5", "a:5", "3com.x-y.example:65535")):
        assert "Endpoint = %s\n" % endpoint in co.admin("peer", "add", "e%d" % n, "--via", gate.name, "--endpoint", endpoint)
        co.admin("peer", "remove", "e%d" % n)
    co.admin("peer", "add", "x", "--via", "nobody", code=1)
    equal([d["name"] for d in json.loads(co.admin("peer", "list", "--json"))["devices"]], ["tablet"])
    co.admin("agent", "remove", gate.name)
    equal(json.loads(co.admin("peer", "list", "--json"))["devices"], [])
    own.register(co.key())


# ---- backup, restore, older copies ------------------------------------------------------------


def come_back(co, agent, **more):
    return by_proof(co, agent, "/token", public_key=b64(agent.public), old_token=agent.token, **more)


@case("only one coordinator works on a database of SQLite, whatever it is called and whatever the state directory")
def _(co):
    if meshclient.POSTGRES:
        return "several may work on PostgreSQL"
    co.admin("backup", co.dir + "/backup")
    os.link(co.dir + "/state/coordinator.db", co.dir + "/another-name")
    os.symlink(co.dir + "/state", co.dir + "/another-way")
    for name in ("/state/coordinator.db", "/another-name", "/another-way/coordinator.db"):
        path, other = co.dir + name, ["--state", co.dir + "/state2", "--run-dir", co.dir + "/run2", "--db", "sqlite:" + co.dir + name]
        said = [co.admin(*words, *other, code=1) for words in (["serve"], ["restore", co.dir + "/backup"],
                                                               ["migrate", "--to", "sqlite:%s/moved" % co.dir])]
        for text in said:
            assert "the database %s is in use" % path in text and "(process %d)" % co.process.pid in text, text
            equal(text.count("\n"), 1)
        if name != "/another-name":  # to SQLite that is another database, whose log it would not find
            co.admin("backup", co.dir + "/backup", *other)
    equal([name for name in os.listdir(co.dir) if name.startswith("moved")], [])
    co.stop()
    co.admin("restore", co.dir + "/backup", *other[:4], "--db", "sqlite:%s/state/coordinator.db" % co.dir)
    co.start()


@case("backup and restore: who came later is let in again, who was removed before is not")
def _(co):
    key = co.key("--reusable", "--tag", "web")
    old, gone = Agent(co, "old").register(key), Agent(co, "gone").register(key)
    co.admin("agent", "remove", "gone")
    server_key = co.request("POST", "/agents/challenge", {"public_key": b64(old.public)})[1]["server_key"]
    time.sleep(1.1)
    said = co.admin("backup", co.dir + "/backup")
    assert "keys are in it" in said, said
    equal(stat.S_IMODE(os.stat(co.dir + "/backup").st_mode), 0o600)
    equal(co.admin("backup", co.dir + "/none/backup", code=1).count("\n"), 1)
    later, stranger = Agent(co, "later").register(key), Agent(co, "stranger")
    taken = Agent(co, "taken").register(key)
    assert "in use" in co.admin("restore", co.dir + "/backup", code=1)
    co.stop()
    for name in ("server.key", "tls.key"):
        os.unlink(co.dir + "/state/" + name)
    assert "no backup" in co.admin("restore", co.dir + "/log", code=1)
    counts = co.admin("restore", co.dir + "/backup", "--readmit", "1h")
    assert "agents: 1\n" in counts and "networks: 1\n" in counts, counts
    co.start()
    assert "restored=true" in co.log()
    equal([a["name"] for a in agents(co)], ["old"])
    refused(old.ask("GET", "/peers"), 401, "token_invalid")
    equal(by_proof(co, old, "/token")[0], 200)
    given = old.challenge()
    equal(given["server_key"], server_key)
    refused(later.ask("POST", "/token", {}), 401, "token_invalid")
    refused(by_proof(co, later, "/token"), 401, "unknown_agent")
    refused(come_back(co, gone), 401, "unknown_agent")
    stranger.id, stranger.token = later.id, later.token
    refused(come_back(co, stranger), 401, "unknown_agent")
    refused(come_back(co, later, private=stranger.private), 401, "proof_wrong")
    status, answer = come_back(co, later)
    equal(status, 200, answer)
    later.token = answer["token"]
    equal(later.ask("GET", "/peers")[1]["networks"][0]["addresses"], later.addresses)
    Agent(co, "taken").register(key) # the name is another's now
    refused(come_back(co, taken), 401, "unknown_agent")
    equal({a["name"]: a["tags"] for a in agents(co)}, {"old": ["web"], "later": ["web"], "taken": ["web"]})
    equal(len({a["addresses"][0] for a in agents(co)}), 3)
    co.stop()
    co.start()
    equal(later.ask("GET", "/peers")[0], 200)
    assert "agent-readmitted" in co.admin("audit")
    assert co.log().count("older-database") == 1


@case("a restored network that has filled up meanwhile takes nobody back without an address")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.209.0.0/29")
    key, lab = co.key("--reusable"), co.key("--network", "lab", "--reusable")
    time.sleep(1.1)
    co.admin("backup", co.dir + "/backup")
    both, late = Agent(co, "both").register(key), Agent(co, "late").register(lab)
    both.register(lab)
    co.stop()
    co.admin("restore", co.dir + "/backup", "--readmit", "1h")
    co.start()
    n = 0
    while Agent(co, "n%d" % n).try_register(lab)[0] == 201:
        n += 1
    assert n, "the network had no room at all"
    refused(come_back(co, late), 401, "unknown_agent")
    status, answer = come_back(co, both)
    equal(status, 200, answer)
    both.token = answer["token"]
    equal([network["name"] for network in both.ask("GET", "/peers")[1]["networks"]], ["default"])
    assert all(agent["addresses"] for agent in agents(co)), agents(co)


@case("backup, restore and migrate with --json: one document each, of what was moved")
def _(co):
    def document(*words):
        said = json.loads(co.admin(*words, "--json"))
        equal((said.pop("schema"), bool(said.pop("message"))), (1, True), words)
        return said
    agent = Agent(co, "moved").register(co.key())
    saved = document("backup", co.dir + "/backup")
    equal((saved["file"], saved["rows"]["agents"], saved["rows"]["networks"]), (co.dir + "/backup", 1, 1))
    co.stop()
    restored = document("restore", co.dir + "/backup")
    # Sessions and links are left out, and there is the mark that this is a restored one.
    saved["rows"]["tokens"] = 0
    saved["rows"]["meta"] += 1
    equal((restored["file"], restored["rows"]), (saved["file"], saved["rows"]))
    equal(os.path.exists(restored.get("kept", "")), not meshclient.POSTGRES)
    moved = document("migrate", "--to", "sqlite:" + co.dir + "/moved.db")
    equal((sorted(moved), moved["rows"]["agents"], agent.id is not None), (["rows"], 1, True))
    equal(co.admin("restore", co.dir + "/log", "--json", code=1).count("\n"), 1)
    co.start()


@case("an older copy that was put back by hand is noticed")
def _(co):
    if meshclient.POSTGRES:
        return "that is a file"
    key = co.key("--reusable")
    before = Agent(co, "before").register(key)
    co.stop()
    path = co.dir + "/state/coordinator.db"
    shutil.copy(path, co.dir + "/copy")
    co.start()
    after = Agent(co, "after").register(key)
    co.stop()
    shutil.copy(co.dir + "/copy", path)
    co.start()
    assert "older-database restored=false" in co.log()
    refused(before.ask("GET", "/peers"), 401, "token_invalid")
    equal(by_proof(co, before, "/token")[0], 200)
    equal(come_back(co, after)[0], 200)
    equal(sorted(a["name"] for a in agents(co)), ["after", "before"])


def keys(co):
    """What tells one server's key files from another's."""
    digest = hashlib.sha256()
    for name in ("server.key", "tls.key", "tls.crt"):
        with open(co.dir + "/state/" + name, "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


def names_in(path):
    database = sqlite3.connect(path)
    try:
        return [row[0] for row in database.execute("SELECT name FROM agent_networks")]
    finally:
        database.close()


@case("a restore that fails leaves the server's keys and its database")
def _(unused):
    co, other = Coordinator(FAST).start(), Coordinator(FAST).start()
    try:
        before = Agent(co, "before").register(co.key())
        Agent(other, "other").register(other.key())
        other.admin("backup", co.dir + "/backup")
        shutil.copy(co.dir + "/backup", co.dir + "/damaged")
        with sqlite3.connect(co.dir + "/damaged") as database: # what fails comes late: most is there by then
            database.execute("INSERT INTO devices SELECT 'x','nowhere',id,'x',zeroblob(32),NULL,NULL,1 FROM agents")
        database.close()
        co.stop()
        kept, there = keys(co), sorted(os.listdir(co.dir + "/state"))
        for url, backup, code in (("postgres://x@127.0.0.1:1/x", "backup", 4), ("sqlite:%s/none/x.db" % co.dir, "backup", 1),
                                  (None, "damaged", 1)):
            said = co.admin(*(["--db", url] if url else []), "restore", co.dir + "/" + backup, code=code)
            equal(said.count("\n"), 1, said)
        if not meshclient.POSTGRES:
            with contextlib.closing(sqlite3.connect(co.dir + "/state/coordinator.db", isolation_level=None)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM agents").fetchone()
                assert "is locked; nothing was changed" in co.admin("restore", co.dir + "/backup", code=1)
        equal((keys(co), sorted(os.listdir(co.dir + "/state"))), (kept, there))
        co.start()
        equal([a["name"] for a in agents(co)], ["before"])
        equal(before.ask("GET", "/peers")[0], 200)
        co.stop()
        co.admin("restore", co.dir + "/backup")
        extra = [] if meshclient.POSTGRES else ["coordinator.db.before-restore"]
        equal([name for name in sorted(os.listdir(co.dir + "/state")) if name not in there], extra)
        co.start()
        equal([a["name"] for a in agents(co)], ["other"])
        co.stop()
        said = co.admin("restore", co.dir + "/backup")
        if not meshclient.POSTGRES: # the only copy of before stays, this one is kept beside it
            assert "kept as %s/state/coordinator.db.before-restore-2\n" % co.dir in said, said
            kept = ["%s/state/coordinator.db.before-restore%s" % (co.dir, end) for end in ("", "-2")]
            equal([names_in(path) for path in kept], [["before"], ["other"]])
    finally:
        other.close()
        co.close()


@case("backup is a line of the audit, in the backup too; a restore makes the state directory of a new machine")
def _(co):
    Agent(co, "moves").register(co.key())
    co.admin("backup", co.dir + "/b")
    assert re.search(r"admin uid %d  backup-made  %s/b  -$" % (os.getuid(), co.dir), co.admin("audit").strip()), co.admin("audit")
    fresh, db = co.dir + "/fresh/a/b", co.dir + "/fresh/a/b/coordinator.db"
    done = subprocess.run([PROGRAM, "restore", co.dir + "/b", "--state", fresh, "--db", "sqlite:" + db], capture_output=True,
                          text=True, timeout=20)
    equal(done.returncode, 0, done.stderr)
    equal((names_in(db), stat.S_IMODE(os.stat(fresh).st_mode)), (["moves"], 0o700))
    moved = co.dir + "/moved.db"
    done = subprocess.run([PROGRAM, "migrate", "--state", co.dir + "/fresh/c", "--db", "sqlite:" + db, "--to", "sqlite:" + moved],
                          capture_output=True, text=True, timeout=20)
    equal(done.returncode, 0, done.stderr)
    assert "devices: 0\n" in done.stdout, "all are counted: " + done.stdout
    with sqlite3.connect(moved) as database:
        last = database.execute("SELECT actor,action FROM audit ORDER BY id DESC LIMIT 2").fetchall()
    database.close()
    equal(last, [("admin uid %d" % os.getuid(), action) for action in ("database-migrated", "backup-made")])


@case("a backup is said to be written when its name is on the disk too")
def _(co):
    if not shutil.which("strace"):
        return "needs strace"
    done = subprocess.run(["strace", "-f", "-y", "-o", co.dir + "/calls", "-e", "trace=rename,renameat,renameat2,fsync,write", PROGRAM,
                           "--config", co.dir + "/coordinator.yaml", "backup", co.dir + "/b"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # it cannot look for leaks when it is traced
    equal((done.returncode, "written" in done.stdout), (0, True), done.stderr)
    calls = co.read("calls").splitlines()
    order = [next((n for n, call in enumerate(calls) if re.search(what, call)), None)
             for what in (r"rename.*/b\"", r"fsync\(\d+<%s/?>" % re.escape(co.dir), r"write\(1<.*written to")]
    assert None not in order and order == sorted(order), (order, calls)


@case("backups to one file at once: each is whole, the last one stays, and nothing is left beside it")
def _(co):
    Agent(co, "here").register(co.key())
    for _ in range(5):
        running = [subprocess.Popen([PROGRAM, "--config", co.dir + "/coordinator.yaml", "backup", co.dir + "/b.db"], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True) for _ in range(6)]
        said = [(each.communicate(timeout=20)[1], each.returncode) for each in running]
        equal(said, [("", 0)] * 6)
        equal((names_in(co.dir + "/b.db"), stat.S_IMODE(os.stat(co.dir + "/b.db").st_mode)), (["here"], 0o600))
        equal([n for n in os.listdir(co.dir) if n.startswith("b.db")], ["b.db"])
    os.mkdir(co.dir + "/b.dir")
    for to, word in (("/b.dir", "Is a directory"), ("/none/b.db", "No such file")):
        said = co.admin("backup", co.dir + to, code=1)
        assert word in said and said.count("\n") == 1, said
    equal(sorted(n for n in os.listdir(co.dir) if n.startswith("b.d")), ["b.db", "b.dir"])


@case("a database that is not there is not made by who would copy it, and one that is away is not reachable")
def _(co):
    for words in (["migrate", "--to", "sqlite:%s/to.db" % co.dir], ["backup", co.dir + "/to"]):
        done = subprocess.run([PROGRAM, *words, "--db", "sqlite:%s/typo.db" % co.dir, "--state", co.dir + "/typo"],
                              capture_output=True, text=True, timeout=20)
        equal((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
        assert "there is no database %s/typo.db" % co.dir in done.stderr, done.stderr
        equal([n for n in os.listdir(co.dir) if n.startswith(("typo", "to"))], [])
    away = "postgres://x@127.0.0.1:1/x"
    for words in (["migrate", "--to", "sqlite:%s/to.db" % co.dir], ["backup", co.dir + "/to"], ["serve", "--run-dir", co.dir + "/away"]):
        done = subprocess.run([PROGRAM, *words, "--db", away, "--state", co.dir + "/away"], capture_output=True, text=True, timeout=20)
        equal(done.returncode, 4, done.stderr)
        assert "cannot reach the PostgreSQL database" in done.stderr, done.stderr


@case("--readmit: a day where nothing is said, and only as long as it lasts; 0: only who is in the backup")
def _(co):
    co.admin("backup", co.dir + "/backup")
    agent = Agent(co, "late").register(co.key())
    co.stop()
    co.admin("restore", co.dir + "/backup")
    equal(co.meta("restored"), b"%d" % (24 * 3600 * 1000))
    equal(co.admin("restore", co.dir + "/backup", "--readmit", "soon", code=2).count("\n"), 1)
    for readmit in "0", "1s":
        co.admin("restore", co.dir + "/backup", "--readmit", readmit)
        co.start()
        time.sleep(float(readmit.rstrip("s")) * 1.1)
        refused(come_back(co, agent), 401, "unknown_agent")
        co.stop()
    co.start()


@case("the unix socket: too many at once, a large request and broken JSON get their sentence")
def _(co):
    def socket_of(text=b""):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(co.dir + "/run/coordinator.sock")
        s.sendall(text)
        return s
    def answer(text):
        with socket_of(text) as s:
            return json.loads(s.makefile().readline())
    equal(answer(b"{bad\n")["code"], "bad_request")
    assert "object" not in answer(b"{bad\n")["detail"] and "line 1" in answer(b"{bad\n")["detail"], answer(b"{bad\n")
    assert "must be an object" in answer(b"[]\n")["detail"]
    policy = "version: 1\ndefault: allow\n" + "# \"a comment\" of a long policy\n" * 30000
    assert 900000 < len(policy) < 1 << 20
    equal(answer(json.dumps({"command": "policy apply", "arguments": {"text": policy}}).encode() + b"\n")["ok"], True)
    equal(answer(b'{"command":"' + b"x" * (5 << 20) + b'"}\n')["code"], "body_too_large")
    idle = [socket_of() for _ in range(64)]
    for words in (("network", "list"), ["key", "create"] + ["--tag", "a-long-tag"] * 5000):
        said = co.admin(*words, code=1)
        assert "too many commands" in said and said.count("\n") == 1, said
    for s in idle:
        s.close()
    assert wait_until(lambda: "too many" not in co.admin("network", "list", code=None))


@case("audit --follow goes on")
def _(co):
    following = subprocess.Popen([PROGRAM, "--config", co.dir + "/coordinator.yaml", "audit", "--follow"],
                                 stdout=subprocess.PIPE, text=True)
    try:
        following.stdout.readline()
        Agent(co, "watched").register(co.key())
        while "watched" not in following.stdout.readline():
            pass
    finally:
        following.kill()
        following.wait()


@case("audit --follow ends with 3 when the coordinator does, and with 4 where one is there again, as the manual says")
def _(unused):
    co = Coordinator(NO_RELAY).start()
    following = None
    try:
        for again in (False, True):
            following = subprocess.Popen([PROGRAM, "--config", co.dir + "/coordinator.yaml", "audit", "--follow"],
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            following.stdout.readline()
            following.send_signal(signal.SIGSTOP)
            co.stop()
            again and co.start()
            following.send_signal(signal.SIGCONT)
            said = following.communicate(timeout=20)[1]
            equal((following.returncode, said.count("\n")), (4 if again else 3, 1), said)
            again or co.start()
    finally:
        following and following.kill()
        co.close()


@case("audit --follow --json: one document a line, of one shape from the first on")
def _(co):
    following = subprocess.Popen([PROGRAM, "--config", co.dir + "/coordinator.yaml", "audit", "--follow", "--json"],
                                 stdout=subprocess.PIPE, text=True)
    try:
        lines = [json.loads(following.stdout.readline())]
        Agent(co, "counted").register(co.key())
        while lines[-1]["detail"] != "counted":
            lines.append(json.loads(following.stdout.readline()))
        assert len(lines) > 2, lines
        for line in lines:
            equal(sorted(line), ["action", "actor", "at", "detail", "network", "schema", "subject"], line)
            equal(line["schema"], 1)
    finally:
        following.kill()
        following.communicate()


@case("--help of a group, of serve and of a command is of that alone; a group alone names its commands")
def _(unused):
    def run(*words):
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=20)
        return done.returncode, done.stdout, done.stderr
    code, text, _ = run("network", "--help")
    equal((code, len(re.findall("^  network ", text, re.M)), "agent list" in text, "--listen" in text), (0, 4, False, False), text)
    code, text, _ = run("serve", "--help")
    equal((code, "--listen" in text, "--config" in text, "agent list" in text), (0, True, True, False), text)
    code, text, _ = run("network", "create", "--help")
    equal((code, "--cidr6" in text, "--listen" in text, "agent list" in text), (0, True, False, False), text)
    code, text, said = run("network")
    equal((code, text, said.count("\n")), (2, "", 1))
    assert "there is network create, network list, network set, network remove" in said, said
    code, text, said = run()
    words = list(dict.fromkeys(re.findall("^  ([a-z]+)", run("--help")[1].partition("\noptions:")[0], re.M)))
    equal((code, text, re.search("say what to do: (.*); see --help", said)[1].replace(" or ", ", ").split(", ")), (2, "", words))


@case("a value that is malformed is wrong usage, 2; one that is fine and cannot be done has failed, 1")
def _(co):
    Agent(co, "taken").register(co.key())
    key = b64(bytes(31))
    for words in (["key", "create", "--tag", "A b"], ["key", "create", "--name", "UP"], ["key", "create", "--expires", "x"],
                  ["network", "create", "x", "--cidr", "10.73.0.1/16"], ["network", "create", "x", "--cidr", "10.73.0.0/33"],
                  ["network", "create", "X", "--cidr", "10.73.0.0/16"], ["relay", "add", "foo", "--region", "fra"],
                  ["relay", "add", "https://x", "--region", "F"], ["agent", "tag", "taken", "--tag", "A b"],
                  ["agent", "rename", "taken", "UP"], ["agent", "expire", "taken", "--in", "x"],
                  ["route", "approve", "taken", "10.0.0.0/99"], ["user", "add", "U!", "--role", "viewer", "--no-password"],
                  ["user", "add", "u", "--role", "king", "--no-password"], ["token", "create", "--role", "viewer", "--scope", "x"],
                  ["peer", "add", "p", "--via", "taken", "--endpoint", "a:1", "--public-key", key]):
        equal(co.admin(*words, code=2).count("\n"), 1, words)
    for words in (["agent", "show", "nobody"], ["network", "create", "default", "--cidr", "10.74.0.0/16"],
                  ["key", "revoke", "nokey"], ["key", "create", "--network", "none"], ["network", "create", "any", "--cidr", "10.73.0.0/16"]):
        equal(co.admin(*words, code=1).count("\n"), 1, words)


@case("the network `default` can be made again where it is not there, and a link to it needs no option")
def _(co):
    other = Coordinator(FAST).start()
    try:
        other.admin("network", "remove", "default")
        assert "network default made" in other.admin("network", "create", "default", "--cidr", "10.200.0.0/24")
        key = other.key()
        refused(Agent(other, "default").try_register(key), 422, "name_reserved")
        equal(Agent(other, "again").register(key).addresses[0].rpartition(".")[0], "10.200.0")
    finally:
        other.close()


@case("agent show for people has no JSON; route list of one network; keys in the order they were made")
def _(co):
    co.admin("network", "create", "beside", "--cidr", "10.201.0.0/24")
    ids = [json.loads(co.admin("key", "create", "--json"))["id"] for _ in range(8)]
    agent = Agent(co, "shown").register(co.key(), advertised_routes=["192.168.77.0/24", "192.168.78.0/24"],
                                        endpoint="203.0.113.5:51820")
    Agent(co, "elsewhere").register(co.key("--network", "beside"), advertised_routes=["192.168.79.0/24"])
    co.admin("route", "approve", "shown", "192.168.77.0/24")
    said = co.admin("agent", "show", "shown")
    assert not re.search(r'[{}\["]', said), said
    assert re.search(r"^routes +192\.168\.77\.0/24\n +192\.168\.78\.0/24 \(not approved\)$", said, re.M), said
    assert re.search(r"^networks +default 10\.", said, re.M) and re.search(r"^local_endpoints +-$", said, re.M), said
    equal([r["prefix"] for r in json.loads(co.admin("route", "list", "--network", "beside", "--json"))["routes"]], ["192.168.79.0/24"])
    listed = json.loads(co.admin("key", "list", "--json"))["keys"]
    order = [(k["created_at"], k["id"]) for k in listed]
    equal((order, len(set(ids) - {k["id"] for k in listed}), agent.id is not None), (sorted(order), 0, True))


@case("serve says that it serves, where, and with what; port 0 is the kernel's choice, in links too")
def _(unused):
    co = Coordinator(FAST, ["--listen", "127.0.0.1:0"])
    try:
        with open(co.dir + "/log", "ab") as log:
            co.process = subprocess.Popen([PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml", *co.options],
                                          stdout=log, stderr=log)
        assert wait_until(lambda: "serving" in co.log(), 20), co.log()
        line = [line for line in co.log().splitlines() if "info serving" in line][0]
        port = re.search(r" listen=127\.0\.0\.1:([1-9]\d*) ", line).group(1)
        db = "postgres://" if meshclient.POSTGRES else "sqlite:%s/state/coordinator.db" % co.dir
        assert " url=https://127.0.0.1:%s " % port in line and " db=" + db in line and " policy=-" in line, line
        assert wait_until(lambda: "/join#" in co.log()) and "https://127.0.0.1:%s/join#" % port in co.log(), co.log()
        co.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "info reload" in co.log()), co.log()
        assert "configuration-waits" not in co.log(), co.log()
        co.port, co.origin = int(port), "https://127.0.0.1:" + port
        link = co.admin("key", "create").strip()
        assert link.startswith(co.origin + "/join#"), link
        Agent(co, "there").register(link.partition("#")[2].partition(".")[0])
    finally:
        co.close()


@case("a file that cannot be opened is named with what it is for")
def _(co):
    def run(*words):
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=20)
        equal((done.returncode, done.stderr.splitlines()[-1].startswith("wg-mesh-coordinator: ")), (2, True), done.stderr)
        return done.stderr
    assert "the configuration /none.yaml cannot be read: No such file or directory; name another with --config" in \
        run("serve", "--config", "/none.yaml")
    path = co.dir + "/other.yaml"
    with open(path, "w") as f:
        f.write("listen: 127.0.0.1:%d\nstate: %s/o\nrun_dir: %s/o\n%stls: {cert: /none.crt, key: /none.key}\n" %
                (free_port(), co.dir, co.dir, NO_RELAY))
    assert "the certificate /none.crt cannot be opened: No such file or directory" in run("serve", "--config", path)
    with open(path, "w") as f:
        f.write("listen: 127.0.0.1:%d\nstate: %s/o\nrun_dir: %s/o\n%s" % (free_port(), co.dir, co.dir, NO_RELAY))
    assert "the policy /none.yaml cannot be read: No such file or directory; name another with --policy" in \
        run("serve", "--config", path, "--policy", "/none.yaml")


@case("a coordinator that is not running, may not be asked, or hangs: 3, 4 and 4, each with a sentence")
def _(unused):
    co = Coordinator(FAST)
    said = co.admin("network", "list", code=3)
    assert "no coordinator is running here" in said and said.count("\n") == 1, said
    co.start()
    with tempfile.TemporaryDirectory() as place: # where another user can run it
        os.chmod(place, 0o755)
        program = shutil.copy(PROGRAM, place)
        done = subprocess.run([program, "--run-dir", co.dir + "/run", "network", "list"], user=65534, group=65534, extra_groups=[],
                              cwd="/", capture_output=True, text=True, timeout=20)
        equal(done.returncode, 4, done.stderr)
        assert "use sudo" in done.stderr and done.stderr.count("\n") == 1, done.stderr

    def begin(*words, stdin=""):
        with open(co.dir + "/given", "w") as given:
            given.write(stdin)
        with open(co.dir + "/given") as given:
            return subprocess.Popen([PROGRAM, "--config", co.dir + "/coordinator.yaml", *words], stdin=given,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    following = begin("audit", "--follow")
    following.stdout.readline()
    co.process.send_signal(signal.SIGSTOP)
    policy = "version: 1\ndefault: allow\n" + "# more than a socket takes at once\n" * 25000
    asking = [begin("network", "list"), begin("policy", "apply", "-", stdin=policy)]

    def ends():
        try:
            for command in asking:
                said = command.communicate(timeout=60)[1]
                equal(command.returncode, 4, said)
                assert "gives no answer" in said and said.count("\n") == 1, said
            equal(following.poll(), None, "who follows waits for as long as it takes")
            co.process.send_signal(signal.SIGCONT)
            co.admin("network", "create", "heard", "--cidr", "10.1.0.0/24")
            while "heard" not in following.stdout.readline():
                equal(following.poll(), None, "it ended")
        finally:
            for command in asking + [following]:
                command.kill()
                command.communicate()
            co.process.send_signal(signal.SIGCONT)
            co.close()
    return ends


def not_ok(name, why):
    line = why.__traceback__
    while line.tb_next and "tests/" in line.tb_next.tb_frame.f_code.co_filename:
        line = line.tb_next
    print("not ok %s: %s: %s (line %d)" % (LABEL, name, why or type(why).__name__, line.tb_lineno), flush=True)


def main():
    """A case may give what there is to skip it for, or a function that ends it after all others."""
    waiting = []
    failed, (part, parts) = 0, map(int, os.environ.get("WG_MESH_TEST_PART", "1/1").split("/"))
    for name, function in cases[part - 1::parts]:
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        co = Coordinator(FAST)
        try:
            co.start()
            given = function(co)
            if callable(given):
                waiting.append((name, given))
            elif given:
                print("skip %s: %s %s" % (LABEL, name, given), flush=True)
                continue
            if co.process and co.process.poll() is not None:
                raise AssertionError("the coordinator has ended: " + co.log()[-500:])
            code = co.stop()
            if code:
                raise AssertionError("exit code %d after SIGTERM: %s" % (code, co.log()[-500:]))
            for line in co.log().splitlines():
                if "runtime error" in line or "AddressSanitizer" in line:
                    raise AssertionError(line)
            if not callable(given):
                print("ok %s: %s" % (LABEL, name), flush=True)
        except Exception as why:
            failed += 1
            not_ok(name, why)
        finally:
            co.close()
    for name, ends in waiting:
        try:
            ends()
            print("ok %s: %s" % (LABEL, name), flush=True)
        except Exception as why:
            failed += 1
            not_ok(name, why)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
