"""The crates of Cargo.lock: each one comes from crates.io, deny.toml allows it and its license, and each dependency of a manifest is used.

Reads `cargo metadata` from standard input. Prints each problem, and exits with 1 if there is one. cargo-deny and cargo-machete check the same
and more, but compiling them takes longer than all lints.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
INCLUDED = re.compile(r'#\[path = "([^"]+)"\]')
LICENSE = re.compile(r"[\w.+-]+(?: WITH [\w.-]+)?")

metadata = json.load(sys.stdin)
with open("deny.toml", "rb") as file:
    rules = tomllib.load(file)
allowed = set(rules["licenses"]["allow"])
banned = {ban["crate"]: ban["reason"] for ban in rules["bans"]["deny"]}
problems = []


def is_allowed(expression):
    """Whether an SPDX expression can be met with the allowed licenses."""
    words = {"OR": "or", "AND": "and"}
    text = LICENSE.sub(lambda found: words.get(found[0], str(found[0] in allowed)), expression.replace("/", " OR "))
    return bool(re.fullmatch(r"(True|False|or|and|[() ])+", text)) and eval(text)


def sources(package):
    """The text of all Rust files of one of our packages, and of files that they include, without those of the packages inside it."""
    root = Path(package["manifest_path"]).parent
    folders = [root / name for name in ("src", "tests", "examples", "benches")]
    paths = [path.resolve() for folder in folders for path in folder.rglob("*.rs")]
    for path in paths:  # which grows
        included = [(path.parent / name).resolve() for name in INCLUDED.findall(path.read_text())]
        paths += [each for each in included if each not in paths]
    return "\n".join(path.read_text() for path in paths)


for package in metadata["packages"]:
    name = f"{package['name']} {package['version']}"
    if package["source"] is None:
        text = sources(package)
        for dependency in package["dependencies"]:
            crate = (dependency["rename"] or dependency["name"]).replace("-", "_")
            if not re.search(rf"\b{crate}\b", text):
                problems.append(f"{name} does not use its dependency {dependency['name']}: remove it")
        continue
    if package["source"] != REGISTRY:
        problems.append(f"{name} is not from crates.io, but from {package['source']}")
    if package["name"] in banned:
        problems.append(f"{name} is banned: {banned[package['name']]}")
    if not is_allowed(package["license"] or ""):
        problems.append(f"{name} has the license {package['license']}, which deny.toml does not allow")

for problem in problems:
    print(problem, file=sys.stderr)
print(f"{len(metadata['packages'])} crates")
sys.exit(1 if problems else 0)
