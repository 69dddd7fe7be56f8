#!/usr/bin/env python3
"""STUN client of the test of our server, written from RFC 8489 and 5780 alone.

usage: stun_client.py HOST PORT COMMAND
Prints one line for what the command heard; "silence" after half a second without an answer."""
import os
import socket
import struct
import sys

COOKIE = 0x2112A442


def request(kind=1, attributes=b""):
    return struct.pack(">HHI", kind, len(attributes), COOKIE) + os.urandom(12) + attributes


def attribute(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def endpoint(value, mask):
    family, port = value[1], struct.unpack(">H", value[2:4])[0]
    address = value[4:]
    if mask:
        port ^= struct.unpack(">H", mask[:2])[0]
        address = bytes(a ^ b for a, b in zip(address, mask))
    text = socket.inet_ntop(socket.AF_INET if family == 1 else socket.AF_INET6, address)
    return f"{text}:{port}" if family == 1 else f"[{text}]:{port}"


def parse(data):
    kind, length, cookie = struct.unpack(">HHI", data[:8])
    assert cookie == COOKIE and len(data) == 20 + length
    found, at = {}, 20
    while at < len(data):
        name, size = struct.unpack(">HH", data[at:at + 4])
        found[name] = data[at + 4:at + 4 + size]
        at += 4 + size + -size % 4
    return kind, found


def ask(sock, to, message):
    """What came back to `message`, and from where; None: silence."""
    sock.sendto(message, to)
    try:
        data, source = sock.recvfrom(2000)
    except socket.timeout:
        return None
    assert data[8:20] == message[8:20], "another transaction"
    return *parse(data), source, data[4:20]


def describe(sock, to, message):
    heard = ask(sock, to, message)
    if not heard:
        return "silence"
    kind, found, source, mask = heard
    if kind == 0x111:
        code = found[0x0009][2] * 100 + found[0x0009][3]
        return f"error {code} unknown {found[0x000A].hex()}"
    mine = "self" if endpoint(found[0x0020], mask).endswith(f":{sock.getsockname()[1]}") else "other"
    words = [mine, "from", f"{source[0]}:{source[1]}", "origin", endpoint(found[0x802B], None)]
    if 0x802C in found:
        words += ["other", endpoint(found[0x802C], None)]
    return " ".join(words)


def flood(sock, to):
    """How many of 1000 requests at once are answered."""
    for _ in range(1000):
        sock.sendto(request(), to)
    answers = 0
    try:
        while sock.recv(2000):
            answers += 1
    except socket.timeout:
        pass
    return "limited" if 0 < answers < 700 else f"{answers} answers"


def main():
    host, port, command = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
    sock.settimeout(0.5)
    messages = {
        "bind": request(),
        "change-port": request(1, attribute(3, b"\0\0\0\2")),
        "change-ip": request(1, attribute(3, b"\0\0\0\4")),
        "change-both": request(1, attribute(3, b"\0\0\0\6")),
        "unknown": request(1, attribute(0x7001, b"x")),
        "indication": request(0x11),
        "garbage": b"GET / HTTP/1.1\r\n\r\n",
        "cut": request(1, attribute(3, b"\0\0\0\2"))[:-1],
    }
    if command == "flood":
        print(flood(sock, (host, port)))
    else:
        print(describe(sock, (host, port), messages[command]))


main()
