"""Files that a program opens, seeks in and maps: pieces are fetched when they are read.

    file         a Python file object: position, buffers, pickles, forks
    opened       one open file for any number of threads: asks for pieces, waits for their bits, copies their bytes
    cancel       ends the wait of one read from another thread
    read_ahead   pieces to fetch before a reader asks for them (pure)
    fetching     the download of an open file
    open_file_from_leader  reads the memory or file of this host's leader, which has the same file open
    open_file_from_download  copies pieces from a download into a file of this host, which fetches the same file
    open_file_storage  storage of the pieces: memory, or the home directory

Start with `opened`. `client.priority` selects the next piece, in the client's own plan; there is no second downloader.
"""

from __future__ import annotations

from dfengine.files.file import File, open

__all__ = ["File", "open"]
