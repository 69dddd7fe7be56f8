#!/usr/bin/python3
"""Cases of policy.sh. With words: only the cases whose name has one of them."""
import json, os, pty, random, re, select, signal, subprocess, sys, time
import coordinator, meshclient
from coordinator import FAST, case, equal, refused
from meshclient import PROGRAM, Agent, Coordinator, b64, wait_until
from rest import root, token, user

del coordinator.cases[:]
coordinator.LABEL = "policy"
WITHIN = 3  # seconds: three times what the contract says of new rules

ALLOW = "version: 1\ndefault: allow\n"
DENY = "version: 1\ndefault: deny\n"


def write(co, text, name="p.yaml"):
    path = co.dir + "/" + name
    with open(path, "w") as f:
        f.write(text)
    return path


def show(co):
    return json.loads(co.admin("policy", "show", "--json"))


class Watcher:
    """An agent's stream, and what it knows by it: peers by id, rules by network."""

    def __init__(self, agent):
        self.agent, self.peers, self.rules, self.frames = agent, {}, {}, []
        self.ws = agent.stream()
        self.snapshot = self.take(self.ws.receive())

    def take(self, frame):
        self.frames.append(frame)
        if frame["type"] == "snapshot":
            self.peers = {p["agent_id"]: p for p in frame["peers"]}
            self.rules = {r["network"]: r["rules"] for r in frame["rules"]}
        for change in frame.get("changes", []):
            if change["op"] == "put":
                self.peers[change["peer"]["agent_id"]] = change["peer"]
            elif change["op"] == "remove":
                self.peers.pop(change["agent_id"], None)
            elif change["op"] == "patch" and change["agent_id"] in self.peers:
                self.peers[change["agent_id"]].update({k: v for k, v in change.items() if k != "op"})
            elif change["op"] == "rules":
                self.rules[change["network"]] = change["rules"]
        return frame

    def names(self):
        return sorted(p["name"] for p in self.peers.values())

    def until(self, test, seconds=10):
        """Reads until the test holds; the time that took."""
        begin = time.time()
        while not test():
            left = begin + seconds - time.time()
            if left <= 0:
                return None
            try:
                self.take(self.ws.receive(max(left, 0.05)))
            except coordinator.socket.timeout:
                return None
        return time.time() - begin

    def quiet(self, seconds=0.3):
        """Whatever is on its way is taken."""
        self.until(lambda: False, seconds)
        return self

    def accepts(self, peer, protocol, port, network="default", family=4):
        """What a firewall by these rules would do with a packet from that peer's own address to ours."""
        for rule in self.rules[network]:
            if rule["own"] and peer.get("class") in rule["classes"] and rule["family"] in (None, family) and \
                    rule["protocol"] in ("any", protocol):
                if not rule["ports"] or any(int(r.split("-")[0]) <= port <= int(r.split("-")[-1]) for r in rule["ports"]):
                    return True
        return False

    def close(self):
        self.ws.close()


def mesh(co, **tags):
    """Agents by name, with these tags, each by a key made for its name."""
    made = {}
    for name, words in tags.items():
        options = [word for tag in words for word in ("--tag", tag)]
        called = name.replace("_", "-")
        made[name] = Agent(co, called).register(co.key("--name", called, *options))
    return made


def address(agent, family=4):
    return next(a.partition("/")[0] for a in agent.addresses if (":" in a) == (family == 6))


# ---- commands -------------------------------------------------------------------------------


@case("check, test, diff, apply, show and explain on the command line")
def _(co):
    equal(show(co)["version"], 0)
    made = mesh(co, web=["web"], db=["db"], guest=["guest"])
    text = """# ours
version: 1
groups: {staff: [web, db]}
hosts: {printer: 192.168.1.40}
acl:
  - {name: web to db, from: [tag:web], to: [tag:db], allow: [tcp/5432, icmp]}
  - {name: no printing, from: [guest], to: [printer], deny: [any], priority: 10}
  - {name: staff print, from: [group:staff], to: [printer], allow: [tcp/631]}
tests:
  - {from: web, to: db, port: tcp/5432, expect: allow}
  - {from: db, to: web, port: tcp/5432, expect: deny}
  - {from: nobody-yet, to: web, port: tcp/1, expect: deny}
"""
    path = write(co, text)
    said = co.admin("policy", "check", path)
    assert "3 rules, 3 tests: 2 ok, 0 failed, 1 skipped" in said, said
    said = co.admin("policy", "test", path)
    for line in ("ok       line 10: web to db tcp/5432 is allowed", "ok       line 11: db to web tcp/5432 is denied",
                 "skipped  line 12: there is no agent or device nobody-yet"):
        assert line in said, said
    checked = json.loads(co.admin("policy", "check", path, "--json"))
    equal([t["result"] for t in checked["tests"]], ["ok", "ok", "skipped"])
    equal((checked["rules"], checked["failed"], checked["schema"]), (3, 0, 1))
    lines = co.admin("policy", "diff", path).splitlines()
    assert "default: web to db: tcp/5432, icmp (was: any)" in lines, lines
    assert "default: db to web: nothing (was: any)" in lines, lines
    equal(show(co)["version"], 0, "diff and check change nothing")
    applied = subprocess.run([PROGRAM, "--config", co.dir + "/coordinator.yaml", "policy", "apply", path],
                             capture_output=True, text=True, timeout=20)
    assert "policy 1 holds" in applied.stdout, applied
    assert ":12:5: this test was skipped: there is no agent or device nobody-yet" in applied.stdout + applied.stderr, applied
    equal(co.admin("policy", "show"), text)
    state = show(co)
    equal((state["version"], state["waiting"], state["confirm_seconds"], state["text"]), (1, False, None, text))
    assert state["applied_by"].startswith("admin uid"), state
    equal(co.admin("policy", "diff", path), "no agent of now would notice\n")
    # A failing test: exit code 1, and apply does not take it.
    failing = write(co, text + "  - {from: guest, to: db, port: udp/53, expect: allow}\n", "failing.yaml")
    for command in ("check", "test"):
        done = subprocess.run([PROGRAM, "--config", co.dir + "/coordinator.yaml", "policy", command, failing],
                              capture_output=True, text=True, timeout=20)
        equal(done.returncode, 1)
        assert "failed   %s:13: guest to db udp/53 is denied by the default (none is written), since no rule speaks of it: from %s to %s" % (
            failing, address(made["guest"]), address(made["db"])) in done.stdout, done.stdout
    said = co.admin("policy", "apply", failing, code=1)
    assert "guest to db udp/53 is denied" in said and said.count("\n") == 1, said
    equal(show(co), state)
    # Warnings name what nobody has, and the word that was meant.
    warned = co.admin("policy", "check", write(co, "version: 1\nacl: [{from: [gues], to: [tag:gust], allow: [any]}]\n", "w.yaml"))
    assert "w.yaml:2:15: no agent or device is called gues, did you mean guest?" in warned, warned
    assert "w.yaml:2:27: no agent and no join key has the tag gust, did you mean guest?" in warned, warned
    done = subprocess.run([PROGRAM, "--config", co.dir + "/coordinator.yaml", "policy", "apply", "-"], input=ALLOW,
                          capture_output=True, text=True, timeout=20)
    equal((done.returncode, done.stdout), (0, "policy 2 holds\n"), done.stderr)
    # Nobody is asked where nobody need be.
    co.stop()
    equal(co.admin("policy", "check", path, code=3).count("\n"), 1)
    assert "3 rules" in co.admin("policy", "check", "--offline", path)
    assert "%s:1:1" % write(co, "x: 1\n", "x.yaml") in co.admin("policy", "check", "--offline", co.dir + "/x.yaml", code=2)
    co.start()
    equal(show(co)["version"], 2, "after a restart")


