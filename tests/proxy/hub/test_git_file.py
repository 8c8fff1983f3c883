"""Git's names of files, as `git hash-object` computes them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dfengine.errors import DigestMismatch
from dfengine.proxy.hub.git_file import check_git_file

# git hash-object
NAMES = {b"": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"hello\n": "ce013625030ba8dba906f756967f9e9ca394464a"}


@pytest.mark.parametrize("content", NAMES)
def test_files_are_checked_against_their_git_names(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert check_git_file(fd, NAMES[content]) == hashlib.sha256(content).hexdigest()
        with pytest.raises(DigestMismatch, match="git name"):
            check_git_file(fd, "0" * 40)
    finally:
        os.close(fd)
