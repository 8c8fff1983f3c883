"""Seeded mutations: bits, bytes, runs, tokens that are special to parsers, and splices of two inputs."""

from __future__ import annotations

import random

TOKENS = (
    b"\0", b"\r\n", b"\n", b"\r\n\r\n", b" ", b":", b"-", b"-1", b"0", b"99999999999999999999",
    b"1e999", b"NaN", b"%", b"%00", b"%ff", b"\xff",
    b"\xe4", b"[", b"{", b"}", b"]", b'"', b",", b"null", b"true", b"[[[[[[[[[[[[[[[[",
    b"bytes=", b"*", b"..", b"/", b"&", b"=", b"?", b"#",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\x7f", b"\\ud800",
    b"\xc3\xa4", b"K", b"s", b"@", b"&a ", b"*a ", b"!!", b"\t",
)
LONGEST = 4096


def mutated(inputs: list[bytes], chance: random.Random) -> bytes:
    """Return a new input made from one or two of `inputs`."""
    data = bytearray(chance.choice(inputs))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(6)
        if what == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            data[at:at] = chance.choice(TOKENS)
        elif what == 2:
            del data[at : at + chance.randrange(1, 9)]
        elif what == 3:
            data[at:at] = data[at : at + chance.randrange(1, 40)] * chance.randrange(1, 5)
        elif what == 4:
            other = chance.choice(inputs)
            data[at:] = other[chance.randrange(len(other) + 1) :]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 5))
    return bytes(data[:LONGEST])
