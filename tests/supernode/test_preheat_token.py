"""Who may have files and images fetched ahead, by a token."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dfengine.errors import BadValue
from dfengine.net.http import Request, Response
from dfengine.supernode.preheat_token import PreheatToken

TOKEN = "0123456789abcdef"
BASIC = "Basic " + base64.b64encode(f"harbor:{TOKEN}".encode()).decode()


def token(path: Path, signed: bool = False) -> PreheatToken:
    file = path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    return PreheatToken(str(file), signed)


def request(path: str = "/preheats", authorization: str = "") -> Request:
    return Request("POST", path.encode(), {"authorization": authorization} if authorization else {}, b"", "127.0.0.1")


@pytest.mark.parametrize(("shown", "opens"), [
    (f"Bearer {TOKEN}", True), (f"bearer  {TOKEN} ", True), (BASIC, True), ("", False), ("Bearer", False), ("Bearer x", False),
    (f"Basic {TOKEN}", False), ("Basic ???", False), (TOKEN, False), (f"Bearer {TOKEN}x", False), ("Bearer \u00e4", False),
    ("Basic " + base64.b64encode(TOKEN.encode()).decode(), False),
])  # fmt: skip
def test_how_it_is_shown(tmp_path: Path, shown: str, opens: bool) -> None:
    found = token(tmp_path)
    assert found.permits(request(authorization=shown)) is opens
    route = found.protect(lambda state, asked: "done")
    answer = route(None, request(authorization=shown))
    assert answer == "done" if opens else isinstance(answer, Response) and answer.status == 401


@pytest.mark.parametrize(("path", "opens"), [
    ("/preheats", True), ("/api/v1/preheats", True), ("/preheats/" + "a" * 64, True), ("/jobs", True), ("/oapi/v1/jobs/12", True),
    ("/api/v1/jobs/12", True), ("/peers", False), ("/api/v1/tasks/12", False), ("/swarm/pull", False), ("/preheats/../tasks/12", False),
    ("/preheats/%2e%2e/tasks", False), ("/v1/preheats", False), ("/", False),
])  # fmt: skip
def test_what_it_opens(tmp_path: Path, path: str, opens: bool) -> None:
    assert token(tmp_path).permits(request(path, f"Bearer {TOKEN}")) is opens


def test_no_token_is_no_bar(tmp_path: Path) -> None:
    assert PreheatToken().protect(lambda state, asked: "done")(None, request()) == "done"
    assert not PreheatToken().permits(request(authorization="Bearer "))
    assert token(tmp_path, signed=True).protect(lambda state, asked: "done")(None, request()) == "done"


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    found = token(tmp_path)
    file = tmp_path / "token"
    file.write_text("short")
    with pytest.raises(BadValue):
        found.reread()
    assert found.permits(request(authorization=f"Bearer {TOKEN}"))
    file.write_text("another-token-of-16")
    found.reread()
    assert not found.permits(request(authorization=f"Bearer {TOKEN}"))
    file.chmod(0o644)
    with pytest.raises(BadValue):
        PreheatToken(str(file))
