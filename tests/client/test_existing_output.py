"""An output that an earlier download has completed: nothing is fetched only while it is the same file, also after a wait."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfengine.client import assembly as assemblies
from dfengine.client import finished
from dfengine.client.assembly import Assembly
from dfengine.client.download import get
from dfengine.client.from_origin import FromOrigin
from dfengine.errors import StorageError
from dfengine.settings import GetSettings
from dfengine.storage import boot
from dfengine.storage.home import ABANDONED_AFTER, Entry, Home
from dfengine.storage.output_note import ATTRIBUTE, SOON
from dfengine.task import Digest
from tests.e2e.standin import eventually

WHOLE = bytes(range(256)) * 4096

CHANGES: dict[str, Callable[[Path], object]] = {
    "edited": lambda out: out.write_bytes(b"edited by another program"),
    "edited, of the same size": lambda out: out.write_bytes(bytes(len(WHOLE))),
    "deleted": lambda out: out.unlink(),
    "replaced": lambda out: shutil.copyfile(out, out.with_name("new")) and out.with_name("new").replace(out),
}



def set_back(out: Path) -> None:
    before = out.stat()
    out.write_bytes(bytes(len(WHOLE)))
    os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))


LATER_CHANGES = {**CHANGES, "edited, the time set back": set_back}


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
    known = finished.Finished(**json.loads(os.getxattr(out, ATTRIBUTE)))
    place = Assembly(settings, known.task)
    assert place.is_output_current(len(WHOLE), known.generation)
    CHANGES[change](out)
    assert not place.is_output_current(len(WHOLE), known.generation)
    assert not place.output_is_current
    assert place.finished is None
    place.close()


def link_in_home(out: Path, home: str, entry: bool) -> Home:
    """A home whose peer server has a link of the output, with its entry or without, as after a kill."""
    made, data = Home(home), out.stat()
    os.link(out, Path(home) / "data/f-1-2.000")
    if entry:
        listed = Entry("f-1-2.000", "t" * 64, "127.0.0.1-1-2.000", "", [str(out)], "", data.st_dev, data.st_ino, 0.0)
        (Path(home) / "tasks/f-1-2.000").write_bytes(listed.encode())
    return made


def age(out: Path) -> None:
    """Let the time pass after the note in which a change whose time was set back is not noticed."""
    note = json.loads(os.getxattr(out, ATTRIBUTE))

    def noted() -> bool:
        note["noted"] = time.time() - SOON + 0.2
        os.setxattr(out, ATTRIBUTE, json.dumps(note).encode())
        return bool(out.stat().st_ctime <= note["noted"] + SOON)

    eventually(noted, "a note in time")
    eventually(lambda: time.time() > note["noted"] + SOON + 0.05, "the end of the time")


@pytest.mark.parametrize("entry", [True, False])
@pytest.mark.parametrize("change", [None, *LATER_CHANGES])
def test_an_output_stays_current_when_its_share_expires(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, change: str | None, entry: bool
) -> None:
    get(settings)
    out = tmp_path / "out"
    home = link_in_home(out, settings.home, entry)
    age(out)
    if change is not None:
        LATER_CHANGES[change](out)
    home.sweep(time.time() + 2 * ABANDONED_AFTER)
    assert os.listdir(Path(settings.home) / "data") == []
    result = get(settings)
    assert (result.resumed if change is None else result.from_origin) == len(WHOLE)
    assert out.read_bytes() == WHOLE


def test_a_change_after_a_share_has_expired_is_noticed(tmp_path: Path, settings: GetSettings) -> None:
    get(settings)
    out = tmp_path / "out"
    home = link_in_home(out, settings.home, True)
    age(out)
    home.sweep(time.time() + 2 * ABANDONED_AFTER)
    noted = json.loads(os.getxattr(out, ATTRIBUTE))["noted"]
    eventually(lambda: time.time() > noted + SOON + 0.05, "the end of the time in which no change is noticed")
    LATER_CHANGES["edited, the time set back"](out)
    assert get(settings).from_origin == len(WHOLE)


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

    digest = Digest("xxh3", hash_file(str(tmp_path / "out"), ["xxh3"], lambda: None)["xxh3"])
    monkeypatch.setattr(finished, "hash_file", hashed)
    assert get(settings.replace(digest=digest)).from_origin == len(WHOLE)
    assert (tmp_path / "out").read_bytes() == WHOLE


def reboot(monkeypatch: pytest.MonkeyPatch, name: str = "b") -> list[str]:
    """Begin another boot. Returns how files were examined since."""
    examined: list[str] = []

    def note(how: str, examine: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            examined.append(how)
            return examine(*given)

        return noted

    monkeypatch.setattr(finished, "boot_id", lambda: name * 32)
    monkeypatch.setattr(finished, "has_holes", note("holes", boot.has_holes))
    monkeypatch.setattr(finished, "hash_file", note("digest", finished.hash_file))
    return examined


def lose(out: Path, blocks: bytes = b"") -> None:
    """Leave of the output what a power failure leaves: size, times and note, and of its bytes none, or these."""
    before = out.stat()
    os.truncate(out, 0)
    out.write_bytes(blocks)
    os.truncate(out, before.st_size)
    os.utime(out, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("digest", [False, True])
def test_an_output_of_an_earlier_boot_is_examined_once(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, digest: bool
) -> None:
    settings = settings.replace(report_digest=digest)
    get(settings)
    for name in "bc":
        with monkeypatch.context() as patch:
            examined = reboot(patch, name)
            for _ in range(3):
                assert get(settings).resumed == len(WHOLE)
            assert examined == ["digest" if digest else "holes"]


@pytest.mark.parametrize("note", ["another boot", "no boot"])
@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("left", [b"", WHOLE[:-4096], bytes(len(WHOLE))], ids=["nothing", "most", "zeros"])
def test_an_output_without_its_data_is_fetched_after_a_power_failure(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, left: bytes, digest: bool, note: str
) -> None:
    settings, out = settings.replace(report_digest=digest), tmp_path / "out"
    get(settings)
    if note == "no boot":  # as earlier versions wrote it
        fields = json.loads(os.getxattr(out, ATTRIBUTE))
        del fields["boot"]
        os.setxattr(out, ATTRIBUTE, json.dumps(fields).encode())
    lose(out, left)
    reboot(monkeypatch)
    if left != bytes(len(WHOLE)) or digest:  # the file system writes no zeros in place of lost bytes
        assert get(settings).from_origin == len(WHOLE)
        assert out.read_bytes() == WHOLE
    assert get(settings).resumed == len(WHOLE)


@pytest.mark.parametrize("digest", [False, True])
def test_an_output_with_holes_of_its_own_is_accepted_by_its_digest_only(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch, digest: bool
) -> None:
    settings, whole = settings.replace(report_digest=digest), bytes(1 << 20)
    (tmp_path / "source").write_bytes(whole)
    os.utime(tmp_path / "source", (1e9, 1e9))
    get(settings)
    lose(tmp_path / "out")
    reboot(monkeypatch)
    assert get(settings).resumed == (len(whole) if digest else 0)


def test_without_a_boots_name_an_output_is_examined_each_time(settings: GetSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    get(settings)
    examined = reboot(monkeypatch, "")
    for _ in range(2):
        assert get(settings).resumed == len(WHOLE)
    assert examined == ["holes", "holes"]


def test_an_output_changed_while_it_is_examined_is_not_confirmed(
    tmp_path: Path, settings: GetSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(settings)
    reboot(monkeypatch)
    monkeypatch.setattr(finished, "has_holes", lambda fd: (tmp_path / "out").write_bytes(bytes(len(WHOLE))) == 0)
    assert get(settings).from_origin == len(WHOLE)
    assert (tmp_path / "out").read_bytes() == WHOLE
