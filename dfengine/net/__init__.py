"""Network code: sockets, HTTP, TLS, authentication, and requests to supernodes.

    listener, admission, client_quota   connection limits: totals, shares per client, descriptors kept in reserve
    http, _request                      heads of requests and responses
    control_server, control_connection  the control plane's server on the event loop; `fair_queue` schedules requests fairly between clients
    piece_server, piece_connection      serves pieces by sendfile (`_sendfile`), or by TLS (`tls_upload`); `rate_queue` and `token_bucket`
                                        share a rate
    cold_slices                         reads slices that are not in memory before they are sent
    unacknowledged_bytes                whether a slow client reads
    http_client, chunks, _receive       the blocking client, and receiving a piece into its place; piece_client: a request for one piece
    dialer                              connects to members of the swarm, with their secret and TLS
    secret, authentication, tls         authentication of requests, and encryption; private_files: who may read the files of secrets
    node_names, srv                     resolve names of supernodes to addresses
    node_control, node_preheats         requests to a supernode from administrators, and from clients that may preheat
    content_announcement, work_messages  announces shared content to a supernode; fetches the blobs that supernodes assign to proxies
    origin_access, metadata_addresses   which addresses a supernode may connect to for clients
    event_log, event_ring, access_log   a server's events for its operators on stderr, and the latest of them in memory
    event_stream                        a response without an end (server-sent events)
    response_writing                    writes to a transport so that its unread bytes can be counted, also with TLS
    tracing, recorded_span              spans of slow operations: trace contexts passed on, or spans recorded by OpenTelemetry
    home_key                            a key that a process stores in its home
    ready_line, stopping, loop_watch    a server's process: its address, its end, and how long its event loop is blocked
    systemd                             reports the server's state to the service manager (sd_notify)
    thread_pool                         threads of a server, which start later where the system allows none
    fd_passing, fork_safety             descriptors over a local socket; what a forked child must not share

Start with `piece_server` and `http_client`: the two ends of a piece's connection.
"""
