"""URLs of registries and model hubs that name a file by its digest: every way of reading such a URL delivers only bytes of that digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from dfengine.errors import DigestMismatch
from tests.e2e.scene import Scene, Supernode
from tests.e2e.test_preheat import ask, preheat_result
from tests.e2e.upstream import Upstream, ok

BODY, OTHER = b"what was pushed\n" * 9000, b"what was pulled\n" * 9000
HEX = hashlib.sha256(BODY).hexdigest()
MISMATCH = DigestMismatch.exit_code
COMMIT = "0123456789" * 4


@pytest.fixture
def registry() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


def preheated(node: Supernode, url: str) -> tuple[str, str]:
    """Status of an ended preheat of this file, and the reason if it failed."""
    status, made = ask(node, "POST", "/preheats", {"type": "file", "url": url})
    if status != 201:
        return "FAILED", made["message"]
    told = preheat_result(node, made["ID"])
    return told["status"], told.get("errorMsg", "")


def test_a_blob_with_a_wrong_digest_is_rejected_by_preheat_get_and_stream(stage: Scene, registry: Upstream) -> None:
    path = f"/v2/a/blobs/sha256:{HEX}"
    url, node = registry.url + path, stage.supernode()
    registry.scripts[path] = ok(OTHER, 'ETag: "1"', "Accept-Ranges: none")
    status, why = preheated(node, url)
    assert status == "FAILED"
    assert hashlib.sha256(OTHER).hexdigest() in why
    assert HEX in stage.get(url, "a", nodes=(node,), status=MISMATCH)
    assert HEX in stage.get(url, "a", "--pattern", "source", status=MISMATCH)
    assert HEX in stage.drain(stage.start_stream(url, "--pattern", "source"), MISMATCH)[1]
    assert not (stage.path / "a").exists()
    registry.scripts[path] = ok(BODY, 'ETag: "2"', "Accept-Ranges: none")
    assert preheated(node, url) == ("SUCCESS", "")
    stage.get(url, "a", nodes=(node,))
    assert stage.digest("a") == HEX
    # A correct file on disk is not fetched again; a range of it is not compared with the digest of the whole.
    asked = len(registry.asked)
    stage.get(url, "a", "--pattern", "source")
    assert len(registry.asked) == asked
    registry.scripts[path] = ok(BODY[3:8], f"Content-Range: bytes 3-7/{len(BODY)}", status="206 Partial Content")
    stage.get(url, "part", "--range", "3-7", "--pattern", "source")
    assert (stage.path / "part").read_bytes() == BODY[3:8]


def test_a_hub_file_that_differs_from_its_stated_digest_is_rejected(stage: Scene, registry: Upstream) -> None:
    path, node = f"/org/name/resolve/{COMMIT}/model.bin", stage.supernode()
    registry.scripts[path] = ok(OTHER, f'ETag: "{HEX}"')
    assert HEX in stage.get(registry.url + path, "a", "--pattern", "source", status=MISMATCH)
    assert preheated(node, registry.url + path)[0] == "FAILED"
    registry.scripts[path] = ok(BODY, f'ETag: "{HEX}"')
    stage.get(registry.url + path, "a", "--pattern", "source")
    assert stage.digest("a") == HEX
