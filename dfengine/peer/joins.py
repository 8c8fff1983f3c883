"""Which download of this host fetches a task, and which others join it: a pure state machine.

Law: a key (`client.identity.joint_key`) has at most one leader of each kind, who fetches; every other download with that key is told to
follow that one, or to go on alone. Files, streams and open files have keys of their own, so leaders of two kinds do not meet under one key.

A leader is either `whole`, and has every piece in the end, or a stream, whose memory has a window of them. A download that wants all pieces
follows whole leaders only; a stream follows a whole one if there is one, else a stream.

    state of a download    event                          becomes    told
    new                    join, nobody leads             LEADING    lead
                           join, somebody leads           JOINED     follow; open, if the leader has a place
    LEADING                open                           the same   all that joined it: open
                           done                           APART      all that joined it: done; they are APART
                           failed                         APART      all that joined it: alone; they are APART
                           pass_on, leave (it is gone)    APART      see below
    JOINED                 silent: its leader is          LEADING    lead; the leader is APART, and the others follow the new one
                           leave                          gone
    APART                  anything                       the same

When a leader goes, those that joined it are placed as if they came now, whole ones first: the first of them leads, and the others follow
it. Where all of them are streams they follow the stream that leads already, else the first of them leads as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator

LEAD, FOLLOW, OPEN, DONE, ALONE = "lead", "follow", "open", "done", "alone"

Told = tuple[int, str, int]
"""(download, one of the words above, another download or -1). The other one is whom it follows, for `follow` and `open`; for `lead` the
leader before it, if that has ended: nobody writes any more where it wrote.
"""


class _Download:
    def __init__(self, key: str, whole: bool) -> None:
        self.key = key
        self.whole = whole
        self.leader = -1
        self.slot = -1


class _Group:
    """A leader and those that joined it, in the order in which they did."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.open = False
        self.joined: dict[int, None] = {}
        self.slots: set[int] = set()


class Joins:
    """Of one host. Downloads are named by numbers that the caller chooses. Every event returns who is to be told what, in this order."""

    def __init__(self) -> None:
        self._downloads: dict[int, _Download] = {}
        self._groups: dict[tuple[str, bool], _Group] = {}

    def __len__(self) -> int:
        return len(self._downloads)

    def slot(self, download: int) -> int:
        """Number of one that joined among those of its leader: the least that was free; -1 for others."""
        known = self._downloads.get(download)
        return -1 if known is None else known.slot

    def leader(self, download: int) -> int:
        """Whom it follows; itself while it leads; -1: nobody."""
        known = self._downloads.get(download)
        return -1 if known is None else known.leader

    def join(self, download: int, key: str, whole: bool) -> list[Told]:
        """A new one. key: names the task, and all that must agree. whole: it is no stream."""
        if download in self._downloads:
            return []
        self._downloads[download] = _Download(key, whole)
        return list(self._place(download))

    def _place(self, download: int) -> Iterator[Told]:
        """Under a leader that it may follow, a whole one before a stream; else as a leader."""
        known = self._downloads[download]
        group = self._groups.get((known.key, True)) or (None if known.whole else self._groups.get((known.key, False)))
        if group is not None:
            yield from self._follow(download, group)
            return
        known.leader, known.slot = download, -1
        self._groups[known.key, known.whole] = _Group(download)
        yield download, LEAD, -1

    def _follow(self, download: int, group: _Group) -> Iterator[Told]:
        known = self._downloads[download]
        known.leader = group.leader
        known.slot = next(n for n in range(len(group.slots) + 1) if n not in group.slots)
        group.joined[download] = None
        group.slots.add(known.slot)
        yield download, FOLLOW, group.leader
        if group.open:
            yield download, OPEN, group.leader

    def _led(self, download: int) -> _Group | None:
        """Those that it leads; None if it does not lead."""
        known = self._downloads.get(download)
        if known is None or known.leader != download:
            return None
        return self._groups[known.key, known.whole]

    def open(self, download: int) -> list[Told]:
        """A leader's pieces have a place, or another one than before."""
        group = self._led(download)
        if group is None:
            return []
        group.open = True
        return [(each, OPEN, download) for each in group.joined]

    def done(self, download: int) -> list[Told]:
        """A leader's file is whole and verified, and has its name."""
        return self._dissolve(download, DONE)

    def failed(self, download: int) -> list[Told]:
        """A leader cannot have the file, for no reason of its own: each of the others finds out by itself."""
        return self._dissolve(download, ALONE)

    def _dissolve(self, download: int, word: str) -> list[Told]:
        group = self._led(download)
        if group is None:
            return []
        self._drop(download)
        for each in group.joined:
            self._apart(each)
        return [(each, word, -1) for each in group.joined]

    def silent(self, download: int, leader: int) -> list[Told]:
        """One that joined says that `leader` does not run; of one that it has not joined, or not any more, nothing happens."""
        known = self._downloads.get(download)
        if known is None or known.leader != leader or leader in (-1, download):
            return []
        return self._succeed(leader, first=download)

    def pass_on(self, download: int) -> list[Told]:
        """A leader leads no more; or one that joined goes on alone."""
        return self._go(download, left=False)

    def _go(self, download: int, left: bool) -> list[Told]:
        known = self._downloads.get(download)
        if known is None or known.leader < 0:
            return []
        if known.leader == download:
            return self._succeed(download, left=left)
        group = self._led(known.leader)
        assert group is not None
        del group.joined[download]
        group.slots.discard(known.slot)
        self._apart(download)
        return []

    def leave(self, download: int) -> list[Told]:
        """It has ended, in whatever way."""
        told = self._go(download, left=True)
        self._downloads.pop(download, None)
        return told

    def _succeed(self, leader: int, first: int = -1, left: bool = False) -> list[Told]:
        """Another one leads. first: who is asked before the others of its kind. left: the leader has ended."""
        group = self._led(leader)
        assert group is not None
        self._drop(leader)
        order = sorted(group.joined, key=lambda each: (not self._downloads[each].whole, each != first))
        for each in order:
            self._apart(each)
        told = [told for each in order for told in self._place(each)]
        return [(each, word, leader if word == LEAD and left else other) for each, word, other in told]

    def _drop(self, leader: int) -> None:
        known = self._downloads[leader]
        del self._groups[known.key, known.whole]
        self._apart(leader)

    def _apart(self, download: int) -> None:
        known = self._downloads[download]
        known.leader, known.slot = -1, -1
