"""Storage: sharing and durability of the record, rules of the part file, and entries of the peer's home directory."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.errors import BadValue, DiskFull, StorageError, TooLarge
from dfengine.storage import record as records
from dfengine.storage.home import ABANDONED_AFTER, MANIFEST, PARTS, Home, valid_name
from dfengine.storage.part_file import PartFile
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from tests.own_descriptors import own_descriptors

PIECE = 105  # 100 bytes of content: small pieces, so that there are many
TASK = "ab" * 32


def content_of(geometry: Geometry, n: int) -> bytes:
    offset, length = geometry.content(n)
    return bytes((offset + i) * 7 % 251 for i in range(length))


def fill(file: PieceFile, pieces: range) -> None:
    for n in pieces:
        content = content_of(file.geometry, n)
        file.write(n, content, xxhash.xxh3_128_digest(content))


@pytest.fixture
def geometry() -> Geometry:
    return Geometry(1050, PIECE)


class TestRecord:
    def test_a_record_that_does_not_fit_into_memory_leaves_no_descriptor(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(records, "_memory", lambda size: (_ for _ in ()).throw(OSError(errno.ENOMEM, "Cannot allocate memory")))
        before = own_descriptors()
        with pytest.raises(StorageError, match="Cannot allocate memory"):
            Record.create(str(tmp_path / "r"), geometry)
        assert os.listdir("/proc/self/fd") == before
        assert os.listdir(tmp_path) == []

    def test_a_record_survives_and_is_shared_by_two_openers(self, tmp_path: Path, geometry: Geometry) -> None:
        path = str(tmp_path / "r")
        writer = Record.create(path, geometry, b"v1")
        reader = Record.follow(path)
        writer.set_digest(3, b"d" * 16)
        writer.publish(3)
        assert reader.has_range(3, 4)
        assert not reader.has_range(3, 5)
        assert reader.generation == b"v1"
        again = Record.open(path)
        assert list(again.available) == [3]
        assert again.digest(3) == b"d" * 16
        again.close()
        os.unlink(path)
        writer.publish(4)
        assert reader.has_range(3, 5)
        assert writer.unpublish(3)
        assert not reader.has_range(3, 5)
        assert reader.complete_mtime == 0
        writer.set_complete(77)
        assert reader.complete_mtime == 77
        writer.close()
        reader.close()

    def test_threads_that_write_one_word_of_bits_lose_none(self, tmp_path: Path) -> None:
        path = str(tmp_path / "r")
        writer = Record.create(path, Geometry(100 * 64, PIECE))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(writer.publish, range(64)))
        again = Record.open(path)
        assert list(again.available) == list(range(64))
        again.close()
        writer.close()

    def test_no_page_of_a_record_file_is_mapped(self, tmp_path: Path, geometry: Geometry) -> None:
        """A mapped page cannot be written on a full disk, nor read after the file was truncated: either kills the process."""
        paths = [str(tmp_path / name) for name in ("known", "unknown")]
        records = [Record.create(paths[0], geometry), Record.create(paths[1], Geometry(-1, PIECE)), *map(Record.follow, paths)]
        maps = Path("/proc/self/maps").read_text()
        assert not [path for path in paths if path in maps]
        for record in records:
            record.close()

    def test_a_record_truncated_while_open_is_an_error(self, tmp_path: Path, geometry: Geometry) -> None:
        path = str(tmp_path / "r")
        writer, reader = Record.create(path, Geometry(-1, PIECE)), Record.follow(path)
        os.truncate(path, 70)
        with pytest.raises(StorageError, match="cut short"):
            reader.has_range(70, 80)
        os.truncate(path, 0)
        with pytest.raises(StorageError, match="cut short"):
            assert reader.geometry
        writer.publish(3)
        writer.close()
        reader.close()

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    def test_a_failed_disk_write_is_an_error_and_publishes_no_piece(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        path = str(tmp_path / "r")
        writer = Record.create(path, geometry)

        def refuse(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pwrite", refuse)
        changes: tuple[Callable[[], object], ...] = (
            lambda: writer.publish(1), lambda: writer.set_digest(1, bytes(16)), lambda: writer.learn_length(1),
        lambda: writer.set_complete(1),
        )  # fmt: skip
        for change in changes:
            with pytest.raises(StorageError) as caught:
                change()
            assert isinstance(caught.value, DiskFull) == (number != errno.EIO)
        with pytest.raises(StorageError):
            Record.create(path, geometry)
        assert os.listdir(tmp_path) == ["r"]
        assert 1 not in writer.available
        writer.close()

    def test_a_streams_record_is_sealed_and_unsealed_records_are_refused(self, geometry: Geometry) -> None:
        record = Record.in_memory(geometry)
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(record.fd, 0)
        loose = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
        os.write(loose, os.pread(record.fd, 1 << 16, 0))
        with pytest.raises(StorageError, match="not sealed"):
            Record.adopt(loose)
        os.close(loose)
        record.close()

    def test_a_learnt_length_is_visible_in_every_process(self, tmp_path: Path) -> None:
        path = str(tmp_path / "r")
        writer = Record.create(path, Geometry(-1, PIECE))
        reader = Record.follow(path)
        assert reader.geometry.count == -1
        writer.learn_length(250)
        assert reader.geometry == Geometry(250, PIECE)
        assert not reader.is_complete()
        for n in range(3):
            writer.publish(n)
        assert reader.is_complete()
        writer.close()
        reader.close()

    def test_a_length_with_more_pieces_than_the_capacity_is_refused(self, tmp_path: Path) -> None:
        record = Record.create(str(tmp_path / "r"), Geometry(-1, PIECE))
        with pytest.raises(StorageError):
            record.learn_length(record.capacity * (PIECE - 5) + 1)
        record.learn_length(record.capacity * (PIECE - 5))
        assert record.geometry.count == record.capacity
        record.close()

    @pytest.mark.parametrize("damage", [
        lambda raw: raw[:10],
        lambda raw: b"",
        lambda raw: b"x" + raw[1:],
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[:8] + (1 << 62).to_bytes(8, "little") + raw[16:],
        lambda raw: raw[:8] + (-5).to_bytes(8, "little", signed=True) + raw[16:],
        lambda raw: raw[:8] + (5000).to_bytes(8, "little") + raw[16:],
        lambda raw: raw[:16] + b"\0\0\0\0" + raw[20:],
        lambda raw: raw[:20] + b"\xff\xff\xff\xff" + raw[24:],
        lambda raw: raw[:20] + b"\0\0\0\0" + raw[24:],
    ])
    def test_damaged_records_are_refused(self, tmp_path: Path, geometry: Geometry, damage: Callable[[bytes], bytes]) -> None:
        path = tmp_path / "r"
        Record.create(str(path), geometry).close()
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(StorageError):
            Record.open(str(path))

    def test_a_symbolic_link_to_a_record_is_refused(self, tmp_path: Path, geometry: Geometry) -> None:
        Record.create(str(tmp_path / "r"), geometry).close()
        (tmp_path / "link").symlink_to(tmp_path / "r")
        with pytest.raises(StorageError):
            Record.open(str(tmp_path / "link"))


class TestPieceFile:
    def test_a_piece_file_has_the_plain_bytes_and_locates_pieces(self, tmp_path: Path, geometry: Geometry) -> None:
        file = PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), geometry)
        fill(file, range(geometry.count - 1, -1, -1))
        assert file.record.is_complete()
        whole = b"".join(content_of(geometry, n) for n in range(geometry.count))
        assert (tmp_path / "d").read_bytes() == whole
        for n in range(geometry.count):
            fd, offset, length = file.locate(n)
            assert os.pread(fd, length, offset) == content_of(geometry, n)
        file.close()

    def test_recheck_drops_bits_of_pieces_with_wrong_bytes(self, tmp_path: Path, geometry: Geometry) -> None:
        file = PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), geometry)
        fill(file, range(5))
        os.pwrite(file.fd, b"\xff", 230)
        file.record.publish(7)  # a bit that reached the disk before its bytes did
        file.close()
        file = PieceFile.open(str(tmp_path / "d"), str(tmp_path / "r"))
        assert file.recheck() == [2, 7]
        assert list(file.available) == [0, 1, 3, 4]
        file.close()

    @pytest.mark.parametrize("length", [5, 1051])
    def test_open_refuses_a_data_file_of_another_length(self, tmp_path: Path, geometry: Geometry, length: int) -> None:
        PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), geometry).close()
        os.truncate(tmp_path / "d", length)
        with pytest.raises(StorageError):
            PieceFile.open(str(tmp_path / "d"), str(tmp_path / "r"))

    def test_create_discards_earlier_pieces(self, tmp_path: Path, geometry: Geometry) -> None:
        file = PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), geometry)
        fill(file, range(3))
        file.close()
        file = PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), geometry)
        assert file.available.count() == 0
        assert (tmp_path / "d").read_bytes() == bytes(geometry.length)
        file.close()

    def test_a_file_of_unknown_length_grows_and_is_truncated_to_its_length(self, tmp_path: Path) -> None:
        file = PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), Geometry(-1, PIECE))
        file.write(0, b"a" * 100, b"0" * 16)
        file.write(1, b"b" * 30, b"1" * 16)
        file.learn_length(130)
        assert file.record.is_complete()
        assert (tmp_path / "d").read_bytes() == b"a" * 100 + b"b" * 30
        assert file.locate(1) == (file.fd, 100, 30)
        file.close()

    def test_a_change_after_completion_is_detected(self, tmp_path: Path, geometry: Geometry) -> None:
        file = PieceFile.create(str(tmp_path / "d"), str(tmp_path / "r"), geometry)
        fill(file, range(geometry.count))
        file.mark_complete()
        assert file.unchanged()
        os.utime(tmp_path / "d", ns=(1, 1))
        assert not file.unchanged()
        file.close()


class TestTarget:
    def test_no_file_has_the_output_name_before_finish(self, tmp_path: Path, geometry: Geometry) -> None:
        out = tmp_path / "out"
        target = PartFile(str(out), TASK)
        file = target.open(geometry, b"g")
        fill(file, range(geometry.count))
        assert not out.exists()
        target.finish(file, sync=True)
        file.close()
        assert out.read_bytes() == b"".join(content_of(geometry, n) for n in range(geometry.count))
        assert os.listdir(tmp_path) == ["out"]

    def test_an_interrupt_while_present_pieces_are_hashed_closes_all_descriptors(self, tmp_path: Path, geometry: Geometry) -> None:
        out = str(tmp_path / "out")
        file = PartFile(out, TASK).open(geometry, b"g")
        file.write(0, bytes(geometry.content(0)[1]), xxhash.xxh3_128_digest(bytes(geometry.content(0)[1])))
        file.close()
        before = sorted(own_descriptors())

        def look() -> None:
            raise KeyboardInterrupt

        target = PartFile(out, TASK, look)
        with pytest.raises(KeyboardInterrupt) as raised:
            target.open(geometry, b"g")
        assert raised.value is not None
        assert sorted(os.listdir("/proc/self/fd")) == before
        file = PartFile(out, TASK).open(geometry, b"g")
        assert list(file.available) == [0]
        file.close()

    @pytest.mark.parametrize("pieces", [0, 2])
    def test_without_disk_space_only_earlier_pieces_remain(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch, pieces: int
    ) -> None:
        out = str(tmp_path / "out")
        file = PartFile(out, TASK).open(geometry, b"g")
        fill(file, range(pieces))
        file.close()
        before = sorted(own_descriptors())
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=4096, f_blocks=0))
        with pytest.raises(TooLarge, match="no room"):
            PartFile(out, TASK).open(geometry, b"g")
        gc.collect()
        assert sorted(os.listdir("/proc/self/fd")) == before
        assert len(os.listdir(tmp_path)) == (2 if pieces else 0)

    @pytest.mark.parametrize("before", [False, True])
    def test_a_record_that_cannot_be_written_leaves_no_part(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch, before: bool
    ) -> None:
        """before: an earlier version was begun; its pieces and its record remain."""
        out = str(tmp_path / "out")
        if before:
            file = PartFile(out, TASK).open(geometry, b"earlier")
            fill(file, range(2))
            file.close()
        names = sorted(os.listdir(tmp_path))
        monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(DiskFull):
            PartFile(out, TASK).open(geometry, b"g")
        assert sorted(os.listdir(tmp_path)) == names
        assert bool(names) is before

    def test_a_download_resumes_with_the_valid_pieces_of_its_part(self, tmp_path: Path, geometry: Geometry) -> None:
        out = str(tmp_path / "out")
        file = PartFile(out, TASK).open(geometry, b"g")
        fill(file, range(4))
        os.pwrite(file.fd, b"\xff", 230)
        file.close()  # as after a kill or a power failure
        file = PartFile(out, TASK).open(geometry, b"g")
        assert list(file.available) == [0, 1, 3]
        file.close()

    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize("cut", [0, 230, 900])
    def test_a_part_truncated_during_the_download_does_not_become_the_output(self, tmp_path: Path, known: bool, cut: int) -> None:
        """Later pieces restore the length of the file, with zeros where it was truncated."""
        out, geometry = tmp_path / "out", Geometry(1050, PIECE)
        for refill in (range(0), range(3, 4), range(geometry.count - 2, geometry.count)):
            target = PartFile(str(out), TASK)
            file = target.open(geometry if known else Geometry(-1, PIECE), b"")
            fill(file, range(geometry.count))
            os.truncate(target.part, cut)
            with pytest.raises(StorageError, match="cut short"):  # noqa: PT012
                fill(file, refill)
                if not known:
                    file.learn_length(1050)
                target.finish(file)
            assert not out.exists()
            file.close()
            file = PartFile(str(out), TASK).open(geometry, b"")
            assert not [n for n in file.available if n >= cut // 100]
            file.close()

    def test_a_part_renamed_to_the_output_before_it_was_locked_is_not_written(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target, flock = PartFile(str(tmp_path / "out"), TASK), fcntl.flock

        def late(fd: int, how: int) -> None:
            if not (tmp_path / "out").exists():
                os.rename(target.part, tmp_path / "out")
            flock(fd, how)

        monkeypatch.setattr(fcntl, "flock", late)
        file = target.open(geometry, b"g")
        assert os.path.samestat(os.fstat(file.fd), os.stat(target.part))
        assert os.path.getsize(tmp_path / "out") == 0
        file.close()

    def test_a_resumed_part_is_not_complete(self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch) -> None:
        """Otherwise this host's other downloads would take its pieces for those of a verified file."""
        target = PartFile(str(tmp_path / "out"), TASK)
        file = target.open(geometry, b"g")
        fill(file, range(geometry.count))
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
            with pytest.raises(StorageError, match="cannot write"):
                target.finish(file)
        os.pwrite(file.fd, b"\xff", 230)
        file.close()
        file = PartFile(str(tmp_path / "out"), TASK).open(geometry, b"g")
        followed = Record.follow(target.record)
        assert file.record.complete_mtime == followed.complete_mtime == 0
        assert not followed.is_complete()
        followed.close()
        file.close()

    def test_a_complete_part_stays_when_its_record_cannot_be_written(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = PartFile(str(tmp_path / "out"), TASK)
        file = target.open(geometry, b"g")
        fill(file, range(geometry.count))
        file.mark_complete()
        file.close()
        with monkeypatch.context() as patch:
            patch.setattr(Record, "set_complete", lambda *_: (_ for _ in ()).throw(StorageError("the disk is full")))
            with pytest.raises(StorageError, match="the disk is full"):
                PartFile(str(tmp_path / "out"), TASK).open(geometry, b"g")
        file = PartFile(str(tmp_path / "out"), TASK).open(geometry, b"g")
        assert file.available.count() == geometry.count
        file.close()

    @pytest.mark.parametrize("how", ["the part was replaced", "another download was later"])
    def test_a_part_replaced_at_the_rename_is_not_reported_as_the_output(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        """Two downloads to one output that end at the same time both succeed."""
        out = tmp_path / "out"
        first, second = PartFile(str(out), TASK), PartFile(str(out), TASK)
        file, others, rename = first.open(geometry, b"g"), list[PieceFile](), os.rename
        fill(file, range(geometry.count))

        def late(source: str, target: str) -> None:
            if source != first.part or others:
                rename(source, target)
            elif how == "the part was replaced":
                os.unlink(first.part)
                os.unlink(first.record)
                others.append(second.open(geometry, b"g"))
                rename(source, target)
            else:
                others.append(second.open(geometry, b"g"))
                fill(others[0], range(geometry.count))
                rename(source, target)
                second.finish(others[0])

        monkeypatch.setattr(os, "rename", late)
        if how == "the part was replaced":
            with pytest.raises(StorageError, match="removed or replaced by another program: run it again"):
                first.finish(file)
        else:
            first.finish(file)
            assert out.read_bytes() == b"".join(content_of(geometry, n) for n in range(geometry.count))
        for each in (file, *others):
            each.close()

    @pytest.mark.parametrize("replaced", [True, False])
    def test_a_part_that_was_removed_or_replaced_does_not_become_the_output(
        self, tmp_path: Path, geometry: Geometry, replaced: bool
    ) -> None:
        """replaced: another download of the output begins after the user removed the hidden files."""
        out = tmp_path / "out"
        first, second, other = PartFile(str(out), TASK), PartFile(str(out), TASK), None
        file = first.open(geometry, b"g")
        os.unlink(first.part)
        os.unlink(first.record)
        if replaced:
            other = second.open(geometry, b"g")
            assert second.part == first.part
            fill(other, range(3))
        fill(file, range(geometry.count))
        with pytest.raises(StorageError, match="removed or replaced by another program: run it again"):
            first.finish(file)
        first.discard()
        file.close()
        assert not out.exists()
        assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, (second.part, second.record) if replaced else ()))
        if other is not None:
            fill(other, range(3, geometry.count))
            second.finish(other)
            other.close()
            assert out.read_bytes() == b"".join(content_of(geometry, n) for n in range(geometry.count))

    def test_a_download_that_begins_while_another_ends_keeps_its_record(self, tmp_path: Path, geometry: Geometry) -> None:
        out, home = str(tmp_path / "out"), Home(str(tmp_path / "home"))
        first, second, begun = PartFile(out, TASK), PartFile(out, TASK), []
        file = first.open(geometry, b"g")
        fill(file, range(geometry.count))

        def begin() -> None:
            begun.append(second.open(geometry, b"g"))
            fill(begun[0], range(3))
            home.keep_record("f", file)

        first.finish(file, keep=begin)
        file.close()
        begun[0].close()
        kept = Record.follow(os.path.join(home.path, "records", "f"))
        assert kept.is_complete()
        kept.close()
        file = PartFile(out, TASK).open(geometry, b"g")
        assert list(file.available) == [0, 1, 2]
        file.close()

    def test_a_closed_part_is_not_discarded(self, tmp_path: Path, geometry: Geometry) -> None:
        """Another process may have locked it since."""
        first, second = PartFile(str(tmp_path / "out"), TASK), PartFile(str(tmp_path / "out"), TASK)
        first.open(geometry, b"g").close()
        file = second.open(geometry, b"g")
        first.discard()
        assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, (second.part, second.record)))
        file.close()

    @pytest.mark.parametrize(
        ("other", "generation"), [(Geometry(1051, PIECE), b"g"), (Geometry(1050, 110), b"g"), (Geometry(1050, PIECE), b"h")]
    )
    def test_a_changed_geometry_or_generation_starts_over(
        self, tmp_path: Path, geometry: Geometry, other: Geometry, generation: bytes
    ) -> None:
        out = str(tmp_path / "out")
        file = PartFile(out, TASK).open(geometry, b"g")
        fill(file, range(4))
        file.close()
        file = PartFile(out, TASK).open(other, generation)
        assert file.available.count() == 0
        assert file.geometry == other
        file.close()

    def test_two_downloads_of_one_output_use_separate_parts(self, tmp_path: Path, geometry: Geometry) -> None:
        out = tmp_path / "out"
        first, second = PartFile(str(out), TASK), PartFile(str(out), TASK)
        one, two = first.open(geometry, b"g"), second.open(geometry, b"g")
        assert not first.private
        assert second.private
        assert first.part != second.part
        fill(one, range(geometry.count))
        fill(two, range(geometry.count))
        first.finish(one)
        second.finish(two)
        one.close()
        two.close()
        assert os.listdir(tmp_path) == ["out"]

    def test_an_existing_output_stays_complete_until_it_is_replaced(self, tmp_path: Path, geometry: Geometry) -> None:
        out = tmp_path / "out"
        out.write_bytes(b"old")
        target = PartFile(str(out), TASK)
        file = target.open(geometry, b"g")
        assert out.read_bytes() == b"old"
        fill(file, range(geometry.count))
        target.finish(file)
        file.close()
        assert out.stat().st_size == geometry.length

    def test_an_output_that_is_a_symbolic_link_stays_a_link(self, tmp_path: Path, geometry: Geometry) -> None:
        (tmp_path / "real").write_bytes(b"old")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        target = PartFile(str(tmp_path / "link"), TASK)
        file = target.open(geometry, b"g")
        fill(file, range(geometry.count))
        target.finish(file)
        file.close()
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").stat().st_size == geometry.length

    def test_outputs_that_a_rename_must_not_replace_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadValue, match="directory"):
            PartFile(str(tmp_path), TASK)
        with pytest.raises(BadValue, match="regular"):
            PartFile("/dev/null", TASK)
        reader, writer = os.pipe()
        try:
            with pytest.raises(BadValue, match="use -o -"):
                PartFile(f"/proc/self/fd/{writer}", TASK)
        finally:
            os.close(reader)
            os.close(writer)

    def test_link_loops_too_long_names_and_a_removed_working_directory_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(BadValue, match="loop of symbolic links"):
            PartFile(str(tmp_path / "loop"), TASK)
        with pytest.raises(StorageError, match="too long"):
            PartFile(str(tmp_path / ("n" * 256)), TASK)
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(StorageError, match="working directory is gone"):
            PartFile("out", TASK)
        assert PartFile(str(tmp_path / "out"), TASK).path == str(tmp_path / "out")

    @pytest.mark.parametrize("letter", ["a", "\u00e9", "\u4e2d", "\U0001f600", "\udce9"])
    @pytest.mark.parametrize("shift", range(4))
    def test_names_of_any_letters_up_to_255_bytes_are_accepted(self, tmp_path: Path, geometry: Geometry, letter: str, shift: int) -> None:
        name = "x" * shift
        while len(os.fsencode(name + letter)) <= 255:
            name += letter
        out = str(tmp_path / name)
        target = PartFile(out, TASK)
        other = PartFile(out, TASK)
        one, two = target.open(geometry, b"g"), other.open(geometry, b"g")
        assert other.private
        assert os.path.basename(target.part).startswith(f".{name[:40]}")
        assert letter == "\udce9" or os.fsencode(os.path.basename(target.part)).decode()
        for each, file in ((target, one), (other, two)):
            fill(file, range(geometry.count))
            each.finish(file)
            file.close()
        assert os.listdir(tmp_path) == [name]

    def test_the_mode_of_the_replaced_file_is_preserved(self, tmp_path: Path, geometry: Geometry) -> None:
        out = tmp_path / "out"
        out.write_bytes(b"old")
        for mode in (0o600, 0o755, 0o444, 0o2751):
            out.chmod(mode)
            target = PartFile(str(out), TASK)
            file = target.open(geometry, b"g")
            fill(file, range(geometry.count))
            target.finish(file)
            file.close()
            assert stat.S_IMODE(out.stat().st_mode) == mode
            assert out.stat().st_size == geometry.length

    def test_setuid_is_dropped_when_the_owner_cannot_be_preserved(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, given = tmp_path / "out", []

        def refuse(fd: int, user: int, group: int) -> None:
            given.append((user, group))
            raise PermissionError

        monkeypatch.setattr(os, "fchown", refuse)
        look, other = os.stat, os.geteuid() + 1

        def of_another(path: str | int, **how: bool) -> os.stat_result:
            found = look(path, **how)
            return os.stat_result((*found[:4], other, *found[5:])) if path == str(out) else found

        out.write_bytes(b"old")
        out.chmod(0o4751)
        target = PartFile(str(out), TASK)
        file = target.open(geometry, b"g")
        fill(file, range(geometry.count))
        monkeypatch.setattr(os, "stat", of_another)
        target.finish(file)
        monkeypatch.setattr(os, "stat", look)
        file.close()
        assert given == [(other, out.stat().st_gid)]
        assert stat.S_IMODE(out.stat().st_mode) == 0o751

    def test_a_missing_output_directory_is_reported(self, tmp_path: Path, geometry: Geometry) -> None:
        with pytest.raises(StorageError, match="No such file"):
            PartFile(str(tmp_path / "no" / "out"), TASK).open(geometry, b"")

    def test_another_users_part_is_neither_resumed_nor_written(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, me = tmp_path / "out", os.geteuid()
        laid = PartFile(str(out), TASK).open(geometry, b"g")
        fill(laid, range(geometry.count))
        before = Path(laid.path).read_bytes()
        laid.close()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        target = PartFile(str(out), TASK)
        file = target.open(geometry, b"g")
        assert target.private
        assert not file.available.count()
        assert target.part != laid.path
        assert Path(laid.path).read_bytes() == before
        file.close()
        third = PartFile(str(out), TASK)
        third.open(geometry, b"g").close()
        assert third.part not in (laid.path, target.part)

    def test_symbolic_links_planted_beside_the_output_are_not_followed(self, tmp_path: Path, geometry: Geometry) -> None:
        precious = tmp_path / "precious"
        precious.write_bytes(b"mine")
        target = PartFile(str(tmp_path / "out"), TASK)
        file = target.open(geometry, b"g")
        target.discard()
        file.close()
        (tmp_path / f"{os.path.basename(target.record)}.{os.getpid()}").symlink_to(precious)
        again = PartFile(str(tmp_path / "out"), TASK)
        file = again.open(geometry, b"g")
        assert precious.read_bytes() == b"mine"
        again.discard()
        file.close()
        Path(again.part).symlink_to(precious)
        PartFile(str(tmp_path / "out"), TASK).open(geometry, b"g").close()
        assert precious.read_bytes() == b"mine"

    def test_a_file_larger_than_the_free_space_is_refused_at_once(self, tmp_path: Path) -> None:
        before = set(own_descriptors())
        with pytest.raises(StorageError, match="no room"):
            PartFile(str(tmp_path / "out"), TASK).open(Geometry(1 << 43), b"")
        assert len(os.listdir("/proc/self/fd")) == len(before)


class TestHome:
    def test_a_home_that_other_users_can_write_to_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home = Home(str(tmp_path / "home"))
        assert {os.stat(path).st_mode & 0o777 for path, _, _ in os.walk(home.path)} == {0o700}
        Home(home.path)
        for path, mode in ((home.path, 0o777), (os.path.join(home.path, "tasks"), 0o770), (os.path.join(home.path, "data"), 0o702)):
            os.chmod(path, mode)
            with pytest.raises(StorageError, match="other users can write there"):
                Home(home.path)
            os.chmod(path, 0o700)
        os.chmod(home.path, 0o775)  # as with a umask of 002
        Home(home.path)
        os.rename(os.path.join(home.path, "records"), tmp_path / "records")
        os.symlink(tmp_path / "records", os.path.join(home.path, "records"))
        with pytest.raises(StorageError, match="other users can write there"):
            Home(home.path)
        os.unlink(os.path.join(home.path, "records"))
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        with pytest.raises(StorageError, match="other users can write there"):
            Home(home.path)

    def share(self, home: Home, folder: Path, geometry: Geometry, name: str = "f-1-2.000") -> tuple[PartFile, PieceFile]:
        target = PartFile(str(folder / "out"), TASK)
        file = target.open(geometry, b"g")
        home.share(name, file, target, task=TASK, cid="c", node="127.0.0.1:8002", expire=60.0)
        return target, file

    def test_entries_that_a_full_disk_prevents_use_no_space(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, file = Home(str(tmp_path / "home")), None
        for call in ("rename", "link"):
            target = PartFile(str(tmp_path / f"out-{call}"), TASK)
            file = target.open(geometry, b"g")
            with monkeypatch.context() as patch, contextlib.ExitStack() as ends:
                patch.setattr(os, call, lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
                if call == "rename":
                    ends.enter_context(pytest.raises(DiskFull))
                home.share(call, file, target, task=TASK, cid="c", node="", expire=60.0)
            assert os.fstat(file.fd).st_nlink == 1
            fill(file, range(geometry.count))
            with monkeypatch.context() as patch:
                patch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
                with pytest.raises(DiskFull):
                    home.keep_record(call, file)
            file.close()
        assert {part: os.listdir(os.path.join(home.path, part)) for part in ("tasks", "data", "records")} == {
            "tasks": ["link"], "data": [], "records": []
        }

    def test_a_record_that_cannot_be_written_does_not_fail_a_finished_output(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = Home(str(tmp_path / "home"))
        target, file = self.share(home, tmp_path, geometry)
        fill(file, range(geometry.count))
        shared = home.find("f-1-2.000")
        assert shared is not None
        with monkeypatch.context() as patch:
            patch.setattr(Record, "set_named", lambda *_: (_ for _ in ()).throw(DiskFull("cannot write")))
            target.finish(file, keep=lambda: home.keep_record("f-1-2.000", file))
        file.close()
        assert sorted(os.listdir(tmp_path)) == ["home", "out"]
        assert shared.has_range(0, geometry.length)
        compare, must = shared.check(0, geometry.length)
        assert must
        assert compare is not None
        assert compare()

    def test_a_record_that_cannot_be_removed_does_not_fail_a_finished_output(self, tmp_path: Path, geometry: Geometry) -> None:
        target, file = self.share(Home(str(tmp_path / "home")), tmp_path, geometry)
        fill(file, range(geometry.count))
        target.finish(file, keep=lambda: os.unlink(target.record))
        file.close()
        assert sorted(os.listdir(tmp_path)) == ["home", "out"]

    def test_pieces_stored_after_the_entry_was_opened_are_compared_with_their_own_digests(self, tmp_path: Path, geometry: Geometry) -> None:
        home = Home(str(tmp_path / "home"))
        target, file = self.share(home, tmp_path, geometry)
        fill(file, range(1))
        shared = home.find("f-1-2.000")
        assert shared is not None
        assert shared.has_range(0, 100)
        fill(file, range(1, geometry.count))
        target.finish(file, keep=lambda: home.keep_record("f-1-2.000", file))
        file.close()
        os.chmod(target.path, 0o600)  # changes the ctime
        assert shared.has_range(0, geometry.length)
        compare, must = shared.check(0, geometry.length)
        assert must
        assert compare is not None
        assert compare()
        assert shared.has_range(0, geometry.length)

    @pytest.mark.parametrize("linked", [True, False])
    def test_only_deleted_or_replaced_outputs_are_withdrawn(
        self, tmp_path: Path, geometry: Geometry, linked: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not linked:
            monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError(18, "another file system")))
        home, names = Home(str(tmp_path / "home")), ["under-way", "left", "kept", "moved", "deleted", "replaced"]
        for name in names:
            (tmp_path / name).mkdir()
            target, file = self.share(home, tmp_path / name, geometry, name)
            fill(file, range(geometry.count))
            assert not home.withdraw_deleted()
            if name not in names[:2]:
                home.keep_record(name, file)
                target.finish(file)
            file.close()
        assert not home.withdraw_deleted()
        (tmp_path / "moved" / "out").rename(tmp_path / "moved" / "elsewhere")
        (tmp_path / "deleted" / "out").unlink()
        (tmp_path / "replaced" / "new").write_bytes(b"x")
        (tmp_path / "replaced" / "new").rename(tmp_path / "replaced" / "out")
        gone = {"deleted", "replaced"} | (set() if linked else {"moved"})
        assert {entry.name for entry in home.withdraw_deleted()} == gone
        assert set(home.names()) == set(names) - gone
        assert not home.withdraw_deleted()
        for part in ("tasks", "data", "records"):
            assert not gone & set(os.listdir(os.path.join(home.path, part)))

    def test_links_of_a_share_that_was_killed_before_its_entry_are_removed_later(self, tmp_path: Path, geometry: Geometry) -> None:
        home = Home(str(tmp_path / "home"))
        _, file = self.share(home, tmp_path, geometry, "shared")
        manifest = "0" * 32 + MANIFEST
        kept = {"data/shared", "records/shared", "shares/shared", "shares/.shared.blake3", "trees/shared", "tasks/shared"}
        kept.add(f"trees/{manifest}")
        left = {"data/lost", "records/lost", "records/.lost.7", "shares/lost", "shares/.lost.blake3", "trees/lost", "tasks/.lost.7"}
        for path in kept | left:
            (tmp_path / "home" / path).touch()
        os.link(tmp_path / "home/trees" / manifest, tmp_path / "served")

        def found() -> set[str]:
            return {f"{part}/{name}" for part in PARTS for name in os.listdir(os.path.join(home.path, part))}

        home.sweep(time.time() + ABANDONED_AFTER - 60)  # it may still be running
        assert found() == kept | left
        home.touch("shared", time.time() + ABANDONED_AFTER + 60)
        home.sweep(time.time() + ABANDONED_AFTER + 60)
        assert found() == kept
        file.close()

    def test_a_deleted_or_replaced_home_is_detected_by_its_lock(self, tmp_path: Path) -> None:
        home = Home(str(tmp_path / "home"))
        with open(home.lock_path, "wb") as lock:
            assert home.is_locked_by(lock.fileno())
            os.rename(home.path, tmp_path / "other")
            assert not home.is_locked_by(lock.fileno())
            Path(Home(home.path).lock_path).touch()
            assert not home.is_locked_by(lock.fileno())

    def test_a_piece_is_served_from_when_it_is_written_and_after_the_download(self, tmp_path: Path, geometry: Geometry) -> None:
        home = Home(str(tmp_path / "home"))
        target, file = self.share(home, tmp_path, geometry)
        shared = home.find("f-1-2.000")
        assert shared is not None
        assert not shared.has_range(0, 100)
        fill(file, range(3))
        assert shared.has_range(0, 300)
        assert shared.has_range(50, 200)
        assert not shared.has_range(250, 51)
        fill(file, range(3, geometry.count))
        home.keep_record("f-1-2.000", file)
        target.finish(file)
        file.close()
        late = Home(str(tmp_path / "home")).find("f-1-2.000")
        assert late is not None
        for one in (shared, late):
            assert one.has_range(0, geometry.length)
            offset, length = geometry.content(2)
            fd, place, bits, *_ = one.locate(offset, length)
            assert bits is None
            assert os.pread(fd, length, place) == content_of(geometry, 2)
            one.close()

    def test_a_changed_output_is_no_longer_served(self, tmp_path: Path, geometry: Geometry) -> None:
        home = Home(str(tmp_path / "home"))
        target, file = self.share(home, tmp_path, geometry)
        fill(file, range(geometry.count))
        home.keep_record("f-1-2.000", file)
        target.finish(file)
        shared = home.find("f-1-2.000")
        assert shared is not None
        assert shared.has_range(0, 100)
        with open(tmp_path / "out", "r+b") as out:
            out.write(b"changed")
        os.utime(tmp_path / "out", ns=(5, 5))
        assert not shared.has_range(0, 100)
        shared.close()
        file.close()

    def test_data_on_another_file_system_is_found_by_path_and_inode(
        self, tmp_path: Path, geometry: Geometry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_link(*_: object, **__: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", no_link)
        home = Home(str(tmp_path / "home"))
        target, file = self.share(home, tmp_path, geometry)
        assert os.listdir(tmp_path / "home" / "data") == []
        during = home.find("f-1-2.000")
        assert during is not None
        fill(file, range(geometry.count))
        home.keep_record("f-1-2.000", file)
        target.finish(file)
        file.close()
        after = home.find("f-1-2.000")
        assert after is not None
        for one in (during, after):
            assert one.has_range(0, geometry.length)
            one.close()
        (tmp_path / "other").write_bytes((tmp_path / "out").read_bytes())
        os.replace(tmp_path / "other", tmp_path / "out")
        assert home.find("f-1-2.000") is None

    @pytest.mark.parametrize("part", ["tasks", "data"])
    def test_a_linked_entry_or_data_file_is_not_followed(self, tmp_path: Path, geometry: Geometry, part: str) -> None:
        home = Home(str(tmp_path / "home"))
        _, file = self.share(home, tmp_path, geometry)
        (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
        os.unlink(file.path)  # its data is found in the home directory only
        place = tmp_path / "home" / part / "f-1-2.000"
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
        assert home.find("f-1-2.000") is None
        os.replace(tmp_path / "elsewhere", place)
        shared = home.find("f-1-2.000")
        assert shared is not None
        shared.close()
        file.close()

    def test_sweep_withdraws_unused_entries_and_keeps_the_output(self, tmp_path: Path, geometry: Geometry) -> None:
        home = Home(str(tmp_path / "home"))
        target, file = self.share(home, tmp_path, geometry)
        home.touch("f-1-2.000", 1000.0)
        assert home.sweep(5000.0) == []  # its download still holds the lock
        fill(file, range(geometry.count))
        home.keep_record("f-1-2.000", file)
        target.finish(file)
        file.close()
        assert home.sweep(1059.0) == []
        assert [entry.task for entry in home.sweep(1061.0)] == [TASK]
        assert home.names() == []
        assert home.find("f-1-2.000") is None
        assert (tmp_path / "out").exists()
        assert [len(os.listdir(tmp_path / "home" / part)) for part in ("tasks", "data", "records")] == [0, 0, 0]

    def test_links_that_lead_out_of_the_home_are_not_followed(self, tmp_path: Path, geometry: Geometry) -> None:
        home = Home(str(tmp_path / "home"))
        _, file = self.share(home, tmp_path, geometry)
        file.close()
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(geometry.length))
        os.unlink(tmp_path / "home" / "data" / "f-1-2.000")
        (tmp_path / "home" / "data" / "f-1-2.000").symlink_to(secret)
        shared = home.find("f-1-2.000")
        assert shared is not None
        assert not os.path.samestat(os.fstat(shared.fd), os.stat(secret))
        shared.close()
        (tmp_path / "home" / "tasks" / "g").symlink_to(secret)
        assert home.find("g") is None

    @pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\0b", "é", "a" * 201, ".hidden", "a b", "a\n"])
    def test_names_that_are_not_a_plain_path_segment_are_refused(self, tmp_path: Path, name: str) -> None:
        assert not valid_name(name)
        assert Home(str(tmp_path)).find(name) is None

    def test_a_record_damaged_while_it_is_opened_is_ignored(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        home = Home(str(tmp_path / "home"))
        _, file = self.share(home, tmp_path, Geometry(-1))
        follow, path, before = Record.follow, file.record.path, len(own_descriptors())

        def damaged(at: str) -> Record:
            record = follow(at)
            with open(path, "r+b") as out:
                out.seek(8)
                out.write((1 << 60).to_bytes(8, "little"))
            return record

        monkeypatch.setattr(Record, "follow", damaged)
        assert home.find("f-1-2.000") is None
        assert len(os.listdir("/proc/self/fd")) == before
        home.sweep(1e12)
        assert home.names() == []
        file.close()

    def test_garbage_in_the_home_is_skipped_and_swept(self, tmp_path: Path) -> None:
        home = Home(str(tmp_path))
        for name, content in (("a", b""), ("b", b"{}"), ("c", b"[" * 60000), ("d", b"\xff" * 100000)):
            (tmp_path / "tasks" / name).write_bytes(content)
            assert home.find(name) is None
        home.sweep(0.0)
        assert home.names() == []
