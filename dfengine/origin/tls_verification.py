"""How an origin's certificate is verified, as a text that is part of a task's identity. Pure.

    ""            by the authorities that the requesting host trusts: the strictest
    ca:SHA256     by these, or by the given certificates; the SHA256 is their digest
    insecure      not at all; with a digest where certificates were given too, by which an https proxy is verified

Law: bytes fetched under one of these texts are served to requests with the same text; bytes fetched under the first, to all requests.
"""

from __future__ import annotations

import hashlib
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----")


def verification(insecure: bool, certificates: Iterable[bytes]) -> str:
    """The text for these options. certificates: PEM texts, each of any number of certificates. Order, repetition and layout have no effect.
    """
    blocks: set[bytes] = set()
    for text in certificates:
        # A text without a certificate fails later, by its own error; until then its digest keeps the task separate.
        blocks.update(_blocks(text) or [text])
    digest = hashlib.sha256(b"\n".join(sorted(hashlib.sha256(block).digest() for block in blocks))).hexdigest() if blocks else ""
    return " ".join(filter(None, ("insecure" if insecure else "", f"ca:{digest}" if digest else "")))


def _blocks(text: bytes) -> list[bytes]:
    """Label and content of each block without its white space, in one pass; an unterminated block ends with the text."""
    blocks: list[bytes] = []
    label, start = b"", 0
    for mark in _MARK.finditer(text):
        if not label and mark[1] == b"BEGIN":
            label, start = mark[2], mark.end()
        elif label and mark[1] == b"END" and mark[2] == label:
            blocks.append(label + b":" + b"".join(text[start : mark.start()].split()))
            label = b""
    return [*blocks, text[start:]] if label else blocks
