def nearness(ip: str, location: str, other_ip: str, other_location: str) -> int:
    """0 far; 1 the same subnet, where not both have a label; 1 + n where their labels agree in the first n levels; 6 one host."""

__pyx_capi__: dict[str, object]
