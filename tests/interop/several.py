#!/usr/bin/python3
"""Cases of several.sh: PostgreSQL that goes away, and several coordinators on one database. With words: only the
cases whose name has one of them."""
import contextlib, copy, http.client, json, os, shutil, signal, socket, subprocess, sys, threading, time
import meshclient
from meshclient import Agent, Coordinator, WrongClock, Ws, rotate, wait_until
from coordinator import FAST, agents, come_back, equal, metric, moved, refused
from proxy import Proxy

AWAY = float(os.environ.get("WG_MESH_TEST_AWAY", "6"))  # seconds without a database
cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


def meanwhile(function, *arguments):
    """Runs it in a thread; what is returned waits for the result."""
    done = []
    thread = threading.Thread(target=lambda: done.append(function(*arguments)))
    thread.start()

    def result(seconds=30):
        thread.join(seconds)
        if not done:
            raise AssertionError("no answer")
        return done[0]
    return result


def move(agent, endpoint):
    return agent.ask("PUT", "/endpoint", {"endpoint": endpoint, "nat_type": "unknown"})


def hears(stream, endpoint, seconds):
    return stream.find(lambda m: m.get("op") == "patch" and m.get("endpoint") == endpoint, seconds)


def command(co, name, arguments, whole=False):
    """By the socket, as the command line does; whole: also what was refused."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(co.dir + "/run/coordinator.sock")
        s.sendall(json.dumps({"command": name, "arguments": arguments}).encode() + b"\n")
        answer = json.loads(s.makefile().readline())
    if whole:
        return answer
    if not answer["ok"]:
        raise RuntimeError("%s: %s" % (name, answer))
    return answer["result"]


def apply(co, text, **more):
    return command(co, "policy apply", {"text": text, **more})


def policy(co):
    return command(co, "policy show", {})


@case("PostgreSQL away: reads go on, writes are refused with a reason, patches arrive, and all is well by itself")
def _(server):
    co = Coordinator(FAST).start()
    try:
        key = co.key("--reusable")
        a, b = Agent(co, "a").register(key), Agent(co, "b").register(key)
        stream = b.stream()
        stream.receive()
        browser = session(co, "ann")
        late = Agent(co, "late")
        with co.no_commits():
            registering = meanwhile(late.try_register, key)  # nobody has noticed yet
            assert wait_until(lambda: metric(co, "agents") == 3), "it is in memory"
            server.stop("immediate")
        began = time.time()
        try:
            equal(a.ask("GET", "/peers")[0], 200)
            equal(sorted(row["name"] for row in agents(co)), ["a", "b"], "and in no answer")
            for n in range(3):  # behind the new agent, which nobody may hear of yet
                time.sleep(0.5)
                equal(move(a, "198.51.100.7:%d" % (1000 + n))[0], 200)
                assert hears(stream, "198.51.100.7:%d" % (1000 + n), 3), "patch %d" % n
            refused(registering(), 503, "store_unavailable")
            assert wait_until(lambda: "store-failed" in co.log())
            reason = co.log().partition("store-failed")[2].partition("\n")[0]
            assert "PostgreSQL says: " in reason and "says: ;" not in reason, reason
            refused(Agent(co, "later").try_register(key), 503, "store_unavailable")
            assert "database" in co.admin("key", "create", code=1)
            assert "database" in co.admin("audit", code=1)
            new = Agent(co, "new")
            given = a.challenge()
            body = json.dumps({"coordinator": co.origin, "challenge": given["challenge"],
                               "public_key": meshclient.b64(new.public)}).encode()
            refused(co.request("POST", "/agents/%s/key" % a.id, body,
                               {"Authorization": a.proof(given, body),
                                "WG-Mesh-New-Proof": a.proof(given, body, new.private)}), 503, "store_unavailable")
            refused(co.request("DELETE", "/agents/" + a.id, headers=a.bearer()), 503, "store_unavailable")
            refused(co.request("DELETE", "/session", headers=browser), 503, "store_unavailable")
            equal(a.ask("GET", "/peers")[0], 200, "nothing of it was done")
            while time.time() < began + AWAY:
                stream.find(lambda m: False, 1)  # answers pings
            equal(sorted(row["name"] for row in agents(co)), ["a", "b"], "reads go on, of what is on the disk")
            equal(move(a, "198.51.100.7:2000")[0], 200)
            assert hears(stream, "198.51.100.7:2000", 3), "a patch at the end"
            assert not stream.find(lambda m: m.get("op") == "put", 0.3), "heard of an agent that is on no disk"
            equal(co.request("GET", "/healthz", root=True)[0], 503)
        finally:
            server.start()
        assert wait_until(lambda: Agent(co, "new").try_register(key)[0] == 201, 20), "no recovery"
        assert stream.find(lambda m: m.get("op") == "put" and m["peer"]["name"] == "late"), "the one that waited"
        assert stream.find(lambda m: m.get("op") == "put" and m["peer"]["name"] == "new")
        equal(late.try_register(key)[0], 200)
        assert "store-back" in co.log() and "store-failed" not in co.log().partition("store-back")[2]
        assert "\nNOTICE" not in co.log()
        equal(sorted(row["name"] for row in agents(co)), ["a", "b", "late", "new"])
        assert "late" in co.admin("audit")
    finally:
        co.close()


@contextlib.contextmanager
def frozen(co):
    """The server's process of the connection that writes."""
    pid = int(meshclient.psql(co.database, "SELECT pid FROM pg_stat_activity WHERE datname=current_database() AND "
                                           "application_name='wg-mesh-coordinator'"))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@case("PostgreSQL there, but taking nothing (a lock, a process that hangs): it is said in /healthz and in the log, until it is over")
def _(_server):
    co = Coordinator(FAST).start()
    try:
        key = co.key("--reusable")
        for n, (hindrance, line, reason) in enumerate(((co.no_commits, "store-failed", "PostgreSQL says: "),
                                                       (lambda: frozen(co), "store-stuck", "has not answered"))):
            begin, agent = len(co.log()), Agent(co, "waits%d" % n)
            with hindrance():
                registering = meanwhile(agent.try_register, key)
                assert wait_until(lambda: co.request("GET", "/healthz", root=True)[0] == 503, 20), "it says that all is well"
                refused(co.request("GET", "/healthz", root=True), 503, "store_unavailable")
                refused(Agent(co, "later").try_register(key), 503, "store_unavailable")
                assert wait_until(lambda: " %s " % line in co.log()[begin:], 20), "the log does not"
                said = [text for text in co.log()[begin:].splitlines() if " %s " % line in text]
                assert len(said) == 1 and reason in said[0], said
                assert "store-back" not in co.log()[begin:]
            assert wait_until(co.ready, 20), "it does not go on"
            registering()
            assert agent.try_register(key)[0] in (200, 201)
            equal(co.log()[begin:].count(" store-back "), 1)
    finally:
        co.close()


@case("PostgreSQL restarted under work: nothing that was answered is lost")
def _(server):
    co = Coordinator(FAST).start()
    try:
        key, answered, stop = co.key("--reusable"), [], threading.Event()

        def work(at):
            n = 0
            while not stop.is_set():
                n += 1
                agent = Agent(co, "w%d-%d" % (at, n))
                for _ in range(60):
                    status = agent.try_register(key)[0]
                    if status in (200, 201):
                        answered.append(agent.name)
                        break
                    equal(status, 503)
                    time.sleep(0.1)

        workers = [meanwhile(work, at) for at in range(3)]
        for how in ("fast", "immediate"):
            time.sleep(0.7)
            server.stop(how)
            server.start()
        time.sleep(1)
        stop.set()
        for worker in workers:
            worker()
        assert len(answered) > 20, len(answered)
        co.stop()
        co.start()
        names = [row["name"] for row in agents(co)]
        equal(sorted(set(names)), sorted(names), "names")
        assert not set(answered) - set(names), "lost: %s" % (set(answered) - set(names))
    finally:
        co.close()


@case("a commit whose answer is lost is done once; one that a crash forgot, whose number another has, is done again")
def _(server):
    proxy, co = Proxy(server.port), Coordinator(FAST)
    co.options = ["--db", "%s:%d/%s" % (server.url.rpartition(":")[0], proxy.port, co.database)]
    meshclient.psql("postgres", "ALTER SYSTEM SET wal_writer_delay='10s'")  # so that a crash forgets what was not committed
    meshclient.psql("postgres", "SELECT pg_reload_conf()")

    def lose(name, key, instead=None):
        proxy.lose_commit(name.encode(), instead)
        answer = meanwhile(Agent(co, name).try_register, key)
        assert proxy.lost.wait(20), "there was no commit"
        return answer

    def in_database():
        return meshclient.psql(co.database, "SELECT name FROM agent_networks ORDER BY name").split()
    try:
        co.start()
        key, once = co.key("--reusable"), co.key()
        answer = lose("once", once)
        equal(in_database(), ["once"])
        proxy.open = True
        equal(answer()[0], 201)
        assert wait_until(lambda: Agent(co, "second").try_register(key)[0] == 201, 20), "no recovery"
        equal(in_database(), ["once", "second"])

        lose("ghost", key, lambda: server.stop("immediate"))
        server.start()
        equal(in_database(), ["once", "second"])
        # Others come first, and one of them has the number.
        meshclient.psql(co.database, "DO $$ BEGIN FOR i IN 1..100 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$")
        proxy.open = True
        assert wait_until(lambda: Agent(co, "third").try_register(key)[0] == 201, 20), "no recovery"
        equal(sorted(row["name"] for row in agents(co)), ["ghost", "once", "second", "third"])
        equal(in_database(), ["ghost", "once", "second", "third"])
    finally:
        co.close()
        proxy.close()
        meshclient.psql("postgres", "ALTER SYSTEM RESET wal_writer_delay")
        meshclient.psql("postgres", "SELECT pg_reload_conf()")


