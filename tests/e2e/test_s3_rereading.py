"""Files that are replaced while the proxy runs: its access keys, and objects of a directory."""

from __future__ import annotations

import os
import random
import threading
from typing import Any

from tests.e2e.scene import MIB, Scene
from tests.e2e.test_proxy_rereading import Proxy, rewrite
from tests.e2e.test_s3_places import client, listed, refused


def test_access_keys_are_read_again_on_sighup_and_not_served_as_objects(stage: Scene) -> None:
    keys, disk = stage.path / "keys", stage.path / "disk"
    disk.mkdir()
    (disk / "file").write_bytes(b"of a bucket")
    rewrite(keys, "AKID0 secret-of-0\n")
    os.link(keys, disk / "linked")
    proxy = Proxy(stage, "--s3-bucket", f"disk={disk}", "--s3-keys", str(keys), "--s3-fresh", "0s")
    old, new = (client(f"{proxy.url}/s3", f"AKID{n}", f"secret-of-{n}") for n in (0, 1))
    assert refused(old.get_object, Bucket="disk", Key="linked") == (403, "AccessDenied")
    assert refused(new.list_buckets) == (403, "InvalidAccessKeyId")

    # Replaced by a rename, as editors and configuration management do. The old keys are valid until SIGHUP.
    rewrite(keys, "AKID1 secret-of-1\n")
    assert refused(old.get_object, Bucket="disk", Key="linked") == (403, "AccessDenied")
    assert old.get_object(Bucket="disk", Key="file")["Body"].read() == b"of a bucket"
    assert proxy.reread()["event"] == "reloaded"
    assert refused(old.get_object, Bucket="disk", Key="file") == (403, "InvalidAccessKeyId")
    assert new.get_object(Bucket="disk", Key="file")["Body"].read() == b"of a bucket"
    assert refused(new.get_object, Bucket="disk", Key="linked") == (403, "AccessDenied")

    # An invalid file of keys changes nothing.
    rewrite(keys, "AKID2\n")
    assert proxy.reread()["event"] == "reload_failed"
    assert listed(new, "disk") == ["file", "linked"]


def test_an_object_that_is_replaced_is_never_mixed_with_its_replacement(stage: Scene) -> None:
    """Each response has the bytes of one file, and each entity-tag one content; at the end the last file is served."""
    disk = stage.path / "disk"
    disk.mkdir()
    size = 9 * MIB + 7

    def place(n: int) -> None:
        (stage.path / "fresh").write_bytes(bytes([n]) * size)
        os.rename(stage.path / "fresh", disk / "k")

    place(0)
    here = client(f"{stage.proxy('--s3-bucket', f'disk={disk}', '--s3-fresh', '0s')[1]}/s3")
    found: dict[str, bytes] = {}
    over = threading.Event()
    wrong: list[Any] = []

    def read(seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            start = chance.choice((0, 0, MIB, 8 * MIB))
            try:
                answer = here.get_object(Bucket="disk", Key="k", Range=f"bytes={start}-")
                body = answer["Body"].read()
            except Exception:
                continue
            first = found.setdefault(answer["ETag"], body[:1])
            if body != first * (size - start):
                wrong.append((answer["ETag"], first, set(body), len(body)))

    readers = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for reader in readers:
        reader.start()
    try:
        for n in range(1, 13):
            seen = len(found)
            place(n)
            # The next replacement waits until a reader has seen a new entity-tag, for at most 400 times 0.02 s.
            for _ in range(400):
                if len(found) > seen:
                    break
                over.wait(0.02)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert len(found) > 6
    assert len(set(found.values())) == len(found)
    assert here.get_object(Bucket="disk", Key="k")["Body"].read() == bytes([12]) * size
