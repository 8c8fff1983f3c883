"""What all tests share: a CI run repeats the same examples, a developer's explores new ones."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made says how busy the machine is, and nothing of the code.
settings.register_profile("usual", suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("usual"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "usual")

if find_spec("dfengine._piece") is None:
    # From a checkout the source folder is imported, also where a compiled package is installed.
    pytest.exit("dfengine/ is not compiled here: pip install -e '.[test]', or python setup.py build_ext --inplace", returncode=4)

# A shell's background jobs ignore SIGINT, and nohup ignores SIGHUP; dfengine leaves ignored signals alone, the tests' downloads must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
