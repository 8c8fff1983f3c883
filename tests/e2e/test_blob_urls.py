"""A registry's URL, or a model hub, names a file by its digest: whatever reads it by that URL gives away nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from dfengine.errors import DigestMismatch
from tests.e2e.scene import Scene, Supernode
from tests.e2e.test_preheat import ask, ended
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
    """How a preheat of this file ends, and why it fails."""
    status, made = ask(node, "POST", "/preheats", {"type": "file", "url": url})
    if status != 201:
        return "FAILED", made["message"]
    told = ended(node, made["ID"])
    return told["status"], told.get("errorMsg", "")


def test_a_lying_registry_is_found_out_by_every_way(stage: Scene, registry: Upstream) -> None:
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
    # What is here and right is not fetched again, and a part of it is not the whole.
    asked = len(registry.asked)
    stage.get(url, "a", "--pattern", "source")
    assert len(registry.asked) == asked
    registry.scripts[path] = ok(BODY[3:8], f"Content-Range: bytes 3-7/{len(BODY)}", status="206 Partial Content")
    stage.get(url, "part", "--range", "3-7", "--pattern", "source")
    assert (stage.path / "part").read_bytes() == BODY[3:8]


def test_a_hub_that_sends_another_file_than_it_says(stage: Scene, registry: Upstream) -> None:
    path, node = f"/org/name/resolve/{COMMIT}/model.bin", stage.supernode()
    registry.scripts[path] = ok(OTHER, f'ETag: "{HEX}"')
    assert HEX in stage.get(registry.url + path, "a", "--pattern", "source", status=MISMATCH)
    assert preheated(node, registry.url + path)[0] == "FAILED"
    registry.scripts[path] = ok(BODY, f'ETag: "{HEX}"')
    stage.get(registry.url + path, "a", "--pattern", "source")
    assert stage.digest("a") == HEX
