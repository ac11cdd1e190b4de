#!/usr/bin/env python3
"""Mutation tests: breaks a copy of the project on purpose, in one way at a time, and expects a test to fail each time.

    tests/mutants/run.py            all mutants
    tests/mutants/run.py PATTERN    those whose line in ledger.txt or replicas.txt matches the regular expression

Prints one line per mutant. Exits with 1 if one survives. JOBS (the number of cores) run at a time. Those of replicas.txt need PostgreSQL.

A line of a list is `name|tests|file|text|replacement`; a bar in a text is written as \\|, a line break as \\n. The tests are `ledger`
(the unit tests of the budget, if it is the budget's file, then the ledger's, then its simulation), or a program and a part of the names of its tests: `lib` (unit tests of the service), `it`
(tests of the service from outside), `base` (of the HTTP client), `sfu` (unit tests of the proxy of the SFU), `store` (of what is stored), `simulation` (of the ledger).

One build has all mutants: the body of a function becomes a `match` on the number of the mutant in force, with the changed bodies as its
arms. A mutant that is not inside of a function, or does not compile as an arm, has a build of its own.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTS = [ROOT / "tests/mutants" / name for name in ("ledger.txt", "replicas.txt")]
# What of the command line of cargo builds a program of tests.
PROGRAMS = {
    "base": ["-p", "turn-base", "--lib"],
    "budget": ["-p", "turn-budget", "--lib"],
    "ledger": ["-p", "turn-ledger", "--lib"],
    "simulation": ["-p", "turn-ledger", "--test", "simulation"],
    "store": ["-p", "turn-store", "--lib"],
    "sfu": ["-p", "turn-sfu-proxy", "--lib"],
    "lib": ["-p", "turn-broker", "--lib"],
    "it": ["-p", "turn-broker", "--test", "it"],
}
# The number of the mutant in force. What a test starts without its environment reads a file.
SWITCH = """
#[doc(hidden)]
pub fn mutant_in_force() -> u32 {
    static NUMBER: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var("MUTANT").or_else(|_| std::fs::read_to_string(env!("MUTANT_FILE")));
    *NUMBER.get_or_init(|| read().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}
"""
TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\.[^']*|[^'\\])'|\w+|\S""",
    re.DOTALL,
)
SECONDS_MAX = 300

Mutant = collections.namedtuple("Mutant", "number line name tests path before after")


def read_mutants(pattern):
    lines = [line for path in LISTS for line in path.read_text().splitlines()]
    for number, line in enumerate(lines, 1):
        if re.search(pattern, line):
            fields = [part.replace("\\|", "|").replace("\\n", "\n") for part in re.split(r"(?<!\\)\|", line)]
            yield Mutant(number, line, *fields)


def bodies(code):
    """Start and end of what is between the braces of each outermost function, with the text of its signature."""
    depth = since = begin = 0
    state = "outside"
    for token in TOKEN.finditer(code):
        text = token.group()
        if text.startswith(("//", "/*")):
            continue
        if state == "outside" and text == "fn":
            state, since, depth = "signature", token.start(), 0
        elif state == "signature":
            depth += (text in "([") - (text in ")]")
            if text == "{" and depth == 0:
                state, begin, depth = "body", token.end(), 1
            elif text == ";" and depth == 0:
                state = "outside"
        elif state == "body":
            depth += (text == "{") - (text == "}")
            if depth == 0:
                line = code.rfind("\n", 0, since) + 1
                yield begin, token.start(), code[line:begin]
                state = "outside"


def with_arms(code, mutants):
    """The code with these mutants as arms, and those that have a place in no function."""
    places = {mutant: code.index(mutant.before) for mutant in mutants}
    alone = set(mutants)
    for begin, end, signature in reversed(list(bodies(code))):
        inside = [it for it in mutants if begin <= places[it] and places[it] + len(it.before) <= end]
        if not inside or re.search(r"\bconst\b.*\bfn\b|-> .*\bimpl\b", signature, re.DOTALL):
            continue
        arms = ""
        for it in inside:
            at = places[it]
            changed = code[begin:at] + it.after + code[at + len(it.before) : end]
            arms += f"{it.number} => {{ /*mutant {it.number}*/ {changed} }}\n"
        body = code[begin:end]
        code = code[:begin] + f" match crate::mutant_in_force() {{ {arms} _ => {{ /*mutant 0*/ {body} }} }} " + code[end:]
        alone -= set(inside)
    return code, alone


