"""The supernode: assigns pieces and sources to downloads, and stores one copy of each file.

    server, router                    the process, and the table of routes
    api_v1, api_native, api_origin    the requests of 1.x, the native pull, and permission to request a file from its origin
    api_share, shares, shared_copies  content that hosts share: announcements, sharers, and the copies that the supernode stores of it
    admin, api_peers, api_cache       inspection and control of tasks, peers and copies; posted_peers: peers added by POST /api/v1/peers
    metrics, legacy_metrics, timings  /metrics: the state, the metrics of 1.x, histograms of durations; label_values: bounded label values
    api_preheat, api_jobs, preheats   preheats of files and images, through the interfaces of Dragonfly 1.x and 2;
                                      preheat_request: the decoded request (pure); preheat_job: the state of one preheat
    preheat_token, bearer_token       the token that permits preheats without a signature; tokens in files
    preheat_targets, proxy_workers, api_work other places of preheats: supernodes, and proxies that request work
    preheat_notices, remote_preheats  preheats of the cluster's other supernodes; preheat_takeover: the state needed to resume one elsewhere
    cluster_pauses, cluster_pins,     further notices of the cluster: paused origins, pinned copies, blocked sources;
    cluster_blocks, cluster_leases    cluster_leases: requests to the cluster for leases of an origin
    api_origin_progress, redirected_hosts  how a leader reads the origin, for its followers; hosts that were redirected to another supernode
    supernode_state                   puts the parts below together
    download_registry, registered_downloads  registered downloads, their limits and their end; `parked_pulls`: native pulls that wait
    origin_fetches                    starts fetches; registrations wait there for the head of the origin's response
    origin_counts                     requests, bytes and errors of each origin, of fetches that are no longer in memory
    cluster_names                     the name of a task among the supernodes of a cluster
    content_sources                   the URLs of content named by its sha256, and the URLs that sent other bytes
    swarm_driver, pull_answers        runs the swarm on the event loop; turns its decisions into responses
    registration, task_ids, registration_quota     how a download joins, the id of its task, and the share of one client; task_names: its
                                      name for administrators and logs; download_events: reports of ended downloads;
                                      registration_check: validates the fields of a registration
    access_proofs                     has a client prove that its credentials give access to the file before it joins the file's task
    complaint_verifier, reachability  checks complaints at the accused source; checks that a peer server runs at its stated address
    download_port                     serves the copies' pieces
    copy_lookups                      finds and describes a copy on the disk for a request
    time_slices, thread_calls         long work on the loop's thread, and long calls of requests in other threads;
                                      garbage_collection: Python's, in small steps
    request_limits                    limits requests that wait, in total and per client
    readiness, reconfiguring          whether the supernode accepts downloads, and how it drains; settings that SIGHUP changes
    negative_cache, idle_sweep        final refusals of origins; removes idle tasks from memory

    swarm/     the pure engine: assigns pieces and sources
    copies/    the supernode's copies of files: fetched, verified, repaired, evicted
    fastpath/  the native pull in Cython
    console/   the operators' interface: /api/v2 and the page /console

Start with `swarm/swarm` for decisions and `copies/fetch_thread` for files.
"""
