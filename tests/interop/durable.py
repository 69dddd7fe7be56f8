#!/usr/bin/python3
"""Cases of durable.sh: a coordinator is killed by SIGKILL at random moments, during its start too, while
writers change all there is to change (writers.py). After each start: the database opens and is whole,
all that was answered is there, nothing is there twice or by itself, and what was revoked stays so."""
import argparse, json, os, random, shutil, signal, socket, sqlite3, subprocess, sys, tempfile, threading, time

options = argparse.ArgumentParser()
options.add_argument("--kills", type=int, help="on each database (40 on SQLite, 20 on PostgreSQL)")
options.add_argument("--seed", type=int, default=random.randrange(1 << 32))
options.add_argument("databases", nargs="*", default=["sqlite", "postgres"])

LIMITS = ("relay: {embedded: false}\nlimits: {requests_per_address: 100000, requests_per_agent: 100000}\n")
WRITERS = 6
LONGEST = 0.3     # seconds of writing before a kill
EARLY = 0.15      # of the kills come while the coordinator still starts
CUT = 0.3         # of the kills on PostgreSQL come after its connections have been ended
CHECKS = 3        # of each sort that are asked about after a start

# The constraints of the schema, asked again: what must be there once.
ONCE = ("SELECT public_key FROM agents GROUP BY 1 HAVING count(*)>1",
        "SELECT network_id, name FROM agent_networks GROUP BY 1,2 HAVING count(*)>1",
        "SELECT network_id, address4 FROM agent_networks WHERE address4 IS NOT NULL GROUP BY 1,2 HAVING count(*)>1",
        "SELECT network_id, address6 FROM agent_networks WHERE address6 IS NOT NULL GROUP BY 1,2 HAVING count(*)>1",
        "SELECT d.address4 FROM devices d JOIN agent_networks m USING (network_id) WHERE d.address4=m.address4",
        "SELECT hash FROM keys GROUP BY 1 HAVING count(*)>1",
        "SELECT id FROM agents WHERE id NOT IN (SELECT agent_id FROM agent_networks)",
        "SELECT agent_id FROM routes WHERE agent_id NOT IN (SELECT id FROM agents)",
        "SELECT id FROM keys WHERE used_at>0 AND reusable=0 AND used_by IS NULL")


def query_sqlite(path, statements):
    with sqlite3.connect(path) as database:
        answers = [database.execute(s).fetchall() for s in statements]
    database.close()
    return answers


def whole(co):
    """The database as the killed one left it: a copy, for looking heals an original."""
    import meshclient
    if meshclient.POSTGRES:
        if meshclient.psql(co.database, "SELECT to_regclass('devices')") == "\n":
            return # killed before it had made all tables
        answers = [meshclient.psql(co.database, s).split() for s in ONCE]
    else:
        path = co.dir + "/state/coordinator.db"
        if not os.path.exists(path):
            return
        copy = tempfile.mkdtemp(prefix="wg-mesh-durable-copy.")
        try:
            for end in ("", "-wal"):
                if os.path.exists(path + end):
                    shutil.copy(path + end, copy + "/db" + end)
            answers = query_sqlite(copy + "/db", ["SELECT name FROM sqlite_master WHERE name='devices'"])
            begun = answers == [[]] # killed before it had made all tables
            answers = query_sqlite(copy + "/db", ("PRAGMA integrity_check", "PRAGMA foreign_key_check") +
                                   (() if begun else ONCE))
        finally:
            shutil.rmtree(copy)
        if answers[0] != [("ok",)]:
            raise AssertionError("integrity_check: %s" % answers[0])
        answers = answers[1:]
    for statement, rows in zip(ONCE if meshclient.POSTGRES else ("foreign keys",) + ONCE, answers):
        if rows:
            raise AssertionError("%s: %s" % (statement, rows[:3]))


# ---- the coordinator ----------------------------------------------------------------------------------


def launch(co):
    import meshclient
    with open(co.dir + "/out", "ab") as out, open(co.dir + "/log", "ab") as log:
        co.process = subprocess.Popen([meshclient.PROGRAM, "serve", "--config", co.dir + "/coordinator.yaml"],
                                      stdout=out, stderr=log)