def session(co, user):
    """The headers of a browser in which this new user is logged in."""
    co.admin("user", "add", user, "--role", "viewer", stdin="correct horse battery\n")
    connection = co.connect()
    try:
        connection.request("POST", "/api/v1/session", json.dumps({"user": user, "password": "correct horse battery"}))
        answer = connection.getresponse()
        token = json.loads(answer.read())["csrf_token"]
        return {"Cookie": answer.getheader("Set-Cookie").partition(";")[0], "Origin": co.origin, "WG-Mesh-CSRF": token}
    finally:
        connection.close()


class Pair:
    """Two coordinators on one database."""

    def __init__(self, config=FAST):
        self.a = Coordinator(config).start()
        self.b = another(self.a, config).start()
        assert wait_until(lambda: "coordinator-found" in self.a.log() and "coordinator-found" in self.b.log())

    def __enter__(self):
        return self.a, self.b

    def __exit__(self, *_):
        for co in (self.b, self.a):
            try:
                for line in co.log().splitlines():
                    if "runtime error" in line or "AddressSanitizer" in line:
                        raise AssertionError(line)
            finally:
                co.close()


def case_of_two(name, config=FAST):
    """A case that is given two coordinators."""
    def add(function):
        def run_(_server):
            with Pair(config) as pair:
                function(*pair)
        return case(name)(run_)
    return add


def another(co, config=FAST):
    new = Coordinator(config, database=co.database)
    os.makedirs(new.dir + "/state", 0o700)
    shutil.copy(co.dir + "/state/server.key", new.dir + "/state/server.key")
    return new


def soon(test, seconds=3):
    """The contract says a second."""
    result = wait_until(test, seconds)
    if not result:
        raise AssertionError("not in %s seconds" % seconds)
    return result


def at(agent, co):
    """The same agent, asking another coordinator."""
    other = copy.copy(agent)
    other.co = co
    return other


def joined(a, b, *wanted):
    """A key, and agents of these names that have joined by it at one and are known at the other."""
    key = a.key("--reusable")
    members = [Agent(a, name).register(key) for name in wanted]
    soon(lambda: names(b) == sorted(wanted))
    return [key] + members


def names(co):
    return sorted(row["name"] for row in agents(co))


@case_of_two("who joins at one is at the other, with key and token; each tells its agents of the other's")
def _(a, b):
    key = a.key("--reusable", "--tag", "web")
    one = Agent(a, "one").register(key)
    soon(lambda: Agent(b, "two").try_register(key)[0] == 201)
    soon(lambda: names(a) == names(b) == ["one", "two"])
    equal(at(one, b).ask("GET", "/peers")[0], 200)
    stream = at(one, b).stream()
    equal([p["name"] for p in stream.receive()["peers"]], ["two"])
    three = Agent(a, "three").register(key)
    put = stream.find(lambda m: m.get("op") == "put", 3)
    equal((put["peer"]["name"], put["peer"]["addresses"]), ("three", [x.partition("/")[0] for x in three.addresses]))
    equal(len({x for row in agents(b) for x in row["addresses"]}), sum(len(row["addresses"]) for row in agents(b)))
    a.admin("agent", "rename", "three", "drei")
    assert stream.find(lambda m: m.get("op") == "put" and m["peer"]["name"] == "drei", 3), "renamed"
    a.admin("agent", "tag", "drei", "--tag", "db")
    soon(lambda: [row["tags"] for row in agents(b) if row["name"] == "drei"] == [["db"]])
    three.try_register(key, advertised_routes=["192.168.7.0/24"])
    soon(lambda: "192.168.7.0/24" in b.admin("route", "list"))
    b.admin("route", "approve", "drei", "192.168.7.0/24")
    assert stream.find(lambda m: m.get("op") == "put" and m["peer"]["routes"] == ["192.168.7.0/24"], 3), "route"
    soon(lambda: json.loads(a.admin("route", "list", "--json"))["routes"][0]["approved"])
    b.admin("agent", "remove", "drei")
    assert stream.find(lambda m: m.get("op") == "remove" and m["agent_id"] == three.id, 3), "removed"
    soon(lambda: names(a) == ["one", "two"])
    refused(three.ask("GET", "/peers"), 401, "unknown_agent")


@case_of_two("networks, keys, users, tokens, relays and devices of one are the other's")
def _(a, b):
    a.admin("network", "create", "lab", "--cidr", "10.209.0.0/16")
    soon(lambda: "lab" in b.admin("network", "list"))
    key = b.key("--network", "lab")
    soon(lambda: Agent(a, "gate").try_register(key)[0] == 201)
    refused(Agent(b, "late").try_register(key), 403, "join_key_used")
    key = a.key("--reusable")
    ident = {k["id"] for k in json.loads(a.admin("key", "list", "--json"))["keys"] if k["network"] == "default"}
    soon(lambda: ident == {k["id"] for k in json.loads(b.admin("key", "list", "--json"))["keys"]
                           if k["network"] == "default"})
    b.admin("user", "add", "ann", "--role", "admin", stdin="correct horse battery\n")
    soon(lambda: "ann" in a.admin("user", "list"))
    token = a.admin("token", "create", "--user", "ann").strip()
    bearer = {"Authorization": "Bearer " + token}
    soon(lambda: b.request("GET", "/networks", headers=bearer)[0] == 200)
    a.admin("relay", "add", "https://relay.example:8444", "--region", "fra")
    soon(lambda: "fra" in b.admin("relay", "list"))
    a.admin("peer", "add", "phone", "--via", "gate", "--endpoint", "gate.example:51820")
    soon(lambda: "phone" in b.admin("peer", "list"))
    b.admin("peer", "remove", "phone")
    soon(lambda: "phone" not in a.admin("peer", "list"))
    b.admin("user", "remove", "ann")
    soon(lambda: a.request("GET", "/networks", headers=bearer)[0] == 401)
    assert "wg_mesh_other_coordinators 1" in a.request("GET", "/metrics", root=True)[1].decode()
    b.admin("agent", "remove", "gate")
    b.admin("network", "remove", "lab")
    soon(lambda: "lab" not in a.admin("network", "list"))
    follow = subprocess.run([meshclient.PROGRAM, "--config", a.dir + "/coordinator.yaml", "audit"],
                            capture_output=True, text=True, timeout=20).stdout
    assert "network-removed" in follow and "relay-added" in follow


@case_of_two("a policy applied at one holds at the other")
def _(a, b):
    key, one, two = joined(a, b, "one", "two")
    stream = at(two, b).stream()
    equal([p["name"] for p in stream.receive()["peers"]], ["one"])
    apply(a, "version: 1\ndefault: deny\n")
    assert stream.find(lambda m: m.get("op") == "remove" and m["agent_id"] == one.id, 3), "told of a removal"
    soon(lambda: at(two, b).ask("GET", "/peers")[1]["peers"] == [])
    for n in range(2):  # the numbers go on
        apply((b, a)[n], "version: 1\ndefault: allow\n# %d\n" % n)
        soon(lambda: len({policy(co)["text"] for co in (a, b)}) == 1)
    equal(policy(a)["version"], policy(b)["version"])
    soon(lambda: len(at(two, b).ask("GET", "/peers")[1]["peers"]) == 1)


@case_of_two("a device that is added at one is a party of the policy at its gateway's coordinator")
def _(a, b):
    key, gate, far = joined(a, b, "gate", "far")
    stream = at(gate, b).stream()
    stream.receive()

    def told():
        seen = stream.find(lambda m: m.get("type") == "snapshot" and any(p.get("device") for p in m["peers"]), 5)
        return seen and (next(p for p in seen["peers"] if p.get("device")), seen["rules"][0]["rules"])
    a.admin("peer", "add", "other", "--via", "gate", "--endpoint", "gate.example:51820")
    phone, rules = told()
    assert phone["class"] in rules[0]["classes"], (phone, rules)
    a.admin("peer", "remove", "other")
    assert stream.find(lambda m: m.get("type") == "snapshot" and not any(p.get("device") for p in m["peers"]), 5), "removed"
    rule = "version: 1\nacl: [{from: [%s], to: [gate], allow: [tcp/80]}]\n"
    apply(a, rule % "phone")
    assert stream.find(lambda m: m.get("op") == "rules" and m["rules"] == [], 5), "no policy without the device"
    a.admin("peer", "add", "phone", "--via", "gate", "--endpoint", "gate.example:51820")
    phone, rules = told()
    equal(([rule["classes"] for rule in rules], rules[0]["ports"]), ([[phone["class"]]], ["80"]))
    explained = {"from": "phone", "to": "gate", "port": "tcp/80"}
    equal([command(co, "policy explain", explained)["verdict"] for co in (a, b)], ["allow"] * 2)
    apply(a, rule % "far")
    assert stream.find(lambda m: m.get("op") == "patch" and m["agent_id"] == phone["agent_id"] and
                       m.get("class", phone["class"]) != phone["class"], 5), "its class is another"
    equal([command(co, "policy explain", explained)["verdict"] for co in (a, b)], ["deny"] * 2)