@case("wrong usage of the commands is told in a sentence")
def _(co):
    path = write(co, ALLOW)
    for words, code, said in (
            (["policy", "check"], 2, "lacks its file"), (["policy", "check", co.dir + "/none.yaml"], 2, "cannot be read"),
            (["policy", "check", co.dir], 2, "cannot be read"), (["policy"], 2, "there is policy check, policy test"), (["policy", "aply", path], 2, "apply"),
            (["policy", "apply", path, "--confirm", "0"], 2, "--confirm 0"), (["policy", "apply", path, "--confirm", "soon"], 2, "--confirm soon"),
            (["policy", "apply", path, "--confirm", "3601"], 2, "--confirm 3601"), (["policy", "explain", "a", "b"], 2, "lacks its port"),
            (["policy", "explain", "a", "b", "tcp"], 2, "one port"), (["policy", "explain", "a", "b", "tcp/22"], 1, "no agent or device a: see agent list"),
            (["policy", "confirm"], 1, "no policy waits"), (["policy", "rollback"], 1, "no policy waits"),
            (["policy", "explain", "a", "b", "tcp/22", "--network", "none"], 1, "no network none")):
        error = co.admin(*words, code=code)
        assert said in error and error.count("\n") == 1, error
    big = write(co, ALLOW + "#" + "x" * (1 << 20), "big.yaml")
    assert "1 MiB" in co.admin("policy", "apply", big, code=2)
    with open(co.dir + "/binary.yaml", "wb") as f:
        f.write(b"version: 1\n# \xff\xfe\n")
    assert "no text" in co.admin("policy", "apply", co.dir + "/binary.yaml", code=2)
    text = ALLOW + "# " + "\u00e4\"\\\t" * 200000 + "\n"
    assert "holds" in co.admin("policy", "apply", write(co, text, "large.yaml")), "a large one with much to escape"
    equal(co.admin("policy", "show"), text)


@case("the shell is told every command and option, and where a file is to be named")
def _(co):
    def offered(*words):
        done = subprocess.run([PROGRAM, "complete-words", *words], capture_output=True, text=True, timeout=20)
        equal((done.returncode, done.stderr), (0, ""), words)
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]

    helped = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=20).stdout
    rows = re.findall(r"^  ([a-z]+)(?: ([a-z]+))?\b", helped.partition("commands:")[2].partition("options:")[0], re.M)
    assert len(rows) > 30, rows
    equal(offered(""), list(dict.fromkeys(first for first, _ in rows)))
    for first, second in rows:
        if second:
            assert second in offered(first, ""), (first, second)
            equal([w for w in offered(first, second[:3]) if w == second], [second])
    equal(offered("po"), ["policy"])
    equal(offered("policy", "apply", "--c"), ["--confirm", "--config", "--check"])
    equal(offered("policy", "apply", "p"), [], "a file's name")
    equal(offered("serve", "--pol"), ["--policy"])
    equal([offered(), offered("nonsense", "x"), offered("policy", "nonsense", "x")], [[], [], []])


@case("a difference is said of agents that are alike, and where it is not all it says so")
def _(co):
    api, key = root(co), co.key("--reusable")
    names = ["a%d" % i for i in range(24)]
    for name in names:
        Agent(co, name).register(key)
    alike = "version: 1\nacl: [{from: [%s], to: any, allow: tcp/22}]\n" % ", ".join(names)
    answer = api.ok("POST", "/policy/diff", {"text": alike})
    equal([(c["before"], c["after"]) for c in answer["changes"]], [("any", "tcp/22")], answer)
    for end in "from", "to":
        assert answer["changes"][0][end].endswith(" and 21 more"), answer
    equal(answer["complete"], True)
    each = "version: 1\nacl:\n" + "".join("- {from: %s, to: any, allow: tcp/%d}\n" % (name, i + 1) for i, name in enumerate(names))
    answer = api.ok("POST", "/policy/diff", {"text": each})
    equal((len(answer["changes"]), answer["complete"]), (500, False))
    said = co.admin("policy", "diff", write(co, each)).splitlines()
    equal((len(said), said[-1][:20]), (501, "this is not all: too"))


@case("what a policy costs is bounded, and the refusal says where and what to do")
def _(co):
    viewer, group = token(co, "--role", "viewer"), "groups: {g: [%s]}\n" % ", ".join("a%d" % i for i in range(4000))
    text = "version: 1\n" + group + "acl:\n" + "- {from: 'group:g', to: 'group:g', allow: any}\n" * 120
    for path in "check", "diff":
        answer = viewer("POST", "/policy/" + path, {"text": text})
        refused(answer, 422, "policy_invalid")
        assert answer[1]["detail"].startswith("policy.yaml:9:25: more than 50000 words in all lists, "), answer
        assert answer[1]["detail"].endswith(": give the agents of a large group a tag, and write that in place of it"), answer


@case("the same over REST, for roles and scopes that may")
def _(co):
    mesh(co, one=[], two=[])
    api = root(co)
    equal(api.ok("GET", "/policy")["version"], 0)
    answer = api.ok("PUT", "/policy", {"text": DENY, "file": "deny.yaml"})
    equal((answer["version"], answer["waiting"], answer["warnings"]), (1, False, []))
    assert answer["applied_by"].endswith("from 127.0.0.1"), answer
    equal(api.ok("GET", "/policy")["text"], DENY)
    seen = api.ok("POST", "/policy/explain", {"from": "one", "to": "two", "port": "tcp/1"})
    equal((seen["verdict"], seen["rule"], seen["line"], seen["peers"]), ("deny", "default", None, False))
    changes = api.ok("POST", "/policy/diff", {"text": ALLOW})["changes"]
    equal([(c["network"], c["before"], c["after"]) for c in changes], [("default", "nothing", "any")], changes)
    answer = api("PUT", "/policy", {"text": "version: 1\nacl: [{from: [any], to: [any]}]\n", "file": "wrong.yaml"})
    refused(answer, 422, "policy_invalid")
    assert answer[1]["detail"].startswith("wrong.yaml:2:"), answer[1]
    refused(api("PUT", "/policy", {"text": ALLOW + "tests: [{from: one, to: two, port: tcp/1, expect: deny}]\n"}), 422, "policy_test_failed")
    for body in ({}, {"text": 1}, {"text": ALLOW, "confirm": 0}, {"text": ALLOW, "confirm": 3601}, {"text": ALLOW, "confirm": "5"}):
        refused(api("PUT", "/policy", body), 422, "invalid")
    refused(api("POST", "/policy/explain", {"from": "one", "to": "two", "port": "tcp/1-9"}), 422, "invalid")
    refused(api("POST", "/policy/explain", {"from": "one", "to": "none", "port": "tcp/1"}), 404, "unknown_agent")
    for path in ("confirm", "rollback"):
        refused(api("POST", "/policy/" + path, {}), 409, "nothing_waits")
    viewer, operator = token(co, "--role", "viewer"), token(co, "--role", "operator")
    reads = token(co, "--role", "admin", "--scope", "policy:read")
    for who, code in ((viewer, "role_too_low"), (operator, "role_too_low"), (reads, "scope_missing")):
        equal(who.ok("GET", "/policy")["text"], DENY)
        who.ok("POST", "/policy/check", {"text": ALLOW})
        who.ok("POST", "/policy/diff", {"text": ALLOW})
        refused(who("PUT", "/policy", {"text": ALLOW}), 403, code)
        refused(who("POST", "/policy/confirm", {}), 403, code)
    refused(token(co, "--role", "admin", "--scope", "agents:write")("GET", "/policy"), 403, "scope_missing")
    token(co, "--role", "admin", "--scope", "policy:write").ok("PUT", "/policy", {"text": ALLOW})
    actions = [a["action"] for a in api.ok("GET", "/audit")["audit"] if a["action"].startswith("policy")]
    equal(actions, ["policy-applied", "policy-applied"])


# ---- what is wrong changes nothing ---------------------------------------------------------------

RULE = "{name: x, from: [any], to: [any], allow: [any]}"
WRONG = {
    "no version": ("default: allow\n", 1),
    "another version": ("version: 2\n", 1),
    "an unknown key": ("version: 1\nacls: []\n", 2),
    "an unknown key of a rule": ("version: 1\nacl:\n  - {from: [any], to: [any], alow: [any]}\n", 3),
    "a default that is none": ("version: 1\ndefault: maybe\n", 2),
    "not YAML": ("version: 1\nacl: [\n", None),
    "a tab": ("version: 1\n\tdefault: deny\n", 2),
    "a key twice": ("version: 1\ndefault: deny\ndefault: allow\n", 3),
    "a rule that says nothing": ("version: 1\nacl: [{from: [any], to: [any]}]\n", 2),
    "a rule that says both": ("version: 1\nacl: [{from: [any], to: [any], allow: [any], deny: [any]}]\n", 2),
    "an unknown group": ("version: 1\nacl:\n  - {from: [group:adm], to: [any], allow: [any]}\ngroups: {admins: [a]}\n", 3),
    "a group in itself": ("version: 1\ngroups: {a: [group:b], b: [group:a]}\n", 2),
    "an unknown kind": ("version: 1\nacl:\n  - {from: [tags:web], to: [any], allow: [any]}\n", 3),
    "a CIDR that is none": ("version: 1\nacl:\n  - {from: [10.0.0.0/33], to: [any], allow: [any]}\n", 3),
    "a host that is no address": ("version: 1\nhosts: {printer: there}\n", 2),
    "a port that is none": ("version: 1\nacl:\n  - {from: [any], to: [any], allow: [tcp/99999]}\n", 3),
    "a protocol that is none": ("version: 1\nacl:\n  - {from: [any], to: [any], allow: [tpc/22]}\n", 3),
    "self where it means nobody": ("version: 1\nacl:\n  - {from: [self], to: [any], allow: [any]}\n", 3),
    "a priority that is none": ("version: 1\nacl:\n  - {from: [any], to: [any], allow: [any], priority: first}\n", 3),
    "a reserved name": ("version: 1\ngroups: {any: [a]}\n", 2),
    "an empty list": ("version: 1\nacl:\n  - {from: [], to: [any], allow: [any]}\n", 3),
    "a route that is none": ("version: 1\nroutes: {auto_approve: {10.0.0.0/99: [any]}}\n", 2),
    "an owner that is none": ("version: 1\ntags: {server: [\"a b\"]}\n", 2),
    "a test of two ports": ("version: 1\ntests:\n  - {from: a, to: b, port: tcp/1-2, expect: allow}\n", 3),
    "a test that fails": (ALLOW + "tests:\n  - {from: one, to: two, port: tcp/22, expect: deny}\n", 4),
    "right, then wrong": ("version: 1\nacl:\n  - %s\n  - {from: [any], to: [any], allow: [any], deny: x}\n" % RULE, 4),
}


