"""The errors, in one hierarchy by who caused them: the caller, the remote side, or this machine.

Every class carries the process's exit code; `docs/commands.md` lists them. A message is one clear line that
says what happened and, where there is something to do, what to do.
"""

from __future__ import annotations


class DfengineError(Exception):
    """Root of everything dfengine raises on purpose."""

    exit_code = 1

    def __str__(self) -> str:
        """Without control characters: the text may hold bytes of a remote side, and it is printed to terminals."""
        message = super().__str__()
        return message if message.isprintable() else "".join(each if each.isprintable() or each == "\n" else "?" for each in message)


# The caller's fault: wrong arguments, wrong use of a structure.


class CallerError(DfengineError):
    """The request itself is wrong; repeating it will not help."""

    exit_code = 2


class BadValue(CallerError, ValueError):
    """A field, flag or setting has a value that cannot be meant."""


class IllegalEvent(CallerError):
    """A state machine was given an event that its state does not allow."""


# The remote's fault: what another process sent, or did not send.


class RemoteError(DfengineError):
    """Another party failed; another source, or another try, may help."""

    exit_code = 3


class ProtocolViolation(RemoteError):
    """Bytes arrived that the protocol does not allow."""


class BadFrame(ProtocolViolation):
    """A piece's head or tail is not the frame that was announced."""


class BadRange(ProtocolViolation, ValueError):
    """A range is malformed, or is no piece of this task."""


class BadPiece(ProtocolViolation, IndexError):
    """A piece number outside the task or outside the window."""


class DigestMismatch(RemoteError):
    """Bytes arrived whole but are not the announced ones."""

    exit_code = 5


class Unverified(DigestMismatch):
    """Bytes of a stream were used, and the digest that was given could not be compared, because not all of the file was read."""


class SourceGone(RemoteError):
    """A piece's source refused, closed early or does not answer."""


class Silent(SourceGone):
    """It was not connected to, or sent no byte, in the time that it had."""


class TooSlow(RemoteError):
    """A transfer fell below the least rate it was allowed."""

    exit_code = 6


class OriginError(RemoteError):
    """The origin answered, but not with the file.

    `status` is the HTTP status, 0 where there was none. `retry_after`: seconds that it asks to be left alone. `final`: another try
    would end alike, whatever the status. `path`: the file of a tree that it is said of, "" for none. `elsewhere`: another server than
    the one that was asked first answered so, to which a redirect led.
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
    """The origin could not be connected to or did not answer in time. `unconnected`: no connection came about."""

    unconnected = False


class OriginUntrusted(OriginUnreachable):
    """The certificate of the origin, or of a proxy before it, is none that this request believes."""


class OriginSlow(OriginUnreachable):
    """The origin answers, but slower than the least rate it was allowed."""

    exit_code = 6


class OriginTruncated(OriginError):
    """The origin's body ended before its announced length."""


class OriginChanged(OriginError):
    """The origin's file became another one in mid-transfer."""


class OriginDiffers(OriginChanged):
    """Bytes that the origin sends are not those that are here: its file is another one, whatever it is called."""


class TreeChanged(OriginDiffers):
    """A file of a tree is not what the tree's manifest says: it was changed since, and another manifest is needed."""


class BadListing(OriginError):
    """What an origin lists is no set of files that could lie in one directory, or has no end."""

    def __init__(self, message: str) -> None:
        super().__init__(message, final=True)


class OriginBusy(OriginError):
    """The origin has not answered yet, or sent Retry-After; a client that waits for it may ask again."""


class OriginPaused(OriginError):
    """The origin is not asked now, because it asked for a pause, or cannot be connected to."""


class OriginForbidden(OriginError):
    """This supernode's lists do not let it fetch from there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 451)


class SupernodeError(RemoteError):
    """A supernode answered with a code that ends this download there.

    `code` is the 1.x code of the answer, 0 where there was none.
    """

    exit_code = 3

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class SupernodeFull(SupernodeError):
    """A supernode has as much as it takes. `alternatives`: HOST:PORT of others that it names."""

    alternatives: tuple[str, ...] = ()


class NoProgress(SupernodeError):
    """A supernode's swarm brought no byte for as long as a download waits."""


class UnknownTask(SupernodeError, KeyError):
    """No such task at this supernode (1.x code 502)."""

    def __init__(self, message: str, code: int = 502) -> None:
        super().__init__(message, code)

    __str__ = Exception.__str__


class UnknownDownload(UnknownTask):
    """No such CID at this task (1.x code 502)."""


# This machine's fault.


class LocalError(DfengineError):
    """This host cannot do its part: disk, memory, permission."""

    exit_code = 7


class StorageError(LocalError):
    """A file could not be opened, written or renamed."""


class DiskFull(StorageError):
    """The file system, or the user's quota, has no room for what is to be written."""


class TooLarge(StorageError):
    """A file of that length cannot be kept here, whatever is removed: by its number of pieces, or by the file system's own bound."""


class Incomplete(DfengineError):
    """Some files of a tree are not in its directory; the others are. `result`: a client.TreeResult, whose `failed` names them.

    exit_code: the highest of theirs.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class Cancelled(DfengineError):
    """The program ended a download of its own before its end."""


class TimedOut(DfengineError):
    """The time the user allowed is over."""

    exit_code = 8

    @classmethod
    def after(cls, seconds: float, why: str = "") -> TimedOut:
        """Of work that was not finished within so many seconds. why: what follows in the message, with what parts it from them."""
        return cls(f"not finished within {round(seconds, 2) or round(seconds, 6):g} s{why}")
