"""Plans, and the command line that changes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest


torch = pytest.importorskip("torch")

from examples.tiny_models.plan import Plan, name_of, read_plan  # noqa: E402 - needs torch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan(Plan):
    folder: Annotated[Path, "where"] = Path("out")
    rate: Annotated[float, "how fast"] = 0.5

    def __post_init__(self) -> None:
        """Refuse a rate of nothing."""
        if self.rate <= 0:
            raise ValueError("the rate is nothing")


PLANS = {"cpu": _Plan(steps=10), "cuda": _Plan(device="cuda", steps=20, rate=0.1)}


def test_takes_the_plan_of_the_device() -> None:
    """The kind of the device decides, with or without a number."""
    assert read_plan(PLANS, "", ["--device", "cpu"]) == PLANS["cpu"]
    assert read_plan(PLANS, "", ["--device", "cuda:1"]) == _Plan(
        device="cuda:1", steps=20, rate=0.1
    )


def test_changes_it_by_the_words_given() -> None:
    """Whatever is given counts, everything else stays; what may be None is read as what it is."""
    words = "--device cpu --steps 3 --no-compile --start here --rate 0.25 --minutes 1.5"

    assert read_plan(PLANS, "", words.split()) == _Plan(
        steps=3, compile=False, start=Path("here"), rate=0.25, minutes=1.5
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--device cpu --rate 0", "the rate is nothing"),
        ("--device cpu --steps many", "--steps"),
        ("--device toaster", "toaster"),
    ],
)
def test_refuses_a_bad_word(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be is said on one line, without a trace."""
    with pytest.raises(SystemExit):
        read_plan(PLANS, "", words.split())

    assert said in capsys.readouterr().err


def test_shows_both_defaults_where_they_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """The help has what each option stands for, and its value on each kind of device."""
    with pytest.raises(SystemExit):
        read_plan(PLANS, "Train.", ["--help"])

    said = " ".join(capsys.readouterr().out.split())
    assert "how long to train (10 on cpu, 20 on cuda)" in said
    assert "of weights and lessons (1)" in said


def test_names_a_cpu_by_its_threads() -> None:
    """What trained is said with how much of it."""
    assert name_of(torch.device("cpu")) == f"cpu, {torch.get_num_threads()} threads"