def await_start(co):
    end = time.time() + 20
    while time.time() < end:
        try:
            with socket.create_connection(("127.0.0.1", co.port), 5):
                return
        except OSError:
            time.sleep(0.003)
        if co.process.poll() is not None:
            break
    raise AssertionError("it does not start: " + co.log()[-800:])


def kill(co):
    code = co.process.poll()
    if code is not None:
        raise AssertionError("it ended by itself with %s: %s" % (code, co.log()[-800:]))
    co.stop(signal.SIGKILL)


class Watcher(threading.Thread):
    """An agent of the network that all are in, on a stream: a change it was told of is there for good.
    (A snapshot is what the coordinator has in memory, and may be ahead of the disk.)"""

    def __init__(self, agent):
        super().__init__(daemon=True)
        self.agent, self.told, self.go, self.parked = agent, {}, threading.Event(), threading.Event()

    def run(self):
        while True:
            self.go.wait()
            self.parked.clear()
            try:
                ws = self.agent.stream()
                while True:
                    self.hear(ws.receive(20))
            except (OSError, EOFError):
                pass
            self.go.clear()
            self.parked.set()

    def hear(self, message):
        for change in message.get("changes", []):
            if change["op"] == "put" and not change["peer"].get("device"):
                self.told[change["peer"]["agent_id"]] = True
            elif change["op"] == "remove":
                self.told[change["agent_id"]] = False

    def check(self, writers, there):
        """`there`: ids. Who was told of is there, or somebody has asked for its removal."""
        leaving = {t.id for w in writers for t in w.things if t.kind == "agent" and None in t.allowed()}
        for agent, lives in self.told.items():
            if lives and agent not in there and agent not in leaving:
                raise AssertionError("peers were told of agent %s, and it is not there" % agent)
            if not lives and agent in there and not any(agent == t.id and t.wishing for w in writers for t in w.things):
                raise AssertionError("peers were told that agent %s is gone, and it is there" % agent)
        self.told = {}


# ---- after a start --------------------------------------------------------------------------------------


def ask_some(writers, dice):
    """What was revoked opens nothing, what was given is good, who has no answer asks again and has its place."""
    from meshclient import Agent
    from writers import NOTHING
    everything = [(w, t) for w in writers for t in w.things]

    def pick(test, count=CHECKS):
        fit = [pair for pair in everything if test(pair[1])]
        return dice.sample(fit, min(count, len(fit)))

    def expect(writer, status, method, path, secret, what):
        got = writer.line.request(method, path, None, {"Authorization": "Bearer " + secret})
        if got[0] != status:
            raise AssertionError("%s: %s %s" % (what, *got))

    for w, t in pick(lambda t: t.kind == "agent" and t.state is NOTHING and t.secret):
        expect(w, 401, "GET", "/agents/%s/peers" % t.id, t.secret, "the token of an agent that was removed")
    for w, t in pick(lambda t: t.kind == "agent" and t.state is not NOTHING and t.secret):
        expect(w, 200, "GET", "/agents/%s/peers" % t.id, t.secret, "the token of agent " + t.name)
    for w, t in pick(lambda t: t.kind == "token" and t.secret and t.state is NOTHING):
        expect(w, 401, "GET", "/networks", t.secret, "a token that was revoked")
    for w, t in pick(lambda t: t.kind == "token" and t.secret and t.state is not NOTHING):
        expect(w, 200, "GET", "/networks", t.secret, "token " + t.name)
    for w, t in pick(lambda t: t.kind == "key" and t.secret and t.state and t.state["state"] != "valid"):
        status, answer = Agent(w.line, "late").try_register(t.secret)
        if status != 403:
            raise AssertionError("a key that is %s let somebody in: %s" % (t.state["state"], answer))
    for w, t in pick(lambda t: t.kind == "agent" and t.state is not NOTHING and not t.secret, 1000):
        status, answer = t.agent.try_register(t.link, advertised_routes=list(t.state["routes"]))
        if status != 200 or answer["agent_id"] != t.id:
            raise AssertionError("registering again: %s %s, was %s" % (status, answer, t.id))
        t.secret, t.addresses = answer["token"], answer["addresses"]