@case("a wrong policy changes nothing: not by command, not over REST, not by its file")
def _(unused):
    co = Coordinator(FAST)
    path = write(co, "version: 1\nacl:\n  - {name: some, from: [one], to: [two], allow: [tcp/22, udp/53]}\n")
    co.options += ["--policy", path]
    try:
        co.start()
        agents = mesh(co, one=[], two=[], three=[])
        api = root(co)
        watchers = [Watcher(a) for a in agents.values()]
        equal([w.names() for w in watchers], [["two"], ["one"], []])

        def snapshots():
            fresh = []
            for watcher in watchers:
                ws = watcher.agent.stream(hello=True)
                frame = ws.receive()
                ws.close()
                fresh.append({**frame, "revision": 0, "peers": [{**p, "online": 0, "last_seen": 0} for p in frame["peers"]]})
            return json.dumps(fresh)

        state = show(co)
        for name, (text, line) in WRONG.items():
            wrong = write(co, text, "wrong.yaml")
            answer = api("PUT", "/policy", {"text": text, "file": "wrong.yaml"})
            equal(answer[0], 422, name)
            mistake = {"policy_invalid": True, "policy_test_failed": False}[answer[1]["code"]]
            for command in ("check", "test", "diff"):
                done = subprocess.run([PROGRAM, "--run-dir", co.dir + "/run", "policy", command, wrong], capture_output=True, timeout=20)
                equal(done.returncode, 2 if mistake else command != "diff", (name, command))
            said = co.admin("policy", "apply", wrong, code=2 if mistake else 1)
            where = re.match(r"wg-mesh-coordinator: (.*?):(\d+)[: ]", said)
            assert where and where[1] == wrong and said.count("\n") == 1, (name, said)
            if line:
                equal(int(where[2]), line, "%s: %s" % (name, said))
            lines = co.log().count(" policy ")
            write(co, text)
            assert wait_until(lambda: co.log().count(" policy ") > lines, 10), "%s: not a word in the log" % name
            assert "goes on" in [l for l in co.log().splitlines() if " policy " in l][-1], name
            equal(show(co), state, name)
        for watcher in watchers:
            frames = len(watcher.frames)
            news = [c for f in watcher.quiet().frames[frames:] for c in f["changes"] if set(c) != {"op", "agent_id", "network", "online", "last_seen"}]
            equal(news, [], "agents heard of it")
        before = snapshots()
        equal(co.admin("policy", "apply", co.dir + "/wrong.yaml", code=None).count("\n"), 1)
        equal(snapshots(), before)
        equal([json.loads(before)[i]["rules"] for i in range(3)], [w.snapshot["rules"] for w in watchers])
        # A coordinator with a wrong file goes on with what it had, after a restart too.
        co.stop()
        co.start()
        equal({**show(co)}, state)
        write(co, ALLOW)
        assert wait_until(lambda: show(co)["text"] == ALLOW, WITHIN), "the file mended"
    finally:
        co.close()
    co = Coordinator(FAST)
    co.options += ["--policy", write(co, "version: 3\n")]
    try:
        done = subprocess.run([PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml"] + co.options, capture_output=True, text=True, timeout=20)
        equal(done.returncode, 2, "nothing else to go on with")
        assert "p.yaml:1:" in done.stderr and done.stderr.count("\n") == 1, done.stderr
        write(co, ALLOW)
        co.start()
        assert "/join#" in co.read("out"), "the first join link was made by the start that failed, and is lost"
    finally:
        co.close()


# ---- it takes hold at once ----------------------------------------------------------------------


@case("a change reaches agents: of the file, by an editor, a link, SIGHUP, command and REST")
def _(unused):
    co = Coordinator(FAST)
    os.mkdir(co.dir + "/d")
    path = write(co, ALLOW, "d/policy.yaml")
    co.options += ["--policy", path]
    try:
        co.start()
        agents = mesh(co, one=[], two=[])
        watcher, api = Watcher(agents["one"]), root(co)
        equal(watcher.names(), ["two"])
        number = [0]

        def text(peers):
            number[0] += 1
            return (ALLOW if peers else DENY) + "# %d\n" % number[0]

        def in_place(peers):
            with open(path, "w") as f:
                f.write(text(peers))

        def renamed(peers):
            with open(path + "~", "w") as f:
                f.write(text(peers))
            os.rename(path + "~", path)

        def link(peers):
            target = write(co, text(peers), "d/v%d" % number[0])
            os.symlink(target, path + ".new")
            os.rename(path + ".new", path)

        def slowly(peers):
            whole = text(peers) + "#" + "x" * 100 + "\n"
            with open(path, "w") as f:
                for c in range(0, len(whole), 16):
                    f.write(whole[c:c + 16])
                    f.flush()
                    time.sleep(0.01)

        def hup(peers):
            co.admin("policy", "apply", write(co, text(not peers), "other.yaml"))
            assert watcher.until(lambda: (watcher.names() == []) == peers, WITHIN) is not None, "the other policy"
            with open(path, "w") as f:
                f.write(text(peers))
            co.process.send_signal(signal.SIGHUP)

        for how in (in_place, renamed, link, slowly, hup,
                    lambda p: co.admin("policy", "apply", write(co, text(p), "other.yaml")),
                    lambda p: api.ok("PUT", "/policy", {"text": text(p)})):
            for peers in (False, True):
                if how is link and os.path.islink(path):
                    os.unlink(path)
                begin = time.time()
                how(peers)
                assert watcher.until(lambda: watcher.names() == (["two"] if peers else []), WITHIN) is not None, how
                print("     %s: %d ms" % (getattr(how, "__name__"), (time.time() - begin) * 1000), file=sys.stderr)
        # Unlinking the file is no policy of its own.
        os.unlink(path)
        watcher.quiet(0.5)
        equal(watcher.names(), ["two"])
        # What an administrator applied later is not undone by the older file after a restart.
        os.path.islink(path) or write(co, DENY, "d/policy.yaml")
        assert watcher.until(lambda: watcher.names() == [], WITHIN) is not None
        api.ok("PUT", "/policy", {"text": ALLOW})
        co.stop()
        co.start()
        equal(show(co)["text"], ALLOW)
        # Nor by SIGHUP, which is for a certificate as well, or by a file that is written anew and says the same.
        goes_on = lambda: co.log().count("it is what was taken before")
        co.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: goes_on() == 1, WITHIN), co.log()[-500:]
        write(co, DENY, "d/policy.yaml")
        assert wait_until(lambda: goes_on() == 2, WITHIN), co.log()[-500:]
        equal(show(co)["text"], ALLOW)
        # What is applied is told of it, and a change of it takes over.
        said = co.admin("policy", "apply", write(co, ALLOW, "other.yaml"))
        assert "%s is there too, and takes over when it is changed" % path in said, said
        equal(api.ok("PUT", "/policy", {"text": ALLOW})["policy_file"], path)
        write(co, DENY + "# changed\n", "d/policy.yaml")
        assert wait_until(lambda: show(co)["text"] == DENY + "# changed\n", WITHIN), show(co)
        # One that was changed while nobody served is a line of the audit too.
        co.stop()
        write(co, ALLOW + "# again\n", "d/policy.yaml")
        co.start()
        assert "the policy file  policy-applied" in co.admin("audit").splitlines()[-1], co.admin("audit")
    finally:
        co.close()


@case("policy.yaml beside the configuration holds as soon as it is there")
def _(co):
    agents = mesh(co, one=[], two=[])
    watcher = Watcher(agents["one"])
    equal((watcher.names(), show(co)["version"]), (["two"], 0))
    write(co, "version: 1\ndefault: maybe\n", "policy.yaml")
    assert wait_until(lambda: "policy.yaml:2:" in co.log()), "not a word about it"
    write(co, DENY, "policy.yaml")
    assert watcher.until(lambda: watcher.names() == [], WITHIN) is not None
    os.unlink(co.dir + "/policy.yaml")
    co.stop()
    co.start()
    equal(show(co)["text"], DENY)
    write(co, ALLOW, "policy.yaml")
    co.stop(signal.SIGKILL)
    co.start()
    equal(show(co)["text"], ALLOW)
    write(co, "version: 3\n", "policy.yaml")
    done = subprocess.run([PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml", "--check"], capture_output=True, text=True, timeout=20)
    equal(done.returncode, 2)
    assert "policy.yaml:1:" in done.stderr, done.stderr


# ---- apply --confirm -----------------------------------------------------------------------------


@case("what nobody confirms is taken back on the wire: peers that went come again")
def _(co):
    agents = mesh(co, one=[], two=[], three=[])
    co.admin("policy", "apply", write(co, ALLOW, "allow.yaml"))
    watchers = [Watcher(a) for a in agents.values()]
    rules = [w.rules for w in watchers]
    deny = write(co, "version: 1\nacl: [{name: one pair, from: [one], to: [two], allow: [tcp/22]}]\n", "deny.yaml")
    said = co.admin("policy", "apply", deny, "--confirm", "2")
    assert "policy 2 holds, for 2 s unless it is confirmed" in said, said
    for watcher, names in zip(watchers, (["two"], ["one"], [])):
        assert watcher.until(lambda: watcher.names() == names, WITHIN) is not None, watcher.names()
    equal((show(co)["waiting"], show(co)["confirm_seconds"] in (1, 2)), (True, True))
    said = co.admin("policy", "apply", write(co, ALLOW, "third.yaml"), code=1)
    assert "policy 2 waits to be confirmed" in said, said
    for watcher, names in zip(watchers, (["three", "two"], ["one", "three"], ["one", "two"])):
        assert watcher.until(lambda: watcher.names() == names, 2 + WITHIN) is not None, watcher.names()
    for watcher, before in zip(watchers, rules):
        watcher.quiet()
        equal([r["own"] for r in watcher.rules["default"]], [r["own"] for r in before["default"]])
        assert all(watcher.accepts(p, "tcp", 9) for p in watcher.peers.values()), "rules of before are not back"
    equal((show(co)["version"], show(co)["text"]), (1, ALLOW))
    audit = co.admin("audit")
    assert "policy-applied-for-now" in audit and "nobody  policy-not-confirmed  policy 2" in audit, audit
    # Confirmed, it stays.
    co.admin("policy", "apply", deny, "--confirm", "2")
    equal(co.admin("policy", "confirm"), "policy 3 is confirmed\n")
    time.sleep(2.5)
    equal((show(co)["version"], show(co)["waiting"]), (3, False))
    # Taken back by hand, at once.
    co.admin("policy", "apply", write(co, ALLOW, "allow.yaml"), "--confirm", "600")
    assert watchers[2].until(lambda: watchers[2].names() == ["one", "two"], WITHIN) is not None
    assert "taken back" in co.admin("policy", "rollback")
    assert watchers[2].until(lambda: watchers[2].names() == [], WITHIN) is not None
    # Over REST, only the one that was meant is confirmed.
    api = root(co)
    waiting = api.ok("PUT", "/policy", {"text": ALLOW, "confirm": 600})
    equal((waiting["waiting"], waiting["confirm_seconds"]), (True, 600))
    refused(api("POST", "/policy/confirm", {"version": waiting["version"] - 1}), 409, "nothing_waits")
    equal(api.ok("POST", "/policy/confirm", {"version": waiting["version"]})["version"], waiting["version"])


@case("a file that changes while a policy waits is taken when that has ended")
def _(unused):
    co = Coordinator(FAST)
    path = write(co, ALLOW)
    co.options += ["--policy", path]
    try:
        co.start()
        for end in ("confirm", "rollback"):
            co.admin("policy", "apply", write(co, DENY, "deny.yaml"), "--confirm", "60")
            text = ALLOW + "# after %s\n" % end
            write(co, text)
            time.sleep(0.5)
            equal(show(co)["text"], DENY, "it was taken too early")
            co.admin("policy", end)
            assert wait_until(lambda: show(co)["text"] == text, WITHIN), "it was forgotten"
    finally:
        co.close()


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, co, *words):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execv(PROGRAM, [PROGRAM, "--config", co.dir + "/coordinator.yaml", *words])
        self.text = ""

    def until(self, word, seconds=10):
        end = time.time() + seconds
        while word not in self.text and time.time() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 4096).decode()
                except OSError:
                    break
        assert word in self.text, self.text

    def type(self, text):
        os.write(self.fd, text)

    def ended(self):
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@case("apply --confirm on a terminal: Enter keeps, Ctrl-D takes back, silence takes back")
def _(co):
    allow, deny = write(co, ALLOW, "allow.yaml"), write(co, DENY, "deny.yaml")
    co.admin("policy", "apply", allow)
    terminal = Terminal(co, "policy", "apply", deny, "--confirm", "60")
    terminal.until("Enter keeps it")
    equal(show(co)["waiting"], True)
    terminal.type(b"\n")
    terminal.until("is confirmed")
    equal((terminal.ended(), show(co)["text"], show(co)["waiting"]), (0, DENY, False))
    terminal = Terminal(co, "policy", "apply", allow, "--confirm", "60")
    terminal.until("Enter keeps it")
    terminal.type(b"\x04")
    terminal.until("taken back")
    equal((terminal.ended(), show(co)["text"]), (1, DENY))
    terminal = Terminal(co, "policy", "apply", allow, "--confirm", "1")
    terminal.until("nobody confirmed it")
    equal((terminal.ended(), show(co)["text"]), (1, DENY))
    # Taken back meanwhile, and another waits: Enter does not confirm that one.
    terminal = Terminal(co, "policy", "apply", allow, "--confirm", "60")
    terminal.until("Enter keeps it")
    co.admin("policy", "rollback")
    co.admin("policy", "apply", allow, "--confirm", "60")
    terminal.type(b"\n")
    terminal.until("does not wait any more")
    equal((terminal.ended(), show(co)["waiting"]), (1, True))
    # Who loses the terminal confirms nothing.
    co.admin("policy", "rollback")
    terminal = Terminal(co, "policy", "apply", allow, "--confirm", "2")
    terminal.until("Enter keeps it")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.ended()
    assert wait_until(lambda: show(co)["text"] == DENY, 10), "it stayed"


@case("SIGKILL while a policy waits: the one before is there")
def _(co):
    agents = mesh(co, one=[], router=[])
    agents["router"].register(co.key("--reusable"), advertised_routes=["10.209.0.0/24"])
    co.admin("policy", "apply", write(co, ALLOW))
    co.admin("policy", "apply", write(co, DENY + "routes: {auto_approve: {10.209.0.0/24: [router]}}\n"), "--confirm", "600")
    watcher = Watcher(agents["one"])
    equal(watcher.names(), [])
    co.stop(signal.SIGKILL)
    co.start()
    equal((show(co)["text"], show(co)["waiting"]), (ALLOW, False))
    watcher = Watcher(agents["one"])
    equal((watcher.names(), [p["routes"] for p in watcher.peers.values()]), (["router"], [[]]))
    co.admin("policy", "apply", write(co, DENY), "--confirm", "600")
    co.admin("policy", "confirm")
    co.stop(signal.SIGKILL)
    co.start()
    equal((show(co)["text"], show(co)["waiting"]), (DENY, False))


# ---- explain, and who is told of whom --------------------------------------------------------------


@case("explain names the rule that decides and its line")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.210.0.0/16")
    agents = mesh(co, laptop=[], web_1=["web"], db_1=["db"], guest=["guest"])
    other = Agent(co, "other").register(co.key("--network", "lab"))
    both = Agent(co, "laptop").register(co.key("--network", "lab"))
    co.admin("policy", "apply", write(co, """version: 1
default: deny
groups:
  admins: [laptop, tag:ops]
  tiers: [tag:web, group:admins]
hosts: {printer: 192.168.1.40}
acl:
  - name: admins everywhere
    from: [group:admins]
    to: [any]
    allow: [any]
  - {name: web to db, from: [tag:web], to: [tag:db], allow: [tcp/5432, icmp]}
  - {name: ports, from: [any], to: [tag:web], allow: [tcp/8000-8100]}
  - {name: no printers, from: [any], to: [printer], deny: [any], priority: 10}
  - {name: own, from: [any], to: [self], allow: [tcp/1]}
  - {name: the lab, from: ["network:lab"], to: ["network:lab"], allow: [udp]}
"""))
    address = agents["db_1"].addresses[0].partition("/")[0]
    table = [
        ("laptop", "db-1", "tcp/22", "allow", "admins everywhere", 8, True),
        ("web-1", "db-1", "tcp/5432", "allow", "web to db", 12, True),
        ("web-1", "db-1", "icmp", "allow", "web to db", 12, True),
        ("web-1", address, "tcp/5432", "allow", "web to db", 12, True),
        ("web-1", agents["db_1"].id, "tcp/5432", "allow", "web to db", 12, True),
        ("web-1", "db-1", "tcp/5433", "deny", "default", None, True),
        ("db-1", "web-1", "tcp/5432", "deny", "default", None, True),
        ("guest", "web-1", "tcp/8100", "allow", "ports", 13, True),
        ("guest", "web-1", "tcp/8101", "deny", "default", None, True),
        ("guest", "db-1", "tcp/8000", "deny", "default", None, False),
        ("laptop", "printer", "tcp/631", "deny", "no printers", 14, None),
        ("laptop", "192.168.1.40", "tcp/631", "deny", "no printers", 14, None),
        ("laptop", "192.168.1.41", "tcp/631", "allow", "admins everywhere", 8, None),
        ("guest", "guest", "tcp/1", "allow", "own", 15, None),
        ("web-1", "other", "tcp/8000", "deny", "agents of two networks never meet", None, False),
    ]
    for from_, to, port, verdict, rule, line, peers in table:
        words = ["policy", "explain", from_, to, port] + (["--network", "default"] if from_ == "laptop" else [])
        seen = json.loads(co.admin(*words, "--json"))
        equal((seen["verdict"], seen["rule"], seen["line"], seen["peers"]), (verdict, rule, line, peers), words)
        said = co.admin(*words)
        assert ("denied", "allowed")[verdict == "allow"] in said, said
        if line:
            assert 'by the rule "%s", line %d' % (rule, line) in said, said
    said = co.admin("policy", "explain", "laptop", "other", "udp/53", code=2)
    assert "laptop (network default), laptop (network lab)" in said, said
    seen = json.loads(co.admin("policy", "explain", "laptop", "other", "udp/53", "--network", "lab", "--json"))
    equal((seen["rule"], seen["line"], seen["from"]["address"]), ("admins everywhere", 8, both.addresses[0].partition("/")[0]))
    assert other


@case("explain and tests judge each family of addresses, and tell both where they differ")
def _(co):
    agents = mesh(co, gw=[], pc=[], other=[])
    gw, pc = agents["gw"], agents["pc"]
    rule = "version: 1\ndefault: deny\nacl:\n  - {name: by six, from: [\"%s/128\"], to: [gw], allow: [tcp/22]}\n" % address(pc, 6)
    co.admin("policy", "apply", write(co, rule))
    seen = json.loads(co.admin("policy", "explain", "pc", "gw", "tcp/22", "--json"))
    equal((seen["verdict"], seen["rule"], seen["line"], seen["peers"]), ("differs", None, None, True))
    equal([[judged[k] for k in ("from", "to", "verdict", "rule", "line")] for judged in seen["families"]],
          [[address(pc), address(gw), "deny", "default", None], [address(pc, 6), address(gw, 6), "allow", "by six", 4]])
    said = co.admin("policy", "explain", "pc", "gw", "tcp/22")
    for line in ("%s to %s: denied by the default: no rule speaks of it" % (address(pc), address(gw)),
                 '%s to %s: allowed by the rule "by six", line 4' % (address(pc, 6), address(gw, 6))):
        assert line in said.splitlines(), said
    assert "it depends on the address" in said, said
    # One verdict where they agree, and of one family where an address is named or the other end has only that.
    for words, verdict, count in ((("pc", "gw", "tcp/23"), "deny", 2), ((address(pc, 6), "gw", "tcp/22"), "allow", 1),
                                  ((address(pc), "gw", "tcp/22"), "deny", 1), (("other", "gw", "tcp/22"), "deny", 2)):
        seen = json.loads(co.admin("policy", "explain", *words, "--json"))
        equal((seen["verdict"], len(seen["families"])), (verdict, count), words)
        equal(co.admin("policy", "explain", *words).count("by the "), 1, words)
    # A test holds for every family.
    line = rule.count("\n") + 2
    for expect, result, where in (("allow", "denied by the default (line 2), since no rule speaks of it", 4),
                                  ("deny", 'allowed by the rule "by six" (line 4)', 6)):
        path = write(co, rule + "tests:\n  - {from: pc, to: gw, port: tcp/22, expect: %s}\n" % expect)
        said = co.admin("policy", "apply", path, code=1)
        assert "%s:%d: pc to gw tcp/22 is %s: from %s to %s" % (path, line, result, address(pc, where), address(gw, where)) in said, said
    co.admin("policy", "apply", write(co, rule + "tests:\n  - {from: \"%s\", to: gw, port: tcp/22, expect: allow}\n" % address(pc, 6)))


@case("a range is judged by all of its parts: explain names one that differs, a test holds for each")
def _(co):
    agents = mesh(co, web=[], boss=["boss"], plain=[])
    rules = """version: 1
default: deny
hosts: {office: 192.168.50.0/24, printer: 192.168.50.40, desks: 192.168.50.128/25, room: 192.168.50.128/26, lot: 10.250.0.0/16}
acl:
  - {name: no printer, from: [any], to: [printer], deny: [any], priority: 1}
  - {name: office, from: [any], to: [office], allow: [tcp/631]}
  - {name: room, from: [any], to: [room], allow: [tcp/631, tcp/632], priority: 2}
  - {name: bosses, from: ["tag:boss"], to: [web], allow: [tcp/22]}
"""
    co.admin("policy", "apply", write(co, rules))

    def seen(*words):
        said = json.loads(co.admin("policy", "explain", *words, "--json"))
        return said["verdict"], [(j["from"], j["to"], j["verdict"], j["rule"]) for j in said["families"]]
    web = address(agents["web"])
    for word in ("office", "192.168.50.0/24", "192.168.50.9/24"):
        equal(seen("web", word, "tcp/631"), ("differs", [(web, "192.168.50.0", "allow", "office"), (web, "192.168.50.40", "deny", "no printer")]))
    said = co.admin("policy", "explain", "web", "office", "tcp/631")
    assert "to 192.168.50.0/24, tcp/631: it depends on the address\n" in said and 'to 192.168.50.40: denied by the rule "no printer"' in said, said
    equal(seen("web", "desks", "tcp/631"), ("allow", [(web, "192.168.50.128", "allow", "room"), (web, "192.168.50.192", "allow", "office")]))
    equal(seen("web", "desks", "tcp/632")[0], "differs")
    equal(seen("web", "room", "tcp/632"), ("allow", [(web, "192.168.50.128", "allow", "room")]))
    equal(seen("web", "printer", "tcp/631"), ("deny", [(web, "192.168.50.40", "deny", "no printer")]))
    equal(seen("office", "desks", "tcp/9")[0], "deny")
    # Agents in it are judged by what they are: a tag here.
    whole = next(n["cidr"] for n in json.loads(co.admin("network", "list", "--json"))["networks"] if n["name"] == "default")
    verdict, judged = seen(whole, "web", "tcp/22")
    equal((verdict, judged[1]), ("differs", (address(agents["boss"]), web, "allow", "bosses")))
    co.admin("peer", "add", "phone", "--via", "plain", "--endpoint", "192.0.2.1:1")
    phone = json.loads(co.admin("peer", "list", "--json"))["devices"][0]["addresses"][0]
    co.admin("policy", "apply", write(co, rules + "  - {name: the phone, from: [phone], to: [plain], allow: [tcp/23]}\n"))
    equal(seen(whole, "plain", "tcp/23")[1][1], (phone, address(agents["plain"]), "allow", "the phone"))
    for to, port, expect, wrong in (("office", "tcp/631", "allow", "192.168.50.40"), ("office", "tcp/631", "deny", "192.168.50.0"),
                                    ("desks", "tcp/631", "allow", None), ("office", "tcp/9", "deny", None)):
        path = write(co, rules + "tests: [{from: web, to: %s, port: %s, expect: %s}]\n" % (to, port, expect), "t.yaml")
        said = co.admin("policy", "apply", path, code=1 if wrong else 0)
        assert not wrong or said.endswith(": from %s to %s\n" % (web, wrong)), said
    # What is too much to look at is said to be.
    many = ", ".join("10.250.%d.%d" % (i // 100, 2 * (i % 100)) for i in range(1500))
    path = write(co, rules + "  - {from: [any], to: [%s], deny: [any]}\ntests: [{from: web, to: lot, port: icmp, expect: deny}]\n" % many, "m.yaml")
    assert "too many parts" in co.admin("policy", "apply", path, code=1)
    # So is what many tests come to together: the first are judged, the last is not.
    lots = "  - {from: [any], to: [%s], deny: [any]}\n" % many[:len(many) // 5].rpartition(",")[0]
    path = write(co, rules + lots + "tests:\n" + "- {from: web, to: lot, port: icmp, expect: deny}\n" * 100, "l.yaml")
    done = subprocess.run([PROGRAM, "--config", co.dir + "/coordinator.yaml", "policy", "test", path, "--json"], capture_output=True, text=True)
    said = [test["result"] for test in json.loads(done.stdout)["tests"]]
    equal((said[0], said[99], len(said)), ("ok", "failed", 100))
    # Agents of two networks never meet, whatever a rule says.
    co.admin("network", "create", "lab", "--cidr", "10.233.0.0/16")
    Agent(co, "far").register(co.key("--network", "lab"))
    co.admin("policy", "apply", write(co, rules + "  - {name: never, from: [network:lab], to: [boss], allow: [tcp/24]}\n"))
    equal(seen("10.233.0.0/16", whole, "tcp/24")[0], "deny")


@case("explain finds an agent as agent show does; an ambiguous word lists what it could be")
def _(co):
    agents = mesh(co, web_1=[], web_2=[], db=[])
    for word in ("db", "d", agents["db"].id, address(agents["db"]), address(agents["db"], 6), b64(agents["db"].public)):
        equal(json.loads(co.admin("policy", "explain", word, "web-1", "icmp", "--json"))["from"]["agent"], "db", word)
    said = co.admin("policy", "explain", "db", "web", "icmp", code=2)
    assert "web-1" in said and "web-2" in said and said.count("\n") == 1, said
    assert "did you mean web-1?" in co.admin("policy", "explain", "db", "wbe-1", "icmp", code=1)
    # A test names whom it means: a beginning is nobody.
    said = co.admin("policy", "test", write(co, ALLOW + "tests: [{from: d, to: web-1, port: icmp, expect: deny}]\n"))
    assert "skipped  line 3: there is no agent or device d" in said, said
    # Nearest names are for the first of many: each is looked for among all agents.
    path = write(co, ALLOW + "tests:\n" + "- {from: wbe-1, to: db, port: icmp, expect: deny}\n" * 30)
    said = co.admin("policy", "test", path)
    equal((said.count("there is no agent or device wbe-1"), said.count("did you mean web-1?")), (30, 20))
    path = write(co, ALLOW + "tests:\n" + "- {from: web-1, to: db, port: icmp, expect: allow}\n" * 1001)
    assert "more than 1000 tests" in co.admin("policy", "test", path, code=2)


@case("warnings say where in the file, and the word that was meant, any and self too")
def _(co):
    mesh(co, web=["web"])
    path = write(co, """version: 1
groups: {g: [wbe]}
hosts: {web: 192.0.2.1}
tags: {t: [admn]}
acl:
  - {from: [ayn], to: [slef], allow: [any]}
  - from: [slfe, group:g]
    to: [any]
    allow: [tcp/1]
routes: {auto_approve: {10.0.0.0/8: [tag:wbe]}}
tests:
  - {from: nobdy, to: web, port: icmp, expect: allow}
""")
    warned = [w.removeprefix(path + ":") for w in json.loads(co.admin("policy", "check", path, "--json"))["warnings"]]
    equal(warned, ["6:13: no agent or device is called ayn, did you mean any?", "6:24: no agent or device is called slef, did you mean self?",
                   "7:12: no agent or device is called slfe", "2:14: no agent or device is called wbe, did you mean web?",
                   "4:8: no user, role or group is called admn, did you mean admin?",
                   "12:5: this test was skipped: there is no agent or device nobdy",
                   "3:9: web is a name under hosts and an agent's or device's: rules mean the one under hosts"])


POINTS = ["tcp/22", "tcp/80", "tcp/8080", "tcp/9", "udp/53", "udp/9", "icmp"]


def random_policy(rng, addresses):
    words = ["any", "tag:a", "tag:b", "tag:c", "group:g", "group:h", "n0", "n1", "n2", "d0", "d1", "network:default"] + addresses
    ports = ["any", "tcp/22", "tcp/80", "tcp/8000-8100", "udp/53", "icmp", "udp"]
    lines = ["version: 1", "default: " + rng.choice(["deny", "deny", "allow"]), "groups: {g: [tag:a, n3, d1], h: [group:g, n4]}", "acl:"]
    for i in range(rng.randint(1, 7)):
        to = rng.sample(words + ["self"], rng.randint(1, 2))
        lines.append("  - {name: r%d, from: %s, to: %s, %s: %s, priority: %d}" % (
            i, json.dumps(rng.sample(words, rng.randint(1, 2))), json.dumps(to), rng.choice(["allow", "allow", "deny"]),
            json.dumps(rng.sample(ports, rng.randint(1, 2))), rng.choice([10, 100, 100])))
    return "\n".join(lines) + "\n"


def device(co, name, gate):
    return json.loads(co.admin("peer", "add", name, "--via", gate, "--endpoint", "vpn.example.net:51820", "--json"))["device"]


@case("a device is a party of the policy: what its gateway is told of it is what explain says")
def _(co):
    agents = mesh(co, gate=[], far=["db"])
    gate, far = Watcher(agents["gate"]), Watcher(agents["far"])
    def phone():
        return next((p for p in gate.peers.values() if p["name"] == "phone"), None)
    def judged(points=("tcp/80", "tcp/22", "icmp")):
        for point in points:
            protocol, _, port = point.partition("/")
            said = json.loads(co.admin("policy", "explain", "phone", "gate", point, "--json"))
            for seen, family in zip(said["families"], (4, 6)):
                equal(gate.accepts(phone(), protocol, int(port or 0), family=family), seen["verdict"] == "allow", (point, family))
            yield said["verdict"]
    def classes(peers):
        return {p["agent_id"]: p["class"] for p in peers}
    def held():
        return [gate.accepts(phone(), *packet, family=family) for packet in (("tcp", 80), ("tcp", 22), ("icmp", 0)) for family in (4, 6)]
    def follows(text, verdicts):
        co.admin("policy", "apply", write(co, text))
        told = classes(agents["gate"].ask("GET", "/peers")[1]["peers"])
        wanted = [verdict == "allow" for verdict in verdicts for _ in (4, 6)]
        assert gate.until(lambda: classes(gate.peers.values()) == told and held() == wanted, WITHIN) is not None, (text, gate.frames[-3:])
        equal(list(judged()), verdicts, text)
    co.admin("policy", "apply", write(co, "version: 1\nacl: [{name: q, from: [phone], to: [gate], allow: [tcp/80]}]\n"))
    made = device(co, "phone", "gate")
    four, six = (next(a for a in made["addresses"] if (":" in a) == v6) for v6 in (False, True))
    # Told by a snapshot, though nothing may pass but one port; to nobody else.
    assert gate.until(phone, WITHIN) is not None and phone()["device"] and phone()["class"], gate.frames
    equal(list(judged()), ["allow", "deny", "deny"])
    other = device(co, "other", "gate") # the device that no rule speaks of
    assert gate.until(lambda: "other" in gate.names(), WITHIN) is not None
    equal([gate.accepts(p, "tcp", 80) for p in gate.peers.values() if p["name"] in ("phone", "other")].count(True), 1)
    equal(far.quiet(0.1).names(), [])
    rule = "version: 1\ndefault: %s\nacl:\n  - {from: [%s], to: [%s], %s: [%s]}\n"
    for whom in ("phone", four + "/32, " + six + "/128", "group:g"):
        words = ("groups: {g: [phone]}\n" if whom == "group:g" else "")
        whom = json.dumps(whom.split(", "))[1:-1]
        follows(rule % ("deny", whom, "gate", "allow", "tcp/80") + words, ["allow", "deny", "deny"])
        follows(rule % ("allow", whom, "any", "deny", "any") + words, ["deny", "deny", "deny"])
        assert all(gate.accepts(p, "tcp", 1) for p in gate.peers.values() if p["name"] == "other")
    follows(rule % ("deny", '"network:default"', "gate", "allow", "tcp/22") , ["deny", "allow", "deny"])
    follows(rule % ("deny", "any", "any", "allow", "icmp"), ["deny", "deny", "allow"])
    follows(rule % ("deny", '"tag:db"', "any", "allow", "icmp"), ["deny", "deny", "deny"])
    # The class of a device, and rules that name it, come by deltas of a policy.
    before, count = phone()["class"], len(gate.frames)
    co.admin("policy", "apply", write(co, rule % ("deny", "phone", "gate", "allow", "tcp/80")))
    assert gate.until(lambda: phone()["class"] != before and gate.rules["default"], WITHIN) is not None
    equal({f["type"] for f in gate.frames[count:]}, {"delta"})
    equal(far.quiet(0.1).names(), [])
    # To a device: its own firewall says, so no rule of the gateway's does; explain says what is meant.
    said = json.loads(co.admin("policy", "explain", "gate", "phone", "tcp/80", "--json"))
    equal((said["verdict"], said["peers"], said["to"]["agent"]), ("deny", True, "phone"))
    equal(json.loads(co.admin("policy", "explain", "far", "phone", "tcp/80", "--json"))["peers"], False)
    equal(json.loads(co.admin("policy", "explain", "phone", "other", "tcp/80", "--json"))["peers"], False)
    for word in ("phone", "pho", made["id"], four, six, made["public_key"]):
        said = json.loads(co.admin("policy", "explain", word, "gate", "tcp/80", "--json"))
        equal((said["from"]["agent"], said["verdict"], said["rule"], said["peers"]), ("phone", "allow", "rule 1", True), word)
    assert "did you mean phone?" in co.admin("policy", "explain", "phnoe", "gate", "icmp", code=1)
    # Tests, warnings and diff know it.
    test = "tests:\n  - {from: phone, to: gate, port: tcp/80, expect: %s}\n  - {from: gate, to: \"%s\", port: icmp, expect: deny}\n"
    path = write(co, rule % ("deny", "phone", "gate", "allow", "tcp/80") + test % ("allow", four))
    checked = json.loads(co.admin("policy", "check", path, "--json"))
    equal(([t["result"] for t in checked["tests"]], checked["warnings"]), (["ok", "ok"], []))
    path = write(co, rule % ("deny", "phnoe", "gate", "allow", "tcp/80"))
    warned = json.loads(co.admin("policy", "check", path, "--json"))["warnings"]
    equal([w.partition(": ")[2] for w in warned], ["no agent or device is called phnoe, did you mean phone?"])
    assert "default: phone to gate: nothing (was: tcp/80)" in co.admin("policy", "diff", path).splitlines()
    path = write(co, rule % ("deny", "phnoe", "gate", "allow", "tcp/80") + test % ("allow", four))
    assert "phone to gate tcp/80 is denied" in co.admin("policy", "apply", path, code=1)
    # What came in deltas is what a snapshot has; it stays what it is over SIGKILL, and goes.
    fresh = Watcher(agents["gate"])
    equal((gate.rules, classes(gate.peers.values())), (fresh.rules, classes(fresh.peers.values())))
    co.stop(signal.SIGKILL)
    co.start()
    gate = Watcher(agents["gate"])
    equal(list(judged()), ["allow", "deny", "deny"])
    co.admin("peer", "remove", "phone")
    assert gate.until(lambda: not phone(), WITHIN) is not None
    assert "there is no agent or device phone" in co.admin("policy", "explain", "phone", "gate", "icmp", code=1)
    co.admin("policy", "apply", write(co, "version: 1\nhosts: {phone: 192.0.2.1}\n"))
    said = co.admin("peer", "add", "phone", "--via", "gate", "--endpoint", "vpn.example.net:51820", code=1)
    assert "the policy has phone under hosts" in said, said


@case("random policies: agents are told of whom they may talk to, and their rules are what explain says")
def _(co):
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1 << 30)
    rng = random.Random(seed)
    tags = [["a"], ["a", "b"], ["b"], ["c"], [], []]
    agents = mesh(co, **{"n%d" % i: t for i, t in enumerate(tags)})
    addresses = [a.partition("/")[0] for agent in list(agents.values())[:2] for a in agent.addresses]
    gates = {"d0": "n0", "d1": "n0", "d2": "n3"}
    devices = {name: device(co, name, gate) for name, gate in gates.items()}
    addresses += devices["d0"]["addresses"] + devices["d2"]["addresses"][:1]
    api = root(co)
    watchers = {name: Watcher(agent) for name, agent in agents.items()}
    deltas = 0
    for step in range(10):
        text = random_policy(rng, addresses)
        api.ok("PUT", "/policy", {"text": text})
        verdicts = {}
        for a in [*agents, *devices]:
            for b in agents:
                for point in POINTS if a != b else []:
                    verdicts[a, b, point] = api.ok("POST", "/policy/explain", {"from": a, "to": b, "port": point})
        for name, watcher in watchers.items():
            watcher.quiet(0.1)
            where = "seed %d, step %d, %s:\n%s" % (seed, step, name, text)
            told = {p["name"] for p in watcher.peers.values()}
            for other in [*agents, *devices]:
                if other == name:
                    continue
                equal(other in told, verdicts[other, name, "icmp"]["peers"], where)
                may = other in agents and any(verdicts[pair[0], pair[1], p]["verdict"] != "deny"
                          for pair in ((name, other), (other, name)) for p in POINTS)
                assert other in told or not may, where
                for point in POINTS if other in told else []:
                    peer = next(p for p in watcher.peers.values() if p["name"] == other)
                    protocol, _, port = point.partition("/")
                    seen = verdicts[other, name, point]
                    equal([":" in judged["from"] for judged in seen["families"]], [False, True])
                    for family, judged in zip((4, 6), seen["families"]):
                        equal(watcher.accepts(peer, protocol, int(port or 0), family=family), judged["verdict"] == "allow",
                              "%s to %s, IPv%d, %s" % (other, point, family, where))
            equal(told, {p["name"] for p in agents[name].ask("GET", "/peers")[1]["peers"]}, where)
        if step % 5 == 4:
            # What came in deltas is what a snapshot has.
            for name, watcher in watchers.items():
                fresh = Watcher(agents[name])
                fresh.quiet(0.05)
                deltas += len([f for f in watcher.frames if f["type"] == "delta"])
                equal((watcher.names(), watcher.rules), (fresh.names(), fresh.rules), "seed %d, step %d, %s" % (seed, step, name))
                equal({p["name"]: p.get("class") for p in watcher.peers.values()}, {p["name"]: p.get("class") for p in fresh.peers.values()})
                watcher.close()
                watchers[name] = fresh
    assert deltas > 10, "only snapshots were sent"


@case("rules, classes and approval on the wire are as openapi.json and the README show them")
def _(co):
    co.admin("policy", "apply", write(co, "version: 1\nacl: [{from: [tag:a], to: [tag:b], allow: [tcp/22]}]\n"))
    agents = mesh(co, one=["a"], two=["b"])
    watcher = Watcher(agents["two"])
    co.admin("policy", "apply", write(co, "version: 1\nacl: [{from: [tag:a], to: [tag:b, 10.1.0.0/16], allow: [udp/1-9]}]\n"))
    assert watcher.until(lambda: watcher.rules["default"][0]["protocol"] == "udp", WITHIN) is not None
    examples = [f["example"] for f in co.request("GET", "/openapi.json")[1]["x-frames"]]
    with open("coordinator/README.md") as f:
        readme = f.read()
    shown = {c["op"]: c for e in examples for c in e.get("changes", [])}
    seen = {c["op"]: c for f in watcher.frames for c in f.get("changes", [])}
    equal(sorted(seen["rules"]), sorted(shown["rules"]))
    snapshot = [e for e in examples if e["type"] == "snapshot" and "rules" in e][0]
    equal(sorted(watcher.snapshot["rules"][0]), sorted(snapshot["rules"][0]))
    for rule in seen["rules"]["rules"] + watcher.snapshot["rules"][0]["rules"]:
        equal(list(rule), list(shown["rules"]["rules"][0]))
        assert all('"%s":' % key in readme for key in rule), rule
    put = [e for e in shown.values() if e["op"] == "put"][0]["peer"]
    equal(set(watcher.snapshot["peers"][0]) - set(put), set())
    co.admin("network", "create", "careful", "--cidr", "10.240.0.0/16", "--approve")
    waits = Watcher(Agent(co, "waits").register(co.key("--network", "careful")))
    equal((waits.snapshot["networks"][0]["approved"], waits.snapshot["rules"], waits.names()), (False, [], []))
    co.admin("agent", "approve", "waits")
    assert waits.until(lambda: waits.frames[-1]["type"] == "snapshot" and "approved" not in waits.frames[-1]["networks"][0], WITHIN) is not None
    equal(sorted(waits.rules), ["careful"])


# ---- routes, names, tags ------------------------------------------------------------------------------


@case("routes are approved by the policy, and taken back by it, but not what an administrator said")
def _(co):
    def routes():
        return {r["prefix"]: r["approved"] for r in json.loads(co.admin("route", "list", "--json"))["routes"]}

    key = co.key("--tag", "router")
    router = Agent(co, "gw").register(key, advertised_routes=["192.168.7.0/24", "192.168.8.0/24", "10.5.0.0/16", "0.0.0.0/0"])
    user_ = Watcher(Agent(co, "user").register(co.key()))

    def told():
        return sorted(r for p in user_.peers.values() for r in p["routes"])

    equal((set(routes().values()), told()), ({False}, []))
    co.admin("route", "approve", "gw", "192.168.8.0/24")
    assert user_.until(lambda: told() == ["192.168.8.0/24"], WITHIN) is not None
    text = ALLOW + "routes: {auto_approve: {192.168.0.0/16: [tag:router], exit: [gw]}}\n"
    path = write(co, text)
    assert "route 192.168.7.0/24 of gw: approved" in co.admin("policy", "diff", path)
    co.admin("policy", "apply", path)
    assert user_.until(lambda: told() == ["0.0.0.0/0", "192.168.7.0/24", "192.168.8.0/24"], WITHIN) is not None, told()
    equal(routes(), {"192.168.7.0/24": True, "192.168.8.0/24": True, "10.5.0.0/16": False, "0.0.0.0/0": True})
    co.admin("route", "revoke", "gw", "192.168.7.0/24")
    assert user_.until(lambda: told() == ["0.0.0.0/0", "192.168.8.0/24"], WITHIN) is not None
    co.admin("policy", "apply", write(co, text + "# again\n"))
    equal(routes()["192.168.7.0/24"], False, "an administrator has said no")
    co.admin("policy", "apply", write(co, ALLOW))
    assert user_.until(lambda: told() == ["192.168.8.0/24"], WITHIN) is not None, told()
    co.stop()
    co.start()
    equal(routes(), {"192.168.7.0/24": False, "192.168.8.0/24": True, "10.5.0.0/16": False, "0.0.0.0/0": False})
    # With the tag goes what hung on it, and comes with it.
    co.admin("policy", "apply", write(co, ALLOW + "routes: {auto_approve: {10.0.0.0/8: [tag:router]}}\n"))
    equal(routes()["10.5.0.0/16"], True)
    co.admin("agent", "tag", "gw", "--none")
    equal(routes()["10.5.0.0/16"], False)
    co.admin("agent", "tag", "gw", "router")
    equal(routes()["10.5.0.0/16"], True)


@case("a name that the policy gives rights to takes a key made for it; names under hosts are nobody's")
def _(co):
    co.admin("policy", "apply", write(co, """version: 1
groups: {admins: [boss]}
hosts: {printer: 192.168.1.40}
acl: [{from: [laptop, group:admins], to: [any], allow: [any]}]
routes: {auto_approve: {10.0.0.0/8: [router]}}
"""))
    key = co.key("--reusable")
    for name in ("laptop", "boss", "router"):
        refused(Agent(co, name).try_register(key), 403, "name_not_allowed")
        equal(Agent(co, name).try_register(co.key("--name", name))[0], 201)
    for given in (key, co.key("--name", "printer")):
        refused(Agent(co, "printer").try_register(given), 422, "name_reserved")
    Agent(co, "plain").register(key)
    assert "hosts" in co.admin("agent", "rename", "plain", "printer", code=1)
    co.admin("agent", "remove", "boss")
    assert "now boss" in co.admin("agent", "rename", "plain", "boss")


@case("tags that have owners are given and taken away by those alone")
def _(co):
    co.admin("network", "create", "lab", "--cidr", "10.210.0.0/16")
    early = co.key("--tag", "server", "--reusable")
    co.stop()
    co.execute("UPDATE keys SET maker=NULL")  # of before makers were written down
    co.start()
    for name, role, network in (("ann", "operator", None), ("bob", "operator", None), ("carl", "operator", None), ("vera", "viewer", None),
                                ("dora", "admin", "lab"), ("erik", "operator", "lab")):
        user(co, name, role, *(["--network", network] if network else []))
    path = write(co, ALLOW + """groups: {admins: [bob, laptop, "tag:ops"], crew: ["group:admins", vera]}
tags:
  server: [admins]
  deploy: [ann, "group:crew"]
  router: [operator]
  top: [admin]
  odd: [nobdy]
""")
    warned = co.admin("policy", "check", path)
    assert "p.yaml:9:3: no user, role or group is called nobdy" in warned and "still gives the tag server" in warned, warned
    equal(warned.count("warning: "), 2, warned)
    co.admin("policy", "apply", path)
    api = {n: token(co, "--user", n) for n in ("ann", "bob", "carl", "vera", "dora", "erik")}
    api["root"], api["robot"] = root(co), token(co, "--role", "operator")
    agents = {"default": Agent(co, "one").register(co.key()), "lab": Agent(co, "two").register(co.key("--network", "lab"))}
    may = {  # by network: who gives which tags
        "default": {"ann": "deploy router free", "bob": "server deploy router free", "carl": "router free", "robot": "router free",
                    "root": "server deploy router top odd free", "vera": ""},
        "lab": {"ann": "deploy router free", "bob": "server deploy router free", "erik": "router free", "dora": "router top free",
                "root": "server deploy router top odd free"},
    }
    for network, people in may.items():
        agent = agents[network]
        for name, given in people.items():
            for tag in "server deploy router top odd free".split():
                where, mine = "%s, %s in %s" % (name, tag, network), tag in given.split()
                wrong = "role_too_low" if name == "vera" else "tag_not_allowed"
                calls = [("POST", "/join-keys", {"network": network, "tags": [tag]}, 201),
                         ("PATCH", "/agents/" + agent.id, {"tags": [tag], "name": "named-" + network}, 200)]
                for method, where_, body, status in calls:
                    answer = api[name](method, where_, body)
                    equal((answer[0], None if mine else answer[1]["code"]), (status, None) if mine else (403, wrong), where)
                shown = api["root"].ok("GET", "/agents/" + agent.id)["agent"]
                equal((shown["tags"], shown["name"].startswith("named")), ([tag] if mine else [], mine), "%s: name and tags together" % where)
                # What is there already is no gift of theirs, and not theirs to take.
                api["root"].ok("PATCH", "/agents/" + agent.id, {"tags": [tag], "name": "other-" + network})
                equal(api[name]("PATCH", "/agents/" + agent.id, {"tags": [tag, "free"]})[0], 403 if name == "vera" else 200, where)
                answer = api[name]("PATCH", "/agents/" + agent.id, {"tags": ["free"]})
                equal(answer[0], 200 if mine else 403, "taking away: " + where)
                api["root"].ok("PATCH", "/agents/" + agent.id, {"tags": []})
    co.admin("agent", "tag", agents["lab"].id, "server", "top")
    Agent(co, "late").register(early)
    equal(json.loads(co.admin("agent", "show", "late", "--json"))["agent"]["tags"], ["server"], "a key of before")
    # Nobody becomes an owner by making the user that is named.
    co.admin("policy", "apply", write(co, ALLOW + "groups: {crew: [gail]}\ntags: {server: [crew, fred], x: [admin, carl]}\n"))
    for name in ("fred", "gail"):
        refused(api["dora"]("POST", "/users", {"name": name, "password": "correct horse battery", "role": "operator",
                                               "network": "lab"}), 403, "name_not_allowed")
        api["root"].ok("POST", "/users", {"name": name, "password": "correct horse battery", "role": "operator",
                                          "network": "lab"}, 201)
    api["dora"].ok("POST", "/users", {"name": "hugo", "password": "correct horse battery", "role": "operator",
                                      "network": "lab"}, 201)


def main():
    return coordinator.main()


if __name__ == "__main__":
    sys.exit(main())
