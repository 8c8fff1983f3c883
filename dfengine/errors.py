"""Error classes in one hierarchy by the party that caused the error: the caller, the remote side, or this machine.

Each class has the process's exit code; `docs/commands.md` lists them. A message is one line that states what happened and, if possible,
what to do about it.
"""

from __future__ import annotations


class DfengineError(Exception):
    """Root of all errors that dfengine raises deliberately."""

    exit_code = 1

    def __str__(self) -> str:
        """The message without control characters: it may contain bytes from a remote side, and it is printed to terminals."""
        message = super().__str__()
        return message if message.isprintable() else "".join(each if each.isprintable() or each == "\n" else "?" for each in message)


# The caller's fault: wrong arguments, wrong use of a structure.


class CallerError(DfengineError):
    """The request itself is wrong; repeating it does not help."""

    exit_code = 2


class BadValue(CallerError, ValueError):
    """A field, flag or setting has an invalid value."""


class IllegalEvent(CallerError):
    """A state machine received an event that its state does not allow."""


# Remote errors: another process sent wrong bytes, or none.


class RemoteError(DfengineError):
    """Another party failed. Another source or another try may help."""

    exit_code = 3


class ProtocolViolation(RemoteError):
    """Received bytes that the protocol does not allow."""


class BadFrame(ProtocolViolation):
    """A piece's head or tail differs from the announced frame."""


class BadRange(ProtocolViolation, ValueError):
    """A range is malformed, or is not the range of a piece of this task."""


class BadPiece(ProtocolViolation, IndexError):
    """A piece number outside the task or outside the window."""


class DigestMismatch(RemoteError):
    """All bytes were received, but their digest is not the expected one."""

    exit_code = 5


class Unverified(DigestMismatch):
    """Bytes of a stream were used, but the given digest could not be compared, because the file was not read to its end."""


class SourceGone(RemoteError):
    """A piece's source refused, closed early or does not respond."""


class Silent(SourceGone):
    """The connection was not established, or no byte was received, within the time allowed."""


class TooSlow(RemoteError):
    """A transfer fell below the minimum rate."""

    exit_code = 6


class OriginError(RemoteError):
    """The origin responded, but not with the file.

    `status`: the HTTP status, 0 if there is none. `retry_after`: seconds for which it asks not to receive requests. `final`: another try
    would fail alike, whatever the status. `path`: the file of a tree that the error is about, "" for none. `elsewhere`: the response is of
    another server than the first one, after a redirect.
    """

    exit_code = 4
    path = ""
    elsewhere = False

    def __init__(self, message: str, status: int = 0, retry_after: float = 0.0, final: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.final = final


class OriginUnreachable(OriginError):
    """The origin could not be connected to or did not respond in time. `unconnected`: no connection was established."""

    unconnected = False


class OriginUntrusted(OriginUnreachable):
    """The certificate of the origin, or of a proxy before it, is not trusted by this request."""


class OriginSlow(OriginUnreachable):
    """The origin sends, but below the minimum rate."""

    exit_code = 6


class OriginTruncated(OriginError):
    """The origin's body ended before its announced length."""


class OriginChanged(OriginError):
    """The origin's file changed during the transfer."""


class OriginDiffers(OriginChanged):
    """Bytes from the origin differ from those on disk: the file has changed, whatever its validators state."""


class TreeChanged(OriginDiffers):
    """A file of a tree differs from the tree's manifest: it has changed since, and a new manifest is needed."""


class BadListing(OriginError):
    """An origin's listing is not a valid set of files of one directory, or does not end."""

    def __init__(self, message: str) -> None:
        super().__init__(message, final=True)


class OriginBusy(OriginError):
    """The origin has not responded yet, or sent Retry-After; a client that waits for it may send the request again."""


class OriginPaused(OriginError):
    """No requests are sent to the origin now, because it asked for a pause or cannot be connected to."""


class OriginForbidden(OriginError):
    """The allow and deny lists of this supernode or proxy forbid fetching from there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 451)


class SupernodeError(RemoteError):
    """A supernode responded with a code that ends this download at that supernode.

    `code` is the 1.x code of the response, 0 if there is none.
    """

    exit_code = 3

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class SupernodeFull(SupernodeError):
    """A supernode is at its limit. `alternatives`: HOST:PORT of other supernodes that it names."""

    alternatives: tuple[str, ...] = ()


class NoProgress(SupernodeError):
    """A download received no byte from a supernode's swarm for as long as it waits."""


class UnknownTask(SupernodeError, KeyError):
    """This supernode has no such task (1.x code 502)."""

    def __init__(self, message: str, code: int = 502) -> None:
        super().__init__(message, code)

    __str__ = Exception.__str__


class UnknownDownload(UnknownTask):
    """This task has no download with that CID (1.x code 502)."""


# Errors of this machine.


class LocalError(DfengineError):
    """This host cannot do its part: disk, memory or permissions."""

    exit_code = 7

    @staticmethod
    def without_thread(error: RuntimeError) -> LocalError:
        """Return the error for a thread whose start raised `error`."""
        return LocalError(f"{error}: the host, or this user, has too many threads")


class StorageError(LocalError):
    """A file could not be opened, written or renamed."""


class DiskFull(StorageError):
    """The file system, or the user's quota, has no room for the data to be written."""


class OutOfResources(StorageError):
    """No descriptor or memory is left to use a file, which may be right: another attempt may succeed."""


class TooLarge(StorageError):
    """A file of that length cannot be stored here, whatever is removed: too many pieces, or beyond the file system's own limit."""


class Incomplete(DfengineError):
    """Some files of a tree could not be fetched; the others are complete. `result`: a client.TreeResult, whose `failed` names them.

    exit_code: the highest exit code of their errors.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class Cancelled(DfengineError):
    """The program cancelled its own download."""


class TimedOut(DfengineError):
    """The time that the user allowed is over."""

    exit_code = 8

    @classmethod
    def after(cls, seconds: float, why: str = "") -> TimedOut:
        """The error of work that was not finished within `seconds`. why: end of the message, with its separator."""
        return cls(f"not finished within {round(seconds, 2) or round(seconds, 6):g} s{why}")
