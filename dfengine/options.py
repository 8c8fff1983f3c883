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


KINDS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "url": str,
    "file": str,
    "dir": str,
    "hex": str,
    "address": str,
    "labels": str,
    "names": str,
    "rate": settings.parse_rate,
    "size": settings.parse_size,
    "pieces|size": settings.parse_window,
    "duration": settings.parse_duration,
    "header": settings.parse_header,
    "host[:port][=weight]": settings.Node.parse,
    "algorithm:hex": Digest.parse,
    "port": _port,
    PATTERN: _pattern,
}
"""How the text of each kind of option is read; each raises BadValue. The names are what `--help` shows."""


class Option(Value):
    """flags: as typed. name: of the setting. default: as a user would write it, for help only; the value is `GetSettings`' own."""

    flags: tuple[str, ...]
    name: str
    help: str
    kind: str = "text"
    many: bool = False
    default: str = ""


SECRET = Option(("--secret-file",), "secret_file", "File with the swarm's secret, mode 0600; who has it not is served nothing.", "file")
TLS_CERT = Option(("--tls-cert",), "tls_cert", "PEM file of this host's certificate: speak TLS to supernodes and peers.", "file")
TLS_KEY = Option(("--tls-key",), "tls_key", "PEM file of its key, if that is not in the certificate's file.", "file")
TLS_CA = Option(("--tls-ca",), "tls_ca", "PEM file of the swarm's certificate authority; who is not certified by it is refused.", "file")
TRUST = (SECRET, TLS_CERT, TLS_KEY, TLS_CA)
"""The same for every role."""

GET = (
    Option(("-u", "--url"), "url", "The same as URL.", "url"),
    Option(("-o", "--output"), "output", "File to write, - to stream to stdout; the URL's last segment in this directory by default.",
           "file"),
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
    Option(("--digest",), "digest", "The file's expected digest: sha256, blake3, xxh3 or md5, a colon, hex.", "algorithm:hex"),
    Option(("--header",), "headers", "Header for the origin, 'Name: value'; may be given again.", "header", many=True),
    Option(("-s", "--locallimit"), "locallimit", "Receive at most RATE bytes per second, as 20M.", "rate"),
    Option(("--totallimit",), "totallimit", "This host's peer server sends at most RATE bytes per second.", "rate"),
    Option(("--minrate",), "minrate", "Leave a source that is slower than RATE.", "rate", default="64K"),
    Option(("-e", "--timeout"), "timeout", "Give up after this time, as 90 or 5m.", "duration"),
    Option(("--ip",), "ip", "This host's address for its peers.", "address"),
    Option(("--port",), "port", "This host's port for its peers, 15000..65000; a free one by default.", "port"),
    Option(("--home",), "home", "Where this host's peer server keeps its records.", "dir", default="~/.dfengine"),
    Option(("--alivetime",), "alivetime", "The peer server ends after this idle time.", "duration", default="5m"),
    Option(("--expiretime",), "expiretime", "Serve the file this long after its last use.", "duration", default="3m"),
    Option(("--cacerts",), "cacerts", "PEM file of certificates to trust for the origin; may be given again.", "file", many=True),
    Option(("--insecure",), "insecure", "Do not verify the origin's certificate.", FLAG),
    Option(("--callsystem",), "callsystem", "Name of the calling system, for the supernode's metrics."),
    Option(("--location",), "location", "Where this host is, widest first, as region|site|rack: near peers are asked first.", "labels"),
    *TRUST,
    Option(("--json",), "json", "Print one JSON object about the download on stdout.", FLAG),
    Option(("--quiet",), "quiet", "Nothing on stderr but errors.", FLAG),
    Option(("--verbose",), "verbose", "Say on stderr what happens.", FLAG),
    Option(("-b", "--showbar"), "showbar", "Show the progress bar even when stderr is no terminal.", FLAG),
)  # fmt: skip
"""In the order of `--help`."""


def plain(words: Sequence[str], options: Sequence[Option] = GET) -> dict[str, Any] | None:
    """What the words after `dfengine get` say: setting -> value, `address` being the URL; None where click must look itself."""
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
