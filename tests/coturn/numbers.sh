#!/usr/bin/env bash
# Measures what uses up one of coturn's session numbers. Requires coturn, Python and OpenSSL; nothing else may listen on the ports.
set -euo pipefail
dir=$(mktemp -d)
secret=$(openssl rand -hex 8)
turnserver -n --listening-ip=127.0.0.1 --relay-ip=127.0.0.1 --listening-port=34780 --realm=numbers.test --use-auth-secret \
    --static-auth-secret="$secret" --cli-password=cli --cli-port=35766 --allow-loopback-peers --no-tls --no-dtls --relay-threads=1 --verbose \
    --log-file=stdout --pidfile="$dir/pid" >"$dir/log" 2>&1 &
coturn=$!
trap 'kill $coturn; rm -rf "$dir"' EXIT
until grep -q "UDP listener opened" "$dir/log"; do sleep 0.1; done
user="$(($(date +%s) + 600)):numbers"
password=$(printf %s "$user" | openssl dgst -sha1 -hmac "$secret" -binary | base64)
python3 - "$user" "$password" <<'PYTHON'
import hashlib, hmac, os, re, socket, struct, sys, time

user, password = (text.encode() for text in sys.argv[1:])
ALLOCATE, REFRESH, BINDING, COOKIE = 3, 4, 1, 0x2112A442
UDP = (0x19, b"\x11\0\0\0")


def request(kind, attributes, key=None):
    body = b"".join(struct.pack(">HH", t, len(v)) + v + b"\0" * (-len(v) % 4) for t, v in attributes)
    transaction = os.urandom(12)
    if key:
        head = struct.pack(">HHI", kind, len(body) + 24, COOKIE) + transaction
        body += struct.pack(">HH", 8, 20) + hmac.new(key, head + body, hashlib.sha1).digest()
    return struct.pack(">HHI", kind, len(body), COOKIE) + transaction + body


def ask(link, message):
    link.send(message)
    answer, place, found = link.recv(2_000), 20, {}
    while place + 4 <= len(answer):
        kind, size = struct.unpack(">HH", answer[place : place + 4])
        found[kind] = answer[place + 4 : place + 4 + size]
        place += 4 + size + -size % 4
    return struct.unpack(">H", answer[:2])[0], found


def link(kind=socket.SOCK_DGRAM):
    made = socket.socket(socket.AF_INET, kind)
    made.settimeout(3)
    made.connect(("127.0.0.1", 34780))
    return made


def allocate(to):
    _, challenge = ask(to, request(ALLOCATE, [UDP]))
    realm, nonce = challenge[0x14], challenge[0x15]
    key = hashlib.md5(b":".join([user, realm, password])).digest()
    proof = [(6, user), (0x14, realm), (0x15, nonce)]
    assert ask(to, request(ALLOCATE, [UDP, *proof], key))[0] == 0x103
    return lambda: ask(to, request(REFRESH, [(0xD, bytes(4)), *proof], key))


def counter():
    """The highest number that is listed, which is that of an allocation made now."""
    ours = link()
    release = allocate(ours)
    with socket.create_connection(("127.0.0.1", 35766)) as cli:
        text = b""
        for command in (b"cli\r\n", b"ps\r\n", b""):
            time.sleep(0.3)
            text += cli.recv(65_536)
            if command:
                cli.send(command)
    release()
    return max(int(number) for number in re.findall(rb"id=(\d+)", text)) % 10**15


def released(kind):
    allocate(link(kind))()


CASES = {
    "a binding request over UDP": lambda: ask(link(), request(BINDING, [])),
    "an allocation without a credential": lambda: ask(link(), request(ALLOCATE, [UDP])),
    "a packet that is not STUN": lambda: link().send(b"hello"),
    "a TCP connection without a byte": lambda: link(socket.SOCK_STREAM).close(),
    "an allocation over UDP, released at once": lambda: released(socket.SOCK_DGRAM),
    "an allocation over TCP, released at once": lambda: released(socket.SOCK_STREAM),
    "nothing": lambda: None,
}
for name, case in CASES.items():
    before = counter()
    for _ in range(10):
        case()
    time.sleep(0.3)
    print(f"10 times {name}: {counter() - before - 1} numbers")
PYTHON
