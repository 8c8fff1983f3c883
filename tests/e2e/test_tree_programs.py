"""Directories fetched by programs: progress, cancelling, asyncio, forks, errors."""

from __future__ import annotations

import pytest

from tests.e2e.scene import MIB, Scene
from tests.e2e.test_client_programs import Program
from tests.e2e.test_tree import TREE, files_below, index, make_tree

LARGE = {**TREE, "very large.bin": 40 * MIB}


@pytest.fixture
def program(stage: Scene) -> Program:
    made = Program(stage)
    stage.nginx.terminate()
    stage.nginx.wait()
    made.base = index(stage)
    return made


def test_progress_and_result_of_a_tree(stage: Scene, program: Program) -> None:
    expected = make_tree(stage)
    told = program.run(
        """
seen = []
with dfengine.Client(nodes=nodes, **options) as client:
    result = client.fetch_tree(base, folder + "out", progress=seen.append)
    handle = client.download_tree(base, folder + "out", exclude="*")
    try:
        handle.wait(60)
    except dfengine.OriginError as error:
        tell(nothing=error.status)
    except dfengine.DfengineError as error:
        tell(nothing=str(error))
tell(count=result.count, length=result.length, done=seen[-1].done, known=seen[-1].length, failed=len(result.failed),
     worst=result.worst, first=result.files[0].path, url=result.url)
""",
        stage.supernode(),
    )
    assert files_below(stage.path / "out") == expected
    size = sum(TREE.values())
    assert [told[name] for name in ("count", "length", "done", "known", "failed", "worst", "first")] == [
        len(TREE), size, size, size, 0, None, "a.bin"]  # fmt: skip
    assert told["url"] == program.base
    assert told["nothing"]


def test_a_cancelled_tree_resumes(stage: Scene, program: Program) -> None:
    expected = make_tree(stage, {**TREE, "very large.bin": 110 * MIB})
    told = program.run(
        """
with dfengine.Client(nodes=nodes, **options) as client:
    for way in ("handle", "progress", "client"):
        def stop(now):
            if now.done - now.resumed > 20_000_000:
                if way == "progress":
                    raise ZeroDivisionError
                (handle if way == "handle" else client).cancel()
        handle = client.download_tree(base, folder + "out", progress=stop, locallimit="20M")
        try:
            handle.wait(60)
        except (dfengine.Cancelled, ZeroDivisionError) as error:
            tell(**{way: type(error).__name__})
    result = client.fetch_tree(base, folder + "out")
tell(resumed=result.resumed)
""",
        stage.supernode(),
    )
    assert files_below(stage.path / "out") == expected
    assert (told["handle"], told["progress"], told["client"]) == ("Cancelled", "ZeroDivisionError", "Cancelled")
    assert told["resumed"] > 4_000_000


def test_trees_are_fetched_and_cancelled_by_asyncio(stage: Scene, program: Program) -> None:
    expected = make_tree(stage, LARGE)
    told = program.run(
        """
async def main():
    seen = []
    async with aio.Client(nodes=nodes, **options) as client:
        task = asyncio.create_task(client.fetch_tree(base, folder + "out", progress=seen.append, locallimit="12M"))
        while not seen or seen[-1].done < 4_000_000:
            await asyncio.sleep(0.05)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            tell(cancelled=True)
        result = await client.fetch_tree(base, folder + "out", include=["small/", "a.bin"])
        tell(count=result.count)
        result = await client.fetch_tree(base, folder + "out")
        tell(length=result.length)
asyncio.run(main())
""",
        stage.supernode(),
    )
    assert told == {"cancelled": True, "count": 121, "length": sum(LARGE.values())}
    assert files_below(stage.path / "out") == expected


def test_a_forked_child_has_no_descriptors_of_a_running_tree(stage: Scene, program: Program) -> None:
    expected = make_tree(stage, LARGE)
    told = program.run(
        """
with dfengine.Client(nodes=nodes, **options) as client:
    handle = client.download_tree(base, folder + "out", locallimit="12M")
    while not handle.progress.done:
        time.sleep(0.02)
    child = os.fork()
    if not child:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
        os._exit(any("/out" in each for each in found))
    tell(open=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    handle.wait(60)
""",
        stage.supernode(),
    )
    assert told == {"open": 0}
    assert files_below(stage.path / "out") == expected


def test_errors_name_the_failed_files_and_invalid_arguments_are_rejected(stage: Scene, program: Program) -> None:
    make_tree(stage)
    (stage.path / "out" / "a.bin").mkdir(parents=True)
    told = program.run(
        """
try:
    dfengine.Client(nodes=nodes, **options).fetch_tree(base, folder + "out")
except dfengine.Incomplete as error:
    tell(text=str(error), failed=[each.path for each in error.result.failed], code=error.exit_code, cause=type(error.__cause__).__name__)
for wrong in ({"include": 5}, {"include": [5]}, {"exclude": "a//b"}, {"include": "x" * 300}, {"digest": "md5:" + "0" * 32}):
    try:
        dfengine.Client(nodes=nodes, **options).fetch_tree(base, folder + "out", **wrong)
    except dfengine.BadValue as error:
        tell(**{str(wrong): True})
for url, out in ((base, ""), (base, "-"), (base, None), (base, 5), (base + "?x", "out"), ("", "out")):
    try:
        dfengine.Client(nodes=nodes, **options).fetch_tree(url, out)
    except dfengine.BadValue as error:
        tell(**{f"{url} {out}": True})
""",
        stage.supernode(),
    )
    assert told["failed"] == ["a.bin"]
    assert told["text"].startswith(f"1 of {len(TREE)} files are not in {stage.path}/out: cannot write ")
    assert (told["code"], told["cause"]) == (7, "StorageError")
    assert len(told) == 4 + 5 + 6
