"""Writers for durable.py. Each changes things of its own, one at a time, and remembers of each what
was answered, and what was asked without an answer: after a crash a thing must be as answered, or as
asked last, and nothing else may be there."""
import http.client, json, random, socket, threading
from meshclient import Agent, Line, b64, crypto_scalarmult_base, randombytes

NOTHING = None      # the state of what is not there
LIVE = 12           # things of a kind that a writer keeps
GONE = 400          # of those removed, how many are asked about


class Refused(Exception):
    """Answered, but not as it must be."""


def administer(co, command, **arguments):
    """Status and result over the administration socket; a broken connection is an OSError."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20)
        line.connect(co.dir + "/run/coordinator.sock")
        line.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            more = line.recv(1 << 20)
            if not more:
                raise OSError("no answer")
            answer += more
    answer = json.loads(answer)
    if answer["ok"]:
        return 200, answer["result"]
    return 503 if answer["code"] == "store_unavailable" else 500, answer


class Thing:
    """`state` was answered; `wish`, where there is one, was asked for and not answered."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name
        self.state, self.wish, self.wishing = NOTHING, NOTHING, False
        self.id = None
        self.secret = None  # what shows that it is there: a token, a key

    def allowed(self):
        return [self.state] + ([self.wish] if self.wishing else [])

    def settle(self, seen):
        self.state, self.wish, self.wishing = seen, NOTHING, False


