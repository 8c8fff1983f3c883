"""URLs, endpoint and token of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine.errors import BadValue
from dfengine.location import parse
from dfengine.origin.hub import api_url, endpoint, resolve_url, token


def test_a_location_has_one_url_at_the_hub() -> None:
    for url, path in (
        ("hf://org/name/a%20b", "/org/name/resolve/main/a%20b"),
        ("hf://org/name@refs%2Fpr%2F1/d/x", "/org/name/resolve/refs%2Fpr%2F1/d/x"),
        ("hf://datasets/org/name/x%23", "/datasets/org/name/resolve/main/x%23"),
    ):
        assert resolve_url("https://h", parse(url)) == f"https://h{path}"
    assert resolve_url("https://h/hub", parse("hf://org/name@v1/x"), "c0ffee") == "https://h/hub/org/name/resolve/c0ffee/x"
    assert api_url("https://h", parse("hf://org/name/"), "revision/main") == "https://h/api/models/org/name/revision/main"
    assert api_url("https://h", parse("hf://spaces/org/name/"), "x") == "https://h/api/spaces/org/name/x"


def test_endpoint_and_token_are_read_as_by_huggingface_hub(tmp_path: Path) -> None:
    assert endpoint({}) == "https://huggingface.co"
    assert endpoint({"HF_ENDPOINT": "http://h:1/hub/"}) == "http://h:1/hub"
    for wrong in ("h", "ftp://h", "http://", "http://h?x", "http://[h"):
        with pytest.raises(BadValue, match="HF_ENDPOINT"):
            endpoint({"HF_ENDPOINT": wrong})
    (tmp_path / "token").write_text("from-file\n")
    assert token({"HF_TOKEN": "a\n", "HF_HOME": str(tmp_path)}) == "a"
    assert token({"HF_HOME": str(tmp_path)}) == "from-file"
    assert token({"HF_TOKEN_PATH": str(tmp_path / "token"), "HF_HOME": "/none"}) == "from-file"
    assert token({"HF_TOKEN": "a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}) == ""
    assert token({"HOME": str(tmp_path)}) == ""
    with pytest.raises(BadValue) as error:
        token({"HF_TOKEN": "sec ret"})
    assert "sec ret" not in str(error.value)
