"""Runs a Python command with extension modules built with gcc's sanitizers: an invalid access ends the process and prints its stack.

    python -m tests.fuzz.sanitized address,undefined -m pytest -q tests/swarm

The modules are built below build/, in a directory per set of sanitizers; the installed ones are not changed. The interpreter is not
sanitized: its small objects are allocated with malloc so that the sanitizer sees their bounds, and leaks are not reported, as it never
frees some objects.
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
    """Directory of the package with sanitized modules, built if necessary."""
    base = ROOT / "build" / f"sanitized-{kinds.replace(',', '-')}"
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(base), "--build-lib", str(base / "lib")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"DFENGINE_SANITIZE": kinds})
    return base / "lib"


def environment(kinds: str, package: Path) -> dict[str, str]:
    """Environment of a process that uses the sanitized package."""
    library = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
    paths = [_library(library[kind]) for kind in kinds.split(",")]
    return os.environ | OPTIONS | {"LD_PRELOAD": " ".join(paths), "PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


def _library(name: str) -> str:
    return subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()


def run(kinds: str, command: list[str]) -> int:
    """Run `python` with these arguments. Returns the exit status, 1 if a signal ended the process."""
    status = subprocess.run([sys.executable, *command], cwd=ROOT, check=False, env=environment(kinds, built(kinds))).returncode
    return status if status >= 0 else 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
