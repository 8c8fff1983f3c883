"""Assigns pieces and sources to downloads, and keeps one copy of each file.

    server, router                    the process, and the table of routes
    api_v1, api_native, api_origin    the requests of 1.x, the native pull, and permission to go to an origin
    api_share, shares, shared_copies  content that hosts share: how it is announced, who has it, and the copies that are kept of it
    admin, api_peers, api_cache       inspection and steering; posted_peers: peers that a tool has made known
    metrics, legacy_metrics, series   what /metrics tells: of the state, of 1.x's kinds, and by which labels; timings: how long things take
    api_preheat, api_jobs, preheats   files and images that are fetched before anybody asks, in the words of Dragonfly 1.x and 2;
                                      preheat_request: what was asked for (pure); preheat_job: how one stands
    preheat_token, bearer_token       who may ask for preheats without a signature; tokens in files
    preheat_places, workers, api_work other supernodes, and proxies that take work
    preheat_news, remote_preheats     preheats of the cluster's other supernodes; preheat_moves: what it takes to go on with one
    shared_pauses, shared_pins,       further notices of the cluster: origins, pins, bad sources;
    shared_blocks, shared_leases      the last one asks the cluster for permissions to go to an origin
    api_reading, sent_on              how a leader reads, for its followers; hosts that are told to turn to another supernode
    state                             puts the parts below together
    registry, parked_pulls            registered downloads and their end; native pulls that wait for pieces
    origin_fetches                    starts fetches, lets registrations wait for the origin's head
    origin_counts                     requests, bytes and errors of each origin, of fetches that were forgotten
    cluster_names                     what a task is called among the supernodes of a cluster
    content_sources                   where content lies that is named by its sha256, and who has sent something else
    driver, pull_answers              runs the swarm on the event loop; turns its decisions into responses
    registration, credentials, quota  how a download joins, which task it belongs to, what one client may hold;
                                      registration_check: what it may say
    verifier, reachability            asks an accused source for the disputed piece; asks whether a peer is where it says
    readiness, reconfiguring          whether it should be given downloads, and how it drains; what SIGHUP changes
    negative_cache, idle_sweep        final refusals of origins; tasks that are forgotten when idle

    swarm/     the pure engine: assigns pieces and sources
    copies/    the supernode's copies of files: fetched, verified, repaired, evicted
    fastpath/  the native pull in Cython
    console/   what operators see and steer: /api/v2 and the page /console

Start with `swarm/swarm` for decisions and `copies/fetch_thread` for files.
"""
