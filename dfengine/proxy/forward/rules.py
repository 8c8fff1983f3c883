"""Rules over the URLs of a forward proxy's requests; the first match applies. Pure.

    - match: REGEX              searched for in the URL, as http://HOST[:PORT]/PATH?QUERY
      do: swarm                 or direct, or refuse; the default is swarm
      strip: [NAME, ...]        query parameters that do not identify a file, such as signatures
      ignore: [NAME, ...]       obstacles to sharing that do not count here: see shared_cache.FORBIDS
      least: SIZE               smaller responses are passed on
      https: true               request an http URL by https
      redirect: HOST[:PORT]     send the request to this server instead
"""

from __future__ import annotations

import re
from typing import Any

from dfengine.errors import BadValue
from dfengine.net.http import BadRequest
from dfengine.origin.request import PORTS
from dfengine.proxy.forward.shared_cache import FORBIDS
from dfengine.proxy.registries import Registry
from dfengine.proxy.targets import parse_server
from dfengine.settings import parse_size
from dfengine.value import Value

SWARM, DIRECT, REFUSE = "swarm", "direct", "refuse"
DO = (SWARM, DIRECT, REFUSE)

MIN_LENGTH = 64 << 10
"""Default minimum of bytes of a response for the swarm."""

MAX_RULES = 1000

KEYS = frozenset(("match", "do", "strip", "ignore", "least", "https", "redirect"))


class Rule(Value):
    """match: searched for in a URL. redirect: HOST[:PORT], or "". least: bytes."""

    match: re.Pattern[str]
    do: str = SWARM
    strip: tuple[str, ...] = ()
    ignore: frozenset[str] = frozenset()
    least: int = MIN_LENGTH
    https: bool = False
    redirect: str = ""

    def server(self, asked: Registry) -> Registry:
        """The server for the request, if the client named `asked`."""
        if not self.https and not self.redirect:
            return asked
        scheme = "https" if self.https else asked.scheme
        if self.redirect:
            return parse_server(self.redirect, scheme).replace(insecure=asked.insecure)
        port = PORTS["https"] if asked.port == PORTS[asked.scheme] else asked.port
        return asked.replace(scheme=scheme, port=port)


EVERYTHING = Rule(re.compile(""))
NOTHING = Rule(re.compile(""), DIRECT)


def stripped(url: str, names: tuple[str, ...]) -> list[str]:
    """Those of `names` that are parameters of the URL's query, in alphabetical order."""
    query = url.partition("#")[0].partition("?")[2]
    return sorted({part.partition("=")[0] for part in query.split("&")} & {*names})


class Rules:
    """Rules in order. otherwise: the rule if none matches."""

    def __init__(self, rules: tuple[Rule, ...] = (), otherwise: Rule = EVERYTHING) -> None:
        self.rules = rules
        self.otherwise = otherwise

    def of(self, url: str) -> Rule:
        """The first rule that matches."""
        return next((rule for rule in self.rules if rule.match.search(url)), self.otherwise)


def read(content: Any) -> tuple[Rule, ...]:
    """Rules from a file's content: a list of rules, or a mapping with the list as `rules`. Raises BadValue, which names the rule."""
    if isinstance(content, dict) and set(content) == {"rules"}:
        content = content["rules"]
    if content is None:
        return ()
    if not isinstance(content, list) or len(content) > MAX_RULES:
        raise BadValue(f"rules are a list of at most {MAX_RULES}, as `- match: REGEX`")
    return tuple(_rule(number, each) for number, each in enumerate(content, 1))


def _rule(number: int, given: Any) -> Rule:
    if not isinstance(given, dict) or "match" not in given:
        raise BadValue(f"rule {number} has no `match: REGEX`")
    unknown = [str(key)[:40] for key in given if key not in KEYS]
    if unknown:
        raise BadValue(f"rule {number}: {unknown[0]!r} is not one of {', '.join(sorted(KEYS))}")
    do = given.get("do", SWARM)
    if do not in DO:
        raise BadValue(f"rule {number}: `do` is {', '.join(DO)}, and not {str(do)[:40]!r}")
    ignore = frozenset(_names(number, "ignore", given))
    if ignore - FORBIDS:
        raise BadValue(f"rule {number}: `ignore` names {sorted(ignore - FORBIDS)[0][:40]!r}, and not only {', '.join(sorted(FORBIDS))}")
    least, https = given.get("least", MIN_LENGTH), given.get("https", False)
    if isinstance(least, bool) or not isinstance(least, int | str) or not isinstance(https, bool):
        raise BadValue(f"rule {number}: `least` is a size, `https` true or false")
    return Rule(regex(given["match"], f"rule {number}"), do, tuple(_names(number, "strip", given)), ignore, parse_size(least), https,
                redirect(given.get("redirect", ""), f"rule {number}"))  # fmt: skip


def _names(number: int, key: str, given: dict[Any, Any]) -> list[str]:
    names = given.get(key, [])
    names = names.split("&") if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and re.fullmatch("[!-%'-~]{1,200}", name) for name in names):
        raise BadValue(f"rule {number}: `{key}` is a list of names")
    return names


def regex(text: Any, where: str) -> re.Pattern[str]:
    """Compile a regular expression. Raises BadValue."""
    if not isinstance(text, str) or len(text) > 4096:
        raise BadValue(f"{where}: no regular expression of at most 4096 characters")
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadValue(f"{where}: {text[:80]!r} is not a regular expression: {error}") from None


def redirect(text: Any, where: str) -> str:
    """Parse HOST[:PORT]; "" for none. Raises BadValue."""
    if text in ("", None):
        return ""
    try:
        parse_server(str(text), "https")
    except BadRequest:
        raise BadValue(f"{where}: redirect {str(text)[:80]!r} is not HOST[:PORT]") from None
    return str(text)
