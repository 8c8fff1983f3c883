"""The checks in `_structures.pyx`, which see the C fields of the engine's structures, compiled for the run."""

from __future__ import annotations

from bench.extension import compiled

structures = compiled("tests.swarm._structures", "-O1")
