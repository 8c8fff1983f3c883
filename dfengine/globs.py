"""Which files of a tree are wanted: `--include` and `--exclude`. Pure.

    *       any characters of one segment, none as well        ?       one character of a segment
    [a-z]   one of these characters, [!a-z] one of all others  **      as a whole segment: any number of directories, none as well

A pattern without a slash is compared with a file's name, in whichever directory the file lies; one with a slash with the whole path. A
slash at the beginning says nothing else, so `/*.txt` are those at the top. One that ends in a slash means all that lies below. Letters
count by case. A `[` that nothing closes is itself, and so is every other character.

Law: a path of n characters costs a pattern of m at most about n * m steps for each directory of the path, whatever both are. Each `*` is
matched once, as early as it can be, which is right because the `*` behind it takes what is left; so is what stands between two `**`.
"""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.value import Value

MOST = 64
"""Patterns of one selection."""

LONGEST = 256
"""Characters of one pattern."""


class Globs(Value):
    """A file is taken when one of `include` matches it, or there is none, and none of `exclude` does. Order and repetition say nothing."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def check(self) -> Globs:
        """Itself. Raises BadValue, which names the pattern."""
        if len(self.include) + len(self.exclude) > MOST:
            raise BadValue(f"{len(self.include) + len(self.exclude)} patterns are more than {MOST}")
        for pattern in (*self.include, *self.exclude):
            _expression(pattern)
        return self

    def matcher(self) -> Matcher:
        """Raises BadValue."""
        self.check()
        return Matcher(self)

    @property
    def text(self) -> str:
        """The same for the same selection, different for another; "" takes everything. One line for each pattern."""
        return "".join(f"+{each}\n" for each in sorted(set(self.include))) + "".join(f"-{each}\n" for each in sorted(set(self.exclude)))


class Matcher:
    """A `Globs`, compiled."""

    def __init__(self, globs: Globs) -> None:
        self._include = [_compiled(each) for each in sorted(set(globs.include))]
        self._exclude = [_compiled(each) for each in sorted(set(globs.exclude))]

    def takes(self, path: str) -> bool:
        """path: relative, segments joined by `/`."""
        around = "/" + path
        if self._include and not any(each.fullmatch(around) for each in self._include):
            return False
        return not any(each.fullmatch(around) for each in self._exclude)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: str) -> str:
    """Matches a slash and the path. Raises BadValue."""
    if not pattern or len(pattern) > LONGEST:
        raise BadValue(f"pattern {pattern[:60]!r} is not of 1 to {LONGEST} characters")
    if any(each < " " or each == "\x7f" or "\ud800" <= each <= "\udfff" for each in pattern):
        raise BadValue(f"pattern {pattern[:60]!r} holds a control character, or what is no Unicode")
    segments = pattern.split("/")
    if len(segments) == 1:
        segments = ["**", pattern]
    elif not segments[0]:
        del segments[0]
    if not segments[-1]:
        segments[-1] = "**"
    if any(each in ("", ".", "..") for each in segments):
        raise BadValue(f"pattern {pattern[:60]!r} has a segment that is empty, \".\" or \"..\", which no path has")
    below = segments[-1] == "**"
    while segments and segments[-1] == "**":
        segments.pop()
    # What stands between two ** is matched as early as it can be and stays so: the ** behind it takes what is left.
    parts, chunk, free = [], "", False
    for segment in segments:
        if segment == "**":
            parts.append(_once(chunk, free))
            chunk, free = "", True
        else:
            chunk += "/" + _segment(segment)
    end = "(?:/[^/]++)+" if below else ""
    # The last chunk ends where the path does; so it is tried at each segment, and not only where it fits first.
    last = f"(?:/[^/]++)*?{chunk}" if free and not below else _once(chunk, free)
    return "".join(parts) + last + end


def _once(chunk: str, free: bool) -> str:
    return f"(?>(?:/[^/]++)*?{chunk})" if free and chunk else chunk


def _segment(text: str) -> str:
    """One segment of a pattern as an expression, without the slash."""
    out, at, open_star = "", 0, False
    fixed = ""
    while at < len(text):
        letter = text[at]
        at += 1
        if letter == "*":
            out += f"(?>[^/]*?{fixed})" if open_star and fixed else fixed
            open_star, fixed = True, ""
        elif letter == "?":
            fixed += "[^/]"
        elif letter == "[" and (end := text.find("]", at + 1 + (text[at : at + 1] == "!"))) >= 0:
            fixed += _class(text[at:end])
            at = end + 1
        else:
            fixed += re.escape(letter)
    # Behind the last * the rest stands at the segment's end: that is one place.
    return out + (f"[^/]*{fixed}(?![^/])" if open_star else fixed + "(?![^/])")


def _class(text: str) -> str:
    """`!a-z` or `a-z`, never the slash. Raises BadValue for a range that is none."""
    other = text.startswith("!")
    inside = text[other:]
    at, kept = 0, ""
    while at < len(inside):
        first = last = inside[at]
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            last = inside[at + 2]
            at += 2
        if last < first:
            raise BadValue(f"pattern [{text[:60]}] has the range {first}-{last}, which is empty")
        kept += re.escape(first) + ("-" + re.escape(last) if last != first else "")
        at += 1
    return f"(?!/)[{'^' if other else ''}{kept}]"
