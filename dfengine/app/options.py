"""What `dfengine get` can be told: one table, from which `cli` makes click's command, and the reading of a plain command line.

Importing click costs a small download more than its bytes. `plain` reads what most command lines are made of, to the same values
that click would give; whatever else there is (help, a mistake, a value from elsewhere) it leaves to click.
"""

from __future__ import annotations

from dfengine import settings
from dfengine.errors import BadValue, CallerError
from dfengine.task import Digest
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FLAG = "flag"
"""Kind of an option without a value."""

PATTERN = "p2p|cdn|source"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise BadValue(f"port {text[:40]!r} is not a number up to 65535")
    return int(text)


def _pattern(text: str) -> str:
    if text not in PATTERN.split("|"):
        raise BadValue(f"pattern {text[:40]!r} is not one of {PATTERN}")
    return text


def _within(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number of least..most."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and least <= int(text) <= most):
            raise BadValue(f"{text[:40]!r} is not a number of {least}..{most}")
        return int(text)

    return read


def _goes_on(text: str) -> str:
    if text != "-":
        raise BadValue("say -C -, or leave it out: a download always goes on from what is there, at no other offset")
    return text


KINDS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "url": str,
    "url|user[:password]": str,
    "user[:password]": str,
    "product": str,
    "file": str,
    "dir": str,
    "hex": lambda text: Digest.parse(f"md5:{text}").hex,
    "address": str,
    "labels": str,
    "names": str,
    "rate": settings.parse_rate,
    "size": settings.parse_size,
    "pieces|size": settings.parse_window,
    "duration": settings.parse_duration,
    "header": settings.parse_header,
    "host[:port][=weight]": settings.SupernodeAddress.parse,
    "algorithm:hex": Digest.parse,
    "port": _port,
    "a-b|a-|-n": settings.parse_range,
    "1..16": _within(1, 16),
    "n": _within(0, 1000),
    "-": _goes_on,
    PATTERN: _pattern,
}
"""How the text of each kind of option is read; each raises BadValue. The names are what `--help` shows."""


class Option(Value):
    """flags: as typed, all of one meaning. name: of the setting. default: as a user would write it, for help only; the value is
    `GetSettings`' own.
    """

    flags: tuple[str, ...]
    name: str
    help: str
    kind: str = "text"
    many: bool = False
    default: str = ""


SECRET = Option(
    ("--secret-file",), "secret_file",
    "File with the swarm's secret, mode 0600; requests without it are refused. Twice: signs with the first, takes both.", "file", many=True,
)  # fmt: skip
TLS_CERT = Option(("--tls-cert",), "tls_cert", "PEM file of this host's certificate: speak TLS to supernodes and peers.", "file")
TLS_KEY = Option(("--tls-key",), "tls_key", "PEM file of its key, if that is not in the certificate's file.", "file")
TLS_CA = Option(("--tls-ca",), "tls_ca", "PEM file of the swarm's certificate authority; who is not certified by it is refused.", "file")
TRUST = (SECRET, TLS_CERT, TLS_KEY, TLS_CA)
"""The same for every role."""

