"""Reads plain command lines of `dfengine get` without click.

Importing click costs a small download more time than its bytes. For most command lines `read` returns the values that click would return;
all others (help, a mistake, a value from elsewhere) are left to click. `mistaken` recognizes options used as in curl or wget.
"""

from __future__ import annotations

from dfengine.app.option_kinds import FLAG, KINDS, added
from dfengine.app.options import GET
from dfengine.errors import CallerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from dfengine.app.options import Option

CURL = {
    "-f": "-f is --filter NAMES, as in 1.x; an HTTP error always gives an exit code and no file: omit -f",
    "-i": "-i is --identifier TEXT, as in 1.x; response headers are never part of the output: omit -i",
    "-s": "-s is --locallimit RATE, as in 1.x; to print errors only, use -q",
    "-n": "-n is --node HOST[:PORT], as in 1.x; for ~/.netrc use --netrc, for wget's -nc --skip-existing",
    "-m": "-m is --md5 HEX, as in 1.x; for a time limit use --max-time TIME",
    "-O": "-O names the output by the URL; for another name use -o FILE, for stdout -o -",
}
"""Flags with another meaning in curl or wget -> the error."""


UNKNOWN = {
    "-x": "there is no -x: use --connections N for connections, and the variables http_proxy, https_proxy and all_proxy for a proxy",
    "-N": "there is no -N: an output that is up to date is never downloaded again: omit -N",
    "-S": "there is no -S: errors are always printed: omit -S",
    "-t": "there is no -t: use --retry N",
    "-T": "there is no -T: for a time limit use --max-time TIME",
}
"""Flags of curl, wget and aria2c that do not exist here -> the error."""


def _reads(kind: str, text: str) -> bool:
    try:
        KINDS[kind].read(text)
    except CallerError:
        return False
    return True


def _meant_otherwise(flag: str, text: str | None, attached: bool, known: dict[str, Option]) -> bool:
    """Whether `text`, the value of one of `CURL`, shows that curl's flag is meant. None: there is no value."""
    if text is None:
        return True
    if flag in ("-s", "-n"):
        return not _reads(known[flag].kind, text) or (attached and flag == "-n" and text in ("c", "v", "d", "H", "p"))
    if flag == "-m":
        return len(text) < 32 and _reads("duration", text)
    if attached:
        return not set(text) - set("fsSLOJk")
    return text[:2] in known or text in known or text == "-" or (flag == "-f" and "://" in text)


def mistaken(words: Sequence[str]) -> str:
    """The error if the words after `dfengine get` use a flag as in curl or wget, and not as in 1.x; else ""."""
    known = {flag: option for option in GET for flag in option.flags}
    places: list[str] = []
    identifier = url = remote_name = False
    left = iter(words)
    for word in left:
        if word == "--":
            places += left
        elif word[:1] != "-" or word == "-":
            places.append(word)
        elif word.startswith("--"):
            name, equals, _ = word.partition("=")
            if name in known and known[name].kind != FLAG and not equals:
                next(left, "")
            url = url or name == "--url"
        else:
            at = 1
            while at < len(word):
                flag, rest = f"-{word[at]}", word[at + 1 :]
                option = known.get(flag)
                if option is None:
                    if remote_name and flag == "--":
                        return CURL["-O"]
                    if flag in UNKNOWN:
                        return UNKNOWN[flag]
                    break
                at += 1
                remote_name = remote_name or flag == "-O"
                if option.kind == FLAG:
                    continue
                value = rest or next(left, None)
                if flag in CURL and _meant_otherwise(flag, value, bool(rest), known):
                    return CURL[flag]
                identifier = identifier or (flag == "-i" and value is not None and "://" in value)
                url = url or (flag == "-u" and value is not None and "://" in value)
                break
    if identifier and not url and not places:
        return CURL["-i"]
    if remote_name and len(places) == 2 and sum("://" in place for place in places) == 1:
        return CURL["-O"]
    return ""


def read(words: Sequence[str]) -> dict[str, Any] | None:
    """Setting -> value from the words after `dfengine get`, with the arguments as `address`; None if click must parse them."""
    if mistaken(words):
        return None
    known = {flag: option for option in GET for flag in option.flags}
    found: dict[str, Any] = {}
    left = iter(words)
    for word in left:
        if word[:1] != "-" or word == "-":
            found["address"] = (*found.get("address", ()), word)
            continue
        name, equals, text = word.partition("=") if word.startswith("--") else (word, "", "")
        option = known.get(name)
        if option is None:
            return None
        if option.kind == FLAG:
            if equals:
                return None
            found[option.name] = True
            continue
        if not equals:
            given = next(left, None)
            if given is None:
                return None
            text = given
        try:
            value = KINDS[option.kind].read(text)
        except CallerError:
            return None
        found[option.name] = added(option.kind, found.get(option.name, ()), value) if option.many else value
    return found
