"""Names of tasks that are equal on all supernodes of a cluster, while ids of private files differ per supernode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfengine.origin.local_root import Roots
from dfengine.origin.origin_settings import OriginPermissions
from dfengine.supernode.cluster_names import ClusterNames
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.task_ids import TaskIds
from dfengine.tree import TreeTask

KEY = b"k" * 32
HEX = "ab" * 32
TOKEN, OTHER, ACCEPT = ("Authorization", "Bearer a"), ("Authorization", "Bearer b"), ("Accept", "x")
BLOB = f"https://r.io/v2/a/blobs/sha256:{HEX}"
FILE, TREE, NAME = "https://o/f", "https://o/d/", f"df:sha256:{HEX}"
WANTED = [
    (FetchRequest(url, headers, **more), named, sign)
    for url, named, sign, headers, more in (
        (FILE, FILE, "", (), {}), (FILE, FILE, "", (("Range", "bytes=0-1"),), {}), (f"{FILE}?v=1", f"{FILE}?v=1", "", (), {}),
        (FILE, FILE, "identifier", (), {}), (FILE, FILE, "", (TOKEN,), {}), (FILE, FILE, "", (OTHER,), {}),
        (FILE, FILE, "", (), {"insecure": True}), (FILE, FILE, "", (TOKEN,), {"insecure": True}),
        ("http://o/f", "http://o/f", "", (), {"insecure": True}), ("s3://buck/k", "s3://buck/k", "", (), {"signed": "https://h/buck/k?X-Amz-Signature=1"}),
        (TREE, TREE, "", (), {"tree": TreeTask.parse("manifest")}), (TREE, TREE, "", (TOKEN,), {"tree": TreeTask.parse("manifest")}),
        (TREE, TREE, "", (), {"tree": TreeTask.parse("data", manifest=HEX)}),
        (BLOB, NAME, "", (), {"content": HEX}), (BLOB, NAME, "", (TOKEN,), {"content": HEX}),
        (BLOB, NAME, "", (TOKEN,), {"content": HEX, "split": True}),
    )
]  # fmt: skip


def test_names_differ_where_ids_differ_and_are_equal_on_all_supernodes(tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    found: list[tuple[str, ...]] = []
    for given in WANTED:
        names = [*ClusterNames(KEY, OriginPermissions(Roots(())).may_sign).tasks(*given)]
        assert set(names).isdisjoint(ClusterNames(b"l" * 32, OriginPermissions(Roots(())).may_sign).tasks(*given))
        found += zip(names, *([task for task, _ in TaskIds(str(home)).tasks(*given)] for home in homes), strict=True)
    columns = [*zip(*found, strict=True)]
    assert {len(set(column)) for column in columns} == {len(found)}, "as many names as tasks"
    assert set(columns[0]).isdisjoint((*columns[1], *columns[2])), "no name is an id"
    assert found[4][1] != found[4][2], "a private id differs per supernode"


def test_shared_private_files_and_variants_have_separate_names(tmp_path: Path) -> None:
    names, ids = ClusterNames(KEY, OriginPermissions(Roots(())).may_sign), TaskIds(str(tmp_path))

    def both(version: str, *headers: tuple[str, str]) -> tuple[Any, ...]:
        wanted = FetchRequest("https://o/f", headers)
        return tuple(each.shared_task(wanted, wanted.url, "", version) for each in (names, ids))

    one, same, changed = both("v1", TOKEN), both("v1", OTHER), both("v2", TOKEN)
    assert one == same
    assert len({*one, *changed}) == 4
    [plain] = names.tasks(FetchRequest("https://o/f", (ACCEPT,)), "https://o/f", "")
    variants = {plain, *(names.variant(plain, (("Accept", value),), ["accept"]) for value in "ab")}
    assert len(variants) == 3


def test_files_that_a_supernode_signs_for_have_a_separate_name() -> None:
    """A supernode that may not sign for a file reads it unsigned, or follows another one that may not."""

    def named(url: str, *signs: str) -> str:
        [name] = ClusterNames(KEY, OriginPermissions.parse((), signs).may_sign).tasks(FetchRequest(url), url, "")
        return name

    inside, outside = "s3://buck/a/f", "s3://buck/b/f"
    assert named(inside, "s3://buck/a") == named(inside, "s3://buck", "s3://other") != named(inside) == named(inside, "s3://other")
    assert named(outside, "s3://buck/a") == named(outside)
    assert named("http://o/f", "s3://buck") == named("http://o/f")
