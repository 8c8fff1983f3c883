"""What a run, or all of them, left behind: processes, parts under final names, descriptors, mounts."""

from __future__ import annotations

import os
from pathlib import Path

from tests.chaos.world import World
from tests.e2e.scene import descriptors, until


def after_a_run(world: World, name: str) -> str:
    """Of the run called `name`."""
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
    """Of all runs: the supernode has no connection and no file of a forgotten task open, nor have peer servers a file that was deleted.

    A stream's memory is served for a while after its process.
    """
    world.settled()

    def held() -> list[str]:
        # One that was served lately stays open while its task is in memory.
        found = [f"supernode: {name}" for name in descriptors(world.node.process.pid) if "/download/" in name]
        found = found if len(found) > world.node.metric("dragonfly_supernode_tasks") else []
        for home in world.stage.homes:
            if (home / "peer.lock").exists() and (home / "peer.lock").read_text():
                pid = world.stage.peer_pid(int(home.name.rpartition("-")[2]))
                found += [f"{home.name}: {name}" for name in descriptors(pid) if name.endswith("(deleted)") and "/memfd:" not in name]
        return found

    try:
        until(lambda: not held(), "everything closed", 30.0 * world.patience)
    except AssertionError:
        return f"left behind: open: {', '.join(held()[:8])}"
    return ""
