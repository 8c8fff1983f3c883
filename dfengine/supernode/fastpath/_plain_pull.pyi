def plain_pull(body: bytes) -> tuple[str, str, list[tuple[int, str]], list[int], int, float, int, int] | None:
    """Return (task, cid, done, ending, want, wait, una, end) of a plain pull; None for a body that `wire.decode_pull` must decode."""

__pyx_capi__: dict[str, object]
