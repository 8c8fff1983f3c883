"""Text of the progress line and of the summary: counters in, text out. Pure: no clock, no terminal.

Amounts are decimal (1 kB = 1000 bytes) and have three digits, so that a figure does not change its width while it grows.
"""

from __future__ import annotations

from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.result import Result

SPAN = 5.0
"""Seconds over which the rate is measured."""

HOLD = 2.0
"""Seconds for which a decrease is ignored: between its last byte and its verification a piece is not counted."""

NAME, BAR, WIDEST_BAR = 11, 9, 42
"""Cells: least width of a name beside a bar; least and greatest width of the bar, brackets included."""

LONGEST = 1000 * 86400.0
"""Seconds beyond which the remaining time is not shown."""

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Counters(Value):
    """A download at one moment. Bytes by source, length -1: unknown; rate in bytes per second; seconds since its start.

    state: what it waits for, brief: the same for a narrow terminal. ended: every byte is here and verified, and `rate` is the mean.
    """

    name: str
    length: int = -1
    peers: int = 0
    supernode: int = 0
    origin: int = 0
    resumed: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    state: str = ""
    brief: str = ""
    ended: bool = False

    @property
    def done(self) -> int:
        """Bytes that are here; at most the length, if it is known, though two sources may send the same piece."""
        done = self.peers + self.supernode + self.origin + self.resumed
        return min(done, self.length) if self.length >= 0 else done


class Gauge:
    """Bytes over the last seconds. Times are of any clock that does not go back."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []
        self._changed = 0.0

    def add(self, now: float, done: int) -> None:
        """`done` bytes are here at `now`. Fewer than before for longer than HOLD: the download started over."""
        before = self._seen[-1][1] if self._seen else 0
        if done >= before:
            self._changed = now
        elif now - self._changed < HOLD:
            done = before
        else:
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - SPAN:
            del self._seen[0]

    @property
    def done(self) -> int:
        """Bytes shown as received."""
        return self._seen[-1][1] if self._seen else 0

    @property
    def rate(self) -> float:
        """Bytes per second over the last SPAN seconds, fewer at the beginning."""
        if len(self._seen) < 2:
            return 0.0
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - begin) if end > begin else 0.0


def amount(count: float) -> str:
    """`512 B`, `1.25 GB`, `30.0 MB`."""
    scale, digits, unit = _scale(count)
    return f"{count / scale:.{digits}f} {unit}"


def _scale(count: float) -> tuple[float, int, str]:
    """(bytes of the unit, decimals, unit) that three digits need."""
    unit = 0
    while count / 1000**unit >= 999.5 and unit < len(UNITS) - 1:
        unit += 1
    shown = count / 1000**unit
    return 1000.0**unit, 0 if unit == 0 or shown >= 99.95 else 1 if shown >= 9.995 else 2, UNITS[unit]


def _of(done: int, length: int) -> str:
    """`13.5/30.0 MB`."""
    scale, digits, unit = _scale(length)
    whole = f"{length / scale:.{digits}f}"
    return f"{done / scale:.{digits}f}".rjust(len(whole)) + f"/{whole} {unit}"


def clock(seconds: float) -> str:
    """Whole seconds, minutes or hours in five letters: `59 s`, `9m59s`, `12m`, `1h02m`, `23h`, `12d`."""
    whole = int(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 60:
        return f"{whole} s"
    if minutes < 10:
        return f"{minutes}m{whole % 60:02}s"
    if hours < 1:
        return f"{minutes}m"
    if hours < 10:
        return f"{hours}h{minutes % 60:02}m"
    return f"{hours}h" if hours < 100 else f"{days}d"


def took(seconds: float) -> str:
    """A duration that is over: `0.42 s`, `6.1 s`, `42 s`, `2m05s`, `1h02m`."""
    if seconds < 59.5:
        digits = 0 if seconds >= 9.95 else 1 if seconds >= 0.995 else 2
        return f"{_short(f'{seconds:.{digits}f}')} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def _short(number: str) -> str:
    """Without zeros behind the point."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal: East Asian wide letters two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    count = 0
    for letter in text:
        if unicodedata.category(letter) in ("Mn", "Me") and letter != "\ufe0f":  # that one may widen the letter before it
            continue
        count += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return count


def clean(text: str, encoding: str) -> str:
    """`text` with `?` for control characters, surrogates, and what `encoding` has no letter for."""
    shown = text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
    return shown if shown.isascii() else shown.encode(encoding, "replace").decode(encoding)


