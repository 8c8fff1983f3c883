"""Cost of each of many files before its first byte is transferred, under pytest-benchmark."""

from __future__ import annotations

import io
from typing import Any

from dfengine.app import file_list, url_list
from dfengine.app.file_list import BatchSettings
from dfengine.globs import Globs
from dfengine.manifest import File, Manifest, decode
from dfengine.settings import GetSettings

FILES = 10_000
PATHS = [f"{n // 100:03}/model-{n:05}.safetensors" for n in range(FILES)]


def test_read_a_list(benchmark: Any) -> None:
    text = "".join(f"http://origin/{path}\n  out={path}\n" for path in PATHS).encode()

    def read() -> int:
        return sum(1 for entry in url_list.entries(url_list.lines(io.BytesIO(text)), lambda name: None) if not entry.fault)

    benchmark.extra_info["per"] = f"list of {FILES} URLs with out="
    assert benchmark(read) == FILES


def test_tell_two_outputs_apart(benchmark: Any) -> None:
    several = BatchSettings(GetSettings(url="", output=""))
    listed = [url_list.Listed(1, (f"http://origin/{path}",), path) for path in PATHS]

    def compare() -> None:
        outputs = file_list.Outputs()
        for entry in listed:
            outputs.add(file_list._output(several, entry))

    benchmark.extra_info["per"] = f"{FILES} outputs compared with all others"
    benchmark(compare)


def test_decode_a_manifest(benchmark: Any) -> None:
    base = "http://origin/tree/"
    encoded = Manifest(base, [File(path, base + path, 10_000, '"65f0-2710"') for path in PATHS]).encode()
    benchmark.extra_info["per"] = f"manifest of {FILES} files decoded and checked"
    assert len(benchmark(decode, encoded)) == FILES


def test_select_by_globs(benchmark: Any) -> None:
    matches = Globs(("*.safetensors", "/README*"), ("*/model-*7.safetensors",)).matcher().matches
    benchmark.extra_info["per"] = f"{FILES} paths by three globs"
    assert benchmark(lambda: sum(map(matches, PATHS))) == FILES * 9 // 10
