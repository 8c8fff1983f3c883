"""Results of a tree's download: bytes of each file by the kind of source, which add up to its size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.client.tree_place import ORIGIN, PEERS, RESUMED, SUPERNODE
from dfengine.client.tree_result import FileResult, FileResults, TreeResult
from dfengine.errors import DfengineError, DigestMismatch, StorageError
from dfengine.manifest import File, Manifest

BASE = "http://o/t/"


def manifest(sizes: list[int]) -> Manifest:
    return Manifest(BASE, [File(f"{n:03}", f"{BASE}{n:03}", size) for n, size in enumerate(sizes)])


@given(sizes=st.lists(st.integers(0, 90), min_size=1, max_size=9), data=st.data())
def test_bytes_of_files_by_source_match_those_of_the_pieces(sizes: list[int], data: st.DataObject) -> None:
    made, geometry = manifest(sizes), Geometry(sum(sizes), 37)
    came = data.draw(st.lists(st.sampled_from([RESUMED, PEERS, SUPERNODE, ORIGIN]), min_size=geometry.count, max_size=geometry.count))
    rows = FileResults(made, geometry, bytes(came))
    files = [rows.of(n, None) for n in range(len(sizes))]
    for each, size in zip(files, sizes, strict=True):
        assert each.from_peers + each.from_supernode + each.from_origin + each.resumed == each.size == size
    for source, name in ((PEERS, "from_peers"), (SUPERNODE, "from_supernode"), (ORIGIN, "from_origin"), (RESUMED, "resumed")):
        expected = sum(geometry.content(n)[1] for n in range(geometry.count) if came[n] == source)
        assert sum(getattr(each, name) for each in files) == expected


def test_failed_files_are_listed_and_the_worst_error_is_known() -> None:
    errors: dict[int, DfengineError] = {2: DigestMismatch("other bytes"), 0: StorageError("a directory")}
    rows = FileResults(manifest([1, 2, 3]), Geometry(6), bytes([ORIGIN]))
    result = TreeResult(BASE, "/out", "t", "m", 6, 3, 1.0, 0, 0, 6, 0, errors, rows)
    assert [(each.path, str(each.error)) for each in result.failed] == [("000", "a directory"), ("002", "other bytes")]
    assert result.worst is errors[0]
    assert result.files[1] == FileResult("001", 2, None, 0, 0, 2, 0)
    assert result.replace(errors={}).worst is None
    assert not result.replace(errors={}).failed


def test_a_file_without_transfer_counts_as_resumed() -> None:
    assert FileResults(manifest([5])).of(0, None) == FileResult("000", 5, resumed=5)
