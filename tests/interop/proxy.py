"""Between a coordinator and PostgreSQL: a commit that is lost on its way, or its answer."""
import contextlib, socket, threading


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.marked = self.deaf = False

    def end(self):
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


class Proxy:
    """On a port of its own; what comes there goes to the other, and back."""

    def __init__(self, to):
        self.to, self.open, self.mark = to, True, None
        self.lost = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def lose_commit(self, mark, instead=None):
        """Of the next transaction that has these bytes. With `instead`, which is called, COMMIT does not arrive;
        without it only its answer is lost. The connection ends, and nobody comes through before `open` is set."""
        self.lost.clear()
        self.mark, self.instead = mark, instead

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                try:
                    server = socket.create_connection(("127.0.0.1", self.to)) if self.open else None
                except OSError:
                    server = None
                if not server:
                    client.close()
                    continue
                connection = Connection(client, server)
                threading.Thread(target=self.pump, args=(connection, client, server, self.asked), daemon=True).start()
                threading.Thread(target=self.pump, args=(connection, server, client, self.answered), daemon=True).start()

    def pump(self, connection, source, sink, passes):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data or not passes(connection, data):
                    break
                sink.sendall(data)
        connection.end()

    def asked(self, connection, data):
        connection.marked = connection.marked or bool(self.mark and self.mark in data)
        if not connection.marked or b"COMMIT\0" not in data:
            return True
        self.open, self.mark = False, None
        if not self.instead:
            connection.deaf = True
            return True
        self.instead()
        self.lost.set()
        return False

    def answered(self, connection, data):
        if connection.deaf:
            self.lost.set()
        return not connection.deaf

    def close(self):
        self.open = False
        self.listener.close()
