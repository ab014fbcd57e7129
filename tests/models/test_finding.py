"""Figures that are kept beside compiled code."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_models.finding import FindingStore


def test_keeps_figures_for_the_next_start(tmp_path: Path) -> None:
    """What was kept is found by its digest, and the latest holds."""
    store = FindingStore(tmp_path / "findings")
    assert store.find("abc") is None

    store.keep("abc", {"cpu": 1.0})
    store.keep("abc", {"cpu": 0.5, "openvino:CPU": 0.25})

    assert FindingStore(tmp_path / "findings").find("abc") == {"cpu": 0.5, "openvino:CPU": 0.25}
    assert [file.name for file in (tmp_path / "findings").iterdir()] == ["abc.json"]


@pytest.mark.parametrize("content", ["", "[1]", '{"cpu": "fast"}', '{"cpu": null}', "\xff"])
def test_measures_again_rather_than_trust_a_broken_file(tmp_path: Path, content: str) -> None:
    """What cannot be read as figures counts as nothing."""
    (tmp_path / "abc.json").write_text(content, encoding="latin-1")

    assert FindingStore(tmp_path).find("abc") is None


def test_keeps_nothing_without_a_folder() -> None:
    """A model without a place for artefacts measures at each start."""
    store = FindingStore(None)
    store.keep("abc", {"cpu": 1.0})

    assert store.find("abc") is None