def policy_file(co, text):
    with open(co.dir + "/policy.yaml~", "w") as f:
        f.write(text)
    os.rename(co.dir + "/policy.yaml~", co.dir + "/policy.yaml")


@case("a policy file: an older one undoes nothing, at no coordinator and after no restart; going back to it is a change")
def _(server):
    texts = {n: "version: 1\ndefault: allow\n# %s\n" % n for n in ("1", "2", "4", "applied")}
    a, b = Coordinator(FAST), None

    def put(co, n):
        policy_file(co, texts[n])

    def both(n):
        soon(lambda: {policy(co)["text"] for co in (a, b)} == {texts[n]}, 9)

    def left(co):
        return co.log().count("it is what was taken before; what was applied since goes on")

    try:
        put(a, "1")
        b = another(a.start(), FAST)
        put(b, "1")
        b.start()
        both("1")
        put(a, "2")
        both("2")
        apply(a, texts["applied"])
        both("applied")
        put(b, "2")  # as it came to the other one before
        soon(lambda: left(b) == 1, 9)
        both("applied")
        put(a, "4")
        both("4")
        apply(a, texts["applied"])
        both("applied")
        b.stop()
        b.start()  # its file is not what was taken last, but has not changed
        both("applied")
        b.process.send_signal(signal.SIGHUP)
        soon(lambda: left(b) == 2, 9)
        both("applied")
        put(b, "1")
        both("1")
        put(b, "2")
        both("2")
    finally:
        b and b.close()
        a.close()


@case("a policy file that was changed after the backup is taken again when that is restored")
def _(server):
    old, new, applied = ("version: 1\ndefault: allow\n# %s\n" % word for word in ("old", "new", "applied"))
    co = Coordinator(FAST)
    try:
        policy_file(co, old)
        co.start()
        co.admin("backup", co.dir + "/backup")
        policy_file(co, new)
        soon(lambda: policy(co)["text"] == new, 9)
        soon(lambda: os.path.exists(co.dir + "/state/policy_taken"))
        co.stop()
        co.admin("restore", co.dir + "/backup")
        co.start()
        equal(policy(co)["text"], new)
        apply(co, applied)
        co.stop()
        co.start()
        equal(policy(co)["text"], applied)
    finally:
        co.close()


def members_told(stream, quiet=2):
    """All who came and went, until nothing comes for a while."""
    told = []
    try:
        while True:
            for change in stream.receive(quiet).get("changes", []):
                if change["op"] in ("put", "remove"):
                    told.append((change["op"], change.get("agent_id") or change["peer"]["agent_id"]))
    except socket.timeout:
        return told


@case_of_two("a policy that waits to be confirmed waits at both: confirmed or taken back at either, and by itself")
def _(a, b):
    allow, deny = "version: 1\ndefault: allow\n# 1\n", "version: 1\ndefault: deny\n"
    apply(a, allow)
    soon(lambda: policy(b)["text"] == allow)

    def both(text, waiting, seconds=3):
        soon(lambda: [(policy(co)["text"], policy(co)["waiting"]) for co in (a, b)] == [(text, waiting)] * 2, seconds)

    apply(a, deny, confirm=2)
    both(deny, True)
    both(allow, False, 9)  # nobody has confirmed
    assert command(a, "audit", {})["audit"][-1]["action"] == "policy-not-confirmed"
    equal(sum(line["action"] == "policy-not-confirmed" for line in command(a, "audit", {})["audit"]), 1)
    apply(a, deny, confirm=60)
    both(deny, True)
    try:
        apply(b, allow)
        raise AssertionError("a second one was taken")
    except RuntimeError as why:
        assert "policy_waiting" in str(why)
    command(b, "policy confirm", {})
    both(deny, False)
    apply(b, allow, confirm=60)
    both(allow, True)
    b.stop(signal.SIGKILL)  # and a start takes it back
    b.start()
    both(deny, False)


@case_of_two("taken at both at once: one name, one one-shot key, one address; who is refused hears why")
def _(a, b):
    key = a.key("--reusable")
    soon(lambda: Agent(b, "first").try_register(key)[0] == 201)
    for n in range(12):
        results = [meanwhile(Agent(co, "n%d" % n).try_register, key) for co in (a, b)]
        results = [result() for result in results]
        equal(sorted(status for status, _ in results), [201, 409], str(results))
        equal([answer["code"] for status, answer in results if status == 409], ["name_taken"])
    for n in range(12):
        once = (a, b)[n % 2].key()
        soon(lambda: len(json.loads(a.admin("key", "list", "--json"))["keys"]) ==
             len(json.loads(b.admin("key", "list", "--json"))["keys"]))
        results = [meanwhile(Agent(co, "k%d-%s" % (n, which)).try_register, once)
                   for which, co in (("a", a), ("b", b))]
        results = [result() for result in results]
        equal(sorted(status for status, _ in results), [201, 403], str(results))
        equal([answer["code"] for status, answer in results if status == 403], ["join_key_used"])
    soon(lambda: names(a) == names(b))
    equal(len(names(a)), 25)
    for co in (a, b):
        taken = [x for row in agents(co) for x in row["addresses"]]
        equal(len(set(taken)), len(taken), "addresses")
    equal(meshclient.psql(a.database, "SELECT count(*) FROM agents").strip(), "25")
    assert not [line for co in (a, b) for line in co.log().splitlines() if "bad-row" in line]


@case_of_two("an agent that joins two networks with overlapping ranges at both at once is in one of them")
def _(a, b):
    keys = []
    for name, cidr in (("wide", "10.207.0.0/16"), ("narrow", "10.207.8.0/24"), ("apart", "10.208.0.0/16")):
        a.admin("network", "create", name, "--cidr", cidr)
        keys.append(a.key("--network", name, "--reusable"))
    wide, narrow, apart = keys
    home = a.key("--reusable")
    for n in range(12):
        agent = Agent(a, "n%d" % n)
        if n % 2:
            agent.register(home)
        soon(lambda: len(b.admin("key", "list").splitlines()) == len(a.admin("key", "list").splitlines()) and
             names(a) == names(b))
        results = [meanwhile(at(agent, co).try_register, key) for co, key in ((a, wide), (b, narrow))]
        results = [result() for result in results]
        equal(sorted(status for status, _ in results), [201, 409], str(results))
        equal([answer["code"] for status, answer in results if status == 409], ["network_overlap"])
        results = [meanwhile(at(agent, co).try_register, key) for co, key in ((a, apart), (b, home))]
        results = [result()[0] for result in results]
        equal([status in (200, 201) for status in results], [True, True], str(results))
        soon(lambda: names(a) == names(b))
    for co in (a, b):
        into = {}
        for row in agents(co):
            into.setdefault(row["name"], set()).add(row["network"])
        equal([name for name, networks in into.items() if {"wide", "narrow"} <= networks or len(networks) != 3], [])


@case_of_two("what one organisation takes back at one coordinator, the key of another does not give back at the other")
def _(a, b):
    a.admin("network", "create", "red", "--cidr", "10.207.0.0/16")
    red, blue = a.key("--network", "red", "--reusable"), a.key("--reusable")
    agent, peer = Agent(a, "both").register(red), Agent(a, "peer").register(red)
    agent.register(blue)
    soon(lambda: names(b) == ["both", "both", "peer"])
    stream, watching = at(agent, b).stream(), at(peer, b).stream()
    equal(len(stream.receive()["peers"]), 1)
    watching.receive()

    def expired(co):
        return {row["network"]: row["expired"] for row in agents(co) if row["name"] == "both"}

    a.admin("agent", "expire", "both", "--network", "red")
    equal(stream.find(lambda m: m.get("type") == "snapshot", 3)["peers"], [])
    assert watching.find(lambda m: m.get("op") == "remove" and m["agent_id"] == agent.id, 3)
    soon(lambda: expired(b) == {"red": True, "default": False})
    equal(at(agent, b).try_register(blue)[0], 200)
    soon(lambda: expired(a) == expired(b) == {"red": True, "default": False})
    b.admin("agent", "expire", "both")
    assert stream.ended(3), "the stream goes on"
    soon(lambda: expired(a) == {"red": True, "default": True})
    refused(agent.ask("GET", "/peers"), 401, "agent_expired")
    equal(agent.try_register(blue)[0], 200)
    soon(lambda: expired(b) == {"red": True, "default": False})
    equal(at(agent, b).try_register(red)[0], 200)
    assert watching.find(lambda m: m.get("op") == "put" and m["peer"]["agent_id"] == agent.id, 3), "not told it is back"
    soon(lambda: expired(a) == {"red": False, "default": False})
    # One takes back and the other renews at the same moment: what was taken back stays so, or the agent came later.
    for n in range(6):
        results = [meanwhile(command, a, "agent expire", {"agent": "both", "network": "red"}, True),
                   meanwhile(at(agent, b).try_register, blue)]
        equal([results[0]()["ok"], results[1]()[0]], [True, 200])
        soon(lambda: expired(a) == expired(b) == {"red": True, "default": False})
        a.admin("agent", "approve", "both", "--network", "red")
        soon(lambda: expired(b) == {"red": False, "default": False})