class Writer(threading.Thread):
    def __init__(self, co, number, root, shared, seed):
        super().__init__(daemon=True)
        self.co, self.number, self.root, self.shared = co, number, root, shared
        self.line, self.random = Line(co), random.Random(seed)
        self.things, self.made, self.answered, self.failed = [], 0, 0, None
        self.pair = None  # a one-shot key and who comes by it: both or neither
        self.go, self.parked, self.ended = threading.Event(), threading.Event(), False

    # ---- the thread: from `go` until the coordinator is gone --------------------------------------

    def run(self):
        while not self.ended:
            self.go.wait()
            self.parked.clear()
            try:
                while self.go.is_set() and not self.ended and not self.failed:
                    self.step()
            except (OSError, http.client.HTTPException):
                pass
            except Exception as why:
                self.failed = "%s: %s" % (type(why).__name__, why)
            self.line.close()
            self.go.clear()
            self.parked.set()

    def ask(self, thing, wish, function, good=(200, 201, 204)):
        """Asks for `wish`. What function answers, where it is good."""
        thing.wish, thing.wishing = wish, True
        status, answer = function()
        if status == 503:
            raise OSError("503")  # may be done yet
        if status not in good:
            thing.wish, thing.wishing = NOTHING, False
            raise Refused("%s %s: %s %s" % (thing.kind, thing.name, status, answer))
        thing.settle(wish)
        self.answered += 1
        return answer

    def api(self, method, path, body=None):
        return lambda: self.line.request(method, path, body, {"Authorization": "Bearer " + self.root})

    def admin(self, command, **arguments):
        return lambda: administer(self.co, command, **arguments)

    def some(self, kind, test=lambda state: True):
        found = [t for t in self.things if t.kind == kind and t.state is not NOTHING and not t.wishing and test(t.state)]
        return self.random.choice(found) if found else None

    def new(self, kind):
        self.made += 1
        thing = Thing(kind, "w%d-%d" % (self.number, self.made))
        self.things.append(thing)
        return thing

    def room(self, kind, most=LIVE):
        return sum(1 for t in self.things if t.kind == kind and t.allowed() != [NOTHING]) < most

    def step(self):
        weight = self.random.choices(self.STEPS, [s[1] for s in self.STEPS])[0][0]
        weight(self)

    # ---- agents -------------------------------------------------------------------------------------

    def register(self):
        if not self.room("agent"):
            return
        thing = self.new("agent")
        thing.agent = Agent(self.line, thing.name)
        routes = ["10.%d.%d.0/24" % (self.number, self.made % 250)] if self.made % 3 == 0 else []
        gate = self.made % 4 == 0
        self.come(thing, self.shared["gate" if gate else "default"], gate, routes)

    def come(self, thing, key, gate, routes):
        thing.link = key
        wish = {"name": thing.name, "key": b64(thing.agent.public), "tags": [], "approved": not gate,
                "routes": {r: False for r in routes}}
        answer = self.ask(thing, wish, lambda: thing.agent.try_register(key, advertised_routes=routes))
        thing.id, thing.agent.id = answer["agent_id"], answer["agent_id"]
        thing.secret, thing.addresses = answer["token"], answer["addresses"]

    def rekey(self):
        thing = self.some("agent", lambda s: s["approved"])
        if not thing or not thing.secret:
            return
        agent, private = thing.agent, randombytes(32)
        public = crypto_scalarmult_base(private)
        given = agent.challenge()
        body = json.dumps({"coordinator": self.co.origin, "public_key": b64(public), "challenge": given["challenge"]}).encode()
        headers = {"Authorization": agent.proof(given, body), "WG-Mesh-New-Proof": agent.proof(given, body, private)}
        thing.other = agent.private, agent.public  # the one it has, or had
        thing.secret = None  # tokens end with the key
        agent.private, agent.public = private, public
        self.ask(thing, {**thing.state, "key": b64(public)},
                 lambda: self.line.request("POST", "/agents/%s/key" % thing.id, body, headers))

    def leave(self):
        thing = self.some("agent")
        if thing and thing.secret:
            self.ask(thing, NOTHING, lambda: self.line.request("DELETE", "/agents/" + thing.id,
                                                               headers={"Authorization": "Bearer " + thing.secret}))

    def remove(self):
        thing = self.some("agent")
        if thing and thing.id:
            self.ask(thing, NOTHING, self.admin("agent remove", agent=thing.id))

    def tag(self):
        thing = self.some("agent")
        if thing and thing.id:
            self.made += 1
            wish = {**thing.state, "tags": ["t%d" % self.made], "name": "w%d-%d" % (self.number, self.made)}
            self.ask(thing, wish, self.api("PATCH", "/agents/" + thing.id, {"name": wish["name"], "tags": wish["tags"]}))
            thing.agent.name = wish["name"]

    def approve(self):
        thing = self.some("agent", lambda s: not s["approved"])
        if thing and thing.id:
            self.ask(thing, {**thing.state, "approved": True}, self.api("POST", "/agents/%s/approve" % thing.id, {}))

    def route(self):
        thing = self.some("agent", lambda s: s["routes"])
        if thing and thing.id:
            prefix, was = next(iter(thing.state["routes"].items()))
            self.ask(thing, {**thing.state, "routes": {prefix: not was}},
                     self.admin("route revoke" if was else "route approve", agent=thing.id, prefix=prefix))

    # ---- keys: a one-shot key is taken by two at once -----------------------------------------------

    def key(self):
        if self.room("key"):
            thing = self.new("key")
            tags = [thing.name]
            answer = self.ask(thing, {"tags": tags, "state": "valid"},
                              self.api("POST", "/join-keys", {"network": "default", "tags": tags, "expires": "never"}))
            thing.id = answer["id"]
            thing.secret = answer["link"].partition("#")[2].partition(".")[0]

    def revoke(self):
        thing = self.some("key", lambda s: s["state"] == "valid")
        if thing and thing.id:
            self.ask(thing, {**thing.state, "state": "revoked"}, self.api("DELETE", "/join-keys/" + thing.id))

    def use(self):
        """The first to come has it, and the second is refused."""
        thing = self.some("key", lambda s: s["state"] == "valid")
        if not thing or not thing.secret or not self.room("agent"):
            return
        comer = self.new("agent")
        comer.agent, comer.link = Agent(self.line, comer.name), thing.secret
        wish = {"name": comer.name, "key": b64(comer.agent.public), "tags": thing.state["tags"], "approved": True, "routes": {}}
        thing.wish, thing.wishing, self.pair = {**thing.state, "state": "used"}, True, (thing, comer)
        answer = self.ask(comer, wish, lambda: comer.agent.try_register(thing.secret))
        thing.settle(thing.wish)
        self.pair = None
        comer.id, comer.agent.id = answer["agent_id"], answer["agent_id"]
        comer.secret, comer.addresses = answer["token"], answer["addresses"]
        status, answer = Agent(self.line, "second-" + comer.name).try_register(thing.secret)
        if status not in (403, 503):  # 503: nothing is taken while the database is away
            raise Refused("a one-shot key was taken twice: %s %s" % (status, answer))

    # ---- the others ------------------------------------------------------------------------------------

    def user(self):
        if self.room("user"):
            thing = self.new("user")
            thing.id = thing.name
            self.ask(thing, {"role": "viewer"}, self.admin("user add", name=thing.name, role="viewer"))

    def role(self):
        thing = self.some("user")
        if thing:
            role = "operator" if thing.state["role"] == "viewer" else "viewer"
            self.ask(thing, {"role": role}, self.api("PATCH", "/users/" + thing.name, {"role": role}))

    def user_remove(self):
        thing = self.some("user")
        if thing:
            self.ask(thing, NOTHING, self.api("DELETE", "/users/" + thing.name))

    def token(self):
        if self.room("token"):
            thing = self.new("token")
            answer = self.ask(thing, {"label": thing.name}, self.admin("token create", name=thing.name, role="viewer"))
            thing.id, thing.secret = answer["token"]["id"], answer["secret"]

    def token_revoke(self):
        thing = self.some("token")
        if thing and thing.id:
            self.ask(thing, NOTHING, self.admin("token revoke", id=thing.id))

    def relay(self):
        if self.room("relay", 8):
            thing = self.new("relay")
            url = "https://%s.example:1" % thing.name
            thing.id = self.ask(thing, {"url": url}, self.admin("relay add", region=thing.name, url=url))["relay"]["id"]

    def relay_remove(self):
        thing = self.some("relay")
        if thing and thing.id:
            self.ask(thing, NOTHING, self.admin("relay remove", id=thing.id))

    def device(self):
        """At a gateway that stays, so that it does not go with it."""
        if self.room("device"):
            thing = self.new("device")
            key = b64(crypto_scalarmult_base(randombytes(32)))
            thing.id = self.ask(thing, {"key": key}, self.admin("peer add", name=thing.name, agent=self.shared["gateway"],
                                                                public_key=key, endpoint="192.0.2.1:1"))["device"]["id"]

    def device_remove(self):
        thing = self.some("device")
        if thing and thing.id:
            self.ask(thing, NOTHING, self.admin("peer remove", name=thing.name))

    def policy(self):
        """There is one: the first writer has it."""
        if self.number == 0:
            thing = next((t for t in self.things if t.kind == "policy"), None) or self.new("policy")
            self.made += 1
            text = "version: 1\ndefault: allow # %d\n" % self.made
            self.ask(thing, {"text": text}, self.admin("policy apply", text=text))

    STEPS = [(register, 8), (rekey, 3), (leave, 2), (remove, 2), (tag, 4), (approve, 3), (route, 3), (key, 3),
             (revoke, 1), (use, 2), (user, 2), (role, 2), (user_remove, 1), (token, 2), (token_revoke, 1),
             (relay, 1), (relay_remove, 1), (device, 2), (device_remove, 1), (policy, 1)]


