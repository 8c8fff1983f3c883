from typing import final

@final
class Folders:
    """The directory that the last file lay in, open, below the directory `root`, which stays the caller's."""

    def __new__(cls, root: int) -> Folders: ...
