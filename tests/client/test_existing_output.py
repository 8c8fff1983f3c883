"""An output that an earlier download has completed: nothing is fetched only while it is the same file, also after a wait."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfengine.client import assembly as assemblies
from dfengine.client import finished
from dfengine.client.assembly import Assembly
from dfengine.client.download import get
from dfengine.client.from_origin import FromOrigin
from dfengine.client.monitor import Monitor
from dfengine.errors import StorageError
from dfengine.settings import GetSettings
from dfengine.task import Digest

WHOLE = bytes(range(256)) * 4096

CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda out: out.write_bytes(b"edited by another program"),
    "edited, of the same size": lambda out: out.write_bytes(bytes(len(WHOLE))),
    "deleted": lambda out: out.unlink(),
    "replaced": lambda out: (out.with_name("new").write_bytes(WHOLE), os.rename(out.with_name("new"), out)),
}


@pytest.fixture
def settings(tmp_path: Path) -> GetSettings:
    (tmp_path / "source").write_bytes(WHOLE)
    os.utime(tmp_path / "source", (1e9, 1e9))
    return GetSettings(url=f"file://{tmp_path}/source", output=str(tmp_path / "out"), home=str(tmp_path / "home"), quiet=True)


def waiting(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> list[bool]:
    """Call `change` while the first request waits for its answer. Returns for each request whether the file was not modified."""
    found: list[bool] = []
    first = FromOrigin._first

    def wait(self: FromOrigin, *given: Any, **named: Any) -> Any:
        answer = first(self, *given, **named)
        if not found:
            change()
        found.append(answer.not_modified)
        return answer

    monkeypatch.setattr(FromOrigin, "_first", wait)
    return found


def test_an_unchanged_output_is_not_fetched_again(tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get(settings).from_origin == len(WHOLE)
    asked = waiting(monkeypatch, lambda: None)
    assert get(settings).resumed == len(WHOLE)
    assert asked == [True]


@pytest.mark.parametrize("change", CHANGES)
def test_an_output_changed_while_the_origin_answers_is_fetched(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    get(settings)
    asked = waiting(monkeypatch, lambda: CHANGES[change](tmp_path / "out"))
    assert get(settings).from_origin == len(WHOLE)
    assert asked == [True, False], "the answer to a conditional request has no file"
    assert (tmp_path / "out").read_bytes() == WHOLE


@pytest.mark.parametrize("change", CHANGES)
def test_an_output_changed_while_a_supernode_answers_is_not_current(tmp_path: Path, settings: GetSettings, change: str) -> None:
    get(settings)
    out = tmp_path / "out"
    known = finished.Finished(**json.loads(os.getxattr(out, finished.ATTRIBUTE)))
    place = Assembly(settings, known.task)
    assert place.is_output_current(len(WHOLE), known.generation)
    CHANGES[change](out)
    assert not place.is_output_current(len(WHOLE), known.generation)
    assert not place.output_is_current
    assert place.finished is None
    place.close()


@pytest.mark.parametrize("change", CHANGES)
def test_an_output_changed_while_it_is_hashed_is_not_reported(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    get(settings)
    hash_file = finished.hash_file

    def hashed(path: str, *given: Any) -> dict[str, str]:
        digests = hash_file(path, *given)
        CHANGES[change](tmp_path / "out")
        return digests

    monkeypatch.setattr(assemblies, "hash_file", hashed)
    with pytest.raises(StorageError, match="was changed or removed while it was compared: run it again"):
        get(settings.replace(report_digest=True))


@pytest.mark.parametrize("change", CHANGES)
def test_an_output_changed_while_its_digest_is_compared_is_fetched(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    (tmp_path / "out").write_bytes(WHOLE)
    hash_file = finished.hash_file

    def hashed(path: str, *given: Any) -> dict[str, str]:
        digests = hash_file(path, *given)
        CHANGES[change](tmp_path / "out")
        return digests

    digest = Digest("xxh3", hash_file(str(tmp_path / "out"), ["xxh3"], Monitor(0.0, None, "", True))["xxh3"])
    monkeypatch.setattr(finished, "hash_file", hashed)
    assert get(settings.replace(digest=digest)).from_origin == len(WHOLE)
    assert (tmp_path / "out").read_bytes() == WHOLE
