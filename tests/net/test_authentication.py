"""Replacement of a server's secrets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfengine.net import secret
from dfengine.net.authentication import Authentication

OLD, FOREIGN = b"o" * 20, b"f" * 20


def test_secrets_are_taken_from_the_same_read_that_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files change right after they are read."""
    path = str(tmp_path / "secret")

    def write(content: bytes) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)

    write(OLD)
    authentication = Authentication((path,))
    read = secret.read_secret

    def change(path: str, what: str) -> bytes:
        content = read(path, what)
        write(FOREIGN)
        return content

    monkeypatch.setattr(secret, "read_secret", change)
    assert authentication.switch_files((path,))
    assert authentication.secrets == (OLD,)
    assert not authentication.switch_files((path,))
