"""Serves the pieces of this host's downloads to other hosts.

    server         the process: one per home directory, ends when it is idle or its home is gone
    routes         which path is what
    hosted         which downloads and streams this host has
    kept_memory    which memory of files and streams that have ended is let go
    meeting        the connections of this host's downloads, and what goes from the leader to those that joined it
    joins          which download of this host fetches a task, and which others join it (pure)
    host_settings  settings that a download of the same user gives a running server
    withdrawals    what the user wants to be served no longer
    keeper         announces what this host shares, again and again
    lazy_start     waits for the first connection before it imports what serving needs
    deregister     tells supernodes that this host serves no more

Start with `routes`.
"""
