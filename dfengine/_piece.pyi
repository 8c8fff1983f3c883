from typing import final

FRAME_HEAD: int
FRAME_TAIL: int
FRAME: int
TAIL: bytes
MIN_PIECE_SIZE: int
MAX_PIECE_SIZE: int
UNKNOWN: int

def piece_size(length: int) -> int:
    """Bytes of a full framed piece for a file of `length` bytes, -1 unknown."""

def frame_head(content_length: int, piece_size: int) -> bytes:
    """The 4 bytes before `content_length` bytes of content. Raises BadFrame."""

def frame_content(head: bytes) -> int:
    """Bytes of content that a frame's 4-byte head announces, if the piece size is in whole MiB."""

def parse_range(text: str) -> tuple[int, int]:
    """(start, end) of `a-b`, digits only, a < b < 2**63. Raises BadRange."""

@final
class Geometry:
    """Length (bytes, -1 unknown) and piece size (bytes, 0: by the rule) of a task, and derived values. Immutable. Raises BadValue."""

    def __new__(cls, length: int, piece_size: int = 0) -> Geometry: ...
    @property
    def length(self) -> int:
        """Bytes of the file, -1 unknown."""
    @property
    def piece_size(self) -> int:
        """Bytes of a full framed piece."""
    @property
    def content_size(self) -> int:
        """Bytes of a full piece's content."""
    @property
    def count(self) -> int:
        """Pieces; 1 for an empty file, -1 unknown."""
    @property
    def framed_length(self) -> int:
        """Bytes of all framed pieces, -1 unknown."""
    def check(self, n: int) -> int:
        """n. Raises BadPiece if the task has no piece n."""
    def range(self, n: int) -> tuple[int, int]:
        """Range of piece n on the wire, framed bytes (first, last). Raises BadPiece."""
    def range_text(self, n: int) -> str:
        """That range as `first-last`."""
    def number(self, start: int, end: int) -> int:
        """The piece that has exactly this range. Raises BadRange."""
    def content(self, n: int) -> tuple[int, int]:
        """(offset, length) of piece n's raw bytes; the length of a full piece while the file's length is unknown. Raises BadPiece."""
    def framed(self, n: int) -> int:
        """Bytes of framed piece n. Raises BadPiece."""
    def head(self, n: int) -> bytes:
        """The 4-byte head of piece n. Raises BadPiece."""
    def covering(self, offset: int, length: int) -> tuple[int, int]:
        """(first, past): the pieces that contain raw bytes offset..offset+length. Raises BadRange."""
    def segments(self, start: int, end: int) -> list[bytes | tuple[int, int]]:
        """Framed bytes start..end (inclusive, clipped): frame bytes, and (offset, length) of raw bytes. Raises BadRange."""
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
