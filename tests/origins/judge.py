"""Faults in a download's outcome, judged by curl's result in the same run."""

from __future__ import annotations

from dataclasses import dataclass

from tests.origins.behaviour import Behaviour, Delivers, Fails, OneVersion, Same
from tests.origins.oracle import Answer
from tests.origins.server import Server

KINDS = {
    "WRONG FILE": "exit 0 and other bytes than one version's",
    "LEFT OUTPUT": "another exit code, and an output under its name",
    "GIVEN UP": "curl delivers and we do not",
    "WRONG CODE": "another exit code than documented, or a file where there should be none",
    "WRONG REASON": "stderr does not name host, port and the reason",
    "HANG": "longer than the bound",
    "LEAK": "servers saw what they must not",
    "SCRIPT": "the behaviour's own script is wrong",
}
"""Kinds of faults, most serious first."""

MAY_FAIL = {"alone": (4, 6), "resumed": (4, 6), "supernode": (3, 4, 6)}
"""Exit codes of a download that need not succeed; with --notbs also the swarm's code."""


@dataclass(frozen=True)
class Run:
    """The outcome of `get`. data: None if no file has the output's name; left: faults in the remains of a killed run."""

    code: int
    data: bytes | None
    said: str
    seconds: float
    hung: bool
    left: str


def judge(behaviour: Behaviour, way: str, oracle: Answer, run: Run, server: Server) -> str:
    """Return `KIND: what`, or "" if there is no fault."""
    curl = oracle.code == 0 and oracle.data in behaviour.versions
    if wrong := _script(behaviour, oracle, curl, server):
        return f"SCRIPT: {wrong}"
    if run.left:
        return f"LEFT OUTPUT: {run.left}"
    if run.hung:
        return f"HANG: not over after {behaviour.bound:.0f} s: {_short(run.said)}"
    if "Traceback" in run.said or "object has no attribute" in run.said:
        return f"WRONG REASON: {_short(run.said)}"
    wrong = _delivered(behaviour, oracle, run) if run.code == 0 else _failed(behaviour, way, curl, run, server)
    if not wrong and behaviour.check and (complaint := behaviour.check(server)):
        return f"LEAK: {complaint}"
    return wrong


def _script(behaviour: Behaviour, oracle: Answer, curl: bool, server: Server) -> str:
    if server.failures:
        return server.failures[0]
    if isinstance(behaviour.expect, Same | Delivers) and behaviour.expect != Delivers("") and not curl:
        size = "no" if oracle.data is None else str(len(oracle.data))
        return f"curl does not deliver, exit {oracle.code}, {size} bytes: {_short(oracle.said)}"
    if isinstance(behaviour.expect, Fails) and curl and not behaviour.expect.refuse:
        return "curl delivers, and no reason is given why we do not"
    return ""


def _delivered(behaviour: Behaviour, oracle: Answer, run: Run) -> str:
    if run.data is None:
        return "WRONG FILE: exit 0 and no output"
    if run.data not in behaviour.versions:
        return f"WRONG FILE: {len(run.data)} bytes, {mixture(run.data, behaviour.versions)}"
    if isinstance(behaviour.expect, Same) and not behaviour.replaced and run.data != oracle.data:
        return "WRONG FILE: another version than curl's"
    if behaviour.replaced and run.data != behaviour.versions[1]:
        return "WRONG FILE: the version of before"
    if isinstance(behaviour.expect, Fails):
        return f"WRONG CODE: exit 0 instead of {behaviour.expect.code}"
    return ""


def _failed(behaviour: Behaviour, way: str, curl: bool, run: Run, server: Server) -> str:
    if run.data is not None:
        return f"LEFT OUTPUT: exit {run.code} and {len(run.data)} bytes under the output's name"
    expect = behaviour.expect
    may = (isinstance(expect, OneVersion) and (not curl or bool(expect.refuse))) or (way == "resumed" and behaviour.resumed == "may")
    if isinstance(expect, Fails):
        if run.code != expect.code:
            return f"WRONG CODE: exit {run.code} instead of {expect.code}: {_short(run.said)}"
        return _reason(expect.words, expect.named, run, server)
    if not may:
        return f"GIVEN UP: exit {run.code}: {_short(run.said)}"
    if run.code not in MAY_FAIL[way]:
        return f"WRONG CODE: exit {run.code}: {_short(run.said)}"
    return _reason((), True, run, server)


def _reason(words: tuple[str, ...], named: bool, run: Run, server: Server) -> str:
    said = run.said.lower()
    places = [place for each in (server, server.other) if each for place in (each.address, f"localhost:{each.port}")]
    if named and not any(place in said for place in (*places, "origin.test")):
        return f"WRONG REASON: it does not name host and port: {_short(run.said)}"
    # A word in the URL is not a reason: the addresses are removed first.
    for place in places:
        said = said.replace(place, "")
    if words and not any(word in said for word in words):
        return f"WRONG REASON: exit {run.code}: {_short(run.said)}"
    return ""


def mixture(data: bytes, versions: tuple[bytes, ...], step: int = 4096) -> str:
    """Versions that the blocks of a wrong file are from, in order."""
    found: list[str] = []
    for at in range(0, len(data), step):
        block = data[at : at + step]
        names = [str(n) for n, version in enumerate(versions) if version[at : at + step] == block]
        name = f"version {names[0]}" if names else "no version"
        if not found or found[-1] != name:
            found.append(name)
    return "of " + ", then ".join(found[:6]) if found else "none of a file that has some"


def _short(said: str) -> str:
    return " | ".join(said.strip().splitlines())[-300:] or "nothing was said"
