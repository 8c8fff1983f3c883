"""A registry that sends other bytes than the named blob is read once; then the next registry is read."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.blob_registry import DATA, Blobs
from tests.e2e.scene import Scene, buffered, until
from tests.e2e.test_blobs import _registered
from tests.e2e.upstream import get

WRONG = DATA[:-1] + bytes([DATA[-1] ^ 1])


@pytest.fixture
def liar() -> Iterator[Blobs]:
    with Blobs() as made:
        made.lies[made.keep("a", DATA)] = WRONG
        yield made


@pytest.fixture
def honest() -> Iterator[Blobs]:
    with Blobs() as made:
        made.keep("a", DATA)
        yield made


def pulled(url: str, path: str) -> tuple[int, bytes]:
    """Status and body, as far as they were received."""
    try:
        answer, body = get(url, path)
        return answer.status, body
    except http.client.IncompleteRead as error:
        return 200, error.partial
    except (http.client.HTTPException, ConnectionError):
        return 0, b""


def path_of(registry: Blobs) -> str:
    [path] = registry.scripts
    return path


def test_after_a_wrong_blob_the_next_registry_is_read(stage: Scene, liar: Blobs, honest: Blobs) -> None:
    """Two hosts, each with its own registry; the host of the wrong registry pulls first, four times."""
    node, path = stage.supernode(), path_of(honest)
    wrong = stage.proxy("--registry", liar.url, host=2, nodes=(node,))[1]
    right = stage.proxy("--registry", honest.url, host=3, nodes=(node,))[1]
    for _ in range(4):
        status, body = pulled(wrong, path)
        assert len(body) < len(DATA) or status == 502
    assert liar.sent <= len(DATA) + buffered()
    until(lambda: pulled(right, path) == (200, DATA), "the right blob")
    # Also on the host of the wrong registry, from the swarm.
    until(lambda: pulled(wrong, path) == (200, DATA), "the right blob on the other host")
    assert liar.sent <= len(DATA) + buffered()
    assert honest.sent <= len(DATA) + buffered()
    for host in (2, 3):
        for kept in (stage.path / f"home-{host}" / "blobs").iterdir():
            assert kept.read_bytes() == DATA


def test_a_right_registry_joins_a_task_while_a_wrong_one_is_read(stage: Scene, liar: Blobs, honest: Blobs) -> None:
    node, path = stage.supernode(), path_of(honest)
    liar.rate = 8 << 20
    right = stage.proxy("--registry", honest.url, nodes=(node,))[1]
    task = _registered(node, liar.url + path, path.rpartition(":")[2])
    assert task is not None
    until(lambda: pulled(right, path) == (200, DATA), "the right blob")
    assert liar.sent <= len(DATA) + buffered()


def test_a_wrong_registry_without_a_swarm_is_read_once(stage: Scene, liar: Blobs) -> None:
    """Later pulls are refused, and nothing is kept on disk."""
    path = path_of(liar)
    url = stage.proxy("--registry", liar.url)[1]
    assert len(pulled(url, path)[1]) < len(DATA)
    for _ in range(3):
        answer, body = get(url, path)
        assert answer.status == 502
        assert b"has sent another blob" in body
    assert liar.sent <= len(DATA) + buffered()
    assert not list((stage.path / "home-2" / "blobs").iterdir())


def test_registrations_with_wrong_urls_do_not_spoil_a_task_for_long(stage: Scene, liar: Blobs, honest: Blobs) -> None:
    """Only by registrations, each with another URL. All clients have the address 127.0.0.1, so the honest one is not trusted either."""
    node, path = stage.supernode(), path_of(honest)
    hex = path.rpartition(":")[2]
    for n in range(3):
        other = path.replace("/a/", f"/a{n}/")
        liar.scripts[other] = liar.scripts[path]
        assert _registered(node, liar.url + other, hex) is not None
        until(partial(lambda n: node.metric("dragonfly_supernode_trigger_cdn_failed_total") > n, n), "the end of a fetch")
    assert _registered(node, f"{liar.url}{path}", hex) is None
    assert liar.sent <= 3 * len(DATA) + buffered()
    right = stage.proxy("--registry", honest.url, nodes=(node,))[1]
    until(lambda: pulled(right, path) == (200, DATA), "the right blob")
