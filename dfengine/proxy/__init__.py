"""`dfengine proxy`: serves images, models, buckets, packages and files to other programs, and fetches them through the swarm.

    front        the client side: connections, requests, responses
    upstream     the side of registries, hubs and origins: connections, and responses that are passed on
    blobs        files of this host: how they are fetched through the swarm and sent
    registry     container registries: permissions, tokens, manifests
    hub          model hubs
    forward      the forward proxy: rules, what may be shared, CONNECT, interception
    s3           read-only S3 buckets

    reference    the registry and content that a request names (pure)
    registries   the registries and other servers that may be asked, and how (pure)
    targets      the server that a forward request names (pure)
    header_fields  header fields: which are passed on, how a body is framed (pure)
    ranges       ranges and conditions of a request (pure)
    metrics      metrics for Prometheus
    proxy_settings  settings, and the contents of their files; reconfiguring: settings that SIGHUP changes
    secret_files files of tokens, passwords and keys
    server       the process, and the routing of requests to these

Start with `server.route`, then `front.client_connection`, which sends every response. All of it runs on one event loop; waiting for
pieces is done in the download engine's threads.
"""
