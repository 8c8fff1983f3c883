"""Any Python command with extension modules that gcc's sanitizers watch: a wrong access ends the process, with its stack.

    python -m tests.fuzz.sanitized address,undefined -m pytest -q tests/swarm

They are built below build/, each set of sanitizers in a directory of its own; those in place are not touched. The interpreter itself is
not compiled so: its small objects come from malloc, that the sanitizer sees their ends too, and what it never frees is no leak of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:handle_segv=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "PYTHONMALLOC": "malloc",
}


def built(kinds: str) -> Path:
    """The package with sanitized modules, built if need be."""
    base = ROOT / "build" / f"sanitized-{kinds.replace(',', '-')}"
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(base), "--build-lib", str(base / "lib")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"DFENGINE_SANITIZE": kinds})
    return base / "lib"


def environment(kinds: str, package: Path) -> dict[str, str]:
    """What a process of it needs."""
    library = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
    paths = [_library(library[kind]) for kind in kinds.split(",")]
    return os.environ | OPTIONS | {"LD_PRELOAD": " ".join(paths), "PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


def _library(name: str) -> str:
    return subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()


def run(kinds: str, command: list[str]) -> int:
    """`command` is what follows `python`; its exit status, 1 when a signal ended it."""
    status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False, env=environment(kinds, built(kinds))).returncode
    return status if status >= 0 else 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
