"""The checks of fleet.sh, inside its network namespace."""

import base64
import collections
import hashlib
import hmac
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
SECRET, PASSWORD, OPERATOR = "fleet-secret-0123456789", "fleet-cli-0123456789", "fleet-operator-0123456789-0123456789"
# coturn 4.17 denies the address that it reports to as a peer.
REPORTS_PASSWORD, REPORTS_HOST, REPORTS_PORT = "fleet-stats-0123456789", "127.0.0.4", 6390
# So many relays die, in turn. Of more than two, one each minute.
DEATHS = int(os.environ.get("RELAY_DEATHS", "2"))
# A relay is left out when so many seconds have passed since it died.
OUT_WITHIN = 20
# A client whose session is ended may begin others, which a later listing shows.
ENDED_WITHIN = 30
# This relay has a limit of its own: so much more than the first checks relay there, which is a user's limit and some of the next check.
LIMITED, LIMITED_GB, USER_GB = "127.0.0.3", 0.06, 0.03
PACKET_BYTES, FRAME_BYTES = 1_000, 4
# Requests of a session, such as those that make its allocation and its channels.
REQUEST_BYTES = 20_000
# Messages of each end of a call. With 200,000 one step of each session is 1 % of its bytes.
MESSAGES = 20_000 if DEATHS <= 2 else 200_000
failed = []


def check(what, holds, found=""):
    print("ok  " if holds else "FAIL", what, "" if holds else found, flush=True)
    if not holds:
        failed.append(what)


def coturn(host, more=(), without=()):
    own = DIRECTORY / host
    own.mkdir(exist_ok=True)
    fixed = "use-auth-secret cli allow-loopback-peers no-tls no-dtls simple-log log-file=stdout realm=fleet.test listening-port=3478 cli-port=5766"
    lines = [line for line in fixed.split() if line not in without] + [*more] + [f"{name}={host}" for name in ("listening-ip", "relay-ip", "cli-ip")]
    lines += [f"static-auth-secret={SECRET}", f"cli-password={PASSWORD}", f"userdb={own}/db", f"pidfile={own}/pid"]
    lines.append(f'redis-statsdb="ip={REPORTS_HOST} dbname={HOSTS.index(host)} password={REPORTS_PASSWORD} port={REPORTS_PORT} connect_timeout=5"')
    (own / "conf").write_text("\n".join(lines) + "\n")
    return subprocess.Popen(["turnserver", "-c", own / "conf"], stdout=open(own / "log", "w"), stderr=subprocess.STDOUT)


def broker(limited_gb=1_000):
    settings = {
        "HOST": "127.0.0.1", "PORT": "3001", "ICE_SOURCES": "coturn,stun", "COTURN_SECRET": SECRET, "COTURN_CLI_PASSWORD": PASSWORD,
        "COTURN_URLS": ",".join(f"r{nth}=turn:{host}:3478" for nth, host in enumerate(HOSTS)), "COTURN_CLI": ",".join(f"{host}={host}:5766" for host in HOSTS),
        "OPERATOR_TOKEN": OPERATOR, "RATE_LIMIT_REQUESTS": "10000", "BUDGET_MODE": "strict", "RESERVED_PERCENT_PER_CLIENT": "100",
        "COTURN_STATS_LISTEN": f"{REPORTS_HOST}:{REPORTS_PORT}", "COTURN_STATS_PASSWORD": REPORTS_PASSWORD,
        "COTURN_LIMITS": f"{LIMITED}={limited_gb}", "USER_LIMIT_GB": str(USER_GB),
        "BILLING_DAY": "22" if time.gmtime().tm_mday < 15 else "8",  # no billing period ends during the test
        "TURN_TTL_SECONDS": "300", "STATE_DIR": str(DIRECTORY / "state"), "LOG_FORMAT": "json",
    }
    (DIRECTORY / "state").mkdir(mode=0o700, exist_ok=True)
    log = open(DIRECTORY / "broker.log", "a")
    return subprocess.Popen([os.environ["TURN_BROKER_BIN"]], env=settings, stdout=log, stderr=subprocess.STDOUT, cwd=DIRECTORY)


