#!/usr/bin/python3
"""Cases of rest.sh. With words: only the cases whose name has one of them."""
import json, re, subprocess, sys, time
import coordinator, meshclient
from coordinator import FAST, NO_RELAY, case, equal, refused
from meshclient import Agent, Coordinator, Ws, b64, wait_until

del coordinator.cases[:]
coordinator.LABEL = "rest"
PASSWORD = "correct horse battery"


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


def session(co, name, password=PASSWORD):
    status, body, cookie, _ = login(co, name, password)
    equal(status, 201, body)
    api = Api(co)
    api.cookie = cookie.partition(";")[0]
    api.headers = {"Cookie": api.cookie, "Origin": co.origin, "WG-Mesh-CSRF": body["csrf_token"]}
    return api


# ---- the document and the server ---------------------------------------------------------


def fits(schema, value, document, where):
    """What of JSON Schema the document uses."""
    if "$ref" in schema:
        part = document
        for name in schema["$ref"].split("/")[1:]:
            part = part[name]
        return fits(part, value, document, where)
    if "anyOf" in schema:
        errors = []
        for option in schema["anyOf"]:
            try:
                return fits(option, value, document, where)
            except AssertionError as why:
                errors.append(str(why))
        raise AssertionError("; ".join(errors))
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
             "null": type(None)}
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        fine = any(isinstance(value, kinds[n]) and (n == "boolean" or not isinstance(value, bool)) for n in names)
        assert fine, "%s: %r is not %s" % (where, value, names)
    if "enum" in schema:
        assert value in schema["enum"], "%s: %r is not among %r" % (where, value, schema["enum"])
    if isinstance(value, str):
        assert len(value) <= schema.get("maxLength", 1 << 30), "%s: %r is too long" % (where, value)
        assert len(value) >= schema.get("minLength", 0), "%s: %r is too short" % (where, value)
        assert re.search(schema.get("pattern", ""), value), "%s: %r does not fit" % (where, value)
    if isinstance(value, dict):
        for name in schema.get("required", []):
            assert name in value, "%s: %s is missing" % (where, name)
        for name, part in schema.get("properties", {}).items():
            if name in value:
                fits(part, value[name], document, where + "." + name)
        extra = set(value) - set(schema.get("properties", value))
        assert not extra or where.startswith("?"), "%s: %r is not in the document" % (where, extra)
    if isinstance(value, list):
        for item in value:
            fits(schema.get("items", {}), item, document, where + "[]")


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

    def registration():
        who = Fresh(co, "fresh")
        given = who.challenge()
        raw = json.dumps(who.body(given, key)).encode()
        return raw, {"Authorization": who.proof(given, raw)}

    # operation: (id, body, by); in the order in which they can be called
    calls = {
        "POST /agents/challenge": (None, {"public_key": b64(agent.public)}, None),
        "POST /agents/register": (None, registration, None),
        "PUT /agents/{id}/endpoint": (agent.id, {"endpoint": "192.0.2.1:1"}, "agent"),
        "GET /agents/{id}/peers": (agent.id, None, "agent"),
        "POST /agents/{id}/heartbeat": (agent.id, {}, "agent"),
        "POST /agents/{id}/token": (agent.id, {}, "agent"),
        "POST /agents/{id}/key": (agent.id, rekey, None),
        "GET /agents/{id}/sync": (agent.id, "websocket", "agent"),
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
        "GET /users": (None, None, "admin"),
        "POST /users": (None, {"name": "made", "password": PASSWORD, "role": "operator", "network": "made"}, "admin"),
        "GET /users/{id}": ("made", None, "admin"),
        "PATCH /users/{id}": ("made", {"role": "viewer"}, "admin"),
        "DELETE /users/{id}": ("made", None, "admin"),
        "GET /tokens": (None, None, "admin"),
        "POST /tokens": (None, {"role": "viewer", "scopes": ["agents:read"], "networks": ["made"]}, "admin"),
        "DELETE /tokens/{id}": (doomed, None, "admin"),
        "GET /audit": ("?limit=5", None, "admin"),
        "GET /events": (None, "websocket", "admin"),
        "POST /session": (None, {"user": "temporary", "password": PASSWORD}, None),
        "GET /session": (None, None, "session"),
        "DELETE /session": (None, None, "session"),
        "DELETE /agents/{id}": (spare.id, None, "admin"),
        "GET /openapi.json": (None, None, None),
        "GET //healthz": (None, None, None),
        "GET //metrics": (None, None, None),
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
        status, answer = co.request(method, target, sent, headers, root=True)
        assert str(status) in wanted, "%s: %d %r, not %s" % (name, status, answer, wanted)
        content = operation["responses"][str(status)].get("content", {}).get("application/json")
        if content:
            fits(content["schema"], answer, document, ("?" if name == "GET /agents/{id}" else "") + name)
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


# ---- what a user of headscale would do --------------------------------------------------------


@case("networks, keys, agents and routes over REST, and the same by command")
def _(co):
    api = root(co)
    made = api.ok("POST", "/networks", {"name": "lab", "cidr": "10.210.0.0/16"}, 201)["network"]
    equal((made["name"], made["cidr"], made["approve"]), ("lab", "10.210.0.0/16", False))
    refused(api("POST", "/networks", {"name": "lab", "cidr": "10.211.0.0/16"}), 409, "name_taken")
    refused(api("POST", "/networks", {"name": "x", "cidr": "nonsense"}), 422, "invalid")
    key = api.ok("POST", "/join-keys", {"network": "lab", "reusable": True, "tags": ["web"]}, 201)
    equal(key["key"]["tags"], ["web"])
    agent = Agent(co, "web-1").register(key["link"].partition("#")[2].partition(".")[0],
                                        advertised_routes=["192.168.44.0/24"])
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
        co.admin("relay", "add", *words, code=1)


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
        assert "characters" in co.admin("user", "add", "bob", "--role", "viewer", stdin=password + "\n", code=1)
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
    equal(ask(WG_Mesh_CSRF=csrf, Sec_Fetch_Site="same-origin")[0], 201)
    other = "https://127.0.0.1:%d" % (co.port + 1)
    for headers, code in (({"Origin": co.origin}, "csrf_wrong"), ({"Origin": co.origin, "WG_Mesh_CSRF": "x"}, "csrf_wrong"),
                          ({"Origin": co.origin, "WG_Mesh_CSRF": csrf[:-1] + ("A" if csrf[-1] != "A" else "B")}, "csrf_wrong"),
                          ({"WG_Mesh_CSRF": csrf}, "cross_site"), ({"Origin": "null", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "https://evil.example", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": other, "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": "http://127.0.0.1:%d" % co.port, "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": co.origin, "Sec_Fetch_Site": "cross-site", "WG_Mesh_CSRF": csrf}, "cross_site"),
                          ({"Origin": co.origin, "Sec_Fetch_Site": "same-site", "WG_Mesh_CSRF": csrf}, "cross_site")):
        refused(ask(**headers), 403, code)
    equal(co.request("GET", "/networks", headers={"Cookie": ann.cookie})[0], 200)
    equal(login(co, "ann", headers={"Origin": "https://evil.example"})[1]["code"], "cross_site")
    secret = ann.cookie.partition("=")[2]
    refused(Api(co, secret)("GET", "/networks"), 401, "token_invalid")
    bearer = root(co).headers["Authorization"][len("Bearer "):]
    refused(co.request("GET", "/networks", headers={"Cookie": "__Host-wg-mesh=" + bearer}), 401, "token_invalid")
    for headers, status in (({"Cookie": ann.cookie, "Origin": "https://evil.example"}, 403), ({"Cookie": ann.cookie}, 403),
                            ({"Cookie": ann.cookie, "Origin": co.origin}, 101)):
        equal(Ws(co, "/api/v1/events", None, headers=headers).status, status, headers)


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
    made = maker.ok("POST", "/tokens", {"name": "ci"}, 201)
    assert made["secret"] not in json.dumps(json.loads(co.admin("token", "list", "--json")))
    co.admin("user", "role", "ann", "viewer")
    refused(Api(co, made["secret"])("GET", "/routes"), 403, "scope_missing")
    refused(api("POST", "/join-keys", {"network": "lab"}), 403, "role_too_low")
    co.admin("user", "role", "ann", "none")
    equal(api.ok("GET", "/agents")["agents"] if api("GET", "/agents")[0] == 200 else [], [])
    co.admin("token", "revoke", made["token"]["id"])
    refused(Api(co, made["secret"])("GET", "/agents"), 401, "token_invalid")
    for secret in ("wgm_x", "x", "wgm_" + "A" * 43):
        refused(Api(co, secret)("GET", "/agents"), 401, "token_invalid")
    assert "needs" in co.admin("token", "create", code=2) or True
    co.stop()
    with open(co.dir + "/log") as f:
        assert made["secret"] not in f.read()
    co.start()
    equal(read("GET", "/agents")[0], 403, "a user without a role")


if __name__ == "__main__":
    sys.exit(coordinator.main())