@case_of_two("where an agent has expired, nobody hears of its new key, at whichever coordinator")
def _(a, b):
    a.admin("network", "create", "red", "--cidr", "10.207.0.0/16")
    agent = Agent(a, "both").register(a.key("--network", "red", "--reusable"))
    agent.register(a.key("--reusable"))
    given = {name: a.admin("token", "create", "--role", "viewer", "--network", name).strip() for name in ("red", "default")}
    a.admin("agent", "expire", "both", "--network", "red")
    soon(lambda: sum(row["expired"] for row in agents(b)) == 1)
    soon(lambda: len([t for t in command(b, "token list", {})["tokens"] if t["kind"] == "token"]) == 2)
    hearing = {name: Ws(b, "/api/v1/events", token) for name, token in given.items()}
    for ws in hearing.values():
        ws.receive()
    rotate(agent)
    equal(hearing["default"].find(lambda m: m.get("type") == "agent", 5)["agent"]["public_key"], meshclient.b64(agent.public))
    equal(hearing["red"].find(lambda m: True, 1), None)


@case("SIGHUP with another public_url: streams at the other coordinators hear of it, and of the STUN server at its host")
def _(server):
    a = Coordinator("relay: {stun: ':%d'}\n" % meshclient.free_port()).start()
    b = another(a)
    try:
        b.start()
        stream = Agent(b, "at-b").register(b.key()).stream()
        assert stream.find(lambda m: m.get("type") == "snapshot")
        soon(lambda: metric(b, "other_coordinators") == 1, 9)
        moved(a, "https://moved.example.net:8443")
        told = {}

        def both(message):
            if "https://moved.example.net:8443" in message.get("coordinators", []):
                told["url"] = True
            if any(stun.startswith("moved.example.net:") for relay in message.get("relays", []) for stun in relay["stun"]):
                told["stun"] = True
            return len(told) == 2
        assert stream.find(both), told
    finally:
        b.close()
        a.close()


@case_of_two("the key of one network's device is no other's matter, also at two coordinators at once")
def _(a, b):
    a.admin("network", "create", "red", "--cidr", "10.207.0.0/16")
    red, blue = a.key("--network", "red", "--reusable"), a.key("--reusable")
    Agent(a, "gate").register(red)
    soon(lambda: names(b) == ["gate"])
    for n in range(6):
        agent = Agent(b, "h%d" % n)
        device = meanwhile(command, a, "peer add", {"name": "d%d" % n, "agent": "gate", "public_key": meshclient.b64(agent.public),
                                                    "endpoint": "192.0.2.1:5"}, True)
        registered = meanwhile(agent.try_register, blue)
        equal((device()["ok"], registered()[0]), (True, 201), "squatted")
        soon(lambda: names(a) == names(b))
        refused(agent.try_register(red), 409, "key_taken")


@case_of_two("an agent and a device taken at both at once share no name, no key and no address")
def _(a, b):
    a.admin("network", "create", "tiny", "--cidr", "10.207.0.0/26")
    key = a.key("--network", "tiny", "--reusable")
    soon(lambda: "tiny" in b.admin("network", "list"))
    gate = Agent(a, "gate").register(key)
    soon(lambda: names(b) == ["gate"])
    results = []

    def both(name, public, agent):
        device = meanwhile(command, a, "peer add", {"name": name, "agent": "gate", "public_key": meshclient.b64(public),
                                                    "endpoint": "192.0.2.1:5"}, True)
        registered = meanwhile(agent.try_register, key)
        results.append((device()["ok"], registered()[0] == 201))
        return results[-1]

    for n in range(8):  # the name, the key, and whatever address comes next
        equal(sum(both("n%d" % n, os.urandom(32), Agent(b, "n%d" % n))), 1, "one name")
        other = Agent(b, "k%d" % n)
        equal(sum(both("d%d" % n, other.public, other)), 1, "one key")
        both("p%d" % n, os.urandom(32), Agent(b, "a%d" % n))
        soon(lambda: names(a) == names(b))
    for co in (a, b):
        devices = soon(lambda: [d for d in [json.loads(co.admin("peer", "list", "--json"))["devices"]]
                                if len(d) == sum(r[0] for r in results)])[0]
        rows = devices + agents(co)
        for taken in ([x for row in rows for x in row["addresses"]], [row["name"] for row in rows],
                      [row["public_key"] for row in rows]):
            equal(len(taken), len(set(taken)), str(sorted(taken)))
    assert not [line for co in (a, b) for line in co.log().splitlines() if "bad-row" in line]


@case_of_two("restore and migrate wait until the last coordinator on the database has ended")
def _(a, b):
    key = a.key("--reusable")
    a.admin("backup", a.dir + "/backup")
    a.stop()
    key_file, kept = a.dir + "/state/server.key", b.read("state/server.key")
    os.unlink(key_file)
    for words in (["restore", a.dir + "/backup"], ["migrate", "--to", "sqlite:" + a.dir + "/moved.db"]):
        said = a.admin(*words, code=1)
        assert "coordinators work on this database" in said, said
        equal(said.count("\n"), 1, said)
    assert not os.path.exists(key_file), "a restore that failed has put keys there"
    Agent(b, "answered").register(key)
    b.stop()
    a.admin("restore", a.dir + "/backup")
    assert a.read("state/server.key") == kept, "another server key"
    a.start()
    equal(names(a), [])


@case_of_two("nobody hears of an agent that was refused")
def _(a, b):
    key = a.key("--reusable")
    first = Agent(a, "first").register(key)
    stream = first.stream()
    stream.receive()
    seen = []
    for n in range(8):
        results = [meanwhile(Agent(co, "n%d" % n).try_register, key) for co in (a, b)]
        winners = [answer["agent_id"] for status, answer in (result() for result in results) if status == 201]
        equal(len(winners), 1)
        seen += winners
    told = members_told(stream)
    equal(sorted(told), sorted(("put", agent) for agent in seen))


@case_of_two("nor does who comes or reads while it is being refused")
def _(a, b):
    key, seen, winners, stop = a.key("--reusable"), set(), set(), threading.Event()
    readers = [Agent(a, "reader%d" % n).register(key) for n in range(2)]
    soon(lambda: len(names(b)) == 2)

    def read(reader, co):
        here, count = at(reader, co), 0
        while not stop.is_set():
            stream = here.stream()
            seen.update(peer["agent_id"] for peer in stream.receive()["peers"])
            stream.close()
            seen.update(peer["agent_id"] for peer in here.ask("GET", "/peers")[1]["peers"])
            count += 1
        return count

    reading = [meanwhile(read, reader, co) for reader, co in zip(readers, (a, b))]
    for n in range(40):
        results = [meanwhile(Agent(co, "n%d" % n).try_register, key) for co in (a, b)]
        won = [answer["agent_id"] for status, answer in (result() for result in results) if status == 201]
        equal(len(won), 1)
        winners.update(won)
    stop.set()
    assert min(result() for result in reading) > 5, "they have read too little"
    strangers = seen - winners - {reader.id for reader in readers}
    assert not strangers, "%d were told of that are none" % len(strangers)


ONE_URL = "public_url: [https://mesh.test:8443]\n"


def prove(agent, co, given, key, **changes):
    return at(agent, co).try_register(key, given=given, coordinator="https://mesh.test:8443", **changes)


@case_of_two("behind one address: a challenge of one serves at any, and once", FAST + ONE_URL)
def _(a, b):
    key = a.key("--reusable")
    one, two, three = (Agent(a, name) for name in ("one", "two", "three"))
    soon(lambda: len(json.loads(b.admin("key", "list", "--json"))["keys"]) == 2)
    given = one.challenge()
    equal(prove(one, b, given, key)[0], 201)
    for co in (a, b):
        refused(prove(one, co, given, key), 401, "challenge_used")
    given = two.challenge()
    equal(prove(two, a, given, key)[0], 201)
    for co in (b, a):
        refused(prove(two, co, given, key), 401, "challenge_used")
    given = three.challenge()
    wrong = {"Authorization": "Proof " + meshclient.b64(bytes(32))}
    refused(prove(three, b, given, key, headers=wrong), 401, "proof_wrong")
    refused(prove(three, b, two.challenge(), key), 401, "challenge_unknown")  # of another key
    refused(prove(three, b, given, "A" * 22), 403, "join_key_unknown")
    equal(prove(three, b, given, key)[0], 201, "one that a stranger has tried, or that came without a join key, serves still")
    equal(b.request("GET", "/metrics", root=True)[0], 200)
    for n in range(15):  # at both at once
        agent = Agent(a, "n%d" % n)
        given = agent.challenge()
        results = [meanwhile(prove, agent, co, given, key) for co in (a, b)]
        results = [result() for result in results]
        equal(sorted(status for status, _ in results), [201, 401], str(results))
        equal([answer["code"] for status, answer in results if status == 401], ["challenge_used"])
    equal(len(names(a)), 18)