def get(path, token=None, method="GET", body=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BROKER + path, headers=headers, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as refused:
        return json.load(refused)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}


def mint(query=""):
    return get(f"/api/turn-credentials{query}")


def mint_at(host, label=""):
    return mint(f"?region=r{HOSTS.index(host)}&label={label}")


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


# Traffic that does not end by itself.
FAST, SLOW, STEADY = {"count": 1_000_000, "pause": 1, "pairs": 2}, {"count": 10_000, "pause": 40}, {"count": 1_000_000, "pause": 10}


def client(username, password, host, count=4000, pause=2, pairs=1, stays=False, output=subprocess.PIPE):
    """Clients that send to each other through a relay: so many packets, with so many milliseconds between two."""
    numbers = ["-m", str(pairs), "-n", str(count), "-l", str(PACKET_BYTES), "-z", str(pause)]
    command = ["turnutils_uclient", "-c", "-y", *(["-h"] if stays else []), *numbers, "-u", username, "-w", password, host]
    return subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, text=True)


def payload(said):
    """The bytes that clients have sent and received, without frames."""
    numbers = [re.findall(rf"tot_{way}_bytes ~ (\d+)", said) for way in ("send", "recv")]
    return [max(map(int, found), default=0) for found in numbers]


def most(sent, sessions):
    """What the ledger may have of sessions that sent so much: half a per cent above their frames and requests."""
    return (sent * (PACKET_BYTES + FRAME_BYTES) // PACKET_BYTES + sessions * REQUEST_BYTES) * 1.005


def received_by(process):
    return payload(process.communicate(timeout=120)[0])[1]


def call(answer, **traffic):
    """Two clients with one credential, through its relay."""
    server = next(server for server in answer["iceServers"] if "credential" in server)
    return client(server["username"], server["credential"], host_of(answer), **traffic)


def by_itself(user, host, **traffic):
    """The same with the credential of a program that knows the secret."""
    username = f"{int(time.time()) + 3600}:{user}"
    password = base64.b64encode(hmac.new(SECRET.encode(), username.encode(), hashlib.sha1).digest()).decode()
    return client(username, password, host, **traffic)


def spent(name, by="user"):
    rows = get(f"/api/spenders?by={by}", OPERATOR).get("spenders", [])
    return next((row["measuredBytes"] for row in rows if row["key"] == name), 0)


def check_program(host, other):
    """A program that knows the secret has users. Its tool leaves sessions behind, so each check has a relay of its own."""
    received = received_by(by_itself("talk-1", host))
    check("what a program relays that knows the secret is its user's", within(20, lambda: 0 < received <= spent("relay:talk-1") <= most(received, 2)), (received, spent("relay:talk-1")))
    status = get("/api/bandwidth-status")
    codes = [hint["code"] for hint in status["hints"]]
    check("it is neither unknown nor above a promise", status["boundHolds"] and "UNKNOWN_BYTES" not in codes, status)
    running = by_itself("talk-2", other, count=60_000)
    check("its session is listed", within(10, lambda: get("/api/grants?user=relay:talk-2&live=true", OPERATOR).get("grants")), relays())
    check("it is counted while it goes on", within(20, lambda: spent("relay:talk-2") > 1_000_000), spent("relay:talk-2"))
    get("/api/users/relay:talk-2/block", OPERATOR, "POST")
    check("the block of its user ends its session within 6 s", within(6, lambda: relays()[other]["sessions"] == 0), relays())
    end(running)


def end(*processes):
    for process in processes:
        process.kill()
        process.communicate()


def sessions(host):
    return relays()[host]["sessions"]


def check_limits(other):
    """Limits end the sessions of a program that knows the secret: that of a user, that of a relay, that of all."""
    greedy = by_itself("talk-3", LIMITED, **FAST)
    check("a user reaches the limit of each user", within(60, lambda: spent("relay:talk-3") >= USER_GB * 1e9), relays())
    check("its sessions end", within(ENDED_WITHIN, lambda: sessions(LIMITED) == 0), relays())
    end(greedy)

    ours = call(mint_at(LIMITED), **FAST)
    theirs = [by_itself("talk-4", LIMITED, **SLOW), by_itself("talk-5", other, **SLOW)]
    check("each has a session", within(10, lambda: sessions(LIMITED) >= 3 and sessions(other) >= 1), relays())
    check("a relay reaches its limit", within(60, lambda: relays()[LIMITED]["state"] == "used up"), relays())
    check("its sessions end, ours and theirs", within(ENDED_WITHIN, lambda: sessions(LIMITED) == 0), relays())
    check("those of another relay go on", sessions(other) >= 1, relays())
    shares, answer = named(30), mint()
    check("the next relays follow, which is no fault", LIMITED not in shares and None not in shares and answer["degraded"] is False, (shares, answer))

    get("/api/budget/limit", OPERATOR, "POST", {"limitGB": 0.001})
    check("at the limit the sessions of all relays end", within(ENDED_WITHIN, lambda: sessions(other) == 0), relays())
    check("nothing is minted", mint().get("code") == "BUDGET_EXHAUSTED", mint())
    get("/api/budget/limit", OPERATOR, "POST", {"limitGB": None})
    check("with the limit raised relays are named again", None not in named(5), mint())
    end(ours, *theirs)


class Call:
    """A call of two clients through one relay, with a label of its own in the ledger. The clients stay when they have sent everything."""

    def __init__(self, host, **traffic):
        self.host, self.label = host, f"call-{time.monotonic_ns()}"
        self.output = DIRECTORY / self.label
        # On a busy machine a relay that works may be left out for a while.
        within(60, lambda: host_of(mint_at(host)) == host)
        with open(self.output, "w") as output:
            self.process = call(mint_at(host, self.label), stays=True, output=output, **traffic)

    def payload(self):
        return payload(self.output.read_text())

    def is_at_rest(self):
        return self.payload()[0] == 2 * MESSAGES * PACKET_BYTES


def revoke_at_rest(calls):
    """A session that its client ends is charged until the next listing. One that the broker ends is not."""
    check("calls come to rest", within(300, lambda: all(each.is_at_rest() for each in calls)))
    hosts = [each.host for each in calls]
    left = {host: sessions(host) - 2 * hosts.count(host) for host in hosts}
    for each in calls:
        get(f"/api/revoke?label={each.label}", OPERATOR, "POST")
    check("revoked ones end", within(ENDED_WITHIN, lambda: all(sessions(host) <= left[host] for host in hosts)), relays())
    end(*(each.process for each in calls))


def check_deaths(processes):
    """Relays die in turn, each while a call goes on there. At the others calls go on, and one begins where a relay is back."""
    whole, broken = [Call(host, count=MESSAGES, pause=0) for host in HOSTS], []
    doomed = Call(HOSTS[0], **STEADY)
    revoke_at_rest(whole)
    for nth in range(DEATHS):
        died_at, dead, following = time.monotonic(), HOSTS[nth % 3], HOSTS[(nth + 1) % 3]
        if nth >= 3:
            revoke_at_rest([each for each in whole if each.host == dead and each.process.poll() is None])
        processes[dead].kill()
        processes[dead].wait()
        broken.append(doomed)
        if nth + 1 < DEATHS:
            doomed = Call(following, **STEADY)
        time.sleep(OUT_WITHIN)
        end(broken[-1].process)
        shares = named(60)
        check(f"{OUT_WITHIN} s after death {nth + 1} no mint names the relay", dead not in shares and None not in shares, shares)
        status = get("/api/bandwidth-status", OPERATOR)
        check("it is shown as down, with a hint", relays()[dead]["state"] == "down" and any(
            dead in hint["message"] for hint in status["hints"] if hint["code"] == "RELAY_DOWN"), relays())
        check("the bound holds", status["boundHolds"] and status["overshootBoundGB"] == "0.00", status)
        processes[dead] = coturn(dead)
        check("it is back after two good probes", within(40, lambda: host_of(mint_at(dead)) == dead), relays())
        whole.append(Call(dead, count=MESSAGES, pause=0))
        if DEATHS > 2:
            time.sleep(max(0, died_at + 60 - time.monotonic()))
    revoke_at_rest([each for each in whole if each.process.poll() is None])
    check_bytes("whole", whole)
    check_bytes("broken", broken)
    status = get("/api/bandwidth-status")
    check("the bound holds after all", status["boundHolds"] and status["overshootBoundGB"] == "0.00", status)


def check_bytes(kind, calls):
    """The ledger has the bytes of each relay as the clients there received them. A relay that is killed reports no ends: what its calls
    relayed last is promised, not counted."""
    for host in sorted({each.host for each in calls}):
        there = [each for each in calls if each.host == host]
        sent, received = (sum(bytes) for bytes in zip(*(each.payload() for each in there)))
        counted = sum(spent(each.label, "label") for each in there)
        print(f"    {len(there)} {kind} calls at {host}: {received:,} bytes received, {counted:,} counted, {counted / max(received, 1) - 1:+.2%}", flush=True)
        check("the ledger has what they received", (kind == "broken" or received <= counted) and counted <= most(sent, 2 * len(there)), sent)


def check_drain(host):
    get(f"/api/relays/{host}/drain", OPERATOR, "POST")
    shares = named(30)
    check("a drained relay is named in no mint", host not in shares and None not in shares, shares)
    drained = get("/api/bandwidth-status")["draining"]
    check("the status says how many sessions are left", drained == [{"relay": host, "sessions": 0}], drained)
    get(f"/api/relays/{host}/drain", OPERATOR, "DELETE")
    check("later it is named again", within(10, lambda: host in named(20)), relays())


def main():
    processes = {host: coturn(host) for host in HOSTS}
    service = broker()
    try:
        check("all relays serve", within(30, lambda: [relay["state"] for relay in relays().values()] == ["up"] * 3), relays())
        shares = named(100)
        check("no relay is named in more than half of 100 mints", set(shares) == set(HOSTS) and max(shares.values()) <= 50, shares)

        first, second, third = HOSTS
        received = received_by(call(mint_at(first)))
        time.sleep(5)
        used = {host: relay["used"] for host, relay in relays().items()}
        own = used.pop(first)
        check("the relay of a call is charged what its clients received", 0 < received <= own <= most(received, 2), (received, own))
        check("the other relays are charged nothing: the broker's probes are nobody's", set(used.values()) == {0}, used)
        check("the bound holds", get("/api/bandwidth-status").get("boundHolds") is True, get("/api/bandwidth-status"))

        check_program(second, third)
        check("a region names its relay", {host_of(mint_at(second)) for _ in range(5)} == {second})
        check_drain(third)
        check_deaths(processes)

        used = relays()[LIMITED]["used"]
        service.terminate()
        service.wait()
        service = broker(used / 1e9 + LIMITED_GB)
        check("after a restart all relays serve", within(30, lambda: [relay["state"] for relay in relays().values()] == ["up"] * 3), relays())
        check("each has what it relayed", relays()[LIMITED]["used"] >= used, (used, relays()))
        check_limits(first)

        for host in HOSTS:
            processes[host].kill()
            processes[host].wait()
        time.sleep(OUT_WITHIN)
        answer = mint()
        check("while all relays fail the probes one is handed out all the same, degraded", (host_of(answer) in HOSTS, answer.get("reason")) == (True, "PROVIDER_UNAVAILABLE"), answer)
        check("once nobody can end its sessions strict mode names none", within(40, lambda: mint().get("source") == "stun"), mint())
        answer = mint()
        check("the next source serves, degraded", (answer.get("source"), answer.get("reason")) == ("stun", "PROVIDER_UNAVAILABLE"), answer)
        ready = get("/ready", OPERATOR)
        message = (ready.get("minting") or {}).get("message") or ""
        check("/ready names the relays", ready.get("provider") == "down" and all(host in message for host in HOSTS), ready)
    finally:
        for process in [service, *processes.values()]:
            process.kill()
    if failed:
        print((DIRECTORY / "broker.log").read_text()[-3000:])
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
