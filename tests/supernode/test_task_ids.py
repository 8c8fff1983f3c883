"""Tasks are separated by credentials, verification and versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import BadValue
from dfengine.origin.tls_verification import verification
from dfengine.settings import parse_header
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.task_ids import TaskIds
from dfengine.task import task_id

TASK = "ab" * 32


def test_different_sets_of_credentials_have_different_tasks(tmp_path: Path) -> None:
    apart = TaskIds(str(tmp_path)).private_task
    sets = [
        [("Authorization", "a")], [("Authorization", "b")], [("Cookie", "a")], [("X-Auth-Token", "a")],
        [("Authorization", "a"), ("Cookie", "a")],
        [("Authorization", "a\tcookie"), ("X", "a")],
    ]
    ids = [apart(TASK, headers) for headers in sets]
    assert len({TASK, *ids}) == len(sets) + 1
    assert all(len(task) == 64 and set(task) <= set("0123456789abcdef") for task in ids)


def test_equal_credentials_share_a_task_and_none_keep_the_id_of_1x(tmp_path: Path) -> None:
    apart = TaskIds(str(tmp_path)).private_task
    same = [("cookie", "c"), ("User-Agent", "x"), ("AUTHORIZATION", "a")]
    assert apart(TASK, [("Authorization", "a"), ("Cookie", "c")]) == apart(TASK, same)
    assert apart(TASK, [("User-Agent", "x"), ("Range", "bytes=0-1")]) == apart(TASK, []) == TASK


def test_the_id_of_a_variant_depends_on_the_task_and_the_varying_headers(tmp_path: Path) -> None:
    variant = TaskIds(str(tmp_path)).variant
    said = [[], [("Accept", "a")], [("Accept", "b")], [("Accept", "a"), ("accept", "b")]]
    assert len({TASK, *(variant(task, headers, ["accept"]) for task in (TASK, "cd" * 32) for headers in said)}) == 9
    assert variant(TASK, [("Accept", "a"), ("Via", "1")], ["accept"]) == variant(TASK, said[1], ["Accept"])


PEMS = [f"-----BEGIN CERTIFICATE-----\n{name * 64}\n-----END CERTIFICATE-----\n".encode() for name in "abc"]
CERTIFICATES = st.lists(st.sampled_from([*PEMS, b"".join(PEMS[:2]), b"# text\r\n" + PEMS[0].replace(b"\n", b"\r\n"), b"none"]), max_size=4)


def of(certificates: list[bytes]) -> set[bytes]:
    """The set of certificates in these files, compared as text."""
    return {pem for pem in (*PEMS, b"none") if any(pem.strip() in given.replace(b"\r", b"") for given in certificates)}


@given(st.booleans(), CERTIFICATES, st.booleans(), CERTIFICATES)
def test_verifications_are_equal_if_their_certificates_are_equal(one: bool, a: list[bytes], two: bool, b: list[bytes]) -> None:
    assert (verification(one, a) == verification(two, b)) == ((one, of(a)) == (two, of(b)))
    assert bool(verification(one, a)) == (one or bool(a))


def test_copies_that_were_verified_less_strictly_are_not_shared(tmp_path: Path) -> None:
    """With https each verification has a separate task; with http the task of the default verification is tried first."""
    tasks = TaskIds(str(tmp_path)).tasks
    ways = [FetchRequest("https://o/f"), *(FetchRequest("https://o/f", insecure=True, cacerts=pems) for pems in ((), (PEMS[0],))),
            *(FetchRequest("https://o/f", cacerts=(pem,)) for pem in PEMS)]
    found = [list(tasks(way, way.url)) for way in ways]
    assert [[how for _, how in each] for each in found] == [[way] for way in ways]
    ids = [task for [(task, _)] in found]
    assert ids[0] == task_id("https://o/f")
    assert len(set(ids)) == len(ids)
    for way in ways[1:]:
        plain = FetchRequest("HTTP://o/f", (("Cookie", "c"),), way.insecure, way.cacerts)
        first, second = tasks(plain, plain.url)
        assert first == (next(tasks(FetchRequest(plain.url, plain.headers), plain.url))[0], FetchRequest(plain.url, plain.headers))
        assert second[1] is plain
        assert first[0] != second[0]


def test_private_ids_survive_a_restart_and_depend_on_a_secret_key(tmp_path: Path) -> None:
    headers = [("Authorization", "Basic cm9vdDpyb290")]
    first = TaskIds(str(tmp_path)).private_task(TASK, headers)
    assert TaskIds(str(tmp_path)).private_task(TASK, headers) == first
    assert (tmp_path / "credentials.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "credentials.key").write_bytes(b"cut")
    assert TaskIds(str(tmp_path)).private_task(TASK, headers) != first


def test_tokens_are_not_shown_in_representations_and_errors() -> None:
    assert "t0ken" not in repr(FetchRequest("http://a/f", (("Authorization", "t0ken"),)))
    with pytest.raises(BadValue) as error:
        parse_header("Authorization Bearer t0ken")
    assert "t0ken" not in str(error.value)


def test_content_is_shared_without_credentials_by_all_and_with_them_per_registry(tmp_path: Path) -> None:
    credentials = TaskIds(str(tmp_path))
    name, one, two = f"df:sha256:{TASK}", f"https://r.io/v2/a/blobs/sha256:{TASK}", f"http://other/v2/b/blobs/sha256:{TASK}"

    def task(url: str, *headers: tuple[str, str], insecure: bool = False, shared: str = name) -> str:
        [(found, _)] = credentials.tasks(FetchRequest(url, headers, insecure, content=TASK), shared)
        return found

    token, other = ("Authorization", "Bearer a"), ("Authorization", "Bearer b")
    assert task(one) == task(two) == task(one, ("Via", "x"))
    assert task(one, token) == task(one, other) == task(one.replace("/a/", "/c/"), token)
    assert len({task(one), task(one, token), task(two, token), task(one, insecure=True), task(one, token, insecure=True),
                task(one, ("Range", "bytes=0-1")), task_id(name), task(one, shared=f"df:sha256:{'0' * 64}")}) == 8


def test_clients_whose_credentials_open_the_same_version_share_a_task(tmp_path: Path) -> None:
    credentials = TaskIds(str(tmp_path))

    def task(*headers: tuple[str, str], version: str = '"1"\n10', url: str = "http://a/f", **more: Any) -> str:
        return credentials.shared_task(FetchRequest(url, headers, **more), url, "", version)

    token, other = ("Authorization", "Bearer a"), ("authorization", "Bearer b")
    assert task(token) == task(other) == task(("PRIVATE-TOKEN", "c"), token, ("User-Agent", "x")) != ""
    # Headers that may select a file, and not only grant access, belong to the name.
    apart = [task(token, ("Host", "b")), task(token, ("Cookie", "who=a")), task(token, ("Cookie", "who=b")),
             task(token, ("X-Version", "2")),
             task(token, version='"2"\n10'), task(token, version='"1"\n11'), task(token, url="http://a/g"),
             task(token, ("Range", "bytes=0-1")), task(token, insecure=True, url="https://a/f"),
             task(token, url="https://a/f")]  # fmt: skip
    assert len({task(token), *apart, credentials.private_task(task_id("http://a/f"), [token])}) == len(apart) + 2
    for none in (task(), task(("Cookie", "a=b")), task(token, version=""), task(token, split=True), task(token, content=TASK),
                 task(token, signed="https://h/k?sig=x"), task(token, url="s3://bucket/key")):
        assert none == ""


def test_content_can_be_separated_by_credentials(tmp_path: Path) -> None:
    credentials = TaskIds(str(tmp_path))
    url = f"https://r.io/v2/a/blobs/sha256:{TASK}"

    def task(split: bool, *headers: tuple[str, str]) -> str:
        [(found, _)] = credentials.tasks(FetchRequest(url, headers, content=TASK, split=split), f"df:sha256:{TASK}")
        return found

    token, other = ("Authorization", "Bearer a"), ("Authorization", "Bearer b")
    assert len({task(True, token), task(True, other), task(False, token), task(True)}) == 4
    assert task(True) == task(False)
    assert task(False, token) == task(False, other)