@case_of_two("behind one address: token, new key and good-bye by proof, the challenge from one, the rest at the other", FAST + ONE_URL)
def _(a, b):
    one = Agent(a, "one")
    answer = prove(one, a, one.challenge(), a.key())[1]
    one.id, one.token = answer["agent_id"], answer["token"]
    soon(lambda: names(b) == ["one"])

    def ask(co, method, path, given, private=None, **more):
        body = json.dumps({"coordinator": "https://mesh.test:8443", "challenge": given["challenge"], **more}).encode()
        headers = {"Authorization": one.proof(given, body)}
        if private:
            headers["WG-Mesh-New-Proof"] = one.proof(given, body, private)
        return co.request(method, "/agents/%s%s" % (one.id, path), body, headers)

    given = one.challenge()
    equal(ask(b, "POST", "/token", given)[0], 200)
    refused(ask(a, "POST", "/token", given), 401, "challenge_used")
    refused(ask(b, "POST", "/token", given), 401, "challenge_used")
    given, new = one.challenge(), Agent(a, "new")
    equal(ask(b, "POST", "/key", given, new.private, public_key=meshclient.b64(new.public))[0], 200)
    one.private, one.public = new.private, new.public
    soon(lambda: {row["public_key"] for co in (a, b) for row in agents(co)} == {meshclient.b64(new.public)})
    given = one.challenge()
    equal(ask(b, "DELETE", "", given)[0], 204)
    soon(lambda: names(a) == [])


@case_of_two("behind one address: a challenge of one that is gone, or frozen, is refused, and another one serves", FAST + ONE_URL)
def _(a, b):
    key = a.key("--reusable")
    one, two = Agent(a, "one"), Agent(a, "two")
    soon(lambda: len(json.loads(b.admin("key", "list", "--json"))["keys"]) == 2)
    given, other = one.challenge(), two.challenge()
    os.kill(a.process.pid, signal.SIGSTOP)
    try:
        refused(prove(one, b, given, key), 401, "challenge_unknown")
    finally:
        os.kill(a.process.pid, signal.SIGCONT)
    a.stop(signal.SIGKILL)
    refused(prove(two, b, other, key), 401, "challenge_unknown")
    equal(prove(two, b, at(two, b).challenge(), key)[0], 201)
    a.start()
    soon(lambda: b.log().count("coordinator-found") >= 2, 10)
    refused(prove(one, a, given, key), 401, "challenge_unknown")  # of its former life
    refused(prove(one, b, given, key), 401, "challenge_unknown")


@case_of_two("wrong passwords are counted by all coordinators together, and forgiven by all")
def _(a, b):
    a.admin("user", "add", "ann", "--role", "viewer", stdin="correct horse battery\n")
    soon(lambda: "ann" in b.admin("user", "list"))

    def login(co, password):
        return co.request("POST", "/session", {"user": "ann", "password": password})

    answers = []
    for n in range(8):
        answers.append(login((a, b)[n % 2], "wrong password %d" % n)[0])
        time.sleep(0.3)  # for the word to pass
    equal(answers[:5], [401] * 5)
    assert 429 in answers[5:8], answers
    assert wait_until(lambda: login(b, "correct horse battery")[0] == 201, 60)
    time.sleep(0.3)
    equal([login(a, "forgiven %d" % n)[0] for n in range(3)], [401] * 3)


def regions(co):
    agent = Agent(co, "a" + meshclient.b64(os.urandom(6)).translate({43: 98, 47: 99}).lower())
    agent.register(co.key())
    return {relay["region"]: relay["stun"] for relay in agent.ask("GET", "/peers")[1]["relays"]}


@case("the relay beside each coordinator is told to the agents of all, by a name of its own")
def _(server):
    limits = FAST.partition("\n")[2]
    a = Coordinator(limits + "relay: {stun: '127.0.0.1:%d', region: east}\n" % meshclient.free_port()).start()
    b = another(a, limits + "relay: {stun: '127.0.0.1:%d'}\n" % meshclient.free_port())
    try:
        one = Agent(a, "one").register(a.key())
        stream = one.stream()
        equal([relay["region"] for relay in stream.receive()["relays"]], ["east"])
        b.start()
        found = stream.find(lambda m: m.get("op") == "relays" and len(m["relays"]) == 2)
        assert found, "not told of the other's"
        soon(lambda: len(regions(b)) == 2)
        both = regions(a)
        equal(regions(b), both)
        assert len(both) == 2 and "east" in both, both
        equal({relay["region"]: relay["stun"] for relay in found["relays"]}, both)
        equal(len({stun for region in both.values() for stun in region}), 2)
        b.stop()
        found = stream.find(lambda m: m.get("op") == "relays" and len(m["relays"]) == 1)
        equal(found and found["relays"][0]["region"], "east")
    finally:
        b.close()
        a.close()


@case_of_two("an address that was given back at one rests at the other too, also where that has not seen who had it")
def _(a, b):
    def taken(co, lab):
        return {row["addresses"][0].partition("/")[0] for row in agents(co) if row["network"] == lab}

    def approval(co, lab):
        return [row["approve"] for row in json.loads(co.admin("network", "list", "--json"))["networks"] if row["name"] == lab][0]

    def fill(co, lab, key, name):
        """All that this coordinator gives out."""
        given, status, n = set(), 201, 0
        while status == 201:
            agent = Agent(co, "%s%d" % (name, n))
            status, answer = agent.try_register(key)
            given |= {x.partition("/")[0] for x in answer.get("addresses", [])}
            n += 1
        refused((status, answer), 409, "network_full")
        return given

    for lab, missed in (("lab", False), ("lab2", True)):
        os.kill(b.process.pid, signal.SIGSTOP)
        try:
            if missed:  # a connection that sleeps is cut, so that bulletins are missed
                meshclient.psql(a.database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                "datname='%s' AND pid<>pg_backend_pid()" % a.database)
                assert wait_until(lambda: a.request("GET", "/healthz", root=True)[0] == 200, 20)
            a.admin("network", "create", lab, "--cidr", "10.209.%d.0/29" % missed)
            key = a.key("--network", lab, "--reusable")
            gone = Agent(a, "gone-" + lab).register(key).addresses[0].partition("/")[0]
            a.admin("agent", "remove", "gone-" + lab)
            if missed:
                meshclient.psql(a.database, "DELETE FROM bulletins")
                a.admin("network", "set", lab, "--approve", "on")
                a.key("--network", lab)
        finally:
            os.kill(b.process.pid, signal.SIGCONT)
        soon(lambda: lab in b.admin("network", "list"), 20)
        if missed:
            soon(lambda: approval(b, lab) is True)
            b.admin("network", "set", lab, "--approve", "off")
            soon(lambda: approval(a, lab) is False)
        soon(lambda: len(json.loads(b.admin("key", "list", "--json"))["keys"]) ==
             len(json.loads(a.admin("key", "list", "--json"))["keys"]))
        given = fill(b, lab, key, "x")
        assert len(given) >= 4, given
        assert gone not in given, "%s: %s was given out again" % (lab, gone)
    assert "bulletins-missed" in b.log()


@case_of_two("where an agent is, and whether it is online, is known at both; its signals pass; the newer stream stays")
def _(a, b):
    key, one, two = joined(a, b, "one", "two")
    here, there = one.stream(), at(two, b).stream()
    here.receive(), there.receive()
    assert here.find(lambda m: m.get("op") == "patch" and m.get("online") is True and m["agent_id"] == two.id, 3)
    soon(lambda: [row["online"] for co in (a, b) for row in agents(co)] == [True] * 4)
    equal(move(at(two, b), "198.51.100.9:9")[0], 200)
    assert hears(here, "198.51.100.9:9", 3), "an endpoint"
    box = meshclient.b64(os.urandom(4096))
    here.send({"type": "signal", "id": 1, "to": two.id, "network": "default", "box": box})
    signal_ = there.find(lambda m: m.get("type") == "signal", 3)
    equal((signal_["from"], signal_["box"]), (one.id, box))
    here.send({"type": "signal", "id": 2, "to": "0" * 24, "network": "default", "box": box})
    assert here.find(lambda m: m.get("code") == "unknown_peer", 3)
    moved = at(one, b).stream()
    moved.receive()
    bye = here.find(lambda m: m.get("type") == "bye", 3)
    equal(bye["reason"], "replaced")
    there.send({"type": "signal", "id": 1, "to": one.id, "network": "default", "box": box})
    assert moved.find(lambda m: m.get("type") == "signal", 3), "a signal to where it is now"
    assert not there.find(lambda m: m.get("op") == "patch" and m.get("online") is False, 5), "was shown offline"
    moved.close()
    soon(lambda: {row["name"]: row["online"] for row in agents(a)}["one"] is False, 10)
    there.send({"type": "signal", "id": 2, "to": one.id, "network": "default", "box": box})
    assert there.find(lambda m: m.get("code") == "peer_offline", 3)


@case_of_two("who is revoked at one is cut off at the other")
def _(a, b):
    key = a.key("--reusable")
    for act in ("remove", "expire"):
        agent = Agent(a, act).register(key)
        soon(lambda: act in names(b))
        stream = at(agent, b).stream()
        stream.receive()
        began = time.time()
        a.admin("agent", act, act)
        assert stream.ended(3), "the stream goes on"
        assert time.time() - began < 3
        refused(at(agent, b).ask("GET", "/peers"), 401,
                "unknown_agent" if act == "remove" else "agent_expired")


def agreed(*cos):
    """User and kind of what people come in with, once all say the same."""
    def rows(co):
        return sorted((t["user"], t["kind"], t["id"]) for t in command(co, "token list", {})["tokens"])
    soon(lambda: all(rows(co) == rows(cos[0]) for co in cos))
    return [row[:2] for row in rows(cos[0])]


