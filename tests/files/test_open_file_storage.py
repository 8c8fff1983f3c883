"""The place in which the pieces of an open file are assembled."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine.client.messages import Source
from dfengine.errors import SupernodeError
from dfengine.files.open_file_storage import MEMORY, OpenFileStorage
from dfengine.settings import GetSettings


def test_a_file_continued_without_a_version_loses_its_generation(tmp_path: Path) -> None:
    """A reader that knows the first generation must not accept later pieces as that version."""
    place = OpenFileStorage(GetSettings(url="http://o/f", output="-", home=str(tmp_path)), "task", MEMORY)
    geometry = Geometry(100, 50)
    try:
        transfer = place.open(geometry, b"v1")
        assert place.open(geometry, b"v1") is transfer
        assert transfer.file.record.generation == b"v1"
        # A 1.x supernode continues: it names no version.
        assert place.open(geometry, b"") is transfer
        assert transfer.file.record.generation == b""
        transfer.file.write(0, bytes(geometry.content(0)[1]), bytes(16))
        transfer.plan.add_stored([0])
        with pytest.raises(SupernodeError):
            place.open(geometry, b"")
    finally:
        place.end()
        place.close()


@pytest.mark.parametrize("running", [False, True])
def test_no_piece_of_the_former_registration_arrives_after_one_without_a_version(tmp_path: Path, running: bool) -> None:
    """The pieces of the next registration may be of another version."""
    place = OpenFileStorage(GetSettings(url="http://o/f", output="-", home=str(tmp_path)), "task", MEMORY)
    geometry = Geometry(100, 50)
    try:
        transfer = place.open(geometry, b"")
        ticket = transfer.request([0])
        transfer.offer([(0, "framed:d", [Source("a", "127.0.0.1", 15001, "/peer/file/a")])])
        if running:
            job = transfer.next_job(None)
            assert job is not None
            with pytest.raises(SupernodeError):
                place.open(geometry, b"")
            transfer.drop(job)
            transfer.job_done()
        assert place.open(geometry, b"") is transfer
        assert not transfer.plan.digest(0), "a fetch thread may still begin the piece"
        transfer.withdraw(ticket)
    finally:
        place.end()
        place.close()
