"""Servers that refuse: further connections, a second request, for a while, or permanently."""

from __future__ import annotations

from tests.origins.answers import http_date, refuse, serve
from tests.origins.behaviour import BIG, PIECE, SLOW_ENOUGH, Behaviour, Delivers, Fails, content
from tests.origins.cuts import ONCE
from tests.origins.server import Exchange, Script

FILE = (content(BIG, 1),)
TRANSIENT = {
    408: "Request Timeout", 425: "Too Early", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout",
}
FINAL = {
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    410: "Gone", 416: "Range Not Satisfiable", 451: "Unavailable For Legal Reasons",
}


def connections(limit: int, extra: Script) -> Script:
    """`limit` connections at once, each at a limited rate; further ones get `extra`."""

    def script(x: Exchange) -> None:
        if x.claim(limit):
            serve(x, rate=SLOW_ENOUGH)
        else:
            extra(x)

    return script


def saying(status: str) -> Script:
    """A refusal, and the end of the connection."""

    def script(x: Exchange) -> None:
        x.keep = False
        refuse(x, status, (("Connection", "close"),))

    return script


def once(status: str) -> Script:
    """A link that works once."""
    return lambda x: refuse(x, status) if x.n else serve(x, rate=SLOW_ENOUGH)


def granting(requests: int, status: str) -> Script:
    """A limited number of requests in all, each at a limited rate; further ones get the status."""
    return lambda x: serve(x, rate=SLOW_ENOUGH) if x.n < requests else refuse(x, status)


def failing(times: int, code: int) -> Script:
    """The first `times` requests fail."""
    return lambda x: serve(x) if x.n >= times else refuse(x, f"{code} {TRANSIENT[code]}")


def later(code: int, seconds: float, as_date: bool = False) -> Script:
    """Busy for some seconds, stated in each response."""

    def script(x: Exchange) -> None:
        left = seconds - x.server.since()
        if left > 0:
            # A date has whole seconds; it is rounded up.
            refuse(x, f"{code} {TRANSIENT[code]}", (("Retry-After", http_date(left + 1) if as_date else f"{int(left) + 1}"),))
        else:
            serve(x)

    return script


EXTRA: dict[str, Script] = {
    "503": saying("503 Service Unavailable"), "429": saying("429 Too Many Requests"), "403": saying("403 Forbidden"),
    "404": saying("404 Not Found"), "509": saying("509 Bandwidth Limit Exceeded"), "reset": lambda x: x.rst(), "end": lambda x: x.fin(),
    "silence": lambda x: x.silence(),
}

REFUSALS = (
    *(Behaviour(f"one-connection-{name}", connections(1, extra), versions=FILE) for name, extra in EXTRA.items()),
    Behaviour("two-connections-503", connections(2, EXTRA["503"]), versions=FILE),
    *(
        Behaviour(f"one-time-link-{status[:3]}", once(status), versions=FILE, resumed="may", options=ONCE)
        for status in ("403 Forbidden", "404 Not Found", "410 Gone")
    ),
    *(
        Behaviour(f"grants-4-then-{status[:3]}", granting(4, status), versions=(content(8 * PIECE + 17, 1),), resumed="may",
                  options=("--connections", "16", *ONCE))
        for status in ("403 Forbidden", "404 Not Found", "410 Gone", "429 Too Many Requests", "503 Service Unavailable")
    ),
    *(Behaviour(f"{code}-once", failing(1, code), Delivers()) for code in TRANSIENT),
    Behaviour("503-twice", failing(2, 503), Delivers()),
    Behaviour("500-twice", failing(2, 500), Delivers()),
    Behaviour("503-retry-after", later(503, 2.0), Delivers()),
    Behaviour("429-retry-after", later(429, 2.0), Delivers()),
    Behaviour("503-retry-after-date", later(503, 2.0, True), Delivers()),
    Behaviour("503-retry-after-nonsense", lambda x: serve(x) if x.n else refuse(x, "503 Busy", (("Retry-After", "soon"),)), Delivers()),
    *(Behaviour(f"{code}-always", saying(f"{code} {text}"), Fails(4, (str(code),))) for code, text in FINAL.items()),
    Behaviour("503-always", saying("503 Service Unavailable"), Fails(4, ("503",)), options=ONCE),
    Behaviour("501-always", saying("501 Not Implemented"), Fails(4, ("501",)), options=ONCE),
    Behaviour("refused-then-up", serve, Delivers(), late=1.5),
    Behaviour("refused-always", serve, Fails(4, ("refused",)), down=True, options=ONCE),
    Behaviour("never-answers", lambda x: x.silence(), Fails(8, ("time", "within"), named=False), options=("--timeout", "3"),
        curl=("-m", "3"),
              bound=15.0, resumed="no"),
    Behaviour("no-such-host", serve, Fails(4, ("resolve", "resolved", "name", "known"), named=False), url="no-such-host.invalid/file",
        options=ONCE),
)
