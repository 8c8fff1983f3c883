"""Files and descriptors: where piece n is, which pieces are here, what may be served.

    record      which pieces are here and their digests: the small file beside the data
    piece_file  a task's data with its record; answers `locate(piece) -> (fd, offset, length)`
    tree_file   the same for a tree: many files below the directory of `tree_target`
    _scatter    writes and reads those, by `_layout` and `_folders`
    tree_shared the same as the peer server serves it: pieces gathered out of files that others may change
    slots       the same for a stream: memory instead of a file; `memory_file`, `available_memory` for a file that is open
    signal_page what the leader of a host's downloads and those that joined it tell each other; `_futex` wakes who waits
    _mapping    a file's pages as memory that takes no descriptor
    target      the part file that becomes the output
    folder_lock  one download of a tree at a time writes to a directory
    output      where the output goes; `abandoned` removes old part files, `surplus` files that are not in a tree
    home        the directory through which downloads and peer server of a host meet
    content     reads a file once for all its digests, `content_tree` a directory; `shared_content`: what of this host's disk is shared
    lock        one server at a time uses a home
    hashing     digests of pieces and files

Start with `piece_file`: every byte that is served is found through `locate`.
"""