class Run:
    def __init__(self, co, kills, seed):
        self.co, self.kills, self.dice = co, kills, random.Random(seed)
        self.early = self.rounds = self.cuts = 0

    def prepare(self):
        from meshclient import Agent
        from writers import Writer, administer, listed
        co, shared = self.co, {}
        administer(co, "network create", name="gate", cidr="10.209.0.0/16", approve=True)
        keys = {}
        for name in ("default", "gate"):
            answer = administer(co, "key create", network=name, reusable=True, expires="never")[1]
            shared[name] = answer["link"].partition("#")[2].partition(".")[0]
        root = administer(co, "token create", name="root", role="admin")[1]
        watching = Agent(co, "watcher").register(shared["default"])
        shared["gateway"] = Agent(co, "gateway").register(shared["default"]).id
        self.known = {"agent": [watching.id, shared["gateway"]],
                      "token": [t["id"] for t in listed(co, "token list", "tokens")],
                      "user": [u["name"] for u in listed(co, "user list", "users")],
                      "key": [k["id"] for k in listed(co, "key list", "keys")]}
        self.watcher = Watcher(watching)
        self.writers = [Writer(co, i, root["secret"], shared, self.dice.random()) for i in range(WRITERS)]
        for thread in self.writers + [self.watcher]:
            thread.start()

    def threads(self):
        return self.writers + [self.watcher]

    def start(self):
        """Sometimes it is killed before it has started."""
        while self.dice.random() < EARLY and self.rounds < self.kills:
            launch(self.co)
            time.sleep(self.dice.random() * 0.06)
            kill(self.co)
            whole(self.co)
            self.early += 1
            self.rounds += 1
        launch(self.co)
        await_start(self.co)

    def judge(self):
        from writers import compare, seen
        found = seen(self.co)
        self.watcher.check(self.writers, {row[0] for row in found["agent"]})
        compare(self.writers, found, self.known)
        ask_some(self.writers, self.dice)

    def cut_off(self):
        """At times its connections to PostgreSQL are ended first: what they did then is known to nobody."""
        import meshclient
        if meshclient.POSTGRES and self.dice.random() < CUT:
            meshclient.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='%s'"
                            % self.co.database)
            self.cuts += 1
            time.sleep(self.dice.random() * LONGEST)

    def load(self):
        for thread in self.threads():
            thread.parked.clear()
            thread.go.set()
        time.sleep(self.dice.random() * LONGEST)
        self.cut_off()
        kill(self.co)
        for thread in self.threads():
            if not thread.parked.wait(30):
                raise AssertionError("a writer hangs")
        for writer in self.writers:
            if writer.failed:
                raise AssertionError(writer.failed)

    def all(self):
        launch(self.co)
        await_start(self.co)
        self.prepare()
        while self.rounds < self.kills:
            self.load()
            self.rounds += 1
            whole(self.co)
            self.start()
            self.judge()
        answered = sum(w.answered for w in self.writers)
        if answered < self.kills:
            raise AssertionError("only %d writes were answered: that is no load" % answered)
        code = self.co.stop()
        if code:
            raise AssertionError("exit code %d after SIGTERM: %s" % (code, self.co.log()[-500:]))
        return "%d kills (%d during a start), %d answered writes%s" % (
            self.rounds, self.early, answered, ", %d times cut off first" % self.cuts if self.cuts else "")


def first_starts(co, count, dice):
    """Killed while it makes its database, keys and certificate: the next start works, and its link too."""
    from meshclient import Agent
    for i in range(count):
        for _ in range(dice.randrange(1, 4)):
            launch(co)
            time.sleep(dice.random() * 0.05)
            kill(co)
            whole(co)
        launch(co)
        await_start(co)
        links = [link for link in co.read("out").split() if "/join#" in link]
        if links: # else whoever was killed had made the key and not yet printed it: that is its loss
            Agent(co, "first").register(links[-1].partition("#")[2].partition(".")[0])
        Agent(co, "second").register(co.key())
        if co.stop():
            raise AssertionError("it does not end: " + co.log()[-500:])
        shutil.rmtree(co.dir + "/state")
        open(co.dir + "/out", "w").close()
        if co.owns:
            import meshclient
            meshclient.psql("postgres", "DROP DATABASE %s WITH (FORCE)" % co.database)
            meshclient.psql("postgres", "CREATE DATABASE " + co.database)
    return "%d times" % count


