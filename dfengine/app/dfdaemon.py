"""Reads the configuration of Dragonfly 1.x's dfdaemon (dfdaemon.yml) as options of `dfengine proxy`.

Source: the documentation of Dragonfly 1.x, its template of that file.
"""

from __future__ import annotations

from typing import Any

import yaml

from dfengine.app.kinds import KINDS
from dfengine.app.options import PROXY
from dfengine.errors import BadValue
from dfengine.proxy.registries import Registry
from dfengine.settings import SupernodeAddress, parse_rate

FLAGS = {
    "--node": "nodes", "-n": "nodes", "--locallimit": "locallimit", "-s": "locallimit", "--totallimit": "totallimit", "--home": "home",
    "--ip": "ip", "--expiretime": "expiretime", "--alivetime": "alivetime",
}  # fmt: skip
"""Flags among `dfget_flags` that mean something here -> the setting."""

KIND = {option.name: option.kind for option in PROXY}

SILENT = frozenset(("dfpath", "logConfig", "log_config", "verbose", "maxprocs", "localrepo", "callsystem", "urlfilter", "notbs",
                    "workHome"))
"""Keys that need no counterpart: of another program's paths and logs, or of what the proxy does in any case."""


def read(path: str) -> tuple[dict[str, Any], list[str]]:
    """The settings that the file gives, and what of it has no counterpart. Raises BadValue."""
    try:
        with open(path, "rb") as file:
            content = yaml.safe_load(file.read(1 << 20))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadValue(f"--dfdaemon {path} cannot be read: {' '.join(str(error).split())}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise BadValue(f"--dfdaemon {path} is no mapping of settings")
    return settings(content)


def settings(content: dict[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """The same of what the file holds. Raises BadValue."""
    found: dict[str, Any] = {}
    left: list[str] = []
    mirror = _of(content, "registry_mirror", dict, {})
    if remote := _of(mirror, "remote", str, ""):
        found["registries"] = (_registry(remote),)
    if certs := _of(mirror, "certs", list, []):
        found["cacerts"] = tuple(map(str, certs))
    if _of(mirror, "insecure", bool, False):
        found["insecure"] = True
    if "port" in content or "hostIp" in content:
        found["listen"] = (f"{_of(content, 'hostIp', str, '127.0.0.1')}:{_of(content, 'port', int, 65001)}",)
    if "ratelimit" in content:
        found["locallimit"] = parse_rate(str(content["ratelimit"]))
    nodes = [SupernodeAddress.parse(str(each)) for each in _of(content, "supernodes", list, [])]
    flags = [str(each) for each in _of(content, "dfget_flags", list, [])]
    while flags:
        flag, equals, value = flags.pop(0).partition("=")
        name = FLAGS.get(flag)
        if name is None:
            if flag.startswith("-") and flag not in ("--verbose", "--notbs"):
                left.append(f"dfget_flags: {flag}")
            continue
        if not equals:
            if not flags:
                raise BadValue(f"dfget_flags: {flag} has no value")
            value = flags.pop(0)
        if name == "nodes":
            nodes += [SupernodeAddress.parse(each) for each in value.split(",")]
        else:
            found[name] = KINDS[KIND[name]].read(value)
    if nodes:
        found["nodes"] = tuple(dict.fromkeys(nodes))
    known = {"registry_mirror", "port", "hostIp", "ratelimit", "supernodes", "dfget_flags", *SILENT}
    left += [str(key) for key in content if key not in known]
    return found, left


def _of(content: dict[Any, Any], key: str, kind: type, otherwise: Any) -> Any:
    """A value of this kind. Raises BadValue for another."""
    value = content.get(key)
    if value is None:
        return otherwise
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadValue(f"dfdaemon's {key} is {type(value).__name__}")
    return value


def _registry(remote: str) -> str:
    """A URL as `--registry` has it; 1.x allows a slash at its end. Raises BadValue."""
    Registry.parse(remote)
    return remote
