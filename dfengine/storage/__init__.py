"""Files and descriptors: the place of each piece, the pieces on disk, and the pieces that may be served.

    record      the pieces on disk and their digests: the small file beside the data
    piece_file  a task's data with its record; `locate(piece) -> (fd, offset, length)`
    tree_file   the same for a tree: many files below the directory of `tree_target`
    _scatter    writes and reads those, by `_layout` and `_folders`
    shared_tree the same for the peer server: pieces gathered from files that other programs may change
    stream_memory  the same for a stream: memory instead of a file; `memory_file`, `available_memory` for a file that is open
    signal_page shared memory between the leader of a host's downloads and those that joined it; `_futex` wakes waiting threads
    _mapping    a file's pages as memory that takes no descriptor
    part_file   the part file that becomes the output
    folder_lock  lock of a directory: one download of a tree at a time writes to it
    output_path  the output's path; `abandoned_parts` removes old part files, `extraneous_files` files that are not in a tree
    output_note the note on a finished output, which shows later changes; `path_protection`: files that other users put at a path
    home        the directory that downloads and the peer server of a host share
    content_digests  reads a file once for all its digests, `tree_digests` a directory; `shared_content`: shared files of this host's disk
    served_file a download as the peer server serves it
    lock        lock of a home: one server at a time uses it
    boot        whether data that was written before the last boot is on the disk; `os_errors`: the errors of a full or broken disk
    hashing     digests of pieces and files

Start with `piece_file`: every served byte is found through `locate`.
"""
