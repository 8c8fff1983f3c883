"""Signs requests with the swarm's secret: each control and piece request proves knowledge of the secret, and is accepted once.

    Dfengine-Auth: 2 <unix seconds> <session, 16 hex> <count> <HMAC-SHA256, 64 hex>

The HMAC covers version, the server's name, method, path with query, Range, SHA-256 of the body, time, session and count, each on a line.
A server draws its name at random when it starts, and a client requests it when it connects: a request signed for one server is invalid at
another, and at the same one after a restart. Session and count are the nonce: a connection draws its session at random and counts its
requests. Requests of one connection arrive in order, so a server stores one number per recent session instead of every nonce, and accepts
only higher counts. Imported only where a secret is configured.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from dfengine.errors import BadValue
from dfengine.net.client_quota import SHARE, Quota
from dfengine.net.http import Request, Response, text
from dfengine.net.private_files import check_private

HEADER = "Dfengine-Auth"
SKEW = 60.0
"""Seconds by which two clocks of one swarm may differ, including the request's time on the network."""

SESSIONS = 1 << 17
"""Sessions stored. When all are recent, further ones are refused: no session is forgotten before it is stale."""

FORGOTTEN = 1024
"""Maximum number of stale sessions that one request removes."""

MIN_LENGTH = 16
"""Minimum length of a secret in bytes."""

OPEN = frozenset(("/_ping", "/ping", "/server/ping", "/healthy", "/healthz", "/readyz", "/version", "/metrics"))
"""Paths that need no signature, because health probes and Prometheus cannot sign: health, version, counters."""

SERVER_NAME = "/swarm/server"
"""Path that returns the server's name."""

PROOF = "/swarm/proof/"
"""Prefix of a path that ends in a nonce: the response proves that the server knows the secret."""

_NONCE = re.compile(r"[0-9a-f]{32}")

_FORM = re.compile(r"2 (\d{1,11}) ([0-9a-f]{16}) (\d{1,15}) ([0-9a-f]{64})", re.ASCII)


def read_secret(path: str, what: str = "secret") -> bytes:
    """Read a secret file, without white space around the content. Raises BadValue, also for a file that others can read.

    what: the secret's name in error messages.
    """
    try:
        with open(os.path.expanduser(path), "rb") as file:
            check_private(path, os.fstat(file.fileno()))
            secret = file.read(1 << 16).strip()
    except OSError as error:
        raise BadValue(f"the {what} {path} cannot be read: {error.strerror}") from None
    if len(secret) < MIN_LENGTH:
        raise BadValue(f"the {what} {path} is shorter than {MIN_LENGTH} bytes: head -c 32 /dev/urandom | base64 makes a good one")
    return secret


def read_secrets(paths: Sequence[str], what: str = "secret") -> tuple[bytes, ...]:
    """Read several files: requests are signed with the first secret; each is accepted. Raises BadValue."""
    return tuple(read_secret(path, what) for path in paths)


def _mac(secret: bytes, server: str, method: str, target: bytes, range_: str, body: bytes, when: str, session: str, count: str) -> str:
    parts = ("2", server, method, hashlib.sha256(target).hexdigest(), range_, hashlib.sha256(body).hexdigest(), when, session, count)
    return hmac.digest(secret, "\n".join(parts).encode("latin-1", "replace"), "sha256").hex()


def proof_of(secret: bytes, nonce: str) -> str:
    """Return 64 hex digits. The HMAC's input has another prefix than that of signatures, so neither can serve as the other."""
    return hmac.digest(secret, f"proof\n{nonce}".encode(), "sha256").hex()


def proves(secrets: Sequence[bytes], nonce: str, status: int, body: bytes) -> bool:
    """Whether a response to PROOF and this nonce was made with one of the secrets."""
    given = body[:128].strip()
    return status == 200 and any(hmac.compare_digest(given, proof_of(secret, nonce).encode()) for secret in secrets)


def name_in(status: int, body: bytes) -> str:
    """The server's name in its response to SERVER_NAME; "" if the server has no secret."""
    return body[:64].decode("latin-1").strip() if status == 200 else ""


class Signer:
    """Signs one connection's requests to the named server, in the order in which they are sent. now: unix seconds."""

    def __init__(self, secret: bytes, server: str, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._server = server
        self._now = now
        self._session = os.urandom(8).hex()
        self._count = 0

    def sign(self, method: str, target: str, body: bytes = b"", range_: str = "") -> str:
        """Return the header's value for the next request."""
        self._count += 1
        when, count = str(int(self._now())), str(self._count)
        mac = _mac(self._secret, self._server, method, target.encode("latin-1", "replace"), range_, body, when, self._session, count)
        return f"2 {when} {self._session} {count} {mac}"


class Guard:
    """Checks one server's requests. SESSIONS bounds its memory, of which `share` percent are for one client. now: unix seconds.

    `name` is random. Each of `secrets` is accepted.
    """

    def __init__(
        self, secrets: Sequence[bytes], now: Callable[[], float] = time.time, sessions: int = SESSIONS, share: int = SHARE
    ) -> None:
        self.secrets = secrets
        self._now = now
        self._most = sessions
        self.name = os.urandom(8).hex()
        self._shares = Quota(sessions, share)
        self._sessions: OrderedDict[str, tuple[int, float, str]] = OrderedDict()
        """Session -> (highest count, when its latest request becomes too old, client), the longest silent first."""

    def answer_name(self, request: Request) -> Response | None:
        """Answer a request for the server's name; None for any other request."""
        return text(200, self.name) if request.path == SERVER_NAME and request.method == "GET" else None

    def answer_proof(self, request: Request) -> Response | None:
        """Answer a request for the proof, by the first secret; None for any other request."""
        nonce = request.path.removeprefix(PROOF)
        if request.method != "GET" or nonce == request.path or not _NONCE.fullmatch(nonce):
            return None
        return text(200, proof_of(self.secrets[0], nonce))

    def refusal(self, request: Request) -> Response | None:
        """None if the request is accepted. Else 401 without a valid signature, 403 if too old or repeated, 503 while memory is full."""
        if request.path in OPEN and request.method in ("GET", "HEAD"):
            return None
        match = _FORM.fullmatch(request.headers.get(HEADER.lower(), ""))
        if match is None:
            return text(401, "this swarm has a secret: give --secret-file")
        when, session, count, given = match.groups()
        range_ = request.headers.get("range", "")
        signed = (self.name, request.method, request.target, range_, request.body, when, session, count)
        if not any(hmac.compare_digest(given, _mac(secret, *signed)) for secret in self.secrets):
            return text(401, "the request was signed with another secret, or changed on its way")
        now = self._now()
        if abs(now - int(when)) > SKEW:
            return text(403, f"the request's time is {now - int(when):+.0f} s from this host's: set the clocks")
        self._forget(now)
        known = self._sessions.get(session)
        if known is not None and int(count) <= known[0]:
            return text(403, "the request was received before")
        if known is None and (len(self._sessions) >= self._most or not self._shares.acquire(request.client)):
            return text(503, "too many recent connections")
        # By the time the session is forgotten, all requests that it has sent so far are too old to be accepted.
        self._sessions[session] = int(count), now + 2 * SKEW, request.client if known is None else known[2]
        self._sessions.move_to_end(session)
        return None

    def _forget(self, now: float) -> None:
        """Remove stale sessions, at most FORGOTTEN."""
        for _ in range(FORGOTTEN):
            if not self._sessions or next(iter(self._sessions.values()))[1] >= now:
                break
            self._shares.release(self._sessions.popitem(last=False)[1][2])
