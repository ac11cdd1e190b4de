"""The checks of fleet.sh, inside its network namespace."""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

DIRECTORY = pathlib.Path(os.environ["WORK_DIR"])
BROKER = "http://127.0.0.1:3001"
HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
SECRET, PASSWORD, OPERATOR = "fleet-secret-0123456789", "fleet-cli-0123456789", "fleet-operator-0123456789"
# A relay is left out when so many seconds have passed since it died.
OUT_WITHIN = 20
failed = []


def check(what, holds, found=""):
    print("ok  " if holds else "FAIL", what, "" if holds else found, flush=True)
    if not holds:
        failed.append(what)


def coturn(host):
    own = DIRECTORY / host
    own.mkdir(exist_ok=True)
    fixed = "use-auth-secret cli allow-loopback-peers no-tls no-dtls simple-log log-file=stdout realm=fleet.test listening-port=3478 cli-port=5766"
    lines = fixed.split() + [f"{name}={host}" for name in ("listening-ip", "relay-ip", "cli-ip")]
    lines += [f"static-auth-secret={SECRET}", f"cli-password={PASSWORD}", f"userdb={own}/db", f"pidfile={own}/pid"]
    (own / "conf").write_text("\n".join(lines) + "\n")
    return subprocess.Popen(["turnserver", "-c", own / "conf"], stdout=open(own / "log", "w"), stderr=subprocess.STDOUT)


def broker():
    settings = {
        "HOST": "127.0.0.1", "PORT": "3001", "ICE_SOURCES": "coturn,stun", "COTURN_SECRET": SECRET, "COTURN_CLI_PASSWORD": PASSWORD,
        "COTURN_URLS": ",".join(f"turn:{host}:3478" for host in HOSTS), "COTURN_CLI": ",".join(f"{host}={host}:5766" for host in HOSTS),
        "OPERATOR_TOKEN": OPERATOR, "RATE_LIMIT_REQUESTS": "10000", "BUDGET_MODE": "strict", "RESERVED_PERCENT_PER_CLIENT": "100",
        "TURN_TTL_SECONDS": "300", "STATE_DIR": str(DIRECTORY / "state"), "LOG_FORMAT": "json",
    }
    (DIRECTORY / "state").mkdir(mode=0o700)
    log = open(DIRECTORY / "broker.log", "w")
    return subprocess.Popen([os.environ["TURN_BROKER_BIN"]], env=settings, stdout=log, stderr=subprocess.STDOUT, cwd=DIRECTORY)


def get(path, token=None):
    request = urllib.request.Request(BROKER + path, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}


def mint():
    return get("/api/turn-credentials")


def host_of(answer):
    urls = [url for server in answer.get("iceServers", []) for url in server["urls"] if url.startswith("turn:")]
    return urls[0].split(":")[1] if urls else None


def named(count):
    return collections.Counter(host_of(mint()) for _ in range(count))


def relays():
    return {relay["host"]: relay for relay in get("/api/overview", OPERATOR).get("relays", [])}


def within(seconds, holds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.5)
    return False


def relay_some(answer):
    """Two clients send to each other through the relay of a credential. Returns the bytes that they received."""
    server = next(server for server in answer["iceServers"] if "credential" in server)
    command = ["turnutils_uclient", "-c", "-y", "-m", "1", "-n", "4000", "-l", "1000", "-z", "2", "-u", server["username"], "-w", server["credential"]]
    done = subprocess.run([*command, host_of(answer)], capture_output=True, text=True, timeout=120)
    return max((int(found) for found in re.findall(r"tot_recv_bytes ~ (\d+)", done.stdout)), default=0)


def main():
    processes = {host: coturn(host) for host in HOSTS}
    service = broker()
    try:
        check("all relays serve", within(30, lambda: [relay["state"] for relay in relays().values()] == ["up"] * 3), relays())
        shares = named(100)
        check("no relay is named in more than half of 100 mints", set(shares) == set(HOSTS) and max(shares.values()) <= 50, shares)

        answer = mint()
        received = relay_some(answer)
        time.sleep(5)
        used = {host: relay["used"] for host, relay in relays().items()}
        own = used.pop(host_of(answer))
        # Up to 2,047 packets of each of the two sessions are hidden, and charged.
        check("the relay of a call is charged what its clients received", 0 < received <= own <= received * 1.05 + 5_500_000, (received, own))
        check("the other relays are charged nothing: the broker's probes are nobody's", set(used.values()) == {0}, used)
        check("the bound holds", get("/api/bandwidth-status").get("boundHolds") is True, get("/api/bandwidth-status"))

        # Not the one that carried the call: it gets no credential while the others carry less.
        dead = next(host for host in HOSTS if host != host_of(answer))
        for round_number in range(2):
            processes[dead].kill()
            processes[dead].wait()
            time.sleep(OUT_WITHIN)
            shares = named(60)
            check(f"{OUT_WITHIN} s after its death no mint names a relay", dead not in shares and None not in shares, shares)
            check("it is shown as down, with a hint", relays()[dead]["state"] == "down" and any(
                dead in hint["message"] for hint in get("/api/bandwidth-status")["hints"] if hint["code"] == "RELAY_DOWN"), relays())
            processes[dead] = coturn(dead)
            check("it is back after two good probes", within(40, lambda: dead in named(20)), relays())

        for host in HOSTS:
            processes[host].kill()
            processes[host].wait()
        time.sleep(OUT_WITHIN)
        answer = mint()
        check("without any relay the next source serves, degraded", (answer.get("source"), answer.get("reason")) == ("stun", "PROVIDER_UNAVAILABLE"), answer)
        ready = get("/ready")
        message = (ready.get("minting") or {}).get("message") or ""
        check("/ready names the relays", ready.get("provider") == "down" and all(host in message for host in HOSTS), ready)
    finally:
        for process in [service, *processes.values()]:
            process.kill()
    if failed:
        print((DIRECTORY / "broker.log").read_text()[-3000:])
    sys.exit(bool(failed))


main()
