"""The supernode's copies of files.

    cdn                      one fetch per task, however many clients ask
    shared_pool              threads, and each client's share of them
    fetch                    one task's copy: its state, and the events that it reports to the event loop
    fetch_thread             the transitions: fetch, resume, revalidate, repair, fail
    origin_reading, arrival  requests to the origin; how the bytes of an answer get into the copy
    following, piece_connections   a task that is taken from the supernode that leads it, piece by piece
    slow_leader              when that one reads too slowly (pure); leader_probe, reading_messages: the measurement;
                             cut_off: whether anybody else is reached
    own_rules                what is taken from no leader, because this supernode may not read it
    manifests                of trees, for the fetches of their data
    listing_budget           what listings may cost, for each client
    repair                   compares a copy found on disk with its digests, fetches damaged pieces again
    cache, copy              the files on disk, and serving them
    claimed, replica         content that hosts share: as it was told, and read from them
    piece_reading            one piece of a source
    following                takes a task from the supernode that leads it: pulls in `pulls`, pieces in `piece_connections`
    kept                     which copies are to stay
    store, stored            the object store of finished copies, and what it says of one
    restoring, write_behind  copies read from there, and written there
    scrubber                 reads a piece that somebody says is wrong
    eviction                 which copies leave a full disk
    legacy_md5               md5s for 1.x
    origin_queue             downloads that wait for permission to go to an origin

A piece is verified in `copy`. Start with `fetch_thread`.
"""
