"""The corpus, mutations of it, and what hypothesis comes up with, through every parser."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.mutate import mutated
from tests.fuzz.parsers import CORPUS, PARSERS, corpus


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_the_promised_errors(name: str) -> None:
    inputs, chance = corpus(name), random.Random(name)
    assert inputs
    for data in inputs:
        PARSERS[name](data)
    for _ in range(300 if name == "yaml" else 2000):
        PARSERS[name](mutated(inputs, chance))


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    PARSERS[name](data)


def test_each_parser_has_its_corpus() -> None:
    assert {path.stem for path in CORPUS.iterdir()} == set(PARSERS)
