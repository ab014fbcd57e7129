"""What models measure by themselves."""

from __future__ import annotations

from itertools import permutations

from torchloom.sample import BOUNDS, OnSample, Readings, Sample


def _sample(kind: str, value: float, name: str = "a", **labels: str) -> Sample:
    return Sample(name, kind, "Count", labels, value)  # type: ignore[arg-type]  # one of the kinds


def test_adds_up_counters_and_keeps_the_last_of_gauges() -> None:
    """Series are told apart by model, version, name, kind, unit and labels."""
    readings = Readings()
    readings.add("net", 1, [_sample("counter", 1), _sample("counter", 2), _sample("gauge", 5)])
    readings.add("net", 1, [_sample("gauge", 4), _sample("counter", 7, color="red")])
    readings.add("net", 2, [_sample("counter", 1)])

    assert [(each.version, each.sample.kind, each.value) for each in readings.snapshot()] == [
        (1, "counter", 3),
        (1, "gauge", 4),
        (1, "counter", 7),
        (2, "counter", 1),
    ]


def test_counts_a_histogram_by_bound() -> None:
    """A value on a bound counts below it; beyond the last bound is infinity."""
    readings = Readings()
    readings.add("net", 1, [_sample("histogram", value) for value in (0.005, 0.006, 99)])
    (reading,) = readings.snapshot()

    assert reading.counts == [1, 1, *([0] * (len(BOUNDS) - 2)), 1]
    assert reading.value == 99.011


def test_holds_no_more_series_than_its_bound() -> None:
    """A model that makes labels of its inputs does not fill the memory; known series go on."""
    readings = Readings(max_series=2)
    readings.add("net", 1, [_sample("counter", 1, name=name) for name in "abcda"])

    assert {each.sample.name: each.value for each in readings.snapshot()} == {"a": 2, "b": 1}
    assert readings.num_lost == 2


def test_takes_labels_in_any_order() -> None:
    """They are of the same series."""
    readings = Readings()
    readings.add(
        "net", 1, [_sample("counter", 1, x="1", y="2"), _sample("counter", 2, y="2", x="1")]
    )
    readings.add("net", 1, [_sample("counter", 4, y="2", x="1")])

    assert [each.value for each in readings.snapshot()] == [7]


def test_forgets_no_series_that_is_called_by_many_orders() -> None:
    """However many orders its labels come in: what is remembered of them is bounded."""
    readings = Readings(max_series=2)
    labels = {"x": "1", "y": "2", "z": "3"}
    for order in permutations(labels.items()):
        readings.add("net", 1, [_sample("counter", 1, **dict(order))])

    assert [each.value for each in readings.snapshot()] == [6]


class Ear:
    """Is asked of series, and told of samples."""

    def __init__(self, readings: Readings) -> None:
        self.asked: list[tuple[str, int, str]] = []
        self.told: list[tuple[str, float]] = []
        readings.listen(self._on_series)

    def _on_series(self, model: str, version: int, sample: Sample) -> OnSample:
        self.asked.append((model, version, sample.name))
        return lambda each: self.told.append((sample.name, each.value))


def test_asks_once_of_a_series_and_tells_each_sample() -> None:
    """As it comes."""
    readings = Readings()
    ear = Ear(readings)
    readings.add("net", 1, [_sample("gauge", 1), _sample("gauge", 2), _sample("gauge", 3, "b")])
    readings.add("net", 1, [_sample("gauge", 4)])

    assert ear.asked == [("net", 1, "a"), ("net", 1, "b")]
    assert ear.told == [("a", 1), ("a", 2), ("b", 3), ("a", 4)]


def test_asks_who_comes_late_of_what_there_is() -> None:
    """It misses the samples of before, and none after."""
    readings = Readings()
    readings.add("net", 1, [_sample("gauge", 1)])
    ear = Ear(readings)
    readings.add("net", 1, [_sample("gauge", 2)])

    assert ear.asked == [("net", 1, "a")]
    assert ear.told == [("a", 2)]


def test_tells_samples_beyond_the_bound_of_series() -> None:
    """Their sums are lost, but whoever listens hears them all."""
    readings = Readings(max_series=1)
    ear = Ear(readings)
    readings.add("net", 1, [_sample("gauge", value, name) for value, name in enumerate("abb")])

    assert ear.told == [("a", 0), ("b", 1), ("b", 2)]
    assert readings.num_lost == 2


def test_forgets_a_model_that_is_no_more() -> None:
    """Its series go; others stay."""
    readings = Readings()
    readings.add("net", 1, [_sample("gauge", 1)])
    readings.add("net", 2, [_sample("gauge", 2)])
    readings.forget("net", 1)

    assert [each.version for each in readings.snapshot()] == [2]
    readings.add("net", 1, [_sample("counter", 3)])
    assert [each.value for each in readings.snapshot()] == [2, 3]
