#!/usr/bin/env python3
"""evil.py CERT KEY PORT DIR - a coordinator that has turned evil: speaks the protocol well enough to
be joined (any key, any proof) and then sends what it is told. A file DIR/frame-N.json (N counts from
1) is sent, as one text frame and byte for byte, to every connected agent as soon as it appears.
DIR/network.json, if there, replaces the network a registration answers with. What agents send is
appended to DIR/heard.
"""
import base64
import hashlib
import json
import os
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

cert, key, port, work = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
server_key = base64.b64encode(hashlib.sha256(b"evil").digest()[:31] + b"\0").decode()
network = {"id": "net1", "name": "default", "cidr": "10.99.0.0/16", "cidr6": None, "addresses": ["10.99.0.2/16"]}
relays = [{"region": "default", "url": None, "key": None, "stun": []}]


def the_network():
    try:
        with open(os.path.join(work, "network.json")) as file:
            return json.load(file)
    except FileNotFoundError:
        return network


def frame(payload, opcode=1):
    head = bytes([0x80 | opcode])
    if len(payload) < 126:
        head += bytes([len(payload)])
    elif len(payload) < 65536:
        head += bytes([126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([127]) + struct.pack(">Q", len(payload))
    return head + payload


class Evil(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/challenge"):
            expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
            self.answer(200, {"challenge": base64.b64encode(os.urandom(32)).decode(), "server_key": server_key,
                              "expires_at": expires})
        elif self.path.endswith("/register"):
            told = json.loads(body)
            if told.get("preview"):
                self.answer(200, {"networks": [the_network()]})
                return
            self.answer(201, {"agent_id": "agent1", "token": "t" * 40, "expires_in": 86400, "network_id": "net1",
                              "addresses": the_network()["addresses"], "networks": [the_network()],
                              "relays": relays, "server_key": server_key, "name": told.get("name")})
        else:
            self.answer(200, {"token": "t" * 40, "expires_in": 86400})

    do_PUT = do_POST

    def do_DELETE(self):
        self.answer(200, {})

    def do_GET(self):
        if "Upgrade" not in self.headers.get("Connection", ""):
            self.answer(200, {"peers": []})
            return
        accept = base64.b64encode(hashlib.sha1(
            (self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        self.wfile.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n" % accept).encode())
        self.wfile.flush()
        threading.Thread(target=self.listen, daemon=True).start()
        sent = 0
        while True:
            name = os.path.join(work, "frame-%d.json" % (sent + 1))
            if os.path.exists(name):
                with open(name, "rb") as file:
                    self.wfile.write(frame(file.read()))
                self.wfile.flush()
                sent += 1
            else:
                time.sleep(0.05)

    def listen(self):
        try:
            while True:
                first, second = self.rfile.read(2)
                size = second & 127
                if size == 126:
                    size = struct.unpack(">H", self.rfile.read(2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", self.rfile.read(8))[0]
                mask = self.rfile.read(4)
                data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(size)))
                if first & 15 == 1:
                    with open(os.path.join(work, "heard"), "ab") as file:
                        file.write(data + b"\n")
                elif first & 15 == 9:
                    self.wfile.write(frame(data, 10))
                    self.wfile.flush()
        except (OSError, ValueError):
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        try:
            super().finish_request(request, client_address)
        except OSError:
            pass


server = Server(("0.0.0.0", port), Evil)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
