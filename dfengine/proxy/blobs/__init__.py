"""Blobs of this host: where they come from, where they lie, how they are sent.

    blobs, blob     all of them, and how each is answered; one that comes through the swarm
    answering       a request for a file, until it is known what answers it
    file_answer     status, head and ranges of an answer with a file; first_byte: what it waits for
    serving, encrypted_serving   send it from there as it comes
    store           those that are whole and right; eviction: which of these leave; pins: which never do
    working         fetches blobs that supernodes want here
    counts          what is counted of it (pure)
    announcing      public blobs of this host, made known to the swarm
"""
