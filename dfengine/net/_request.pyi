def plain(data: bytes, max_head: int, max_body: int) -> tuple[str, bytes, dict[str, str], bytes] | None:
    """Parse `data` if it is exactly one plain HTTP/1.1 request: (method, target, headers by lower-case name, body). None: not plain."""

__pyx_capi__: dict[str, object]
