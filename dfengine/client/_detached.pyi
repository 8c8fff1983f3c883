def start(path: bytes, arguments: list[bytes], environment: list[bytes], log: int, closed: list[int]) -> int:
    """Start `path` in a new session with no signal blocked; return its pid. It inherits all inheritable descriptors except `closed`.

    environment: NAME=VALUE entries. log: descriptor of its stderr; stdin and stdout are /dev/null. Raises OSError.
    """
