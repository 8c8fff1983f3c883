"""Labels that clients choose are few, printable and never withdrawn; histograms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.histogram import Histogram
from dfengine.supernode.label_values import MAX_VALUE, OTHER, Count, Labels, Series, label

CLIENTS = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"])


@given(st.lists(st.tuples(st.text(max_size=5), CLIENTS), max_size=60))
def test_series_are_bounded_and_no_count_is_lost(said: list[tuple[str, str]]) -> None:
    series = Series(Count, Labels(8, 25))
    for system, client in said:
        before = {labels: count.value for labels, count in series.items()}
        series.at((system,), client).value += 1
        assert all(count.value >= before.get(labels, 0) for labels, count in series.items())
    assert len(series.items()) <= 9
    assert sum(count.value for _, count in series.items()) == len(said)


def test_one_client_cannot_use_up_all_labels() -> None:
    labels = Labels(8, 25)
    got = [labels.of((f"name {n}",), "10.0.0.1") for n in range(20)]
    assert got[:2] == [("name 0",), ("name 1",)]
    assert set(got[2:]) == {(OTHER,)}
    assert labels.of(("theirs",), "10.0.0.2") == ("theirs",)
    assert labels.of(("name 1",), "10.0.0.3") == ("name 1",)


@given(st.text(max_size=300))
def test_a_label_is_one_printable_line(text: str) -> None:
    found = label(text)
    assert len(found) <= MAX_VALUE
    assert found.isprintable()


@given(st.lists(st.floats(0, 100), max_size=30))
def test_a_histogram_counts_each_value_once(values: list[float]) -> None:
    histogram = Histogram((1.0, 10.0))
    for value in values:
        histogram.observe(value)
    assert histogram.buckets() == [
        ("1.0", sum(value <= 1 for value in values)), ("10.0", sum(value <= 10 for value in values)), ("+Inf", len(values)),
    ]
