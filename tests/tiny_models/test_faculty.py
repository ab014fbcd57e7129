"""Teachers in a row: the same batches from any number of processes."""

from __future__ import annotations

import pytest


torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from examples.tiny_models.evaluate import FOLDER  # noqa: E402 - needs transformers
from examples.tiny_models.faculty import AHEAD, NUM_TEACHERS, Faculty  # noqa: E402
from examples.tiny_models.lesson import LENGTHS, Batch  # noqa: E402


TOKENS = 640


def _take(num_processes: int, stages: list[int], seed: int = 1) -> list[Batch]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    with Faculty(tokenizer, seed=seed, num_tokens=TOKENS, num_processes=num_processes) as faculty:
        return [faculty.take(stage) for stage in stages]


def test_fills_batches_of_the_size_asked_for() -> None:
    """A batch has one of the lengths, and as many rows as the tokens allow."""
    for batch in _take(0, [2] * 10):
        rows, length = batch.inputs.shape
        assert length in LENGTHS
        assert rows == TOKENS // length
        assert batch.weight > 0


def test_goes_to_a_stage_after_what_was_asked_for_before() -> None:
    """A new stage is heard of at once and comes after the batches already asked for."""
    batches = _take(0, [0, 0, *[1] * (AHEAD + 2)])

    assert [batch.stage for batch in batches] == [0] * (AHEAD + 2) + [1, 1]


def test_makes_other_batches_from_another_seed() -> None:
    """No two batches are alike, of one seed or of two."""
    batches = [*_take(0, [0] * NUM_TEACHERS), *_take(0, [0] * NUM_TEACHERS, seed=2)]

    assert len({batch.inputs.numpy().tobytes() for batch in batches}) == 2 * NUM_TEACHERS


@pytest.mark.slow
def test_makes_the_same_batches_with_any_number_of_processes() -> None:
    """Neither how many make them nor who is first counts."""
    stages = [0] * NUM_TEACHERS + [1] * (2 * AHEAD)
    alone = _take(0, stages)

    for shared in (_take(1, stages), _take(5, stages)):
        for one, other in zip(alone, shared, strict=True):
            assert one.stage == other.stage
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.targets, other.targets)
            assert torch.equal(one.weights, other.weights)
