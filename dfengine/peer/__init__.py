"""Serves the pieces of this host's downloads to other hosts.

    server         the process: one per home directory, ends when it is idle or its home is deleted
    routes         the handlers of the request paths
    served_downloads  the downloads and streams of this host
    memory_eviction  selects memory of ended files and streams that is released
    host_leader_server  the connections of this host's downloads, and the messages between a leader and the downloads that joined it
    host_leader_election  which download of this host fetches a task, and which others join it (pure)
    host_settings  settings that a download of the same user sends to a running server
    withdrawals    withdrawals that the user requests
    content_announcer  announces the shared contents of this host periodically
    lazy_start     waits for the first connection before it imports the modules for serving
    deregister     notifies supernodes that this host no longer serves a download

Start with `routes`.
"""
