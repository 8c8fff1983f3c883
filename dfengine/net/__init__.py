"""Sockets and nothing else.

    listener, admission, quota          who may connect: totals, shares per client, descriptors kept in reserve
    http, _request                      heads of requests and answers
    control_server, control_connection  the control plane's server on the event loop; `turns` says whose request is next
    piece_server, piece_connection      serves pieces by sendfile (`_sendfile`); `rate_queue` and `limit` share a rate
    dial, chunks, _receive              the blocking client, and receiving a piece into place
    secret, authentication, tls         who may ask, and encryption
    node_names, srv                     what names of supernodes stand for
    node_control, node_preheats         asks a supernode for what its administrators, and who preheats, may ask
    announcing, work                    tells a supernode what this host shares; what supernodes have proxies bring
    access, metadata                    which addresses may be asked
    event_log, event_ring, access_log   what a server tells its operators on stderr, and the latest of it
    event_stream                        an answer without an end
    tracing, recorded_span              spans of what takes long: passed on, or recorded by OpenTelemetry
    own_key                             a key that a process keeps in its home
    systemd                             what it tells who has started it
    fd_passing                          descriptors over a local socket

Start with `piece_server` and `dial`: the two ends of a piece's connection.
"""
