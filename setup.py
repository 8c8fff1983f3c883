"""Compiles every .pyx below dfengine/; everything else about the package stands in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

DEBUG = "DFENGINE_DEBUG" in os.environ
Options.warning_errors = not DEBUG

setup(
    ext_modules=cythonize(
        [
            Extension(
                str(path.with_suffix("")).replace(os.sep, "."),
                [str(path)],
                extra_compile_args=["-O0", "-g"] if DEBUG else ["-O2"],
                define_macros=[("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if DEBUG else [],
            )
            for path in sorted(Path("dfengine").rglob("*.pyx"))
        ],
        compiler_directives={"language_level": 3, "auto_pickle": False, "autotestdict": False, "linetrace": DEBUG},
        annotate=DEBUG,
        build_dir=None if DEBUG else "build/cython",
    )
)
