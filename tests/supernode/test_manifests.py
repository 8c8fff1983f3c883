"""The supernode's cache of manifests."""

from __future__ import annotations

from dfengine.manifest import File, Manifest
from dfengine.supernode.copies.manifests import Manifests


def made(name: str, files: int = 2) -> Manifest:
    base = f"http://h/{name}/"
    return Manifest(base, [File(f"{n}", f"{base}{n}", n) for n in range(files)])


def test_a_manifest_is_returned_only_for_its_own_directory() -> None:
    manifests, one = Manifests(), made("a")
    manifests.add(one)
    manifests.add(one)
    assert manifests.get(one.identity, "http://h/a") is one
    assert manifests.get(one.identity, "http://h/b") is None
    assert manifests.get("0a" * 32, "http://h/a") is None


def test_the_least_recently_used_manifest_is_evicted_first() -> None:
    manifests, a, b, c = Manifests(4), made("a"), made("b"), made("c")
    manifests.add(a)
    manifests.add(b)
    assert manifests.get(a.identity, "http://h/a") is a
    manifests.add(c)
    assert manifests.get(b.identity, "http://h/b") is None
    assert manifests.get(a.identity, "http://h/a") is a
    assert manifests.get(c.identity, "http://h/c") is c


def test_a_manifest_above_the_limit_is_kept_alone() -> None:
    manifests, small, large = Manifests(4), made("a"), made("b", 9)
    manifests.add(small)
    manifests.add(large)
    assert manifests.get(small.identity, "http://h/a") is None
    assert manifests.get(large.identity, "http://h/b") is large
