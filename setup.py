"""Compiles every .pyx below dfengine/; the rest of the package's build is configured in pyproject.toml.

DFENGINE_DEBUG: with line tracing. DFENGINE_SANITIZE=address,undefined: with gcc's sanitizers; build it outside of the checkout, as
`tests/fuzz/sanitized.py` does.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

DEBUG = "DFENGINE_DEBUG" in os.environ
SANITIZE = os.environ.get("DFENGINE_SANITIZE", "")
Options.warning_errors = not DEBUG

COMPILERS = min(os.cpu_count() or 1, 8)
"""Compilers that run at a time; each takes up to 250 MiB of memory."""

SANITIZED = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"] if SANITIZE else []
COMPILED = ["-O0", "-g"] if DEBUG else ["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZED] if SANITIZE else ["-O2"]

setup(
    ext_modules=cythonize(
        [
            Extension(
                str(path.with_suffix("")).replace(os.sep, "."),
                [str(path)],
                extra_compile_args=COMPILED,
                extra_link_args=SANITIZED,
                define_macros=[("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")] if DEBUG else [],
            )
            for path in sorted(Path("dfengine").rglob("*.pyx"))
        ],
        compiler_directives={"language_level": 3, "auto_pickle": False, "autotestdict": False, "linetrace": DEBUG},
        annotate=DEBUG,
        build_dir=None if DEBUG else "build/cython",
    ),
    options={"build_ext": {"parallel": COMPILERS}},
)
