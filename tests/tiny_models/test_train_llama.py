"""The training script of the Llama: a step is the same, whoever shares it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest


torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from examples.tiny_models.lesson import STAGES, Course  # noqa: E402 - needs transformers
from examples.tiny_models.train_llama import (  # noqa: E402
    FOLDER,
    LlamaPlan,
    rate_at,
    train,
    work,
)


PLAN = LlamaPlan(start=FOLDER, stage=3, steps=2, tokens=640, compile=False)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    return model.state_dict()


@pytest.mark.parametrize("tokens", [0, 639])
def test_refuses_a_step_without_room_for_each_worker(tokens: int) -> None:
    """Each worker needs the tokens of the longest lesson."""
    with pytest.raises(ValueError, match="too few for 2 workers: give each at least 320"):
        LlamaPlan(tokens=tokens, workers=2)


def test_goes_on_when_a_stage_is_learned_or_over() -> None:
    """A low loss ends a stage, as its share of the training does; the last one stays."""
    course = Course()
    assert course.hear(0.001, 0, 0.0)
    assert not course.hear(1.0, 1, 0.0)
    assert course.hear(1.0, 1, STAGES[1].until_progress + 0.01)
    assert course.stage == 2
    assert not Course(len(STAGES) - 1).hear(0.0, len(STAGES) - 1, 2.0)


def test_hears_nothing_of_an_earlier_stage() -> None:
    """Batches made ahead say nothing of the stage that came after."""
    course = Course(stage=1)

    assert not course.hear(0.0, 0, 1.0)
    assert course.stage == 1


def test_lets_the_rate_rise_stay_and_fall() -> None:
    """The rate stays for half of the training, and falls to a fiftieth."""
    assert rate_at(0.0) < rate_at(0.01) < rate_at(0.02) == rate_at(0.49) == 1
    assert rate_at(0.75) < 1
    assert rate_at(1.0) == pytest.approx(0.02)


@pytest.mark.slow
def test_gives_the_same_bytes_again(tmp_path: Path) -> None:
    """The seed alone counts, not how many processes make the lessons."""
    torch.set_num_threads(1)
    plans = [replace(PLAN, folder=tmp_path / str(makers), makers=makers) for makers in (0, 2)]
    for plan in plans:
        train(plan)

    one, other = ((plan.folder / "model.safetensors").read_bytes() for plan in plans)
    assert one == other
    assert one != (FOLDER / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_shares_a_step_among_workers(tmp_path: Path) -> None:
    """Two workers come to the weights of one, up to rounding in bf16."""
    torch.set_num_threads(1)
    alone = replace(PLAN, folder=tmp_path / "alone")
    shared = replace(PLAN, folder=tmp_path / "shared", workers=2)
    train(alone)
    torch.multiprocessing.spawn(work, (shared, str(tmp_path / "meeting")), 2)

    one, other, before = (_weights(folder) for folder in (alone.folder, shared.folder, FOLDER))
    moved = sum((one[name] - before[name]).float().norm() for name in one)
    apart = sum((one[name] - other[name]).float().norm() for name in one)
    assert 0 < apart < 0.3 * moved
