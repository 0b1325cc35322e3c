"""Both ends of a WebSocket (RFC 6455), enough for a test: `serve ADDRESS PORT` echoes text frames,
`talk ADDRESS PORT COUNT` sends some, then `hold` waits until the connection ends."""

import base64
import hashlib
import os
import socket
import struct
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def read_head(stream):
    lines = []
    while True:
        line = stream.readline()
        if line in (b"\r\n", b""):
            return lines
        lines.append(line.rstrip(b"\r\n"))


def field(lines, name):
    for line in lines[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""


def read_frame(stream):
    head = stream.read(2)
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    if length == 126:
        length = struct.unpack("!H", stream.read(2))[0]
    mask = stream.read(4) if head[1] & 0x80 else b"\0\0\0\0"
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(length)))


def frame(payload, masked):
    mask = os.urandom(4) if masked else b""
    size = len(payload)
    head = bytes([0x81]) + (
        bytes([size | (0x80 if masked else 0)])
        if size < 126
        else bytes([126 | (0x80 if masked else 0)]) + struct.pack("!H", size)
    )
    if masked:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + mask + payload


def serve(address, port):
    listener = socket.create_server((address, port), family=family(address))
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        stream = connection.makefile("rb")
        key = field(read_head(stream), b"sec-websocket-key")
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key) + b"\r\n\r\n"
        )
        while (payload := read_frame(stream)) is not None:
            connection.sendall(frame(payload, False))
        connection.close()


def talk(address, port, count):
    connection = socket.create_connection((address, port), 10)
    key = base64.b64encode(os.urandom(16))
    # The first frame does not wait for the answer.
    connection.sendall(
        b"GET /ws HTTP/1.1\r\nHost: web\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n" + frame(b"0", True)
    )
    stream = connection.makefile("rb")
    head = read_head(stream)
    print(head[0].decode(), flush=True)
    if not head[0].startswith(b"HTTP/1.1 101"):
        return
    assert field(head, b"sec-websocket-accept") == accept_key(key)
    assert read_frame(stream) == b"0"
    for i in range(1, count):
        payload = b"%d" % i * 300
        connection.sendall(frame(payload, True))
        assert read_frame(stream) == payload
    print("echoed", count, flush=True)
    connection.settimeout(20)
    try:
        print("ended" if stream.read(1) == b"" else "bytes", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    talk(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