@case_of_two("a link to the dashboard is good at any, once, also where all are asked at one moment")
def _(a, b):
    soon(lambda: "admin" in b.admin("user", "list"))
    for n in range(5):
        secret = a.admin("user", "link", "admin").strip().partition("=")[2]
        assert ("admin", "link") in agreed(a, b)
        asking = [meanwhile(co.request, "POST", "/session/link", {"secret": secret}) for co in ((a, b) if n else (b,))]
        answers = [result() for result in asking]
        equal(sorted(answer[0] for answer in answers), [201, 401] if n else [201], answers)
        for answer in answers:
            if answer[0] == 401:
                refused(answer, 401, "link_wrong")
        equal(agreed(a, b), [("admin", "session")] * (n + 1))
    equal(a.admin("audit").count("by a link"), 5)


@case_of_two("a higher role given at one ends the user's links and sessions at the other")
def _(a, b):
    a.admin("network", "create", "lab", "--cidr", "10.230.0.0/16")
    a.admin("user", "add", "carl", "--role", "viewer", "--network", "lab", "--no-password")
    soon(lambda: "carl" in b.admin("user", "list"))
    begun = b.request("POST", "/session/link", {"secret": b.admin("user", "link", "carl").strip().partition("=")[2]})
    equal(begun[0], 201, begun)
    secret = b.admin("user", "link", "carl").strip().partition("=")[2]
    with_ = [row for row in agreed(b) if row[0] == "carl"]
    equal(with_, [("carl", "link"), ("carl", "session")])  # a may know of them or not
    a.admin("user", "role", "carl", "admin")
    soon(lambda: not [row for row in agreed(a, b) if row[0] == "carl"])
    for co in (a, b):
        refused(co.request("POST", "/session/link", {"secret": secret}), 401, "link_wrong")


@case("a coordinator with another server key does not start; two that start first make one mesh")
def _(server):
    a, b = Coordinator(FAST), None
    try:
        b = Coordinator(FAST, database=a.database)
        os.makedirs(a.dir + "/state", 0o700)
        with open(a.dir + "/state/server.key", "w") as f:
            f.write(meshclient.b64(os.urandom(32)) + "\n")
        os.makedirs(b.dir + "/state", 0o700)
        shutil.copy(a.dir + "/state/server.key", b.dir + "/state/server.key")
        starting = [meanwhile(co.start) for co in (a, b)]
        [result() for result in starting]
        lines = (a.read("out") + b.read("out")).split()
        equal(len(lines), 2, "links")
        equal(agreed(a, b), [("admin", "link")])
        key = lines[0].partition("#")[2].partition(".")[0]
        soon(lambda: Agent(a, "a").register(key) and Agent(b, "b").register(key))
        soon(lambda: names(a) == names(b) == ["a", "b"])
        equal(at(Agent(a, "c").register(key), a).ask("GET", "/peers")[0], 200)
        c = Coordinator(FAST, database=a.database)
        try:
            with open(c.dir + "/err", "w+") as err:
                code = subprocess.run([meshclient.PROGRAM, "serve", "--config", c.dir + "/coordinator.yaml"],
                                      stdout=subprocess.DEVNULL, stderr=err, timeout=20).returncode
                err.seek(0)
                said = err.read()
            equal(code, 1, said)
            assert "copy server.key" in said, said
        finally:
            c.close()
    finally:
        if b:
            b.close()
        a.close()


@case_of_two("a connection that PostgreSQL ends loses nothing")
def _(a, b):
    key, one = joined(a, b, "one")
    stream = at(one, b).stream()
    stream.receive()
    registered = []
    for n in range(30):
        if n % 5 == 2:
            meshclient.psql(a.database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                            "application_name LIKE '%%bus' AND datname='%s'" % a.database)
        registered.append(Agent(a, "r%d" % n).register(key).id)
        time.sleep(0.05)
    equal(set(members_told(stream)), {("put", agent) for agent in registered})
    soon(lambda: names(a) == names(b))
    assert b.log().count("bus-away") >= 3


@case_of_two("bulletins that are gone: everything is read again")
def _(a, b):
    key = a.key("--reusable")
    for n in range(3):
        Agent(a, "n%d" % n).register(key)
    soon(lambda: len(names(b)) == 3)
    os.kill(b.process.pid, signal.SIGSTOP)  # it sleeps for more than an hour, as it were
    try:
        meshclient.psql(a.database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                        "datname='%s' AND pid<>pg_backend_pid()" % a.database)
        assert wait_until(lambda: Agent(a, "late").try_register(key)[0] in (200, 201), 20)
        a.admin("agent", "remove", "n1")
        a.admin("network", "create", "lab", "--cidr", "10.209.0.0/16")
        a.admin("key", "create", "--network", "lab")
        meshclient.psql(a.database, "DELETE FROM bulletins")
        a.admin("agent", "rename", "n2", "zwei")
    finally:
        os.kill(b.process.pid, signal.SIGCONT)
    soon(lambda: names(a) == names(b) == ["late", "n0", "zwei"], 20)
    assert "bulletins-missed" in b.log()
    assert "lab" in b.admin("network", "list")
    soon(lambda: [len(json.loads(co.admin("key", "list", "--json"))["keys"]) for co in (a, b)] == [3, 3])


@case_of_two("two hosts with one key, each at another coordinator, are told of by both")
def _(a, b):
    _, twice = joined(a, b, "twice")
    before = None
    for n in range(14):
        stream = at(twice, (a, b)[n % 2]).stream()
        assert stream.receive()
        assert not before or before.find(lambda m: m["type"] == "bye" and m["reason"] == "replaced"), n
        before = stream
    for co in (a, b):
        said = soon(lambda: [line for line in co.log().splitlines() if " agent-twice " in line])
        assert len(said) == 1 and "name=twice from=127.0.0.1 by=\"coordinator " in said[0], said


@case("a coordinator whose clock is hours off goes by the database's: it ends nothing before its time, and says so")
def _(_server):
    clock, right = WrongClock(0), Coordinator(FAST).start()
    wrong = another(right)
    wrong.wrapper = clock.wrapper

    def told():
        return [line for line in wrong.log().splitlines() if " clock-differs " in line]

    try:
        key = right.key("--reusable")
        stays, left = Agent(right, "stays").register(key), Agent(right, "left").register(right.key("--ephemeral"))
        right.admin("agent", "expire", "stays", "--in", "1h30m")
        left.stream().receive()
        for n, seconds in enumerate((7200, -7200)):
            clock.set(seconds)
            right.stop()
            wrong.start()  # alone, so it leads
            said = [int(line.partition("ahead_seconds=")[2].split()[0]) for line in told()]
            equal(len(said), 1 + n)
            for value in (said[n], metric(wrong, "clock_ahead_seconds")):
                assert abs(value - seconds) < 100, value
            due = Agent(wrong, "due%d" % n).register(key)
            wrong.admin("agent", "expire", due.name, "--in", "1s")
            assert wait_until(lambda: {row["name"]: row["expired"] for row in agents(wrong)}[due.name], 20), "it ends nothing"
            equal({row["name"]: row["expired"] for row in agents(wrong) if row["name"] in ("stays", "left")},
                  {"stays": False, "left": False})
            equal(at(stays, wrong).ask("GET", "/peers")[0], 200, "the other's token")
            new, made = Agent(wrong, "new%d" % n).register(key), wrong.key()
            wrong.stop()
            right.start()
            equal(at(new, right).ask("GET", "/peers")[0], 200, "its token at the other")
            Agent(right, "by%d" % n).register(made)
        clock.set(0)
        wrong.start()
        equal(len(told()), 2)
        for n, seconds in enumerate((86400 * 400, 0)):  # while it runs
            clock.set(seconds)
            assert wait_until(lambda: (len(told()), wrong.log().count(" clock-agrees ")) == (3, n), 20), told()
        right.stop()
        due = Agent(wrong, "due").register(key)
        wrong.admin("agent", "expire", "due", "--in", "1s")
        assert wait_until(lambda: {row["name"]: row["expired"] for row in agents(wrong)}["due"], 20)
        equal({row["name"]: row["expired"] for row in agents(wrong) if row["name"] in ("stays", "left", "new0")},
              {"stays": False, "left": False, "new0": False})
    finally:
        wrong.close()
        right.close()
        clock.close()


@case_of_two("one that was frozen is found again, and what it has missed is said")
def _(a, b):
    key, one, two = joined(a, b, "one", "two")
    here, there = one.stream(), at(two, b).stream()
    here.receive(), there.receive()
    soon(lambda: [row["online"] for co in (a, b) for row in agents(co)] == [True] * 4)
    os.kill(b.process.pid, signal.SIGSTOP)
    try:
        assert wait_until(lambda: "coordinator-gone" in a.log(), 20)
        assert here.find(lambda m: m.get("op") == "patch" and m.get("online") is False, 20), "not shown offline"
        equal(move(one, "198.51.100.4:4")[0], 200)
        three = Agent(a, "three").register(key)
    finally:
        os.kill(b.process.pid, signal.SIGCONT)
    soon(lambda: {row["name"]: row["online"] for row in agents(a)} == {"one": True, "two": True, "three": False}, 9)
    soon(lambda: names(b) == ["one", "three", "two"])
    soon(lambda: {row["name"]: row["online"] for row in agents(b)}["one"] is True)
    soon(lambda: "198.51.100.4:4" in json.dumps(agents(b)))
    three.stream().receive()
    soon(lambda: {row["name"]: row["online"] for row in agents(b)}["three"] is True)