GET = (
    Option(("--url",), "url", "The same as URL.", "url"),
    Option(("-u",), "u", "URL if it begins as one, with a scheme and ://; else the same as --user.", "url|user[:password]", many=True),
    Option(("-o", "--output"), "output", "File or folder to write, - to stream to stdout; the URL's last segment here by default.", "file"),
    Option(("-P", "--dir"), "dir", "Folder of the output; -o is relative to it.", "dir"),
    Option(("--create-dirs",), "create_dirs", "Make the output's folders that are missing.", FLAG),
    Option(("-J", "--remote-header-name"), "remote_header_name", "Name the output by the origin's Content-Disposition header.", FLAG),
    Option(("-O", "--remote-name", "-L", "-c", "--continue"), "accepted", "Accepted: name the output by the URL, follow redirects, resume.",
           FLAG),
    Option(("-C", "--continue-at"), "continue_at", "Accepted as -C -: a download goes on from what is there.", "-"),
    Option(("--skip-existing",), "skip_existing", "End at once, with success, when the output exists.", FLAG),
    Option(("--force",), "force", "Fetch the file although the output is still right.", FLAG),
    Option(("--stream",), "stream", "Write the file to stdout in order, through a window in memory; the same as -o -.", FLAG),
    Option(("--window",), "window", "Of a stream: pieces (16) or bytes (256M) fetched ahead of its reader.", "pieces|size"),
    Option(("--cache",), "cache", "Of a stream: bytes kept in memory for other peers after they were read.", "size"),
    Option(("-n", "--node"), "nodes", "Supernode, HOST[:PORT][=WEIGHT]; may be given again.", "host[:port][=weight]", many=True),
    Option(("-p", "--pattern"), "pattern", "p2p: peers and supernode; cdn: the same, and serve nobody; source: the origin only.", PATTERN,
           default="p2p"),
    Option(("--notbs",), "notbs", "Never go back to the origin when the swarm fails.", FLAG),
    Option(("-f", "--filter"), "filter", "Query parameters that do not tell files apart, as a&b.", "names"),
    Option(("-i", "--identifier"), "identifier", "Tells apart files of one URL."),
    Option(("-m", "--md5"), "md5", "The file's expected md5; part of the task's identity.", "hex"),
    Option(("--digest",), "digest", "The file's expected digest: md5, sha1, sha256, sha512, blake3 or xxh3, a colon, hex.",
           "algorithm:hex"),
    Option(("-r", "--range"), "range", "Download these bytes only, counted from 0; -N: the last N.", "a-b|a-|-n"),
    Option(("-H", "--header"), "headers", "Header for the origin, 'Name: value'; may be given again.", "header", many=True),
    Option(("-A", "--user-agent"), "user_agent", "User-Agent header for the origin.", "product"),
    Option(("--user",), "user", "User and password for the origin (Basic).", "user[:password]"),
    Option(("--netrc",), "netrc", "Take user and password for the origin from ~/.netrc.", FLAG),
    Option(("--netrc-file",), "netrc_file", "Take user and password for the origin from FILE.", "file"),
    Option(("-s", "--locallimit", "--limit-rate"), "locallimit", "Receive at most RATE bytes per second, as 20M.", "rate"),
    Option(("--totallimit",), "totallimit", "This host's peer server sends at most RATE bytes per second.", "rate"),
    Option(("--minrate",), "minrate", "Leave a source that is slower than RATE.", "rate", default="64K"),
    Option(("-e", "--timeout", "--max-time"), "timeout", "Give up after this time, as 90 or 5m.", "duration"),
    Option(("--connections",), "connections", "Connections to the origin at once, at most.", "1..16", default="4"),
    Option(("--retry",), "retry", "Try N times more after a transient failure of the origin.", "n", default="5"),
    Option(("--retry-max-time",), "retry_max_time", "Begin no further try after this time; 0: at any time.", "duration", default="0"),
    Option(("--connect-timeout",), "connect_timeout", "Give up a connection to the origin after this time; 0: after 30 s.", "duration",
           default="0"),
    Option(("--first-byte-timeout",), "first_byte_timeout", "Wait this long for the head of the origin's answer; 0: as --minrate allows.",
           "duration", default="0"),
    Option(("--ip",), "ip", "This host's address for its peers.", "address"),
    Option(("--port",), "port", "This host's port for its peers, 15000..65000; a free one by default.", "port"),
    Option(("--home",), "home", "Where this host's peer server keeps its records.", "dir", default="~/.dfengine"),
    Option(("--alivetime",), "alivetime", "The peer server ends after this idle time.", "duration", default="5m"),
    Option(("--expiretime",), "expiretime", "Serve the file this long after its last use.", "duration", default="3m"),
    Option(("--cacerts",), "cacerts", "PEM file of certificates to trust for the origin; may be given again.", "file", many=True),
    Option(("--cert",), "cert", "PEM file of the client certificate for the origin.", "file"),
    Option(("--key",), "key", "PEM file of its key, if that is not in the certificate's file.", "file"),
    Option(("-k", "--insecure"), "insecure", "Do not verify the origin's certificate.", FLAG),
    Option(("--callsystem",), "callsystem", "Name of the calling system, for the supernode's metrics."),
    Option(("--location",), "location", "Where this host is, widest first, as region|site|rack: near peers are asked first.", "labels"),
    *TRUST,
    Option(("--json",), "json", "Print one JSON object about the download on stdout.", FLAG),
    Option(("-q", "--quiet"), "quiet", "Nothing on stderr but errors.", FLAG),
    Option(("--verbose",), "verbose", "Say on stderr what happens.", FLAG),
    Option(("-b", "--showbar"), "showbar", "Show the progress bar even when stderr is no terminal.", FLAG),
)  # fmt: skip
"""In the order of `--help`."""

CURL = {
    "-f": "-f is 1.x's --filter NAMES; a failure of the origin always gives an exit code and no file: leave -f out",
    "-i": "-i is 1.x's --identifier TEXT; heads of answers are not part of the output: leave -i out",
    "-s": "-s is 1.x's --locallimit RATE; for silence say -q",
    "-n": "-n is 1.x's --node HOST[:PORT]; for ~/.netrc say --netrc, for wget's -nc --skip-existing",
    "-m": "-m is 1.x's --md5 HEX; for a limit in time say --max-time TIME",
    "-O": "-O names the output by the URL; for another name say -o FILE, for stdout -o -",
}
"""Flags that mean something else to users of curl or wget -> what to say to them."""


UNKNOWN = {
    "-v": "there is no -v: say --verbose, or --version before the command",
    "-x": "there is no -x: for connections to the origin say --connections N; a proxy is read from http_proxy, https_proxy and all_proxy",
    "-N": "there is no -N: what is here and still the origin's file is never fetched again",
    "-S": "there is no -S: errors are always shown, leave -S out",
    "-t": "there is no -t: say --retry N",
    "-T": "there is no -T: for a limit in time say --max-time TIME",
}
"""The same for flags of curl, wget and aria2c that do not exist here."""


def _reads(kind: str, text: str) -> bool:
    try:
        KINDS[kind](text)
    except CallerError:
        return False
    return True


def _meant_otherwise(flag: str, text: str | None, attached: bool, known: dict[str, Option]) -> bool:
    """`text`, the value of one of `CURL`, shows that curl's flag is meant; None: there is no value."""
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
    """What to say when the words after `dfengine get` use a flag as curl or wget does and 1.x does not; else ""."""
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


def plain(words: Sequence[str], options: Sequence[Option] = GET) -> dict[str, Any] | None:
    """What the words after `dfengine get` say: setting -> value, `address` being the URL; None where click must look itself."""
    if mistaken(words):
        return None
    known = {flag: option for option in options for flag in option.flags}
    found: dict[str, Any] = {}
    left = iter(words)
    for word in left:
        if word[:1] != "-" or word == "-":
            if "address" in found:
                return None
            found["address"] = word
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
            value = KINDS[option.kind](text)
        except CallerError:
            return None
        found[option.name] = (*found.get(option.name, ()), value) if option.many else value
    return found
