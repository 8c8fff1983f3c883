"""Decides who takes what from whom, and keeps one copy of each file.

    server, router                    the process, and which path is what
    api_v1, api_native, api_origin    the requests of 1.x, the native pull, and permission to go to an origin
    admin, metrics                    inspection and steering
    state                             puts the parts below together
    registry, parked_pulls            registered downloads and how they end; native pulls that wait for pieces
    origin_fetches                    who registers waits for the origin's head; what a fetch tells goes to the swarm
    driver, pull_answers              runs the swarm on the event loop; what it decided, as a pull is answered
    registration, credentials, quota  how a download joins, which task it belongs to, what one client may hold
    verifier, reachability            asks an accused source for the disputed piece; asks whether a peer is where it says
    negative_cache, idle_sweep        origins that refused for good; what is forgotten after a while

    swarm/     the pure engine: who gets which piece from whom
    copies/    the supernode's copies of files: fetched, verified, repaired, evicted
    fastpath/  the native pull in Cython

Start with `swarm/swarm` for decisions and `copies/fetch_thread` for files.
"""
