"""The checks of exact.sh, inside its network namespace."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import time

specification = importlib.util.spec_from_file_location("fleet", pathlib.Path(__file__).with_name("fleet-checks.py"))
fleet = importlib.util.module_from_spec(specification)
specification.loader.exec_module(fleet)

ROUNDS = int(os.environ.get("ROUNDS", "1"))
FIRST, SECOND = fleet.HOSTS[:2]
# The options of a client, and the bytes that its kind adds to each packet that it receives.
KINDS = {"UDP": ([], 4), "TCP": (["-t"], 4), "TLS": (["-t", "-S"], 4), "TCP to peers": (["-T"], 0)}
# Packets of a session. coturn's command line shows them from 2,048 on, in steps.
PACKETS = [1_900] if ROUNDS == 1 else [1, 100, 1_900, 5_000]
PACKET_BYTES = 1_000


def used():
    return int(fleet.get("/api/bandwidth-status").get("usedBytes", 0))


def reserved():
    status = fleet.get("/api/bandwidth-status")
    return status["usedBytes"] + float(status["reservedGB"]) * 1e9 + 1e7


def relay(host, kind, packets):
    """Sessions that have ended; returns what their clients received, as the relay sent it: with frames and answers to requests."""
    answer = fleet.mint_at(host)
    server = next(server for server in answer["iceServers"] if "credential" in server)
    options, frame = KINDS[kind]
    command = ["turnutils_uclient", *options, "-c", "-y", "-m", "1", "-n", str(packets), "-l", str(PACKET_BYTES), "-z", "1",
               "-u", server["username"], "-w", server["credential"], "-p", "5349" if kind == "TLS" else "3478", host]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    received = max(map(int, re.findall(r"tot_recv_bytes ~ (\d+)", said)), default=0)
    return received + received // PACKET_BYTES * frame


def logged():
    """The bytes that the coturns themselves have logged as sent to clients, without those of the broker's probes."""
    logs = [(fleet.DIRECTORY / host / "log").read_text() for host in [FIRST, SECOND]]
    usage = r"session \d+: usage: .*username=<\d+:(?!turn-broker)[^>]*>.* sb=(\d+)"
    return sum(int(sent) for log in logs for sent in re.findall(usage, log))


def alive():
    return sum(relay["sessions"] for relay in fleet.relays().values())


def most(relayed, sessions):
    """What the ledger may have of that: half a per cent more, requests, and a claim for so many sessions that go on."""
    return relayed * 1.005 + 50_000 + sessions * 2_047 * 1_200


def check_exact():
    for kind in KINDS:
        for packets in PACKETS:
            before, received = logged(), 0
            ledger = used()
            for nth in range(ROUNDS):
                received += relay([FIRST, SECOND][nth % 2], kind, packets)
            def figures():
                return received, logged() - before, used() - ledger

            def is_exact():
                _, relayed, counted = figures()
                return abs(counted - relayed) <= relayed * 0.005 + 1_000 and received <= counted

            # coturn ends a session about a second after its client has released it, and later on a busy machine.
            fleet.check(f"{kind}, {packets} packets: the ledger has what coturn relayed, within half a per cent", fleet.within(40, is_exact), figures())


def reject(action):
    rule = ["-p", "tcp", "--dport", str(fleet.REPORTS_PORT), "-j", "REJECT", "--reject-with", "tcp-reset"]
    subprocess.run(["iptables", action, "INPUT", *rule], check=True)


def check_gap(service):
    """Sessions end while nobody hears it."""
    before = used()
    running = fleet.call(fleet.mint_at(FIRST), count=3_000, pause=1)
    time.sleep(1)
    reject("-A")
    running.communicate(timeout=60)
    time.sleep(10)
    reject("-D")
    relayed = 2 * 3_000 * PACKET_BYTES
    fleet.check("reports come again", fleet.within(40, lambda: fleet.mint().get("source") == "coturn"), fleet.get("/api/bandwidth-status"))
    fleet.check("what ended unseen is promised, not counted", used() <= before + most(relayed * 1.004, alive()) and before + relayed <= reserved(), (before, used(), reserved()))

    before = used()
    running = fleet.call(fleet.mint_at(SECOND), count=3_000, pause=1)
    time.sleep(1)
    service.kill()
    service.wait()
    running.communicate(timeout=60)
    service = fleet.broker()
    fleet.check("a broker that was killed starts again", fleet.within(40, lambda: fleet.mint().get("source") == "coturn"), fleet.get("/api/bandwidth-status"))
    fleet.check("what ended meanwhile is promised, not counted", used() <= before + most(relayed * 1.004, alive()) and before + relayed <= reserved(), (before, used(), reserved()))
    return service


def main():
    more = ["verbose", f"cert={fleet.DIRECTORY}/cert", f"pkey={fleet.DIRECTORY}/key"]
    processes = [fleet.coturn(host, more, without=["no-tls"]) for host in fleet.HOSTS]
    service = fleet.broker()
    try:
        fleet.check("all relays serve", fleet.within(30, lambda: [relay["state"] for relay in fleet.relays().values()] == ["up"] * 3), fleet.relays())
        fleet.within(20, lambda: fleet.mint().get("source") == "coturn")
        check_exact()
        status = fleet.get("/api/bandwidth-status")
        fleet.check("the bound holds", status["boundHolds"] and status["overshootBoundGB"] == "0.00", status)
        service = check_gap(service)
    finally:
        for process in [service, *processes]:
            process.kill()
    if fleet.failed:
        print((fleet.DIRECTORY / "broker.log").read_text()[-3000:])
    sys.exit(bool(fleet.failed))


main()
