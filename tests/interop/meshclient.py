"""A coordinator under test and a small client of it: HTTP, proofs and WebSocket frames by hand, with
nothing but Python's own library and PyNaCl. Written from coordinator/README.md alone."""
import base64, contextlib, hashlib, hmac, http.client, itertools, json, os, shutil, signal, socket, sqlite3, ssl, struct
import subprocess, tempfile, time
from nacl.bindings import crypto_box_beforenm, crypto_scalarmult_base, randombytes

BUILD = os.environ.get("WG_MESH_BUILD", "build/release")
PROGRAM = BUILD + "/wg-mesh-coordinator"
TLS = ssl._create_unverified_context()
POSTGRES = os.environ.get("WG_MESH_TEST_POSTGRES_SERVER")  # postgres://USER@HOST:PORT, where tests make databases
databases = itertools.count()


def psql(database, sql):
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, POSTGRES + "/" + database],
                          capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise RuntimeError("%s: %s" % (sql, done.stderr))
    return done.stdout


def new_database():
    name = "mesh_%d_%d" % (os.getpid(), next(databases))
    psql("postgres", "CREATE DATABASE " + name)
    return name


def b64(data):
    return base64.b64encode(data).decode()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(test, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        result = test()
        if result:
            return result
        time.sleep(0.05)
    return test()


class Coordinator:
    check = None  # called with each answer: what it is to, and what it is

    def __init__(self, config="", options=(), database=None, wrapper=()):
        self.dir = tempfile.mkdtemp(prefix="wg-mesh-coordinator-test.")
        self.port = free_port()
        self.origin = "https://127.0.0.1:%d" % self.port
        self.options, self.wrapper = list(options), list(wrapper)
        self.owns = POSTGRES and not database
        self.database = database or (POSTGRES and new_database())
        if POSTGRES:
            config += "db: %s/%s\n" % (POSTGRES, self.database)
        with open(self.dir + "/coordinator.yaml", "w") as f:
            f.write("listen: 127.0.0.1:%d\nstate: %s/state\nrun_dir: %s/run\n%s"
                    % (self.port, self.dir, self.dir, config))
        self.process = None
        self.output = ""

    def start(self):
        with open(self.dir + "/out", "ab") as out, open(self.dir + "/log", "ab") as log:
            self.process = subprocess.Popen(self.wrapper + [PROGRAM, "serve", "--config", self.dir + "/coordinator.yaml",
                                             "--verbose"] + self.options, stdout=out, stderr=log)
        if not wait_until(self.ready, 20):
            raise RuntimeError("the coordinator does not start: " + self.log())
        return self

    def ready(self):
        try:
            return self.request("GET", "/healthz", root=True)[0] == 200
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            code = self.process.wait(20)
            self.process = None
            return code

    def close(self):
        self.stop()
        shutil.rmtree(self.dir)
        if self.owns:
            psql("postgres", "DROP DATABASE %s WITH (FORCE)" % self.database)

    @contextlib.contextmanager
    def no_commits(self):
        """Whoever writes to the database waits meanwhile."""
        if POSTGRES:
            holder = subprocess.Popen(["psql", "-XAtq", POSTGRES + "/" + self.database], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            holder.stdin.write("BEGIN; LOCK TABLE agents, networks, keys, relays, audit IN EXCLUSIVE MODE; SELECT 'held';\n")
            holder.stdin.flush()
            held = holder.stdout.readline()
            end = holder.communicate
        else:
            database = sqlite3.connect(self.dir + "/state/coordinator.db", isolation_level=None)
            held = database.execute("BEGIN IMMEDIATE")
            end = database.close
        try:
            if not held:
                raise RuntimeError("the database was not to be had")
            yield
        finally:
            end()

    def meta(self, key):
        """Bytes that the database has under this key."""
        if POSTGRES:
            return bytes.fromhex(psql(self.database, "SELECT encode(value, 'hex') FROM meta WHERE key='%s'" % key).strip())
        database = sqlite3.connect(self.dir + "/state/coordinator.db")
        try:
            return database.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()[0]
        finally:
            database.close()

    def execute(self, statement):
        """On the database, while nobody is serving."""
        if POSTGRES:
            psql(self.database, statement)
            return
        with sqlite3.connect(self.dir + "/state/coordinator.db") as database:
            database.execute(statement)
        database.close()

    def insert(self, table, columns, rows):
        """Rows of numbers, names and public keys (bytes) into the database, while nobody is serving."""
        def literal(value):
            if isinstance(value, bytes):
                return ("'\\x%s'" if POSTGRES else "X'%s'") % value.hex()
            return "'%s'" % value if isinstance(value, str) else str(value)
        for at in range(0, len(rows), 500):
            values = ",".join("(%s)" % ",".join(map(literal, row)) for row in rows[at:at + 500])
            statement = "INSERT INTO %s (%s) VALUES %s" % (table, columns, values)
            self.execute(statement)

    def read(self, name):
        with open(self.dir + "/" + name) as f:
            return f.read()

    def log(self):
        return self.read("log")

    def admin(self, *words, code=0, stdin=""):
        done = subprocess.run([PROGRAM, "--config", self.dir + "/coordinator.yaml", *words],
                              capture_output=True, text=True, timeout=20, input=stdin)
        if code is not None and done.returncode != code:
            raise RuntimeError("%s: exit %d: %s" % (words, done.returncode, done.stderr))
        return done.stdout if code == 0 else done.stderr

    def key(self, *options):
        return self.admin("key", "create", *options).strip().partition("#")[2].partition(".")[0]

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=TLS, timeout=20)

    def request(self, method, path, body=None, headers={}, root=False):
        """Status and what was answered, as JSON where it is."""
        connection = self.connect()
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            connection.request(method, path if root else "/api/v1" + path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            kind = answer.getheader("Content-Type") or ""
            if Coordinator.check and method != "HEAD":
                Coordinator.check(self, method, path if root else "/api/v1" + path, answer.status, kind, text)
            return answer.status, json.loads(text) if "json" in kind and text else text
        finally:
            connection.close()


class WrongClock:
    """A wall clock that is off by some seconds, for the coordinators that have its `wrapper`; set() changes it while they run."""

    def __init__(self, seconds):
        self.dir = tempfile.mkdtemp(prefix="wg-mesh-wrong-clock.")
        library = self.dir + "/wrong_clock.so"
        subprocess.run([*os.environ.get("CC", "cc").split(), "-shared", "-fPIC", "-o", library, "tests/interop/wrong_clock.c"], check=True)
        self.set(seconds)
        # What ASan says of a library that comes before its own.
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.wrapper = ["env", "LD_PRELOAD=" + library, "WG_MESH_TEST_CLOCK=%s/off_by" % self.dir, "ASAN_OPTIONS=" + asan]

    def set(self, seconds):
        with open(self.dir + "/new", "w") as f:
            f.write(str(seconds))
        os.rename(self.dir + "/new", self.dir + "/off_by")

    def close(self):
        shutil.rmtree(self.dir)


class Line:
    """What Agent takes for a coordinator: requests on one connection, so as many a second as it can answer."""

    def __init__(self, co):
        self.co, self.origin, self.connection = co, co.origin, None

    def request(self, method, path, body=None, headers={}):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            if not self.connection:
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.co.port, context=TLS, timeout=20)
            self.connection.request(method, "/api/v1" + path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        return answer.status, json.loads(text) if text else None

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None


class Agent:
    def __init__(self, coordinator, name):
        self.co, self.name = coordinator, name
        self.private = randombytes(32)
        self.public = crypto_scalarmult_base(self.private)
        self.id = self.token = self.addresses = None

    def challenge(self, public=None):
        return self.co.request("POST", "/agents/challenge", {"public_key": b64(public or self.public)})[1]

    def proof(self, given, body, private=None, server_key=None):
        shared = crypto_box_beforenm(server_key or base64.b64decode(given["server_key"]), private or self.private)
        message = b"wg-mesh register 1\0" + base64.b64decode(given["challenge"]) + hashlib.sha256(body).digest()
        return "Proof " + b64(hmac.digest(shared, message, "sha512")[:32])

    def body(self, given, key, **changes):
        return {**{"coordinator": self.co.origin, "public_key": b64(self.public), "name": self.name,
                   "endpoint": None, "nat_type": "unknown", "capabilities": ["sync"], "advertised_routes": [],
                   "join_key": key, "challenge": given["challenge"]}, **changes}

    def try_register(self, key, given=None, headers=None, **changes):
        given = given or self.challenge()
        body = json.dumps(self.body(given, key, **changes)).encode()
        if headers is None:
            headers = {"Authorization": self.proof(given, body)}
        return self.co.request("POST", "/agents/register", body, headers)

    def register(self, key, **changes):
        status, answer = self.try_register(key, **changes)
        if status not in (200, 201):
            raise RuntimeError("%s: %s" % (self.name, answer))
        self.id, self.token, self.addresses = answer["agent_id"], answer["token"], answer["addresses"]
        return self

    def bearer(self):
        return {"Authorization": "Bearer " + self.token}

    def ask(self, method, what, body=None):
        return self.co.request(method, "/agents/%s%s" % (self.id, what), body, self.bearer())

    def stream(self, hello=True, epoch=None, revision=0, source=None):
        ws = Ws(self.co, "/api/v1/agents/%s/sync" % self.id, self.token, source=source)
        if hello:
            ws.send({"type": "hello", "version": 1, "epoch": epoch, "revision": revision})
        return ws


def rotate(agent):
    """A new key for it, at the coordinator where it is."""
    given, new = agent.challenge(), Agent(agent.co, "new")
    body = json.dumps({"coordinator": agent.co.origin, "challenge": given["challenge"], "public_key": b64(new.public)}).encode()
    headers = {"Authorization": agent.proof(given, body), "WG-Mesh-New-Proof": agent.proof(given, body, private=new.private)}
    status, answer = agent.co.request("POST", "/agents/%s/key" % agent.id, body, headers)
    if status != 200:
        raise RuntimeError("%s: %s" % (agent.name, answer))
    agent.private, agent.public = new.private, new.public
    status, answer = agent.ask("GET", "/peers")
    if (status, answer.get("code")) != (401, "token_expired"):
        raise RuntimeError("%s: a token of the old key is good: %s" % (agent.name, answer))
    given = agent.challenge()
    body = json.dumps({"coordinator": agent.co.origin, "challenge": given["challenge"]}).encode()
    status, answer = agent.co.request("POST", "/agents/%s/token" % agent.id, body, {"Authorization": agent.proof(given, body)})
    agent.token = answer["token"]


class Ws:
    """RFC 6455, as much of it as a test needs."""

    def __init__(self, coordinator, path, token, receive_buffer=None, headers=None, source=None):
        headers = headers or {"Authorization": "Bearer %s" % token}
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(20)
        if source:
            raw.bind((source, 0))
        raw.connect(("127.0.0.1", coordinator.port))
        self.sock = TLS.wrap_socket(raw)
        self.sock.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
                           % (path, "".join("%s: %s\r\n" % item for item in headers.items()))).encode())
        self.buffer = b""
        head = self.until(b"\r\n\r\n")
        self.status = int(head.split()[1])
        if self.status == 101 and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in head:
            raise RuntimeError("wrong Sec-WebSocket-Accept")

    def until(self, mark):
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def take(self, count):
        while len(self.buffer) < count:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def frame(self, opcode, payload, fin=0x80, masked=True, length=None):
        mask = b"\1\2\3\4"
        size = len(payload) if length is None else length
        head = bytes([fin | opcode])
        bit = 0x80 if masked else 0
        if size < 126:
            head += bytes([bit | size])
        elif size < 65536:
            head += bytes([bit | 126]) + struct.pack("!H", size)
        else:
            head += bytes([bit | 127]) + struct.pack("!Q", size)
        if masked:
            repeated = mask * (len(payload) // 4 + 1)
            payload = mask + bytes(a ^ b for a, b in zip(payload, repeated))
        self.sock.sendall(head + payload)

    def send(self, message):
        self.frame(1, (message if isinstance(message, str) else json.dumps(message)).encode())

    def receive(self, seconds=10):
        """The next message; EOFError at the end. Pings are answered."""
        end = time.time() + seconds
        while True:
            self.sock.settimeout(max(0.05, end - time.time()))
            first, second = self.take(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", self.take(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", self.take(8))[0]
            payload = self.take(size)
            if first & 0xF == 1:
                return json.loads(payload)
            if first & 0xF == 8:
                raise EOFError
            if first & 0xF == 9:
                self.frame(10, payload)

    def find(self, test, seconds=10):
        """The next message, or change inside a delta, that fits; None where none came in time."""
        end = time.time() + seconds
        try:
            while time.time() < end:
                message = self.receive(max(0.05, end - time.time()))
                for item in [message] + message.get("changes", []):
                    if test(item):
                        return item
        except (socket.timeout, EOFError):
            pass
        return None

    def ended(self, seconds=10):
        end = time.time() + seconds
        try:
            while time.time() < end:
                self.receive(max(0.05, end - time.time()))
        except EOFError:
            return True
        except OSError as why:
            return not isinstance(why, socket.timeout)
        return False

    def close(self):
        self.sock.close()
