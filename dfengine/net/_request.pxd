"""The plain case of a request: the whole of it in one read, and nothing about it unusual.

    POST /swarm/pull HTTP/1.1\\r\\n         method and target, of visible ASCII
    Host: 10.0.0.1:8002\\r\\n               names of letters, digits, - and _; values of printable ASCII; no name twice
    Content-Length: 17\\r\\n                digits; what follows the head is exactly as long; no other framing, no Expect, no Connection
    \\r\\n
    {"task":"..."...}

Whatever differs is left to the full parser, which alone may refuse.
"""
