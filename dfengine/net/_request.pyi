def plain(data: bytes, max_head: int, max_body: int) -> tuple[str, bytes, dict[str, str], bytes] | None:
    """(method, target, headers by lower-case name, body) of a plain HTTP/1.1 request that is all of `data`; None: ask the full parser."""

__pyx_capi__: dict[str, object]
