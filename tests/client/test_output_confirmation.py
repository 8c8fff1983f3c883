"""The check of an output whose note is of an earlier boot."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dfengine.client import finished
from dfengine.storage import output_note
from dfengine.storage.hashing import hasher


@pytest.mark.parametrize("removed", [False, True])
def test_an_output_whose_link_the_peer_server_removes_meanwhile_stays_current(tmp_path: Path, removed: bool) -> None:
    path, link, content = str(tmp_path / "out"), str(tmp_path / "link"), os.urandom(3 << 20)
    xxh3 = hasher("xxh3")
    xxh3.update(content)
    with open(path, "w+b") as file:
        file.write(content)
        file.flush()
        finished.write_description(file.fileno(), "t" * 64, "g" * 16, None, xxh3.hexdigest())
    note = json.loads(os.getxattr(path, output_note.ATTRIBUTE))
    os.setxattr(path, output_note.ATTRIBUTE, json.dumps({**note, "boot": "an earlier boot"}).encode())
    os.link(path, link)
    found = finished.read_description(path, "t" * 64)
    assert found is not None

    def check() -> None:
        if removed and os.path.exists(link):
            output_note.unlink(link)

    assert finished.confirm(path, found, check) is not None
    assert os.path.exists(link) != removed
