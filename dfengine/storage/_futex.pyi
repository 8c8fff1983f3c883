from typing import Any

def wake(words: Any, index: int) -> int:
    """Wake every thread that waits for `words[index]`, in any process; return their number. words: writable, of 32 bits each."""

def wait(words: Any, index: int, value: int, seconds: float) -> bool:
    """Sleep while `words[index]` is `value`, until a `wake` or for `seconds` at most. False: the time is over. May return early."""
