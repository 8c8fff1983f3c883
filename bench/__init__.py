"""Benchmarks: each runs alone as `python -m bench.<name>` and prints the machine, the peers' figures and the ratios."""

from importlib.util import find_spec

if find_spec("dfengine._piece") is None:
    # In a checkout, `bench` imports the source directory, even if a compiled package is installed.
    raise SystemExit("dfengine/ is not compiled here: pip install -e '.[test]', or python setup.py build_ext --inplace")