def cut(text: str, room: int) -> str:
    """As much of `text` as `room` cells hold, with an ellipsis where it makes sense. `text` is clean."""
    if cells(text) <= room:
        return text
    dots = "..." if room >= 8 else ""
    kept, left = "", room - len(dots)
    for letter in text:
        left -= cells(letter)
        if left < 0:
            break
        kept += letter
    return kept + dots


def line(now: Counters, width: int, encoding: str = "utf-8") -> str:
    """One line of at most `width` cells. A long name is cut first; where the figures alone are too long, those matter least go first."""
    name, done = clean(now.name, encoding), now.done
    for bar, columns in _layouts(now, encoding):
        text = "  ".join(filter(None, columns))
        room = width - cells(text) - (BAR + 1 if bar else 0)
        if room >= (min(cells(name), NAME) + 1 if bar else 0):
            break
    else:
        return cut(text, width)
    if not bar:
        room = min(room - 2, cells(name))
        return f"{cut(name, room)}  {text}" if room >= min(5, cells(name)) else text
    name = cut(name, room - 1)
    inside = min(WIDEST_BAR, BAR + room - 1 - cells(name)) - 2
    filled = inside if now.ended else inside * done // max(1, now.length)
    drawn = "=" * filled + (">" if filled < inside else "")
    return f"{name} [{drawn:{inside}}] {text}"


def _layouts(now: Counters, encoding: str) -> list[tuple[bool, list[str]]]:
    """(with a bar?, columns), best first."""
    done, known = now.done, now.length >= 0
    rate = f"{amount(now.rate)}/s".rjust(9)
    # All is here only when it is verified, too.
    percent = f"{100 if now.ended else min(99, 100 * done // max(1, now.length)):3}%" if known else ""
    if now.ended:
        whole, end = amount(done), f"in {took(now.seconds)}"
        return [(True, [percent, whole, rate, end]), (False, [percent, whole, rate, end]), (False, [percent, whole]), (False, [percent])]
    size = _of(done, now.length) if known else amount(done).rjust(7)
    if now.state:
        state, brief = clean(now.state, encoding), clean(now.brief or now.state, encoding)
        figures = [percent, size, rate] if done else []
        return [(False, [*figures, state]), (False, [*figures, brief]), (False, [percent if done else "", brief])]
    share = _share(now).ljust(14)
    if not known:
        figures = [size, rate, clock(now.seconds).rjust(5)]
        return [(False, [*figures, share]), (False, figures), (False, figures[:2]), (False, figures[:1])]
    # A rate of next to nothing says no time: beyond LONGEST it has no room either.
    soon = now.rate > 0 and now.length - done < now.rate * LONGEST
    wait = clock((now.length - done) / now.rate).rjust(5) if soon else " " * 5
    left = wait + (" left" if soon else " " * 5)
    return [
        (True, [percent, size, rate, left, share]),
        (True, [percent, size, rate, left]),
        (True, [percent, size, rate, wait]),
        (False, [percent, size, rate, wait]),
        (False, [percent, size, rate]),
        (False, [percent, size]),
        (False, [percent]),
    ]


def _share(now: Counters) -> str:
    """The source that most of what was fetched came from: `peers 92%`."""
    fetched = {"peers": now.peers, "supernode": now.supernode, "origin": now.origin}
    name = max(fetched, key=lambda name: fetched[name])
    return f"{name} {100 * fetched[name] // sum(fetched.values())}%" if fetched[name] else ""


def percent(part: int, whole: int) -> str:
    """Neither none nor all unless it is."""
    return f"{max(1, min(99, round(100 * part / whole))) if part < whole else 100}%"


def summary(result: Result) -> str:
    """`30 MB in 6 s, 92% from 4 peers`; the rest came from the supernode, unless more is said. The origin is named with the reason."""
    number, _, unit = amount(result.length).partition(" ")
    parts = [f"{_short(number)} {unit} in {took(result.seconds)}"]
    if result.from_peers:
        many = f"{result.peers} peers" if result.peers > 1 else "1 peer"
        parts.append(f"{percent(result.from_peers, result.length)} from {many}")
    if result.from_supernode and (not result.from_peers or result.from_origin or result.from_host or result.resumed):
        parts.append(f"{percent(result.from_supernode, result.length)} from the supernode")
    if result.from_host:
        parts.append(f"{percent(result.from_host, result.length)} from another download of this host")
    if result.resumed:
        parts.append(f"{percent(result.resumed, result.length)} was here before")
    if result.from_origin:
        parts.append(f"{percent(result.from_origin, result.length)} from the origin: {result.back_to_source}")
    elif result.back_to_source:
        parts.append(f"the origin was asked: {result.back_to_source}")
    return ", ".join(parts)
