"""Compiles the checks in `_structures.pyx`, which access the C fields of the engine's structures."""

from __future__ import annotations

from bench.extension import compiled

structures = compiled("tests.swarm._structures", "-O1")
