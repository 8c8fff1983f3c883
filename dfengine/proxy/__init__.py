"""`dfengine proxy`: stands where other programs ask for images, models, buckets, packages and files, and brings them through the swarm.

    front        the side of clients: one connection, its requests, its answers
    upstream     the side of registries, hubs and origins: connections, and what is passed on
    blobs        files of this host, how they come through the swarm and how they are sent
    registry     container registries: permissions, tokens, manifests
    hub          model hubs
    forward      the forward proxy: rules, what may be shared, CONNECT, interception
    s3           buckets to read

    reference    which registry and what of it a request names (pure)
    registries   which registries and other servers may be asked, and how (pure)
    targets      where a request wants to go (pure)
    fields       header fields: which are passed on, how a body is framed (pure)
    ranges       which bytes a request asks for, and whether it wants them (pure)
    metrics      what Prometheus is told
    given        its settings, and what their files hold; reconfiguring: what SIGHUP changes of it
    secret_files files of tokens, passwords and keys
    server       the process; which of these answers a request

Start with `server.route`, then `front.front`: every answer goes out there. All runs on one event loop; what waits for pieces does so in the
download engine's threads.
"""
