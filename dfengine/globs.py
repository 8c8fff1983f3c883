"""Selection of a tree's files by patterns: `--include` and `--exclude`. Pure.

    *       any characters of one segment, or none             ?       one character of a segment
    [a-z]   one of these characters, [!a-z] any other one      **      as a whole segment: any number of directories, or none

A pattern without a slash is compared with the file's name in any directory, a pattern with a slash with the whole path. A slash at the
beginning only makes a pattern one with a slash: `/*.txt` matches files at the top. A slash at the end selects all files below a directory.
Matching is case-sensitive. A `[` without a closing `]` stands for itself, as does every other character.

Law: matching a path of n characters against a pattern of m takes at most about n * m steps for each directory of the path, for any path
and pattern. Each `*` is matched once, as early as possible; this is correct because the next `*` matches the rest. The same holds for the
segments between two `**`.
"""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.value import Value

MAX_PATTERNS = 64
"""Maximum number of patterns of one selection."""

MAX_PATTERN = 256
"""Maximum number of characters of one pattern."""


class Globs(Value):
    """A file is selected if `include` is empty or matches it, and `exclude` does not. Order and repetition have no effect."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def check(self) -> Globs:
        """Return self. Raises BadValue, which names the pattern."""
        if len(self.include) + len(self.exclude) > MAX_PATTERNS:
            raise BadValue(f"{len(self.include) + len(self.exclude)} patterns are more than {MAX_PATTERNS}")
        for pattern in (*self.include, *self.exclude):
            _expression(pattern)
        return self

    def matcher(self) -> Matcher:
        """Compile the patterns. Raises BadValue."""
        self.check()
        return Matcher(self)

    @property
    def text(self) -> str:
        """A canonical text, one line for each pattern: equal for equal selections only. "" selects all files."""
        return "".join(f"+{each}\n" for each in sorted(set(self.include))) + "".join(f"-{each}\n" for each in sorted(set(self.exclude)))


class Matcher:
    """Compiled `Globs`."""

    def __init__(self, globs: Globs) -> None:
        self._include = [_compiled(each) for each in sorted(set(globs.include))]
        self._exclude = [_compiled(each) for each in sorted(set(globs.exclude))]

    def matches(self, path: str) -> bool:
        """Whether `path` is selected. path: relative, segments joined by `/`."""
        around = "/" + path
        if self._include and not any(each.fullmatch(around) for each in self._include):
            return False
        return not any(each.fullmatch(around) for each in self._exclude)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: str) -> str:
    """The regular expression for a slash and the path. Raises BadValue."""
    if not pattern or len(pattern) > MAX_PATTERN:
        raise BadValue(f"pattern {pattern[:60]!r} does not have 1 to {MAX_PATTERN} characters")
    if any(each < " " or each == "\x7f" or "\ud800" <= each <= "\udfff" for each in pattern):
        raise BadValue(f"pattern {pattern[:60]!r} contains a control character or a lone surrogate")
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
    # Segments between two ** are matched as early as possible, without backtracking: the ** behind them matches the rest.
    parts, chunk, free = [], "", False
    for segment in segments:
        if segment == "**":
            parts.append(_once(chunk, free))
            chunk, free = "", True
        else:
            chunk += "/" + _segment(segment)
    end = "(?:/[^/]++)+" if below else ""
    # The last chunk must end at the path's end. So it is tried at each segment, not only at the first that matches.
    last = f"(?:/[^/]++)*?{chunk}" if free and not below else _once(chunk, free)
    return "".join(parts) + last + end


def _once(chunk: str, free: bool) -> str:
    return f"(?>(?:/[^/]++)*?{chunk})" if free and chunk else chunk


def _segment(text: str) -> str:
    """The regular expression for one segment of a pattern, without the slash."""
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
    # The part behind the last * must match at the segment's end, so there is only one position to try.
    return out + (f"[^/]*{fixed}(?![^/])" if open_star else fixed + "(?![^/])")


def _class(text: str) -> str:
    """The regular expression for `!a-z` or `a-z`; it never matches a slash. Raises BadValue for an empty range."""
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
