"""Text of the progress line and of the summary: counters in, text out. Pure: no clock, no terminal.

Amounts are decimal (1 kB = 1000 bytes) with three digits, so that the width of a figure does not change while it grows.
"""

from __future__ import annotations

from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.client.result import Result

SPAN = 5.0
"""Seconds over which the rate is measured."""

HOLD = 2.0
"""Seconds for which a decrease is ignored: a piece is not counted between its last byte and its verification."""

NAME, BAR, WIDEST_BAR = 11, 9, 42
"""Widths in cells: the minimum of a name beside a bar; the minimum and maximum of the bar, including brackets."""

MAX_REMAINING = 1000 * 86400.0
"""Seconds beyond which the remaining time is not shown."""

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Counters(Value):
    """Counters of a download at one moment. Bytes by source; length -1: unknown; rate in bytes per second; seconds since its start.

    state: the present wait; brief: the same for a narrow terminal. ended: every byte is stored and verified, and `rate` is the mean.
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
        """Bytes of the file so far; limited to a known length, because two sources may send the same piece."""
        done = self.peers + self.supernode + self.origin + self.resumed
        return min(done, self.length) if self.length >= 0 else done


class Gauge:
    """Measures the rate over the last seconds. Times are of any monotonic clock."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []
        self._changed = 0.0

    def add(self, now: float, done: int) -> None:
        """Count `done` bytes at `now`. If `done` stays smaller than before for longer than HOLD, the download has started over."""
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
        """Bytes per second over the last SPAN seconds, or since the start if that is shorter."""
        if len(self._seen) < 2:
            return 0.0
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - begin) if end > begin else 0.0


def amount(count: float) -> str:
    """Format a number of bytes: `512 B`, `1.25 GB`, `30.0 MB`."""
    scale, digits, unit = _scale(count)
    return f"{count / scale:.{digits}f} {unit}"


def _scale(count: float) -> tuple[float, int, str]:
    """Return (bytes of the unit, decimals, unit) for three digits."""
    unit = 0
    while count / 1000**unit >= 999.5 and unit < len(UNITS) - 1:
        unit += 1
    shown = count / 1000**unit
    return 1000.0**unit, 0 if unit == 0 or shown >= 99.95 else 1 if shown >= 9.995 else 2, UNITS[unit]


def _of(done: int, length: int) -> str:
    """Format a part of a length: `13.5/30.0 MB`."""
    scale, digits, unit = _scale(length)
    whole = f"{length / scale:.{digits}f}"
    return f"{done / scale:.{digits}f}".rjust(len(whole)) + f"/{whole} {unit}"


def clock(seconds: float) -> str:
    """Format a duration in at most five characters: `59 s`, `9m59s`, `12m`, `1h02m`, `23h`, `12d`."""
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
    """Format an elapsed duration: `0.42 s`, `6.1 s`, `42 s`, `2m05s`, `1h02m`."""
    if seconds < 59.5:
        digits = 0 if seconds >= 9.95 else 1 if seconds >= 0.995 else 2
        return f"{_short(f'{seconds:.{digits}f}')} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def _short(number: str) -> str:
    """Remove trailing zeros after the decimal point."""
    return number.rstrip("0").rstrip(".") if "." in number else number


def cells(text: str) -> int:
    """Return the width of `text` on a terminal in columns: two for East Asian wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    import unicodedata

    count = 0
    for letter in text:
        if unicodedata.category(letter) in ("Mn", "Me") and letter != "\ufe0f":  # U+FE0F may widen the character before it
            continue
        count += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return count


def clean(text: str, encoding: str) -> str:
    """Return `text` with `?` for control characters, surrogates, and characters that `encoding` lacks."""
    shown = text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
    return shown if shown.isascii() else shown.encode(encoding, "replace").decode(encoding)


def cut(text: str, room: int) -> str:
    """Shorten the clean `text` to `room` cells, with an ellipsis if there are at least 8."""
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
    """Return one line of at most `width` cells. A long name is cut first; then the least important figures are left out."""
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
    """Return layouts as (whether with a bar, columns), best first."""
    done, known = now.done, now.length >= 0
    rate = f"{amount(now.rate)}/s".rjust(9)
    # 100 % is shown only after verification.
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
    # With a tiny rate the remaining time is meaningless; beyond MAX_REMAINING it would also not fit.
    soon = now.rate > 0 and now.length - done < now.rate * MAX_REMAINING
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
    """Format the source of most fetched bytes, with its share: `peers 92%`."""
    fetched = {"peers": now.peers, "supernode": now.supernode, "origin": now.origin}
    name = max(fetched, key=lambda name: fetched[name])
    return f"{name} {100 * fetched[name] // sum(fetched.values())}%" if fetched[name] else ""


def percent(part: int, whole: int) -> str:
    """Format a share: `100%` only for the whole, otherwise `1%` to `99%`."""
    return f"{max(1, min(99, round(100 * part / whole))) if part < whole else 100}%"


def summary(result: Result) -> str:
    """Format a result: `30 MB in 6 s, 92% from 4 peers`; an unstated rest is from the supernode. The origin is named with the reason."""
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
