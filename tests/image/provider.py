"""Cloudflare's place in the image test: a name server on 127.0.0.1 that knows `provider.test`, a mint at port 8787."""

import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = b"\x08provider\x04test\x00"
TYPE_A = struct.pack(">HH", 1, 1)
ICE_SERVER = {"urls": ["turn:turn.example.com:3478?transport=udp"], "username": "u", "credential": "c"}


def answer(query: bytes) -> bytes:
    """Our address for the one name, no such name for others; no answer to anything but A."""
    end = query.index(b"\x00", 12) + 1
    question = query[12 : end + 4]
    known = question[:-4] == NAME
    found = known and question[-4:] == TYPE_A
    head = query[:2] + struct.pack(">HHHHH", 0x8580 if known else 0x8583, 1, found, 0, 0)
    # A pointer to the question's name, type and class, 60 s, four bytes.
    record = b"\xc0\x0c" + TYPE_A + struct.pack(">IH", 60, 4) + bytes([127, 0, 0, 1])
    return head + question + (record if found else b"")


def serve_names() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        while True:
            query, client = server.recvfrom(512)
            server.sendto(answer(query), client)


class Mint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"iceServers": [ICE_SERVER]}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


threading.Thread(target=serve_names, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", 8787), Mint).serve_forever()