class Roaming:
    """An agent that goes to the next coordinator when it loses one, as wg-meshd does."""

    def __init__(self, agent, coordinators):
        self.agent, self.known = agent, {co.origin: co for co in coordinators}
        self.connect(agent.co)

    def connect(self, co):
        self.stream = at(self.agent, co).stream()
        snapshot = self.stream.receive()
        equal(snapshot["type"], "snapshot")
        self.urls, self.co = snapshot["coordinators"], co

    def come_back(self):
        """After its coordinator has died."""
        if not self.stream.ended(20):
            raise AssertionError("its stream goes on")
        for url in self.urls:
            if url != self.co.origin:
                self.connect(self.known[url])
                return True
        raise AssertionError("it knows no other: %s" % self.urls)


@case_of_two("one killed under load: no answered write is lost, every agent is at the other in time, none is shown offline")
def _(a, b):
    key = a.key("--reusable")
    watcher = Agent(b, "watcher")
    soon(lambda: watcher.try_register(key)[0] in (200, 201))
    watcher.register(key)
    watching = watcher.stream()
    watching.receive()
    roaming = [Roaming(Agent(a, "r%d" % n).register(key), (a, b)) for n in range(30)]
    soon(lambda: len(names(b)) == 31)
    answered, stop = [], threading.Event()

    def work(co, at_):
        n = 0
        while not stop.is_set():
            n += 1
            agent = Agent(co, "w%d-%d" % (at_, n))
            try:
                if agent.try_register(key)[0] == 201:
                    answered.append(agent.name)
            except (OSError, EOFError, http.client.HTTPException):
                if stop.wait(0.05):
                    return

    workers = [meanwhile(work, co, n) for n, co in enumerate((a, a, b))]
    time.sleep(1.5)
    a.stop(signal.SIGKILL)
    began = time.time()
    back = [meanwhile(one.come_back) for one in roaming]
    equal(all(result(40) for result in back), True)
    took = time.time() - began
    assert took < 30, "%.1f seconds" % took
    time.sleep(0.5)
    stop.set()
    for worker in workers:
        worker()
    assert len(answered) > 20, len(answered)
    equal(set(answered) - set(names(b)), set(), "lost")
    equal(len(names(b)), len(set(names(b))), "names")
    time.sleep(max(0, began + 12 - time.time()))  # by then the dead one was judged
    online = {row["name"]: row["online"] for row in agents(b)}
    equal([name for name in online if name.startswith("r") and not online[name]], [])
    assert "coordinator-gone" in b.log()
    gone = watching.find(lambda m: m.get("op") == "patch" and m.get("online") is False and
                         m["agent_id"] in {one.agent.id for one in roaming}, 1)
    assert not gone, gone
    a.start()
    assert wait_until(lambda: names(a) == names(b))
    soon(lambda: {row["name"]: row["online"] for row in agents(a)}["r0"] is True, 5)
    Agent(a, "afterwards").register(key)
    soon(lambda: "afterwards" in names(b))


@case_of_two("one that stops says so: its agents go to the other at once")
def _(a, b):
    key = a.key("--reusable")
    one = Roaming(Agent(a, "one").register(key), (a, b))
    soon(lambda: names(b) == ["one"])
    a.stop()
    bye = one.stream.find(lambda m: m.get("type") == "bye", 3)
    equal(bye["reason"], "restart")
    one.come_back()
    soon(lambda: [row["online"] for row in agents(b)] == [True])
    assert "it stops" in b.log()


@case("PostgreSQL restarted under two coordinators: they find each other again and nothing is missed")
def _(server):
    with Pair() as (a, b):
        key, one = joined(a, b, "one")
        stream = at(one, b).stream()
        stream.receive()
        server.stop("immediate")
        time.sleep(2)
        here = [row["online"] for row in agents(b)]
        server.start()
        equal(here, [True])
        for n, co in enumerate((a, b, a, b)):
            assert wait_until(lambda: Agent(co, "n%d" % n).try_register(key)[0] == 201), n
        soon(lambda: names(a) == names(b) == ["n0", "n1", "n2", "n3", "one"], 10)
        equal(move(at(one, a), "198.51.100.3:3")[0], 200)
        soon(lambda: "198.51.100.3:3" in json.dumps(agents(b)), 10)
        equal(move(at(one, b), "198.51.100.3:4")[0], 200)
        soon(lambda: "198.51.100.3:4" in json.dumps(agents(a)), 10)


def waiting(co):
    """Is there somebody who waits for a table of this database?"""
    return meshclient.psql("postgres", "SELECT 1 FROM pg_locks AS l, pg_database AS d WHERE d.oid=l.database AND "
                           "d.datname='%s' AND NOT l.granted" % co.database)


def during(co, table, act, sql):
    """Another coordinator's change of this table, committed while ours waits for the table; what ours gave."""
    holder = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", meshclient.POSTGRES + "/" + co.database],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write("BEGIN; LOCK TABLE %s IN EXCLUSIVE MODE; SELECT 'held';\n" % table)
    holder.stdin.flush()
    equal(holder.stdout.readline(), "held\n")
    ours = meanwhile(act)
    try:
        assert wait_until(lambda: waiting(co)), "nothing waits"
    finally:
        holder.communicate(sql + "COMMIT;\n")
    equal(holder.returncode, 0)
    return ours()


def bulletin(**named):
    """What a coordinator leaves with such a change: the ids of what it has changed."""
    text = json.dumps({"from": "other", **{what: {each: True for each in ids} for what, ids in named.items()}})
    return ("INSERT INTO bulletins (at,text) VALUES (%d,'%s'); SELECT pg_notify('wg_mesh','');"
            % (time.time() * 1000, text))


def alone(name):
    """A case that is given one coordinator, whose fellow is the case itself."""
    def add(function):
        def run_(_server):
            co = Coordinator(FAST).start()
            try:
                function(co)
            finally:
                code = co.stop() or 0
                log = co.log()
                co.close()
            equal(code, 0, log[-2000:])
        return case(name)(run_)
    return add


@alone("an approval that PostgreSQL refuses: no peer is told of the agent, and policies and approvals go on")
def _(co):
    co.admin("network", "set", "default", "--approve", "on")
    key = co.key("--reusable")
    one, peer = (Agent(co, name).register(key) for name in ("one", "peer"))
    co.admin("agent", "approve", "peer")
    stream, own = peer.stream(), one.stream()
    equal([stream.receive()["peers"], own.receive()["peers"]], [[], []])
    meshclient.psql(co.database, "ALTER TABLE agent_networks ADD CONSTRAINT no CHECK (pending<>0) NOT VALID")
    equal(command(co, "agent approve", {"agent": one.id}, True).get("code"), "conflict")
    equal({row["name"]: row["approved"] for row in agents(co)}, {"one": False, "peer": True})
    meshclient.psql(co.database, "ALTER TABLE agent_networks DROP CONSTRAINT no")
    assert not stream.find(lambda m: m.get("op") == "put", 1), "heard of an agent that nobody approved"
    apply(co, "version: 1\nacl:\n- {from: any, to: any, allow: tcp/22}\n")
    command(co, "agent approve", {"agent": one.id})
    assert stream.find(lambda m: m.get("op") == "put" and m["peer"]["agent_id"] == one.id), "not approved"
    assert own.find(lambda m: m.get("type") == "snapshot" and m["peers"]), "its own view"


@alone("one that stops while everything is read again stops")
def _(co):
    holder = subprocess.Popen(["psql", "-XAtq", meshclient.POSTGRES + "/" + co.database],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write("BEGIN; LOCK TABLE networks IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n")
    holder.stdin.flush()
    equal(holder.stdout.readline(), "held\n")
    try:  # a bulletin, after some that are gone already
        meshclient.psql(co.database, "DELETE FROM bulletins; SELECT nextval('bulletins_id_seq'),"
                        "nextval('bulletins_id_seq'); " + bulletin())
        assert wait_until(lambda: "bulletins-missed" in co.log())
        assert wait_until(lambda: waiting(co)), "nothing waits"
        co.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: not meshclient.psql("postgres", "SELECT 1 FROM pg_stat_activity WHERE "
                          "application_name LIKE '%%bus' AND datname='%s'" % co.database)), "it goes on"
    finally:
        holder.communicate("ROLLBACK;\n")
    equal(co.process.wait(20), 0, co.log()[-2000:])
    co.process = None


