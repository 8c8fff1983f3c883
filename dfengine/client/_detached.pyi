def start(path: bytes, arguments: list[bytes], environment: list[bytes], log: int, closed: list[int]) -> int:
    """Start `path` in a session of its own, with no signal blocked; its pid. It inherits what is inheritable but `closed`.

    environment: NAME=VALUE. log: descriptor of its stderr; stdin and stdout are /dev/null. Raises OSError.
    """