class Tree:
    """A copy of the project with a folder for what is built from it."""

    def __init__(self, path, target):
        self.path = path
        self.number = path / "mutant-in-force"
        names = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, path / name)
        changes = {"CARGO_TARGET_DIR": target, "CARGO_PROFILE_DEV_DEBUG": "0", "RUSTFLAGS": "--cap-lints=allow"}
        self.environment = os.environ | changes | {"MUTANT_FILE": str(self.number)}

    def build(self, program):
        """The path of a program of tests, or the errors: the file, the byte where it begins, and the message."""
        command = ["cargo", "test", "--locked", "--no-run", "--message-format=json", *PROGRAMS[program]]
        result = subprocess.run(command, cwd=self.path, env=self.environment, capture_output=True, text=True)
        messages = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        if result.returncode == 0:
            tests = [it for it in messages if it["reason"] == "compiler-artifact" and it.get("profile", {}).get("test")]
            return tests[-1]["executable"], []
        errors = [it["message"] for it in messages if it["reason"] == "compiler-message" and it["message"]["level"] == "error"]
        found = [(s["file_name"], s["byte_start"], e["message"]) for e in errors for s in e["spans"] if s["is_primary"]]
        return None, found or [("", 0, result.stderr[-2000:])]

    def fails(self, program, tests, number, **variables):
        """The name of a test that fails, "passed", or how the program ended otherwise."""
        environment = self.environment | variables | {"MUTANT": str(number)}
        command = ["timeout", str(SECONDS_MAX), program, *tests]
        package = "budget" if "turn_budget" in program else "ledger" if "turn_ledger" in program or "simulation" in program else None
        cwd = self.path / (f"crates/{package}" if package else ".")
        with subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        ) as running:
            for line in running.stdout:
                if failed := re.match(r"test (.*) \.\.\. FAILED$", line):
                    running.terminate()
                    return failed[1]
                if line.startswith("test result: ok"):
                    return "passed"
        return "did not end"


class AllInOne:
    """One tree with all mutants."""

    def __init__(self, tree, mutants):
        self.tree = tree
        self.alone = set()
        self.files = collections.defaultdict(list)
        for mutant in mutants:
            self.files[mutant.path].append(mutant)
        for switched in ("crates/budget/src/lib.rs", "crates/ledger/src/lib.rs", "crates/store/src/lib.rs", "crates/sfu-proxy/src/lib.rs", "src/lib.rs"):
            with open(tree.path / switched, "a") as file:
                file.write(SWITCH)
        for path in self.files:
            if not path.startswith(("crates/budget/src/", "crates/ledger/src/", "crates/store/src/", "crates/sfu-proxy/src/", "src/")) or path == "src/main.rs":
                self.alone |= set(self.files[path])
        self.write(self.files)

    def write(self, paths):
        for path in paths:
            mutants = [it for it in self.files[path] if it not in self.alone]
            code, alone = with_arms((ROOT / path).read_text(), mutants)
            self.alone |= alone
            if path.endswith("/lib.rs"):
                code += SWITCH
            (self.tree.path / path).write_text(code)

    def build(self, program):
        """Leaves out what does not compile as an arm, until all compiles."""
        while True:
            built, errors = self.tree.build(program)
            if built:
                return built
            by_number = {it.number: it for its in self.files.values() for it in its}
            paths = set()
            for path, begin, message in errors:
                before = (self.tree.path / path).read_bytes()[:begin].decode() if path else ""
                number = re.findall(r"/\*mutant (\d+)\*/", before)
                if not number or int(number[-1]) not in by_number:
                    sys.exit(f"does not build without any mutant: {path}: {message}")
                self.alone.add(by_number[int(number[-1])])
                paths.add(path)
            self.write(paths)


def steps(mutant):
    """Programs and their arguments, the first that finds most first."""
    program, _, tests = mutant.tests.partition(" ")
    if program == "ledger":
        budget = [("budget", ["--test-threads=8"], {})] if mutant.path.startswith("crates/budget/") else []
        return [*budget, ("ledger", ["--test-threads=8"], {}), ("simulation", ["--test-threads=8"], {"SEEDS": os.environ.get("SEEDS", "100")})]
    # Some need a scenario that few seeds have.
    seeds = {"SEEDS": os.environ.get("SEEDS", "1000")} if program == "simulation" else {}
    return [(program, [tests] if tests else [], seeds)]


def verdict(mutant, tree, build):
    test = "passed"
    for program, tests, variables in steps(mutant):
        built = build(program)
        if built is None:
            return "does not build"
        if program == "it":
            tree.number.write_text(str(mutant.number))
        test = tree.fails(built, tests, mutant.number, **variables)
        if test != "passed":
            return f"caught ({test})"
    return "SURVIVED"


def main():
    mutants = list(read_mutants(sys.argv[1] if len(sys.argv) > 1 else ""))
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")) + "/mutants"
    survivors = []

    def note(mutant, result):
        print(f"{result}: {mutant.name}", flush=True)
        if not result.startswith("caught"):
            survivors.append(mutant.name)

    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(pathlib.Path(folder, "all"), target)
        every = AllInOne(tree, mutants)
        programs = dict.fromkeys(program for mutant in mutants for program, *_ in steps(mutant))
        # A later program may leave out more.
        for _ in range(2):
            built = {program: every.build(program) for program in programs}
        together = [it for it in mutants if it not in every.alone]
        print(f"{len(together)} mutants in one build, {len(every.alone)} alone", flush=True)
        for at_once in (True, False):
            some = [it for it in together if it.tests.startswith("it") != at_once]
            with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count())) if at_once else 1) as pool:
                for mutant, result in zip(some, pool.map(lambda it: verdict(it, tree, built.get), some)):
                    note(mutant, result)
        tree = Tree(pathlib.Path(folder, "alone"), target)
        for mutant in (it for it in mutants if it in every.alone):
            path = tree.path / mutant.path
            code = path.read_text()
            path.write_text(code.replace(mutant.before, mutant.after))
            note(mutant, verdict(mutant, tree, lambda program: tree.build(program)[0]))
            path.write_text(code)
    print(f"{len(mutants)} mutants, {len(survivors)} not caught")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
