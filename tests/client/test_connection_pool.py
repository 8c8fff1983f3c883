"""Kept connections: never two users of one, the latest first, the oldest closed."""

from __future__ import annotations

import threading

from dfengine.client.connection_pool import MAX_IDLE, ConnectionPool


class Line:
    def __init__(self, host: str, port: int = 1) -> None:
        self.host, self.port, self.closed = host, port, False

    def close(self) -> None:
        self.closed = True


def test_the_most_recently_used_connection_to_the_same_source_is_returned() -> None:
    connections, first, second, other = ConnectionPool(), Line("a"), Line("a"), Line("a", 2)
    for line in (first, second, other):
        connections.release(line)  # type: ignore[arg-type]
    assert connections.acquire("b", 1) is None
    kept: list[object] = [connections.acquire("a", 1) for _ in range(3)]
    assert kept == [second, first, None]
    connections.close()
    assert (first.closed, second.closed, other.closed) == (False, False, True)
    assert connections.acquire("a", 2) is None


def test_the_longest_unused_connection_is_closed_at_the_capacity() -> None:
    connections, kept = ConnectionPool(), [Line(f"host-{n}") for n in range(MAX_IDLE + 3)]
    for line in kept:
        connections.release(line)  # type: ignore[arg-type]
    assert [line.closed for line in kept] == [True] * 3 + [False] * MAX_IDLE


def test_threads_never_share_a_connection() -> None:
    connections = ConnectionPool()
    for _ in range(4):
        connections.release(Line("a"))  # type: ignore[arg-type]
    held: dict[int, int] = {}
    clashes = []

    def use(me: int) -> None:
        for _ in range(2000):
            line = connections.acquire("a", 1)
            if line is None:
                continue
            if held.setdefault(id(line), me) != me:
                clashes.append(line)
            del held[id(line)]
            connections.release(line)

    threads = [threading.Thread(target=use, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
