"""A file that a program opens, seeks in and maps: its pieces are fetched when they are read.

    file         the file as Python's own: position, buffers, pickles, forks
    opened       one open file for any number of threads: asks for pieces, waits for their bits, copies their bytes
    cancel       ends the wait of one read from another thread
    read_ahead   what is fetched before a reader asks for it (pure)
    fetching     the download behind it
    joined       where this host's leader has the same file open: its memory is read
    copied       where a download into a file of this host fetches it: what is read is copied from there
    place        where its pieces lie: memory, or the home directory

Start with `opened`. What is fetched next is decided by `client.priority`, in the client's own plan; there is no second downloader.
"""

from __future__ import annotations

from dfengine.files.file import File, open

__all__ = ["File", "open"]
