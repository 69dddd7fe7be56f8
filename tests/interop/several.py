"""Cases of postgres.sh: PostgreSQL that goes away, and several coordinators on one database."""
import json, os, sys, threading, time
import meshclient
from meshclient import Agent, Coordinator, wait_until
from coordinator import FAST, agents, equal, refused

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


@case("PostgreSQL away: reads go on, writes are refused with a reason, patches arrive, and all is well by itself")
def _(server):
    co = Coordinator(FAST).start()
    try:
        key = co.key("--reusable")
        a, b = Agent(co, "a").register(key), Agent(co, "b").register(key)
        stream = b.stream()
        stream.receive()
        server.stop("immediate")
        began = time.time()
        try:
            late = Agent(co, "late")
            registering = meanwhile(late.try_register, key)  # nobody has noticed yet
            equal(a.ask("GET", "/peers")[0], 200)
            equal(len(agents(co)), 3)
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
            time.sleep(max(0, began + AWAY - time.time()))
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


def run(server, words):
    failed = 0
    for name, function in cases:
        if words and words != ["several"] and not any(word in name for word in words):
            continue
        try:
            function(server)
            print("ok several: " + name, flush=True)
        except Exception as why:
            failed += 1
            line = why.__traceback__
            while line.tb_next and "several.py" in line.tb_next.tb_frame.f_code.co_filename:
                line = line.tb_next
            print("not ok several: %s: %s (line %d)" % (name, why or type(why).__name__, line.tb_lineno), flush=True)
    return failed
