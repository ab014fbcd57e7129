"""Findings that are kept beside compiled code."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_models.finding import Finding, FindingStore


FINDING = Finding(
    device="openvino:CPU",
    dtype="float32",
    figures={"cpu": 0.0052, "openvino:CPU": 0.0031},
    lost={"cuda:0": "it is gone", "openvino:GPU": "the trial ended by SIGSEGV"},
)

KEPT = '{"device": "cpu", "dtype": "float32", "figures": {"cpu": 1.0}, "lost": {}}'


def test_keeps_a_finding_for_the_next_start(tmp_path: Path) -> None:
    """What was kept is found by its digest, and the latest holds."""
    store = FindingStore(tmp_path / "findings")
    assert store.find("abc") is None

    store.keep("abc", Finding(device="cpu", dtype="auto", figures={"cpu": 1.0}, lost={}))
    store.keep("abc", FINDING)

    assert FindingStore(tmp_path / "findings").find("abc") == FINDING
    assert [file.name for file in (tmp_path / "findings").iterdir()] == ["abc.json"]


def test_says_all_of_it_in_a_line() -> None:
    """Figures by time, who is chosen, and why others are not among them."""
    alone = Finding(device="cpu", dtype="auto", figures={}, lost={"cuda:0": "it is gone"})

    assert str(FINDING) == (
        "openvino:CPU 3.1 ms, cpu 5.2 ms: openvino:CPU; not on cuda:0: it is gone; "
        "not on openvino:GPU: the trial ended by SIGSEGV"
    )
    assert str(alone) == "cpu alone is left; not on cuda:0: it is gone"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        '{"cpu": 0.5}',
        KEPT.replace("1.0", '"fast"'),
        KEPT.replace("1.0", "null"),
        KEPT.replace("float32", "float7"),
        KEPT.replace('"lost": {}', '"lost": {}, "more": 1'),
        "\xff",
    ],
)
def test_measures_again_rather_than_trust_a_broken_file(tmp_path: Path, content: str) -> None:
    """What cannot be read as a finding counts as nothing."""
    (tmp_path / "whole.json").write_text(KEPT)
    (tmp_path / "abc.json").write_text(content, encoding="latin-1")

    assert FindingStore(tmp_path).find("whole") is not None
    assert FindingStore(tmp_path).find("abc") is None


def test_keeps_nothing_without_a_folder() -> None:
    """A model without a place for artefacts measures at each start, and waits for nobody."""
    store = FindingStore(None)
    store.keep("abc", FINDING)

    assert store.find("abc") is None
    with store.lock("abc", on_wait=pytest.fail), store.lock("abc", on_wait=pytest.fail):
        pass


def test_locks_out_others_by_name(tmp_path: Path) -> None:
    """Whoever has to wait is told, and goes on without the lock when the time is over."""
    first, second = FindingStore(tmp_path), FindingStore(tmp_path)
    waited: list[str] = []

    with first.lock("abc", on_wait=pytest.fail):
        with second.lock("other", on_wait=pytest.fail):
            pass
        with second.lock("abc", on_wait=lambda: waited.append("abc"), max_wait_s=0):
            assert waited == ["abc"]
    with second.lock("abc", on_wait=pytest.fail):
        pass
