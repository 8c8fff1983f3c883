"""The token that permits preheats."""

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
def test_forms_of_the_authorization_header_that_carry_the_token(tmp_path: Path, shown: str, opens: bool) -> None:
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
def test_paths_that_the_token_permits(tmp_path: Path, path: str, opens: bool) -> None:
    assert token(tmp_path).permits(request(path, f"Bearer {TOKEN}")) is opens


def test_without_a_token_file_preheats_need_no_token(tmp_path: Path) -> None:
    assert PreheatToken().protect(lambda state, asked: "done")(None, request()) == "done"
    assert not PreheatToken().permits(request(authorization="Bearer "))
    assert token(tmp_path, signed=True).protect(lambda state, asked: "done")(None, request()) == "done"


def test_an_invalid_token_file_keeps_the_previous_token(tmp_path: Path) -> None:
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