@alone("what two change of one agent at once are both there: name, tags, routes, what it says of itself")
def _(co):
    key, routes = co.key("--reusable"), ["192.168.%d.0/24" % n for n in range(3)]
    one = Agent(co, "one").register(key, advertised_routes=routes)

    def row():
        return agents(co)[0]

    def changed(column, value, table="agent_networks"):
        return "UPDATE %s SET %s='%s' WHERE agent_id='%s'" % (table, column, value, one.id)

    answer = during(co, "agent_networks", lambda: command(co, "agent rename", {"agent": one.id, "name": "two"}, True),
                    changed("tags", '["quarantine"]') + ";" + bulletin(agents=[one.id]))
    assert answer["ok"], answer
    soon(lambda: (row()["name"], row()["tags"]) == ("two", ["quarantine"]))
    answer = during(co, "agent_networks", lambda: command(co, "agent tag", {"agent": one.id, "tags": ["web"]}, True),
                    changed("name", "three") + ";" + bulletin(agents=[one.id]))
    assert answer["ok"], answer
    soon(lambda: (row()["name"], row()["tags"]) == ("three", ["web"]))
    answer = during(co, "agent_networks", lambda: one.try_register(key, advertised_routes=routes[1:]),
                    changed("tags", '["db"]') + ";" + changed("approved", 1, "routes") +
                    " AND prefix='%s';" % routes[1] + bulletin(agents=[one.id]))
    equal(answer[0], 200, answer)
    soon(lambda: row()["tags"] == ["db"])
    approved = {r["prefix"]: r["approved"] for r in json.loads(co.admin("route", "list", "--json"))["routes"]}
    equal(approved, {routes[1]: True, routes[2]: False})
    answer = during(co, "routes", lambda: command(co, "route approve", {"agent": one.id, "prefix": routes[2]}, True),
                    changed("approved", 2, "routes") + " AND prefix='%s';" % routes[1] + bulletin(agents=[one.id]))
    assert answer["ok"], answer
    equal(meshclient.psql(co.database, "SELECT prefix,approved FROM routes ORDER BY prefix").split(),
          [routes[1] + "|2", routes[2] + "|1"])
    answer = during(co, "agents, agent_networks", lambda: one.try_register(key),
                    "DELETE FROM agents WHERE id='%s';" % one.id + bulletin(agents=[one.id]))
    equal(answer[0], 201, answer)
    assert answer[1]["agent_id"] != one.id, "who was removed is back as if nothing had been"


@alone("a role that is raised elsewhere ends the links and sessions begun here, of which that one had not heard")
def _(co):
    co.admin("user", "add", "carl", "--role", "viewer", "--network", "default", "--no-password")
    begun = co.request("POST", "/session/link", {"secret": co.admin("user", "link", "carl").strip().partition("=")[2]})
    equal(begun[0], 201, begun)
    co.admin("user", "link", "carl")
    equal([row for row in agreed(co) if row[0] == "carl"], [("carl", "link"), ("carl", "session")])
    meshclient.psql(co.database, "UPDATE users SET roles='{\"*\":\"admin\"}' WHERE name='carl';" + bulletin(users=["carl"]))
    soon(lambda: "carl" not in str(agreed(co)))
    equal(meshclient.psql(co.database, "SELECT count(*) FROM tokens WHERE user_name='carl'").strip(), "0")


@alone("what two change of one user at once: the second is refused, and the first stays")
def _(co):
    def users():
        return meshclient.psql(co.database, "SELECT name,password LIKE '$argon2%',roles FROM users WHERE name<>'admin'").split()

    def refused_(name, arguments, sql, who):
        answer = during(co, "users", lambda: command(co, name, arguments, True), sql + bulletin(users=[who]))
        equal(answer.get("code"), "conflict", answer)

    refused_("user add", {"name": "bob", "role": "viewer"},
             "INSERT INTO users VALUES ('bob','HASH','{\"*\":\"admin\"}',1,0);", "bob")
    equal(users(), ['bob|f|{"*":"admin"}'])
    equal([(u["name"], u["roles"][0]["role"]) for u in command(co, "user list", {})["users"] if u["name"] == "bob"],
          [("bob", "admin")])
    refused_("user role", {"user": "bob", "role": "operator"},
             "UPDATE users SET roles='{\"*\":\"viewer\"}' WHERE name='bob';", "bob")
    equal(users(), ['bob|f|{"*":"viewer"}'])
    command(co, "user role", {"user": "bob", "role": "operator"})
    answer = during(co, "users", lambda: command(co, "user passwd", {"user": "bob", "password": "correct horse battery"}, True),
                    "UPDATE users SET roles='{\"*\":\"admin\"}' WHERE name='bob';" + bulletin(users=["bob"]))
    assert answer["ok"], answer
    equal(users(), ['bob|t|{"*":"admin"}'])
    refused_("user passwd", {"user": "bob", "password": "battery staple horse"}, "DELETE FROM users WHERE name='bob';", "bob")
    equal(users(), [])


@alone("who hears of a refusal on the socket may ask again at once: memory has what another has made")
def _(co):
    key = co.key("--reusable")
    one, two = (Agent(co, name).register(key) for name in ("one", "two"))
    for n in range(8):
        rename = lambda: command(co, "agent rename", {"agent": one.id, "name": "name%d" % n}, True)
        answer = during(co, "agent_networks", rename, "UPDATE agent_networks SET name='name%d' WHERE agent_id='%s';"
                        % (n, two.id) + bulletin(agents=[two.id]).partition("SELECT pg_notify")[0])
        equal(answer.get("code"), "conflict", answer)
        equal(rename().get("code"), "name_taken")


@alone("an expiry that PostgreSQL refuses is no refusal of what was asked for at that moment")
def _(co):
    one = Agent(co, "one").register(co.key())
    command(co, "agent expire", {"agent": one.id, "in": "1s"})
    meshclient.psql(co.database, "ALTER TABLE agent_networks ADD CONSTRAINT no CHECK (expired=0) NOT VALID")
    with co.no_commits():
        asking = []
        for _n in range(2):  # the first is being written, the second waits for the next commit
            asking.append(meanwhile(command, co, "key create", {"network": "default"}, True))
            assert wait_until(lambda: waiting(co)), "nothing waits"
        time.sleep(4)  # what is due is looked for now and then
    answers = [result() for result in asking]
    assert all(answer["ok"] for answer in answers), answers
    meshclient.psql(co.database, "ALTER TABLE agent_networks DROP CONSTRAINT no")
    assert wait_until(lambda: agents(co)[0]["expired"]), "it does not expire"


@alone("of two verdicts on a policy that waits, or two that are to wait, PostgreSQL takes one, and memory follows it")
def _(co):
    def text(n):
        return "version: 1\ndefault: deny\n# %d\n" % n

    def row(version, said):
        value = json.dumps({"version": version, "until": int(time.time() + 60) * 1000, "by": "other", "text": said})
        return "INSERT INTO meta VALUES ('policy_waiting', convert_to('%s', 'UTF8'));" % value

    def stored(version, said):
        return "INSERT INTO policies VALUES (%d,'%s',1,'other');" % (version, said)

    def holds(said, waits):
        soon(lambda: (policy(co)["text"], policy(co)["waiting"]) == (said, waits))

    ended, told = "DELETE FROM meta WHERE key='policy_waiting';", bulletin(meta=["policy_waiting"], policies=[""])
    apply(co, text(0))

    def refused_(name, arguments, sql):
        answer = during(co, "meta", lambda: command(co, name, arguments, True), sql + told)
        equal(answer.get("code"), "conflict", answer)

    apply(co, text(1), confirm=60)
    refused_("policy confirm", {}, ended)  # taken back there
    holds(text(0), False)
    apply(co, text(2), confirm=60)
    version = policy(co)["version"]
    refused_("policy rollback", {}, ended + stored(version, text(2)))  # confirmed there
    holds(text(2), False)
    refused_("policy apply", {"text": text(3), "confirm": 60}, row(version + 1, text(4)))
    holds(text(4), True)
    command(co, "policy confirm", {})
    holds(text(4), False)
    equal(meshclient.psql(co.database, "SELECT text FROM policies ORDER BY version DESC LIMIT 1").strip(), text(4).strip())


@alone("an agent that comes back after a restore at two at once is let in by one, and has its token from either")
def _(co):
    key = co.key("--reusable")
    time.sleep(1.1)
    co.admin("backup", co.dir + "/backup")
    late = Agent(co, "late").register(key)
    co.stop()
    co.admin("restore", co.dir + "/backup", "--readmit", "1h")
    co.start()
    address = late.addresses[0].partition("/")[0]
    status, answer = during(
        co, "agents", lambda: come_back(co, late),
        "INSERT INTO agents (id,public_key,created_at,expired,ephemeral) VALUES ('%s','\\x%s',1,0,0);"
        % (late.id, late.public.hex()) + "INSERT INTO agent_networks (agent_id,network_id,name,address4,tags,joined_at) "
        "SELECT '%s',id,'late','%s','[]',1 FROM networks;" % (late.id, address) + bulletin(agents=[late.id]))
    equal(status, 200, answer)
    late.token = answer["token"]
    equal([x.partition("/")[0] for x in late.ask("GET", "/peers")[1]["networks"][0]["addresses"]], [address])
    equal(names(co), ["late"])


def run(server, words):
    failed = 0
    for name, function in cases:
        if words and not any(word in name for word in words):
            continue
        try:
            function(server)
            print("ok several: " + name, flush=True)
        except Exception as why:
            failed += 1
            line = why.__traceback__
            while line.tb_next and line.tb_frame.f_code.co_name != "_":
                line = line.tb_next  # of the case
            print("not ok several: %s: %s (line %d)" % (name, why or type(why).__name__, line.tb_lineno), flush=True)
    return failed


def main():
    import postgres
    server = postgres.Server()
    try:
        meshclient.POSTGRES = server.url
        return 1 if run(server, sys.argv[1:]) else 0
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