# ---- what is there now ---------------------------------------------------------------------------------


def listed(co, command, member, **arguments):
    status, answer = administer(co, command, **arguments)
    if status != 200:
        raise AssertionError("%s: %s" % (command, answer))
    return answer[member]


def seen(co):
    """Everything there is, by kind and by a name that its writer knows it by: (id, state, addresses)."""
    agents = {}
    for row in listed(co, "agent list", "agents"):
        if row["expired"]:
            raise AssertionError("an agent that nobody expired has: %s" % row)
        agents.setdefault(row["agent_id"], []).append(row)
    for rows in agents.values():
        if len(rows) != 1:
            raise AssertionError("an agent is there twice: %s" % rows)
    found = {"agent": [(i, {"name": r["name"], "key": r["public_key"], "tags": r["tags"], "approved": r["approved"],
                            "routes": {x["prefix"]: x["approved"] for x in r["routes"]}}, r["addresses"])
                       for i, (r,) in agents.items()]}
    found["key"] = [(r["id"], {"tags": r["tags"], "state": r["state"]}, None) for r in listed(co, "key list", "keys")]
    found["user"] = [(r["name"], {"role": r["roles"][0]["role"]}, None) for r in listed(co, "user list", "users")]
    found["token"] = [(r["id"], {"label": r["name"]}, None) for r in listed(co, "token list", "tokens")]
    found["relay"] = [(r["id"], {"url": r["url"]}, None) for r in listed(co, "relay list", "relays")]
    found["device"] = [(r["id"], {"key": r["public_key"]}, r["addresses"]) for r in listed(co, "peer list", "devices")]
    status, answer = administer(co, "policy show")
    found["policy"] = [("policy", {"text": answer["text"]}, None)] if status == 200 and answer.get("text") else []
    return found


def compare(writers, found, known):
    """Each thing is as it may be, and there is nothing else. Unanswered wishes are settled by what is there."""
    left = {kind: {row[0]: row for row in rows} for kind, rows in found.items()}
    for kind, ids in known.items():
        for i in ids:
            if left[kind].pop(i, None) is None:
                raise AssertionError("%s %s is lost" % (kind, i))
    for writer in writers:
        for thing in writer.things:
            match(thing, left[thing.kind])
        if writer.pair and (writer.pair[0].state["state"] == "used") != (writer.pair[1].state is not NOTHING):
            raise AssertionError("a key and its agent disagree: %s" % [vars(t) for t in writer.pair])
        writer.pair = None
        gone = [t for t in writer.things if t.state is NOTHING]
        for thing in gone[:-GONE]:
            writer.things.remove(thing)
    for kind, rows in left.items():
        if rows:
            raise AssertionError("nobody made this %s: %s" % (kind, list(rows.values())[0]))


def match(thing, rows):
    allowed = thing.allowed()
    if thing.kind == "policy":
        row = rows.get("policy")
    elif thing.id:
        row = rows.get(thing.id)
    else:
        row = next((r for r in rows.values() if r[1] in allowed), None)
    state = row[1] if row else NOTHING
    if state not in allowed:
        raise AssertionError("%s %s (%s) is %s, not %s" % (thing.kind, thing.name, thing.id, state,
                                                             " or ".join(map(str, allowed))))
    if row:
        del rows[row[0]]
        thing.id = row[0] if thing.kind != "policy" else None
    if thing.kind == "agent" and row:
        told = [a.partition("/")[0] for a in getattr(thing, "addresses", [])]
        if told and told != row[2]:
            raise AssertionError("agent %s has %s, and was told %s" % (thing.name, row[2], told))
        thing.agent.id, thing.agent.name = row[0], state["name"]
        if state["key"] != b64(thing.agent.public):
            thing.agent.private, thing.agent.public = thing.other
    thing.settle(state)
