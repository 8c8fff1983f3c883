"""The supernode's copies of files.

    fetch_pool               one fetch per task, however many clients request it
    fair_pool                a thread pool with a share for each client
    fetch, fetch_request     one task's copy: its state, and the events that it reports to the event loop; what a client requests
    fetch_thread             the transitions: fetch, resume, revalidate, repair, fail
    origin_reading, copy_writer  requests to the origin; writing a response's bytes to the copy
    following                fetches a task from the supernode that leads it: pulls in `leader_pulls`, their answers in `leader_answers`,
                             pieces in `piece_connections`
    slow_leader              when to take the lead from a slow leader (pure); leader_probe, origin_progress_messages: the measurement;
                             network_partition: whether any other supernode can be reached
    own_origin_rules         origins that this supernode may not read, and so does not fetch from a leader either
    manifests                recent manifests of trees, for the fetches of their data
    listing_budget           memory for listings of directories, for each client
    repair                   compares a copy found on disk with its digests, fetches damaged pieces again
    cache, copy              the files on disk, and serving them
    announced_content, shared_content_reader  content that hosts share: claims of its digests, and reading it from the hosts
    piece_reading            reads one piece from a source
    retention                copies that must be kept: pinned, or until a time
    copy_store, stored_head  the object store of finished copies, and the head of a stored copy
    object_store_restore, write_behind  copies read from the object store, and written to it
    scrubber                 reads pieces again that are reported as wrong
    eviction                 removes copies from a full disk
    legacy_md5               md5s for Dragonfly 1.x
    origin_queue             downloads that wait for permission to read an origin directly; origin_pauses: origins not to be read for now

Pieces are verified where they arrive: those of another supernode and its hosts in `piece_connections`, shared content in
`shared_content_reader`, those of the object store in `object_store_restore`. `copy_writer` computes the digests of pieces from an origin.
`copy` verifies pieces that were found on the disk, and those that are reported as wrong. Start with `fetch_thread`.
"""
