"""Availability counted anew, by `_recount`, which is compiled for the run as `pulls.c` is: the engine itself keeps counts up to date."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import cast

from dfengine._bitset import Bitset
from dfengine.supernode.swarm._rarity import Rarity

HERE = Path(__file__).parent


@cache
def compiled() -> Callable[[Rarity, list[Bitset]], None]:
    """`recount(rarity, haves)`: sets the copies of each piece to the number of `haves` that contain it. Takes seconds the first time."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="dfbench-") as made:
        os.chdir(HERE.parent)  # where the declarations of dfengine are found
        try:
            extensions = cythonize([Extension("bench._recount", ["bench/_recount.pyx"], extra_compile_args=["-O2"])], build_dir=made,
                                   compiler_directives={"language_level": 3}, quiet=True)
            command = build_ext(Distribution({"name": "recount", "ext_modules": extensions}))
            command.build_lib, command.build_temp = made, made
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(before)
        spec = importlib.util.spec_from_file_location("bench._recount", command.get_ext_fullpath("bench._recount"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return cast("Callable[[Rarity, list[Bitset]], None]", module.recount)
