"""Registries with a user for the proxy itself, by password and by tokens."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.e2e.blob_registry import DATA, Blobs
from tests.e2e.scene import DFENGINE, Scene, buffered
from tests.e2e.upstream import Asked, Upstream, get, ok

BASIC = "Basic " + b64encode(b"me:s3cret").decode()


class TokenRegistry(Blobs):
    """A registry that requires tokens; `auth` issues those of its repositories to me:s3cret."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = Upstream()
        self.given: list[str] = []
        self.auth.scripts["/token"] = self._token
        self.tokens = {"repository-a-pull"}
        self.scripts["/v2/"] = self._ping

    def _token(self, sock: socket.socket, asked: Asked) -> None:
        [scope] = parse_qs(urlsplit(asked.target).query).get("scope", [""])
        self.given.append(scope)
        if asked.fields.get("authorization") != BASIC:
            ok(b"{}", status="401 Unauthorized")(sock, asked)
            return
        ok(json.dumps({"token": scope.replace(":", "-") or "none", "expires_in": 300}).encode())(sock, asked)

    def _ping(self, sock: socket.socket, asked: Asked) -> None:
        ok(b"{}", f'WWW-Authenticate: Bearer realm="{self.auth.url}/token",service="r"', status="401 Unauthorized")(sock, asked)


@pytest.fixture
def closed() -> Iterator[TokenRegistry]:
    with TokenRegistry() as made, made.auth:
        yield made


def login(stage: Scene, *places: str) -> Path:
    path = stage.path / "config.json"
    path.write_text(json.dumps({"auths": {place: {"auth": BASIC.removeprefix("Basic ")} for place in places}}))
    path.chmod(0o600)
    return path


def place(registry: Upstream) -> str:
    return urlsplit(registry.url).netloc


def test_the_proxy_obtains_tokens_for_clients_without_credentials(stage: Scene, closed: TokenRegistry) -> None:
    node = stage.supernode()
    path = closed.keep("a", DATA)
    options = ("--registry", closed.url, "--registry-auth", str(login(stage, place(closed))))
    hosts = [stage.proxy(*options, host=host, nodes=(node,))[1] for host in (2, 3)]
    for url in hosts:
        assert get(url, path)[1] == DATA
        assert get(url, path, Range="bytes=0-9")[1] == DATA[:10]
        # A client with other credentials is not served as the proxy's user.
        assert get(url, path, Authorization="Bearer bad")[0].status == 401
    assert closed.sent <= len(DATA) + buffered()
    assert closed.given == ["repository:a:pull"] * 2
    assert {each.fields.get("authorization") for each in closed.asked if each.target == path} == {"Bearer repository-a-pull", "Bearer bad"}
    for each in (*stage.path.glob("home-*/**/*"), *stage.path.glob("supernode-*/**/*")):
        assert not each.is_file() or each.stat().st_size > len(DATA) - 1 or b"s3cret" not in each.read_bytes(), each


def test_a_token_is_obtained_from_the_bearer_challenge_of_several(stage: Scene, closed: TokenRegistry) -> None:
    path = closed.keep("a", DATA)
    bearer = f'Bearer realm="{closed.auth.url}/token",service="r", Digest realm="x"'
    closed.scripts["/v2/"] = ok(b"{}", 'WWW-Authenticate: Basic realm="r"', f"WWW-Authenticate: {bearer}", status="401 Unauthorized")
    url = stage.proxy("--registry", closed.url, "--registry-auth", str(login(stage, place(closed))))[1]
    assert get(url, path)[1] == DATA
    assert closed.given == ["repository:a:pull"]


def test_own_credentials_are_sent_to_their_registry_only(stage: Scene, closed: TokenRegistry) -> None:
    """Not to another registry or a redirect's target; and blobs fetched with them are not served for requests to another registry."""
    path = closed.keep("a", DATA)
    with Blobs() as other, Blobs() as store:
        kept = store.keep("bucket", DATA)
        moved = closed.keep("b", DATA + b"!")
        closed.tokens.add("repository-b-pull")
        store.lies[kept] = DATA + b"!"

        def redirect(sock: socket.socket, asked: Asked) -> None:
            sock.sendall(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {store.url}{kept}\r\nContent-Length: 0\r\n\r\n".encode())

        closed.scripts[moved] = redirect
        other.keep("a", DATA)
        other.tokens = {"x"}
        options = ("--registry", closed.url, "--registry", other.url, "--registry-auth", str(login(stage, place(closed))))
        url = stage.proxy(*options)[1]
        assert get(url, path)[1] == DATA
        assert get(url, moved)[1] == DATA + b"!"
        assert get(url, f"{path}?ns={place(other)}")[0].status == 401
        assert store.asked
        assert not any("authorization" in each.fields for each in (*other.asked, *store.asked))


def test_own_credentials_are_used_for_reads_only(stage: Scene, closed: TokenRegistry) -> None:
    url = stage.proxy("--registry", closed.url, "--registry-auth", str(login(stage, place(closed))))[1]
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        get(url, "/v2/a/blobs/uploads/", method)
    assert get(url, "/v2/")[0].status == 401
    assert all("authorization" not in each.fields for each in closed.asked if each.method != "GET")
    assert closed.given == [""]


def test_without_a_token_the_registrys_401_is_passed_on(stage: Scene, closed: TokenRegistry) -> None:
    """The token server fails: the client receives the registry's response to requests without credentials."""
    path = closed.keep("a", DATA)
    closed.auth.scripts["/token"] = ok(b"no", status="503 Service Unavailable")
    url = stage.proxy("--registry", closed.url, "--registry-auth", str(login(stage, place(closed))))[1]
    answer, _ = get(url, path)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="https://auth/t"')


def test_a_credentials_file_that_others_can_read_is_refused(stage: Scene, closed: TokenRegistry) -> None:
    import subprocess

    path = login(stage, place(closed))
    path.chmod(0o644)
    command = [*DFENGINE, "proxy", "--listen", "127.0.0.1:0", "--home", str(stage.path / "h"), "--registry-auth", str(path)]
    said = subprocess.run(command, capture_output=True, timeout=60)
    assert said.returncode == 2
    assert b"chmod 600" in said.stderr
