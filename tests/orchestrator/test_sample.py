"""What models measure by themselves."""

from __future__ import annotations

from torchloom.sample import BOUNDS, Readings, Sample


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


def test_tells_those_who_listen() -> None:
    """Each sample is told as it comes."""
    readings = Readings()
    told: list[object] = []
    readings.listeners.append(lambda *each: told.append(each))
    readings.add("net", 1, [_sample("gauge", 1)])

    assert told == [("net", 1, _sample("gauge", 1))]


def test_forgets_a_model_that_is_no_more() -> None:
    """Its series go; others stay."""
    readings = Readings()
    readings.add("net", 1, [_sample("gauge", 1)])
    readings.add("net", 2, [_sample("gauge", 2)])
    readings.forget("net", 1)

    assert [each.version for each in readings.snapshot()] == [2]
