"""Distance of two peers: the same host, the number of label levels in common, the same subnet.

A label is the value of `--location`, `region|site|rack`, widest first; at most LABEL_PARTS of its parts count. Where both peers have a
label, subnets are ignored. Names are compared by their hashes, a part of a label by the hash of the label up to and including it.
"""

from __future__ import annotations

from ipaddress import ip_address

import xxhash

LABEL_PARTS = 4
MAX_LABEL = 256
"""Maximum number of characters of a label that count."""


def hashes(ip: str, location: str) -> tuple[int, int, list[int]]:
    """Return the hashes of the host, of its subnet (0: the address is no IP), and of each level of its label; 32 bits each, not 0."""
    subnet, labels = 0, list[int]()
    parts = location[:MAX_LABEL].split("|") if location else []
    try:
        address = ip_address(ip)
        subnet = _hash(f"{address.version}/{int(address) >> (8 if address.version == 4 else 64)}")
    except ValueError:
        pass
    for level, part in enumerate(parts[:LABEL_PARTS]):
        if not part:
            break
        labels.append(_hash("|".join(parts[: level + 1])))
    return _hash(ip), subnet, labels


def _hash(name: str) -> int:
    return (xxhash.xxh3_64_intdigest(name.encode(errors="replace")) & 0xFFFFFFFF) or 1
