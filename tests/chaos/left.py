"""Checks for what runs left behind: processes, partial files under final names, descriptors and mounts."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.world import World
from tests.e2e.scene import descriptors, until


def after_a_run(world: World, name: str) -> str:
    """Text about what the run `name` left behind, or ""."""
    marks = [f"{world.stage.path}/{name}", f"?{name}-"]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(pid) != os.getpid() and any(mark in command for mark in marks):
            return f"left behind: the process {command.split(chr(0))}"
    if str(world.stage.path) + "/" in Path("/proc/self/mounts").read_text():
        return "left behind: a mount"
    found = [path.name for path in world.stage.path.iterdir() if name in path.name and not path.name.startswith(".")]
    return f"left behind: {', '.join(found)}" if found else ""


def at_the_end(world: World) -> str:
    """Check after all runs: the supernode has no connection and no file of an expired task open, and peer servers no deleted file.

    A stream's memory may be served for a while after its process ended.
    """
    world.settled()

    def held() -> list[str]:
        # A copy that was served recently stays open while its task is in memory.
        found = [f"supernode: {name}" for name in descriptors(world.node.process.pid) if "/download/" in name]
        found = found if len(found) > world.node.metric("dragonfly_supernode_tasks") else []
        for home in world.stage.homes:
            if (home / "peer.lock").exists() and (home / "peer.lock").read_text():
                pid = world.stage.peer_pid(int(home.name.rpartition("-")[2]))
                found += [f"{home.name}: {name}" for name in descriptors(pid) if name.endswith("(deleted)") and "/memfd:" not in name]
        return found

    try:
        until(lambda: not held(), "closed files and connections", 30.0 * world.patience)
    except AssertionError:
        return f"left behind: open: {', '.join(held()[:8])}"
    return ""
