#!/usr/bin/python3
"""Cases of agent.sh: what `join` asks of `wg-meshd --register`, answered by a real coordinator."""
import json, socket, subprocess, sys, threading
from meshclient import BUILD, Coordinator, b64, free_port
from nacl.bindings import randombytes

MESHD = BUILD + "/wg-meshd"
FAST = "relay: {embedded: false}\nlimits: {requests_per_address: 100000, requests_per_agent: 10000}\n"
cases = []


def case(name):
    def add(function):
        cases.append((name, function))
        return function
    return add


def equal(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError("%s: %r, not %r" % (what, seen, wanted))


class Host:
    """A host that would join: its key, and the link it was given."""

    def __init__(self, co, name, options=()):
        self.co, self.name = co, name
        self.private = randombytes(32)
        link = co.admin("key", "create", *options).strip()
        self.origin, _, secret = link.partition("/join#")
        self.key, _, self.pin = secret.partition(".")

    def ask(self, code=0, **changes):
        document = {"url": self.origin, "pin": self.pin, "join_key": self.key, "name": self.name,
                    "private_key": b64(self.private), "advertised_routes": [], "exit_node": False,
                    "tags": [], **changes}
        done = subprocess.run([MESHD, "--register"], input=json.dumps(document), capture_output=True,
                              text=True, timeout=60)
        for text in (done.stdout, done.stderr, self.co.log()):
            assert b64(self.private) not in text, "the private key was told"
        assert self.key not in done.stderr + self.co.log(), "the join key is in a log"
        equal(done.returncode, code, "exit code; " + done.stdout + done.stderr)
        return json.loads(done.stdout)

    def refused(self, code, words="", exit_code=1, **changes):
        answer = self.ask(exit_code, **changes)
        equal(answer["code"], code)
        assert words in answer["detail"], answer["detail"]
        return answer

    def join(self, **changes):
        answer = self.ask(**changes)
        self.id, self.token, self.server_key = answer["agent_id"], answer["token"], answer["server_key"]
        return answer

    def leave(self, code=0, **changes):
        return self.ask(code, **{**dict(deregister=True, agent_id=self.id, token=self.token,
                                        server_key=self.server_key), **changes})


def names(co):
    return sorted(a["name"] for a in json.loads(co.admin("agent", "list", "--json"))["agents"])


@case("registers, and again with the same key and link")
def _(co):
    host = Host(co, "laptop")
    first = host.join(advertised_routes=["192.168.7.0/24"], exit_node=True)
    equal(first["status"], 201)
    network = first["networks"][0]
    equal(network["name"], "default")
    assert network["addresses"][0].endswith("/16"), network
    equal(first["pins"], [host.pin])
    again = host.join()
    equal((again["status"], again["agent_id"]), (200, first["agent_id"]))
    equal(again["networks"], first["networks"])
    equal(names(co), ["laptop"])


@case("a preview registers nothing and uses up no key")
def _(co):
    host = Host(co, "laptop")
    shown = host.ask(preview=True)["networks"][0]
    equal(names(co), [])
    equal(host.join()["networks"][0]["cidr"], shown["cidr"])


@case("every refusal names the thing and the remedy, and leaves nothing behind")
def _(co):
    Host(co, "taken").join()
    host = Host(co, "taken")
    host.refused("name_taken", "--name")
    host.refused("name_reserved", "--name", name="any")
    host.refused("tag_not_allowed", "--tag", name="a", tags=["ops"])
    host.refused("join_key_unknown", "new link", name="a", join_key="A" * 22)
    host.refused("bad_input", "name", exit_code=2, name="A B")
    host.join(name="other")
    Host(co, "x").refused("join_key_used", "new link", join_key=host.key)
    equal(names(co), ["other", "taken"])


@case("joining a network that asks for approval says so, until it is given")
def _(co):
    co.admin("network", "create", "careful", "--cidr", "10.240.0.0/16", "--approve")
    host = Host(co, "laptop", ["--network", "careful"])
    waits = host.join()
    equal((waits["approved"], [n.get("approved") for n in waits["networks"]]), (False, [False]))
    equal(waits["peers"], [])
    equal([n.get("approved") for n in host.join()["networks"]], [False], "again, by the same link")
    co.admin("agent", "approve", "laptop")
    given = host.join()
    equal((given["approved"], [n.get("approved") for n in given["networks"]]), (True, [None]))
    # In a second network it is approved at once, in the first one it is as it was.
    second = Host(co, "tablet", ["--network", "careful"])
    second.join()
    third = Host(co, "tablet")
    third.private = second.private
    both = third.join()
    equal((both["approved"], {n["name"]: n.get("approved") for n in both["networks"]}), (True, {"default": None, "careful": False}))


@case("who was expired is told how to come back")
def _(co):
    host = Host(co, "laptop")
    host.join()
    co.admin("agent", "expire", "laptop")
    host.refused("join_key_used", "new link")
    fresh = Host(co, "laptop")
    fresh.private = host.private
    equal(fresh.join()["status"], 200)
    co.admin("agent", "expire", "laptop")
    answer = host.ask(1, deregister=True, agent_id=host.id, token=None, server_key=host.server_key)
    equal(answer["code"], "agent_expired")
    assert "new link" in answer["detail"], answer


@case("a server with another key than the link names gets nothing")
def _(co):
    host = Host(co, "laptop")
    other = ("B" if host.pin[0] == "A" else "A") + host.pin[1:]
    host.refused("pin_mismatch", "showed another key than the link names", pin=other)
    host.refused("untrusted", "cannot be trusted", pin=None)
    equal(names(co), [])


@case("a proof for another address of the coordinator is refused")
def _(co):
    host = Host(co, "laptop")
    host.refused("wrong_coordinator", "--public-url", url=host.origin.replace("127.0.0.1", "localhost"))
    equal(names(co), [])


@case("nobody there: exit code 4 and a sentence")
def _(co):
    host = Host(co, "laptop")
    host.refused("unreachable", "cannot be reached", exit_code=4, url="https://127.0.0.1:%d" % free_port())
    host.refused("unreachable", "no-such-host.invalid", exit_code=4, url="https://no-such-host.invalid:1")


class Cutter(threading.Thread):
    """Stands before the coordinator and breaks one connection, when the first long answer after the
    handshake comes back: that to a registration, which has been made by then."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.cuts = port, 0
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.up, args=(client, server), daemon=True).start()
            threading.Thread(target=self.down, args=(client, server), daemon=True).start()

    def up(self, client, server):
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass

    def down(self, client, server):
        passed = 0
        try:
            while data := server.recv(65536):
                passed += 1
                if self.cuts == 0 and passed > 2 and len(data) > 600:
                    self.cuts += 1
                    break
                client.sendall(data)
            for one in (client, server):
                one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@case("an answer that is lost on the way costs nothing")
def _(co):
    cutter = Cutter(co.port)
    port = cutter.listener.getsockname()[1]
    co.stop()
    with open(co.dir + "/coordinator.yaml", "a") as f:
        f.write("public_url: https://127.0.0.1:%d\n" % port)
    co.start()
    host = Host(co, "laptop")
    answer = host.join()
    equal(cutter.cuts, 1, "connections cut")
    equal(answer["status"], 200)  # the first one had registered
    equal(names(co), ["laptop"])


@case("leaves with its token, by proof without one, and where it is not known")
def _(co):
    host = Host(co, "laptop")
    host.join()
    equal(host.leave()["status"], 204)
    equal(names(co), [])
    equal(host.leave()["status"], 204)  # nothing to do
    host = Host(co, "tablet")
    host.join()
    equal(host.leave(token=None)["status"], 204)
    equal(names(co), [])
    host = Host(co, "phone")
    host.join()
    equal(host.leave(token="not.a.token")["status"], 204)
    equal(names(co), [])


@case("only the key's owner can leave by proof")
def _(co):
    host = Host(co, "laptop")
    host.join()
    host.private = randombytes(32)
    host.leave(1, token=None)
    equal(names(co), ["laptop"])


@case("leaving a coordinator that is away: exit code 4")
def _(co):
    host = Host(co, "laptop")
    host.join()
    co.stop()
    equal(host.leave(4)["code"], "unreachable")


@case("a peer's name that is no UTF-8 is a name that nobody has")
def _(co):
    for command in ("ping", "explain"):
        done = subprocess.run([BUILD + "/wg-mesh", command, "nomesh0", b"\xff", "--run-dir", co.dir, "--state", co.dir],
                              capture_output=True, text=True, timeout=60)
        equal(done.returncode, 3, done.stderr)


def main():
    failed = 0
    for name, function in cases:
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            continue
        co = Coordinator(FAST)
        try:
            co.start()
            function(co)
            print("ok agent: " + name, flush=True)
        except Exception as why:
            failed += 1
            line = why.__traceback__
            while line.tb_next and line.tb_next.tb_frame.f_code.co_filename == __file__:
                line = line.tb_next
            print("not ok agent: %s: %s (line %d)" % (name, why or type(why).__name__, line.tb_lineno), flush=True)
        finally:
            co.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
