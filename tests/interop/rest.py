#!/usr/bin/python3
"""Cases of rest.sh. With words: only the cases whose name has one of them."""
import calendar, ctypes, glob, http.client, json, os, re, sqlite3, subprocess, sys, time, urllib.parse
import apidoc, coordinator, meshclient
from apidoc import fits
from coordinator import FAST, NO_RELAY, case, equal, meanwhile, metric, refused
from meshclient import Agent, Coordinator, Ws, b64, rotate, wait_until

del coordinator.cases[:]
coordinator.LABEL = "rest"
Coordinator.check = apidoc.checker()  # whatever these cases ask, openapi.json knows the answer
PASSWORD = "correct horse battery"
POLICY = """version: 1
default: allow
hosts: {printer: 192.168.9.40}
acl: [{name: secret project of blue, from: [any], to: [printer], deny: [any]}]
tags: {owned: [tagger]}
tests: [{from: renamed, to: spare, port: tcp/22, expect: allow}]
"""


class Api:
    """One who administers over HTTP: by token, or by session."""

    def __init__(self, co, token=None):
        self.co, self.headers = co, {}
        if token:
            self.headers = {"Authorization": "Bearer " + token}

    def __call__(self, method, path, body=None, **more):
        return self.co.request(method, path, body, {**self.headers, **more})

    def ok(self, method, path, body=None, status=200):
        answer = self(method, path, body)
        equal((answer[0], answer[1] if answer[0] != status else None), (status, None), "%s %s" % (method, path))
        return answer[1]


def token(co, *options):
    return Api(co, co.admin("token", "create", *options).strip())


def root(co):
    return token(co, "--role", "admin")


