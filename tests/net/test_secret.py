"""Requests signed with the swarm's secret, and forged ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.net.http import Request
from dfengine.net.secret import HEADER, PROOF, SERVER_NAME, SKEW, Guard, Signer, name_in, proof_of, proves, read_secret

SECRET = b"0123456789abcdef0123"
NOW = 1_700_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def signer_for(guard: Guard, secret: bytes = SECRET, now: Callable[[], float] = lambda: NOW) -> Signer:
    """Return the signer of a connection to that server."""
    answer = guard.answer_name(Request("GET", SERVER_NAME.encode(), {}, b"", ""))
    assert answer is not None
    return Signer(secret, name_in(answer.status, answer.body), now)


def request(signer: Signer, method: str = "GET", target: str = "/peer/file/a?x=1", body: bytes = b"", range_: str = "") -> Request:
    headers = {HEADER.lower(): signer.sign(method, target, body, range_)}
    return Request(method, target.encode(), {**headers, **({"range": range_} if range_ else {})}, body, "127.0.0.1")


def status(guard: Guard, asked: Request) -> int:
    refusal = guard.refusal(asked)
    return refusal.status if refusal is not None else 200


def test_a_signed_request_is_accepted_once() -> None:
    guard = Guard((SECRET,), Clock())
    signer = signer_for(guard)
    for _ in range(3):
        asked = request(signer, "POST", "/swarm/pull", b"{}")
        assert [status(guard, asked), status(guard, asked)] == [200, 403]
    assert len(guard._sessions) == 1


def test_a_signature_is_not_accepted_by_another_server_or_its_successor() -> None:
    guards = [Guard((SECRET,), Clock()) for _ in range(3)]
    asked = request(signer_for(guards[0]), "POST", "/swarm/pull", b"{}")
    assert [status(guard, asked) for guard in guards] == [200, 401, 401]
    assert len({guard.name for guard in guards}) == 3


@pytest.mark.parametrize(
    ("code", "body", "name"), [(200, b"0123\n", "0123"), (404, b"404 page not found\n", ""), (200, b"\xff" * 99, "\xff" * 64)]
)
def test_the_server_name_is_read_from_a_successful_response_only(code: int, body: bytes, name: str) -> None:
    assert name_in(code, body) == name


def test_the_range_is_covered_by_the_signature() -> None:
    guard = Guard((SECRET,), Clock())
    signer = signer_for(guard)
    asked = request(signer, range_="bytes=0-9")
    asked.headers["range"] = "bytes=0-99"
    assert status(guard, asked) == 401
    assert status(guard, request(signer, range_="bytes=0-9")) == 200


def test_an_older_request_of_the_same_connection_is_refused() -> None:
    guard = Guard((SECRET,), Clock())
    signer = signer_for(guard)
    first, second = request(signer), request(signer)
    assert status(guard, second) == 200
    assert status(guard, first) == 403


@pytest.mark.parametrize("field", ["method", "target", "query", "body", "range", "secret", "server", "time", "session", "count", "mac"])
def test_any_change_of_a_signed_request_is_detected(field: str) -> None:
    guard = Guard((SECRET,), Clock())
    signer = signer_for(Guard((SECRET,)) if field == "server" else guard, b"another secret..." if field == "secret" else SECRET)
    asked = request(signer, "POST", "/swarm/pull?a=1", b"{}", "bytes=0-9")
    _, when, session, count, mac = asked.headers[HEADER.lower()].split()
    changed = {"time": (str(int(when) + 1), session, count, mac), "session": (when, session[::-1], count, mac),
               "count": (when, session, "9", mac), "mac": (when, session, count, mac[:-1] + ("0" if mac[-1] != "0" else "1"))}
    asked.headers[HEADER.lower()] = " ".join(("2", *changed.get(field, (when, session, count, mac))))
    if field == "method":
        asked.method = "DELETE"
    if field in ("target", "query"):
        asked.target = b"/swarm/join?a=1" if field == "target" else b"/swarm/pull?a=2"
    if field == "body":
        asked.body = b"[]"
    if field == "range":
        asked.headers["range"] = "bytes=0-8"
    assert status(guard, asked) == 401
    assert len(guard._sessions) == 0


@given(st.text(max_size=120) | st.from_regex(r"2 [0-9]{1,12} [0-9a-fA-F]{15,17} [0-9]{1,16} [0-9a-f]{63,65}"))
def test_arbitrary_text_is_not_accepted_as_a_signature(value: str) -> None:
    assert status(Guard((SECRET,), Clock()), Request("GET", b"/x", {HEADER.lower(): value}, b"", "")) == 401


def test_unsigned_requests_are_refused_except_ping() -> None:
    guard = Guard((SECRET,), Clock())
    for path in (b"/peer/registry", b"/swarm/pull", b"/peer/file/a", b"/tasks/a", b"/piece/a", b"/ping/", b"/v1/ping", b"//ping"):
        assert status(guard, Request("GET", path, {}, b"", "")) == 401
    assert status(guard, Request("GET", b"/ping", {}, b"", "")) == 200
    assert status(guard, Request("POST", b"/ping", {}, b"", "")) == 401


def test_a_server_proves_that_it_has_the_secret() -> None:
    nonce, other = "0" * 32, b"another secret of theirs"
    for secrets in ((SECRET,), (SECRET, other)):
        answer = Guard(secrets).answer_proof(Request("GET", (PROOF + nonce).encode(), {}, b"", ""))
        assert answer is not None
        assert proves((other, SECRET), nonce, answer.status, answer.body)
        assert not proves((other,), nonce, answer.status, answer.body)
        assert not proves((SECRET,), "1" * 32, answer.status, answer.body), "of another nonce"
        assert not proves((SECRET,), nonce, 500, answer.body)
        assert not proves((), nonce, 200, answer.body)
    assert proof_of(SECRET, nonce) != proof_of(other, nonce)


@pytest.mark.parametrize("path", ["", "0" * 31, "0" * 33, "g" * 32, "0" * 31 + "%0a", "2%0a" + "0" * 28, "A" * 32])
def test_only_nonces_are_proved(path: str) -> None:
    assert Guard((SECRET,)).answer_proof(Request("GET", (PROOF + path).encode(), {}, b"", "")) is None


def test_proofs_are_given_to_signed_requests_only() -> None:
    guard = Guard((SECRET,), Clock())
    assert status(guard, Request("GET", (PROOF + "0" * 32).encode(), {}, b"", "")) == 401
    assert guard.answer_proof(Request("POST", (PROOF + "0" * 32).encode(), {}, b"", "")) is None


@pytest.mark.parametrize("late", [-SKEW - 2, SKEW + 2])
def test_a_clock_that_is_too_far_off_is_refused(late: float) -> None:
    clock = Clock()
    guard = Guard((SECRET,), clock)
    asked = request(signer_for(guard, now=clock))
    clock.now += late
    assert status(guard, asked) == 403


def test_sessions_are_bounded_and_dropped_ones_cannot_be_replayed() -> None:
    clock = Clock()
    guard = Guard((SECRET,), clock, sessions=4, share=100)
    kept = [request(signer_for(guard, now=lambda: clock.now + SKEW)) for _ in range(4)]  # the clocks that are furthest ahead
    assert [status(guard, asked) for asked in kept] == [200] * 4
    assert status(guard, request(signer_for(guard, now=clock))) == 503
    assert len(guard._sessions) == 4
    for _ in range(30):
        clock.now += 10
        assert [status(guard, asked) for asked in kept] == [403] * 4
    assert status(guard, request(signer_for(guard, now=clock))) == 200
    assert len(guard._sessions) == 1


def test_sessions_are_limited_per_client() -> None:
    clock = Clock()
    guard = Guard((SECRET,), clock, sessions=8, share=50)

    def comes(client: str) -> int:
        asked = request(signer_for(guard, now=clock))
        asked.client = client
        return status(guard, asked)

    assert [comes("10.0.0.1") for _ in range(6)] == [200] * 4 + [503] * 2
    assert [comes(client) for client in ("10.0.0.2", "10.0.0.3", "10.0.0.3", "10.0.0.4", "10.0.0.5")] == [200] * 4 + [503]
    clock.now += 3 * SKEW
    assert [comes("10.0.0.1") for _ in range(5)] == [200] * 4 + [503]


def test_a_secret_file_must_be_private_and_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(BadValue, match="chmod 600"):
            read_secret(str(path))
    path.chmod(0o400)
    assert read_secret(str(path)) == SECRET
    path.chmod(0o600)
    path.write_bytes(b"short\n")
    for bad in (path, tmp_path / "absent"):
        with pytest.raises(BadValue):
            read_secret(str(bad))


def test_without_a_secret_no_cryptography_is_imported() -> None:
    code = "import sys, dfengine.client, dfengine.client.fetch, dfengine.client.local_peer\n" \
           "sys.exit(bool({'ssl', 'hmac', 'blake3', 'dfengine.net.secret'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_of_several_secrets_is_accepted() -> None:
    guard = Guard((SECRET, b"another secret..."), Clock())
    assert status(guard, request(signer_for(guard))) == 200
    assert status(guard, request(signer_for(guard, b"another secret..."))) == 200
    assert status(guard, request(signer_for(guard, b"a third secret.."))) == 401
    guard.secrets = (b"another secret...",)
    assert status(guard, request(signer_for(guard))) == 401