# ---- restores -------------------------------------------------------------------------------------------


class Restores:
    """A restore is killed at random moments, mostly at one at which a name in the state directory appears or
    goes; where strace is, at one of the calls that do that. The next start has the old database or the restored one, whole, and the keys that belong to it, or
    says what is to be done; and no database that was kept is ever lost."""

    def __init__(self, co, kills, dice):
        self.co, self.kills, self.dice, self.made = co, kills, dice, 0
        self.state, self.kept, self.counts = co.dir + "/state", {}, dict.fromkeys(("old", "new", "refused", "fresh"), 0)

    def key(self):
        with open(self.state + "/server.key", "rb") as f:
            return f.read()

    def networks(self):
        return frozenset(n["name"] for n in json.loads(self.co.admin("network", "list", "--json"))["networks"])

    def stored(self):
        """The same of the database itself."""
        import meshclient
        if meshclient.POSTGRES:
            return frozenset(meshclient.psql(self.co.database, "SELECT name FROM networks").split())
        return frozenset(row[0] for row in query_sqlite(self.state + "/coordinator.db", ["SELECT name FROM networks"])[0])

    def prepare(self):
        """Two backups, of two servers."""
        self.backups = []
        for name in ("red", "blue"):
            launch(self.co)
            await_start(self.co)
            self.co.admin("network", "create", name, "--cidr", "10.208.0.0/24")
            self.co.admin("backup", "%s/%s" % (self.co.dir, name))
            self.backups.append((self.co.dir + "/" + name, (self.networks(), self.key())))
            self.now = self.backups[-1][1]
            self.co.stop()
            if name == "red":
                self.empty()

    def empty(self):
        shutil.rmtree(self.state)
        if self.co.owns:
            import meshclient
            meshclient.psql("postgres", "DROP DATABASE %s WITH (FORCE)" % self.co.database)
            meshclient.psql("postgres", "CREATE DATABASE " + self.co.database)

    def restore(self, backup, killed):
        import meshclient
        command = [meshclient.PROGRAM, "--config", self.co.dir + "/coordinator.yaml", "restore", backup]
        if not killed:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            return
        if self.dice.random() < 0.5 and shutil.which("strace"):
            call, most = self.dice.choice((("rename", 7), ("rename", 7), ("link", 2), ("unlink", 20)))
            inject = "%s:signal=KILL:when=%d" % (call, self.dice.randrange(1, most + 1))
            subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", "inject=" + inject] + command, timeout=60,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.time() + self.dice.random() * 0.2
        changes, names = self.dice.randrange(1, 24) if self.dice.random() < 0.8 else 1 << 30, None
        while changes and process.poll() is None and (changes < 1 << 29 or time.time() < end):
            seen = set(os.listdir(self.state)) if os.path.isdir(self.state) else set()
            changes, names = changes - (seen != names), seen
        process.kill()
        process.wait()

    def check_kept(self):
        """By inode, each that has been given a name of before stays what it is."""
        names = {n: os.stat(self.state + "/" + n).st_ino for n in os.listdir(self.state) if ".before-restore" in n}
        for name, inode in self.kept.items():
            if names.get(name) != inode:
                raise AssertionError("%s, which was kept, is gone or another" % name)
        self.kept = names

    def start(self, old, new, backup):
        """True: it serves, and the old or the new; else it said that the backup is to be restored once more."""
        launch(self.co)
        try:
            await_start(self.co)
        except AssertionError:
            if self.co.process.wait(20) != 1 or "restore the backup once more" not in self.co.log()[-600:]:
                raise
            self.co.process = None
            if old and self.stored() != new[0]:
                raise AssertionError("it refuses, and the database is not the restored one: %s" % self.stored())
            self.counts["refused"] += 1
            return False
        self.now = (self.networks(), self.key())
        if self.now not in (old, new):
            raise AssertionError("neither the old nor the new: %s, were %s and %s" % (self.now, old, new))
        self.counts["new" if self.now == new else "old"] += 1
        return True

    def fresh(self):
        """Onto a server that has nothing: what is begun there is no new mesh, unless nothing was done yet."""
        self.empty()
        os.mkdir(self.state, 0o700)
        self.kept = {}
        self.counts["fresh"] += 1
        backup, new = self.dice.choice(self.backups)
        self.restore(backup, True)
        begun = not self.co.owns and any(n.startswith("coordinator.db") for n in os.listdir(self.state))
        if begun and self.start(None, new, backup):
            self.co.stop()
        self.restore(backup, False)
        self.kept = {}
        self.check_kept()
        self.now = new

    def once(self):
        if self.dice.random() < 0.2:
            self.fresh()
        # What is there is in the log of SQLite too: whoever made it was killed.
        launch(self.co)
        await_start(self.co)
        self.made += 1
        self.co.admin("network", "create", "n%d" % self.made, "--cidr", "10.207.%d.0/24" % (self.made % 256))
        old = (self.networks(), self.key())
        kill(self.co)
        backup, new = next(b for b in self.backups if b[1][1] != old[1]) # the other server's
        self.restore(backup, True)
        self.check_kept()
        whole(self.co)
        if not self.start(old, new, backup):
            self.restore(backup, False)
            self.check_kept()
            if not self.start(None, new, backup):
                raise AssertionError("it refuses after a restore that was not killed")
        kill(self.co)

    def all(self):
        self.prepare()
        for _ in range(self.kills):
            self.once()
        if not self.counts["old"] or not self.counts["new"]:
            raise AssertionError("no kill came before or none after: %s" % self.counts)
        return "%d kills: %s" % (self.kills, ", ".join("%d %s" % (n, what) for what, n in self.counts.items()))


