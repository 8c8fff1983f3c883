def plain_pull(body: bytes) -> tuple[str, str, list[tuple[int, str]], list[int], int, float, int, int] | None:
    """(task, cid, done, ending, want, wait, una, end) of a plain pull; None: ask `wire.decode_pull`."""

__pyx_capi__: dict[str, object]
