"""Cython modules of benchmarks and tests that read the engine's C structures: compiled for the run, not part of the package."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@cache
def compiled(name: str, optimize: str = "-O2") -> Any:
    """The module with a dotted name, compiled from its .pyx in this checkout. Takes seconds the first time."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="dfbench-") as made:
        os.chdir(ROOT)  # the directory in which Cython finds the declarations of dfengine
        try:
            extensions = cythonize([Extension(name, [f"{name.replace('.', '/')}.pyx"], extra_compile_args=[optimize])], build_dir=made,
                                   compiler_directives={"language_level": 3}, quiet=True)
            command = build_ext(Distribution({"name": name, "ext_modules": extensions}))
            command.build_lib, command.build_temp = made, made
            command.ensure_finalized()
            command.run()
        finally:
            os.chdir(before)
        spec = importlib.util.spec_from_file_location(name, command.get_ext_fullpath(name))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
