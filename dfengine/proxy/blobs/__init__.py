"""Blobs of this host: sources, storage and serving.

    blobs, blob     all blobs, and how each request is answered; one blob that is fetched through the swarm
    request_handler a request for a file, until its source is decided
    file_answer     status, head and ranges of a response with a file; first_byte: waits for its first byte
    serving, encrypted_serving   send a file while it is fetched
    blob_store      complete, verified blobs on the disk; eviction: which of these are removed; pins: which never are
    preheat_worker  fetches blobs that supernodes assign to this proxy
    counts          counters (pure)
    blob_announcer  announces public blobs of this host to the swarm

Start with `blobs`.
"""
