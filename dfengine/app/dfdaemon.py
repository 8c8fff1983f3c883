"""Reads the configuration of Dragonfly 1.x's dfdaemon (dfdaemon.yml) as options of `dfengine proxy`.

Source: the template of that file in the documentation of Dragonfly 1.x.
"""

from __future__ import annotations

import os
import re
from typing import Any

import yaml

from dfengine.app.option_kinds import KINDS
from dfengine.app.options import PROXY
from dfengine.errors import BadValue
from dfengine.proxy.forward import rules
from dfengine.proxy.forward.forward_settings import HTTPS, Forwarding, Intercepted
from dfengine.proxy.forward.rules import Rule, Rules
from dfengine.proxy.registries import Registry
from dfengine.settings import SupernodeAddress, parse_rate

FLAGS = {
    "--node": "nodes", "-n": "nodes", "--locallimit": "locallimit", "-s": "locallimit", "--totallimit": "totallimit", "--home": "home",
    "--ip": "ip", "--port": "port", "--expiretime": "expiretime", "--alivetime": "alivetime",
}  # fmt: skip
"""Flags among `dfget_flags` that have an effect -> the setting."""

STRIPPED = ("-f", "--filter")
"""The flag of query parameters that are left out of the task id, as `a&b`."""

KIND = {option.name: option.kind for option in PROXY}

IGNORED_KEYS = frozenset(("dfpath", "logConfig", "log_config", "verbose", "maxprocs", "localrepo", "callsystem", "urlfilter", "notbs",
                    "workHome"))
"""Keys that need no counterpart: another program's paths and logs, or behaviour that the proxy always has."""


def read(path: str) -> tuple[dict[str, Any], Forwarding, list[str]]:
    """The file's settings, its forward proxy, and its keys without a counterpart. Raises BadValue."""
    try:
        with open(path, "rb") as file:
            content = yaml.safe_load(file.read(1 << 20))
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadValue(f"--dfdaemon {path} cannot be read: {' '.join(str(error).split())}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise BadValue(f"--dfdaemon {path} is not a mapping of settings")
    return settings(content, os.path.dirname(path))


def settings(content: dict[Any, Any], folder: str = "") -> tuple[dict[str, Any], Forwarding, list[str]]:
    """As `read`, from the content of a file in `folder`. Raises BadValue."""
    found: dict[str, Any] = {}
    left: list[str] = []
    mirror = _of(content, "registry_mirror", dict, {})
    if remote := _of(mirror, "remote", str, ""):
        found["registries"] = (_registry(remote),)
    certs = [str(each) for each in _of(mirror, "certs", list, [])]
    if _of(mirror, "direct", bool, False):
        left.append("registry_mirror: direct")
    if _of(mirror, "insecure", bool, False):
        found["insecure"] = True
    if "port" in content or "hostIp" in content:
        found["listen"] = (f"{_of(content, 'hostIp', str, '127.0.0.1')}:{_of(content, 'port', int, 65001)}",)
    if "ratelimit" in content:
        found["locallimit"] = parse_rate(str(content["ratelimit"]))
    nodes = [SupernodeAddress.parse(str(each)) for each in _of(content, "supernodes", list, [])]
    flags = [str(each) for each in _of(content, "dfget_flags", list, [])]
    strip: tuple[str, ...] = ()
    while flags:
        flag, equals, value = flags.pop(0).partition("=")
        name = FLAGS.get(flag)
        if name is None and flag not in STRIPPED:
            if flag.startswith("-") and flag not in ("--verbose", "--notbs"):
                left.append(f"dfget_flags: {flag}")
            continue
        if not equals:
            if not flags:
                raise BadValue(f"dfget_flags: {flag} has no value")
            value = flags.pop(0)
        if name is None:
            strip = tuple(filter(None, value.split("&")))
        elif name == "nodes":
            nodes += [SupernodeAddress.parse(each) for each in value.split(",")]
        else:
            found[name] = KINDS[KIND[name]].read(value)
    if nodes:
        found["nodes"] = tuple(dict.fromkeys(nodes))
    chosen = tuple(_rule(each, strip) for each in _of(content, "proxies", list, []))
    hijack = _of(content, "hijack_https", dict, {})
    hosts = _of(hijack, "hosts", list, [])
    certs += [_beside(folder, str(cert)) for each in hosts if isinstance(each, dict) for cert in _of(each, "certs", list, [])]
    if certs:
        found["cacerts"] = tuple(dict.fromkeys(certs))
    pair = [_beside(folder, _of(hijack, name, str, "")) for name in ("cert", "key")]
    if bool(pair[0]) != bool(pair[1]):
        raise BadValue("dfdaemon's hijack_https has a cert and a key, or neither")
    forwarding = Forwarding(Rules(chosen, rules.NOTHING), tuple(map(_hijacked, hosts)), frozenset((HTTPS,)), False, *pair)
    known = {"registry_mirror", "port", "hostIp", "ratelimit", "supernodes", "dfget_flags", "proxies", "hijack_https", *IGNORED_KEYS}
    left += [str(key) for key in content if key not in known]
    return found, forwarding, left


def _rule(given: Any, strip: tuple[str, ...]) -> Rule:
    """A rule from an entry of `proxies`. Raises BadValue."""
    if not isinstance(given, dict):
        raise BadValue("dfdaemon's proxies are a list of `- regx: REGEX`")
    where = "dfdaemon's proxies"
    return Rule(
        rules.regex(given.get("regx"), where), rules.DIRECT if _of(given, "direct", bool, False) else rules.SWARM, strip,
        https=_of(given, "use_https", bool, False), redirect=rules.redirect(_of(given, "redirect", str, ""), where),
    )  # fmt: skip


def _hijacked(given: Any) -> Intercepted:
    """An entry of `hosts`: its regular expression is searched for in HOST:PORT. Raises BadValue."""
    if not isinstance(given, dict):
        raise BadValue("dfdaemon's hijack_https.hosts are a list of `- regx: REGEX`")
    found = rules.regex(given.get("regx"), "dfdaemon's hijack_https.hosts")
    return Intercepted(re.compile(found.pattern, re.IGNORECASE), _of(given, "insecure", bool, False))


def _beside(folder: str, path: str) -> str:
    """The path, relative to the directory of dfdaemon.yml if a file exists there."""
    beside = os.path.join(folder, path)
    return beside if path and os.path.exists(beside) else path


def _of(content: dict[Any, Any], key: str, kind: type, otherwise: Any) -> Any:
    """The value of `key`, or `otherwise` if it is absent. Raises BadValue for another type."""
    value = content.get(key)
    if value is None:
        return otherwise
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadValue(f"dfdaemon's {key} is {type(value).__name__}")
    return value


def _registry(remote: str) -> str:
    """Check a URL as of `--registry`; 1.x allows a slash at its end. Raises BadValue."""
    Registry.parse(remote)
    return remote
