from typing import final

@final
class Folders:
    """The directory of the last file, open, below the directory `root`, which the caller owns."""

    def __new__(cls, root: int) -> Folders: ...
