"""Selects the download of this host that fetches a task, and those that join it: a pure state machine.

Law: a key (`client.identity.joining_key`) has at most one leader of each kind that later downloads may join; every other download with that
key is instructed to follow one, or to continue alone.

    kind     what it is                          follows           takes from
    FILE     a download into a file              FILE              -
    STREAM   a stream                            FILE, or STREAM   -
    OPENED   an open file                        OPENED            FILE
    KEPT     a download that must stay on disk   KEPT              FILE

A leader fetches, except an open file's that finds a leader of kind FILE: it takes its pieces from there into its own place, and its
followers share that place. A stream is followed by streams only, since it has a window of the pieces; an open file by open files only,
since it has the pieces that its readers requested.

    state of a download    event                          becomes    instructions
    new                    join, without a leader         LEADING    lead: and fetch, or take
                           join, with a leader            JOINED     follow; open, if the leader has a place
    LEADING                open                           the same   all followers and takers: open
                           done                           APART      those: done; its followers are APART
                           failed                         APART      those: alone; its followers are APART
                           resign, leave (it has ended)   APART      see below
                           silent, detach: of a taker     the same   see below; detach: it fetches
    JOINED                 silent: its leader is          LEADING    lead; the leader is APART, and the others follow the new one
                           outdated: its leader is        as new     lead or follow; its leader leads OUTDATED
                           detach                         APART
                           leave                          ended
    OUTDATED               anything                       as before  for its followers; no other download joins them
    APART                  anything                       the same

When a leader ends, its followers are placed as if they were new, downloads into files first: the first of them leads, and the others follow
it. If all of them are streams they follow the stream that leads already, else the first of them leads. A download that took pieces from the
leader continues to lead: it takes from the new leader, or fetches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

LEAD, FOLLOW, OPEN, DONE, ALONE = "lead", "follow", "open", "done", "alone"

FILE, STREAM, OPENED, KEPT = KINDS = "file", "stream", "opened", "kept"

_FOLLOWS = {FILE: (FILE,), STREAM: (FILE, STREAM), OPENED: (OPENED,), KEPT: (KEPT,)}
_COPIES_FROM = {OPENED: FILE, KEPT: FILE}


class Instruction(NamedTuple):
    """An instruction to one download. action: one of those above. leader: the download that it follows or takes from, -1: none.

    before: for `lead`, the leader before it, if that has ended: no other download writes to its pieces any more. Else -1.
    """

    download: int
    action: str
    leader: int = -1
    before: int = -1


class _Download:
    """leader: the download that it follows or takes from. joined_key: the key that it joined with; key: of its group, which differs by the
    number of an outdated leader.
    """

    def __init__(self, key: str, kind: str) -> None:
        self.joined_key = self.key = key, -1
        self.kind = kind
        self.leads = False
        self.leader = -1
        self.slot = -1


class _Group:
    """A leader and the downloads that joined it, in their order of joining."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.open = False
        self.joined: dict[int, None] = {}
        self.slots: set[int] = set()