def socket_command(co, command, arguments):
    with coordinator.socket.socket(coordinator.socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(co.dir + "/run/coordinator.sock")
        s.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
        return json.loads(s.makefile().readline())


def user(co, name, role, *options):
    co.admin("user", "add", name, "--role", role, *options, stdin=PASSWORD + "\n")


def login(co, name, password=PASSWORD, headers={}):
    connection = co.connect()
    try:
        connection.request("POST", "/api/v1/session", json.dumps({"user": name, "password": password}), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("Set-Cookie") or "", answer
    finally:
        connection.close()


def link_of(co, name):
    """The secret of a link to the dashboard for this user."""
    link = co.admin("user", "link", name).strip()
    assert link.startswith(co.origin + "/#login="), link
    return link.partition("=")[2]


def by_link(co, secret, **headers):
    return co.request("POST", "/session/link", {"secret": secret}, headers)


def session(co, name, password=PASSWORD):
    status, body, cookie, _ = login(co, name, password)
    equal(status, 201, body)
    return begun(co, body, cookie)


def begun(co, body, cookie):
    api = Api(co)
    api.cookie = cookie.partition(";")[0]
    api.headers = {"Cookie": api.cookie, "Origin": co.origin, "WG-Mesh-CSRF": body["csrf_token"]}
    return api


def linked(co, secret):
    """The session that a link begins."""
    connection = co.connect()
    try:
        connection.request("POST", "/api/v1/session/link", json.dumps({"secret": secret}), {"Origin": co.origin})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        equal(answer.status, 201, body)
        return begun(co, body, answer.getheader("Set-Cookie"))
    finally:
        connection.close()


# ---- the document and the server ---------------------------------------------------------


@case("every route of openapi.json is served as it says, and none beside")
def _(co):
    document = co.request("GET", "/openapi.json")[1]
    admin, key = root(co), co.key("--reusable")
    agent = Agent(co, "openapi").register(key, advertised_routes=["192.168.9.0/24"])
    spare = Agent(co, "spare").register(key)
    co.admin("network", "create", "temporary", "--cidr", "10.201.0.0/16")
    user(co, "temporary", "viewer")
    browser = session(co, "temporary")
    join_key = admin.ok("POST", "/join-keys", {"network": "default"}, 201)["id"]
    relay = admin.ok("POST", "/relays", {"region": "fra", "stun": ["stun.example.net:3478"]}, 201)["relay"]["id"]
    doomed = admin.ok("POST", "/tokens", {"role": "viewer"}, 201)["token"]["id"]
    route = admin.ok("GET", "/routes")["routes"][0]["id"]
    by = {"agent": agent.bearer(), "admin": admin.headers, "session": browser.headers}
    new = Agent(co, "other")

    def proof_of(who, what):
        given = who.challenge()
        body = what(given)
        raw = json.dumps(body).encode()
        return raw, {"Authorization": who.proof(given, raw)}, given

    def rekey():
        raw, headers, given = proof_of(agent, lambda g: {"coordinator": co.origin, "challenge": g["challenge"],
                                                         "public_key": b64(new.public)})
        headers["WG-Mesh-New-Proof"] = agent.proof(given, raw, private=new.private)
        return raw, headers

    def register():
        return proof_of(Agent(co, "fresh"), lambda g: {})[:2]

    class Fresh(Agent):
        pass

    def registration(who=None, **more):
        who = who or Fresh(co, "fresh")
        given = who.challenge()
        raw = json.dumps(who.body(given, key, **more)).encode()
        return raw, {"Authorization": who.proof(given, raw)}

    def login_link():
        return json.dumps({"secret": link_of(co, "temporary")}).encode(), {}

    def waiting_policy():
        admin.ok("PUT", "/policy", {"text": "version: 1\ndefault: allow\n", "confirm": 60})
        return {}, admin.headers

    # operation: (id, body, by); in the order in which they can be called
    calls = {
        "POST /agents/challenge": (None, {"public_key": b64(agent.public)}, None),
        "POST /agents/register": (None, registration, None),
        "PUT /agents/{id}/endpoint": (agent.id, {"endpoint": "192.0.2.1:1"}, "agent"),
        "GET /agents/{id}/peers": (agent.id, None, "agent"),
        "POST /agents/{id}/heartbeat": (agent.id, {}, "agent"),
        "POST /agents/{id}/token": (agent.id, {}, "agent"),
        "GET /agents/{id}/sync": (agent.id, "websocket", "agent"),
        "POST /agents/{id}/key": (agent.id, rekey, None),
        "GET /networks": (None, None, "admin"),
        "POST /networks": (None, {"name": "made", "cidr": "10.202.0.0/16", "approve": True}, "admin"),
        "GET /networks/{id}": ("made", None, "admin"),
        "PATCH /networks/{id}": ("made", {"approve": False}, "admin"),
        "DELETE /networks/{id}": ("temporary", None, "admin"),
        "GET /join-keys": (None, None, "admin"),
        "POST /join-keys": (None, {"network": "made", "tags": ["web"], "expires": "1h", "reusable": True}, "admin"),
        "GET /join-keys/{id}": (join_key, None, "admin"),
        "DELETE /join-keys/{id}": (join_key, None, "admin"),
        "GET /agents": ("?limit=10&offset=0&network=default", None, "admin"),
        "GET /agents/{id}": (agent.id, None, "admin"),
        "PATCH /agents/{id}": (agent.id, {"name": "renamed", "tags": ["web"]}, "admin"),
        "POST /agents/{id}/approve": (agent.id, {}, "admin"),
        "POST /agents/{id}/expire": (agent.id, {"in": "30d"}, "admin"),
        "GET /routes": ("?network=default", None, "admin"),
        "PATCH /routes/{id}": (route, {"approved": True}, "admin"),
        "GET /relays": (None, None, "admin"),
        "POST /relays": (None, {"region": "ams", "url": "https://relay.example.net"}, "admin"),
        "DELETE /relays/{id}": (relay, None, "admin"),
        "GET /peers": ("?network=default", None, "admin"),
        "POST /peers": (None, {"name": "phone", "agent": agent.id, "public_key": b64(Agent(co, "phone").public)}, "admin"),
        "DELETE /peers/{id}": ("phone", None, "admin"),
        "GET /policy": (None, None, "admin"),
        "PUT /policy": (None, {"text": POLICY, "file": "a.yaml", "confirm": 60}, "admin"),
        "POST /policy/check": (None, {"text": POLICY}, "admin"),
        "POST /policy/diff": (None, {"text": "version: 1\ndefault: deny\nroutes: {auto_approve: {10.0.0.0/8: [renamed]}}\n"}, "admin"),
        "POST /policy/explain": (None, {"from": "renamed", "to": "spare", "port": "tcp/22"}, "admin"),
        "POST /policy/confirm": (None, {}, "admin"),
        "POST /policy/rollback": (None, waiting_policy, "admin"),
        "GET /users": (None, None, "admin"),
        "POST /users": (None, {"name": "made", "password": PASSWORD, "role": "operator", "network": "made"}, "admin"),
        "GET /users/{id}": ("made", None, "admin"),
        "PATCH /users/{id}": ("made", {"role": "viewer"}, "admin"),
        "POST /users/{id}/link": ("made", None, "admin"),
        "DELETE /users/{id}": ("made", None, "admin"),
        "GET /tokens": (None, None, "admin"),
        "POST /tokens": (None, {"role": "viewer", "scopes": ["agents:read"], "networks": ["made"]}, "admin"),
        "DELETE /tokens/{id}": (doomed, None, "admin"),
        "GET /audit": ("?limit=5", None, "admin"),
        "GET /events": (None, "websocket", "admin"),
        "POST /session": (None, {"user": "temporary", "password": PASSWORD}, None),
        "POST /session/link": (None, login_link, None),
        "GET /session": (None, None, "session"),
        "DELETE /session": (None, None, "session"),
        "DELETE /agents/{id}": (spare.id, None, "admin"),
        "GET /openapi.json": (None, None, None),
        "GET //healthz": (None, None, None),
        "GET //metrics": (None, None, None),
        "GET //": (None, None, None),
        "GET //join": (None, None, None),
        "GET //web/{id}": ("app.js", None, None),
    }
    listed = {m.upper() + " " + (p[len("/api/v1"):] if p.startswith("/api/v1") else "/" + p): item
              for p, methods in document["paths"].items() for m, item in methods.items()}
    missing = set(listed) - set(calls)
    assert not missing, "no call is known for %r" % missing
    for name, (id_, body, who) in calls.items():
        assert name in listed, name + " is not in the document"
        operation, (method, path) = listed[name], name.split(" ")
        target = "/api/v1" + path if not path.startswith("//") else path[1:]
        target = target.replace("{id}", id_) if "{id}" in path else target + (id_ or "")
        wanted = [s for s in operation["responses"] if s < "400"]
        if body == "websocket":
            ws = Ws(co, target, by[who]["Authorization"][len("Bearer "):])
            equal((name, str(ws.status)), (name, wanted[0]))
            ws.close()
            equal(co.request(method, target, None, by[who], root=True)[0], 426, name)
            continue
        headers = dict(by[who]) if who else {}
        sent = body
        if callable(body):
            sent, headers = body()
        needed = {p["name"] for p in operation["parameters"] if p["in"] == "header"}
        if who:
            schemes = {scheme for option in operation["security"] for scheme in option}
            wanted_scheme = {"agent": "token", "admin": "api_token", "session": "session"}[who]
            assert wanted_scheme in schemes, "%s: %s is not among %r" % (name, wanted_scheme, schemes)
            equal("csrf" in schemes, "session" in schemes and method != "GET", name)
        equal({h for h in headers if h.startswith("WG-Mesh-")} - {"WG-Mesh-CSRF"}, needed, name)
        status, answer = co.request(method, target, sent, headers, root=True)
        assert str(status) in wanted, "%s: %d %r, not %s" % (name, status, answer, wanted)
        content = operation["responses"][str(status)].get("content", {}).get("application/json")
        if content:
            fits(content["schema"], answer, document, name)
        elif status != 204:
            assert isinstance(answer, bytes) or name == "GET /openapi.json", name
        else:
            equal(answer, b"", name)
        # The same without credentials, with a wrong body, with an unknown id: refused as the document says.
        wrong = []
        if operation["security"] and who:
            wrong.append((401, target, sent, {}))
        if "requestBody" in operation and who in (None, "admin"):
            wrong.append((400, target, b"{", headers))
        if who == "admin" and "{id}" in path:
            wrong.append((404, "/api/v1" + path.replace("{id}", "nothing"), sent, headers))
        if "requestBody" in operation and who == "admin":
            wrong.append((422, target, {"nonsense": 1}, headers))
        if who == "admin":
            wrong.append((422, target.partition("?")[0] + "?nonsense=1", sent, headers))
        for status, at, sent_, headers_ in wrong:
            answer = co.request(method, at, sent_, headers_, root=True)
            if (answer[0] == 401 and status != 401) or name == "POST /agents/{id}/token":
                continue # judged before the body
            equal((name, at, answer[0]), (name, at, status), answer[1])
            assert str(status) in operation["responses"], "%s: %d is not in the document" % (name, status)
            fits(document["components"]["schemas"]["Problem"], answer[1], document, name)
    # What else a good answer can be.
    responses = listed["POST /agents/register"]["responses"]
    for more in ({"preview": True}, {}):
        status, answer = co.request("POST", "/agents/register", *registration(spare if not more else Agent(co, "asks"), **more))
        equal((status, "agent_id" in answer), (200 if more else 201, not more), answer)
        fits(responses[str(status)]["content"]["application/json"]["schema"], answer, document, "registering, %r" % more)
    status, answer = co.request("POST", "/agents/register", *registration(spare))
    equal(status, 200, "registered again")
    fits(responses["200"]["content"]["application/json"]["schema"], answer, document, "registering again")
    pages = {"//": "/", "//join": "/join", "//web/{id}": "/web/app.js"}
    for path, at in pages.items():
        connection = co.connect()
        connection.request("GET", at)
        with connection.getresponse() as answer:
            answer.read()
            tag = answer.getheader("ETag")
        connection.close()
        status = co.request("GET", at, None, {"If-None-Match": tag}, root=True)[0]
        equal((status, "304" in listed["GET " + path]["responses"]), (304, True), at)
    off = Coordinator(FAST + "dashboard: false\n").start()
    try:
        for path, at in pages.items():
            status, answer = off.request("GET", at, root=True)
            equal((status, "404" in listed["GET " + path]["responses"]), (404, True), at)
            fits(document["components"]["schemas"]["Problem"], answer, document, at)
    finally:
        off.close()


@case("a member of the wrong type is refused by its name, in every request of openapi.json; null is left out")
def _(co):
    document = co.request("GET", "/openapi.json")[1]
    admin, agent = root(co), Agent(co, "types").register(co.key())
    checked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" not in operation:
                continue
            schemes = {scheme for option in operation["security"] for scheme in option}
            headers = agent.bearer() if "token" in schemes else admin.headers if "api_token" in schemes else {}
            where = method.upper(), path.replace("{id}", agent.id)
            for name, schema in operation["requestBody"]["content"]["application/json"]["schema"]["properties"].items():
                for wrong in apidoc.wrong_for(schema):
                    answer = co.request(*where, {name: wrong}, headers, root=True)
                    refused(answer, 422, "invalid")
                    assert answer[1]["detail"].startswith(name + ": must "), (where, wrong, answer)
                    checked += 1
                if method != "delete":  # which would be done
                    answer = co.request(*where, {name: None}, headers, root=True)
                    assert answer[0] < 300 or not answer[1]["detail"].startswith(name + ": must "), (where, name, answer)
    assert checked > 250, checked
    for wrong in (5, [], {}, True, ["default"]):
        answer = admin("POST", "/users", {"name": "eve", "password": PASSWORD, "role": "admin", "network": wrong})
        equal((answer[0], answer[1].get("detail")), (422, "network: must be a string"))
        equal(admin("GET", "/users/eve")[0], 404)
    sock = coordinator.socket.socket(coordinator.socket.AF_UNIX)  # the commands' own door has it so too
    sock.connect(co.dir + "/run/coordinator.sock")
    sock.sendall(json.dumps({"command": "user add", "arguments": {"name": "eve", "role": "admin", "network": 5}}).encode() + b"\n")
    said = json.loads(sock.makefile().read())
    sock.close()
    equal((said["ok"], said.get("detail")), (False, "network: must be a string"))
    made = admin.ok("POST", "/users", {"name": "eve", "password": None, "role": "viewer", "network": None}, 201)["user"]
    equal(made["roles"], [{"network": None, "role": "viewer"}])


def of_characters(counts):
    """Texts that are cut within a character, wherever they are cut: so many bytes of 2, 3 and 4 a character."""
    for count in counts:
        for character in "é€💩":
            size = len(character.encode())
            yield "a" * (count % size) + character * (count // size)


def long_for(schema, text):
    """Values for a member that have this text in them."""
    for option in schema.get("anyOf", [schema]):
        if option.get("type") == "array":
            yield [text]
            yield ["tag:" + text]
        elif option.get("type") == "string":
            yield text


@case("a text of whatever characters and length is answered, in every request of openapi.json and every command")
def _(unused):
    co = Coordinator(NO_RELAY + "limits: {requests_per_address: 100000, requests_per_agent: 10000}\n").start()
    try:
        document = co.request("GET", "/openapi.json")[1]
        admin, asked = root(co), 0
        agent = Agent(co, "texts").register(co.key())
        line = meshclient.Line(co)
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                schemes = {scheme for option in operation.get("security", []) for scheme in option}
                headers = agent.bearer() if "token" in schemes else admin.headers if "api_token" in schemes else {}
                body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
                for text in of_characters((1, 21, 39, 40, 41, 59, 60, 61, 63, 64, 65, 69, 70, 71, 99, 100, 101, 149, 150,
                                           151, 200, 255, 395, 396, 397, 398, 399, 400, 401, 500, 600)):
                    wishes = [{text: 1}] if body else []
                    for name, schema in body.get("properties", {}).items():
                        wishes += [{name: value} for value in long_for(schema, text)]
                    for wish in wishes:
                        answer = line.request(method.upper(), path.replace("{id}", agent.id)[len("/api/v1"):], wish, headers)
                        assert answer[0] != 500, (method, path, wish, answer)
                        asked += 1
        line.close()
        assert asked > 5000, asked
        with open("coordinator/admin/admin_commands.c") as f:
            commands = re.findall(r'^\t{"([a-z]+(?: [a-z]+)?)", ', f.read(), re.M)
        for command in commands:
            for text in of_characters((40, 60, 64, 70, 100, 400)):
                members = ("agent", "name", "network", "id", "user", "tags", "from", "to", "port", "label", "endpoint", "prefix")
                said = socket_command(co, command, dict.fromkeys(members, text))
                assert "ok" in said, (command, said)
        Agent(co, "ruled").register(co.key())
        for text in of_characters(range(150, 420)):
            rule = "version: 1\ndefault: deny\nacl: [{name: \"%s\", from: [any], to: [any], allow: [any]}]\n" % text
            said = admin("PUT", "/policy", {"text": rule + "tests: [{from: ruled, to: ruled, port: tcp/22, expect: deny}]\n"})
            refused(said, 422, "policy_test_failed")
    finally:
        co.close()


@case("where nothing must be said, an empty body is as good as {}; JSON that is no object is told so")
def _(co):
    document, agent = co.request("GET", "/openapi.json")[1], Agent(co, "brief").register(co.key())
    needed = {p: o["post"]["requestBody"]["required"] for p, o in document["paths"].items() if "requestBody" in o.get("post", {})}
    equal([needed["/api/v1/agents/{id}/token"], needed["/api/v1/agents/{id}/heartbeat"], needed["/api/v1/agents/register"]],
          [False, False, True])
    equal([agent.ask("POST", "/token")[0], agent.ask("POST", "/heartbeat")[0], agent.ask("PUT", "/endpoint")[0]], [200] * 3)
    refused(co.request("POST", "/agents/challenge"), 400, "bad_json")
    for body in (b"null", b"5", b"[]", b'"x"', b"true", b'"\\u0000"', b'{"public_key":"\\u0000"}'):
        refused(co.request("POST", "/agents/challenge", body), 422, "invalid")
        refused(agent.ask("POST", "/heartbeat", body), 422, "invalid")
    for body in (b"nul", b"{}5", b'"', b'{"a":"\\u0000"', b"[" * 500 + b"]" * 500):
        refused(co.request("POST", "/agents/challenge", body), 400, "bad_json")
    equal(agent.ask("DELETE", "")[0], 204)


def head_of(co, request):
    """Status and headers of the answer to a request that is written by hand."""
    with meshclient.TLS.wrap_socket(coordinator.socket.create_connection(("127.0.0.1", co.port), timeout=20)) as sock:
        sock.sendall(request.encode())
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return answer.status, answer


@case("a WebSocket: what is asked otherwise is told what is needed (RFC 9110 15.5.22, RFC 6455 4.2.2)")
def _(co):
    agent, admin = Agent(co, "upgrades").register(co.key()), root(co)
    good = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    table = [({}, "1.1", 101), ({"Upgrade": "h2c, WebSocket"}, "1.1", 101), ({"Connection": "keep-alive, upgrade"}, "1.1", 101),
             ({"Upgrade": None}, "1.1", 426), ({"Upgrade": "h2c"}, "1.1", 426), ({"Connection": "close"}, "1.1", 426),
             ({"Sec-WebSocket-Version": "8"}, "1.1", 426), ({"Sec-WebSocket-Version": None}, "1.1", 426), ({}, "1.0", 426),
             ({"Sec-WebSocket-Key": None}, "1.1", 400), ({"Sec-WebSocket-Key": "x"}, "1.1", 400),
             ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=!"}, "1.1", 400), ({"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZXh4"}, "1.1", 400)]
    for path, by in (("/api/v1/agents/%s/sync" % agent.id, agent.bearer()), ("/api/v1/events", admin.headers)):
        for changes, version, status in table:
            headers = {"Host": "a", **good, **by, **changes}
            text = "".join("%s: %s\r\n" % item for item in headers.items() if item[1])
            seen, answer = head_of(co, "GET %s HTTP/%s\r\n%s\r\n" % (path, version, text))
            equal((path, changes, version, seen), (path, changes, version, status))
            if status == 426:
                equal((answer.getheader("Upgrade"), answer.getheader("Sec-WebSocket-Version")), ("websocket", "13"), changes)
                assert "upgrade" in answer.getheader("Connection").lower(), changes


@case("an agent's token is good for what the agent asks itself, and administration says so")
def _(co):
    agent, other = Agent(co, "one").register(co.key()), Agent(co, "two").register(co.key())
    for method, path, body in (("GET", "/agents/" + agent.id, None), ("GET", "/agents", None), ("GET", "/session", None),
                               ("POST", "/join-keys", {"network": "default"}), ("GET", "/agents/" + other.id, None)):
        refused(co.request(method, path, body, agent.bearer()), 403, "not_yours")
    refused(co.request("GET", "/agents", None, {"Authorization": "Bearer " + agent.token[:-2]}), 401, "token_invalid")
    co.admin("agent", "remove", "one")
    refused(co.request("GET", "/agents", None, agent.bearer()), 401, "token_invalid")


@case("who asks after its health is not counted, and all else is")
def _(unused):
    co = Coordinator(NO_RELAY + "limits: {requests_per_address: 2}\n").start()
    try:
        connection = co.connect()

        def statuses(method, path, body=None):
            seen = set()
            for _ in range(100):
                connection.request(method, path, body)
                with connection.getresponse() as answer:
                    seen.add(answer.status)
                    answer.read()
            return seen

        equal(statuses("GET", "/api/v1/openapi.json"), {200, 429})
        equal((statuses("GET", "/healthz"), statuses("HEAD", "/healthz")), ({200}, {200}))
        assert 429 in statuses("GET", "/healthz", b"x" * 100) and 429 in statuses("GET", "/metrics")
        connection.close()
    finally:
        co.close()


@case("each frame of the streams is as x-frames and x-events say, and what they show is taken")
def _(co):
    document = co.request("GET", "/openapi.json")[1]
    frames, events = document["x-frames"], document["x-events"]
    ours = [f for f in frames if f["from"] == "agent"]
    theirs = [f for f in frames if f["from"] == "coordinator"]
    equal(len(ours) + len(theirs), len(frames))
    for kind, all_ in (("x-frames", frames), ("x-events", events)):
        for frame in all_:
            assert frame["summary"] and frame["schema"]["properties"]["type"] == {"const": frame["type"]}, frame
            fits(frame["schema"], frame["example"], document, "%s: %s" % (kind, frame["type"]))
            for name, schema in frame["schema"]["properties"].items():
                says = {"description", "const", "$ref"} & set(schema) or kind == "x-events" or \
                    name in ("networks", "relays", "token", "rules")
                assert says, "%s %s: nothing says what %s is" % (kind, frame["type"], name)
    key = co.key("--reusable")
    co.admin("network", "create", "lab", "--cidr", "10.201.0.0/16")
    one, two = Agent(co, "one").register(key, advertised_routes=["192.168.7.0/24"]), Agent(co, "two").register(key)
    listener = Ws(co, "/api/v1/events", root(co).headers["Authorization"][len("Bearer "):])
    streams = {"one": one.stream(hello=False), "two": two.stream()}
    seen, ops, happened = set(), set(), set()

    def hear(ws, what, seconds=10):
        """Each frame is one of the document's, strictly, until one is of this type, or has a change of this op."""
        end = time.time() + seconds
        while time.time() < end:
            try:
                frame = ws.receive(end - time.time())
            except coordinator.socket.timeout:
                break
            apidoc.frame_fits(theirs, frame, document, "from the coordinator")
            seen.add(frame["type"])
            ops.update(change["op"] for change in frame.get("changes", []))
            if frame["type"] == what or any(change["op"] == what for change in frame.get("changes", [])):
                return frame
        raise AssertionError("%s did not come; these did: %r %r" % (what, seen, ops))

    for frame in ours:  # in this order, hello first, and each is taken
        text = json.dumps(frame["example"])
        streams["one"].send(json.loads(text.replace(frame["example"]["to"], two.id)) if "to" in frame["example"] else text)
    equal(hear(streams["two"], "signal")["box"],
          next(f["example"]["box"] for f in ours if f["type"] == "signal"))
    streams["one"].send({"type": "ack", "revision": "x"})  # what comes of all that was sent before is there by then
    equal(hear(streams["one"], "error")["code"], "bad_ack", "an example was refused")
    admin = root(co)
    Agent(co, "three").register(key)
    hear(streams["two"], "put")
    with open(co.dir + "/p.yaml", "w") as f:
        f.write("version: 1\ndefault: deny\nacl: [{name: ssh, from: [one], to: [two], allow: [tcp/22, icmp]}, "
                "{name: back, from: [any], to: ['192.168.7.0/24'], allow: [any]}]\n")
    co.admin("route", "approve", "one", "192.168.7.0/24")
    hear(streams["two"], "put")
    co.admin("policy", "apply", co.dir + "/p.yaml")
    hear(streams["two"], "rules")
    co.admin("agent", "remove", "three")
    admin.ok("POST", "/relays", {"region": "fra", "stun": ["stun.example.net:3478"]}, 201)
    hear(streams["two"], "relays")
    two.register(co.key("--network", "lab", "--name", "two"))
    hear(streams["two"], "snapshot")
    admin.ok("POST", "/peers", {"name": "phone", "agent": two.id, "network": "default", "endpoint": "vpn.example.net:1",
                                "public_key": b64(Agent(co, "phone").public)}, 201)
    assert any(peer.get("device") for peer in hear(streams["two"], "snapshot")["peers"]), "the device was not told"
    epoch = hear(two.stream(), "snapshot")
    again = two.stream(epoch=epoch["epoch"], revision=epoch["revision"])
    hear(again, "resume")
    co.stop()
    hear(again, "bye")
    equal({f["type"] for f in theirs} - seen, {"token"}, "frames that did not come")
    equal({"put", "patch", "remove", "relays", "rules"} - ops, set())
    try:
        while True:
            frame = listener.receive(2)
            apidoc.frame_fits(events, frame, document, "event")
            happened.add((frame["type"], frame.get("op")))
    except EOFError:
        pass
    equal(happened, {("hello", None), ("audit", None), ("agent", "put"), ("agent", "remove")})
    co.start()


@case("every code that an answer can have is in the README")
def _(co):
    with open("coordinator/README.md") as f:
        readme = set(re.findall(r"[a-z_]+", " ".join(line for line in f if line.startswith("| ") or "unknown_command" in line)))
    codes = set()
    for path in glob.glob("coordinator/**/*.c", recursive=True):
        with open(path) as f:
            codes |= set(re.findall(r'\b(?:refuse|reply_problem|api_refused|refused|problem)\(\&?\w+, \d{3},\s*"([a-z_]+)"', f.read()))
    assert len(codes) > 40, codes
    equal(sorted(codes - readme), [])


@case("a refusal that names what else to ask for names a request over REST, and a command on the socket")
def _(co):
    api, raw = root(co), []
    for method, path, body, code, request, command, arguments in (
            ("GET", "/agents/nobody", None, "unknown_agent", "GET /agents", "agent show", {"agent": "nobody"}),
            ("DELETE", "/networks/nowhere", None, "unknown_network", "GET /networks", "network remove", {"name": "nowhere"}),
            ("GET", "/join-keys/nix", None, "unknown_key", "GET /join-keys", "key show", {"id": "nix"}),
            ("PATCH", "/routes/nix", {"approved": True}, "unknown_route", "GET /routes", "route set", {"id": "nix", "approved": True}),
            ("DELETE", "/relays/nix", None, "unknown_relay", "GET /relays", "relay remove", {"id": "nix"}),
            ("DELETE", "/peers/nix", None, "unknown_device", "GET /peers", "peer remove", {"name": "nix"}),
            ("GET", "/users/nix", None, "unknown_user", "GET /users", "user show", {"user": "nix"}),
            ("DELETE", "/tokens/nix", None, "unknown_token", "GET /tokens", "token revoke", {"id": "nix"}),
            ("POST", "/policy/explain", {"from": "nix", "to": "nix", "port": "icmp"}, "unknown_agent", "GET /agents", "policy explain",
             {"from": "nix", "to": "nix", "port": "icmp"}),
            ("POST", "/policy/confirm", {}, "nothing_waits", "GET /policy", "policy confirm", {})):
        answer = api(method, path, body)
        refused(answer, answer[0], code)
        assert request in answer[1]["detail"], answer
        said = socket_command(co, command, arguments)
        equal(said["code"], code)
        words = {"unknown_device": "peer list", "unknown_key": "key list", "nothing_waits": "policy show"}.get(
            code, code.replace("unknown_", "") + " list")
        equal(said["detail"], answer[1]["detail"].replace(request, words))
    Agent(co, "told").register(co.key())
    rule, text = "{agent remove told}", "version: 1\nacl: [{name: \"%s\", from: [any], to: [any], allow: [any]}]\ntests: %s\n"
    test = "[{from: told, to: told, port: tcp/22, expect: deny}]"
    said = api("PUT", "/policy", {"text": text % (rule, test)})
    refused(said, 422, "policy_test_failed")
    assert 'by the rule "%s"' % rule in said[1]["detail"], said
    said = socket_command(co, "agent show", {"agent": "{token create}"})
    equal(said["detail"], "there is no agent {token create}: see agent list")
    with open("coordinator/admin/admin_commands.c") as f:
        commands = "|".join(re.findall(r'^\t{"([a-z]+ [a-z]+)", ', f.read(), re.M))
    for path in glob.glob("coordinator/**/*.c", recursive=True):
        with open(path) as f:
            calls = re.findall(r'\b(?:refuse|reply_problem|api_refused)\(([^;]*);', f.read())
        said = ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"', call)) for call in calls]
        raw += [(path, text) for text in said if re.search(r"\b(%s)\b|--[a-z]" % commands, re.sub(r"{(%s)[^}]*}" % commands, "", text))]
    equal(raw, [], "sentences that name a command, or an option, without braces")


@case("an agent whose name is that of a path is one like others")
def _(co):
    api = root(co)
    for name in ("register", "challenge"):
        refused(api("GET", "/agents/" + name), 404, "unknown_agent")
        agent = Agent(co, name).register(co.key())
        equal(api.ok("GET", "/agents/" + name)["agent"]["agent_id"], agent.id)
        equal(api.ok("PATCH", "/agents/" + name, {"tags": ["nas"]})["agent"]["tags"], ["nas"])
        for method in ("GET", "PATCH", "DELETE"):
            for headers in ({}, agent.bearer()):
                refused(co.request(method, "/agents/" + name, None, headers), 405, "method_not_allowed")
        refused(api("PUT", "/agents/" + name), 405, "method_not_allowed")
        api.ok("DELETE", "/agents/" + name, status=204)
        refused(api("GET", "/agents/" + name), 404, "unknown_agent")


# ---- what a user of headscale would do --------------------------------------------------------


@case("what cannot be taken is told by its own name: a coding, a parameter, a range, a word that is no text")
def _(co):
    api = root(co)
    lab = {"name": "lab", "cidr": "10.210.0.0/16"}
    for coding in ("gzip", "br, identity"):
        refused(api("POST", "/networks", lab, **{"Content-Encoding": coding}), 415, "encoding_unknown")
    api("POST", "/networks", lab, **{"Content-Encoding": "identity"})
    for query, code, word in (("network=%00", "invalid", "network: after %"), ("network=%zz", "invalid", "network: after %"),
                              ("network=%ff", "invalid", "UTF-8"), ("nets=%00", "unknown_parameter", "nets: there is no")):
        answer = api("GET", "/agents?" + query)
        refused(answer, 422, code)
        assert word in answer[1]["detail"], answer
    for name, cidr in (("a", "10.211.0.0/016"), ("b", "010.212.0.0/16")):
        refused(api("POST", "/networks", {"name": name, "cidr": cidr}), 422, "invalid")
    gate = Agent(co, "gate").register(co.key(), advertised_routes=["192.168.7.0/24"])
    assert "is not a route" in co.admin("route", "approve", "gate", "192.168.7.0/024", code=2)
    assert " 192.168.7.0/24 " in co.admin("route", "approve", "gate", "192.168.7.9/24")
    assert "192.168.7.9" not in co.admin("audit"), "the audit has another route than the one approved"
    for words in ((b"network", b"create", b"caf\xe9", b"--cidr", b"10.213.0.0/16"), (b"key", b"create", b"--name", b"caf\xe9")):
        done = subprocess.run([meshclient.PROGRAM.encode(), b"--run-dir", co.dir.encode() + b"/run", *words], capture_output=True, timeout=20)
        equal((done.returncode, b"is not UTF-8" in done.stderr), (2, True), done.stderr)
    del gate


@case("networks, keys, agents and routes over REST, and the same by command")
def _(co):
    api = root(co)
    made = api.ok("POST", "/networks", {"name": "lab", "cidr": "10.210.0.0/16"}, 201)["network"]
    equal((made["name"], made["cidr"], made["approve"]), ("lab", "10.210.0.0/16", False))
    refused(api("POST", "/networks", {"name": "lab", "cidr": "10.211.0.0/16"}), 409, "name_taken")
    refused(api("POST", "/networks", {"name": "x", "cidr": "nonsense"}), 422, "invalid")
    # The words of a refusal are those of the fields, which are those of the options too.
    for path, body, field in (("/networks", {"name": "x", "cidr": "nonsense"}, "cidr"), ("/networks", {"name": "x", "cidr": None}, "cidr"),
                              ("/networks", {"name": "x", "cidr": "10.0.0.0/32"}, "cidr"),
                              ("/networks", {"name": "x", "cidr": "10.0.0.0/16", "cidr6": "10.1.0.0/16"}, "cidr6"),
                              ("/join-keys", {"network": "lab", "expires": "soon"}, "expires")):
        said = api("POST", path, body)
        assert said[0] == 422 and field in said[1]["detail"] and "--" not in said[1]["detail"], said
    for word, on in (("on", True), ("off", False)):
        said = co.admin("network", "set", "lab", "--approve", word)
        assert "lab" in said and ("wait" in said) is on, said
        equal(api.ok("GET", "/networks/lab")["network"]["approve"], on)
    for words in ((), ("--approve", "yes")):
        said = co.admin("network", "set", "lab", *words, code=2)
        assert "--approve" in said and said.count("\n") == 1, said
    key = api.ok("POST", "/join-keys", {"network": "lab", "reusable": True, "tags": ["web"]}, 201)
    equal(key["key"]["tags"], ["web"])
    agent = Agent(co, "web-1").register(key["link"].partition("#")[2].partition(".")[0],
                                        advertised_routes=["192.168.44.0/24"])
    assert api("POST", "/agents/%s/expire" % agent.id, {"in": "soon"})[1]["detail"].startswith("in: soon is"), "as above"
    shown = api.ok("GET", "/agents/" + agent.id)["agent"]
    equal((shown["name"], shown["network"], shown["tags"]), ("web-1", "lab", ["web"]))
    equal(json.loads(co.admin("agent", "show", "web-1", "--json"))["agent"], shown)
    equal(api.ok("GET", "/agents/web-1")["agent"]["agent_id"], agent.id)
    api.ok("PATCH", "/agents/" + agent.id, {"name": "web-2", "tags": ["web", "db"]})
    refused(api("PATCH", "/agents/" + agent.id, {"name": "-", "tags": []}), 422, "name_invalid")
    equal((lambda a: (a["name"], a["tags"]))(api.ok("GET", "/agents/" + agent.id)["agent"]), ("web-2", ["web", "db"]))
    route = api.ok("GET", "/routes")["routes"][0]
    equal((route["prefix"], route["approved"]), ("192.168.44.0/24", False))
    equal(api.ok("PATCH", "/routes/" + route["id"], {"approved": True})["route"]["approved"], True)
    equal(json.loads(co.admin("route", "list", "--json"))["routes"][0]["approved"], True)
    equal(api.ok("GET", "/agents?limit=1&offset=0")["total"], 1)
    equal(api.ok("GET", "/agents?limit=1&offset=1")["agents"], [])
    refused(api("GET", "/agents?limit=x"), 422, "invalid")
    refused(api("DELETE", "/networks/lab"), 409, "network_in_use")
    api.ok("DELETE", "/agents/" + agent.id, status=204)
    refused(agent.ask("GET", "/peers"), 401, "unknown_agent")
    api.ok("DELETE", "/join-keys/" + key["id"], status=204)
    refused(Agent(co, "late").try_register(key["link"].partition("#")[2].partition(".")[0]), 403, "join_key_revoked")
    api.ok("DELETE", "/networks/lab", status=204)
    refused(api("GET", "/networks/lab"), 404, "unknown_network")
    actors = {line["actor"] for line in api.ok("GET", "/audit")["audit"] if line["action"] == "network-removed"}
    equal([a.split(" from ")[1] for a in actors], ["127.0.0.1"])


@case("a disk that is slow: what is made meanwhile is in no answer of the administration, and none waits for it")
def _(co):
    api, key = root(co), co.key("--reusable")
    gateway = Agent(co, "gateway").register(key, endpoint="192.0.2.1:51820")
    reads = {"/networks": "networks", "/join-keys": "keys", "/agents": "agents", "/routes": "routes", "/relays": "relays",
             "/peers": "devices", "/users": "users", "/tokens": "tokens"}

    def rows():
        seen = {path: api.ok("GET", path)[name] for path, name in reads.items()}
        equal([row["agents"] for row in seen["/networks"] if row["name"] == "default"], [len(seen["/agents"])])
        return {path: sorted(row.get("id") or row.get("agent_id") or row["name"] for row in seen[path]) for path in reads}

    before = rows()
    with co.no_commits():
        making = [meanwhile(api, "POST", *made) for made in (
            ("/networks", {"name": "lab", "cidr": "10.210.0.0/16"}), ("/join-keys", {"network": "default"}),
            ("/relays", {"region": "here", "url": "https://relay.example"}), ("/users", {"name": "ann", "role": "viewer"}),
            ("/peers", {"name": "phone", "agent": "gateway", "public_key": b64(b"p" * 31 + b"\0")}), ("/tokens", {"role": "viewer"}))]
        making.append(meanwhile(Agent(co, "late").try_register, key, advertised_routes=["192.168.9.0/24"]))
        assert wait_until(lambda: (metric(co, "agents"), metric(co, "networks")) == (2, 2) and metric(co, "store_queue") >= 17), "in memory"
        for _ in range(2):
            equal(rows(), before)
            for path in ("/agents/late", "/networks/lab", "/users/ann"):
                equal(api("GET", path)[0], 404, path)
            equal(socket_command(co, "agent list", {})["result"]["total"], 1)
        equal(api("GET", "/agents/" + gateway.id)[0], 200)
    equal([made()[0] for made in making], [201] * len(making))
    after = rows()
    equal({path: len(after[path]) - len(before[path]) for path in reads}, dict.fromkeys(reads, 1))


@case("what is changed is in no answer before it is on the disk: who reads meanwhile waits a moment")
def _(co):
    api = root(co)
    agent = Agent(co, "n0").register(co.key())
    for n in range(1, 20):
        with co.no_commits():
            changing = meanwhile(api, "PATCH", "/agents/" + agent.id, {"name": "n%d" % n})
            assert wait_until(lambda: metric(co, "store_queue") >= 2)
            seen, began = [], time.time()
            reading = meanwhile(lambda: seen.append(api.ok("GET", "/agents/" + agent.id)["agent"]["name"]))
            time.sleep(0.1)
            early, took = list(seen), time.time() - began
        equal(changing()[0], 200)
        reading()
        if took < 0.25:  # a database that takes longer is not waited for
            equal((early, seen), ([], ["n%d" % n]))
            return
    raise AssertionError("this machine is too slow to see it")


@case("relays that were added are told to agents, and stay")
def _(co):
    agent = Agent(co, "relayed").register(co.key())
    ws = agent.stream()
    equal(ws.receive()["relays"], [])
    co.admin("relay", "add", "https://fra.example.net:8444", "--region", "fra", "--stun", "fra.example.net:3478")
    seen = ws.find(lambda m: m.get("op") == "relays")["relays"]
    equal([(r["region"], r["url"], r["stun"]) for r in seen], [("fra", "https://fra.example.net:8444", ["fra.example.net:3478"])])
    co.stop()
    co.start()
    listed = json.loads(co.admin("relay", "list", "--json"))["relays"]
    equal([r["region"] for r in listed], ["fra"])
    co.admin("relay", "remove", listed[0]["id"])
    equal(agent.stream().receive()["relays"], [])
    for words in (["-", "--region", "x"], ["ftp://x", "--region", "x"], ["-", "--region", "X", "--stun", "a:1"],
                  ["-", "--region", "x", "--stun", "a"]):
        co.admin("relay", "add", *words, code=2)


# ---- users, sessions, tokens -----------------------------------------------------------------------


@case("users log in with their password, hashed with Argon2id, and out")
def _(co):
    user(co, "ann", "admin")
    equal(login(co, "ann", "wrong password")[0], 401)
    equal(login(co, "nobody")[1]["code"], "login_wrong")
    status, body, cookie, _ = login(co, "ann")
    equal(status, 201)
    for word in ("__Host-wg-mesh=wgm_", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert word in cookie, cookie
    ann = session(co, "ann")
    equal(ann.ok("GET", "/session")["user"], "ann")
    ann.ok("POST", "/networks", {"name": "anns", "cidr": "10.220.0.0/16"}, 201)
    line = [a for a in ann.ok("GET", "/audit")["audit"] if a["action"] == "network-created"][-1]
    equal(line["actor"], "user ann from 127.0.0.1")
    co.stop()
    co.start()
    equal(ann.ok("GET", "/session")["user"], "ann", "after a restart")
    second = session(co, "ann")
    ann.ok("PATCH", "/users/ann", {"password": PASSWORD + "!"})
    refused(second("GET", "/session"), 401, "token_invalid")
    equal(login(co, "ann")[0], 401)
    equal(login(co, "ann", PASSWORD + "!")[0], 201)
    ann.ok("DELETE", "/session", status=204)
    refused(ann("GET", "/session"), 401, "token_invalid")
    co.stop()
    database = b""
    for name in ("coordinator.db", "coordinator.db-wal"):
        try:
            with open(co.dir + "/state/" + name, "rb") as f:
                database += f.read()
        except OSError:
            pass
    assert b"$argon2id$" in database or "postgres" in co.read("coordinator.yaml")
    for secret in (PASSWORD, cookie.partition("=")[2].partition(";")[0]):
        assert secret.encode() not in database and secret not in co.log(), "a secret is on the disk"
    co.start()
    for password in ("short", "x" * 2000):
        assert "characters" in co.admin("user", "add", "bob", "--role", "viewer", stdin=password + "\n", code=2)
    co.admin("user", "add", "bob", "--role", "king", stdin=PASSWORD + "\n", code=2)
    co.admin("user", "add", "bob", "--role", "viewer", "--no-password")
    equal(login(co, "bob")[0], 401)
    co.admin("user", "passwd", "bob", stdin=PASSWORD + "\n")
    bob = session(co, "bob")
    co.admin("user", "remove", "bob")
    refused(bob("GET", "/session"), 401, "token_invalid")


@case("another site's page can do nothing with a session")
def _(co):
    user(co, "ann", "admin")
    ann = session(co, "ann")
    body = {"network": "default"}
    csrf = ann.headers["WG-Mesh-CSRF"]

    def ask(**headers):
        return co.request("POST", "/join-keys", body, {"Cookie": ann.cookie, **{k.replace("_", "-"): v for k, v in headers.items()}})

    equal(ask(Origin=co.origin, WG_Mesh_CSRF=csrf)[0], 201)
    equal(ask(Origin=co.origin, WG_Mesh_CSRF=csrf, Sec_Fetch_Site="same-origin")[0], 201)
    # Whoever knows the header's value and is no browser has proved enough; so has a page of the host that was asked.
    for headers in ({}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"},
                    {"Origin": "https://localhost:7443", "Host": "localhost:7443", "Sec_Fetch_Site": "same-origin"},
                    {"Origin": co.origin, "Host": "localhost:7443"}):
        equal(ask(WG_Mesh_CSRF=csrf, **headers)[0], 201, headers)
    other = "https://127.0.0.1:%d" % (co.port + 1)
    for headers, code in (({"Origin": co.origin}, "csrf_wrong"), ({"Origin": co.origin, "WG_Mesh_CSRF": "x"}, "csrf_wrong"),
                          ({"Origin": co.origin, "WG_Mesh_CSRF": csrf[:-1] + ("A" if csrf[-1] != "A" else "B")}, "csrf_wrong"),
                          ({}, "csrf_wrong"), ({"Sec_Fetch_Site": "none"}, "csrf_wrong"),
                          ({"Sec_Fetch_Site": "cross-site", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "https://evil.example", "Host": "localhost:7443", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "https://localhost:7444", "Host": "localhost:7443", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "null", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "https://evil.example", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": other, "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "http://127.0.0.1:%d" % co.port, "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": co.origin, "Sec_Fetch_Site": "cross-site", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": co.origin, "Sec_Fetch_Site": "same-site", "WG_Mesh_CSRF": csrf}, "cross_site")):
        refused(ask(**headers), 403, code)
    assert "missing" in ask()[1]["detail"] and "wrong" in ask(WG_Mesh_CSRF="x")[1]["detail"]
    equal(co.request("GET", "/networks", headers={"Cookie": ann.cookie})[0], 200)
    equal(login(co, "ann", headers={"Origin": "https://evil.example"})[1]["code"], "cross_site")
    secret = ann.cookie.partition("=")[2]
    refused(Api(co, secret)("GET", "/networks"), 401, "token_invalid")
    bearer = root(co).headers["Authorization"][len("Bearer "):]
    refused(co.request("GET", "/networks", headers={"Cookie": "__Host-wg-mesh=" + bearer}), 401, "token_invalid")
    for headers, status in (({"Cookie": ann.cookie, "Origin": "https://evil.example"}, 403), ({"Cookie": ann.cookie}, 403),
                            ({"Cookie": ann.cookie, "WG-Mesh-CSRF": csrf}, 101), ({"Cookie": ann.cookie, "Origin": co.origin}, 101)):
        equal(Ws(co, "/api/v1/events", None, headers=headers).status, status, headers)
    equal(co.request("DELETE", "/session", None, {"Cookie": ann.cookie})[0], 403)
    equal(co.request("DELETE", "/session", None, {"Cookie": ann.cookie, "WG-Mesh-CSRF": csrf})[0], 204, "logging out, by curl")


@case("wrong passwords are answered ever more slowly")
def _(co):
    user(co, "ann", "viewer")
    answers = [login(co, "ann", "wrong password %d" % i) for i in range(8)]
    equal({a[0] for a in answers}, {401, 429})
    equal([a[0] for a in answers[:5]], [401] * 5)
    equal(answers[-1][1]["code"], "too_many_attempts")
    assert int(answers[-1][3].getheader("Retry-After")) >= 1
    equal(login(co, "ann")[0], 429, "also the right one has to wait")
    time.sleep(float(answers[-1][3].getheader("Retry-After")) + 0.1)
    equal(login(co, "ann")[0], 201)
    equal(login(co, "ann", "wrong again, but forgiven")[0], 401)
    assert "login-refused" in co.admin("audit")


@case("a link to the dashboard logs its user in once, and is nothing else")
def _(co):
    user(co, "ann", "operator")
    first = link_of(co, "ann")
    secret = link_of(co, "ann")
    refused(by_link(co, first), 401, "link_wrong")  # a new one ends those before
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
                    {"Origin": co.origin, "Sec-Fetch-Site": "cross-site"}):
        refused(by_link(co, secret, **headers), 403, "cross_site")
        equal(login(co, "ann", headers=headers)[1].get("code"), "cross_site")
    refused(Api(co, secret)("GET", "/networks"), 401, "token_invalid")
    refused(co.request("GET", "/networks", headers={"Cookie": "__Host-wg-mesh=" + secret}), 401, "token_invalid")
    equal([t["kind"] for t in json.loads(co.admin("token", "list", "--json"))["tokens"] if t["user"] == "ann"], ["link"])
    co.stop()
    co.start()
    connection = co.connect()
    connection.request("POST", "/api/v1/session/link", json.dumps({"secret": secret}), {"Origin": co.origin})
    answer = connection.getresponse()
    body, cookie = json.loads(answer.read()), answer.getheader("Set-Cookie")
    connection.close()
    equal((answer.status, body["user"], [r["role"] for r in body["roles"]]), (201, "ann", ["operator"]))
    for word in ("__Host-wg-mesh=wgm_", "HttpOnly", "Secure", "SameSite=Strict"):
        assert word in cookie, cookie
    ann = Api(co)
    ann.headers = {"Cookie": cookie.partition(";")[0], "Origin": co.origin, "WG-Mesh-CSRF": body["csrf_token"]}
    ann.ok("POST", "/join-keys", {"network": "default"}, 201)
    actors = [line["actor"] for line in ann.ok("GET", "/audit")["audit"] if line["action"] == "key-created"]
    equal(actors[-1], "user ann from 127.0.0.1")
    refused(by_link(co, secret), 401, "link_wrong")
    assert "used already" in by_link(co, secret)[1]["detail"]
    for spoil in (("user", "passwd", "ann"), ("user", "remove", "ann")):
        secret = link_of(co, "ann")
        co.admin(*spoil, stdin=PASSWORD + "\n")
        refused(by_link(co, secret), 401, "link_wrong")
    user(co, "bob", "viewer")
    secret = link_of(co, "bob")
    revoked = [t["id"] for t in json.loads(co.admin("token", "list", "--json"))["tokens"] if t["kind"] == "link" and t["user"] == "bob"]
    co.admin("token", "revoke", revoked[0])
    equal([by_link(co, secret)[1]["code"] for _ in range(20)], ["link_wrong"] * 20)
    equal(login(co, "bob")[0], 201, "no password waits for that")
    refused(co.request("POST", "/session/link", {}), 422, "invalid")
    database = b"".join(open(path, "rb").read() for path in glob.glob(co.dir + "/state/coordinator.db*"))
    assert secret.encode() not in database and secret not in co.log() and secret not in co.admin("audit")
    co.admin("user", "link", "nobody", code=1)


@case("a link is given by who manages the user, and ends after an hour")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.230.0.0/16")
    for name, role, *where in (("ann", "admin"), ("red", "admin", "--network", "lab"), ("one", "viewer", "--network", "lab")):
        user(co, name, role, *where)
    ann, red, one = (session(co, name) for name in ("ann", "red", "one"))
    made = red.ok("POST", "/users/one/link", {}, 201)
    equal(by_link(co, made["link"].partition("=")[2])[1]["user"], "one")
    refused(red("POST", "/users/ann/link", {}), 404, "unknown_user")
    refused(one("POST", "/users/one/link", {}), 403, "role_too_low")
    refused(token(co, "--user", "ann", "--scope", "read")("POST", "/users/one/link", {}), 403, "scope_missing")
    secret = ann.ok("POST", "/users/one/link", {}, 201)["link"].partition("=")[2]
    if not meshclient.POSTGRES:
        co.stop()
        with meshclient.sqlite3.connect(co.dir + "/state/coordinator.db") as database:
            ends = database.execute("SELECT expires_at - created_at FROM tokens WHERE session=2").fetchall()
            equal([abs(e[0] - 3600000) < 1000 for e in ends], [True] * len(ends))
            database.execute("UPDATE tokens SET expires_at=1 WHERE session=2")
        database.close()
        co.start()
        refused(by_link(co, secret), 401, "link_wrong")


@case("a higher role ends what others may have begun; what they made in it stays with the roles of then")
def _(co):
    for name, cidr in (("red", "10.230.0.0/16"), ("blue", "10.231.0.0/16")):
        co.admin("network", "create", name, "--cidr", cidr)
    user(co, "boss", "admin", "--network", "red")
    user(co, "carl", "viewer", "--network", "red")
    boss = session(co, "boss")

    def link():
        return boss.ok("POST", "/users/carl/link", {}, 201)["link"].partition("=")[2]

    begun, own, unused = linked(co, link()), session(co, "carl"), link()
    listening = Ws(co, "/api/v1/events", None, headers={"Cookie": begun.cookie, "Origin": co.origin})
    listening.receive()
    co.admin("user", "role", "carl", "operator", "--network", "red")
    assert listening.ended(5), "goes on to hear"
    for gone in (begun, own):
        refused(gone("GET", "/networks"), 401, "token_invalid")
    refused(by_link(co, unused), 401, "link_wrong")
    begun, unused = linked(co, link()), link()
    made = [Api(co, begun.ok("POST", "/tokens", how, 201)["secret"])
            for how in ({}, {"role": "operator"}, {"scopes": ["write"]}, {"networks": ["red"]})]
    co.admin("user", "role", "carl", "viewer", "--network", "red")  # lower: nobody is thrown out
    equal(begun("GET", "/networks")[0], 200)
    if not meshclient.POSTGRES:  # as if another coordinator had said it at that moment
        co.stop()
        co.execute("UPDATE users SET roles='{\"*\":\"admin\"}' WHERE name='carl'")
        co.start()
        refused(by_link(co, unused), 401, "link_wrong")
        equal([n["name"] for n in begun.ok("GET", "/networks")["networks"]], ["red"])
        refused(begun("PATCH", "/users/carl", {"password": "another one"}), 403, "session_needed")
    for where in ("blue", "red"):
        co.admin("user", "role", "carl", "admin", "--network", where)
    for api in made:
        equal([n["name"] for n in api.ok("GET", "/networks")["networks"]], ["red"])
        refused(api("POST", "/join-keys", {"network": "blue"}), 404, "unknown_network")
        refused(api("POST", "/users", {"name": "own", "role": "viewer", "network": "red"}), 403, "role_too_low")
    refused(boss("POST", "/users/carl/link", {}), 404, "unknown_user")
    equal({n["name"] for n in linked(co, link_of(co, "carl")).ok("GET", "/networks")["networks"]} >= {"red", "blue"}, True)
    assert "have ended" in co.admin("user", "role", "boss", "admin", "--network", "blue")
    assert "have ended" not in co.admin("user", "role", "boss", "viewer", "--network", "blue")


@case("a token that has scopes lets nobody in who has none")
def _(co):
    user(co, "ann", "admin")
    user(co, "one", "viewer")
    held, free = token(co, "--user", "ann", "--scope", "users:write"), token(co, "--user", "ann")
    for api in (held, token(co, "--role", "admin", "--scope", "write")):
        for method, path, body in (("POST", "/users/ann/link", {}), ("POST", "/users/one/link", {}),
                                   ("PATCH", "/users/one", {"password": PASSWORD}),
                                   ("PATCH", "/users/ann", {"password": PASSWORD}),
                                   ("PATCH", "/users/one", {"password": PASSWORD, "role": "operator"}),
                                   ("POST", "/users", {"name": "two", "role": "viewer", "password": PASSWORD})):
            answer = api(method, path, body)
            refused(answer, 403, "scope_missing")
            assert "without scopes" in answer[1]["detail"], answer
    equal(sorted(u["name"] for u in held.ok("GET", "/users")["users"]), ["admin", "ann", "one"])
    held.ok("PATCH", "/users/one", {"role": "operator"})
    held.ok("POST", "/users", {"name": "two", "role": "viewer"}, 201)
    equal([t["kind"] for t in json.loads(co.admin("token", "list", "--json"))["tokens"] if t["kind"] == "link" and t["user"] != "admin"], [])
    free.ok("PATCH", "/users/one", {"password": PASSWORD})
    linked(co, free.ok("POST", "/users/one/link", {}, 201)["link"].partition("=")[2])
    free.ok("POST", "/users", {"name": "three", "role": "viewer", "password": PASSWORD}, 201)


@case("the dashboard's files: types, policy, tags; no other file; none where it is off")
def _(co):
    def get(path, method="GET", **headers):
        connection = co.connect()
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer
        finally:
            connection.close()

    for path, kind in (("/", "text/html"), ("/join", "text/html"), ("/web/app.js", "text/javascript"), ("/web/style.css", "text/css"),
                       ("/web/icon.svg", "image/svg+xml")):
        status, body, answer = get(path)
        equal((status, answer.getheader("Content-Type")), (200, kind + "; charset=utf-8"), path)
        name = {"/": "index.html", "/join": "join.html"}.get(path, path.rpartition("/")[2])
        with open("coordinator/web/" + name, "rb") as f:
            equal(body, f.read(), path)
        rules = dict(rule.strip().partition(" ")[::2] for rule in answer.getheader("Content-Security-Policy").split(";"))
        equal((rules["default-src"], rules["script-src"], rules["style-src"], rules["connect-src"], rules["frame-ancestors"]),
              ("'none'", "'self'", "'self'", "'self'", "'none'"))
        for header, value in (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-cache")):
            equal(answer.getheader(header), value, header)
        tag = answer.getheader("ETag")
        equal(get(path, If_None_Match=tag)[:2], (304, b""), path)
        equal(get(path, If_None_Match='"other"')[0], 200)
        status, body, head = get(path, "HEAD")
        equal((status, body, head.getheader("ETag"), head.getheader("Content-Length")), (200, b"", tag, answer.getheader("Content-Length")))
        equal(get(path, "POST")[0], 405)
    for path in ("/web/README.md", "/web/embed.sh", "/web/index.html", "/web/", "/web", "/index.html", "/web/../dispatch.c", "/web/%2e%2e/dispatch.c",
                 "/web/..%2fdispatch.c", "/favicon.ico", "//"):
        status, body, _ = get(path)
        assert status in (400, 404), path
    secret = link_of(co, "admin")
    co.stop()
    with open(co.dir + "/coordinator.yaml", "a") as f:
        f.write("dashboard: false\n")
    co.start()
    refused(by_link(co, secret), 409, "dashboard_off")
    for path in ("/", "/join", "/web/app.js"):
        equal(get(path)[0], 404, path)
    assert "dashboard: true" in co.admin("user", "link", "admin", code=1)
    off = Coordinator(FAST + "dashboard: false\n").start()
    try:
        wait_until(lambda: off.read("out"))
        equal(["/join#" in line for line in off.read("out").split()], [True])
        equal(json.loads(off.admin("user", "list", "--json"))["users"], [])
        off.stop()
        text = off.read("coordinator.yaml").replace("dashboard: false", "dashboard: true")
        with open(off.dir + "/coordinator.yaml", "w") as f:
            f.write(text)
        off.start()
        said = off.admin("user", "link", "admin", code=1)
        remedy = re.search(r"with (user add admin --role admin --no-password)$", said.strip())
        assert remedy and said.count("\n") == 1, said
        assert "by a link" in off.admin(*remedy.group(1).split())
        equal(by_link(off, link_of(off, "admin"))[0], 201)
    finally:
        off.close()


@case("a token shows what it may do: in the answer that makes it, in the list and in the audit")
def _(co):
    api = root(co)
    for name, n in (("b", 210), ("c", 211)):
        api.ok("POST", "/networks", {"name": name, "cidr": "10.%d.0.0/16" % n}, 201)
    user(co, "bea", "admin", "--network", "b")
    made = session(co, "bea").ok("POST", "/tokens", {"role": "admin"}, 201)["token"]
    equal(made["roles"], [{"network": "b", "role": "admin"}])
    listed = lambda: [t["roles"] for t in api.ok("GET", "/tokens")["tokens"] if t["id"] == made["id"]]
    equal(listed(), [made["roles"]])
    line = next(l for l in co.admin("audit").splitlines() if made["id"] in l and "token-created" in l)
    assert line.endswith("bea: admin of b"), line
    assert "admin of b " in next(l for l in co.admin("token", "list").splitlines() if made["id"] in l)
    # It follows its user's, as far as it may.
    co.admin("user", "role", "bea", "viewer", "--network", "b")
    co.admin("user", "role", "bea", "operator", "--network", "c")
    equal(listed(), [[{"network": "b", "role": "viewer"}, {"network": "c", "role": "operator"}]])
    equal(api.ok("POST", "/tokens", {"role": "viewer"}, 201)["token"]["roles"], [{"network": None, "role": "viewer"}])


@case("a token or link says when it was used, and nothing as long as it was not")
def _(co):
    made = json.loads(co.admin("token", "create", "--role", "viewer", "--name", "idle", "--json"))
    equal((sorted(made), made["token"]["used_at"]), (["expires_at", "schema", "secret", "token"], None))
    api = token(co, "--role", "viewer", "--name", "busy")
    api.ok("GET", "/agents")
    user(co, "ann", "viewer")
    session(co, "ann")
    link_of(co, "ann")

    def used():
        return {(t["kind"], t["name"]): t["used_at"] is not None for t in json.loads(co.admin("token", "list", "--json"))["tokens"]}
    wanted = {("token", "idle"): False, ("token", "busy"): True, ("session", None): True, ("link", None): False}
    equal({key: value for key, value in used().items() if key in wanted}, wanted)
    rows = [line.split() for line in co.admin("token", "list").splitlines()]
    equal([(row[-1] == "-") for row in rows if "idle" in row or "busy" in row].count(True), 1)
    co.stop()
    # As earlier versions wrote it.
    co.execute("UPDATE tokens SET used_at=created_at WHERE used_at=0")
    co.start()
    equal({key: value for key, value in used().items() if key in wanted}, wanted)


@case("API tokens: shown once, held to role, networks, scopes and time, revoked at once")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.230.0.0/16")
    user(co, "ann", "operator")
    api = token(co, "--user", "ann", "--scope", "agents:read", "--scope", "keys:write")
    equal(api("GET", "/agents")[0], 200)
    equal(api("POST", "/join-keys", {"network": "lab"})[0], 201)
    equal(api("GET", "/join-keys")[0], 200)
    for method, path, body in (("GET", "/routes", None), ("GET", "/audit", None), ("DELETE", "/agents/x", None),
                               ("GET", "/tokens", None), ("POST", "/tokens", {}), ("PATCH", "/users/ann", {"password": PASSWORD})):
        refused(api(method, path, body), 403, "scope_missing")
    refused(api("GET", "/events"), 403, "scope_missing")
    read = token(co, "--user", "ann", "--scope", "read")
    equal(read("GET", "/routes")[0], 200)
    refused(read("POST", "/join-keys", {"network": "lab"}), 403, "scope_missing")
    lab = token(co, "--user", "ann", "--network", "lab", "--role", "operator")
    equal([n["name"] for n in lab.ok("GET", "/networks")["networks"]], ["lab"])
    refused(lab("POST", "/join-keys", {"network": "default"}), 404, "unknown_network")
    short = token(co, "--user", "ann", "--expires", "1s")
    time.sleep(1.1)
    refused(short("GET", "/agents"), 401, "token_invalid")
    # What a token makes has no more than itself.
    maker = token(co, "--user", "ann", "--scope", "tokens:write", "--scope", "agents:read", "--network", "lab", "--role", "operator")
    child = Api(co, maker.ok("POST", "/tokens", {}, 201)["secret"])
    equal([n["name"] for n in json.loads(co.admin("token", "list", "--json"))["tokens"] if n["kind"] == "session"], [])
    refused(child("GET", "/routes"), 403, "scope_missing")
    refused(maker("POST", "/tokens", {"scopes": ["write"]}), 403, "scope_missing")
    refused(maker("POST", "/tokens", {"networks": ["default"]}), 404, "unknown_network")
    refused(maker("POST", "/tokens", {"role": "admin", "networks": ["lab"]}), 403, "role_too_low")
    refused(maker("POST", "/tokens", {"user": "root"}), 404, "unknown_user")
    refused(maker("POST", "/tokens", {"scopes": ["everything"]}), 422, "scope_invalid")
    refused(maker("POST", "/tokens", {"scopes": []}), 422, "invalid")
    # Nor has it a longer life, or a way to live on in others once it is revoked.
    refused(lab("POST", "/tokens", {"networks": ["lab"]}), 403, "scope_missing")
    refused(token(co, "--user", "ann", "--scope", "write")("POST", "/tokens", {"scopes": ["read"]}), 403, "scope_missing")
    hour = json.loads(co.admin("token", "create", "--role", "admin", "--expires", "1h", "--json"))
    for expires in ("never", "2h", "30m"):
        child = Api(co, hour["secret"]).ok("POST", "/tokens", {"role": "viewer", "expires": expires}, 201)
        assert child["expires_at"] <= hour["expires_at"], (child, hour)
        equal(child["expires_at"] < hour["expires_at"], expires == "30m")
        key = Api(co, hour["secret"]).ok("POST", "/join-keys", {"network": "lab", "reusable": True, "expires": expires}, 201)
        assert key["expires_at"] == key["key"]["expires_at"] <= hour["expires_at"], (key, hour)
        equal(key["expires_at"] < hour["expires_at"], expires == "30m")
    made = maker.ok("POST", "/tokens", {"name": "ci"}, 201)
    assert made["secret"] not in json.dumps(json.loads(co.admin("token", "list", "--json")))
    co.admin("user", "role", "ann", "viewer")
    refused(Api(co, made["secret"])("GET", "/routes"), 403, "scope_missing")
    refused(api("POST", "/join-keys", {"network": "lab"}), 403, "role_too_low")
    co.admin("user", "role", "ann", "none")
    refused(api("GET", "/agents"), 403, "role_too_low")
    co.admin("token", "revoke", made["token"]["id"])
    refused(Api(co, made["secret"])("GET", "/agents"), 401, "token_invalid")
    for secret in ("wgm_x", "x", "wgm_" + "A" * 43):
        refused(Api(co, secret)("GET", "/agents"), 401, "token_invalid")
    assert "--user" in co.admin("token", "create", code=2)
    co.stop()
    with open(co.dir + "/log") as f:
        assert made["secret"] not in f.read()
    co.start()
    equal(read("GET", "/agents")[0], 403, "a user without a role")


# ---- joining ---------------------------------------------------------------------------------------


@case("a network may ask for approval: until then an agent sees nobody, and nobody sees it")
def _(co):
    co.admin("network", "create", "careful", "--cidr", "10.240.0.0/16", "--approve")
    key = co.key("--network", "careful", "--reusable")
    first, second = Agent(co, "first").register(key), Agent(co, "second").register(key)
    co.admin("agent", "approve", "first")
    ws1, ws2 = first.stream(), second.stream()
    equal(([], []), (ws1.receive()["peers"], ws2.receive()["peers"]))
    equal(first.ask("GET", "/peers")[1]["peers"], [])
    first.ask("PUT", "/endpoint", {"endpoint": "192.0.2.5:5"})
    second.ask("PUT", "/endpoint", {"endpoint": "192.0.2.6:6"})
    for ws, to in ((ws1, second), (ws2, first)):
        ws.send({"type": "signal", "id": 1, "to": to.id, "network": "careful", "box": b64(b"s" * 99)})
        equal(ws.find(lambda m: m.get("type") in ("error", "delta", "snapshot"))["code"], "unknown_peer")
    equal([(a["name"], a["approved"]) for a in json.loads(co.admin("agent", "list", "--json"))["agents"]],
          [("first", True), ("second", False)])
    co.stop()
    co.start()
    equal(second.ask("GET", "/peers")[1]["peers"], [], "after a restart")
    equal(second.try_register(key)[1]["approved"], False, "registering again approves nothing")
    ws1, ws2 = first.stream(), second.stream()
    ws1.receive(), ws2.receive()
    co.admin("agent", "approve", "second")
    equal([p["name"] for p in ws2.find(lambda m: m.get("type") == "snapshot" and m["peers"])["peers"]], ["first"])
    assert ws1.find(lambda m: m.get("op") == "put" and m["peer"]["name"] == "second"), "the other is not told"


@case("ephemeral agents go when they were away for a while, others stay")
def _(unused):
    co = Coordinator(FAST + "ephemeral_after: 2s\n").start()
    try:
        key, lasting = co.key("--ephemeral", "--reusable"), Agent(co, "lasting").register(co.key())
        here, gone = Agent(co, "here").register(key), Agent(co, "gone").register(key)
        ws = here.stream()
        ws.receive()
        gone.stream().close()
        assert wait_until(lambda: gone.ask("GET", "/peers")[0] == 401, 15), "it is still there"
        assert ws.find(lambda m: m.get("op") == "remove" and m["agent_id"] == gone.id)
        equal([here.ask("GET", "/peers")[0], lasting.ask("GET", "/peers")[0]], [200, 200])
        assert "ephemeral" in co.admin("audit")
    finally:
        co.close()


@case("who joins again by a key that is not ephemeral stays")
def _(unused):
    co = Coordinator(FAST + "ephemeral_after: 2s\n").start()
    try:
        passing, lasting = co.key("--ephemeral", "--reusable"), co.key("--reusable")
        gone, kept = Agent(co, "gone").register(passing), Agent(co, "kept").register(passing)
        kept.register(lasting)
        kept.register(lasting)
        equal({row["name"]: row["ephemeral"] for row in coordinator.agents(co)}, {"gone": True, "kept": False})
        assert wait_until(lambda: gone.ask("GET", "/peers")[0] == 401, 15), "it is still there"
        time.sleep(3)
        equal(kept.ask("GET", "/peers")[0], 200)
    finally:
        co.close()


@case("an agent expires when it was told to: token and stream end, and it joins again by proof and key")
def _(co):
    agent, other = Agent(co, "short").register(co.key()), Agent(co, "other").register(co.key())
    ws, seen = agent.stream(), other.stream()
    ws.receive(), seen.receive()
    co.admin("agent", "expire", "short", "--in", "2s")
    equal(agent.ask("GET", "/peers")[0], 200)
    assert ws.find(lambda m: m.get("type") == "bye" and m["reason"] == "expired", 2 + 3)
    assert ws.ended(2), "its stream goes on"
    assert seen.find(lambda m: m.get("op") == "remove" and m["agent_id"] == agent.id, 3)
    refused(agent.ask("GET", "/peers"), 401, "agent_expired")
    refused(coordinator.by_proof(co, agent, "/token"), 401, "agent_expired")
    status, answer = agent.try_register(co.key())
    equal((status, answer["agent_id"]), (200, agent.id))
    agent.token = answer["token"]
    time.sleep(3)
    equal(agent.ask("GET", "/peers")[0], 200, "it expires again")


@case("agent list says who is online, waits or has expired; what has expired is given no other time")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.31.0.0/16", "--approve")
    agents = {name: Agent(co, name).register(co.key("--network", network)) for name, network in
              (("here", "default"), ("away", "default"), ("over", "default"), ("asks", "lab"))}
    agents["over"].try_register(co.key("--network", "lab"))
    co.admin("agent", "approve", "over", "--network", "lab")
    ws = agents["here"].stream()
    ws.receive()
    co.admin("agent", "expire", "over", "--network", "default")
    co.admin("agent", "expire", "away", "--in", "30d")

    def listed():
        head, *rows = co.admin("agent", "list").splitlines()
        at = head.index("STATE")
        return {(row.split()[0], row.split()[2]): row[at:].split()[:2] for row in rows}
    assert wait_until(lambda: listed()["here", "default"][0] == "online")
    equal({key: row[0] for key, row in listed().items()}, {
        ("here", "default"): "online", ("away", "default"): "offline", ("over", "default"): "expired", ("over", "lab"): "offline",
        ("asks", "lab"): "waiting"})
    equal((listed()["here", "default"][1], listed()["away", "default"][1][:2]), ("-", "20"))
    for in_ in ("2h", "never"):
        said = co.admin("agent", "expire", "over", "--network", "default", "--in", in_, code=1)
        assert "over has expired" in said and said.count("\n") == 1, said
        refused(root(co)("POST", "/agents/%s/expire" % agents["over"].id, {"in": in_, "network": "default"}), 409, "agent_expired")
    equal(root(co).ok("GET", "/agents/%s?network=default" % agents["over"].id)["agent"]["expires_at"], None)
    assert "expires in 2h" in co.admin("agent", "expire", "over", "--in", "2h"), "where it has not expired"
    equal((listed()["over", "default"][1], listed()["over", "lab"][1][:2]), ("-", "20"))


@case("a key is rotated without a break: same stream, same id, peers are told")
def _(co):
    key = co.key("--reusable")
    agent, peer = Agent(co, "rotating").register(key), Agent(co, "peer").register(key)
    ws, seen = agent.stream(), peer.stream()
    ws.receive(), seen.receive()
    rotate(agent)
    put = seen.find(lambda m: m.get("op") == "put" and m["peer"]["agent_id"] == agent.id)
    equal((put["peer"]["public_key"], put["peer"]["name"]), (b64(agent.public), "rotating"))
    equal(agent.ask("GET", "/peers")[0], 200, "its token")
    peer.ask("PUT", "/endpoint", {"endpoint": "192.0.2.50:5"})
    assert ws.find(lambda m: m.get("endpoint") == "192.0.2.50:5"), "its stream has ended"


@case("last_seen and online state survive a restart")
def _(co):
    key = co.key("--reusable")
    there, away = Agent(co, "there").register(key), Agent(co, "away").register(key)
    ws = there.stream()
    ws.receive()
    away.stream().close()
    def state():
        return {a["name"]: (a["online"], a["last_seen"]) for a in json.loads(co.admin("agent", "list", "--json"))["agents"]}
    assert wait_until(lambda: state()["away"][0] is False and state()["there"][0] is True, 10)
    before = state()
    co.stop()
    co.start()
    equal({n: s[0] for n, s in state().items()}, {"there": True, "away": False})
    equal(state()["away"], before["away"])


# ---- tenants -------------------------------------------------------------------------------------------


@case("where an agent has expired, nobody hears what it does in its other networks")
def _(co):
    for name, cidr in (("red", "10.230.0.0/16"), ("blue", "10.231.0.0/16")):
        co.admin("network", "create", name, "--cidr", cidr)
    red, blue = (co.key("--network", name, "--reusable") for name in ("red", "blue"))
    agent = Agent(co, "both").register(red, capabilities=["old"])
    agent.register(blue, capabilities=["old"])
    apis = {name: token(co, "--role", "viewer", "--network", name) for name in ("red", "blue")}
    co.admin("agent", "expire", "both", "--network", "red")
    hearing = {name: Ws(co, "/api/v1/events", api.headers["Authorization"][7:]) for name, api in apis.items()}
    for ws in hearing.values():
        ws.receive()
    rotate(agent)
    agent.register(blue, capabilities=["new"])
    actions = {name: [line["action"] for line in api.ok("GET", "/audit")["audit"] if line["subject"] == agent.id]
               for name, api in apis.items()}
    equal(actions["blue"][-2:], ["agent-rekeyed", "agent-registered-again"])
    equal(actions["red"], ["agent-registered", "agent-expired"])
    assert hearing["blue"].find(lambda m: m.get("type") == "agent" and m["agent"]["public_key"] == b64(agent.public), 3)
    equal(hearing["red"].find(lambda m: True, 0.5), None)
    shown = {name: api.ok("GET", "/agents/" + agent.id)["agent"].get("capabilities") for name, api in apis.items()}
    equal(shown, {"red": None, "blue": ["new"]})
    agent.register(red, capabilities=["new"])
    equal(apis["red"].ok("GET", "/agents/" + agent.id)["agent"]["capabilities"], ["new"])


@case("two organisations on one coordinator: nothing of one can be seen, named or changed from the other")
def _(co):
    for name, number in (("red", 1), ("blue", 2)):
        co.admin("network", "create", name, "--cidr", "10.25%d.0.0/16" % number)
    key = {n: co.key("--network", n, "--reusable") for n in ("red", "blue")}
    agents = {n: Agent(co, n + "-1").register(key[n], advertised_routes=["192.168.%d.0/24" % i])
              for i, n in enumerate(("red", "blue"))}
    both = Agent(co, "both").register(key["blue"])
    time.sleep(1.1)  # times are told in seconds
    both.register(key["red"])
    red, blue = agents["red"], agents["blue"]
    for name in ("red", "blue"):
        for role in ("viewer", "operator", "admin"):
            user(co, "%s-%s" % (name, role), role, "--network", name)
    by = {n: token(co, "--user", n) for n in ("red-viewer", "red-operator", "red-admin", "blue-viewer", "blue-operator", "blue-admin")}
    everything = root(co)
    ids = {
        "key": [k["id"] for k in everything.ok("GET", "/join-keys")["keys"] if k["network"] == "blue"][0],
        "route": [r["id"] for r in everything.ok("GET", "/routes")["routes"] if r["network"] == "blue"][0],
        "token": [t["id"] for t in everything.ok("GET", "/tokens")["tokens"] if t["user"] == "blue-admin"][0],
        "relay": everything.ok("POST", "/relays", {"region": "x", "stun": ["a:1"]}, 201)["relay"]["id"],
    }
    everything.ok("PUT", "/policy", {"text": POLICY})
    blue.ask("PUT", "/endpoint", {"endpoint": "192.0.2.77:7"})
    phone = Agent(co, "phone")
    ids["device"] = everything.ok("POST", "/peers", {"name": "blue-phone", "agent": "blue-1", "public_key":
                                                     b64(phone.public)}, 201)["device"]["id"]
    O, A, V = by["red-operator"], by["red-admin"], by["red-viewer"]

    def explain(from_, to, **more):
        return "POST", "/policy/explain", {"from": from_, "to": to, "port": "tcp/22", **more}

    table = [
        # who, what, status, code: from red, what is blue's is unknown
        *[(w, "GET", "/networks/blue", None, 404, "unknown_network") for w in (V, O, A)],
        *[(w, "GET", "/agents?network=blue", None, 404, "unknown_network") for w in (V, O, A)],
        *[(w, "GET", "/agents/" + blue.id, None, 404, "unknown_agent") for w in (V, O, A)],
        (A, "GET", "/agents/blue-1", None, 404, "unknown_agent"),
        (A, "GET", "/agents/%s?network=blue" % both.id, None, 404, "unknown_network"),
        (O, "PATCH", "/agents/" + blue.id, {"name": "mine"}, 404, "unknown_agent"),
        (O, "PATCH", "/agents/%s?network=blue" % both.id, {"name": "mine"}, 404, "unknown_network"),
        (O, "DELETE", "/agents/" + blue.id, None, 404, "unknown_agent"),
        (O, "DELETE", "/agents/%s?network=blue" % both.id, None, 404, "unknown_network"),
        (O, "POST", "/agents/%s/expire" % blue.id, {}, 404, "unknown_agent"),
        (O, "POST", "/agents/%s/expire" % both.id, {"network": "blue"}, 404, "unknown_network"),
        (O, "POST", "/agents/%s/expire" % both.id, {"network": "blue", "in": "never"}, 404, "unknown_network"),
        (O, "POST", "/agents/%s/approve" % both.id, {"network": "blue"}, 404, "unknown_network"),
        (O, "POST", "/agents/%s/approve" % blue.id, {}, 404, "unknown_agent"),
        (O, "POST", "/join-keys", {"network": "blue"}, 404, "unknown_network"),
        (A, "GET", "/join-keys/" + ids["key"], None, 404, "unknown_key"),
        (A, "DELETE", "/join-keys/" + ids["key"], None, 404, "unknown_key"),
        (A, "GET", "/routes?network=blue", None, 404, "unknown_network"),
        (A, "PATCH", "/routes/" + ids["route"], {"approved": True}, 404, "unknown_route"),
        (A, "PATCH", "/networks/blue", {"approve": True}, 404, "unknown_network"),
        (A, "DELETE", "/networks/blue", None, 404, "unknown_network"),
        (A, "GET", "/users/blue-viewer", None, 404, "unknown_user"),
        (A, "PATCH", "/users/blue-viewer", {"password": PASSWORD}, 404, "unknown_user"),
        (A, "PATCH", "/users/red-viewer", {"role": "admin", "network": "blue"}, 404, "unknown_network"),
        (A, "DELETE", "/users/blue-viewer", None, 404, "unknown_user"),
        (A, "DELETE", "/tokens/" + ids["token"], None, 404, "unknown_token"),
        (A, "POST", "/tokens", {"user": "blue-admin"}, 404, "unknown_user"),
        (A, "POST", "/tokens", {"networks": []}, 422, "invalid"),
        (A, "POST", "/tokens", {"networks": ["blue"]}, 404, "unknown_network"),
        # one's own user of that name is told of, another's is not to be had
        (A, "POST", "/users", {"name": "blue-viewer", "role": "viewer", "network": "red"}, 403, "name_not_allowed"),
        (A, "POST", "/users", {"name": "tagger", "role": "viewer", "network": "red"}, 403, "name_not_allowed"),
        (A, "POST", "/users", {"name": "red-viewer", "role": "viewer", "network": "red"}, 409, "name_taken"),
        # that an agent is in another network too is no reason to ask which one is meant
        (O, "POST", "/peers", {"name": "mine", "agent": "both", "public_key": b64(b"x" * 32)}, 409, "no_endpoint"),
        (O, "POST", "/peers", {"name": "mine", "agent": "red-1", "endpoint": "a:1", "public_key": b64(both.public)}, 409, "key_taken"),
        (A, "GET", "/audit?network=blue", None, 404, "unknown_network"),
        (A, "GET", "/peers?network=blue", None, 404, "unknown_network"),
        (O, "POST", "/peers", {"name": "mine", "agent": blue.id, "public_key": b64(b"x" * 32)}, 404, "unknown_agent"),
        (O, "POST", "/peers", {"name": "mine", "agent": "both", "network": "blue", "public_key": b64(b"x" * 32)}, 404, "unknown_network"),
        (O, "DELETE", "/peers/" + ids["device"], None, 404, "unknown_device"),
        (O, "DELETE", "/peers/blue-phone", None, 404, "unknown_device"),
        (O, "POST", "/join-keys", {"network": "blue", "tags": ["web"]}, 404, "unknown_network"),
        # nor does the policy tell of it
        *[(w, *explain("red-1", to), 404, "unknown_agent") for w in (V, O, A) for to in ("blue-1", blue.id, "nobody", "printer", "blue-phone")],
        (V, *explain("blue-1", "red-1"), 404, "unknown_agent"),
        (V, *explain("red-1", "both", network="blue"), 404, "unknown_network"),
        (V, *explain("192.0.2.1", "192.168.9.40"), 403, "role_too_low"),
        # what belongs to all is for those with a role for everything
        *[(w, method, "/policy" + path, body, 403, "role_too_low") for w in (V, A) for method, path, body in (
            ("GET", "", None), ("PUT", "", {"text": "version: 1"}), ("POST", "/check", {"text": "version: 1"}),
            ("POST", "/diff", {"text": "version: 1"}), ("POST", "/confirm", {}), ("POST", "/rollback", {}))],
        (A, "POST", "/networks", {"name": "mine", "cidr": "10.209.0.0/16"}, 403, "role_too_low"),
        (A, "POST", "/users", {"name": "mine", "role": "admin"}, 403, "role_too_low"),
        (A, "PATCH", "/users/red-admin", {"role": "admin"}, 403, "role_too_low"),
        (A, "POST", "/relays", {"region": "y", "stun": ["a:1"]}, 403, "role_too_low"),
        (A, "DELETE", "/relays/" + ids["relay"], None, 403, "role_too_low"),
        # a role is held to what it may
        (V, "POST", "/join-keys", {"network": "red"}, 403, "role_too_low"),
        (V, "PATCH", "/agents/" + red.id, {"name": "mine"}, 403, "role_too_low"),
        (V, "DELETE", "/agents/" + red.id, None, 403, "role_too_low"),
        (V, "POST", "/peers", {"name": "mine", "agent": "red-1", "public_key": b64(b"x" * 32)}, 403, "role_too_low"),
        (V, "POST", "/agents/%s/expire" % red.id, {}, 403, "role_too_low"),
        (V, "PATCH", "/users/red-admin", {"password": PASSWORD}, 404, "unknown_user"),
        (V, "PATCH", "/users/red-viewer", {"password": PASSWORD}, 403, "session_needed"),
        (V, "PATCH", "/users/red-viewer", {"role": "admin", "network": "red"}, 403, "role_too_low"),
        (O, "PATCH", "/networks/red", {"approve": True}, 403, "role_too_low"),
        (O, "DELETE", "/networks/red", None, 403, "role_too_low"),
        (O, "POST", "/users", {"name": "mine", "role": "viewer", "network": "red"}, 403, "role_too_low"),
        (O, "POST", "/tokens", {"role": "admin", "networks": ["red"]}, 403, "scope_missing"),
        # an agent's token administers nothing, another agent's is nothing to it
        (Api(co, red.token), "GET", "/agents", None, 403, "not_yours"),
        (Api(co, red.token), "POST", "/join-keys", {"network": "red"}, 403, "not_yours"),
        (Api(co, red.token), "GET", "/policy", None, 403, "not_yours"),
        (Api(co, red.token), *explain("red-1", "both"), 403, "not_yours"),
        (Api(co, red.token), "GET", "/peers", None, 403, "not_yours"),
        (Api(co, red.token), "GET", "/agents/%s/peers" % both.id, None, 403, "not_yours"),
        (Api(co, red.token), "PUT", "/agents/%s/endpoint" % blue.id, {}, 403, "not_yours"),
        (Api(co, red.token), "POST", "/agents/%s/heartbeat" % blue.id, {}, 403, "not_yours"),
        (Api(co, red.token), "POST", "/agents/%s/token" % blue.id, {}, 403, "not_yours"),
        (Api(co, red.token), "DELETE", "/agents/" + blue.id, None, 403, "not_yours"),
        (Api(co, red.token), "DELETE", "/agents/%s?network=blue" % red.id, None, 404, "not_a_member"),
        (Api(co), "GET", "/agents", None, 401, "token_missing"),
        (Api(co, "wgm_" + "x" * 43), "GET", "/agents", None, 401, "token_invalid"),
    ]
    def state():
        return [co.admin(*words, "--json") for words in (("agent", "list"), ("key", "list"), ("user", "list"), ("peer", "list"),
                                                         ("policy", "show"), ("network", "list"), ("route", "list"))]

    before = state()
    for who, method, path, body, status, code in table:
        answer = who(method, path, body)
        seen = (answer[0], answer[1].get("code") if isinstance(answer[1], dict) else None)
        if seen != (status, code):
            raise AssertionError("%s %s %r: %r, not %r" % (method, path, body, answer, (status, code)))
    equal(state(), before)
    # What red may with something of blue's it may with something of nobody's, and hears the same.
    for whose, public in (("nobody's", Agent(co, "nobody").public), ("blue-1's", blue.public), ("blue-phone's", phone.public)):
        answer = O("POST", "/peers", {"name": "mine", "agent": "red-1", "endpoint": "a:1", "public_key": b64(public)})
        equal((answer[0], sorted(answer[1])), (201, ["device", "notes"]), whose)
        O.ok("DELETE", "/peers/mine", status=204)
    # Nor can it keep a host out of blue by a device that has its key.
    host = Agent(co, "blue-host")
    O.ok("POST", "/peers", {"name": "host", "agent": "red-1", "endpoint": "a:1", "public_key": b64(host.public)}, 201)
    equal(host.try_register(key["blue"])[0], 201)
    refused(host.try_register(key["red"]), 409, "key_taken")
    by["blue-admin"].ok("DELETE", "/agents/blue-host", status=204)
    O.ok("DELETE", "/peers/host", status=204)
    # Of an agent in both, each sees its own part: when it came, how many peers it has.
    equal(both.ask("POST", "/heartbeat", {"peer_status": {
        who.id: {"connected": True, "path": path} for who, path in ((red, "direct"), (blue, "relay"))}})[0], 200)
    for who, counts in ((V, (1, 0)), (by["blue-viewer"], (0, 1)), (everything, (1, 1))):
        shown = who.ok("GET", "/agents/" + both.id)["agent"]
        equal((shown["peers_direct"], shown["peers_relayed"]), counts)
    shown = V.ok("GET", "/agents/" + both.id)["agent"]
    equal(shown["created_at"], shown["joined_at"])
    assert everything.ok("GET", "/agents/" + both.id)["agent"]["created_at"] < shown["joined_at"], "it was in blue before"
    # A token that was held to a network which is its user's no more names it to nobody.
    user(co, "moved", "viewer", "--network", "red")
    co.admin("user", "role", "moved", "viewer", "--network", "blue")
    held = token(co, "--user", "moved", "--role", "viewer", "--network", "red", "--network", "blue")
    equal(sorted(r["network"] for r in held.ok("GET", "/users/moved")["user"]["roles"]), ["blue", "red"])
    co.admin("user", "role", "moved", "none", "--network", "blue")
    shown = [t["roles"] for t in A.ok("GET", "/tokens")["tokens"] if t["user"] == "moved"]
    equal(shown, [[{"network": "red", "role": "viewer"}]])
    equal(held.ok("GET", "/users/moved")["user"]["roles"], [{"network": "red", "role": "viewer"}])
    # Red makes it join again, and blue does not notice.
    ws = both.stream()
    ws.receive()
    before = [a for a in by["blue-viewer"].ok("GET", "/agents")["agents"]]
    equal(O.ok("POST", "/agents/%s/expire" % both.id, {})["agent"]["expired"], True)
    assert ws.find(lambda m: m.get("type") == "snapshot" and [p["network"] for p in m["peers"]] == ["blue"], 3)
    equal(both.ask("GET", "/peers")[0], 200)
    equal([{**a, "last_seen": 0} for a in by["blue-viewer"].ok("GET", "/agents")["agents"]], [{**a, "last_seen": 0} for a in before])
    listening = {n: Ws(co, "/api/v1/events", by[n + "-viewer"].headers["Authorization"][7:]) for n in ("red", "blue")}
    for listener in listening.values():
        listener.receive()
    both.ask("PUT", "/endpoint", {"endpoint": "192.0.2.66:6"})
    assert listening["blue"].find(lambda m: m.get("type") == "agent" and m["agent"]["endpoint"] == "192.0.2.66:6", 3)
    equal(listening["red"].find(lambda m: m.get("type") == "agent", 0.5), None, "red hears where it is")
    equal(both.try_register(key["blue"])[0], 200)
    shown = O.ok("GET", "/agents/" + both.id)["agent"]
    equal((shown["expired"], shown["online"], shown["last_seen"], shown["endpoint"]), (True, False, None, None))
    equal(by["blue-operator"].ok("POST", "/agents/%s/expire" % both.id, {"in": "1h"})["agent"]["expired"], False)
    equal(V.ok("GET", "/agents/" + both.id)["agent"]["expires_at"], None)
    by["blue-operator"].ok("POST", "/agents/%s/expire" % both.id, {"in": "never"})
    equal(O.ok("POST", "/agents/%s/approve" % both.id, {})["agent"]["expired"], False)
    ws.close()
    # An address of blue's is to red what an address of nobody's is; and rules, which speak of all, are not quoted.
    blues, nobodys = (V.ok(*explain("red-1", a)) for a in (blue.addresses[0].partition("/")[0], "10.252.77.7"))
    for seen in (blues, nobodys):
        seen["families"] = [{**judged, "to": 0} for judged in seen["families"]]
    equal({**blues, "to": 0}, {**nobodys, "to": 0})
    equal((blues["to"]["agent"], blues["to"]["network"]), (None, None))
    seen = V.ok(*explain("red-1", "192.168.9.40"))
    equal((seen["verdict"], seen["rule"], seen["line"]), ("deny", None, None))
    seen = everything.ok(*explain("red-1", "printer"))
    equal((seen["verdict"], seen["rule"], seen["line"]), ("deny", "secret project of blue", 4))
    equal(V.ok(*explain("red-1", "both"))["peers"], True)
    # Lists have one's own only.
    for who, mine, other in ((V, "red", "blue"), (A, "red", "blue"), (by["blue-admin"], "blue", "red")):
        equal([n["name"] for n in who.ok("GET", "/networks")["networks"]], [mine])
        equal({a["network"] for a in who.ok("GET", "/agents")["agents"]}, {mine})
        equal({a["name"] for a in who.ok("GET", "/agents")["agents"]}, {mine + "-1", "both"})
        equal([n["name"] for n in who.ok("GET", "/agents/" + both.id)["agent"]["networks"]], [mine])
        equal({k["network"] for k in who.ok("GET", "/join-keys")["keys"]}, {mine})
        equal({r["network"] for r in who.ok("GET", "/routes")["routes"]}, {mine})
        equal([d["name"] for d in who.ok("GET", "/peers")["devices"]], ["blue-phone"] if mine == "blue" else [])
        equal({a["network"] for a in who.ok("GET", "/audit")["audit"]}, {mine})
        for line in who.ok("GET", "/audit")["audit"]:
            assert not re.search(r'\b%s-|"%s"' % (other, other), json.dumps(line)), "it names the other: %r" % line
        for what in ("/users", "/tokens"):
            assert other + "-" not in json.dumps(who.ok("GET", what)), what
    # What is theirs they may.
    O.ok("POST", "/join-keys", {"network": "red"}, 201)
    A.ok("POST", "/users", {"name": "red-new", "role": "viewer", "network": "red", "password": PASSWORD}, 201)
    A.ok("PATCH", "/users/red-viewer", {"role": "operator", "network": "red"})
    V.ok("POST", "/join-keys", {"network": "red"}, 201)
    # Agents.
    ws, wb = red.stream(), blue.stream()
    equal({p["name"] for p in ws.receive()["peers"]}, {"both"})
    equal({p["name"] for p in wb.receive()["peers"]}, {"both", "blue-phone"})
    ws.send({"type": "signal", "id": 1, "to": blue.id, "network": "blue", "box": b64(b"x" * 99)})
    equal(ws.find(lambda m: m.get("type") == "error")["code"], "unknown_peer")
    equal(wb.find(lambda m: m.get("type") == "signal", 0.5), None)
    refused(red.try_register(key["red"], tags=["ops"]), 403, "tag_not_allowed")
    refused(Agent(co, "blue-1").try_register(key["blue"]), 409, "name_taken")
    equal(Agent(co, "blue-1").try_register(key["red"])[0], 201, "a name of the other network is free here")
    # Removing from red leaves it in blue; and a removed one is cut off within a second.
    O.ok("DELETE", "/agents/" + both.id, status=204)
    equal([n["name"] for n in by["blue-admin"].ok("GET", "/agents/" + both.id)["agent"]["networks"]], ["blue"])
    begin = time.time()
    by["blue-admin"].ok("DELETE", "/agents/" + blue.id, status=204)
    assert wb.ended(3), "its stream goes on"
    refused(blue.ask("GET", "/peers"), 401, "unknown_agent")
    print("     cut off after %d ms" % ((time.time() - begin) * 1000), file=sys.stderr)


@case("who is left without a network, and who has a role everywhere, is managed by no organisation's admin")
def _(co):
    for name, number in (("blue", 1), ("gone", 2)):
        co.admin("network", "create", name, "--cidr", "10.25%d.0.0/16" % number)
    user(co, "blue-admin", "admin", "--network", "blue")
    user(co, "tom", "admin", "--network", "gone")
    user(co, "tim", "viewer", "--network", "gone")
    co.admin("user", "role", "tim", "viewer", "--network", "blue")
    co.admin("network", "remove", "gone")
    blue = session(co, "blue-admin")
    refused(blue("GET", "/users/tom"), 404, "unknown_user")
    refused(blue("PATCH", "/users/tom", {"password": "another long password"}), 404, "unknown_user")
    refused(blue("POST", "/tokens", {"user": "tom"}), 404, "unknown_user")
    refused(blue("DELETE", "/users/tom"), 404, "unknown_user")
    equal(sorted(u["name"] for u in blue.ok("GET", "/users")["users"]), ["blue-admin", "tim"])
    equal(login(co, "tom")[0], 201)
    # A token whose only network is gone is good for nothing, and does not read as if it were for everything.
    co.admin("network", "create", "brief", "--cidr", "10.253.0.0/16")
    brief = token(co, "--role", "admin", "--network", "brief", "--name", "brief")
    equal([n["name"] for n in brief.ok("GET", "/networks")["networks"]], ["brief"])
    co.admin("network", "remove", "brief")
    equal(brief.ok("GET", "/networks")["networks"], [])
    refused(brief("POST", "/networks", {"name": "mine", "cidr": "10.209.0.0/16"}), 403, "role_too_low")
    equal([t["roles"] for t in json.loads(co.admin("token", "list", "--json"))["tokens"] if t["name"] == "brief"], [[]])
    lines = {line.split()[0]: line for line in co.admin("token", "list").splitlines()}
    equal([line.split()[3:5] for line in lines.values() if " brief " in line], [["-", "none"]])
    everywhere = root(co).ok("GET", "/tokens")["tokens"]
    equal([t["roles"] for t in everywhere if t["kind"] == "token" and t["name"] != "brief"], [[{"network": None, "role": "admin"}]])
    assert " admin of everything " in co.admin("token", "list")
    blue.ok("PATCH", "/users/tim", {"password": "another long password"})
    made = blue.ok("POST", "/tokens", {"role": "viewer"}, 201)["token"]["id"]
    equal(blue("DELETE", "/tokens/" + made)[0], 204)
    equal([line["action"] for line in blue.ok("GET", "/audit")["audit"] if line["subject"] == made],
          ["token-created", "token-revoked"])
    everything = root(co)
    everything.ok("PATCH", "/users/tom", {"role": "viewer", "network": "blue"})
    blue.ok("GET", "/users/tom")


@case("what others chose cannot move an administrator's cursor, nor write lines of its own")
def _(co):
    evil = "\x1b]0;owned\x07\x9b31m\nFAKE LINE"
    Agent(co, "plain").register(co.key(), capabilities=["sync", "x" + evil])
    everything = root(co)
    refused(everything("POST", "/tokens", {"role": "viewer", "name": evil}), 422, "name_invalid")
    everything.ok("POST", "/tokens", {"role": "viewer", "name": "für später"}, 201)
    everything.ok("PUT", "/policy", {"text": "version: 1\ndefault: allow\n", "file": evil})
    login(co, evil)
    for words in (["audit"], ["token", "list"], ["agent", "list"], ["agent", "show", "plain"], ["policy", "show"], ["user", "list"]):
        said = co.admin(*words)
        wrong = [c for c in said if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
        equal(wrong, [], "%s: %r" % (words, said))
        assert "\nFAKE" not in said, words
    assert "für später" in co.admin("token", "list")
    many = ["tag-with-a-long-name-%02d" % n for n in range(12)]
    co.admin("agent", "tag", "plain", *many)
    line = [x for x in co.admin("agent", "show", "plain").splitlines() if x.startswith("tags")][0]
    assert line.split()[1] == ",".join(many) or line.endswith(",..."), line


def queued(co, count, api):
    """So many passwords that the coordinator looks at first, and what asks behind them: it returns what waits for the answer."""
    def ask(method, path, body, headers):
        connection = co.connect()
        connection.request(method, "/api/v1" + path, json.dumps(body), headers)

        def answer():
            response = connection.getresponse()
            text = json.loads(response.read())
            connection.close()
            return response.status, text, response.getheader("Set-Cookie")
        co.request("GET", "/healthz", root=True)  # it is there before what comes after
        return answer

    connections = [co.connect() for _ in range(count)]
    for connection in connections:
        connection.connect()
    for n, connection in enumerate(connections):
        connection.request("POST", "/api/v1/users", json.dumps({"name": "before-%d" % n, "password": PASSWORD, "role": "viewer"}),
                           api.headers)
    return ask, connections


@case("a log-in that waits while its user's password is changed begins no session that outlives the change")
def _(co):
    user(co, "ann", "admin")
    everything = root(co)
    ask, connections = queued(co, 20, everything)
    changed = ask("PATCH", "/users/ann", {"password": "another " + PASSWORD}, everything.headers)
    late = ask("POST", "/session", {"user": "ann", "password": PASSWORD}, {})
    equal([c.getresponse().status for c in connections], [201] * 20)
    equal(changed()[0], 200)
    status, body, cookie = late()
    if status == 201:  # it was looked at before the change, which has ended it
        equal(co.request("GET", "/session", None, {"Cookie": cookie.partition(";")[0]})[0], 401)
    else:
        refused((status, body), 401, "login_wrong")
    session(co, "ann", "another " + PASSWORD)


class Frozen:
    """The thread that looks at passwords stands still meanwhile: the one that is busy while some are looked at."""
    ATTACH, DETACH, WALL = 16, 17, 0x40000000

    @staticmethod
    def possible():
        child = subprocess.Popen(["sleep", "60"])
        try:
            return ctypes.CDLL(None).ptrace(Frozen.ATTACH, child.pid, 0, 0) == 0
        finally:
            child.kill()
            child.wait()

    def __init__(self, co):
        self.co, self.libc = co, ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long] * 4

    def times(self):
        pid = self.co.process.pid
        ticks = {}
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, thread)) as f:
                ticks[int(thread)] = int(f.read().rpartition(")")[2].split()[11])
        return ticks

    def __enter__(self):
        before = self.times()
        for _ in range(40):
            user(self.co, "warm", "viewer")
            self.co.admin("user", "remove", "warm")
            spent = sorted((ticks - before.get(thread, 0), thread) for thread, ticks in self.times().items())
            if spent[-1][0] > 20 and spent[-1][0] > 4 * spent[-2][0]:
                break
        self.thread = spent[-1][1]
        assert self.thread != self.co.process.pid, spent
        equal(self.libc.ptrace(self.ATTACH, self.thread, 0, 0), 0, "errno %d" % ctypes.get_errno())
        os.waitpid(self.thread, self.WALL)

    def __exit__(self, *unused):
        self.libc.ptrace(self.DETACH, self.thread, 0, 0)


@case("an answer that does not come says what it waited for: a password's turn, or the database")
def _(co):
    user(co, "ann", "admin")
    everything = root(co)
    if not Frozen.possible():
        return "ptrace is forbidden here"
    with Frozen(co):
        waiting = [meanwhile(co.request, "POST", "/session", {"user": "ann", "password": PASSWORD}),
                   meanwhile(everything, "POST", "/users", {"name": "bob", "password": PASSWORD, "role": "viewer"})]
        by_socket = meanwhile(co.admin, "user", "passwd", "ann", code=1, stdin="another " + PASSWORD + "\n")
        assert wait_until(lambda: metric(co, "password_queue") == 3)
        with co.no_commits():
            writes = meanwhile(everything, "POST", "/relays", {"region": "late", "stun": ["192.0.2.1:3478"]})
            by_socket_too = meanwhile(co.admin, "key", "create", code=1)
            for answer in [answer() for answer in waiting]:
                refused(answer, 429, "busy")
                assert "passwords" in answer[1]["detail"], answer
            assert "too many passwords" in by_socket()
            refused(writes(), 503, "store_unavailable")
            assert "may be done" in by_socket_too()
    assert wait_until(lambda: login(co, "ann")[0] == 201)
    equal(everything("GET", "/users/bob")[0], 404)


@case("a command that waits for its password's hash is not done once its token, its user's role or its user is gone")
def _(co):
    everything = root(co)
    for name in ("lowered", "removed"):
        user(co, name, "admin")
    revoked = json.loads(co.admin("token", "create", "--role", "admin", "--json"))
    apis = {"revoked": Api(co, revoked["secret"]), "lowered": token(co, "--user", "lowered"), "removed": token(co, "--user", "removed")}
    ask, connections = queued(co, 20, everything)
    late = {name: ask("POST", "/users", {"name": "by-" + name, "password": PASSWORD, "role": "viewer"}, api.headers)
            for name, api in apis.items()}
    everything.ok("DELETE", "/tokens/" + revoked["token"]["id"], status=204)
    everything.ok("PATCH", "/users/lowered", {"role": "viewer"})
    everything.ok("DELETE", "/users/removed", status=204)
    equal([c.getresponse().status for c in connections], [201] * 20)
    answers = {name: answer() for name, answer in late.items()}
    did = [(line["action"], line["subject"]) for line in everything.ok("GET", "/audit")["audit"]]
    for name, ended, code in (("revoked", ("token-revoked", revoked["token"]["id"]), (401, "token_invalid")),
                              ("lowered", ("user-role", "lowered"), (403, "role_too_low")),
                              ("removed", ("user-removed", "removed"), (401, "token_invalid"))):
        if answers[name][0] == 201:  # the hash was there before the end
            assert did.index(("user-added", "by-" + name)) < did.index(ended), (name, did)
        else:
            refused(answers[name], *code)
            equal(everything("GET", "/users/by-" + name)[0], 404)


@case("a route is found by its id, which begins as its agent's does, whatever other agents' ids are")
def _(co):
    network = json.loads(co.admin("network", "list", "--json"))["networks"][0]
    prefix = network["cidr"].rsplit(".", 2)[0]
    agents = ["many", "many1", "many10", "many1000000", "many1000000a", "other"]
    co.stop()
    co.insert("agents", "id, public_key, created_at, expired, ephemeral", [(id_, os.urandom(32), 1000, 0, 0) for id_ in agents])
    co.insert("agent_networks", "agent_id, network_id, name, address4, tags, joined_at",
              [(id_, network["id"], "of-" + id_, "%s.7.%d" % (prefix, n + 1), "[]", 1000) for n, id_ in enumerate(agents)])
    co.insert("routes", "agent_id, network_id, prefix, approved",
              [(id_, network["id"], "192.168.%d.0/24" % n, 0) for id_ in agents for n in range(3)])
    co.start()
    api = root(co)
    left = {route["id"]: route for route in api.ok("GET", "/routes")["routes"]}
    equal(len(left), 18)
    for id_, route in list(left.items()):
        equal((id_[:len(route["agent_id"][:8])], len(id_) <= 24), (route["agent_id"][:8], True))
        equal(api.ok("PATCH", "/routes/" + id_, {"approved": True})["route"], {**left.pop(id_), "approved": True})
        equal({r["id"] for r in api.ok("GET", "/routes")["routes"] if not r["approved"]}, set(left))
    for id_ in ("many", "many1000", "zzzzzzzz00000000"):
        refused(api("PATCH", "/routes/" + id_, {"approved": True}), 404, "unknown_route")


@case("events: what happens, for those who may see it, until the token ends")
def _(co):
    co.admin("network", "create", "red", "--cidr", "10.251.0.0/16")
    co.admin("network", "create", "blue", "--cidr", "10.252.0.0/16")
    user(co, "red", "viewer", "--network", "red")
    api = token(co, "--user", "red")
    mine = Ws(co, "/api/v1/events", api.headers["Authorization"][7:])
    everything = Ws(co, "/api/v1/events", root(co).headers["Authorization"][7:])
    for ws in (mine, everything):
        equal(ws.receive(), {"type": "hello", "version": 1})
    blue = Agent(co, "blue-one").register(co.key("--network", "blue"))
    red = Agent(co, "r1").register(co.key("--network", "red"))
    seen = mine.find(lambda m: m.get("type") == "agent")
    equal((seen["op"], seen["agent"]["name"]), ("put", "r1"))
    assert everything.find(lambda m: m.get("type") == "agent" and m["agent"]["agent_id"] == blue.id)
    assert everything.find(lambda m: m.get("type") == "audit" and m["audit"]["action"] == "agent-registered")
    everything_api = root(co)
    everything_api.ok("PUT", "/policy", {"text": POLICY})
    blue.ask("PUT", "/endpoint", {"endpoint": "192.0.2.77:7"})
    everything_api.ok("POST", "/peers", {"name": "blue-phone", "agent": "blue-one", "public_key": b64(Agent(co, "x").public)}, 201)
    for action in ("policy-applied", "device-added"):
        assert everything.find(lambda m: m.get("type") == "audit" and m["audit"]["action"] == action), action
    stream = red.stream()
    heard = []
    assert mine.find(lambda m: heard.append(json.dumps(m)) or m.get("type") == "agent" and m["agent"]["online"])
    assert not [h for h in heard if "policy" in h or "blue" in h], heard
    stream.close()
    co.admin("agent", "remove", "r1")
    assert mine.find(lambda m: m.get("type") == "agent" and m["op"] == "remove" and m["agent_id"] == red.id)
    co.admin("user", "role", "red", "none", "--network", "red")
    co.key("--network", "red")
    equal(mine.find(lambda m: m.get("type") in ("audit", "agent") and m.get("audit", {}).get("action") == "key-created", 0.5), None)
    listed = json.loads(co.admin("token", "list", "--json"))["tokens"]
    co.admin("token", "revoke", [t["id"] for t in listed if t["user"] == "red"][0])
    assert mine.ended(2), "it goes on with a revoked token"
    for path, token_, status in (("/api/v1/events", "x", 401), ("/api/v1/events", blue.token, 403)):
        equal(Ws(co, path, token_).status, status)


class Following:
    """What `audit --follow` goes on to hear, after what there was."""

    def __init__(self, co):
        self.socket, self.buffer = coordinator.socket.socket(coordinator.socket.AF_UNIX), b""
        self.socket.connect(co.dir + "/run/coordinator.sock")
        self.socket.sendall(b'{"command":"audit","arguments":{"follow":true}}\n')
        equal(self.line()["ok"], True)

    def line(self, seconds=20):
        """None: there was none."""
        self.socket.settimeout(seconds)
        while b"\n" not in self.buffer:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise EOFError
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)


@case("events, audit --follow: what is written is heard of when it is on the disk, where an agent is at once")
def _(co):
    api = root(co)
    agent, other = Agent(co, "here").register(co.key()), Agent(co, "other").register(co.key())
    listening, following = Ws(co, "/api/v1/events", api.headers["Authorization"][7:]), Following(co)
    listening.receive()
    with co.no_commits():
        made = meanwhile(api, "POST", "/networks", {"name": "lab", "cidr": "10.210.0.0/16"})
        assert wait_until(lambda: metric(co, "store_queue") >= 2)
        renamed = meanwhile(api, "PATCH", "/agents/" + agent.id, {"name": "there"})
        assert wait_until(lambda: metric(co, "store_queue") >= 4)
        agent.ask("PUT", "/endpoint", {"endpoint": "192.0.2.8:8"})  # would show its new name
        other.ask("PUT", "/endpoint", {"endpoint": "192.0.2.9:9"})
        heard = []
        assert listening.find(lambda m: heard.append(m) or m.get("agent", {}).get("endpoint") == "192.0.2.9:9")
        equal([m for m in heard if m["type"] == "audit" or m["agent"]["agent_id"] != other.id], [])
        equal(following.line(0.2), None)
    equal((made()[0], renamed()[0]), (201, 200))
    heard = []
    assert listening.find(lambda m: heard.append(m) or m.get("agent", {}).get("endpoint") == "192.0.2.8:8")
    equal([m["audit"]["action"] for m in heard if m["type"] == "audit"], ["network-created", "agent-renamed"])
    equal({m["agent"]["name"] for m in heard if m["type"] == "agent" and m["agent"]["agent_id"] == agent.id}, {"there"})
    equal([following.line()["action"] for _ in range(2)], ["network-created", "agent-renamed"])


@case("events: one token or session, and one user, takes some of the places and leaves the others theirs")
def _(co):
    user(co, "many", "viewer")
    tokens = [token(co, "--user", "many").headers["Authorization"][7:] for _ in range(5)]
    streams = [Ws(co, "/api/v1/events", tokens[0]) for _ in range(8)]
    equal([ws.status for ws in streams], [101] * 8)
    ninth = Ws(co, "/api/v1/events", tokens[0])
    equal((ninth.status, b"listens 8 times already: close" in ninth.buffer), (429, True), ninth.buffer)
    streams += [Ws(co, "/api/v1/events", text) for text in tokens[1:4] for _ in range(8)]
    equal([ws.status for ws in streams], [101] * 32)
    over = Ws(co, "/api/v1/events", tokens[4])
    equal((over.status, b"the user many listens 32 times" in over.buffer), (429, True), over.buffer)
    by_session = session(co, "many")
    equal(Ws(co, "/api/v1/events", None, headers=by_session.headers).status, 429, "a session of the same user")
    equal(Ws(co, "/api/v1/events", root(co).headers["Authorization"][7:]).status, 101, "another's")
    streams.pop().close()
    assert wait_until(lambda: Ws(co, "/api/v1/events", tokens[4]).status == 101), "no place was given back"


@case("every command that writes leaves one line in the audit, with its network; no other leaves any")
def _(co):
    rows = re.findall(r'\{"([a-z ]+)", \w+, "(\w+)", [VOA], (true|false), ', open("coordinator/admin/admin_commands.c").read())
    assert len(rows) > 40, rows
    co.admin("network", "create", "lab", "--cidr", "10.210.0.0/16", "--approve")
    key = co.key("--network", "lab", "--reusable")
    agent = Agent(co, "one").register(key, advertised_routes=["192.168.9.0/24"])
    Agent(co, "two").register(key)
    agent.ask("PUT", "/endpoint", {"endpoint": "192.0.2.1:1"})
    route = json.loads(co.admin("route", "list", "--json"))["routes"][0]["id"]

    def ask(command, arguments):
        answer = socket_command(co, command, arguments)
        assert answer["ok"], (command, answer)
        return answer["result"]

    def key_id():
        return {"id": next(k["id"] for k in ask("key list", {})["keys"] if k["network"] == "lab" and k["state"] == "valid")}

    def waiting():
        ask("policy apply", {"text": POLICY, "confirm": 60})
        return {}

    public = b64(Agent(co, "phone").public)
    # command: (arguments, or what makes them; action; network)
    writes = {
        "network create": ({"name": "made", "cidr": "10.211.0.0/16"}, "network-created", "made"),
        "network set": ({"name": "made", "approve": True}, "approval-on", "made"),
        "network remove": ({"name": "made"}, "network-removed", None),
        "key create": ({"network": "lab"}, "key-created", "lab"),
        "key revoke": (key_id, "key-revoked", "lab"),
        "agent approve": ({"agent": "one"}, "agent-approved", "lab"),
        "agent set": ({"agent": "one", "name": "uno"}, "agent-renamed", "lab"),
        "agent rename": ({"agent": "uno", "name": "one"}, "agent-renamed", "lab"),
        "agent tag": ({"agent": "one", "tags": ["web"]}, "agent-tagged", "lab"),
        "route approve": ({"agent": "one", "prefix": "192.168.9.0/24"}, "route-approved", "lab"),
        "route revoke": ({"agent": "one", "prefix": "192.168.9.0/24"}, "route-revoked", "lab"),
        "route set": ({"id": route, "approved": True}, "route-approved", "lab"),
        "peer add": ({"name": "phone", "agent": "one", "public_key": public}, "device-added", "lab"),
        "peer remove": ({"name": "phone"}, "device-removed", "lab"),
        "agent expire": ({"agent": "two"}, "agent-expired", "lab"),
        "agent remove": ({"agent": "two"}, "agent-removed", "lab"),
        "policy apply": ({"text": POLICY}, "policy-applied", None),
        "policy confirm": (waiting, "policy-confirmed", None),
        "policy rollback": (waiting, "policy-taken-back", None),
        "user add": ({"name": "ann", "role": "viewer", "network": "lab", "password": PASSWORD}, "user-added", "lab"),
        "user passwd": ({"user": "ann", "password": PASSWORD + "!"}, "user-password", "lab"),
        "user role": ({"user": "ann", "role": "operator", "network": "lab"}, "user-role", "lab"),
        "user set": ({"user": "ann", "role": "viewer", "network": "lab"}, "user-role", "lab"),
        "token create": ({"user": "ann", "name": "ci"}, "token-created", "lab"),
        "token revoke": (lambda: {"id": [t["id"] for t in ask("token list", {})["tokens"] if t["kind"] == "token"][0]}, "token-revoked", "lab"),
        "user link": ({"user": "ann"}, "login-link-created", "lab"),
        "user remove": ({"user": "ann"}, "user-removed", "lab"),
        "relay add": ({"region": "fra", "stun": ["a:1"]}, "relay-added", None),
        "relay remove": (lambda: {"id": ask("relay list", {})["relays"][0]["id"]}, "relay-removed", None),
    }
    reads = {
        "network list": {}, "network show": {"name": "lab"}, "key list": {}, "key show": key_id, "agent list": {}, "agent show": {"agent": "one"},
        "route list": {}, "peer list": {}, "policy show": {}, "policy check": {"text": POLICY}, "policy test": {"text": POLICY},
        "policy diff": {"text": POLICY}, "policy explain": {"from": "one", "to": "one", "port": "icmp"}, "user list": {},
        "user show": {"user": "root-like"}, "token list": {}, "relay list": {}, "audit": {},
    }
    equal(sorted(name for name, _, write in rows if write == "true"), sorted(writes), "commands that write")
    equal(sorted(name for name, _, write in rows if write == "false"), sorted(reads), "commands that read")

    def lines():
        return ask("audit", {"limit": 10000})["audit"]

    for name, (arguments, action, network) in writes.items():
        arguments = arguments() if callable(arguments) else arguments
        before = lines()
        ask(name, arguments)
        new = lines()[len(before):]
        equal([(l["action"], l["network"], l["actor"]) for l in new], [(action, network, "admin uid %d" % coordinator.os.geteuid())], name)
        assert new[0]["subject"], name
        assert PASSWORD not in json.dumps(new), name
    user(co, "root-like", "admin")
    before = lines()
    for name, arguments in reads.items():
        ask(name, arguments() if callable(arguments) else arguments)
    equal(lines(), before)


# ---- limits and operation ----------------------------------------------------------------------------------


@case("every limit of the contract is kept, with a status and a code")
def _(unused):
    co = Coordinator(NO_RELAY + "limits: {body: 8192, header: 2048, headers: 20, routes: 2, requests_per_address: 100000, "
                     "requests_per_agent: 5, connections_per_address: 60}\n").start()
    try:
        key, agent = co.key("--reusable"), Agent(co, "limits")
        def raw(data):
            return coordinator.raw(co, data)
        head = b"POST /api/v1/agents/challenge HTTP/1.1\r\nHost: a\r\n"
        equal(raw(head + b"Content-Length: 8193\r\n\r\n"), 413, "body")
        equal(raw(head + b"Transfer-Encoding: chunked\r\n\r\n2001\r\n"), 413, "chunked body")
        equal(raw(head + b"X: " + b"a" * 2048 + b"\r\n\r\n"), 413, "header")
        equal(raw(head + b"X: y\r\n" * 20 + b"Content-Length: 2\r\n\r\n{}"), 413, "headers")
        refused(Agent(co, "n" * 64).try_register(key), 422, "invalid")
        equal(Agent(co, "n" * 63).try_register(key)[0], 201)
        routes = ["10.%d.0.0/16" % i for i in range(3)]
        refused(agent.try_register(key, advertised_routes=routes), 422, "too_many_routes")
        agent.register(key, advertised_routes=routes[:2])
        refused(Agent(co, "t").try_register(key, tags=["t%d" % i for i in range(33)]), 422, "invalid")
        codes = [agent.ask("GET", "/peers") for _ in range(40)]
        refused([c for c in codes if c[0] != 200][0], 429, "too_many_requests")
        other = Agent(co, "other").register(key)
        refused(other.ask("PUT", "/endpoint", {"endpoints": ["192.0.2.1:%d" % i for i in range(1, 18)]}), 422, "invalid")
        ws = other.stream()
        ws.receive()
        ws.send({"type": "signal", "id": 1, "to": agent.id, "network": "default", "box": b64(b"x" * 4097)})
        equal(ws.find(lambda m: m.get("type") == "error")["code"], "bad_signal")
        ws.close()
        open_ = []
        try:
            for _ in range(80):
                open_.append(coordinator.socket.create_connection(("127.0.0.1", co.port)))
            def dead(s):
                s.settimeout(0.2)
                try:
                    return s.recv(1) == b""
                except OSError as why:
                    return not isinstance(why, coordinator.socket.timeout)
            assert wait_until(lambda: any(dead(s) for s in open_), 5), "more connections than allowed stay"
        finally:
            for s in open_:
                s.close()
    finally:
        co.close()


def until_too_many(co, source, path, headers, rate):
    """From a fresh address, on one connection: four times a second's requests at once, then as many as the rate."""
    connection = http.client.HTTPSConnection("127.0.0.1", co.port, context=meshclient.TLS, timeout=20,
                                             source_address=(source, 0))
    def served():
        for count in range(100000):
            sent = time.time()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 429:
                equal(json.loads(text)["code"], "too_many_requests")
                return count, sent
            equal(answer.status, 200)
        raise AssertionError("there is no limit at " + path)
    begin = time.time()
    first, empty = served()
    assert 4 * rate <= first <= 4 * rate + rate * (time.time() - begin) + 1, "%d at once" % first
    time.sleep(1)
    second, _ = served()
    assert rate <= second <= rate * (time.time() - empty) + 1, "%d after a second" % second
    connection.close()


@case("every limit of the contract at its default value: the last that is taken, and the first that is not")
def _(unused):
    co = Coordinator(NO_RELAY).start()
    try:
        def raw(data):
            return coordinator.raw(co, data)
        head = b"GET /nothing HTTP/1.1\r\nHost: a\r\n"
        for size, status in ((16384, 404), (16385, 413)):
            equal(raw(head + b"X: " + b"a" * (size - len(head) - 7) + b"\r\n\r\n"), status, "header of %d" % size)
        for count, status in ((100, 404), (101, 413)):
            equal(raw(head + b"X: y\r\n" * (count - 1) + b"\r\n"), status, "%d headers" % count)
        key = co.key("--reusable")
        refused(Agent(co, "n" * 64).try_register(key), 422, "invalid")
        one, two = Agent(co, "n" * 63).register(key), Agent(co, "r")
        refused(two.try_register(key, advertised_routes=["10.%d.0.0/16" % i for i in range(65)]), 422, "invalid")
        two.register(key, advertised_routes=["10.%d.0.0/16" % i for i in range(64)])
        before = int(time.time())
        ends = calendar.timegm(time.strptime(two.challenge()["expires_at"][:19], "%Y-%m-%dT%H:%M:%S"))
        assert before + 60 <= ends <= time.time() + 60, "a challenge ends after %s" % (ends - before)
        ws, other = one.stream(), two.stream()
        ws.receive(), other.receive()
        ws.send({"type": "signal", "id": 1, "to": two.id, "network": "default", "box": b64(b"x" * 4096)})
        assert other.find(lambda m: m.get("type") == "signal"), "4 KiB"
        ws.send({"type": "signal", "id": 2, "to": two.id, "network": "default", "box": b64(b"x" * 4097)})
        equal(ws.find(lambda m: m.get("type") == "error")["code"], "bad_signal")
        ws.close(), other.close()
        until_too_many(co, "127.0.9.1", "/metrics", {}, 50)
        until_too_many(co, "127.0.9.2", "/api/v1/agents/%s/peers" % one.id, one.bearer(), 20)
    finally:
        co.close()
    co = Coordinator(FAST).start()  # so large a body counts as many requests
    try:
        equal(co.request("POST", "/agents/x/heartbeat", b" " * (1 << 20))[0], 401)
        equal(co.request("POST", "/agents/x/heartbeat", b" " * ((1 << 20) + 1))[0], 413)
    finally:
        co.close()


@case("an address is given out again after seven days, not before")
def _(co):
    co.admin("network", "create", "tiny", "--cidr", "10.9.9.0/30")
    key = co.key("--network", "tiny", "--reusable")
    first, _second = Agent(co, "first").register(key), Agent(co, "second").register(key)
    co.admin("agent", "remove", "first")
    late = Agent(co, "late")
    for hours, status in ((0, 409), (7 * 24 - 1, 409), (1, 201)):  # that pass, as the database has it
        co.stop()
        with sqlite3.connect(co.dir + "/state/coordinator.db") as database:
            database.execute("UPDATE retired_addresses SET until=until-?", (hours * 3600 * 1000,))
        database.close()
        co.start()
        answer = late.try_register(key)
        equal((answer[0], answer[1].get("code", "")), (status, "network_full" if status == 409 else ""), "%d h more" % hours)
    equal(answer[1]["addresses"], first.addresses)


@case("metrics: requests and times by route, deltas, commits, queues; healthz has the store")
def _(co):
    key = co.key("--reusable")
    one, two = Agent(co, "m1").register(key), Agent(co, "m2").register(key)
    ws = one.stream()
    ws.receive()
    two.ask("PUT", "/endpoint", {"endpoint": "192.0.2.3:3"})
    assert ws.find(lambda m: m.get("op") == "patch")
    equal(co.request("GET", "/networks")[0], 401)
    health = co.request("GET", "/healthz", root=True)[1]
    equal((health["status"], health["store"]["state"]), ("ok", "ok"))
    text = co.request("GET", "/metrics", root=True)[1].decode()
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            fine = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z]+="[^"]*",?)*\})?) ([0-9.e+-]+)', line)
            assert fine, "no OpenMetrics: " + line
            assert fine.group(1) not in values, "twice: " + line
            values[fine.group(1)] = float(fine.group(2))
    route = 'method="POST",route="/agents/register"'
    equal(values['wg_mesh_http_answers_total{%s,status="2xx"}' % route], 2)
    equal(values['wg_mesh_http_request_seconds_count{%s}' % route], 2)
    equal(values['wg_mesh_http_request_seconds_bucket{%s,le="+Inf"}' % route], 2)
    equal(values['wg_mesh_http_answers_total{method="GET",route="/networks",status="4xx"}'], 1)
    for name in ("delta_bytes_count", "snapshot_bytes_count", "store_commit_seconds_count", "agents", "streams"):
        assert values["wg_mesh_" + name] >= 1, name
    for name in ("store_queue", "password_queue", "store_failing", "listeners"):
        equal(values["wg_mesh_" + name], 0, name)
    types = re.findall(r"^# TYPE (\S+)", text, re.M)
    equal(len(types), len(set(types)))


@case("SIGHUP takes a new configuration, refuses a wrong one whole, and tells systemd")
def _(co):
    def configure(limits):
        with open(co.dir + "/coordinator.yaml") as f:
            text = f.read()
        with open(co.dir + "/coordinator.yaml", "w") as f:
            f.write(re.sub("limits:.*", limits, text))

    def reload(word):
        lines = len(co.log().splitlines())
        co.process.send_signal(coordinator.signal.SIGHUP)
        assert wait_until(lambda: word in "\n".join(co.log().splitlines()[lines:])), co.log()[-500:]

    agent = Agent(co, "steady").register(co.key())
    ws = agent.stream()
    ws.receive()
    configure("limits: {body: 4096}\ntoken_lifetime: 2h\nsession_lifetime: 1h")
    reload("reload cert=")
    equal(agent.ask("POST", "/token", {})[1]["expires_in"], 7200)
    equal(co.request("POST", "/agents/challenge", b" " * 5000)[0], 413)
    configure("limits: {body: 1}")
    reload("what was there goes on")
    equal(agent.ask("POST", "/token", {})[1]["expires_in"], 7200)
    ws.send({"type": "ack", "revision": 1})
    equal(ws.find(lambda m: True, 0.5), None, "the stream was disturbed")
    configure("limits: {body: 4096}\nlisten: 127.0.0.1:1")
    with open(co.dir + "/coordinator.yaml") as f:
        text = f.read()
    with open(co.dir + "/coordinator.yaml", "w") as f:
        f.write(text.replace("listen: 127.0.0.1:%d\n" % co.port, ""))
    reload("configuration-waits key=\"listen\"")
    equal(co.request("GET", "/healthz", root=True)[0], 200)
    configure("limits: {body: 4096}\npolicy: /none.yaml\ndb: sqlite:/none.db")
    before = co.log().count("configuration-waits")
    reload("configuration-waits key=\"listen, policy, db\" reason=\"this needs a restart")
    equal(co.log().count("configuration-waits"), before + 1, "one line")


@case("SIGHUP with a certificate where there was none, and without the one there was, says what becomes of it")
def _(unused):
    def configure(more):
        with open(co.dir + "/coordinator.yaml", "w") as f:
            f.write(plain + more)

    def reload(*words):
        lines = len(co.log().splitlines())
        co.process.send_signal(coordinator.signal.SIGHUP)
        said = lambda: "\n".join(co.log().splitlines()[lines:])
        assert wait_until(lambda: all(word in said() for word in words)), said()

    co = Coordinator(FAST)
    plain = co.read("coordinator.yaml")
    path = co.dir + "/theirs"
    theirs = "tls: {cert: %s.crt, key: %s.key}\n" % (path, path)
    own = "tls: {cert: %s/state/tls.crt, key: %s/state/tls.key}\n" % (co.dir, co.dir)
    coordinator.subprocess.run(["openssl", "req", "-x509", "-subj", "/CN=x", "-newkey", "ec", "-pkeyopt",
                                "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-keyout", path + ".key", "-out",
                                path + ".crt"], check=True, capture_output=True)
    try:
        co.start()
        configure("token_lifetime: 3h\n" + theirs)
        reload("error reload", "%s.key is not the one in use, and was not announced as tls: next_key: name it there" % path)
        configure("token_lifetime: 3h\n" + own)
        reload("configuration-waits key=\"tls: cert, key\"", "info reload")
        agent = Agent(co, "told").register(co.key())
        equal(agent.ask("POST", "/token", {})[1]["expires_in"], 3 * 3600, "the rest was taken")
        configure("tls: {next_key: %s.key}\n" % path)
        reload("info reload")
        configure(theirs)
        reload("configuration-waits key=\"tls: cert, key\"")
        co.stop()
        co.start()
        configure("")
        reload("error reload", "put them back")
    finally:
        co.close()


@case("systemd is told when it is ready, reloading and stopping")
def _(unused):
    co = Coordinator(FAST)
    notify = coordinator.socket.socket(coordinator.socket.AF_UNIX, coordinator.socket.SOCK_DGRAM)
    notify.bind(co.dir + "/notify")
    notify.settimeout(10)
    coordinator.os.environ["NOTIFY_SOCKET"] = co.dir + "/notify"
    try:
        co.start()
        equal(notify.recv(999), b"READY=1")
        co.process.send_signal(coordinator.signal.SIGHUP)
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", notify.recv(999))
        equal(notify.recv(999), b"READY=1")
        co.stop()
        equal(notify.recv(999), b"STOPPING=1")
    finally:
        del coordinator.os.environ["NOTIFY_SOCKET"]
        co.close()


@case("agents that are told to come back are told different times")
def _(co):
    key = co.key("--reusable")
    streams = [Agent(co, "j%d" % i).register(key).stream() for i in range(12)]
    for ws in streams:
        ws.receive()
    co.stop()
    waits = [ws.find(lambda m: m.get("type") == "bye")["retry_after_ms"] for ws in streams]
    assert len(set(waits)) > 6 and all(500 <= w < 5000 for w in waits), waits
    co.start()


@case("users are listed by name, tokens and keys by when they were made, over REST and by command")
def _(co):
    for name in ("zoe", "ann", "kim", "bob"):
        co.admin("user", "add", name, "--role", "viewer", "--no-password")
        for _ in range(3):
            co.admin("token", "create", "--user", name)
            co.admin("key", "create")
    api = root(co)
    for what, key in (("user", "name"), ("token", "created_at"), ("key", "created_at")):
        rest = [(row[key], row.get("id")) for row in api.ok("GET", "/join-keys" if what == "key" else "/%ss" % what)[what + "s"]]
        command = [(row[key], row.get("id")) for row in json.loads(co.admin(what, "list", "--json"))[what + "s"]]
        assert len(rest) >= 4, rest
        equal((rest, command), (sorted(rest), sorted(command)), what)


@case("a restore brings back no session that was ended and no link that was used; who logs in anew comes in")
def _(co):
    user(co, "ann", "admin")
    ann, kept = session(co, "ann"), session(co, "ann")
    secret, revoked = link_of(co, "ann"), root(co)
    co.admin("backup", co.dir + "/backup")
    equal(by_link(co, secret)[0], 201)
    ann.ok("DELETE", "/session", None, 204)
    co.admin("token", "revoke", next(t["id"] for t in json.loads(co.admin("token", "list", "--json"))["tokens"]
                                     if t["kind"] == "token"))
    co.stop()
    co.admin("restore", co.dir + "/backup")
    co.start()
    equal([ann("GET", "/networks")[0], kept("GET", "/networks")[0], by_link(co, secret)[0]], [401, 401, 401])
    equal(revoked("GET", "/networks")[0], 200, "as the manual page says")
    session(co, "ann").ok("GET", "/networks")


@case("an agent in several networks is changed in the one that is named, and answers name it")
def _(co):
    for name, number in (("red", 1), ("blue", 2)):
        co.admin("network", "create", name, "--cidr", "10.25%d.0.0/16" % number)
    both = Agent(co, "both").register(co.key("--network", "red"), advertised_routes=["192.168.5.0/24"])
    both.register(co.key("--network", "blue"), advertised_routes=["192.168.5.0/24"])
    Agent(co, "lone").register(co.key("--network", "red"))
    api = root(co)

    def now():
        return {a["network"]: (a["name"], a["tags"]) for a in api.ok("GET", "/agents")["agents"] if a["agent_id"] == both.id}

    before = now()
    for words in (("agent", "rename", "both", "x"), ("agent", "tag", "both", "x"), ("agent", "tag", "both", "--none"),
                  ("agent", "approve", "both"), ("route", "approve", "both", "192.168.5.0/24"),
                  ("peer", "add", "phone", "--via", "both", "--endpoint", "192.0.2.1:1")):
        said = co.admin(*words, code=2)
        assert "--network" in said and "red" in said and "blue" in said and said.count("\n") == 1, said
    for body in ({"name": "x"}, {"tags": ["x"]}):
        answer = api("PATCH", "/agents/" + both.id, body)
        refused(answer, 422, "ambiguous")
        assert "network" in answer[1]["detail"], answer
    equal(now(), before)
    equal(co.admin("agent", "rename", "both", "mine", "--network", "red"), "agent %s is now mine in the network red\n" % both.id)
    equal(co.admin("agent", "tag", "both", "x", "--network", "blue"), "agent both has 1 tag in the network blue\n")
    api.ok("PATCH", "/agents/%s?network=blue" % both.id, {"name": "ours"})
    equal(now(), {"red": ("mine", []), "blue": ("ours", ["x"])})
    # Who sees one of its networks alone need not name it, and hears of no other.
    user(co, "ann", "operator", "--network", "red")
    token(co, "--user", "ann").ok("PATCH", "/agents/" + both.id, {"name": "annes"})
    equal(now()["red"][0], "annes")
    equal(co.admin("agent", "rename", "lone", "alone"), "agent %s is now alone in the network red\n" % api.ok("GET", "/agents/alone")["agent"]["agent_id"])


@case("an agent is found by name, address, id and key, or a beginning; what could be several is listed")
def _(co):
    co.admin("network", "create", "other", "--cidr", "10.210.0.0/16")
    key = co.key("--reusable")
    agents = {name: Agent(co, name).register(key) for name in ("p-web", "p-web-2", "db")}
    hidden = Agent(co, "db-hidden").register(co.key("--network", "other"))

    def show(word, *more):
        return json.loads(co.admin("agent", "show", word, *more, "--json"))["agent"]["name"]

    for name, agent in agents.items():
        for word in [name, agent.id, b64(agent.public)] + [a.partition("/")[0] for a in agent.addresses]:
            equal(show(word), name, word)
        equal(show(agent.id[:9]), name)
        equal(show(b64(agent.public)[:12]), name)
    # A short word is the beginning of names alone: ids and keys are random, and begin with anything.
    Agent(co, agents["db"].id[:3] + "-x").register(key)
    equal(show(agents["db"].id[:3]), agents["db"].id[:3] + "-x")
    co.admin("agent", "remove", agents["db"].id[:3] + "-x")
    equal(show("p-web-"), "p-web-2")
    equal(show("p-web"), "p-web", "exact goes before a beginning")
    said = co.admin("agent", "show", "p-w", code=2)
    assert "p-web (network default)" in said and "p-web-2 (network default)" in said and said.count("\n") == 1, said
    assert "did you mean p-web?" in co.admin("agent", "show", "p-wbe", code=1)
    # What changes something takes no beginning but of an id: names are chosen by who joins, and keys can be tried.
    two, via = agents["p-web-2"], ("peer", "add", "phone", "--network", "default", "--endpoint", "192.0.2.1:1", "--via")
    for word in ("p-web-", b64(two.public)[:12], two.addresses[0].partition("/")[0][:-1], two.id[:3]):
        for before, after in ((("agent", "remove"), ()), (("agent", "expire"), ()), (("agent", "approve"), ()),
                              (("agent", "rename"), ("other",)), (("agent", "tag"), ("x",)), (("route", "approve"), ("10.1.0.0/16",)),
                              (("route", "revoke"), ("10.1.0.0/16",)), (via, ())):
            assert "there is no agent " + word in co.admin(*before, word, *after, code=1), (before, word)
        for change in ({"name": "other"}, {"tags": ["x"]}):
            refused(root(co)("PATCH", "/agents/" + urllib.parse.quote(word.replace("/", "+"), safe=""), change), 404, "unknown_agent")
    assert "no agent" in co.admin(*via, agents["db"].id[:9], code=1)
    co.admin(*via, "db")
    equal(co.admin("agent", "rename", two.id[:9], "p-two").split()[-1], "default")
    equal(co.admin("agent", "tag", b64(two.public), "x"), "agent p-two has 1 tag in the network default\n")
    co.admin("agent", "expire", two.id[:9])
    co.admin("agent", "remove", two.id[:9])
    assert "no agent p-two" in co.admin("agent", "show", "p-two", code=1)
    # One that waits is not let in for another whose name it begins with.
    co.admin("network", "create", "asks", "--cidr", "10.211.0.0/16")
    co.admin("network", "set", "asks", "--approve", "on")
    Agent(co, "laptop-evil").register(co.key("--network", "asks"))
    assert "no agent laptop" in co.admin("agent", "approve", "laptop", code=1)
    refused(root(co)("POST", "/agents/laptop/approve"), 404, "unknown_agent")
    assert not root(co).ok("GET", "/agents/laptop")["agent"]["approved"]
    co.admin("agent", "approve", "laptop-evil")
    # Another organisation's agents make no word ambiguous, and are no nearest name.
    user(co, "ann", "viewer", "--network", "default")
    ann = token(co, "--user", "ann")
    equal(ann.ok("GET", "/agents/d")["agent"]["name"], "db")
    for word in ("db-h", "db-hiddne", hidden.id[:9], hidden.addresses[0].partition("/")[0]):
        answer = ann("GET", "/agents/" + word)
        refused(answer, 404, "unknown_agent")
        assert "hidden" not in answer[1]["detail"].replace("db-hiddne", ""), answer
        answer = ann("POST", "/policy/explain", {"from": word, "to": "db", "port": "icmp"})
        assert "hidden" not in json.dumps(answer).replace("db-hiddne", ""), answer
    equal(ann.ok("POST", "/policy/explain", {"from": "p-", "to": "d", "port": "icmp"})["from"]["agent"], "p-web")
    answer = ann("POST", "/policy/explain", {"from": "p", "to": "d", "port": "icmp"})
    refused(answer, 422, "ambiguous")
    assert "p-web (network default), phone (a device, network default)" in answer[1]["detail"], answer
    assert "db (network default), db-hidden (network other)" in co.admin("agent", "show", "d", code=2)


@case("tags, routes and relays are there once each, however often they are given")
def _(co):
    key = co.key("--reusable", "--tag", "a", "--tag", "b", "--tag", "a")
    agent = Agent(co, "one").register(key, advertised_routes=["192.168.7.0/24", "192.168.7.9/24", "fd77::/64", "fd77:0::0/64", "192.168.8.0/24"])
    shown = json.loads(co.admin("agent", "show", "one", "--json"))["agent"]
    equal(shown["tags"], ["a", "b"])
    equal([r["prefix"] for r in shown["routes"]], ["192.168.7.0/24", "fd77::/64", "192.168.8.0/24"])
    equal([k["tags"] for k in json.loads(co.admin("key", "list", "--json"))["keys"] if k["tags"]], [["a", "b"]])
    co.admin("route", "approve", "one", "192.168.7.0/24")
    agent.register(key, advertised_routes=["192.168.7.1/24", "192.168.7.0/24"])
    equal([(r["prefix"], r["approved"]) for r in root(co).ok("GET", "/routes")["routes"]], [("192.168.7.0/24", True)])
    equal(co.admin("agent", "tag", "one", "x", "x", "y", "--tag", "x"), "agent one has 2 tags in the network default\n")
    equal(root(co).ok("PATCH", "/agents/one", {"tags": ["z", "z"]})["agent"]["tags"], ["z"])
    # The form of policies is named, and nothing is lost by a word that was forgotten.
    for words in (("agent", "tag", "one", "tag:web"), ("key", "create", "--tag", "tag:web")):
        said = co.admin(*words, code=2)
        assert "here web" in said and said.count("\n") == 1, said
    for words in (("agent", "tag", "one"), ("agent", "tag", "one", "x", "--none")):
        said = co.admin(*words, code=2)
        assert "--none" in said and said.count("\n") == 1, said
    equal(json.loads(co.admin("agent", "show", "one", "--json"))["agent"]["tags"], ["z"])
    equal(co.admin("agent", "tag", "one", "--none"), "agent one has 0 tags in the network default\n")
    # A relay is known by its URL, or its STUN servers, and its region.
    co.admin("relay", "add", "https://r.example.net:8444", "--region", "fra")
    co.admin("relay", "add", "-", "--region", "fra", "--stun", "r.example.net:3478")
    ids = [r["id"] for r in json.loads(co.admin("relay", "list", "--json"))["relays"]]
    for words, known in ((["https://R.example.net:8444/", "--stun", "r.example.net:1"], ids[0]), (["-", "--stun", "r.example.net:3478"], ids[1])):
        assert known in co.admin("relay", "add", *words, "--region", "fra", code=1)
    answer = root(co)("POST", "/relays", {"region": "fra", "url": "https://r.example.net:8444"})
    refused(answer, 409, "relay_known")
    assert ids[0] in answer[1]["detail"], answer
    co.admin("relay", "add", "https://r.example.net:8444", "--region", "nyc")
    co.admin("relay", "add", "-", "--region", "fra", "--stun", "r.example.net:3479")
    equal(len(json.loads(co.admin("relay", "list", "--json"))["relays"]), 4)


@case("routes that no agent would take are refused where they are offered and where they are approved")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.210.0.0/16", "--cidr6", "fd21::/64")
    key = co.key("--network", "lab", "--reusable")
    bad = {"127.0.0.0/8": "loopback", "127.1.2.3": "loopback", "224.0.0.0/4": "multicast", "239.1.0.0/16": "multicast",
           "169.254.7.0/24": "link-local", "240.1.0.0/16": "reserved", "fe80::/64": "link-local", "fe80::/10": "link-local", "8000::/4": "shorter than /16",
           "ff00::/8": "multicast", "64.0.0.0/4": "shorter than /8", "ff02::/16": "multicast", "::1/128": "loopback", "10.210.0.0/16": "network lab",
           "10.210.3.0/24": "network lab", "fd21::/64": "network lab", "fd21::7": "network lab", "10.0.0.0/8": "network lab", "10.192.0.0/10": "network lab", "fd21::/16": "network lab", "0.0.0.0/1": "shorter than /8",
           "128.0.0.0/1": "shorter than /8", "2000::/3": "shorter than /16"}
    for prefix, reason in bad.items():
        answer = Agent(co, "gw").try_register(key, advertised_routes=["192.168.7.0/24", prefix])
        refused(answer, 422, "route_invalid")
        assert prefix in answer[1]["detail"] and reason in answer[1]["detail"], (prefix, answer)
    good = ["11.0.0.0/8", "10.211.0.0/16", "fd22::/16", "0.0.0.0/0", "::/0", "100.64.0.0/10"]
    gw = Agent(co, "gw").register(key, advertised_routes=good)
    Agent(co, "plain").register(key, advertised_routes=["192.168.7.0/24"])
    # One that is there from before.
    lab = root(co).ok("GET", "/networks/lab")["network"]["id"]
    co.stop()
    co.insert("routes", "agent_id, network_id, prefix, approved", [(gw.id, lab, p, 0) for p in ("127.0.0.0/8", "10.0.0.0/8", "10.210.0.0/16")])
    co.start()
    for prefix in ("127.0.0.0/8", "10.0.0.0/8", "10.210.0.0/16"):
        said = co.admin("route", "approve", "gw", prefix, code=1)
        assert prefix in said and bad[prefix] in said and said.count("\n") == 1, said
        co.admin("route", "revoke", "gw", prefix)
    route = next(r for r in root(co).ok("GET", "/routes")["routes"] if r["prefix"] == "127.0.0.0/8")
    refused(root(co)("PATCH", "/routes/" + route["id"], {"approved": True}), 422, "route_invalid")

    def approved():
        return [r["prefix"] for r in root(co).ok("GET", "/routes")["routes"] if r["approved"]]

    equal(approved(), [])
    for prefix in good:
        co.admin("route", "approve", "gw", prefix)
    equal(sorted(approved()), sorted(good))
    # exit is both, or what there is of them.
    equal(co.admin("route", "revoke", "gw", "exit"), "gw is no longer an exit in the network lab\n")
    equal([p for p in approved() if p.endswith("/0")], [])
    equal(co.admin("route", "approve", "gw", "exit"), "gw is now an exit in the network lab\n")
    equal(sorted(approved()), sorted(good))
    assert "plain does not advertise 0.0.0.0/0 or ::/0" in co.admin("route", "approve", "plain", "exit", code=1)


@case("agent remove names the devices that go with it")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.210.0.0/16")
    gw, plain = Agent(co, "gw").register(co.key()), Agent(co, "plain").register(co.key())
    gw.register(co.key("--network", "lab"))
    for name, network in (("phone", "default"), ("router", "default"), ("camera", "lab")):
        co.admin("peer", "add", name, "--via", "gw", "--network", network, "--endpoint", "192.0.2.1:1")
    equal(co.admin("agent", "remove", "gw", "--network", "lab"), "agent gw (%s) removed, and its devices: camera\n" % gw.id)
    removed = json.loads(co.admin("agent", "remove", "gw", "--json"))
    equal(sorted(removed["devices"]), ["phone", "router"])
    assert all(name in removed["message"] for name in ("phone", "router")) and "camera" not in removed["message"], removed
    equal(co.admin("agent", "remove", "plain"), "agent plain (%s) removed\n" % plain.id)
    helped = subprocess.run([meshclient.PROGRAM, "agent", "remove", "--help"], capture_output=True, text=True, timeout=20).stdout
    assert "devices" in helped, helped


@case("a network whose range overlaps another's is made, with a warning to those who see both")
def _(co):
    co.admin("network", "create", "one", "--cidr", "10.210.0.0/16", "--cidr6", "fd21::/64")
    said = co.admin("network", "create", "two", "--cidr", "10.210.4.0/24")
    assert "Warning: its range overlaps that of the network one (10.210.0.0/16): no agent can be in both" in said, said
    made = root(co).ok("POST", "/networks", {"name": "three", "cidr": "10.211.0.0/16", "cidr6": "fd21::/64"}, 201)
    equal(made["warnings"], ["its range overlaps that of the network one (fd21::/64): no agent can be in both"])
    equal(root(co).ok("POST", "/networks", {"name": "four", "cidr": "10.212.0.0/16"}, 201)["warnings"], [])
    assert "public" in root(co).ok("POST", "/networks", {"name": "five", "cidr": "1.2.0.0/16"}, 201)["warnings"][0]


@case("a device's QR code is printed when it is asked for; times are taken in weeks and in parts")
def _(co):
    Agent(co, "gw").register(co.key("--expires", "1h30m"))
    add = lambda name, *more: co.admin("peer", "add", name, "--via", "gw", "--endpoint", "192.0.2.1:1", *more)
    if "\u2588" not in add("a", "--qr"):
        assert "libqrencode" in co.admin("peer", "add", "b", "--via", "gw", "--endpoint", "192.0.2.1:1", "--qr", code=None)
    for plain in (add("c"), add("d", "--no-qr"), add("e", "--qr", "--public-key", b64(Agent(co, "e").public))):
        assert "\u2588" not in plain and "[Interface]" in plain, plain
    lives = {}
    for text, seconds in (("1w", 604800), ("1h30m", 5400), ("1d12h", 129600)):
        made = json.loads(co.admin("key", "create", "--expires", text, "--json"))
        lives[text] = calendar.timegm(time.strptime(made["expires_at"], "%Y-%m-%dT%H:%M:%SZ")) - time.time()
        assert abs(lives[text] - seconds) < 60, (text, lives)
    for text in ("1y", "30m1h", "1h30"):
        assert text in co.admin("key", "create", "--expires", text, code=2)


if __name__ == "__main__":
    sys.exit(coordinator.main())
