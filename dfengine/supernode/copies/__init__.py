"""The supernode's copies of files.

    cdn             one fetch per task, however many ask
    fetch, arrival  the thread that reads an origin, and how its bytes get into the copy
    events          what a fetch tells the event loop
    cache, copy     the files on disk, and serving them
    repair          a copy found on disk is compared with its digests, damaged pieces are fetched again
    complaints      somebody says that a piece is wrong
    eviction        which copies leave a full disk
    legacy_md5      md5s for 1.x
    origin_queue    downloads that wait for permission to go to an origin

A piece is verified in `copy`. Start with `fetch`.
"""
