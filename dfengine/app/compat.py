"""Runs dfengine under the names of Dragonfly 1.x's programs, for scripts that were written for them: dfget, supernode, dfdaemon.

A command line under such a name is translated to one of `get`, `supernode` or `proxy`. Configuration files are read from the paths of 1.x.
Source: the command line reference of Dragonfly 1.x, and its templates of those files.
"""

from __future__ import annotations

import os
import sys
import time

from dfengine.app.options import COMMANDS, Option
from dfengine.app.output import failed, print_flushed
from dfengine.errors import BadValue, DfengineError, StorageError
from dfengine.task import redacted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from dfengine.client import Result

NAMES = {"dfget": "get", "supernode": "supernode", "dfdaemon": "proxy"}
"""Names of links -> commands."""

FILES = {"dfget": "/etc/dragonfly/dfget.yml", "supernode": "/etc/dragonfly/supernode.yml", "dfdaemon": "/etc/dragonfly/dfdaemon.yml"}
"""Paths of 1.x's configuration files."""

SERVER = {"--data": True, "--meta": True, "--expiretime": True, "--verbose": False, "--dynamic": False, "--console": False}
"""Flags of `dfget server` without effect -> whether a value follows."""

DAEMON = {
    "--registry": "--registry", "--node": "--node", "--ratelimit": "--locallimit", "--config": "--dfdaemon", "--workHome": "--home",
    "--peerPort": "--port",
}  # fmt: skip
"""Flags of dfdaemon -> those of `proxy`."""

DAEMON_IGNORED = {
    "--callsystem": True, "--dfpath": True, "--localrepo": True, "--maxprocs": True, "--urlfilter": True, "--timeout": True,
    "--rule": True, "--certpem": True, "--keypem": True, "--notbs": False, "--verbose": False,
    "--streamMode": False,
}  # fmt: skip
"""Flags of dfdaemon without effect -> whether a value follows."""

REASONS = {"no supernode is given": 8, "asked for by --pattern source": 100}
"""Reason for which a download fell back to its origin -> 1.x's number."""

FAILED = 3
"""1.x's number for all other reasons."""


def translated(name: str, given: list[str]) -> list[str]:
    """`words`. Ends the process if a configuration file cannot be used."""
    try:
        return words(name, given)
    except DfengineError as error:
        sys.exit(failed(error))


def words(name: str, given: list[str]) -> list[str]:
    """The command line of dfengine for the words after one of NAMES."""
    if given[:1] in (["version"], ["--version"], ["-v"]):
        return ["version"]
    if name == "dfget":
        if given[:1] == ["server"]:
            return ["peer", *_without(given[1:], SERVER)]
        from_file = _of_file(FILES[name], COMMANDS["get"], given) if os.path.exists(FILES[name]) else []
        return ["get", *from_file, *given]
    if name == "supernode":
        return ["supernode", *_supernode(given)]
    return ["proxy", *_daemon(given)]


def _split(given: list[str]) -> Iterator[tuple[str, str | None, Callable[[], str]]]:
    """Yield (flag, its value if attached with =, a function that takes the next word as the value)."""
    left = list(given)
    while left:
        word = left.pop(0)
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        yield flag, value if equals else None, lambda: left.pop(0) if left else ""


def _without(given: list[str], ignored: dict[str, bool]) -> list[str]:
    found, left_out = [], []
    for flag, value, following in _split(given):
        if flag in ignored:
            left_out.append(flag)
            if ignored[flag] and value is None:
                following()
        else:
            found.append(flag if value is None else f"{flag}={value}")
    _print_ignored(left_out)
    return found


def _print_ignored(flags: list[str]) -> None:
    if flags:
        print(f"dfengine: accepted from Dragonfly 1.x, without effect: {', '.join(flags)}", file=sys.stderr)


def _supernode(given: list[str]) -> list[str]:
    """The user's words, after the settings of a configuration file of 1.x."""
    path, rest = "", []
    for flag, value, following in _split(given):
        if flag == "--config":
            path = following() if value is None else value
        else:
            rest.append(flag if value is None else f"{flag}={value}")
    if not path:
        return (_of_file(FILES["supernode"], COMMANDS["supernode"], given) if os.path.exists(FILES["supernode"]) else []) + rest
    content = _content(path)
    return [*_of_file(path, COMMANDS["supernode"], given), *rest] if "base" in content else ["--config", path, *rest]


