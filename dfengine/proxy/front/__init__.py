"""The side of clients: who may come, their requests, and their answers.

    guard         who may use the proxy, and where it listens (pure)
    listening     sockets of addresses and of paths
    requests      bytes of a client to requests, with limits
    methods       what ends here of TRACE and OPTIONS (pure)
    front         one client's connection: one request after another, its answer, its deadlines
    logged_front  the same with an access log
    health        what probes are answered
    exchange      what `front` asks of that which answers a request
"""
