"""The policy of locality. The rules stand in the `.pxd`."""

from ipaddress import ip_address

import xxhash

cdef enum:
    LONGEST = 256  # characters of a label that count


cdef uint32_t hashed(str name) except? 0:
    return (xxhash.xxh3_64_intdigest(name.encode(errors="replace")) & 0xFFFFFFFF) or 1


cdef int locate(Location* into, str ip, str location) except -1:
    cdef list parts = location[:LONGEST].split("|") if location else []
    cdef int level
    into.host = hashed(ip)
    into.subnet = 0
    into.levels = 0
    try:
        address = ip_address(ip)
        into.subnet = hashed(f"{address.version}/{int(address) >> (8 if address.version == 4 else 64)}")
    except ValueError:
        pass
    for level in range(min(LEVELS, <int> len(parts))):
        if not parts[level]:
            break
        into.label[level] = hashed("|".join(parts[: level + 1]))
        into.levels += 1
    return 0


def nearness(str ip not None, str location not None, str other_ip not None, str other_location not None):
    cdef Location one, other
    locate(&one, ip, location)
    locate(&other, other_ip, other_location)
    return between(&one, &other)