def _daemon(given: list[str]) -> list[str]:
    host, port, found, left_out = "", "", [], []
    for flag, value, following in _split(given):
        if flag in DAEMON_IGNORED:
            left_out.append(flag)
            if DAEMON_IGNORED[flag] and value is None:
                following()
        elif flag in ("--hostIp", "--port"):
            text = following() if value is None else value
            host, port = (text, port) if flag == "--hostIp" else (host, text)
        elif flag in DAEMON:
            text = following() if value is None else value
            for each in text.split(",") if flag == "--node" else [text]:
                found += [DAEMON[flag], each]
        else:
            found.append(flag if value is None else f"{flag}={value}")
    _print_ignored(left_out)
    listen = ["--listen", f"{host or '127.0.0.1'}:{port or 65001}"] if host or port else []
    default = ["--dfdaemon", FILES["dfdaemon"]] if "--dfdaemon" not in found and os.path.exists(FILES["dfdaemon"]) else []
    return [*default, *listen, *found]


def _content(path: str) -> dict[Any, Any]:
    """The mapping in a YAML file. Raises BadValue."""
    import yaml

    try:
        with open(path, "rb") as file:
            content = yaml.safe_load(file.read(1 << 20))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadValue(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise BadValue(f"{path} is not a mapping of settings")
    return content or {}


def _of_file(path: str, table: tuple[Option, ...], given: list[str]) -> list[str]:
    """The settings of a file of 1.x as words. Repeatable ones (supernodes) are left out if they were `given`. Raises BadValue."""
    content = _content(path)
    base = content.get("base", content)
    if not isinstance(base, dict):
        raise BadValue(f"{path}: base is not a mapping of settings")
    found: list[str] = []
    for option in table:
        value = base.get(option.legacy) if option.legacy else None
        typed = {word.partition("=")[0] for word in given}
        if value is None or (option.many and typed & {*option.flags}):
            continue
        for each in value if isinstance(value, list) and option.many else [value]:
            if not isinstance(each, str | int | float):
                raise BadValue(f"{path}: {option.legacy} is {type(each).__name__}: write it as on the command line")
            # In Go a number is a duration in nanoseconds.
            found += [option.flags[-1], f"{each / 1e9:.9f}" if option.kind == "duration" and not isinstance(each, str) else str(each)]
    return found


def run_and_print(run: Callable[[dict[str, Any]], Result | None], values: dict[str, Any]) -> None:
    """Call `run`, and print the last line of 1.x's output. Raises the exceptions of `run`."""
    began = time.monotonic()
    try:
        result = run(values)
    except DfengineError as error:
        cost, message = time.monotonic() - began, " ".join(str(error).split())
        print_flushed(f"download FAIL({error.exit_code}) cost:{cost:.3f}s length:-1 reason:0 error:{redacted(message)}")
        raise
    if result is not None and result.output != "-":
        reason = REASONS.get(result.back_to_source, FAILED) if result.back_to_source else 0
        print_flushed(f"download SUCCESS(0) cost:{result.seconds:.3f}s length:{result.length} reason:{reason}")


def install(folder: str) -> list[str]:
    """Make the links in a directory, and return their paths. Raises BadValue, StorageError."""
    program = _program()
    found = [os.path.join(folder, name) for name in NAMES]
    for path in found:
        if os.path.lexists(path) and not (os.path.islink(path) and os.path.realpath(path) == os.path.realpath(program)):
            raise BadValue(f"{path} exists, and is not a link to {program}: remove it first, or name another directory")
    try:
        os.makedirs(folder, exist_ok=True)
        for path in found:
            if not os.path.lexists(path):
                os.symlink(program, path)
    except OSError as error:
        raise StorageError(f"cannot make links in {folder}: {error.strerror}") from None
    return found


def _program() -> str:
    """The path of the running command. Raises BadValue."""
    for path in (os.path.abspath(sys.argv[0]), os.path.join(os.path.dirname(sys.executable), "dfengine")):
        if os.path.basename(path) == "dfengine" and os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise BadValue("this dfengine runs from its sources: install it first, so that there is a command to link to")