def case(name, function):
    import meshclient
    co = meshclient.Coordinator(LIMITS)
    try:
        said = function(co)
        print("ok durable: %s: %s" % (name, said), flush=True)
        return 0
    except Exception as why:
        keep = os.environ.get("WG_MESH_KEEP") and shutil.copytree(co.dir, os.environ["WG_MESH_KEEP"], dirs_exist_ok=True)
        line = why.__traceback__
        while line.tb_next and "tests/interop/" in line.tb_next.tb_frame.f_code.co_filename:
            line = line.tb_next
        print("not ok durable: %s: %s (line %d)%s" % (name, why or type(why).__name__, line.tb_lineno,
                                                    " state in %s" % keep if keep else ""), flush=True)
        return 1
    finally:
        if co.process:
            co.stop(signal.SIGKILL)
        co.close()


def on_database(label, kills, given):
    return (case("first starts killed at random moments, on %s (seed %d)" % (label, given.seed),
                 lambda co: first_starts(co, max(kills // 5, 1), random.Random(given.seed))) +
            case("SIGKILL at random moments under write load, on %s (seed %d)" % (label, given.seed),
                 lambda co: Run(co, kills, given.seed).all()) +
            case("restores killed at random moments, on %s (seed %d)" % (label, given.seed),
                 lambda co: Restores(co, 2 * kills, random.Random(given.seed)).all()))


def main():
    given, failed = options.parse_args(), 0
    os.environ.pop("WG_MESH_TEST_POSTGRES_SERVER", None)
    if "sqlite" in given.databases:
        failed += on_database("SQLite", given.kills or 40, given)
    if "postgres" in given.databases:
        if not shutil.which("psql"):
            print("skip durable on PostgreSQL: PostgreSQL is not installed")
            return 1 if failed else 0
        import meshclient
        from postgres import Server
        server = Server()
        try:
            meshclient.POSTGRES = server.url
            failed += on_database("PostgreSQL", given.kills or 20, given)
        finally:
            server.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