class HostLeaderElection:
    """The downloads of one host. The caller chooses their numbers. Every event returns instructions, to be sent in this order."""

    def __init__(self) -> None:
        self._downloads: dict[int, _Download] = {}
        self._groups: dict[tuple[tuple[str, int], str], _Group] = {}

    def __len__(self) -> int:
        return len(self._downloads)

    def slot(self, download: int) -> int:
        """Number of a joined download among those of its leader: the lowest that was free; -1 for others."""
        known = self._downloads.get(download)
        return -1 if known is None else known.slot

    def leader(self, download: int) -> int:
        """The download that it follows or takes from; -1: none."""
        known = self._downloads.get(download)
        return -1 if known is None else known.leader

    def leads(self, download: int) -> bool:
        """Whether it leads the downloads of its kind."""
        known = self._downloads.get(download)
        return known is not None and known.leads

    def join(self, download: int, key: str, kind: str) -> list[Instruction]:
        """Add a download. key: names the task, and all properties that must agree. kind: one of KINDS."""
        if download in self._downloads:
            return []
        self._downloads[download] = _Download(key, kind)
        return list(self._place(download))

    def _place(self, download: int, before: int = -1) -> Iterator[Instruction]:
        """Place it under a leader that it may follow; else as a leader."""
        known = self._downloads[download]
        found = (self._groups.get((known.key, kind)) for kind in _FOLLOWS[known.kind])
        group = next((group for group in found if group is not None), None)
        if group is not None:
            self._attach(download, group)
            yield Instruction(download, FOLLOW, group.leader)
            if group.open:
                yield Instruction(download, OPEN, group.leader)
            return
        self._groups[known.key, known.kind] = _Group(download)
        known.leads = True
        yield from self._lead(download, before)

    def _lead(self, download: int, before: int = -1) -> Iterator[Instruction]:
        """Let a leader take from another kind's leader if there is one."""
        known = self._downloads[download]
        group = self._groups.get((known.key, _COPIES_FROM.get(known.kind, "")))
        if group is None:
            yield Instruction(download, LEAD, -1, before)
            return
        self._attach(download, group)
        yield Instruction(download, LEAD, group.leader, before)
        if group.open:
            yield Instruction(download, OPEN, group.leader)

    def _attach(self, download: int, group: _Group) -> None:
        known = self._downloads[download]
        known.leader = group.leader
        known.slot = next(n for n in range(len(group.slots) + 1) if n not in group.slots)
        group.joined[download] = None
        group.slots.add(known.slot)

    def _detach(self, download: int) -> None:
        known = self._downloads[download]
        if known.leader >= 0:
            group = self._group_of(known.leader)
            assert group is not None
            del group.joined[download]
            group.slots.discard(known.slot)
        known.leader = known.slot = -1

    def _group_of(self, download: int) -> _Group | None:
        """The group that it leads; None if it does not lead."""
        known = self._downloads.get(download)
        return None if known is None or not known.leads else self._groups[known.key, known.kind]

    def open(self, download: int) -> list[Instruction]:
        """A leader's pieces have a place, or another one than before."""
        group = self._group_of(download)
        if group is None:
            return []
        group.open = True
        return [Instruction(each, OPEN, download) for each in group.joined]

    def done(self, download: int) -> list[Instruction]:
        """A leader's file is complete and verified, and has its name."""
        return self._dissolve(download, DONE)

    def failed(self, download: int) -> list[Instruction]:
        """A leader cannot fetch the file, for a reason that may apply to the others: each of them tries alone."""
        return self._dissolve(download, ALONE)

    def _dissolve(self, download: int, action: str) -> list[Instruction]:
        return [Instruction(each, action) for each in self._drop(download)]

    def silent(self, download: int, leader: int) -> list[Instruction]:
        """A joined download reports that `leader` does not run. Ignored for a leader that it has not joined, or no longer follows."""
        known = self._downloads.get(download)
        if known is None or leader < 0 or known.leader != leader:
            return []
        return self._elect_leader(leader, first=download)

    def outdated(self, download: int, leader: int) -> list[Instruction]:
        """A joined download reports that `leader` has an old version. Ignored for a leader that it has not joined, or no longer follows."""
        known = self._downloads.get(download)
        if known is None or leader < 0 or known.leader != leader:
            return []
        self._detach(download)
        self._set_apart(leader)
        if known.leads:
            return list(self._lead(download))
        known.key = known.joined_key
        return list(self._place(download))

    def _set_apart(self, leader: int) -> None:
        """Separate it and its followers from new downloads. Followers that lead others have a place of their own."""
        known = self._downloads[leader]
        if known.key != known.joined_key:
            return
        key = known.joined_key[0], leader
        group = self._groups[key, known.kind] = self._groups.pop((known.key, known.kind))
        for each in (leader, *(each for each in group.joined if not self._downloads[each].leads)):
            self._downloads[each].key = key

    def detach(self, download: int) -> list[Instruction]:
        """A joined download continues alone; a leader still leads."""
        if download in self._downloads:
            self._detach(download)
        return []

    def resign(self, download: int) -> list[Instruction]:
        """It leads and follows no download any more."""
        self.detach(download)
        return self._elect_leader(download)

    def leave(self, download: int) -> list[Instruction]:
        """It has ended, for whatever reason."""
        self.detach(download)
        instructions = self._elect_leader(download, left=True)
        self._downloads.pop(download, None)
        return instructions

    def _elect_leader(self, leader: int, first: int = -1, left: bool = False) -> list[Instruction]:
        """Let another download lead. first: preferred to the others of its kind. left: the leader has ended."""
        order = sorted(self._drop(leader), key=lambda each: (self._downloads[each].kind != FILE, each != first))
        instructions: list[Instruction] = []
        for each in order:
            instructions += self._lead(each) if self._downloads[each].leads else self._place(each, leader if left else -1)
        return instructions

    def _drop(self, leader: int) -> list[int]:
        """End its leadership; return the downloads that had joined it."""
        group = self._group_of(leader)
        if group is None:
            return []
        joined = list(group.joined)
        for each in joined:
            self._detach(each)
        self._detach(leader)
        known = self._downloads[leader]
        del self._groups[known.key, known.kind]
        known.leads = False
        return joined
