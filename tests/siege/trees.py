"""Attacks by directories: endless or large listings, and globs that are expensive to match."""

from __future__ import annotations

import itertools
import json
import socket

from dfengine.supernode.copies.listing_budget import MEMORY_MIB
from tests.siege.attack import Attacks
from tests.siege.enemy import Enemy, Origin

ATTACKS = Attacks()
HOSTILE = ["*a" * 120 + "b", "**/" + "*a/" * 60 + "b", "[ab]*" * 50 + "c", "/".join(["**", "*a*a*"] * 25) + "/b"]


def _index(members: list[dict[str, object]]) -> Origin:
    """An origin that responds with this index to every request."""
    body = json.dumps(members).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)

    def answer(sock: socket.socket) -> None:
        sock.sendall(head + body)

    return Origin(answer)


def _file(name: str) -> dict[str, object]:
    return {"name": name, "type": "file", "size": 1, "mtime": "Mon, 30 Nov 2026 00:00:00 GMT"}


@ATTACKS.add("endless-trees", bound=MEMORY_MIB)
def endless_trees(enemy: Enemy) -> None:
    """Endless directories: every page names 5000 files and 1000 directories."""
    members = [_file(f"{n:040}") for n in range(5000)] + [{"name": f"d{n}", "type": "directory"} for n in range(1000)]
    origin, line, count = _index(members), enemy.line(), itertools.count()
    enemy.repeat(lambda: enemy.register(line, f"{origin.url}/{next(count)}/", taskUrl="", tree="manifest"))


@ATTACKS.add("hostile-globs", bound=MEMORY_MIB)
def hostile_globs(enemy: Enemy) -> None:
    """Directories with long names, and globs on which a backtracking matcher takes exponential time."""
    origin, line, count = _index([_file("a" * 200 + f"{n:05}") for n in range(5000)]), enemy.line(), itertools.count()

    def one() -> None:
        n = next(count)
        enemy.register(line, f"{origin.url}/{n}/", taskUrl="", tree="manifest", exclude=[f"{each[:250]}{n % 997}" for each in HOSTILE * 16])

    enemy.repeat(one)


@ATTACKS.add("tree-fields")
def tree_fields(enemy: Enemy) -> None:
    """Registrations with invalid fields of a tree, and data of unknown manifests."""
    origin, line, count = _index([_file("a")]), enemy.line(), itertools.count()

    def one() -> None:
        n = next(count)
        kinds = (
            {"tree": "x" * 9999}, {"tree": "data", "manifest": f"{n:064x}"}, {"tree": "data", "manifest": n}, {"include": ["*"] * 5000},
            {"tree": "manifest", "exclude": ["[" * 256] * 64}, {"tree": "manifest", "include": [["a"]]}, {"manifest": "../" * 99},
        )  # fmt: skip
        enemy.register(line, f"{origin.url}/{n % 99}/", taskUrl="", **kinds[n % len(kinds)])

    enemy.repeat(one, 4)
