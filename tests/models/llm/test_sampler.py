"""Sampler: against transformers' own processors, and each row by itself."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.penalty import Penalty
from torchloom_models.llm.sampler import Sampler
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.sequence import Sequence


SIZE = 600


def _sequence(
    prompt: list[int] | None = None, tokens: list[int] | None = None, **params: object
) -> Sequence:
    sequence = Sequence(
        0,
        prompt or [1],
        SamplingParams().updated(params),
        max_tokens=100,
        end_tokens=frozenset({2}),
        detokenizer=Detokenizer(lambda _: ""),
    )
    sequence.tokens += tokens or []
    return sequence


def _sampler() -> Sampler:
    return Sampler(vocabulary_size=SIZE, end_tokens=[2], device="cpu")


def _logits(rows: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed)) * 3


def test_takes_the_likeliest_token_without_temperature() -> None:
    """Temperature 0 is greedy."""
    logits = _logits(3)

    drawn = _sampler().sample(logits.clone(), [_sequence() for _ in range(3)])

    assert drawn == logits.argmax(-1).tolist()


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 2.0, "top_p": 0.97},
        {"temperature": 1.0, "min_p": 0.1},
        {"temperature": 0.9, "top_k": 40, "top_p": 0.6, "min_p": 0.05},
    ],
)
def test_draws_as_transformers_would(params: dict[str, float]) -> None:
    """Tokens come with the probabilities that transformers' warpers leave them, and no others."""
    logits = _logits()
    warpers = LogitsProcessorList([TemperatureLogitsWarper(params["temperature"])])
    if "top_k" in params:
        warpers.append(TopKLogitsWarper(int(params["top_k"])))
    if "top_p" in params:
        warpers.append(TopPLogitsWarper(params["top_p"]))
    if "min_p" in params:
        warpers.append(MinPLogitsWarper(params["min_p"]))
    expected = warpers(torch.tensor([[1]]), logits.clone()).softmax(-1)[0]
    rows = 4000
    sequences = [_sequence(seed=number, **params) for number in range(rows)]

    drawn = _sampler().sample(logits.expand(rows, -1).clone(), sequences)

    counts = torch.bincount(torch.tensor(drawn), minlength=SIZE) / rows
    assert not counts[expected == 0].any()
    assert (counts - expected).abs().max() < 0.03


def test_looks_further_where_the_candidates_are_too_few() -> None:
    """A flat distribution with a high top_p reaches beyond the first candidates."""
    flat = torch.zeros(200, SIZE)
    sequences = [_sequence(seed=n, temperature=1.0, top_p=0.99) for n in range(200)]

    drawn = _sampler().sample(flat, sequences)

    assert len(set(drawn)) > 120


def test_draws_the_same_whatever_the_batch() -> None:
    """A seeded row draws the same tokens alone and among others with other parameters."""
    logits = _logits(4)
    params: list[dict[str, object]] = [
        {"temperature": 1.0, "seed": 3},
        {"temperature": 0.8, "top_p": 0.9, "seed": 4},
        {"temperature": 1.5, "top_k": 300, "seed": 5},
        {},
    ]
    together, alone = _sampler(), _sampler()
    batch = [_sequence(**each) for each in params]
    singles = [_sequence(**each) for each in params]

    for _ in range(5):
        drawn = together.sample(logits.clone(), batch)
        assert drawn == [
            alone.sample(logits[row : row + 1].clone(), [single])[0]
            for row, single in enumerate(singles)
        ]


def test_penalises_repetition_as_transformers_does() -> None:
    """The repetition penalty counts tokens of the prompt and of the answer."""
    logits = _logits()
    sequence = _sequence([3, 4, 4], [9, 10], repetition_penalty=1.7)
    expected = RepetitionPenaltyLogitsProcessor(1.7)(
        torch.tensor([[3, 4, 4, 9, 10]]), logits.clone()
    )
    penalty = Penalty([sequence], vocabulary_size=SIZE, end_tokens=[2], device="cpu")

    torch.testing.assert_close(penalty.apply(logits.clone()), expected)


def test_penalises_what_the_answer_holds() -> None:
    """Presence counts once and frequency each time, over the answer alone, as tokens come."""
    sequence = _sequence([3], [9, 9], presence_penalty=0.5, frequency_penalty=0.25)
    penalty = Penalty([sequence], vocabulary_size=SIZE, end_tokens=[2], device="cpu")

    penalty.note(torch.tensor([11]))
    changed = penalty.apply(torch.zeros(1, SIZE))[0]

    assert changed[[3, 9, 11]].tolist() == [0.0, -1.0, -0.75]


def test_adds_biases_to_their_own_rows() -> None:
    """A bias makes its token likelier in its own row alone."""
    drawn = _sampler().sample(_logits(2), [_sequence(logit_bias={"77": 100}), _sequence()])

    assert drawn[0] == 77
    assert drawn[1] == _logits(2).argmax(-1)[1]


def test_does_not_end_before_min_tokens() -> None:
    """The end token cannot be drawn before `min_tokens` are written, and can from then on."""
    logits = torch.zeros(1, SIZE)
    logits[0, 2] = 5.0
    sequence = _sequence(min_tokens=2)
    sampler = _sampler()

    drawn = []
    for _ in range(3):
        (token,) = sampler.sample(logits.clone(), [sequence])
        assert token is not None
        sequence.tokens.append(token)
        drawn.append(token)

    assert 2 not in drawn[:2]
    assert drawn[2] == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("params", [{}, {"temperature": 1.0, "top_k": 5}, {"temperature": 1.0}])
def test_tells_broken_rows(value: float, params: dict[str, object]) -> None:
    """A row with NaN or infinity gives None, and its neighbour a token."""
    logits = _logits(2)
    logits[0, 5] = value

    drawn = _sampler().sample(logits, [_sequence(**params), _sequence(**params)])

    assert drawn[0] is None
    assert drawn[1] is not None


def test_can_be_asked_again_after_it_raised() -> None:
    """Logits are as they were, numbers are drawn again, and penalties count no token twice."""
    params: list[dict[str, object]] = [
        {"temperature": 1.0, "seed": 1},
        {"temperature": 1.0, "seed": 2, "top_k": 5, "frequency_penalty": 1.5},
        {"temperature": 0.5, "seed": 3, "repetition_penalty": 1.3},
    ]

    def write(*, breaks: bool) -> list[list[int]]:
        sampler, sequences = _sampler(), [_sequence(**each) for each in params]
        for number in range(12):
            logits = _logits(3, number % 3)
            if breaks:
                four, torn = torch.cat([logits, logits[:1]]), _sequence(temperature=1.0)
                torn._random = None  # type: ignore[assignment]
                with pytest.raises(AttributeError):
                    sampler.sample(four, [*sequences, torn])
                assert torch.equal(four, torch.cat([logits, logits[:1]]))
                drawn = [
                    sampler.sample(logits[row : row + 1], [sequence])[0]
                    for row, sequence in enumerate(sequences)
                ]
            else:
                drawn = sampler.sample(logits, sequences)
            for sequence, token in zip(sequences, drawn, strict=True):
                assert token is not None
                sequence.append(token)
        return [sequence.tokens for sequence in sequences]

    assert write(breaks=True) == write(breaks=False)
