"""The download port while a fetch runs in another thread."""

from __future__ import annotations

from pathlib import Path

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.net.http import Parts, Request
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.download_port import AT_ONCE, DownloadRoutes

TASK = "cd" * 32
SIZE = 4 << 20


def test_a_length_learnt_while_a_response_is_made_gives_a_correct_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path))
    fetch = Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, None, None)  # type: ignore[arg-type]
    file = fetch.file = cache.create(TASK, Geometry(-1), Description(url="u", generation="g"))
    short = bytes(100)

    class Late:
        """The bitset; before the first lookup the file ends with a short piece 0."""

        def __len__(self) -> int:
            return len(bits)

        def __contains__(self, n: int) -> bool:
            if file.geometry.length < 0:
                file.learn_length(len(short))
                file.write(0, short, xxhash.xxh3_128_digest(short))
            return n in bits

        def all_in_range(self, first: int, past: int) -> bool:
            return bits.all_in_range(first, past)

    bits = file.available
    monkeypatch.setattr(Copy, "available", property(lambda self: Late()))
    request = Request("GET", f"/download/{TASK[:3]}/{TASK}".encode(), {"range": f"bytes=0-{SIZE - 1}"}, b"", "127.0.0.1")
    answer = DownloadRoutes(lambda task: fetch, lambda *_: None, lambda *_: None)(request)
    assert isinstance(answer, Parts)
    head = answer.parts[0]
    assert isinstance(head, bytes)
    assert head == Geometry(len(short)).head(0)
    assert answer.length == len(short) + 5


def ask(fetch: Fetch, **headers: str) -> Parts:
    request = Request("GET", f"/download/{TASK[:3]}/{TASK}".encode(), headers, b"", "127.0.0.1")
    answer = DownloadRoutes(lambda task: fetch, lambda *_: None, lambda *_: None)(request)
    assert isinstance(answer, Parts)
    return answer


@pytest.mark.parametrize(("start", "end"), [(0, -1), (3, 999), (SIZE * AT_ONCE - 1, SIZE * AT_ONCE), (SIZE * AT_ONCE, SIZE * 500 + 2)])
def test_a_large_range_is_sent_in_batches(tmp_path: Path, start: int, end: int) -> None:
    cache = Cache(str(tmp_path))
    fetch = Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, None, None)  # type: ignore[arg-type]
    geometry = Geometry(1000 * (SIZE - 5) + 7, SIZE)
    file = fetch.file = cache.create(TASK, geometry, Description(url="u", generation="g"))
    for n in range(geometry.count):
        file.available.set(n)
    answer = ask(fetch) if end < 0 else ask(fetch, range=f"bytes={start}-{end}")
    end = geometry.framed_length - 1 if end < 0 else end
    assert answer.length == end + 1 - start
    batches = [answer.parts, *answer.more]
    assert max(map(len, batches)) <= 3 * AT_ONCE
    parts = [part if isinstance(part, bytes) else (part.offset, part.length) for batch in batches for part in batch]
    assert parts == geometry.segments(start, end)


def test_a_request_for_one_piece_is_reported_when_its_response_starts(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    fetch = Fetch(TASK, FetchRequest("http://127.0.0.1:1/f"), cache, lambda *_: None, None, None)  # type: ignore[arg-type]
    file = fetch.file = cache.create(TASK, Geometry(2 * SIZE), Description(url="u", generation="g"))
    for n in range(file.geometry.count):
        content = bytes(file.geometry.content(n)[1])
        file.write(n, content, xxhash.xxh3_128_digest(content))
    told: list[object] = []
    routes = DownloadRoutes(lambda task: fetch, lambda *_: None, lambda *what: told.append(what))

    def begin(given: str) -> list[object]:
        told.clear()
        answer = routes(Request("GET", f"/download/{TASK[:3]}/{TASK}".encode(), {"range": f"bytes={given}"}, b"", "127.0.0.9"))
        assert isinstance(answer, Parts)
        if answer.started is not None:
            answer.started(int)
        return list(told)

    assert begin(file.geometry.range_text(1)) == [(TASK, 1, "127.0.0.9", int)]
    assert begin(f"0-{2 * SIZE - 1}") == [], "a range of more than one piece has no lease"
