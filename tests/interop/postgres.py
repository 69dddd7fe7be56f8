#!/usr/bin/python3
"""Cases of postgres.sh. With words: only the cases whose name has one of them."""
import collections, contextlib, glob, json, os, pwd, re, shutil, socket, sqlite3, subprocess, sys, tempfile


class Server:
    """A PostgreSQL server; it will not run as root, so that it runs as the user that Debian makes for it."""

    def __init__(self):
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.dir = tempfile.mkdtemp(prefix="wg-mesh-postgres-test.")
        if os.geteuid() == 0:
            shutil.chown(self.dir, self.user)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = "postgres://%s@127.0.0.1:%d" % (self.user, self.port)
        self.run("initdb", "-D", self.dir + "/data", "-A", "trust", "-U", self.user)
        self.start()

    def run(self, program, *words):
        command = [self.bin + "/" + program, *words]
        if os.geteuid() == 0:
            command = ["runuser", "-u", self.user, "--", *command]
        with open(self.dir + "/out", "ab") as out:
            subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=True)

    def start(self):
        self.run("pg_ctl", "-D", self.dir + "/data", "-l", self.dir + "/log", "-w", "-o",
                 "-p %d -k %s -c listen_addresses=127.0.0.1 -c max_connections=200" % (self.port, self.dir), "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", self.dir + "/data", "-m", mode, "-w", "stop")

    def close(self):
        try:
            self.stop("immediate")
        except subprocess.CalledProcessError:
            pass
        shutil.rmtree(self.dir)


cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


NOT_MOVED = {"instances", "bulletins", "schema_version"}  # of coordinators at work, and of the database itself


def tables(url):
    """All rows of all tables, as JSON would have them: by name, in no order, but without the audit's own numbers."""
    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(url[len("sqlite:"):])) as database:
            database.row_factory = sqlite3.Row
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            rows = {name: [dict(row) for row in database.execute("SELECT * FROM " + name)] for name in names}
        for row in (row for some in rows.values() for row in some):
            row.update({k: "\\x" + v.hex() for k, v in row.items() if isinstance(v, bytes)})
    else:
        def ask(sql):
            return subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, url], capture_output=True, text=True,
                                  timeout=20, check=True).stdout.splitlines()
        names = ask("SELECT table_name FROM information_schema.tables WHERE table_schema='public'")
        rows = {name: [json.loads(line) for line in ask("SELECT row_to_json(t) FROM %s t" % name)] for name in names}
    for row in rows["audit"]:
        del row["id"]
    return {name: collections.Counter(json.dumps(row, sort_keys=True) for row in some)
            for name, some in rows.items() if name not in NOT_MOVED and not name.startswith("sqlite_")}


def fill(co):
    """Something in every table."""
    import meshclient
    from rest import PASSWORD, login
    key = co.key("--reusable", "--tag", "web")
    moved = [meshclient.Agent(co, "m%d" % i).register(key, advertised_routes=["192.168.%d.0/24" % i]) for i in range(3)]
    co.admin("agent", "remove", "m2")
    co.admin("route", "approve", "m1", "192.168.1.0/24")
    co.admin("user", "add", "ann", "--role", "admin", stdin=PASSWORD + "\n")
    co.admin("token", "create", "--user", "ann", "--name", "f\u00fcr sp\u00e4ter")
    login(co, "ann")
    co.admin("relay", "add", "https://relay.example:8444", "--region", "fra", "--stun", "relay.example:3478")
    co.admin("peer", "add", "phone", "--via", "m0", "--endpoint", "m0.example:51820")
    with open(co.dir + "/policy", "w") as f:
        f.write("version: 1\ndefault: allow # 'quoted' \\ \u00e4\n")
    co.admin("policy", "apply", co.dir + "/policy")
    return key, moved


@case("migrate moves everything to PostgreSQL and back, and says how much")
def _(server):
    import meshclient
    from coordinator import FAST, agents, equal
    there, elsewhere = server.url + "/" + meshclient.new_database(), "/moved.db"
    postgres, meshclient.POSTGRES = meshclient.POSTGRES, None
    co = meshclient.Coordinator(FAST).start()
    try:
        key, moved = fill(co)
        assert "in use" in co.admin("migrate", "--to", there, code=1)
        of = "sqlite:" + co.dir + "/state/coordinator.db"
        for step, to in enumerate((there, "sqlite:" + co.dir + elsewhere)):
            before = agents(co), co.admin("key", "list"), co.admin("route", "list"), co.admin("network", "list")
            lines = len(co.admin("audit").splitlines())
            co.stop()
            had = tables(of)
            said = co.admin("migrate", "--to", to)
            equal({name: int(count) for name, count in re.findall(r"^(\w+): (\d+)$", said, re.M)},
                  {name: sum(rows.values()) for name, rows in had.items()}, "what it says")
            equal([name for name, rows in had.items() if not rows], [], "tables with nothing in them")
            equal(len(had), 13, "tables")
            for now, moves in ((tables(of), 0), (tables(to), 1)):
                equal(sorted(now), sorted(had))
                new = now["audit"] - had["audit"]
                equal((sum(new.values()), "database-migrated" in str(new)), (moves, bool(moves)), "that it was moved")
                now["audit"] -= new
                for name in had:
                    equal(now[name], had[name], name)
            of = to
            equal(co.admin("migrate", "--to", to, code=1).count("not empty"), 1)
            with open(co.dir + "/coordinator.yaml") as f:
                config = "".join(line for line in f if not line.startswith("db:"))
            with open(co.dir + "/coordinator.yaml", "w") as f:
                f.write(config + "db: %s\n" % to)
            co.start()
            after = agents(co), co.admin("key", "list"), co.admin("route", "list"), co.admin("network", "list")
            equal(sorted(map(str, after[0])), sorted(map(str, before[0])), "step %d" % step)
            equal([sorted(t.split("\n")) for t in after[1:]], [sorted(t.split("\n")) for t in before[1:]])
            equal(len(co.admin("audit").splitlines()), lines + 1)
            equal(moved[0].ask("GET", "/peers")[0], 200) # the token is as good as it was
            meshclient.Agent(co, "new%d" % step).register(key)
            co.admin("agent", "remove", "new%d" % step)
            co.admin("agent", "list")
    finally:
        meshclient.POSTGRES = postgres
        co.close()


def run_cases(server):
    failed = 0
    for name, function in cases:
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        try:
            function(server)
            print("ok postgres: " + name, flush=True)
        except Exception as why:
            failed += 1
            line = why.__traceback__
            while line.tb_next and line.tb_next.tb_frame.f_code.co_filename == __file__:
                line = line.tb_next
            print("not ok postgres: %s: %s (line %d)" % (name, why or type(why).__name__, line.tb_lineno), flush=True)
    return failed


def run(label, *command):
    """A program that tells of its cases itself."""
    return subprocess.run(command, stdin=subprocess.DEVNULL).returncode


def main():
    server = Server()
    try:
        os.environ["WG_MESH_TEST_POSTGRES_SERVER"] = server.url
        import meshclient
        os.environ["WG_MESH_TEST_POSTGRES"] = server.url + "/" + meshclient.new_database()
        failed = 0
        if not sys.argv[1:] or "store" in sys.argv[1:]:
            failed |= run("store", "sh", "tests/unit/run.sh", "postgres", meshclient.BUILD + "/unit", "test_store")
        failed += run_cases(server)
        failed |= run("coordinator", "/usr/bin/python3", "tests/interop/coordinator.py", *sys.argv[1:])
        return 1 if failed else 0
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
